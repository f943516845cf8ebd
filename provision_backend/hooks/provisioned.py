"""Run a hook of the real backend in a build environment of our own.

Mostly on a provisioned interpreter; on the running one where the real backend has dynamic requirements that the
frontend could not install.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ..cache.store import open_cache
from ..errors import BuildEnvironmentError, MissingDependencyError, ProvisionError
from ..frontend_watch import follow_frontend, frontend_id
from ..interpreter import Interpreter, inspect_interpreter
from ..project.plan import running_interpreter
from ..provision import provision, set_aside_damaged
from . import forwarded
from .environment import BuildEnvironment, discard_environments, open_environment
from .in_process import check_result, requires_hook
from .installers import find_uv
from .locked import locked_for

if TYPE_CHECKING:
    from ..toolchain import Compilers
    from .build import Build

__all__ = ["call_hook"]


@follow_frontend()  # Downloads, installers and hooks may run for minutes.
def call_hook(build: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    """Provision where needed, install what the real backend requires, and forward a hook that makes something.

    The ``config_settings`` among its arguments are without our keys. Any `ProvisionError` may be raised.
    """
    interpreter = _interpreter(build)
    try:
        environment, result = _call_under(build, interpreter, hook, arguments)
    except ProvisionError:
        # Another program may have damaged it since it was published; then a new one is made beside it.
        damaged = set_aside_damaged(interpreter, build.settings, build.reporter)
        if not (_set_aside_environment(build, interpreter) or damaged):
            raise
        interpreter = _another_interpreter(build, interpreter)
        environment, result = _call_under(build, interpreter, hook, arguments)
    result = check_result(build.project, hook, arguments[0], result)
    wheel, editable = _made_wheel(hook, Path(arguments[0]), result), hook.endswith("_editable")
    # Most wheels are pure, and listing our own tags takes packaging and a look at the host's libc.
    if wheel and build.plan.provision and not wheel.name.endswith("-py3-none-any.whl"):
        from .requirements import check_wheel

        check_wheel(wheel, interpreter, build.reporter, editable=editable)
    if wheel and not editable and build.settings.sbom:
        from .sbom import Tools, record_wheel

        files = environment.locked.files() if environment.locked else {}
        tools = Tools(interpreter, environment.packages, files)
        record_wheel(wheel, build.project.build_backend, tools, build.settings)
    return result


def _made_wheel(hook: str, directory: Path, result: str) -> Optional[Path]:
    """Return the wheel that a hook has made; None where it has made none.

    A missing metadata hook is answered from a wheel, which stays beside the metadata. The frontend's pyproject_hooks
    takes it from there, so that the hook that builds is never called.
    """
    if hook.startswith("prepare_metadata"):
        return next(directory.glob("*.whl"), None)
    return directory / result if hook in ("build_wheel", "build_editable") else None


def _call_under(
    build: Build, interpreter: Interpreter, hook: str, arguments: Tuple[Any, ...]
) -> Tuple[BuildEnvironment, Any]:
    """Make the environment, ask for the dynamic requirements where that was not done yet, and call the hook."""
    project, asking = build.project, requires_hook(hook)
    notice = _notice(build, interpreter) if build.plan.provision else ""
    locked = locked_for(interpreter, build.plan.wanted, build.settings, build.reporter)
    options: Dict[str, Any] = {"locked": locked, "toolchain": _toolchain(build, interpreter)}
    environment = open_environment(interpreter, project, build.settings, build.reporter, notice=notice, **options)
    build.reporter.detail(f"{hook} of {project.build_backend} under {interpreter.executable}")
    question = _question(build, asking)
    if question not in environment.asked:
        if environment.asked:
            build.reporter.info(notice)  # It was made for another build, as in tox, which keeps it.
        with build.reporter.step(f"{asking} of {project.build_backend}"):
            dynamic = forwarded.get_requires(project, environment, asking, build.config_settings)
        environment.install(dynamic, what="what the real backend asks for")
        environment.asked += (question,)
        environment.save()
    with build.reporter.step(f"{hook} of {project.build_backend}"):
        return environment, forwarded.call_hook(project, environment, hook, *arguments)


def _set_aside_environment(build: Build, interpreter: Interpreter) -> bool:
    locked = locked_for(interpreter, build.plan.wanted, build.settings, build.reporter)
    if locked is None or not locked.set_aside_damaged():
        return False
    discard_environments(interpreter, build.project, locked, _toolchain(build, interpreter))
    return True


def _toolchain(build: Build, interpreter: Interpreter) -> Optional[Compilers]:
    return build.toolchain and build.toolchain.for_triple(interpreter.triple)


def _notice(build: Build, interpreter: Interpreter) -> str:
    """Return the line that says which interpreter a build uses and where it comes from."""
    origins = {"managed": "the cache", "system": "this machine", "given": build.settings.origin("python")}
    place = origins[interpreter.source]
    return f"building with CPython {interpreter.label} from {place}: {interpreter.executable}"


def _question(build: Build, asking: str) -> str:
    # The hooks of one build ask the same: pip's metadata step and its build step, for one. tox uses its environment
    # again for a project that may have changed, and then it is another question. No frontend names its run.
    circumstances = [frontend_id(), str(build.project.root), build.project.build_backend]
    return json.dumps([asking, build.config_settings, *circumstances], sort_keys=True, default=repr)


def _another_interpreter(build: Build, damaged: Interpreter) -> Interpreter:
    try:
        return _interpreter(build)
    except MissingDependencyError as exc:
        # The frontend was asked for these packages while there seemed to be an interpreter.
        raise BuildEnvironmentError(
            f"the project could not be built with the damaged {damaged.executable}",
            hint=f"build again, and a new one is provisioned; this build has no package {exc.package!r} for that",
        ) from None


def _interpreter(build: Build) -> Interpreter:
    if build.plan.provision:
        with build.reporter.step("provide an interpreter"):
            lock = build.plan.wanted.lock
            # A locked build that finds its environment does without an installer, which need not be there.
            named = lock is not None and lock.requirements is not None and build.settings.installer == "uv"
            with_pip = not (named or find_uv(build.settings))
            found = provision(build.plan.wanted, build.settings, build.reporter, with_pip=with_pip)
        if found.source == "managed":
            # Between two hooks of a build nothing runs that would keep `cache clean` from removing it.
            open_cache(build.settings).note_use(found, frontend=frontend_id())
        return found
    return inspect_interpreter(Path(running_interpreter().executable))
