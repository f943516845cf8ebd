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
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping, Optional

from ..errors import BackendError
from ..project.pyproject import Project

__all__ = ["call_hook", "get_requires", "load_backend", "requires_hook", "serves"]


def load_backend(project: Project) -> Any:
    """Import the real backend, in-tree ones from their ``backend-path``.

    Raises:
        BackendError: it cannot be imported, or has no such object.

    Source: PEP 517, "Source trees" and "In-tree build backends".
    """
    module_name, _, object_path = project.build_backend.partition(":")
    _prepend_backend_path(project)
    try:
        backend = importlib.import_module(module_name)
    except ImportError as exc:
        raise BackendError(
            f"the real backend {project.build_backend!r} could not be imported under Python "
            f"{sys.version.split()[0]}: {exc}",
            hint=_advice(project),
        ) from None
    try:
        return functools.reduce(getattr, filter(None, object_path.split(".")), backend)
    except AttributeError as exc:
        raise BackendError(f"the real backend {project.build_backend!r} does not exist: {exc}") from None


def serves(project: Project, hook: str, config_settings: Optional[Mapping[str, Any]]) -> bool:
    """Whether this environment can run a hook of the real backend as it is.

    With the one-list form it can: the frontend has asked for the dynamic requirements and installed them. With
    ``requires`` in our table the frontend could install the static ones only, since nothing could be asked before
    they were there. So the real backend is asked now, in a process of its own: setuptools runs ``setup.py`` for the
    answer, twice in one process it is not made for.

    Raises:
        BackendError: the real backend cannot be imported.
    """
    backend = load_backend(project)
    if not hasattr(backend, hook):
        # Metadata can still be had from a wheel, in a build environment; anything else ends in an error here.
        return not hook.startswith("prepare_metadata")
    asking = requires_hook(hook)
    if project.one_list or not hasattr(backend, asking):
        return True
    dynamic = _ask_apart(project, getattr(backend, asking), asking, config_settings)
    if not dynamic:
        return True
    from .requirements import unmet_requirements

    return not unmet_requirements(dynamic)


def _ask_apart(
    project: Project, function: Callable[..., Any], asking: str, config_settings: Optional[Mapping[str, Any]]
) -> List[str]:
    """Ask for dynamic requirements in a process that is forked off, where the real backend is imported already."""
    threading = sys.modules.get("threading")
    if not hasattr(os, "fork") or (threading is not None and threading.active_count() > 1):
        from . import forwarded as forward
        from .current import CurrentEnvironment

        return forward.get_requires(project, CurrentEnvironment(), asking, config_settings)
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # The frontend, which may go on after whatever an exception says, is not to go on twice.
        os._exit(_answer(function, config_settings, writing))
    os.close(writing)
    with _ended_together(child), open(reading, encoding="utf-8") as pipe:
        answer = pipe.read()
        status = os.waitpid(child, 0)[1]
    if status:
        from ..errors import HookFailedError
        from ..processes import signal_name

        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        raise HookFailedError(asking, -number or os.WEXITSTATUS(status), signal=signal_name(number) if number else "")
    return answer.splitlines()


@contextlib.contextmanager
def _ended_together(child: int) -> Iterator[None]:
    """End a process that was forked off when this one is asked to end, as a hook in one process would."""
    import signal

    def end(number: int, _frame: object) -> None:
        os.kill(child, number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # A handler of somebody else has its own idea of how this ends.
    ours = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _answer(function: Callable[..., Any], config_settings: Optional[Mapping[str, Any]], writing: int) -> int:
    """Write the answer, one requirement a line, and return the exit status of this process."""
    import traceback

    status = 0
    try:
        lines = "".join(f"{text}\n" for text in function(config_settings))
        with open(writing, "w", encoding="utf-8") as pipe:
            pipe.write(lines)
    except SystemExit as exc:
        # As Python itself ends with it.
        status = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        if not isinstance(exc.code, (int, type(None))):
            sys.stderr.write(f"{exc.code}\n")
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status & 0xFF


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
        raise BackendError(f"the real backend {project.build_backend!r} has no hook {hook!r}")
    return function(*args)


def get_requires(project: Project, hook: str, config_settings: Optional[Mapping[str, Any]]) -> List[str]:
    """Ask the real backend for its dynamic requirements; PEP 517 gives a missing hook the answer ``[]``."""
    function = getattr(load_backend(project), hook, None)
    return [] if function is None else list(function(config_settings))


def _prepend_backend_path(project: Project) -> None:
    for folder in reversed(project.backend_path):
        path = str(Path(project.root, folder).resolve())
        if path not in sys.path:
            sys.path.insert(0, path)


def _advice(project: Project) -> str:
    from .forwarded import import_advice
    from .requirements import unmet_requirements

    unmet = unmet_requirements(project.requires)
    return "not installed: " + ", ".join(unmet) if unmet else import_advice(project)
