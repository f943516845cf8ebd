"""Writing, flushing and renaming of the files that matter."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import List

import pytest

from provision_backend.files import flush_tree, remove_unfinished, write_atomically


def _refuse_syncfs(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Library:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def syncfs(self, _descriptor: int) -> int:
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_simulated_an_error_of_the_disk_is_not_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What was not written is not published, so the caller has to know."""
    _refuse_syncfs(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        flush_tree(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get)
def test_simulated_a_sandbox_without_syncfs_flushes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The system call is refused there, which says nothing of the disk."""
    _refuse_syncfs(monkeypatch, number)
    synced: List[bool] = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    flush_tree(tmp_path)
    assert synced == [True]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """It has the mode that was asked for, whatever the umask, and nothing is left beside it."""
    before = os.umask(0o077)
    try:
        for content in (b"one", b"two"):
            write_atomically(tmp_path / "file", content, mode=0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unfinished file is removed."""
    write_atomically(tmp_path / "file", b"one")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "simulated")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="simulated"):
        write_atomically(tmp_path / "file", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]


def test_what_killed_writers_of_a_file_left_can_be_removed(tmp_path: Path) -> None:
    """The leftovers of another file stay, and so does the file."""
    for name in (".file.a1", ".file.b2", ".other.c3", "file"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == [".other.c3", "file"]
