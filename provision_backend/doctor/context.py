"""What the checks look at: the settings, the project and the machine, each found out once and only when it is asked.

Nothing here writes: the platform is not remembered, and a catalog that is given by URL is not kept. What failed once
fails again with the same error, so that each check can say what it means for it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple, TypeVar

from ..cache.store import Cache, open_cache
from ..catalog.selection import Archive, select_archive
from ..errors import InterpreterError, MissingDependencyError, ProvisionError
from ..output import Reporter
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project, is_wrapped, parse_pyproject, read_project
from ..project.wanted import Lock, Wanted, locked_archive
from ..provision import archives_for, find, load_archives
from ..settings import Settings
from ..versions import parse_request
from .findings import Finding, problem, warning

if TYPE_CHECKING:
    from ..host.platforms import Platform
    from ..install.sources import DownloadOptions
    from ..interpreter import Interpreter

__all__ = ["MAX_WAIT", "Catalog", "Context"]

MAX_WAIT = 10.0
"""Seconds that a server may take to let itself be connected to, or to say something."""

Result = TypeVar("Result")


class Catalog(NamedTuple):
    """The archives to select from."""

    triple: str
    """The platform's, with the microarchitecture level that the settings ask for."""
    archives: Tuple[Archive, ...]


def _once(method: Callable[[Context], Result]) -> Callable[[Context], Result]:
    """Have a method work once, and give its result or its error again after that.

    One that hangs was left behind by the check that asked first; whoever asks then does not wait again.
    """
    name = method.__name__

    def wrapper(self: Context) -> Result:
        if name not in self.answers:
            self.answers[name] = (None, ProvisionError(f"not known: looking for the {name} does not come to an end"))
            try:
                self.answers[name] = (method(self), None)
            except ProvisionError as exc:
                self.answers[name] = (None, exc)
            except Exception as exc:
                self.answers[name] = (None, ProvisionError(f"not known: looking for the {name} failed: {exc}"))
                raise
        result, error = self.answers[name]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    wrapper.__doc__ = method.__doc__
    return wrapper


class Context:
    """One look at a machine and, where there is one, at a project.

    Args:
        settings: of whoever builds.
        directory: the project's folder.
        environ: the environment; default the process's own.
        root: the machine's root folder; another one in tests.
        full: look at every file of the cache.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        *,
        environ: Optional[Mapping[str, str]] = None,
        root: Path = Path("/"),
        full: bool = False,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.environ = os.environ if environ is None else environ
        self.root = root
        self.full = full
        self.reporter = Reporter(io.StringIO())
        self.answers: Dict[str, Tuple[Any, Optional[ProvisionError]]] = {}

    @_once
    def project(self) -> Optional[Project]:
        """Read the project; None where there is none, or one that does not build through us.

        Raises:
            ProjectError: its ``pyproject.toml`` is broken.
        """
        path = self.directory / "pyproject.toml"
        if not os.path.lexists(path):
            return None
        try:
            # Only what can be read at all can be somebody else's; the reader says what is wrong with the rest.
            if not is_wrapped(parse_pyproject(path.read_bytes().decode("utf-8"))):
                return None
        except (OSError, UnicodeDecodeError):
            pass
        return read_project(self.directory.resolve())

    @_once
    def plan(self) -> Optional[Plan]:
        """Decide how the project would be built, None without one; raises what is wrong with it or with a setting."""
        project = self.project()
        return None if project is None else make_plan(project, self.settings)

    @_once
    def wanted(self) -> Wanted:
        """Return what an interpreter must be; without a project, whatever the settings say.

        Raises:
            ProvisionError: the project is broken, or the setting ``python`` is no request.
        """
        plan = self.plan()
        if plan is not None:
            return plan.wanted
        python = self.settings.python
        if "/" in python or os.sep in python:
            return Wanted("", None, os.path.abspath(os.path.expanduser(python)))
        source = self.settings.origin("python")
        return Wanted("", parse_request(python, source=source) if python else None)

    @_once
    def platform(self) -> Platform:
        """Find out what the machine is.

        Raises:
            HostError: it was not identified.
            MissingDependencyError: pyelftools is not installed, and nobody has found out before.
            UsageError: the setting ``target`` is not a target triple.
        """
        from ..cache.platform import current_platform
        from ..host.detection import detect_platform
        from ..host.platforms import platform_from_triple

        if self.settings.target:
            return platform_from_triple(self.settings.target)
        try:
            return detect_platform(root=self.root)
        except MissingDependencyError:
            # What is remembered will do, and without the package nothing else can be written down.
            return current_platform(self.settings, self.cache())

    @_once
    def cache(self) -> Cache:
        """Return the caches; raises CacheError where none is named and there is no home directory."""
        return open_cache(self.settings)

    @_once
    def catalog(self) -> Catalog:
        """Load the archives for the machine.

        Raises:
            ProvisionError: the machine is not known, or the catalog cannot be had.
        """
        return Catalog(*archives_for(self.platform().triple, self.settings, self._load))

    def _load(self, triple: str) -> Tuple[Archive, ...]:
        lock = self._lock()
        if lock is not None:
            return lock.archives
        if "://" not in self.settings.catalog or self.settings.offline:
            return load_archives(self.settings, triple, self.cache(), self.reporter)
        from ..catalog.selection import parse_catalog
        from ..errors import DownloadError
        from ..install.download import fetch_text

        try:
            return parse_catalog(
                fetch_text(self.settings.catalog, options=self.download_options()), source="the catalog"
            )
        except DownloadError as exc:
            try:
                # A build would take the copy in the cache too.
                return load_archives(self.settings._replace(offline=True), triple, self.cache(), self.reporter)
            except ProvisionError:
                raise exc from None

    def _lock(self) -> Optional[Lock]:
        try:
            return self.wanted().lock
        except ProvisionError:
            return None  # A project that cannot be read says nothing about the catalog.

    @_once
    def archive(self) -> Optional[Archive]:
        """Select the archive that would be provisioned; None where an interpreter of the machine was asked for.

        Raises:
            ProvisionError: there is none, or what it is selected by is not known.
        """
        wanted = self.wanted()
        if wanted.path or self.settings.preference == "only-system":
            return None
        triple, archives = self.catalog()
        if wanted.lock is not None:
            return locked_archive(wanted.lock, triple)
        return select_archive(archives, requires_python=wanted.requires_python, request=wanted.request, triple=triple)

    @_once
    def machine_interpreter(self) -> Optional[Interpreter]:
        """Return the interpreter of the machine that would be used before any archive; None for none.

        Raises:
            ProvisionError: one was asked for and will not do, or there is none where no other is allowed.
        """
        wanted = self.wanted()
        if wanted.path or self.settings.preference == "only-system":
            return find(wanted, self.settings, self.reporter)
        return self.fallback() if self.settings.preference == "system" else None

    @_once
    def fallback(self) -> Optional[Interpreter]:
        """Return an interpreter of the machine that satisfies what is wanted; None for none."""
        try:
            return find(self.wanted(), self.settings._replace(preference="only-system"), self.reporter)
        except InterpreterError:
            return None

    @_once
    def cached(self) -> Optional[Interpreter]:
        """Return the interpreter of the selected archive from the caches, or another one that serves offline.

        Raises:
            ProvisionError: a cache is not to be trusted, or no archive was selected.
        """
        archive = self.archive()
        if archive is None:
            return None
        found = self.cache().lookup(archive)
        wanted = self.wanted()
        if found is None and self.settings.offline and wanted.lock is None:
            for other in self.cache().published():
                if other.triple == archive.triple and wanted.accepts(other.version, freethreaded=other.freethreaded):
                    return other
        return found

    def needed(self) -> bool:
        """Whether the build needs an interpreter from a cache; yes where that cannot be told."""
        try:
            plan = self.plan()
            return (plan is None or plan.provision) and self.machine_interpreter() is None
        except ProvisionError:
            return True

    def fetching(self) -> bool:
        """Whether that interpreter has to be made first; yes where that cannot be told."""
        try:
            return self.needed() and self.cached() is None
        except ProvisionError:
            return self.needed()

    def report(self, found: str, advice: str = "", *, matters: bool) -> Finding:
        """Return a problem where the build depends on it, else a warning."""
        return (problem if matters else warning)(found, advice)

    def download_options(self) -> DownloadOptions:
        """Return how sources are asked: once, and with bounded patience."""
        from ..install.sources import DownloadOptions

        return DownloadOptions(
            mirrors=self.settings.mirror,
            offline=self.settings.offline,
            connect_timeout=min(self.settings.connect_timeout, MAX_WAIT),
            read_timeout=min(self.settings.read_timeout, MAX_WAIT),
            retries=0,
        )
