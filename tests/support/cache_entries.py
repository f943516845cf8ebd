"""The smallest trees that count as interpreters of a cache, made and published without an archive."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

from provision_backend.cache.store import Cache
from provision_backend.catalog.archive import Archive
from provision_backend.output import Reporter

__all__ = ["ARCHIVE", "KEY", "SHA", "Build", "build", "names", "provide"]

SHA = "0123456789abcdef" * 4
ARCHIVE = Archive(
    filename="cpython-3.13.5+20251031-x86_64-unknown-linux-gnu-install_only.tar.gz",
    sha256=SHA,
    version="3.13.5",
    tag="20251031",
    triple="x86_64-unknown-linux-gnu",
    flavor="install_only",
    freethreaded=False,
)
KEY = ARCHIVE.key
Build = Callable[[Path, Path, Path], Dict[str, Any]]


def build(staging: Path, download: Path, _final: Path) -> Dict[str, Any]:
    """Make the smallest tree that counts."""
    download.write_text("archive")
    tree = staging / "python"
    (tree / "bin").mkdir(parents=True)
    tree.chmod(0o755)
    (tree / "bin" / "python3.13").write_text("#!/bin/sh\n")
    (tree / "bin" / "python3.13").chmod(0o755)
    return {"tree": tree, "executable": "bin/python3.13", "pip": "25.0"}


def provide(cache: Cache, make: Build = build, archive: Archive = ARCHIVE) -> str:
    """Have a cache provide an interpreter, and return its path."""
    found = cache.provide(archive, make, lock_timeout=5, reporter=Reporter(io.StringIO()))
    return found.executable


def names(cache: Cache, folder: str) -> List[str]:
    """Return what is in one of the folders of a cache."""
    return sorted(os.listdir(cache.root / folder))
