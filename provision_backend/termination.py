"""End programs that were started here, with all that these have started.

A terminal sends its signals to a whole process group; ``kill``, tox and containers send them to one process. What it
has started would go on, so it is ended first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from .files import list_names
from .systems import RUNNING

__all__ = ["end_child", "end_programs", "passing_on_sigterm", "signals_later", "terminate"]

_HANDLED = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "ALRM") if hasattr(signal, f"SIG{name}")]
"""Signals that have handlers here: of Python, of this package, or of a frontend."""

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_GRACE = 3.0  # seconds that a program has to end when it is asked to; then it is killed


def end_programs(programs: Sequence[subprocess.Popen[bytes]]) -> None:
    """End programs that `start_program` has started, and what they run; those that do not end in time are killed."""
    # What has left the group, as a server in a session of its own, is not reached by it.
    below = [pid for program in programs for pid in _descendants(program.pid)]
    for program in programs:
        _signal_group(program, signal.SIGTERM)
    _signal_each(below, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    for program in programs:
        with suppress(subprocess.TimeoutExpired):
            program.wait(max(0.0, end - time.monotonic()))
        # What ignores SIGTERM is killed, and what it has left in its group.
        _signal_group(program, _KILL)
        program.wait()
    _signal_each(below, _KILL)


def _signal_group(program: subprocess.Popen[bytes], number: int) -> None:
    with suppress(OSError):
        if RUNNING.name == "windows":
            program.terminate()
        else:
            os.killpg(program.pid, number)


def end_child(child: subprocess.Popen[bytes]) -> None:
    """End a program, and wait until it has ended; one that does not end in time is killed."""
    terminate(child)
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def terminate(child: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, and all that it has started: pip runs itself once more, and a backend runs compilers."""
    below = _descendants(child.pid)
    child.terminate()
    _signal_each(below, signal.SIGTERM)


def _signal_each(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, number)


def _descendants(pid: int) -> List[int]:
    """Return the numbers of the processes below one; none on other systems than Linux.

    Source: proc(5), /proc/pid/stat.
    """
    children: Dict[int, List[int]] = {}
    for name in filter(str.isdigit, list_names(Path("/proc"))):
        with suppress(OSError):
            # The name of a program, in parentheses, may have any characters in it.
            fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


@contextmanager
def passing_on_sigterm() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Let a SIGTERM end the child first and then this process, which would otherwise leave it running.

    Yields what is called with the child once it has started. A terminal sends its signals to the whole group; ``kill``,
    tox and containers send them to one process. A handler that the frontend has set is left alone, and only the main
    thread can set one.
    """
    children: List[subprocess.Popen[bytes]] = []
    signals: List[int] = []

    def _adopt(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        if signals:
            terminate(child)  # One has arrived while it was being started.

    def _pass_on(number: int, _frame: object) -> None:
        signals.append(number)
        for child in children:
            terminate(child)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield _adopt
        return
    signal.signal(signal.SIGTERM, _pass_on)
    try:
        yield _adopt
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signals:
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def signals_later() -> Iterator[Callable[[], None]]:
    """Let signals wait until a program that is being started can be ended.

    A handler ends this process by an exception. Raised within ``Popen`` it would leave the program running, since
    nobody has its handle yet. Yields what puts the handlers back, and calls those whose signal has arrived. Only the
    main thread runs handlers.
    """
    held: Dict[int, Callable[[int, Optional[FrameType]], Any]] = {}
    arrived: List[int] = []

    def _now() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)
        held.clear()
        while arrived:
            signal.raise_signal(arrived.pop())

    if threading.current_thread() is threading.main_thread():
        for number in _HANDLED:
            handler = signal.getsignal(number)
            # What is ignored, or ends this process without Python's doing, has no handler.
            if callable(handler):
                held[number] = handler
                signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield _now
    finally:
        _now()
