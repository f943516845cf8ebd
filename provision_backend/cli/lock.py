"""``provision-backend lock``: lock a project to exact archives, or check that its lock is up to date.

In: a project, the arguments, and the catalogs of the targets. Out: the diff, the exit code, and the files.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import builtin_triples
from ..errors import UsageError
from ..host.platforms import platform_from_triple
from ..output import Reporter
from ..project.edit import diff_lines, load_tomlkit, lock_lines, lock_text, write_text
from ..project.lock import LOCK_FILE, choose_archives, kept_archives
from ..project.pyproject import Project, read_project, read_text
from ..project.wanted import Lock, Wanted
from ..provision import load_archives
from ..settings import Settings
from ..versions import parse_request
from .answers import Answer, archive_row

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lock``.

    Its ``--target`` may be repeated. It replaces the setting of that name, and has another name in the result so that
    it is not read as that.
    """
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the project; default this folder")
    parser.add_argument(
        "--target",
        action="append",
        dest="targets",
        metavar="TRIPLE",
        help="a target triple to lock besides those already locked, or 'all' for every Linux; default this host's",
    )
    parser.add_argument("--upgrade", action="store_true", help="move to the newest archives that satisfy the project")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something would change")
    parser.add_argument("--file", action="store_true", help="write the archives into a separate file")
    parser.add_argument(
        "--always",
        action="store_const",
        const=True,
        help="use the archives even where the running Python satisfies the project",
    )
    parser.add_argument(
        "--no-always",
        action="store_const",
        const=False,
        dest="always",
        help="use the archives only where an interpreter must be provisioned, as without this key",
    )


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Lock a project; the exit code is 1 if ``--check`` found something to change.

    Raises:
        NoMatchingArchiveError: there are no archives of one build for all targets.
        HostError: no target is named, and this host was not identified.
        ProjectError: the project cannot be read, or its ``pyproject.toml`` not be edited.
        MissingDependencyError: tomlkit is not installed, or what is needed to identify this host.
        UsageError: DIR is not a folder, or a target is unknown.
    """
    root = Path(arguments.directory)
    if not root.is_dir():
        raise UsageError(f"DIR must name a folder, found {str(root)!r}")
    # A missing package is reported before a catalog is fetched.
    load_tomlkit("lock")
    project = read_project(root)
    lock = _new_lock(project, arguments, settings, reporter)
    changes = _changes(root, project.lock, lock)
    changed = {name: texts for name, texts in changes.items() if texts[0] != texts[1]}
    if not arguments.check:
        for name, (_, after) in changed.items():
            write_text(root / name, after)
    reporter.info(_summary(project.lock, lock, changed=bool(changed), written=not arguments.check))
    diff = [line for name, texts in changed.items() for line in diff_lines(*texts, name)]
    data = {
        "path": str(root / lock.place),
        "changed": bool(changed),
        "written": bool(changed) and not arguments.check,
        "always": lock.always,
        "archives": [archive_row(archive) for archive in lock.archives],
        "diff": "".join(line + "\n" for line in diff),
    }
    return Answer(data, diff, int(bool(changed) and arguments.check))


def _new_lock(project: Project, arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Lock:
    old = project.lock or Lock(())
    wanted = _wanted(project, settings)
    kept = kept_archives(old.archives, wanted)
    everywhere = "all" in (arguments.targets or ())
    named = [_triple(text) for text in arguments.targets or () if text != "all"]
    targets = sorted({*(archive.triple for archive in old.archives), *(named or [_host(settings)])})
    needed = targets if arguments.upgrade else [each for each in targets if each not in {a.triple for a in kept}]
    archives = choose_archives(
        _catalogs(needed, settings, reporter),
        wanted,
        kept,
        more=_catalogs(_linux_targets(settings, reporter) if everywhere else (), settings, reporter),
        upgrade=arguments.upgrade,
    )
    always = old.always if arguments.always is None else arguments.always
    return Lock(archives, always=always, file=old.file or (LOCK_FILE if arguments.file else ""))


def _wanted(project: Project, settings: Settings) -> List[Wanted]:
    """Return what the project wants, and what this command line asks for."""
    wanted = [Wanted(project.requires_python, project.python)]
    if settings.python:
        request = parse_request(settings.python, source=settings.origin("python"))
        wanted.append(Wanted(project.requires_python, request))
    return wanted


def _host(settings: Settings) -> str:

    return current_platform(settings, open_cache(settings)).triple


def _triple(text: str) -> str:

    return platform_from_triple(text).triple


def _catalogs(triples: Iterable[str], settings: Settings, reporter: Reporter) -> Dict[str, Tuple[Archive, ...]]:

    cache = open_cache(settings)
    return {triple: load_archives(settings, triple, cache, reporter) for triple in triples}


def _linux_targets(settings: Settings, reporter: Reporter) -> Sequence[str]:
    """Return the targets on Linux that have archives, without those of higher CPU levels."""
    triples: Iterable[str] = builtin_triples()
    if settings.catalog:
        triples = {archive.triple for archives in _catalogs([""], settings, reporter).values() for archive in archives}
    return sorted(triple for triple in triples if "-linux-" in triple and not triple.startswith("x86_64_v"))


def _changes(root: Path, old: Optional[Lock], new: Lock) -> Dict[str, Tuple[str, str]]:
    """Return the texts of each file before and after; a file comes before ``pyproject.toml``, which refers to it."""
    text = read_text(root)
    changes = {"pyproject.toml": (text, lock_text(text, new))}
    # A file whose archives stay is not written again, so comments that a person added are kept.
    if not new.file or (old is not None and (old.file, old.archives) == (new.file, new.archives)):
        return changes
    before = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        before = (root / new.file).read_bytes().decode("utf-8")
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
