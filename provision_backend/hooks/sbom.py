"""A wheel that was built, and where → a file ``<wheel>.cdx.json`` that says what the build used.

Only on request (setting ``sbom``). The wheel is the real backend's and stays as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..interpreter import Interpreter
from ..settings import Settings
from ..versions import own_version

if TYPE_CHECKING:
    from .current import HookEnvironment

__all__ = ["BESIDE", "record_wheel"]

BESIDE = "beside"
"""Value of the setting ``sbom`` for the folder of the wheel itself."""


def record_wheel(
    wheel: Path, build_backend: str, interpreter: Interpreter, *, environment: HookEnvironment, settings: Settings
) -> Path:
    """Write down what the build of a wheel used.

    Args:
        wheel: the wheel, just built.
        build_backend: the real backend.
        interpreter: what ran it.
        environment: where it ran.
        settings: of the build; ``sbom`` names the folder of the file.

    Returns:
        The path of the file.

    Raises:
        BuildEnvironmentError: the environment does not say what is installed in it.
        UsageError: the file cannot be written.
    """
    from .sbom_cyclonedx import Used, sbom_text
    from .sbom_installed import list_installed

    used = Used(
        wheel=wheel.name,
        sha256=_hash(wheel),
        build_backend=build_backend,
        interpreter=interpreter,
        archive=_archive_of(interpreter),
        installed=list_installed(environment.python, environment.environ()),
        own_version=own_version(),
        timestamp=_timestamp(),
    )
    folder = wheel.parent if settings.sbom == BESIDE else _folder(settings.sbom)
    path = folder / f"{wheel.name}.cdx.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(sbom_text(used), encoding="utf-8")
    except OSError as exc:
        raise UsageError(
            f"{settings.origin('sbom')} names {settings.sbom!r}, and {path} cannot be written: {exc.strerror}"
        ) from None
    return path


def _folder(text: str) -> Path:
    """Return a folder as the person means it who has started the frontend, since hooks run elsewhere."""
    from .build_folders import frontend_folder

    return Path(frontend_folder(Path.cwd()), os.path.expanduser(text))


def _hash(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _archive_of(interpreter: Interpreter) -> str:
    from ..cache.entries import entry_of, read_marker

    entry = entry_of(interpreter)
    return "" if entry is None else str(read_marker(entry).get("filename", ""))


def _timestamp() -> str:
    """Return the time that the builder fixes for all that is built; without one, two builds stay alike by none.

    Source: reproducible-builds.org, SOURCE_DATE_EPOCH.
    """
    import datetime

    try:
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", ""))
        moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
