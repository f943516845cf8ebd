"""Write the project by which uv fills a build environment from where ``[tool.uv.sources]`` says.

uv heeds that table for the requirements of a project, and not for a list of requirements. So the requirements of a
build become those of a project of ours, with the sources that the table names.

Source: uv documentation, Dependencies: "Dependency sources"; Using workspaces.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Sequence

from ..files import read_file
from ..settings import load_toml
from ..versions import leading_name, normalised_name

__all__ = ["uv_project"]


def uv_project(source: Path, requirements: Sequence[str]) -> str:
    """Return a ``pyproject.toml`` by which uv takes PEP 508 requirements from where ``[tool.uv.sources]`` says.

    The source tree may be a member of a workspace. The text has absolute paths, and is empty where the table names none
    of the requirements.
    """
    own = _uv_table(source)
    outer = next((folder for folder in (source, *source.parents) if "workspace" in _uv_table(folder)), source)
    members = [outer]
    for pattern in _uv_table(outer).get("workspace", {}).get("members", []):
        members += outer.glob(pattern)
    names = {leading_name(text) for text in requirements}
    sources: Dict[str, Any] = {}
    # The project's own entries come before those of the workspace that it is a member of.
    for folder in [outer, source] if source in members else [source]:
        for name, entries in _uv_table(folder).get("sources", {}).items():
            if normalised_name(name) in names:
                listed = entries if isinstance(entries, list) else [entries]
                sources[name] = [_absolute_source(name, dict(entry), folder, members) for entry in listed]
    if not sources:
        return ""
    indexes = [*own.get("index", []), *(_uv_table(outer).get("index", []) if outer != source else [])]
    lines = ["[project]", 'name = "build-environment"', 'version = "0"', f"dependencies = {_toml(list(requirements))}"]
    lines += ["[tool.uv]", f"sources = {_toml(sources)}", f"index = {_toml(indexes)}"]
    return "\n".join(lines) + "\n"


def _uv_table(folder: Path) -> Dict[str, Any]:
    return _table(folder, "tool", "uv")


def _table(folder: Path, *keys: str) -> Dict[str, Any]:
    """Return a table of a folder's ``pyproject.toml``; empty where there is none, which uv has reported already."""
    try:
        table: Any = load_toml(read_file(folder / "pyproject.toml").decode("utf-8"))
        for key in keys:
            table = table[key]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return table if isinstance(table, dict) else {}


def _absolute_source(name: str, entry: Dict[str, Any], folder: Path, members: Sequence[Path]) -> Dict[str, Any]:
    if entry.pop("workspace", False):
        named = [(normalised_name(str(_table(member, "project").get("name", ""))), member) for member in members]
        found = [member for its_name, member in named if its_name == normalised_name(name)]
        entry["path"] = str(found[0]) if found else name  # uv reports what it does not find.
    if "path" in entry:
        entry["path"] = os.path.join(str(folder), entry["path"])
    return entry


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # A JSON string is one of TOML, and so are true and numbers.
