"""What a ``pyproject.toml`` says before it is wrapped: what is needed from it, or why it stays as it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from packaging.requirements import InvalidRequirement, Requirement

from ..errors import ProjectError
from ..versions import is_specifier, normalised_name
from .init_markers import add_marker, translate_specifiers
from .pyproject import OWN_NAME, TABLE, parse_pyproject

__all__ = ["Choice", "backend_notes", "choose_form", "is_marked", "is_wrapped", "load_data", "refuse_unsafe"]


@dataclass(frozen=True)
class Choice:
    """How the requirements are written, and what decides it."""

    form: str
    """``one-list`` or ``table``."""
    marker: str
    """What ``requires-python`` says as a marker; empty where none says the same."""
    written_python: str
    """What to write as ``requires-python`` into our table; empty where [project] has it."""


def load_data(text: str) -> Dict[str, Any]:
    """Return what a file says.

    Raises:
        ProjectError: the text is not TOML, or one of the tables that matter here is none.
    """
    data = parse_pyproject(text.encode("utf-8"))
    for name in ("build-system", "project", "tool"):
        if not isinstance(data.get(name, {}), dict):
            raise ProjectError(f"pyproject.toml: {name} must be a table")
    return data


def is_wrapped(data: Mapping[str, Any]) -> bool:
    """Tell whether a project names us already.

    Raises:
        ProjectError: it does so by half: as its backend or with our table only.
    """
    backend = data.get("build-system", {}).get("build-backend")
    table = OWN_NAME in data.get("tool", {})
    if table and not isinstance(data["tool"][OWN_NAME], dict):
        raise ProjectError(f"pyproject.toml: {TABLE} must be a table")
    if backend == "provision_backend":
        if table:
            return True
        raise ProjectError(
            f"pyproject.toml: the build-backend is provision_backend already, but [{TABLE}] is missing",
            hint="the real backend is not known; name it there, or put it back into [build-system] and run this again",
        )
    if table:
        raise ProjectError(
            f"pyproject.toml: [{TABLE}] is there, but the build-backend is {backend!r}",
            hint='write build-backend = "provision_backend" in [build-system], or remove the table and run this again',
        )
    return False


def refuse_unsafe(data: Mapping[str, Any]) -> None:
    """Refuse what would not build, or not build the same, once it is wrapped.

    Raises:
        ProjectError: with the reason.
    """
    build_system = data.get("build-system")
    if build_system is not None:
        _refuse_wrong_types(build_system)
    for text in (build_system or {}).get("requires", ()):
        if normalised_name(_requirement(text).name) == OWN_NAME:
            raise ProjectError(
                f"pyproject.toml: build-system.requires names {text!r} already, but the build-backend is another one",
                hint="remove it and run this again",
            )
    if normalised_name(str(data.get("project", {}).get("name", ""))) == OWN_NAME:
        raise ProjectError("pyproject.toml: provision-backend cannot be built by itself")


def _refuse_wrong_types(build_system: Mapping[str, Any]) -> None:
    if "requires" not in build_system:
        raise ProjectError(
            "pyproject.toml: build-system.requires is missing, which PEP 518 demands",
            hint='add what the backend needs, for example requires = ["setuptools"], and run this again',
        )
    for key, wanted in (("requires", list), ("build-backend", str), ("backend-path", list)):
        value = build_system.get(key, wanted())
        if not isinstance(value, wanted) or not all(isinstance(item, str) for item in value):
            kind = "a string" if wanted is str else "an array of strings"
            raise ProjectError(f"pyproject.toml: build-system.{key} must be {kind}")


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).splitlines()[0]
        raise ProjectError(
            f"pyproject.toml: build-system.requires holds {text!r}, not a requirement: {reason}"
        ) from None


def is_marked(text: str, original: str, marker: str) -> bool:
    """Tell whether a requirement is the original one with a marker, in either kind of quotes."""
    if text not in (add_marker(original, marker), add_marker(original, marker.replace("'", '"'))):
        return False
    new, old = _requirement(text), _requirement(original)
    parts = ("name", "extras", "specifier", "url")
    return new.marker is not None and all(getattr(new, part) == getattr(old, part) for part in parts)


def choose_form(data: Mapping[str, Any], form: str, requires_python: str) -> Choice:
    """Decide where the real requirements are written.

    Args:
        data: what the file says.
        form: ``one-list`` or ``table``; empty for the first of them that is exact.
        requires_python: stands in for what [project] does not say; empty for nothing.

    Raises:
        ProjectError: nobody says which Pythons the project needs, or the form would change what the build does.
    """
    specifiers = _known_python(data, requires_python)
    marker = translate_specifiers(specifiers) or ""
    if form == "one-list" and not marker:
        raise ProjectError(
            f"pyproject.toml: requires-python {specifiers!r} cannot be written as a marker that says the same",
            hint="--form table needs no marker",
        )
    chosen = form or ("one-list" if marker else "table")
    reader = _reader_of_requires(data) if chosen == "table" else None
    if reader:
        raise ProjectError(
            f"pyproject.toml: the requirements cannot move out of build-system.requires: {reader}",
            hint="--form one-list leaves them there" if marker else "",
        )
    return Choice(chosen, marker, requires_python.strip())


def _known_python(data: Mapping[str, Any], requires_python: str) -> str:
    project = data.get("project", {})
    static = project.get("requires-python")
    if static is not None and requires_python:
        raise ProjectError(f"pyproject.toml: --requires-python is given although project.requires-python is {static!r}")
    text = static if static is not None else requires_python
    if not isinstance(text, str):
        raise ProjectError("pyproject.toml: project.requires-python must be a string")
    if not text.strip():
        raise ProjectError(f"pyproject.toml: {_why_unknown(data)}", hint=_how_to_tell(data))
    if not is_specifier(text):
        raise ProjectError(
            f"pyproject.toml: requires-python must be a version specifier such as '>=3.12', found {text!r}"
        )
    return text


def _is_dynamic(data: Mapping[str, Any]) -> bool:
    dynamic = data.get("project", {}).get("dynamic")
    return isinstance(dynamic, list) and "requires-python" in dynamic


def _why_unknown(data: Mapping[str, Any]) -> str:
    if _is_dynamic(data):
        return "project.requires-python is dynamic, so it is not known before the build"
    return "project.requires-python is missing, so any Python will do and none would ever be provisioned"


def _how_to_tell(data: Mapping[str, Any]) -> str:
    if "project" in data and not _is_dynamic(data):
        return 'write it there, for example requires-python = ">=3.12"'
    return f"--requires-python '>=3.X' writes it into [{TABLE}]; keep it equal to the one that the backend reads"


def _reader_of_requires(data: Mapping[str, Any]) -> Optional[str]:
    tool = data.get("tool", {})
    scikit_build = tool.get("scikit-build")
    if isinstance(scikit_build, dict) and scikit_build.get("minimum-version") == "build-system.requires":
        return "tool.scikit-build.minimum-version reads them there"
    for text in data.get("build-system", {}).get("requires", ()):
        requirement = _requirement(text)
        simple = normalised_name(requirement.name) == "setuptools-scm" and "simple" in requirement.extras
        if simple and "setuptools_scm" not in tool:
            return f"{text!r} there is what switches setuptools-scm on"
    return None


def backend_notes(build_backend: str) -> Tuple[str, ...]:
    """Return what a person should know who wraps this backend."""
    if re.split(r"[.:]", build_backend)[0] != "maturin":
        return ()
    variable = "MATURIN_NO_MISSING_BUILD_BACKEND_WARNING"
    return (f"maturin warns that [build-system] does not name it and builds all the same; {variable}=1 silences it",)
