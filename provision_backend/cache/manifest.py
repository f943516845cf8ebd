"""Write down what an interpreter is when it is published, and find out later what has changed.

The manifest is a file beside the marker, which holds the manifest's own sha256. It has the size, mode and sha256 of
every file, and the target of every link. ``__pycache__``, which interpreters write themselves, is left out.
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
"""File in the root of an interpreter that lists all others except the marker."""

_Contents = Dict[str, List[Any]]


class _Member(NamedTuple):
    path: str
    """Below the tree, with slashes."""
    status: os.stat_result


def write_manifest(tree: Path, written: Optional[Mapping[str, Written]] = None) -> Dict[str, Any]:
    """Write the manifest of a finished tree.

    Args:
        tree: finished except for the marker.
        written: what was hashed while it was unpacked, by path; a file that has changed since is read again.

    Returns:
        Facts for the marker: ``manifest``, the sha256 of the manifest, and ``size``, bytes of all files.

    Raises:
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    members = list(_members(tree))
    known = _unchanged(members, written or {})
    contents = {member.path: _describe(tree, member, known.get(member.path)) for member in members}
    data = json.dumps(contents, indent=0, sort_keys=True).encode("ascii")
    (tree / MANIFEST).write_bytes(data)
    (tree / MANIFEST).chmod(0o644)
    return {"manifest": hash_bytes(data), "size": tree_size(tree)}


def _unchanged(members: List[_Member], written: Mapping[str, Written]) -> Dict[str, str]:
    """Return the hashes of those members that were not changed after they were written."""
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
    """Return the bytes of all files of a tree, compiled modules included."""
    total = 0
    for folder, _, names in os.walk(str(tree)):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # An interpreter in use may replace it.
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _members(tree: Path, folder: str = "") -> Iterator[_Member]:
    """Yield everything in a tree except folders, the marker, the manifest and compiled modules."""
    with os.scandir(str(tree / folder)) as scan:
        items = list(scan)
    for item in items:
        path = f"{folder}/{item.name}" if folder else item.name
        if not item.is_dir(follow_symlinks=False):
            if path not in (MARKER, MANIFEST):
                yield _Member(path, item.stat(follow_symlinks=False))
        elif item.name != "__pycache__":
            yield from _members(tree, path)


def _describe(tree: Path, member: _Member, known: Optional[str] = None) -> List[Any]:
    mode = member.status.st_mode
    if stat.S_ISLNK(mode):
        return ["link", os.readlink(str(tree / member.path))]
    if not stat.S_ISREG(mode):
        return ["other"]  # Opening a FIFO would block.
    return ["file", stat.S_IMODE(mode), member.status.st_size, known or hash_file(tree / member.path)]
