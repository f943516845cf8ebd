"""Decide whether another user could have put something where this user is about to run it: paths in, a decision out.

A user who can put files where we look for interpreters can run programs as us. So before a cache is used or made:

1. *The way.* Every folder above it belongs to the user who runs us or to root, and no other user can rename in it. A
   sticky folder such as ``/tmp`` serves where root or this user owns both it and what lies in it. Where the settings
   name the cache (``cache-dir``, ``shared-caches``), folders of its owner serve, too.
2. *The owner.* The cache and each interpreter in it belong to the user or to root, or to the owner of a named cache.
3. *The mode.* Neither the cache nor its ``interpreters`` nor an interpreter is writable for everybody, sticky or not,
   and the same holds for its ``environments``: the first one in such a cache owns its folders and may exchange what
   others put there. A cache that its group may write is used where the settings name it, its mode says so (2775) and we
   are in that group; then any member's entries are trusted. A group of the owner's name without other members, as many
   systems make, counts as nobody, unless an access control list lets somebody else write.

The way is judged from ``/`` on, each folder on a descriptor that stays open until the next name in it was judged or
made. What was judged cannot be exchanged afterwards except by the users who are trusted, so a path stays what it is.
Whoever owns ``/`` could exchange everything, and is trusted as root is: in a user namespace root has another number.

A cache that fails this is an error: to continue without it would hide an attack. The interpreters of the machine that
fail it are passed over. Where there are no user ids (Windows) nothing is checked.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import FrozenSet, List, NamedTuple, Optional, Set, Tuple

from .errors import CacheError

try:
    import grp
    import pwd
except ImportError:  # Windows, where no file belongs to a number.
    pass

__all__ = ["ENTRY_FOLDERS", "Trust", "check_file", "make_root", "trust_cache", "user_name"]

# Folders of a cache that hold what builds use.
ENTRY_FOLDERS = ("interpreters", "environments", "targets", "compilers")
_ACL_USER, _ACL_GROUP = 2, 8  # tags of the entries for one user and one group
_MAX_LINKS = 40  # as the kernel has it
# With O_PATH a folder needs not be readable; other systems than Linux do not have it.
_FLAGS = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Trust(NamedTuple):
    """Which users' interpreters in a cache are trusted."""

    owners: Optional[FrozenSet[int]]
    """User ids; None where the system has none."""
    group: bool = False
    """Whether members of the cache's group may add interpreters."""

    def accepts(self, path: Path) -> bool:
        """Whether an interpreter, or another file or folder of the cache, can be trusted; a link never is."""
        if self.owners is None:
            return True
        try:
            status = os.lstat(path)
        except OSError:
            return False
        writers = _writers(str(path), status)
        if stat.S_ISLNK(status.st_mode) or writers == "everybody":
            return False
        return self.group or (status.st_uid in self.owners and not writers)


def trust_cache(root: Path, *, name: str = "") -> Trust:
    """Check whether a cache can be trusted, or raise `CacheError`: another user could have put interpreters there.

    Args:
        root: its folder, links resolved; it may not exist yet.
        name: the path by which the settings name it; empty for the default cache.
    """
    if not hasattr(os, "geteuid"):
        return Trust(None)
    owners = _trusted_users()
    if name:
        with suppress(OSError):
            owners.add(os.lstat(root).st_uid)
    place, found = _follow(name or str(root), owners)
    if found is None:
        return Trust(frozenset())  # What cannot be reached cannot be run.
    if place != str(root):
        raise CacheError(f"{root} is not trusted: {name} leads to {place} now", hint="start again")
    _check_owner(place, place, found, owners)
    group = _allows_group(root, found, name)
    for folder in ENTRY_FOLDERS:
        with suppress(OSError):
            inner = os.lstat(root / folder)
            if stat.S_ISLNK(inner.st_mode):
                raise CacheError(f"{root}/{folder} is not trusted: it is a link")
            group = _allows_group(root / folder, inner, name) or group
            if not group:
                _check_owner(place, f"{place}/{folder}", inner, owners)
    return Trust(frozenset(owners), group)


def check_file(path: Path, *, named: bool = False) -> None:
    """Check that no other user can exchange or write a file, which may be a link, or raise `CacheError`.

    Where the settings have *named* it, its owner is trusted.
    """
    if hasattr(os, "geteuid"):
        owners = _trusted_users()
        if named:
            owners.add(os.stat(path).st_uid)
        place, status = _follow(str(path), owners)
        if status is not None:
            _check_owner(str(path), place, status, owners)
            _check_writers(str(path), place, status)


def make_root(root: Path) -> None:
    """Make a cache's folder and those above; raise `OSError`, or `CacheError` where another user can exchange one."""
    if hasattr(os, "geteuid"):
        _follow(str(root), _trusted_users(), make=True)
    else:
        root.mkdir(parents=True, exist_ok=True)


def _trusted_users() -> Set[int]:
    return {os.geteuid(), 0, os.stat("/").st_uid}


def _follow(path: str, owners: Set[int], *, make: bool = False) -> Tuple[str, Optional[os.stat_result]]:
    """Go to a path from the root folder, and judge each folder on the way before a name in it is used or made.

    Returns:
        Where it leads, without links, and what is there; None where it is missing or cannot be reached.
    """
    folder, links = "/", 0
    waiting = _names(path if os.path.isabs(path) else os.path.join(os.getcwd(), path))
    descriptor = os.open("/", _FLAGS)
    try:
        while waiting:
            name = waiting.pop()
            step = os.path.normpath(os.path.join(folder, name))
            status = _look(name, descriptor)
            if status is None and make:
                _check_folder(path, folder, descriptor, owners)
                status = _make_folder(name, descriptor)
            _check_folder(path, folder, descriptor, owners, (step, status))
            if status is None or links > _MAX_LINKS:
                return step, None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                waiting += _names(os.readlink(name, dir_fd=descriptor))
                continue
            folder = step
            if not stat.S_ISDIR(status.st_mode):
                return folder, None if waiting else status
            following = os.open(name, _FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
        return folder, os.fstat(descriptor)
    except OSError:
        if make:
            raise
        return path, None  # Where folders cannot be opened without being read.
    finally:
        os.close(descriptor)


def _look(name: str, descriptor: int) -> Optional[os.stat_result]:
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return None


def _make_folder(name: str, descriptor: int) -> Optional[os.stat_result]:
    with suppress(FileExistsError):  # Another process makes the same cache now.
        # A umask of 0, which some CI systems have, must not make a folder above the cache everybody's.
        os.mkdir(name, 0o755, dir_fd=descriptor)
    return _look(name, descriptor)


def _names(path: str) -> List[str]:
    """Return the names of a path, the last one first; "/" is one that leads to the root folder from anywhere."""
    names = [name for name in path.split("/") if name]
    return [*reversed(names), *(["/"] if path.startswith("/") else [])]


def _check_folder(
    path: str, folder: str, descriptor: int, owners: Set[int], step: Tuple[str, Optional[os.stat_result]] = ("", None)
) -> None:
    """Raise an error where another user can exchange what has a name in this folder on the way to a path."""
    here, (place, status) = os.fstat(descriptor), step
    _check_owner(path, folder, here, owners)
    if not here.st_mode & stat.S_ISVTX:
        _check_writers(path, folder, here)
    elif status is not None and status.st_uid not in _trusted_users():
        writers = _writers(folder, here)
        if writers:
            reason = f"{writers} can write to {folder}, so anybody could have made it"
            raise _foreign(path, place, status, f"{reason}\n{_name_another(folder)}")


def _check_owner(path: str, place: str, status: os.stat_result, owners: Set[int]) -> None:
    if status.st_uid not in owners:
        hint = "set HOME to your home, as sudo -H does, or PROVISION_BACKEND_CACHE_DIR to a cache whose owner you trust"
        raise _foreign(path, place, status, hint)


def _check_writers(path: str, place: str, status: os.stat_result) -> None:
    writers = _writers(place, status)
    if writers:
        raise CacheError(f"{path} is not trusted: {writers} can write to {place}", hint=_advice(place, status))


def _foreign(path: str, place: str, status: os.stat_result, hint: str) -> CacheError:
    what, owner, user = "it" if place == path else place, user_name(status.st_uid), user_name(os.geteuid())
    return CacheError(f"{path} is not trusted: {what} belongs to {owner}, not to {user}", hint=hint)


def _writers(place: str, status: os.stat_result) -> str:
    """Say who except the owner can write to what is at *place*; empty where that is nobody else."""
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if not status.st_mode & stat.S_IWGRP:
        return ""
    with suppress(KeyError):
        # Where each user has a group of that name, a umask of 002 is usual. A further member would be listed in it.
        group, user = grp.getgrgid(status.st_gid), user_name(status.st_uid)
        if group.gr_name == user and {*group.gr_mem} <= {user}:
            return _listed_writer(place, status)
    return f"the group {_group_name(status.st_gid)}"


def _group_name(number: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


def _listed_writer(place: str, status: os.stat_result) -> str:
    """Return a user or group that an access control list lets write besides the owner; empty where there is none.

    Source: acl(5); Linux, include/uapi/linux/posix_acl_xattr.h.
    """
    read = getattr(os, "getxattr", None)  # macOS has none.
    try:
        # By its path: what leads to it was judged. A list that lets somebody write shows as a mode that lets a group.
        data = read(place, "system.posix_acl_access", follow_symlinks=False) if read else b""
    except OSError:
        return ""  # It has none, or its file system has no such lists.
    for tag, permissions, number in struct.iter_unpack("<HHI", data[4 : 4 + (len(data) - 4) // 8 * 8]):
        if permissions & 2 and tag == _ACL_USER and number not in {*_trusted_users(), status.st_uid}:
            return f"{user_name(number)}, whom an access control list names,"
        if permissions & 2 and tag == _ACL_GROUP:
            return f"the group {_group_name(number)}, which an access control list names,"
    return ""


def _advice(place: str, status: os.stat_result) -> str:
    if os.geteuid() in (0, status.st_uid):
        return f"look at what is in it, then chmod go-w {place}"
    # The mount point of an emptyDir volume of Kubernetes, or of a tmpfs, belongs to root and has mode 0777 or 1777.
    return _name_another(place)


def _name_another(place: str) -> str:
    """Advise to use another folder, one below *place* if that is possible."""
    advice = "set PROVISION_BACKEND_CACHE_DIR to a folder in which, and above which, only you or root can write"
    for folder in (place, "/tmp", "/var/tmp"):  # noqa: S108 - what is sticky keeps others from a folder of one's own.
        own = f"{folder}/provision-backend-{os.geteuid()}"
        # A user who has taken that name would have us advise what was refused.
        if _is_sticky(folder) and os.access(folder, os.W_OK) and _owner(own) in (None, os.geteuid()):
            return f"{advice}, such as {own}"
    return advice


def _owner(path: str) -> Optional[int]:
    with suppress(OSError):
        return os.lstat(path).st_uid
    return None


def _is_sticky(folder: str) -> bool:
    with suppress(OSError):
        status = os.stat(folder)
        return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in _trusted_users()
    return False


def _allows_group(folder: Path, status: os.stat_result, name: str) -> bool:
    """Check the mode of a cache, or of a folder of entries in it; return whether a group may add to it."""
    writers = _writers(str(folder), status)
    if not writers:
        return False
    member = status.st_gid in (os.getegid(), *os.getgroups())
    if writers == "everybody" or not name:
        hint = _advice(str(folder), status)
    elif not member:
        hint = f"{user_name(os.geteuid())} is not in it: join that group, or use another cache"
    elif not status.st_mode & stat.S_ISGID:
        hint = f"chmod g+s {folder} says that it is a cache for this group; chmod g-w {folder} that it is not"
    else:
        return True
    raise CacheError(
        f"{folder} is not trusted: {writers} can write there (mode {stat.S_IMODE(status.st_mode):o})", hint=hint
    )


def user_name(number: int) -> str:
    """Return the name of a user, or its number in words where it has none, as in many containers."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
