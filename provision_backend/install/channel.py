"""Bytes from one thread to another: as many as the bound allows wait in between, the rest waits with the writer.

In: what one thread puts. Out: the same pieces in the same order for one other thread, as from a binary stream. Either
side may give up, which the other is told at once; a failure of the writer is raised where the reader reads.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Deque, Iterator, Optional

__all__ = ["Channel"]


class Channel:
    """A bounded queue of pieces with one writer and one reader.

    Args:
        limit: bytes that may wait; one more piece is let in while there are fewer, whatever its size.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: Deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Optional[BaseException] = None
        self._left = False
        self._changed = threading.Condition()

    @property
    def is_filled(self) -> bool:
        """Whether the reader has enough for a while: half of what may wait."""
        return 2 * self._size >= self._limit

    def put(self, piece: bytes) -> bool:
        """Give a piece, when there is room; say whether somebody still reads."""
        with self._changed:
            while self._size >= self._limit and not self._left:
                self._changed.wait()
            if not self._left:
                self._pieces.append(piece)
                self._size += len(piece)
                self._changed.notify_all()
            return not self._left

    def end(self, error: Optional[BaseException] = None) -> None:
        """Give nothing more; *error* is what the reader gets behind the last piece."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def leave(self) -> None:
        """Read nothing more."""
        with self._changed:
            self._left = True
            self._pieces.clear()
            self._changed.notify_all()

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, of whatever size; empty at the end, as `typing.BinaryIO` has it."""
        with self._changed:
            while not (self._pieces or self._ended):
                self._changed.wait()
            if self._pieces:
                piece = self._pieces.popleft()
                self._size -= len(piece)
                self._changed.notify_all()
                return piece
            if self._error is not None:
                raise self._error
            return b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")
