"""What the benchmarks ran on, for the page.

In: ``/proc``, and the programs that are compared. Out: sentences by name. Neither the name of the machine nor a path
of it is among them.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Dict, Tuple

from support.hosts import Frontend

from .workbench import ROOT, Workbench

__all__ = ["describe"]


def describe(bench: Workbench) -> Dict[str, str]:
    """Return what there is to know about the machine and the programs."""
    facts = {
        "processor": _first(r"model name\s*: (.*)", "/proc/cpuinfo") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "files are on": _filesystem(bench),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "provision_backend": _commit(),
        "uv": _program([str(bench.uv), "--version"]),
    }
    new, old = bench.satisfying, bench.old if bench.old_host else None
    facts["host that satisfies"] = "Python {}, pip {}, build {}".format(new.version, *_versions(new))
    if old is not None:
        facts["old host"] = "Python {}, pip {}, build {}".format(old.version, *_versions(old))
    facts["archive"] = f"{bench.archive.name}, {bench.archive.stat().st_size / 2**20:.0f} MiB"
    return facts


def _first(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, Path(file).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _memory() -> str:
    total = _first(r"MemTotal:\s*(\d+) kB", "/proc/meminfo")
    return f"{int(total) / 2**20:.1f} GiB" if total else "unknown"


def _filesystem(bench: Workbench) -> str:
    kind, best = "unknown", ""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, found = line.split()[:3]
        inside = bench.where == point or bench.where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            kind, best = found, point
    return kind if kind == "tmpfs" else f"{kind} (no tmpfs could be written, so the disk is in the figures)"


def _commit() -> str:
    commit = _program(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    changed = _program(["git", "-C", str(ROOT), "status", "--porcelain", "--", "provision_backend"])
    return f"commit {commit}{' with changes' if changed else ''}" if commit else "not from a repository"


def _program(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
    except OSError:
        return ""


def _versions(frontend: Frontend) -> Tuple[str, str]:
    """Return the versions of pip and build of a frontend."""
    code = "import importlib.metadata as m; print(m.version('pip'), m.version('build'))"
    pip, build = frontend.run(["-I", "-c", code]).output.split()
    return pip, build
