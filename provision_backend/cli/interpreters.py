"""The commands ``list``, ``find`` and ``install``, and the meaning of a REQUEST on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.selection import matching_archives, newest_of_minors
from ..catalog.wanted import Wanted
from ..errors import InterpreterError, NoMatchingArchiveError, ProjectError, UsageError
from ..install.catalogs import load_archives
from ..output import Reporter
from ..project.plan import make_plan
from ..project.pyproject import Project, has_table, parse_pyproject, read_project, read_text
from ..provision import find_any, provision
from ..settings import Settings
from ..versions import is_specifier, parse_request
from .answers import Answer, as_columns
from .registry import argument, flag

__all__ = ["ARGUMENTS", "PROJECT", "REQUEST", "read_request", "read_wanted", "run_find", "run_install", "run_list"]

PROJECT = "."  # the REQUEST for what the project in the current folder wants

_REQUEST = "3.13, 3.13.2, 3.13t or '>=3.12,<3.14'; '.' or nothing: what the project in this folder wants"

REQUEST = argument("request", "REQUEST", _REQUEST, nargs="?", default=PROJECT)  # the argument of ``find`` and ``run``

_LISTED = "only those that satisfy it: 3.13, 3.13t or '>=3.12'; '.' for what the project in this folder wants"
_COMPILE = "compile pip too, and not only what every build imports: for an image, where builds run again and again"

ARGUMENTS = {
    "list": [
        argument("request", "REQUEST", _LISTED, nargs="?"),
        flag("--all", "every version, instead of the newest of each minor"),
    ],
    "find": [REQUEST],
    "install": [
        argument("request", "REQUEST", f"{_REQUEST}; may be repeated", nargs="*"),
        flag("--upgrade", "install the newest patch release of the catalog, even if the cache has an older one"),
        flag("--compile-bytecode", _COMPILE),
    ],
}


def run_list(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """List the interpreters that can be provisioned, and which of them are in the cache."""
    request = arguments.request
    # An empty one is what a script has failed to fill in, and no wish for everything.
    wanted = Wanted("") if request is None else read_request(request, settings, reporter)
    cache = open_cache(settings)
    triple = current_platform(settings, cache).triple
    archives = wanted.lock.archives if wanted.lock else load_archives(settings, triple, cache, reporter)
    found = matching_archives(archives, wanted, triple)
    # Unless it asks for another one, a build fetches only the newest patch release of a minor version.
    if not arguments.all:
        found = newest_of_minors(found)
    rows = []
    for archive in found:
        cached = cache.lookup(archive)
        rows.append({**archive.as_dict(), "executable": cached.executable if cached else None})
    if not rows:
        what = repr(request) if request not in (None, PROJECT) else wanted.describe()
        reporter.info(f"there is no archive for {what} on {triple}")
        return Answer([], code=1)
    cells = [(row["version"] or "", row["tag"] or "", row["executable"] or "can be provisioned") for row in rows]
    return Answer(rows, as_columns(cells))


def run_find(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Print an interpreter of the caches or of the machine; nothing is fetched."""
    wanted = read_request(arguments.request, settings, reporter)
    try:
        found = find_any(wanted, settings, reporter)
    except (InterpreterError, NoMatchingArchiveError) as exc:
        # "Nothing found" is an answer, so --json prints null; but a named interpreter that does not start is a failure.
        if wanted.path:
            raise
        reporter.info(str(exc))
        return Answer(None, code=1)
    if found is None:
        what = repr(arguments.request) if arguments.request != PROJECT else wanted.describe()
        reporter.info(f"no installed interpreter matches {what}; 'provision-backend install' fetches one")
        return Answer(None, code=1)
    return Answer(found.as_dict(), [found.executable])


def run_install(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Provision interpreters."""
    # Otherwise an interpreter of the machine might satisfy the request, and nothing would be installed.
    settings = settings._replace(preference="only-managed")
    wanted = [read_request(request, settings, reporter) for request in arguments.request or [PROJECT]]
    options = {"upgrade": arguments.upgrade, "with_pip": arguments.compile_bytecode}
    found = [provision(each, settings, reporter, **options) for each in wanted]
    data = [interpreter.as_dict() for interpreter in found]
    # One request is answered as by find, with an object.
    return Answer(data[0] if len(data) == 1 else data, [interpreter.executable for interpreter in found])


def read_request(text: str, settings: Settings, reporter: Reporter) -> Wanted:
    """Return which interpreter a request as for `parse_request`, or `PROJECT`, means."""
    if text != PROJECT:
        return Wanted("", parse_request(text, source="REQUEST"))
    advice = "name a version such as 3.13, or go to the folder of a project"
    return read_wanted(_read_any_project, settings, reporter, advice=advice)


def read_wanted(read: Callable[[Path], Project], settings: Settings, reporter: Reporter, *, advice: str) -> Wanted:
    """Return what builds of the project in the current folder want; an error's hint ends with the advice."""
    try:
        plan = make_plan(read(Path.cwd()), settings)
    except (ProjectError, UsageError) as exc:
        # A build would fail in the same way, but these commands do not need the project.
        exc.hint = f"{exc.hint}\nor {advice}" if exc.hint else advice
        raise
    if plan.note:
        reporter.info(plan.note)
    return plan.wanted


def _read_any_project(folder: Path) -> Project:
    """Read a project; one that does not build through us has only a ``requires-python``."""
    # list, find, install and run are useful before `init`, too.
    text = read_text(folder)
    document = parse_pyproject(text)
    if has_table(document):
        return read_project(folder, text)
    requires_python = document.get("project", {}).get("requires-python", "")
    if not isinstance(requires_python, str) or not is_specifier(requires_python):
        raise ProjectError("pyproject.toml: project.requires-python must be a version specifier")
    return Project(folder, requires_python=requires_python)
