"""The ``SHA256SUMS`` of a folder: its lines in, what they say out, and back in order, in one step.

The file is at once what ``sha256sum -c`` reads and a catalog. What it says of files that are none of ours is kept;
lines of archives that are not there any more go, since a catalog must not offer what a mirror cannot give.

Source: GNU coreutils manual, sha2 utilities.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

from ..errors import CatalogError, DownloadError
from ..files import flush_folder
from ..output import format_size
from .archive import parse_archive_name

__all__ = ["SHA256SUMS", "Sums", "add_sums", "hash_file", "locate", "read_sums", "unwritable"]

SHA256SUMS = "SHA256SUMS"

_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(?P<name>\S.*)")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Sums:
    """What a ``SHA256SUMS`` says."""

    hashes: Mapping[str, str]
    """Lower-case hex sha256 by path below the folder, as it is listed."""
    comments: Tuple[str, ...] = ()
    """Lines that begin with a number sign."""

    def render(self) -> str:
        """Return the text of the file, sorted by path."""
        lines = [f"{self.hashes[name]}  {name}" for name in sorted(self.hashes)]
        return "".join(f"{line}\n" for line in [*self.comments, *lines])


def read_sums(folder: Path) -> Sums:
    """Read the ``SHA256SUMS`` of a folder.

    Returns:
        What it says; nothing where the folder has none.

    Raises:
        CatalogError: it cannot be read, or a line is not of its form.
    """
    path = folder / SHA256SUMS
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return Sums({})
    except OSError as exc:
        raise CatalogError(f"'{path}' cannot be read: {exc.strerror or exc}") from None
    except UnicodeDecodeError:
        raise CatalogError(f"'{path}' cannot be read: it is not UTF-8 text") from None
    hashes: Dict[str, str] = {}
    comments: List[str] = []
    for number, line in enumerate((line.strip() for line in text.splitlines()), 1):
        if line.startswith("#"):
            comments.append(line)
        elif line:
            name, sha256 = _parse_line(line, f"'{path}', line {number}")
            if hashes.setdefault(name, sha256) != sha256:
                raise CatalogError(f"'{path}', line {number}: {name} is listed with two different hashes")
    return Sums(hashes, tuple(comments))


def _parse_line(line: str, where: str) -> Tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        found = line if len(line) <= 80 else f"{line[:80]}..."
        raise CatalogError(f"{where}: expected '<sha256>  <file name>', found {found!r}")
    return match["name"], match["sha256"].lower()


def locate(folder: Path, name: str) -> Optional[Path]:
    """Return the path of a file that is listed; None where the name leads out of the folder."""
    parts = PurePosixPath(name).parts
    return None if ".." in parts or PurePosixPath(name).is_absolute() else folder.joinpath(*parts)


def hash_file(path: Path) -> Optional[str]:
    """Return the lower-case hex sha256 of a file, None where there is no file.

    Raises:
        CatalogError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise CatalogError(f"'{path}' cannot be read: {exc.strerror or exc}") from None
    return digest.hexdigest()


def add_sums(folder: Path, hashes: Mapping[str, str], work: Path) -> List[str]:
    """List files in the ``SHA256SUMS`` of a folder, and drop the archives that are not there.

    Args:
        folder: where the file is.
        hashes: sha256 by name, of files that are complete and in the folder.
        work: a folder on the same file system, for a file on its way.

    Returns:
        The names of archives that were listed and were not there.

    Raises:
        CatalogError: what is there is not of its form.
        DownloadError: the folder cannot be written.
    """
    with _exclusive(folder):
        before = read_sums(folder)
        gone = [name for name in before.hashes if name not in hashes and _is_gone(folder, name)]
        kept = {name: sha256 for name, sha256 in before.hashes.items() if name not in gone}
        after = Sums({**kept, **hashes}, before.comments)
        if after != before or not (folder / SHA256SUMS).exists():
            _write(folder, after.render(), work)
    return sorted(gone)


def _is_gone(folder: Path, name: str) -> bool:
    path = locate(folder, name)
    return parse_archive_name(PurePosixPath(name).name) is not None and (path is None or not path.exists())


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep others that list something here, such as ``pack``, from losing our line, and us from losing theirs."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        # Some network file systems have no flock; whole runs are kept apart by a lock file there, too.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(folder: Path, text: str, work: Path) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=str(work), prefix=SHA256SUMS)
        with open(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, str(folder / SHA256SUMS))
        flush_folder(folder)
    except OSError as exc:
        raise unwritable(folder, exc) from None


def unwritable(folder: Path, exc: OSError) -> DownloadError:
    """Return the error that says why a folder cannot be filled."""
    import shutil

    hint = "name a folder that you can write"
    with contextlib.suppress(OSError):
        hint += f"; {format_size(shutil.disk_usage(str(folder)).free)} are free in this one"
    return DownloadError(f"could not write into {str(folder)!r}: {exc.strerror or exc}", hint=hint)
