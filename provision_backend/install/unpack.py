"""Unpack an archive into a staging folder, touching nothing outside of it; and write one. The one user of ``tarfile``.

An archive of python-build-standalone is a ``.tar.gz`` or ``.tar.zst`` with one folder ``python`` at the top. It is
decompressed, checked and written in one pass, so that a download can be unpacked while it arrives. ``tarfile`` reads
the headers; what it yields is judged here, the same way on every Python: its own filters (PEP 706) are missing in old
versions and were bypassed repeatedly (python/cpython#135034). These rules are narrower than those of ``data``:

* Regular files, folders, symbolic links and hard links only; each path is below ``python``, and each link stays in it.
* Nothing is written through a link, nothing is overwritten; a hard link names a file that was written before.
* Files get mode 0755 or 0644 by the owner's execute bit, whatever the umask. Owners are ignored. Times are kept in
  whole seconds, since a ``.pyc`` is valid only for the time of its source.
* Bytes, members, paths and the ratio of decompression are bounded; nothing follows the one compressed stream.

After an error the folder holds part of the tree; the caller deletes it. Nothing is flushed to disk here.

Source: POSIX.1-2017, pax, "pax Interchange Format"; PEP 706, "Filters"; RFC 1952 (gzip); RFC 8878 (Zstandard).
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import importlib
import os
import re
import tarfile
import zlib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, NamedTuple, NoReturn, Set, Tuple, Type

from ..errors import MissingDependencyError, UnpackError
from ..files import Written, identify, new_hash

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DEFAULT_LIMITS", "UnpackLimits", "Unpacked", "unpack_archive", "unpack_stream", "write_archive"]

TOP = "python"
"""Name of the one folder at the top of every archive."""

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_READ = 256 * 1024  # bytes of a local archive that are read at a time
_PIECE = 256 * 1024  # bytes that one step of decompression yields at most, so that a bomb costs no more memory
_GRACE = 64 << 20  # bytes below which the ratio does not count: small archives may hold long runs of zeros
_EXTENSION = 64 * 1024  # bytes of an extended header; real ones hold a path and a time
_COMPONENT = 255  # bytes, NAME_MAX of every file system that matters
_SHOWN = 120  # characters of a path in a message
_COMPRESSION = 6  # the default of gzip; 9 takes four times as long for one percent

_MAGICS = (b"ustar\x0000", b"ustar  \0")  # POSIX and GNU
_FILE, _LINK, _SYMLINK, _FOLDER = "file", "hard link", "symbolic link", "directory"
_KINDS = {b"0": _FILE, b"\0": _FILE, b"1": _LINK, b"2": _SYMLINK, b"5": _FOLDER}
_LONG_NAMES = {b"L": b"path", b"K": b"linkpath"}
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")
_PAX_IGNORED = {b"atime", b"comment", b"ctime", b"gid", b"gname", b"uid", b"uname"}
_PAX_USED = {b"path", b"linkpath", b"mtime"}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")

# A link in place of a file is never followed. Windows has no such flag, and reads text where nothing is said.
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class UnpackLimits(NamedTuple):
    """Bounds on what one archive may hold. The largest archives known are far below each."""

    total_bytes: int = 4 << 30  # decompressed, headers included
    members: int = 100_000  # with the folders that are only implied by a path
    path_bytes: int = 1024  # of a path, and of the target of a link, in UTF-8
    depth: int = 32  # components of a path
    ratio: int = 200  # decompressed bytes per compressed byte, checked from 64 MiB on


DEFAULT_LIMITS = UnpackLimits()


class Unpacked(NamedTuple):
    """The tree of an archive."""

    tree: Path
    """The folder that holds ``bin`` and ``lib``."""
    written: Dict[str, Written]
    """The regular files by their path below *tree*."""


def unpack_archive(archive: Path, destination: Path, *, limits: UnpackLimits = DEFAULT_LIMITS) -> Path:
    """Unpack a file, and return the path of the tree, as `unpack_stream` does.

    Raises:
        UnpackError: it cannot be opened; and as `unpack_stream`.
        MissingDependencyError: as `unpack_stream`.
    """
    try:
        file = archive.open("rb", buffering=0)
    except OSError as exc:
        raise UnpackError(f"could not unpack {str(archive)!r}: it cannot be opened: {exc.strerror}") from exc
    with file:
        return unpack_stream(_blocks(file), archive.name, destination, limits=limits).tree


def unpack_stream(
    chunks: Iterable[bytes], filename: str, destination: Path, *, limits: UnpackLimits = DEFAULT_LIMITS
) -> Unpacked:
    """Unpack an archive while it arrives.

    Args:
        chunks: its bytes, cut anywhere. They are taken to their end, unless the archive is refused before; what they
            raise is passed on unchanged, so they may download and verify on the way.
        filename: what to call the archive in messages; its ending decides nothing.
        destination: an empty folder, on the file system where the tree is to stay. The tree is its ``python``, or
            ``python/install`` of a "full" archive.
        limits: bounds on what the archive may hold.

    Raises:
        UnpackError: the archive is damaged or holds what is refused, or the tree cannot be written.
        MissingDependencyError: no package that decompresses Zstandard is installed.
    """
    try:
        tree = _Tree(destination, limits)
        plain = _Plain(_decompress(iter(chunks), limits))
        for member in _members(plain, limits):
            _check_member(member, limits)
            tree.write(member, plain)
        top = tree.top()
        below = len(top) + 1
        written = {path[below:]: file for path, file in tree.written.items() if path.startswith(f"{top}/")}
        return Unpacked(destination / top, written)
    except UnpackError as exc:
        raise UnpackError(f"could not unpack {filename!r}: {exc.message}", hint=exc.hint) from exc


def write_archive(tree: Path, archive: Path, *, mtime: int) -> None:
    """Write a folder as a ``.tar.gz`` whose bytes depend on its content and *mtime* alone; hard links become files.

    Args:
        tree: the folder; its own name is the top of the archive.
        archive: the file, which must not exist.
        mtime: seconds since the epoch, the modification time of every member.

    Raises:
        OSError: a file cannot be read or written.
    """
    paths = sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).as_posix())
    with archive.open("xb") as raw:
        # The gzip header has no file name and no time, either.
        with gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed, tarfile.open(
            fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
        ) as tar:
            for path in [tree, *paths]:
                _add_member(tar, path, path.relative_to(tree.parent).as_posix(), mtime)
        raw.flush()
        os.fsync(raw.fileno())


def _add_member(tar: tarfile.TarFile, path: Path, name: str, mtime: int) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = mtime
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(str(path)), 0o777
        tar.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        status = path.stat()
        member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
        with path.open("rb") as content:
            tar.addfile(member, content)


def _blocks(file: Any) -> Iterator[bytes]:
    while True:
        try:
            block = file.read(_READ)
        except OSError as exc:
            raise UnpackError(f"the archive cannot be read: {exc}") from exc
        if not block:
            return
        yield block


# Compressed bytes to the bytes of the tar archive.


class _Zstandard:
    """The package ``zstandard``, the only one for Python 3.8, used as the others are."""

    # It has no bound on its output, and four bytes can stand for 128 KiB: this makes it 64 MiB.
    _SLICE = 2 * 1024

    def __init__(self, module: Any) -> None:
        self._decoder = module.ZstdDecompressor().decompressobj()
        self.eof = False
        self.unconsumed_tail = self.unused_data = b""

    def decompress(self, data: bytes, _limit: int) -> bytes:
        """Decompress the first bytes; the others stay in ``unconsumed_tail``."""
        self.unconsumed_tail = data[self._SLICE :]
        piece = self._decoder.decompress(data[: self._SLICE])
        self.eof, self.unused_data = self._decoder.eof, self._decoder.unused_data + self.unconsumed_tail
        return bytes(piece)


def _choose_decoder(head: bytes) -> Tuple[Any, Tuple[Type[Exception], ...]]:
    """Return what decompresses a stream that begins like this, and the exceptions of corrupt input."""
    if head.startswith(b"\x1f\x8b"):
        # ISA-L gives the same bytes in half the time. 16 + MAX_WBITS has the header, CRC and length checked too.
        isal = _import_optional("isal.isal_zlib")
        decoder = (isal or zlib).decompressobj(16 + zlib.MAX_WBITS)
        return decoder, (zlib.error, isal.error) if isal else (zlib.error,)
    if not head.startswith(b"\x28\xb5\x2f\xfd"):
        found = f"it starts with {head[:8]!r}" if head else "it is empty"
        raise UnpackError(f"it is neither gzip nor Zstandard: {found}")
    for name in ("compression.zstd", "backports.zstd"):
        module = _import_optional(name)
        if module:
            return module.ZstdDecompressor(), (module.ZstdError,)
    module = _import_optional("zstandard")
    if module:
        return _Zstandard(module), (module.ZstdError,)
    raise MissingDependencyError("backports.zstd", "unpack a .tar.zst archive on Python 3.13 or older")


def _import_optional(name: str) -> Any:
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


def _decompress(chunks: Iterator[bytes], limits: UnpackLimits) -> Iterator[bytes]:
    """Yield what exactly one gzip member or Zstandard frame holds; its checksum was right when this ends."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4:
            break
    decoder, errors = _choose_decoder(head)
    consumed = produced = 0
    # Not a generator: to close it would close the chunks, which are still to be verified after an error.
    for data in chain([head], chunks):
        if decoder.eof:
            raise UnpackError(f"there is other data behind the end of the compressed stream of {produced} bytes")
        consumed += len(data)
        for piece in _translated(decoder, data, errors):
            produced += len(piece)
            _check_ratio(consumed, produced, limits)
            yield piece
        if decoder.eof and decoder.unused_data:
            raise UnpackError(f"there is other data behind the end of the compressed stream of {produced} bytes")
    if not decoder.eof:
        raise UnpackError(f"the compressed stream is truncated: it ends after {consumed} bytes")


def _translated(decoder: Any, data: bytes, errors: Tuple[Type[Exception], ...]) -> Iterator[bytes]:
    """Yield the bytes that *data* decompresses to, at most `_PIECE` at a time."""
    piece = b""
    # A full piece may have left output inside the decoder although all of its input is consumed.
    while (data or len(piece) >= _PIECE) and not decoder.eof:
        try:
            piece = decoder.decompress(data, _PIECE)
        except errors as exc:
            raise UnpackError(f"the compressed stream is corrupt: {exc}") from exc
        except (EOFError, MemoryError, OSError, OverflowError, ValueError) as exc:
            # A header may ask for a window or a buffer that is not available.
            raise UnpackError(
                f"the compressed stream cannot be decompressed: {str(exc) or type(exc).__name__}"
            ) from exc
        data = getattr(decoder, "unconsumed_tail", b"")
        if piece:
            yield piece


def _check_ratio(consumed: int, produced: int, limits: UnpackLimits) -> None:
    bomb = "taken for a decompression bomb"
    if produced > limits.total_bytes:
        raise UnpackError(f"more than {limits.total_bytes} bytes come out of {consumed}: {bomb}")
    if produced > _GRACE and produced > consumed * limits.ratio:
        raise UnpackError(f"{produced} bytes come out of {consumed}, more than {limits.ratio} times as many: {bomb}")


# The bytes of the tar archive to members.


class _Plain:
    """Decompressed bytes as the file that ``tarfile`` reads: forward only, with a look at what comes next."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._view = memoryview(b"")
        self._position = 0
        self.extensions: Set[bytes] = set()
        """Kinds and keys of the extended headers since the last member."""

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._position

    def seek(self, position: int) -> None:
        """Skip bytes; ``tarfile`` does so behind the content of a member."""
        if position < self._position:
            raise UnpackError("a tar header is malformed: it leads backwards")
        for _ in self.views(position - self._position):
            pass

    def read(self, size: int) -> bytes:
        """Return *size* bytes, or all there are."""
        data = self.peek(size)
        self._skip(len(data))
        return data

    def peek(self, size: int) -> bytes:
        """Return the next *size* bytes, or all there are, without reading them."""
        if len(self._view) < size:
            pieces, length = [bytes(self._view)], len(self._view)
            while length < size:
                piece = next(self._pieces, b"")
                if not piece:
                    break
                pieces.append(piece)
                length += len(piece)
            self._view = memoryview(b"".join(pieces))
        return bytes(self._view[:size])

    def views(self, size: int) -> Iterator[memoryview]:
        """Yield the next *size* bytes, uncopied.

        Raises:
            UnpackError: there are fewer.
        """
        while size:
            if not self._view:
                self._view = memoryview(next(self._pieces, b""))
                if not self._view:
                    raise _truncated()
            view = self._view[:size]
            self._skip(len(view))
            size -= len(view)
            yield view

    def rest(self) -> Iterator[bytes]:
        """Yield all bytes that are left."""
        yield bytes(self._view)
        yield from self._pieces

    def _skip(self, size: int) -> None:
        self._view = self._view[size:]
        self._position += size


class _Header(tarfile.TarInfo):
    """Refuses headers that ``tarfile`` repairs, passes over, or takes for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next member, after a look at its raw header; called for extended headers and their member."""
        plain: Any = tarfile_.fileobj
        block = plain.peek(_BLOCK)
        if len(block) < _BLOCK:
            raise _truncated()
        if block != _ZEROS:
            _check_header(block, plain)
        elif plain.extensions:
            raise UnpackError("an extended header is followed by no member")
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as exc:
            if block == _ZEROS:
                raise
            raise UnpackError(f"a tar header is malformed: {exc}") from None


def _members(plain: _Plain, limits: UnpackLimits) -> Iterator[tarfile.TarInfo]:
    """Yield the members, each of which was seen to be of a kind that is written; then check the end of the archive."""
    source: Any = plain
    if plain.peek(_BLOCK) == _ZEROS:
        plain.read(_BLOCK)
        return _check_end(plain)
    try:
        # The encoding is that of python-build-standalone, whatever the host's locale.
        tar = tarfile.open(fileobj=source, mode="r:", tarinfo=_Header, encoding="utf-8")  # noqa: SIM115 - no file is open
        total = 0
        for count in range(limits.members + 1):
            member = tar.next()
            if member is None:
                _check_end(plain)
                return
            if count >= limits.members:
                break
            if member.isdir():
                member.name = member.name.rstrip("/")  # Before 3.9 a GNU long name keeps its slash.
            tar.members.clear()  # type: ignore[attr-defined]  # Otherwise it remembers every member.
            total += member.size
            if total > limits.total_bytes:
                reason = f"has {member.size} bytes, with which the archive exceeds {limits.total_bytes} bytes"
                _refuse(member.name, reason)
            yield member
    except tarfile.TarError as exc:
        raise UnpackError(f"a tar header is malformed: {exc}") from None
    raise UnpackError(f"it has more than {limits.members} members")


def _check_header(block: bytes, plain: _Plain) -> None:
    kind = block[156:157]
    # A name that goes on behind a NUL is another one for another reader.
    for field in (block[:100], block[157:257], block[345:500] if block[257:265] == _MAGICS[0] else b""):
        if b"\0" in field.rstrip(b"\0"):
            name = field.rstrip(b"\0").decode("utf-8", "surrogateescape")
            _refuse(name, f"has a backslash or a control character in a path: {_quote(name)}")
    if block[257:265] not in _MAGICS:
        raise UnpackError(f"a tar header is neither POSIX nor GNU: its magic is {block[257:265]!r}")
    if kind in (b"x", b"g", b"L", b"K"):
        _check_extension(kind, block, plain)
    else:
        plain.extensions.clear()
        if kind not in _KINDS:
            # Devices, FIFOs, sparse files and whatever a vendor has added.
            name = block[:100].rstrip(b"\0").decode("utf-8", "surrogateescape")
            _refuse(name, f"is of the type {kind!r}; wanted a regular file, a directory or a link")


def _check_extension(kind: bytes, block: bytes, plain: _Plain) -> None:
    """Check an extended header, of which ``tarfile`` takes the last where two contradict each other."""
    digits = block[124:136].strip(b" \0")
    if not digits.isdigit():
        raise UnpackError(f"a tar header is malformed: {block[124:136]!r} is not a number that is zero or more")
    size = int(digits, 8)
    if size > _EXTENSION:
        raise UnpackError(f"an extended header has {size} bytes; at most {_EXTENSION} are allowed")
    if kind in plain.extensions or (kind == b"g" and plain.extensions):
        raise UnpackError(f"a second extended header of type {kind!r} belongs to one member")
    payload = plain.peek(_BLOCK + size)[_BLOCK:]
    keys = {_LONG_NAMES[kind]} if kind in _LONG_NAMES else _pax_keys(payload, is_global=kind == b"g")
    for key in keys & plain.extensions & _PAX_USED:
        raise UnpackError(f"two extended headers of one member both give its {key.decode()}")
    if kind in _LONG_NAMES and b"\0" in payload.rstrip(b"\0"):
        _refuse(payload.decode("utf-8", "surrogateescape"), "has a control character in a path")
    if kind != b"g":
        plain.extensions |= keys | {kind}


def _pax_keys(payload: bytes, *, is_global: bool) -> Set[bytes]:
    """Return the keys of a pax extended header, none of which changes where content goes in an unusual way."""
    keys: Set[bytes] = set()
    start = 0
    while start < len(payload):
        match = _PAX_RECORD.match(payload, start)
        end = start + int(match[1]) if match else 0
        # A record holds its own length, so every round advances (CVE-2019-20907).
        if not match or not match.end() <= end - 1 < len(payload) or payload[end - 1 : end] != b"\n":
            raise UnpackError(f"an extended header is malformed at byte {start}")
        key, start = match[2], end
        if key in keys:
            raise UnpackError(f"an extended header has the key {key!r} twice")
        if key.startswith(b"GNU.sparse."):
            raise UnpackError("an extended header announces a sparse file")
        # A size that differs from the header's has two readers see different members (CVE-2025-62518).
        if b"." not in key and key not in _PAX_IGNORED and (key not in _PAX_USED or is_global):
            raise UnpackError(f"an extended header has the key {key!r}, which is not supported there")
        keys.add(key)
    return keys


def _check_end(plain: _Plain) -> None:
    """Check that only zeros follow; reading to the end also has the checksum, and the hash of a download, verified."""
    if plain.peek(_BLOCK) != _ZEROS:
        if len(plain.peek(_BLOCK)) < _BLOCK:
            raise _truncated()
        raise UnpackError("a single block of zeros stands between two members")
    for piece in plain.rest():
        if piece.strip(b"\0"):
            raise UnpackError("there is other data behind the end of the tar archive")


# What may be written, and writing it.


def _check_member(member: tarfile.TarInfo, limits: UnpackLimits) -> None:
    """Check everything of a member that needs no knowledge of the others."""
    name, kind = member.name, _KINDS[member.type]
    if member.size < 0 or (kind != _FILE and member.size):
        _refuse(name, f"is a {kind} with {member.size} bytes of content")
    if not 0 <= member.mtime < 1 << 32:  # A .pyc holds the low 32 bits of its source's time. NaN fails too.
        _refuse(name, "has a modification time before 1970 or after 2106")
    _check_path(name, limits)
    if name == TOP and kind != _FOLDER:
        _refuse(name, f"is a {kind}; wanted a directory")
    if kind == _LINK:
        _check_path(member.linkname, limits)
    elif kind == _SYMLINK:
        _check_target(name, member.linkname, limits)


def _check_path(path: str, limits: UnpackLimits) -> None:
    _check_text(path, path, limits)
    parts = path.split("/")
    if parts[0] != TOP:
        wanted = f"wanted every member in the one folder {TOP!r}"
        _refuse(path, "has an absolute path; " + wanted if not parts[0] else "is outside; " + wanted)
    if len(parts) > limits.depth:
        _refuse(path, f"has {len(parts)} path components; at most {limits.depth} are allowed")
    for part in parts:
        if part in ("", ".", ".."):
            _refuse(path, f"has the path component {part!r}")
        if len(part.encode()) > _COMPONENT:
            _refuse(path, f"has a path component of more than {_COMPONENT} bytes")


def _check_target(path: str, target: str, limits: UnpackLimits) -> None:
    _check_text(target, path, limits)
    if not target or target.startswith("/") or _DRIVE.match(target):
        _refuse(path, f"is a symbolic link to {_quote(target)}; wanted a relative target")
    level = path.count("/")
    descended = False
    for part in target.split("/"):
        if part == "..":
            # Behind a name, ".." would start from wherever that name leads if it is itself a link, which is how
            # a lexically harmless target leaves the folder (CVE-2025-4330, CVE-2025-4138). In front of any
            # name it starts from the link's own folder, which is never reached through a link.
            level -= 1
            if descended:
                _refuse(path, f"is a symbolic link to {_quote(target)}, with '..' behind a name")
        elif part not in ("", "."):
            descended = True
    if level < 1:
        _refuse(path, f"is a symbolic link to {_quote(target)}, which is outside of {TOP!r}")


def _check_text(text: str, owner: str, limits: UnpackLimits) -> None:
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:  # tarfile decodes what is not UTF-8 to surrogates.
        _refuse(owner, f"has a path that is not UTF-8: {_quote(text)}")
    if length > limits.path_bytes:
        _refuse(owner, f"has a path of {length} bytes; at most {limits.path_bytes} are allowed")
    if "\\" in text or _CONTROL.search(text):
        _refuse(owner, f"has a backslash or a control character in a path: {_quote(text)}")


class _Tree:
    """Writes members below one folder, and remembers what it wrote: nothing else is in it."""

    def __init__(self, destination: Path, limits: UnpackLimits) -> None:
        self.written: Dict[str, Written] = {}
        self._kinds: Dict[str, str] = {}
        self._limits = limits
        self._destination = destination
        # Paths are passed as bytes, since the host's locale need not be able to encode them.
        self._root = os.fsencode(destination) + b"/"
        try:
            with os.scandir(destination) as entries:
                if next(entries, None):
                    raise UnpackError(f"the directory {str(destination)!r} is not empty")
        except OSError as exc:
            raise UnpackError(f"the directory {str(destination)!r} cannot be used: {exc.strerror}") from exc

    def top(self) -> str:
        """Return the folder that holds ``bin`` and ``lib``."""
        if TOP not in self._kinds:
            raise UnpackError(f"it holds no folder {TOP!r}")
        full = f"{TOP}/install"
        return full if self._kinds.get(full) == _FOLDER and f"{TOP}/bin" not in self._kinds else TOP

    def write(self, member: tarfile.TarInfo, plain: _Plain) -> None:
        """Write one member; the content of a file is read from *plain*."""
        try:
            self._write(member, plain)
        except OSError as exc:
            self._fail(member, exc)

    def _write(self, member: tarfile.TarInfo, plain: _Plain) -> None:
        name, kind = member.name, _KINDS[member.type]
        self._make_parents(name)
        if kind == _FOLDER:
            if self._kinds.get(name) != _FOLDER:
                self._make_folder(name)
            return
        if kind == _LINK and self._kinds.get(member.linkname) != _FILE:
            _refuse(name, f"is a hard link to {member.linkname!r}, which is no regular file before it")
        self._record(name, _SYMLINK if kind == _SYMLINK else _FILE)
        path, target = self._root + name.encode(), member.linkname.encode()
        if kind == _FILE:
            self.written[name] = _write_file(path, member, plain)
        elif kind == _SYMLINK:
            os.symlink(target, path)
        else:
            os.link(self._root + target, path, follow_symlinks=False)

    def _make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if not parent or self._kinds.get(parent) == _FOLDER:
            return
        self._make_parents(parent)
        if parent in self._kinds:
            kind = self._kinds[parent]
            raise UnpackError(f"a member is below {parent!r}, which is a {kind}: nothing is written through it")
        self._make_folder(parent)

    def _make_folder(self, path: str) -> None:
        self._record(path, _FOLDER)
        # A folder that exists although this archive has not made it is another one's, by another spelling.
        os.mkdir(self._root + path.encode(), 0o700)
        os.chmod(self._root + path.encode(), 0o755)  # noqa: S103 - other users share the cache.

    def _record(self, path: str, kind: str) -> None:
        if path in self._kinds:
            raise UnpackError(f"member {path!r} is there twice, first as a {self._kinds[path]}")
        if len(self._kinds) >= self._limits.members:
            raise UnpackError(f"it has more than {self._limits.members} members, implied directories included")
        self._kinds[path] = kind

    def _fail(self, member: tarfile.TarInfo, exc: OSError) -> NoReturn:
        where = str(self._destination)
        if exc.errno == errno.EEXIST:
            # What this archive wrote is recorded and the folder was empty: the file system folds names.
            raise UnpackError(
                f"member {member.name!r} has the name of another member on the file system of {where!r}, "
                "which does not tell upper from lower case, or Unicode forms apart",
                hint="let the setting cache-dir name a directory on a file system that does",
            ) from exc
        reason, full = exc.strerror, exc.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space, or let the setting cache-dir name a directory that has it" if full else ""
        raise UnpackError(f"member {member.name!r} cannot be written to {where!r}: {reason}", hint=hint) from exc


def _write_file(path: bytes, member: tarfile.TarInfo, plain: _Plain) -> Written:
    digest = new_hash()
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        for view in plain.views(member.size):
            digest.update(view)
            while view:
                view = view[os.write(descriptor, view) :]
        os.chmod(descriptor if os.chmod in os.supports_fd else path, 0o755 if member.mode & 0o100 else 0o644)
        os.utime(descriptor if os.utime in os.supports_fd else path, (int(member.mtime), int(member.mtime)))
        return Written(digest.hexdigest(), identify(os.fstat(descriptor)))
    finally:
        os.close(descriptor)


def _truncated() -> UnpackError:
    return UnpackError("the tar archive is truncated: it ends before its end-of-archive marker")


def _quote(text: str) -> str:
    # What is not UTF-8 came as surrogates, which no terminal shows.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _refuse(name: str, reason: str) -> NoReturn:
    raise UnpackError(f"member {_quote(name)} {reason}")
