"""Take locks between processes and users, by filelock; nothing else in the package locks anything.

A lock is one that the kernel drops when its holder dies (flock, and on Windows the first byte of the file), never the
mere existence of a file. filelock cannot tell a lock that another process holds from a file system that has no locks:
before version 3.20 it polls until the time is over where flock fails with ENOLCK. So after a first attempt that failed,
the kernel is asked once. Without filelock, as on such a file system, each process works under names of its own, and a
rename decides who is first.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

from ..errors import CacheError, LockTimeoutError
from ..files import read_json, retry_if_in_use
from ..output import Reporter
from ..systems import RUNNING
from ..trust import user_name

try:
    import fcntl
except ImportError:  # Windows, and interpreters built without it.
    fcntl = None  # type: ignore[assignment]
with suppress(ImportError):  # Windows only.
    import msvcrt

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["is_locked", "key_lock", "read_owner", "try_locking"]

_NO_LOCK = {
    errno.ENOSYS,  # File systems without flock (uv#13626).
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    524,  # ENOTSUPP, which is Linux's own and has leaked out of NFS.
    errno.ENOLCK,  # NFS without a lock daemon (uv#11878).
    errno.EBADF,  # NFS, which maps flock to a write lock (uv#18061).
    errno.EACCES,  # The lock file belongs to another user (uv#8032).
    errno.EPERM,
    errno.ELOOP,  # The lock file is a link, which may be another user's too.
    errno.EMLINK,  # It is a second name of another file.
    errno.EROFS,
}
"""Errors that say that there is no lock here; work then continues without one, and a rename decides who is first."""

_POLL = 0.1  # seconds
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def key_lock(
    folder: Path, key: str, *, timeout: float, reporter: Reporter, work: str = "provisions the same interpreter"
) -> Iterator[bool]:
    """Hold the lock of a key in a folder of lock files, which is made where it is missing.

    The end of "waiting for process 12, which ..." is *work*, what the holder does. *timeout* is in seconds.

    Yields:
        True while the lock is held; False where locking is not possible, so that the caller must use names of its own.

    Raises:
        LockTimeoutError: another process held it all the time.
        CacheError: the lock file cannot be made, as on a full disk.
    """
    path = folder / f"{key}.lock"
    lock = _acquire(path, timeout, reporter, work)
    if lock is None:
        yield False
        return
    try:
        _write_owner(path)
        yield True
    finally:
        # Released and not only closed: a forked child has the descriptor, too, until its program starts. The file is
        # not deleted: a process that has it open would get a lock on a file without a name (tox-dev/filelock#31).
        with suppress(OSError):
            lock.release()


def _acquire(path: Path, timeout: float, reporter: Reporter, work: str) -> Optional[BaseFileLock]:
    """Return a lock that is held; None where locking is not possible."""
    try:
        lock = _attempt(path, 0)
        if lock is None:
            # Held, or refused? The kernel is asked, and its refusal is the error; a holder may have removed the file.
            with suppress(BlockingIOError, FileNotFoundError):
                _probe(path, os.O_RDWR)
            reporter.info(f"waiting for {_describe_owner(path)}, which {work}")
            lock = _wait(path, timeout)
    except OSError as exc:
        if exc.errno not in _NO_LOCK:
            raise CacheError(f"could not acquire the lock {path}: {exc.strerror or exc}") from None
        reporter.detail(f"could not lock {path} ({exc}); continuing without a lock")
        return None
    return lock


def _wait(path: Path, timeout: float) -> BaseFileLock:
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            lock = _attempt(path, left)
        except FileNotFoundError:
            lock = _attempt(path, left)  # The folder was removed in between; where it cannot be made, this fails, too.
        if lock is not None:
            return lock
        time.sleep(min(_POLL, left))
    raise LockTimeoutError(
        f"the lock {path} was held for {timeout:g} seconds by {_describe_owner(path)}",
        hint="wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT",
    )


def _attempt(path: Path, timeout: float) -> Optional[BaseFileLock]:
    """Return a lock that is held; None where another process holds it, or the file was replaced meanwhile."""
    try:
        # A hit takes no lock, and so does not pay for this import: 65 ms of CPU (version 4.3), 80 ms (version 3.16).
        from filelock import FileLock, Timeout
    except ImportError:
        # A build whose archives come from a folder has no need of it: two at once do the same work.
        raise OSError(errno.ENOSYS, "filelock is not installed") from None
    before = _prepare(path)
    # Neither option is known to filelock 3.16, the last version for Python 3.8, which ignores it: that version never
    # falls back to a file whose existence is the lock, and deletes the file on Windows only.
    lock = FileLock(
        str(path), mode=stat.S_IMODE(before.st_mode) | 0o600, fallback_to_soft=False, preserve_lock_file=True
    )
    try:
        lock.acquire(timeout=timeout, poll_interval=_POLL)
    except (Timeout, FileNotFoundError):
        return None  # The folder may be removed while this process waits.
    except OSError as exc:
        if exc.errno:
            raise
        return None  # wine gives no reason where the file is locked, and Windows gives EACCES.
    except NotImplementedError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    # A lock on a file that a previous holder has removed excludes nobody.
    with suppress(FileNotFoundError):
        # Both are in one folder; what an open file says of its device differs on Windows.
        if before.st_ino == os.stat(path).st_ino:
            return lock
    lock.release()
    return None


def _prepare(path: Path) -> os.stat_result:
    """Make a lock file where it is missing, and return what it is; filelock follows links and opens files up."""
    if fcntl is None and RUNNING.name != "windows":
        raise OSError(errno.ENOSYS, "this Python has no module fcntl")
    path.parent.mkdir(exist_ok=True)
    # Whoever can open the file can lock it. So only those can who may write in the folder, and need it.
    folder = path.parent.stat()
    mode = 0o600 | (folder.st_mode & 0o022) * 3
    # There, a link of either kind may be another user's, and name a file of ours, which would get this mode.
    try:
        # Linux refuses O_CREAT for another user's file in a sticky folder (fs.protected_regular). Windows refuses both
        # for the moment in which a holder removes the file, as filelock does there.
        descriptor = retry_if_in_use(lambda: os.open(path, os.O_RDWR | _NOFOLLOW))
    except FileNotFoundError:
        descriptor = retry_if_in_use(lambda: os.open(path, os.O_RDWR | _NOFOLLOW | os.O_CREAT, mode))
    try:
        status = os.fstat(descriptor)
        if status.st_nlink > 1:
            raise OSError(errno.EMLINK, "the file has another name")
        if hasattr(os, "geteuid") and status.st_uid == os.geteuid():
            with suppress(OSError):  # A file system without modes, or a group that this user is not in.
                os.fchmod(descriptor, mode)  # The umask may have taken something away.
                os.fchown(descriptor, -1, folder.st_gid)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _probe(path: Path, flags: int) -> None:
    """Lock a file for a moment; BlockingIOError says that another process holds the lock."""
    descriptor = os.open(path, flags | _NOFOLLOW)
    try:
        _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed, or raise BlockingIOError."""
    if fcntl is not None:
        # Shared, so that two processes that ask do not find each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    elif RUNNING.name == "windows":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError(errno.EACCES, "another process holds the lock") from None


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock; False where that cannot be found out."""
    try:
        # Opening a FIFO of that name would block.
        _probe(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as exc:
        return isinstance(exc, BlockingIOError)
    return False


def try_locking(folder: Path) -> None:
    """Lock a new file in a folder for a moment; raise `OSError` where its file system has no locks."""
    with tempfile.TemporaryFile(dir=str(folder)) as file:
        _lock(file.fileno())


def _write_owner(path: Path) -> None:
    owner = path.with_suffix(".owner")
    facts = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%H:%M:%S")}
    with suppress(OSError):  # It only serves a message, so half of one does no harm.
        with suppress(FileNotFoundError):
            owner.unlink()  # It may belong to another user.
        with owner.open("x", encoding="ascii") as file:
            json.dump(facts, file)
        owner.chmod(0o644)


def read_owner(path: Path) -> Dict[str, Any]:
    """Return ``pid``, ``host``, ``since`` (``12:30:00``), ``changed`` (epoch seconds) of a holder, or nothing."""
    owner = path.with_suffix(".owner")
    try:
        facts = read_json(owner)
        return {"changed": owner.stat().st_mtime, **{name: facts[name] for name in ("pid", "host", "since")}}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _describe_owner(path: Path) -> str:
    facts, number = read_owner(path), _find_holder(path)
    if number and number != facts.get("pid"):
        # It holds the lock without having written down that it does: it is no process of ours, or a child of one.
        with suppress(OSError):
            return f"process {number} of {user_name(os.stat(f'/proc/{number}').st_uid)}"
        return f"a child of process {number}, which has ended"
    return f"process {facts['pid']} on {facts['host']} (since {facts['since']})" if facts else "another process"


def _find_holder(path: Path) -> int:
    """Return the number of the process that has taken the lock of a file, as proc_locks(5) lists it, or 0."""
    with suppress(OSError, ValueError, AttributeError):  # Windows has no os.major.
        status = os.stat(path)
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        rows = map(str.split, Path("/proc/locks").read_text(encoding="ascii").splitlines())
        # A row that is for a process that waits has an arrow before its kind.
        return next((int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == place), 0)
    return 0
