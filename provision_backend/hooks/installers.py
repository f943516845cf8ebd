"""Which command installs requirements into a build environment, and with which variables.

The interpreter's own pip does, or uv: on request, or since the frontend installs with it. Indexes, find-links,
proxies and certificates are the user's (PIP_*, pip.conf, UV_*), as for a frontend that fills a build environment; what
would misdirect the installation is dropped.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import BuildEnvironmentError
from ..kept import installed_folder
from ..output import Reporter
from ..processes import run_quiet, run_visible
from ..settings import Settings
from .build_folders import disposable_folder
from .requirements import names_for, normalised_name

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["DROPPED", "Installer", "find_uv", "last_lines", "supports_python_option"]

# Each of these misdirects or empties the installation into a build environment; all were tried.
_PIP_DROPPED = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_DRY_RUN",
    "PIP_EDITABLE",
    "PIP_REQUIREMENT",
    "PIP_GROUP",
    "PIP_REQUIREMENTS_FROM_SCRIPT",
    "PIP_REQUIRE_HASHES",
    "PIP_NO_DEPS",
    "PIP_PYTHON",
    "PIP_ABI",
    "PIP_PLATFORM",
    "PIP_IMPLEMENTATION",
    "PIP_PYTHON_VERSION",
    "PIP_REPORT",
    "PIP_UPGRADE",
    "PIP_FORCE_REINSTALL",
    "PIP_IGNORE_INSTALLED",
    # Since pip 26.2 run-time constraints do not reach build environments (pypa/pip#13300); the build ones do.
    "PIP_CONSTRAINT",
)

# An environment variable overrides a configuration file, where the same may stand. An empty one does not.
_PIP_SET = {
    "PIP_DRY_RUN": "0",
    "PIP_REQUIRE_HASHES": "0",
    "PIP_NO_DEPS": "0",
    "PIP_CONSTRAINT": os.devnull,
    "PIP_REQUIREMENT": os.devnull,
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_WARN_SCRIPT_LOCATION": "1",
}

_UV_DROPPED = (
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "UV_REQUIRE_HASHES",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_RESOLUTION",
    "UV_NO_DEPS",
)

DROPPED = (*_PIP_DROPPED, *_UV_DROPPED)
"""Variables that do not reach an installation into a build environment."""

# What a uv.toml, or the [tool.uv] of the project, says about the packages that the project runs with.
_UV_OPTIONS = ("--deps", "--no-require-hashes", "--resolution", "highest")

_MISDIRECTED = {
    "pip": "a configuration file of pip may say so: prefix, root",
    "uv": "uv.toml, or tool.uv of the project, may say so: pip.target, pip.prefix, exclude-dependencies",
}

_PACKAGES = ("lib/python*/site-packages", "lib64/python*/site-packages", "Lib/site-packages")

_TIMEOUT = 3600.0
"""Seconds an installer may take; a build dependency without a wheel is compiled in that time."""


class Installer(NamedTuple):
    """Installs requirements into one build environment."""

    interpreter: Interpreter
    """What the environment is made of; its pip installs."""
    python: str
    """The environment's own interpreter."""
    settings: Settings
    reporter: Reporter

    def install(self, requirements: Sequence[str], *, environ: Mapping[str, str], cwd: str, what: str) -> None:
        """Install requirements, and see that they are there.

        Args:
            requirements: PEP 508 strings.
            environ: variables of a process in the build environment.
            cwd: where relative paths of find-links and constraints start.
            what: what they are, for messages.

        Raises:
            BuildEnvironmentError: the installer failed, or installed somewhere else; or uv was asked for and there
                is none.
        """
        command, cleaned = self._command(environ)
        returncode, output = self._run([*command, *requirements], cleaned, cwd)
        failed = f"could not install {what} under CPython {self.interpreter.version}: {_name(command)}"
        if returncode != 0:
            raise BuildEnvironmentError(f"{failed} ended with exit status {returncode}", hint=last_lines(output))
        absent = self._absent(requirements)
        if absent:
            raise BuildEnvironmentError(
                f"{failed} succeeded, and {', '.join(map(repr, absent))} is not in the build environment",
                hint=_MISDIRECTED[_name(command)],
            )

    def variables(self, environ: Mapping[str, str]) -> Dict[str, str]:
        """Return the variables that the installer gets, of those of a process in the build environment."""
        return self._command(environ)[1]

    def _command(self, environ: Mapping[str, str]) -> Tuple[List[str], Dict[str, str]]:
        uv = find_uv(self.settings)
        if uv:
            cleaned = {name: value for name, value in environ.items() if name not in _UV_DROPPED}
            command = [uv, "pip", "install", "--python", self.python, "--quiet", *_UV_OPTIONS]
            return command + _constraints(environ.get("UV_BUILD_CONSTRAINT")), cleaned
        cleaned = {name: value for name, value in environ.items() if name not in _PIP_DROPPED}
        cleaned.update(_PIP_SET)
        command = self._pip()
        if "--python" not in command:
            # It stays in the environment that it is started in, whatever a configuration file says of "python".
            cleaned["_PIP_RUNNING_IN_SUBPROCESS"] = "1"
        # What a hook imports is compiled then; compiling all of setuptools takes longer than installing it.
        command += ["install", "--quiet", "--no-user", "--no-compile", "--target", ""]
        return command + _constraints(environ.get("PIP_BUILD_CONSTRAINT")), cleaned

    def _pip(self) -> List[str]:
        """Return how the interpreter's pip is started so that it installs into the environment."""
        if not supports_python_option(self.interpreter.pip):
            return [self.python, "-I", "-m", "pip"]
        base = Path(self.interpreter.executable)
        runner = base.parent.parent / "lib" / base.name / "site-packages" / "pip" / "__pip-runner__.py"
        if self.interpreter.source == "managed" and runner.exists():
            # What --python does after pip has been imported once to get there, which takes a quarter of a second
            # (pip, _internal/cli/main_parser.py).
            return [self.python, "-I", str(runner)]
        return [self.interpreter.executable, "-I", "-m", "pip", "--python", self.python]

    def _run(self, command: List[str], environ: Mapping[str, str], cwd: str) -> Tuple[int, str]:
        if self.reporter.verbosity:
            return run_visible(command, env=environ, cwd=cwd), ""
        done = run_quiet(command, env=environ, cwd=cwd, timeout=_TIMEOUT)
        return done.returncode, done.stdout + done.stderr

    def _absent(self, requirements: Sequence[str]) -> List[str]:
        """Return the names of what was to be installed and is not, though the installer may say so."""
        root = Path(self.python).parent.parent
        folders = [entry.name for pattern in _PACKAGES for folder in root.glob(pattern) for entry in folder.iterdir()]
        # "name-version.dist-info", and eggs that the version is left out of; the name has no hyphen.
        stems = [os.path.splitext(name)[0] for name in folders if name.endswith((".dist-info", ".egg-info"))]
        there = {normalised_name(name) for stem in stems for name in (stem, stem.partition("-")[0])}
        wanted = names_for(requirements, self.interpreter.version)
        return [name for name in wanted if normalised_name(name) not in there]


def supports_python_option(pip_version: str) -> bool:
    """Whether this pip installs into another environment; ``--python`` is there since 22.3."""
    parts = pip_version.split(".")
    return bool(pip_version) and tuple(int(part) for part in parts[:2] if part.isdigit()) >= (22, 3)


def find_uv(settings: Settings) -> str:
    """Return the path of uv where it is to install: on request, or since the frontend installs with it; else empty.

    It is never chosen because it is on PATH: where an extra index is set, pip takes the best version of all indexes
    and uv the first index that has the name, so that a silent switch would change what is installed.
    """
    if settings.installer == "pip":
        return ""
    if settings.installer == "uv":
        found = os.environ.get("UV") or _on_path("uv") or _own_uv()
        if not found:
            raise BuildEnvironmentError("the installer uv was asked for, and no uv is on PATH")
        return found
    return os.environ.get("UV") or _uv_of_frontend()


@functools.lru_cache(maxsize=None)  # Who installs is asked at each step, and does not change meanwhile.
def _uv_of_frontend() -> str:
    """Return uv where the frontend fills its isolated environments with it, as ``build --installer=uv`` does.

    No variable says so; the record of who installed us does.

    Source: "Recording installed projects", the INSTALLER file.
    """
    if disposable_folder() is None:
        return ""
    records = Path(installed_folder()).parent.glob("provision_backend-*.dist-info/INSTALLER")
    if not any(record.read_text(encoding="utf-8").strip() == "uv" for record in records):
        return ""
    try:
        program = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        program = b""
    # build takes the uv that is installed with it before the one on PATH.
    beside = Path(os.fsdecode(program)).with_name("uv") if b"/" in program else None
    return str(beside) if beside and os.access(str(beside), os.X_OK) else _on_path("uv")


def _on_path(program: str) -> str:
    import shutil

    return shutil.which(program) or ""


def _own_uv() -> str:
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.exists() else ""


def last_lines(output: str) -> str:
    """Return the end of what a program printed, as the hint of a message."""
    lines = [line for line in output.splitlines() if line.strip()]
    return "\n".join(lines[-15:])


def _name(command: Sequence[str]) -> str:
    return "uv" if os.path.basename(command[0]).startswith("uv") else "pip"


def _constraints(files: Optional[str]) -> List[str]:
    return [word for file in (files or "").split() for word in ("--constraint", file)]
