"""Small root file systems made of the heads of real executables in ``tests/data/elf``."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Union

__all__ = [
    "GLIBC_AMD64",
    "MUSL_AMD64",
    "Link",
    "elf_bytes",
    "elf_names",
    "make_root",
    "program_bytes",
    "program_names",
]

_FOLDER = Path(__file__).resolve().parent.parent / "data" / "elf"
_PROGRAMS = _FOLDER.with_name("programs")


@dataclass(frozen=True)
class Link:
    """A symbolic link and where it points to, inside the root."""

    target: str


Content = Union[bytes, str, Link]


def elf_bytes(name: str) -> bytes:
    """Return a fixture, such as ``debian/hostname.amd64``, in its original length."""
    return gzip.decompress((_FOLDER / f"{name}.gz").read_bytes())


def elf_names() -> List[str]:
    """List all fixtures."""
    return [f"{path.parent.name}/{path.name[:-3]}" for path in sorted(_FOLDER.glob("*/*.gz"))]


def program_bytes(name: str) -> bytes:
    """Return the head of a program for Windows or macOS, such as ``x86_64-windows-gnu``, in its original length."""
    return gzip.decompress((_PROGRAMS / f"{name}.gz").read_bytes())


def program_names(system: str) -> List[str]:
    """List those for ``windows`` or ``macos``."""
    return [path.name[:-3] for path in sorted(_PROGRAMS.glob(f"*{system}*.gz"))]


def make_root(root: Path, *contents: Mapping[str, Content]) -> Path:
    """Fill a root: a fixture by its name, bytes as they are, or a link. The last word on a path counts."""
    merged: Dict[str, Content] = {}
    for files in contents:
        merged.update(files)
    root.mkdir(parents=True, exist_ok=True)
    for path, content in merged.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            place.symlink_to(content.target)
        else:
            place.write_bytes(elf_bytes(content) if isinstance(content, str) else content)
    return root


# Debian's layout: the loader's well-known path is an absolute link into the multiarch folder.
GLIBC_AMD64: Dict[str, Content] = {
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "debian/ld-2.36.amd64",
    "/lib/x86_64-linux-gnu/libc.so.6": "debian/libc-2.36.amd64",
    "/lib64/ld-linux-x86-64.so.2": Link("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
}

MUSL_AMD64: Dict[str, Content] = {"/lib/ld-musl-x86_64.so.1": "debian/musl-1.2.5.amd64"}
