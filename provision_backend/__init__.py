"""A build backend that builds a project under a Python that the machine does not have.

A frontend looks up the hooks of PEP 517 and PEP 660 here. Importing this module costs nothing: what a hook needs is
imported when it is called. The hooks that every backend has are functions of this module; `__getattr__` (PEP 562) adds
the optional ones that the real backend has.
"""

from __future__ import annotations

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
    """Build a wheel and return its file name.

    Source: PEP 517, Build backend interface.
    """
    file_name: str = _hooks().build("build_wheel", wheel_directory, config_settings, metadata_directory)
    return file_name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build a source distribution and return its file name.

    Source: PEP 517, Build backend interface.
    """
    file_name: str = _hooks().build("build_sdist", sdist_directory, config_settings)
    return file_name


def get_requires_for_build_wheel(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_wheel`.

    Source: PEP 517, Build backend interface.
    """
    requirements: List[str] = _hooks().get_requires("get_requires_for_build_wheel", config_settings)
    return requirements


def get_requires_for_build_sdist(config_settings: Settings = None) -> List[str]:
    """Return what the frontend must install before `build_sdist`.

    Source: PEP 517, Build backend interface.
    """
    requirements: List[str] = _hooks().get_requires("get_requires_for_build_sdist", config_settings)
    return requirements


def _hooks() -> ModuleType:
    # Importing us must stay free of side effects and of time: wrappers of other backends import each backend they know.
    from .hooks import build

    return build


def __getattr__(name: str) -> Any:
    # Frontends, inspect and pytest probe for other names too; the answer to those must cost nothing.
    if name in _OPTIONAL:
        return _hooks().find_hook(name)
    if name == "UnsupportedOperation":
        return _hooks().unsupported_operation()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
