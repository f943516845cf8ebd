"""The command line: reads arguments, asks the other modules, prints. It decides nothing.

Exit codes: 0; 1 for "no" (nothing found, something failed), with the reason on standard error; 2 for wrong use.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from .errors import ProvisionError, UsageError
from .report import Reporter
from .settings import OPTIONS, Settings, load_settings
from .wrap.options import add_arguments as add_init_arguments

__all__ = ["main"]


class _Answer(NamedTuple):
    """What a command found out."""

    data: Any
    """For ``--json``."""
    lines: Sequence[str]
    """For people."""
    code: int = 0
    """The exit code."""


_Command = Callable[[argparse.Namespace, Settings, Reporter], _Answer]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; default those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    flags = {option.key: value for option in OPTIONS if (value := getattr(arguments, option.attribute, None))}
    try:
        settings = load_settings(flags=flags)
        answer = arguments.command(arguments, settings, Reporter(verbosity=settings.verbose))
    except ProvisionError as exc:
        sys.stderr.write(f"provision-backend: {exc}\n")
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("provision-backend: interrupted\n")
        return 130
    return _print(answer, as_json=arguments.json)


def _print(answer: _Answer, *, as_json: bool) -> int:
    text = json.dumps(answer.data, indent=2) if as_json else "\n".join(answer.lines)
    try:
        if text:
            _write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough; without this Python would complain once more when it ends.
        sys.stdout = None
    return answer.code


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        # A path may hold what the locale has no character for, or bytes that are none; it goes out as it is.
        sys.stdout.buffer.write(os.fsencode(text))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="provision-backend", description="Interpreters for builds: what this host is, and what it can have."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, "detect", _detect, "say what this host is: libc, its version and architecture").add_argument(
        "--root", metavar="DIR", help="inspect an unpacked image in place of the host"
    )
    listing = _add(commands, "list", _list, "list the interpreters that can be provisioned here")
    listing.add_argument("request", nargs="?", metavar="REQUEST", help="only those that satisfy it, such as '>=3.12'")
    listing.add_argument("--all", action="store_true", help="every version, in place of the newest of each minor")
    finding = _add(commands, "find", _find, "print the interpreter that satisfies a request and is there already")
    finding.add_argument("request", metavar="REQUEST", help="3.13, 3.13.2, 3.13t or '>=3.12,<3.14'")
    installing = _add(commands, "install", _install, "provision interpreters into the cache")
    installing.add_argument("request", nargs="+", metavar="REQUEST", help="as for find")
    packing = _add(commands, "pack", _pack, "make a standalone archive of an installed CPython")
    packing.add_argument("interpreter", metavar="PYTHON", help="path of its executable")
    packing.add_argument("--to", required=True, metavar="DIR", help="folder for the archive and its SHA256SUMS")
    packing.add_argument("--tag", metavar="YYYYMMDD", help="release tag in the archive's name; default today")
    _add(commands, "settings", _settings, "show every setting, its value and where that comes from")
    _add_cache_commands(commands.add_parser("cache", help="look after the cache"))
    add_init_arguments(_add(commands, "init", _init, "wrap the real backend of a project, in its pyproject.toml"))
    return parser


def _add_cache_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, "dir", _cache_command("directory"), "print the cache's folder")
    _add(commands, "list", _cache_command("list_entries"), "list the interpreters in it, their size and last use")
    verifying = _add(commands, "verify", _cache_command("verify"), "find changed, missing and added files")
    verifying.add_argument("key", nargs="*", metavar="KEY", help="only these interpreters")
    pruning = _add(commands, "prune", _cache_command("prune"), "remove what is damaged, left over, old or too much")
    pruning.add_argument("--unused-for", metavar="DAYS", help="interpreters that were not used for so long")
    pruning.add_argument("--max-size", metavar="SIZE", help="the longest unused, until the rest has 500M, 2G or so")
    cleaning = _add(commands, "clean", _cache_command("clean"), "remove everything that is not in use")
    cleaning.add_argument("--force", action="store_true", help="also what processes use")


def _cache_command(name: str) -> _Command:
    def command(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
        from . import cli_cache

        return _Answer(*getattr(cli_cache, name)(arguments, settings, reporter))

    return command


def _add(commands: Any, name: str, command: _Command, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=command)
    parser.add_argument("--json", action="store_true", help="print JSON")
    group = parser.add_argument_group("settings", "also environment variables, see 'provision-backend settings'")
    for option in OPTIONS:
        _add_option(group, option.key, option.kind, option.help)
    return parser


def _add_option(group: Any, key: str, kind: str, text: str) -> None:
    # argparse expands % in help texts.
    text = text.replace("%", "%%")
    if kind == "flag":
        group.add_argument(f"--{key}", action="store_const", const="1", help=text)
    elif kind in ("list", "paths"):
        group.add_argument(f"--{key}", action="append", metavar=key.upper(), help=text)
    else:
        group.add_argument(f"--{key}", metavar=key.upper(), help=text)


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("provision-backend")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _detect(arguments: argparse.Namespace, _settings: Settings, _reporter: Reporter) -> _Answer:
    from .host.detection import detect_platform

    if arguments.root:
        if not Path(arguments.root).is_dir():
            raise UsageError(f"--root must name a folder, found {arguments.root!r}")
        platform = detect_platform(root=Path(arguments.root))
    else:
        platform = detect_platform()
    data = platform.as_dict()
    lines = [platform.triple, f"libc: {platform.libc_name}", f"architecture: {platform.architecture}"]
    lines += [f"problem: {platform.problem}"] if platform.problem else []
    lines += [f"note: {note}" for note in platform.notes]
    lines += [f"evidence: {item.path} {item.finding}" for item in platform.evidence]
    return _Answer(data, lines)


def _list(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
    from packaging.specifiers import SpecifierSet

    from .cache.remembered import current_platform
    from .cache.store import open_cache
    from .catalog.selection import matching_archives
    from .provision import load_archives
    from .request import parse_request

    cache = open_cache(settings)
    platform = current_platform(settings, cache)
    request = parse_request(arguments.request, source="REQUEST") if arguments.request else None
    archives = load_archives(settings, platform.triple, cache, reporter)
    rows: List[Dict[str, Any]] = []
    seen = set()
    for archive in matching_archives(archives, requires_python=SpecifierSet(), request=request, triple=platform.triple):
        minor = (archive.version.split(".")[:2], archive.freethreaded)
        if not arguments.all and str(minor) in seen:
            continue
        seen.add(str(minor))
        cached = cache.lookup(archive)
        rows.append(
            {
                "version": archive.version + ("t" if archive.freethreaded else ""),
                "tag": archive.tag,
                "triple": archive.triple,
                "key": archive.key,
                "sha256": archive.sha256,
                "filename": archive.filename,
                "executable": cached.executable if cached else None,
            }
        )
    lines = [f"{row['version']:<10} {row['tag']}  {row['executable'] or 'can be provisioned'}" for row in rows]
    if not rows:
        reporter.info(f"there is no archive for {arguments.request or 'any version'!r} on {platform.triple}")
    return _Answer(rows, lines, 0 if rows else 1)


def _find(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
    from .provision import find_any

    found = find_any(_wanted(arguments.request), settings, reporter)
    if found is None:
        reporter.info(f"no interpreter for {arguments.request!r} is here; 'provision-backend install' fetches one")
        return _Answer(None, [], 1)
    return _Answer(found.as_dict(), [found.executable])


def _install(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> _Answer:
    from dataclasses import replace

    from .provision import provision

    settings = replace(settings, preference="only-managed")
    wanted = [_wanted(request) for request in arguments.request]
    found = [provision(each, settings, reporter) for each in wanted]
    data = [interpreter.as_dict() for interpreter in found]
    return _Answer(data[0] if len(data) == 1 else data, [interpreter.executable for interpreter in found])


def _wanted(request: str) -> Any:
    from packaging.specifiers import SpecifierSet

    from .request import parse_request
    from .wanted import Wanted

    return Wanted(SpecifierSet(), parse_request(request, source="REQUEST"))


def _pack(arguments: argparse.Namespace, _settings: Settings, reporter: Reporter) -> _Answer:
    from .pack.packing import pack_interpreter

    packed = pack_interpreter(Path(arguments.interpreter), Path(arguments.to), tag=arguments.tag)
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
    return _Answer(data, [str(packed.path)])


def _init(arguments: argparse.Namespace, _settings: Settings, reporter: Reporter) -> _Answer:
    from .wrap.command import run

    return _Answer(*run(arguments, reporter))


def _settings(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> _Answer:
    from .download.fetch import redact_url

    rows = []
    for option in OPTIONS:
        value = getattr(settings, option.attribute)
        if option.key in ("mirror", "catalog"):
            value = [redact_url(item) for item in value] if option.kind == "list" else redact_url(value)
        rows.append(
            {
                "key": option.key,
                "variable": option.variable,
                "value": value,
                "origin": settings.origin(option.key),
                "help": option.help,
            }
        )
    lines = []
    for row in rows:
        lines.append(f"{row['key']} = {json.dumps(row['value'])}  ({row['origin']}; {row['variable']})")
        lines.append(f"    {row['help']}")
    return _Answer(rows, lines)
