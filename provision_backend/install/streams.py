"""Where bytes come from, as one kind of thing: a `Stream`, be it a file of this machine or the answer of a server.

In: a location. Out: its bytes, a chunk at a time, and how many there will be; or a `SourceError`. Nothing is verified
here: whoever takes the bytes compares their sha256 with the catalog.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, Mapping, Optional
from urllib.parse import urlsplit

from ..output import format_size
from .attempts import SourceError
from .partial import Resume
from .sources import local_path
from .transport import Stream, Transport

__all__ = ["content_length", "exactly", "name_origin", "open_source"]

BLOCK = 1 << 18  # bytes of a local file read at once


@contextlib.contextmanager
def open_source(
    location: str,
    *,
    transport: Transport,
    resume: Optional[Resume] = None,
    secure: bool = False,
) -> Iterator[Stream]:
    """Open a URL or a local file as a stream of bytes; nothing about them is verified yet.

    Args:
        location: an ``http(s)`` or ``file`` URL, or a path.
        transport: makes the requests.
        resume: asks for the rest of a file; the answer may be the whole file all the same. Not for local files.
        secure: refuse plain HTTP, except from this machine.

    Raises:
        SourceError: the source does not give it; its ``chunks`` raise the same.
    """
    path = local_path(location)
    if path is None:
        with transport.open(location, resume.headers if resume else None, secure=secure) as stream:
            if stream.status != 200 and resume is None:
                raise SourceError(f"answered {stream.status} to a request for the whole file")
            yield stream
        return
    try:
        if not path.is_file():
            raise SourceError("no such file" if not path.exists() else "not a file", absent=True)
        file = path.open("rb")
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from None
    with file:
        size = str(path.stat().st_size)
        yield Stream(200, {"content-length": size}, _read_blocks(file.read))


def exactly(chunks: Iterator[bytes], length: Optional[int], *, limit: int) -> Iterator[bytes]:
    """Pass *chunks* on, and fail where they are not as many bytes as announced, or more than the limit.

    Raises:
        SourceError: too many, or too few; the latter may be worth another try.
    """
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise SourceError(f"sends more than the {format_size(limit)} that are allowed")
        if length is not None and received > length:
            raise SourceError(f"sends more than the {length} bytes it announced")
        yield chunk
    if length is not None and received < length:
        raise SourceError(f"the body ended after {received} of {length} bytes", retry=True)


def _read_blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = read(BLOCK)
        except OSError as error:
            raise SourceError(error.strerror or str(error)) from None
        if not block:
            return
        yield block


def content_length(headers: Mapping[str, str]) -> Optional[int]:
    """Return the length of the body in bytes, or None where the header does not say."""
    value = headers.get("content-length", "").strip()
    # With a transfer encoding the length is not that of the body (RFC 9112, 6.3).
    return int(value) if value.isdecimal() and "transfer-encoding" not in headers else None


def name_origin(location: str) -> str:
    """Return what people are told of *location*: its host, or its folder."""
    path = local_path(location)
    return urlsplit(location).hostname or "" if path is None else str(path.parent)
