"""Read the members of an archive while its bytes arrive, and write an archive. The one user of ``tarfile``.

In: compressed bytes, cut anywhere. Out: the headers of members that may be unpacked, as ``tarfile`` reads them, and the
content behind each. ``tarfile`` passes over, repairs, or takes for the end of the archive what two readers could
understand differently (CVE-2025-62518, CVE-2026-33055); such a header is refused here, before it is read, the same way
on every Python. gzip and Zstandard are told apart by their first bytes, and nothing may follow the one stream.

Source: POSIX.1-2017, pax, "pax Interchange Format"; RFC 1952 (gzip); RFC 8878 (Zstandard).
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import re
import tarfile
import zlib
from itertools import chain
from pathlib import Path
from typing import Any, Iterator, NoReturn, Set, Tuple, Type

from ..errors import MissingDependencyError, UnpackError

__all__ = [
    "FILE", "FOLDER", "KINDS", "LINK", "MAX_FOLDERS", "MAX_MEMBERS", "SYMLINK", "Member", "Plain", "decompress",
    "quote", "read_members", "read_sdist", "refuse", "write_archive",
]  # fmt: skip

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)

# The largest archives known are far below each of these.
MAX_BYTES = 4 << 30  # decompressed, headers included
MAX_MEMBERS = 100_000  # with the folders that are only implied by a path
MAX_FOLDERS = 4_000  # each is a system call or three, and 48 kB can imply a hundred thousand of them
MAX_RATIO = 200  # decompressed bytes per compressed byte
_PIECE = 256 * 1024  # bytes that one step of decompression yields at most, so that a bomb costs no more memory
_GRACE = 64 << 20  # decompressed bytes below which the ratio does not count, since small archives may be mostly zeros
_EXTENSION = 64 * 1024  # bytes of an extended header; real ones hold a path and a time
_SHOWN = 120  # characters of a path in a message
_TRUNCATED = "the tar archive is truncated: it ends before its end-of-archive marker"
_COMPRESSION = 6  # the default of gzip; 9 takes four times as long for one percent

_MAGICS = (b"ustar\x0000", b"ustar  \0")  # POSIX and GNU
FILE, LINK, SYMLINK, FOLDER = "file", "hard link", "symbolic link", "directory"
KINDS = {b"0": FILE, b"\0": FILE, b"1": LINK, b"2": SYMLINK, b"5": FOLDER}
_PAX = {b"x", b"g"}
_EXTENSIONS = {b"L", b"K", *_PAX}  # L and K are GNU's, for a long name and a long link
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")
# Keys that change nothing that is written, and those that do; any other is refused.
_PAX_IGNORED = {b"atime", b"comment", b"ctime", b"gid", b"gname", b"uid", b"uname"}
_PAX_USED = {b"path", b"linkpath", b"mtime"}


Member = tarfile.TarInfo  # the header of one member


def write_archive(tree: Path, archive: Path, *, mtime: int) -> None:
    """Write a folder as a ``.tar.gz`` whose bytes depend on its content and *mtime*, seconds since the epoch, alone.

    No file of the folder has a second name. Its own name is the top of the archive, whose file must not exist.
    """

    def _normalize(member: Member) -> Member:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = mtime
        member.mode = 0o755 if member.isdir() or member.issym() or member.mode & 0o100 else 0o644
        return member

    # The gzip header has no file name and no time, either.
    with archive.open("xb") as raw:
        with gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed, tarfile.open(
            fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
        ) as tar:
            tar.add(str(tree), tree.name, filter=_normalize)
        raw.flush()
        os.fsync(raw.fileno())


def read_sdist(sdist: Path, wanted: str, *, read_all: bool) -> Iterator[Tuple[str, bytes]]:
    """Yield the path of each file of an sdist, without its top folder, and the content of the one that is wanted.

    After that one the rest is read only with *read_all*; nothing follows a place where the file is damaged.
    """
    with contextlib.suppress(OSError, EOFError, zlib.error, tarfile.TarError), tarfile.open(str(sdist)) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            file = tar.extractfile(member) if path == wanted else None
            yield path, file.read() if file else b""
            if file and not read_all:
                return


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


def _choose_decoder(head: bytes) -> Tuple[Any, Type[Exception]]:
    """Return what decompresses a stream that begins like this, and the exception of corrupt input."""
    if head.startswith(b"\x1f\x8b"):
        # ISA-L gives the same bytes in half the time. 16 + MAX_WBITS has the header, CRC and length checked too.
        library = _import_first("isal.isal_zlib", "zlib")
        return library.decompressobj(16 + zlib.MAX_WBITS), library.error
    if not head.startswith(b"\x28\xb5\x2f\xfd"):
        found = f"it starts with {head[:8]!r}" if head else "it is empty"
        raise UnpackError(f"it is neither gzip nor Zstandard: {found}")
    library = _import_first("compression.zstd", "backports.zstd", "zstandard")
    if library is None:
        raise MissingDependencyError("backports.zstd", "unpack a .tar.zst archive on Python 3.13 or older")
    decoder = _Zstandard(library) if library.__name__ == "zstandard" else library.ZstdDecompressor()
    return decoder, library.ZstdError


def _import_first(*names: str) -> Any:
    for name in names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def decompress(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what exactly one gzip member or Zstandard frame holds; its checksum was right when this ends."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4:
            break
    decoder, error = _choose_decoder(head)
    consumed = produced = 0
    # Not a generator: to close it would close the chunks, which are still to be verified after an error.
    for data in chain([head], chunks):
        ended = decoder.eof
        consumed += len(data)
        for piece in _translated(decoder, data, error):
            produced += len(piece)
            _check_ratio(consumed, produced)
            yield piece
        if ended or (decoder.eof and decoder.unused_data):
            raise UnpackError(f"there is other data behind the end of the compressed stream of {produced} bytes")
    if not decoder.eof:
        raise UnpackError(f"the compressed stream is truncated: it ends after {consumed} bytes")


def _translated(decoder: Any, data: bytes, error: Type[Exception]) -> Iterator[bytes]:
    """Yield the bytes that *data* decompresses to, at most `_PIECE` at a time."""
    piece = b""
    # A full piece may have left output inside the decoder although all of its input is consumed.
    while (data or len(piece) >= _PIECE) and not decoder.eof:
        try:
            piece = decoder.decompress(data, _PIECE)
        except error as exc:
            raise UnpackError(f"the compressed stream is corrupt: {exc}") from exc
        except (EOFError, MemoryError, OSError, OverflowError, ValueError) as exc:
            # A header may ask for a window or a buffer that is not available.
            reason = str(exc) or type(exc).__name__
            raise UnpackError(f"the compressed stream cannot be decompressed: {reason}") from exc
        data = getattr(decoder, "unconsumed_tail", b"")
        if piece:
            yield piece


def _check_ratio(consumed: int, produced: int) -> None:
    bomb = "taken for a decompression bomb"
    if produced > MAX_BYTES:
        raise UnpackError(f"more than {MAX_BYTES} bytes come out of {consumed}: {bomb}")
    if produced > _GRACE and produced > consumed * MAX_RATIO:
        raise UnpackError(f"{produced} bytes come out of {consumed}, more than {MAX_RATIO} times as many: {bomb}")


class Plain:
    """Decompressed bytes as the file that ``tarfile`` reads: forward only, with a look at what comes next."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._view = memoryview(b"")
        self._position = 0

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._position

    def read(self, size: int) -> bytes:
        """Return *size* bytes, or all there are."""
        data = self.peek(size)
        self._skip(len(data))
        return data

    def peek(self, size: int) -> bytes:
        """Return the next *size* bytes, or all there are, without reading them."""
        if len(self._view) < size:
            data = bytearray(self._view)
            for piece in self._pieces:
                data += piece
                if len(data) >= size:
                    break
            self._view = memoryview(data)
        return bytes(self._view[:size])

    def views(self, size: int) -> Iterator[memoryview]:
        """Yield the next *size* bytes, uncopied; raise `UnpackError` where there are fewer."""
        while size:
            if not self._view:
                self._view = memoryview(next(self._pieces, b""))
                if not self._view:
                    raise UnpackError(_TRUNCATED)
            view = self._view[:size]
            self._skip(len(view))
            size -= len(view)
            yield view

    def check_end(self) -> None:
        """Check that only zeros follow, two blocks or more; this has the checksum and the download's hash verified."""
        end = self.read(2 * _BLOCK)
        if len(end) < 2 * _BLOCK:
            raise UnpackError(_TRUNCATED)
        if end.strip(b"\0"):
            raise UnpackError("a single block of zeros stands between two members")
        for piece in chain([bytes(self._view)], self._pieces):
            if piece.strip(b"\0"):
                raise UnpackError("there is other data behind the end of the tar archive")

    def _skip(self, size: int) -> None:
        self._view = self._view[size:]
        self._position += size


def read_members(plain: Plain) -> Iterator[tarfile.TarInfo]:
    """Yield the members, of the kinds that are written, then check the end; the caller reads what is in each before."""
    source: Any = plain
    # In the mode "w" TarFile reads nothing by itself: it would take a malformed header for the end of the archive. The
    # encoding is that of python-build-standalone, whatever the host's locale.
    tar = tarfile.TarFile(fileobj=source, mode="w", encoding="utf-8")
    total = count = 0
    while plain.peek(_BLOCK) != _ZEROS:
        count += 1
        if count > MAX_MEMBERS:
            raise UnpackError(f"it has more than {MAX_MEMBERS} members")
        _check_headers(plain)
        try:
            member = tarfile.TarInfo.fromtarfile(tar)
        except tarfile.TarError as exc:
            raise UnpackError(f"a tar header is malformed: {exc}") from None
        if member.isdir():
            member.name = member.name.rstrip("/")  # Before 3.9 a GNU long name keeps its slash.
        total += member.size
        if total > MAX_BYTES:
            refuse(member.name, f"has {member.size} bytes, with which the archive exceeds {MAX_BYTES} bytes")
        yield member
        plain.read(-member.size % _BLOCK)
    plain.check_end()


def _check_headers(plain: Plain) -> None:
    """Refuse a header of the next member that another reader could understand differently than ``tarfile`` does."""
    seen: Set[bytes] = set()
    start = 0
    while True:
        block = plain.peek(start + _BLOCK)[start:]
        kind, magic = block[156:157], block[257:265]
        if len(block) < _BLOCK:
            raise UnpackError(_TRUNCATED)
        if block == _ZEROS:
            raise UnpackError("an extended header is followed by no member")
        for field in (block[:100], block[157:257], block[345:500] if magic == _MAGICS[0] else b""):
            _check_name(field)
        if magic not in _MAGICS:
            raise UnpackError(f"a tar header is neither POSIX nor GNU: its magic is {magic!r}")
        if kind in KINDS:
            return
        if kind not in _EXTENSIONS:
            # Devices, FIFOs, sparse files and whatever a vendor has added.
            name = block[:100].rstrip(b"\0").decode("utf-8", "surrogateescape")
            refuse(name, f"is of the type {kind!r}; wanted a regular file, a directory or a link")
        # Where two contradict each other, tarfile takes the last one. A global one stands first, and GNU's are a pair.
        before = seen - {b"g"}
        if kind in seen or (before and (kind in _PAX or before & _PAX)):
            raise UnpackError(f"a second extended header, of type {kind!r}, belongs to one member")
        seen.add(kind)
        start = _check_extension(kind, block[124:136], plain, start + _BLOCK)


def _check_extension(kind: bytes, digits: bytes, plain: Plain, start: int) -> int:
    """Check the content of an extended header, and return where the next header begins."""
    if not re.fullmatch(rb"[0-7]+", digits.strip(b" \0")):
        raise UnpackError(f"a tar header is malformed: {digits!r} is not a number that is zero or more")
    size = int(digits.strip(b" \0"), 8)
    if size > _EXTENSION:
        raise UnpackError(f"an extended header has {size} bytes; at most {_EXTENSION} are allowed")
    payload = plain.peek(start + size)[start:]
    if kind in _PAX:
        _check_records(payload, is_global=kind == b"g")
    else:
        _check_name(payload)
    return start + size + -size % _BLOCK


def _check_name(field: bytes) -> None:
    # A name that goes on behind a NUL is another one for another reader.
    name = field.rstrip(b"\0")
    if b"\0" in name:
        text = name.decode("utf-8", "surrogateescape")
        refuse(text, f"has a backslash or a control character in a path: {quote(text)}")


def _check_records(payload: bytes, *, is_global: bool) -> None:
    """Check that a pax extended header changes nothing in an unusual way."""
    keys: Set[bytes] = set()
    start = 0
    while start < len(payload):
        match = _PAX_RECORD.match(payload, start)
        end = start + int(match[1]) if match else 0
        # A record holds its own length, so every round advances (CVE-2019-20907).
        if not match or not match.end() < end <= len(payload) or payload[end - 1 : end] != b"\n" or match[2] in keys:
            raise UnpackError(f"an extended header is malformed at byte {start}")
        key, start = match[2], end
        # A size that differs from the header's has two readers see different members (CVE-2025-62518). Keys of vendors
        # change nothing that is written, but for those of sparse files.
        harmless = key in _PAX_IGNORED or (b"." in key and not key.startswith(b"GNU.sparse."))
        if not harmless and (key not in _PAX_USED or is_global):
            raise UnpackError(f"an extended header has the key {key!r}, which is not supported there")
        keys.add(key)


def quote(text: str) -> str:
    """Return a path as messages show it."""
    # What is not UTF-8 came as surrogates, which no terminal shows.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def refuse(name: str, reason: str) -> NoReturn:
    """Raise `UnpackError` for one member."""
    raise UnpackError(f"member {quote(name)} {reason}")
