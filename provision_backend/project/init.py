"""``pyproject.toml`` → the one of a project that builds through us, and back; tomlkit edits, nothing is written here.

What changes is little: ``build-backend`` in ``[build-system]`` names us, ``requires`` begins with us, and
``[tool.provision-backend]`` has the keys that moved there.
"""

from __future__ import annotations

import copy
import itertools
import re
from dataclasses import dataclass
from typing import Any, Dict, Tuple

from ..errors import ProjectError
from ..versions import normalised_name
from .edit import append_table, load_tomlkit, parse_document, render
from .init_checks import (
    Choice,
    add_marker,
    backend_notes,
    choose_form,
    drop_marker,
    is_marked,
    refuse_unsafe,
    translate_specifiers,
)
from .pyproject import OWN_NAME, TABLE, parse_pyproject

__all__ = ["Wrapped", "unwrap_text", "wrap_text"]

# PEP 517 and PEP 518 say what holds where nothing is written; the comments tell the reader that nothing was.
_REQUIRES, _BACKEND = ("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__"
_NO_TABLE = "the default where there is no [build-system]"
_NO_BACKEND = "the default where no build-backend is named"

_MOVED = ("build-backend", "backend-path", "requires")


@dataclass(frozen=True)
class Wrapped:
    """A project that builds through us."""

    text: str
    """The file."""
    form: str
    """``one-list`` or ``table``."""
    build_backend: str
    """The real backend."""
    requires: Tuple[str, ...]
    """The real requirements, with the markers that they now have."""
    notes: Tuple[str, ...] = ()
    """Advice for the person who runs the command."""


def wrap_text(text: str, *, form: str = "", requires_python: str = "") -> Wrapped:
    """Wrap a project that is not wrapped yet.

    Args:
        text: its ``pyproject.toml``, line breaks as they are in the file.
        form: ``one-list`` or ``table``; empty for the first of them that is exact.
        requires_python: written into our table where [project] does not say it.

    Raises:
        ProjectError: it cannot be wrapped safely; the message says why.
        MissingDependencyError: tomlkit is not installed.
    """
    tomlkit = load_tomlkit("init")
    document = parse_document(tomlkit, text)
    data, comment = _complete(text)
    choice = choose_form(data, form, requires_python)
    document.setdefault("build-system", tomlkit.table())
    build_system, table = document["build-system"], tomlkit.table()
    build_system.setdefault("requires", list(_REQUIRES))
    table["build-backend"] = tomlkit.item(data["build-system"]["build-backend"])
    if comment:
        table["build-backend"].comment(comment)
    build_system["build-backend"] = "provision_backend"
    if "backend-path" in build_system:
        table["backend-path"] = build_system.pop("backend-path")
    if choice.form == "table":
        # A value without the comment on its line, which stays where it is.
        table["requires"] = tomlkit.value(build_system["requires"].as_string())
        build_system["requires"] = [OWN_NAME]
    else:
        build_system["requires"] = _one_list(tomlkit, build_system["requires"], choice.marker)
    if choice.written_python:
        table["requires-python"] = choice.written_python
    document.setdefault("tool", tomlkit.table(is_super_table=True))
    append_table(tomlkit, document, document["tool"], OWN_NAME, table)
    result = render(document, text)
    real = _check(parse_pyproject(result), data, choice)
    backend = data["build-system"]["build-backend"]
    return Wrapped(result, choice.form, backend, real, backend_notes(backend))


def _complete(text: str) -> Tuple[Dict[str, Any], str]:
    """Return what a file says with what PEP 517 takes for granted, and the comment that says so."""
    data = parse_pyproject(text)
    refuse_unsafe(data)
    comment = "" if "build-backend" in data.get("build-system", {}) else _NO_BACKEND
    if "build-system" not in data:
        comment = _NO_TABLE
    data["build-system"] = {"requires": list(_REQUIRES), "build-backend": _BACKEND, **data.get("build-system", {})}
    return data, comment


def _one_list(tomlkit: Any, requires: Any, marker: str) -> Any:
    """Return an array of requirements with ourselves first, and a marker on each of the others."""
    for index, item in enumerate(list(requires)):
        quoted = marker.replace("'", '"') if '"' in item else marker
        requires[index] = _string(tomlkit, add_marker(str(item), quoted))
    source = requires.as_string().replace("\r\n", "\n")
    # A comment behind the bracket stays there, and one above the first requirement stays above it.
    opening = re.match(r"\[(?:[ \t]*(?:#[^\n]*)?(\n))?([ \t]*)", source)
    if not requires or opening is None:
        return [OWN_NAME]
    separator = f"\n{opening[2]}" if opening[1] else " "
    return tomlkit.value(f'{opening[0]}"{OWN_NAME}",{separator}{source[opening.end() :]}')


def _string(tomlkit: Any, text: str) -> Any:
    # In single quotes, double ones need no escape.
    return tomlkit.string(text, literal='"' in text and "'" not in text)


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
        pairs = itertools.zip_longest(found, requires, fillvalue="")
        wanted = [new if is_marked(new, old, choice.marker) else None for new, old in pairs]
    build_system = {**build_system, "build-backend": "provision_backend", "requires": [OWN_NAME, *wanted]}
    if result != {**data, "build-system": build_system, "tool": {**data.get("tool", {}), OWN_NAME: table}}:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
    return tuple(table.get("requires", wanted))


def unwrap_text(text: str) -> str:
    """Give a project its own build system back.

    The layout of the lines that are moved may differ from that before `wrap_text`, and defaults that it has written
    down stay written. A requirement whose marker is not the one of ``requires-python`` keeps it: a person wrote that.

    Args:
        text: the ``pyproject.toml`` of a project that is wrapped.

    Raises:
        ProjectError: our table has keys that would be lost, or the file cannot be edited safely.
        MissingDependencyError: tomlkit is not installed.
    """
    tomlkit = load_tomlkit("init")
    document, data = parse_document(tomlkit, text), parse_pyproject(text)
    build_system, table = document["build-system"], document["tool"][OWN_NAME]
    if "build-backend" not in table:
        raise ProjectError(f"pyproject.toml: {TABLE}.build-backend is missing, so the real backend is unknown")
    for key in table:
        if key not in (*_MOVED, "requires-python"):
            raise ProjectError(
                f"pyproject.toml: [{TABLE}] has {key!r}, which init does not write and --undo would lose",
                hint="remove it and run this again",
            )
    marker = _marker(data)
    for key in [key for key in _MOVED if key in table]:
        build_system[key] = tomlkit.value(table[key].as_string())
    if "requires" not in table:
        for index, bare in reversed(list(enumerate(_bare(build_system["requires"], marker)))):
            if not bare:
                del build_system["requires"][index]
            elif bare != build_system["requires"][index]:
                build_system["requires"][index] = _string(tomlkit, bare)
    del document["tool"][OWN_NAME]
    if not document["tool"]:
        del document["tool"]
    result = render(document, text).rstrip() + ("\r\n" if "\r\n" in text else "\n")
    _check_restored(parse_pyproject(result), data, marker)
    return result


def _marker(data: Dict[str, Any]) -> str:
    """Return the marker that the requirements of a wrapped project have."""
    own = data["tool"][OWN_NAME].get("requires-python")
    return translate_specifiers(str(own or data.get("project", {}).get("requires-python", ""))) or ""


def _bare(requires: Any, marker: str) -> Tuple[str, ...]:
    """Return requirements without a marker, with an empty text for each that names us."""
    names = (re.match(r"\s*([A-Za-z0-9._-]*)", item) for item in requires)
    others = (drop_marker(item, marker) or drop_marker(item, marker.replace("'", '"')) or item for item in requires)
    return tuple(
        "" if name and normalised_name(name[1]) == OWN_NAME else str(other) for name, other in zip(names, others)
    )


def _check_restored(result: Dict[str, Any], data: Dict[str, Any], marker: str) -> None:
    """Compare what the restored file says with what it must say."""
    expected = copy.deepcopy(data)
    table = expected["tool"].pop(OWN_NAME)
    expected["build-system"].update({key: table[key] for key in _MOVED if key in table})
    if "requires" not in table:
        expected["build-system"]["requires"] = list(filter(None, _bare(data["build-system"]["requires"], marker)))
    if not expected["tool"]:
        del expected["tool"]
    if result != expected:
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not say what it should")
