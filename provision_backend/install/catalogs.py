"""Load the catalog that the settings name: the built-in one, a file, or a URL with a copy beside the cache.

The copy serves for ten minutes, the freshness that package indexes grant, so that a warm cache makes no request; and
when the URL does not answer, or offline is set, however old it is. A ``file://`` URL is read each time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Callable, Tuple

from ..cache.folders import make_folders, write_note
from ..cache.store import Cache
from ..catalog.archive import Archive
from ..catalog.selection import load_builtin_catalog, load_catalog_file, parse_catalog
from ..errors import CacheError, CatalogError, DownloadError, OfflineError
from ..files import age_of, hash_bytes, read_file
from ..host.cpu import runnable_triples
from ..output import Reporter, redact_url
from ..settings import Settings

__all__ = ["FRESH", "archives_for", "fetch_catalog", "load_archives", "needs_fetching"]

FRESH = 600.0  # seconds for which a copy is used without a request


def load_archives(settings: Settings, triple: str, cache: Cache, reporter: Reporter) -> Tuple[Archive, ...]:
    """Read the catalog for a target triple, the built-in one or that of the settings; raise as `fetch_catalog`."""
    if not settings.catalog:
        return load_builtin_catalog(triple)
    if "://" not in settings.catalog:
        return load_catalog_file(Path(settings.catalog))
    return parse_catalog(fetch_catalog(settings, cache, reporter), source="the catalog")


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
    copy, kept = _copy(settings, cache), None
    if cache.trust(cache.root).accepts(copy):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            kept = read_file(copy).decode("utf-8")
    if kept is not None and (settings.offline or age_of(copy) < FRESH):
        return kept
    if settings.offline:
        raise OfflineError(f"the catalog {redact_url(settings.catalog)} is not in the cache, and offline is set")
    try:
        text = _fetch(settings)
        # The page of a firewall must not take the place of the copy.
        parse_catalog(text, source="the catalog")
    except (CatalogError, DownloadError) as exc:
        if kept is None:
            exc.hint = exc.hint or "run 'provision-backend doctor' for more, or name another catalog"
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
    return remote and not settings.offline and age_of(_copy(settings, cache)) >= FRESH


def _copy(settings: Settings, cache: Cache) -> Path:
    return cache.root / "catalogs" / hash_bytes(os.fsencode(settings.catalog))[:16]


def _fetch(settings: Settings) -> str:
    from .download import fetch_text  # `needs_fetching` is called in builds that download nothing.

    return fetch_text(settings.catalog, settings=settings)
