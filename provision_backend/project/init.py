"""Edit the text of a ``pyproject.toml`` so that the project builds through us, and back; nothing is written here.

``build-backend`` in ``[build-system]`` then names us, ``requires`` begins with us, and ``[tool.provision-backend]`` has
the keys that moved there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Tuple

from ..errors import ProjectError
from .edit import append_table, load_tomlkit, parse_document, render, update_table
from .init_checks import backend_notes, choose_form, drop_marker, mark_requirement, refuse_unsafe, translate_specifiers
from .pyproject import OWN_NAME, TABLE, names_us, parse_pyproject

__all__ = ["Wrapped", "unwrap_text", "wrap_text"]

# The defaults of PEP 517 and PEP 518. The comments tell the reader that the project had not written them.
_REQUIRES, _BACKEND = ("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__"
_NO_TABLE = "the default where there is no [build-system]"
_NO_BACKEND = "the default where no build-backend is named"


@dataclass(frozen=True)
class Wrapped:
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
    """Wrap a project that is not wrapped yet.

    Args:
        text: its ``pyproject.toml``.
        form: ``one-list`` or ``table``; empty for the first of them that is exact.
        requires_python: written into our table if [project] does not have it.
        setup_py: the text of its ``setup.py``, if it has one.
    """
    tomlkit = load_tomlkit("init")
    document, data = parse_document(tomlkit, text), parse_pyproject(text)
    refuse_unsafe(data, setup_py)
    comment = _NO_BACKEND if "build-system" in data else _NO_TABLE
    build_system = {"requires": list(_REQUIRES), "build-backend": _BACKEND, **data.get("build-system", {})}
    chosen, marker = choose_form({**data, "build-system": build_system}, form, requires_python)
    wanted = _wrapped(data, build_system, marker if chosen == "one-list" else "")
    if requires_python.strip():
        wanted["tool"][OWN_NAME]["requires-python"] = requires_python.strip()
    document.setdefault("build-system", tomlkit.table())
    document.setdefault("tool", tomlkit.table(is_super_table=True))
    table = tomlkit.table()
    update_table(tomlkit, table, wanted["tool"][OWN_NAME], source=document["build-system"])
    if "build-backend" not in data.get("build-system", {}):
        table["build-backend"].comment(comment)
    update_table(tomlkit, document["build-system"], wanted["build-system"])
    append_table(tomlkit, document, document["tool"], OWN_NAME, table)
    # The first requirement of the frontend's list is ourselves.
    requires = wanted["tool"][OWN_NAME].get("requires", wanted["build-system"]["requires"][1:])
    backend = build_system["build-backend"]
    return Wrapped(render(document, text, wanted), chosen, backend, tuple(requires), backend_notes(backend, data))


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
    return {**data, "build-system": outer, "tool": {**data.get("tool", {}), OWN_NAME: table}}


def unwrap_text(text: str) -> str:
    """Give a project its own build system back.

    The lines that move may have another layout than before `wrap_text`, and the defaults that it wrote stay. A marker
    that is not the one of ``requires-python`` stays, too, since a person wrote it.
    """
    tomlkit = load_tomlkit("init")
    document, data = parse_document(tomlkit, text), parse_pyproject(text)
    table = data["tool"].pop(OWN_NAME)
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
    del document["tool"][OWN_NAME]
    if not data["tool"]:
        del document["tool"], data["tool"]
    # Removing our table at the end of a file leaves an empty line.
    return render(document, text, data).rstrip() + ("\r\n" if "\r\n" in text else "\n")
