"""Archive → `Interpreter`, lock file → locked environment, archive → target, once, across processes and users.

The folder::

    <cache>/interpreters/<key>/                  a published interpreter, complete by construction
    <cache>/interpreters/<key>/provision-backend.json    its marker, written before it is published
    <cache>/interpreters/<key>/provision-backend.manifest    every file of it, for `provision-backend cache verify`
    <cache>/environments/<key>/                  a locked environment, the same way; builds copy it and never run it
    <cache>/targets/target-<key>/                what compilers read of an interpreter for elsewhere, no program
    <cache>/compilers/zig-<version>/             libraries that a compiler has made for its targets; builds write there
    <cache>/downloads/<sha256>/<file>.part       what has arrived of an archive; kept for resuming, gone once published
    <cache>/staging/<key>~<process>~<random>     what a process makes or removes at the moment
    <cache>/locks/<key>.lock, <key>.owner        the lock of a key, and which process holds it
    <cache>/platforms/<digest>.json              what host detection found, keyed by its evidence
    <cache>/catalogs/<digest>                    copies of catalogs that are given by URL
    <cache>/used/<key>                           when it was last used: the time of this empty file
    <cache>/used/<key>~<process>                 the frontend of a build that needs it between two hooks
    <cache>/damaged/<digest>                     an entry, of this or another cache, that lookups ignore

The life of an entry, and what the next process finds after a crash at each place (a leftover is removed by the next
process that makes an entry of this cache, and by ``cache prune``)::

    absent ──lock──► fetching ──► unpacking ──► finalizing ──► marked ──rename──► published ──rename──► removed
       │                │             │              │            │                   │                    │
       nothing          a .part,      a staging folder whose process has ended:       a complete           a staging
                        resumed       swept, and done again from the archive          interpreter,         folder, swept
                                                                                      found without a lock

* *One way for all kinds of entries.* A locked environment is filled by an installer; else it lives as an interpreter. A
  target is made of an archive whose programs do not run here. It holds none of them, and has a folder and a name of its
  own, so that a machine on which they would run, and which shares the cache, never takes it for an interpreter.
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
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, TypeVar, Union

from ..catalog.archive import Archive
from ..errors import CacheError
from ..files import flush_tree, list_names, publish, remove_path
from ..interpreter import Interpreter
from ..output import Reporter
from ..settings import Settings
from ..systems import RUNNING
from ..trust import Trust, trust_cache
from . import entries
from .folders import default_cache_dir, make_folders, open_staging, sweep_staging, unwritable
from .manifest import Difference, set_modes, verify_entry, write_manifest

__all__ = ["Cache", "open_cache"]

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f:;$'\"`\\]")

Build = Callable[[Path, Path, Path], Dict[str, Any]]
"""Makes a tree: (staging folder, path of the archive's file, final path) → facts for the marker, with ``tree`` and,
where they are known, the files that were ``written``."""

_Make = Callable[[Path, Path, bool], Dict[str, Any]]
"""The same of either kind: (staging folder, final path, whether a lock is held) → facts with ``tree``."""

_Found = TypeVar("_Found", Interpreter, Path)
_WORK = {
    "interpreters": "provisions the same interpreter",
    "environments": "makes the same locked environment",
    "targets": "unpacks the same archive",
}


class Cache(NamedTuple):
    """A writable folder of interpreters, locked environments and targets, and read-only ones that come before it."""

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
        found = map(entries.read_entry, self._usable("interpreters", archive.key))
        return next((each for each in found if each is not None and each.sha256 == archive.sha256), None)

    def published(self) -> List[Interpreter]:
        """Return the interpreters, shared caches first, each in the order of keys; raise `CacheError` as `trust`."""
        found = map(entries.read_entry, self._usable("interpreters"))
        return [interpreter for interpreter in found if interpreter is not None]

    def find_environment(self, key: str) -> Optional[Path]:
        """Find a locked environment as `lookup` finds an interpreter; `entries.read_environment` returns its facts."""
        return next(filter(entries.read_environment, self._usable("environments", key)), None)

    def find_target(self, archive: Archive) -> Optional[Path]:
        """Find what compilers read of the interpreter of an archive, as `lookup` finds the interpreter itself."""
        found = self._usable("targets", _target_name(archive))
        return next((each for each in found if entries.read_target(each).get("sha256") == archive.sha256), None)

    def _usable(self, folder: str, key: str = "") -> Iterator[Path]:
        """Yield the entries of a key, or all, that are trusted and not known to be damaged, shared caches first."""
        for root in self.roots:
            trust = self.trust(root)
            for name in entries.entry_names(key) if key else list_names(root / folder):
                entry = root / folder / name
                if trust.accepts(entry) and not entries.is_condemned(self.root, entry):
                    yield entry

    def note_use(self, used: Union[Interpreter, Path], *, frontend: int = 0) -> None:
        """Note that an interpreter, or the entry of that path, is used now, or until a frontend ends.

        Nothing is done for an interpreter that is not of a cache, and where the cache cannot be written.
        """
        entry = entries.entry_of(used) if isinstance(used, Interpreter) else used
        if entry is not None:
            entries.note_use(entry)
            if frontend:
                entries.note_build(entry, frontend)

    def repair(self, entry: Path) -> List[Difference]:
        """Remove bytecode that was added to an interpreter, and have lookups ignore what differs otherwise.

        Nothing is removed from a shared cache. Returns all differences from what was published; raises `CacheError`
        where the writable cache cannot be written.
        """
        differences = verify_entry(entry)
        for each in differences:
            # It can be made again. An environment is never run, so nothing of it has an innocent reason there.
            if each.is_added_bytecode and entry.parent == self.root / "interpreters":
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
        entry = self.root / "interpreters" / archive.key
        return self._provide(
            entry, lambda: self.lookup(archive), self._from_archive(archive, build, entry), lock_timeout, reporter
        )

    def provide_target(self, archive: Archive, build: Build, *, lock_timeout: float, reporter: Reporter) -> Path:
        """Return the target of an archive, made and published as `provide` does it with an interpreter."""
        entry = self.root / "targets" / _target_name(archive)
        return self._provide(
            entry, lambda: self.find_target(archive), self._from_archive(archive, build, entry), lock_timeout, reporter
        )

    def _from_archive(self, archive: Archive, build: Build, entry: Path) -> _Make:
        facts = {name: getattr(archive, name) for name in ("filename", "sha256", "version", "freethreaded", "triple")}

        def _make(staging: Path, final: Path, locked: bool) -> Dict[str, Any]:
            with self._download_path(archive, staging, locked=locked) as download:
                return {"key": entry.name, **facts, **build(staging, download, final)}

        return _make

    def provide_environment(
        self, key: str, make: Callable[[Path], Mapping[str, Any]], *, lock_timeout: float, reporter: Reporter
    ) -> Path:
        """Return the locked environment of a key; have *make* fill it, and publish it, where the cache lacks it.

        Args:
            key: digits, lower-case hex, of a sha256 of all that decides what is in it.
            make: fills an empty folder, in which nothing may be a hard link to a file elsewhere, and returns facts for
                the marker, as JSON has them: ``interpreter``, the path of the interpreter that the environment is for,
                and ``files``, by package the name and the sha256 of what was installed.
            lock_timeout: seconds.
            reporter: says for which process this one waits.

        Raises the same errors as `provide`.
        """

        def _make(staging: Path, _final: Path, _locked: bool) -> Dict[str, Any]:
            tree = staging / "environment"
            tree.mkdir()
            facts = make(tree)
            set_modes(tree)
            return {**facts, "key": key, "tree": tree}

        entry = self.root / "environments" / key
        return self._provide(entry, lambda: self.find_environment(key), _make, lock_timeout, reporter)

    def _provide(
        self, entry: Path, find: Callable[[], Optional[_Found]], make: _Make, lock_timeout: float, reporter: Reporter
    ) -> _Found:
        """Find an entry; where there is none, have it made under the lock of its key."""
        found = find()
        if found is not None:
            return found
        from .locks import key_lock  # A hit takes no lock.

        make_folders(self.root)
        locks, work = self.root / "locks", _WORK[entry.parent.name]
        with key_lock(locks, entry.name, timeout=lock_timeout, reporter=reporter, work=work) as locked:
            found = find()
            if found is not None:
                return found
            sweep_staging(self.root)
            final = self._make_entry(entry, make, locked=locked)
            found = find()
        if found is None:
            raise CacheError(f"{final} was published and is not readable", hint="remove it and build again")
        return found

    def _make_entry(self, entry: Path, make: _Make, *, locked: bool) -> Path:
        """Make an entry, and publish it under the first of its names that is free; return its path."""
        folder, key = entry.parent, entry.name
        free = [name for name in entries.entry_names(key) if not os.path.lexists(folder / name)]
        if not free:
            raise CacheError(
                f"{folder} holds {entries.SPARE_NAMES} damaged copies of {key}",
                hint="remove them with 'provision-backend cache prune'",
            )
        final = folder / free[0]
        with open_staging(self.root, key) as staging:
            try:
                facts = make(staging, final, locked)
                tree: Path = facts.pop("tree")
                written = facts.pop("written", None)
                entries.write_marker(tree, {**facts, **write_manifest(tree, written)})
                flush_tree(tree)
            except OSError as exc:
                raise unwritable(self.root, exc) from None
            try:
                publish(tree, final)
            except OSError as exc:
                # Without a lock another process may have been first; its entry is as good as ours.
                if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise unwritable(self.root, exc) from None
        return final

    @contextmanager
    def _download_path(self, archive: Archive, staging: Path, *, locked: bool) -> Iterator[Path]:
        """Give the path of the archive's file, which is removed after success and kept for a resume otherwise."""
        folder = self.root / "downloads" / archive.sha256
        if locked:
            make_folders(self.root, f"downloads/{archive.sha256}")
        # What another user has left there is not used.
        if not locked or not self.trust(self.root).accepts(folder) or not os.access(folder, os.W_OK):
            folder = staging / "download"
            folder.mkdir()
        try:
            yield folder / archive.filename
        except BaseException:
            # Only what the next process can resume stays.
            with suppress(OSError):
                folder.rmdir()
            raise
        remove_path(folder)  # Before the tree is flushed: what is removed need not be.


def _target_name(archive: Archive) -> str:
    # The names of locks, and of notes of use, are those of entries of all kinds.
    return f"target-{archive.key}"


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
