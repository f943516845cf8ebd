"""Put our table into the text of a ``pyproject.toml``, change its keys, and take it out again, with tomlkit.

tomlkit keeps the comments and the layout of everything that an edit does not touch; where the lines between two tables
belong is decided here.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Mapping, Optional, Sequence

from ..errors import ProjectError
from ..settings import load_toml
from .pyproject import OWN_NAME, names_us, parse_pyproject

__all__ = ["NO_BACKEND", "NO_TABLE", "append_table", "update_table", "without_table"]

NO_TABLE = "the default where there is no [build-system]"
NO_BACKEND = "the default where no build-backend is named"
"""What a comment tells the reader of a key that the project had not written; it goes with the key."""

_HEADER = rf"^[ \t]*\[[ \t]*tool[ \t]*\.[ \t]*[\"']?{OWN_NAME}[\"']?[ \t]*\][ \t]*(#[^\r\n]*)?(?:\r?\n|\Z)"
_EMPTY_LINES = ("\n", "\r\n")


def append_table(tomlkit: Any, document: Any, place: Sequence[str], table: Any) -> str:
    """Return the text of a document with a table below the last one of its parent, and an empty line between tables.

    For tomlkit, all up to the next table belongs to the last one; but comments right above a table are about that one.
    """
    text, parent = document.as_string(), document
    for name in place[:-1]:
        parent = parent.setdefault(name, tomlkit.table(is_super_table=True))
    if isinstance(parent, tomlkit.items.InlineTable):
        raise ProjectError(
            f"pyproject.toml: the table that {place[-1]} belongs to is written inline, so nothing can be added to it",
            hint="write it as a table with one line for each key, then run this again",
        )
    parent[place[-1]] = table
    body = parent[place[-1]].as_string()
    above, _, below = document.as_string().rpartition(body)
    added = above[above.rfind("\n", 0, -1) + 1 :] + body
    above = text[: len(text) - len(below)]
    if not below.strip():
        # One empty line more, whatever the file ends with, and no line break at the end where it has none: `--undo`
        # finds from that what the end was.
        return f"{above}\n{added}" if above.endswith("\n") else f"{above}\n\n{added.rstrip()}" if above else added
    attached = re.findall(r"(?:^[ \t]*#[^\n]*\n)*\Z", above, re.MULTILINE)[0]
    above, below = above[: len(above) - len(attached)], attached + below
    before = "" if re.search(r"(\A|\n\r?\n)\Z", above) else "\n"
    return f"{above}{before}{added}{'' if below.startswith(_EMPTY_LINES) else _EMPTY_LINES[0]}{below}"


def without_table(tomlkit: Any, document: Any, kept: Mapping[str, Any]) -> str:
    """Return the text of a document without our table, whose comments and keys that are *kept* stay.

    The table is found in the text: tomlkit would also take away what stands between it and the next one.
    """
    text = document.as_string()
    content = {key: value for key, value in parse_pyproject(text)["tool"][OWN_NAME].items() if key not in kept}
    for header in re.finditer(_HEADER, text, re.MULTILINE):
        above, rest = text[: header.start()], text[header.end() :]
        end = _end_of_table(rest, content)
        if end is not None:
            return _join(above, _comments(tomlkit, header[1] or "", rest[:end]) + rest[end:], text)
    # It has no header of its own, or what is kept stands below that.
    if kept:
        update_table(tomlkit, document["tool"][OWN_NAME], kept)
    else:
        del document["tool"][OWN_NAME]
    if not document["tool"] and not document["tool"].as_string().strip():
        del document["tool"]
    return str(document.as_string())


def _end_of_table(text: str, content: Mapping[str, Any]) -> Optional[int]:
    """Return where the keys of a table end that has this content; None if no table with it begins the text."""
    # A line that begins with a bracket may also be one of an array or of a long string.
    for end in [*(match.start() for match in re.finditer(r"^[ \t]*\[", text, re.MULTILINE)), len(text)]:
        with contextlib.suppress(ValueError):
            if load_toml(text[:end]) == content:
                return end
    return None


def _comments(tomlkit: Any, first: str, body: str) -> str:
    """Return the comments that a person wrote into a table, each on a line of its own."""
    kept = first + "\n" if first else ""
    for key, item in tomlkit.parse(body).body:
        comment = item.trivia.comment if key else ""
        if comment and comment.lstrip("# ") not in (NO_TABLE, NO_BACKEND):
            kept += f"{comment}\n"
        kept += "" if key else item.as_string()
    return kept.lstrip("\r\n") if kept.strip() else ""


def _join(above: str, below: str, text: str) -> str:
    """Join what stood above and below our table; at the end of a file this is what `append_table` found."""
    if below:
        return above + below
    return re.sub(r"\n\r?\n\Z", "\n", above) if text.endswith("\n") else re.sub(r"(\r?\n){1,2}\Z", "", above)


def update_table(tomlkit: Any, table: Any, wanted: Mapping[str, Any], source: Any = None) -> None:
    """Give a table the wanted keys, whose values are strings, booleans and lists of strings, and no others.

    A value that is right already is left as it is, and one that *source* has too is copied with its comments.
    """
    if source is not None and "backend-path" in source and "backend-path" in wanted:
        # It is the only key that leaves a table for good, so the comment behind it moves, too.
        table["backend-path"] = source.pop("backend-path")
    for key in [key for key in table if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        if source is not None and source.get(key) == value:
            table[key] = tomlkit.value(source[key].as_string())
        elif table.get(key) != value:
            table[key] = _edited_array(tomlkit, table.get(key, ()), value) if isinstance(value, list) else value


def _edited_array(tomlkit: Any, array: Any, wanted: Sequence[str]) -> Any:
    """Return an array of strings that keeps its layout if only strings change, or our name is added or removed."""
    for index in [index for index, text in enumerate(array) if text not in wanted and names_us(text)]:
        del array[index]
    added = wanted[:1] == [OWN_NAME] and len(wanted) == len(array) + 1
    if not array or len(wanted) != len(array) + added:
        new = tomlkit.array()
        new.extend(wanted)
        # A long array gets one line for each string.
        return new.multiline(multiline=len(new.as_string()) > 100)
    for index, text in enumerate(wanted[added:]):
        if array[index] != text:
            # In single quotes, double ones need no escape.
            array[index] = tomlkit.string(text, literal='"' in text and "'" not in text)
    if not added:
        return array
    # A comment behind the bracket stays there, and one above the first text stays above it.
    source = array.as_string().replace("\r\n", "\n")
    opening = re.match(r"\[(?:[ \t]*(?:#[^\n]*)?(\n))?([ \t]*)", source)
    head, separator = (opening[0], f"\n{opening[2]}" if opening[1] else " ") if opening else ("[", " ")
    return tomlkit.value(f'{head}"{OWN_NAME}",{separator}{source[len(head) :]}')
