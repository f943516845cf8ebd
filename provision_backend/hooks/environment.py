"""Interpreter + requirements → `BuildEnvironment`: the virtual environment that holds the real backend.

All hooks of one build share an environment: its state is a file in the frontend's own disposable environment, which
the frontend deletes; where there is none, in a temporary folder that this process deletes. The environment itself is
one that was made moments ago for the same installation (`provision_backend.cache.environments`), or a new one among
those; or it stands beside the state, where none can be kept.

It is filled by the interpreter's own pip, or by uv, with the user's indexes (PIP_*, pip.conf, UV_*), as a frontend
fills a build environment. The frontend's own pip is out of reach: pip and build both hide it from hooks, and run under
another version it would fail (pip 23.0 on 3.12: no ``pkgutil.ImpImporter``).

What may come from the environment and what must not: `provision_backend.processes` for every child, and
`provision_backend.hooks.installers` for what installs.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

from ..cache.environments import ReusableEnvironments, fingerprint
from ..errors import BuildEnvironmentError
from ..output import Reporter
from ..processes import clean_environment
from ..settings import Settings
from .build_folders import claim, disposable_folder, frontend_folder, frontend_run, places
from .circumstances import installation_key
from .installers import Installer, find_uv
from .variables import host_variables
from .venvs import create_environment

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = [
    "BuildEnvironment",
    "existing_environment",
    "frontend_run",
    "open_environment",
]

_STATE = "provision-backend.json"


class BuildEnvironment:
    """A virtual environment of the interpreter that runs the real backend.

    Args:
        path: the environment's folder.
        interpreter: what it is made of.
        settings: say how it is filled.
        reporter: told what is installed.
        source: the source tree.
        installed: requirements that were installed already, as they were asked for.
        place: where its state is written down for the other hooks of this build; None for in itself.
    """

    def __init__(
        self,
        path: Path,
        interpreter: Interpreter,
        settings: Settings,
        reporter: Reporter,
        source: Path,
        *,
        installed: Tuple[str, ...] = (),
        place: Optional[Path] = None,
    ) -> None:
        self.path = path
        self.interpreter = interpreter
        self.settings = settings
        self.reporter = reporter
        self.source = source
        self.installed = installed
        self.place = place
        self.asked: Tuple[str, ...] = ()
        """Questions for dynamic requirements that were answered, and the answers installed."""
        self.hooks: Dict[str, List[str]] = {}
        """The optional hooks that a probe of the real backend found, by the circumstances it was made in."""
        self.candidate: Optional[Tuple[str, float, str]] = None
        """Of one that is not given to other builds yet: its key, when it was resolved, and its fingerprint then."""

    @property
    def version(self) -> str:
        """Version of the environment's interpreter."""
        return self.interpreter.version

    @property
    def python(self) -> str:
        """The environment's interpreter."""
        folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        return str(self.path / folder / name)

    def environ(self) -> Dict[str, str]:
        """Return the environment variables of a process in this build environment."""
        environ = clean_environment()
        scripts = os.path.dirname(self.python)
        environ["PATH"] = os.pathsep.join([scripts, environ["PATH"]]) if environ.get("PATH") else scripts
        # uv, CMake's FindPython and meson take the environment from here.
        environ["VIRTUAL_ENV"] = str(self.path)
        environ.update(host_variables(self.interpreter, environ))
        return environ

    @property
    def is_shared(self) -> bool:
        """Whether other builds may be using it, so that nothing can be installed into it."""
        return self.place is not None and self.path.parent != self.place.parent and self.candidate is None

    def install(self, requirements: Sequence[str], *, what: str) -> None:
        """Install what is not installed yet; what other builds use is exchanged for another environment first.

        Args:
            requirements: PEP 508 strings; markers are evaluated under this environment's interpreter.
            what: what they are, for messages.

        Raises:
            BuildEnvironmentError: the installer failed, or did not install where it should.
        """
        missing = [text for text in requirements if text not in self.installed]
        if missing and self.is_shared:
            self._exchange(missing, what)
        elif missing:
            untouched = self.candidate is not None and fingerprint(self.path) == self.candidate[2]
            began = self.candidate[1] if self.candidate else time.time()
            self.fill(missing, what=what)
            self.candidate = self._describe(began) if untouched else None
        self._publish()
        self.save()

    def fill(self, requirements: Sequence[str], *, what: str) -> None:
        """Run the installer; arguments and errors as of `install`."""
        self.reporter.detail(f"installing {what} under CPython {self.interpreter.version}: {', '.join(requirements)}")
        with self.reporter.step(f"install {what}"):
            installer = Installer(self.interpreter, self.python, self.settings, self.reporter)
            folder = frontend_folder(self.source)
            installer.install(requirements, environ=self.environ(), cwd=folder, what=what)
        self.installed += tuple(requirements)

    def _exchange(self, missing: Sequence[str], what: str) -> None:
        """Turn to an environment that has more; the one that others use stays as it is."""
        other = BuildEnvironment(
            self.path, self.interpreter, self.settings, self.reporter, self.source, place=self.place
        )
        static, wanted = self.installed, (*self.installed, *missing)
        if not _find_reusable(other, wanted):
            other.installed = ()
            other.path = self.place or self.path
            _make(other, wanted)
            began = time.time()
            other.fill(static, what="the real backend's requirements")
            other.fill(missing, what=what)
            other.candidate = other._describe(began)
        self.path, self.installed, self.candidate = other.path, other.installed, other.candidate

    def _describe(self, resolved: float) -> Optional[Tuple[str, float, str]]:
        """Return what makes it a candidate for other builds; None where it is none."""
        key = _installation(self, self.installed) if self.place and self.path.parent != self.place.parent else None
        return None if key is None else (key, resolved, fingerprint(self.path))

    def _publish(self) -> None:
        """Give it to other builds, now that it is known what this one wants it to hold."""
        pool = ReusableEnvironments.open(self.settings) if self.candidate else None
        if pool is not None and self.candidate is not None:
            key, resolved, found = self.candidate
            pool.publish(key, self.path, resolved=resolved, found=found)
            self.candidate = None

    def save(self) -> None:
        """Write down what the environment holds; the file makes it complete for the next hook process."""
        state = {
            "environment": str(self.path),
            "installed": self.installed,
            "asked": self.asked,
            "hooks": self.hooks,
            "candidate": self.candidate,
        }
        folder = self.place or self.path
        temporary = folder / f"{_STATE}.{os.getpid()}"
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(str(temporary), str(folder / _STATE))


def open_environment(
    interpreter: Interpreter, requires: Sequence[str], *, settings: Settings, reporter: Reporter, source: Path
) -> BuildEnvironment:
    """Make the build environment, or open the one that an earlier hook of the same build made.

    Args:
        interpreter: what the environment is made of.
        requires: the real backend's static requirements, installed before this returns.
        settings: of this build.
        reporter: told what is done.
        source: the source tree.

    Raises:
        BuildEnvironmentError: the environment could not be made or filled.
    """
    shared = disposable_folder()
    for place in places(shared, _environment_key(interpreter, requires)):
        environment = BuildEnvironment(place, interpreter, settings, reporter, source, place=place)
        if _load_state(environment):
            return environment
        if claim(place):
            with reporter.step("open a build environment"):
                _open(environment, requires)
            return environment
    raise BuildEnvironmentError(
        f"no folder for a build environment is free in {shared}", hint="remove the folder and build again"
    )


def _open(environment: BuildEnvironment, requires: Sequence[str]) -> None:
    try:
        if not _find_reusable(environment, requires):
            began = time.time()
            _make(environment, requires)
            if requires:
                environment.fill(requires, what="the real backend's requirements")
            environment.candidate = environment._describe(began)
        environment.save()
    except BaseException:
        # In tox's lasting environment, failed ones would take all the names that there are.
        import shutil

        for folder in (environment.path, environment.place):
            shutil.rmtree(str(folder), ignore_errors=True)
        raise


def _installation(environment: BuildEnvironment, requires: Sequence[str]) -> Optional[str]:
    """Return the key of what is installed, or is to be; None where no other build may have it."""
    installer = Installer(environment.interpreter, environment.python, environment.settings, environment.reporter)
    variables = installer.variables(environment.environ())
    folder = frontend_folder(environment.source)
    return installation_key(environment.interpreter, find_uv(environment.settings), requires, variables, folder)


def _find_reusable(environment: BuildEnvironment, requires: Sequence[str]) -> bool:
    pool = ReusableEnvironments.open(environment.settings)
    key = None if pool is None else _installation(environment, requires)
    found = None if pool is None or key is None else pool.find(key, environment.settings.environment_freshness)
    if found is None:
        return False
    environment.path, environment.installed = found, tuple(requires)
    environment.reporter.detail(f"using the build environment {found} again")
    return True


def _make(environment: BuildEnvironment, requires: Sequence[str]) -> None:
    """Make an environment with nothing in it: among those that can be reused, or beside its state."""
    pool = ReusableEnvironments.open(environment.settings)
    if pool is not None and _installation(environment, requires) is not None:
        environment.path = pool.new(environment.settings.environment_freshness) or environment.path
    with environment.reporter.step("make a virtual environment"):
        create_environment(environment.interpreter, environment.path, environment.settings)


def existing_environment(
    interpreter: Interpreter, requires: Sequence[str], *, settings: Settings, reporter: Reporter, source: Path
) -> Optional[BuildEnvironment]:
    """Open the environment that an earlier hook of the same build made; None where there is none yet."""
    shared = disposable_folder()
    if shared is None:
        return None
    for place in places(shared, _environment_key(interpreter, requires)):
        environment = BuildEnvironment(place, interpreter, settings, reporter, source, place=place)
        if _load_state(environment):
            return environment
    return None


def _environment_key(interpreter: Interpreter, requires: Sequence[str]) -> str:
    facts = json.dumps([interpreter.executable, interpreter.version, list(requires)])
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _load_state(environment: BuildEnvironment) -> bool:
    place = environment.path
    try:
        state = json.loads((place / _STATE).read_text(encoding="utf-8"))
        environment.path = Path(state["environment"])
        environment.installed = tuple(state["installed"])
        environment.asked = tuple(state["asked"])
        environment.hooks = dict(state["hooks"])
        environment.candidate = tuple(state["candidate"]) if state["candidate"] else None
        if environment.path != place:
            ReusableEnvironments(environment.path.parent).hold(environment.path)
    except (OSError, ValueError, KeyError, TypeError):
        environment.path = place
        return False
    return os.path.exists(environment.python)
