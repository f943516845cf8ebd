"""``provision-backend mirror``: says what a folder lacks, fetches it, or checks what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ..errors import UsageError
from ..install.sources import DownloadOptions
from ..mirror.check import check_folder
from ..mirror.folder import fill_folder, inspect_folder
from ..mirror.selection import select_archives
from ..output import Reporter
from ..settings import Settings

if TYPE_CHECKING:
    import argparse

    from ..catalog.archive import Archive

__all__ = ["run"]

_Answer = Tuple[Dict[str, Any], List[str], int]


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
    """Fill a folder with archives, say what that would fetch, or check it.

    Returns:
        What ``--json`` prints, the lines for people, and the exit code: 1 if ``--verify`` found something wrong.

    Raises:
        UsageError: the folder is none, there is neither a request nor a project, or a setting is not of its form.
        ProjectError: the project's file cannot be read as ours.
        NoMatchingArchiveError: a request has nothing on one of the targets.
        CatalogError: the catalog or ``SHA256SUMS`` is not of its form.
        InstallError: an archive cannot be had, or the folder not be written.
        LockTimeoutError: another process filled the folder all the time.
        HostError: this host was not identified, and no target was given.
        MissingDependencyError: a package of the extra ``provision`` is missing.
    """
    folder = Path(arguments.directory)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"DIR must name a folder, found {str(folder)!r}")
    if arguments.verify:
        return _verify(folder, arguments, settings, reporter)
    archives = _select(arguments, settings, reporter)
    if arguments.dry_run:
        return _foresee(folder, archives)
    filled = fill_folder(
        folder,
        archives,
        options=_download_options(settings),
        reporter=reporter,
        lock_timeout=settings.lock_timeout,
    )
    for name in filled.dropped:
        reporter.info(f"{name} was listed and is not there: it is listed no more")
    lines = [f"fetched {archive.filename}" for archive in filled.fetched]
    lines.append(f"{folder}: {len(filled.fetched)} fetched, {len(filled.present)} there before")
    data = {
        "path": str(folder),
        "fetched": _rows(filled.fetched),
        "present": _rows(filled.present),
        "dropped": list(filled.dropped),
    }
    return data, lines, 0


def _select(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Tuple[Archive, ...]:
    requests, targets = arguments.requests or (), arguments.targets or ()
    return select_archives(requests, targets, settings, reporter, newest=arguments.newest)


def _download_options(settings: Settings) -> DownloadOptions:
    return DownloadOptions(
        mirrors=settings.mirror,
        offline=settings.offline,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries=settings.retries,
    )


def _foresee(folder: Path, archives: Tuple[Archive, ...]) -> _Answer:
    contents = inspect_folder(folder, archives)
    lines = [f"would fetch {archive.filename}" for archive in contents.missing]
    lines.append(f"{folder}: {len(contents.missing)} to be fetched, {len(contents.present)} there already")
    data = {"path": str(folder), "missing": _rows(contents.missing), "present": _rows(contents.present)}
    return data, lines, 0


def _verify(folder: Path, arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
    if not folder.is_dir():
        raise UsageError(f"DIR must name a folder, found {str(folder)!r}")
    # What stands in the current folder has nothing to do with a mirror that is only looked at.
    wanted = _select(arguments, settings, reporter) if arguments.requests else ()
    checked = check_folder(folder, wanted, settings, reporter)
    lines = [f"missing: {name}" for name in checked.missing]
    lines += [f"changed: {name}: {problem}" for name, problem in checked.changed]
    lines += [f"extra: {name}: it is not listed in SHA256SUMS" for name in checked.extra]
    lines.append(f"{folder}: {len(checked.intact)} intact, {len(lines)} wrong")
    data = {
        "path": str(folder),
        "intact": list(checked.intact),
        "missing": list(checked.missing),
        "changed": dict(checked.changed),
        "extra": list(checked.extra),
    }
    return data, lines, 0 if checked.is_right else 1


def _rows(archives: Sequence[Archive]) -> List[Dict[str, Any]]:
    return [
        {
            "filename": archive.filename,
            "version": archive.label,
            "tag": archive.tag,
            "triple": archive.triple,
            "sha256": archive.sha256,
        }
        for archive in archives
    ]
