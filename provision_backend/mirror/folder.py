"""A folder of archives, filled: what is there is read, what is missing is fetched, verified and listed.

A file has its name in the folder only when it is whole and its sha256 is that of the catalog, and is listed in
``SHA256SUMS`` only after that. Downloads are on their way in ``.incoming``, where a killed process leaves what the
next one goes on with, and which is gone after a run that came to its end. One process at a time fills a folder; where
the file system has no locks each works in a folder of its own, and the renames decide.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, List, Optional, Sequence, Tuple

from ..catalog.archive import Archive
from ..catalog.sums import Sums, add_sums, hash_file, read_sums, unwritable
from ..errors import DownloadError, LockTimeoutError
from ..files import flush_folder
from ..install.sources import DownloadOptions
from ..output import Reporter

__all__ = ["INCOMING", "Contents", "Filled", "fill_folder", "inspect_folder"]

INCOMING = ".incoming"
_POLL = 0.1  # seconds between two looks at a lock that another process holds


@dataclass(frozen=True)
class Contents:
    """Which of the archives that are wanted a folder has."""

    present: Tuple[Archive, ...]
    """There, and with the sha256 of the catalog."""
    missing: Tuple[Archive, ...]
    """Not there, or damaged."""
    damaged: Tuple[str, ...]
    """Names of those that are there with another sha256; they are among the missing."""


@dataclass(frozen=True)
class Filled:
    """What was done to a folder."""

    fetched: Tuple[Archive, ...]
    present: Tuple[Archive, ...]
    """There before."""
    dropped: Tuple[str, ...]
    """Listed before although they were not there."""


def inspect_folder(folder: Path, archives: Sequence[Archive]) -> Contents:
    """Read the archives that are there and compare them with the catalog.

    Raises:
        CatalogError: ``SHA256SUMS`` is not of its form, or a file cannot be read.
        DownloadError: the folder has, and lists, another file under the name of an archive.
    """
    sums = read_sums(folder)
    present: List[Archive] = []
    missing: List[Archive] = []
    damaged: List[str] = []
    for archive in archives:
        found = hash_file(folder / archive.filename)
        (present if found == archive.sha256 else missing).append(archive)
        if found not in (None, archive.sha256):
            _refuse_foreign(folder, archive, sums, found)
            damaged.append(archive.filename)
    return Contents(tuple(present), tuple(missing), tuple(damaged))


def _refuse_foreign(folder: Path, archive: Archive, sums: Sums, found: Optional[str]) -> None:
    if found == sums.hashes.get(archive.filename):
        raise DownloadError(
            f"{str(folder)!r} has another {archive.filename}: the catalog has sha256 {archive.sha256}, "
            f"the folder has, and lists, {found}",
            hint="it may be one that 'provision-backend pack' made; use another folder, or remove it",
        )


def fill_folder(
    folder: Path,
    archives: Sequence[Archive],
    *,
    options: DownloadOptions,
    reporter: Reporter,
    lock_timeout: float,
) -> Filled:
    """Fetch the archives that a folder does not have.

    Args:
        folder: made where it does not exist.
        archives: what it is to have.
        options: where they come from.
        reporter: told of the downloads.
        lock_timeout: seconds to wait for another process that fills the same folder.

    Raises:
        DownloadError: an archive cannot be had, or the folder not be written; those before it are there and listed.
        OfflineError: the network is not allowed, and no local mirror has it.
        IntegrityError: the last source gave something else.
        CatalogError: ``SHA256SUMS`` is not of its form.
        LockTimeoutError: another process filled the folder all the time.
        UsageError: a mirror is not of its form.
    """
    with _work_folder(folder, lock_timeout, reporter) as work:
        contents = inspect_folder(folder, archives)
        for name in contents.damaged:
            reporter.info(f"{name} is damaged and fetched again")
        dropped = add_sums(folder, {archive.filename: archive.sha256 for archive in contents.present}, work)
        for archive in contents.missing:
            _fetch(archive, folder, work, options, reporter)
    return Filled(contents.missing, contents.present, tuple(dropped))


def _fetch(archive: Archive, folder: Path, work: Path, options: DownloadOptions, reporter: Reporter) -> None:
    from ..install.download import download_archive

    arrived = work / archive.filename
    download_archive(archive, arrived, options=options, reporter=reporter)
    try:
        # A server that runs as another user reads it, whatever the umask.
        arrived.chmod(0o644)
        os.replace(str(arrived), str(folder / archive.filename))
        flush_folder(folder)
    except OSError as exc:
        raise unwritable(folder, exc) from None
    add_sums(folder, {archive.filename: archive.sha256}, work)


@contextlib.contextmanager
def _work_folder(folder: Path, timeout: float, reporter: Reporter) -> Iterator[Path]:
    incoming = folder / INCOMING
    lock = None
    try:
        _make(folder)
        lock = _acquire(incoming, timeout, reporter)
        own = incoming if lock is not None else Path(tempfile.mkdtemp(dir=str(incoming)))
    except OSError as exc:
        raise unwritable(folder, exc) from None
    try:
        yield own
    except BaseException:
        _leave(own, lock, finished=False)
        raise
    _leave(own, lock, finished=True)


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        # As with the files in it: a server that runs as another user comes in, whatever the umask.
        folder.chmod(0o755)


def _leave(own: Path, lock: Optional[IO[bytes]], *, finished: bool) -> None:
    """Remove what nobody goes on with; what stays after a failure is resumed by the next process that has the lock."""
    if finished or lock is None or not any(own.glob("*.part")):
        shutil.rmtree(str(own), ignore_errors=True)
    if lock is None:
        with contextlib.suppress(OSError):
            (own.parent / "lock").unlink()
            own.parent.rmdir()
    else:
        lock.close()


def _acquire(incoming: Path, timeout: float, reporter: Reporter) -> Optional[IO[bytes]]:
    """Return the lock on a folder of work, as an open file; None where there is none to have."""
    deadline = time.monotonic() + timeout
    told = False
    while True:
        incoming.mkdir(exist_ok=True)
        try:
            # A lock on a file, not on the folder: NFS gives none on what is not open for writing.
            file = (incoming / "lock").open("ab")
        except FileNotFoundError:
            continue  # Whoever had the lock has just removed the folder.
        held = _try_lock(file)
        if held and _is_still(file, incoming / "lock"):
            return file
        file.close()
        if held is None:
            return None
        if held:
            continue
        if not told:
            reporter.info(f"waiting for another process that fills {str(incoming.parent)!r}")
            told = True
        if time.monotonic() >= deadline:
            raise LockTimeoutError(
                f"another process filled {str(incoming.parent)!r} for {timeout:g} seconds",
                hint="wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT",
            )
        time.sleep(_POLL)


def _try_lock(file: IO[bytes]) -> Optional[bool]:
    """Say whether the lock is ours, or None where there is no such thing."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Say whether a file that is locked still has its name: who had the lock before may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
