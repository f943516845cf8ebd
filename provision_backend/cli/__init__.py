"""The command line: find the command, parse its arguments, run it and print its answer.

Exit codes: 0; 1 for "no" (nothing was found, or something failed), with the reason on standard error; 2 for wrong use;
130 after an interrupt, which SIGTERM and SIGHUP are, too. With ``--json`` standard output holds one JSON document and
nothing else: after a failure it is empty, as with uv, pip and gh; "nothing found" is an answer.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import contextmanager
from typing import Iterator, List, Optional, Sequence

from ..errors import MissingDependencyError, ProvisionError, UsageError
from ..output import COLOR_CHOICES, Reporter, explained
from ..settings import load_settings
from ..versions import own_version
from .answers import show_lines
from .parser import given_settings, make_overview, make_parser
from .registry import GROUPS, Command, find_command, load

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line, by default with the arguments of the process, and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        # What a command was making is removed whichever signal ends it.
        with explained(), _ended_by_signals():
            return _answer(words)
    except ProvisionError as exc:
        _complain(str(exc), words)
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        _complain("interrupted", words)
        return 130


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end what runs in the body as Ctrl-C does, so that nothing of it goes on or is left."""

    def _interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # A handler that is there already, as that of nohup, is left alone, and only the main thread can set one.
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _answer(words: List[str]) -> int:
    if words in (["--version"], ["-V"]):
        show_lines([own_version() or "unknown (not installed)"])
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words:
        # This is wrong use: a script that lost its arguments must not succeed.
        Reporter().write(make_overview() + "\n")
        return 2
    # What follows "--" belongs to another program, including its --help and its own "--".
    at = words.index("--") if "--" in words else len(words)
    ours, theirs = words[:at], words[at + 1 :]
    if "--help" in ours or "-h" in ours:
        topic = [word for word in ours if word not in ("--help", "-h")]
        overview = not topic or (len(topic) == 1 and topic[0] in GROUPS)
        text = make_overview(*topic) if overview else make_parser(find_command(topic)[0]).format_help()
        show_lines(text.splitlines(), painter="help")
        return 0
    command, rest = find_command(ours)
    if not command.runs_another:
        rest += words[at:]
    return _run(command, rest, theirs)


def _run(command: Command, rest: Sequence[str], theirs: Sequence[str]) -> int:
    arguments = make_parser(command).parse_args(rest)
    if command.runs_another:
        arguments.command = theirs
    settings = load_settings(flags=given_settings(arguments))
    run, _ = load(command)
    try:
        answer = run(arguments, settings, Reporter(verbosity=settings.verbose, color=arguments.color))
    except MissingDependencyError as exc:
        exc.widen(command.extras)
        raise
    if command.has_json and arguments.json:
        show_lines(json.dumps(answer.data, indent=2).splitlines())
    else:
        show_lines(answer.lines, painter=command.painter, color=arguments.color)
    return answer.code


def _complain(text: str, words: Sequence[str]) -> None:
    # The arguments may be wrong, and may not have been parsed.
    given = [word.partition("=")[2] for word in words if word.startswith("--color=")]
    given += [after for word, after in zip(words, words[1:]) if word == "--color"]
    choice = given[0] if given and given[0] in COLOR_CHOICES else "auto"
    Reporter(color=choice).error(text)
