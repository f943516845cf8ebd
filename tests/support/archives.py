"""Archives made to order: good ones like those of python-build-standalone, and hostile ones that no writer would make.

A tar archive is put together from blocks: `member` gives a header with its content, `pax` and `long_name` the extended
headers that may stand before it, `tar` joins them and adds the end-of-archive marker. Everything can be set to what
it must not be. `gzipped` and `zstandard` compress the result.
"""

from __future__ import annotations

import gzip
import importlib
from typing import Any, List, Union

__all__ = ["MTIME", "gzipped", "long_name", "member", "pax", "small_tree", "tar", "with_checksum", "zstandard"]

MTIME = 1_700_000_000
"""Modification time of every member that is not given another."""

_BLOCK = 512
_POSIX = b"ustar\x0000"
_GNU = b"ustar  \0"


def member(
    name: Union[str, bytes],
    content: bytes = b"",
    kind: str = "0",
    *,
    link: Union[str, bytes] = "",
    **fields: Any,
) -> bytes:
    """Return one member: its header, its content and the padding.

    Args:
        name: path as written into the header, at most 100 bytes.
        content: bytes of a file.
        kind: the type flag: 0 file, 1 hard link, 2 symbolic link, 3 and 4 devices, 5 directory, 6 FIFO, and so on.
        link: target of a link.
        fields: of the header, each a number or the raw bytes of the field: ``mode``, ``uid``, ``size`` (default the
            length of *content*), ``mtime``, ``magic``, ``prefix``.
    """
    block = bytearray(_BLOCK)
    size = fields.get("size", len(content))
    for start, width, value in (
        (0, 100, name),
        (100, 8, fields.get("mode", 0o755 if kind == "5" else 0o644)),
        (108, 8, fields.get("uid", 0)),
        (116, 8, 0),
        (124, 12, size),
        (136, 12, fields.get("mtime", MTIME)),
        (156, 1, kind),
        (157, 100, link),
        (257, 8, fields.get("magic", _POSIX)),
        (345, 155, fields.get("prefix", b"")),
    ):
        raw = _field(value, width)
        block[start : start + len(raw)] = raw
    return with_checksum(bytes(block)) + _padded(content)


def with_checksum(block: bytes) -> bytes:
    """Return a header block with the checksum that it should have."""
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def _field(value: Union[int, str, bytes], width: int) -> bytes:
    if isinstance(value, int):
        return b"%0*o\0" % (width - 1, value)
    raw = value.encode() if isinstance(value, str) else value
    assert len(raw) <= width, raw
    return raw


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


def pax(*records: bytes, kind: str = "x") -> bytes:
    """Return a pax extended header with *records*, each either ``key=value`` or a complete malformed record.

    A record that ends with a newline is taken as complete and used as it is.
    """
    payload = b"".join(record if record.endswith(b"\n") else _pax_record(record) for record in records)
    return member("././@PaxHeader", payload, kind)


def _pax_record(text: bytes) -> bytes:
    length = len(text) + 2
    while len(b"%d %s\n" % (length, text)) != length:
        length += 1
    return b"%d %s\n" % (length, text)


def long_name(name: Union[str, bytes], kind: str = "L") -> bytes:
    """Return the GNU header that gives the next member its path (``L``) or its link target (``K``)."""
    raw = name.encode() if isinstance(name, str) else name
    return member("././@LongLink", raw + b"\0", kind, magic=_GNU)


def tar(*members: bytes, end: bytes = bytes(2 * _BLOCK)) -> bytes:
    """Join *members* and end the archive."""
    return b"".join(members) + end


def gzipped(data: bytes) -> bytes:
    """Compress with gzip, the same bytes every time."""
    return gzip.compress(data, 6)


def zstandard(data: bytes, *, checksum: bool = True) -> bytes:
    """Compress with Zstandard by whatever is installed; raises `ImportError` where nothing is."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = importlib.import_module(name)
        except ImportError:
            continue
        return bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: int(checksum)}))
    package: Any = importlib.import_module("zstandard")
    return bytes(package.ZstdCompressor(write_checksum=checksum).compress(data))


def small_tree() -> List[bytes]:
    """Return the members of an archive that has what real ones have: links, case pairs, long and implied paths."""
    deep = "python/lib/python3.12/" + "/".join(["site-packages"] * 6)
    return [
        member("python/bin/python3.12", b"\x7fELF" + bytes(range(256)) * 40, mode=0o755),
        member("python/bin/python3", kind="2", link="python3.12", mode=0o777),
        member("python/bin/python", kind="2", link="python3.12", mode=0o777),
        member("python/lib/", kind="5"),
        member("python/lib/libpython3.so", b"so" * 700, mode=0o555),
        member("python/lib/python3.12/os.py", b"import sys\n" * 300, mtime=MTIME + 1),
        member("python/lib/python3.12/empty.py"),
        member("python/lib/python3.12/same.py", kind="1", link="python/lib/python3.12/os.py"),
        member("module.py", b"x = 1\n", prefix=deep),
        long_name(deep + "/long.py") + member(deep[:100], b"y = 2\n", magic=_GNU),
        pax(b"path=python/share/\xc3\xa9t\xc3\xa9.txt", b"mtime=1700000002.75") + member("python/share/ete.txt", b"z"),
        member("python/share/terminfo/N/News", b"N"),
        member("python/share/terminfo/n/news", b"n"),
        member("python/share/terminfo/E", kind="2", link="./n"),
        member("python/share/terminfo/e/eterm", kind="2", link="../n/news"),
    ]
