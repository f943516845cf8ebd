"""``provision-backend lock``: writes down which archives a project is built with, or says whether that is up to date.

In: a project, what the person asked for, and the catalogs of the targets. Out: the diff, the exit code, and the files.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Tuple

from ..errors import UsageError
from ..project.edit import diff_lines, load_tomlkit, lock_lines, lock_text, write_text
from ..project.lock import LOCK_FILE, choose_archives, kept_archives
from ..project.pyproject import Project, read_project, read_text
from ..project.wanted import Lock, Wanted

if TYPE_CHECKING:
    import argparse

    from ..catalog.archive import Archive
    from ..output import Reporter
    from ..settings import Settings

__all__ = ["run"]


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Tuple[Dict[str, Any], List[str], int]:
    """Lock a project.

    Returns:
        What ``--json`` prints, the lines for people, and the exit code: 1 if ``--check`` found something to change.

    Raises:
        NoMatchingArchiveError: there are no archives of one build for all targets.
        HostError: no target is named, and this host was not identified.
        ProjectError: the project cannot be read, or its ``pyproject.toml`` not be edited.
        MissingDependencyError: tomlkit is not installed, or what finds out what this host is.
        UsageError: the folder is none, or a target is unknown.
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
        "archives": [_describe(archive) for archive in lock.archives],
        "diff": "".join(line + "\n" for line in diff),
    }
    return data, diff, int(bool(changed) and arguments.check)


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
    """Return what the project wants, and what the person asks for in this very command."""
    from ..versions import parse_request

    wanted = [Wanted(project.requires_python, project.python)]
    if settings.python:
        request = parse_request(settings.python, source=settings.origin("python"))
        wanted.append(Wanted(project.requires_python, request))
    return wanted


def _host(settings: Settings) -> str:
    from ..cache.platform import current_platform
    from ..cache.store import open_cache

    return current_platform(settings, open_cache(settings)).triple


def _triple(text: str) -> str:
    from ..host.platforms import platform_from_triple

    return platform_from_triple(text).triple


def _catalogs(triples: Iterable[str], settings: Settings, reporter: Reporter) -> Dict[str, Tuple[Archive, ...]]:
    from ..cache.store import open_cache
    from ..provision import load_archives

    cache = open_cache(settings)
    return {triple: load_archives(settings, triple, cache, reporter) for triple in triples}


def _linux_targets(settings: Settings, reporter: Reporter) -> Sequence[str]:
    """Return the targets on Linux that there are archives for, without those of higher CPU levels."""
    from ..catalog.selection import builtin_triples

    triples: Iterable[str] = builtin_triples()
    if settings.catalog:
        triples = {archive.triple for archives in _catalogs([""], settings, reporter).values() for archive in archives}
    return sorted(triple for triple in triples if "-linux-" in triple and not triple.startswith("x86_64_v"))


def _changes(root: Path, old: Optional[Lock], new: Lock) -> Dict[str, Tuple[str, str]]:
    """Return the texts of each file before and after, what is referred to before what refers to it."""
    text = read_text(root)
    changes = {"pyproject.toml": (text, lock_text(text, new))}
    # Somebody's comments stay for as long as the lines do.
    if not new.file or (old is not None and (old.file, old.archives) == (new.file, new.archives)):
        return changes
    before = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        before = (root / new.file).read_bytes().decode("utf-8")
    return {new.file: (before, "".join(line + "\n" for line in lock_lines(new))), **changes}


def _describe(archive: Archive) -> Dict[str, str]:
    return {
        "triple": archive.triple,
        "version": archive.label,
        "tag": archive.tag,
        "filename": archive.filename,
        "sha256": archive.sha256,
    }


def _summary(old: Optional[Lock], new: Lock, *, changed: bool, written: bool) -> str:
    builds = dict.fromkeys(f"CPython {archive.label} of {archive.tag}" for archive in new.archives)
    count = len(new.archives)
    what = f"{' and '.join(builds)} for {count} target{'s' if count > 1 else ''}, in {new.place}"
    if not changed:
        return f"nothing to do: locked to {what}"
    if not written:
        return f"would be locked to {what}" if old is None else f"the lock is not up to date: it would be {what}"
    return f"locked to {what}"
