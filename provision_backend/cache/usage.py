"""When an interpreter was last used, and who uses it now: a cache in; times and process numbers out.

The last use is the time of a file beside the interpreters, set at most once an hour: one ``stat`` more for a hit, and
nothing where the cache is read-only. Who uses one now is read from ``/proc`` (Linux): programs, working directories
and mapped libraries of every process that we may look at.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Dict, List, Set

from .entries import MARKER
from .folders import write_note

__all__ = ["RECENT", "last_use", "note_use", "processes_using"]

RECENT = 7200.0
"""Seconds after its last use for which an interpreter counts as in use: between two hooks of one build no process
runs it."""

_RESOLUTION = 3600.0  # seconds


def note_use(root: Path, name: str) -> None:
    """Write down that an interpreter is used now; do nothing where that is not possible or was done lately.

    Args:
        root: its cache.
        name: of its folder.
    """
    stamp = root / "used" / name
    with contextlib.suppress(OSError):
        if abs(time.time() - stamp.stat().st_mtime) < _RESOLUTION:
            return
    try:
        os.utime(str(stamp))
    except OSError:
        write_note(root, stamp, "")  # There is none yet, or it is another user's.


def last_use(root: Path, name: str) -> float:
    """Return when an interpreter was last used, in seconds since the epoch; when it was published if it never was."""
    times = []
    for path in (root / "used" / name, root / "interpreters" / name / MARKER, root / "interpreters" / name):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
            break
    return times[0] if times else 0.0


def processes_using(root: Path) -> Dict[str, List[int]]:
    """Return the numbers of the processes that use an interpreter, by the name of its folder.

    Args:
        root: the cache. Processes of other users are seen by root only, those of another container by nobody.
    """
    prefix = os.fsencode(str(root / "interpreters")) + b"/"
    pattern = re.compile(re.escape(prefix) + b"([^/\n]+)")
    using: Dict[str, List[int]] = {}
    for number in sorted(int(name) for name in _listed("/proc") if name.isdigit()):
        for name in _names(number, pattern):
            using.setdefault(name, []).append(number)
    return using


def _names(number: int, pattern: re.Pattern[bytes]) -> Set[str]:
    text = b""
    for name in ("exe", "cwd"):
        with contextlib.suppress(OSError):
            text += os.readlink(os.fsencode(f"/proc/{number}/{name}")) + b"\n"
    with contextlib.suppress(OSError), open(f"/proc/{number}/maps", "rb") as file:
        text += file.read()
    return {os.fsdecode(name) for name in pattern.findall(text)}


def _listed(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
