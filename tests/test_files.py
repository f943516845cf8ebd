"""Writing, flushing and renaming of the files that matter."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from provision_backend.files import (
    flush_tree,
    hash_file,
    open_regular,
    parse_json,
    read_file,
    read_json,
    rename,
    retry_if_in_use,
    write_atomically,
)


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


SPECIAL: Dict[str, Tuple[Callable[[Path], object], str]] = {
    "a FIFO": (os.mkfifo, "it is a FIFO, not a regular file"),
    "a directory": (Path.mkdir, "it is a directory, not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a regular file"),
    "a socket": (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "it is a socket, not a regular file"),
}


@pytest.mark.parametrize(("make", "message"), SPECIAL.values(), ids=SPECIAL.keys())
def test_what_never_ends_is_not_read(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    """Opening a FIFO would wait for a writer, and /dev/zero has no end."""
    path = tmp_path / "special"
    make(path)
    for read in (open_regular, read_file, read_json, hash_file):
        with pytest.raises(OSError, match=message):
            read(path)


def test_the_empty_device_is_an_empty_file() -> None:
    """People name it where a variable must name a file."""
    assert read_file(Path(os.devnull)) == b""


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """A sparse file of many gigabytes takes no room on the disk."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="it has more than 64 MiB"):
        read_file(tmp_path / "file")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff", b"1" * 5000], ids=["deep", "cut", "latin", "long"])
def test_what_is_no_json_is_one_kind_of_error(content: bytes) -> None:
    """Python raises four kinds."""
    if content[:1] == b"1" and sys.version_info < (3, 11):
        pytest.skip("it reads numbers of any length")
    with pytest.raises(ValueError):
        parse_json(content)


def _violation(number: object) -> PermissionError:
    """Return the error by which Windows says that a file is open: it has ``winerror``, which others lack."""
    error = PermissionError(errno.EACCES, "Sharing violation")
    error.winerror = number  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("number", [5, 32, 33, None])
def test_simulated_a_file_that_is_open_for_a_moment_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: object
) -> None:
    """A virus scanner has what was just written open, for a moment; Windows refuses to rename it until then."""
    pauses: List[float] = []
    errors = [_violation(number), _violation(number)]
    real = os.replace

    def _replace(source: str, target: str) -> None:
        if errors:
            raise errors.pop()
        real(source, target)

    monkeypatch.setattr(os, "replace", _replace)
    monkeypatch.setattr("provision_backend.files.time.sleep", pauses.append)
    (tmp_path / "new").write_text("new", encoding="ascii")
    rename(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text(encoding="ascii") == "new"
    assert pauses == [0.05, 0.1]


def test_simulated_a_file_that_stays_open_ends_the_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten seconds the error leaves as it is; on a Unix, where it is about permissions, at once."""
    pauses: List[float] = []
    monkeypatch.setattr("provision_backend.files.time.sleep", pauses.append)

    def _raise(error: PermissionError) -> None:
        raise error

    with pytest.raises(PermissionError, match="Sharing violation"):
        retry_if_in_use(lambda: _raise(_violation(32)))
    assert 9 < sum(pauses) < 10
    pauses.clear()
    with pytest.raises(PermissionError, match="not yours"):
        retry_if_in_use(lambda: _raise(PermissionError(errno.EACCES, "not yours")))
    with pytest.raises(PermissionError, match="Sharing violation"):
        retry_if_in_use(lambda: _raise(_violation(1314)))
    assert pauses == []
