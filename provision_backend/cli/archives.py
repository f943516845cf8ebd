"""The commands ``pack``, ``mirror`` and ``cache key``, which add archives to a folder or name those of a project.

A request on the command line that leaves the minor version open (``>=3.11``) stands for the newest archive of *each*
minor version that satisfies it: a fleet has projects that need 3.11 beside ones that need 3.13. A project stands for
the archive that its builds select, which is the locked one where it is locked.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..cache.entries import FORMAT
from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, newest_of_minors, select_archive
from ..catalog.wanted import Lock, Wanted, locked_archive
from ..errors import OfflineError, UsageError
from ..files import hash_bytes
from ..hooks.tags import target_tags
from ..host.platforms import platform_from_triple
from ..install.catalogs import archives_for, load_archives
from ..mirror.folder import Filled, Item, check_folder, fill_archives, inspect_folder
from ..mirror.wheels import Wheel, fill_wheels, list_wheels, wheels_for_frontends
from ..output import Reporter
from ..pack.packing import pack_interpreter
from ..project.plan import running_interpreter
from ..project.pylock import PYLOCK
from ..project.pyproject import parse_pyproject, read_strings, read_text, read_wrapped
from ..settings import Settings
from ..versions import minor_of, parse_request
from .answers import Answer
from .interpreters import read_wanted
from .parser import existing_folder, new_folder, requests, targets
from .registry import argument, flag

__all__ = ["ARGUMENTS", "cache_key", "run_key", "run_mirror", "run_pack"]

_HOST_PYTHON = (
    "fetch what a frontend on this Python installs to build a locked project; may be repeated; default this one"
)

ARGUMENTS = {
    "pack": [
        argument("interpreter", "PYTHON", "path of its executable"),
        argument("--to", "DIR", "folder for the archive and its SHA256SUMS", required=True),
        argument("--tag", "YYYYMMDD", "release tag in the archive's name; default today"),
    ],
    "mirror": [
        argument("directory", "DIR", "the folder to fill; created if it does not exist"),
        requests("3.13, 3.13.2, 3.13t or '>=3.11', which means the newest of each minor version from there on"),
        targets("the platform of the archives, such as x86_64-unknown-linux-musl, instead of those that are locked"),
        argument("--host-python", "X.Y", _HOST_PYTHON, action="append", dest="host_pythons"),
        flag("--newest", "of each request only the archive that a build selects"),
        flag("--dry-run", "list what would be fetched, and write nothing"),
        flag("--verify", "read and compare everything in DIR; fetch nothing"),
    ],
    "cache key": [
        requests("3.13, 3.13.2, 3.13t or '>=3.12,<3.14'"),
        targets("a platform, such as x86_64-unknown-linux-musl"),
    ],
}


def run_pack(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Make an archive of an installed CPython."""
    python, to = Path(arguments.interpreter), new_folder(arguments.to, "--to")
    packed = pack_interpreter(python, to, tag=arguments.tag, reporter=reporter, lock_timeout=settings.lock_timeout)
    for note in packed.notes:
        reporter.info(note)
    data = {**packed._asdict(), "path": str(packed.path), "notes": list(packed.notes)}
    return Answer(data, [str(packed.path)])


def run_mirror(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Fill a folder with archives, and with the wheels of a locked project; list what to fetch; or check the folder."""
    folder = new_folder(arguments.directory)
    arguments.targets = _known_targets(arguments)
    if arguments.verify and arguments.dry_run:
        raise UsageError("argument --verify: not allowed with argument --dry-run")
    if arguments.verify or os.path.exists(folder):
        existing_folder(arguments.directory)
    project = None
    # A project without locked wheels has nothing to do with a mirror that is only checked.
    if not arguments.requests and (os.path.exists(PYLOCK) or not arguments.verify):
        project = _project_wants(settings, reporter)
    lock = project.lock if project and project.lock and project.lock.requirements else None
    if arguments.host_pythons and (lock is None or arguments.verify):
        raise UsageError("--host-python is for fetching what a project with locked build requirements needs")
    if lock is not None and not arguments.targets:
        # One folder serves all machines that the project is locked for.
        arguments.targets = [archive.triple for archive in lock.archives]
    archives: Tuple[Archive, ...] = ()
    if project or arguments.requests:
        archives = _select(arguments, settings, reporter, newest=arguments.newest, project=project)
    wheels = _locked_wheels(lock, archives) if lock else ()
    if arguments.verify:
        return _verify(folder, [*archives, *wheels], settings, reporter)
    if lock is not None:
        # The frontend installs them before it calls a hook, so no lock is about them.
        requires = read_strings(parse_pyproject(read_text(Path())).get("build-system", {}), "build-system", "requires")
        for python in arguments.host_pythons or [minor_of(running_interpreter().version)]:
            found = wheels_for_frontends(requires, python, settings, reporter)
            # The frontend of another host may install the same file, or the locked build.
            known = [(wheel.filename, wheel.sha256) for wheel in wheels]
            wheels += tuple(wheel for wheel in found if (wheel.filename, wheel.sha256) not in known)
    return (_preview if arguments.dry_run else _fill)(folder, archives, wheels, settings, reporter)


def _known_targets(arguments: argparse.Namespace) -> List[str]:
    """Return the triples that ``--target`` names, each in full; raise `UsageError` for one that is unknown."""
    return [platform_from_triple(text).triple for text in arguments.targets or ()]


def _locked_wheels(lock: Lock, archives: Sequence[Archive]) -> Tuple[Wheel, ...]:
    """Return the locked wheels that fit one of the archives."""
    packages = lock.requirements.packages if lock.requirements else ()
    tags = frozenset().union(*(target_tags(archive.label, archive.triple) for archive in archives))
    wheels = list_wheels(packages, minor_of(lock.archives[0].version))
    return tuple(wheel for wheel in wheels if not tags.isdisjoint(wheel.tags))


def _select(
    arguments: argparse.Namespace,
    settings: Settings,
    reporter: Reporter,
    *,
    newest: bool,
    project: Optional[Wanted] = None,
) -> Tuple[Archive, ...]:
    """Return the archives for all requests on all targets, each once, by target and then best first.

    Without requests it is those of the *project*, which is read if it is not given.
    """
    wanted = [Wanted("", parse_request(text, source="--python")) for text in arguments.requests or ()]
    # The builds of a project never use older versions than the one that they select.
    if not wanted:
        wanted, newest = [project or _project_wants(settings, reporter)], True
    cache = open_cache(settings)
    load = partial(load_archives, settings, cache=cache, reporter=reporter)
    found: Dict[str, Archive] = {}
    for target in arguments.targets or [current_platform(settings, cache).triple]:
        for each in wanted:
            best, *older = _matching(each, target, settings, load)
            found.update((archive.filename, archive) for archive in [best, *([] if newest else older)])
    return tuple(found.values())


def _project_wants(settings: Settings, reporter: Reporter) -> Wanted:
    wanted = read_wanted(read_wrapped, settings, reporter, advice="request one: --python '>=3.12'")
    if wanted.path:
        source = settings.origin("python")
        raise UsageError(
            f"{source} names the interpreter {settings.python!r}, which is not provisioned from an archive",
            hint="unset it, or request one: --python '>=3.12'",
        )
    return wanted


def _matching(
    wanted: Wanted, target: str, settings: Settings, load: Callable[[str], Tuple[Archive, ...]]
) -> Tuple[Archive, ...]:
    """Return what a build would select, and then the newest archive of each older minor version."""
    lock = wanted.lock
    if lock is not None:
        # A locked project is built with its locked archive, even if the catalog has a newer one by now.
        return (locked_archive(lock, archives_for(target, settings, lambda _: lock.archives)[0]),)
    triple, archives = archives_for(target, settings, load)
    # It raises what a build would if nothing matches.
    select_archive(archives, wanted, triple)
    return newest_of_minors(matching_archives(archives, wanted, triple))


def _fill(
    folder: Path, archives: Sequence[Archive], wheels: Sequence[Wheel], settings: Settings, reporter: Reporter
) -> Answer:
    filled = fill_archives(folder, archives, settings, reporter)
    more = fill_wheels(folder, wheels, settings, reporter) if wheels else Filled([], [], [])
    # SHA256SUMS is a catalog, so a build would select what it lists.
    dropped = [*filled.dropped, *more.dropped]
    for name in dropped:
        reporter.info(f"removed {name} from SHA256SUMS: the file does not exist")
    fetched, present = [*filled.fetched, *more.fetched], [*filled.present, *more.present]
    lines = [f"fetched {item.filename}" for item in fetched]
    lines.append(f"{folder}: {len(fetched)} fetched, {len(present)} already present")
    data = {"fetched": _rows(fetched), "present": _rows(present), "dropped": dropped}
    return Answer({"path": str(folder), **data}, lines)


def _preview(folder: Path, archives: Sequence[Archive], wheels: Sequence[Wheel], *_: object) -> Answer:
    contents = inspect_folder(folder, [*archives, *wheels])
    lines = [f"would fetch {item.filename}" for item in contents.missing]
    lines.append(f"{folder}: {len(contents.missing)} to fetch, {len(contents.present)} already present")
    data = {"path": str(folder), "missing": _rows(contents.missing), "present": _rows(contents.present)}
    return Answer(data, lines)


def _verify(folder: Path, wanted: Sequence[Item], settings: Settings, reporter: Reporter) -> Answer:
    checked = check_folder(folder, wanted, settings, reporter)
    lines = [f"missing: {name}" for name in checked.missing]
    lines += [f"changed: {name}: {problem}" for name, problem in checked.changed.items()]
    lines += [f"extra: {name}: it is not listed in SHA256SUMS" for name in checked.extra]
    summary = f"{folder}: {len(checked.intact)} intact, {len(lines)} wrong"
    return Answer({"path": str(folder), **checked._asdict()}, [*lines, summary], int(bool(lines)))


def _rows(items: Sequence[Item]) -> List[Dict[str, Any]]:
    return [item.as_dict() for item in items]


def run_key(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Print a key for what the project in this folder, or the requests, would provision and install."""
    settings = settings._replace(offline=True)
    arguments.targets = _known_targets(arguments)
    project = None if arguments.requests else _project_wants(settings, reporter)
    lock = project.lock if project else None
    try:
        archives = _select(arguments, settings, reporter, newest=True, project=project)
    except OfflineError:
        raise OfflineError(
            "the catalog is given by URL and the cache has no copy of it; a key is made without network",
            hint="run 'provision-backend list' first, which keeps a copy, or give the catalog by a path",
        ) from None
    requirements = lock.requirements.digest if lock and lock.requirements else None
    key = cache_key(archives, requirements or "")
    rows = [each.as_dict() for each in archives]
    return Answer({"key": key, "layout": FORMAT, "archives": rows, "requirements": requirements}, [key])


def cache_key(archives: Sequence[Archive], requirements: str = "") -> str:
    """Return the key of one or more archives, and of the digest of locked requirements.

    It has at most 120 characters of ``A-Za-z0-9._-``.
    """
    # It changes exactly when what a cache would hold changes: with a version, tag, platform or hash of an archive, with
    # a locked requirement, and with the layout of the cache. It has no path and nothing else of this machine, so all
    # machines of a platform share it.
    keys = sorted({archive.key for archive in archives})
    end = f"-{requirements[:8]}" if requirements else ""
    if len(keys) == 1:
        return f"provision-backend-{FORMAT}-{keys[0]}{end}"
    # CI systems limit the length of a key: GitHub's to 512 characters.
    digest = hash_bytes("\n".join(keys).encode("ascii"))
    return f"provision-backend-{FORMAT}-{len(keys)}-interpreters-{digest[:16]}{end}"
