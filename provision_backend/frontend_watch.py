"""End with the frontend: a hook, and the programs that it runs, do not outlive the process that has called it.

That holds whatever signal ends the frontend. A terminal sends its signals to all processes of a build; ``kill``, tox
and continuous integration send them to the frontend alone, which then kills us (build, on SIGINT), or leaves us (all of
them, on SIGTERM). So a hook looks twice a second whether its frontend is still its parent, and the kernel is asked to
end what we have started when we are killed (``PR_SET_PDEATHSIG``, prctl(2)).
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .systems import RUNNING

if RUNNING.name == "windows":
    from . import windows

__all__ = [
    "POLL", "child_options", "follow_frontend", "frontend_command", "frontend_has_ended", "frontend_id",
    "frontend_programs", "is_following", "is_watched_by_timer",
]  # fmt: skip

POLL = 0.5  # seconds between two looks at who the parent is
_CLEANING = 15.0  # seconds that a hook whose frontend has ended may take to remove what is unfinished
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h

_followed: Optional[Tuple[int, Callable[[], bool]]] = None
"""Id of the process that is a hook, and whether the frontend that it follows has ended; None for a command."""


@contextmanager
def follow_frontend() -> Iterator[None]:
    """End this process, and what it runs, when its frontend ends while the body runs; to be used by a hook.

    On Windows, and where there are interval timers, this holds whatever the body does: download, unpack, wait for a
    lock or sleep. Elsewhere it holds while a program runs. A timer or a handler of the frontend's is left alone.
    """
    global _followed
    if is_following():
        yield  # One hook process may do several things that a frontend waits for.
        return
    before = _followed
    _followed = (os.getpid(), _frontend_watch())
    try:
        if RUNNING.name == "windows":
            looking = windows.end_with(frontend_has_ended, _end_with_frontend, every=POLL, grace=_CLEANING)
        else:
            looking = _looking_by_timer()
        with looking:
            yield
    finally:
        _followed = before


def frontend_id() -> int:
    """Return the number of the process that has called this hook; all hooks of one run of a frontend have the same."""
    return windows.frontend_id() if RUNNING.name == "windows" else os.getppid()


def frontend_programs() -> List[str]:
    """Return the paths of programs that may be the frontend's, absolute; empty where the system does not show them."""
    if RUNNING.name == "windows":
        return windows.programs_above(frontend_id())
    # The program of a relative path is one of the frontend's folder, and a bare name was found on PATH.
    name = frontend_command()[0]
    return [os.path.join(os.path.realpath(f"/proc/{frontend_id()}/cwd"), name)] if "/" in name else []


def frontend_command() -> List[str]:
    """Return the words of the frontend's command line; one that is empty where the system does not show them."""
    try:
        command = Path(f"/proc/{frontend_id()}/cmdline").read_bytes()
    except OSError:
        command = b""
    return os.fsdecode(command).split("\0")


def _frontend_watch() -> Callable[[], bool]:
    parent = frontend_id()
    if RUNNING.name == "windows":
        # Windows goes on to name a parent that has ended.
        return functools.partial(windows.has_ended, windows.open_process(parent))
    return lambda: os.getppid() != parent


@contextmanager
def _looking_by_timer() -> Iterator[None]:
    main = threading.current_thread() is threading.main_thread()
    usable = main and hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    if not usable or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    # Not PR_SET_PDEATHSIG: it is about the thread that has started this process, and those of uv and tox may end.
    signal.signal(signal.SIGALRM, _end_with_frontend)
    signal.setitimer(signal.ITIMER_REAL, POLL, POLL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _end_with_frontend(_number: int, _frame: object) -> None:
    if is_following() and frontend_has_ended():
        # What is unfinished is removed first. If this is swallowed, as in a destructor, the next alarm repeats it.
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _CLEANING, _CLEANING)
        raise SystemExit(1)


def is_following() -> bool:
    """Tell whether this process is a hook that `follow_frontend` watches."""
    # What has been forked off a hook has another parent.
    return _followed is not None and _followed[0] == os.getpid()


def is_watched_by_timer() -> bool:
    """Tell whether a signal comes when it is time to look at the frontend, whatever this process waits for."""
    return hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) is _end_with_frontend


def frontend_has_ended() -> bool:
    """Tell whether the frontend that this hook follows has ended."""
    return _followed is not None and _followed[1]()


def child_options() -> Dict[str, Any]:
    """Return the arguments for Popen by which a child ends when this process is killed; empty where it cannot."""
    # The kernel means the thread that starts the child, so it must be one that lasts as long as the process.
    main = threading.current_thread() is threading.main_thread()
    if not is_following() or not main or RUNNING.name != "linux":
        return {}
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return {}
    return {"preexec_fn": functools.partial(prctl, _SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))}
