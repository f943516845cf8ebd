"""What the checks examine, and a `Finding`, the result of a check.

The settings, the project and the machine are looked up once and only on request. Nothing here writes: the platform is
not remembered, and no copy of a catalog is kept. A lookup that failed fails again with the same error, so that each
check can report what the error means for it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, TypeVar

from ..cache.platform import current_platform
from ..cache.store import Cache, open_cache
from ..catalog.archive import Archive
from ..catalog.wanted import Wanted
from ..errors import CatalogError, DownloadError, MissingDependencyError, ProvisionError
from ..files import read_file
from ..host.detection import detect_platform
from ..host.platforms import Platform, platform_from_triple
from ..install.catalogs import fetch_archives, load_archives
from ..output import Reporter, explained, printable
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project, is_wrapped, parse_pyproject, read_project
from ..provision import Explanation, Lookups, explain
from ..settings import Settings

__all__ = ["MAX_WAIT", "Context", "Finding", "count", "ok", "problem", "run_within", "warning"]


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    status: str
    """``ok``; ``warning`` for what may matter; ``problem`` for what makes a build fail, or do something unwanted."""
    found: str
    """What was examined and found, without a full stop."""
    advice: str = ""
    """What to do, perhaps in several lines; empty if nothing has to be done."""
    check: str = ""
    """Name of the check; set after it has run."""

    def as_dict(self) -> Dict[str, str]:
        """Return the object that ``--json`` prints."""
        return {"check": self.check, "status": self.status, "found": self.found, "advice": self.advice}

    def lines(self) -> List[str]:
        """Return a line for the user, and those of the advice below it."""
        # A path, or the text of a server or a file, may hold escape sequences.
        first = f"{self.status:<7}  {self.check}: {printable(self.found)}"
        return [first, *(f"         {printable(line)}" for line in self.advice.splitlines())]


ok = functools.partial(Finding, "ok")  # makes a finding about which nothing has to be done
warning = functools.partial(Finding, "warning")  # makes a finding that may matter
problem = functools.partial(Finding, "problem")  # makes a finding that makes a build fail, or do something unwanted
MAX_WAIT = 10.0  # seconds within which a server must accept a connection, and send something

Result = TypeVar("Result")


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 problem``, ``2 problems``, ``no problems``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def run_within(seconds: float, tasks: Iterable[Callable[[], None]]) -> bool:
    """Run functions side by side, and return whether all of them have ended in time; one that has not goes on."""
    # A call that hangs on a dead network file system or a name server cannot be interrupted, only abandoned.
    end = time.monotonic() + seconds
    started = []
    for task in tasks:
        thread = threading.Thread(target=task, daemon=True)
        try:
            thread.start()
            started.append(thread)
        except RuntimeError:
            # Old container runtimes refuse clone3, so that no thread can be started (pip#11665); then it may hang.
            task()
    for thread in started:
        thread.join(max(end - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in started)


def _once(method: Callable[[Context], Result]) -> Callable[[Context], Result]:
    """Run a method once, and give its result or its error again after that."""
    name = method.__name__

    @functools.wraps(method)
    def _wrapper(self: Context) -> Result:
        if name not in self.answers:
            # The check that called it first was given up if this hangs, and later checks must not wait again.
            self.answers[name] = ProvisionError(f"unknown: looking up the {name} timed out")
            try:
                with explained():
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


@dataclass
class Context:
    """One look at a machine and, if there is one, at a project."""

    settings: Settings
    directory: Path
    """The project's folder."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    root: Path = Path("/")
    """The machine's root folder; another one in tests."""
    full: bool = False
    """Whether to compare every file of the cache with the manifest of its entry."""
    answers: Dict[str, Any] = field(default_factory=dict)
    """The results and errors of the lookups so far, by the name of the method."""

    @_once
    def project(self) -> Optional[Project]:
        """Read the project; None if there is none, or if it does not build through us; ProjectError if it is broken."""
        path = self.directory / "pyproject.toml"
        if not os.path.lexists(path):
            return None
        # What is wrong with a file that cannot be read is reported by `read_project`.
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if not is_wrapped(parse_pyproject(read_file(path).decode("utf-8"))):
                return None
        return read_project(self.directory.resolve())

    @_once
    def plan(self) -> Optional[Plan]:
        """Decide how the project would be built; None without a project."""
        project = self.project()
        return None if project is None else make_plan(project, self.settings)

    @_once
    def wanted(self) -> Wanted:
        """Return the requirements for the interpreter; without a project, those of the settings."""
        return (self.plan() or make_plan(Project(self.directory), self.settings)).wanted

    @_once
    def platform(self) -> Platform:
        """Detect the platform of the machine, or take that of the setting ``target``."""
        if self.settings.target:
            return platform_from_triple(self.settings.target)
        try:
            return detect_platform(root=self.root)
        except MissingDependencyError:
            # A build would use the platform that is remembered beside the cache, which needs no package.
            return current_platform(self.settings, self.cache())

    def cache(self) -> Cache:
        """Return the caches; raises CacheError if none is set and there is no home directory."""
        return open_cache(self.settings)

    @_once
    def explanation(self) -> Explanation:
        """Decide, as a build does, which interpreter it would get."""
        try:
            wanted = self.wanted()
        except ProvisionError:
            # The checks of the machine go on without a usable project, as if any Python satisfied it.
            wanted = Wanted("")
        lookups = Lookups(lambda *_: self.platform(), self._load_archives)
        return explain(wanted, self.settings, Reporter(io.StringIO()), lookups=lookups)

    def _load_archives(self, settings: Settings, triple: str, cache: Cache, reporter: Reporter) -> Tuple[Archive, ...]:
        if "://" not in settings.catalog or settings.offline:
            return load_archives(settings, triple, cache, reporter)
        # `fetch_catalog` would keep a copy in the cache, and with it the next build would behave differently.
        try:
            return fetch_archives(self.probe_settings())[1]
        except (CatalogError, DownloadError) as exc:
            try:
                # A build would take the copy in the cache too.
                return load_archives(settings._replace(offline=True), triple, cache, reporter)
            except ProvisionError:
                raise exc from None

    def needed(self) -> bool:
        """Tell whether the build needs an interpreter from a cache; true if that is unknown."""
        with contextlib.suppress(ProvisionError):
            plan = self.plan()
            if plan is not None and not plan.provision:
                return False
        explanation = self.explanation()
        found = explanation.interpreter
        # If an interpreter of the machine only stands in, the archive would be used once the reason is gone.
        return found is None or found.source == "managed" or explanation.reason is not None

    def fetching(self) -> bool:
        """Tell whether that interpreter has to be installed first; true if that is unknown."""
        return self.needed() and self.explanation().interpreter is None

    def if_needed(self, found: str, advice: str = "") -> Finding:
        """Return a problem if the build needs an interpreter from a cache, else a warning."""
        return (problem if self.needed() else warning)(found, advice)

    def if_fetching(self, found: str, advice: str = "") -> Finding:
        """Return a problem if an interpreter has to be installed first, else a warning."""
        return (problem if self.fetching() else warning)(found, advice)

    def probe_settings(self) -> Settings:
        """Return the settings to ask sources with: once, and with short time-outs."""
        settings = self.settings
        connect, read = min(settings.connect_timeout, MAX_WAIT), min(settings.read_timeout, MAX_WAIT)
        return settings._replace(connect_timeout=connect, read_timeout=read, retries=0)
