"""Check the caches: trust, permissions, room, locks, and whether their entries are complete.

Nothing is left behind: writing to a folder is tried with a file that has no name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import tempfile
import time
from pathlib import Path
from typing import Iterator, Optional, Union

from ..cache.folders import FOLDERS, find_leftovers, own_names
from ..cache.locks import is_locked, read_owner, try_locking
from ..cache.manifest import verify_entry
from ..cache.upkeep import list_entries
from ..errors import CacheError
from ..files import free_bytes, is_noexec, list_names, read_file
from ..output import format_size
from ..processes import is_alive
from ..trust import user_name
from .context import Context, Finding, count, ok, problem, warning

__all__ = ["check_cache", "check_entries", "check_lock", "check_shared_caches", "describe", "try_writing"]

_ROOM = 500_000_000  # bytes; an archive, its unpacked tree and its build environments
_FILES = 20_000  # an unpacked tree has up to a third of that
_ELSEWHERE = "set PROVISION_BACKEND_CACHE_DIR to another folder"
# A full disk, and a full quota, which the numbers of the file system do not show. Windows lacks the second number.
_NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def check_cache(context: Context) -> Iterator[Finding]:
    """Check the writable cache."""
    root = context.cache().root
    folder = _existing(root)
    yield ok(describe(root) if folder == root else f"{root} does not exist yet; {describe(folder)}")
    # A build stops at a cache that is not trusted; doctor also reports what else is wrong with it.
    yield from _check_trust(context, root)
    yield from _check_writing(context, root, folder)
    yield from _check_tree(context, root)
    if is_noexec(folder):
        found = f"{folder} is mounted noexec: no interpreter in it can be started"
        yield context.if_needed(found, f"{_ELSEWHERE}, on a file system where programs may run")
    yield from _check_room(context, folder)


def _check_trust(context: Context, root: Path) -> Iterator[Finding]:
    try:
        context.cache().trust(root)
    except CacheError as exc:
        yield context.if_needed(exc.message, exc.hint)


def _check_tree(context: Context, root: Path) -> Iterator[Finding]:
    tree = context.directory.resolve()
    if tree not in root.parents or not os.path.exists(tree / "pyproject.toml"):
        return
    entry = f"/{root.relative_to(tree)}/"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = read_file(tree / ".gitignore").decode("utf-8").splitlines()
        if entry.strip("/") in [line.strip().strip("/") for line in lines]:
            return
    yield warning(
        f"{root} lies in the source tree, and some backends pack all that .gitignore does not name into an sdist",
        f"add {entry} to .gitignore, or {_ELSEWHERE}",
    )


def _check_writing(context: Context, root: Path, folder: Path) -> Iterator[Finding]:
    if not os.path.isdir(folder):
        found = f"{root} cannot be a folder: {folder} is a file, or a link that leads nowhere"
        yield context.if_needed(found, _ELSEWHERE)
        return
    # Each folder of the cache belongs to the user who was the first to need it.
    folders = [folder] if folder != root else [root, *(root / name for name in FOLDERS if os.path.isdir(root / name))]
    for each in folders:
        error = try_writing(each)
        if error is not None and error.errno not in _NO_ROOM:
            use = "" if context.fetching() else "; what is in the cache is used all the same"
            yield context.if_fetching(
                f"{each} cannot be written: {error.strerror}{_name_owner(each)}{use}",
                f"{_ELSEWHERE} that can be, or put the interpreter into a shared cache",
            )
            return


def _name_owner(folder: Path) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    number = folder.stat().st_uid
    return "" if number == os.geteuid() else f" (it belongs to {user_name(number)})"


def _check_room(context: Context, folder: Path) -> Iterator[Finding]:
    room, files = free_bytes(folder), None
    with contextlib.suppress(OSError, AttributeError):  # It does not exist, or this is Windows.
        status = os.statvfs(folder)
        files = status.f_favail if status.f_files else None
    error = try_writing(folder) if os.path.isdir(folder) else None
    if error is not None and error.errno in _NO_ROOM and room is not None and room >= _ROOM:
        room = 0  # The file system has room, so a quota is full.
    advice = f"make room ('provision-backend cache prune --unused-for 30'), or {_ELSEWHERE}"
    if room is not None and room < _ROOM:
        found = f"{folder} has room for {format_size(room)}, and an interpreter takes up to {format_size(_ROOM)}"
        yield context.if_fetching(found, advice)
    elif files is not None and files < _FILES:
        found = f"{folder} has room for {files} more files, and an interpreter takes up to {_FILES}"
        yield context.if_fetching(found, advice)


def check_shared_caches(context: Context) -> Iterator[Finding]:
    """Check the shared caches, which are only read."""
    shared = context.cache().shared
    if not shared:
        yield ok("none are set")
    for root in shared:
        distrust = list(_check_trust(context, root))
        if distrust:
            yield from distrust
        elif not os.path.isdir(root):
            yield context.if_fetching(f"{root} does not exist", "is the volume mounted?")
        # A folder that may be entered and not listed looks empty to a build.
        elif not os.access(root / "interpreters", os.R_OK | os.X_OK):
            advice = "it must hold a folder 'interpreters' that this user can read"
            yield context.if_fetching(f"{root} holds no interpreters to read", advice)
        elif is_noexec(root):
            found = f"{root} is mounted noexec: no interpreter in it can be started"
            yield context.if_needed(found, "mount it without noexec")
        else:
            yield ok(f"{describe(root)} has {count(len(own_names(root, 'interpreters')), 'interpreter')}")


def check_entries(context: Context) -> Iterator[Finding]:
    """Look for damaged and unfinished entries; with ``--full`` compare every file with what was published."""
    try:
        entries = list_entries(context.cache())
    except CacheError:
        yield warning("not checked, since a cache is not trusted", "see cache and shared caches")
        return
    kinds = [entry.kind for entry in entries]
    environments = f" and {count(kinds.count('environment'), 'locked environment')}" if "environment" in kinds else ""
    yield ok(f"{count(kinds.count('interpreter'), 'interpreter')}{environments} in the caches")
    for entry in (entry for entry in entries if entry.damaged):
        found = f"{entry.path} is damaged and passed over; a build makes a new one beside it"
        yield warning(found, "'provision-backend cache prune' removes it")
    # Reading every file takes minutes on a network file system, so it needs an option.
    if context.full:
        for entry in entries:
            changing = entry.damaged or entry.kind == "compiler"
            differences = [] if changing else verify_entry(entry.path)
            if differences:
                more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
                advice = "'provision-backend cache verify --repair' mends it, or has the next build make a new one"
                yield problem(f"{entry.path} differs from what was published: {differences[0]}{more}", advice)
    root = context.cache().root
    left = find_leftovers(root)
    if left:
        yield ok(f"{len(left)} left over in {root / 'staging'} by killed processes; the next build removes them")


def check_lock(context: Context) -> Iterator[Finding]:
    """Try to lock a file in the cache, and report each lock that is held."""
    folder = _existing(context.cache().root / "locks")
    # Cluster file systems answer ENOSYS or ENOLCK (uv#9050, uv#11878, uv#13626), and only a try shows that.
    try:
        try_locking(folder)
        yield ok(f"locking works in {folder}")
    except (PermissionError, NotADirectoryError, FileNotFoundError) as exc:
        yield ok(f"not tried, since {folder} cannot be written: {exc.strerror}")
    except OSError as exc:
        yield warning(
            f"locking does not work in {describe(folder)}: {exc.strerror}",
            "builds are correct without locks, but several at a time each fetch an interpreter of their own. For NFS,\n"
            "mount with locks (local_lock=flock, or a server with a lock daemon), or put the cache on a local disk",
        )
    # A lock file stays after its lock is released, so its existence proves nothing.
    for name in list_names(folder):
        if name.endswith(".lock") and is_locked(folder / name):
            yield _describe_lock(context, folder / name)


def _describe_lock(context: Context, path: Path) -> Finding:
    facts = read_owner(path)
    pid, host = facts.get("pid"), facts.get("host")
    holder = f"process {pid} on {host}, since {facts.get('since')}" if facts else "a process that left no name"
    found = f"{path} is held by {holder}"
    limit = context.settings.lock_timeout
    # A process number is valid only on its own machine, and several machines may share a cache.
    if host == platform.node() and isinstance(pid, int) and is_alive(pid) is False:
        return problem(found, f"there is no process {pid} here: it runs in another container, or a child has the lock")
    if time.time() - facts.get("changed", time.time()) > limit:
        return problem(f"{found}, longer than lock-timeout ({limit:g} s)", f"end that process if it hangs: kill {pid}")
    return warning(found, f"a build that needs the same interpreter waits for it, up to {limit:g} s (lock-timeout)")


def _existing(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def try_writing(folder: Union[str, Path]) -> Optional[OSError]:
    """Write a file without a name into a folder, and return the error; None if it works."""
    try:
        with tempfile.TemporaryFile(dir=str(folder)) as file:
            # More than a block: a full disk may still have room for a small file in the folder's own metadata.
            file.write(bytes(64 * 1024))
            file.flush()
    except OSError as exc:
        return exc
    return None


def describe(folder: Union[str, Path]) -> str:
    """Name a folder with its file system and its room: ``/tmp (tmpfs, 1.2 GB free)``."""
    room = free_bytes(folder)
    parts = [_file_system(folder), "" if room is None else f"{format_size(room)} free"]
    return f"{folder} ({', '.join(filter(None, parts))})" if any(parts) else str(folder)


def _file_system(folder: Union[str, Path]) -> str:
    """Return the type of the file system that a folder is on (proc_pid_mountinfo(5)); empty if it is unknown."""
    path = os.path.realpath(folder)
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        # Spaces and backslashes in a path are written as octal numbers.
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), fields.split(" ")[4])
        # If several file systems are mounted on one folder, the last line counts.
        if len(point) >= len(best) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            best, kind = point, rest.split(" ")[0]
    return kind
