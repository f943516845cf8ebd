"""The one way to touch a file that matters: read, written whole or not at all, hashed, flushed, renamed, removed.

In: paths and bytes. Out: files that are complete or absent, whatever ends this process. Errors of the operating system
leave as they are: the caller knows what the file is for, and puts that into words.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, List, Optional, Tuple, TypeVar, Union

from .systems import RUNNING

if TYPE_CHECKING:
    from hashlib import _Hash
    from types import ModuleType

__all__ = [
    "RAISE_FILE_LIMIT", "Written", "age_of", "flush_tree", "free_bytes", "hash_bytes", "hash_file", "identify",
    "is_noexec", "is_run", "is_shortage", "kind_of", "list_names", "new_hash", "open_regular", "parse_json", "publish",
    "read_end", "read_file", "read_json", "remove_path", "rename", "retry_if_in_use", "write_atomically",
]  # fmt: skip

RAISE_FILE_LIMIT = "raise the limit on the size of a file that this process has: ulimit -f unlimited"
"""What to do about EFBIG: no archive has a file that would be too large for a file system."""

_BLOCK = 1 << 20  # bytes that are read at a time
Written = Tuple[str, Tuple[int, ...]]  # the sha256 of a file that was written, and what `identify` returned right after
_LIMIT = 64 << 20  # bytes of a text or JSON file; the longest known, a manifest of 200,000 files, has half of that

# Without O_NONBLOCK, opening a FIFO waits for a writer. Windows has no such flag, and reads text by default.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)

_WINDOWS = RUNNING.name == "windows"

# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION of Windows; `os.open` has the number of C only.
_IN_USE = (5, 32, 33, None)
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 3.2)  # seconds between two tries; uv gives up after ten, too

Result = TypeVar("Result")


def new_hash(data: bytes = b"") -> _Hash:
    """Return a sha256 of bytes, to which more can be added."""
    import hashlib  # Late, as tempfile and shutil below: a build that passes through only reads its pyproject.toml.

    return hashlib.sha256(data)


def hash_bytes(data: bytes) -> str:
    """Return the sha256 of bytes, lower-case hex."""
    return new_hash(data).hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or ``/dev/null``; raise `OSError` for what may never end: a FIFO, a socket, a device."""
    # This is checked before the file is opened, since opening a device may rewind a tape or start a watchdog.
    _refuse_special(path, os.stat(path).st_mode)
    descriptor = os.open(path, _READ)
    try:
        # It is checked again for the opened file: another process may have replaced it in between.
        _refuse_special(path, os.fstat(descriptor).st_mode)
        return open(str(path), "rb", opener=lambda *_: descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _refuse_special(path: Path, mode: int) -> None:
    # People name the empty device where a variable must name a file, to have none.
    if not stat.S_ISREG(mode) and str(path) != os.devnull:
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"it is {kind_of(mode)}, not a regular file", str(path))


def kind_of(mode: int) -> str:
    """Return what a file is that is not a regular one, with its article."""
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_file(path: Path) -> bytes:
    """Return the content of a regular file of at most 64 MiB; raises `OSError` for any other."""
    with open_regular(path) as file:
        # The memory for the most that is read is paid for on Windows, a tenth of a second for each file.
        size = min(os.fstat(file.fileno()).st_size, _LIMIT)
        content = file.read(size + 1)
        if len(content) > size:  # It grows, or is one of /proc, whose size is 0.
            content += file.read(_LIMIT + 1 - len(content))
    if len(content) > _LIMIT:
        raise OSError(errno.EFBIG, f"it has more than {_LIMIT >> 20} MiB", str(path))
    return content


def read_end(path: Path, size: int) -> bytes:
    """Return the last *size* bytes of a file, or all there are; raises `OSError`."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds; the errors are those of `read_file` and `parse_json`."""
    return parse_json(read_file(path))


def parse_json(content: bytes) -> Any:
    """Parse JSON in UTF-8; raises `ValueError` for anything else, and where it is nested too deeply for this Python."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def hash_file(path: Path) -> str:
    """Return the sha256 of a regular file, lower-case hex; raise `OSError` where it cannot be read."""
    digest = new_hash()
    with open_regular(path) as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def identify(status: os.stat_result) -> Tuple[int, ...]:
    """Return the numbers that change once a file is written to or replaced."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def age_of(path: Path) -> float:
    """Return the seconds since a file or a folder was changed, infinity where there is none."""
    try:
        # A clock that was set back must not keep anything young for years.
        return abs(time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, folder: Optional[Path] = None, prefix: str = "", durable: bool = True
) -> None:
    """Replace or create a file; a reader sees the old content or the new one, also after a power cut.

    The unfinished file is kept in *folder*, on the same file system, else beside the file, under a name with a *prefix*
    by which it is recognised when this process is killed. The *mode* is that, whatever the umask. Without *durable* a
    power cut may leave the file empty, and a busy disk costs no seconds.

    Raises:
        OSError: it cannot be written; then the file is what it was, and nothing is left behind.
    """
    import tempfile

    number, name = tempfile.mkstemp(prefix=prefix or f".{path.name}.", dir=str(folder or path.parent))
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


def publish(source: Path, target: Path) -> None:
    """Give a finished file or folder its final name on its file system, in one step, and bring that name to the disk.

    A file of that name is replaced, a folder must be empty. Raises `OSError`, EEXIST or ENOTEMPTY where it is not.
    """
    rename(source, target)
    if _WINDOWS:
        return  # It opens no folder, and NTFS keeps a journal of names.
    descriptor = os.open(str(target.parent), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some network file systems cannot sync a folder; the rename itself has happened.
        if exc.errno == errno.EIO:
            raise
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name in one step; raise `OSError`, EXDEV for a folder of a lower overlay layer."""

    def _replace() -> None:
        try:
            os.replace(str(source), str(target))
        except PermissionError:
            # Windows replaces no folder, and answers as if a file in it were open.
            if _WINDOWS and os.path.isdir(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            raise

    retry_if_in_use(_replace)


def retry_if_in_use(action: Callable[[], Result]) -> Result:
    """Call a function again, for ten seconds, while Windows refuses because another process has a file open.

    A virus scanner or an indexer opens what has just been written, for a moment. The last error leaves as it is, and on
    other systems the first one.
    """
    for pause in _PAUSES:
        try:
            return action()
        except PermissionError as exc:
            if getattr(exc, "winerror", 0) not in _IN_USE:
                raise
        time.sleep(pause)
    return action()


def flush_tree(tree: Path) -> None:
    """Bring all files of a tree to the disk, so that a power cut leaves it complete or absent, or raise `OSError`.

    The file system is flushed. Windows flushes single files only, which takes minutes, so there nothing is done.
    """
    if _WINDOWS:
        return
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


def _shutil() -> ModuleType:
    # A build that passes through only reads.
    import shutil

    return shutil


def remove_path(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as that is possible; one's own also write-protected."""
    if not os.path.isdir(path) or os.path.islink(path):
        with contextlib.suppress(OSError):
            path.unlink()
        return
    _shutil().rmtree(str(path), ignore_errors=True)
    # Nothing leaves a folder without the right to write, which people take from whole trees. It never stops root.
    if os.path.lexists(path) and hasattr(os, "geteuid") and os.geteuid() != 0:
        _allow_writing(str(path))
        _shutil().rmtree(str(path), ignore_errors=True)


def _allow_writing(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        with os.scandir(folder) as items:
            for path in [item.path for item in items if item.is_dir(follow_symlinks=False)]:
                _allow_writing(path)


def free_bytes(folder: Union[str, Path]) -> Optional[int]:
    """Return the bytes that this user may still write; None where that is unknown."""
    with contextlib.suppress(OSError):
        usage = _shutil().disk_usage(folder)
        # File systems that do not count report nothing at all.
        return usage.free if usage.total else None
    return None


def is_noexec(folder: Union[str, Path]) -> bool:
    """Tell whether a folder's file system is mounted noexec, as /tmp and /home are on hardened systems."""
    try:
        return bool(os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0))
    except (OSError, AttributeError):
        return False  # It does not exist, or this is Windows.


def is_run(program: Path) -> bool:
    """Tell whether a process runs a program, on Windows; False elsewhere."""
    if not _WINDOWS:
        return False  # While the file is open, nobody could start it: ETXTBSY.
    try:
        os.close(os.open(program, os.O_RDWR))
    except PermissionError as exc:
        return getattr(exc, "winerror", 0) in _IN_USE
    except OSError:
        pass
    return False


def is_shortage(exc: OSError) -> bool:
    """Whether an error tells of this process or its machine, and nothing of the file: no descriptor, a server lost."""
    return exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, getattr(errno, "ESTALE", -1))


def list_names(folder: Path) -> List[str]:
    """Return the names in a folder, in order; none where it does not exist."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
