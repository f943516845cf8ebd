"""The command line: finds the command, reads its arguments, has it answer, and prints that. It decides nothing.

Exit codes: 0; 1 for "no" (nothing found, something failed), with the reason on standard error; 2 for wrong use; 130
when it was interrupted. With ``--json`` standard output holds the answer and nothing else: a failure leaves it empty,
as with uv, pip and gh, and "nothing found" is an answer. Of our modules only the command's own are imported.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

from ..errors import ProvisionError, UsageError

if TYPE_CHECKING:
    from .registry import Command

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; default those of the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _answer(words)
    except ProvisionError as exc:
        _complain(str(exc), words)
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        _complain("interrupted", words)
        return 130


def _answer(words: List[str]) -> int:
    from .answers import show_lines

    if words in (["--version"], ["-V"]):
        show_lines([_version()])
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words:
        from ..output import Reporter
        from .parser import make_overview

        Reporter().write(make_overview() + "\n")
        return 2
    ours, theirs = _split(words)
    if "--help" in ours or "-h" in ours:
        show_lines(_help([word for word in ours if word not in ("--help", "-h")]), painter="help")
        return 0
    from .registry import find_command

    command, rest = find_command(ours)
    if theirs is not None and not command.runs_another:
        rest += ["--", *theirs]
    return _run(command, rest, theirs or [])


def _split(words: List[str]) -> Tuple[List[str], Optional[List[str]]]:
    """Separate what stands before the first ``--`` from what stands after it, None where there is no ``--``."""
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _run(command: Command, rest: Sequence[str], theirs: Sequence[str]) -> int:
    from ..output import Reporter
    from ..settings import OPTIONS, load_settings
    from .answers import show_json, show_lines
    from .parser import make_parser
    from .registry import load

    arguments = make_parser(command).parse_args(rest)
    if command.runs_another:
        arguments.command = theirs
    flags = {option.key: value for option in OPTIONS if (value := getattr(arguments, option.attribute, None))}
    if getattr(arguments, "more", None):
        flags.setdefault("verbose", str(min(arguments.more, 2)))
    settings = load_settings(flags=flags)
    reporter = Reporter(verbosity=settings.verbose, color=arguments.color)
    data, lines, code = load(command.runs)(arguments, settings, reporter)
    if command.has_json and arguments.json:
        show_json(data)
    else:
        show_lines(lines, painter=command.painter, color=arguments.color)
    return int(code)


def _help(words: Sequence[str]) -> List[str]:
    from .parser import make_overview, make_parser
    from .registry import GROUPS, find_command

    if not words or (len(words) == 1 and words[0] in GROUPS):
        return make_overview(*words).splitlines()
    return make_parser(find_command(words)[0]).format_help().splitlines()


def _version() -> str:
    # The name of our metadata's folder says it; importlib.metadata takes longer than all the rest of this program.
    place = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    names = [name for name in os.listdir(place) if name.startswith("provision_backend-")]
    versions = [name[len("provision_backend-") : -len(".dist-info")] for name in names if name.endswith(".dist-info")]
    if len(versions) == 1:
        return versions[0]
    import importlib.metadata

    try:
        return importlib.metadata.version("provision-backend") or "unknown"
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _complain(text: str, words: Sequence[str]) -> None:
    from ..output import COLOR_CHOICES, Reporter, paint, wants_color

    # The arguments may be what is wrong, so they have not been read.
    given = [word.partition("=")[2] for word in words if word.startswith("--color=")]
    given += [after for word, after in zip(words, words[1:]) if word == "--color"]
    choice = given[0] if given and given[0] in COLOR_CHOICES else "auto"
    prefix = "provision-backend:"
    if wants_color(sys.stderr, choice):
        prefix = paint(prefix, "error")
    Reporter().write(f"{prefix} {text}\n")
