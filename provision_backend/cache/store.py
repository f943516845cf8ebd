"""Archive → `Interpreter`, once, across processes and users.

The folder::

    <cache>/interpreters/<key>/                  a published interpreter, complete by construction
    <cache>/interpreters/<key>/provision-backend.json    its marker, written before it is published
    <cache>/downloads/<sha256>/<file>[.part]     an archive that is fetched; kept for resuming, gone once published
    <cache>/staging/<key>~<owner>~<random>/      an unfinished copy and who makes it
    <cache>/locks/<key>.lock, <key>.owner        one lock a key, and for whom a waiter waits
    <cache>/platforms/<digest>.json              what host detection found, keyed by its evidence

The life of an entry, and what the next process finds after a crash at each place::

    absent ──lock──► fetching ──► unpacking ──► finalizing ──► marked ──rename──► published
       │                │             │              │            │                   │
       nothing          a .part,      a staging folder whose owner is gone:           a complete interpreter,
                        resumed       swept, and everything is done again             found without a lock

* *Complete or absent.* The tree is unpacked, finalized with its final path, started and marked in ``staging``, which
  is on the same file system; then one ``rename`` makes it visible. uv publishes first and patches afterwards, so that
  another process can see an unpatched tree, for good after a crash (uv#19329).
* *A hit takes no lock* and writes nothing, so read-only caches and those of other users serve as well as one's own.
* *One lock a key*, held over download and publish and never during a hook. Where a file system has no flock (uv#9050,
  uv#13626) or the lock file belongs to somebody else (uv#8032), work goes on without: each process fetches and unpacks
  under names of its own, and the rename decides who is first.
* *Nothing in use is ever replaced.* The key holds version, tag, triple and hash, so builds of the same version stand
  side by side; a damaged entry stays where it is, and a new one is published beside it as ``<key>.1``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..catalog.selection import Archive
from ..errors import CacheError
from ..interpreter import Interpreter
from ..report import Reporter
from ..settings import Settings
from .locks import key_lock, owner_is_gone, owner_name

__all__ = ["MARKER", "Cache", "default_cache_dir", "open_cache", "read_entry"]

MARKER = "provision-backend.json"
"""File in the root of an interpreter that says what it is; written last before publishing."""

_FORMAT = 1
"""Version of the marker; an entry of another format is not ours to read."""

_SPARE_NAMES = 10
"""How many names beside a damaged entry are tried."""

Build = Callable[[Path, Path, Path], Dict[str, Any]]
"""Makes a tree: (staging folder, path of the archive's file, final path) → facts for the marker, with ``tree``."""


@dataclass(frozen=True)
class Cache:
    """A writable folder of interpreters and the read-only ones that are looked in before it."""

    root: Path
    shared: Tuple[Path, ...] = ()

    def lookup(self, archive: Archive) -> Optional[Interpreter]:
        """Find the published interpreter of an archive without lock, network or writing; None for none."""
        for root in (*self.shared, self.root):
            for entry in _entries(root, archive.key):
                interpreter = read_entry(entry)
                if interpreter is not None and interpreter.sha256 == archive.sha256:
                    return interpreter
        return None

    def published(self) -> List[Interpreter]:
        """Return every published interpreter, those of shared caches first, each cache's in the order of keys."""
        found = []
        for root in (*self.shared, self.root):
            try:
                names = sorted(os.listdir(root / "interpreters"))
            except OSError:
                continue
            entries = (read_entry(root / "interpreters" / name) for name in names)
            found += [interpreter for interpreter in entries if interpreter is not None]
        return found

    def provide(self, archive: Archive, build: Build, *, lock_timeout: float, reporter: Reporter) -> Interpreter:
        """Return the interpreter of an archive; make and publish it where it is not there yet.

        Args:
            archive: what is wanted.
            build: downloads, unpacks and finalizes; called with a staging folder, the file to download to, and the
                final path.
            lock_timeout: seconds to wait for another process that makes the same one.
            reporter: told for whom this process waits.

        Raises:
            LockTimeoutError: another process held the lock too long.
            CacheError: the cache cannot be written.
            ProvisionError: whatever ``build`` raises; then nothing is published.
        """
        found = self.lookup(archive)
        if found is not None:
            return found
        self._make_folders()
        with key_lock(self.root / "locks", archive.key, timeout=lock_timeout, reporter=reporter) as locked:
            found = self.lookup(archive)
            if found is not None:
                return found
            self._sweep()
            return self._make(archive, build, locked=locked)

    def _make(self, archive: Archive, build: Build, *, locked: bool) -> Interpreter:
        with self._staging(archive.key) as staging, self._download_path(archive, staging, locked=locked) as download:
            final = self._free_name(archive.key)
            facts = build(staging, download, final)
            tree: Path = facts.pop("tree")
            _write_marker(tree, archive, facts)
            _flush(tree)
            return self._publish(tree, final, archive)

    def _publish(self, tree: Path, final: Path, archive: Archive) -> Interpreter:
        try:
            os.rename(str(tree), str(final))
        except OSError as exc:
            # Without a lock another process may have been first; its interpreter is as good as ours.
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise self._unwritable(exc) from None
        _flush_folder(final.parent)
        found = self.lookup(archive)
        if found is None:
            raise CacheError(f"{final} was published and is not readable", hint="remove it and build again")
        return found

    def _free_name(self, key: str) -> Path:
        folder = self.root / "interpreters"
        for name in [key] + [f"{key}.{number}" for number in range(1, _SPARE_NAMES)]:
            if not os.path.lexists(folder / name):
                return folder / name
        raise CacheError(
            f"{folder} holds {_SPARE_NAMES} damaged copies of {key}", hint="remove them; nothing can be using them"
        )

    def _make_folders(self) -> None:
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                # Interpreters are not secret and may be shared, whatever the umask of who came first (uv#13309).
                self.root.chmod(0o755)
                (self.root / "CACHEDIR.TAG").write_text(_CACHEDIR_TAG, encoding="ascii")
            mode = stat.S_IMODE(self.root.stat().st_mode)
            for name in ("interpreters", "downloads", "staging", "locks", "platforms"):
                folder = self.root / name
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    # A cache for a group is a folder with mode 2775: what is in it takes that mode.
                    folder.chmod(mode)
        except OSError as exc:
            raise self._unwritable(exc) from None

    def _unwritable(self, exc: OSError) -> CacheError:
        return CacheError(
            f"the cache {self.root} cannot be written: {exc.strerror or exc}",
            hint="set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache",
        )

    @contextmanager
    def _staging(self, key: str) -> Iterator[Path]:
        import tempfile

        try:
            folder = tempfile.mkdtemp(prefix=f"{key}~{owner_name()}~", dir=str(self.root / "staging"))
        except OSError as exc:
            raise self._unwritable(exc) from None
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _download_path(self, archive: Archive, staging: Path, *, locked: bool) -> Iterator[Path]:
        """Give the place of the archive's file; it is removed once it has served, and kept for a resume otherwise."""
        if not locked:
            yield staging / archive.filename
            return
        folder = self.root / "downloads" / archive.sha256
        try:
            folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise self._unwritable(exc) from None
        yield folder / archive.filename
        shutil.rmtree(str(folder), ignore_errors=True)

    def _sweep(self) -> None:
        """Remove staging folders whose owner is gone."""
        for name in _listed(self.root / "staging"):
            folder = self.root / "staging" / name
            parts = name.split("~")
            if len(parts) == 3 and owner_is_gone(parts[1], folder):
                shutil.rmtree(str(folder), ignore_errors=True)


_CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This file marks a cache of provision-backend, which can be made again at any time.
"""


def default_cache_dir() -> Path:
    """Return the platform's user cache directory for us.

    On Linux that is the rule of the XDG Base Directory Specification, said here so that a warm cache needs no
    package; elsewhere platformdirs knows.

    Raises:
        CacheError: there is no home directory.
    """
    if sys.platform in ("darwin", "win32"):
        return _platformdirs_cache_dir()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            raise CacheError("there is no home directory to keep a cache in", hint="set PROVISION_BACKEND_CACHE_DIR")
        base = os.path.join(home, ".cache")
    return Path(base, "provision-backend")


def _platformdirs_cache_dir() -> Path:
    from ..errors import MissingDependencyError

    try:
        import platformdirs
    except ImportError:
        raise MissingDependencyError("platformdirs", "find the user's cache directory") from None
    return Path(platformdirs.user_cache_dir("provision-backend", appauthor=False))


def open_cache(settings: Settings) -> Cache:
    """Return the cache that the settings name. Nothing is made or written.

    Raises:
        CacheError: no folder is named and there is no home directory.
    """
    root = Path(settings.cache_dir).expanduser() if settings.cache_dir else default_cache_dir()
    # Links are resolved, since the final path is written into sysconfig and must stay true when a link is moved.
    shared = tuple(Path(os.path.realpath(os.path.expanduser(path))) for path in settings.shared_caches)
    return Cache(Path(os.path.realpath(str(root))), shared)


def read_entry(entry: Path) -> Optional[Interpreter]:
    """Read a published interpreter's marker; None where it is damaged or not ours."""
    try:
        with open(entry / MARKER, "rb") as file:
            facts = json.load(file)
        if facts["format"] != _FORMAT:
            return None
        interpreter = Interpreter(
            executable=str(entry / facts["executable"]),
            version=facts["version"],
            freethreaded=facts["freethreaded"],
            source="managed",
            triple=facts["triple"],
            key=facts["key"],
            sha256=facts["sha256"],
            pip=facts["pip"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return interpreter if os.access(interpreter.executable, os.X_OK) else None


def _entries(root: Path, key: str) -> Iterator[Path]:
    folder = root / "interpreters"
    yield folder / key
    # A second copy exists only beside a damaged one, so that a hit looks at one path.
    if (folder / key).exists():
        for number in range(1, _SPARE_NAMES):
            yield folder / f"{key}.{number}"


def _listed(folder: Path) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _write_marker(tree: Path, archive: Archive, facts: Dict[str, Any]) -> None:
    content = {
        "format": _FORMAT,
        "key": archive.key,
        "filename": archive.filename,
        "sha256": archive.sha256,
        "version": archive.version,
        "freethreaded": archive.freethreaded,
        "triple": archive.triple,
        **facts,
    }
    marker = tree / MARKER
    marker.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    marker.chmod(0o644)


def _flush(tree: Path) -> None:
    """Bring the tree to the disk before its name is there, so that a power cut leaves it complete or absent."""
    descriptor = os.open(str(tree), os.O_RDONLY)
    try:
        _syncfs(descriptor)
    finally:
        os.close(descriptor)


def _syncfs(descriptor: int) -> None:
    # One syncfs is ten times cheaper than thousands of fsyncs; Python has no name for it.
    import ctypes

    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
            return
    except (AttributeError, OSError):
        pass  # Not Linux, or an interpreter that cannot open its own symbols.
    os.sync()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some network file systems refuse to sync a directory; the rename itself has happened.
    finally:
        os.close(descriptor)
