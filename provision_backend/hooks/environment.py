"""Interpreter + requirements → `BuildEnvironment`: the virtual environment that holds the real backend.

An environment is made inside the frontend's own disposable environment, so that all hooks of one build share it and
the frontend deletes it; where there is none, in a temporary folder that this process deletes. It is filled by the
interpreter's own pip, or by uv, with the user's indexes (PIP_*, pip.conf, UV_*), as a frontend fills a build
environment. The frontend's own pip is out of reach: pip and build both hide it from hooks, and run under another
version it would fail (pip 23.0 on 3.12: no ``pkgutil.ImpImporter``).

What may come from the environment and what must not: `provision_backend.processes` for every child, and
`provision_backend.hooks.installers` for what installs.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Protocol, Sequence, Tuple

from ..errors import BuildEnvironmentError
from ..processes import clean_environment, run_quiet
from ..report import Reporter
from ..settings import Settings
from .installers import Installer, find_uv, last_lines, supports_python_option
from .variables import host_variables

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = [
    "BuildEnvironment",
    "CurrentEnvironment",
    "HookEnvironment",
    "existing_environment",
    "frontend_run",
    "open_environment",
]

_STATE = "provision-backend.json"


class HookEnvironment(Protocol):
    """Where a hook of the real backend can be run."""

    @property
    def python(self) -> str:
        """Path of the interpreter."""

    @property
    def version(self) -> str:
        """Its version."""

    def environ(self) -> Dict[str, str]:
        """Return the variables of a process there."""


class CurrentEnvironment:
    """The environment that runs the frontend's hook, for questions that need a process of their own."""

    python = sys.executable
    version = sys.version.split()[0]

    def environ(self) -> Dict[str, str]:
        """Return this process's variables less those by which the frontend told its own backend.

        PYTHONPATH stays: under pip that is where the build requirements are.
        """
        return {
            name: value for name, value in os.environ.items() if not name.startswith(("_PYPROJECT_HOOKS", "PEP517_"))
        }


@dataclass
class BuildEnvironment:
    """A virtual environment of the interpreter that runs the real backend."""

    path: Path
    """The environment's folder."""
    interpreter: Interpreter
    settings: Settings
    reporter: Reporter
    source: Path
    """The source tree."""
    installed: Tuple[str, ...] = ()
    """Requirements that were installed already, as they were asked for."""
    asked: Tuple[str, ...] = ()
    """Questions for dynamic requirements that were answered, and the answers installed."""
    hooks: Dict[str, List[str]] = field(default_factory=dict)
    """The optional hooks that a probe of the real backend found, by the circumstances it was made in."""

    @property
    def version(self) -> str:
        """Version of the environment's interpreter."""
        return self.interpreter.version

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return str(self.path / folder / name)

    def environ(self) -> Dict[str, str]:
        """Return the environment variables of a process in this build environment."""
        environ = clean_environment()
        scripts = os.path.dirname(self.python)
        environ["PATH"] = os.pathsep.join([scripts, environ["PATH"]]) if environ.get("PATH") else scripts
        # uv, CMake's FindPython and meson take the environment from here.
        environ["VIRTUAL_ENV"] = str(self.path)
        environ.update(host_variables(self.interpreter, environ))
        return environ

    def install(self, requirements: Sequence[str], *, what: str) -> None:
        """Install what is not installed yet.

        Args:
            requirements: PEP 508 strings; markers are evaluated under this environment's interpreter.
            what: what they are, for messages.

        Raises:
            BuildEnvironmentError: the installer failed, or did not install where it should.
        """
        missing = [text for text in requirements if text not in self.installed]
        if not missing:
            return
        self.reporter.detail(f"installing {what} under CPython {self.interpreter.version}: {', '.join(missing)}")
        installer = Installer(self.interpreter, self.python, self.settings, self.reporter)
        installer.install(missing, environ=self.environ(), cwd=_frontend_folder(self.source), what=what)
        self.installed += tuple(missing)
        self.save()

    def save(self) -> None:
        """Write down what the environment holds; the file makes it complete for the next hook process."""
        state = {"installed": self.installed, "asked": self.asked, "hooks": self.hooks}
        temporary = self.path / f"{_STATE}.{os.getpid()}"
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(str(temporary), str(self.path / _STATE))


def open_environment(
    interpreter: Interpreter, requires: Sequence[str], *, settings: Settings, reporter: Reporter, source: Path
) -> BuildEnvironment:
    """Make the build environment, or open the one that an earlier hook of the same build made.

    Args:
        interpreter: what the environment is made of.
        requires: the real backend's static requirements, installed before this returns.
        settings: of this build.
        reporter: told what is done.
        source: the source tree.

    Raises:
        BuildEnvironmentError: the environment could not be made or filled.
    """
    shared = _disposable_folder()
    key = _environment_key(interpreter, requires)
    for path in _places(shared, key):
        environment = BuildEnvironment(path, interpreter, settings, reporter, source)
        if _load_state(environment):
            return environment
        if _claim(path):
            _fill(environment, requires)
            return environment
    raise BuildEnvironmentError(
        f"no folder for a build environment is free in {shared}", hint="remove the folder and build again"
    )


def _fill(environment: BuildEnvironment, requires: Sequence[str]) -> None:
    try:
        _create(environment)
        environment.install(requires, what="the real backend's requirements")
        environment.save()
    except BaseException:
        # In tox's lasting environment, failed ones would take all the names that there are.
        shutil.rmtree(str(environment.path), ignore_errors=True)
        raise


def existing_environment(
    interpreter: Interpreter, requires: Sequence[str], *, settings: Settings, reporter: Reporter, source: Path
) -> Optional[BuildEnvironment]:
    """Open the environment that an earlier hook of the same build made; None where there is none yet."""
    shared = _disposable_folder()
    if shared is None:
        return None
    for path in _places(shared, _environment_key(interpreter, requires)):
        environment = BuildEnvironment(path, interpreter, settings, reporter, source)
        if _load_state(environment):
            return environment
    return None


def frontend_run() -> str:
    """Tell one run of a frontend from the next: all its hook processes have the same parent."""
    return str(os.getppid())


def _frontend_folder(source: Path) -> str:
    """Return the folder that the frontend was started in, where relative find-links and constraints start for it.

    A hook is called in the source tree, which may be an sdist that has just been unpacked anywhere.
    """
    try:
        started = os.readlink(f"/proc/{os.getppid()}/cwd")
    except OSError:
        started = os.environ.get("PWD", "")
    return started if os.path.isdir(started) else str(source)


def _environment_key(interpreter: Interpreter, requires: Sequence[str]) -> str:
    facts = json.dumps([interpreter.executable, interpreter.version, list(requires)])
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _disposable_folder() -> Optional[Path]:
    """Find the folder of the frontend's isolated environment, which the frontend deletes.

    pip installs us below ``pip-build-env-*``; build makes ``build-env-*``; uv works in its cache's ``builds-v0``; tox
    has a lasting ``.pkg`` environment, for which the key takes care of changed requirements.
    """
    for parent in Path(__file__).absolute().parents:
        if parent.name.startswith("pip-build-env-"):
            return parent / ".provision-backend"
    if sys.prefix == sys.base_prefix:
        return None
    prefix = Path(sys.prefix)
    known = prefix.name.startswith("build-env-") or "builds-v0" in prefix.parts
    if known or os.environ.get("TOX_ENV_DIR") == str(prefix) or os.environ.get("TOX_ENV_NAME", "").startswith(".pkg"):
        return prefix / ".provision-backend"
    return None


def _places(shared: Optional[Path], key: str) -> List[Path]:
    """Return the folders to try. One that another process has claimed and not completed is passed over.

    This needs no lock: who makes the folder owns it, and its state file says that it is complete.
    """
    folder = shared or _private_folder()
    return [folder / (key + suffix) for suffix in ("", "-1", "-2", "-3", "-4", "-5", "-6", "-7")]


@functools.lru_cache(maxsize=None)  # A frontend may call many hooks in one process.
def _private_folder() -> Path:
    import atexit
    import tempfile

    folder = tempfile.mkdtemp(prefix="provision-backend-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _claim(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        return False
    except OSError as exc:
        raise BuildEnvironmentError(f"could not make the folder {path}: {exc.strerror}") from None
    return True


def _load_state(environment: BuildEnvironment) -> bool:
    try:
        state = json.loads((environment.path / _STATE).read_text(encoding="utf-8"))
        environment.installed = tuple(state["installed"])
        environment.asked = tuple(state["asked"])
        environment.hooks = dict(state["hooks"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return os.path.exists(environment.python)


def _create(environment: BuildEnvironment) -> None:
    interpreter = environment.interpreter
    # The command line makes links on POSIX; a copied executable of a python-build-standalone that links libpython
    # dynamically does not start (python-build-standalone#381).
    command = [interpreter.executable, "-I", "-m", "venv"]
    if supports_python_option(interpreter.pip) or find_uv(environment.settings):
        # Without pip it takes 0.1 s, with it 7 s.
        command.append("--without-pip")
    done = run_quiet([*command, str(environment.path)], env=clean_environment(), timeout=300.0)
    if done.returncode != 0:
        raise BuildEnvironmentError(
            f"{interpreter.executable} could not make a virtual environment: exit status {done.returncode}",
            hint=last_lines(done.stdout + done.stderr),
        )
