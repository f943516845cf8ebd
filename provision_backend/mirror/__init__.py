"""Mirrors: `select_archives` names what one should hold, `mirror.folder` fills and checks it.

Selection turns requests, or a project, and target triples into archives, for a mirror or a cache key.

A request on the command line that leaves the minor version open (``>=3.11``) stands for the newest archive of *each*
minor version that satisfies it: a fleet has projects that need 3.11 beside ones that need 3.13. A project stands for
the archive that its builds select, which is the locked one where it is locked.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Sequence, Tuple

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, newest_of_minors, select_archive
from ..errors import ProjectError, UsageError
from ..install.catalogs import archives_for, load_archives
from ..output import Reporter
from ..project.plan import make_plan
from ..project.pyproject import read_project
from ..project.wanted import Wanted, locked_archive
from ..settings import Settings
from ..versions import parse_request

__all__ = ["select_archives"]

_Load = Callable[[str], Tuple[Archive, ...]]


def select_archives(
    requests: Sequence[str], targets: Sequence[str], settings: Settings, reporter: Reporter, *, newest: bool = False
) -> Tuple[Archive, ...]:
    """Return the archives for all requests on all targets, each once, by target and then best first for each request.

    Args:
        requests: as for `provision_backend.versions.parse_request`; empty for the project in the current folder.
        targets: triples; empty for the setting ``target``, or for the platform of this host.
        settings: as in a build.
        reporter: says where a catalog came from, and whether the project's lock is not used.
        newest: select for each request only what a build would select.
    """
    wanted = [Wanted("", parse_request(text, source="--python")) for text in requests]
    # The builds of a project never use older versions than the one that they select.
    if not wanted:
        wanted, newest = [_project_wants(Path.cwd(), settings, reporter)], True
    cache = open_cache(settings)
    load = partial(load_archives, settings, cache=cache, reporter=reporter)
    found: Dict[str, Archive] = {}
    for target in targets or [current_platform(settings, cache).triple]:
        for each in wanted:
            best, *older = _matching(each, target, settings, load)
            found.update((archive.filename, archive) for archive in [best, *([] if newest else older)])
    return tuple(found.values())


def _project_wants(root: Path, settings: Settings, reporter: Reporter) -> Wanted:
    try:
        plan = make_plan(read_project(root), settings)
    except (ProjectError, UsageError) as exc:
        # A build would fail in the same way, but this command does not need the project.
        exc.hint = f"{exc.hint}\nor request one: --python '>=3.12'" if exc.hint else "request one: --python '>=3.12'"
        raise
    if plan.wanted.path:
        source = settings.origin("python")
        raise UsageError(
            f"{source} names the interpreter {settings.python!r}, which is not provisioned from an archive",
            hint="unset it, or request one: --python '>=3.12'",
        )
    if plan.note:
        reporter.info(plan.note)
    return plan.wanted


def _matching(wanted: Wanted, target: str, settings: Settings, load: _Load) -> Tuple[Archive, ...]:
    """Return what a build would select, and then the newest archive of each older minor version."""
    lock = wanted.lock
    if lock is not None:
        # A locked project is built with its locked archive, even if the catalog has a newer one by now.
        return (locked_archive(lock, archives_for(target, settings, lambda _: lock.archives)[0]),)
    triple, archives = archives_for(target, settings, load)
    terms: Dict[str, Any] = {"requires_python": wanted.requires_python, "request": wanted.request, "triple": triple}
    # It raises what a build would if nothing matches.
    select_archive(archives, **terms)
    return newest_of_minors(matching_archives(archives, **terms))
