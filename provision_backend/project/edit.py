"""Edit a project's ``pyproject.toml`` with tomlkit, show the change as a diff, and write it in one step.

tomlkit keeps the comments and the layout of everything that an edit does not touch. A symbolic link stays one: the file
that it points to, in the project too, is replaced, and keeps its mode and, if we have the right, its owner.
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
    from ..wanted import Lock

__all__ = [
    "append_table", "apply_changes", "load_tomlkit", "lock_lines", "lock_text", "parse_document", "render",
    "update_table",
]  # fmt: skip


def _write_text(root: Path, name: str, text: str) -> None:
    target = Path(os.path.realpath(root / name))
    # A project from elsewhere must not choose which file of this user is written.
    if Path(os.path.realpath(root)) not in target.parents:
        raise ProjectError(f"{name} is not written: a link leads from it out of the project, to '{target}'")
    try:
        status = target.stat() if os.path.exists(target) else None
        write_atomically(target, text.encode("utf-8"), mode=stat.S_IMODE(status.st_mode) if status else 0o644)
    except OSError as exc:
        raise ProjectError(f"{name} cannot be written: {exc.strerror}") from None
    if status is not None and hasattr(os, "chown"):
        # Only the superuser can give a file to another user; everybody else owns what they write in any case.
        with contextlib.suppress(OSError):
            os.chown(str(target), status.st_uid, status.st_gid)


def apply_changes(root: Path, changes: Mapping[str, Tuple[str, str]], *, check: bool) -> List[str]:
    """Write the files of a project that change, and return the lines of the diff.

    The changes are the texts before and after, by file name, in the order in which the files are written; with *check*
    nothing is.

    Raises:
        ProjectError: a file cannot be written; it and those after it are unchanged.
    """
    diff: List[str] = []
    for name, texts in changes.items():
        before, after = texts
        if before != after and not check:
            _write_text(root, name, after)
        # Only a line feed ends a line, as in diff and patch; str.splitlines knows ten other characters.
        old, new = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in texts)
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
            diff += [line[:-1]] if line.endswith("\n") else [line, "\\ No newline at end of file"]
    return diff


def load_tomlkit(command: str) -> Any:
    """Return the module tomlkit, or raise `MissingDependencyError` for a command."""
    # It comes with an extra, since no build needs it.
    try:
        import tomlkit
    except ImportError:
        raise MissingDependencyError("tomlkit", f"run 'provision-backend {command}'", extra="init") from None
    return tomlkit


def parse_document(tomlkit: Any, text: str) -> Any:
    """Parse a file so that it can be edited."""
    parse_pyproject(text)
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.TOMLKitError as exc:
        raise ProjectError(f"pyproject.toml is not valid TOML: {exc}") from None
    except RecursionError:
        raise ProjectError("pyproject.toml cannot be edited: it is nested too deeply for tomlkit") from None
    if document.as_string() != text:
        raise ProjectError("pyproject.toml cannot be edited: tomlkit does not write it as it reads it")
    return document


def append_table(tomlkit: Any, document: Any, parent: Any, key: str, table: Any) -> None:
    """Add a table below the last one of its parent, with an empty line after it if another table follows."""
    if isinstance(parent, tomlkit.items.InlineTable):
        raise ProjectError(
            f"pyproject.toml: the table that {key} belongs to is written inline, so nothing can be added to it",
            hint="write it as a table with one line for each key, then run this again",
        )
    parent[key] = table
    before, _, after = document.as_string().rpartition(parent[key].as_string())
    if before and after.strip() and not after.startswith(("\n", "\r\n")):
        parent[key].add(tomlkit.nl())


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


def render(document: Any, before: str, wanted: Mapping[str, Any]) -> str:
    """Return the text of an edited document, with the line breaks that the file had before."""
    text: str = document.as_string()
    if before.count("\r\n") and before.count("\r\n") == before.count("\n"):
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    # tomlkit has had bugs with tables that stand in several places, so its result is parsed and compared.
    if parse_pyproject(text) != wanted:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
    return text


def lock_lines(lock: Lock) -> List[str]:
    """Return the archives of a lock as lines of ``SHA256SUMS``, without line breaks."""
    return [format_line(archive.filename, archive.sha256) for archive in lock.archives]


def lock_text(text: str, lock: Lock) -> str:
    """Return the ``pyproject.toml`` of a project with a new lock, whose archives may be in a file of their own."""
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
