"""Run a hook of the real backend in a build environment of our own.

Mostly on a provisioned interpreter; on the running one where the real backend has dynamic requirements that the
frontend could not install.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Tuple

from ..cache.code import keep_copy
from ..errors import BackendError, BuildEnvironmentError, MissingDependencyError, ProvisionError
from ..interpreter import Interpreter, inspect_interpreter
from ..project.plan import running_interpreter
from ..provision import provision, set_aside_damaged
from . import forwarded as forward
from .environment import BuildEnvironment, frontend_run, open_environment
from .in_process import requires_hook
from .installers import find_uv

if TYPE_CHECKING:
    from .build import Build

__all__ = ["call_hook", "open_build_environment"]


def call_hook(build: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    """Provision where needed, install what the real backend requires, and forward the hook.

    Args:
        build: the project, the settings and the plan.
        hook: name of a hook that makes something.
        arguments: its arguments, ``config_settings`` without our keys.

    Raises:
        ProvisionError: any of its subclasses.
    """
    interpreter = _interpreter(build)
    try:
        environment, result = _call_under(build, interpreter, hook, arguments)
    except ProvisionError:
        # Somebody may have damaged it since it was published; then a new one is made beside it.
        if not set_aside_damaged(interpreter, build.settings, build.reporter):
            raise
        interpreter = _another_interpreter(build, interpreter)
        environment, result = _call_under(build, interpreter, hook, arguments)
    keep_copy()
    wheel, editable = _made_wheel(hook, Path(arguments[0]), result), hook.endswith("_editable")
    if wheel and build.plan.provision:
        _check_wheel(build, interpreter, wheel, editable=editable)
    if wheel and not editable and build.settings.sbom:
        from .sbom import record_wheel

        backend = build.project.build_backend
        record_wheel(wheel, backend, interpreter, environment=environment, settings=build.settings)
    return result


def _made_wheel(hook: str, directory: Path, result: str) -> Optional[Path]:
    """Return the wheel that a hook has made; None where it has made none.

    A missing metadata hook is answered from a wheel, which stays beside the metadata. The frontend's pyproject_hooks
    takes it from there, so that the hook that builds is never called.
    """
    if hook.startswith("prepare_metadata"):
        return next(directory.glob("*.whl"), None)
    return directory / result if hook in ("build_wheel", "build_editable") else None


def _call(build: Build, environment: BuildEnvironment, hook: str, arguments: Tuple[Any, ...]) -> Any:
    """Ask for the dynamic requirements where that was not done yet, install them, and call the hook."""
    project, asking = build.project, requires_hook(hook)
    question = _question(build, asking)
    if question not in environment.asked:
        # A missing metadata hook is answered by building a wheel, which is more than one hook.
        together = forward.Together(None)
        if not hook.startswith("prepare_"):
            together = forward.call_together(project, environment, (asking, hook), *arguments)
        dynamic = together.requires
        if dynamic is None:
            with build.reporter.step(f"{asking} of {project.build_backend}"):
                dynamic = forward.get_requires(project, environment, asking, build.config_settings)
        environment.install(dynamic, what="what the real backend asks for")
        environment.asked += (question,)
        environment.save()
        if together.done:
            return together.result
    _check_hook(build, environment, hook)
    with build.reporter.step(f"{hook} of {project.build_backend}"):
        return forward.call_hook(project, environment, hook, *arguments)


def _question(build: Build, asking: str) -> str:
    # The hooks of one build ask the same: pip's metadata step and its build step, for one. tox uses its environment
    # again for a project that may have changed, and then it is another question.
    circumstances = [frontend_run(), str(build.project.root), build.project.build_backend]
    return json.dumps([asking, build.config_settings, *circumstances], sort_keys=True, default=repr)


def _call_under(
    build: Build, interpreter: Interpreter, hook: str, arguments: Tuple[Any, ...]
) -> Tuple[BuildEnvironment, Any]:
    environment = open_build_environment(build, interpreter)
    build.reporter.detail(f"{hook} of {build.project.build_backend} under {interpreter.executable}")
    return environment, _call(build, environment, hook, arguments)


def _another_interpreter(build: Build, damaged: Interpreter) -> Interpreter:
    try:
        return _interpreter(build)
    except MissingDependencyError as exc:
        # The frontend was asked for these packages while there seemed to be an interpreter.
        raise BuildEnvironmentError(
            f"the project could not be built with the damaged {damaged.executable}",
            hint=f"build again, and a new one is provisioned; this build has no package {exc.package!r} for that",
        ) from None


def _check_hook(build: Build, environment: BuildEnvironment, hook: str) -> None:
    """Refuse a hook that the real backend lacks; pyproject_hooks would end in an AttributeError of its own."""
    known = forward.known_hooks(build.project, environment)
    maker = "build_" + hook.rpartition("_")[2]  # Metadata can be had from what this hook makes.
    if known is not None and hook not in known and maker not in known:
        raise BackendError(f"the real backend {build.project.build_backend!r} has no hook {maker!r}")


def open_build_environment(build: Build, interpreter: Interpreter) -> BuildEnvironment:
    """Open the build environment of a build, with the static requirements installed."""
    return open_environment(
        interpreter,
        build.project.requires,
        settings=build.settings,
        reporter=build.reporter,
        source=build.project.root,
    )


def _interpreter(build: Build) -> Interpreter:
    def prepare(interpreter: Interpreter) -> None:
        from ..install.compiled import compile_modules

        with build.reporter.step("compile what builds import"):
            compile_modules(interpreter, pip=not find_uv(build.settings))

    if build.plan.provision:
        with build.reporter.step("provide an interpreter"):
            return provision(build.plan.wanted, build.settings, build.reporter, prepare=prepare)
    return inspect_interpreter(Path(running_interpreter().executable))


def _check_wheel(build: Build, interpreter: Interpreter, wheel: Path, *, editable: bool) -> None:
    """Announce a wheel that the running interpreter cannot install, and refuse an editable one.

    pip does not look at the tag of a wheel that it has just built. An editable wheel is imported by the interpreter
    that it is installed for, so one that is tied to another ABI could never work.
    """
    if wheel.name.endswith("-py3-none-any.whl"):
        return
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename:
        return  # The frontend will say what is wrong with it.
    if not tags.isdisjoint(sys_tags()):
        return
    tag = "-".join(wheel.stem.split("-")[-3:])
    here = running_interpreter().version
    if editable:
        os.unlink(str(wheel))
        raise BackendError(
            f"the editable wheel has the tag {tag}: it was built by CPython {interpreter.version}, "
            f"and Python {here} cannot import it",
            hint=f"make the editable install with CPython {interpreter.version}: {interpreter.executable}",
        )
    build.reporter.info(f"{wheel.name} was built by {interpreter.executable}; Python {here} cannot install it")
    sys.stderr.flush()
