"""Check whether a project can be wrapped, choose the form, and write requires-python as a marker. Pure."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Tuple

from ..errors import ProjectError, UsageError
from ..versions import is_specifier, normalised_name
from .pyproject import OWN_NAME, TABLE, names_us, parse_requirement, read_strings, read_value

__all__ = [
    "add_marker", "backend_notes", "choose_form", "drop_marker", "mark_requirement", "refuse_unsafe",
    "translate_specifiers",
]  # fmt: skip

_REQUIRES = "build-system.requires"

_CLAUSE = re.compile(r"\s*(~=|==|!=|<=|>=|<|>)\s*([0-9][^\s,=]*)\s*")
# In a requirement by URL the semicolon stands behind a space, since a URL may contain one itself.
_BY_URL = re.compile(r"(?P<body>[^;@]*@\s*\S+)(?:(?P<gap>\s+;\s*)(?P<marker>.*))?", re.DOTALL)
_BY_NAME = re.compile(r"(?P<body>[^;]*)(?:(?P<gap>;\s*)(?P<marker>.*))?", re.DOTALL)
# These put a [build-system] of their own into their sdists.
_REWRITERS = ("whey", "coherent")
_MINOR_ONLY = re.compile(r"[0-9]+(\.[0-9]+)?")


def refuse_unsafe(data: Mapping[str, Any], setup_py: str) -> None:
    """Raise `ProjectError` for a project that would not build, or build differently, once it is wrapped.

    It is given as its parsed ``pyproject.toml`` and the text of its ``setup.py``, which may be empty.
    """
    build_system = data.get("build-system", {})
    if "build-system" in data and "requires" not in build_system:
        raise ProjectError(
            "pyproject.toml: build-system.requires is missing, which PEP 518 demands",
            hint='add what the backend needs, for example requires = ["setuptools"], and run this again',
        )
    read_value(build_system, "build-system", "build-backend", str)
    read_strings(build_system, "build-system", "backend-path")
    for text in read_strings(build_system, "build-system", "requires"):
        parse_requirement(text, _REQUIRES)
        if names_us(text):
            raise ProjectError(
                f"pyproject.toml: build-system.requires names {text!r} already, but the build-backend is another one",
                hint="remove it and run this again",
            )
    _refuse_backend(build_system.get("build-backend", ""), data.get("project", {}), setup_py)
    # To build ourselves, a frontend would first have to install us, and so on.
    if normalised_name(str(data.get("project", {}).get("name", ""))) == OWN_NAME:
        raise ProjectError("pyproject.toml: provision-backend cannot be built by itself")


def _refuse_backend(backend: str, project: Mapping[str, Any], setup_py: str) -> None:
    """Refuse a backend that looks for its own name in ``[build-system]``, or writes it there."""
    module = re.split(r"[.:]", backend)[0]
    if module in _REWRITERS:
        raise ProjectError(
            f"pyproject.toml: {backend} writes a [build-system] of its own into each sdist, "
            "so no interpreter would be provisioned for the wheels that are built from it",
            hint="another backend that reads [project], such as flit_core or hatchling, leaves the file as it is",
        )
    # pbr/pyprojecttoml.py takes other projects for ones that only need pbr at run time (pbr 7).
    lost = [name for name in ("version", "dependencies") if name in read_strings(project, "project", "dynamic")]
    if module == "pbr" and lost and not re.search(r"\bpbr\s*=", setup_py):
        raise ProjectError(
            f"pyproject.toml: pbr would leave out the {' and the '.join(lost)}: without a setup.py that asks for it, "
            "it works only where [build-system] names it",
            hint="write a setup.py with 'import setuptools; setuptools.setup(pbr=True)' and a setup.cfg with the name "
            "below [metadata], and run this again",
        )


def mark_requirement(text: str, marker: str) -> str:
    """Return a requirement with a marker, in quotes of the kind that it uses itself."""
    marked = add_marker(text, marker.replace("'", '"') if '"' in text else marker)
    # packaging must read it as the same requirement with that marker.
    new, old = parse_requirement(marked, _REQUIRES), parse_requirement(text, _REQUIRES)
    parts = ("name", "extras", "specifier", "url")
    if new.marker is None or any(getattr(new, part) != getattr(old, part) for part in parts):
        raise ProjectError(f"pyproject.toml: no marker can be added to the requirement {text!r}")
    return marked


def choose_form(data: Mapping[str, Any], form: str, requires_python: str) -> Tuple[str, str]:
    """Choose the form as `provision_backend.project.edit.wrap_text` takes it, and return it with a marker.

    The marker says the same as ``requires-python``, and is empty if no marker does. `ProjectError` is raised if it is
    unknown which Pythons the project needs, or the form would change what the build does; `UsageError` if both the
    project and the command line say which.
    """
    specifiers = _known_python(data, requires_python)
    marker = translate_specifiers(specifiers) or ""
    if form == "one-list" and not marker:
        raise ProjectError(
            f"pyproject.toml: requires-python {specifiers!r} cannot be written as a marker that says the same",
            hint="--form table needs no marker",
        )
    # The frontend installs one list in one run; the table, which always works, needs a second run.
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
    static = read_value(project, "project", "requires-python", str)
    if static is not None and requires_python:
        raise UsageError(
            f"--requires-python is given although project.requires-python in pyproject.toml is {static!r}",
            hint="leave the option out: frontends and package indexes read [project] alone",
        )
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
    # Some backends read build-system.requires themselves, and behave differently if it does not name them.
    tool = data.get("tool", {})
    scikit_build = tool.get("scikit-build")
    if isinstance(scikit_build, dict) and scikit_build.get("minimum-version") == "build-system.requires":
        return "tool.scikit-build.minimum-version reads them there"
    for text in data.get("build-system", {}).get("requires", ()):
        requirement = parse_requirement(text, _REQUIRES)
        # Versions 9.0 and 9.1 wanted only the name there; later ones want the extra "simple" too.
        dynamic = "version" in read_strings(data.get("project", {}), "project", "dynamic")
        switches = normalised_name(requirement.name) == "setuptools-scm" and (dynamic or "simple" in requirement.extras)
        if switches and not {"setuptools_scm", "vcs-versioning"} & set(tool):
            return f"{text!r} there is what switches setuptools-scm on"
    return None


def backend_notes(build_backend: str, data: Mapping[str, Any]) -> Tuple[str, ...]:
    """Return advice for users who wrap this backend in this project."""
    module, notes = re.split(r"[.:]", build_backend)[0], []
    if module == "maturin":
        notes.append(
            "maturin warns that [build-system] does not name it and builds all the same; "
            "MATURIN_NO_MISSING_BUILD_BACKEND_WARNING=1 silences it"
        )
    if module == "hatchling" and "version" in data.get("project", {}).get("dynamic", ()):
        notes.append(
            "'hatch version' sets no version where [build-system] does not name hatchling; "
            "'hatchling version 1.3' does, and so does the file that has it"
        )
    return tuple(notes)


def translate_specifiers(text: str) -> Optional[str]:
    """Translate valid version specifiers into a marker with single quotes; None if no marker says the same.

    That is so for no clause at all, arbitrary equality and epochs.

    Source: PEP 440, Version specifiers; PEP 508, Environment Markers.
    """
    # People write and read python_version, the first two numbers, so it is used wherever it selects the same releases
    # as python_full_version, which is compared as requires-python is. The two differ for pre-releases only: >=3.12
    # excludes 3.12.0rc1, whose python_version is 3.12. There the marker is true although requires-python is not
    # satisfied, never the other way round; so no requirement is ever missing.
    clauses = [_translate(clause) for clause in text.split(",") if clause.strip()]
    return " and ".join(clause for clause in clauses if clause) if clauses and all(clauses) else None


def _translate(clause: str) -> Optional[str]:
    match = _CLAUSE.fullmatch(clause)
    # "===" compares text, and no Python version has an epoch.
    if match is None or "!" in match[2]:
        return None
    operator, version = match[1], match[2]
    variable = "python_full_version"
    if operator in (">=", "<"):
        # A third number of zero is left out: 3.12 and 3.12.0 are the same version.
        short = re.sub(r"^([0-9]+\.[0-9]+)(\.0+)+$", r"\1", version)
        if _MINOR_ONLY.fullmatch(short):
            variable, version = "python_version", short
    elif operator == "~=" and re.fullmatch(r"[0-9]+\.[0-9]+", version):
        variable = "python_version"
    elif re.fullmatch(r"[0-9]+\.[0-9]+\.\*", version):
        variable, version = "python_version", version[:-2]
    return f"{variable} {operator} '{version}'"


def add_marker(requirement: str, marker: str) -> str:
    """Return a requirement that applies only if the marker and its own one are true; every character of it is kept."""
    match = _BY_URL.fullmatch(requirement) or _BY_NAME.fullmatch(requirement)
    if match is None or match["marker"] is None:
        # Without the space, the semicolon and the marker would be taken for a part of the URL.
        gap = " ; " if _BY_URL.fullmatch(requirement) else "; "
        return f"{requirement}{gap}{marker}"
    return f"{match['body']}{match['gap']}({match['marker']}) and ({marker})"


def drop_marker(requirement: str, marker: str) -> Optional[str]:
    """Return the requirement to which `add_marker` added the marker, or None if it did not."""
    for ending, closing in ((f") and ({marker})", "("), (f" ; {marker}", ""), (f"; {marker}", "")):
        if not requirement.endswith(ending):
            continue
        body = requirement[: -len(ending)]
        if closing:
            body = re.sub(r"(;\s*)\(", r"\1", body, count=1)
        if add_marker(body, marker) == requirement:
            return body
    return None
