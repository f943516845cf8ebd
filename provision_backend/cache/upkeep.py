"""Look after a cache: list what is in it, find what is damaged, and remove what is no longer needed.

An entry, an interpreter, a locked environment or a target, leaves as it came, by one ``rename``: out of its folder into
``staging``, where it is then deleted file by file, so that half of one is never visible. It stays when a process uses
it, when it was used within the last two hours, and when another process holds the lock of its key. Which processes use
one is read from ``/proc`` (Linux); Windows tells only that one does. With an interpreter go the environments for it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional

from ..errors import CacheError, LockTimeoutError
from ..files import age_of, is_run, list_names, remove_path, rename
from ..output import Reporter
from ..trust import ENTRY_FOLDERS
from ..versions import label_of
from .entries import (
    CLOCK_ERROR,
    MARKER,
    find_builds,
    is_condemned,
    key_of,
    last_use,
    read_entry,
    read_environment,
    read_marker,
    read_target,
)
from .folders import own_names, staging_path, sweep_staging, unwritable
from .locks import is_locked, key_lock
from .manifest import tree_size
from .store import Cache

__all__ = ["Entry", "Swept", "clean_cache", "list_entries", "prune_cache", "remove_entries"]

# Between two hooks of one build no process runs an interpreter.
_RECENT = 7200.0  # seconds after its last use for which one counts as in use
_ABANDONED = 24 * 3600.0  # seconds after which no process is expected to resume a download


@dataclass(frozen=True)
class Entry:
    """One interpreter, locked environment or target of a cache, or what a compiler keeps there."""

    path: Path
    """Its folder."""
    key: str
    """The name of the folder; it ends with a number where it stands beside a damaged one."""
    kind: str
    """``interpreter``, ``environment``, ``target`` or ``compiler``."""
    version: str
    """``3.13.5`` or ``3.13.5t``; empty where the marker cannot be read, and for other kinds."""
    interpreter: str
    """The path of the interpreter that an environment is for; empty for other entries."""
    packages: int
    """How many packages an environment holds."""
    size: int
    """Bytes of all its files."""
    last_use: float
    """Seconds since the epoch."""
    damaged: bool
    """Whether lookups ignore it: its marker or its program is missing, or a build has found it damaged.

    An environment is ignored without its interpreter, too.
    """
    shared: bool
    """Whether it belongs to a shared cache, which is never written to."""

    def as_dict(self) -> Dict[str, object]:
        """Return what ``cache list --json`` prints."""
        return {**vars(self), "path": str(self.path)}


@dataclass
class Swept:
    """What `prune_cache` or `clean_cache` did."""

    removed: List[Entry]
    kept: Dict[str, str]
    """Why an entry that was to be removed has stayed, by its key."""
    leftovers: List[str]
    """Names of unfinished copies and downloads that were removed."""


def list_entries(cache: Cache) -> List[Entry]:
    """Return the entries, shared caches first, then in the order of `ENTRY_FOLDERS`, each in the order of names.

    Raises `CacheError` as `Cache.trust` does.
    """
    entries = []
    for root in cache.roots:
        trust = cache.trust(root)
        paths = [root / folder / name for folder in ENTRY_FOLDERS for name in own_names(root, folder)]
        entries += [_describe(cache, path, trusted=trust.accepts(path)) for path in paths]
    return entries


def _describe(cache: Cache, path: Path, *, trusted: bool) -> Entry:
    facts = read_marker(path) if trusted else {}
    kind = path.parent.name[:-1]  # The name of the folder is its plural.
    size, files = facts.get("size"), facts.get("files")
    read: Dict[str, Callable[[Path], object]] = {"environment": read_environment, "target": read_target}
    whole = trusted if kind == "compiler" else bool(facts and read.get(kind, read_entry)(path))
    return Entry(
        path,
        path.name,
        kind,
        version=label_of(facts["version"], freethreaded=bool(facts.get("freethreaded"))) if "version" in facts else "",
        interpreter=str(facts.get("interpreter", "")),
        packages=len(files) if isinstance(files, dict) else 0,
        size=size if isinstance(size, int) else tree_size(path),
        last_use=last_use(path),
        damaged=not whole or is_condemned(cache.root, path),
        shared=path.parent.parent != cache.root,
    )


def prune_cache(cache: Cache, *, unused_for: Optional[float] = None, max_size: Optional[int] = None) -> Swept:
    """Remove leftovers and damaged entries, and those that are too old or too many, from the writable cache.

    Entries are removed in the order of their last use, the oldest first; with an interpreter go its environments.

    Those that were *unused_for* so many seconds are too old, and those beyond *max_size* bytes together too many.

    Raises:
        CacheError: the cache cannot be written or trusted.
    """
    removal = _Removal(cache, recent=_RECENT)
    entries = sorted(removal.entries, key=lambda entry: entry.last_use)
    oldest = float("-inf") if unused_for is None else time.time() - unused_for
    doomed = [entry for entry in entries if entry.damaged or entry.last_use <= oldest]
    size = sum(entry.size for entry in entries)
    # The damaged and the old ones first, since without them the rest may be small enough.
    for entry in (*doomed, *(entry for entry in entries if entry not in doomed)):
        left = size - sum(each.size for each in removal.swept.removed)
        if entry in doomed or (max_size is not None and left > max_size):
            removal.remove(entry)
    removal.swept.leftovers += _sweep_downloads(cache.root, _ABANDONED)
    return removal.swept


def clean_cache(cache: Cache, *, force: bool = False) -> Swept:
    """Remove from the writable cache all but what processes use, which *force* removes too, or are provisioning."""
    swept = remove_entries(cache, (entry for entry in list_entries(cache) if not entry.shared), force=force)
    swept.leftovers += _sweep_downloads(cache.root, 0)
    left = {name for folder in ENTRY_FOLDERS for name in own_names(cache.root, folder)}
    for folder in ("platforms", "catalogs", "damaged", "used"):
        for name in own_names(cache.root, folder):
            if folder != "used" or name.partition("~")[0] not in left:
                remove_path(cache.root / folder / name)
    return swept


def remove_entries(cache: Cache, entries: Iterable[Entry], *, force: bool = False) -> Swept:
    """Remove these entries, except those that processes use, and leftovers; *force* as for `clean_cache`."""
    removal = _Removal(cache, recent=0, force=force)
    for entry in entries:
        removal.remove(entry)
    return removal.swept


class _Removal:
    """Removes entries from a cache, one after the other."""

    def __init__(self, cache: Cache, *, recent: float, force: bool = False) -> None:
        self._root = cache.root
        self._recent = recent
        self._force = force
        self.entries = [entry for entry in list_entries(cache) if not entry.shared]
        self._processes = {} if force else _processes_using(cache.root)
        self.swept = Swept([], {}, sweep_staging(cache.root))

    def remove(self, entry: Entry) -> None:
        """Remove an entry, and with an interpreter its environments, or note why it stays."""
        if entry.path in [each.path for each in self.swept.removed]:
            return
        reason = self._find_use(entry) or self._take_out(entry)
        if reason:
            self.swept.kept[entry.key] = reason
            return
        self.swept.removed.append(entry)
        for each in self.entries:
            if entry.path in Path(each.interpreter).parents:
                self.remove(each)

    def _find_use(self, entry: Entry) -> str:
        """Say why an entry counts as in use; empty where it does not."""
        if entry.damaged and os.path.exists(entry.path / MARKER) and not os.access(entry.path / MARKER, os.R_OK):
            return "this user may not read what it is"
        numbers = self._processes.get(entry.key)
        if numbers:
            more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
            return f"process {numbers[0]}{more} uses it"
        found = read_entry(entry.path)
        if found is not None and is_run(Path(found.executable)):
            return "a process uses it"
        builds = [] if entry.damaged or self._force else find_builds(entry.path)
        if builds:
            return builds[0]
        age = time.time() - last_use(entry.path)
        if not entry.damaged and max(age, 0) < self._recent and age >= -CLOCK_ERROR:
            return f"it was used {max(age, 0) / 60:.0f} minutes ago, so a build may still need it"
        return ""

    def _take_out(self, entry: Entry) -> str:
        """Remove an entry, or say why it stays."""
        locks = self._root / "locks"
        # A removal makes no folders: without these the cache is read-only, or not a cache of ours. On a full disk there
        # is no room for one, so the entry itself gets the name of a leftover.
        for folder in (locks, self._root / "staging"):
            if not os.path.isdir(folder):
                raise CacheError(f"the cache {self._root} cannot be written: it has no folder {folder.name!r}")
        target, silent = staging_path(self._root, entry.key), Reporter(io.StringIO())
        try:
            with key_lock(locks, key_of(entry.key), timeout=0, reporter=silent):
                reason = self._move(entry, target)
                if not reason:
                    remove_path(self._root / "used" / entry.key)
                    remove_path(target)
                return reason
        except LockTimeoutError:
            return "another process provisions it now"
        except FileNotFoundError:
            return ""  # Another process has removed it.
        except PermissionError as exc:
            if not all(os.access(folder, os.W_OK) for folder in (entry.path.parent, target.parent)):
                raise unwritable(self._root, exc) from None
            return "a process uses it" if hasattr(exc, "winerror") else "it belongs to another user"
        except OSError as exc:
            raise unwritable(self._root, exc) from None

    def _move(self, entry: Entry, target: Path) -> str:
        """Move an entry away, or back where a process has begun to use it; return why it stays."""
        status = os.lstat(entry.path)
        if hasattr(os, "geteuid") and status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWUSR:
            # A folder that is write-protected stays where it is: its entry for the folder above it would change.
            entry.path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IWUSR)
        try:
            rename(entry.path, target)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            # A folder of a lower layer of an overlay, as in a container's image, cannot be renamed. Without its
            # marker it is found no longer.
            remove_path(entry.path / MARKER)
            remove_path(entry.path)
            return ""
        # A process that found it before the rename has noted its use by now.
        reason = "" if self._force else self._find_use(entry)
        if reason:
            rename(target, entry.path)
        return reason


def _sweep_downloads(root: Path, age: float) -> List[str]:
    """Remove downloads of at least that age, in seconds, unless a process is using them."""
    swept = []
    for name in own_names(root, "downloads"):
        folder = root / "downloads" / name
        # A key ends with the first digits of the archive's hash.
        locks = (root / "locks").glob(f"*-{name[:8]}.lock")
        # What arrives changes the time of a file only, and not that of its folder.
        youngest = min(map(age_of, (folder, *(folder / name for name in list_names(folder)))))
        if youngest >= age and not any(map(is_locked, locks)):
            remove_path(folder)
            swept.append(name)
    return swept


def _processes_using(root: Path) -> Dict[str, List[int]]:
    """Return the numbers of the processes that use an entry, by the name of its folder.

    Only root sees processes of other users, and those of another container are never seen.
    """
    folders = os.fsencode("|".join(ENTRY_FOLDERS))
    pattern = re.compile(re.escape(os.fsencode(str(root))) + b"/(?:" + folders + b")/([^/\n]+)")
    using: Dict[str, List[int]] = {}
    for number in sorted(int(name) for name in list_names(Path("/proc")) if name.isdigit()):
        text = b""
        # Its program, its working directory, and the libraries that it has mapped.
        for link in ("exe", "cwd"):
            with contextlib.suppress(OSError):
                text += os.readlink(os.fsencode(f"/proc/{number}/{link}")) + b"\n"
        with contextlib.suppress(OSError), open(f"/proc/{number}/maps", "rb") as file:
            text += file.read()
        for name in set(pattern.findall(text)):
            using.setdefault(os.fsdecode(name), []).append(number)
    return using
