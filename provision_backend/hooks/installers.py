"""Which command installs requirements into a build environment, and with which variables.

The interpreter's own pip does, or uv: on request, or since it is the frontend. Indexes, find-links, proxies and
certificates are the user's (PIP_*, pip.conf, UV_*), as for a frontend that fills a build environment; what would
misdirect the installation is dropped.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Tuple

from ..errors import BuildEnvironmentError
from ..settings import Settings

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["find_uv", "install_command", "supports_python_option"]

# Each of these misdirects or empties the installation into a build environment; all were tried.
_PIP_DROPPED = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_DRY_RUN",
    "PIP_EDITABLE",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_HASHES",
    "PIP_NO_DEPS",
    "PIP_PYTHON",
    "PIP_ABI",
    "PIP_PLATFORM",
    "PIP_IMPLEMENTATION",
    "PIP_PYTHON_VERSION",
    "PIP_REPORT",
    "PIP_UPGRADE",
    "PIP_FORCE_REINSTALL",
    "PIP_IGNORE_INSTALLED",
    # Since pip 26.2 run-time constraints do not reach build environments (pypa/pip#13300); the build ones do.
    "PIP_CONSTRAINT",
)

_UV_DROPPED = (
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_REQUIRE_HASHES",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_RESOLUTION",
    "UV_NO_DEPS",
)


def install_command(
    interpreter: Interpreter, python: str, settings: Settings, environ: Mapping[str, str]
) -> Tuple[List[str], Dict[str, str]]:
    """Return the command that installs what is appended to it, and its environment variables.

    Args:
        interpreter: whose pip installs.
        python: the build environment's interpreter.
        settings: of this build.
        environ: variables of a process in the build environment.

    Raises:
        BuildEnvironmentError: uv was asked for and there is none.
    """
    uv = find_uv(settings)
    if uv:
        cleaned = {name: value for name, value in environ.items() if name not in _UV_DROPPED}
        command = [uv, "pip", "install", "--python", python, "--quiet"]
        return command + _constraints(environ.get("UV_BUILD_CONSTRAINT")), cleaned
    cleaned = {name: value for name, value in environ.items() if name not in _PIP_DROPPED}
    cleaned.update(PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_WARN_SCRIPT_LOCATION="1")
    command = [python, "-I", "-m", "pip"]
    if supports_python_option(interpreter.pip):
        command = [interpreter.executable, "-I", "-m", "pip", "--python", python]
    command += ["install", "--quiet", "--no-user"]
    return command + _constraints(environ.get("PIP_BUILD_CONSTRAINT")), cleaned


def supports_python_option(pip_version: str) -> bool:
    """Whether this pip installs into another environment; ``--python`` is there since 22.3."""
    parts = pip_version.split(".")
    return bool(pip_version) and tuple(int(part) for part in parts[:2] if part.isdigit()) >= (22, 3)


def find_uv(settings: Settings) -> str:
    """Return the path of uv where it is to install: on request, or since it is the frontend; else empty.

    It is never chosen because it is on PATH: where an extra index is set, pip takes the best version of all indexes
    and uv the first index that has the name, so that a silent switch would change what is installed.
    """
    if settings.installer == "pip":
        return ""
    if settings.installer == "uv":
        found = os.environ.get("UV") or shutil.which("uv") or _own_uv()
        if not found:
            raise BuildEnvironmentError("the installer uv was asked for, and no uv is on PATH")
        return found
    return os.environ.get("UV", "")


def _own_uv() -> str:
    beside = Path(sys.executable).with_name("uv.exe" if os.name == "nt" else "uv")
    return str(beside) if beside.exists() else ""


def _constraints(files: Optional[str]) -> List[str]:
    return [word for file in (files or "").split() for word in ("--constraint", file)]
