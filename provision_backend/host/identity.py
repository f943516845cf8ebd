"""`FileIdentity`: a file's ``stat`` in, what tells whether it is still the same out.

A module of its own, since a warm cache needs it and none of what reads other roots.
"""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["FileIdentity"]


class FileIdentity(NamedTuple):
    """What tells one state of a file from another without reading it."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last modification, nanoseconds since the epoch."""
    inode: int
    """Inode number; changes when a package manager replaces the file."""

    @classmethod
    def from_stat(cls, status: os.stat_result) -> FileIdentity:
        """Take the identity out of what ``stat`` returned."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)
