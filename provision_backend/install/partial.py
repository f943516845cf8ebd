"""Keep an unfinished download: how much has arrived, whether the rest may be fetched alone, and its publication.

Beside the final file stand ``<name>.part``, the bytes so far, and ``<name>.part.json``, where they came from and the
validator that the server gave for them. After a crash at any moment the pair is one of: nothing; bytes without a
validator, which are not used; or a validator with a beginning of exactly the bytes it stands for. The final name
appears only by rename, after the bytes were flushed to the disk.

The caller holds a lock on the final name: two processes must not write to one ``.part``.

Source: RFC 9110, 8.8 (validators), 13.1.5 (If-Range), 14.4 (Content-Range).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from pathlib import Path
from typing import IO, Iterator, Mapping, NamedTuple, Optional, Tuple

from ..errors import DownloadError
from ..files import RAISE_FILE_LIMIT, free_bytes, identify, publish, read_json
from ..output import format_size, redact_url

__all__ = ["Partial", "Stream", "is_encoded", "is_plain"]

_BLOCK = 1 << 20
# Python refuses to parse thousands of digits.
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Stream(NamedTuple):
    """The answer of a source: 200, 206, or 416; for a local file always 200."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The header fields; names in lower case find them."""
    length: Optional[int]
    """Bytes of the body; None where the server does not say."""
    validator: str
    """Stands for exactly these bytes in ``If-Range``: a strong entity tag or a date; empty where there is none."""
    chunks: Iterator[bytes]
    """The body as it came over the wire, not decoded; raises `SourceError`."""


class Partial:
    """The unfinished copy of the file *final*; its methods raise `DownloadError` where the disk fails.

    Args:
        final: path of the complete file.
        choose: how people choose the folder of it, as a message puts it before "a folder".
    """

    def __init__(self, final: Path, choose: str = "set PROVISION_BACKEND_CACHE_DIR to") -> None:
        self.final = final
        self._choose = choose
        self.path = final.with_name(final.name + ".part")
        self.notes = final.with_name(final.name + ".part.json")
        self._identity: Tuple[int, ...] = ()

    def resume_headers(self, url: str) -> Mapping[str, str]:
        """Return the header fields that ask this URL for the rest; none where the download must start anew."""
        notes = self._read_notes()
        offset, total, validator = self.size(), notes.get("total"), notes.get("validator")
        # A validator means nothing at another URL.
        if notes.get("url") != redact_url(url) or not isinstance(validator, str) or not is_plain(validator):
            return {}
        if not self._is_usable() or not (total is None or (isinstance(total, int) and offset < total)):
            return {}
        return {"Range": f"bytes={offset}-", "If-Range": validator}

    def find_total(self, headers: Mapping[str, str]) -> Optional[int]:
        """Return the size of the whole file if a 206 answer continues exactly where the part ends, else None."""
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        if not match or is_encoded(headers):
            return None
        notes, (first, last, total) = self._read_notes(), map(int, match.groups())
        if first != self.size() or last != total - 1 or notes.get("total") not in (None, total):
            return None
        # Some servers ignore If-Range.
        validator = str(notes.get("validator"))
        field = "etag" if validator.startswith('"') else "last-modified"
        return total if headers.get(field, validator) == validator else None

    def is_whole(self) -> bool:
        """Return whether the file is complete, as after a crash just before the rename."""
        return self._is_usable() and self.size() == self._read_notes().get("total")

    def size(self) -> int:
        """Return how many bytes have arrived."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the first *size* bytes, or as many as there are."""
        with self._disk(), self.path.open("rb") as file:
            self._identity = identify(os.fstat(file.fileno()))
            while size > 0:
                block = file.read(min(_BLOCK, size))
                if not block:
                    break
                yield block
                size -= len(block)

    def begin(self, url: str, *, validator: str, total: Optional[int]) -> None:
        """Discard the part, and note what will come."""
        with self._disk():
            self.discard()
            self.final.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(exist_ok=False)
            notes = {"url": redact_url(url), "validator": validator, "total": total}
            self.notes.write_text(json.dumps(notes), encoding="utf-8")

    def reserve(self, needed: int) -> None:
        """Raise `DownloadError` where so many more bytes have no room."""
        # Space is not allocated in advance, since the size of the part says how much has arrived.
        free = free_bytes(self.final.parent)
        if free is not None and free < needed:
            if not self.size():
                self.discard()
            found = f"wanted {format_size(needed)}, found {format_size(free)} free"
            message = f"not enough space for {self.final.name} in {str(self.final.parent)!r}: {found}"
            raise DownloadError(message, hint=self._make_room(), disk=True)

    @contextlib.contextmanager
    def append(self, offset: int) -> Iterator[IO[bytes]]:
        """Open the file to write from *offset* on."""
        with self._disk():
            with self.path.open("r+b") as file:
                file.truncate(offset)
                file.seek(offset)
                yield file
                file.flush()
                self._identity = identify(os.fstat(file.fileno()))
            # Windows sets the time of a file that was written to when it is closed. Its bytes have been given on, so it
            # is no matter here if somebody has removed it.
            with contextlib.suppress(FileNotFoundError):
                closed = identify(os.stat(self.path))
                if closed[:2] == self._identity[:2]:
                    self._identity = closed

    def publish(self) -> None:
        """Flush the file that was written or read last to the disk, and give it its final name."""
        with self._disk():
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
                # Where locks do not work another process may have begun anew, and this name be its file.
                if identify(os.fstat(file.fileno())) != self._identity:
                    raise DownloadError(f"another process downloads {self.final.name} at the same time")
            publish(self.path, self.final)  # Windows renames no file that is open.
        with contextlib.suppress(OSError):
            self.notes.unlink()

    def discard(self) -> None:
        """Remove the part: its notes first, so that they never stand beside other bytes."""
        for path in (self.notes, self.path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _read_notes(self) -> Mapping[str, object]:
        with contextlib.suppress(OSError, ValueError):
            notes = read_json(self.notes)
            return notes if isinstance(notes, dict) else {}
        return {}

    def _make_room(self) -> str:
        return f"make room, or {self._choose} a folder on another file system"

    def _is_usable(self) -> bool:
        return self.size() > 0 and os.access(self.path, os.R_OK | os.W_OK)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint, found = f"{self._choose} a folder that can be written", ""
            if error.errno in _FULL:
                # A part that fills the disk is in everybody's way.
                with contextlib.suppress(OSError):
                    self.discard()
                hint, free = self._make_room(), free_bytes(self.final.parent)
                found = "" if free is None else f", {format_size(free)} free once the part is removed"
            if error.errno == errno.EFBIG:
                hint, found = RAISE_FILE_LIMIT, ""
            message = f"could not write {str(self.path)!r}: {error.strerror or error}{found}"
            raise DownloadError(message, hint=hint, disk=True) from None


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Return whether a body was encoded on the way, so that its bytes are not those of the file."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def is_plain(text: str) -> bool:
    """Return whether a text can stand in a header field as it is."""
    return bool(text) and all(" " <= character <= "~" for character in text)
