"""Bring a tree to the disk before its name is there, so that a power cut leaves it complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["flush_folder", "flush_tree"]


def flush_tree(tree: Path) -> None:
    """Flush all files of a tree.

    Args:
        tree: its folder; the whole file system is flushed.
    """
    descriptor = os.open(str(tree), os.O_RDONLY)
    try:
        _syncfs(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(descriptor: int) -> None:
    # One syncfs is ten times cheaper than thousands of fsyncs; Python has no name for it.
    import ctypes

    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
            return
    except (AttributeError, OSError):
        pass  # Not Linux, or an interpreter that cannot open its own symbols.
    os.sync()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder, after a rename into it."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some network file systems refuse to sync a directory; the rename itself has happened.
    finally:
        os.close(descriptor)
