"""Where things stand in the text of a ``pyproject.toml``: a table's keys, their values, a table's header.

tomlkit parses and writes a file unchanged, but does not say at which offset it found what. So a value is replaced by
one that stands nowhere else, and where that appears in what tomlkit writes is where the value was. Edits are then made
in the text itself: whatever nobody meant to change is not touched, and each edit has an exact inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ..errors import MissingDependencyError, ProjectError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["Statement", "above_comments", "below_comments", "blank_line_at", "find_headers", "find_statements", "parse"]

_SENTINEL = "\0provision-backend\0"
_WRITTEN = '"\\u0000provision-backend\\u0000"'


@dataclass(frozen=True)
class Statement:
    """One ``key = value`` with lines of its own; all numbers are offsets into the text."""

    start: int
    """Of its first line."""
    value_start: int
    value_end: int
    end: int
    """Behind the line break of its last line."""


def parse(text: str) -> TOMLDocument:
    """Parse a file so that it can be written unchanged.

    Raises:
        MissingDependencyError: tomlkit is not installed.
        ProjectError: the text is not TOML, or nothing that tomlkit keeps as it is.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
    except ImportError:
        error = MissingDependencyError("tomlkit", "edit pyproject.toml", extra="init")
        error.hint = "install provision-backend[init]"  # No build runs here.
        raise error from None
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as exc:
        raise ProjectError(f"pyproject.toml is not valid TOML: {exc}") from None
    if document.as_string() != text:
        raise ProjectError("pyproject.toml cannot be edited: tomlkit does not write it as it reads it")
    return document


def find_statements(text: str, *path: str) -> Dict[str, Statement]:
    """Return the keys of a table, in the order of the file.

    Args:
        text: the file.
        path: the table's name, part by part; it must be there.

    Raises:
        ProjectError: the text is not TOML, or the table is not written with a line a key below a header.
    """
    keys = list(_table(parse(text), path))
    found = {key: _find_statement(text, path, key) for key in keys}
    return dict(sorted(found.items(), key=lambda item: item[1].start))


def _table(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document[part]
    return document


def _find_statement(text: str, path: Sequence[str], key: str) -> Statement:
    document = parse(text)
    _table(document, path)[key] = _SENTINEL
    written = document.as_string()
    begin, _, rest = written.partition(_WRITTEN)
    value_start, value_end = len(begin), len(text) - len(rest)
    start = text.rfind("\n", 0, value_start) + 1
    # A carriage return of its own is no line break in TOML, so "." may match the one before the line feed.
    tail = re.compile(r"[ \t]*(#.*)?\r?(\n|$)").match(text, value_end)
    before = text[start:value_start]
    own_line = re.fullmatch(rf"[ \t]*({re.escape(key)}|\"{re.escape(key)}\"|'{re.escape(key)}')[ \t]*=[ \t]*", before)
    unchanged = text.startswith(begin) and text.endswith(rest) and value_start < value_end
    if not (own_line and tail and unchanged):
        section = ".".join(path)
        raise ProjectError(
            f"pyproject.toml: {section}.{key} does not have a line of its own below [{section}]",
            hint=f"write [{section}] as a table with a line a key, then run this again",
        )
    return Statement(start, value_start, value_end, tail.end())


def find_headers(text: str) -> List[Tuple[str, int]]:
    """Return the top-level tables in the order of the file: their names, and where the lines of their headers begin.

    A table that is written in several places is there several times; ``[tool.x]`` counts as ``tool``.

    Raises:
        ProjectError: the text is not TOML.
    """
    document = parse(text)
    names: List[str] = []
    for key, item in document.body:
        header = _first_header(item)
        if key is not None and header is not None:
            header.trivia.indent = f"\0{len(names)}\0{header.trivia.indent}"
            names.append(key.key)
    written = document.as_string()
    pieces = re.split("\0([0-9]+)\0", written)
    found = []
    offset = len(pieces[0])
    for number, piece in zip(pieces[1::2], pieces[2::2]):
        # What is written with dotted keys has no header.
        if piece.lstrip(" \t").startswith("["):
            found.append((names[int(number)], offset))
        offset += len(piece)
    return found


def _first_header(item: Any) -> Any:
    from tomlkit.items import AoT, Table

    if isinstance(item, AoT):
        return item.body[0]
    if not isinstance(item, Table):
        return None
    if not item.is_super_table():
        return item
    return next((header for _, inner in item.value.body for header in [_first_header(inner)] if header), None)


def above_comments(text: str, offset: int) -> int:
    """Return where the comment lines begin that stand directly above the line at an offset."""
    while offset:
        previous = text.rfind("\n", 0, offset - 1) + 1
        if not text[previous:offset].lstrip(" \t").startswith("#"):
            break
        offset = previous
    return offset


def below_comments(text: str, offset: int) -> int:
    """Return where the comment lines end that begin at an offset, unless what follows at once is a header."""
    match = re.compile(r"(?:[ \t]*#.*(?:\n|$))*").match(text, offset)
    end = match.end() if match else offset
    return offset if text[end:].lstrip(" \t").startswith("[") else end


def blank_line_at(text: str, offset: int) -> bool:
    """Tell whether an empty line begins at an offset."""
    return re.compile(r"[ \t]*\r?\n").match(text, offset) is not None
