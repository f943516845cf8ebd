"""What each hook does: read the project, decide, and run the real backend here or elsewhere.

Beside the command line the only place that turns our errors into an exit: `SystemExit` with the message, which every
frontend shows without a traceback. Exceptions of a real backend that runs in this process pass as they are.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..errors import ProjectError, ProvisionError
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project, read_project
from ..settings import Settings, load_settings, strip_settings
from . import in_process as passthrough

if TYPE_CHECKING:
    from ..output import Reporter

__all__ = ["Build", "build", "get_requires", "open_build"]

_ACTIVE = "_PROVISION_BACKEND_ACTIVE"
"""Variable with the source trees that are being built, a JSON list, outermost first."""

_MAX_DEPTH = 10
"""A build requirement that is built from source may use us too, and so may its own; more than this is a loop."""


class Build:
    """What one call of a hook works with.

    Args:
        project: what the source tree says.
        settings: what whoever builds says.
        plan: what is done.
        config_settings: what is forwarded to the real backend: all but our own keys.
    """

    def __init__(
        self, project: Project, settings: Settings, plan: Plan, config_settings: Optional[Dict[str, Any]]
    ) -> None:
        self.project = project
        self.settings = settings
        self.plan = plan
        self.config_settings = config_settings
        self._reporter: Optional[Reporter] = None

    @property
    def reporter(self) -> Reporter:
        """Who talks to people; imported when there is something to say."""
        if self._reporter is None:
            from ..output import Reporter

            self._reporter = Reporter(verbosity=self.settings.verbose)
        return self._reporter


def open_build(config_settings: Optional[Mapping[str, Any]] = None) -> Build:
    """Read the project in the current folder and decide how it is built.

    Raises:
        ProjectError: ``pyproject.toml`` is wrong.
        UsageError: a setting is wrong.

    Source: PEP 517 has frontends call every hook in the root of the source tree.
    """
    began = perf_counter()
    project = read_project(Path.cwd())
    settings = load_settings(config_settings, project={"installer": project.installer})
    plan = make_plan(project, settings)
    build = Build(project, settings, plan, strip_settings(config_settings))
    if settings.verbose:
        build.reporter.detail(f"{'provisioning' if plan.provision else 'passing through'}: {plan.reason}")
        build.reporter.took("read the project and decide", perf_counter() - began)
    return build


def get_requires(hook: str, config_settings: Optional[Mapping[str, Any]]) -> List[str]:
    """Answer a ``get_requires_for_build_*``: what the frontend must install first, and nothing else.

    Passing through, those are the real backend's requirements that are not met, and once it can be imported, its
    dynamic ones. Where an interpreter must be provisioned they are our own for that, and none with a warm cache.
    """
    with _user_errors():
        build = open_build(config_settings)
        with _guarded(build.project):
            if build.plan.provision:
                return _provisioning_requires(build)
            unmet = _unmet_static(build.project)
            with _step(build, f"{hook} of {build.project.build_backend}"):
                return unmet or passthrough.get_requires(build.project, hook, build.config_settings)


def build(hook: str, directory: str, config_settings: Optional[Mapping[str, Any]], *metadata: Optional[str]) -> Any:
    """Run a hook that makes something, and return what the real backend returns.

    Args:
        hook: name of the hook.
        directory: where the result goes.
        config_settings: as the frontend gave them.
        metadata: for the hooks that have it, ``metadata_directory``.
    """
    with _user_errors():
        opened = open_build(config_settings)
        if opened.plan.note:
            opened.reporter.info(opened.plan.note)
        arguments = (directory, opened.config_settings, *metadata)
        with _guarded(opened.project):
            if not opened.plan.provision and passthrough.serves(opened.project, hook, opened.config_settings):
                return _build_here(opened, hook, arguments)
            return _build_apart(opened, hook, arguments)


def _build_here(opened: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    with _step(opened, f"{hook} of {opened.project.build_backend}"):
        made = passthrough.call_hook(opened.project, hook, *arguments)
    _record(opened, hook, arguments[0], made)
    return made


def _record(opened: Build, hook: str, directory: str, made: str) -> None:
    """Write an SBOM of a wheel that was built in this process, where one is asked for."""
    if hook != "build_wheel" or not opened.settings.sbom:
        return
    from ..interpreter import Interpreter
    from ..project.plan import running_interpreter
    from .current import CurrentEnvironment
    from .sbom import record_wheel

    running = running_interpreter()
    interpreter = Interpreter(running.executable, running.version, running.freethreaded, source="running")
    record_wheel(
        Path(directory, made),
        opened.project.build_backend,
        interpreter,
        environment=CurrentEnvironment(),
        settings=opened.settings,
    )


@contextmanager
def _step(build: Build, name: str) -> Iterator[None]:
    if build.settings.verbose < 2:
        yield
        return
    with build.reporter.step(name):
        yield


def _build_apart(opened: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    from ..processes import follow_frontend
    from . import provisioned
    from .forwarded import UnsupportedOperation

    follow_frontend()
    try:
        return provisioned.call_hook(opened, hook, arguments)
    except UnsupportedOperation as exc:
        if opened.plan.provision:
            raise
        # The frontend, which looks for the class when the exception is there, finds that of this process's backend.
        theirs = getattr(passthrough.load_backend(opened.project), "UnsupportedOperation", UnsupportedOperation)
        raise theirs(str(exc)) from None


def _unmet_static(project: Project) -> List[str]:
    if project.one_list:
        return []  # The frontend has installed that list already, exactly as without us.
    from .requirements import unmet_requirements

    return unmet_requirements(project.requires)


def _provisioning_requires(build: Build) -> List[str]:
    from ..provision import find
    from .requirements import missing_extra

    with _step(build, "look for an interpreter"):
        found = find(build.plan.wanted, build.settings, build.reporter)
    if found is not None:
        return []
    return missing_extra("provision")


@contextmanager
def _guarded(project: Project) -> Iterator[None]:
    """Refuse a source tree whose build has led back to itself, before it forks without end."""
    before = os.environ.get(_ACTIVE)
    active = _decode(before) if before else []
    root = os.path.realpath(str(project.root))
    if root in active:
        raise ProjectError(
            f"the build of {root} has started itself",
            hint=f"its real backend {project.build_backend!r} must not lead back to provision_backend",
        )
    if len(active) >= _MAX_DEPTH:
        raise ProjectError(f"builds within builds are {_MAX_DEPTH} deep", hint=" -> ".join([*active, root]))
    os.environ[_ACTIVE] = _encode([*active, root])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ACTIVE, None)  # A real backend may have removed it.
        else:
            os.environ[_ACTIVE] = before


def _decode(text: str) -> List[str]:
    import json

    trees: List[str] = json.loads(text)
    return trees


def _encode(trees: List[str]) -> str:
    if len(trees) == 1 and trees[0].isascii() and trees[0].isprintable() and not {'"', "\\"} & set(trees[0]):
        return f'["{trees[0]}"]'  # Most builds are the outermost, and do not pay for the import.
    import json

    return json.dumps(trees)


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except ProvisionError as exc:
        raise _as_exit(exc) from None


def _as_exit(exc: ProvisionError) -> SystemExit:
    returncode: Optional[int] = getattr(exc, "returncode", None)
    if returncode is None:
        return SystemExit(f"provision-backend: {exc}")
    if returncode > 0:
        return SystemExit(returncode)  # The real backend's own traceback stands above.
    sys.stderr.write(f"provision-backend: {exc.message}\n")
    return SystemExit(128 - returncode)
