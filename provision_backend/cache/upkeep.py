"""Look after a cache: list what is in it, find what is damaged, and remove what is no longer needed.

An interpreter leaves as it came, by one ``rename``: out of ``interpreters`` into ``staging``, where it is then deleted
file by file, so that half of one is never visible. It stays when a process uses it, when it was used within the last
two hours, and when another process holds the lock of its key. Which processes use one is read from ``/proc`` (Linux);
Windows tells only that one does.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional

from ..errors import CacheError, LockTimeoutError
from ..files import age_of, is_run, list_names, remove_path, rename
from ..output import Reporter
from .entries import CLOCK_ERROR, MARKER, find_builds, is_condemned, key_of, last_use, read_entry, read_marker
from .folders import open_staging, sweep_staging, unwritable
from .locks import is_locked, key_lock
from .manifest import tree_size
from .store import Cache

__all__ = ["Entry", "Swept", "clean_cache", "list_entries", "prune_cache", "remove_entries"]

# Between two hooks of one build no process runs an interpreter.
_RECENT = 7200.0  # seconds after its last use for which one counts as in use
_ABANDONED = 24 * 3600.0  # seconds after which no process is expected to resume a download


@dataclass(frozen=True)
class Entry:
    """One interpreter of a cache."""

    path: Path
    """Its folder."""
    key: str
    """The name of the folder; it ends with a number where it stands beside a damaged one."""
    version: str
    """``3.13.5`` or ``3.13.5t``; empty where its marker cannot be read."""
    size: int
    """Bytes of all its files."""
    last_use: float
    """Seconds since the epoch."""
    damaged: bool
    """Whether lookups ignore it: its marker or its program is missing, or a build has found it damaged."""
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
    """Why an interpreter that was to be removed has stayed, by its key."""
    leftovers: List[str]
    """Names of unfinished copies and downloads that were removed."""


def list_entries(cache: Cache) -> List[Entry]:
    """Return the interpreters, shared caches first, each in the order of names; raise `CacheError` as `Cache.trust`."""
    entries = []
    for root in cache.roots:
        trust = cache.trust(root)
        for name in list_names(root / "interpreters"):
            path = root / "interpreters" / name
            facts = read_marker(path) if trust.accepts(path) else {}
            version = f"{facts.get('version', '')}{'t' if facts.get('freethreaded') else ''}"
            size = facts.get("size")
            size = size if isinstance(size, int) else tree_size(path)
            damaged = not facts or read_entry(path) is None or is_condemned(cache.root, path)
            entries.append(Entry(path, name, version, size, last_use(root, name), damaged, root != cache.root))
    return entries


def prune_cache(cache: Cache, *, unused_for: Optional[float] = None, max_size: Optional[int] = None) -> Swept:
    """Remove leftovers and damaged interpreters, and those that are too old or too many, from the writable cache.

    Interpreters are removed in the order of their last use, the oldest first.

    Those that were *unused_for* so many seconds are too old, and those beyond *max_size* bytes together too many.

    Raises:
        CacheError: the cache cannot be written or trusted.
    """
    entries = sorted((entry for entry in list_entries(cache) if not entry.shared), key=lambda entry: entry.last_use)
    oldest = float("-inf") if unused_for is None else time.time() - unused_for
    doomed = [entry for entry in entries if entry.damaged or entry.last_use <= oldest]
    removal = _Removal(cache, recent=_RECENT)
    left = sum(entry.size for entry in entries)
    # The damaged and the old ones first, since without them the rest may be small enough.
    for entry in (*doomed, *(entry for entry in entries if entry not in doomed)):
        if (entry in doomed or (max_size is not None and left > max_size)) and removal.remove(entry):
            left -= entry.size
    removal.swept.leftovers += _sweep_downloads(cache.root, _ABANDONED)
    return removal.swept


def clean_cache(cache: Cache, *, force: bool = False) -> Swept:
    """Remove from the writable cache all but what processes use, which *force* removes too, or are provisioning."""
    swept = remove_entries(cache, (entry for entry in list_entries(cache) if not entry.shared), force=force)
    swept.leftovers += _sweep_downloads(cache.root, 0)
    for folder in ("platforms", "catalogs", "damaged", "used"):
        for name in list_names(cache.root / folder):
            if folder != "used" or not os.path.lexists(cache.root / "interpreters" / name.partition("~")[0]):
                remove_path(cache.root / folder / name)
    return swept


def remove_entries(cache: Cache, entries: Iterable[Entry], *, force: bool = False) -> Swept:
    """Remove these interpreters, except those that processes use, and leftovers; *force* as for `clean_cache`."""
    removal = _Removal(cache, recent=0, force=force)
    for entry in entries:
        removal.remove(entry)
    return removal.swept


class _Removal:
    """Removes interpreters from a cache, one after the other."""

    def __init__(self, cache: Cache, *, recent: float, force: bool = False) -> None:
        self._root = cache.root
        self._recent = recent
        self._force = force
        self._processes = {} if force else _processes_using(cache.root)
        self.swept = Swept([], {}, sweep_staging(cache.root))

    def remove(self, entry: Entry) -> bool:
        """Remove an interpreter, or note why it stays; return whether it was removed."""
        reason = self._find_use(entry) or self._take_out(entry)
        if reason:
            self.swept.kept[entry.key] = reason
        else:
            self.swept.removed.append(entry)
        return not reason

    def _find_use(self, entry: Entry) -> str:
        """Say why an interpreter counts as in use; empty where it does not."""
        numbers = self._processes.get(entry.key)
        if numbers:
            more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
            return f"process {numbers[0]}{more} uses it"
        found = read_entry(entry.path)
        if found is not None and is_run(Path(found.executable)):
            return "a process uses it"
        builds = [] if entry.damaged or self._force else find_builds(self._root, entry.key)
        if builds:
            return builds[0]
        age = time.time() - last_use(self._root, entry.key)
        if not entry.damaged and max(age, 0) < self._recent and age >= -CLOCK_ERROR:
            return f"it was used {max(age, 0) / 60:.0f} minutes ago, so a build may still need it"
        return ""

    def _take_out(self, entry: Entry) -> str:
        """Remove an interpreter, or say why it stays."""
        locks = self._root / "locks"
        # A removal makes no folders: without this one the cache is read-only, or not a cache of ours.
        if not os.path.isdir(locks):
            raise CacheError(f"the cache {self._root} cannot be written: it has no folder 'locks'")
        silent = Reporter(io.StringIO())
        try:
            with key_lock(locks, key_of(entry.key), timeout=0, reporter=silent), open_staging(
                self._root, entry.key
            ) as staging:
                reason = self._move(entry, staging / "removed")
                if not reason:
                    remove_path(self._root / "used" / entry.key)
                return reason
        except LockTimeoutError:
            return "another process provisions it now"
        except FileNotFoundError:
            return ""  # Another process has removed it.
        except PermissionError as exc:
            return "a process uses it" if hasattr(exc, "winerror") else "it belongs to another user"
        except OSError as exc:
            raise unwritable(self._root, exc) from None

    def _move(self, entry: Entry, target: Path) -> str:
        """Move an interpreter away, or back where a process has begun to use it; return why it stays."""
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
    for name in list_names(root / "downloads"):
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
    """Return the numbers of the processes that use an interpreter, by the name of its folder.

    Only root sees processes of other users, and those of another container are never seen.
    """
    prefix = os.fsencode(str(root / "interpreters")) + b"/"
    pattern = re.compile(re.escape(prefix) + b"([^/\n]+)")
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
