"""What the checks look at: the settings, the project and the machine, each found out once and only on request.

Nothing here writes: the platform is not remembered, and no copy of a catalog is kept. What failed once fails again with
the same error, so that each check can report what it means for it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, TypeVar

from ..cache.platform import current_platform
from ..cache.store import Cache, open_cache
from ..catalog.selection import Archive, parse_catalog
from ..errors import DownloadError, MissingDependencyError, ProvisionError
from ..host.detection import detect_platform
from ..host.platforms import Platform, platform_from_triple
from ..install.catalogs import load_archives
from ..install.download import fetch_text
from ..install.sources import DownloadOptions, download_options
from ..output import Reporter
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project, is_wrapped, parse_pyproject, read_project
from ..project.wanted import Lock, Wanted
from ..provision import Explanation, Lookups, explain
from ..settings import Settings
from ..versions import parse_request
from .findings import Finding, problem, warning

__all__ = ["MAX_WAIT", "Context"]

MAX_WAIT = 10.0
"""Seconds within which a server must accept a connection, and send something."""

Result = TypeVar("Result")


def _once(method: Callable[[Context], Result]) -> Callable[[Context], Result]:
    """Have a method work once, and give its result or its error again after that.

    One that hangs was left behind by the check that called it first; later checks do not wait again.
    """
    name = method.__name__

    @functools.wraps(method)
    def _wrapper(self: Context) -> Result:
        if name not in self.answers:
            self.answers[name] = ProvisionError(f"unknown: looking up the {name} timed out")
            try:
                self.answers[name] = method(self)
            except ProvisionError as exc:
                self.answers[name] = exc
            except Exception as exc:
                self.answers[name] = ProvisionError(f"unknown: looking up the {name} failed: {exc}")
                raise
        answer = self.answers[name]
        if isinstance(answer, ProvisionError):
            raise answer
        return answer  # type: ignore[no-any-return]

    return _wrapper


class Context:
    """One look at a machine and, where there is one, at a project.

    Args:
        settings: those of the build.
        directory: the project's folder.
        environ: the environment; default the process's own.
        root: the machine's root folder; another one in tests.
        full: whether to compare every file of the cache with what was published.
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
        self.answers: Dict[str, Any] = {}

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
            # Only a file that can be read can be that of another backend; the reader reports what is wrong with it.
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
            ProvisionError: the project is broken, or the setting ``python`` is not a request.
        """
        plan = self.plan()
        if plan is not None:
            return plan.wanted
        python = self.settings.python
        if "/" in python or os.sep in python:
            return Wanted("", None, os.path.abspath(os.path.expanduser(python)))
        return Wanted("", parse_request(python, source=self.settings.origin("python")) if python else None)

    def lock(self) -> Optional[Lock]:
        """Return the lock of the project; None where it has none, or cannot be read."""
        try:
            return self.wanted().lock
        except ProvisionError:
            return None

    @_once
    def platform(self) -> Platform:
        """Find out what the machine is.

        Raises:
            HostError: it was not identified.
            MissingDependencyError: pyelftools is not installed, and the platform is not remembered either.
            UsageError: the setting ``target`` is not a target triple.
        """
        if self.settings.target:
            return platform_from_triple(self.settings.target)
        try:
            return detect_platform(root=self.root)
        except MissingDependencyError:
            # What is remembered will do, and without the package nothing else can be written down.
            return current_platform(self.settings, self.cache())

    def cache(self) -> Cache:
        """Return the caches; raises CacheError where none is named and there is no home directory."""
        return open_cache(self.settings)

    @_once
    def explanation(self) -> Explanation:
        """Decide, as a build does, which interpreter it would get; any Python where the project cannot be used."""
        try:
            wanted = self.wanted()
        except ProvisionError:
            wanted = Wanted("")  # The checks of the machine go on.
        lookups = Lookups(lambda *_: self.platform(), self._load_archives)
        return explain(wanted, self.settings, Reporter(io.StringIO()), lookups=lookups)

    def _load_archives(self, settings: Settings, triple: str, cache: Cache, reporter: Reporter) -> Tuple[Archive, ...]:
        if "://" not in settings.catalog or settings.offline:
            return load_archives(settings, triple, cache, reporter)
        # `fetch_catalog` would keep a copy in the cache, and with it the next build would behave differently.
        try:
            return parse_catalog(fetch_text(settings.catalog, options=self.download_options()), source="the catalog")
        except DownloadError as exc:
            try:
                # A build would take the copy in the cache too.
                return load_archives(settings._replace(offline=True), triple, cache, reporter)
            except ProvisionError:
                raise exc from None

    def needed(self) -> bool:
        """Whether the build needs an interpreter from a cache; yes where that is unknown."""
        with contextlib.suppress(ProvisionError):
            plan = self.plan()
            if plan is not None and not plan.provision:
                return False
        explanation = self.explanation()
        found = explanation.interpreter
        # Where an interpreter of the machine only stands in, the archive would be used once the reason is gone.
        return found is None or found.source == "managed" or explanation.reason is not None

    def fetching(self) -> bool:
        """Whether that interpreter has to be installed first; yes where that is unknown."""
        return self.needed() and self.explanation().interpreter is None

    def if_needed(self, found: str, advice: str = "") -> Finding:
        """Return a problem where the build needs an interpreter from a cache, else a warning."""
        return (problem if self.needed() else warning)(found, advice)

    def if_fetching(self, found: str, advice: str = "") -> Finding:
        """Return a problem where an interpreter has to be installed first, else a warning."""
        return (problem if self.fetching() else warning)(found, advice)

    def download_options(self) -> DownloadOptions:
        """Return how sources are asked: once, and with bounded patience."""
        options = download_options(self.settings)
        return options._replace(
            connect_timeout=min(options.connect_timeout, MAX_WAIT),
            read_timeout=min(options.read_timeout, MAX_WAIT),
            retries=0,
        )
