"""The composition root: what a build wants + settings → `Interpreter`.

`find` answers with what can be used at once: nothing is installed and the network stays untouched. `provision` makes
one available where there is none. Both decide alike, so that one can be asked in ``get_requires_for_build_*`` and the
other in the hook that builds.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, NamedTuple, Optional, Tuple

from .cache.store import Cache, Prepare, open_cache
from .catalog.selection import Archive, load_builtin_catalog, load_catalog_file, parse_catalog, select_archive
from .errors import (
    HostError,
    InstallError,
    InterpreterError,
    MissingDependencyError,
    NoMatchingArchiveError,
    OfflineError,
    UsageError,
)
from .interpreter import Interpreter, find_interpreters, inspect_interpreter
from .output import Reporter
from .project.lock import locked_archive
from .project.wanted import Lock, Wanted
from .settings import Settings
from .versions import satisfies

if TYPE_CHECKING:
    from .host.platforms import Platform

__all__ = ["find", "find_any", "load_archives", "provision", "set_aside_damaged"]

Step = Callable[[Wanted, Settings, Reporter], Optional[Interpreter]]


def find(wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Interpreter]:
    """Return the interpreter that `provision` would return, where that needs neither network nor installing.

    Returns:
        None where something would have to be downloaded, or a package is missing to find out.

    Raises:
        ProvisionError: no interpreter can be had at all, or a setting is wrong.
    """
    try:
        return _resolve(wanted, settings, reporter, _find_managed)
    except MissingDependencyError:
        return None


def find_any(wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Interpreter]:
    """Return an interpreter that is there already, though `provision` might fetch a newer one.

    Raises:
        ProvisionError: a setting is wrong, or the host was not identified.
    """
    found = find(wanted, settings._replace(offline=True), reporter)
    if found is None and settings.preference == "managed":
        found = _system(wanted)
    return found


def provision(
    wanted: Wanted, settings: Settings, reporter: Reporter, *, prepare: Optional[Prepare] = None
) -> Interpreter:
    """Return an interpreter that a build wants; download and install it where it is not there yet.

    Args:
        wanted: what the build wants.
        settings: where from, and what may be used.
        reporter: told of the download.
        prepare: what is done with an interpreter that was installed now, before those who wait for it get it.

    Raises:
        NoMatchingArchiveError: nothing in the catalog satisfies the request on this platform.
        HostError: the host was not identified, or runs no standalone CPython.
        InstallError: it could not be downloaded, verified or unpacked.
        InterpreterError: an interpreter does not start or is not what it should be.
        CacheError: the cache cannot be used.
        MissingDependencyError: a package of the extra ``provision`` is missing.
    """
    found = _resolve(wanted, settings, reporter, functools.partial(_provide_managed, prepare=prepare))
    if found is None:
        raise InterpreterError(f"no interpreter of this machine satisfies {wanted.describe()}")
    return found


def set_aside_damaged(interpreter: Interpreter, settings: Settings, reporter: Reporter) -> bool:
    """Look whether an interpreter that failed is damaged, and if so have the next `provision` make a new one beside it.

    One whose files are what they were is left alone, however it fails: another copy would fail alike.

    Args:
        interpreter: any; only one of a cache can be set aside.
        settings: of the build.
        reporter: told what is damaged.

    Returns:
        Whether it was set aside.

    Raises:
        CacheError: that could not be written down.
    """
    if interpreter.source != "managed":
        return False
    problems = open_cache(settings).condemn(interpreter)
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        reporter.info(f"{interpreter.executable} is damaged ({problems[0]}{more}) and is not used any more")
    return bool(problems)


def load_archives(settings: Settings, triple: str, cache: Cache, reporter: Reporter) -> Tuple[Archive, ...]:
    """Read the catalog for one target triple: the built-in one, or the one that the settings name.

    Raises:
        CatalogError: it is unreadable or malformed.
        DownloadError: its URL did not answer.
    """
    if not settings.catalog:
        return load_builtin_catalog(triple)
    if "://" not in settings.catalog:
        return load_catalog_file(Path(settings.catalog).expanduser())
    from .install.catalogs import fetch_catalog

    return parse_catalog(fetch_catalog(settings, cache, reporter), source="the catalog")


def _resolve(wanted: Wanted, settings: Settings, reporter: Reporter, managed: Step) -> Optional[Interpreter]:
    if wanted.path:
        return _given(wanted, settings)
    if settings.preference == "only-system":
        found = _system(wanted)
        if found is None:
            raise InterpreterError(
                f"no interpreter of this machine satisfies {wanted.describe()}",
                hint="install one, or allow others with preference = system or managed",
            )
        return found
    if settings.preference == "system":
        return _system(wanted) or managed(wanted, settings, reporter)
    # A lock says which interpreter it is, so no other one may stand in for it.
    if settings.preference == "only-managed" or wanted.lock is not None:
        return managed(wanted, settings, reporter)
    return _managed_or_system(wanted, settings, reporter, managed)


def _managed_or_system(wanted: Wanted, settings: Settings, reporter: Reporter, managed: Step) -> Optional[Interpreter]:
    try:
        return managed(wanted, settings, reporter)
    except (HostError, NoMatchingArchiveError, OfflineError) as exc:
        # Where no archive can serve, an interpreter of the machine may. A failed download is no such case: it would
        # make the interpreter of a build depend on the network's mood.
        found = _system(wanted)
        if found is None:
            exc.hint += (
                "\nno interpreter of this machine satisfies it either; install one, or name a catalog and mirror"
            )
            raise
        reporter.info(f"{exc.message}; using {found.executable} (CPython {found.version}) of this machine")
        return found


def _given(wanted: Wanted, settings: Settings) -> Interpreter:
    if not os.path.exists(wanted.path):
        raise UsageError(f"{settings.origin('python')} names {wanted.path!r}, which does not exist")
    found = inspect_interpreter(Path(wanted.path), source="given")
    if not satisfies(wanted.requires_python, found.version):
        raise InterpreterError(
            f"{wanted.path} is Python {found.version}, which does not satisfy {wanted.describe()}",
            hint=f"it was named by {settings.origin('python')}",
        )
    return found


def _system(wanted: Wanted) -> Optional[Interpreter]:
    def accepts(version: str, freethreaded: bool) -> bool:
        return wanted.accepts(version, freethreaded=freethreaded)

    return next(find_interpreters(accepts), None)


class _Choice(NamedTuple):
    """The archive that a request comes down to, and where it belongs."""

    cache: Cache
    platform: Platform
    archive: Archive


def _choose(wanted: Wanted, settings: Settings, reporter: Reporter, *, once: bool = False) -> _Choice:
    from .cache.platform import current_platform, detected_once

    cache = open_cache(settings)
    for root in cache.roots:
        cache.trust(root)  # What is remembered there is believed next.
    with detected_once(settings, cache) if once else contextlib.nullcontext():
        platform = current_platform(settings, cache)
    lock = wanted.lock

    def load(triple: str) -> Tuple[Archive, ...]:
        # Whatever a catalog has by now, newer archives or this one no more, it is not looked into.
        return load_archives(settings, triple, cache, reporter) if lock is None else lock.archives

    triple, archives = _archives_for(platform, settings, load)
    if lock is not None:
        return _Choice(cache, platform, locked_archive(lock, triple))
    archive = select_archive(archives, requires_python=wanted.requires_python, request=wanted.request, triple=triple)
    return _Choice(cache, platform, archive)


def _archives_for(
    platform: Platform, settings: Settings, load: Callable[[str], Tuple[Archive, ...]]
) -> Tuple[str, Tuple[Archive, ...]]:
    """Return the triple to select for, with the microarchitecture level that the settings ask for, and its archives.

    A level is checked on each use and not only before a download: a cache may be shared with another CPU, and the
    wrong level ends in SIGILL in the middle of a build (uv#8499).
    """
    if settings.cpu_level in ("", "baseline"):
        return platform.triple, load(platform.triple)
    from .host.cpu import leveled_triples
    from .host.detection import check_archive_runs

    for triple in leveled_triples(platform.triple, settings.cpu_level):
        archives = load(triple)
        if settings.cpu_level != "auto" or any(archive.triple == triple for archive in archives):
            check_archive_runs(platform, triple)
            return triple, archives
    return platform.triple, load(platform.triple)


def _find_managed(wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Interpreter]:
    if "://" in settings.catalog and wanted.lock is None:
        from .install.catalogs import needs_fetching

        if needs_fetching(settings, open_cache(settings)):
            return None
    return _lookup(wanted, settings, _choose(wanted, settings, reporter))


def _lookup(wanted: Wanted, settings: Settings, choice: _Choice) -> Optional[Interpreter]:
    found = choice.cache.lookup(choice.archive)
    if found is None and settings.offline and wanted.lock is None:
        found = _other_published(wanted, choice)
    return found


def _other_published(wanted: Wanted, choice: _Choice) -> Optional[Interpreter]:
    """Find another interpreter in the cache that will do; only asked offline, since the newest one is preferred."""
    from packaging.version import Version

    usable = (
        interpreter
        for interpreter in choice.cache.published()
        if interpreter.triple == choice.archive.triple
        and wanted.accepts(interpreter.version, freethreaded=interpreter.freethreaded)
    )
    return max(usable, key=lambda interpreter: Version(interpreter.version), default=None)


def _provide_managed(
    wanted: Wanted, settings: Settings, reporter: Reporter, *, prepare: Optional[Prepare] = None
) -> Interpreter:
    cache, platform, archive = choice = _choose(wanted, settings, reporter, once=True)
    found = _lookup(wanted, settings, choice)
    if found is not None:
        cache.note_use(found)
        return found
    if settings.offline and not _has_local_mirror(settings):
        raise OfflineError(
            f"{archive.filename} is not in the cache, and offline is set",
            hint=f"the cache is {cache.root}\nprovision it once with network, or name a shared cache or a local mirror",
        )
    from .host.detection import check_archive_runs

    check_archive_runs(platform, archive.triple)

    def build(*places: Path) -> Dict[str, Any]:
        # Those who wait while another process does it, and find it done, import none of what it takes.
        from .install.install import tree_maker

        return tree_maker(archive, platform, settings, reporter)(*places)

    try:
        interpreter = cache.provide(
            archive, build, lock_timeout=settings.lock_timeout, reporter=reporter, prepare=prepare
        )
    except InstallError as exc:
        exc.hint = _with_lock(exc.hint, wanted.lock)
        raise
    cache.note_use(interpreter)
    if not settings.target:
        from .cache.platform import remember_platform

        remember_platform(platform, cache)
    return interpreter


def _with_lock(hint: str, lock: Optional[Lock]) -> str:
    """Add to a hint that no other archive would do, so that nobody looks for the reason in a catalog."""
    if lock is None:
        return hint
    mine = f"the project is locked to this archive, with this sha256, in {lock.place}"
    return "\n".join([*hint.splitlines(), mine, "'provision-backend lock --upgrade' moves it to a newer one"])


def _has_local_mirror(settings: Settings) -> bool:
    return any("://" not in mirror or mirror.startswith("file://") for mirror in settings.mirror)
