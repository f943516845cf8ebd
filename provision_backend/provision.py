"""Decide which interpreter a build gets, and provision it.

`explain` makes the decision and records the reasons. `find` returns the interpreter of the explanation, `provision`
installs it if necessary, and ``doctor`` prints the explanation: they cannot decide differently.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, cast

from .cache.entries import entry_of
from .cache.manifest import is_whole
from .cache.platform import current_platform, remember_platform
from .cache.store import Cache, open_cache
from .catalog.archive import Archive
from .catalog.selection import select_archive
from .catalog.wanted import Wanted, locked_archive
from .errors import (
    HostError,
    InstallError,
    InterpreterError,
    MissingDependencyError,
    NoMatchingArchiveError,
    OfflineError,
    ProvisionError,
    UsageError,
)
from .host.platforms import Platform
from .install.catalogs import archives_for, load_archives, needs_fetching
from .interpreter import Interpreter, find_interpreters, inspect_interpreter
from .output import Reporter
from .settings import Settings
from .versions import parse_version, satisfies

__all__ = [
    "Choice", "Explanation", "Lookups", "explain", "find", "find_any", "is_broken", "provision", "set_aside_damaged",
]  # fmt: skip


class Lookups(NamedTuple):
    """The functions that look up the platform and the catalog; those of ``doctor`` write nothing."""

    platform: Callable[[Settings, Cache], Platform]
    """Returns the platform to provision for."""
    archives: Callable[[Settings, str, Cache, Reporter], Tuple[Archive, ...]]
    """Loads the catalog for a target triple, as `load_archives` does."""
    fetches: bool = True
    """Whether ``archives`` may use the network; if it may not but has to, nothing is decided."""
    upgrade: bool = False
    """Whether to ignore an older patch release in a cache."""


class Choice(NamedTuple):
    """The selected archive, and the cache and the platform of its interpreter."""

    archive: Archive
    cache: Cache
    platform: Platform


class Explanation:
    """The answer to a request, and the reasons.

    ``interpreter`` is the one to use; without it, `provision` installs ``choice``; with an ``error``, neither is
    possible. All three are None only if the catalog had to be fetched and `Lookups.fetches` is false.
    """

    def __init__(self, wanted: Wanted, settings: Settings, reporter: Reporter, lookups: Lookups) -> None:
        self.wanted = wanted
        self.settings = settings
        self.interpreter: Optional[Interpreter] = None
        self.choice: Optional[Choice] = None
        self.error: Optional[ProvisionError] = None
        self.reason: Optional[ProvisionError] = None
        """Why an interpreter of the machine stands in for an archive."""
        self.passed_over: List[Tuple[str, str]] = []
        """Interpreters of the machine that were rejected: the path, and the reason."""
        self.triple = ""
        """The triple that archives are selected for, with its microarchitecture level."""
        self.archives: Optional[Tuple[Archive, ...]] = None
        """The catalog, or the archives of the lock; None if it was not read."""
        self._reporter = reporter
        self._lookups = lookups

    def decide(self) -> None:
        """Try what the settings allow, in their order of preference; raises the reason why nothing can be used."""
        wanted, preference = self.wanted, self.settings.preference
        if wanted.path:
            self.interpreter = _inspect_named(wanted, self.settings)
        elif preference in ("system", "only-system") and self._take_system():
            return
        elif preference == "only-system":
            raise InterpreterError(
                f"no interpreter of this machine satisfies {wanted.describe()}",
                hint="install one, or allow others with preference = system or managed",
            )
        elif preference == "managed" and wanted.lock is None:
            self._choose_or_take_system()
        else:
            # A lock decides about the interpreter, so no other one may stand in for it.
            self._choose()

    def _choose_or_take_system(self) -> None:
        try:
            self._choose()
        except (HostError, NoMatchingArchiveError, OfflineError) as exc:
            # If no archive can be used, an interpreter of the machine may be. A failed download is no such case: the
            # interpreter that builds a wheel would then depend on the state of the network at that moment.
            if not self._take_system():
                exc.hint += (
                    "\nno interpreter of this machine satisfies it either; install one, or name a catalog and mirror"
                )
                raise
            self.reason = exc

    def _take_system(self) -> bool:
        self.interpreter = next(find_interpreters(self.wanted.accepts, self.passed_over), None)
        return self.interpreter is not None

    def _choose(self) -> None:
        wanted, settings, lock = self.wanted, self.settings, self.wanted.lock
        cache = open_cache(settings)
        for root in cache.roots:
            cache.trust(root)  # This comes before reading the platform that is remembered there.
        if lock is None and not self._lookups.fetches and needs_fetching(settings, cache):
            return
        platform = self._lookups.platform(settings, cache)

        def _load(triple: str) -> Tuple[Archive, ...]:
            # A lock counts even if the catalog has newer archives by now, or no longer has that one.
            return lock.archives if lock else self._lookups.archives(settings, triple, cache, self._reporter)

        self.triple, self.archives = archives_for(platform.triple, settings, _load)
        archive = locked_archive(lock, self.triple) if lock else select_archive(self.archives, wanted, self.triple)
        self.choice = Choice(archive, cache, platform)
        self.interpreter = cache.lookup(archive)
        if self.interpreter is None and lock is None and not self._lookups.upgrade:
            # A newer patch release is no reason to fetch anything; `install --upgrade` is for that.
            self.interpreter = next((found for found in self.usable() if _same_minor(found, archive)), None)
        # A microarchitecture level is checked on each use and not only before a download: a cache may be shared with
        # another CPU, and the wrong level ends in SIGILL in the middle of a build (uv#8499).
        if self.interpreter is None or self.triple != platform.triple:
            self._check_installable(self.choice)

    def _check_installable(self, choice: Choice) -> None:
        from .host.compatibility import check_archive_runs  # A warm cache has no use for it and for pyelftools.

        check_archive_runs(choice.platform, choice.archive.triple)
        local = any("://" not in mirror or mirror.startswith("file://") for mirror in self.settings.mirror)
        if self.interpreter is None and self.settings.offline and not local:
            raise OfflineError(
                f"{choice.archive.filename} is not in the cache, and offline is set",
                hint=f"the cache is {choice.cache.root}\n"
                f"provision it once with network, or name a shared cache or a local mirror{self.advise_other()}",
            )

    def usable(self) -> List[Interpreter]:
        """Return the interpreters in the caches that satisfy the request, newest first, in the catalog or not."""
        if self.choice is None:
            return []
        found = [
            each
            for each in self.choice.cache.published()
            if each.triple == self.triple and self.wanted.accepts(each.version, freethreaded=each.freethreaded)
        ]
        return sorted(found, key=lambda each: parse_version(each.version), reverse=True)

    def advise_other(self) -> str:
        """Return lines for a hint about alternatives to an archive that is not available."""
        lock = self.wanted.lock
        if lock is not None:
            # There is no alternative, and a reader would look for the reason in the catalog.
            return (
                f"\nthe project is locked to this archive, with this sha256, in {lock.place}"
                "\n'provision-backend lock --upgrade' moves it to a newer one"
            )
        # Another minor version is used only on request: the tag of a wheel must not depend on a cache.
        for other in self.usable():
            advice = f"PROVISION_BACKEND_PYTHON={other.minor}"
            return f"\nthe cache has CPython {other.version}, which satisfies it too: {advice}"
        return ""


def explain(
    wanted: Wanted, settings: Settings, reporter: Reporter, *, lookups: Optional[Lookups] = None
) -> Explanation:
    """Decide which interpreter a build gets, without installing it; an error is part of the answer.

    The default *lookups* are those of a build.
    """
    explanation = Explanation(wanted, settings, reporter, lookups or Lookups(current_platform, load_archives))
    try:
        explanation.decide()
    except ProvisionError as exc:
        explanation.error = exc
    return explanation


def find(wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Interpreter]:
    """Return the interpreter that `provision` would return; None if that needs a download, or a missing package."""
    explanation = explain(wanted, settings, reporter, lookups=Lookups(current_platform, load_archives, fetches=False))
    if isinstance(explanation.error, (MissingDependencyError, OfflineError)):
        return None
    if explanation.error is not None:
        raise explanation.error
    return explanation.interpreter


def find_any(wanted: Wanted, settings: Settings, reporter: Reporter) -> Optional[Interpreter]:
    """Return an existing interpreter that satisfies a request, even if `provision` might fetch a newer one."""
    explanation = explain(wanted, settings._replace(offline=True), reporter)
    error = explanation.error
    if error is not None and not isinstance(error, (MissingDependencyError, OfflineError)):
        raise error
    found = explanation.interpreter
    if found is None or explanation.reason is not None:
        found = next(iter(explanation.usable()), found)
    if found is None and settings.preference == "managed":
        found = explain(wanted, settings._replace(preference="only-system"), reporter).interpreter
    return found


def provision(
    wanted: Wanted, settings: Settings, reporter: Reporter, *, upgrade: bool = False, with_pip: bool = False
) -> Interpreter:
    """Return the interpreter for a build; download and install it if it is not in a cache yet.

    With *upgrade* it is the newest patch release of the catalog, even if a cache has an older one; *with_pip* says that
    pip of an interpreter that is installed will be used, and is to be compiled too.
    """
    lookups = Lookups(current_platform, load_archives, upgrade=upgrade)
    explanation = explain(wanted, settings, reporter, lookups=lookups)
    if explanation.error is not None:
        raise explanation.error
    found, choice = explanation.interpreter, explanation.choice
    if found is None:
        # Without an error, and if the catalog may be fetched, there is either an interpreter or a choice.
        found = _install(cast("Choice", choice), explanation, reporter, with_pip=with_pip)
    if explanation.reason is not None:
        reporter.info(
            f"{explanation.reason.message}; using {found.executable} (CPython {found.version}) of this machine"
        )
    elif choice is not None:
        choice.cache.note_use(found)
    return found


def is_broken(interpreter: Interpreter) -> bool:
    """Return whether an interpreter of a cache lacks files without which no environment can be made of it."""
    entry = entry_of(interpreter)
    # A tree that somebody has made smaller, as in an image, may do all the same.
    if entry is None or is_whole(entry):
        return False
    from .install.smoke import smoke_run  # What is whole is not started.

    try:
        smoke_run(Path(interpreter.executable), interpreter.label, interpreter.triple, thorough=True)
    except InterpreterError:
        return True
    return False


def set_aside_damaged(interpreter: Interpreter, settings: Settings, reporter: Reporter) -> bool:
    """Return whether an interpreter that failed has changed since it was published.

    If so, bytecode that was added is removed, but not from a shared cache, and for any other damage the next
    `provision` makes a new one beside it; if that cannot be recorded, `CacheError` is raised.
    """
    # An interpreter whose files are unchanged is kept, however it fails: another copy would fail in the same way.
    entry = entry_of(interpreter)
    if interpreter.source != "managed" or entry is None:
        return False
    try:
        found = open_cache(settings).repair(entry)
    except OSError:
        return False  # What cannot be read now says nothing of the interpreter, and the first failure more than this.
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    if found and all(each.is_added_bytecode and not os.path.lexists(entry / each.path) for each in found):
        reporter.info(f"removed bytecode that was added to {interpreter.executable} ({found[0]}{more}); trying again")
    elif found:
        damage = next((each for each in found if not each.is_added_bytecode), found[0])
        reporter.info(f"{interpreter.executable} is damaged ({damage}{more}) and is no longer used")
    return bool(found)


def _inspect_named(wanted: Wanted, settings: Settings) -> Interpreter:
    if not os.path.exists(wanted.path):
        raise UsageError(f"{settings.origin('python')} names {wanted.path!r}, which does not exist")
    if os.path.isdir(wanted.path):
        raise UsageError(
            f"{settings.origin('python')} names {wanted.path!r}, which is a folder",
            hint="name the interpreter in it, such as bin/python3",
        )
    found = inspect_interpreter(Path(wanted.path), source="given")
    if not satisfies(wanted.requires_python, found.version):
        raise InterpreterError(
            f"{wanted.path} is Python {found.version}, which does not satisfy {wanted.describe()}",
            hint=f"it was named by {settings.origin('python')}",
        )
    return found


def _install(choice: Choice, explanation: Explanation, reporter: Reporter, *, with_pip: bool) -> Interpreter:
    settings, (archive, cache, platform) = explanation.settings, choice

    def _build(*folders: Path) -> Dict[str, Any]:
        # A process that only waits for another one's download imports none of the download code.
        from .install.install import tree_maker

        return tree_maker(archive, platform, settings, reporter, with_pip=with_pip)(*folders)

    try:
        made = cache.provide(archive, _build, lock_timeout=settings.lock_timeout, reporter=reporter)
    except InstallError as exc:
        exc.hint += explanation.advise_other()
        raise
    if not settings.target:
        # There was no cache to write it to when the platform was detected for the first time.
        remember_platform(platform, cache)
    return made


def _same_minor(interpreter: Interpreter, archive: Archive) -> bool:
    # A pre-release is not a patch release: it is used only if the selected archive is one too.
    is_final = not parse_version(interpreter.version).is_prerelease
    return interpreter.minor == archive.minor and (archive.prerelease or is_final)
