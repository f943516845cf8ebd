"""What files of pip and uv say that the installer of a build environment would not see by itself.

Of pip, those are its configuration files, of which the inner pip misses some: variables of the environment in, values
by key out, with the file that each comes from. Of uv it is ``[tool.uv.sources]``, which uv heeds for the requirements
of a project, and not for a list of requirements: so the requirements of a build become those of a project of ours, with
the sources that the table names. Nothing here is an error: a file that does not exist is normal, and pip and uv
themselves report what is wrong with one that does.

Source: pip documentation, Configuration; uv documentation, Dependencies: "Dependency sources"; Using workspaces.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Container, Dict, Iterator, List, Mapping, Sequence, Tuple

from ..files import read_file
from ..settings import load_toml
from ..systems import RUNNING
from ..versions import leading_name, normalised_name

__all__ = [
    "configured_variables",
    "is_same_project",
    "pip_variable",
    "read_pip_files",
    "read_table",
    "toml_value",
    "uv_project",
    "workspace",
]


def configured_variables(environ: Mapping[str, str], command: str, options: Container[str]) -> Dict[str, str]:
    """Return variables for what configuration files tell the frontend's pip and not the inner one.

    That is the file of the frontend's own environment, the section of the *command* that the frontend runs, of which
    these *options* count in a build environment, and constraints of build environments, which a pip that installs by
    its command line obeys in further builds only.
    """
    own = os.path.join(sys.prefix, RUNNING.pip_file)
    found, known = read_pip_files(environ, command), read_pip_files(environ)
    keys = [key for key, value in found.items() if key in options and value != known.get(key)]
    keys += [key for key, (_, place) in found.items() if place == own or key == "build-constraint"]
    return {pip_variable(key): found[key][0] for key in keys if not environ.get(pip_variable(key))}


def pip_variable(option: str) -> str:
    """Return the name of the environment variable for an option of pip."""
    return f"PIP_{option.upper().replace('-', '_')}"


def read_pip_files(environ: Mapping[str, str], command: str = "install") -> Dict[str, Tuple[str, str]]:
    """Return the value and the file of each key that a command of the running Python's pip has in its files."""
    import configparser  # Only what installs with pip asks for its files.

    found: Dict[str, Tuple[str, str]] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        with suppress(OSError, UnicodeDecodeError, configparser.Error):
            parser.read_string(read_file(Path(path)).decode("utf-8"))
        # The section of a command overrides [global], whatever their order in the file.
        for section in filter(parser.has_section, ("global", command)):
            found.update({key.replace("_", "-"): (value, path) for key, value in parser.items(section)})
    return found


def _pip_files(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the configuration files that pip reads, existing or not; a later one wins."""
    given = environ.get("PIP_CONFIG_FILE", "")
    if given == os.devnull:
        return
    home = os.path.expanduser("~")
    # macOS has folders of its own beside those of any Unix.
    for base in (*RUNNING.machine_folders(environ), *RUNNING.own_config[1:]):
        yield os.path.join(base, *([] if base == "/etc" else ["pip"]), RUNNING.pip_file)
    yield os.path.join(home, RUNNING.pip_folder, RUNNING.pip_file)
    for base in (RUNNING.user_folder(environ), *map(os.path.expanduser, RUNNING.own_config[:1])):
        yield os.path.join(base, "pip", RUNNING.pip_file)
    yield os.path.join(sys.prefix, RUNNING.pip_file)
    if given:
        yield given


def uv_project(source: Path, requirements: Sequence[str]) -> str:
    """Return a ``pyproject.toml`` by which uv takes PEP 508 requirements from where ``[tool.uv.sources]`` says.

    The source tree may be a member of a workspace. The text has absolute paths, and is empty where the table names none
    of the requirements.
    """
    own = _uv_table(source)
    outer, *_ = members = workspace(source)
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
    lines = [
        "[project]",
        'name = "build-environment"',
        'version = "0"',
        f"dependencies = {toml_value(list(requirements))}",
    ]
    lines += ["[tool.uv]", f"sources = {toml_value(sources)}", f"index = {toml_value(indexes)}"]
    return "\n".join(lines) + "\n"


def workspace(source: Path) -> List[Path]:
    """Return the folders of the uv workspace around a source tree, its root first; the tree alone where it has none."""
    outer = next((folder for folder in (source, *source.parents) if "workspace" in _uv_table(folder)), source)
    members = [outer]
    for pattern in _uv_table(outer).get("workspace", {}).get("members", []):
        members += outer.glob(pattern)
    return members


def is_same_project(one: Path, other: Path) -> bool:
    """Return whether two folders have the project of one name; without one, the same ``pyproject.toml``."""
    names = [_table(folder, "project").get("name") for folder in (one, other)]
    if any(names):
        return names[0] == names[1]
    return _table(one) == _table(other) != {}


def _uv_table(folder: Path) -> Dict[str, Any]:
    return _table(folder, "tool", "uv")


def _table(folder: Path, *keys: str) -> Dict[str, Any]:
    return read_table(folder / "pyproject.toml", *keys)


def read_table(path: Path, *keys: str) -> Dict[str, Any]:
    """Return a table of a file of TOML; empty where there is none, which uv has reported already."""
    try:
        table: Any = load_toml(read_file(path).decode("utf-8"))
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


def toml_value(value: Any) -> str:
    """Return a value, or a key, as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # A JSON string is one of TOML, and so are true and numbers.
