"""Count the programs that one build executes.

In: a build. Out: a number: of successful execve calls as strace sees them, or, where strace is missing or not allowed,
of processes that were seen by looking at /proc over and over, which misses the shortest.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict, Set, Tuple

from .core import Failed
from .frontends import Build
from .running import Command, run
from .workbench import Workbench

__all__ = ["count_processes", "method"]

# With the filter only these calls stop a program; without it every call would.
_STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o")


@functools.lru_cache(maxsize=None)
def _has_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    # A container may have the program and not the permission.
    return subprocess.run([*_STRACE, os.devnull, "true"], capture_output=True, check=False).returncode == 0


def method() -> str:
    """Say how processes are counted here."""
    if _has_strace():
        return "by strace, each successful `execve` once"
    return "by looking at /proc over and over (strace is missing or not allowed here), which misses the shortest"


def count_processes(bench: Workbench, build: Build) -> int:
    """Build once and return how many programs were executed.

    Raises:
        Failed: the build did.
    """
    folder = bench.new_folder()
    try:
        command = build.command(folder)
        return _traced(command, folder) if _has_strace() else _watched(command)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _traced(command: Command, folder: Path) -> int:
    log = folder / "execve.log"
    run(Command([*_STRACE, str(log), *command.argv], command.env, command.cwd))
    return sum(line.endswith(" = 0") for line in log.read_text(errors="replace").splitlines())


def _watched(command: Command) -> int:
    process = subprocess.Popen(
        list(command.argv),
        env=dict(command.env),
        cwd=str(command.cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen: Set[Tuple[int, str]] = set()
    known = {process.pid}
    while process.poll() is None:
        for pid, (parent, program) in _table().items():
            if parent in known or pid in known:
                known.add(pid)
                seen.add((pid, program))
        time.sleep(0.001)
    if process.returncode != 0:
        raise Failed(f"{os.path.basename(command.argv[0])} ended with {process.returncode}")
    return len(seen)


def _table() -> Dict[int, Tuple[int, str]]:
    """Return parent and program of each process."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
                program = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            found[int(entry)] = (int(text.rpartition(")")[2].split()[1]), program)
    return found
