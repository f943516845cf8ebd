"""Locks: does the cache's file system have them, and who holds one now."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator

from ..files import list_names
from .context import Context
from .findings import Finding, ok, problem, warning
from .folders import existing, file_system

__all__ = ["check_lock"]


def check_lock(context: Context) -> Iterator[Finding]:
    """Try ``flock`` in the cache, and look at each lock that is there."""
    try:
        import fcntl
    except ImportError:
        yield ok("this system has no flock; a byte of the lock file is locked instead")
        return
    folder = existing(context.cache().root / "locks")
    try:
        with tempfile.TemporaryFile(dir=str(folder)) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield ok(f"flock works in {folder}")
    except BlockingIOError:
        yield ok(f"flock works in {folder}")
    except (PermissionError, NotADirectoryError, FileNotFoundError) as exc:
        yield ok(f"not tried, since {folder} cannot be written: {exc.strerror}")
    except OSError as exc:
        kind = file_system(folder)
        yield warning(
            f"flock does not work in {folder}{f' ({kind})' if kind else ''}: {exc.strerror}",
            "builds are correct without; several at a time each fetch for themselves. For NFS, mount with locks "
            "(local_lock=flock, or a server with a lock daemon), or put the cache on a local file system",
        )
    yield from _held(context, folder)


def _held(context: Context, folder: Path) -> Iterator[Finding]:
    for name in list_names(folder):
        if name.endswith(".lock") and _is_held(folder / name):
            yield _describe(context, folder / name)


def _is_held(path: Path) -> bool:
    """Whether somebody else holds a lock; ours, of a moment, is a shared one, and the builder asks again in 0.1 s."""
    import fcntl

    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def _describe(context: Context, path: Path) -> Finding:
    facts = _owner(path.with_suffix(".owner"))
    pid, host = facts.get("pid"), facts.get("host")
    who = f"process {pid} on {host}, since {facts.get('since')}" if facts else "a process that left no name"
    found = f"{path} is held by {who}"
    limit = context.settings.lock_timeout
    advice = f"a build that wants the same interpreter waits for it, up to {limit:g} s (lock-timeout)"
    if host == socket.gethostname() and isinstance(pid, int) and not _is_alive(pid):
        return problem(found, f"there is no process {pid} here: it runs in another container, or a child has the lock")
    age = time.time() - facts.get("changed", time.time())
    if age > limit:
        return problem(f"{found}, longer than lock-timeout ({limit:g} s)", f"end that process if it hangs: kill {pid}")
    return warning(found, advice)


def _owner(path: Path) -> Dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {**facts, "changed": path.stat().st_mtime}
    except (OSError, ValueError, TypeError):
        return {}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # It is another user's.
    return True
