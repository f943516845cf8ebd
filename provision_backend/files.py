"""The one way to touch a file that matters: written whole or not at all, hashed, flushed, renamed, removed, listed.

In: paths and bytes. Out: files that are complete or absent, whatever ends this process. Errors of the operating system
leave as they are: the caller knows what the file is for, and puts that into words.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Tuple, Union

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "Written",
    "flush_tree",
    "hash_bytes",
    "hash_file",
    "identify",
    "is_noexec",
    "list_names",
    "new_hash",
    "publish",
    "remove_path",
    "remove_unfinished",
    "rename",
    "write_atomically",
]

_BLOCK = 1 << 20  # bytes that are read at a time


def new_hash() -> _Hash:
    """Return a sha256 that bytes can be added to."""
    return hashlib.sha256()


def hash_bytes(data: bytes) -> str:
    """Return the sha256 of bytes, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, lower-case hex.

    Raises:
        OSError: it cannot be read.
    """
    digest = new_hash()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


class Written(NamedTuple):
    """A regular file as it was written."""

    sha256: str
    """Of its content; 64 lower-case hex digits."""
    identity: Tuple[int, ...]
    """What `identify` returned right after; another value means that it may have been changed since."""


def identify(status: os.stat_result) -> Tuple[int, ...]:
    """Return the numbers that change once a file is written to or replaced."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, folder: Optional[Path] = None, prefix: str = "", durable: bool = True
) -> None:
    """Replace or create a file; a reader sees the old content or the new one, also after a power cut.

    Args:
        path: the file; its folder exists.
        data: the whole content.
        mode: its permissions, whatever the umask.
        folder: where the unfinished file is kept, on the same file system; None: beside the file.
        prefix: of the unfinished file's name, by which it is recognised when this process is killed; empty for the
            one that `remove_unfinished` knows.
        durable: bring it to the disk. Without that a power cut may leave it empty, and a busy disk costs no seconds.

    Raises:
        OSError: it cannot be written; then the file is what it was, and nothing is left behind.
    """
    number, name = tempfile.mkstemp(prefix=prefix or _unfinished(path), dir=str(folder or path.parent))
    try:
        with open(number, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(name, mode)
        (publish if durable else rename)(Path(name), path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left beside a file when they wrote it; no process may write it now."""
    for name in list_names(path.parent):
        if name.startswith(_unfinished(path)):
            remove_path(path.parent / name)


def _unfinished(path: Path) -> str:
    return f".{path.name}."


def publish(source: Path, target: Path) -> None:
    """Give a finished file or folder its final name, in one step, and bring that name to the disk.

    Args:
        source: what is finished, on the same file system as the target.
        target: the final name. A file there is replaced; a folder there must be empty.

    Raises:
        OSError: EEXIST or ENOTEMPTY where the target is a folder that holds something; or it cannot be written.
    """
    rename(source, target)
    _flush_folder(target.parent)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in one step; `publish` also brings that name to the disk.

    Raises:
        OSError: as `publish`; also EXDEV for a folder of a lower layer of an overlay file system.
    """
    os.replace(str(source), str(target))


def flush_tree(tree: Path) -> None:
    """Bring all files of a tree to the disk, so that a power cut leaves it complete or absent; flushes the file system.

    Raises:
        OSError: some of the data did not reach the disk.
    """
    descriptor = os.open(str(tree), os.O_RDONLY)
    try:
        _syncfs(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(descriptor: int) -> None:
    # One syncfs is ten times cheaper than thousands of fsyncs, and reports write errors since Linux 5.8, which sync
    # does not. Python has no function for it.
    try:
        import ctypes  # Late: some interpreters are built without _ctypes.

        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
            return
        number = ctypes.get_errno()
    except (ImportError, AttributeError, OSError):
        number = errno.ENOSYS  # Not Linux, or an interpreter that cannot open its own symbols.
    # Sandboxes refuse system calls that they do not know with either of these.
    if number not in (errno.ENOSYS, errno.EPERM):
        raise OSError(number, os.strerror(number))
    os.sync()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some network file systems cannot sync a folder; the rename itself has happened.
        if exc.errno == errno.EIO:
            raise
    finally:
        os.close(descriptor)


def remove_path(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that is possible."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(str(path), ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def is_noexec(folder: Union[str, Path]) -> bool:
    """Tell whether a folder's file system is mounted noexec, as /tmp and /home are on hardened systems."""
    try:
        return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))
    except (OSError, AttributeError):
        return False  # It does not exist, or this is Windows.


def list_names(folder: Path) -> List[str]:
    """Return the names in a folder, in order; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
