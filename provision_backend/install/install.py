"""Make the tree of an interpreter from an archive: downloaded, verified, unpacked, checked, finalized, started once.

Only the process that really makes one imports this module, and with it all that downloading and unpacking need.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

from ..catalog.archive import Archive
from ..errors import DownloadError, ProvisionError, UnpackError
from ..files import remove_path
from ..host.compatibility import check_tree, require_reader
from ..host.platforms import Platform
from ..output import Reporter
from ..settings import Settings
from .download import stream_archive
from .finalize import finalize_tree, find_executable
from .partial import Partial
from .smoke import smoke_run
from .sources import download_options
from .unpack import Unpacked, unpack_stream

__all__ = ["tree_maker"]


def tree_maker(
    archive: Archive, platform: Platform, settings: Settings, reporter: Reporter
) -> Callable[[Path, Path, Path], Dict[str, Any]]:
    """Return the function that makes a tree of an archive, for `provision_backend.cache.store.Cache.provide`.

    Args:
        archive: what it is made of.
        platform: what it must run on.
        settings: where the archive comes from.
        reporter: receives the progress of the download.

    Returns:
        A function of a staging folder, the path to download to, and the path at which the tree will be published. It
        returns the ``tree``, what was ``written``, its ``executable`` below the tree, and the version of its ``pip``;
        or raises `InstallError`, `InterpreterError`, `HostError` or `MissingDependencyError`.
    """

    def _build(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        try:
            require_reader(platform)  # A missing package is reported before the download, not after it.
            unpacked = _fetch(archive, staging, download, settings, reporter)
            return _finish(archive, platform, unpacked, final)
        except ProvisionError as exc:
            if not isinstance(exc, DownloadError):
                _forget(download)
            _name_archive(exc, staging, archive)
            raise

    return _build


def _fetch(archive: Archive, staging: Path, download: Path, settings: Settings, reporter: Reporter) -> Unpacked:
    destination = staging / "unpacked"

    def _unpack(chunks: Iterator[bytes]) -> Unpacked:
        try:
            destination.mkdir()
        except OSError as exc:
            raise UnpackError(f"the directory {str(staging)!r} cannot be used: {exc.strerror}") from exc
        try:
            return unpack_stream(chunks, archive.filename, destination)
        except BaseException:
            # It may fill the disk, on which the rest of the download, or the next source's, needs room.
            remove_path(destination)
            raise

    return stream_archive(archive, download, _unpack, options=download_options(settings), reporter=reporter)


def _finish(archive: Archive, platform: Platform, unpacked: Unpacked, final: Path) -> Dict[str, Any]:
    tree = unpacked.tree
    python = find_executable(tree)
    # It is read before it is started: what is not for this host must not run at all.
    check_tree(python, platform)
    finalize_tree(tree, final_path=final)
    facts = smoke_run(python, version=archive.version, freethreaded=archive.freethreaded, triple=archive.triple)
    executable = str(python.relative_to(tree))
    return {"tree": tree, "written": unpacked.written, "executable": executable, "pip": facts.pip}


def _name_archive(exc: ProvisionError, staging: Path, archive: Archive) -> None:
    """Have an error name the archive, not the folder of this attempt, which no longer exists when it is read."""
    folder = re.compile(re.escape(str(staging)) + r"/unpacked/")
    exc.message = folder.sub(f"{archive.filename}/", exc.message)
    exc.hint = folder.sub(f"{archive.filename}/", exc.hint)


def _forget(download: Path) -> None:
    """Remove an archive of which no interpreter could be made; one that is incomplete stays, to be resumed."""
    with contextlib.suppress(OSError):
        Partial(download).discard()
        # The folder may not exist, since nothing of a local mirror is kept.
        download.parent.rmdir()
