"""A mirror: fill a folder with archives, wheels or both, list them, and check what it holds.

Archives lie in the folder itself. The wheels of a locked project, which pip fetches, lie in its folder ``wheels``,
which pip and uv take as ``--find-links``. A file has its name in the folder only when it is complete and its sha256 is
that of the catalog or lock, and is listed in ``SHA256SUMS`` only after that. Unfinished downloads are in ``.incoming``,
where the next run resumes what a killed process left. One process at a time adds a file, ``pack`` included; on a file
system without locks each process has a work folder of its own, and the last rename wins.

A check reads every file that is listed, and neither writes nor fetches anything. A file is compared with the folder's
own ``SHA256SUMS``, which anybody who can write to the folder can change together with the file, and with the catalog
or lock, which they cannot change.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Sequence

from ..cache.folders import work_prefix
from ..cache.locks import key_lock
from ..cache.store import open_cache
from ..catalog.archive import Archive, parse_archive
from ..catalog.sums import SHA256SUMS, Sums, change_sums, load_sums
from ..errors import CatalogError, DownloadError
from ..files import free_bytes, hash_file, list_names, publish, remove_path, write_atomically
from ..install.catalogs import load_archives
from ..install.download import download_archive
from ..install.sources import WHEELS
from ..output import Reporter, format_size
from ..settings import Settings

__all__ = [
    "Checked", "Contents", "Filled", "Item", "check_folder", "fill_archives", "fill_folder", "hash_if_exists",
    "inspect_folder", "list_files", "private_folder", "work_folder",
]  # fmt: skip

_INCOMING = ".incoming"  # folder of unfinished downloads; the names of all other temporary files begin with it, too
_PRIVATE = f"{_INCOMING}-"  # the beginning of the name of a folder that one process works in


class Item(Protocol):
    """What a mirror holds: an archive or a wheel."""

    @property
    def filename(self) -> str:
        """Its path below the mirror, with slashes."""
        ...

    @property
    def sha256(self) -> str:
        """Lower-case hex sha256 that it must have."""
        ...

    def as_dict(self) -> Dict[str, str]:
        """Return how commands describe it in JSON."""
        ...


# It fetches some items, whose files then lie in a work folder.
Fetch = Callable[[Sequence[Item], Path], None]


class Contents(NamedTuple):
    """Which of the requested archives or wheels a folder has."""

    present: List[Item]
    """Those with the sha256 of the catalog or lock."""
    missing: List[Item]
    """Those that do not exist or are damaged."""
    damaged: List[str]
    """Names of those with another sha256; they are among the missing."""


class Filled(NamedTuple):
    """What was done to a folder."""

    fetched: List[Item]
    present: List[Item]
    """Those that the folder had already, or that another process fetched meanwhile."""
    dropped: List[str]
    """Archives and wheels that were listed although they did not exist."""


def inspect_folder(folder: Path, items: Sequence[Item]) -> Contents:
    """Read the archives or wheels in a folder and compare them with the catalog or lock."""
    listed = load_sums(folder / SHA256SUMS, missing_ok=True).hashes
    contents = Contents([], [], [])
    for item in items:
        found = hash_if_exists(folder / item.filename)
        (contents.present if found == item.sha256 else contents.missing).append(item)
        if found not in (None, item.sha256):
            # What is listed is not damage but another file, such as an archive that pack made.
            if found == listed.get(item.filename):
                known, maker = _origin(item.filename), "made by 'provision-backend pack'"
                raise DownloadError(
                    f"{str(folder)!r} has another {item.filename}: the {known} has sha256 {item.sha256}, "
                    f"the folder has, and lists, {found}",
                    hint=f"it may have been {maker if known == 'catalog' else 'fetched from another index'}; "
                    "use another folder, or remove it",
                )
            contents.damaged.append(item.filename)
    return contents


def _origin(name: str) -> str:
    """Return what says which file a name of a mirror stands for."""
    return "lock" if name.startswith(f"{WHEELS}/") else "catalog"


def hash_if_exists(path: Path) -> Optional[str]:
    """Return the sha256 of a file, None if it does not exist; raise `CatalogError` if it cannot be read."""
    try:
        return hash_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise CatalogError(f"'{path}' cannot be read: {exc.strerror or exc}") from None


def fill_archives(folder: Path, archives: Sequence[Archive], settings: Settings, reporter: Reporter) -> Filled:
    """Fetch archives as `fill_folder` does, which has the errors too, from where the settings say."""

    def _fetch(archives: Sequence[Any], work: Path) -> None:
        for archive in archives:
            download_archive(archive, work / archive.filename, settings=settings, reporter=reporter)

    return fill_folder(folder, [[archive] for archive in archives], _fetch, settings, reporter)


def fill_folder(
    folder: Path, batches: Sequence[Sequence[Item]], fetch: Fetch, settings: Settings, reporter: Reporter
) -> Filled:
    """Fetch what a folder, which is created if necessary, does not have, one batch after another.

    Raises:
        DownloadError: a file cannot be fetched, the folder cannot be written, or it lists another file under the same
            name; the batches before that one are complete and listed.
        CatalogError: ``SHA256SUMS`` is malformed.
        LockTimeoutError: another process held the folder's lock longer than the settings allow.
    """
    contents = inspect_folder(folder, [item for batch in batches for item in batch])
    for name in contents.damaged:
        reporter.info(f"{name} is damaged and fetched again")
    with work_folder(folder, settings.lock_timeout, reporter) as work:
        dropped = list_files(folder, {item.filename: item.sha256 for item in contents.present}, work)
    filled = Filled([], contents.present, dropped)
    for batch in batches:
        missing = [item for item in batch if item in contents.missing]
        if not missing:
            continue
        # The lock is released after each batch, so that pack waits for one download and not for all of them.
        with work_folder(folder, settings.lock_timeout, reporter) as work:
            # Another process may have added it meanwhile.
            now = inspect_folder(folder, missing)
            if now.missing:
                fetch(now.missing, work)
            for item in now.missing:
                arrived = work / PurePosixPath(item.filename).name
                list_files(folder, {item.filename: item.sha256}, work, finished=arrived)
            filled.present.extend(now.present)
            filled.fetched.extend(now.missing)
    with work_folder(folder, settings.lock_timeout, reporter) as work:
        # After a complete run nothing is left to resume.
        for name in list_names(work):
            remove_path(work / name)
    return filled


def list_files(folder: Path, hashes: Mapping[str, str], work: Path, *, finished: Optional[Path] = None) -> List[str]:
    """Add files to the ``SHA256SUMS`` of a mirror, drop what does not exist, and return the names of that.

    Args:
        folder: the mirror.
        hashes: sha256 of complete files by name.
        work: what `work_folder` yielded.
        finished: the only one of the files, which is first moved into the folder and replaces one of the same name.

    Raises:
        CatalogError: ``SHA256SUMS`` is malformed, or lists another archive of the same name in another folder; then
            the mirror is unchanged.
    """
    # A catalog must not offer what the mirror does not have.
    file = folder / SHA256SUMS
    before = load_sums(file, missing_ok=True)
    gone = sorted(name for name in before.hashes if name not in hashes and _is_gone(folder, name))
    after = change_sums(before, add=hashes, drop=gone, source=str(file))
    with _writing(folder):
        if finished is not None:
            target = folder.joinpath(*PurePosixPath(next(iter(hashes))).parts)
            _make_folder(target.parent)
            # A web server that runs as another user reads it, whatever the umask.
            finished.chmod(0o644)
            publish(finished, target)
        if after != before or not os.path.exists(file):
            write_atomically(file, after.render().encode("utf-8"), folder=work)
    return gone


def _is_gone(folder: Path, name: str) -> bool:
    path = _locate(folder, name)
    try:
        gone = path is None or not path.stat()
    except (FileNotFoundError, NotADirectoryError):
        gone = True
    except OSError:
        gone = False  # A folder that this user may not enter may hold it.
    return gone and (name.startswith(f"{WHEELS}/") or parse_archive(PurePosixPath(name).name, "") is not None)


def _locate(folder: Path, name: str) -> Optional[Path]:
    """Return the path of a file that is listed; None if the name leads out of the folder, or is absolute."""
    # A list that was fetched from elsewhere must not make us read other files, such as those of another drive.
    path = folder.joinpath(*PurePosixPath(name).parts)
    below = folder in path.parents and ".." not in path.parts[len(folder.parts) :]
    return path if below and not os.path.isabs(name) else None


@contextlib.contextmanager
def work_folder(folder: Path, timeout: float, reporter: Reporter) -> Iterator[Path]:
    """Hold the lock of a mirror, which is created if necessary, and yield a folder in it for unfinished files."""
    incoming = folder / _INCOMING
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _make_folder(folder)
    waited_for = "adds an archive to the same folder"
    lock = key_lock(folder, _INCOMING, timeout=timeout, reporter=reporter, work=waited_for)
    with lock as locked, contextlib.ExitStack() as stack:
        with _writing(folder):
            incoming.mkdir(exist_ok=True)
            # What is in it is removed in the end, and a link may lead to a folder of somebody else.
            if incoming.is_symlink():
                raise DownloadError(f"'{incoming}' is a link, and unfinished files need a folder", hint="remove it")
            work_prefix(folder, _PRIVATE)  # Also a process that needs no folder of its own removes those of others.
            work = incoming if locked else stack.enter_context(private_folder(folder))
        try:
            yield work
        finally:
            # It fails if the folder holds a download that the next run resumes.
            with contextlib.suppress(OSError):
                incoming.rmdir()
            if locked:
                # A mirror is served as it is, so no lock file is left in it. A process that waits for it notices.
                remove_path(folder / f"{_INCOMING}.owner")
                remove_path(folder / f"{_INCOMING}.lock")


@contextlib.contextmanager
def private_folder(folder: Path) -> Iterator[Path]:
    """Make a folder in a mirror for what this process alone makes; one that a killed process has left is removed."""
    with tempfile.TemporaryDirectory(prefix=work_prefix(folder, _PRIVATE), dir=str(folder)) as work:
        yield Path(work)


def _make_folder(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        # A web server that runs as another user reads it, whatever the umask.
        folder.chmod(0o755)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `DownloadError` that says how much space is left."""
    try:
        yield
    except OSError as exc:
        free = free_bytes(folder)
        room = "" if free is None else f"; {format_size(free)} are free in this one"
        hint = f"name a folder that you can write{room}"
        raise DownloadError(f"could not write into {str(folder)!r}: {exc.strerror or exc}", hint=hint) from None


class Checked(NamedTuple):
    """What a check found, as sorted names below the folder."""

    intact: List[str]
    missing: List[str]
    """Listed or requested, and not in the folder."""
    changed: Dict[str, str]
    """What is wrong with each."""
    extra: List[str]
    """Archives in the folder that are not listed."""


def check_folder(folder: Path, requested: Sequence[Item], settings: Settings, reporter: Reporter) -> Checked:
    """Compare the files in a mirror with its ``SHA256SUMS``, with the catalog, and with what is requested."""
    if not os.path.isfile(folder / SHA256SUMS):
        raise CatalogError(f"{str(folder)!r} has no {SHA256SUMS}", hint="'provision-backend mirror DIR' writes one")
    sums = load_sums(folder / SHA256SUMS)
    # A lock may request an archive that the catalog no longer lists.
    known = {**_known_hashes(sums, settings, reporter), **{item.filename: item.sha256 for item in requested}}
    intact: List[str] = []
    missing = {item.filename for item in requested if item.filename not in sums.hashes}
    changed: Dict[str, str] = {}
    for name, listed in sorted(sums.hashes.items()):
        reporter.detail(f"reading {name}")
        path = _locate(folder, name)
        found = None if path is None else hash_if_exists(path)
        # A mirror by release lists "<tag>/<file>", and a catalog knows only the file.
        expected = known.get(name) or known.get(PurePosixPath(name).name, listed)
        if found is None:
            missing.add(name)
        elif found == listed == expected:
            intact.append(name)
        elif found == listed:
            changed[name] = f"its sha256 is {found}, as {SHA256SUMS} has it, and the {_origin(name)} has {expected}"
        else:
            changed[name] = f"its sha256 is {found}, and {SHA256SUMS} has {listed}"
    extra = [name for name in _files_in(folder) if name not in sums.hashes]
    return Checked(intact, sorted(missing - set(extra)), changed, extra)


def _known_hashes(sums: Sums, settings: Settings, reporter: Reporter) -> Dict[str, str]:
    """Return the sha256 that the catalog has for the archives that are listed."""
    # A check fetches nothing, so a catalog that is given by URL is not read.
    if "://" in settings.catalog:
        return {}
    cache = open_cache(settings)
    triples = sorted({archive.triple for archive in sums.archives})
    archives = (archive for triple in triples for archive in load_archives(settings, triple, cache, reporter))
    return {archive.filename: archive.sha256 for archive in archives}


def _files_in(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(str(folder)):
        # Unfinished downloads are not part of the mirror.
        folders[:] = sorted(name for name in folders if not name.startswith(_INCOMING))
        for name in sorted(files):
            if name.endswith(".whl") or parse_archive(name, "") is not None:
                yield Path(path, name).relative_to(folder).as_posix()
