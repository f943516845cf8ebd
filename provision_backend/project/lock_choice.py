"""Which archives a project is locked to: the catalogs of the targets in, one archive for each target out. Pure.

All targets get one build, the same version of the same release, so that it does not matter on which of them somebody
builds.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, select_archive
from ..errors import NoMatchingArchiveError
from ..versions import parse_version
from .wanted import Wanted

__all__ = ["choose_archives", "kept_archives"]

Catalogs = Mapping[str, Sequence[Archive]]
_Build = Tuple[str, str]


def kept_archives(archives: Iterable[Archive], wanted: Sequence[Wanted]) -> Tuple[Archive, ...]:
    """Return the archives that are locked already if all of them still satisfy; else none, since they go together.

    Args:
        archives: of the lock.
        wanted: what every one of them must satisfy.
    """
    kept = tuple(archives)
    good = all(each.accepts(found.version, freethreaded=found.freethreaded) for each in wanted for found in kept)
    return kept if good else ()


def choose_archives(
    catalogs: Catalogs, wanted: Sequence[Wanted], kept: Sequence[Archive], *, more: Catalogs, upgrade: bool = False
) -> Tuple[Archive, ...]:
    """Choose the archives of a lock.

    Args:
        catalogs: what there is, by the target triple; each of these targets gets an archive.
        wanted: what every archive must satisfy; the request of the last one says which is the newest.
        kept: archives that are locked already and satisfy; none of their targets needs a catalog.
        more: as ``catalogs``, for targets that get an archive only where the build has one for them.
        upgrade: whether a newer build may replace those that are kept.

    Returns:
        One archive a target, ordered by the target triple.

    Raises:
        NoMatchingArchiveError: a target has no archive that satisfies, or not all of them have one of the same build.
    """
    candidates = {triple: _candidates(archives, wanted, triple) for triple, archives in catalogs.items()}
    builds = {_build_of(archive) for archive in kept}
    if upgrade or not kept:
        newest = _newest_common(candidates)
        # An older provision-backend has an older catalog.
        if not kept or _order(newest) > max(map(_order, builds)):
            builds, kept = {newest}, ()
    _refuse_missing(candidates, kept, builds)
    chosen = {archive.triple: archive for archive in kept}
    extra = {triple: _matching(archives, wanted, triple) for triple, archives in more.items()}
    for triple, found in {**extra, **candidates}.items():
        same = next((archive for archive in found if _build_of(archive) in builds), None)
        if same is not None:
            chosen.setdefault(triple, same)
    return tuple(chosen[triple] for triple in sorted(chosen))


def _build_of(archive: Archive) -> _Build:
    return archive.label, archive.tag


def _order(build: _Build) -> Tuple[object, ...]:
    return parse_version(build[0].rstrip("t")), build[1]


def _matching(archives: Sequence[Archive], wanted: Sequence[Wanted], triple: str) -> List[Archive]:
    last = wanted[-1]
    found = matching_archives(archives, requires_python=last.requires_python, request=last.request, triple=triple)
    return [
        archive
        for archive in found
        if all(each.accepts(archive.version, freethreaded=archive.freethreaded) for each in wanted)
    ]


def _candidates(archives: Sequence[Archive], wanted: Sequence[Wanted], triple: str) -> List[Archive]:
    last = wanted[-1]
    # Its message says which versions there are.
    select_archive(archives, requires_python=last.requires_python, request=last.request, triple=triple)
    found = _matching(archives, wanted, triple)
    if not found:
        raise NoMatchingArchiveError(
            f"no CPython archive for {triple} satisfies {' and '.join(each.describe() for each in wanted)}"
        )
    return found


def _newest_common(candidates: Mapping[str, Sequence[Archive]]) -> _Build:
    common = set.intersection(*({_build_of(archive) for archive in found} for found in candidates.values()))
    if not common:
        raise _nothing_common(candidates)
    return max(common, key=_order)


def _refuse_missing(candidates: Mapping[str, Sequence[Archive]], kept: Sequence[Archive], builds: Set[_Build]) -> None:
    targets = {archive.triple for archive in kept}
    for triple, found in candidates.items():
        if triple not in targets and not builds & set(map(_build_of, found)):
            raise NoMatchingArchiveError(
                f"there is no archive for {triple} of the build that the project is locked to, {_describe(builds)}",
                hint="--upgrade moves all targets to the newest build that they all have",
            )


def _nothing_common(candidates: Mapping[str, Sequence[Archive]]) -> NoMatchingArchiveError:
    newest: Dict[str, str] = {triple: _describe([_build_of(found[0])]) for triple, found in candidates.items()}
    return NoMatchingArchiveError(
        f"no build of CPython that satisfies the project has archives for all of {', '.join(sorted(candidates))}",
        hint="\n".join(f"newest for {triple}: {text}" for triple, text in sorted(newest.items())),
    )


def _describe(builds: Iterable[_Build]) -> str:
    return ", ".join(f"{label} of {tag}" for label, tag in sorted(builds, key=_order))
