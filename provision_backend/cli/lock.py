"""``provision-backend lock``: lock what a project is built with, or check that its lock is up to date.

That is the interpreter, one archive for each target, and every build requirement, in ``pylock.provision-backend.toml``;
or the interpreter alone, in ``[tool.provision-backend.lock]``.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Dict, Iterable, Mapping, Optional, Set, Tuple

from packaging.utils import canonicalize_name

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import builtin_triples
from ..catalog.wanted import Lock, Wanted
from ..errors import ProjectError, UsageError
from ..files import read_file
from ..hooks.installers import provision_for_build
from ..hooks.made import advise_including, leaves_out
from ..hooks.resolve import Resolver
from ..host.platforms import platform_from_triple
from ..install.catalogs import load_archives
from ..interpreter import Interpreter
from ..output import Reporter
from ..project.edit import apply_changes, load_tomlkit, lock_lines, lock_text, pylock_text
from ..project.lock import LOCK_FILE, choose_archives, kept_archives
from ..project.pylock import PYLOCK, pylock_document
from ..project.pyproject import Project, read_project, read_text, read_wrapped
from ..settings import Settings, load_toml
from ..toolchain import toolchain_for
from ..versions import parse_request
from .answers import Answer, edit_answer
from .parser import PROJECT, existing_folder, targets
from .registry import argument, flag

__all__ = ["ARGUMENTS", "run"]


_ALWAYS = "use the lock even where the running Python satisfies the project"
_NO_ALWAYS = "use the lock only where an interpreter must be provisioned, which is the default"
_UPGRADE_PACKAGE = "move one build requirement to the newest version; may be repeated"
_ONLY = "lock the interpreter and no build requirement, in pyproject.toml"
_NOT_ONLY = "lock the build requirements too, which is the default unless only the interpreter is locked already"

ARGUMENTS = {
    "lock": [
        PROJECT,
        targets("a target triple to lock besides those already locked, or 'all' for every Linux with all wheels"),
        flag("--upgrade", "move to the newest archives and versions that satisfy the project"),
        argument("--upgrade-package", "NAME", _UPGRADE_PACKAGE, action="append", default=[], dest="packages"),
        flag("--check", "write nothing; exit with 1 if something would change"),
        # argparse.BooleanOptionalAction is new in Python 3.9.
        flag("--only-interpreter", _ONLY, default=None),
        flag("--no-only-interpreter", _NOT_ONLY, action="store_false", default=None, dest="only_interpreter"),
        flag("--file", "with --only-interpreter: write the archives into a separate file"),
        flag("--always", _ALWAYS, default=None),
        flag("--no-always", _NO_ALWAYS, action="store_false", default=None, dest="always"),
    ]
}


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Lock a project; the exit code is 1 if ``--check`` found something to change."""
    root = existing_folder(arguments.directory)
    # A missing package is reported before a catalog is fetched.
    load_tomlkit("lock")
    project = read_wrapped(root, relocking=True)
    # What the settings say comes before what the project says.
    merged: Dict[str, Any] = {key: getattr(settings, key) or value for key, value in project.settings.items()}
    settings = settings._replace(**merged)
    if project.lock and not project.lock.archives:
        reporter.info(f"note: {PYLOCK} is missing or damaged, so no target and no version of it is kept")
    only = _only_interpreter(project, arguments, reporter)
    lock = _new_lock(project, arguments, settings, reporter)
    if not only:
        lock = _with_requirements(project, lock, arguments, (settings, reporter))
    changes = _changes(root, project.lock, lock)
    diff = apply_changes(root, changes, check=arguments.check)
    reporter.info(_summary(project.lock, lock, changed=bool(diff), written=not arguments.check))
    if diff and project.lock and project.lock.file not in ("", lock.file):
        reporter.info(f"note: {project.lock.file} is not used any more; remove it")
    if lock.requirements and not (project.lock and project.lock.requirements) and leaves_out(project):
        reporter.info(f"note: builds of the sdist need {PYLOCK} in it: {advise_including(project, PYLOCK)}")
    packages, dynamic = (lock.requirements.packages, lock.requirements.dynamic) if lock.requirements else ((), ())
    data = {
        "always": lock.always,
        "archives": [archive.as_dict() for archive in lock.archives],
        "packages": [{"name": package["name"], "version": package["version"]} for package in packages],
        "dynamic": list(dynamic),
    }
    answer = edit_answer(root / lock.place, diff, data, check=arguments.check)
    # A new file of a thousand lines is read in an editor, and what else has changed is seen.
    shown = {name: texts for name, texts in changes.items() if name != PYLOCK or texts[0]}
    return answer._replace(lines=apply_changes(root, shown, check=True))


def _only_interpreter(project: Project, arguments: argparse.Namespace, reporter: Reporter) -> bool:
    """Return whether no build requirement is locked."""
    only, before = arguments.only_interpreter, project.lock
    if only is None:
        only = before is not None and before.file != PYLOCK
        if only:
            reporter.info("only the interpreter is locked, as before; --no-only-interpreter locks the requirements too")
    if only and arguments.packages:
        raise UsageError("--upgrade-package cannot be used where only the interpreter is locked")
    if arguments.file and not only:
        raise UsageError("--file needs --only-interpreter", hint=f"build requirements are locked in {PYLOCK}")
    return bool(only)


def _with_requirements(
    project: Project, lock: Lock, arguments: argparse.Namespace, context: Tuple[Settings, Reporter]
) -> Lock:
    old = project.lock or Lock(())
    before = old.requirements.packages if old.requirements else ()
    named = {canonicalize_name(name) for name in arguments.packages}
    unknown = named - {each["name"] for each in before}
    if unknown:
        raise UsageError(f"--upgrade-package names {min(unknown)!r}, which is not locked")
    kept = () if arguments.upgrade else tuple(each for each in before if each["name"] not in named)
    interpreter = _interpreter(project, lock, *context)
    known: Tuple[Mapping[str, Any], ...] = ()
    # Versions of an edited file are a wish; its addresses and hashes count for nothing.
    with contextlib.suppress(ProjectError):
        read_project(project.root)
        known = before
    optional: Set[str] = set()
    if "all" in (arguments.targets or ()):
        # Few packages have wheels for every Linux.
        optional = {archive.triple for archive in set(lock.archives) - set(old.archives)}
        optional -= {interpreter.triple, *arguments.targets}
    tools = _tools(lock, context[0])
    resolver = Resolver(project, lock.archives, interpreter, *context, kept, known, tools, frozenset(optional))
    requirements = resolver.run()
    return lock._replace(file=PYLOCK, requirements=requirements, archives=resolver.archives)


def _tools(lock: Lock, settings: Settings) -> Tuple[str, ...]:
    # Compilers are taken from the package index on Linux only.
    triple = next((archive.triple for archive in lock.archives if "-linux-" in archive.triple), "")
    toolchain = toolchain_for(settings, triple) if triple else None
    return toolchain.requirements if toolchain else ()


def _interpreter(project: Project, lock: Lock, settings: Settings, reporter: Reporter) -> Interpreter:
    """Provision the locked interpreter; where it is locked for other targets only, one of its version for this host."""
    settings = settings._replace(python="", preference="only-managed")
    here = current_platform(settings, open_cache(settings)).triple
    wanted = Wanted(project.requires_python, lock=lock)
    if here not in [archive.triple for archive in lock.archives]:
        wanted = Wanted(project.requires_python, parse_request(lock.archives[0].minor))
    return provision_for_build(wanted, settings, reporter)


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
    file = "" if old.file == PYLOCK else old.file
    return Lock(archives, always=always, file=file or (LOCK_FILE if arguments.file else ""))


def _changes(root: Path, old: Optional[Lock], new: Lock) -> Dict[str, Tuple[str, str]]:
    """Return the texts of each file before and after; a file comes before ``pyproject.toml``, which refers to it."""
    text, before = read_text(root), ""
    changes = {"pyproject.toml": (text, lock_text(text, new))}
    # A file whose content stays is not written again, so comments that a person added are kept.
    if not new.file or (not new.requirements and old and (old.file, old.archives) == (new.file, new.archives)):
        return changes
    with contextlib.suppress(OSError, UnicodeDecodeError):
        before = read_file(root / new.file).decode("utf-8")
    if new.requirements is None:
        return {new.file: (before, "".join(line + "\n" for line in lock_lines(new))), **changes}
    document = pylock_document(new)
    with contextlib.suppress(ValueError):
        if load_toml(before) == document:
            return changes
    return {new.file: (before, pylock_text(document)), **changes}


def _summary(old: Optional[Lock], new: Lock, *, changed: bool, written: bool) -> str:
    builds = list(dict.fromkeys(f"CPython {archive.label} of {archive.tag}" for archive in new.archives))
    count = len(new.archives)
    if new.requirements is not None:
        number = len(new.requirements.packages)
        builds.append(f"{number} package{'' if number == 1 else 's'}")
    what = f"{' and '.join(builds)} for {count} target{'s' if count > 1 else ''}, in {new.place}"
    if not changed:
        return f"nothing to do: locked to {what}"
    if not written:
        return f"would be locked to {what}" if old is None else f"the lock is not up to date: it would be {what}"
    return f"locked to {what}"
