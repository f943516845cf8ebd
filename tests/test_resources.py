"""What the machine can spare: the numbers of /proc and of control groups, read from files that hold them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision_backend.host.resources import available_memory, tree_memory, usable_cores

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system has no /proc")


def _files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_max", ".max").replace("_limit", ".limit")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return folder


def test_a_container_has_the_processors_of_its_quota(tmp_path: Path) -> None:
    """A quota of 150 ms in 100 ms is two processors at most, and one that is smaller than a processor is one."""
    assert usable_cores(_files(tmp_path / "a", cpu_max="150000 100000")) == min(2, usable_cores(tmp_path))
    assert usable_cores(_files(tmp_path / "b", cpu_max="20000 100000")) == 1


@pytest.mark.parametrize("text", ["max 100000", "", "nonsense"])
def test_without_a_quota_the_processors_are_those_of_this_process(tmp_path: Path, text: str) -> None:
    """A file that sets no limit, or cannot be read, changes nothing."""
    assert usable_cores(_files(tmp_path, cpu_max=text)) == usable_cores(tmp_path / "none") >= 1


def test_memory_is_the_least_of_what_is_free_and_what_is_allowed(tmp_path: Path) -> None:
    """A container may have less than its machine has left, and a machine less left than a container may have."""
    proc = _files(tmp_path / "proc", meminfo="MemTotal: 9000 kB\nMemAvailable: 5000 kB")
    small = _files(tmp_path / "v2", memory_max="1024000")
    large = _files(tmp_path / "large", memory_max=str(1 << 40))
    first = _files(tmp_path / "v1", memory__memory_limit_in_bytes="2048000")

    assert available_memory(proc, small) == 1024000
    assert available_memory(proc, large) == 5000 * 1024
    assert available_memory(proc, first) == 2048000


def test_unknown_memory_is_none(tmp_path: Path) -> None:
    """A system without these files does not say how much it has, and a control group may have no limit."""
    assert available_memory(tmp_path, _files(tmp_path / "groups", memory_max="max")) is None


@needs_proc
def test_memory_of_a_tree_counts_what_its_programs_have_started() -> None:
    """A shell is small, and the 60 MB of the Python that it has started are counted for it."""
    code = "data = bytearray(60_000_000); print('full', flush=True); input()"
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"full\n"
        full = tree_memory(shell.pid)
        shell.communicate(b"\n")

    assert 60_000_000 < full < 200_000_000
    assert tree_memory(shell.pid) == 0
