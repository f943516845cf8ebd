"""Run the real backend under another interpreter, or in another environment of the same one.

Every hook is one call of pyproject_hooks with a runner of our own: the child gets a cleaned environment and no
standard input (tox sends its commands there), writes to our own standard output and error, and is waited for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import BackendError, HookFailedError
from ..processes import run_visible, signal_name
from ..project.pyproject import Project
from .current import HookEnvironment
from .environment import BuildEnvironment, frontend_run

if TYPE_CHECKING:
    from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller

__all__ = [
    "Together",
    "UnsupportedOperation",
    "call_hook",
    "call_together",
    "get_requires",
    "import_advice",
    "known_hooks",
    "probe_hooks",
]

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


class Together(NamedTuple):
    """What came of two hooks in one process."""

    requires: Optional[List[str]]
    """The dynamic requirements; None where the real backend was not asked."""
    done: bool = False
    """Whether the second hook was run too."""
    result: Any = None
    """What it returned."""


class _NotStarted(Exception):  # noqa: N818 - it never leaves this module.
    """The second hook of two has to wait."""


def call_together(project: Project, environment: BuildEnvironment, hooks: Tuple[str, str], *args: Any) -> Together:
    """Ask for the dynamic requirements of a hook, and call it where they are installed, in one process.

    An interpreter is started once, and the real backend imported once. Where that would not be the same as one
    process for each hook, nothing is done, and the caller does it so.

    Args:
        project: names the real backend.
        environment: where it is installed.
        hooks: name of the hook that says what is required, and of the one that makes something.
        args: the arguments of the latter, in the order of the PEPs; the second are its ``config_settings``.

    Raises:
        HookFailedError, BackendError, UnsupportedOperation: as `call_hook`.
    """
    # An in-tree real backend is found by pyproject_hooks in a way of its own.
    if not hasattr(os, "fork") or project.backend_path:
        return Together(None)
    asking, hook = hooks
    outcome: Dict[str, Any] = {}

    def ask(first: Sequence[str], *, extra_environ: Mapping[str, str], **_given: Any) -> None:
        def run_both(last: Sequence[str], **_same: Any) -> None:
            environ = {**environment.environ(), **extra_environ}
            _drive(project, environment, hooks, (first, last), environ)

        with contextlib.suppress(_NotStarted):
            caller = _caller(project, environment, hook, run_both)
            outcome["result"] = getattr(caller, hook)(*args)

    try:
        with _translated(project, environment, asking):
            requires = list(getattr(_caller(project, environment, asking, ask), asking)(args[1]))
    except _Unsuited:
        return Together(None)
    return Together(requires, "result" in outcome, outcome.get("result"))


class _Unsuited(Exception):  # noqa: N818 - it never leaves this module.
    """This real backend is better run in one process for each hook."""


def _drive(
    project: Project,
    environment: BuildEnvironment,
    hooks: Tuple[str, str],
    commands: Tuple[Sequence[str], Sequence[str]],
    environ: Mapping[str, str],
) -> None:
    """Run the commands of two hooks in one process; raise `_NotStarted` where the second has to wait."""
    answer = Path(commands[0][-1], "together.json")
    task = {
        "backend": project.build_backend,
        "commands": [list(command)[1:] for command in commands],
        "names": _HOOKS,
        "wanted": [hooks[1], "build_" + hooks[1].rpartition("_")[2]],
        "installed": environment.installed,
        "answer": str(answer),
    }
    command = [environment.python, str(Path(__file__).with_name("driver.py")), json.dumps(task)]
    with environment.reporter.step(f"{' and '.join(hooks)} of {project.build_backend}"):
        returncode = run_visible(command, env=environ, cwd=str(project.root), stdout=None)
    told = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    if "returncode" not in told and returncode == 0:
        raise _Unsuited
    _record_hooks(project, environment, told.get("names"))
    _check_ended(hooks[0], told.get("returncode", returncode))
    _check_ended(hooks[1], returncode)
    if not told.get("started"):
        raise _NotStarted


def _check_ended(hook: str, returncode: int) -> None:
    if returncode != 0:
        raise HookFailedError(hook, returncode, signal=signal_name(-returncode) if returncode < 0 else "")


def _circumstances(project: Project) -> str:
    # hatchling hides its metadata hooks from pip, which it knows by this variable. scikit-build-core decides by the
    # project, which may have changed when tox uses its lasting environment again.
    return json.dumps(["PIP_BUILD_TRACKER" in os.environ, frontend_run(), str(project.root), project.build_backend])


def _record_hooks(project: Project, environment: BuildEnvironment, names: Optional[List[str]]) -> None:
    if names is not None:
        environment.hooks = {_circumstances(project): names}
        environment.save()


def known_hooks(project: Project, environment: BuildEnvironment) -> Optional[List[str]]:
    """Return the hooks that the real backend has, asked once a build; None when it cannot be imported."""
    circumstances = _circumstances(project)
    recorded = environment.hooks.get(circumstances)
    if recorded is None:
        recorded = probe_hooks(project, environment, _HOOKS)
        _record_hooks(project, environment, recorded)
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


def _caller(
    project: Project, environment: HookEnvironment, hook: str, other: Optional[Callable[..., None]] = None
) -> BuildBackendHookCaller:
    import pyproject_hooks

    def runner(
        cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None
    ) -> None:
        environ = {**environment.environ(), **(extra_environ or {})}
        _check_ended(hook, run_visible(cmd, env=environ, cwd=cwd, stdout=None))

    return pyproject_hooks.BuildBackendHookCaller(
        str(project.root),
        project.build_backend,
        backend_path=project.backend_path or None,
        runner=other or runner,
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
