"""Which optional hooks we have: those of the real backend, as soon as that can be told.

A frontend looks with ``hasattr``, which must never download or install. Before the real backend can be imported the
answer is yes; a hook that turns out to be missing is then answered as pyproject_hooks does (metadata from a wheel),
or ends in a clear error.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional

from . import build as calls
from . import in_process as passthrough

__all__ = ["find_hook", "unsupported_operation"]

_NAMES = ("build_editable", "prepare_metadata_for_build_editable", "prepare_metadata_for_build_wheel")

_Settings = Optional[Mapping[str, Any]]


def find_hook(name: str) -> Callable[..., Any]:
    """Return an optional hook.

    Raises:
        AttributeError: the real backend has none of this name.

    Source: PEP 517 and PEP 660, "optional hooks".
    """
    # What a frontend may ask for before it builds an editable is there exactly when it can build one.
    wanted = "build_editable" if name == "get_requires_for_build_editable" else name
    known = _known_hooks()
    if known is not None and wanted not in known:
        raise AttributeError(f"the real backend has no hook {name!r}")
    return _FUNCTIONS[name]


def unsupported_operation() -> type:
    """Return the exception class that stands for an sdist that cannot be made, as the real backend has it.

    Raises:
        AttributeError: the real backend runs in this process and has none.

    Source: PEP 517, build_sdist.
    """
    from .forwarded import UnsupportedOperation

    try:
        build = calls.open_build()
        if build.plan.provision:
            return UnsupportedOperation
        backend = passthrough.load_backend(build.project)
    except Exception:
        # A real backend may fail in any way when it is imported; the hook itself meets the same and reports it.
        return UnsupportedOperation
    found: type = backend.UnsupportedOperation
    return found


def _known_hooks() -> Optional[List[str]]:
    """Return the optional hooks of the real backend, or None while they cannot be told."""
    try:
        build = calls.open_build()
        if build.plan.provision:
            return _hooks_of_environment(build)
        backend = passthrough.load_backend(build.project)
    except Exception:
        # An AttributeError would read as "no such hook", and anything else would be a traceback out of hasattr().
        # The hook itself meets the same trouble and reports it.
        return None
    return [name for name in _NAMES if hasattr(backend, name)]


def _hooks_of_environment(build: calls.Build) -> Optional[List[str]]:
    from ..provision import find
    from . import forwarded as forward
    from .environment import existing_environment

    interpreter = find(build.plan.wanted, build.settings, build.reporter)
    if interpreter is None:
        return None
    environment = existing_environment(
        interpreter,
        build.project.requires,
        settings=build.settings,
        reporter=build.reporter,
        source=build.project.root,
    )
    return None if environment is None else forward.known_hooks(build.project, environment)


def _build_editable(
    wheel_directory: str, config_settings: _Settings = None, metadata_directory: Optional[str] = None
) -> Any:
    """Build an editable wheel and return its file name (PEP 660)."""
    return calls.build("build_editable", wheel_directory, config_settings, metadata_directory)


def _get_requires_for_build_editable(config_settings: _Settings = None) -> List[str]:
    """Return what the frontend must install before ``build_editable`` (PEP 660)."""
    return calls.get_requires("get_requires_for_build_editable", config_settings)


def _prepare_metadata_for_build_editable(metadata_directory: str, config_settings: _Settings = None) -> Any:
    """Make the metadata of an editable wheel and return the folder's name (PEP 660)."""
    return calls.build("prepare_metadata_for_build_editable", metadata_directory, config_settings)


def _prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: _Settings = None) -> Any:
    """Make the metadata of a wheel and return the folder's name (PEP 517)."""
    return calls.build("prepare_metadata_for_build_wheel", metadata_directory, config_settings)


_FUNCTIONS: Dict[str, Callable[..., Any]] = {
    "build_editable": _build_editable,
    "get_requires_for_build_editable": _get_requires_for_build_editable,
    "prepare_metadata_for_build_editable": _prepare_metadata_for_build_editable,
    "prepare_metadata_for_build_wheel": _prepare_metadata_for_build_wheel,
}
