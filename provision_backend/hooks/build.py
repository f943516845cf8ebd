"""What each hook does: read the project, decide, and run the real backend here or elsewhere.

Beside the command line this is the only place that turns our errors into an exit: the message on standard error, which
every frontend shows, and `SystemExit` with a number. Exceptions of a real backend that runs in this process pass as
they are.

The optional hooks are those of the real backend, as soon as it can be imported. A frontend looks with ``hasattr``,
which must never download or install. Until then, and where the real backend runs elsewhere, the answer is yes: a
metadata hook that turns out to be missing is answered from a wheel, as pyproject_hooks does, and any other one ends in
a clear error.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import HookFailedError, ProvisionError
from ..output import Reporter, explained
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project, read_project
from ..settings import Settings, load_settings, strip_settings
from . import in_process
from .frontend import UnsupportedOperation, disposable_folder, frontend_folder, frontend_name, guard_recursion
from .made import surprises

if TYPE_CHECKING:
    from types import ModuleType

    from ..interpreter import Interpreter
    from ..toolchain import Compilers

__all__ = ["Build", "build", "find_hook", "get_requires", "open_build", "serves", "unsupported_operation"]

_Settings = Optional[Mapping[str, Any]]


class Build(NamedTuple):
    """What one call of a hook works with."""

    project: Project
    settings: Settings
    plan: Plan
    config_settings: Optional[Dict[str, Any]]
    """What is forwarded to the real backend: all but our own keys."""
    reporter: Reporter
    toolchain: Optional[Compilers] = None
    """The compiler that the real backend uses in place of the host's."""


def open_build(config_settings: Optional[Mapping[str, Any]] = None) -> Build:
    """Read the project in the current folder and decide how it is built.

    Raises:
        ProjectError: ``pyproject.toml`` is wrong.
        UsageError: a setting is wrong.

    Source: PEP 517 has frontends call every hook in the root of the source tree.
    """
    began = perf_counter()
    with explained():
        project = read_project(Path.cwd())
        folder = frontend_folder(project.root)
        settings = load_settings(config_settings, project=project.settings, folder=folder)
        plan = make_plan(project, settings)
        toolchain = _compilers().toolchain_for(settings) if settings.toolchain or settings.glibc else None
    # A build within this one, by an installer or the real backend, may be started in another folder.
    os.environ.update(settings.variables())
    reporter = Reporter(verbosity=settings.verbose)
    build = Build(project, settings, plan, strip_settings(config_settings), reporter, toolchain)
    build.reporter.detail(f"{'provisioning' if plan.provision else 'passing through'}: {plan.reason}")
    build.reporter.took("read the project and decide", perf_counter() - began)
    return build


def _compilers() -> ModuleType:
    # Only builds with the setting pay for it.
    from .. import toolchain

    return toolchain


def get_requires(hook: str, config_settings: _Settings) -> List[str]:
    """Answer a ``get_requires_for_build_*``: what the frontend must install first, and nothing else.

    Passing through, those are the real backend's static requirements, and once they are met, its dynamic ones. Where
    an interpreter must be provisioned they are our own for that, and none with a warm cache.
    """
    with _user_errors():
        opened = open_build(config_settings)
        with guard_recursion(opened.project.root, opened.project.build_backend):
            if opened.plan.provision:
                return _provisioning_requires(opened)
            with opened.reporter.step(f"{hook} of {opened.project.build_backend}"):
                tools = opened.toolchain.requirements if opened.toolchain else ()
                return [*_backend_requires(opened, hook), *tools]


def _backend_requires(opened: Build, hook: str) -> List[str]:
    # In the one-list form the frontend has installed the static ones already, exactly as without us.
    static = [] if opened.project.one_list else [*opened.project.requires, *_added_by_uv(opened.project)]
    # While a static one is missing, the real backend may not be importable, and cannot be asked.
    if in_process.unmet(static):
        return static
    # Those that are met are returned too, for pip-compile --build-deps-for, which asks again.
    return static + in_process.get_requires(opened.project, hook, opened.config_settings)


def _added_by_uv(project: Project) -> List[str]:
    # uv installs what is extra with the first requirements only, and those of our table would replace its versions.
    if frontend_name() != "uv":
        return []
    from .uv_settings import extra_requirements

    return extra_requirements(project.name, project.root)


def build(hook: str, directory: str, config_settings: _Settings, *metadata: Optional[str]) -> Any:
    """Run a hook that makes something in a directory, and return what the real backend returns.

    The last argument is the ``metadata_directory``, for the hooks that have it.
    """
    with _user_errors():
        opened = open_build(config_settings)
        # Overriding a lock makes another wheel, so it is reported whatever the verbosity.
        if opened.plan.note:
            opened.reporter.info(opened.plan.note)
        project, arguments = opened.project, (directory, opened.config_settings, *metadata)
        with guard_recursion(project.root, project.build_backend):
            here = not opened.plan.provision and serves(project, hook, opened.config_settings)
            made = (_build_here if here else _build_elsewhere)(opened, hook, arguments)
        with suppress(ImportError):  # A Python without zlib reads no sdist.
            for line in surprises(project, Path(directory, made), _cache_in_tree(opened, hook)):
                opened.reporter.info(line)
        return made


def serves(project: Project, hook: str, config_settings: Optional[Mapping[str, Any]]) -> bool:
    """Return whether this environment can run a hook of the real backend as it is.

    With the one-list form it can: the frontend has asked for the dynamic requirements and installed them. With
    ``requires`` in our table the frontend could install the static ones only, since nothing could be asked before they
    were installed. So the real backend is asked now, in a process of its own: setuptools runs ``setup.py`` for the
    answer, and it is not made for two hooks in one process. Without isolation everything is as the user wants it. If
    the real backend cannot be imported, `BackendError` is raised.
    """
    backend = in_process.load_backend(project)
    isolated = disposable_folder() is not None
    if not hasattr(backend, hook):
        if hook.endswith("_editable") and not hasattr(backend, "build_editable"):
            raise in_process.missing_hook(project, "build_editable")
        # Metadata can still be taken from a wheel, in a build environment; anything else ends in an error here.
        return not (isolated and hook.startswith("prepare_metadata"))
    asking = in_process.requires_hook(hook)
    if project.one_list or not isolated or not hasattr(backend, asking):
        return True
    from . import forwarded

    dynamic = forwarded.get_requires(project, forwarded.CurrentEnvironment(), asking, config_settings)
    return not in_process.unmet(dynamic)


def _cache_in_tree(opened: Build, hook: str) -> str:
    """Return the path, with slashes, of a cache in the source tree; empty where none is there, or no sdist is made."""
    root = os.path.realpath(str(opened.project.root))
    base = opened.settings.cache_dir or os.environ.get("XDG_CACHE_HOME") or "~"
    if hook != "build_sdist" or not os.path.realpath(os.path.expanduser(base)).startswith(root + os.sep):
        return ""
    from ..cache.store import open_cache

    return os.path.relpath(str(open_cache(opened.settings).root), root).replace(os.sep, "/")


def _build_here(opened: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    toolchain, folder = opened.toolchain, disposable_folder()
    with opened.reporter.step(f"{hook} of {opened.project.build_backend}"):
        try:
            with _compilers().use_here(toolchain, folder) if toolchain else nullcontext():
                made = in_process.call_hook(opened.project, hook, *arguments)
        except (Exception, SystemExit):
            from ..host.compilers import missing_compiler  # Only a build that has failed pays for it.

            opened.reporter.info(missing_compiler(os.environ))
            raise
    made = in_process.check_result(opened.project, hook, arguments[0], made)
    # An editable wheel is not distributed, and what an sdist was made with is not in it.
    if hook == "build_wheel" and opened.settings.sbom:
        from .sbom import record_own_wheel

        record_own_wheel(Path(arguments[0], made), opened.project.build_backend, opened.settings)
    return made


def _build_elsewhere(opened: Build, hook: str, arguments: Tuple[Any, ...]) -> Any:
    try:
        with explained():
            from . import provisioned

            return provisioned.call_hook(opened, hook, arguments)
    except UnsupportedOperation as exc:
        if opened.plan.provision:
            raise
        # The frontend, which looks for the class when it sees the exception, finds that of this process's backend.
        theirs = getattr(in_process.load_backend(opened.project), "UnsupportedOperation", UnsupportedOperation)
        raise theirs(str(exc)) from None


def _provisioning_requires(opened: Build) -> List[str]:
    with explained():
        with opened.reporter.step("look for an interpreter"):
            from ..provision import find, is_broken, set_aside_damaged

            found = find(opened.plan.wanted, opened.settings, opened.reporter)
            # The hook that builds could not make another one without the packages that only this one can ask for.
            if found is not None and is_broken(found) and set_aside_damaged(found, opened.settings, opened.reporter):
                found = None
        requirements = opened.plan.wanted.lock.requirements if opened.plan.wanted.lock else None
        if found is not None and (requirements is None or _has_environment(opened, found)):
            return []
        # A warm cache does not pay for these.
        from .requirements import missing_for_lock, missing_to_provision

        missing = [] if found else missing_to_provision(opened.settings)
        return list(dict.fromkeys([*missing, *(missing_for_lock() if requirements else [])]))


def _has_environment(opened: Build, interpreter: Interpreter) -> bool:
    # Only a project with a lock pays for this import.
    from .locked import locked_for

    locked = locked_for(interpreter, opened.plan.wanted, opened.settings, opened.reporter)
    return locked is None or locked.find() is not None


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except ProvisionError as exc:
        raise _as_exit(exc) from None


def _as_exit(exc: ProvisionError) -> SystemExit:
    reporter = Reporter(color="never")
    if not isinstance(exc, HookFailedError):
        # A text in SystemExit would be printed too, but tox expects a number there and shows the text four times.
        reporter.error(str(exc))
        return SystemExit(1)
    if not exc.cause:
        reporter.info(exc.hint)
        return SystemExit(exc.returncode)  # The real backend's own traceback stands above.
    # A process that was killed has said nothing itself, and a shell shows such an end as 128 and the signal's number.
    reporter.error(exc.message)
    return SystemExit(128 - exc.returncode if exc.returncode < 0 else 1)


def find_hook(name: str) -> Callable[..., Any]:
    """Return an optional hook, or raise `AttributeError` if the real backend has none of this name.

    Source: PEP 517 and PEP 660, "optional hooks".
    """
    # What a frontend may ask for before it builds an editable exists exactly when the real backend can build one.
    real = "build_editable" if name == "get_requires_for_build_editable" else name
    project, backend = _backend_here()
    if backend is not None and not hasattr(backend, real) and not _was_promised(project, backend, name):
        raise AttributeError(f"the real backend has no hook {name!r}")
    return _OPTIONAL[name]


def unsupported_operation() -> type:
    """Return the class of an sdist that cannot be made; raise `AttributeError` if the real backend here has none.

    Source: PEP 517, build_sdist.
    """
    _, backend = _backend_here()
    found: type = UnsupportedOperation if backend is None else backend.UnsupportedOperation
    return found


def _was_promised(project: Project, backend: Any, name: str) -> bool:
    # Before the requirements of our table were installed, pip was told that there is a build_editable. Where that turns
    # out to be wrong, pip ends in a traceback unless the first hook that makes something ends in a sentence.
    promised = name == "prepare_metadata_for_build_editable" and not hasattr(backend, "build_editable")
    return promised and not project.one_list and disposable_folder() is not None


def _backend_here() -> Tuple[Any, Any]:
    """Return the project, and the real backend where it runs in this process and can be imported; else None."""
    try:
        opened = open_build()
        return opened.project, None if opened.plan.provision else in_process.load_backend(opened.project)
    except Exception:
        # A real backend may fail in any way when it is imported. An AttributeError would read as "no such hook", and
        # anything else would be a traceback out of hasattr(). The hook itself meets the same trouble and reports it.
        return None, None


def _build_editable(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: Optional[str] = None
) -> Any:
    """Build an editable wheel and return its file name (PEP 660)."""
    return build("build_editable", wheel_directory, config_settings, metadata_directory)


def _get_requires_for_build_editable(config_settings: _Settings = None) -> List[str]:
    """Return what the frontend must install before ``build_editable`` (PEP 660)."""
    return get_requires("get_requires_for_build_editable", config_settings)


def _prepare_metadata_for_build_editable(metadata_directory: str, config_settings: _Settings = None) -> Any:
    """Make the metadata of an editable wheel and return the folder's name (PEP 660)."""
    return build("prepare_metadata_for_build_editable", metadata_directory, config_settings)


def _prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: _Settings = None) -> Any:
    """Make the metadata of a wheel and return the folder's name (PEP 517)."""
    return build("prepare_metadata_for_build_wheel", metadata_directory, config_settings)


_OPTIONAL: Dict[str, Callable[..., Any]] = {
    "build_editable": _build_editable,
    "get_requires_for_build_editable": _get_requires_for_build_editable,
    "prepare_metadata_for_build_editable": _prepare_metadata_for_build_editable,
    "prepare_metadata_for_build_wheel": _prepare_metadata_for_build_wheel,
}
