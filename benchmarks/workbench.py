"""What the comparisons work with: wheels, frontends, interpreters, one archive, a server; all in one temporary folder.

In: the machine and the checkout. Out: `Workbench`. The folder is on tmpfs where there is one, so that the disk does
not drown the figures. Nothing that is measured needs a package index: wheels come from one folder, which is filled
once, and kept for a day, by the support code of the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Callable, Dict, List, Mapping, Optional, Type

from packaging.version import Version
from support.hosts import Frontend, clean_environ, make_frontend
from support.projects import pure
from support.real_interpreters import (
    HostInterpreter,
    Unavailable,
    oldest_host,
    standalone_archive,
    usable_hosts,
)

from .archives import Archives
from .core import Failed
from .running import Command, run

__all__ = ["BACKENDS", "ROOT", "Workbench"]

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = {"hatchling": "hatchling.build", "flit_core": "flit_core.buildapi", "setuptools": "setuptools.build_meta"}
"""The real backends: how the page calls them, and their modules."""
_MINIMUM = "3.12"  # What the projects require, and the packed archive satisfies.
_DROPPED = ("PIP_", "UV", "PROVISION_BACKEND_", "_PROVISION_BACKEND_", "PYTHON", "SOURCE_DATE_EPOCH")


class Workbench:
    """A temporary folder and what is made in it when it is first asked for; a context manager that removes it all.

    Args:
        say: told what is made.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        shm = Path("/dev/shm")  # noqa: S108 - a fresh folder is made below it.
        parent = shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix="provision-backend-bench-", dir=str(parent)))
        self.where = str(parent)
        (self.folder / "tmp").mkdir()
        self._frontends: Dict[str, Frontend] = {}
        self._servers: List[subprocess.Popen[str]] = []
        self._counter = 0

    def __enter__(self) -> Workbench:
        tempfile.tempdir = str(self.folder / "tmp")
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        for server in self._servers:
            server.communicate()  # Closes its standard input, which ends it.
        tempfile.tempdir = None
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def new_folder(self, name: str = "run") -> Path:
        """Make an empty folder that nobody else has."""
        self._counter += 1
        folder = self.folder / f"{name}-{self._counter}"
        folder.mkdir()
        return folder

    @cached_property
    def tools(self) -> Path:
        """A folder for PATH with uv and nothing else."""
        folder = self.new_folder("tools")
        (folder / "uv").symlink_to(self.uv)
        return folder

    @cached_property
    def uv(self) -> Path:
        """The uv that was installed beside this Python."""
        found = Path(sys.executable).with_name("uv")
        if not found.exists():
            raise Failed("uv is not installed")
        return found

    def environ(self, **more: str) -> Dict[str, str]:
        """Return the variables of a measured program: no index, a warm cache of uv, everything in our folder."""
        base = {name: value for name, value in clean_environ().items() if not name.startswith(_DROPPED)}
        path = base.get("PATH", os.defpath)
        base.update(
            {
                "PATH": f"{self.tools}{os.pathsep}{path}",
                "TMPDIR": str(self.folder / "tmp"),
                "HOME": str(self.folder),
                "XDG_CACHE_HOME": str(self.folder / "user-cache"),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.wheels),
                "UV_CACHE_DIR": str(self.folder / "uv-cache"),
                "UV_NO_CONFIG": "1",
                "UV_OFFLINE": "1",
                "UV_NO_INDEX": "1",
                "UV_FIND_LINKS": str(self.wheels),
                "UV_PYTHON_DOWNLOADS": "never",
            }
        )
        return {**base, **more}

    def provisioning(self, archives: Archives, cache: Path) -> Dict[str, str]:
        """Return the variables by which we provision one archive from one server into one cache."""
        return {
            "PROVISION_BACKEND_CACHE_DIR": str(cache),
            "PROVISION_BACKEND_MIRROR": archives.url,
            "PROVISION_BACKEND_CATALOG": str(archives.catalog),
        }

    @cached_property
    def wheels(self) -> Path:
        """One folder with our own wheel and all that the builds install, under any of the interpreters."""
        # The folders of the test cache are filled on the way.
        folders = [Path(each) for each in self.satisfying.environ["PIP_FIND_LINKS"].split()]
        folders += [Path(each) for each in self.old.environ["PIP_FIND_LINKS"].split()] if self.old_host else []
        folder = self.new_folder("wheels")
        for wheel in (wheel for each in folders for wheel in each.glob("*.whl")):
            shutil.copy(str(wheel), str(folder))
        return folder

    @cached_property
    def own_wheel(self) -> Path:
        """Our own wheel, made of the checkout."""
        out = self.new_folder("own-wheel")
        argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
        run(Command(argv, clean_environ(), out))
        return next(out.glob("*.whl"))

    @cached_property
    def old_host(self) -> Optional[HostInterpreter]:
        """The oldest interpreter that satisfies no project here."""
        try:
            return oldest_host("3.10")
        except Unavailable:
            return None

    @cached_property
    def new_host(self) -> HostInterpreter:
        """The newest interpreter that satisfies all projects here."""
        found = usable_hosts()
        if not found or Version(found[-1].version) < Version(_MINIMUM):
            raise Failed(f"no CPython {_MINIMUM} or later with venv and ssl is installed")
        return found[-1]

    @property
    def satisfying(self) -> Frontend:
        """A frontend on a host that satisfies the projects."""
        return self.frontend(self.new_host.path)

    @property
    def old(self) -> Frontend:
        """A frontend on a host that is too old for them."""
        if self.old_host is None:
            raise Failed("no CPython below 3.10 with venv and ssl is installed")
        return self.frontend(self.old_host.path)

    def frontend(self, python: Path) -> Frontend:
        """Return a virtual environment of an interpreter with pip and build, as new as it can have them."""
        key = str(python)
        if key not in self._frontends:
            self.say(f"making a frontend under {python.name}")
            self._frontends[key] = make_frontend(python, self.new_folder("frontend"), self.own_wheel)
        return self._frontends[key]

    def environment(self, python: Path, *packages: str) -> Path:
        """Return the interpreter of a new virtual environment with packages from the folder of wheels, compiled."""
        folder = self.new_folder("environment")
        environ = self.environ()
        run(Command([str(self.uv), "venv", "-q", "--python", str(python), str(folder)], environ, self.folder))
        inside = folder / "bin" / "python"
        install = [str(self.uv), "pip", "install", "-q", "--compile-bytecode", "--python", str(inside), *packages]
        run(Command(install, environ, self.folder))
        return inside

    def add_wheels(self, python: Path, *names: str) -> None:
        """Fetch further wheels from the configured index into the folder of wheels."""
        download = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(self.wheels)]
        run(Command([str(python), *download, *names], clean_environ(), self.folder))

    @cached_property
    def archive(self) -> Path:
        """A real CPython, packed, alone in a folder that is named after its release, with its SHA256SUMS."""
        try:
            found = standalone_archive(_MINIMUM)
        except Unavailable as exc:
            raise Failed(str(exc)) from None
        match = re.search(r"\+(\d{8})-", found.name)
        assert match, found.name
        folder = self.new_folder("served") / match[1]
        folder.mkdir()
        shutil.copy(str(found), str(folder))
        shutil.copy(str(found.parent / "SHA256SUMS"), str(folder))
        return folder / found.name

    @cached_property
    def archives(self) -> Archives:
        """The archive, and a server for it."""
        root, log = self.archive.parent.parent, self.folder / "requests.log"
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", str(root), str(log)],
            cwd=str(ROOT),
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._servers.append(server)
        assert server.stdout
        return Archives(self.archive, f"http://127.0.0.1:{int(server.stdout.readline())}", log)

    def provision(self, environ: Mapping[str, str]) -> Path:
        """Provision an interpreter on the old host as the variables say, and return its path."""
        if self.old_host is None:
            raise Failed("no CPython below 3.10 with venv and ssl is installed")
        python = self.environment(self.old_host.path, "provision-backend[provision]")
        argv = [str(python), "-m", "provision_backend", "install", f">={_MINIMUM}"]
        return Path(run(Command(argv, environ, self.folder)).strip())

    def project(self, backend: str, form: str) -> Path:
        """Write a project in a new folder.

        Args:
            backend: one of `BACKENDS`.
            form: ``one list``, ``table``, or ``without us``.
        """
        folder = pure(self.new_folder("project"), BACKENDS[backend], one_list=form == "one list")
        if form == "without us":
            file = folder / "pyproject.toml"
            file.write_text(_without_us(file.read_text(encoding="utf-8")), encoding="utf-8")
        return folder


def _without_us(text: str) -> str:
    """Return a pyproject.toml with the real backend where our name was."""
    table = re.compile(r"\[tool\.provision-backend\]\n(build-backend = .*\n)(requires = .*\n)")
    found = table.search(text)
    assert found, text
    system = 'requires = ["provision-backend"]\nbuild-backend = "provision_backend"\n'
    assert system in text, text
    return table.sub("", text).replace(system, found[2] + found[1])
