"""One entry of a cache: its marker and its names, whether it was found damaged, and when it was last used.

An entry is an interpreter, in ``interpreters``, a locked environment, in ``environments``, or what compilers read of an
interpreter for another machine, in ``targets``. What a compiler keeps, in ``compilers``, is one without a marker, since
it writes there in every build. The marker is the last
file that is written before it is published, so a readable one means a complete tree. Whether the tree still is what was
published is what `provision_backend.cache.manifest` finds out.

The last use is the time of a file beside the entries, which is set at most once an hour.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..files import age_of, hash_bytes, is_shortage, list_names, parse_json, read_file, read_json, remove_path
from ..interpreter import Interpreter
from ..systems import RUNNING
from .folders import is_running, make_folders, mark_process, write_note

__all__ = [
    "CLOCK_ERROR", "FORMAT", "MARKER", "SPARE_NAMES", "condemn_entry", "entry_names", "entry_of", "find_builds",
    "is_condemned", "key_of", "last_use", "note_build", "note_use", "read_entry", "read_environment", "read_marker",
    "read_target", "write_marker",
]  # fmt: skip

MARKER = "provision-backend.json"  # describes an entry, in its root; the last file before it is published
SPARE_NAMES = 10  # how many names an entry may have: its key, and those beside damaged copies
FORMAT = 2  # version of the marker; an entry of another format is ignored
CLOCK_ERROR = 3600.0  # seconds by which the clock of a file server may differ from ours
_LOST = 7200.0  # seconds after which a build in another container or on another machine counts as ended
_USE_RESOLUTION = 3600.0  # seconds for which a use that was noted stands for later ones, too


def read_marker(entry: Path) -> Dict[str, Any]:
    """Return the content of an entry's marker; empty where it is damaged or of another format.

    Raises `OSError` where that cannot be said: what cannot be opened for a moment is not damaged, nor to be removed.
    """
    try:
        content = read_file(entry / MARKER)
        facts = parse_json(content)
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError) and is_shortage(exc):
            raise
        return {}
    is_ours = isinstance(facts, dict) and facts.get("format") == FORMAT
    return facts if is_ours and content == _render_marker(facts) else {}


def _render_marker(facts: Dict[str, Any]) -> bytes:
    """Return the text of a marker, with a checksum of its own, so that each changed byte of it is found."""
    content = {name: value for name, value in facts.items() if name != "checksum"}
    content["checksum"] = hash_bytes(json.dumps(content, sort_keys=True).encode("ascii"))
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii")


def read_entry(entry: Path) -> Optional[Interpreter]:
    """Return the interpreter that a marker describes; None where the marker or the program is missing or damaged."""
    facts = read_marker(entry)
    try:
        same = {name: facts[name] for name in ("version", "freethreaded", "triple", "key", "sha256", "pip")}
        interpreter = Interpreter(str(entry / facts["executable"]), source="managed", **same)
    except (KeyError, TypeError):
        return None
    return interpreter if os.access(interpreter.executable, os.X_OK) else None


def read_environment(entry: Path) -> Dict[str, Any]:
    """Return the facts of a locked environment; empty where it is damaged, or the interpreter that it is for is gone.

    Beside the facts of its maker there are ``key``, ``manifest`` and ``size``.
    """
    facts = read_marker(entry)
    programs = (str(RUNNING.environment_python(entry)), str(facts.get("interpreter")))
    whole = facts.get("key") == key_of(entry.name) and all(os.access(each, os.X_OK) for each in programs)
    return facts if whole else {}


def read_target(entry: Path) -> Dict[str, Any]:
    """Return the facts of what compilers read of an interpreter for another machine; empty where it is damaged.

    There are ``sha256``, ``version``, ``freethreaded`` and ``triple`` of the archive, as those of an interpreter.
    """
    facts = read_marker(entry)
    return facts if facts.get("key") == key_of(entry.name) and "triple" in facts else {}


def write_marker(tree: Path, facts: Dict[str, Any]) -> None:
    """Write the marker of a tree that lacks nothing else.

    The facts of all kinds are ``key``, ``manifest`` and ``size``; those of an interpreter are also the fields of its
    archive, ``executable`` relative to the tree, and ``pip``.
    """
    (tree / MARKER).write_bytes(_render_marker({**facts, "format": FORMAT}))


def entry_names(key: str) -> List[str]:
    """Return the names that the folder of an entry may have: the key, then those beside damaged copies."""
    return [key, *(f"{key}.{number}" for number in range(1, SPARE_NAMES))]


def key_of(name: str) -> str:
    """Return the key of one of the names of `entry_names`."""
    return re.sub(r"\.[0-9]$", "", name)


def entry_of(interpreter: Interpreter) -> Optional[Path]:
    """Return the folder of an interpreter in a cache; None for any other interpreter."""
    folders = Path(interpreter.executable).parents
    return next((each for each in folders if interpreter.key and key_of(each.name) == interpreter.key), None)


def condemn_entry(root: Path, entry: Path) -> None:
    """Note in the writable cache, or raise `CacheError`, that an entry of this or another cache is damaged."""
    make_folders(root, "damaged", "staging")
    note = {"entry": str(entry), "marker": _identity(entry)}
    write_note(root, root / "damaged" / _digest(entry), json.dumps(note), needed=True)


def is_condemned(root: Path, entry: Path) -> bool:
    """Whether `condemn_entry` was called for this entry, and it was not replaced since."""
    try:
        note = read_json(root / "damaged" / _digest(entry))
        return bool(note["marker"] == _identity(entry))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(entry: Path) -> str:
    return hash_bytes(os.fsencode(str(entry)))[:16]


def _identity(entry: Path) -> str:
    # An entry that was repaired or replaced has another marker.
    with contextlib.suppress(OSError):
        status = os.stat(entry / MARKER)
        return f"{status.st_ino} {status.st_mtime_ns}"
    return ""


def note_use(entry: Path) -> None:
    """Note in its cache that an entry is used now; do nothing where the cache cannot be written."""
    # At most once an hour: prune counts days, and a hit should write nothing.
    stamp = _used_folder(entry) / entry.name
    if age_of(stamp) < _USE_RESOLUTION:
        return
    try:
        os.utime(str(stamp))
    except OSError:
        write_note(stamp.parent.parent, stamp, "")  # It does not exist yet, or it belongs to another user.


def note_build(entry: Path, frontend: int) -> None:
    """Note that a build needs an entry for as long as its frontend, the process of that number, runs."""
    find_builds(entry)  # The notes of earlier builds would never end otherwise.
    with contextlib.suppress(OSError):
        (_used_folder(entry) / f"{entry.name}~{mark_process(frontend)}").touch()


def find_builds(entry: Path) -> List[str]:
    """Say which builds need an entry, and remove the notes of those that have ended."""
    found, folder = [], _used_folder(entry)
    for note in list_names(folder):
        noted, _, mark = note.partition("~")
        if noted != entry.name or not mark:
            continue
        running = is_running(mark)
        if running:
            found.append(f"process {mark.rpartition('-')[2]} builds with it")
        elif running is None and time.time() - last_use(entry.with_name(note)) < _LOST:
            found.append("a build in another container or on another machine may need it")
        else:
            remove_path(folder / note)
    return found


def _used_folder(entry: Path) -> Path:
    # The names of the two kinds of entries differ, so that this folder, and that of the locks, serve both.
    return entry.parent.parent / "used"


def last_use(entry: Path) -> float:
    """Return when an entry was last used, in seconds since the epoch; when it was published if it never was.

    A time in the future says nothing, unless a file server's clock may be the reason.
    """
    for path in (_used_folder(entry) / entry.name, entry / MARKER, entry):
        with contextlib.suppress(OSError):
            moment = path.stat().st_mtime
            if moment <= time.time() + CLOCK_ERROR:
                return moment
    return 0.0
