"""Edits of a project's ``pyproject.toml``: made by tomlkit, shown as a diff, written in one step.

tomlkit keeps the comments and the layout of everything that an edit does not name. A symbolic link stays one: the file
that it leads to is replaced, and keeps its mode and, where we may, its owner.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

from ..catalog.sums import format_line
from ..errors import MissingDependencyError, ProjectError
from ..files import write_atomically
from .pyproject import OWN_NAME, names_us, parse_pyproject

if TYPE_CHECKING:
    from .wanted import Lock

__all__ = [
    "append_table",
    "apply_changes",
    "load_tomlkit",
    "lock_lines",
    "lock_text",
    "parse_document",
    "render",
    "update_table",
]


def _write_text(path: Path, text: str) -> None:
    """Replace a file, or create it.

    Raises:
        ProjectError: it cannot be written; then it is unchanged.
    """
    target = Path(os.path.realpath(str(path)))
    try:
        status = target.stat() if target.exists() else None
        write_atomically(target, text.encode("utf-8"), mode=stat.S_IMODE(status.st_mode) if status else 0o644)
    except OSError as exc:
        raise ProjectError(f"{path.name} cannot be written: {exc.strerror}") from None
    if status is not None and hasattr(os, "chown"):
        # Only the superuser can give a file away; a file that anybody else writes is theirs in any case.
        with contextlib.suppress(OSError):
            os.chown(str(target), status.st_uid, status.st_gid)


def apply_changes(root: Path, changes: Mapping[str, Tuple[str, str]], *, check: bool) -> List[str]:
    """Write the files of a project that change, and return the diff, which is empty if none does.

    Args:
        root: the project.
        changes: for the name of each file its text before and after, in the order in which they are written.
        check: write nothing.

    Raises:
        ProjectError: a file cannot be written; it and those after it are unchanged.
    """
    diff: List[str] = []
    for name, (before, after) in changes.items():
        if before != after and not check:
            _write_text(root / name, after)
        diff += _diff_lines(before, after, name)
    return diff


def _diff_lines(before: str, after: str, name: str = "pyproject.toml") -> List[str]:
    """Return what changes in a file as the lines of a unified diff; empty for nothing."""
    lines = []
    for line in difflib.unified_diff(_lines(before), _lines(after), f"a/{name}", f"b/{name}"):
        lines.append(line[:-1] if line.endswith("\n") else line)
        if not line.endswith("\n"):
            lines.append("\\ No newline at end of file")
    return lines


def _lines(text: str) -> List[str]:
    # Only line feeds end a line, as diff and patch have it; str.splitlines knows ten other characters.
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def load_tomlkit(command: str) -> Any:
    """Return the module tomlkit.

    Args:
        command: the command that needs it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    # It comes with an extra, since no build needs it.
    try:
        import tomlkit
    except ImportError:
        error = MissingDependencyError("tomlkit", f"run 'provision-backend {command}'", extra="init")
        error.hint = "pip install 'provision-backend[init]'"
        raise error from None
    return tomlkit


def parse_document(tomlkit: Any, text: str) -> Any:
    """Parse a file so that it can be edited.

    Raises:
        ProjectError: the text is not TOML, or tomlkit would not write it as it reads it.
    """
    parse_pyproject(text)
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as exc:
        raise ProjectError(f"pyproject.toml is not valid TOML: {exc}") from None
    if document.as_string() != text:
        raise ProjectError("pyproject.toml cannot be edited: tomlkit does not write it as it reads it")
    return document


def append_table(tomlkit: Any, document: Any, parent: Any, key: str, table: Any) -> None:
    """Add a table below the last one of its parent, with an empty line after it where another table follows.

    Raises:
        ProjectError: the parent is written inline, where no table can be added.
    """
    if isinstance(parent, tomlkit.items.InlineTable):
        raise ProjectError(
            f"pyproject.toml: the table that {key} belongs to is written inline, so nothing can be added to it",
            hint="write it as a table with a line a key, then run this again",
        )
    parent[key] = table
    before, _, after = document.as_string().rpartition(parent[key].as_string())
    if before and after.strip() and not after.startswith(("\n", "\r\n")):
        parent[key].add(tomlkit.nl())


def update_table(tomlkit: Any, table: Any, wanted: Mapping[str, Any], source: Any = None) -> None:
    """Make a table say what is wanted, and leave what says that already as it is.

    Args:
        tomlkit: the module.
        table: of a document.
        wanted: every key with its value: a text, a boolean or a list of texts.
        source: a table that keys move from; a value that it has too is written as it is there, comments included.
    """
    if source is not None and "backend-path" in source and "backend-path" in wanted:
        # It is the one key that leaves a table for good, so the comment behind it goes with it.
        table["backend-path"] = source.pop("backend-path")
    for key in [key for key in table if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        if source is not None and source.get(key) == value:
            table[key] = tomlkit.value(source[key].as_string())
        elif table.get(key) != value:
            table[key] = _edited_array(tomlkit, table.get(key, ()), value) if isinstance(value, list) else value


def _edited_array(tomlkit: Any, array: Any, wanted: Sequence[str]) -> Any:
    """Return an array of texts that keeps its layout where only its texts change, or we come or go."""
    for index in [index for index, text in enumerate(array) if text not in wanted and names_us(text)]:
        del array[index]
    added = wanted[:1] == [OWN_NAME] and len(wanted) == len(array) + 1
    if not array or len(wanted) != len(array) + added:
        new = tomlkit.array()
        new.extend(wanted)
        # A line has room for a short array only.
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


def render(document: Any, before: str, wanted: Mapping[str, Any]) -> str:
    """Return the text of an edited document, with the line breaks that the file had before.

    Raises:
        ProjectError: the text would not say what is wanted.
    """
    text: str = document.as_string()
    if before.count("\r\n") and before.count("\r\n") == before.count("\n"):
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    # tomlkit has had errors with tables in several places; what it wrote is not trusted, but read.
    if parse_pyproject(text) != wanted:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
    return text


def lock_lines(lock: Lock) -> List[str]:
    """Return the archives of a lock as lines of ``SHA256SUMS``, without line breaks."""
    return [format_line(archive.filename, archive.sha256) for archive in lock.archives]


def lock_text(text: str, lock: Lock) -> str:
    """Write a lock into a file; its table says what the lock says, and nothing else.

    Args:
        text: the ``pyproject.toml`` of a project that names us, line breaks as they are in the file.
        lock: the new lock; the lines of one in a file of its own are not written here.

    Raises:
        ProjectError: it cannot be edited safely.
        MissingDependencyError: tomlkit is not installed.
    """
    tomlkit = load_tomlkit("lock")
    document = parse_document(tomlkit, text)
    wanted: Dict[str, Any] = {"always": True} if lock.always else {}
    wanted.update({"file": lock.file} if lock.file else {"archives": lock_lines(lock)})
    ours = document["tool"][OWN_NAME]
    table = ours.get("lock", tomlkit.table())
    update_table(tomlkit, table, wanted)
    if "lock" not in ours:
        append_table(tomlkit, document, ours, "lock", table)
    expected = parse_pyproject(text)
    expected["tool"][OWN_NAME]["lock"] = wanted
    return render(document, text, expected)
