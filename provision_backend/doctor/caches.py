"""The caches: can they be believed, written and run from, is there room, and is what is in them whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

from ..cache.folders import FOLDERS, find_leftovers
from ..errors import CacheError
from ..files import list_names
from ..output import format_size
from .context import Context
from .findings import Finding, ok, problem, warning
from .folders import describe, existing, free_bytes, free_inodes, is_noexec, try_writing

__all__ = ["check_cache", "check_entries", "check_shared"]

_ROOM = 500_000_000  # bytes; an archive, its unpacked tree and its build environments
_FILES = 20_000  # a tree has up to a third of that
_ELSEWHERE = "set PROVISION_BACKEND_CACHE_DIR to another folder"


def check_cache(context: Context) -> Iterator[Finding]:
    """Look at the writable cache."""
    root = context.cache().root
    place = existing(root)
    yield ok(describe(root) if place == root else f"{root} does not exist yet; {describe(place)}")
    try:
        context.cache().trust(root)
    except CacheError as exc:
        yield context.report(exc.message, exc.hint, matters=context.needed())
    yield from _writable(context, root, place)
    if is_noexec(place):
        yield context.report(
            f"{place} is mounted noexec: no interpreter in it can be started",
            f"{_ELSEWHERE}, on a file system where programs may run",
            matters=context.needed(),
        )
    yield from _room(context, place)


def _writable(context: Context, root: Path, place: Path) -> Iterator[Finding]:
    if not place.is_dir():
        yield context.report(
            f"{root} cannot be a folder: {place} is a file, or a link that leads nowhere",
            _ELSEWHERE,
            matters=context.needed(),
        )
        return
    folders = [place] if place != root else [root, *(root / name for name in FOLDERS if (root / name).is_dir())]
    for folder in folders:
        error = try_writing(folder)
        if error is not None and not _is_room(error):
            fetching = context.fetching()
            use = "" if fetching else "; what is in the cache is used all the same"
            yield context.report(
                f"{folder} cannot be written: {error.strerror}{_whose(folder)}{use}",
                f"{_ELSEWHERE} that can be, or put the interpreter into a shared cache",
                matters=fetching,
            )
            return


def _is_room(error: OSError) -> bool:
    import errno

    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def _whose(folder: Path) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    import pwd

    number = folder.stat().st_uid
    if number == os.geteuid():
        return ""
    try:
        return f" (it belongs to {pwd.getpwuid(number).pw_name})"
    except KeyError:
        return f" (it belongs to user {number})"


def _room(context: Context, place: Path) -> Iterator[Finding]:
    room, files = free_bytes(place), free_inodes(place)
    error = try_writing(place) if place.is_dir() else None
    if error is not None and _is_room(error) and room is not None and room >= _ROOM:
        # A quota, which the numbers of the file system do not show.
        room = 0
    advice = f"make room ('provision-backend cache prune --unused-for 30'), or {_ELSEWHERE}"
    if room is not None and room < _ROOM:
        found = f"{place} has room for {format_size(room)}, and an interpreter takes up to {format_size(_ROOM)}"
        yield context.report(found, advice, matters=context.fetching())
    elif files is not None and files < _FILES:
        found = f"{place} has room for {files} more files, and an interpreter takes up to {_FILES}"
        yield context.report(found, advice, matters=context.fetching())


def check_shared(context: Context) -> Iterator[Finding]:
    """Look at the caches that are only read."""
    shared = context.cache().shared
    if not shared:
        yield ok("none are set")
    for root in shared:
        names = list_names(root / "interpreters")
        try:
            context.cache().trust(root)
        except CacheError as exc:
            yield context.report(exc.message, exc.hint, matters=context.needed())
            continue
        if not root.is_dir():
            yield context.report(f"{root} does not exist", "is the volume mounted?", matters=context.fetching())
        elif not os.access(root / "interpreters", os.R_OK | os.X_OK):
            advice = "it must hold a folder 'interpreters' that this user can read"
            yield context.report(f"{root} holds no interpreters to read", advice, matters=context.fetching())
        elif is_noexec(root):
            found = f"{root} is mounted noexec: no interpreter in it can be started"
            yield context.report(found, "mount it without noexec", matters=context.needed())
        else:
            yield ok(f"{describe(root)} has {len(names)} interpreter{'' if len(names) == 1 else 's'}")


def check_entries(context: Context) -> Iterator[Finding]:
    """Look for what is damaged or was left over; with ``--full`` at every file."""
    from ..cache.upkeep import list_entries, verify_entries

    try:
        entries = list_entries(context.cache())
    except CacheError:
        yield warning("not looked at, since a cache is not trusted", "see cache and shared caches")
        return
    yield ok(f"{len(entries)} interpreter{'' if len(entries) == 1 else 's'} in the caches")
    for entry in entries:
        if entry.damaged:
            yield warning(
                f"{entry.path} is damaged and passed over; a build makes a new one beside it",
                "'provision-backend cache prune' removes it",
            )
    if context.full:
        for path, differences in verify_entries(entry for entry in entries if not entry.damaged).items():
            if differences:
                more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
                advice = "'provision-backend cache clean' removes what is in the cache; the next build makes a new one"
                yield problem(f"{path} is not as it was published: {differences[0]}{more}", advice)
    yield from _leftovers(context.cache().root)


def _leftovers(root: Path) -> Iterator[Finding]:
    left = find_leftovers(root)
    if left:
        yield ok(
            f"{len(left)} left over in {root / 'staging'} by processes that were killed; the next build removes it"
        )
