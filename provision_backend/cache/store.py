"""Archive → `Interpreter`, once, across processes and users.

The folder::

    <cache>/interpreters/<key>/                  a published interpreter, complete by construction
    <cache>/interpreters/<key>/provision-backend.json    its marker, written before it is published
    <cache>/interpreters/<key>/provision-backend.manifest    every file of it, for `provision-backend cache verify`
    <cache>/downloads/<sha256>/<file>.part       what has arrived of an archive; kept for resuming, gone once published
    <cache>/staging/<key>~<process>~<random>     what a process makes or removes at the moment
    <cache>/locks/<key>.lock, <key>.owner        the lock of a key, and which process holds it
    <cache>/platforms/<digest>.json              what host detection found, keyed by its evidence
    <cache>/catalogs/<digest>                    copies of catalogs that are given by URL
    <cache>/used/<key>                           when it was last used: the time of this empty file
    <cache>/used/<key>~<process>                 the frontend of a build that needs it between two hooks
    <cache>/damaged/<digest>                     an interpreter, in this or another cache, that lookups ignore

The life of an entry, and what the next process finds after a crash at each place (a leftover is removed by the next
process that makes an interpreter in this cache, and by ``cache prune``)::

    absent ──lock──► fetching ──► unpacking ──► finalizing ──► marked ──rename──► published ──rename──► removed
       │                │             │              │            │                   │                    │
       nothing          a .part,      a staging folder whose process has ended:       a complete           a staging
                        resumed       swept, and done again from the archive          interpreter,         folder, swept
                                                                                      found without a lock

* *Complete or absent.* The tree is finalized with its final path, started and marked in ``staging``, on the same file
  system, before a ``rename`` makes it visible: uv publishes first and patches afterwards, so that another process can
  see an unpatched tree, for good after a crash (uv#19329).
* *A hit takes no lock* and writes the time of its use at most, so a read-only cache serves as well as one's own.
* *One lock a key*, held over download and publish and never during a hook. Where no lock is possible (see `locks`),
  each process works under names of its own, and the rename decides which one is first.
* *Nothing in use is ever replaced.* The key holds version, tag, triple and hash, so builds of the same version stand
  side by side; a damaged entry stays where it is, and a new one is published beside it as ``<key>.1``.
* *Nothing that another user could have planted is used*: see `trust`.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..catalog.archive import Archive
from ..errors import CacheError
from ..files import flush_tree, list_names, publish, remove_path
from ..host.systems import RUNNING
from ..interpreter import Interpreter
from ..output import Reporter
from ..settings import Settings
from ..trust import Trust, trust_cache
from . import entries
from .folders import default_cache_dir, make_folders, open_staging, sweep_staging, unwritable
from .locks import key_lock
from .manifest import Difference, verify_entry, write_manifest

__all__ = ["Cache", "open_cache"]

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f:;$'\"`\\]")

Build = Callable[[Path, Path, Path], Dict[str, Any]]
"""Makes a tree: (staging folder, path of the archive's file, final path) → facts for the marker, with ``tree`` and,
where they are known, the files that were ``written``."""


class Cache(NamedTuple):
    """A writable folder of interpreters, and read-only ones that come before it."""

    root: Path
    shared: Tuple[Path, ...] = ()
    names: Tuple[Tuple[Path, str], ...] = ()
    """The folders that the settings name, each with the path as it was written there."""

    @property
    def roots(self) -> Tuple[Path, ...]:
        """All folders, in the order of a lookup."""
        return (*self.shared, self.root)

    def trust(self, root: Path) -> Trust:
        """Check that one of the folders can be trusted, or raise `CacheError`."""
        return trust_cache(root, name=dict(self.names).get(root, ""))

    def lookup(self, archive: Archive) -> Optional[Interpreter]:
        """Find the interpreter of an archive without lock, network or writing; raise `CacheError` as `trust` does."""
        for root in self.roots:
            trust = self.trust(root)
            for name in entries.entry_names(archive.key):
                interpreter = self._read(root / "interpreters" / name, trust)
                if interpreter is not None and interpreter.sha256 == archive.sha256:
                    return interpreter
        return None

    def published(self) -> List[Interpreter]:
        """Return the interpreters, shared caches first, each in the order of keys; raise `CacheError` as `trust`."""
        found = []
        for root in self.roots:
            trust = self.trust(root)
            folder = root / "interpreters"
            found += [self._read(folder / name, trust) for name in list_names(folder)]
        return [interpreter for interpreter in found if interpreter is not None]

    def _read(self, entry: Path, trust: Trust) -> Optional[Interpreter]:
        interpreter = entries.read_entry(entry) if trust.accepts(entry) else None
        return None if interpreter is None or entries.is_condemned(self.root, entry) else interpreter

    def note_use(self, interpreter: Interpreter, *, frontend: int = 0) -> None:
        """Note that an interpreter is used now, or until a frontend ends, where the cache can be written."""
        entry = entries.entry_of(interpreter)
        if entry is not None:
            entries.note_use(entry.parent.parent, entry.name)
            if frontend:
                entries.note_build(entry.parent.parent, entry.name, frontend)

    def repair(self, entry: Path) -> List[Difference]:
        """Remove bytecode that was added to an interpreter, and have lookups ignore it if it differs otherwise.

        Returns all differences from what was published; raises `CacheError` where the writable cache cannot be written.
        """
        differences = verify_entry(entry)
        for each in differences:
            if each.is_added_bytecode:  # It can be made again.
                remove_path(entry / each.path)
        if differences and verify_entry(entry):
            entries.condemn_entry(self.root, entry)
        return differences

    def provide(self, archive: Archive, build: Build, *, lock_timeout: float, reporter: Reporter) -> Interpreter:
        """Return the interpreter of an archive; have *build* make it, and publish it, where the cache does not have it.

        Raises:
            LockTimeoutError: another process that makes it held the lock for so many seconds.
            CacheError: the cache cannot be written or trusted.
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
            folder = self.root / "interpreters"
            free = [name for name in entries.entry_names(archive.key) if not os.path.lexists(folder / name)]
            if not free:
                raise CacheError(
                    f"{folder} holds {entries.SPARE_NAMES} damaged copies of {archive.key}",
                    hint="remove them with 'provision-backend cache prune'",
                )
            final = folder / free[0]
            try:
                facts = build(staging, download, final)
                tree: Path = facts.pop("tree")
                written = facts.pop("written", None)
                entries.write_marker(tree, archive, {**facts, **write_manifest(tree, written)})
                # The archive is not needed any more, and what is removed need not be flushed.
                for name in filter(lambda name: name.startswith(download.name), list_names(download.parent)):
                    remove_path(download.parent / name)
                flush_tree(tree)
            except OSError as exc:
                raise unwritable(self.root, exc) from None
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

    @contextmanager
    def _download_path(self, archive: Archive, staging: Path, *, locked: bool) -> Iterator[Path]:
        """Give the path of the archive's file, which is removed after success and kept for a resume otherwise."""
        folder = self.root / "downloads" / archive.sha256
        if locked:
            make_folders(self.root, f"downloads/{archive.sha256}")
        # What another user has left there is not used.
        if not locked or not self.trust(self.root).accepts(folder) or not os.access(folder, os.W_OK):
            yield staging / archive.filename
            return
        try:
            yield folder / archive.filename
        except BaseException:
            # Only what the next process can resume stays.
            with suppress(OSError):
                folder.rmdir()
            raise
        remove_path(folder)


def open_cache(settings: Settings) -> Cache:
    """Return the cache that the settings name, without making it; raise `CacheError` where it cannot be one."""
    # The final path is written into sysconfig, and must stay true when a link on the way is moved.
    root = Path(os.path.realpath(settings.cache_dir or default_cache_dir()))
    unusable = _UNUSABLE.search(str(root))
    if unusable and RUNNING.name != "windows":
        raise CacheError(
            f"the cache {str(root)!r} cannot be used: compilers are given its path, and its {unusable[0]!r} means "
            "something else to distutils, make or CMake",
            hint="set PROVISION_BACKEND_CACHE_DIR to a path without control characters, quotes and any of : ; $ \\",
        )
    shared = {path: Path(os.path.realpath(path)) for path in settings.shared_caches}
    named = {**shared, **({settings.cache_dir: root} if settings.cache_dir else {})}
    return Cache(root, tuple(shared.values()), tuple((folder, path) for path, folder in named.items()))
