"""The bytes of an archive go in while they arrive; its tree stands when the last one is in.

Three threads work at once: whoever feeds (and downloads and hashes), one that inflates, one that writes. Between them
wait at most a few megabytes. Nothing here is verified: who feeds compares the sha256 of all bytes with the catalog
before anything is done with the tree, and what fails in here is told only afterwards, in `Unpacking.finish`, since
damage on the way is reported as what it is, a wrong hash, and the next source is tried.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Iterable, List, Optional, Type, cast

from ..errors import UnpackError
from .channel import Channel
from .inflate import inflate
from .unpack import DEFAULT_LIMITS, Unpacked, UnpackLimits, unpack_pieces

__all__ = ["Unpacking"]

_COMPRESSED = 2 << 20
_PLAIN = 4 << 20
"""Bytes that wait before each of the threads. Less makes them wait for each other, more is only memory."""


class Unpacking:
    """An archive that is unpacked while it arrives; a context manager that ends its threads.

    Args:
        folder: an empty directory, on the file system where the tree is to stay.
        filename: what to call the archive in messages.
        limits: bounds on what the archive may hold.
        meanwhile: short steps of other work that the feeding thread does while the other two have enough to do; all of
            them are done when `finish` returns.
    """

    def __init__(
        self,
        folder: Path,
        filename: str,
        *,
        limits: UnpackLimits = DEFAULT_LIMITS,
        meanwhile: Iterable[object] = (),
    ) -> None:
        self._folder = folder
        self._filename = filename
        self._limits = limits
        self._meanwhile = iter(meanwhile)
        self._tries = 0
        self._threads: List[threading.Thread] = []
        self._begin()

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._stop()

    def restart(self) -> None:
        """Throw away what was made of the bytes so far: the next are the first ones of an archive again.

        Raises:
            UnpackError: the folder cannot be written.
        """
        if self._threads:
            self._stop()
            shutil.rmtree(str(self._destination), ignore_errors=True)
        self._begin()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; wait while too many are there. What fails is told by `finish`."""
        if not self._threads:
            self._start()
        self._compressed.put(chunk)
        if self._compressed.is_filled:
            next(self._meanwhile, None)

    def finish(self) -> Unpacked:
        """Wait until everything is written, and return the tree.

        Raises:
            UnpackError: as `provision_backend.install.unpack.unpack_stream`.
            MissingDependencyError: nothing is installed that decompresses Zstandard.
        """
        if not self._threads:
            self._start()
        self._compressed.end()
        for _ in self._meanwhile:
            pass
        self._join()
        if self._unpacked is None:
            raise self._failure or AssertionError("a thread ended without a result")
        return self._unpacked

    def _begin(self) -> None:
        self._tries += 1
        self._destination = self._folder / ("unpacked" if self._tries == 1 else f"unpacked-{self._tries}")
        self._compressed = Channel(_COMPRESSED)
        self._plain = Channel(_PLAIN)
        self._unpacked: Optional[Unpacked] = None
        self._failure: Optional[BaseException] = None

    def _start(self) -> None:
        try:
            self._destination.mkdir()
        except OSError as exc:
            raise UnpackError(f"the directory {str(self._folder)!r} cannot be used: {exc.strerror}") from exc
        # Daemons, so that a process that must end does not wait for a disk that hangs.
        self._threads = [
            threading.Thread(target=work, name=f"unpack: {work.__name__}", daemon=True)
            for work in (self._inflate, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def _stop(self) -> None:
        self._compressed.end(UnpackError("the archive did not arrive"))
        self._plain.leave()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            # A signal may have come before it was started, and then it cannot be joined.
            if thread.is_alive():
                thread.join()
        self._threads = []

    def _inflate(self) -> None:
        failure: Optional[BaseException] = None
        try:
            stream = cast(Any, self._compressed)
            for piece in inflate(stream, max_bytes=self._limits.total_bytes, max_ratio=self._limits.ratio):
                if not self._plain.put(piece):
                    break
        except BaseException as exc:  # It is raised again in the other thread.
            failure = exc
        self._plain.end(failure)
        self._compressed.leave()

    def _write(self) -> None:
        try:
            self._unpacked = unpack_pieces(iter(self._plain), self._filename, self._destination, limits=self._limits)
        except BaseException as exc:  # It is raised again by `finish`.
            self._failure = exc
        self._plain.leave()
