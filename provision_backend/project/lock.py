"""Read ``[tool.provision-backend.lock]``, and choose the archives of a new lock: one for each target triple.

A line is one of ``SHA256SUMS``, ``<sha256>  <file name>``, as in every catalog. The lines are in the table itself
(``archives``), since a ``pyproject.toml`` is in every sdist; or in a file that the table names (``file``), which then
has to exist. Without that name, a lock that is missing from an sdist would silently not be used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, parse_catalog, select_archive
from ..catalog.wanted import RELOCK, Lock, Wanted
from ..errors import CatalogError, NoMatchingArchiveError, ProjectError
from ..files import read_file
from ..output import shorten
from ..versions import PythonVersion, parse_version

__all__ = ["LOCK_FILE", "choose_archives", "kept_archives", "parse_lines", "read_lock"]

_KEY = "pyproject.toml: tool.provision-backend.lock"

LOCK_FILE = "provision-backend.lock"  # the file that ``provision-backend lock --file`` writes

Catalogs = Mapping[str, Sequence[Archive]]
# Version, tag and label: builds are compared in this order.
_Build = Tuple[PythonVersion, str, str]


def read_lock(root: Path, lines: Optional[Sequence[str]], file: Optional[str], *, always: bool) -> Lock:
    """Return the lock of a project whose table has the keys ``archives``, ``file`` and ``always``.

    `ProjectError` is raised if it does not have exactly one of ``archives`` and ``file``, a line does not list an
    archive of CPython, or the file does not exist.
    """
    if (file is None) == (lines is None):
        found = "both" if file is not None else "neither"
        raise ProjectError(f"{_KEY} must have either archives or file, found {found}")
    if file is not None:
        return Lock(_parse_file(root, file), always=always, file=file)
    numbered = [(f"{_KEY}.archives, entry {number}", line) for number, line in enumerate(lines or (), 1)]
    return Lock(parse_lines(numbered, source=f"{_KEY}.archives"), always=always)


def _parse_file(root: Path, name: str) -> Tuple[Archive, ...]:
    # A file outside of the project is not in its sdist, so a build of that would fail.
    if os.path.isabs(name) or ".." in Path(name).parts or "\0" in name or not name.strip():
        raise ProjectError(f"{_KEY}.file must name a file inside the project, found {name!r}")
    try:
        # Some editors begin a file with a byte order mark.
        text = read_file(root / name).decode("utf-8-sig")
    except FileNotFoundError:
        raise ProjectError(
            f"{_KEY}.file names {name!r}, which does not exist",
            hint="have the real backend put it into the sdist; or remove the table and run 'provision-backend lock', "
            "which writes the archives into pyproject.toml",
        ) from None
    except UnicodeDecodeError:
        raise ProjectError(f"{name} is not UTF-8") from None
    except OSError as exc:
        raise ProjectError(f"{name} cannot be read: {exc.strerror}") from None
    lines = [(f"{name}, line {number}", line) for number, line in enumerate(text.splitlines(), 1)]
    return parse_lines([(where, line) for where, line in lines if line.strip() and line.strip()[0] != "#"], source=name)


def parse_lines(lines: Sequence[Tuple[str, str]], *, source: str) -> Tuple[Archive, ...]:
    """Return the archives of a lock, of which there must be at least one, one for each target triple.

    Messages name a line by the place that stands before it, and all of them by their *source*.

    Raises:
        ProjectError: a line does not list an archive of CPython, or there are two for a target.
    """
    if not lines:
        raise ProjectError(f"{source} names no archive", hint=RELOCK.replace("run", "remove the table and run"))
    found: Dict[str, Archive] = {}
    for where, line in lines:
        archive = _parse_line(where, line)
        # A build could not tell which of the two to use.
        if archive.triple in found:
            raise ProjectError(f"{where}: a second archive for {archive.triple}; each target has one")
        found[archive.triple] = archive
    return tuple(found.values())


def _parse_line(where: str, line: str) -> Archive:
    if len(line.splitlines()) == 1:
        try:
            return parse_catalog(line, source=where)[0]
        except CatalogError:
            # The message of the catalog's parser would call the line a catalog.
            pass
    raise ProjectError(f"{where}: expected '<sha256>  <file name of an archive>', found {shorten(line)!r}")


def kept_archives(archives: Iterable[Archive], wanted: Sequence[Wanted]) -> Tuple[Archive, ...]:
    """Return the locked archives if each of them is still what is wanted; otherwise none, since they go together."""
    kept = tuple(archives)
    return kept if all(_is_wanted(archive, wanted) for archive in kept) else ()


def _is_wanted(archive: Archive, wanted: Sequence[Wanted]) -> bool:
    return all(each.accepts(archive.version, freethreaded=archive.freethreaded) for each in wanted)


def choose_archives(
    catalogs: Catalogs, wanted: Sequence[Wanted], kept: Sequence[Archive], *, more: Catalogs, upgrade: bool = False
) -> Tuple[Archive, ...]:
    """Choose the archives of a lock.

    Args:
        catalogs: the archives of each target triple; each of these targets gets one.
        wanted: what every archive must satisfy; the last one says whether pre-releases count.
        kept: as of `kept_archives`; their targets need no catalog.
        more: as ``catalogs``, for targets that get an archive only if the build has one for them.
        upgrade: whether a newer build may replace those that are kept.

    Raises:
        NoMatchingArchiveError: a target has no archive that is wanted, or the targets have no build in common.
    """
    # All targets get the same version of the same release, so that it does not matter on which of them a build runs.
    candidates = {triple: _candidates(archives, wanted, triple) for triple, archives in catalogs.items()}
    builds = {_build_of(archive) for archive in kept}
    if upgrade or not kept:
        newest = _newest_common(candidates)
        # An older provision-backend has an older catalog; an upgrade with it must not go back.
        if not kept or newest > max(builds):
            builds, kept = {newest}, ()
    chosen = {archive.triple: archive for archive in kept}
    extra = {triple: _matching(archives, wanted, triple) for triple, archives in more.items()}
    for triple, found in {**extra, **candidates}.items():
        same = next((archive for archive in found if _build_of(archive) in builds), None)
        if same is not None:
            chosen.setdefault(triple, same)
        elif triple in candidates and triple not in chosen:
            raise NoMatchingArchiveError(
                f"there is no archive for {triple} of the build that the project is locked to, {_describe(builds)}",
                hint="--upgrade moves all targets to the newest build that they all have",
            )
    return tuple(chosen[triple] for triple in sorted(chosen))


def _build_of(archive: Archive) -> _Build:
    return parse_version(archive.version), archive.tag, archive.label


def _matching(archives: Sequence[Archive], wanted: Sequence[Wanted], triple: str) -> List[Archive]:
    found = matching_archives(archives, wanted[-1], triple)
    return [archive for archive in found if _is_wanted(archive, wanted)]


def _candidates(archives: Sequence[Archive], wanted: Sequence[Wanted], triple: str) -> List[Archive]:
    # It is called for its error, which lists the versions that exist.
    select_archive(archives, wanted[-1], triple)
    found = _matching(archives, wanted, triple)
    if not found:
        raise NoMatchingArchiveError(
            f"no CPython archive for {triple} satisfies {' and '.join(each.describe() for each in wanted)}"
        )
    return found


def _newest_common(candidates: Mapping[str, Sequence[Archive]]) -> _Build:
    common = set.intersection(*({_build_of(archive) for archive in found} for found in candidates.values()))
    if common:
        return max(common)
    newest = [f"newest for {triple}: {_describe([_build_of(found[0])])}" for triple, found in candidates.items()]
    raise NoMatchingArchiveError(
        f"no build of CPython that satisfies the project has archives for all of {', '.join(sorted(candidates))}",
        hint="\n".join(sorted(newest)),
    )


def _describe(builds: Iterable[_Build]) -> str:
    return ", ".join(f"{label} of {tag}" for _, tag, label in sorted(builds))
