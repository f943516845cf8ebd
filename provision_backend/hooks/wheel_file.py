"""Open a wheel, which is a zip file that anybody may have made: it can be read, or there is one error of ours.

Source: .ZIP File Format Specification; the source of CPython's ``zipfile``, which documents only some of its errors.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Tuple, Type

from ..errors import WheelError

__all__ = ["UNREADABLE", "open_wheel"]


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
