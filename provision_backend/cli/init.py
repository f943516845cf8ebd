"""``provision-backend init``: edit a project's ``pyproject.toml`` so that it builds with us, or undo that.

In: a folder and the arguments. Out: the diff, the exit code, and the file, replaced in one step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

from ..errors import ProjectError, UsageError
from ..output import Reporter
from ..project.edit import diff_lines, load_tomlkit, write_text
from ..project.init import Wrapped, unwrap_text, wrap_text
from ..project.pyproject import OWN_NAME, is_wrapped, parse_pyproject, read_project, read_text
from ..settings import Settings
from .answers import Answer

__all__ = ["add_arguments", "run"]


class _Change(NamedTuple):
    text: str
    summary: str
    data: Dict[str, Any]
    """For ``--json``, besides the path and the diff."""
    notes: Tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``init``."""
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project; default this folder")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    parser.add_argument("--undo", action="store_true", help="give the project its own build system back")
    parser.add_argument(
        "--form",
        choices=("one-list", "table"),
        help="where the real requirements go; default one-list where requires-python can be a marker",
    )
    parser.add_argument(
        "--requires-python",
        metavar="SPECIFIER",
        help="for a project whose [project] does not have it, such as '>=3.12'",
    )


def run(arguments: argparse.Namespace, _settings: Settings, reporter: Reporter) -> Answer:
    """Wrap a project's real backend, or undo that; the exit code is 1 if ``--check`` found something to change.

    Raises:
        MissingDependencyError: tomlkit is not installed.
        ProjectError: it cannot be done safely, or the file cannot be read or written.
        UsageError: DIR is not a folder, or the options exclude each other.
    """
    root = Path(arguments.directory)
    if not root.is_dir():
        raise UsageError(f"DIR must name a folder, found {str(root)!r}")
    if arguments.undo and (arguments.form or arguments.requires_python):
        raise UsageError("--undo goes with neither --form nor --requires-python")
    load_tomlkit("init")
    try:
        text = read_text(root)
    except ProjectError as exc:
        exc.hint = _how_to_begin(root)
        raise
    change = _undo(text) if arguments.undo else _wrap(root, text, arguments)
    changed = change.text != text
    if changed and not arguments.check:
        write_text(root / "pyproject.toml", change.text)
    for line in (change.summary, *(f"note: {note}" for note in change.notes)):
        reporter.info(line)
    diff = diff_lines(text, change.text)
    data = {
        "path": str(root / "pyproject.toml"),
        "changed": changed,
        "written": changed and not arguments.check,
        **change.data,
        "notes": list(change.notes),
        "diff": "".join(line + "\n" for line in diff),
    }
    return Answer(data, diff, int(changed and arguments.check))


def _wrap(root: Path, text: str, arguments: argparse.Namespace) -> _Change:
    if is_wrapped(parse_pyproject(text)):
        project = read_project(root)
        form = "one-list" if project.one_list else "table"
        summary = f"nothing to do: pyproject.toml is wrapped already, its real backend is {project.build_backend}"
        return _Change(text, summary, _data(form, project.build_backend, project.requires))
    wrapped = wrap_text(text, form=arguments.form or "", requires_python=arguments.requires_python or "")
    _check_result(root, wrapped)
    summary = f"wraps {wrapped.build_backend}"
    if not arguments.check:
        summary = f"wrapped {wrapped.build_backend}; 'provision-backend init --undo' reverts it"
    data = _data(wrapped.form, wrapped.build_backend, wrapped.requires)
    return _Change(wrapped.text, summary, data, wrapped.notes)


def _undo(text: str) -> _Change:
    if not is_wrapped(parse_pyproject(text)):
        return _Change(text, "nothing to do: pyproject.toml is not wrapped", _data(None, None, ()))
    before = unwrap_text(text)
    build_system = parse_pyproject(before)["build-system"]
    data = _data(None, build_system["build-backend"], tuple(build_system["requires"]))
    return _Change(before, f"the build backend is {build_system['build-backend']} again", data)


def _data(form: Any, build_backend: Any, requires: Tuple[str, ...]) -> Dict[str, Any]:
    return {"form": form, "build-backend": build_backend, "requires": list(requires)}


def _how_to_begin(root: Path) -> str:
    has_file = (root / "pyproject.toml").exists()
    if has_file or not any((root / name).is_file() for name in ("setup.py", "setup.cfg")):
        return ""
    return "create an empty one and run this again with --requires-python '>=3.X'"


def _check_result(root: Path, wrapped: Wrapped) -> None:
    """Read the result as a build would, before it replaces anything."""
    folders = parse_pyproject(wrapped.text)["tool"][OWN_NAME].get("backend-path", [])
    with tempfile.TemporaryDirectory() as temporary:
        for folder in folders:
            # read_project refuses the others, as a build does.
            if not os.path.isabs(folder) and ".." not in Path(folder).parts and (root / folder).is_dir():
                Path(temporary, folder).mkdir(parents=True, exist_ok=True)
        Path(temporary, "pyproject.toml").write_bytes(wrapped.text.encode("utf-8"))
        project = read_project(Path(temporary))
    if (project.build_backend, project.requires) != (wrapped.build_backend, wrapped.requires):
        raise ProjectError("pyproject.toml cannot be edited safely: the result would not be read as it is meant")
