"""An archive goes in; its tree comes out in a staging directory, and nothing outside of that directory is touched.

A PBS archive is a ``.tar.gz`` or ``.tar.zst`` with one folder ``python`` at the top. It is decompressed, checked and
written in one pass, so that a download can be unpacked while it arrives.

The rules are those of the ``data`` filter of PEP 706 and narrower:

* Regular files, directories, symbolic links and hard links; any other member is refused.
* Every path is below ``python``; links stay in it whatever other links there are. A hard link names a regular file
  that this archive has written.
* Nothing is written through a link and nothing is overwritten; a directory may be listed twice. Names that the file
  system takes for the same although the archive does not (case, Unicode normalization) are refused, there only.
* Files get mode 0755 or 0644 by the owner's execute bit, directories 0755, whatever the umask; setuid, setgid and
  sticky bits are dropped with the rest, owners are ignored. Files keep their modification time in whole seconds, as
  a ``.pyc`` is valid only for the time of its source; directories and links get the present.
* Bounds on bytes, members, paths and the ratio of decompression; exactly one complete stream with nothing behind it.

Every member is opened relative to the descriptor of its directory, which is itself opened without following links.
After an error the directory holds part of the tree; whoever made it deletes it. Nothing is flushed to disk here.
"""

from __future__ import annotations

import errno
import hashlib
import os
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, NoReturn, Tuple, Union

from ..errors import UnpackError
from ..files import Written, identify
from .inflate import inflate
from .tarstream import TOP, Member, TarStream, UnpackLimits

__all__ = [
    "DEFAULT_LIMITS",
    "UnpackLimits",
    "Unpacked",
    "unpack_archive",
    "unpack_pieces",
    "unpack_stream",
]

DEFAULT_LIMITS = UnpackLimits()
"""Far above every archive of python-build-standalone, far below what hurts a machine."""

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacked(NamedTuple):
    """What has become of an archive."""

    tree: Path
    """The folder that holds ``bin`` and ``lib``."""
    written: Dict[str, Written]
    """The regular files by their path below *tree*."""


def unpack_archive(archive: Union[Path, BinaryIO], destination: Path, *, limits: UnpackLimits = DEFAULT_LIMITS) -> Path:
    """Unpack *archive* into *destination*.

    Args:
        archive: path of a ``.tar.gz`` or ``.tar.zst``, or a binary stream of one, which need not be seekable.
        destination: an empty directory, on the file system where the tree is to stay.
        limits: bounds on what the archive may hold.

    Returns:
        The path of the tree: ``destination/python``, or ``destination/python/install`` for a "full" archive.

    Raises:
        UnpackError: the archive cannot be read, is damaged or holds what is refused, or the tree cannot be written.
        MissingDependencyError: nothing is installed that decompresses Zstandard.

    Source: PEP 706; python-build-standalone, "Distribution Archives".
    """
    if not isinstance(archive, Path):
        return unpack_stream(archive, str(getattr(archive, "name", "archive")), destination, limits=limits)
    try:
        stream = archive.open("rb", buffering=0)
    except OSError as exc:
        raise UnpackError(f"could not unpack {str(archive)!r}: it cannot be opened: {exc.strerror}") from exc
    with stream:
        return unpack_stream(stream, archive.name, destination, limits=limits)


def unpack_stream(stream: BinaryIO, filename: str, destination: Path, *, limits: UnpackLimits = DEFAULT_LIMITS) -> Path:
    """Unpack what *stream* yields into *destination*; the stream is read exactly once, to its end.

    Args:
        stream: binary; only its ``read`` is called. A `ProvisionError` that it raises other than `UnpackError` is
            passed on unchanged, so it may download and verify on the way.
        filename: what to call the archive in messages; decides nothing.
        destination: an empty directory, on the file system where the tree is to stay.
        limits: bounds on what the archive may hold.

    Returns:
        The path of the tree, as `unpack_archive` does.

    Raises:
        UnpackError: as `unpack_archive` does.
        MissingDependencyError: as `unpack_archive` does.
    """
    pieces = inflate(stream, max_bytes=limits.total_bytes, max_ratio=limits.ratio)
    return unpack_pieces(pieces, filename, destination, limits=limits).tree


def unpack_pieces(pieces: Iterator[bytes], filename: str, destination: Path, *, limits: UnpackLimits) -> Unpacked:
    """Unpack the bytes of a tar archive that somebody else decompresses.

    Args:
        pieces: the bytes, cut anywhere, to their end.
        filename: as for `unpack_stream`, and so the rest.
        destination: an empty directory.
        limits: bounds on what the archive may hold.

    Raises:
        UnpackError: as `unpack_archive` does; and whatever *pieces* raises.
    """
    try:
        with _Tree(destination, limits.members) as tree:
            members = TarStream(pieces, limits)
            for member in members:
                tree.write(member, members.content(member))
            top = tree.top()
            below = len(top) + 1
            written = {path[below:]: file for path, file in tree.written.items() if path.startswith(f"{top}/")}
            return Unpacked(destination / top, written)
    except UnpackError as exc:
        raise UnpackError(f"could not unpack {filename!r}: {exc.message}", hint=exc.hint) from exc


class _Tree:
    """Writes members below one directory, and remembers what it wrote.

    The open descriptors are those of the directory of the last member and of all above it, so that a path is walked
    one component at a time and only where it differs from the one before.
    """

    def __init__(self, destination: Path, max_entries: int) -> None:
        self._destination = destination
        self._max_entries = max_entries
        self.written: Dict[str, Written] = {}
        self._kinds: Dict[str, str] = {}
        self._parent = ""
        self._parts: List[str] = []
        self._descriptors = [_open_empty(destination)]

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)
        os.close(self._descriptors.pop())

    def write(self, member: Member, content: Iterator[memoryview]) -> None:
        """Write one member, whose content is consumed if it is a file."""
        try:
            self._write(member, content)
        except OSError as exc:
            self._fail(member, exc)

    def top(self) -> str:
        """Return the folder that holds ``bin`` and ``lib``."""
        if TOP not in self._kinds:
            raise UnpackError(f"it holds no folder {TOP!r}")
        full = f"{TOP}/install"
        return full if self._kinds.get(full) == "directory" and f"{TOP}/bin" not in self._kinds else TOP

    def _write(self, member: Member, content: Iterator[memoryview]) -> None:
        parent, _, name = member.path.rpartition("/")
        at = self._enter(parent)
        # Paths are passed as bytes, since the host's locale need not be able to encode them.
        raw = name.encode()
        if member.kind == "file":
            self._record(member.path, "file")
            self.written[member.path] = _write_file(raw, at, member, content)
        elif member.kind == "directory":
            if self._kinds.get(member.path) != "directory":
                self._make_directory(member.path, raw)
        elif member.kind == "symbolic link":
            self._record(member.path, "symbolic link")
            os.symlink(member.target.encode(), raw, dir_fd=at)
        else:
            if self._kinds.get(member.target) != "file":
                raise UnpackError(
                    f"member {member.path!r} is a hard link to {member.target!r}, which is no regular file before it"
                )
            self._record(member.path, "file")
            root = self._descriptors[0]
            os.link(member.target.encode(), raw, src_dir_fd=root, dst_dir_fd=at, follow_symlinks=False)

    def _record(self, path: str, kind: str) -> None:
        if path in self._kinds:
            raise UnpackError(f"member {path!r} is there twice, first as a {self._kinds[path]}")
        if len(self._kinds) >= self._max_entries:
            raise UnpackError(f"it has more than {self._max_entries} members, implied directories included")
        self._kinds[path] = kind

    def _make_directory(self, path: str, name: bytes) -> None:
        self._record(path, "directory")
        os.mkdir(name, 0o700, dir_fd=self._descriptors[-1])
        os.chmod(name, 0o755, dir_fd=self._descriptors[-1])  # noqa: S103 - other users share the cache.

    def _enter(self, parent: str) -> int:
        """Return a descriptor of the directory *parent*, made if it is not there."""
        if parent != self._parent:
            parts = parent.split("/") if parent else []
            self._leave(sum(1 for _ in takewhile(_is_same, zip(parts, self._parts))))
            for name in parts[len(self._parts) :]:
                self._descend(name)
            self._parent = parent
        return self._descriptors[-1]

    def _leave(self, depth: int) -> None:
        while len(self._parts) > depth:
            self._parts.pop()
            os.close(self._descriptors.pop())

    def _descend(self, name: str) -> None:
        path = "/".join([*self._parts, name])
        kind = self._kinds.get(path)
        if kind is None:
            self._make_directory(path, name.encode())
        elif kind != "directory":
            raise UnpackError(f"a member is below {path!r}, which is a {kind}: nothing is written through it")
        self._descriptors.append(os.open(name.encode(), _OPEN_DIRECTORY, dir_fd=self._descriptors[-1]))
        self._parts.append(name)

    def _fail(self, member: Member, exc: OSError) -> NoReturn:
        where = str(self._destination)
        if exc.errno == errno.EEXIST:
            # What this archive wrote is recorded and the directory was empty: the file system folds names.
            raise UnpackError(
                f"member {member.path!r} has the name of another member on the file system of {where!r}, "
                "which does not tell upper from lower case, or Unicode forms apart",
                hint="let the setting cache-dir name a directory on a file system that does",
            ) from exc
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            state = os.fstatvfs(self._descriptors[0])
            raise UnpackError(
                f"member {member.path!r} cannot be written to {where!r}: {exc.strerror}, "
                f"needed {member.size} bytes, free are {state.f_bavail * state.f_frsize} bytes "
                f"and {state.f_favail} inodes",
                hint="free some space, or let the setting cache-dir name a directory that has it",
            ) from exc
        raise UnpackError(f"member {member.path!r} cannot be written to {where!r}: {exc.strerror}") from exc


def _open_empty(destination: Path) -> int:
    try:
        with os.scandir(destination) as entries:
            if next(entries, None):
                raise UnpackError(f"the directory {str(destination)!r} is not empty")
        return os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise UnpackError(f"the directory {str(destination)!r} cannot be used: {exc.strerror}") from exc


def _is_same(pair: Tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _write_file(name: bytes, at: int, member: Member, content: Iterator[memoryview]) -> Written:
    digest = hashlib.sha256()
    descriptor = os.open(name, _CREATE_FILE, 0o600, dir_fd=at)
    try:
        for view in content:
            digest.update(view)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, 0o755 if member.executable else 0o644)
        os.utime(descriptor, (member.mtime, member.mtime))
        return Written(digest.hexdigest(), identify(os.fstat(descriptor)))
    finally:
        os.close(descriptor)
