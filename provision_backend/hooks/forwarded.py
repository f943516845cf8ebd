"""Run the real backend under another interpreter, or in another environment of the same one.

Every hook is one call of pyproject_hooks with a runner of our own: the child gets a cleaned environment and no
standard input (tox sends its commands there), writes to our own standard output and error, and is waited for.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import pyproject_hooks

from ..errors import BackendError, HookFailedError
from ..frontend_watch import follow_frontend
from ..host.compilers import missing_compiler
from ..processes import abnormal_end, run_visible
from ..project.pyproject import Project
from ..settings import secret_variables
from ..variables import FRONTEND_VARIABLES, drop_variables
from .frontend import UnsupportedOperation
from .in_process import check_requires, import_advice, missing_hook

if TYPE_CHECKING:
    from .environment import BuildEnvironment

    HookEnvironment = Union[BuildEnvironment, "CurrentEnvironment"]

__all__ = ["CurrentEnvironment", "call_hook", "get_requires"]


class CurrentEnvironment:
    """The environment of the running hook, for questions that need a process of their own."""

    python = sys.executable
    version = sys.version.split()[0]
    stdout: Optional[int] = None
    """Descriptor of what a hook prints to its standard output; None for this process's own."""

    def environ(self) -> Dict[str, str]:
        """Return this process's variables without those that the frontend has set for its own backend.

        PYTHONPATH stays: pip makes the build requirements importable by it.
        """
        # pyproject_hooks overrides only those that the inner call has too: an outer backend-path would be used here.
        return drop_variables(os.environ, FRONTEND_VARIABLES)


def call_hook(project: Project, environment: HookEnvironment, hook: str, *args: Any) -> Any:
    """Call a hook of the real backend in a build environment; *args* are in the order of the PEPs.

    A missing ``prepare_metadata_for_build_*`` is answered from a wheel, as frontends do; the wheel then serves
    ``build_wheel`` too.

    Raises:
        HookFailedError: the hook raised; its traceback is on standard error already.
        BackendError: the real backend cannot be imported, or lacks the hook.
        UnsupportedOperation: as the real backend's own.
    """
    with _translated(project, environment):
        return getattr(_caller(project, environment, hook), hook)(*args)


def get_requires(
    project: Project, environment: HookEnvironment, hook: str, config_settings: Optional[Mapping[str, Any]]
) -> List[str]:
    """Ask the real backend in a build environment for its dynamic requirements; the errors are those of `call_hook`."""
    with _translated(project, environment):
        return check_requires(project, hook, getattr(_caller(project, environment, hook), hook)(config_settings))


def _caller(project: Project, environment: HookEnvironment, hook: str) -> pyproject_hooks.BuildBackendHookCaller:
    def _run(cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None) -> None:
        # The runner of pyproject_hooks would hand on all variables of this process, and its standard input.
        environ = {**environment.environ(), **(extra_environ or {})}
        environ = drop_variables(environ, secret_variables(environ))
        # The process stands in for this hook, so its standard output is ours.
        with follow_frontend():
            returncode = run_visible(cmd, env=environ, cwd=cwd, stdout=environment.stdout)
        if returncode:
            cause = abnormal_end(returncode)
            # Some ask a compiler questions for metadata and sdists, too. What was killed has not missed one.
            asks = hook.startswith(("build_", "prepare_")) and not cause
            raise HookFailedError(hook, returncode, cause=cause, hint=missing_compiler(environ) if asks else "")

    return pyproject_hooks.BuildBackendHookCaller(
        str(project.root),
        project.build_backend,
        backend_path=project.backend_path or None,
        runner=_run,
        python_executable=environment.python,
    )


@contextmanager
def _translated(project: Project, environment: HookEnvironment) -> Iterator[None]:
    try:
        yield
    except pyproject_hooks.BackendUnavailable as exc:
        raise _not_imported(project, environment.version, exc) from None
    except pyproject_hooks.HookMissing as exc:
        raise missing_hook(project, exc.hook_name) from None
    except FileNotFoundError as exc:
        # The answer of a hook is in a file, which pyproject_hooks reads where the exit status is 0.
        if os.path.basename(str(exc.filename)) != "output.json":
            raise
        raise BackendError(
            f"the real backend {project.build_backend!r} has ended its process before it had answered",
            hint="look for what calls sys.exit or os._exit in it, or in a setup.py that it runs",
        ) from None
    except pyproject_hooks.UnsupportedOperation as exc:
        raise UnsupportedOperation(exc.traceback) from None


def _not_imported(project: Project, version: str, exc: pyproject_hooks.BackendUnavailable) -> BackendError:
    # The last line says which module is missing. What stands above it helps only where that is not the real backend.
    _, _, reason = (exc.traceback.strip().splitlines() or [""])[-1].partition(": ")
    module = project.build_backend.partition(":")[0]
    parents = [module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)]
    if reason and reason not in [f"No module named {name!r}" for name in parents]:
        sys.stderr.write(exc.traceback)
    return BackendError(
        f"the real backend {project.build_backend!r} could not be imported under Python {version}: {reason or exc}",
        hint=import_advice(project),
    )
