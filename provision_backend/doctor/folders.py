"""What a folder is for programs: its file system, its room, and whether it can be written and run from.

Nothing stays: a folder is tried with a file that has no name.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Optional, Union

from ..output import format_size

__all__ = ["describe", "existing", "file_system", "free_bytes", "free_inodes", "is_noexec", "try_writing"]

_PROBE = bytes(64 * 1024)


def existing(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def try_writing(folder: Union[str, Path]) -> Optional[OSError]:
    """Write a file without a name into a folder, and return why that fails; None where it works."""
    try:
        with tempfile.TemporaryFile(dir=str(folder)) as file:
            file.write(_PROBE)
            file.flush()
    except OSError as exc:
        return exc
    return None


def is_noexec(folder: Union[str, Path]) -> bool:
    """Whether no program can be started from a folder's file system."""
    status = _status(folder)
    return status is not None and bool(status.f_flag & getattr(os, "ST_NOEXEC", 0))


def free_bytes(folder: Union[str, Path]) -> Optional[int]:
    """Return the bytes that a user may still write; None where that is not known."""
    status = _status(folder)
    return None if status is None else status.f_bavail * status.f_frsize


def free_inodes(folder: Union[str, Path]) -> Optional[int]:
    """Return how many files a user may still make; None where the file system has no bound or it is not known."""
    status = _status(folder)
    return status.f_favail if status is not None and status.f_files else None


def describe(folder: Union[str, Path]) -> str:
    """Name a folder with its file system and its room: ``/tmp (tmpfs, 1.2 GB free)``."""
    room = free_bytes(folder)
    parts = [file_system(folder), "" if room is None else f"{format_size(room)} free"]
    return f"{folder} ({', '.join(filter(None, parts))})" if any(parts) else str(folder)


def file_system(folder: Union[str, Path]) -> str:
    """Return the type of the file system that a folder is on; empty where that is not known.

    Source: proc_pid_mountinfo(5).
    """
    path = os.path.realpath(folder)
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4])
        # The last one counts where several are mounted on the same point.
        if len(point) >= len(best) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = point, rest.split(" ")[0]
    return kind


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def _status(folder: Union[str, Path]) -> Optional[os.statvfs_result]:
    try:
        return os.statvfs(folder)
    except (OSError, AttributeError):
        return None
