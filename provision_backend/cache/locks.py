"""One lock a key, between processes and users, and what to do where a file system has none.

A lock is one that the kernel drops when its holder dies (flock through filelock), never a file that has to be removed:
the lock file is never deleted, since another process may have it open already and would then hold a lock on nothing.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

from ..errors import CacheError, LockTimeoutError, MissingDependencyError
from ..report import Reporter
from .notes import write_note

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["key_lock", "owner_is_gone", "owner_name"]

# ENOSYS and ENOTSUP: file systems without flock (uv#13626); ENOLCK: no lock daemon (uv#11878); EACCES and EPERM: the
# lock file is another user's (uv#8032); EROFS: a read-only file system; EBADF: NFS maps flock to a write lock
# (uv#18061); 524 is Linux's own ENOTSUPP, which has leaked out of NFS.
_NO_LOCK = {
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOLCK,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EBADF,
    524,
}

_STALE_AFTER = 24 * 3600.0
"""Seconds after which a leftover is taken for abandoned whoever made it: its owner is on another machine, or its number
has come to another process meanwhile."""


@contextmanager
def key_lock(folder: Path, key: str, *, timeout: float, reporter: Reporter) -> Iterator[bool]:
    """Hold the lock of a key.

    Args:
        folder: where lock files are.
        key: what is locked.
        timeout: seconds to wait.
        reporter: told for whom this process waits.

    Yields:
        True when the lock is held; False where this file system has none, so that the caller works under names of
        its own.

    Raises:
        LockTimeoutError: another process held it for ``timeout`` seconds.
        CacheError: the lock file cannot be made, as on a full disk.
        MissingDependencyError: filelock is not installed.
    """
    lock = _make_lock(folder / f"{key}.lock")
    owner = folder / f"{key}.owner"
    missing = _why_no_flock(folder)
    if missing is not None:
        reporter.detail(_without(lock, missing))
    if missing is not None or not _acquire(lock, owner, timeout, reporter):
        yield False
        return
    try:
        _write_owner(owner)
        yield True
    finally:
        lock.release()


def _make_lock(path: Path) -> BaseFileLock:
    try:
        from filelock import FileLock
    except ImportError:
        raise MissingDependencyError("filelock", "provision an interpreter") from None
    # 0666 where the folder is writable for others, so that a second user's process can open the file for writing.
    shared = path.parent.stat().st_mode & 0o022
    return FileLock(str(path), mode=0o666 if shared else 0o644)


def _why_no_flock(folder: Path) -> Optional[OSError]:
    """Try flock on a file of the folder that nobody else can see, and return why there is none.

    filelock does not tell: before 3.20 it takes every error but ENOSYS for a lock that is held and waits until the
    time is over, and later ones answer ENOSYS with a file that has to be removed, which outlives a killed holder.
    """
    try:
        import fcntl
    except ImportError:
        return None
    import tempfile

    try:
        file = tempfile.TemporaryFile(dir=str(folder))  # noqa: SIM115 - opening it and asking fail for other reasons
    except OSError:
        return None  # The lock file itself may be there and writable all the same.
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            return exc if exc.errno in _NO_LOCK else None
    return None


def _acquire(lock: BaseFileLock, owner: Path, timeout: float, reporter: Reporter) -> bool:
    if _try(lock, 0, reporter) is not None:
        return bool(lock.is_locked)
    reporter.info(f"waiting for {_describe_owner(owner)}, which provisions the same interpreter")
    if _try(lock, timeout, reporter) is not None:
        return bool(lock.is_locked)
    raise LockTimeoutError(
        f"the lock {lock.lock_file} was held for {timeout:g} seconds by {_describe_owner(owner)}",
        hint="wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT",
    )


def _try(lock: BaseFileLock, timeout: float, reporter: Reporter) -> Any:
    """Return True for the lock, False where there is none to have, None when the time is over."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=timeout, poll_interval=0.1)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as exc:
        # filelock turns ENOSYS into NotImplementedError.
        if isinstance(exc, OSError) and exc.errno not in _NO_LOCK:
            raise CacheError(f"the lock {lock.lock_file} cannot be had: {exc.strerror or exc}") from None
        reporter.detail(_without(lock, exc))
        return False
    return True


def _without(lock: BaseFileLock, exc: Exception) -> str:
    return f"no lock is to be had on {lock.lock_file} ({exc}); going on without"


def _write_owner(path: Path) -> None:
    import socket

    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M:%S")}
    write_note(path, json.dumps(facts), alone=True)


def _describe_owner(path: Path) -> str:
    try:
        facts: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} (since {facts['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def owner_name() -> str:
    """Name this process in the name of a staging folder: where it runs, and its number there."""
    return f"{_machine()}-{os.getpid()}"


def owner_is_gone(owner: str, folder: Path) -> bool:
    """Whether the process that made a staging folder has ended.

    Args:
        owner: what `owner_name` said in that process.
        folder: the staging folder.
    """
    machine, _, pid = owner.rpartition("-")
    if machine == _machine() and pid.isdigit() and not _is_alive(int(pid)):
        return True
    try:
        return time.time() - folder.stat().st_mtime > _STALE_AFTER
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It is another user's.
    return True


def _machine() -> str:
    """Name this machine, since when it runs, and its process namespace.

    Containers that share a volume count their processes each for itself, and a machine that was started again anew.
    """
    import hashlib
    import socket

    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        namespace = boot = ""
    return hashlib.sha256(f"{socket.gethostname()} {namespace} {boot}".encode()).hexdigest()[:8]
