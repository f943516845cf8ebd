"""A build backend that builds a project under a Python that the machine does not have.

A frontend looks up the hooks of PEP 517 and PEP 660 here. Importing this module costs nothing: what a hook needs is
imported when it is called. The hooks that every backend has are functions of this module; the optional ones are there
when the real backend has them, which `__getattr__` (PEP 562) finds out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    Settings = Optional[Dict[str, Any]]

__all__ = [
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

_OPTIONAL = (
    "build_editable",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    """Build a wheel and return its file name.

    Source: PEP 517, Build backend interface.
    """
    _enter()
    from .hooks import build as calls

    file_name: str = calls.build("build_wheel", wheel_directory, config_settings, metadata_directory)
    return file_name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build a source distribution and return its file name.

    Source: PEP 517, Build backend interface.
    """
    _enter()
    from .hooks import build as calls

    file_name: str = calls.build("build_sdist", sdist_directory, config_settings)
    return file_name


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_wheel`.

    Source: PEP 517, Build backend interface.
    """
    _enter()
    from .hooks import build as calls

    return calls.get_requires("get_requires_for_build_wheel", config_settings)


def get_requires_for_build_sdist(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_sdist`.

    Source: PEP 517, Build backend interface.
    """
    _enter()
    from .hooks import build as calls

    return calls.get_requires("get_requires_for_build_sdist", config_settings)


def _enter() -> None:
    """Turn to the copy of us that an earlier build has kept; most builds have none and stop at the first question."""
    import os

    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    cache = os.environ.get("PROVISION_BACKEND_CACHE_DIR") or os.path.join(home, "provision-backend")
    if os.path.isdir(os.path.join(os.path.expanduser(cache), "code")):
        from . import kept

        kept.use_copy()


def __getattr__(name: str) -> Any:
    # Frontends, inspect and pytest probe for other names too; the answer to those must cost nothing.
    if name in _OPTIONAL:
        _enter()
        from .hooks import optional

        return optional.find_hook(name)
    if name == "UnsupportedOperation":
        _enter()
        from .hooks import optional

        return optional.unsupported_operation()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
