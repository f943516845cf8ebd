"""Files of a project that we change for a person: read, shown as a diff, and replaced in one step.

A symbolic link stays one: the file that it leads to is replaced, and keeps its mode and, where we may, its owner.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import tempfile
from pathlib import Path
from typing import List

from ..errors import ProjectError

__all__ = ["diff_lines", "read_pyproject", "write_text"]


def read_pyproject(root: Path) -> str:
    """Return the text of a project's ``pyproject.toml``, line breaks as they are.

    Raises:
        ProjectError: it is missing, unreadable or not UTF-8.
    """
    try:
        return (root / "pyproject.toml").read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ProjectError(f"pyproject.toml is missing in {str(root)!r}", hint=_how_to_begin(root)) from None
    except UnicodeDecodeError as exc:
        raise ProjectError(f"pyproject.toml is not UTF-8: byte {exc.start}") from None
    except OSError as exc:
        raise ProjectError(f"pyproject.toml cannot be read: {exc.strerror}") from None


def _how_to_begin(root: Path) -> str:
    if not any((root / name).is_file() for name in ("setup.py", "setup.cfg")):
        return ""
    return "make one that says requires-python: an empty file will do, with --requires-python '>=3.X'"


def write_text(path: Path, text: str) -> None:
    """Replace a file, or make it.

    Raises:
        ProjectError: it cannot be written; then it is what it was.
    """
    target = os.path.realpath(str(path))
    temporary = ""
    try:
        status = os.stat(target) if os.path.exists(target) else None
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=os.path.dirname(target))
        with open(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if status is not None:
            _copy_owner(status, temporary)
        os.chmod(temporary, stat.S_IMODE(status.st_mode) if status else 0o644)
        os.replace(temporary, target)
    except OSError as exc:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise ProjectError(f"{path.name} cannot be written: {exc.strerror}") from None


def _copy_owner(status: os.stat_result, path: str) -> None:
    # Only the superuser can give a file away; for everybody else it is theirs in any case.
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, status.st_uid, status.st_gid)


def diff_lines(before: str, after: str, name: str = "pyproject.toml") -> List[str]:
    """Return what changes in a file as the lines of a unified diff; empty for nothing."""
    lines = []
    names = (f"a/{name}", f"b/{name}")
    for line in difflib.unified_diff(_lines(before), _lines(after), *names):
        lines.append(line[:-1] if line.endswith("\n") else line)
        if not line.endswith("\n"):
            lines.append("\\ No newline at end of file")
    return lines


def _lines(text: str) -> List[str]:
    # Only line feeds end a line, as diff and patch have it.
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
