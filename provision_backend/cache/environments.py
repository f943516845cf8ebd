"""Build environments that were made moments ago: a key in, an environment that nothing wrote to since out.

``<cache>/environments/<user id>/`` belongs to one user and nobody else can look into it (mode 0700). In it are

- ``e-<random>/``: environments, each made at the path where it stays, since a virtual environment cannot be moved;
- ``e-<random>.lock``: who makes or uses one holds a shared lock on this file;
- ``<key>.json``: which of them serves a key, when it was resolved, and the fingerprint of its files. It is written when
  the environment is complete, in one ``rename``; two builds at once make two environments, and the later one is found.

Nobody waits for anybody. A process that is killed leaves an environment that no file names. Who makes one sweeps those
that no file names, or that are too old, unless somebody holds their lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional

from ..errors import ProvisionError
from ..files import list_names, remove_path, write_note
from ..kept import is_private
from ..settings import Settings
from .folders import default_cache_dir, make_folders

__all__ = ["ReusableEnvironments", "fingerprint", "sweep_environments"]

_GRACE = 3600.0
"""Seconds that an environment is left alone when it could not be reused any more: between two hooks of one build."""

_UNLOCKABLE_GRACE = 24 * 3600.0
"""The same where nobody can hold a lock: then a build that runs longer could lose its environment."""

_held: Dict[str, int] = {}
"""Descriptors of the lock files of this process, by path. They are closed when it ends."""


class ReusableEnvironments(NamedTuple):
    """The folder of one user's environments in a cache."""

    folder: Path

    @classmethod
    def open(cls, settings: Settings) -> Optional[ReusableEnvironments]:
        """Find the folder, and make it where it is missing; None where there can be none, or none to be trusted."""
        if settings.environment_freshness <= 0 or not hasattr(os, "geteuid"):
            return None
        try:
            root = Path(settings.cache_dir).expanduser() if settings.cache_dir else default_cache_dir()
            # Resolved, since an environment holds its own path.
            folder = Path(os.path.realpath(root)) / "environments" / str(os.geteuid())
            if not folder.is_dir():
                make_folders(root, "environments")
                folder.mkdir(mode=0o700)
        except (OSError, ProvisionError):
            return None
        return cls(folder) if is_private(str(folder)) and os.access(folder, os.W_OK) else None

    def find(self, key: str, freshness: float) -> Optional[Path]:
        """Return an environment that was made for a key, and hold it for this process.

        Args:
            key: of the installation.
            freshness: seconds since its requirements were resolved.

        Returns:
            Its folder; None where there is none, it is too old, or something has written to it.
        """
        try:
            note = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            path = self.folder / str(note["name"])
            if not 0 <= time.time() - float(note["resolved"]) < freshness or path.parent != self.folder:
                return None
            self.hold(path)
            return path if is_private(str(path)) and fingerprint(path) == note["fingerprint"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def new(self, freshness: float) -> Optional[Path]:
        """Make the empty folder of a new environment, held for this process; None where that cannot be done.

        Args:
            freshness: seconds for which others are kept at least.
        """
        import tempfile

        self.sweep(grace=max(_GRACE, freshness))
        try:
            path = Path(tempfile.mkdtemp(prefix="e-", dir=str(self.folder)))
            self.hold(path)
        except OSError:
            return None
        return path

    def publish(self, key: str, path: Path, *, resolved: float, found: str) -> None:
        """Let other builds find an environment.

        Args:
            key: of the installation.
            path: its folder.
            resolved: seconds since the epoch when the installer began.
            found: its fingerprint when the installer had ended.
        """
        note = {"name": path.name, "resolved": resolved, "fingerprint": found}
        write_note(self.folder / f"{key}.json", json.dumps(note))

    def hold(self, path: Path) -> None:
        """Hold an environment as long as this process lasts, so that nobody sweeps it.

        Raises:
            OSError: it is being swept, or the folder cannot be written.
        """
        name = str(path) + ".lock"
        if name in _held:
            return
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        _held[name] = descriptor
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(_held.pop(name))  # It is being swept.
                raise
            except OSError:
                pass  # A file system without locks.
        os.utime(name)

    def sweep(self, *, grace: float = _GRACE) -> List[str]:
        """Remove what can no longer be reused and is not in use; return the names.

        Args:
            grace: seconds since the last use.
        """
        swept = []
        for name in list_names(self.folder):
            path = self.folder / name
            orphan = name.endswith(".lock") and not os.path.isdir(str(path)[: -len(".lock")])
            if name.startswith("e-") and not name.endswith(".lock"):
                swept += [name] if self._remove(path, grace) else []
            elif (orphan or name.endswith((".json", ".new"))) and _age(path) >= grace:
                remove_path(path)  # Another process may have been faster.
        return swept

    def _remove(self, path: Path, grace: float) -> bool:
        import shutil

        lock = Path(f"{path}.lock")
        if min(_age(lock), _age(path)) < grace:
            return False
        with _alone(lock) as alone:
            if alone is False or (alone is None and min(_age(lock), _age(path)) < _UNLOCKABLE_GRACE):
                return False
            shutil.rmtree(str(path), ignore_errors=True)
            with contextlib.suppress(OSError):
                lock.unlink()
        return True


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[Optional[bool]]:
    """Say whether nobody holds a lock; None where that cannot be told."""
    try:
        import fcntl

        descriptor = os.open(str(lock), os.O_RDWR | os.O_CREAT, 0o600)
    except (ImportError, OSError):
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            yield None
        else:
            yield True
    finally:
        os.close(descriptor)


def sweep_environments(root: Path, *, age: float = _GRACE) -> List[str]:
    """Remove the environments of the user who runs us that nobody uses; return their names.

    Args:
        root: the cache.
        age: seconds since the last use.
    """
    if not hasattr(os, "geteuid"):
        return []
    folder = root / "environments" / str(os.geteuid())
    try:
        return ReusableEnvironments(folder).sweep(grace=age) if is_private(str(folder)) else []
    except OSError:
        return []


def fingerprint(environment: Path) -> str:
    """Return a hash of all files of an environment: path, size, time of change, mode, and what links lead to.

    Compiled modules are left out, since Python writes them whenever it imports something.
    """
    digest = hashlib.sha256()
    for line in _lines(str(environment), ""):
        digest.update(os.fsencode(line) + b"\0")
    return digest.hexdigest()


def _lines(folder: str, inside: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name == "__pycache__":
            continue
        status = entry.stat(follow_symlinks=False)
        path = f"{inside}/{entry.name}"
        if stat.S_ISDIR(status.st_mode):
            yield f"{path} {status.st_mode}"
            yield from _lines(entry.path, path)
        elif stat.S_ISLNK(status.st_mode):
            yield f"{path} -> {os.readlink(entry.path)}"
        else:
            yield f"{path} {status.st_size} {status.st_mtime_ns} {status.st_mode}"


def _age(path: Path) -> float:
    try:
        return time.time() - os.lstat(str(path)).st_mtime
    except OSError:
        return float("inf")
