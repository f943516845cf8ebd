"""Which configuration files pip and uv read: variables and folders in, paths out, whether they are there or not.

Source: pip documentation, Configuration; uv documentation, Configuration files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, Mapping, Tuple

__all__ = ["pip_files", "uv_files"]


def pip_files(environ: Mapping[str, str], prefix: str) -> Iterator[str]:
    """Yield the files that pip reads; a later one wins.

    Args:
        environ: the variables of pip.
        prefix: of the interpreter that runs it.
    """
    given = environ.get("PIP_CONFIG_FILE", "")
    if given == os.devnull:
        return
    home = os.path.expanduser("~")
    for base in reversed(_system_folders(environ)):
        yield os.path.join(base, "pip", "pip.conf")
    yield "/etc/pip.conf"
    yield os.path.join(home, ".pip", "pip.conf")
    yield os.path.join(_user_folder(environ), "pip", "pip.conf")
    yield os.path.join(home, "Library", "Application Support", "pip", "pip.conf")
    yield os.path.join(prefix, "pip.conf")
    if given:
        yield given


def uv_files(environ: Mapping[str, str], folder: str) -> Iterator[str]:
    """Yield the files that uv reads or may read, the nearest first.

    Args:
        environ: the variables of uv.
        folder: where it is run.
    """
    given = environ.get("UV_CONFIG_FILE")
    if given:
        yield given
        return
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return
    for parent in (Path(folder), *Path(folder).parents):
        yield str(parent / "uv.toml")
        yield str(parent / "pyproject.toml")
    for base in (_user_folder(environ), *_system_folders(environ)):
        yield os.path.join(base, "uv", "uv.toml")


def _user_folder(environ: Mapping[str, str]) -> str:
    return environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")


def _system_folders(environ: Mapping[str, str]) -> Tuple[str, ...]:
    return (*environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep), "/etc")
