"""The bytes of a tar archive go in, piece by piece; its members come out, each checked before any of it is used.

Reads POSIX ustar and pax and the GNU long names, nothing else, and the same on every Python: ``tarfile`` has filters
(PEP 706) only in newer versions, they were bypassed repeatedly (python/cpython#135034), and in streaming mode it takes
a malformed header behind the first one for the end of the archive. What it accepts is narrower than the ``data``
filter. Whatever two tar readers could understand differently is refused, so that nothing can be smuggled past another
reader (CVE-2025-62518, CVE-2026-33055).

Reads bytes and decides; touches no file.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Dict, Iterator, List, NamedTuple, NoReturn, Optional

from ..errors import UnpackError
from .tarheader import BLOCK, ZERO_BLOCK, Header, parse_header, parse_pax

__all__ = ["TOP", "Member", "TarStream", "UnpackLimits"]

TOP = "python"
"""Name of the one folder at the top of every archive."""

_EXTENSION_BYTES = 64 * 1024
"""Bound on an extended header. Real ones hold a path and a time."""
_SHOWN = 120  # Characters of a path in a message.
_COMPONENT_BYTES = 255  # NAME_MAX of every file system that matters.
_MTIME_END = 2**32  # A .pyc holds the low 32 bits of its source's time.

_PAX_TIME = re.compile(rb"([0-9]{1,12})(?:\.[0-9]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")

_KINDS = {b"0": "file", b"\0": "file", b"1": "hard link", b"2": "symbolic link", b"5": "directory"}
_REFUSED_KINDS = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"M": "a continued file",
    b"D": "a GNU directory listing",
    b"V": "a volume label",
}
_EXTENSIONS = (b"x", b"g", b"L", b"K")
_LONG_NAMES = {b"L": b"path", b"K": b"linkpath"}
_PAX_USED = {b"path", b"linkpath", b"size", b"mtime"}
_PAX_IGNORED = {b"atime", b"comment", b"ctime", b"gid", b"gname", b"uid", b"uname"}


class UnpackLimits(NamedTuple):
    """Bounds on what one archive may hold. The largest archives known are far below each."""

    total_bytes: int = 4 * 1024**3
    """Decompressed bytes of the whole archive, its headers included."""
    members: int = 100_000
    """Files, links and directories, those included that are only implied by a path."""
    path_bytes: int = 1024
    """Length of a path, and of the target of a link, in UTF-8."""
    depth: int = 32
    """Components of a path."""
    ratio: int = 200
    """Decompressed bytes per compressed byte, looked at from 64 MiB on."""


class Member(NamedTuple):
    """One member of an archive that passed every check which needs no knowledge of the other members."""

    path: str
    """Relative, ``python`` or below it, without ``.``, ``..`` or empty components."""
    kind: str
    """``file``, ``directory``, ``symbolic link`` or ``hard link``."""
    size: int
    """Bytes of content; 0 unless *kind* is ``file``."""
    executable: bool
    """Whether the owner may execute it; the only permission bit that is looked at."""
    mtime: int
    """Seconds since the epoch, below 2**32."""
    target: str
    """Of a symbolic link, relative to its own directory; of a hard link, like *path*; else empty."""


class TarStream:
    """Reads the members of one tar archive in order.

    Iterate to get the members; behind a member of kind ``file`` take its content from `content` before going on.

    Args:
        pieces: the bytes of the archive, cut anywhere.
        limits: bounds on sizes, paths and numbers.

    Raises:
        UnpackError: from every method, when the archive is malformed, truncated or holds a member that is refused.

    Source: POSIX.1-2017, pax, "pax Interchange Format"; GNU tar manual, "Basic Tar Format"; PEP 706, "Filters".
    """

    def __init__(self, pieces: Iterator[bytes], limits: UnpackLimits) -> None:
        self._pieces = pieces
        self._limits = limits
        self._view = memoryview(b"")
        self._unpromised = limits.total_bytes

    def __iter__(self) -> Iterator[Member]:
        count = 0
        extensions: Dict[bytes, Dict[bytes, bytes]] = {}
        global_seen = False
        for header in iter(self._read_header, None):
            if header.typeflag in _EXTENSIONS:
                if header.typeflag in extensions or (header.typeflag == b"g" and (global_seen or extensions)):
                    raise UnpackError(f"a second extended header of type {header.typeflag!r} belongs to one member")
                fields = self._read_extension(header)
                global_seen = global_seen or header.typeflag == b"g"
                if header.typeflag != b"g":
                    extensions[header.typeflag] = fields
                continue
            count += 1
            if count > self._limits.members:
                raise UnpackError(f"it has more than {self._limits.members} members")
            yield self._judge(header, _merge(extensions))
            extensions = {}
        if extensions:
            raise UnpackError("an extended header is followed by no member")
        self._check_end()

    def content(self, member: Member) -> Iterator[memoryview]:
        """Yield the content of *member*, which must be the last one yielded, in pieces of any size."""
        left = member.size
        while left:
            view = self._take(left)
            left -= len(view)
            yield view
        self._read_exactly(-member.size % BLOCK)

    def _judge(self, header: Header, extension: Dict[bytes, bytes]) -> Member:
        raw = extension.get(b"path", header.name)
        shown = _quote(raw)
        kind = _KINDS.get(header.typeflag)
        if kind is None:
            what = _REFUSED_KINDS.get(header.typeflag, f"of the unknown type {header.typeflag!r}")
            _refuse(shown, f"is {what}; wanted a regular file, a directory or a link")
        _check_size(shown, kind, header.size, extension)
        self._unpromised -= header.size
        if self._unpromised < 0:
            _refuse(shown, f"has {header.size} bytes, with which the archive exceeds {self._limits.total_bytes} bytes")
        path = self._check_path(raw[:-1] if kind == "directory" and raw.endswith(b"/") else raw)
        if path == TOP and kind != "directory":
            _refuse(shown, f"is a {kind}; wanted a directory")
        target = ""
        if kind in ("hard link", "symbolic link"):
            target = self._check_target(path, kind, extension.get(b"linkpath", header.link))
        executable = bool(header.mode & 0o100)
        return Member(path, kind, header.size, executable, _choose_mtime(shown, header, extension), target)

    def _check_path(self, raw: bytes) -> str:
        path = self._decode(raw, raw)
        parts = path.split("/")
        if parts[0] != TOP:
            wanted = f"wanted every member in the one folder {TOP!r}"
            _refuse(_quote(raw), "has an absolute path; " + wanted if not parts[0] else "is outside; " + wanted)
        if len(parts) > self._limits.depth:
            _refuse(_quote(raw), f"has {len(parts)} path components; at most {self._limits.depth} are allowed")
        for part in parts:
            if part in ("", ".", ".."):
                _refuse(_quote(raw), f"has the path component {part!r}")
            if len(part.encode()) > _COMPONENT_BYTES:
                _refuse(_quote(raw), f"has a path component of more than {_COMPONENT_BYTES} bytes")
        return path

    def _check_target(self, path: str, kind: str, raw: bytes) -> str:
        if kind == "hard link":
            return self._check_path(raw)
        target = self._decode(raw, path.encode())
        if not target or target.startswith("/") or _DRIVE.match(target):
            _refuse(repr(path), f"is a symbolic link to {_quote(raw)}; wanted a relative target")
        level = path.count("/")
        descended = False
        for part in target.split("/"):
            if part == "..":
                # Behind a name, ".." would start from wherever that name leads if it is itself a link, which is how
                # a lexically harmless target leaves the directory (CVE-2025-4330, CVE-2025-4138). In front of any
                # name it starts from the link's own directory, which is never reached through a link.
                level -= 1
                if descended:
                    _refuse(repr(path), f"is a symbolic link to {_quote(raw)}, with '..' behind a name")
            elif part not in ("", "."):
                descended = True
        if level < 1:
            _refuse(repr(path), f"is a symbolic link to {_quote(raw)}, which is outside of {TOP!r}")
        return target

    def _decode(self, raw: bytes, owner: bytes) -> str:
        if len(raw) > self._limits.path_bytes:
            _refuse(_quote(owner), f"has a path of {len(raw)} bytes; at most {self._limits.path_bytes} are allowed")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            _refuse(_quote(owner), f"has a path that is not UTF-8: {_quote(raw)}")
        if "\\" in text or _CONTROL.search(text):
            _refuse(_quote(owner), f"has a backslash or a control character in a path: {_quote(raw)}")
        return text

    def _read_extension(self, header: Header) -> Dict[bytes, bytes]:
        if header.size > _EXTENSION_BYTES:
            raise UnpackError(f"an extended header has {header.size} bytes; at most {_EXTENSION_BYTES} are allowed")
        payload = self._read_exactly(header.size)
        self._read_exactly(-header.size % BLOCK)
        if header.typeflag in _LONG_NAMES:
            return {_LONG_NAMES[header.typeflag]: payload.rstrip(b"\0")}
        fields = parse_pax(payload)
        for key in fields:
            if b"." not in key and key not in _PAX_IGNORED and (key not in _PAX_USED or header.typeflag == b"g"):
                raise UnpackError(f"an extended header has the key {key!r}, which is not supported there")
            if key.startswith(b"GNU.sparse."):
                raise UnpackError("an extended header announces a sparse file")
        return {key: value for key, value in fields.items() if key in _PAX_USED}

    def _read_header(self) -> Optional[Header]:
        block = self._read_exactly(BLOCK)
        if block != ZERO_BLOCK:
            return parse_header(block)
        if self._read_exactly(BLOCK) != ZERO_BLOCK:
            raise UnpackError("a single block of zeros stands between two members")
        return None

    def _check_end(self) -> None:
        # Writers fill the last record with zeros; iterating to the end also has the checksum verified.
        for piece in chain([bytes(self._view)], self._pieces):
            if piece.strip(b"\0"):
                raise UnpackError("there is other data behind the end of the tar archive")

    def _take(self, size: int) -> memoryview:
        """Return from 1 to *size* bytes."""
        while not len(self._view):
            piece = next(self._pieces, None)
            if piece is None:
                raise UnpackError("the tar archive is truncated: it ends before its end-of-archive marker")
            self._view = memoryview(piece)
        view = self._view[:size]
        self._view = self._view[size:]
        return view

    def _read_exactly(self, size: int) -> bytes:
        if len(self._view) >= size:
            view = self._view[:size]
            self._view = self._view[size:]
            return bytes(view)
        views: List[memoryview] = []
        while size:
            views.append(self._take(size))
            size -= len(views[-1])
        return b"".join(views)


def _merge(extensions: Dict[bytes, Dict[bytes, bytes]]) -> Dict[bytes, bytes]:
    merged: Dict[bytes, bytes] = {}
    for fields in extensions.values():
        for key, value in fields.items():
            if key in merged:
                raise UnpackError(f"two extended headers of one member both give its {key.decode()}")
            merged[key] = value
    return merged


def _check_size(shown: str, kind: str, size: int, fields: Dict[bytes, bytes]) -> None:
    if kind != "file" and size:
        _refuse(shown, f"is a {kind} with {size} bytes of content; wanted none")
    # A size too large for the header alone is far beyond every limit, so the two never differ in an honest archive.
    if fields.get(b"size", b"%d" % size) != b"%d" % size:
        _refuse(shown, f"has {size} bytes by its header and {_quote(fields[b'size'])} by its extended header")


def _choose_mtime(shown: str, header: Header, fields: Dict[bytes, bytes]) -> int:
    mtime = header.mtime
    if b"mtime" in fields:
        match = _PAX_TIME.fullmatch(fields[b"mtime"])
        mtime = int(match[1]) if match else _MTIME_END
    if mtime >= _MTIME_END:
        _refuse(shown, "has a modification time before 1970 or after 2106")
    return mtime


def _quote(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _refuse(shown: str, reason: str) -> NoReturn:
    raise UnpackError(f"member {shown} {reason}")
