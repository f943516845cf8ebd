"""Whether and how a project can be wrapped: what is refused, which form it gets, and its new markers. Pure."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Tuple

from packaging.requirements import InvalidRequirement, Requirement

from ..errors import ProjectError
from ..versions import is_specifier, normalised_name
from .pyproject import OWN_NAME, TABLE, names_us, read_string, read_strings

__all__ = [
    "add_marker",
    "backend_notes",
    "choose_form",
    "drop_marker",
    "mark_requirement",
    "refuse_unsafe",
    "translate_specifiers",
]

_CLAUSE = re.compile(r"\s*(~=|==|!=|<=|>=|<|>)\s*([0-9][^\s,=]*)\s*")
# In a requirement by URL the semicolon stands behind a space, since a URL may hold one itself.
_BY_URL = re.compile(r"(?P<body>[^;@]*@\s*\S+)(?:(?P<gap>\s+;\s*)(?P<marker>.*))?", re.DOTALL)
_BY_NAME = re.compile(r"(?P<body>[^;]*)(?:(?P<gap>;\s*)(?P<marker>.*))?", re.DOTALL)
_MINOR_ONLY = re.compile(r"[0-9]+(\.[0-9]+)?")


def refuse_unsafe(data: Mapping[str, Any]) -> None:
    """Refuse what would not build, or not build the same, once it is wrapped.

    Raises:
        ProjectError: with the reason.
    """
    build_system = data.get("build-system", {})
    if "build-system" in data and "requires" not in build_system:
        raise ProjectError(
            "pyproject.toml: build-system.requires is missing, which PEP 518 demands",
            hint='add what the backend needs, for example requires = ["setuptools"], and run this again',
        )
    read_string(build_system, "build-system", "build-backend")
    read_strings(build_system, "build-system", "backend-path")
    for text in read_strings(build_system, "build-system", "requires"):
        _requirement(text)
        if names_us(text):
            raise ProjectError(
                f"pyproject.toml: build-system.requires names {text!r} already, but the build-backend is another one",
                hint="remove it and run this again",
            )
    # A build of ourselves that needs us installed would never begin.
    if normalised_name(str(data.get("project", {}).get("name", ""))) == OWN_NAME:
        raise ProjectError("pyproject.toml: provision-backend cannot be built by itself")


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).splitlines()[0]
        raise ProjectError(
            f"pyproject.toml: build-system.requires holds {text!r}, not a requirement: {reason}"
        ) from None


def mark_requirement(text: str, marker: str) -> str:
    """Return a requirement with a marker, in the kind of quotes that goes with its own.

    Raises:
        ProjectError: packaging does not read the result as the same requirement with that marker.
    """
    marked = add_marker(text, marker.replace("'", '"') if '"' in text else marker)
    new, old = _requirement(marked), _requirement(text)
    parts = ("name", "extras", "specifier", "url")
    if new.marker is None or any(getattr(new, part) != getattr(old, part) for part in parts):
        raise ProjectError(f"pyproject.toml: no marker can be added to the requirement {text!r}")
    return marked


def choose_form(data: Mapping[str, Any], form: str, requires_python: str) -> Tuple[str, str]:
    """Decide where the real requirements are written.

    Args:
        data: what the file says.
        form: ``one-list`` or ``table``; empty for the first of them that is exact.
        requires_python: used where [project] has none; may be empty.

    Returns:
        The form, and ``requires-python`` as a marker, which is empty where no marker says the same.

    Raises:
        ProjectError: which Pythons the project needs is unknown, or the form would change what the build does.
    """
    specifiers = _known_python(data, requires_python)
    marker = translate_specifiers(specifiers) or ""
    if form == "one-list" and not marker:
        raise ProjectError(
            f"pyproject.toml: requires-python {specifiers!r} cannot be written as a marker that says the same",
            hint="--form table needs no marker",
        )
    # One list is installed by the frontend in one run; the table, which always works, needs a second one.
    chosen = form or ("one-list" if marker else "table")
    reader = _reader_of_requires(data) if chosen == "table" else None
    if reader:
        raise ProjectError(
            f"pyproject.toml: the requirements cannot move out of build-system.requires: {reader}",
            hint="--form one-list leaves them there" if marker else "",
        )
    return chosen, marker


def _known_python(data: Mapping[str, Any], requires_python: str) -> str:
    project = data.get("project", {})
    static = read_string(project, "project", "requires-python")
    if static is not None and requires_python:
        raise ProjectError(f"pyproject.toml: --requires-python is given although project.requires-python is {static!r}")
    text = static if static is not None else requires_python
    if not text.strip():
        dynamic = "requires-python" in read_strings(project, "project", "dynamic")
        reason = "missing, so any Python will do and none would ever be provisioned"
        hint = f"--requires-python '>=3.X' writes it into [{TABLE}]; keep it equal to the one that the backend reads"
        if dynamic:
            reason = "dynamic, so it is not known before the build"
        elif project:
            hint = 'write it there, for example requires-python = ">=3.12"'
        raise ProjectError(f"pyproject.toml: project.requires-python is {reason}", hint=hint)
    if not is_specifier(text):
        raise ProjectError(
            f"pyproject.toml: requires-python must be a version specifier such as '>=3.12', found {text!r}"
        )
    return text


def _reader_of_requires(data: Mapping[str, Any]) -> Optional[str]:
    # Some backends look into build-system.requires themselves, and behave differently where it does not name them.
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
    """Return advice for people who wrap this backend."""
    if re.split(r"[.:]", build_backend)[0] != "maturin":
        return ()
    variable = "MATURIN_NO_MISSING_BUILD_BACKEND_WARNING"
    return (f"maturin warns that [build-system] does not name it and builds all the same; {variable}=1 silences it",)


def translate_specifiers(text: str) -> Optional[str]:
    """Translate version specifiers into a marker, clause by clause in their order.

    ``python_version``, the first two numbers, is what people write and read, so it is used wherever it selects the same
    releases as ``python_full_version``, which is compared as ``requires-python`` is.

    Args:
        text: valid specifiers such as ``>=3.9,<3.14``.

    Returns:
        A marker whose strings are in single quotes, or None where there is no marker that says the same: no clause at
        all, arbitrary equality, an epoch.

    Source:
        PEP 440, Version specifiers; PEP 508, Environment Markers.
    """
    # The two differ for pre-releases only: >=3.12 excludes 3.12.0rc1, whose python_version is 3.12. There the marker is
    # true although requires-python is not satisfied, never the other way round; so no requirement is ever missing.
    clauses = [_translate(clause) for clause in text.split(",") if clause.strip()]
    return " and ".join(clause for clause in clauses if clause) if clauses and all(clauses) else None


def _translate(clause: str) -> Optional[str]:
    match = _CLAUSE.fullmatch(clause)
    # "===" compares text, and an epoch is nothing that a Python has.
    if match is None or "!" in match[2]:
        return None
    operator, version = match[1], match[2]
    variable = "python_full_version"
    if operator in (">=", "<"):
        # A third number is left out where it is zero: 3.12 and 3.12.0 are the same version.
        short = re.sub(r"^([0-9]+\.[0-9]+)(\.0+)+$", r"\1", version)
        if _MINOR_ONLY.fullmatch(short):
            variable, version = "python_version", short
    elif operator == "~=" and re.fullmatch(r"[0-9]+\.[0-9]+", version):
        variable = "python_version"
    elif re.fullmatch(r"[0-9]+\.[0-9]+\.\*", version):
        variable, version = "python_version", version[:-2]
    return f"{variable} {operator} '{version}'"


def add_marker(requirement: str, marker: str) -> str:
    """Return a requirement that applies only where the marker is true, and where its own one is.

    Args:
        requirement: PEP 508; every character of it is kept.
        marker: as of `translate_specifiers`.
    """
    match = _BY_URL.fullmatch(requirement) or _BY_NAME.fullmatch(requirement)
    if match is None or match["marker"] is None:
        # Without the space, the semicolon and the marker would be taken for a part of the URL.
        gap = " ; " if _BY_URL.fullmatch(requirement) else "; "
        return f"{requirement}{gap}{marker}"
    return f"{match['body']}{match['gap']}({match['marker']}) and ({marker})"


def drop_marker(requirement: str, marker: str) -> Optional[str]:
    """Return the requirement that `add_marker` made this one of, or None where it did not."""
    for ending, closing in ((f") and ({marker})", "("), (f" ; {marker}", ""), (f"; {marker}", "")):
        if not requirement.endswith(ending):
            continue
        body = requirement[: -len(ending)]
        if closing:
            body = re.sub(r"(;\s*)\(", r"\1", body, count=1)
        if add_marker(body, marker) == requirement:
            return body
    return None
