"""Programs that we run for a frontend do not outlive it, whatever signal ends it.

In: a program that has been started. Out: what it printed until it ended, or until it was ended with the frontend. A
terminal sends its signals to all processes of a build; ``kill``, tox and continuous integration send them to the
frontend alone, which then kills us (build, on SIGINT), or leaves us (all of them, on SIGTERM). So a hook looks whether
its frontend is still its parent, and the kernel is asked to end what we have started when we are killed
(``PR_SET_PDEATHSIG``, prctl(2)).
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["child_options", "communicate", "follow_frontend"]

_POLL = 0.5
"""Seconds between two looks at who the parent is."""

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of linux/prctl.h."""

_followed: Optional[Tuple[int, int]] = None
"""Ids of the process that is a hook, and of the frontend that it follows. A command in the background is not a hook."""


def follow_frontend() -> None:
    """End this process, and what it runs, when its parent ends; to be called by a hook."""
    global _followed
    if not _is_following():
        _followed = (os.getpid(), os.getppid())


def _is_following() -> bool:
    # What has been forked off a hook has another parent.
    return _followed is not None and _followed[0] == os.getpid()


def _frontend_has_ended() -> bool:
    return _followed != (os.getpid(), os.getppid())


def child_options() -> Dict[str, Any]:
    """Return the arguments for Popen by which a child ends when this process is killed; empty where it cannot."""
    import threading

    # The kernel means the thread that starts the child, so it must be one that lasts as long as the process.
    main = threading.current_thread() is threading.main_thread()
    if not _is_following() or not main or not sys.platform.startswith("linux"):
        return {}
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return {}
    return {"preexec_fn": functools.partial(prctl, _SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))}


def communicate(child: Popen[bytes], timeout: Optional[float]) -> Tuple[bytes, bytes]:
    """Wait for a program, and end it when there is no frontend any more that waits for us.

    Args:
        child: the program.
        timeout: seconds after which ``subprocess.TimeoutExpired`` is raised.
    """
    if not _is_following():
        return child.communicate(timeout=timeout)
    import time
    from subprocess import TimeoutExpired

    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _POLL if end is None else min(_POLL, max(0.0, end - time.monotonic()))
        try:
            return child.communicate(timeout=left)
        except TimeoutExpired:
            if _frontend_has_ended():
                child.terminate()  # Nobody waits for it; what it was run for then fails, and this process ends.
            if end is not None and time.monotonic() >= end:
                raise
