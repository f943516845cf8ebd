"""Open a wheel, which is a zip file that anybody may have made: it can be read, or there is one error of ours.

Source: .ZIP File Format Specification; the source of CPython's ``zipfile``, which documents only some of its errors.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Tuple, Type

from ..errors import WheelError
from ..output import format_size

__all__ = ["UNREADABLE", "open_member", "open_wheel", "read_member"]

_MOST = 8_000_000  # bytes of a text that are read; metadata holds a README, and the longest have about 1 MB


def _error_of(module: str, name: str) -> Type[Exception]:
    # zipfile has these modules where the interpreter was built with them, and says so with RuntimeError elsewhere.
    found: Type[Exception] = getattr(getattr(zipfile, module, None), name, zipfile.BadZipFile)
    return found


UNREADABLE: Tuple[Type[Exception], ...] = (
    OSError, ValueError, RuntimeError, EOFError, struct.error, zipfile.BadZipFile, zlib.error,
    _error_of("lzma", "LZMAError"), _error_of("zstd", "ZstdError"),
)  # fmt: skip
"""What reading a damaged or strange zip file raises."""


@contextmanager
def open_wheel(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """Open a wheel; raise `WheelError` where it, or what the body reads of it, cannot be read."""
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            yield archive
    except UNREADABLE as exc:
        # EOFError has no text.
        reason = getattr(exc, "strerror", None) or str(exc) or "it ends too early"
        raise WheelError(f"could not read {wheel}: {reason}") from None


@contextmanager
def open_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """Open a file in a wheel; raise `WheelError` if it is compressed in another way than in wheels."""
    # What decompresses bzip2 and LZMA makes gigabytes of some kilobytes, however little is asked for.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise WheelError(
            f"could not read {archive.filename}: {entry.filename} is compressed by method {entry.compress_type}",
            hint="a wheel is made with deflate, which is method 8, or stored, which is 0",
        )
    with archive.open(entry) as file:
        yield file


def read_member(archive: zipfile.ZipFile, name: str, *, most: int = _MOST) -> bytes:
    """Return the content of a text in a wheel, such as its metadata, of at most so many bytes.

    Raises:
        WheelError: it is too long, as in a file that was made to fill the memory, or it is compressed in another way
            than in wheels.
    """
    entry = archive.getinfo(name)
    # The size that the file claims may be wrong.
    with open_member(archive, entry) as file:
        content = file.read(most + 1) if entry.file_size <= most else b""
    if max(entry.file_size, len(content)) > most:
        raise WheelError(
            f"could not read {archive.filename}: {name} has more than {format_size(most)}",
            hint="a wheel with metadata of that size is damaged, or was made to fill the memory of who reads it",
        )
    return content
