"""The one reader and the one writer of ``SHA256SUMS``: text in, hashes and archives out, and back.

A line is ``<sha256>  <path>``, as ``sha256sum -c`` reads it, and the file name of an archive says the rest. So a
``SHA256SUMS`` is a catalog, whether it comes with this package, with a release of python-build-standalone, or from a
mirror.

Source: GNU coreutils manual, sha2 utilities.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Collection, Dict, List, Mapping, NamedTuple, Tuple

from ..errors import CatalogError
from ..files import read_file
from ..output import shorten
from .archive import Archive, parse_archive

__all__ = ["SHA256SUMS", "Sums", "change_sums", "format_line", "load_sums", "parse_sums"]

SHA256SUMS = "SHA256SUMS"

# "*" marks binary mode: sha256sum writes it on systems that have another one. "./" comes from "sha256sum ./*".
_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(?P<path>\S.*)")


class Sums(NamedTuple):
    """What a ``SHA256SUMS`` says."""

    hashes: Mapping[str, str] = {}
    """Lower-case hex sha256 by path below the folder, in the order of the lines."""
    archives: Tuple[Archive, ...] = ()
    """The archives among them, each file name once."""
    comments: Tuple[str, ...] = ()
    """Lines that begin with a number sign."""

    def render(self) -> str:
        """Return the text of the file, sorted by path."""
        lines = [format_line(path, self.hashes[path]) for path in sorted(self.hashes)]
        return "".join(f"{line}\n" for line in [*self.comments, *lines])


def parse_sums(text: str, *, source: str) -> Sums:
    """Parse a ``SHA256SUMS`` from *source*, a path or URL, or raise `CatalogError`; empty lines are skipped."""
    hashes: Dict[str, str] = {}
    archives: Dict[str, Archive] = {}
    comments: List[str] = []
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line:
            continue
        if line.startswith("#"):
            comments.append(line)
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # A web page in place of the list may be one line of many kilobytes.
            found = shorten(line)
            raise CatalogError(f"{source}, line {number}: expected '<sha256>  <file name>', found {found!r}")
        path, sha256 = match["path"], match["sha256"].lower()
        # A mirror laid out by release lists "<tag>/<file>".
        archive = parse_archive(path.rsplit("/", 1)[-1], sha256)
        # A catalog has no folders, so it cannot offer two archives of one name.
        known = archives.setdefault(archive.filename, archive).sha256 if archive else hashes.get(path, sha256)
        if known != sha256:
            name = archive.filename if archive else path
            raise CatalogError(
                f"{source}, line {number}: {name} is listed with two different hashes, {known} and {sha256}"
            )
        hashes[path] = sha256
    return Sums(hashes, tuple(archives.values()), tuple(comments))


def load_sums(file: Path, *, missing_ok: bool = False) -> Sums:
    """Read a file in the format of ``SHA256SUMS``; with *missing_ok*, one that does not exist counts as empty."""
    try:
        # Some editors, and PowerShell's redirection, begin a file with a byte order mark.
        text = read_file(file).decode("utf-8-sig")
    except OSError as exc:
        if missing_ok and isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            return Sums()
        raise CatalogError(f"catalog '{file}' cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError:
        raise CatalogError(f"catalog '{file}' cannot be read: it is not UTF-8 text") from None
    try:
        return parse_sums(text, source=str(file))
    except CatalogError as exc:
        exc.hint = "correct that line, or write the file anew, in its folder: sha256sum *.tar.gz > SHA256SUMS"
        raise


def change_sums(sums: Sums, *, add: Mapping[str, str], drop: Collection[str], source: str) -> Sums:
    """Return what is listed after a change, or raise `CatalogError` if that has two archives of the same name."""
    hashes = {**{path: sha256 for path, sha256 in sums.hashes.items() if path not in drop}, **add}
    # What would be refused when it is read must not be written either.
    return parse_sums(Sums(hashes, comments=sums.comments).render(), source=source)


def format_line(path: str, sha256: str) -> str:
    """Return a line of ``SHA256SUMS`` without its line break."""
    return f"{sha256}  {path}"
