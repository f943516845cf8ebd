"""Run the real backend in this very process.

The common case: the running interpreter satisfies the project, so the real backend's tracebacks, exceptions and set
of optional hooks are exactly what the frontend would see without us.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import BackendError
from ..project.pyproject import Project
from ..settings import load_toml, secret_variables
from ..versions import normalised_name

__all__ = [
    "advise_including", "call_hook", "check_requires", "check_result", "get_requires", "import_advice", "leaves_out",
    "load_backend", "missing_hook", "requires_hook", "surprises", "unmet",
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


def surprises(project: Project, made: Path, cache: str) -> Iterator[str]:
    """Yield a line for each thing about a wheel or an sdist that is not as ``pyproject.toml`` promises.

    An sdist without the file that locks the project is removed, and `BackendError` raised: it could not be built.

    Args:
        project: what it promises; a project without ``[project]`` promises no name and no version.
        made: the file; nothing is said of a folder.
        cache: path of the cache below the source tree, with slashes; empty where it lies elsewhere.
    """
    is_sdist, called = made.name.endswith(".tar.gz"), made.name
    if not is_sdist and made.suffix != ".whl":
        return
    name, _, rest = called[: -len(".tar.gz")].rpartition("-") if is_sdist else called.partition("-")
    version = rest.partition("-")[0]
    if project.name and normalised_name(name) != normalised_name(project.name):
        yield f"{called} has the name {name!r}, and pyproject.toml has {project.name!r}"
    if project.name and not project.version and version == "0.0.0":
        # It is what setuptools writes, and pbr.build where it is not the one that [build-system] names.
        yield f"{called} has the version 0.0.0, which stands for none: does {project.build_backend} look for its name?"
    elif project.name and project.version and version != project.version:
        from .requirements import same_release

        if not same_release(version, project.version):
            yield f"{called} has the version {version!r}, and pyproject.toml has {project.version!r}"
    if is_sdist:
        yield from _surprises_inside(project, made, cache)


def _surprises_inside(project: Project, sdist: Path, cache: str) -> Iterator[str]:
    from ..install.archives import read_sdist

    lock = project.lock.file.replace(os.sep, "/") if project.lock else ""
    cached, paths = 0, set()
    for path, content in read_sdist(sdist, "pyproject.toml", read_all=bool(cache or lock)):
        paths.add(path)
        cached += bool(cache) and path.startswith(f"{cache}/")
        backend = _named_backend(content) if path == "pyproject.toml" else "provision_backend"
        if backend != "provision_backend":
            yield (
                f"{sdist.name} names {backend!r} as its build backend: {project.build_backend} has changed "
                "[build-system], so no interpreter is provisioned for wheels that are built from it"
            )
    if cached:
        yield (
            f"{sdist.name} holds {cached} files of the cache {cache}, which lies in the source tree: add /{cache}/ to "
            ".gitignore, or set PROVISION_BACKEND_CACHE_DIR to a folder elsewhere"
        )
    # What cannot be read is the frontend's to report.
    if lock and lock not in paths and "pyproject.toml" in paths:
        os.unlink(str(sdist))
        raise BackendError(
            f"{sdist.name} would lack {lock}, which locks the project", hint=advise_including(project, lock)
        )


_INCLUDING = {
    "flit_core": '[tool.flit.sdist] of pyproject.toml: include = ["{}"]',
    "hatchling": '[tool.hatch.build.targets.sdist.force-include] of pyproject.toml: "{0}" = "{0}"',
    "maturin": '[tool.maturin] of pyproject.toml: include = [{{ path = "{}", format = "sdist" }}]',
    "mesonpy": "git, since meson packs only what is committed: git add {}",
    "pdm": '[tool.pdm.build] of pyproject.toml: source-includes = ["{}"]',
    "poetry": '[tool.poetry] of pyproject.toml: include = [{{ path = "{}", format = "sdist" }}]',
    "scikit_build_core": '[tool.scikit-build] of pyproject.toml: sdist.include = ["{}"]',
    "setuptools": "MANIFEST.in: include {}",
    "uv_build": '[tool.uv.build-backend] of pyproject.toml: source-include = ["{}"]',
}
"""Where a real backend is told to put a file into the sdist, and by which line, by its module."""


_PACK_ALL = ("hatchling", "mesonpy", "scikit_build_core")
"""Those of them that pack every file that is not ignored, or that is committed."""


def leaves_out(project: Project) -> bool:
    """Return whether a project's real backend is known to leave a file out of the sdist that nothing names."""
    module = re.split(r"[.:]", project.build_backend)[0]
    if module == "setuptools" and any(re.match(r"setuptools[-_.]scm\b", text, re.I) for text in project.requires):
        return False  # It has setuptools pack every file that is committed.
    return module in _INCLUDING and module not in _PACK_ALL


def advise_including(project: Project, file: str) -> str:
    """Return what to do so that the sdist of a project holds a file."""
    known = _INCLUDING.get(re.split(r"[.:]", project.build_backend)[0])
    return f"add to {known.format(file)}" if known else f"have {project.build_backend} put it into the sdist"


def _named_backend(content: bytes) -> str:
    try:
        return str(load_toml(content.decode("utf-8"))["build-system"]["build-backend"])
    except (ValueError, KeyError, TypeError):
        return "none"


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
