"""Locks: does the cache's file system have them, and who holds one now."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Iterator

from ..cache.locks import is_locked, read_owner, try_locking
from ..files import list_names
from .context import Context
from .findings import Finding, ok, problem, warning
from .folders import existing, file_system

__all__ = ["check_lock"]


def check_lock(context: Context) -> Iterator[Finding]:
    """Try to lock a file in the cache, and look at each lock of the cache."""
    folder = existing(context.cache().root / "locks")
    try:
        try_locking(folder)
        yield ok(f"locking works in {folder}")
    except (PermissionError, NotADirectoryError, FileNotFoundError) as exc:
        yield ok(f"not tried, since {folder} cannot be written: {exc.strerror}")
    except OSError as exc:
        kind = file_system(folder)
        yield warning(
            f"locking does not work in {folder}{f' ({kind})' if kind else ''}: {exc.strerror}",
            "builds are correct without; several at a time each fetch for themselves. For NFS, mount with locks "
            "(local_lock=flock, or a server with a lock daemon), or put the cache on a local file system",
        )
    for name in list_names(folder):
        if name.endswith(".lock") and is_locked(folder / name):
            yield _describe(context, folder / name)


def _describe(context: Context, path: Path) -> Finding:
    facts = read_owner(path)
    pid, host = facts.get("pid"), facts.get("host")
    who = f"process {pid} on {host}, since {facts.get('since')}" if facts else "a process that left no name"
    found = f"{path} is held by {who}"
    limit = context.settings.lock_timeout
    advice = f"a build that wants the same interpreter waits for it, up to {limit:g} s (lock-timeout)"
    if host == platform.node() and isinstance(pid, int) and not _is_alive(pid):
        return problem(found, f"there is no process {pid} here: it runs in another container, or a child has the lock")
    age = time.time() - facts.get("changed", time.time())
    if age > limit:
        return problem(f"{found}, longer than lock-timeout ({limit:g} s)", f"end that process if it hangs: kill {pid}")
    return warning(found, advice)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # It is another user's.
    return True
