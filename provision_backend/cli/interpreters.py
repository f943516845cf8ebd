"""The commands about interpreters: which there can be, which is there, make one available, make an archive of one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set, Tuple

from ..output import Reporter
from ..project.wanted import Wanted
from ..settings import Settings
from .answers import as_columns

__all__ = ["Answer", "find", "install", "list_archives", "pack"]

Answer = Tuple[Any, Sequence[str], int]
"""For ``--json``, for people, and the exit code."""


def list_archives(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """List the interpreters that can be provisioned."""
    from ..cache.platform import current_platform
    from ..cache.store import open_cache
    from ..provision import load_archives
    from .requests import wanted_for

    wanted = wanted_for(arguments.request, settings, reporter) if arguments.request else Wanted("")
    cache = open_cache(settings)
    triple = current_platform(settings, cache).triple
    archives = wanted.lock.archives if wanted.lock else load_archives(settings, triple, cache, reporter)
    rows = [_row(archive, cache.lookup(archive)) for archive in _newest(archives, wanted, triple, arguments.all)]
    if not rows:
        what = repr(arguments.request) if arguments.request not in (None, ".") else wanted.describe()
        reporter.info(f"there is no archive for {what} on {triple}")
        return rows, [], 1
    cells = [(row["version"], row["tag"], row["executable"] or "can be provisioned") for row in rows]
    return rows, as_columns(cells), 0


def _newest(archives: Sequence[Any], wanted: Wanted, triple: str, everyone: bool) -> List[Any]:
    """Return the archives that will do, newest first; of each minor version one, or all of them."""
    from ..catalog.selection import matching_archives

    found = []
    seen: Set[Tuple[str, bool]] = set()
    for archive in matching_archives(
        archives, requires_python=wanted.requires_python, request=wanted.request, triple=triple
    ):
        minor = (".".join(archive.version.split(".")[:2]), archive.freethreaded)
        if everyone or minor not in seen:
            found.append(archive)
        seen.add(minor)
    return found


def _row(archive: Any, cached: Any) -> Dict[str, Any]:
    return {
        "version": archive.version + ("t" if archive.freethreaded else ""),
        "tag": archive.tag,
        "triple": archive.triple,
        "key": archive.key,
        "sha256": archive.sha256,
        "filename": archive.filename,
        "executable": cached.executable if cached else None,
    }


def find(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Name the interpreter that is there already."""
    from ..provision import find_any
    from .requests import wanted_for

    wanted = wanted_for(arguments.request, settings, reporter)
    found = find_any(wanted, settings, reporter)
    if found is None:
        what = repr(arguments.request) if arguments.request != "." else wanted.describe()
        reporter.info(f"no interpreter for {what} is here; 'provision-backend install' fetches one")
        return None, [], 1
    return found.as_dict(), [found.executable], 0


def install(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Provision interpreters."""
    from ..provision import provision
    from .requests import PROJECT, wanted_for

    settings = settings._replace(preference="only-managed")
    wanted = [wanted_for(request, settings, reporter) for request in arguments.request or [PROJECT]]
    found = [provision(each, settings, reporter) for each in wanted]
    if arguments.compile_bytecode:
        from ..install.compiled import compile_modules

        for interpreter in found:
            compile_modules(interpreter, pip=True, asked=True)
    data = [interpreter.as_dict() for interpreter in found]
    return data[0] if len(data) == 1 else data, [interpreter.executable for interpreter in found], 0


def pack(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Make an archive of an installed CPython."""
    from ..pack.packing import pack_interpreter

    packed = pack_interpreter(
        Path(arguments.interpreter),
        Path(arguments.to),
        tag=arguments.tag,
        reporter=reporter,
        lock_timeout=settings.lock_timeout,
    )
    for note in packed.notes:
        reporter.info(note)
    data = {
        "path": str(packed.path),
        "filename": packed.filename,
        "version": packed.version,
        "triple": packed.triple,
        "sha256": packed.sha256,
        "size": packed.size,
    }
    return data, [str(packed.path)], 0
