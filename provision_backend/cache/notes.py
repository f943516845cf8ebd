"""Small texts that are written beside the interpreters and may be lost: a path and a text in, a whole file or none out.

Nobody ever reads half a note, and a process that is killed while it writes one leaves one file that the next writer
removes: leftovers do not grow with the number of crashes.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_note"]

_ABANDONED = 60.0  # seconds after which a half-written note is nobody's


def write_note(path: Path, text: str, *, alone: bool = False) -> None:
    """Write a text, readable for everybody whatever the umask; do nothing where that is not possible.

    Args:
        path: the file; its folder is there already.
        text: replaces what it holds.
        alone: nobody else writes this note now, so what is half-written is a dead process's.
    """
    temporary = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError):
        with _open_new(temporary, alone) as file:
            file.write(text.encode("utf-8"))
        temporary.chmod(0o644)
        os.replace(str(temporary), str(path))


def _open_new(path: Path, alone: bool) -> BinaryIO:
    try:
        return open(path, "xb")
    except FileExistsError:
        # Another process writes the same note now, or was killed when it did.
        if not alone and abs(time.time() - path.stat().st_mtime) < _ABANDONED:
            raise
    path.unlink()
    return open(path, "xb")
