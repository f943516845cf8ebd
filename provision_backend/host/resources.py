"""What this machine can spare: processors and memory, and what running programs take of it.

In: ``/proc`` and the control group of this process. Out: numbers, None where they are unknown. A container sees the
memory and the processors of its machine, and is ended when it takes more than its control group may have.

Source: proc(5), "MemAvailable"; Linux, Documentation/admin-guide/cgroup-v2.rst, ``memory.max`` and ``cpu.max``.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import List, Optional

from ..files import read_file

__all__ = ["available_memory", "tree_memory", "usable_cores"]

_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # in version 2 of control groups, and in version 1
_UNLIMITED = 1 << 60  # bytes; for "no limit", version 2 says "max" and version 1 a number that no machine has


def usable_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processors this process may use, at least 1."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # macOS has none.
        with contextlib.suppress(OSError):
            cores = len(os.sched_getaffinity(0))
    quota = _numbers(groups / "cpu.max")
    if len(quota) == 2 and quota[1]:
        cores = min(cores, -(-quota[0] // quota[1]))
    return max(cores, 1)


def available_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> Optional[int]:
    """Return the bytes that can be taken without swapping, and no more than a container may have in all."""
    # What a container has taken counts its page cache, which is given back, so only its limit says something.
    found = [limit for name in _LIMITS for limit in _numbers(groups / name) if limit < _UNLIMITED]
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = read_file(proc / "meminfo").decode("ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(found) if found else None


def tree_memory(pid: int, proc: Path = Path("/proc")) -> int:
    """Return the resident bytes of a process and all that it has started; what they share is counted for each."""
    total, waiting, page = 0, [str(pid)], os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    while waiting:
        folder = proc / waiting.pop()
        total += (_numbers(folder / "statm") + [0, 0])[1] * page
        # The kernel lists the children of each thread of a process.
        with contextlib.suppress(OSError):
            for thread in os.listdir(folder / "task"):
                waiting += map(str, _numbers(folder / "task" / thread / "children"))
    return total


def _numbers(file: Path) -> List[int]:
    try:
        return [int(word) for word in read_file(file).decode("ascii").split()]
    except (OSError, ValueError):
        return []  # A process may have ended, and a limit may be the word "max".
