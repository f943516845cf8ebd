"""What the comparisons need: wheels, environments, projects, an archive, servers, in one temporary folder.

In: the machine, this checkout and, where asked for, an older one. Out: `Workbench`. The folder is on tmpfs where there
is one, so that the disk does not drown the figures. All wheels and the pages of the package index that this machine is
configured with are downloaded once; what is measured gets them from a folder, or from an index on loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping
from urllib.parse import urlsplit

from support.hosts import clean_environ
from support.projects import c_extension, pure
from support.real_interpreters import oldest_host, standalone_archive, usable_hosts

from .measuring import run

__all__ = ["BACKENDS", "ROOT", "UV", "Workbench"]

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = {"hatchling": "hatchling.build", "flit_core": "flit_core.buildapi", "setuptools": "setuptools.build_meta"}
"""The real backends: their names on the page, and their modules."""
UV = str(Path(sys.executable).with_name("uv"))
_ROUND_TRIP = 0.02  # Seconds to the index on loopback, as to a near server of the public one.
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
        self._pages: List[str] = []

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
        return Path(oldest_host("3.10").path)

    @cached_property
    def pythons(self) -> List[Path]:
        """CPythons of this machine, the newest five minor versions from 3.9 on that are there."""
        found = {tuple(map(int, host.version.split(".")[:2])): host.path for host in usable_hosts()}
        return [found[minor] for minor in sorted(found) if minor >= (3, 9)][-5:]

    @property
    def new_python(self) -> Path:
        """The newest of them, which satisfies all projects here."""
        return self.pythons[-1]

    @cached_property
    def archive(self) -> Path:
        """A real CPython, packed, in a folder that is named after its release, with its SHA256SUMS."""
        found = standalone_archive("3.12")  # What the projects require.
        self.say(f"the archive is {found.name}, {found.stat().st_size / 1e6:.0f} MB")
        folder = self.new_folder() / re.findall(r"\+(\d{8})-", found.name)[0]
        shutil.copytree(str(found.parent), str(folder))
        return Path(folder / found.name)

    @lru_cache(maxsize=None)  # noqa: B019 - there is one workbench a run.
    def url(self, megabits: int = 0) -> str:
        """Return the address of a server that has the archive, laid out by release, behind a link of a speed."""
        return self._serve(self.archive.parent.parent, megabits)

    def address(self, megabits: int) -> str:
        """Return the address of the archive there."""
        return f"{self.url(megabits)}/{self.archive.parent.name}/{self.archive.name.replace('+', '%2B')}"

    def _serve(self, folder: Path, megabits: int = 0, round_trip: float = 0) -> str:
        argv = [sys.executable, str(Path(__file__).with_name("server.py")), str(folder), str(megabits), str(round_trip)]
        with self.log.open("a") as log:
            server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
        self._servers.append(server)
        assert server.stdout
        return f"http://127.0.0.1:{server.stdout.readline().strip()}"

    def downloads(self) -> int:
        """Return how often the archive was sent so far."""
        return len(re.findall(r'"GET \S+\.tar\.gz HTTP/\S+" 20[06]', self.log.read_text(encoding="utf-8")))

    @cached_property
    def wheels(self) -> Path:
        """A folder with all that the builds install, under each interpreter; ourselves are not in it."""
        folder = self.new_folder()
        index = {**clean_environ(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        names = ["hatchling", "flit_core", "setuptools", "build", "pip", "isal", "editables"]
        wanted = [(python, ["setuptools"]) for python in self.pythons]
        for label, python in product(self.checkouts, (self.old_python, self.new_python)):
            wanted.append((python, [*names, f"{self.wheel(label)}[provision,init]"]))
        for python, each in [*wanted, (self.new_python, [f"{self.wheel('with us')}[wheels]"])]:
            self.say(f"downloading the wheels for {python.name}")
            argv = [str(python), "-m", "pip", "download", "-vv", "--prefer-binary", "-d", str(folder), *each]
            printed = run(argv, index, self.folder)
            self._pages += re.findall(r"Fetching project page and analyzing links: (http\S+)", printed)
        for wheel in folder.glob("provision_backend-*"):
            wheel.unlink()
        return folder

    @cached_property
    def index(self) -> str:
        """The address of an index on loopback, with the pages and wheels of this machine's; see `benchmarks.server`.

        Each checkout is in an index of its own, as if it were published, and there is one without us.
        """
        root = self.new_folder()
        (root / "files").symlink_to(self.wheels)
        url = self._serve(root, round_trip=_ROUND_TRIP)
        trusted = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
        pages = {}
        for page in dict.fromkeys(self._pages):
            request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})  # noqa: S310
            with urllib.request.urlopen(request, context=trusted) as answer:  # noqa: S310
                listed = json.load(answer)
            for file in listed["files"]:
                if (self.wheels / file["filename"]).exists():
                    file["url"] = f"{url}/files/{file['filename']}"
            pages[page.rstrip("/").rpartition("/")[2]] = listed
        for label in ("", *self.checkouts):
            folder = root / f"index-{label}".replace(" ", "-")
            shutil.copytree(str(self.wheel(label or "with us").parent), str(folder))
            own = [
                {"filename": each.name, "url": f"{url}/{folder.name}/{each.name}", "hashes": {}}
                for each in folder.iterdir()
            ]
            for name, listed in {**pages, "provision-backend": {"files": own}}.items():
                (folder / name).mkdir()
                meta = {"meta": {"api-version": "1.0"}, "name": name}
                (folder / name / "index.html").write_text(json.dumps({**meta, **listed}))
        return url

    @lru_cache(maxsize=None)  # noqa: B019 - there is one workbench a run.
    def wheel(self, label: str) -> Path:
        """Return our own wheel, made from a checkout, alone in its folder."""
        out, source = self.new_folder(), self.new_folder()
        shutil.copytree(str(self.checkouts[label]), str(source / "x"), ignore=shutil.ignore_patterns(".*", "build"))
        argv = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir", str(out)]
        run([*argv, str(source / "x")], clean_environ(), out)
        return next(out.glob("*.whl"))

    def environ(self, label: str = "", *, index: bool = False, **more: str) -> Dict[str, str]:
        """Return the variables of a measured program: warm caches, and everything in our folder.

        Args:
            label: of the checkout whose wheel is offered.
            index: what is installed comes from the index on loopback, and not from folders.
            more: further variables.
        """
        base = {name: value for name, value in clean_environ().items() if not name.startswith(_DROPPED)}
        base.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}")
        base.update(HOME=str(self.folder), TMPDIR=str(self.folder), XDG_CACHE_HOME=str(self.folder / "user-cache"))
        base.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", UV_NO_CONFIG="1")
        base.update(UV_CACHE_DIR=str(self.folder / f"uv-cache-{label}"), UV_PYTHON_DOWNLOADS="never")
        if index:
            url = f"{self.index}/index-{label}".replace(" ", "-")
            # pip keeps answers only of hosts that it trusts.
            base.update(PIP_INDEX_URL=url, PIP_TRUSTED_HOST=urlsplit(url).netloc, UV_DEFAULT_INDEX=url)
        else:
            links = [str(self.wheels), *([str(self.wheel(label).parent)] if label else [])]
            base.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=" ".join(links), UV_FIND_LINKS=",".join(links))
            base.update(UV_OFFLINE="1")
        return {**base, **more}

    def provisioning(self, label: str, cache: Path, megabits: int = 0) -> Dict[str, str]:
        """Return the variables by which a checkout provisions the archive from the server into a cache."""
        return self.environ(
            label,
            PROVISION_BACKEND_CACHE_DIR=str(cache),
            PROVISION_BACKEND_MIRROR=self.url(megabits),
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
            form: ``one list``, ``table``, ``without us``, or ``extension``, which is in C and without us, too.
        """
        folder = self.new_folder() / "source"
        if form == "extension":
            c_extension(folder, requires_python=">=3.9")
        else:
            pure(folder, BACKENDS[backend], one_list=form == "one list")
        if form in ("without us", "extension"):
            file = folder / "pyproject.toml"
            system = r'requires = \["provision-backend"\]\nbuild-backend = "provision_backend"\n'
            ours = rf"(?s){system}(.*)\[tool\.provision-backend\]\n(.*?\n.*?\n)"
            file.write_text(re.sub(ours, r"\2\1", file.read_text(encoding="utf-8")), encoding="utf-8")
        return folder

    def locked_project(self, backend: str, environ: Mapping[str, str]) -> Path:
        """Write a project that is locked on every host, for the archive; all variables are given."""
        folder = self.project(backend, "table")
        python = self.environment(self.new_python, "with us", "provision-backend[provision,init]")
        run([str(python), "-m", "provision_backend", "lock", "--always", str(folder)], environ, folder)
        return folder

    @property
    def version(self) -> str:
        """The version of the archive's CPython."""
        return self.archive.name.split("-")[1].split("+")[0]

    @property
    def sha256(self) -> str:
        """The checksum of the archive."""
        return (self.archive.parent / "SHA256SUMS").read_text().split()[0]

    def uv_downloads(self, folder: Path, megabits: int = 0, **more: str) -> Dict[str, str]:
        """Return the variables by which uv knows of the archive only; what it installs and caches is in a folder."""
        triple = re.findall(r"\+\d+-(.+)-install_only", self.archive.name)[0]
        major, minor, patch = map(int, self.version.split("."))
        arch, libc = triple.split("-")[0], "musl" if "musl" in triple else "gnu"
        record: Dict[str, Any] = {"name": "cpython", "arch": {"family": arch, "variant": None}, "os": "linux"}
        record.update(libc=libc, major=major, minor=minor, patch=patch, prerelease="", variant=None)
        record.update(url=self.address(megabits), sha256=self.sha256, build="20260101")
        listed = folder / "downloads.json"
        listed.write_text(json.dumps({f"cpython-{self.version}-linux-{arch}-{libc}": record}))
        environ = self.environ(UV_PYTHON_DOWNLOADS_JSON_URL=str(listed), UV_PYTHON_DOWNLOADS="automatic")
        environ.update(UV_PYTHON_INSTALL_DIR=str(folder / "pythons"), UV_CACHE_DIR=str(folder / "uv-cache"))
        del environ["UV_OFFLINE"]
        return {**environ, **more}
