"""The copies of our own modules in a cache, of which `provision_backend.kept` imports: made, swept and removed.

A copy is made by a build that has provisioned, under another name, flushed and renamed: it is complete or absent. Of
builds at once mostly one makes it; where two do, one of theirs stays.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import List

from ..files import flush_tree, list_names, remove_path
from ..kept import PACKAGE, RECORD, copies_folder, copy_of, installed_folder, is_passing, is_private, read_record

__all__ = ["keep_copy", "sweep_copies"]

_PATIENCE = 60.0
"""Seconds after which a copy that is not finished is taken for abandoned."""

_KEPT = 3
"""How many there are at most, of so many releases or installers; those that were made last stay."""


def keep_copy() -> None:
    """Make a copy of this installation, if there is none; a failure costs later builds some time and is no error."""
    try:
        folder = copies_folder()
        # A build without the cache that its variables name has no use for one there.
        if not folder or not is_passing() or not os.path.isdir(os.path.dirname(os.path.dirname(folder))):
            return
        record = read_record()
        copy = copy_of(folder, record)
        if not os.path.isdir(copy):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if is_private(folder) and not _is_being_made(Path(folder)):
                _make(Path(copy), record)
                sweep_copies(Path(folder), keep=_KEPT)
    except (OSError, StopIteration):
        return


def sweep_copies(folder: Path, *, keep: int = 0) -> List[str]:
    """Remove copies but the newest ones, and return their names; who still imports from one goes on without it.

    Args:
        folder: of one user's copies.
        keep: how many stay.
    """
    paths = [folder / name for name in list_names(folder)]
    ages = {path: _made(path) for path in paths}
    swept = sorted(paths, key=lambda path: -ages[path])[keep:]
    for path in swept:
        remove_path(path)
    return [path.name for path in swept]


def _is_being_made(folder: Path) -> bool:
    """Whether another build makes one just now, so that of 32 builds not each flushes the file system."""
    begun = [_made(folder / name) for name in list_names(folder) if name.startswith("new-")]
    return any(time.time() - moment < _PATIENCE for moment in begun)


def _made(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _make(copy: Path, record: bytes) -> None:
    import shutil
    import tempfile

    new = Path(tempfile.mkdtemp(prefix="new-", dir=str(copy.parent)))
    try:
        shutil.copytree(installed_folder(), str(new / PACKAGE), ignore=shutil.ignore_patterns("__pycache__"))
        (new / RECORD).write_bytes(record)
        # A module that a power cut leaves empty would break each build that imports it.
        flush_tree(new)
        new.rename(copy)
    finally:
        # It is there still where another build was faster, or the disk is full.
        shutil.rmtree(str(new), ignore_errors=True)
