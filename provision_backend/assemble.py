"""Archive → a tree that may be published: downloaded, verified, unpacked, checked, finalized and once started."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict

from .catalog.archive import Archive
from .errors import ProvisionError
from .report import Reporter
from .settings import Settings

if TYPE_CHECKING:
    from .host.platforms import Platform

__all__ = ["tree_maker"]


def tree_maker(
    archive: Archive, platform: Platform, settings: Settings, reporter: Reporter
) -> Callable[[Path, Path, Path], Dict[str, Any]]:
    """Return the function that makes a tree of an archive, for `provision_backend.cache.store.Cache.provide`.

    Args:
        archive: what it is made of.
        platform: what it must run on.
        settings: where the archive comes from.
        reporter: told of the download.

    Returns:
        A function of a staging folder, the path to download to, and the path at which the tree will be published. It
        returns the ``tree``, its ``executable`` below that, and the version of its ``pip``; or raises `InstallError`,
        `InterpreterError`, `HostError` or `MissingDependencyError`.
    """
    from .download.fetch import DownloadOptions, download_archive
    from .finalize.tree import finalize_tree, find_executable, smoke_run
    from .host.detection import check_tree
    from .unpack.extract import unpack_archive

    options = DownloadOptions(
        mirrors=settings.mirror,
        offline=settings.offline,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries=settings.retries,
    )

    def build(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        try:
            if not _is_verified(download, archive.sha256):
                download_archive(archive, download, options=options, reporter=reporter)
            return make(staging, download, final)
        except ProvisionError:
            _forget(download)
            raise

    def make(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        unpacked = staging / "unpacked"
        unpacked.mkdir()
        tree = unpack_archive(download, unpacked)
        python = find_executable(tree)
        check_tree(python, platform)
        finalize_tree(tree, final_path=final)
        facts = smoke_run(python, version=archive.version, freethreaded=archive.freethreaded, triple=archive.triple)
        return {"tree": tree, "executable": str(python.relative_to(tree)), "pip": facts.pip}

    return build


def _is_verified(download: Path, sha256: str) -> bool:
    """Whether a process that died later has fetched the archive already."""
    digest = hashlib.sha256()
    try:
        with open(download, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == sha256


def _forget(download: Path) -> None:
    """Remove an archive of which no interpreter could be made; one that is half there stays, to be resumed."""
    with contextlib.suppress(OSError):
        if download.exists():
            download.unlink()
        download.parent.rmdir()
