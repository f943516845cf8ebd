"""Archive → `Interpreter`, once, across processes and users.

The folder::

    <cache>/interpreters/<key>/                  a published interpreter, complete by construction
    <cache>/interpreters/<key>/provision-backend.json    its marker, written before it is published
    <cache>/interpreters/<key>/provision-backend.manifest    every file of it, for `provision-backend cache verify`
    <cache>/downloads/<sha256>/<file>.part       what has arrived of an archive; kept for resuming, gone once published
    <cache>/staging/<key>~<owner>~<random>/      an unfinished copy, or one that is being removed, and by whom
    <cache>/locks/<key>.lock, <key>.owner        one lock a key, and for whom a waiter waits
    <cache>/platforms/<digest>.json              what host detection found, keyed by its evidence
    <cache>/catalogs/<digest>                    copies of catalogs that are given by URL
    <cache>/used/<key>                           when it was last used: the time of this empty file
    <cache>/code/                                copies of our own modules, a folder a user
    <cache>/damaged/<digest>                     an interpreter, in this or another cache, that is passed over

The life of an entry, and what the next process finds after a crash at each place::

    absent ──lock──► fetching ──► unpacking ──► finalizing ──► marked ──rename──► published ──rename──► removed
       │                │             │              │            │                   │                    │
       nothing          a .part,      a staging folder whose owner is gone: swept,    a complete           a staging
                        resumed       and done again from the archive that is there   interpreter,         folder, swept
                                                                                      found without a lock

What a crash leaves is swept by the next process that makes an interpreter in this cache, and by ``cache prune``.

* *Complete or absent.* The tree is unpacked, finalized with its final path, started and marked in ``staging``, which
  is on the same file system; then one ``rename`` makes it visible. uv publishes first and patches afterwards, so that
  another process can see an unpatched tree, for good after a crash (uv#19329). A removal is the same backwards.
* *A hit takes no lock* and writes nothing but the time of its use, and that only where it may; so read-only caches and
  those of other users serve as well as one's own.
* *One lock a key*, held over download and publish and never during a hook. Where a file system has no flock (uv#9050,
  uv#13626) or the lock file belongs to somebody else (uv#8032), work goes on without: each process fetches and unpacks
  under names of its own, and the rename decides who is first.
* *Nothing in use is ever replaced.* The key holds version, tag, triple and hash, so builds of the same version stand
  side by side; a damaged entry stays where it is, and a new one is published beside it as ``<key>.1``.
* *Nothing that another user could have planted is used*: `provision_backend.cache.trust`.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..catalog.archive import Archive
from ..errors import CacheError
from ..files import flush_tree, publish, remove_path
from ..interpreter import Interpreter
from ..output import Reporter
from ..settings import Settings
from .entries import (
    SPARE_NAMES,
    condemn_entry,
    entry_names,
    entry_of,
    is_condemned,
    note_use,
    read_entry,
    write_marker,
)
from .folders import default_cache_dir, make_folders, open_staging, sweep_staging, unwritable
from .locks import key_lock
from .manifest import verify_entry, write_manifest
from .trust import Trust, trust_cache

__all__ = ["Cache", "open_cache"]

Build = Callable[[Path, Path, Path], Dict[str, Any]]
"""Makes a tree: (staging folder, path of the archive's file, final path) → facts for the marker, with ``tree``, and
``written`` where it knows what it wrote."""


class Cache(NamedTuple):
    """A writable folder of interpreters and the read-only ones that are looked in before it."""

    root: Path
    shared: Tuple[Path, ...] = ()
    names: Tuple[Tuple[Path, str], ...] = ()
    """Those of them that a person has named, each with the path as it was written."""

    @property
    def roots(self) -> Tuple[Path, ...]:
        """All folders, in the order in which they are looked in."""
        return (*self.shared, self.root)

    def trust(self, root: Path) -> Trust:
        """Look whether one of the folders can be believed.

        Raises:
            CacheError: another user could have put interpreters there.
        """
        return trust_cache(root, name=dict(self.names).get(root, ""))

    def lookup(self, archive: Archive) -> Optional[Interpreter]:
        """Find the published interpreter of an archive without lock, network or writing; None for none.

        Raises:
            CacheError: a cache is not to be trusted.
        """
        for root in self.roots:
            trust = self.trust(root)
            for entry in _entries(root, archive.key):
                interpreter = self._read(entry, trust)
                if interpreter is not None and interpreter.sha256 == archive.sha256:
                    return interpreter
        return None

    def published(self) -> List[Interpreter]:
        """Return every published interpreter, those of shared caches first, each cache's in the order of keys.

        Raises:
            CacheError: a cache is not to be trusted.
        """
        found = []
        for root in self.roots:
            trust = self.trust(root)
            try:
                names = sorted(os.listdir(root / "interpreters"))
            except OSError:
                continue
            entries = (self._read(root / "interpreters" / name, trust) for name in names)
            found += [interpreter for interpreter in entries if interpreter is not None]
        return found

    def _read(self, entry: Path, trust: Trust) -> Optional[Interpreter]:
        interpreter = read_entry(entry) if trust.accepts(entry) else None
        return None if interpreter is None or is_condemned(self.root, entry) else interpreter

    def note_use(self, interpreter: Interpreter) -> None:
        """Write down that an interpreter is used now, where that is possible."""
        entry = entry_of(interpreter)
        if entry is not None:
            note_use(entry.parent.parent, entry.name)

    def condemn(self, interpreter: Interpreter) -> List[str]:
        """Compare an interpreter that failed with what was published, and pass it over from now on if it differs.

        Returns:
            The differences; empty where it is what it was, so that its failure has another reason.

        Raises:
            CacheError: that could not be written down.
        """
        entry = entry_of(interpreter)
        problems = verify_entry(entry) if entry is not None else []
        if entry is not None and problems:
            condemn_entry(self.root, entry)
        return problems

    def provide(
        self,
        archive: Archive,
        build: Build,
        *,
        lock_timeout: float,
        reporter: Reporter,
    ) -> Interpreter:
        """Return the interpreter of an archive; make and publish it where it is not there yet.

        Args:
            archive: what is wanted.
            build: downloads, unpacks and finalizes; called with a staging folder, the file to download to, and the
                final path.
            lock_timeout: seconds to wait for another process that makes the same one.
            reporter: told for whom this process waits.

        Raises:
            LockTimeoutError: another process held the lock too long.
            CacheError: the cache cannot be written, or is not to be trusted.
            ProvisionError: whatever ``build`` raises; then nothing is published.
        """
        found = self.lookup(archive)
        if found is not None:
            return found
        make_folders(self.root)
        with key_lock(self.root / "locks", archive.key, timeout=lock_timeout, reporter=reporter) as locked:
            found = self.lookup(archive)
            if found is not None:
                return found
            sweep_staging(self.root)
            return self._make_entry(archive, build, locked=locked)

    def _make_entry(self, archive: Archive, build: Build, *, locked: bool) -> Interpreter:
        with open_staging(self.root, archive.key) as staging, self._download_path(
            archive, staging, locked=locked
        ) as download:
            final = self._free_name(archive.key)
            try:
                tree = _build_tree(build, archive, staging, download, final)
            except OSError as exc:
                raise unwritable(self.root, exc) from None
            return self._publish(tree, final, archive)

    def _publish(self, tree: Path, final: Path, archive: Archive) -> Interpreter:
        try:
            publish(tree, final)
        except OSError as exc:
            # Without a lock another process may have been first; its interpreter is as good as ours.
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise unwritable(self.root, exc) from None
        found = self.lookup(archive)
        if found is None:
            raise CacheError(f"{final} was published and is not readable", hint="remove it and build again")
        return found

    def _free_name(self, key: str) -> Path:
        folder = self.root / "interpreters"
        for name in entry_names(key):
            if not os.path.lexists(folder / name):
                return folder / name
        raise CacheError(
            f"{folder} holds {SPARE_NAMES} damaged copies of {key}",
            hint="remove them with 'provision-backend cache prune'",
        )

    @contextmanager
    def _download_path(self, archive: Archive, staging: Path, *, locked: bool) -> Iterator[Path]:
        """Give the place of the archive's file; it is removed once it has served, and kept for a resume otherwise."""
        folder = self.root / "downloads" / archive.sha256
        if not locked or not self._make_download_folder(folder):
            yield staging / archive.filename
            return
        yield folder / archive.filename
        remove_path(folder)

    def _make_download_folder(self, folder: Path) -> bool:
        """Make the folder, or say that what another user left there is not to be used."""
        make_folders(self.root, f"downloads/{folder.name}")
        return self.trust(self.root).accepts(folder) and os.access(folder, os.W_OK)


def _build_tree(build: Build, archive: Archive, staging: Path, download: Path, final: Path) -> Path:
    facts = build(staging, download, final)
    tree: Path = facts.pop("tree")
    written = facts.pop("written", None)
    write_marker(tree, archive, {**facts, **write_manifest(tree, written)})
    # The archive has served: what is not there is not flushed.
    for path in (
        download,
        download.with_name(f"{download.name}.part.json"),
        download.with_name(f"{download.name}.part"),
    ):
        with suppress(OSError):
            path.unlink()
    flush_tree(tree)
    return tree


def open_cache(settings: Settings) -> Cache:
    """Return the cache that the settings name. Nothing is made or written.

    Raises:
        CacheError: no folder is named and there is no home directory.
    """
    named = os.path.expanduser(settings.cache_dir)
    root = _resolve(named or str(default_cache_dir()))
    shared = [os.path.expanduser(path) for path in settings.shared_caches]
    names = [(_resolve(path), path) for path in (*shared, *([named] if named else []))]
    return Cache(root, tuple(_resolve(path) for path in shared), tuple(names))


def _resolve(path: str) -> Path:
    # Links are resolved, since the final path is written into sysconfig and must stay true when a link is moved.
    return Path(os.path.realpath(path))


def _entries(root: Path, key: str) -> Iterator[Path]:
    names = entry_names(key)
    first = root / "interpreters" / next(names)
    yield first
    # A second copy exists only beside a damaged one, so that a hit looks at one path.
    if os.path.lexists(first):
        for name in names:
            yield first.with_name(name)
