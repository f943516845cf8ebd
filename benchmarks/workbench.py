"""What the comparisons need: wheels, environments, projects, one archive and its server, in one temporary folder.

In: the machine, this checkout and, where asked for, an older one. Out: `Workbench`. The folder is on tmpfs where there
is one, so that the disk does not drown the figures. Nothing that is measured needs a package index: all wheels are
downloaded once, into one folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping

from support.hosts import clean_environ
from support.projects import pure
from support.real_interpreters import Unavailable, oldest_host, standalone_archive, usable_hosts

from .measuring import Failed, run

__all__ = ["BACKENDS", "ROOT", "Workbench"]

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = {"hatchling": "hatchling.build", "flit_core": "flit_core.buildapi", "setuptools": "setuptools.build_meta"}
"""The real backends: their names on the page, and their modules."""
_MINIMUM = "3.12"  # What the projects require, and the packed archive satisfies.
_DROPPED = ("PIP_", "UV", "PROVISION_BACKEND_", "_PROVISION_BACKEND_", "PYTHON", "SOURCE_DATE_EPOCH")


class Workbench:
    """A temporary folder and what is made in it when it is first asked for; a context manager that removes it all.

    Args:
        checkouts: the versions of ourselves that are measured, by their labels.
        say: receives a sentence about each step.
    """

    def __init__(self, checkouts: Mapping[str, Path], say: Callable[[str], None]) -> None:
        self.checkouts = checkouts
        self.say = say
        shm = Path("/dev/shm")  # noqa: S108 - a fresh folder is made below it.
        self.parent = shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix="provision-backend-bench-", dir=str(self.parent)))
        self.log = self.folder / "requests.log"
        self._servers: List[subprocess.Popen[str]] = []

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.terminate()
            server.communicate()
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def new_folder(self) -> Path:
        """Make an empty folder."""
        return Path(tempfile.mkdtemp(dir=str(self.folder)))

    @cached_property
    def old_python(self) -> Path:
        """The oldest CPython of this machine, which satisfies no project here."""
        try:
            return Path(oldest_host("3.10").path)
        except Unavailable as exc:
            raise Failed(str(exc)) from None

    @cached_property
    def new_python(self) -> Path:
        """The newest CPython of this machine, which satisfies all projects here."""
        return usable_hosts()[-1].path

    @cached_property
    def archive(self) -> Path:
        """A real CPython, packed, in a folder that is named after its release, with its SHA256SUMS."""
        try:
            found = standalone_archive(_MINIMUM)
        except Unavailable as exc:
            raise Failed(str(exc)) from None
        folder = self.new_folder() / re.findall(r"\+(\d{8})-", found.name)[0]
        folder.mkdir()
        shutil.copy(str(found), str(folder))
        (folder / "SHA256SUMS").write_text(
            "".join(line for line in (found.parent / "SHA256SUMS").open() if found.name in line)
        )
        return Path(folder / found.name)

    @cached_property
    def url(self) -> str:
        """The address of a server that has the archive, laid out by release."""
        argv = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
        served = str(self.archive.parent.parent)
        with self.log.open("w") as log:
            server = subprocess.Popen(argv, cwd=served, stdout=subprocess.PIPE, stderr=log, text=True)
        self._servers.append(server)
        assert server.stdout
        port = int(re.findall(r"port (\d+)", server.stdout.readline())[0])
        return f"http://127.0.0.1:{port}"

    def downloads(self) -> int:
        """Return how often the archive was sent so far."""
        return len(re.findall(r'"GET \S+\.tar\.gz HTTP/\S+" 20[06]', self.log.read_text(encoding="utf-8")))

    @cached_property
    def wheels(self) -> Path:
        """A folder with all that the builds install, under either interpreter; ourselves are not in it."""
        folder = self.new_folder()
        index = {**clean_environ(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        names = ["hatchling", "flit_core", "setuptools", "build", "pip", "isal", "editables"]
        for python in (self.old_python, self.new_python):
            self.say(f"downloading the wheels for {python.name}")
            argv = [str(python), "-m", "pip", "download", "-q", "--prefer-binary", "-d", str(folder), *names]
            for label in self.checkouts:
                run([*argv, f"{self.wheel(label)}[provision,init]"], index, self.folder)
        for wheel in folder.glob("provision_backend-*"):
            wheel.unlink()
        return folder

    @lru_cache(maxsize=None)  # noqa: B019 - there is one workbench a run.
    def wheel(self, label: str) -> Path:
        """Return our own wheel, made from a checkout, alone in its folder."""
        out, source = self.new_folder(), self.new_folder()
        shutil.copytree(str(self.checkouts[label]), str(source / "x"), ignore=shutil.ignore_patterns(".*", "build"))
        argv = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", str(out)]
        run([*argv, str(source / "x")], clean_environ(), out)
        return next(out.glob("*.whl"))

    def environ(self, label: str = "", **more: str) -> Dict[str, str]:
        """Return the variables of a measured program: no index, a warm cache of uv, everything in our folder.

        Args:
            label: of the checkout whose wheel is offered.
            more: further variables.
        """
        links = " ".join([str(self.wheels), *([str(self.wheel(label).parent)] if label else [])])
        base = {name: value for name, value in clean_environ().items() if not name.startswith(_DROPPED)}
        base.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}")
        base.update(HOME=str(self.folder), TMPDIR=str(self.folder), XDG_CACHE_HOME=str(self.folder / "user-cache"))
        base.update(PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1", PIP_FIND_LINKS=links)
        base.update(PIP_DISABLE_PIP_VERSION_CHECK="1", UV_CACHE_DIR=str(self.folder / f"uv-cache-{label}"))
        base.update(UV_NO_CONFIG="1", UV_OFFLINE="1", UV_NO_INDEX="1", UV_PYTHON_DOWNLOADS="never")
        return {**base, "UV_FIND_LINKS": links.replace(" ", ","), **more}

    def provisioning(self, label: str, cache: Path) -> Dict[str, str]:
        """Return the variables by which a checkout provisions the archive from the server into a cache."""
        return self.environ(
            label,
            PROVISION_BACKEND_CACHE_DIR=str(cache),
            PROVISION_BACKEND_MIRROR=self.url,
            PROVISION_BACKEND_CATALOG=str(self.archive.parent / "SHA256SUMS"),
        )

    @lru_cache(maxsize=None)  # noqa: B019 - there is one workbench a run.
    def environment(self, python: Path, label: str, *packages: str) -> Path:
        """Return the interpreter of a virtual environment with packages from the folder of wheels."""
        folder = self.new_folder() / "environment"
        environ = self.environ(label)
        run([str(python), "-I", "-m", "venv", str(folder)], environ, self.folder)
        inside = folder / "bin" / "python"
        run([str(inside), "-m", "pip", "install", "-q", "-U", "pip", *packages], environ, self.folder)
        return inside

    def project(self, backend: str, form: str) -> Path:
        """Write a project into a fresh folder.

        Args:
            backend: one of `BACKENDS`.
            form: ``one list``, ``table``, or ``without us``.
        """
        folder = pure(self.new_folder() / "source", BACKENDS[backend], one_list=form == "one list")
        if form == "without us":
            file = folder / "pyproject.toml"
            table = re.compile(r"\[tool\.provision-backend\]\n(build-backend = .*\n)(requires = .*\n)")
            text = file.read_text(encoding="utf-8")
            found = table.search(text)
            assert found, text
            system = 'requires = ["provision-backend"]\nbuild-backend = "provision_backend"\n'
            file.write_text(table.sub("", text).replace(system, found[2] + found[1]), encoding="utf-8")
        return folder

    def locked_project(self, backend: str, environ: Mapping[str, str]) -> Path:
        """Write a project that is locked on every host, for the archive; all variables are given."""
        folder = self.project(backend, "table")
        python = self.environment(self.new_python, "with us", "provision-backend[provision,init]")
        run([str(python), "-m", "provision_backend", "lock", "--always", str(folder)], environ, folder)
        return folder

    def uv_downloads(self, folder: Path) -> Dict[str, str]:
        """Return the variables by which uv knows of the archive only, and has nothing yet."""
        version, triple = re.findall(r"cpython-([\d.]+)\+\d+-(.+)-install_only", self.archive.name)[0]
        major, minor, patch = map(int, version.split("."))
        arch, libc = triple.split("-")[0], "musl" if "musl" in triple else "gnu"
        record: Dict[str, Any] = {"name": "cpython", "arch": {"family": arch, "variant": None}, "os": "linux"}
        record.update(libc=libc, major=major, minor=minor, patch=patch, prerelease="", variant=None)
        record.update(url=f"{self.url}/{self.archive.parent.name}/{self.archive.name.replace('+', '%2B')}")
        record.update(sha256=(self.archive.parent / "SHA256SUMS").read_text().split()[0], build="20260101")
        listed = folder / "downloads.json"
        listed.write_text(json.dumps({f"cpython-{version}-linux-{arch}-{libc}": record}))
        environ = self.environ(UV_PYTHON_DOWNLOADS_JSON_URL=str(listed), UV_PYTHON_DOWNLOADS="manual")
        environ.update(UV_PYTHON_INSTALL_DIR=str(folder / "pythons"), UV_CACHE_DIR=str(folder / "uv-cache"))
        del environ["UV_OFFLINE"]
        return environ
