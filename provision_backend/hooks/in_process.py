"""Run the real backend in this very process.

The common case: the running interpreter satisfies the project, so the real backend's tracebacks, exceptions and set
of optional hooks are exactly what the frontend would see without us.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import BackendError
from ..project.pyproject import Project
from ..settings import secret_variables

__all__ = [
    "call_hook", "check_requires", "check_result", "get_requires", "import_advice", "load_backend", "missing_hook",
    "requires_hook", "unmet",
]  # fmt: skip


@contextlib.contextmanager
def _without_secrets() -> Iterator[None]:
    """Hide from the real backend those of our variables that hold a password: it may print or record them all."""
    hidden = {name: os.environ.pop(name) for name in secret_variables(os.environ)}
    try:
        yield
    finally:
        os.environ.update(hidden)  # tox runs further hooks in this process.


@_without_secrets()
def load_backend(project: Project) -> Any:
    """Import the real backend, from its ``backend-path`` if it has one, or raise `BackendError`.

    Source: PEP 517, "Source trees" and "In-tree build backends".
    """
    module_name, _, object_path = project.build_backend.partition(":")
    folders = [os.path.realpath(os.path.join(str(project.root), folder)) for folder in project.backend_path]
    # tox runs many hooks in one process, so each folder is added once.
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    finder = _BackendPathFinder(folders, module_name)
    if folders and finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
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
    try:
        return functools.reduce(getattr, filter(None, object_path.split(".")), backend)
    except AttributeError as exc:
        raise BackendError(f"the real backend {project.build_backend!r} does not exist: {exc}") from None


class _BackendPathFinder(NamedTuple):
    """Finds the modules of ``backend-path`` before all others, and the real backend nowhere else, as pyproject_hooks.

    Being first on ``sys.path`` is not enough: an editable install puts a finder before it.
    """

    folders: List[str]
    backend: str
    """The module of the real backend."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Optional[ModuleSpec]:
        """Find a module by its full name (`importlib.abc.MetaPathFinder`); raise ImportError for the backend."""
        # What is inside a package is found by the package's own path.
        spec = None if "." in name else PathFinder.find_spec(name, self.folders)
        if spec is None and name == self.backend.partition(".")[0]:
            raise ModuleNotFoundError(f"Cannot find module {self.backend!r} in {self.folders!r}", name=name)
        return spec


def unmet(requirements: Sequence[str]) -> List[str]:
    """Return those of the requirements that apply here and are not met."""
    if not requirements:
        return []  # The one-list form has none, and then a build does not import packaging.
    from .requirements import unmet_requirements

    return unmet_requirements(requirements)


def requires_hook(hook: str) -> str:
    """Return the name of the ``get_requires_for_build_*`` that belongs to a hook that makes something."""
    return "get_requires_for_build_" + hook.rpartition("_")[2]


@_without_secrets()
def call_hook(project: Project, hook: str, *args: Any) -> Any:
    """Call a hook of the real backend, whose exceptions pass; raises `BackendError` if it lacks the hook."""
    function = getattr(load_backend(project), hook, None)
    if function is None:
        raise missing_hook(project, hook)
    return function(*args)


def missing_hook(project: Project, hook: str) -> BackendError:
    """Return the error for a hook that the real backend lacks."""
    return BackendError(f"the real backend {project.build_backend!r} has no hook {hook!r}")


def check_result(project: Project, hook: str, directory: str, result: Any) -> str:
    """Return the name of what a hook has made in a directory, or raise `BackendError`; frontends end in a traceback."""
    called = f"{hook} of the real backend {project.build_backend!r}"
    if result is None and hook.startswith("prepare_metadata"):
        # Some backends forget to return the name of the one folder that they have made.
        made = [name for name in os.listdir(directory) if name.endswith(".dist-info")]
        result = made[0] if len(made) == 1 else None
    if not isinstance(result, str):
        raise BackendError(f"{called} must return a name, found {type(result).__name__}")
    if not result or not os.path.lexists(os.path.join(directory, result)):
        raise BackendError(f"{called} has returned {result!r}, which it has not made in {directory}")
    return result


@_without_secrets()
def get_requires(project: Project, hook: str, config_settings: Optional[Mapping[str, Any]]) -> List[str]:
    """Ask the real backend for its dynamic requirements; PEP 517 gives a missing hook the answer ``[]``."""
    function = getattr(load_backend(project), hook, None)
    return [] if function is None else check_requires(project, hook, function(config_settings))


def check_requires(project: Project, hook: str, answer: Any) -> List[str]:
    """Return the requirements that a hook has answered; raise `BackendError` where it is no list of texts."""
    is_list = isinstance(answer, Iterable) and not isinstance(answer, str)
    items: List[Any] = list(answer) if is_list else [None]
    if all(isinstance(item, str) for item in items):
        return items
    strange = next(item for item in items if not isinstance(item, str))
    found = f"{type(strange).__name__} in it" if is_list else type(answer).__name__
    called = f"{hook} of the real backend {project.build_backend!r}"
    raise BackendError(f"{called} must return a list of requirements, found {found}")


def import_advice(project: Project) -> str:
    """Return what to look at when the real backend cannot be imported."""
    if project.backend_path:
        return f"tool.provision-backend.backend-path must lead to it, found {', '.join(project.backend_path)}"
    where = "build-system.requires" if project.one_list else "tool.provision-backend.requires"
    found = f", found {', '.join(project.requires)}" if project.requires else ""
    return f"{where} must name what provides it{found}"
