"""The catalog of archives: ``SHA256SUMS`` lines in, the archive to use out. Pure after loading.

The built-in data (``data/<triple>.txt`` beside this module, written by ``scripts/update-catalog``), the ``SHA256SUMS``
of a release of python-build-standalone (PBS) and that of a private mirror are read by the same code, `sums`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterable, Sequence, Tuple

from ..errors import CatalogError, NoMatchingArchiveError
from ..versions import parse_version
from .archive import Archive
from .sums import SHA256SUMS, Sums, load_sums, parse_sums
from .wanted import Wanted

if TYPE_CHECKING:
    import zipfile

__all__ = [
    "builtin_triples", "load_builtin_catalog", "load_catalog_file", "matching_archives", "newest_of_minors",
    "parse_catalog", "select_archive",
]  # fmt: skip

# Before this tag, musl builds are static and cannot load a native module (PBS#541; PBS docs, Former quirks).
_FIRST_DYNAMIC_MUSL_TAG = "20250311"

# Before this tag, musl builds of 3.12 and older name their extension modules "...-linux-gnu.so" (PBS#724, PBS#827), so
# that they do not find those of musllinux wheels, and no other interpreter finds those that they build.
_FIRST_MUSL_SOABI_TAG = "20251028"
_LAST_MINOR_WITH_WRONG_SOABI = (3, 12)


def parse_catalog(text: str, *, source: str) -> Tuple[Archive, ...]:
    """Parse a catalog: the archives of a ``SHA256SUMS`` in the order of their lines; other files are skipped."""
    return _archives(parse_sums(text, source=source), source)


def load_catalog_file(path: Path) -> Tuple[Archive, ...]:
    """Load the catalog that the setting ``catalog`` names by a path: a ``SHA256SUMS``, or a directory with one."""
    file = path / SHA256SUMS if os.path.isdir(path) else path
    return _archives(load_sums(file), str(file))


def _archives(sums: Sums, source: str) -> Tuple[Archive, ...]:
    if not sums.archives:
        # A file that lists nothing for us is most likely the wrong one.
        raise CatalogError(
            f"{source} lists no archive of CPython",
            hint="the name of an archive is cpython-<version>+<tag>-<target triple>-install_only[_stripped].tar.gz",
        )
    return sums.archives


def load_builtin_catalog(triple: str) -> Tuple[Archive, ...]:
    """Load the built-in archives of a platform, newest version first; empty if there is none."""
    if triple not in builtin_triples():
        return ()
    text = (_data_directory() / f"{triple}.txt").read_text(encoding="utf-8")
    return parse_catalog(text, source=f"built-in catalog of {triple}")


def builtin_triples() -> Tuple[str, ...]:
    """Return the target triples that have built-in data, sorted."""
    names = [file.name for file in _data_directory().iterdir()]
    return tuple(sorted(name[: -len(".txt")] for name in names if name.endswith(".txt")))


def matching_archives(archives: Iterable[Archive], wanted: Wanted, triple: str) -> Tuple[Archive, ...]:
    """Return the archives that match, newest version first, then newest tag, then stripped; see `select_archive`."""
    here = [archive for archive in archives if archive.triple == triple and _is_usable(archive)]
    # A project that says ">=3.15.0a1" said so when there was nothing else, and is best built by 3.15.2 today.
    finals = [] if wanted.request and wanted.request.prereleases else [each for each in here if not each.prerelease]
    fitting = [each for each in finals if wanted.accepts(each.version, freethreaded=each.freethreaded)]
    # Whether a pre-release satisfies is asked only where it counts: that imports packaging.
    fitting = fitting or [each for each in here if wanted.accepts(each.version, freethreaded=each.freethreaded)]
    return tuple(sorted(fitting, key=lambda archive: archive.sort_key, reverse=True))


def select_archive(archives: Sequence[Archive], wanted: Wanted, triple: str) -> Archive:
    """Select the archive to provision: the newest version that matches, in its newest build.

    Musl builds that cannot load native modules are never selected, and pre-releases only if the request names one or
    nothing else matches. Without a request, free-threaded builds do not match. Triples are compared as a whole, so that
    a build for a higher CPU level (``x86_64_v3-...``) is selected only for its own triple. If nothing matches, the hint
    of the `NoMatchingArchiveError` names the available versions or platforms.
    """
    matching = matching_archives(archives, wanted, triple)
    if matching:
        return matching[0]
    message = f"there is no CPython archive for {triple}"
    if wanted.requires_python or wanted.request:
        message = f"no CPython archive satisfies {wanted.describe()} on {triple}"
    freethreaded = wanted.request is not None and wanted.request.freethreaded
    raise NoMatchingArchiveError(message, hint=_describe_archives(archives, triple, freethreaded=freethreaded))


def newest_of_minors(archives: Iterable[Archive]) -> Tuple[Archive, ...]:
    """Return the first archive of each minor version."""
    newest: Dict[Tuple[int, ...], Archive] = {}
    for archive in archives:
        newest.setdefault(parse_version(archive.version)[:2], archive)
    return tuple(newest.values())


def _data_directory() -> Path | zipfile.Path:
    """Return the directory of the built-in data, in the file system or inside the zip file that holds the package."""
    directory = Path(__file__).with_name("data")
    for parent in directory.parents:
        if os.path.isfile(parent):
            # importlib.resources finds no subdirectory of a package on 3.8.
            import zipfile

            return zipfile.Path(str(parent), f"{directory.relative_to(parent).as_posix()}/")
    return directory


def _is_usable(archive: Archive) -> bool:
    """Tell whether native modules can be built for an archive and loaded by it; all but early musl builds are."""
    if "-linux-musl" not in archive.triple:
        return True
    if parse_version(archive.version)[:2] <= _LAST_MINOR_WITH_WRONG_SOABI:
        return archive.tag >= _FIRST_MUSL_SOABI_TAG
    return archive.tag >= _FIRST_DYNAMIC_MUSL_TAG


def _describe_archives(archives: Sequence[Archive], triple: str, *, freethreaded: bool) -> str:
    """Return the hint: which archives exist for a platform, or else for which platforms archives exist."""
    here = [archive for archive in archives if archive.triple == triple]
    if not here:
        return _describe_platforms({archive.triple for archive in archives} or set(builtin_triples()), triple)
    usable = [archive for archive in here if _is_usable(archive)]
    if not usable:
        return (
            "the archives for this platform are musl builds that cannot load native modules (tag below 20250311)"
            " or give them the suffix of glibc (tag below 20251028)"
        )
    alike = [archive for archive in usable if archive.freethreaded == freethreaded] or usable
    best_first = sorted(alike, key=lambda archive: (not archive.prerelease, archive.sort_key), reverse=True)
    newest = sorted(newest_of_minors(best_first), key=lambda archive: archive.sort_key)
    return "archives for this platform: " + ", ".join(archive.label for archive in newest)


def _describe_platforms(triples: Iterable[str], triple: str) -> str:
    """Return the hint: platforms of the same system with archives, of the same architecture or else all."""
    architecture = triple.partition("-")[0]
    known = sorted(triples)
    system = [other for other in known if ("-linux-" in other) == ("-linux-" in triple)]
    near = [other for other in system if other.partition("-")[0] == architecture]
    if near:
        return f"there are archives for {architecture} on other platforms: {', '.join(near)}"
    # The higher CPU levels of x86_64 would only make the list longer.
    baseline = [other for other in system or known if "_v" not in other]
    return f"there are archives for these platforms: {', '.join(baseline or known)}"
