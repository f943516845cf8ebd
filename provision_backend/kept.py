"""Our own modules, compiled once and not in every build: they are imported from a copy that an earlier build has kept.

Frontends install us for each build anew, in a folder of another name and without compiled modules, so that every build
compiled us again: under Python 3.8 that took longer than finding an interpreter. A build that provisions keeps a copy
in ``<cache>/code/<user id>/`` (`provision_backend.cache.code`), where Python writes compiled modules as it does
anywhere, and later builds of the same release import from there. A copy is used only if it was made of the very same
files, as the RECORD tells that their installer wrote, and if nobody but the user and root could have written it. What
is missing in it comes from where we are installed.

Where a cache has copies, this is imported first, by every hook, so it imports next to nothing. A build that passes
through takes a copy that is there, and never makes one.

Source: "Recording installed projects", the RECORD file.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Iterator

__all__ = [
    "PACKAGE",
    "RECORD",
    "copies_folder",
    "copy_of",
    "default_cache_root",
    "installed_folder",
    "is_passing",
    "is_private",
    "read_record",
    "use_copy",
]

PACKAGE = __name__.rpartition(".")[0]
RECORD = "RECORD"
"""File in a copy that says what it was made of; written last."""


def installed_folder() -> str:
    """Return the folder of the package where the frontend has installed it, whatever its modules were imported from."""
    return os.path.dirname(os.path.abspath(sys.modules[PACKAGE].__file__ or ""))


def default_cache_root() -> str:
    """Return where the cache is on Linux when nobody says it; empty where there is no home directory.

    Source: XDG Base Directory Specification, which has relative paths ignored.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        base = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    return base and os.path.join(base, "provision-backend")


def use_copy() -> None:
    """Import what is imported from now on from the copy, where there is one that can be believed."""
    package = sys.modules[PACKAGE]
    if len(package.__path__) > 1:
        return  # Another hook of this process has done it.
    try:
        folder = copies_folder()
        if not folder or not os.path.isdir(folder) or not is_passing():
            return
        record = read_record()
        copy = copy_of(folder, record)
        with open(os.path.join(copy, RECORD), "rb") as file:
            same = file.read() == record
        if same and is_private(folder) and all(map(_is_safe, _upwards(folder))):
            package.__path__.insert(0, os.path.join(copy, PACKAGE))
    except (OSError, StopIteration):
        return  # There is none yet.


def copies_folder() -> str:
    """Return the folder of this user's copies; empty where there are none."""
    if sys.platform in ("darwin", "win32") or not hasattr(os, "geteuid"):
        return ""  # What is there by default is known to a package.
    # A cache that is named by a config setting is not known this early; such builds do without.
    root = os.path.expanduser(os.environ.get("PROVISION_BACKEND_CACHE_DIR") or "") or default_cache_root()
    return os.path.join(os.path.realpath(root), "code", str(os.geteuid())) if root else ""


def copy_of(folder: str, record: bytes) -> str:
    """Return the path of the copy of an installation, whether it is there or not.

    Args:
        folder: as `copies_folder` says.
        record: as `read_record` says.
    """
    import zlib

    return os.path.join(folder, f"{len(record)}-{zlib.crc32(record):08x}")


def is_passing() -> bool:
    """Say whether we are installed for one build only; any other installation keeps its own compiled modules."""
    return any(name in installed_folder() for name in ("pip-build-env-", "build-env-", "builds-v0"))


def read_record() -> bytes:
    """Return what the installer wrote of our files; what else it wrote differs from build to build.

    Raises:
        OSError, StopIteration: nothing was written, as where the package is run from a folder.
    """
    place = os.path.dirname(installed_folder())
    names = (name for name in os.listdir(place) if name.startswith(f"{PACKAGE}-") and name.endswith(".dist-info"))
    with open(os.path.join(place, next(names), RECORD), "rb") as file:
        lines = file.read().splitlines(keepends=True)
    package = f"{PACKAGE}/".encode("ascii")
    return b"".join(sorted(line for line in lines if line.startswith(package) and b"__pycache__" not in line))


def is_private(folder: str) -> bool:
    """Whether a folder is the user's own and closed to all others."""
    status = os.lstat(folder)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _upwards(path: str) -> Iterator[str]:
    while os.path.dirname(path) != path:
        path = os.path.dirname(path)
        yield path


def _is_safe(folder: str) -> bool:
    """Whether nobody but the user and root can put something else in the place of what is in a folder."""
    status = os.lstat(folder)
    foreign = status.st_uid not in (0, os.geteuid())
    return not foreign and (not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX))
