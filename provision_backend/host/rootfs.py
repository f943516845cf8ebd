"""Read files below a root directory, and nothing outside it.

The root is ``/``, or the unpacked image of any machine, which may be hostile. Paths are those that programs inside the
root would use. Symbolic links are resolved as the kernel would resolve them after ``chroot``: an absolute target starts
at the root, and ``..`` at the root stays there (path_resolution(7)). Every component is opened relative to its parent's
descriptor and without following links, so that a tree that changes meanwhile cannot lead outside either. Only regular
files are opened: a FIFO named ``/bin/sh`` would block for ever, and a device may act on being opened.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, List, NamedTuple, Optional, TypeVar, Union

from ..errors import HostError, ProvisionError
from ..files import kind_of, open_regular
from .platforms import FileIdentity

__all__ = ["HeaderReader", "Located", "MalformedError", "RootDirectory", "open_regular_file", "read_headers"]

_Parsed = TypeVar("_Parsed")

# The kernel's own limit (MAXSYMLINKS); a chain that is longer does not work in the root either.
_MAX_LINKS = 40
# A walk holds one descriptor for each directory on the way; PATH_MAX alone would allow 2048 of them.
_MAX_DEPTH = 100
_PATH_MAX = 4096
# Of the headers of one executable; a browser has 100 KiB.
_MAX_BYTES = 1 << 20


def _flags(*names: str) -> int:
    """Add up the flags of ``open`` that this system has; O_RDONLY is 0."""
    return sum(getattr(os, name, 0) for name in names)


# O_PATH needs no permission to read the directory: on Android "/" and "/data" can only be searched.
_DIRECTORY_FLAGS = _flags("O_PATH", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC")
# O_NONBLOCK is the second line of defence, in case a FIFO takes the place of the file that was looked at.
_FILE_FLAGS = _flags("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")


class Located(NamedTuple):
    """A path after all links were followed."""

    path: str
    """Absolute path inside the root, free of links and ``..``; as it was given where its end cannot be reached."""
    identity: Optional[FileIdentity]
    """None where it cannot be reached."""
    problem: str = ""
    """Why it is no regular file that can be opened: ``is a FIFO, not a regular file``; empty if it may be one."""


class _Leaf(NamedTuple):
    directory: int
    name: str
    path: str
    status: os.stat_result


class RootDirectory:
    """A root file system for reading; its own path may go through links, since the user chose it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Path.is_dir raises PermissionError where a parent folder may not be entered; os.path.isdir returns False.
        if not os.path.isdir(path):
            raise HostError(f"cannot inspect the root {str(path)!r}: it is not a directory")

    @property
    def is_running_system(self) -> bool:
        """Tell whether this is the root of the process itself, so that its executables run here."""
        try:
            return self.path.samefile("/")
        except OSError:
            return False

    def locate(self, path: str) -> Optional[Located]:
        """Follow a path inside the root to its end; None if nothing is there."""
        try:
            with self._walk(path) as leaf:
                status = leaf.status
                identity = FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)
                return Located(leaf.path, identity, "" if stat.S_ISREG(status.st_mode) else _no_file(status))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _UnreachableError as exc:
            return Located(path, None, f"cannot be reached: {exc}")
        except (OSError, ValueError) as exc:
            error = _unreadable(path, exc)
            if not isinstance(error, HostError):
                raise error from exc
            return Located(path, None, f"cannot be reached: {_reason(exc)}")

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a regular file inside the root.

        Raises:
            HostError: there is none, or the system does not let it be opened or, while the body runs, be read; then
                the error of the system is the cause.
        """
        try:
            with self._walk(path) as leaf:
                descriptor = _open_leaf(leaf)
        except _UnreachableError as exc:
            raise HostError(f"cannot read {path!r}: {exc}") from None
        except (OSError, ValueError) as exc:  # ValueError: a name that the locale cannot encode.
            raise _unreadable(path, exc) from exc
        with _stream(descriptor, path) as file:
            try:
                yield file
            except OSError as exc:  # A bad disk, or a network file system that has lost its server.
                raise _unreadable(path, exc) from exc

    @contextlib.contextmanager
    def _walk(self, path: str) -> Iterator[_Leaf]:
        walk = _Walk(self.path)
        try:
            yield walk.follow(path)
        finally:
            walk.close()


class _UnreachableError(Exception):
    """The path does not lead to a file; the text says why."""


class _Walk:
    """One walk from the root to a file: the names so far, and a descriptor for each of these directories."""

    def __init__(self, root: Path) -> None:
        flags = _DIRECTORY_FLAGS & ~getattr(os, "O_NOFOLLOW", 0)
        self._descriptors: List[int] = [os.open(root, flags)]
        self._names: List[str] = []

    def close(self) -> None:
        """Close all descriptors."""
        self._return_to(-1)

    def follow(self, path: str) -> _Leaf:
        """Resolve a path, one component at a time, and return its last one."""
        pending = _components(path)
        links = 0
        while pending:
            name = pending.pop()
            if name == ".":
                continue
            # ".." is answered from the descriptors held, not by the kernel: a directory that is moved elsewhere
            # meanwhile would have a parent outside the root.
            if name == "..":
                # At the root itself, ".." stays there.
                if self._names:
                    self._return_to(len(self._names) - 1)
                continue
            # A link is never followed by the kernel, which would start an absolute one at the real root.
            status = os.stat(name, dir_fd=self._descriptors[-1], follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise _UnreachableError("too many symbolic links")
                target = os.readlink(name, dir_fd=self._descriptors[-1])
                if target.startswith("/"):
                    self._return_to(0)
                pending += _components(target)
            elif pending:
                self._descend(name)
            else:
                return _Leaf(self._descriptors[-1], name, "/" + "/".join([*self._names, name]), status)
        raise _UnreachableError("it is a directory")

    def _return_to(self, depth: int) -> None:
        # Links lead up and down again as often as they like, so what is left is closed at once.
        del self._names[max(depth, 0) :]
        while len(self._descriptors) > depth + 1:
            os.close(self._descriptors.pop())

    def _descend(self, name: str) -> None:
        if len(self._names) >= _MAX_DEPTH:
            raise _UnreachableError(f"more than {_MAX_DEPTH} directories deep")
        self._descriptors.append(os.open(name, _DIRECTORY_FLAGS, dir_fd=self._descriptors[-1]))
        self._names.append(name)


def _components(path: str) -> List[str]:
    """Split a path into what is still to be walked, the last component first."""
    if len(path) > _PATH_MAX or "\0" in path:
        raise _UnreachableError("it is not a path")
    # A "/" or "/." at the end demands a directory, so it counts as a step.
    return [name or "." for name in reversed(path.split("/"))]


def _open_leaf(leaf: _Leaf) -> int:
    # This is checked before the file is opened, since opening a device may rewind a tape or start a watchdog.
    if not stat.S_ISREG(leaf.status.st_mode):
        raise _UnreachableError(f"it {_no_file(leaf.status)}")
    descriptor = os.open(leaf.name, _FILE_FLAGS, dir_fd=leaf.directory)
    # It is checked again for the opened file: another process may have replaced it in between.
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _UnreachableError("it changed while it was opened")


def _no_file(status: os.stat_result) -> str:
    return f"is {kind_of(status.st_mode)}, not a regular file"


def open_regular_file(path: Path) -> BinaryIO:
    """Open a regular file of this machine, wherever links lead; raises as `RootDirectory.open`."""
    try:
        return open_regular(path)
    except (OSError, ValueError) as exc:
        raise _unreadable(str(path), exc) from exc


class MalformedError(Exception):
    """An executable contradicts itself; the text says where."""


class HeaderReader:
    """Reads parts of an executable, any of whose counts, offsets and links may be a lie.

    Each read is checked against the size of the file, and all of them together against a budget of bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes_left = _MAX_BYTES
        self.size = file.seek(0, io.SEEK_END)
        """Bytes of the file."""

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Return exactly these bytes; raises `MalformedError`, which says *what* they would have been."""
        if offset + size > self.size:
            raise MalformedError(f"{what} reaches to byte {offset + size} of {self.size}")
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise MalformedError(f"more than {_MAX_BYTES} bytes of headers")
        self._file.seek(offset)
        data = self._file.read(size)
        # The file may have been cut off since its size was determined.
        if not data or len(data) != size:
            raise MalformedError(f"{what} could not be read to its end")
        return data


def read_headers(file: Union[BinaryIO, Path], kind: str, parse: Callable[[HeaderReader], _Parsed]) -> _Parsed:
    """Parse the headers of an executable; a stream must support seeking, and is not closed.

    Raises:
        HostError: the file cannot be read, or *parse* has raised `MalformedError`; *kind* is "an ELF file" or the like.
    """
    if isinstance(file, Path):
        with open_regular_file(file) as stream:
            return read_headers(stream, kind, parse)
    name = str(getattr(file, "name", "the file"))
    try:
        return parse(HeaderReader(file))
    except MalformedError as exc:
        raise HostError(f"cannot read {name!r} as {kind}: {exc}") from None
    except (OSError, ValueError) as exc:
        raise HostError(f"cannot read {name!r}: {_reason(exc)}") from exc


def _stream(descriptor: int, name: str) -> BinaryIO:
    """Make a stream whose name, for messages, is a path and not the number of a descriptor."""
    return open(name, "rb", opener=lambda *_: descriptor)


def _unreadable(path: str, exc: Exception) -> ProvisionError:
    """Return the error for a file that cannot be read; a caller that expects files to be missing catches HostError."""
    message = f"cannot read {path!r}: {_reason(exc)}"
    # Otherwise the host would seem to have no loader.
    if getattr(exc, "errno", 0) in (errno.EMFILE, errno.ENFILE):
        return ProvisionError(message, hint="allow this process to open more files: ulimit -n 1024")
    return HostError(message)


def _reason(exc: Exception) -> str:
    text = getattr(exc, "strerror", None) or str(exc)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
