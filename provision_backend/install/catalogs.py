"""Load the catalog that the settings name: the built-in one, a file, or a URL with a copy beside the cache.

The copy serves for ten minutes, the freshness that package indexes grant, so that a warm cache makes no request; and
when the URL does not answer, or offline is set, however old it is. A ``file://`` URL is read each time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from pathlib import Path
from typing import Callable, Optional, Tuple

from ..cache.folders import make_folders, write_note
from ..cache.store import Cache
from ..catalog.archive import Archive
from ..catalog.selection import load_builtin_catalog, load_catalog_file, parse_catalog
from ..errors import CacheError, CatalogError, DownloadError, OfflineError
from ..files import age_of, hash_bytes, read_file
from ..host.cpu import runnable_triples
from ..output import Reporter, redact_url
from ..settings import Settings
from .sources import SourceError, is_loopback

__all__ = ["FRESH", "archives_for", "fetch_archives", "fetch_catalog", "load_archives", "needs_fetching"]

_HASH = re.compile(r"[0-9a-fA-F]{64}\s")

FRESH = 600.0  # seconds for which a copy is used without a request


def load_archives(settings: Settings, triple: str, cache: Cache, reporter: Reporter) -> Tuple[Archive, ...]:
    """Read the catalog for a target triple, the built-in one or that of the settings; raise as `fetch_catalog`."""
    if not settings.catalog:
        return load_builtin_catalog(triple)
    if "://" not in settings.catalog:
        return load_catalog_file(Path(settings.catalog))
    return _parse(fetch_catalog(settings, cache, reporter), settings.catalog)


def archives_for(
    triple: str, settings: Settings, load: Callable[[str], Tuple[Archive, ...]]
) -> Tuple[str, Tuple[Archive, ...]]:
    """Return the triple to select archives for, with the ``cpu-level`` of the settings, and its loaded catalog."""
    *leveled, last = runnable_triples(triple, settings.cpu_level)
    for candidate in leveled:
        archives = load(candidate)
        if any(archive.triple == candidate for archive in archives):
            return candidate, archives
    # The last one is taken as it is, so that the message about a missing archive names it.
    return last, load(last)


def fetch_catalog(settings: Settings, cache: Cache, reporter: Reporter) -> str:
    """Return the text behind ``settings.catalog``.

    Raises:
        CatalogError: the URL gave something else, and there is no copy.
        DownloadError: the URL did not answer and there is no copy; or it is plain ``http://`` and not on loopback,
            where anybody on the way could say which bytes are right.
    """
    if settings.catalog.startswith("file://"):
        return _fetch(settings)
    copy = _copy(settings, cache)
    kept = _read_copy(copy, settings, cache)
    if kept is not None and (settings.offline or age_of(copy) < FRESH):
        return kept
    if settings.offline:
        raise OfflineError(
            f"the catalog {redact_url(settings.catalog)} is not in the cache, and offline is set",
            hint="run 'provision-backend list' once with network, which keeps a copy, or name the catalog by a path",
        )
    try:
        # The page of a firewall must not take the place of the copy, so it is parsed before it is kept.
        text, _ = fetch_archives(settings)
    except (CatalogError, DownloadError) as exc:
        if kept is None:
            raise
        reporter.info(f"{exc.message}; using the copy of it in the cache")
        return kept
    # In a read-only cache nothing is kept, and the catalog is fetched each time.
    with contextlib.suppress(CacheError):
        make_folders(cache.root, copy.parent.name, "staging")
        write_note(cache.root, copy, text, durable=True)
    return text


def needs_fetching(settings: Settings, cache: Cache) -> bool:
    """Whether `fetch_catalog` would make a request."""
    remote = "://" in settings.catalog and not settings.catalog.startswith("file://")
    copy = _copy(settings, cache)
    stale = age_of(copy) >= FRESH
    return remote and not settings.offline and (stale or _read_copy(copy, settings, cache) is None)


def _copy(settings: Settings, cache: Cache) -> Path:
    return cache.root / "catalogs" / hash_bytes(os.fsencode(settings.catalog))[:16]


def _read_copy(copy: Path, settings: Settings, cache: Cache) -> Optional[str]:
    """Return the text of a copy; None where there is none, another user could have made it, or it is damaged."""
    if not cache.trust(cache.root).accepts(copy):
        return None
    # Nothing but a catalog is kept, so a copy that is none says nothing of what the URL has.
    with contextlib.suppress(OSError, UnicodeDecodeError, CatalogError):
        text = read_file(copy).decode("utf-8")
        _parse(text, settings.catalog)
        return text
    return None


def fetch_archives(settings: Settings) -> Tuple[str, Tuple[Archive, ...]]:
    """Fetch the catalog behind a URL whatever the cache has, and return its text and archives; raise as above."""
    text = _fetch(settings)
    return text, _parse(text, settings.catalog)


def _fetch(settings: Settings) -> str:
    from .download import fetch_text  # `needs_fetching` is called in builds that download nothing.

    return fetch_text(settings.catalog, settings=settings, advise=functools.partial(_advise, settings))


def _advise(settings: Settings, failure: SourceError) -> str:
    """Return what to do about a URL that cannot be fetched, where its failure does not say it."""
    url = settings.catalog
    if failure.hint:
        return failure.hint
    if url.startswith("file://"):
        return settings.correct("catalog")
    if url.startswith("http://") and not is_loopback(url):
        return "name it by https://, or take it from a file or from this machine"
    without = "without internet name a file, or no catalog: the built-in one needs no network"
    return f"{failure.route.advice}\n{without}"


@functools.lru_cache(maxsize=1)  # A copy is parsed to see whether it is damaged, and then for its archives.
def _parse(text: str, url: str) -> Tuple[Archive, ...]:
    try:
        return parse_catalog(text, source=f"the catalog {redact_url(url)}")
    except CatalogError as exc:
        lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
        # A list with a fault in it is the right file; the page of a folder, or of a firewall, is none from its start.
        if lines and not _HASH.match(lines[0]):
            exc.hint = (
                "the URL must name the file itself, such as https://mirror.example/SHA256SUMS;\n"
                "or the page of a firewall came in its place"
            )
        raise
