"""The text of a ``pyproject.toml`` and a lock in, the text with that lock out. Pure.

Only what differs is changed, in the text itself: comments, spaces and line breaks elsewhere stay.
"""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Tuple

from ..errors import ProjectError
from .init_checks import load_data
from .init_edit import apply_edits
from .init_spans import below_comments, find_statements
from .lock import LOCK_TABLE
from .wanted import Lock

__all__ = ["lock_lines", "lock_text"]

_PATH = tuple(LOCK_TABLE.split("."))
_Edit = Tuple[int, int, str]


def lock_lines(lock: Lock) -> List[str]:
    """Return the archives of a lock as lines of ``SHA256SUMS``, without line breaks."""
    return [f"{archive.sha256}  {archive.filename}" for archive in lock.archives]


def lock_text(text: str, lock: Lock) -> str:
    """Write a lock into a file; the table says what the lock says, and no more.

    Args:
        text: the ``pyproject.toml`` of a project that names us, line breaks as they are in the file.
        lock: the new lock; the lines of one in a file of its own are not written here.

    Raises:
        ProjectError: the file's own form does not allow it; the message says what to change.
        MissingDependencyError: tomlkit is not installed.
    """
    line_break = "\r\n" if "\r\n" in text else "\n"
    before = load_data(text)
    table = _table(lock)
    known = before["tool"]["provision-backend"].get("lock")
    if known is None:
        result = _insert(text, table, line_break)
    else:
        changed = {key: table.get(key) for key in {**known, **table} if known.get(key) != table.get(key)}
        result = _change(text, changed, line_break)
    wanted = copy.deepcopy(before)
    wanted["tool"]["provision-backend"]["lock"] = table
    if load_data(result) != wanted:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
    return result


def _table(lock: Lock) -> Dict[str, Any]:
    table: Dict[str, Any] = {"always": True} if lock.always else {}
    if lock.file:
        return {**table, "file": lock.file}
    return {**table, "archives": lock_lines(lock)}


def _insert(text: str, table: Dict[str, Any], line_break: str) -> str:
    """Add the table below the last line of ``[tool.provision-backend]``."""
    statements = find_statements(text, *_PATH[:-1])
    position = below_comments(text, max(statement.end for statement in statements.values()))
    lines = ["", f"[{LOCK_TABLE}]", *(_line(key, value, line_break) for key, value in table.items())]
    if not text[:position].endswith("\n"):
        # A last line without a line break stays one, although it is another line now.
        return text[:position] + line_break + line_break.join(lines)
    return text[:position] + line_break.join([*lines, ""]) + text[position:]


def _change(text: str, changed: Dict[str, Optional[Any]], line_break: str) -> str:
    """Replace the values of keys, take out those without a value, and add those that are new below the last one."""
    statements = find_statements(text, *_PATH)
    end = max(statement.end for statement in statements.values())
    edits: List[_Edit] = []
    added = ""
    for key, value in changed.items():
        if key not in statements:
            added += _line(key, value, line_break) + line_break
        elif value is None:
            edits.append((statements[key].start, statements[key].end, ""))
        else:
            found = statements[key]
            edits.append((found.value_start, found.value_end, _value(value, line_break)))
    if added and not text[:end].endswith("\n"):
        added = line_break + added[: -len(line_break)]
    # Behind the others, since an insertion at the end of what is replaced must come after it.
    return apply_edits(text[:end], edits) + added + text[end:]


def _line(key: str, value: Any, line_break: str) -> str:
    return f"{key} = {_value(value, line_break)}"


def _value(value: Any, line_break: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    return line_break.join(["[", *(f"    {_string(line)}," for line in value), "]"])


def _string(text: str) -> str:
    import json

    # JSON's escapes of what it writes in ASCII are TOML's too, but for surrogates, which UTF-8 text has none of.
    return json.dumps(text, ensure_ascii=False)
