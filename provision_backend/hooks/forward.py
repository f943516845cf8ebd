"""Run the real backend under another interpreter, or in another environment of the same one.

Every hook is one call of pyproject_hooks with a runner of our own: the child gets a cleaned environment and no
standard input (tox sends its commands there), writes to our own standard output and error, and is waited for.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, List, Mapping, Optional, Sequence

from ..errors import BackendError, HookFailedError
from ..processes import run_visible, signal_name
from ..project import Project
from .environment import BuildEnvironment, HookEnvironment, frontend_run

if TYPE_CHECKING:
    from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller

__all__ = ["UnsupportedOperation", "call_hook", "get_requires", "import_advice", "known_hooks", "probe_hooks"]

_HOOKS = (
    "build_wheel",
    "build_sdist",
    "build_editable",
    "prepare_metadata_for_build_wheel",
    "prepare_metadata_for_build_editable",
)

_PROBE = """
import importlib, json, os, sys
# The empty path is the source tree, which a hook does not see either.
sys.path[:] = json.loads(sys.argv[2]) + [path for path in sys.path if path]
module, _, path = sys.argv[1].partition(":")
backend = importlib.import_module(module)
for name in filter(None, path.split(".")):
    backend = getattr(backend, name)
print("\\nhooks=" + json.dumps([name for name in json.loads(sys.argv[3]) if hasattr(backend, name)]))
"""


class UnsupportedOperation(Exception):  # noqa: N818 - PEP 517 gives the name.
    """The real backend cannot make an sdist of this tree; the message is its own traceback."""


def call_hook(project: Project, environment: HookEnvironment, hook: str, *args: Any, fallback: bool = True) -> Any:
    """Call a hook of the real backend in a build environment.

    Args:
        project: names the real backend.
        environment: where it is installed.
        hook: name of the hook.
        args: the hook's arguments, in the order of the PEPs.
        fallback: let a missing ``prepare_metadata_for_build_*`` be answered from a wheel, as frontends do; the wheel
            then serves ``build_wheel`` too.

    Raises:
        HookFailedError: the hook raised; its traceback is on standard error already.
        BackendError: the real backend cannot be imported, or lacks the hook.
        UnsupportedOperation: as the real backend's own.
    """
    options = {} if fallback or not hook.startswith("prepare_") else {"_allow_fallback": False}
    with _translated(project, environment, hook):
        return getattr(_caller(project, environment, hook), hook)(*args, **options)


def get_requires(
    project: Project, environment: HookEnvironment, hook: str, config_settings: Optional[Mapping[str, Any]]
) -> List[str]:
    """Ask the real backend in a build environment for its dynamic requirements."""
    with _translated(project, environment, hook):
        return list(getattr(_caller(project, environment, hook), hook)(config_settings))


def known_hooks(project: Project, environment: BuildEnvironment) -> Optional[List[str]]:
    """Return the hooks that the real backend has, asked once a build; None when it cannot be imported."""
    # hatchling hides its metadata hooks from pip, which it knows by this variable. scikit-build-core decides by the
    # project, which may have changed when tox uses its lasting environment again.
    facts = ["PIP_BUILD_TRACKER" in os.environ, frontend_run(), str(project.root), project.build_backend]
    circumstances = json.dumps(facts)
    recorded = environment.hooks.get(circumstances)
    if recorded is None:
        recorded = probe_hooks(project, environment, _HOOKS)
        if recorded is not None:
            environment.hooks = {circumstances: recorded}
            environment.save()
    return recorded


def probe_hooks(project: Project, environment: HookEnvironment, names: Sequence[str]) -> Optional[List[str]]:
    """Ask which hooks the real backend has; None when it cannot be imported.

    hatchling and scikit-build-core decide that from the environment and the folder they are imported in, so the probe
    runs in those of a hook.
    """
    from ..processes import run_quiet

    folders = [os.path.join(str(project.root), folder) for folder in project.backend_path]
    arguments = [project.build_backend, json.dumps(folders), json.dumps(list(names))]
    command = [environment.python, "-c", _PROBE, *arguments]
    done = run_quiet(command, env=environment.environ(), cwd=str(project.root))
    # What the real backend prints when it is imported stands before the answer.
    answers = re.findall(r"^hooks=(\[.*\])$", done.stdout, re.MULTILINE)
    return json.loads(answers[-1]) if answers and done.returncode == 0 else None


def _caller(project: Project, environment: HookEnvironment, hook: str) -> BuildBackendHookCaller:
    import pyproject_hooks

    def runner(
        cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None
    ) -> None:
        environ = {**environment.environ(), **(extra_environ or {})}
        returncode = run_visible(cmd, env=environ, cwd=cwd, stdout=None)
        if returncode != 0:
            signal = signal_name(-returncode) if returncode < 0 else ""
            raise HookFailedError(hook, returncode, signal=signal)

    return pyproject_hooks.BuildBackendHookCaller(
        str(project.root),
        project.build_backend,
        backend_path=project.backend_path or None,
        runner=runner,
        python_executable=environment.python,
    )


@contextmanager
def _translated(project: Project, environment: HookEnvironment, hook: str) -> Iterator[None]:
    import pyproject_hooks

    version = environment.version
    try:
        yield
    except pyproject_hooks.BackendUnavailable as exc:
        raise _not_imported(project, version, exc) from None
    except pyproject_hooks.HookMissing:
        raise BackendError(f"the real backend {project.build_backend!r} has no hook {hook!r}") from None
    except pyproject_hooks.UnsupportedOperation as exc:
        raise UnsupportedOperation(exc.traceback) from None


def import_advice(project: Project) -> str:
    """Say what to look at when the real backend cannot be imported."""
    if project.backend_path:
        return f"tool.provision-backend.backend-path must lead to it, found {', '.join(project.backend_path)}"
    where = "build-system.requires" if project.one_list else "tool.provision-backend.requires"
    found = f", found {', '.join(project.requires)}" if project.requires else ""
    return f"{where} must name what provides it{found}"


def _not_imported(project: Project, version: str, exc: BackendUnavailable) -> BackendError:
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
