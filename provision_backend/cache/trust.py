"""Decide whether a cache can be trusted before an interpreter in it is run: its folders in, a decision out.

A user who can put files where we look for interpreters can run programs as us. So before anything in a cache is used:

1. *Owner.* The cache and each interpreter in it must belong to the user who runs us or to root. Where the settings name
   the cache (``cache-dir``, ``shared-caches``), its owner is trusted too; but not where a folder on the way to it is
   writable for everybody: in ``/tmp`` any user could have made the folder of that name, or a link, before us.
2. *Mode.* Neither the cache nor its ``interpreters`` nor an interpreter may be writable for everybody. The sticky bit
   does not help: the user who comes first to such a cache owns the folders in it and may exchange what others put
   there. The first two may be writable for a group where the settings name the cache and we are in that group; then
   an interpreter may belong to any member. A default cache may be writable for no group, which may be everybody's.

A cache that fails this is an error and not ignored: to continue without it would hide an attack, and a shared cache
that serves no user. Root with the ``HOME`` of a user (``sudo`` without ``-H``) finds a default cache that belongs to
that user, and gets the error too: what a user can write is never run as root unless root named it.

The files of an interpreter were written by its owner with modes that let no other user write, and are not checked
again. Where folders above a cache are writable for everybody without a sticky bit (some CI systems mount them so),
another user could still exchange the cache between the check and the use; no check can prevent that.

The cost is one ``stat`` for each folder on the way. Where there are no user ids (Windows) nothing is checked.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import FrozenSet, Iterator, NamedTuple, Optional

from ..errors import CacheError

try:
    import grp
    import pwd
except ImportError:  # Windows, where no cache belongs to a number.
    pass

__all__ = ["Trust", "trust_cache", "user_name"]

_MAX_LINKS = 40  # as the kernel has it


class Trust(NamedTuple):
    """Which users' interpreters in a cache are trusted."""

    owners: Optional[FrozenSet[int]]
    """User ids; None where the system has none."""
    group: bool = False
    """Whether members of the cache's group may add interpreters."""

    def accepts(self, path: Path) -> bool:
        """Whether an interpreter or another file or folder of the cache can be trusted.

        Args:
            path: of its folder or file; a link is not followed and not accepted.
        """
        if self.owners is None:
            return True
        try:
            status = os.lstat(path)
        except OSError:
            return False
        if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_IWOTH:
            return False
        return self.group or (status.st_uid in self.owners and not status.st_mode & stat.S_IWGRP)


def trust_cache(root: Path, *, name: str = "") -> Trust:
    """Check whether a cache can be trusted.

    Args:
        root: its folder, links resolved; it may not exist yet.
        name: the path by which the settings name it; empty for the default cache.

    Raises:
        CacheError: another user could have put interpreters there.
    """
    if not hasattr(os, "geteuid"):
        return Trust(None)
    owners = {os.geteuid(), 0}
    found = _status(root)
    if found is None:
        return Trust(frozenset(owners))
    if name and not _is_public(name):
        owners.add(found.st_uid)
    if found.st_uid not in owners:
        raise _foreign(root, found, name)
    inner = _status(root / "interpreters")
    group = _allows_group(root, found, name)
    if inner is not None:
        group = _allows_group(root / "interpreters", inner, name) or group
        if inner.st_uid not in owners and not group:
            raise _foreign(root / "interpreters", inner, name)
    return Trust(frozenset(owners), group)


def _status(path: Path) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except OSError:
        return None  # What cannot be reached cannot be run.


def _allows_group(folder: Path, status: os.stat_result, name: str) -> bool:
    """Check the mode of a folder; return whether a group may add to it."""
    if status.st_mode & stat.S_IWOTH:
        raise CacheError(
            f"{folder} is not trusted: everybody can write there (mode {stat.S_IMODE(status.st_mode):o})",
            hint=_advice_for_public(folder, status),
        )
    if not status.st_mode & stat.S_IWGRP:
        return False
    if name and (status.st_gid in (0, os.getegid()) or status.st_gid in os.getgroups()):
        return True
    who = f"the group {_group_name(status.st_gid)}"
    if name:
        raise CacheError(
            f"{folder} is not trusted: {who} can write there, and {user_name(os.geteuid())} is not in it",
            hint="join that group, or use another cache",
        )
    raise CacheError(
        f"{folder} is not trusted: {who} can write there",
        hint=f"chmod g-w {folder}, or set PROVISION_BACKEND_CACHE_DIR to the cache to say that this group is trusted",
    )


def _advice_for_public(folder: Path, status: os.stat_result) -> str:
    if status.st_uid == os.geteuid() or os.geteuid() == 0:
        return f"look at what is in it, then chmod o-w {folder}"
    # The mount point of an emptyDir volume of Kubernetes, or of a tmpfs, belongs to root and has mode 0777 or 1777.
    return f"set PROVISION_BACKEND_CACHE_DIR to a folder in it that does not exist yet, such as {folder / 'cache'}"


def _foreign(folder: Path, status: os.stat_result, name: str) -> CacheError:
    message = f"{folder} is not trusted: it belongs to {user_name(status.st_uid)}, not to {user_name(os.geteuid())}"
    if name:
        return CacheError(message, hint="everybody can write to a folder above it, so anybody could have made it")
    return CacheError(
        message,
        hint="with sudo use -H, or set PROVISION_BACKEND_CACHE_DIR to a cache whose owner you trust",
    )


def _is_public(name: str) -> bool:
    """Whether everybody can write to a folder on the way to a path, links on the way included."""
    return any(status.st_mode & stat.S_IWOTH for status in _folders_on_the_way(os.path.abspath(name)))


def _folders_on_the_way(path: str) -> Iterator[os.stat_result]:
    """Yield the status of each folder in which a name of the path is looked up."""
    folder, waiting, links = "/", [part for part in reversed(path.split("/")) if part], 0
    while waiting:
        found = _status(Path(folder))
        if found is not None:
            yield found
        step = os.path.normpath(os.path.join(folder, waiting.pop()))
        if links < _MAX_LINKS and os.path.islink(step):
            links += 1
            target = os.readlink(step)
            folder = "/" if target.startswith("/") else folder
            waiting += [part for part in reversed(target.split("/")) if part]
        else:
            folder = step


def user_name(number: int) -> str:
    """Return the name of a user, or its number in words where it has none, as in many containers."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
