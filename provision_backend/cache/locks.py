"""One lock a key, between processes and users, and what to do where a file system has none.

A lock is one that the kernel drops when its holder dies (flock), never a file that has to be removed: the lock file is
never deleted, since another process may have it open already and would then hold a lock on nothing.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from ..errors import CacheError, LockTimeoutError
from ..files import write_note
from ..output import Reporter

__all__ = ["key_lock", "owner_is_gone", "owner_name"]

# ENOSYS and ENOTSUP: file systems without flock (uv#13626); ENOLCK: no lock daemon (uv#11878); EACCES and EPERM: the
# lock file is another user's (uv#8032); ELOOP: it is a link, which may be another user's too; EROFS: a read-only file
# system; EBADF: NFS maps flock to a write lock (uv#18061); 524 is Linux's own ENOTSUPP, which has leaked out of NFS.
_NO_LOCK = {
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOLCK,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.EROFS,
    errno.EBADF,
    524,
}

_POLL = 0.1  # seconds

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
    """
    descriptor = _acquire(folder / f"{key}.lock", timeout, reporter)
    if descriptor is None:
        yield False
        return
    try:
        _write_owner(folder / f"{key}.owner")
        yield True
    finally:
        with suppress(OSError):
            # A child has the descriptor too from its fork until its program starts, so that closing is not enough.
            _flock(descriptor, take=False)
        os.close(descriptor)


def _acquire(path: Path, timeout: float, reporter: Reporter) -> Optional[int]:
    """Return an open lock file that has the lock; None where there is none to be had."""
    try:
        descriptor = _try(path)
        return _wait(path, timeout, reporter) if descriptor is None else descriptor
    except OSError as exc:
        if exc.errno not in _NO_LOCK:
            raise CacheError(f"the lock {path} cannot be had: {exc.strerror or exc}") from None
        reporter.detail(f"no lock is to be had on {path} ({exc}); going on without")
        return None


def _wait(path: Path, timeout: float, reporter: Reporter) -> int:
    owner = path.with_suffix(".owner")
    reporter.info(f"waiting for {_describe_owner(owner)}, which provisions the same interpreter")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        time.sleep(_POLL)
        descriptor = _try(path)
        if descriptor is not None:
            return descriptor
    raise LockTimeoutError(
        f"the lock {path} was held for {timeout:g} seconds by {_describe_owner(owner)}",
        hint="wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT",
    )


def _try(path: Path) -> Optional[int]:
    """Return an open lock file that has the lock; None while somebody else has it."""
    # It is opened at each attempt, since somebody may remove the whole cache while this process waits.
    descriptor = _open(path)
    try:
        _flock(descriptor)
    except OSError as exc:
        os.close(descriptor)
        if isinstance(exc, BlockingIOError):
            return None
        raise
    return descriptor


def _open(path: Path) -> int:
    """Open a lock file, and make it where it is missing; a child does not inherit it (O_CLOEXEC, PEP 446)."""
    # 0666 where the folder is writable for others, so that a second user's process can open the file for writing.
    mode = 0o666 if path.parent.stat().st_mode & 0o022 else 0o644
    # There, a link of either kind may be another user's, and name a file of ours, which would get this mode.
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    try:
        # Linux refuses O_CREAT for another user's file in a sticky folder (fs.protected_regular).
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, mode)
    status = os.fstat(descriptor)
    if hasattr(os, "geteuid") and status.st_uid == os.geteuid() and status.st_nlink == 1:
        with suppress(OSError):  # A file system without modes.
            os.fchmod(descriptor, mode)  # The umask may have taken something away.
    return descriptor


def _flock(descriptor: int, *, take: bool = True) -> None:
    """Take the lock of an open file or give it back; a signal is no reason to stop for either call (PEP 475).

    Raises:
        BlockingIOError: somebody else has it.
        OSError: there is none to be had.
    """
    if sys.platform == "win32":
        import msvcrt  # This branch is untested: our tests do not run on Windows.

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)
        except PermissionError as exc:
            raise BlockingIOError(*exc.args) from None
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN)


def _write_owner(path: Path) -> None:
    import socket

    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%H:%M:%S")}
    write_note(path, json.dumps(facts))


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
