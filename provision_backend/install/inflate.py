"""A compressed binary stream goes in; its decompressed bytes come out, in bounded pieces and in one pass.

gzip (RFC 1952) and Zstandard (RFC 8878) are told apart by their first bytes, never by a file name. The stream need
not be seekable. It must be exactly one gzip member or one Zstandard frame: a stream that ends early, and any byte
behind its end, is an error, since both mean that the file is not the one that was published.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any, BinaryIO, Callable, Iterator, List, Optional, Protocol, Tuple, Type

from ..errors import MissingDependencyError, ProvisionError, UnpackError

__all__ = ["inflate"]

_READ_BYTES = 64 * 1024
_PIECE_BYTES = 1024 * 1024
"""The most that one piece holds, so that a bomb never costs more memory than this."""
_RATIO_GRACE_BYTES = 64 * 1024 * 1024
"""The ratio is not looked at below this: small archives may well hold long runs of zeros."""
_ZSTANDARD_SLICE_BYTES = 2 * 1024
"""The package zstandard has no bound on its output, and four bytes can stand for 128 KiB: this makes it 64 MiB."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Codec(Protocol):
    """One way to decompress one stream."""

    errors: Tuple[Type[Exception], ...]
    """What `pieces` raises on corrupt input."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what *data* decompresses to, at most `_PIECE_BYTES` at a time."""

    @property
    def ended(self) -> bool:
        """Whether the end of the compressed stream was seen and its checksum was right."""

    @property
    def unused(self) -> bytes:
        """What followed the end of the compressed stream in the last *data*."""


class _Gzip:
    """Gzip through zlib, or through ISA-L where the package isal is installed: same results in half the time."""

    def __init__(self) -> None:
        # 16 + MAX_WBITS makes zlib read the gzip header and verify the CRC-32 and the length at the end.
        isal_zlib = _import_optional("isal.isal_zlib")
        self._decoder: Any = (isal_zlib or zlib).decompressobj(16 + zlib.MAX_WBITS)
        self.errors: Tuple[Type[Exception], ...] = (zlib.error, isal_zlib.error) if isal_zlib else (zlib.error,)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        full = True
        # A full piece may have left output inside zlib although all of its input is consumed.
        while (data or full) and not self._decoder.eof:
            piece = self._decoder.decompress(data, _PIECE_BYTES)
            data = self._decoder.unconsumed_tail
            full = len(piece) >= _PIECE_BYTES
            yield piece

    @property
    def ended(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._decoder.unused_data)


class _Zstd:
    """Zstandard through ``compression.zstd`` of Python 3.14, or its backport."""

    def __init__(self, module: Any) -> None:
        self._decoder = module.ZstdDecompressor()
        self.errors: Tuple[Type[Exception], ...] = (module.ZstdError,)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        yield self._decoder.decompress(data, _PIECE_BYTES)
        while not (self._decoder.eof or self._decoder.needs_input):
            yield self._decoder.decompress(b"", _PIECE_BYTES)

    @property
    def ended(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._decoder.unused_data)


class _Zstandard:
    """Zstandard through the package zstandard, the only one there is for Python 3.8."""

    def __init__(self, module: Any) -> None:
        self._decoder = module.ZstdDecompressor().decompressobj()
        self._rest = b""
        self.errors: Tuple[Type[Exception], ...] = (module.ZstdError,)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTANDARD_SLICE_BYTES):
            yield self._decoder.decompress(data[start : start + _ZSTANDARD_SLICE_BYTES])
            if self._decoder.eof:
                self._rest = data[start + _ZSTANDARD_SLICE_BYTES :]
                return

    @property
    def ended(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._decoder.unused_data) + self._rest


def inflate(stream: BinaryIO, *, max_bytes: int, max_ratio: int) -> Iterator[bytes]:
    """Decompress *stream* in one pass.

    Args:
        stream: binary, positioned at the start of the compressed data; only ``read`` is called, and read to its end.
        max_bytes: bound on all decompressed bytes together.
        max_ratio: bound on decompressed bytes per compressed byte, looked at from 64 MiB on.

    Yields:
        Pieces of any size from 1 byte on, none much larger than 1 MiB. The iterator ends only when the compressed
        stream is complete, its checksum right and nothing follows it.

    Raises:
        UnpackError: neither gzip nor Zstandard, corrupt, truncated, followed by other data, or beyond a bound.
        MissingDependencyError: Zstandard, and nothing is installed that decompresses it.
        ProvisionError: whatever *stream* itself raises of these, unchanged.

    Source: RFC 1952, RFC 8878.
    """
    data = _read_head(stream)
    codec = _choose_codec(data)
    consumed = produced = 0
    while data:
        consumed += len(data)
        for piece in _translated(codec, data):
            produced += len(piece)
            _check_bounds(consumed, produced, max_bytes, max_ratio)
            yield piece
        if codec.ended:
            if codec.unused or _read(stream):
                raise UnpackError(f"there is other data behind the end of the compressed stream of {produced} bytes")
            return
        data = _read(stream)
    raise UnpackError(f"the compressed stream is truncated: it ends after {consumed} bytes")


def _translated(codec: _Codec, data: bytes) -> Iterator[bytes]:
    try:
        for piece in codec.pieces(data):
            if piece:
                yield piece
    except codec.errors as exc:
        raise UnpackError(f"the compressed stream is corrupt: {exc}") from exc
    except (EOFError, MemoryError, OSError, OverflowError, ValueError) as exc:
        # A header may ask for a window or a buffer that cannot be had.
        raise UnpackError(f"the compressed stream cannot be decompressed: {str(exc) or type(exc).__name__}") from exc


def _check_bounds(consumed: int, produced: int, max_bytes: int, max_ratio: int) -> None:
    if produced > max_bytes:
        raise UnpackError(f"more than {max_bytes} bytes come out of {consumed}: taken for a decompression bomb")
    if produced > _RATIO_GRACE_BYTES and produced > consumed * max_ratio:
        raise UnpackError(
            f"{produced} bytes come out of {consumed}, more than {max_ratio} times as many: "
            "taken for a decompression bomb"
        )


def _read_head(stream: BinaryIO) -> bytes:
    """Return the first bytes, as many as tell the format unless the stream is shorter."""
    head = _read(stream)
    while len(head) < len(_ZSTD_MAGIC):
        more = _read(stream)
        if not more:
            break
        head += more
    return head


def _read(stream: BinaryIO) -> bytes:
    try:
        data: Optional[bytes] = stream.read(_READ_BYTES)
    except ProvisionError:
        raise
    except (EOFError, OSError, ValueError) as exc:
        raise UnpackError(f"the archive cannot be read: {exc}") from exc
    if data is None:
        raise UnpackError("the archive cannot be read: its stream is non-blocking and has no data yet")
    return data


def _choose_codec(head: bytes) -> _Codec:
    if head.startswith(_GZIP_MAGIC):
        return _Gzip()
    if not head.startswith(_ZSTD_MAGIC):
        found = f"it starts with {head[:8]!r}" if head else "it is empty"
        raise UnpackError(f"it is neither gzip nor Zstandard: {found}")
    choices: List[Tuple[str, Callable[[Any], _Codec]]] = [
        ("compression.zstd", _Zstd),
        ("backports.zstd", _Zstd),
        ("zstandard", _Zstandard),
    ]
    for name, codec in choices:
        module = _import_optional(name)
        if module:
            return codec(module)
    raise MissingDependencyError("backports.zstd", "unpack a .tar.zst archive on Python 3.13 or older")


def _import_optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
