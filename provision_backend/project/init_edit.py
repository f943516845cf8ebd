"""The text of a ``pyproject.toml`` → the one of the wrapped project, and back. Pure.

What changes is little: ``build-backend`` in ``[build-system]`` names us, ``requires`` begins with us, and
``[tool.provision-backend]`` has the keys that moved there, written as they were. `undo` is the way back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Tuple

from ..errors import ProjectError
from .init_arrays import OURSELVES, add_ourselves, mark_all
from .init_checks import Choice, backend_notes, choose_form, is_marked, load_data, refuse_unsafe
from .init_spans import Statement, above_comments, below_comments, blank_line_at, find_headers, find_statements
from .pyproject import OWN_NAME, TABLE

__all__ = ["BACKEND", "BUILD_SYSTEM", "NO_BACKEND", "NO_TABLE", "Wrapped", "apply_edits", "wrap_text"]

Edit = Tuple[int, int, str]

_HEADER = f"[{TABLE}]"
_MOVED = ("build-backend", "backend-path", "requires")

# PEP 517 and PEP 518 say what holds where nothing is written; the comments say to people, and to whoever undoes it,
# that nothing was.
BACKEND = 'build-backend = "setuptools.build_meta:__legacy__"'
BUILD_SYSTEM = ("[build-system]", 'requires = ["setuptools>=40.8.0"]', BACKEND)
NO_TABLE = "  # the default where there is no [build-system]"
NO_BACKEND = "  # the default where no build-backend is named"


@dataclass(frozen=True)
class Wrapped:
    """A project with us round it."""

    text: str
    """The file."""
    form: str
    """``one-list`` or ``table``."""
    build_backend: str
    """The real backend."""
    requires: Tuple[str, ...]
    """The real requirements, with the markers that they now have."""
    notes: Tuple[str, ...] = ()
    """What a person should know."""


def wrap_text(text: str, *, form: str = "", requires_python: str = "") -> Wrapped:
    """Wrap a project that is not wrapped yet.

    Args:
        text: its ``pyproject.toml``, line breaks as they are in the file.
        form: ``one-list`` or ``table``; empty for the first of them that is exact.
        requires_python: written into our table where [project] does not say it.

    Raises:
        ProjectError: it cannot be wrapped safely; the message says why.
    """
    refuse_unsafe(load_data(text))
    line_break = "\r\n" if "\r\n" in text else "\n"
    full, comment = _complete(text, line_break)
    data = load_data(full)
    choice = choose_form(data, form, requires_python)
    statements = find_statements(full, "build-system")
    moved = [key for key in statements if key in _MOVED and (key != "requires" or choice.form == "table")]
    lines = [_HEADER + line_break, *(_moved(full, statements[key], key, comment, line_break) for key in moved)]
    if choice.written_python:
        lines.append(f"requires-python = {json.dumps(choice.written_python)}{line_break}")
    edits = _edits(full, statements, choice)
    edits.append(_insertion(full, statements, "".join(lines), line_break))
    result = apply_edits(full, edits)
    requires = _check(load_data(result), data, choice)
    backend = data["build-system"]["build-backend"]
    return Wrapped(result, choice.form, backend, requires, backend_notes(backend))


def _complete(text: str, line_break: str) -> Tuple[str, str]:
    """Write down what PEP 517 takes for granted; return the text and the comment that says so."""
    build_system = load_data(text).get("build-system")
    if build_system is None:
        block = line_break.join(BUILD_SYSTEM) + line_break
        headers = find_headers(text)
        position = headers[0][1] if headers else len(text)
        return apply_edits(text, [_above(text, position, block, line_break)]), NO_TABLE
    if "build-backend" in build_system:
        return text, ""
    end = find_statements(text, "build-system")["requires"].end
    line = BACKEND + line_break if text[:end].endswith("\n") else line_break + BACKEND
    return apply_edits(text, [(end, end, line)]), NO_BACKEND


def _moved(text: str, statement: Statement, key: str, comment: str, line_break: str) -> str:
    """Return the line of our table for a key that moves: the line itself, or a copy where the line stays."""
    if key == "backend-path":
        line = text[statement.start : statement.end]
        return line if line.endswith("\n") else line + line_break
    return text[statement.start : statement.value_end] + (comment if key == "build-backend" else "") + line_break


def _edits(text: str, statements: Dict[str, Statement], choice: Choice) -> List[Edit]:
    requires, backend = statements["requires"], statements["build-backend"]
    array = text[requires.value_start : requires.value_end]
    array = add_ourselves(mark_all(array, choice.marker)) if choice.form == "one-list" else f"[{OURSELVES}]"
    quote = text[backend.value_start]
    edits = [
        (requires.value_start, requires.value_end, array),
        (backend.value_start, backend.value_end, f"{quote}provision_backend{quote}"),
    ]
    if "backend-path" in statements:
        edits.append((statements["backend-path"].start, statements["backend-path"].end, ""))
    return edits


def _insertion(text: str, statements: Dict[str, Statement], block: str, line_break: str) -> Edit:
    headers = find_headers(text)
    names = [name for name, _ in headers]
    tool = names.index("tool") if "tool" in names else 0
    # Tables of tools stay together: some programs that edit such a file stumble over those that do not.
    if tool == 0 or tool == names.index("build-system") + 1:
        return _below(text, max(statement.end for statement in statements.values()), block, line_break)
    return _above(text, headers[tool][1], block, line_break)


def _above(text: str, offset: int, block: str, line_break: str) -> Edit:
    """Insert a block above the line at an offset and its comments, with an empty line between if there was one."""
    if offset == len(text):
        return _below(text, offset, block, line_break)
    offset = above_comments(text, offset)
    previous = text[text.rfind("\n", 0, max(offset - 1, 0)) + 1 : offset]
    return offset, offset, block + ("" if previous.strip() else line_break)


def _below(text: str, offset: int, block: str, line_break: str) -> Edit:
    """Insert a block below the line that ends at an offset, with an empty line between if there was one."""
    offset = below_comments(text, offset)
    if not text:
        return 0, 0, block
    if offset == len(text):
        # A last line without a line break stays one, although it is another line now.
        at_end = line_break + block
        return offset, offset, at_end if text.endswith("\n") else line_break + at_end[: -len(line_break)]
    return offset, offset, (line_break if blank_line_at(text, offset) else "") + block


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with each (start, end) replaced; no two of them overlap."""
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _check(result: Dict[str, Any], data: Dict[str, Any], choice: Choice) -> Tuple[str, ...]:
    """Compare what the wrapped file says with what it must say; return the real requirements."""
    build_system = dict(data["build-system"])
    table = {key: build_system.pop(key) for key in ("build-backend", "backend-path") if key in build_system}
    requires = build_system["requires"]
    if choice.written_python:
        table["requires-python"] = choice.written_python
    found = result.get("build-system", {}).get("requires", [])[1:]
    if choice.form == "table":
        table["requires"], wanted = requires, []
    else:
        # An entry that is not what it must be becomes one that no file can hold.
        wanted = [new if is_marked(new, old, choice.marker) else None for new, old in zip(found, requires)]
    build_system = {**build_system, "build-backend": "provision_backend", "requires": [OWN_NAME, *wanted]}
    if result != {**data, "build-system": build_system, "tool": {**data.get("tool", {}), OWN_NAME: table}}:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
    return tuple(table.get("requires", wanted))
