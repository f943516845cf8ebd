"""``provision-backend lock``: lock a project to exact archives, or check that its lock is up to date."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Dict, Iterable, Optional, Tuple

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import builtin_triples
from ..files import read_file
from ..host.platforms import platform_from_triple
from ..install.catalogs import load_archives
from ..output import Reporter
from ..project.edit import apply_changes, load_tomlkit, lock_lines, lock_text
from ..project.lock import LOCK_FILE, choose_archives, kept_archives
from ..project.pyproject import Project, read_project, read_text
from ..settings import Settings
from ..versions import parse_request
from ..wanted import Lock, Wanted
from .answers import Answer, edit_answer
from .parser import PROJECT, existing_folder, targets
from .registry import flag

__all__ = ["ARGUMENTS", "run"]


_ALWAYS = "use the archives even where the running Python satisfies the project"
_NO_ALWAYS = "use the archives only where an interpreter must be provisioned, which is the default"

ARGUMENTS = {
    "lock": [
        PROJECT,
        targets("a target triple to lock besides those already locked, or 'all' for every Linux"),
        flag("--upgrade", "move to the newest archives that satisfy the project"),
        flag("--check", "write nothing; exit with 1 if something would change"),
        flag("--file", "write the archives into a separate file"),
        # argparse.BooleanOptionalAction is new in Python 3.9.
        flag("--always", _ALWAYS, default=None),
        flag("--no-always", _NO_ALWAYS, action="store_false", default=None, dest="always"),
    ]
}


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Lock a project; the exit code is 1 if ``--check`` found something to change."""
    root = existing_folder(arguments.directory)
    # A missing package is reported before a catalog is fetched.
    load_tomlkit("lock")
    project = read_project(root)
    lock = _new_lock(project, arguments, settings, reporter)
    diff = apply_changes(root, _changes(root, project.lock, lock), check=arguments.check)
    reporter.info(_summary(project.lock, lock, changed=bool(diff), written=not arguments.check))
    data = {"always": lock.always, "archives": [archive.as_dict() for archive in lock.archives]}
    return edit_answer(root / lock.place, diff, data, check=arguments.check)


def _new_lock(project: Project, arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Lock:
    cache = open_cache(settings)

    def _load(triples: Iterable[str]) -> Dict[str, Tuple[Archive, ...]]:
        return {triple: load_archives(settings, triple, cache, reporter) for triple in triples}

    old = project.lock or Lock(())
    wanted = [Wanted(project.requires_python, project.python)]
    if settings.python:
        request = parse_request(settings.python, source=settings.origin("python"))
        wanted.append(Wanted(project.requires_python, request))
    kept = kept_archives(old.archives, wanted)
    named = [platform_from_triple(text).triple for text in arguments.targets or () if text != "all"]
    targets = {archive.triple for archive in old.archives} | set(named or [current_platform(settings, cache).triple])
    # The targets whose archives stay need no catalog.
    if not arguments.upgrade:
        targets -= {archive.triple for archive in kept}
    linux: Iterable[str] = ()
    if "all" in (arguments.targets or ()):
        # A catalog that replaces the built-in one is a single file for all targets.
        linux = {archive.triple for archive in _load([""])[""]} if settings.catalog else builtin_triples()
    more = _load(sorted(each for each in linux if "-linux-" in each and not each.startswith("x86_64_v")))
    archives = choose_archives(_load(sorted(targets)), wanted, kept, more=more, upgrade=arguments.upgrade)
    always = old.always if arguments.always is None else arguments.always
    return Lock(archives, always=always, file=old.file or (LOCK_FILE if arguments.file else ""))


def _changes(root: Path, old: Optional[Lock], new: Lock) -> Dict[str, Tuple[str, str]]:
    """Return the texts of each file before and after; a file comes before ``pyproject.toml``, which refers to it."""
    text = read_text(root)
    changes = {"pyproject.toml": (text, lock_text(text, new))}
    # A file whose archives stay is not written again, so comments that a person added are kept.
    if not new.file or (old is not None and (old.file, old.archives) == (new.file, new.archives)):
        return changes
    before = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        before = read_file(root / new.file).decode("utf-8")
    return {new.file: (before, "".join(line + "\n" for line in lock_lines(new))), **changes}


def _summary(old: Optional[Lock], new: Lock, *, changed: bool, written: bool) -> str:
    builds = dict.fromkeys(f"CPython {archive.label} of {archive.tag}" for archive in new.archives)
    count = len(new.archives)
    what = f"{' and '.join(builds)} for {count} target{'s' if count > 1 else ''}, in {new.place}"
    if not changed:
        return f"nothing to do: locked to {what}"
    if not written:
        return f"would be locked to {what}" if old is None else f"the lock is not up to date: it would be {what}"
    return f"locked to {what}"
