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
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..files import Written, hash_bytes, hash_file, identify
from .entries import MARKER, read_marker

__all__ = ["MANIFEST", "tree_size", "verify_entry", "write_manifest"]

MANIFEST = "provision-backend.manifest"
"""File in the root of an interpreter that lists all others except the marker."""


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
    written = written or {}
    contents = {}
    for path, status in _members(tree):
        file = written.get(path)
        unchanged = file is not None and file.identity == identify(status)
        contents[path] = _describe(tree / path, status, file.sha256 if file and unchanged else "")
    data = json.dumps(contents, indent=0, sort_keys=True).encode("ascii")
    (tree / MANIFEST).write_bytes(data)
    (tree / MANIFEST).chmod(0o644)
    return {"manifest": hash_bytes(data), "size": tree_size(tree)}


def verify_entry(entry: Path, *, contents: bool = True) -> List[str]:
    """Compare an interpreter with what was published.

    Args:
        entry: its folder.
        contents: whether to compare everything. Without that only files that are missing or have another size are
            found, which takes 20 ms and not seconds: a copy with other modes still works.

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
    return list((_differences if contents else _missing)(entry, json.loads(data)))


def _missing(entry: Path, expected: Dict[str, List[Any]]) -> Iterator[str]:
    for path, (kind, *facts) in expected.items():
        try:
            size = os.lstat(f"{entry}/{path}").st_size
        except OSError:
            yield f"missing: {path}"
        else:
            if kind == "file" and size != facts[1]:
                yield f"changed: {path} (wanted {facts[1]} bytes, found {size})"


def _differences(entry: Path, expected: Dict[str, List[Any]]) -> Iterator[str]:
    try:
        found = dict(_members(entry))
    except OSError as exc:
        yield f"unreadable: {exc.filename}: {exc.strerror}"
        return
    for path in sorted({*expected, *found}):
        if path not in found:
            yield f"missing: {path}"
        elif path not in expected:
            yield f"added: {path}"
        else:
            yield from _compare(entry, path, found[path], expected[path])


def _compare(entry: Path, path: str, status: os.stat_result, expected: List[Any]) -> Iterator[str]:
    try:
        # A file of another size has another hash; only one of the same size is read.
        if expected[0] == "file" and stat.S_ISREG(status.st_mode) and status.st_size != expected[2]:
            yield f"changed: {path} (wanted {expected[2]} bytes, found {status.st_size})"
        elif _describe(entry / path, status) != expected:
            yield f"changed: {path}"
    except OSError as exc:
        yield f"unreadable: {path}: {exc.strerror}"


def tree_size(tree: Path) -> int:
    """Return the bytes of all files of a tree, compiled modules included."""
    total = 0
    for folder, _, names in os.walk(str(tree)):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # An interpreter in use may replace it.
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _members(tree: Path, folder: str = "") -> Iterator[Tuple[str, os.stat_result]]:
    """Yield the path below a tree, with slashes, of all but folders, the marker, the manifest and compiled modules."""
    with os.scandir(str(tree / folder)) as scan:
        items = list(scan)
    for item in items:
        path = f"{folder}/{item.name}" if folder else item.name
        if not item.is_dir(follow_symlinks=False):
            if path not in (MARKER, MANIFEST):
                yield path, item.stat(follow_symlinks=False)
        elif item.name != "__pycache__":
            yield from _members(tree, path)


def _describe(path: Path, status: os.stat_result, known: str = "") -> List[Any]:
    if stat.S_ISLNK(status.st_mode):
        return ["link", os.readlink(path)]
    if not stat.S_ISREG(status.st_mode):
        return ["other"]  # Opening a FIFO would block.
    return ["file", stat.S_IMODE(status.st_mode), status.st_size, known or hash_file(path)]
