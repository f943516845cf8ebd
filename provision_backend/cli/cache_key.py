"""``provision-backend cache key``: a name for what the builds of a project would provision.

It changes exactly when that does: with a version, tag, platform or hash of an archive, and with the layout of the
cache. It holds neither a path nor anything of this machine, so all machines of one platform say the same. Nothing has
to be provisioned, and the network stays untouched.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ..cache.entries import FORMAT
from ..errors import OfflineError
from ..mirror.selection import select_archives
from ..output import Reporter
from ..settings import Settings

if TYPE_CHECKING:
    import argparse

    from ..catalog.archive import Archive

__all__ = ["cache_key", "run"]


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Tuple[Dict[str, Any], List[str], int]:
    """Name what the project of this folder, or what some requests, would have provisioned.

    Returns:
        What ``--json`` prints, the lines for people, and the exit code.

    Raises:
        UsageError: there is neither a request nor a project, or a setting is not of its form.
        ProjectError: the project's file cannot be read as ours.
        NoMatchingArchiveError: a request has nothing on one of the targets.
        CatalogError: the catalog is unreadable or malformed.
        OfflineError: the catalog is given by URL, and there is no copy of it.
        HostError: this host was not identified.
        MissingDependencyError: pyelftools is needed to identify it.
    """
    requests, targets = arguments.requests or (), arguments.targets or ()
    try:
        archives = select_archives(requests, targets, settings._replace(offline=True), reporter, newest=True)
    except OfflineError:
        raise OfflineError(
            "the catalog is given by URL and there is no copy of it in the cache; a key is made without network",
            hint="run 'provision-backend list' before, which keeps a copy, or give the catalog by a path",
        ) from None
    rows = [
        {
            "key": archive.key,
            "version": archive.label,
            "tag": archive.tag,
            "triple": archive.triple,
            "sha256": archive.sha256,
        }
        for archive in archives
    ]
    key = cache_key(archives)
    return {"key": key, "layout": FORMAT, "archives": rows}, [key], 0


def cache_key(archives: Sequence[Archive]) -> str:
    """Return the name of a set of archives: at most 100 characters of ``A-Za-z0-9._-``.

    Args:
        archives: at least one; their order does not count.
    """
    keys = sorted({archive.key for archive in archives})
    if len(keys) == 1:
        return f"provision-backend-{FORMAT}-{keys[0]}"
    # CI systems bound the length of a key: GitHub's at 512 characters.
    digest = hashlib.sha256("\n".join(keys).encode("ascii")).hexdigest()
    return f"provision-backend-{FORMAT}-{len(keys)}-interpreters-{digest[:16]}"
