"""Ask Windows what the standard library does not: other processes, and jobs, whose processes end together.

Used on Windows only. Nothing here raises: where Windows refuses an answer, or an interpreter without ``_ctypes`` cannot
ask, it is the one that changes nothing.

Source: Windows API, OpenProcess, QueryFullProcessImageNameW, NtQueryInformationProcess, Job Objects.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional

try:
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

__all__ = ["allows_long_paths", "end_with", "frontend_id", "has_ended", "is_alive", "open_process", "programs_above"]

_load: Any = getattr(ctypes, "WinDLL", None)
_kernel32: Any = _load and _load("kernel32", use_last_error=True)
_ntdll: Any = _load and _load("ntdll")
if _kernel32:
    # A handle is as wide as a pointer, and ctypes takes what it does not know for an int.
    _kernel32.OpenProcess.restype = _kernel32.CreateJobObjectW.restype = ctypes.c_void_p

_ACCESS = 0x100000 | 0x1000  # SYNCHRONIZE, PROCESS_QUERY_LIMITED_INFORMATION
_ACCESS_DENIED = 5
_SIGBREAK = 21
_LIMITS = 0x2000 | 0x800  # KILL_ON_JOB_CLOSE; BREAKAWAY_OK, without which a server that leaves its job does not start
_EXTENDED_LIMIT_INFORMATION = 9


def open_process(pid: int) -> Optional[ctypes.c_void_p]:
    """Return a handle of a process, which stays about that one when its number is used again; empty where none runs."""
    return _kernel32 and ctypes.c_void_p(_kernel32.OpenProcess(_ACCESS, False, pid))


def has_ended(process: Optional[ctypes.c_void_p]) -> bool:
    """Whether the process of a handle has ended; False where there is no handle."""
    return bool(process) and _kernel32.WaitForSingleObject(process, 0) == 0


def is_alive(pid: int) -> Optional[bool]:
    """Whether a process of this number runs, None if unknown; ``os.kill(pid, 0)`` would send it Ctrl-C (bpo-14480)."""
    if not _kernel32:
        return None
    process = open_process(pid)
    if not process:
        return bool(ctypes.get_last_error() == _ACCESS_DENIED)  # type: ignore[attr-defined,unused-ignore]
    ended = has_ended(process)
    _kernel32.CloseHandle(process)
    return not ended


def allows_long_paths() -> bool:
    """Whether this process may use paths of more than 259 characters, by the setting LongPathsEnabled."""
    ask = getattr(_ntdll, "RtlAreLongPathsEnabled", None)
    return bool(ask and ask() & 0xFF)


def frontend_id() -> int:
    """Return the number of the process that has called this hook.

    ``python.exe`` of a virtual environment starts that of the base interpreter and waits for it. So it stands between a
    hook and its frontend, and each hook has another one.
    """
    if not _kernel32:
        return os.getppid()
    parent = _parent(os.getpid())  # os.getppid of 3.13 takes a snapshot of the process, which wine cannot.
    launched = _is_same(_program(parent), sys.executable) and not _is_same(_program(os.getpid()), sys.executable)
    return _parent(parent) if launched else parent


def programs_above(pid: int) -> List[str]:
    """Return the paths of the programs of a process and of the one that has started it, as far as they are known."""
    programs = (_program(pid), _program(_parent(pid))) if _kernel32 else ()
    return [program for program in programs if program]


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _program(pid: int) -> str:
    process, size = open_process(pid), ctypes.c_ulong(32768)
    buffer = ctypes.create_unicode_buffer(size.value)
    found = _kernel32.QueryFullProcessImageNameW(process, 0, buffer, ctypes.byref(size))
    _kernel32.CloseHandle(process)
    return buffer.value if found else ""


def _parent(pid: int) -> int:
    # PROCESS_BASIC_INFORMATION is six values as wide as pointers; the last one is the parent's number.
    process, facts = open_process(pid), (ctypes.c_size_t * 6)()
    _ntdll.NtQueryInformationProcess(process, 0, facts, ctypes.sizeof(facts), None)
    _kernel32.CloseHandle(process)
    return int(facts[5])


@contextmanager
def end_with(
    ended: Callable[[], bool], handler: Callable[[int, Any], None], *, every: float, grace: float
) -> Iterator[None]:
    """Let this process, and all that it starts, end together, and when something else has ended.

    After the body they are independent again: a compiler leaves a server running that other builds use (mspdbsrv).

    Args:
        ended: whether it has.
        handler: called in the main thread then, as a signal handler, where that has none of its own.
        every: seconds between two questions.
        grace: seconds from the handler to the end by force.
    """
    if not _kernel32:
        yield
        return
    main = threading.current_thread() is threading.main_thread()
    handled = main and signal.getsignal(_SIGBREAK) is signal.SIG_DFL
    if handled:
        signal.signal(_SIGBREAK, handler)
    over = threading.Event()
    try:
        with _job() as end_all:
            arguments = (over, ended, every, grace, end_all)
            threading.Thread(target=_watch, args=arguments, daemon=True).start()
            yield
    finally:
        over.set()
        if handled:
            signal.signal(_SIGBREAK, signal.SIG_DFL)


def _watch(
    over: threading.Event, ended: Callable[[], bool], every: float, grace: float, end_all: Callable[[], None]
) -> None:
    while not over.wait(every):
        if ended():
            signal.raise_signal(_SIGBREAK)
            over.wait(grace)
            end_all()


@contextmanager
def _job() -> Iterator[Callable[[], None]]:
    """Put this process, and all that it starts, into a job; it ends when this process is killed, or by a call."""
    job = ctypes.c_void_p(_kernel32.CreateJobObjectW(None, None))
    _set_limits(job, _LIMITS)
    # Before Windows 8 a process has one job only; then nothing ends together.
    _kernel32.AssignProcessToJobObject(job, ctypes.c_void_p(-1))
    try:
        yield lambda: _kernel32.TerminateJobObject(job, 1)
    except Exception:
        _set_limits(job, 0)
        raise
    # After Ctrl-C, or when the frontend has ended, what still runs ends with this process.
    _set_limits(job, 0)
    _kernel32.CloseHandle(job)


def _set_limits(job: ctypes.c_void_p, flags: int) -> None:
    # JOBOBJECT_EXTENDED_LIMIT_INFORMATION: the flags stand behind two times of 8 bytes, and nothing else is limited.
    limits = ctypes.create_string_buffer(144 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112)
    struct.pack_into("<I", limits, 16, flags)
    _kernel32.SetInformationJobObject(job, _EXTENDED_LIMIT_INFORMATION, limits, len(limits))
