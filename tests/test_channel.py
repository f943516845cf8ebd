"""Bytes between two threads: `provision_backend.install.channel`."""

from __future__ import annotations

import threading
import time
from typing import Callable, List

import pytest

from provision_backend.install.channel import Channel


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Start a thread that ends with the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_pieces_come_out_as_they_went_in() -> None:
    """The order and the cuts stay, and the end is an empty read, however often it is asked for."""
    channel = Channel(100)
    pieces = [b"one", b"two", b"three"]
    for piece in pieces:
        assert channel.put(piece)
    channel.end()

    assert list(channel) == pieces
    assert channel.read(5) == b""


def test_the_writer_waits_while_too_much_is_there() -> None:
    """No more than the bound waits, and one piece; with room the writer goes on."""
    channel = Channel(10)
    done: List[int] = []

    def write() -> None:
        for number in range(100):
            channel.put(b"x" * 5)
            done.append(number)

    writer = in_thread(write)
    time.sleep(0.1)
    assert len(done) == 2
    assert sum(len(channel.read()) for _ in range(100)) == 500
    writer.join(10)

    assert len(done) == 100


def test_a_piece_larger_than_the_bound_is_let_in() -> None:
    """Otherwise it would wait for ever."""
    channel = Channel(10)

    assert channel.put(b"x" * 1000)
    assert channel.read() == b"x" * 1000


def test_a_reader_that_leaves_frees_the_writer() -> None:
    """The writer that waits is told at once, and what it gives later is dropped."""
    channel = Channel(1)
    channel.put(b"x")
    told: List[bool] = []
    writer = in_thread(lambda: told.append(channel.put(b"y")))
    channel.leave()
    writer.join(10)

    assert told == [False]
    assert not channel.put(b"z")


def test_a_failure_of_the_writer_comes_behind_its_last_piece() -> None:
    """The reader gets what was good, and then the error."""
    channel = Channel(10)
    channel.put(b"good")
    channel.end(RuntimeError("broken"))

    assert channel.read() == b"good"
    with pytest.raises(RuntimeError, match="broken"):
        channel.read()
