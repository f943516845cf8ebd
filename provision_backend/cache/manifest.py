"""What an interpreter was when it was published, and what of that has changed: its folder in, problems out.

The manifest is a file beside the marker, which holds the manifest's own sha256: size, mode and sha256 of every file,
and where every link leads. What interpreters write themselves when they run, ``__pycache__``, is not in it and not
looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from ..files import Written, hash_bytes, hash_file, identify
from .entries import MARKER, read_marker

__all__ = ["MANIFEST", "tree_size", "verify_entry", "write_manifest"]

MANIFEST = "provision-backend.manifest"
"""File in the root of an interpreter that lists all others but the marker."""

_Contents = Dict[str, List[Any]]


class _Member(NamedTuple):
    path: str
    """Below the tree, with slashes."""
    status: os.stat_result


def write_manifest(tree: Path, written: Optional[Mapping[str, Written]] = None) -> Dict[str, Any]:
    """Write down what a finished tree holds.

    Args:
        tree: finished but for the marker.
        written: what was hashed while it was unpacked, by path; a file that has changed since is read again.

    Returns:
        Facts for the marker: ``manifest``, the sha256 of what was written, and ``size``, bytes of all files.

    Raises:
        OSError: a file could not be read, or the manifest not be written.
    """
    everything = list(_members(tree, compiled=True))
    members = [member for member in everything if "__pycache__/" not in member.path]
    known = _unchanged(members, written or {})
    contents = {member.path: _describe(tree, member, known.get(member.path)) for member in members}
    data = json.dumps(contents, indent=0, sort_keys=True).encode("ascii")
    (tree / MANIFEST).write_bytes(data)
    (tree / MANIFEST).chmod(0o644)
    size = len(data) + sum(member.status.st_size for member in everything if not _leads_to_folder(tree, member))
    return {"manifest": hash_bytes(data), "size": size}


def _leads_to_folder(tree: Path, member: _Member) -> bool:
    # `tree_size` takes these for folders, as os.walk does.
    return stat.S_ISLNK(member.status.st_mode) and os.path.isdir(tree / member.path)


def _unchanged(members: List[_Member], written: Mapping[str, Written]) -> Dict[str, str]:
    """Return the hashes of the files that are still the ones that were written."""
    found = ((member, written.get(member.path)) for member in members)
    return {member.path: file.sha256 for member, file in found if file and file.identity == identify(member.status)}


def verify_entry(entry: Path) -> List[str]:
    """Compare an interpreter with what was published.

    Args:
        entry: its folder.

    Returns:
        A sentence for each difference, in the order of paths; empty where there is none.
    """
    facts = read_marker(entry)
    if not facts:
        return [f"damaged: {MARKER}"]
    try:
        data = (entry / MANIFEST).read_bytes()
    except OSError:
        return [f"missing: {MANIFEST}"]
    if hash_bytes(data) != facts.get("manifest"):
        return [f"damaged: {MANIFEST}"]
    return list(_differences(entry, json.loads(data)))


def _differences(entry: Path, expected: _Contents) -> Iterator[str]:
    try:
        found = {member.path: member for member in _members(entry)}
    except OSError as exc:
        yield f"unreadable: {exc.filename}: {exc.strerror}"
        return
    for path in sorted({*expected, *found}):
        if path not in found:
            yield f"missing: {path}"
        elif path not in expected:
            yield f"added: {path}"
        else:
            yield from _compare(entry, found[path], expected[path])


def _compare(entry: Path, member: _Member, expected: List[Any]) -> Iterator[str]:
    try:
        # A file of another size has another hash; only one of the same size is read.
        if expected[0] == "file" and stat.S_ISREG(member.status.st_mode) and member.status.st_size != expected[2]:
            yield f"changed: {member.path} (wanted {expected[2]} bytes, found {member.status.st_size})"
        elif _describe(entry, member) != expected:
            yield f"changed: {member.path}"
    except OSError as exc:
        yield f"unreadable: {member.path}: {exc.strerror}"


def tree_size(tree: Path) -> int:
    """Return the bytes of all files of a tree, with what interpreters wrote there."""
    total = 0
    for folder, _, names in os.walk(str(tree)):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # It may go away meanwhile.
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _members(tree: Path, folder: str = "", *, compiled: bool = False) -> Iterator[_Member]:
    """Yield everything in a tree but folders, the marker, the manifest and, unless asked, what interpreters write."""
    with os.scandir(str(tree / folder)) as scan:
        items = list(scan)
    for item in items:
        path = f"{folder}/{item.name}" if folder else item.name
        if not item.is_dir(follow_symlinks=False):
            if path not in (MARKER, MANIFEST):
                yield _Member(path, item.stat(follow_symlinks=False))
        elif compiled or item.name != "__pycache__":
            yield from _members(tree, path, compiled=compiled)


def _describe(tree: Path, member: _Member, known: Optional[str] = None) -> List[Any]:
    mode = member.status.st_mode
    if stat.S_ISLNK(mode):
        return ["link", os.readlink(str(tree / member.path))]
    if not stat.S_ISREG(mode):
        return ["other"]  # Opening a FIFO that somebody put there would wait for ever.
    return ["file", stat.S_IMODE(mode), member.status.st_size, known or hash_file(tree / member.path)]
