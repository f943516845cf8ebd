"""The blocks of a tar archive go in; their fields come out, decoded strictly and not yet judged.

Pure functions over bytes. A field that is not exactly of the form its specification gives is an error, never a
guess: negative, fractional or oversized numbers in headers have sent other readers into endless loops
(CVE-2019-20907, CVE-2024-6232, CVE-2025-8194).
"""

from __future__ import annotations

import re
import struct
from typing import Dict, NamedTuple

from ..errors import UnpackError

__all__ = ["BLOCK", "ZERO_BLOCK", "Header", "parse_header", "parse_pax"]

BLOCK = 512
"""Bytes of a header, and the multiple to which content is padded."""
ZERO_BLOCK = bytes(BLOCK)
"""Two of these end an archive."""

# Name, mode, size, mtime, checksum, type, link, magic and version, prefix.
_FIELDS = struct.Struct("100s8s16x12s12s8sc100s8s80x155s12x")
_CHECKSUM = slice(148, 156)
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_POSIX_MAGIC = b"ustar\x0000"
_GNU_MAGIC = b"ustar  \0"
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")


class Header(NamedTuple):
    """One header block."""

    name: bytes
    """With the POSIX prefix in front; padding removed."""
    mode: int
    """Permission bits, and with some writers the file type above them."""
    size: int
    """Bytes of content that follow, without padding; never negative."""
    mtime: int
    """Seconds since the epoch; never negative."""
    typeflag: bytes
    """One byte."""
    link: bytes
    """Target of a link; padding removed."""


def parse_header(block: bytes) -> Header:
    """Decode one header block.

    Args:
        block: 512 bytes, not all zero.

    Raises:
        UnpackError: the checksum is wrong, it is neither POSIX ustar nor GNU, or a number is malformed.

    Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
    """
    name, mode, size, mtime, checksum, typeflag, link, magic, prefix = _FIELDS.unpack(block)
    # The checksum counts its own field as eight spaces.
    if _parse_number(checksum) != sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20:
        raise UnpackError("a tar header is corrupt: its checksum is wrong")
    if magic not in (_POSIX_MAGIC, _GNU_MAGIC):
        raise UnpackError(f"a tar header is neither POSIX nor GNU: its magic is {magic!r}")
    name = name.rstrip(b"\0")
    # GNU keeps times and the map of sparse files where POSIX has the prefix.
    if magic == _POSIX_MAGIC and prefix[0]:
        name = prefix.rstrip(b"\0") + b"/" + name
    return Header(name, _parse_number(mode), _parse_number(size), _parse_number(mtime), typeflag, link.rstrip(b"\0"))


def _parse_number(field: bytes) -> int:
    """Decode a numeric field: octal digits, or GNU's base 256 where the first bit is set.

    Raises:
        UnpackError: malformed, or negative.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    match = _OCTAL.fullmatch(field)
    if not match:
        raise UnpackError(f"a tar header is malformed: {field!r} is not a number that is zero or more")
    return int(match[1] or b"0", 8)


def parse_pax(payload: bytes) -> Dict[bytes, bytes]:
    r"""Split the payload of a pax extended header into its records.

    Returns:
        The values by keyword, in the order of the payload.

    Raises:
        UnpackError: a record whose length is not its length, without a keyword or value, or given twice.

    Source: POSIX.1-2017, pax, "pax Extended Header": ``"%d %s=%s\\n", <length>, <keyword>, <value>``.
    """
    records: Dict[bytes, bytes] = {}
    start = 0
    while start < len(payload):
        match = _PAX_RECORD.match(payload, start)
        end = start + int(match[1]) if match else 0
        # A record holds its own length, so every round advances (CVE-2019-20907).
        if not match or not match.end() <= end - 1 < len(payload) or payload[end - 1 : end] != b"\n":
            raise UnpackError(f"an extended header is malformed at byte {start}")
        keyword = match[2]
        if keyword in records:
            raise UnpackError(f"an extended header has the key {keyword!r} twice")
        records[keyword] = payload[match.end() : end - 1]
        start = end
    return records
