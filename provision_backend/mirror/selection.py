"""What somebody wants to have at hand: requests, or a project, and target triples in; archives of the catalog out.

A request on the command line that leaves the minor version open (``>=3.11``) stands for the newest archive of *each*
minor version that satisfies it: a fleet has projects that want 3.11 beside ones that want 3.13, and what one build
with that request would select is among them. A project stands for what its builds select, and nothing else; where it
is locked, that is what it is locked to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from ..cache.store import Cache, open_cache
from ..catalog.selection import Archive, matching_archives, select_archive
from ..errors import ProjectError, UsageError
from ..output import Reporter
from ..project.lock import locked_archive
from ..project.plan import make_plan
from ..project.pyproject import read_project
from ..project.wanted import Wanted
from ..provision import load_archives
from ..settings import Settings
from ..versions import parse_request, parse_version

__all__ = ["Wish", "read_wishes", "select_archives"]

Load = Callable[[str], Tuple[Archive, ...]]
"""Reads the catalog for a target triple."""


class Wish(NamedTuple):
    """One thing to have at hand, on each target."""

    wanted: Wanted
    newest: bool
    """Only the archive that a build selects, in place of the newest of each minor version."""


def read_wishes(
    requests: Sequence[str], settings: Settings, reporter: Reporter, *, newest: bool = False
) -> Tuple[Wish, ...]:
    """Return what is wanted: the requests, or, where there is none, what the project of this folder is built with.

    Args:
        requests: as people write them; see `provision_backend.versions.parse_request`.
        settings: their ``python`` says which interpreter the project is built with, as it does in a build.
        reporter: told where the project is locked and the lock is not used.
        newest: take each request as a build would.

    Raises:
        UsageError: a request is none, there is neither a request nor a project, or ``python`` is a path.
        ProjectError: the project's file cannot be read as ours, or its lock is not one of what it wants.
    """
    if requests:
        return tuple(Wish(Wanted("", parse_request(text, source="--python")), newest) for text in requests)
    return (Wish(_project_wants(Path.cwd(), settings, reporter), newest=True),)


def _project_wants(root: Path, settings: Settings, reporter: Reporter) -> Wanted:
    if not (root / "pyproject.toml").is_file():
        raise UsageError("there is no pyproject.toml in this folder, and no --python", hint="add --python '>=3.12'")
    try:
        plan = make_plan(read_project(root), settings)
    except ProjectError as exc:
        exc.hint += "\nor say what is wanted: --python '>=3.12'"
        raise
    if plan.wanted.path:
        source = settings.origin("python")
        raise UsageError(
            f"{source} names the interpreter {settings.python!r}, for which no archive is provisioned",
            hint="unset it, or say what is wanted: --python '>=3.12'",
        )
    if plan.note:
        reporter.info(plan.note)
    return plan.wanted


def select_archives(
    wishes: Sequence[Wish], targets: Sequence[str], settings: Settings, reporter: Reporter
) -> Tuple[Archive, ...]:
    """Return the archives that fulfil every wish on every target.

    Args:
        wishes: what is wanted.
        targets: triples; empty for the platform of this host, or what the setting ``target`` says.
        settings: their catalog and ``cpu-level`` count, as in a build.
        reporter: told what becomes of a catalog that is given by URL.

    Returns:
        Each archive once, by target and then best first for each wish.

    Raises:
        NoMatchingArchiveError: a wish, or the project's lock, has nothing on one of the targets.
        CatalogError: the catalog is unreadable or malformed.
        DownloadError: its URL did not answer.
        HostError: this host was not identified.
        MissingDependencyError: pyelftools is needed to identify it.
    """
    cache = open_cache(settings)
    found: Dict[str, Archive] = {}

    def load(triple: str) -> Tuple[Archive, ...]:
        return load_archives(settings, triple, cache, reporter)

    for target in targets or [_host_triple(settings, cache)]:
        for wish in wishes:
            found.update((archive.filename, archive) for archive in _fulfil(wish, target, settings, load))
    return tuple(found.values())


def _host_triple(settings: Settings, cache: Cache) -> str:
    from ..cache.platform import current_platform

    for root in cache.roots:
        cache.trust(root)  # What is remembered there is believed next.
    return current_platform(settings, cache).triple


def _fulfil(wish: Wish, target: str, settings: Settings, load: Load) -> List[Archive]:
    lock = wish.wanted.lock
    if lock is not None:
        # Whatever a catalog has by now, a locked project is built with what it is locked to.
        return [locked_archive(lock, _leveled(target, settings, lambda _: lock.archives))]
    triple = _leveled(target, settings, load)
    archives = load(triple)
    requires_python, request = wish.wanted.requires_python, wish.wanted.request
    best = select_archive(archives, requires_python=requires_python, request=request, triple=triple)
    if wish.newest:
        return [best]
    newest: Dict[Tuple[int, ...], Archive] = {}
    for archive in matching_archives(archives, requires_python=requires_python, request=request, triple=triple):
        newest.setdefault(parse_version(archive.version).release[:2], archive)
    return list(newest.values())


def _leveled(triple: str, settings: Settings, load: Load) -> str:
    """Return the triple with the microarchitecture level that the settings ask for, chosen as a build chooses it."""
    if settings.cpu_level in ("", "baseline"):
        return triple
    from ..host.cpu import leveled_triples

    for leveled in leveled_triples(triple, settings.cpu_level):
        if settings.cpu_level != "auto" or any(archive.triple == leveled for archive in load(leveled)):
            return leveled
    return triple
