"""A build backend that builds a project under a Python that the machine does not have.

A frontend looks up the hooks of PEP 517 ("Build backend interface") and PEP 660 here. The hooks that every backend has
are functions of this module; `__getattr__` (PEP 562) adds the optional ones that the real backend has.
"""

from __future__ import annotations

# Importing typing for its TYPE_CHECKING takes milliseconds, and a type checker takes this name for that one.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Dict, List, Optional

    Settings = Optional[Dict[str, Any]]

__all__ = ["build_sdist", "build_wheel", "get_requires_for_build_sdist", "get_requires_for_build_wheel"]

_OPTIONAL = (
    "build_editable",
    "get_requires_for_build_editable",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: Optional[str] = None
) -> str:
    """Build a wheel and return its file name."""
    file_name: str = _hooks().build("build_wheel", wheel_directory, config_settings, metadata_directory)
    return file_name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build a source distribution and return its file name."""
    file_name: str = _hooks().build("build_sdist", sdist_directory, config_settings)
    return file_name


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_wheel`."""
    requirements: List[str] = _hooks().get_requires("get_requires_for_build_wheel", config_settings)
    return requirements


def get_requires_for_build_sdist(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_sdist`."""
    requirements: List[str] = _hooks().get_requires("get_requires_for_build_sdist", config_settings)
    return requirements


def _hooks() -> ModuleType:
    # Wrappers of other backends import each backend they know, so importing us must cost nothing.
    from .hooks import build

    return build


def __getattr__(name: str) -> Any:
    # Frontends, inspect and pytest probe for other names too, and the answer to those must cost nothing.
    if name in _OPTIONAL:
        return _hooks().find_hook(name)
    if name == "UnsupportedOperation":
        return _hooks().unsupported_operation()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
