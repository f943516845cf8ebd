"""Archive → a tree that may be published: downloaded, verified, unpacked, checked, finalized and once started."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List

from ..catalog.archive import Archive
from ..errors import ProvisionError
from ..output import Reporter
from ..settings import Settings

if TYPE_CHECKING:
    from ..host.platforms import Platform
    from .sources import DownloadOptions
    from .unpack import Unpacked

__all__ = ["tree_maker"]

_STACK = 16 << 20  # bytes


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
    from ..host.compatibility import require_reader
    from .download import stream_archive
    from .pipeline import Unpacking

    options = _download_options(settings)

    def build(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        with Unpacking(staging, archive.filename, meanwhile=_import_the_rest()) as unpacking:
            whole = False
            try:
                require_reader(platform)  # What is missing is told before the download, not after it.
                stream_archive(archive, download, unpacking, options=options, reporter=reporter)
                whole = True
                return make(unpacking.finish(), final)
            except ProvisionError as exc:
                _forget(download, whole=whole)
                _name_archive(exc, staging, archive)
                raise

    def make(unpacked: Unpacked, final: Path) -> Dict[str, Any]:
        from ..host.compatibility import check_tree
        from .finalize import finalize_tree, find_executable, smoke_run

        tree = unpacked.tree
        python = find_executable(tree)
        check_tree(python, platform)
        # What the first start looks at is the same before and after, so that both happen at once.
        with _aside(lambda: finalize_tree(tree, final_path=final)):
            facts = smoke_run(python, version=archive.version, freethreaded=archive.freethreaded, triple=archive.triple)
        executable = str(python.relative_to(tree))
        return {"tree": tree, "written": unpacked.written, "executable": executable, "pip": facts.pip}

    return build


def _download_options(settings: Settings) -> DownloadOptions:
    from .sources import DownloadOptions

    return DownloadOptions(
        mirrors=settings.mirror,
        offline=settings.offline,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries=settings.retries,
    )


def _name_archive(exc: ProvisionError, staging: Path, archive: Archive) -> None:
    """Have an error name the archive, not the folder of this attempt, which is gone when somebody reads it."""
    folder = re.compile(re.escape(str(staging)) + r"/unpacked[^/]*/")
    exc.message = folder.sub(f"{archive.filename}/", exc.message)
    exc.hint = folder.sub(f"{archive.filename}/", exc.hint)


@contextlib.contextmanager
def _aside(work: Callable[[], None]) -> Iterator[None]:
    """Do some work in another thread while the block runs; what it raises goes before what the block raises."""
    import threading

    failures: List[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # It is raised again in the other thread.
            failures.append(exc)

    # The C library of Alpine gives threads stacks too small for Python's parser.
    before = threading.stack_size(_STACK)
    thread = threading.Thread(target=run, name="aside", daemon=True)
    try:
        thread.start()
    finally:
        threading.stack_size(before)
    try:
        yield
    finally:
        thread.join()
        if failures:
            raise failures[0]


def _import_the_rest() -> Iterator[None]:
    """Import what is needed behind the unpacking, a step at a time, while other threads decompress and write."""
    yield
    import subprocess  # noqa: F401

    yield
    import ast  # noqa: F401
    import tempfile  # noqa: F401

    yield

    yield

    yield
    import ctypes  # noqa: F401

    yield


def _forget(download: Path, *, whole: bool) -> None:
    """Remove an archive of which no interpreter could be made; one that is half there stays, to be resumed."""
    from .partial import Partial

    with contextlib.suppress(OSError):
        if whole:
            Partial(download).discard()
            download.unlink()
    # There may be nothing in it, as nothing of a local mirror is kept.
    with contextlib.suppress(OSError):
        download.parent.rmdir()
