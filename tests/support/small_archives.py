"""Small archives of a real CPython: what is not needed to start it and to make an environment is left out.

In: an archive in python-build-standalone's layout. Out: folders that are flat mirrors, each with archives of a tenth of
its size and their ``SHA256SUMS``, as many different ones as a test wants. They are real: the interpreter starts, loads
native code and is finalized; only its test suite, pip, Tk and their like are gone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Iterator, List

from .real_interpreters import cache_folder, locked, standalone_archive

__all__ = ["catalog_of", "ours", "shared_small_archives", "small_archives", "start"]

ROOT = Path(__file__).resolve().parent.parent.parent

_KEPT_PACKAGES = {
    "collections", "ctypes", "encodings", "ensurepip", "importlib", "json", "lib-dynload", "logging", "pathlib", "re",
    "sysconfig", "venv",
}  # fmt: skip
# Each installation would compile these, which takes longer than all else that it does with such an archive.
_LEFT_OUT_MODULES = {
    "_opcode_metadata", "_pydatetime", "_pydecimal", "ast", "base64", "calendar", "configparser", "csv", "dataclasses",
    "datetime", "decimal", "difflib", "dis", "fractions", "inspect", "ipaddress", "numbers", "opcode", "optparse",
    "platform", "queue", "quopri", "statistics", "tarfile", "tokenize",
}  # fmt: skip
_LEFT_OUT = re.compile(
    r"/(__pycache__|_bundled|tests?|include|share|pkgconfig|config-[^/]*)(/|$)|\.a$|pydoc_data|libtcl|libtk"
)


def shared_small_archives() -> List[Path]:
    """Return eight small archives for the libc of this machine, made once for all test runs.

    Raises:
        Unavailable: there is no real one to make them of.
    """
    original = standalone_archive("3.12")
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:10]
    base = cache_folder() / "archives" / "small"
    folder = base / f"{original.parent.name}-{code}"
    with locked(cache_folder() / "small.lock"):
        if not folder.is_dir():
            shutil.rmtree(str(base / "new"), ignore_errors=True)
            small_archives(original, base / "new", 8)
            (base / "new").rename(folder)
    return sorted(folder.glob("*.tar.gz"))


def small_archives(original: Path, folder: Path, count: int = 1) -> List[Path]:
    """Make small archives in a folder, with their ``SHA256SUMS``.

    Args:
        original: a ``.tar.gz`` of a real CPython.
        folder: made if it is not there.
        count: how many; they differ in their tag and in one file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = list(_kept(original))
    made = []
    for number in range(count):
        path = folder / re.sub(r"\+\d{8}-", f"+{20300101 + number}-", original.name)
        note = tarfile.TarInfo("python/lib/number.txt")
        note.size = len(str(number))
        with gzip.GzipFile(str(path), "wb", compresslevel=1, mtime=0) as zipped, tarfile.open(
            fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT
        ) as archive:
            for member, content in members:
                archive.addfile(member, io.BytesIO(content) if member.isfile() else None)
            archive.addfile(note, io.BytesIO(str(number).encode()))
        made.append(path)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    return made


def _kept(original: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(str(original)) as archive:
        for member in archive:
            if _is_needed(member.name):
                file = archive.extractfile(member) if member.isfile() else None
                content = file.read() if file else b""
                content = _stripped(content) if content.startswith(b"\x7fELF") else content
                member.size = len(content)
                yield member, content


def _stripped(elf: bytes) -> bytes:
    """Leave the debug information out, where this machine can."""
    if shutil.which("strip") is None:
        return elf
    with tempfile.NamedTemporaryFile() as file:
        file.write(elf)
        file.flush()
        subprocess.run(["strip", "--strip-debug", file.name], check=True)
        return Path(file.name).read_bytes()


def _is_needed(name: str) -> bool:
    if _LEFT_OUT.search(name):
        return False
    match = re.match(r"python/lib/python3\.\d+t?/(?:([^/]+)/|([^/]+)\.py$)", name)
    if match is None:
        return True
    package, module = match.groups()
    return package in _KEPT_PACKAGES if package else module not in _LEFT_OUT_MODULES


def catalog_of(archive: Path, folder: Path) -> Path:
    """Write a catalog that has one archive, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{archive.name}.SHA256SUMS"
    path.write_text(f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n", encoding="ascii")
    return path


def ours(*arguments: str, cache: Path, archive: Path, mirror: str = "", **env: str) -> List[Any]:
    """Return the command line that installs the interpreter of *archive*, and its environment.

    Args:
        arguments: added to ``install``.
        cache: the writable cache.
        archive: the only one of the catalog.
        mirror: where it comes from; by default its folder.
        env: further variables.
    """
    match = re.match(r"cpython-(\d+\.\d+\.\d+)", archive.name)
    assert match
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_MIRROR": mirror or str(archive.parent),
        "PROVISION_BACKEND_CATALOG": str(catalog_of(archive, cache.parent / "catalogs")),
        **env,
    }
    return [[sys.executable, "-m", "provision_backend", "install", match[1], *arguments], environ]


def start(command: List[Any]) -> subprocess.Popen[str]:
    """Start what `ours` returned."""
    return subprocess.Popen(
        command[0],
        env=command[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
