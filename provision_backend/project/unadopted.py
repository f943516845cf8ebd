"""Read a project that may not have adopted provision_backend: its own ``[build-system]``, and what its metadata says.

A project whose ``build-backend`` is provision_backend is read by `read_project`. Of any other one the backend, the
requirements and the folders of the backend are those that every frontend uses. Its name, version and
``requires-python`` stand in ``[project]``, in the ``PKG-INFO`` of an sdist, or in files of older backends; what those
compute is unknown until there is an sdist.

Source: PEP 517 and PEP 518; PEP 621; PEP 643, "Metadata for Package Source Distributions".
"""

from __future__ import annotations

import configparser
import re
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from ..errors import ProjectError, UsageError
from ..files import read_file
from ..output import shorten
from ..versions import is_specifier
from .pyproject import (
    Project,
    parse_pyproject,
    parse_requirement,
    read_backend,
    read_backend_path,
    read_project,
    read_strings,
    read_text,
    read_value,
)

__all__ = ["is_adopted", "read_any_project", "read_document", "read_source_text"]

_LEGACY = "setuptools.build_meta:__legacy__"  # PEP 517, for a project that names no backend
_METADATA = ("Name", "Version", "Requires-Python")

Facts = Tuple[str, str, str]
"""Name, version and requires-python of a project, each empty where it is unknown."""


def read_any_project(root: Path) -> Project:
    """Read the project in an absolute folder, whether it has adopted provision_backend or not.

    The requirements of a project that has not are those of its ``[build-system]``, and its name and version may be
    unknown until its sdist is made.

    Raises:
        UsageError: the folder has neither a ``pyproject.toml`` nor a ``setup.py``.
        ProjectError: a file is unreadable or malformed.
    """
    document = read_document(root)
    if is_adopted(document):
        project = read_project(root)
        name, version, _ = _metadata(root)
        return project._replace(name=name or project.name, version=version or project.version)
    section, build_system = "build-system", document.get("build-system")
    if build_system is None:
        build_system = {"requires": ["setuptools"]}
    if "requires" not in build_system:
        raise ProjectError(
            "pyproject.toml: build-system.requires is missing", hint="PEP 518 has every [build-system] name it"
        )
    requires = tuple(read_strings(build_system, section, "requires"))
    for text in requires:
        parse_requirement(text, f"{section}.requires")
    name, version, requires_python = _facts(document, root)
    if not is_specifier(requires_python):
        raise ProjectError(
            f"requires-python of the project must be a version specifier such as '>=3.12', "
            f"found {shorten(requires_python)!r}"
        )
    return Project(
        root=root,
        build_backend=read_backend(build_system, section) or _LEGACY,
        requires=requires,
        one_list=True,
        backend_path=read_backend_path(build_system, section, root),
        requires_python=requires_python.strip(),
        name=name,
        version=version,
    )


def is_adopted(document: Mapping[str, Any]) -> bool:
    """Tell whether the project of a parsed ``pyproject.toml`` is built through provision_backend."""
    backend = read_backend(document.get("build-system", {}), "build-system")
    return backend is not None and re.split("[.:]", backend)[0] == "provision_backend"


def read_document(root: Path) -> Dict[str, Any]:
    """Return the parsed ``pyproject.toml`` of a folder, empty for one that has a ``setup.py`` alone."""
    try:
        return parse_pyproject(read_text(root))
    except UsageError:
        if not (root / "setup.py").is_file():
            raise UsageError(f"there is neither a pyproject.toml nor a setup.py in {str(root)!r}") from None
    return {}


def read_source_text(root: Path, name: str) -> str:
    """Return the text of a file of a project for a look at it; empty where it does not exist or cannot be read."""
    with suppress(OSError):
        return read_file(root / name).decode("utf-8", "replace")
    return ""


def _facts(document: Mapping[str, Any], root: Path) -> Facts:
    """Return what is known of a project; what an sdist says of itself comes first."""
    project = document.get("project", {})
    dynamic = read_strings(project, "project", "dynamic")
    static = tuple(
        "" if key in dynamic else read_value(project, "project", key, str) or ""
        for key in ("name", "version", "requires-python")
    )
    places = [_metadata(root), (static[0], static[1], static[2])]
    if not project or "requires-python" in dynamic:
        places += [_setup_cfg(root), _setup_py(root), _other_tools(document)]
    name, version, requires_python = (next(filter(None, found), "") for found in zip(*places))
    return name, version, requires_python


def _metadata(root: Path) -> Facts:
    # A folder that somebody works in has none at the top; an sdist always has (PEP 643 and before).
    headers = HeaderParser().parsestr(read_source_text(root, "PKG-INFO"))
    name, version, requires_python = (str(headers.get(key) or "").strip() for key in _METADATA)
    return name, version, requires_python


def _setup_cfg(root: Path) -> Facts:
    parser = configparser.RawConfigParser()
    with suppress(configparser.Error):
        parser.read_string(read_source_text(root, "setup.cfg"))
    version = parser.get("metadata", "version", fallback="")
    # "attr:" and "file:" name where it is computed from.
    computed = version.startswith(("attr:", "file:"))
    requires_python = parser.get("options", "python_requires", fallback="")
    return parser.get("metadata", "name", fallback=""), "" if computed else version, requires_python.strip()


def _setup_py(root: Path) -> Facts:
    # It is a program, which is not run for this; most write these as they are.
    text = read_source_text(root, "setup.py")
    found = [re.search(rf"\b{key}\s*=\s*(['\"])([^'\"]+)\1", text) for key in ("name", "version", "python_requires")]
    name, version, requires_python = (match[2].strip() if match else "" for match in found)
    return name, version, requires_python if is_specifier(requires_python) else ""


def _other_tools(document: Mapping[str, Any]) -> Facts:
    """Return what Poetry before 2.0 and flit before 3.2 have in tables of their own."""
    tool = document.get("tool", {})
    poetry, flit = tool.get("poetry"), tool.get("flit")
    if isinstance(poetry, dict):
        dependencies = poetry.get("dependencies")
        python = dependencies.get("python", "") if isinstance(dependencies, dict) else ""
        return str(poetry.get("name", "")), str(poetry.get("version", "")), _from_poetry(str(python))
    metadata = flit.get("metadata") if isinstance(flit, dict) else None
    if isinstance(metadata, dict):
        return str(metadata.get("module", "")), "", str(metadata.get("requires-python", ""))
    return "", "", ""


def _from_poetry(text: str) -> str:
    """Return the specifiers of Poetry's own notation, empty for one that only Poetry understands."""
    found = []
    for clause in filter(None, (each.strip() for each in text.split(","))):
        caret = re.fullmatch(r"\^\s*(\d+)((?:\.\d+)*)", clause)
        # "^3.8" allows what does not change the first number, "*" everything.
        found.append(f">={caret[1]}{caret[2]},<{int(caret[1]) + 1}" if caret else "" if clause == "*" else clause)
    specifiers = ",".join(filter(None, found))
    return specifiers if is_specifier(specifiers) else ""
