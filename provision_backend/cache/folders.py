"""The folders of a cache: the default one, how they are made, and what killed processes have left in them.

Modes do not depend on the umask of the process that comes first (uv#13309): a new cache has mode 0755, and the folders
in it have the mode of the cache, so that one made with mode 2775 for a group stays one.

What is unfinished is in ``staging``, under a name that says which process makes it. So a leftover is recognised as soon
as that process has ended, whatever it was going to be.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Iterator, List, Optional

from ..errors import CacheError
from ..files import age_of, hash_bytes, list_names, remove_path, write_atomically
from ..processes import is_alive
from ..systems import RUNNING
from ..trust import ENTRY_FOLDERS, make_root
from ..versions import IMPLEMENTATION

__all__ = [
    "FOLDERS", "default_cache_dir", "find_leftovers", "is_running", "make_folders", "mark_process", "open_staging",
    "own_names", "staging_path", "sweep_staging", "unwritable", "work_prefix", "write_note",
]  # fmt: skip

FOLDERS = (*ENTRY_FOLDERS, "downloads", "staging", "locks", "platforms", "used")
"""What every cache has once something was published; ``catalogs`` and ``damaged`` are made when they are needed."""

_INTERPRETER = rf"{IMPLEMENTATION}-[^~]+-[0-9a-f]{{8}}"
_ENTRIES = {
    "interpreters": rf"{_INTERPRETER}(\.[0-9])?",
    "environments": r"[0-9a-f]{32}(\.[0-9])?",
    "targets": rf"target-{_INTERPRETER}(\.[0-9])?",
    "compilers": r"zig-[^~]+",
}
_NAMES = {
    **_ENTRIES,
    "used": rf"({'|'.join(_ENTRIES.values())})(~[^~]+)?",
    "downloads": r"[0-9a-f]{64}",
    "catalogs": r"[0-9a-f]{16}",
    "damaged": r"[0-9a-f]{16}",
    "platforms": r"[A-Za-z0-9-]*-[0-9a-f]{8}\.json",
}
"""The form of the names in the folders of a cache."""

# A process of its number may run here that has nothing to do with it, or it may be from elsewhere.
_ABANDONED = 24 * 3600.0  # seconds after which a leftover is removed all the same

_CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This file marks a cache of provision-backend, which can be made again at any time.
"""


def default_cache_dir() -> Path:
    """Return the user's cache folder for us, without making it; raise `CacheError` where there is no home."""
    folder = RUNNING.cache_folder(os.environ)
    if not os.path.isabs(folder):
        raise CacheError("there is no home directory to keep a cache in", hint="set PROVISION_BACKEND_CACHE_DIR")
    return Path(folder)


def make_folders(root: Path, *names: str) -> None:
    """Make a cache, and in it the folders of these names, or those that each has; raise `CacheError` if that fails."""
    try:
        if not os.path.exists(root):
            make_root(root)
            root.chmod(0o755)
            # In a source tree, git and the backends that ask git leave the cache out by the second one.
            for name, text in (("CACHEDIR.TAG", _CACHEDIR_TAG), (".gitignore", "*\n")):
                (root / name).write_text(text, encoding="ascii")
                (root / name).chmod(0o644)
        mode = stat.S_IMODE(root.stat().st_mode)
        for folder in (root / name for name in names or FOLDERS):
            folder.mkdir(exist_ok=True)
            status = folder.stat()
            # The mode is also set when a process died before it could.
            if stat.S_IMODE(status.st_mode) != mode and (not hasattr(os, "geteuid") or status.st_uid == os.geteuid()):
                folder.chmod(mode)
    except OSError as exc:
        raise unwritable(root, exc) from None


def own_names(root: Path, folder: str) -> List[str]:
    """Return the names in a folder of a cache that have the form of ours.

    The setting ``cache-dir`` may name a folder that is none of ours, such as a home or a project, and what else is in
    one must not be removed. A link may lead to a folder of somebody else.
    """
    path = root / folder
    return [] if path.is_symlink() else [name for name in list_names(path) if re.fullmatch(_NAMES[folder], name)]


def unwritable(root: Path, exc: OSError) -> CacheError:
    """Return the error that says why a cache cannot be written."""
    return CacheError(
        f"the cache {root} cannot be written: {exc.strerror or exc}",
        hint="set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache",
    )


def staging_path(root: Path, key: str) -> Path:
    """Return a path in ``staging`` for an entry that this process removes; nothing is there, and nothing is made."""
    return root / "staging" / f"{_staging_prefix(key)}{os.urandom(4).hex()}"


@contextlib.contextmanager
def open_staging(root: Path, key: str) -> Iterator[Path]:
    """Make a folder for this process on the file system of a cache, or raise `CacheError`; remove it at the end."""
    import tempfile  # A build with a warm cache makes nothing there.

    try:
        folder = Path(tempfile.mkdtemp(prefix=_staging_prefix(key), dir=str(root / "staging")))
    except OSError as exc:
        raise unwritable(root, exc) from None
    try:
        yield folder
    finally:
        remove_path(folder)


def write_note(root: Path, path: Path, text: str, *, durable: bool = False, needed: bool = False) -> None:
    """Write a small text into a folder of a cache, readable by everybody; do nothing where that is not possible.

    With *durable* it is brought to the disk, since an empty note would mean something. One that is *needed* raises
    `CacheError` where it cannot be written.
    """
    prefix = _staging_prefix(path.name)
    sweep_staging(root)  # Or the leftovers would grow with each process that is killed here.
    try:
        write_atomically(path, text.encode("utf-8"), folder=root / "staging", prefix=prefix, durable=durable)
    except OSError as exc:
        if needed:
            raise unwritable(root, exc) from None


def sweep_staging(root: Path) -> List[str]:
    """Remove from ``staging`` what processes that have ended were making, and return the names of what is gone."""
    leftovers = find_leftovers(root)
    for name in leftovers:
        remove_path(root / "staging" / name)
    return [name for name in leftovers if not os.path.lexists(root / "staging" / name)]


def find_leftovers(root: Path) -> List[str]:
    """Return the names in ``staging`` that belong to processes that have ended."""
    names = [name for name in list_names(root / "staging") if name.count("~") == 2]
    return [name for name in names if _is_left(root / "staging" / name, name.split("~")[1])]


def _is_left(path: Path, mark: str) -> bool:
    return is_running(mark) is False or age_of(path) > _ABANDONED


def work_prefix(parent: Path, prefix: str) -> str:
    """Return how the name of a temporary folder of this process begins; remove those that killed processes have left.

    That is the *prefix*, with which no other kind of folder in the *parent* begins, and a mark of this process; the
    rest is to be random.
    """
    for name in list_names(parent):
        mark = name[len(prefix) :].rpartition("-")[0] if name.startswith(prefix) else ""
        if mark and _is_left(parent / name, mark):
            remove_path(parent / name)
    return f"{prefix}{mark_process(os.getpid())}-"


def _staging_prefix(name: str) -> str:
    # Paths are short there, and what is unfinished must not need longer ones than what is finished.
    if RUNNING.name == "windows":
        name = name[-8:]
    return f"{name}~{mark_process(os.getpid())}~"


def mark_process(pid: int) -> str:
    """Return a text without ``~`` that stands for a process, also where machines or containers share a cache."""
    return f"{_machine()}-{pid}"


def is_running(mark: str) -> Optional[bool]:
    """Whether the process of a mark runs; None where it is one of another machine, container or start of this one."""
    machine, _, pid = mark.rpartition("-")
    return is_alive(int(pid)) if machine == _machine() and pid.isdigit() else None


def _machine() -> str:
    # Containers that share a volume number their processes independently, and so does a machine after a restart.
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        namespace = boot = ""
    # The name of a host may have bytes that are no UTF-8.
    return hash_bytes(os.fsencode(f"{_host_name()} {namespace} {boot}"))[:8]


def _host_name() -> str:
    if hasattr(os, "uname"):
        # Up to Python 3.8, platform.node() runs the program uname for the processor, too (bpo-35967).
        return os.uname().nodename
    import platform  # Windows has no other way without a socket.

    return platform.node()
