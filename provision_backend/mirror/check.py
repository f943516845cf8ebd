"""Check a mirror: read every file that is listed, and neither write nor fetch anything.

A file is compared with the folder's own ``SHA256SUMS``, which anybody who can write to the folder can change together
with the file, and with the catalog, which they cannot change.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ..cache.store import open_cache
from ..catalog.archive import Archive, parse_archive
from ..catalog.sums import SHA256SUMS, Sums, load_sums
from ..errors import CatalogError
from ..install.catalogs import load_archives
from ..output import Reporter
from ..settings import Settings
from .folder import INCOMING, hash_if_exists, locate

__all__ = ["Checked", "check_folder"]


class Checked(NamedTuple):
    """What a check found, as sorted names below the folder."""

    intact: Tuple[str, ...]
    missing: Tuple[str, ...]
    """Listed or requested, and not in the folder."""
    changed: Tuple[Tuple[str, str], ...]
    """Name and what is wrong with it."""
    extra: Tuple[str, ...]
    """Archives in the folder that are not listed."""

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.changed or self.extra)


def check_folder(folder: Path, requested: Sequence[Archive], settings: Settings, reporter: Reporter) -> Checked:
    """Compare the files in a mirror with its ``SHA256SUMS``, with the catalog and with the requested archives."""
    if not (folder / SHA256SUMS).is_file():
        raise CatalogError(f"{str(folder)!r} has no {SHA256SUMS}", hint="'provision-backend mirror DIR' writes one")
    sums = load_sums(folder / SHA256SUMS)
    # A lock may request an archive that the catalog no longer lists.
    known = {**_known_hashes(sums, settings, reporter), **{archive.filename: archive.sha256 for archive in requested}}
    intact: List[str] = []
    missing = {archive.filename for archive in requested if archive.filename not in sums.hashes}
    changed: List[Tuple[str, str]] = []
    for name, listed in sorted(sums.hashes.items()):
        reporter.detail(f"reading {name}")
        path = locate(folder, name)
        found = None if path is None else hash_if_exists(path)
        # A mirror by release lists "<tag>/<file>", and a catalog knows only the file.
        expected = known.get(PurePosixPath(name).name, listed)
        if found is None:
            missing.add(name)
        elif found == listed == expected:
            intact.append(name)
        elif found == listed:
            changed.append((name, f"its sha256 is {found}, as {SHA256SUMS} has it, and the catalog has {expected}"))
        else:
            changed.append((name, f"its sha256 is {found}, and {SHA256SUMS} has {listed}"))
    extra = tuple(name for name in _archives_in(folder) if name not in sums.hashes)
    return Checked(tuple(intact), tuple(sorted(missing - set(extra))), tuple(changed), extra)


def _known_hashes(sums: Sums, settings: Settings, reporter: Reporter) -> Dict[str, str]:
    """Return the sha256 that the catalog has for the archives that are listed."""
    # A check fetches nothing, so a catalog that is given by URL is not read.
    if "://" in settings.catalog:
        return {}
    cache = open_cache(settings)
    triples = sorted({archive.triple for archive in sums.archives})
    archives = (archive for triple in triples for archive in load_archives(settings, triple, cache, reporter))
    return {archive.filename: archive.sha256 for archive in archives}


def _archives_in(folder: Path) -> Iterator[str]:
    for path, folders, files in os.walk(str(folder)):
        # Unfinished downloads are not part of the mirror.
        folders[:] = sorted(name for name in folders if not name.startswith(INCOMING))
        for name in sorted(files):
            if parse_archive(name, "") is not None:
                yield Path(path, name).relative_to(folder).as_posix()
