"""The smallest trees that count as entries of a cache, made and published without an archive or an installer."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from provision_backend.cache.store import Cache
from provision_backend.catalog.archive import Archive
from provision_backend.output import Reporter

__all__ = [
    "ARCHIVE",
    "ENVIRONMENT",
    "KEY",
    "SHA",
    "Build",
    "build",
    "filled",
    "names",
    "provide",
    "provide_environment",
]

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
ENVIRONMENT = "fedcba9876543210" * 2  # the key of a locked environment
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


def filled(interpreter: str) -> Callable[[Path], Mapping[str, Any]]:
    """Return a function that fills a folder with what an installer leaves there, for the interpreter of that path."""

    def _fill(tree: Path) -> Mapping[str, Any]:
        packages = tree / "lib" / "python3.13" / "site-packages"
        (packages / "hatchling" / "__pycache__").mkdir(parents=True)
        (tree / "lib64").symlink_to("lib")
        (packages / "hatchling" / "build.py").write_text("import sys\n")
        (packages / "hatchling" / "__pycache__" / "build.cpython-313.pyc").write_text("compiled")
        (tree / "bin").mkdir()
        (tree / "bin" / "python").symlink_to(interpreter)
        (tree / "bin" / "python3").symlink_to("python")
        (tree / "bin" / "hatchling").write_text(f"#!{tree}/bin/python\n")
        (tree / "bin" / "hatchling").chmod(0o777)
        return {"interpreter": interpreter, "files": {"hatchling": ["hatchling-1.33.0-py3-none-any.whl", SHA]}}

    return _fill


def provide_environment(
    cache: Cache, make: Optional[Callable[[Path], Mapping[str, Any]]] = None, key: str = ENVIRONMENT
) -> Path:
    """Have a cache provide a locked environment, by default for the interpreter of `provide`, and return its path."""
    make = make or filled(provide(cache))
    return cache.provide_environment(key, make, lock_timeout=5, reporter=Reporter(io.StringIO()))


def names(cache: Cache, folder: str) -> List[str]:
    """Return what is in one of the folders of a cache."""
    return sorted(os.listdir(cache.root / folder))
