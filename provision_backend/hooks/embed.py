"""Copy a wheel with some of its files changed and others added.

Any CPython from 3.8 on runs this file, which imports nothing but the standard library. For a provisioned build that is
the interpreter that has built the wheel: what deflates is then the zlib that its real backend has used. The zlib of the
Python that runs the hook is another one on each machine (3.14 of Windows and some distributions have zlib-ng), and two
machines would make different wheels from the same lock.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from typing import IO

__all__ = ["copy_wheel"]


def copy_wheel(wheel: str, copy: str, changes: dict[str, str]) -> None:
    """Write a copy of a wheel; its files keep their order, dates, modes and compression.

    Args:
        wheel: path of the wheel.
        copy: path of the copy, which does not exist.
        changes: paths of files with new content, by the name in the wheel. A file that the wheel does not have stands
            in the copy before the first one that is changed, of which there must be one, and looks like it.

    Raises:
        Exception: the wheel cannot be read, or the copy be written; `wheel_file.UNREADABLE` is all of them.
    """
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(copy, "x") as target:
        target.comment = source.comment
        new = [name for name in changes if name not in source.namelist()]
        for entry in source.infolist():
            if entry.filename not in changes:
                with source.open(entry) as content:
                    _write(target, entry.filename, entry, content, entry.file_size)
                continue
            for name in [*new, entry.filename]:
                with open(changes[name], "rb") as content:
                    _write(target, name, entry, content, os.path.getsize(changes[name]))
            new = []


def _write(target: zipfile.ZipFile, name: str, like: zipfile.ZipInfo, content: IO[bytes], size: int) -> None:
    entry = zipfile.ZipInfo(name, like.date_time)
    entry.compress_type, entry.comment, entry.extra = like.compress_type, like.comment, like.extra
    # Without them, Windows would write other bytes than Linux does.
    entry.create_system, entry.internal_attr = like.create_system, like.internal_attr
    entry.file_size = size  # What has 2 GB or more needs a larger header.
    with target.open(entry, "w") as file:
        shutil.copyfileobj(content, file, 1 << 20)
    # What opens the entry sets a mode where it has none. The directory, where it stands, is written last.
    entry.external_attr = like.external_attr


if __name__ == "__main__":
    error = ""
    try:
        copy_wheel(sys.argv[1], sys.argv[2], dict(zip(sys.argv[3::2], sys.argv[4::2])))
    except Exception as exc:
        error = f"{exc}" or type(exc).__name__
    sys.stdout.write(json.dumps({"error": error}) + "\n")
