"""A REQUEST of the command line → `Wanted`: a version, a specifier, or what the project in this folder wants."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from ..errors import ProjectError
from ..output import Reporter
from ..project.plan import make_plan
from ..project.pyproject import OWN_NAME, Project, parse_pyproject, read_project, read_text
from ..project.wanted import Wanted
from ..settings import Settings
from ..versions import is_specifier, parse_request

__all__ = ["PROJECT", "wanted_for"]

PROJECT = "."
"""The REQUEST that stands for the project in the current folder."""


def wanted_for(text: str, settings: Settings, reporter: Reporter) -> Wanted:
    """Return which interpreter is meant.

    Args:
        text: a request as for `parse_request`, or `PROJECT`.
        settings: for a project, their ``python`` stands before what it says, as in a build.
        reporter: told where the project is locked and the lock is not used.

    Raises:
        UsageError: it is no request.
        ProjectError: the project's ``pyproject.toml`` is missing or not of its form.
    """
    if text != PROJECT:
        return Wanted("", parse_request(text, source="REQUEST"))
    folder = Path.cwd()
    try:
        project = _read_unwrapped(folder) or read_project(folder)
    except ProjectError as exc:
        exc.hint = exc.hint or "name a version such as 3.13, or go to the folder of a project"
        raise
    plan = make_plan(project, settings)
    if plan.note:
        reporter.info(plan.note)
    return plan.wanted


def _read_unwrapped(folder: Path) -> Optional[Project]:
    """Read a project that does not build with us, of which only its versions matter here; None where it does."""
    try:
        data = parse_pyproject(read_text(folder))
    except ProjectError:
        return None  # Reading it as a project of ours says what is wrong.
    if OWN_NAME in data.get("tool", {}):
        return None
    requires_python = data.get("project", {}).get("requires-python", "")
    if not isinstance(requires_python, str) or not is_specifier(requires_python):
        raise ProjectError("pyproject.toml: project.requires-python must be a version specifier")
    return Project(
        root=folder,
        build_backend="",
        requires=(),
        one_list=False,
        backend_path=(),
        requires_python=requires_python,
        python=None,
        installer="",
    )
