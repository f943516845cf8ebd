"""The subcommands of ``provision-backend cache``: settings in, data for programs and lines for people out.

Each answers with what ``--json`` prints, what people read, and the exit code: 1 where something is damaged or has
stayed although it was to go.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Any, List, Sequence, Tuple

from ..errors import UsageError
from ..output import Reporter, format_size
from ..settings import Settings
from .answers import as_columns

__all__ = ["CacheAnswer", "clean", "directory", "list_entries", "prune", "verify"]

CacheAnswer = Tuple[Any, Sequence[str], int]
"""For ``--json``, for people, and the exit code."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def directory(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> CacheAnswer:
    """Say where the cache is."""
    from ..cache.store import open_cache

    cache = open_cache(settings)
    data = {"cache-dir": str(cache.root), "shared-caches": [str(path) for path in cache.shared]}
    return data, [str(cache.root)], 0


def list_entries(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> CacheAnswer:
    """List the interpreters of all caches."""
    from ..cache.store import open_cache
    from ..cache.upkeep import list_entries as entries_of

    entries = entries_of(open_cache(settings))
    rows = [
        (
            entry.version or "?",
            format_size(entry.size),
            f"used {_ago(entry.last_use)}",
            f"{entry.path}{'  (damaged)' if entry.damaged else ''}",
        )
        for entry in entries
    ]
    return [entry.as_dict() for entry in entries], as_columns(rows, right=[1]), 0


def verify(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> CacheAnswer:
    """Compare interpreters with what was published."""
    from ..cache.store import open_cache
    from ..cache.upkeep import list_entries as entries_of
    from ..cache.upkeep import verify_entries

    entries = entries_of(open_cache(settings))
    unknown = set(arguments.key) - {entry.key for entry in entries}
    if unknown:
        raise UsageError(f"there is no interpreter {sorted(unknown)[0]!r} in the cache", hint="see cache list")
    problems = verify_entries(entry for entry in entries if not arguments.key or entry.key in arguments.key)
    lines: List[str] = []
    for path, found in problems.items():
        lines += [f"{path}: {'damaged' if found else 'as it was published'}", *(f"    {text}" for text in found)]
    damaged = any(problems.values())
    if damaged:
        reporter.info("'provision-backend cache prune' removes what a build would pass over; 'cache clean' everything")
    return {str(path): found for path, found in problems.items()}, lines, int(damaged)


def prune(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> CacheAnswer:
    """Remove what is old, too much, damaged or left over."""
    from ..cache.store import open_cache
    from ..cache.upkeep import prune_cache

    max_size = None if arguments.max_size is None else _parse_size(arguments.max_size)
    unused_for = None if arguments.unused_for is None else _parse_days(arguments.unused_for)
    return _swept(prune_cache(open_cache(settings), unused_for=unused_for, max_size=max_size), reporter, kept_is_bad=0)


def clean(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> CacheAnswer:
    """Remove everything that nobody uses now."""
    from ..cache.store import open_cache
    from ..cache.upkeep import clean_cache

    return _swept(clean_cache(open_cache(settings), force=arguments.force), reporter, kept_is_bad=1)


def _swept(swept: Any, reporter: Reporter, *, kept_is_bad: int) -> CacheAnswer:
    for key, reason in swept.kept.items():
        reporter.info(f"kept {key}: {reason}")
    lines = [f"removed {entry.path} ({format_size(entry.size)})" for entry in swept.removed]
    lines += [f"removed the leftover {name}" for name in swept.leftovers]
    lines.append(f"{format_size(swept.freed)} freed")
    data = {
        "removed": [entry.as_dict() for entry in swept.removed],
        "kept": swept.kept,
        "leftovers": swept.leftovers,
        "freed": swept.freed,
    }
    return data, lines, kept_is_bad if swept.kept else 0


def _ago(moment: float) -> str:
    seconds = max(time.time() - moment, 0)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise UsageError(f"--max-size must be a number of bytes such as 500M or 2G, found {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def _parse_days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    # The comparison is false for "nan" too.
    if not 0 <= days < 1e6:
        raise UsageError(f"--unused-for must be a number of days, 0 or more, found {text!r}")
    return days * 86400
