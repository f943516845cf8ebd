"""Edit a project's ``pyproject.toml`` with tomlkit, show the change as a diff, and write it in one step.

A wrapped project builds through us: ``build-backend`` in ``[build-system]`` names us, ``requires`` begins with us, and
``[tool.provision-backend]`` has the keys that moved there. tomlkit keeps the comments and the layout of everything that
an edit does not touch. A symbolic link stays one: the file that it points to, in the project too, is replaced, and
keeps its mode and, if we have the right, its owner.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Tuple

from ..catalog.sums import format_line
from ..errors import MissingDependencyError, ProjectError
from ..files import write_atomically
from .edit_table import NO_BACKEND, NO_TABLE, append_table, update_table, without_table
from .init_checks import backend_notes, choose_form, drop_marker, mark_requirement, refuse_unsafe, translate_specifiers
from .pyproject import OWN_NAME, TABLE, names_us, parse_pyproject

if TYPE_CHECKING:
    from ..catalog.wanted import Lock

__all__ = [
    "Wrapped", "apply_changes", "load_tomlkit", "lock_lines", "lock_text", "pylock_text", "unwrap_text", "wrap_text",
]  # fmt: skip

# The defaults of PEP 517 and PEP 518.
_REQUIRES, _BACKEND = ("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__"


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


def _parse_document(tomlkit: Any, text: str) -> Any:
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


def _render(text: str, before: str, wanted: Mapping[str, Any]) -> str:
    """Return the text of an edited document, with the line breaks that the file had before."""
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
    document = _parse_document(tomlkit, text)
    wanted: Any = "always" if lock.always else "provisioned"
    if lock.requirements is None:
        place = {"file": lock.file} if lock.file else {"archives": lock_lines(lock)}
        wanted = {**({"always": True} if lock.always else {}), **place}
    expected = parse_pyproject(text)
    expected["tool"][OWN_NAME]["lock"] = wanted
    ours = document["tool"][OWN_NAME]
    # A table and a string do not stand in the same place.
    if "lock" in ours and isinstance(wanted, str) != isinstance(ours["lock"], str):
        del ours["lock"]
    if isinstance(wanted, str):
        if ours.get("lock") != wanted:
            ours["lock"] = wanted
    else:
        table = ours.get("lock", tomlkit.table())
        update_table(tomlkit, table, wanted)
        if "lock" not in ours:
            return _render(append_table(tomlkit, document, ("tool", OWN_NAME, "lock"), table), text, expected)
    return _render(document.as_string(), text, expected)


def pylock_text(document: Mapping[str, Any]) -> str:
    """Return the text of a lock file of PEP 751, with its keys in their order, and one wheel a line."""
    tomlkit = load_tomlkit("lock")
    text = tomlkit.document()
    text.add(tomlkit.comment("Written by 'provision-backend lock'; a build refuses the file if it was edited."))
    for key, value in document.items():
        text[key] = _review_item(tomlkit, value)
    return str(text.as_string())


def _review_item(tomlkit: Any, value: Any) -> Any:
    """Return a value as an item of tomlkit: a table with headers, and an array with a line for each item."""
    if isinstance(value, dict):
        table = tomlkit.table()
        for key, item in value.items():
            table[key] = _review_item(tomlkit, item)
        return table
    if not isinstance(value, list):
        return value
    if value and isinstance(value[0], dict) and "name" in value[0]:
        tables = tomlkit.aot()
        for item in value:
            tables.append(_review_item(tomlkit, item))
        return tables
    array = tomlkit.array()
    for item in value:
        if isinstance(item, dict):
            item, values = tomlkit.inline_table(), item
            item.update(values)
        array.append(item)
    return array.multiline(multiline=bool(value))


class Wrapped(NamedTuple):
    """A project that builds through us."""

    text: str
    form: str
    """``one-list`` or ``table``."""
    build_backend: str
    """The real backend."""
    requires: Tuple[str, ...]
    """The real requirements, with the markers that they now have."""
    notes: Tuple[str, ...] = ()
    """Advice for the user."""


def wrap_text(text: str, *, form: str = "", requires_python: str = "", setup_py: str = "") -> Wrapped:
    """Wrap a project that is not wrapped yet, given by the text of its ``pyproject.toml`` and that of its ``setup.py``.

    The *form* is ``one-list`` or ``table``; empty for the first of them that is exact. A *requires_python* is written
    into our table if [project] does not have it.
    """
    tomlkit = load_tomlkit("init")
    document, data = _parse_document(tomlkit, text), parse_pyproject(text)
    refuse_unsafe(data, setup_py)
    comment = NO_BACKEND if "build-system" in data else NO_TABLE
    build_system = {"requires": list(_REQUIRES), "build-backend": _BACKEND, **data.get("build-system", {})}
    chosen, marker = choose_form({**data, "build-system": build_system}, form, requires_python)
    wanted = _wrapped(data, build_system, marker if chosen == "one-list" else "")
    if requires_python.strip():
        wanted["tool"][OWN_NAME]["requires-python"] = requires_python.strip()
    document.setdefault("build-system", tomlkit.table())
    table = tomlkit.table()
    update_table(tomlkit, table, wanted["tool"][OWN_NAME], source=document["build-system"])
    if "build-backend" not in data.get("build-system", {}):
        table["build-backend"].comment(comment)
    update_table(tomlkit, document["build-system"], wanted["build-system"])
    if OWN_NAME in data.get("tool", {}):
        # There is nothing else in it: it is a project's that is not wrapped.
        table["wheels"] = document["tool"][OWN_NAME]["wheels"]
        document["tool"][OWN_NAME] = table
        edited = document.as_string()
    else:
        edited = append_table(tomlkit, document, ("tool", OWN_NAME), table)
    # The first requirement of the frontend's list is ourselves.
    requires = wanted["tool"][OWN_NAME].get("requires", wanted["build-system"]["requires"][1:])
    backend = build_system["build-backend"]
    return Wrapped(_render(edited, text, wanted), chosen, backend, tuple(requires), backend_notes(backend, data))


def _wrapped(data: Dict[str, Any], build_system: Dict[str, Any], marker: str) -> Dict[str, Any]:
    """Return the parsed content of the wrapped file: in one list with this marker, or with a table if it is empty."""
    table: Dict[str, Any] = {key: build_system[key] for key in ("build-backend", "backend-path") if key in build_system}
    # With the marker, a frontend on another Python does not install what only the provisioned interpreter needs.
    if marker:
        ours = [OWN_NAME, *(mark_requirement(text, marker) for text in build_system["requires"])]
    else:
        table["requires"], ours = build_system["requires"], [OWN_NAME]
    outer = {key: value for key, value in build_system.items() if key != "backend-path"}
    outer.update({"build-backend": "provision_backend", "requires": ours})
    tool = data.get("tool", {})
    return {**data, "build-system": outer, "tool": {**tool, OWN_NAME: {**table, **tool.get(OWN_NAME, {})}}}


def unwrap_text(text: str) -> str:
    """Give a project its own build system back.

    The lines that move may have another layout than before `wrap_text`, and the defaults that it wrote stay. A marker
    that is not the one of ``requires-python`` stays, too, since a person wrote it.
    """
    tomlkit = load_tomlkit("init")
    document, data = _parse_document(tomlkit, text), parse_pyproject(text)
    table = data["tool"].pop(OWN_NAME)
    kept = {"wheels": table.pop("wheels")} if "wheels" in table else {}
    if "build-backend" not in table:
        raise ProjectError(f"pyproject.toml: {TABLE}.build-backend is missing, so the real backend is unknown")
    requires_python = table.pop("requires-python", data.get("project", {}).get("requires-python", ""))
    for key in table:
        if key not in ("build-backend", "backend-path", "requires"):
            raise ProjectError(
                f"pyproject.toml: [{TABLE}] has {key!r}, which init does not write and --undo would lose",
                hint="remove it and run this again",
            )
    marker = translate_specifiers(requires_python) or ""
    others = [text for text in data["build-system"]["requires"] if not names_us(text)]
    # `mark_requirement` uses double quotes in a requirement that already has some.
    double = marker.replace("'", '"')
    requires = [drop_marker(text, marker) or drop_marker(text, double) or text for text in others]
    data["build-system"].update({"requires": requires, **table})
    update_table(tomlkit, document["build-system"], data["build-system"], source=document["tool"][OWN_NAME])
    if kept:
        data["tool"][OWN_NAME] = kept
    edited = without_table(tomlkit, document, kept)
    if not data["tool"] and "tool" not in parse_pyproject(edited):
        del data["tool"]
    return _render(edited, text, data)
