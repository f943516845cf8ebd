"""``provision-backend init``: edit a project's ``pyproject.toml`` so that it builds with us, or undo that."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Tuple

from ..errors import ProjectError, UsageError
from ..files import read_file
from ..output import Reporter, redact_text, shorten
from ..project.edit import Wrapped, apply_changes, load_tomlkit, unwrap_text, wrap_text
from ..project.pyproject import is_wrapped, parse_pyproject, read_project, read_text, read_wrapped
from ..settings import Settings
from ..versions import is_specifier
from .answers import Answer, edit_answer
from .parser import PROJECT, existing_folder
from .registry import argument, flag

__all__ = ["ARGUMENTS", "run"]


_FORM = "where the real requirements go; default one-list where requires-python can be a marker"

ARGUMENTS = {
    "init": [
        PROJECT,
        flag("--check", "write nothing; exit with 1 if something would change"),
        flag("--undo", "give the project its own build system back"),
        ("--form", {"choices": ("one-list", "table"), "help": _FORM}),
        argument("--requires-python", "SPECIFIER", "for a project whose [project] does not have it, such as '>=3.12'"),
    ]
}


def run(arguments: argparse.Namespace, _settings: Settings, reporter: Reporter) -> Answer:
    """Wrap a project's real backend, or undo that; the exit code is 1 if ``--check`` found something to change."""
    root = existing_folder(arguments.directory)
    requires_python = arguments.requires_python
    if arguments.undo and (arguments.form or requires_python is not None):
        raise UsageError("--undo cannot be combined with --form or --requires-python")
    if requires_python is not None and not (requires_python.strip() and is_specifier(requires_python)):
        found = shorten(requires_python)
        raise UsageError(f"--requires-python must be a version specifier such as '>=3.12', found {found!r}")
    # A missing package is reported before any problem of the project.
    load_tomlkit("init")
    try:
        text = read_text(root)
    except UsageError as exc:
        # setuptools builds a project without a pyproject.toml, so one may be missing on purpose.
        if not arguments.undo and any(os.path.isfile(root / name) for name in ("setup.py", "setup.cfg")):
            exc.hint = "create an empty one and run this again with --requires-python '>=3.X'"
        raise
    result, summary = _undo(text) if arguments.undo else _wrap(root, text, arguments)
    diff = apply_changes(root, {"pyproject.toml": (text, result.text)}, check=arguments.check)
    for line in (summary, *(f"note: {note}" for note in result.notes)):
        reporter.info(line)
    data: Dict[str, Any] = {"form": result.form or None, "build-backend": result.build_backend or None}
    # A requirement may be an address with a password. The diff stays as it is, since patch applies it.
    data.update({"requires": list(map(redact_text, result.requires)), "notes": list(map(redact_text, result.notes))})
    return edit_answer(root / "pyproject.toml", diff, data, check=arguments.check)


def _wrap(root: Path, text: str, arguments: argparse.Namespace) -> Tuple[Wrapped, str]:
    # Running the command twice is no error, so that a script can go through many projects.
    if is_wrapped(parse_pyproject(text)):
        project = read_wrapped(root)
        form = "one-list" if project.one_list else "table"
        summary = f"nothing to do: pyproject.toml is wrapped already, its real backend is {project.build_backend}"
        return Wrapped(text, form, project.build_backend, project.requires), summary
    setup_py = ""
    with contextlib.suppress(OSError):
        setup_py = read_file(root / "setup.py").decode("utf-8", "replace")
    options = {"form": arguments.form or "", "requires_python": arguments.requires_python or ""}
    wrapped = wrap_text(text, setup_py=setup_py, **options)
    # The result is read as a build would read it before it replaces the file.
    project = read_project(root, wrapped.text)
    if (project.build_backend, project.requires) != (wrapped.build_backend, wrapped.requires):
        raise ProjectError("pyproject.toml cannot be edited safely: a build would read the result differently")
    if arguments.check:
        return wrapped, f"wraps {wrapped.build_backend}"
    return wrapped, f"wrapped {wrapped.build_backend}; 'provision-backend init --undo' reverts it"


def _undo(text: str) -> Tuple[Wrapped, str]:
    if not is_wrapped(parse_pyproject(text)):
        return Wrapped(text, "", "", ()), "nothing to do: pyproject.toml is not wrapped"
    before = unwrap_text(text)
    build_system = parse_pyproject(before)["build-system"]
    result = Wrapped(before, "", build_system["build-backend"], tuple(build_system["requires"]))
    return result, f"the build backend is {result.build_backend} again"
