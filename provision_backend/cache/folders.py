"""The folders of a cache: where it is by default, how its folders are made, and what crashed processes left in them.

Modes do not depend on the umask of whoever comes first (uv#13309): a new cache has mode 0755, and the folders in it
have the mode of the cache, so that one made with mode 2775 for a group stays one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Iterator, List

from ..errors import CacheError
from ..files import list_names, remove_path
from ..kept import default_cache_root
from .locks import owner_is_gone, owner_name

__all__ = [
    "FOLDERS",
    "default_cache_dir",
    "make_folders",
    "open_staging",
    "sweep_staging",
    "unwritable",
]

FOLDERS = ("interpreters", "downloads", "staging", "locks", "platforms", "used")
"""What every cache has once something was published; ``catalogs`` and ``damaged`` come when they are needed."""

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
    root = default_cache_root()
    if not root:
        raise CacheError("there is no home directory to keep a cache in", hint="set PROVISION_BACKEND_CACHE_DIR")
    return Path(root)


def _platformdirs_cache_dir() -> Path:
    from ..errors import MissingDependencyError

    try:
        import platformdirs
    except ImportError:
        raise MissingDependencyError("platformdirs", "find the user's cache directory") from None
    return Path(platformdirs.user_cache_dir("provision-backend", appauthor=False))


def make_folders(root: Path, *names: str) -> None:
    """Make a cache and the folders in it, where they are missing.

    Args:
        root: the cache.
        names: of the folders; those that every cache has where none is named.

    Raises:
        CacheError: they cannot be made.
    """
    try:
        if not root.exists():
            _make_root(root)
        mode = stat.S_IMODE(root.stat().st_mode)
        for name in names or FOLDERS:
            _make_folder(root / name, mode)
    except OSError as exc:
        raise unwritable(root, exc) from None


def _make_root(root: Path) -> None:
    missing = [root]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        # A umask of 0, which some CI systems have, must not make a folder above the cache everybody's.
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o755)
    root.chmod(0o755)
    (root / "CACHEDIR.TAG").write_text(_CACHEDIR_TAG, encoding="ascii")


def _make_folder(folder: Path, mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    status = folder.stat()
    # The mode is also set when a process died before it could.
    if stat.S_IMODE(status.st_mode) != mode and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid()):
        folder.chmod(mode)


def unwritable(root: Path, exc: OSError) -> CacheError:
    """Return the error that says why a cache cannot be written."""
    return CacheError(
        f"the cache {root} cannot be written: {exc.strerror or exc}",
        hint="set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache",
    )


@contextlib.contextmanager
def open_staging(root: Path, key: str) -> Iterator[Path]:
    """Make a folder of this process's own on the file system of a cache, and remove it at the end.

    Raises:
        CacheError: the cache cannot be written.
    """
    import shutil
    import tempfile

    try:
        folder = tempfile.mkdtemp(prefix=f"{key}~{owner_name()}~", dir=str(root / "staging"))
    except OSError as exc:
        raise unwritable(root, exc) from None
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_staging(root: Path) -> List[str]:
    """Remove staging folders whose owner is gone, and return their names."""
    swept = []
    for name in list_names(root / "staging"):
        parts = name.split("~")
        if len(parts) == 3 and owner_is_gone(parts[1], root / "staging" / name):
            remove_path(root / "staging" / name)
            swept.append(name)
    return swept
