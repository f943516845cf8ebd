"""Run the real backend in this very process.

The common case: the running interpreter satisfies the project, so the real backend's tracebacks, exceptions and set
of optional hooks are exactly what the frontend would see without us.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from typing import Any, List, Mapping, Optional, Sequence

from ..errors import BackendError
from ..project.pyproject import Project

__all__ = [
    "call_hook", "check_result", "get_requires", "import_advice", "load_backend", "missing_hook", "requires_hook",
    "unmet",
]  # fmt: skip


def load_backend(project: Project) -> Any:
    """Import the real backend, in-tree ones from their ``backend-path``.

    Raises:
        BackendError: it cannot be imported, has no such object, or is not the one of ``backend-path``.

    Source: PEP 517, "Source trees" and "In-tree build backends".
    """
    module_name, _, object_path = project.build_backend.partition(":")
    folders = [os.path.realpath(os.path.join(str(project.root), folder)) for folder in project.backend_path]
    # tox runs many hooks in one process, so each folder is added once.
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    try:
        backend = importlib.import_module(module_name)
    except ImportError as exc:
        # If it reached the frontend, that would report provision_backend itself as not available.
        absent = unmet(project.requires)
        raise BackendError(
            f"the real backend {project.build_backend!r} could not be imported under Python "
            f"{sys.version.split()[0]}: {exc}",
            hint="not installed: " + ", ".join(absent) if absent else import_advice(project),
        ) from None
    # PEP 517: the code must be loaded from one of these folders, and sys.path has others behind them.
    if folders:
        _check_origin(project, folders)
    try:
        return functools.reduce(getattr, filter(None, object_path.split(".")), backend)
    except AttributeError as exc:
        raise BackendError(f"the real backend {project.build_backend!r} does not exist: {exc}") from None


def _check_origin(project: Project, folders: List[str]) -> None:
    """Refuse a module of the same name from elsewhere, as PEP 517 demands of in-tree build backends."""
    package = sys.modules[project.build_backend.partition(":")[0].partition(".")[0]]
    found = os.path.realpath(getattr(package, "__file__", None) or next(iter(package.__path__)))
    if not any(found.startswith(folder + os.sep) for folder in folders):
        raise BackendError(
            f"the real backend {project.build_backend!r} was imported from {found}, which is not in its backend-path",
            hint=import_advice(project),
        )


def unmet(requirements: Sequence[str]) -> List[str]:
    """Return those of the requirements that apply here and are not met."""
    if not requirements:
        return []  # The one-list form has none, and then a build does not import packaging.
    from .requirements import unmet_requirements

    return unmet_requirements(requirements)


def requires_hook(hook: str) -> str:
    """Return the name of the ``get_requires_for_build_*`` that belongs to a hook that makes something."""
    return "get_requires_for_build_" + hook.rpartition("_")[2]


def call_hook(project: Project, hook: str, *args: Any) -> Any:
    """Call a hook of the real backend and return what it returns; its exceptions pass.

    Raises:
        BackendError: it lacks the hook.
    """
    function = getattr(load_backend(project), hook, None)
    if function is None:
        raise missing_hook(project, hook)
    return function(*args)


def missing_hook(project: Project, hook: str) -> BackendError:
    """Return the error for a hook that the real backend lacks."""
    return BackendError(f"the real backend {project.build_backend!r} has no hook {hook!r}")


def check_result(project: Project, hook: str, directory: str, result: Any) -> None:
    """Raise `BackendError` where a hook has not made what it names; frontends end in a traceback then.

    Args:
        project: names the real backend.
        hook: name of the hook.
        directory: where it was to put its result.
        result: what it has returned.
    """
    called = f"{hook} of the real backend {project.build_backend!r}"
    if not isinstance(result, str):
        raise BackendError(f"{called} must return a name, found {type(result).__name__}")
    # Another name is no wheel, which frontends say.
    if result.endswith((".whl", ".tar.gz")) and not os.path.lexists(os.path.join(directory, result)):
        raise BackendError(f"{called} has returned {result!r}, which it has not made in {directory}")


def get_requires(project: Project, hook: str, config_settings: Optional[Mapping[str, Any]]) -> List[str]:
    """Ask the real backend for its dynamic requirements; PEP 517 gives a missing hook the answer ``[]``."""
    function = getattr(load_backend(project), hook, None)
    return [] if function is None else list(function(config_settings))


def import_advice(project: Project) -> str:
    """Return what to look at when the real backend cannot be imported."""
    if project.backend_path:
        return f"tool.provision-backend.backend-path must lead to it, found {', '.join(project.backend_path)}"
    where = "build-system.requires" if project.one_list else "tool.provision-backend.requires"
    found = f", found {', '.join(project.requires)}" if project.requires else ""
    return f"{where} must name what provides it{found}"
