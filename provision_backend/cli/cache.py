"""The command ``uninstall``, and those of ``provision-backend cache`` that show and change a cache."""

from __future__ import annotations

import argparse
import re
import time
from typing import List

from ..cache.manifest import verify_entry
from ..cache.store import open_cache
from ..cache.upkeep import Entry, Swept, clean_cache, list_entries, prune_cache, remove_entries
from ..catalog.wanted import Wanted
from ..errors import UsageError
from ..output import Reporter, format_size, shorten
from ..settings import Settings
from ..versions import parse_request
from .answers import Answer, as_columns
from .registry import argument, flag

__all__ = ["ARGUMENTS", "run_clean", "run_dir", "run_list", "run_prune", "run_uninstall", "run_verify"]

ARGUMENTS = {
    "uninstall": [
        argument("request", "REQUEST", "3.13, 3.13.2, 3.13t, '<3.12', or the name of a folder that 'cache list' shows"),
        flag("--all", "every interpreter that matches, if there are several"),
        flag("--force", "also what is in use"),
    ],
    "cache verify": [
        argument("key", "KEY", "only these interpreters and environments", nargs="*"),
        flag("--repair", "remove added bytecode; what differs otherwise is replaced by the next build that needs it"),
    ],
    "cache prune": [
        argument("--unused-for", "DAYS", "also interpreters and environments that were not used for this long"),
        argument("--max-size", "SIZE", "also the longest unused, until the cache is at most a size such as 500M or 2G"),
    ],
    "cache clean": [flag("--force", "also what is in use")],
}

# Powers of ten, as in the sizes that `format_size` prints.
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

_REPAIR = (
    "'provision-backend cache verify --repair' removes bytecode that was added; what differs otherwise is then "
    "replaced by the next build that needs it"
)
_AFTER_REPAIR = (
    "bytecode that was added is removed, but not from a shared cache; what differs otherwise is not used any more, and "
    "'provision-backend cache prune' removes it"
)


def run_dir(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Print the path of the cache."""
    cache = open_cache(settings)
    data = {"cache-dir": str(cache.root), "shared-caches": [str(path) for path in cache.shared]}
    return Answer(data, [str(cache.root)])


def run_list(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """List the interpreters and locked environments of all caches, and what compilers keep there."""
    entries = list_entries(open_cache(settings))
    rows = []
    for entry in entries:
        path = f"{entry.path}{'  (damaged)' if entry.damaged else ''}"
        packages = f"{entry.packages} package{'' if entry.packages == 1 else 's'}"
        what = packages if entry.kind == "environment" and entry.interpreter else entry.version
        what = entry.key if entry.kind == "compiler" else what
        rows.append((what or "?", format_size(entry.size), f"used {_ago(entry.last_use)}", path))
    return Answer([entry.as_dict() for entry in entries], as_columns(rows, right=[1]))


def run_verify(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Compare interpreters and environments with what was published; the exit code is 1 if one differs."""
    cache = open_cache(settings)
    # A compiler writes where it keeps something.
    entries = [entry for entry in list_entries(cache) if entry.kind != "compiler"]
    # A misspelt key must not look like an entry without damage.
    unknown = set(arguments.key) - {entry.key for entry in entries}
    if unknown:
        raise UsageError(
            f"there is no interpreter or environment {sorted(unknown)[0]!r} in the cache", hint="see cache list"
        )
    chosen = (entry.path for entry in entries if not arguments.key or entry.key in arguments.key)
    problems = {path: cache.repair(path) if arguments.repair else verify_entry(path) for path in chosen}
    lines: List[str] = []
    for path, found in problems.items():
        state = "differs from what was published" if found else "as it was published"
        lines += [f"{path}: {state}", *(f"    {each}" for each in found)]
    differs = any(problems.values())
    if differs:
        reporter.info(_AFTER_REPAIR if arguments.repair else _REPAIR)
    return Answer({str(path): list(map(str, found)) for path, found in problems.items()}, lines, int(differs))


def run_prune(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Remove what is damaged or left over, and on request what is old or too large."""
    # Zero is a limit, too, so an absent option is None.
    max_size = None if arguments.max_size is None else _parse_size(arguments.max_size)
    unused_for = None if arguments.unused_for is None else _parse_days(arguments.unused_for)
    return _swept(prune_cache(open_cache(settings), unused_for=unused_for, max_size=max_size), reporter)


def run_clean(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Remove everything that is not in use; the exit code is 1 if something was kept."""
    swept = clean_cache(open_cache(settings), force=arguments.force)
    return _swept(swept, reporter)._replace(code=int(bool(swept.kept)))


def run_uninstall(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Remove an interpreter and its environments; the exit code is 1 if none matches, or if it is in use."""
    cache, request = open_cache(settings), arguments.request
    found = _matching(list_entries(cache), request)
    own = [entry for entry in found if not entry.shared]
    if not own:
        reporter.info(f"no interpreter in the cache {cache.root} matches {request!r}")
        for entry in found:
            reporter.info(f"{entry.path} does, and a shared cache is never changed")
        return Answer(_swept(Swept([], {}, []), reporter).data, code=1)
    if len(own) > 1 and not arguments.all:
        names = "\n".join(entry.key for entry in own)
        raise UsageError(f"{request!r} matches {len(own)} interpreters; name one, or add --all", hint=names)
    swept = remove_entries(cache, own, force=arguments.force)
    return _swept(swept, reporter)._replace(code=int(bool(swept.kept)))


def _matching(entries: List[Entry], request: str) -> List[Entry]:
    # What is damaged may have no version left, and a path is what 'cache list' prints.
    named = [entry for entry in entries if request in (entry.key, str(entry.path))]
    if named:
        return named
    wanted = Wanted("", parse_request(request, source="REQUEST"))
    return [
        entry
        for entry in entries
        if entry.version and wanted.accepts(entry.version.rstrip("t"), freethreaded=entry.version.endswith("t"))
    ]


def _swept(swept: Swept, reporter: Reporter) -> Answer:
    for key, reason in swept.kept.items():
        reporter.info(f"kept {key}: {reason}")
    freed = sum(entry.size for entry in swept.removed)
    lines = [f"removed {entry.path} ({format_size(entry.size)})" for entry in swept.removed]
    lines += [f"removed the leftover {name}" for name in swept.leftovers]
    lines.append(f"{format_size(freed)} freed")
    removed = [entry.as_dict() for entry in swept.removed]
    return Answer({"removed": removed, "kept": swept.kept, "leftovers": swept.leftovers, "freed": freed}, lines)


def _ago(moment: float) -> str:
    # The clock of a file server may be ahead of ours.
    seconds = max(time.time() - moment, 0)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise UsageError(f"--max-size must be a number of bytes such as 500M or 2G, found {shorten(text)!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def _parse_days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    # The comparison is false for "nan", too.
    if not 0 <= days < 1e6:
        raise UsageError(f"--unused-for must be a number of days, 0 or more, found {shorten(text)!r}")
    return days * 86400
