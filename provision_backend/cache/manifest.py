"""Write down what an entry of a cache is when it is published, and find out later what has changed.

The manifest is a file beside the marker, which holds the manifest's own sha256. It has the size, mode and sha256 of
every file, compiled modules included, the target of every link, and the mode of every folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..files import Written, hash_bytes, hash_file, identify, is_shortage, parse_json, read_file
from ..output import printable
from .entries import MARKER, read_marker

__all__ = [
    "MANIFEST", "Difference", "is_whole", "published_bytecode", "set_modes", "tree_size", "verify_entry",
    "write_manifest",
]  # fmt: skip

MANIFEST = "provision-backend.manifest"  # file in the root of an entry that lists everything in it
_OWN = (MARKER, MANIFEST)  # their content is secured by hashes in the marker; the manifest has their modes


class Difference(NamedTuple):
    """Something that is not as it was published."""

    what: str
    """added, changed, damaged, missing or unreadable."""
    path: str
    """Below the entry's folder, with slashes; ``.`` is that folder."""
    detail: str = ""
    """The rest of the sentence."""

    def __str__(self) -> str:
        return f"{self.what}: {printable(self.path)}{self.detail}"

    @property
    def is_added_bytecode(self) -> bool:
        """Whether a Python has stored there what it compiled; without it nothing is lost."""
        return self.what == "added" and "__pycache__" in self.path.split("/")


def write_manifest(tree: Path, written: Optional[Mapping[str, Written]] = None) -> Dict[str, Any]:
    """Write the manifest of a tree that is finished except for the marker; raises `OSError`.

    What was hashed while it was unpacked is *written*, by path; a file that has changed since is read again.

    Returns:
        Facts for the marker: ``manifest``, the sha256 of the manifest, and ``size``, bytes of all files.
    """
    for name in _OWN:
        (tree / name).touch()
        (tree / name).chmod(0o644)  # Whatever the umask is, since other users may share the cache.
    contents = {}
    for path, status in _members(tree):
        sha256, identity = (written or {}).get(path, ("", ()))
        contents[path] = _describe(tree, path, status, sha256 if identity == identify(status) else "")
    data = json.dumps(contents, indent=0, sort_keys=True).encode("ascii")
    (tree / MANIFEST).write_bytes(data)
    return {"manifest": hash_bytes(data), "size": tree_size(tree)}


def set_modes(tree: Path) -> None:
    """Give what a tree holds the modes 0755 and 0644, as those of an interpreter are, whatever the umask is."""
    for path, status in _members(tree):
        if not stat.S_ISLNK(status.st_mode):
            executable = stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100
            os.chmod(tree / path, 0o755 if executable else 0o644)


def verify_entry(entry: Path) -> List[Difference]:
    """Compare an entry with what was published; the differences are in the order of paths.

    Raises `OSError` where that cannot be done for a reason that has nothing to do with the entry.
    """
    expected, wrong = _read_manifest(entry)
    return wrong or list(_differences(entry, expected))


def is_whole(entry: Path) -> bool:
    """Whether everything that was published is there, and files have their sizes: milliseconds, where all is well.

    A copy with other modes still works, and a file of the same size is not read.
    """
    expected, wrong = _read_manifest(entry)
    try:
        sizes = ((os.lstat(f"{entry}/{path}").st_size, facts) for path, facts in expected.items())
        return not wrong and all(len(facts) != 4 or size == facts[2] for size, facts in sizes)
    except OSError:
        return False


def _read_manifest(entry: Path) -> Tuple[Dict[str, Any], List[Difference]]:
    """Return what was published, and what is wrong with the record of it."""
    facts = read_marker(entry)
    if not facts:
        return {}, [Difference("damaged", MARKER)]
    try:
        data = read_file(entry / MANIFEST)
    except OSError as exc:
        if is_shortage(exc):
            raise
        return {}, [Difference("missing", MANIFEST)]
    # The marker has the hash of what was written here, and a checksum of its own.
    whole = hash_bytes(data) == facts.get("manifest")
    return (parse_json(data), []) if whole else ({}, [Difference("damaged", MANIFEST)])


def published_bytecode(entry: Path) -> Iterator[Tuple[str, bytes]]:
    """Yield path and content of each compiled module that is in an interpreter as it was published, and no other."""
    listed, _ = _read_manifest(entry)
    for path in filter(lambda path: path.endswith(".pyc"), listed):
        with contextlib.suppress(OSError):
            content = read_file(entry / path)
            if hash_bytes(content) == listed[path][-1]:
                yield path, content


def _differences(entry: Path, expected: Dict[str, Any]) -> Iterator[Difference]:
    try:
        found = dict(_members(entry))
    except OSError as exc:
        if is_shortage(exc):
            raise
        yield Difference("unreadable", str(exc.filename), f": {exc.strerror}")
        return
    for path in sorted({*expected, *found}):
        if path not in found:
            yield Difference("missing", path)
        elif path not in expected:
            yield Difference("added", path)
        else:
            yield from _compare(entry, path, found[path], expected[path])


def _compare(entry: Path, path: str, status: os.stat_result, expected: List[Any]) -> Iterator[Difference]:
    size = expected[2] if len(expected) == 4 else status.st_size
    try:
        # A file of another size has another hash; only one of the same size is read.
        if stat.S_ISREG(status.st_mode) and status.st_size != size:
            yield Difference("changed", path, f" (wanted {size} bytes, found {status.st_size})")
        elif _describe(entry, path, status) != expected:
            yield Difference("changed", path)
    except OSError as exc:
        if is_shortage(exc):
            raise
        yield Difference("unreadable", path, f": {exc.strerror}")


def tree_size(tree: Path) -> int:
    """Return the bytes of all files of a tree, compiled modules included, as far as this user can see them."""
    total = 0
    for folder, _, names in os.walk(str(tree)):
        for name in names:
            with contextlib.suppress(OSError):  # An interpreter in use may replace it; a folder may not be entered.
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _members(tree: Path, folder: str = ".") -> Iterator[Tuple[str, os.stat_result]]:
    """Yield the path below a tree, with slashes, and the status of everything in it, and of itself as ``.``."""
    yield folder, os.lstat(tree / folder)
    with os.scandir(str(tree / folder)) as scan:
        items = list(scan)
    for item in items:
        path = item.name if folder == "." else f"{folder}/{item.name}"
        # An interpreter that somebody uses may write a file here under a name that it has for a moment.
        with contextlib.suppress(FileNotFoundError):
            if item.is_dir(follow_symlinks=False):
                yield from _members(tree, path)
            else:
                # On Windows, `item.stat` has no inode number, so the file would not be the one that was hashed.
                yield path, os.lstat(item.path)


def _describe(tree: Path, path: str, status: os.stat_result, known: str = "") -> List[Any]:
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return ["link", os.readlink(tree / path)]
    if stat.S_ISDIR(status.st_mode):
        return ["folder", mode]
    if not stat.S_ISREG(status.st_mode):
        return ["other"]
    return ["file", mode] if path in _OWN else ["file", mode, status.st_size, known or hash_file(tree / path)]
