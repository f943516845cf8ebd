"""The argparse parser of each command of the table, and the overview of all commands.

A parser is made only for the command that is called. It never prints and never ends the process: wrong use is a
`UsageError`.
"""

from __future__ import annotations

import argparse
import os
import re
import stat
from pathlib import Path
from typing import Any, Dict, NoReturn, Optional

from ..errors import UsageError
from ..output import COLOR_CHOICES, nearest
from ..settings import OPTIONS
from .registry import COMMANDS, GROUPS, Argument, Command, argument, load

__all__ = [
    "PROGRAM", "PROJECT", "existing_folder", "given_settings", "make_overview", "make_parser", "new_folder", "requests",
    "synopsis", "targets",
]  # fmt: skip

PROGRAM = "provision-backend"

PROJECT = argument("directory", "DIR", "the project; default this folder", nargs="?", default=".")
"""The argument that names the folder of a project; see `existing_folder`."""

_METAVARS = {"path": "DIR", "paths": "DIRS", "seconds": "SECONDS", "number": "N"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError` with a hint."""
        lines = [f"usage: {self.usage}", f"see '{self.prog} --help'"]
        unknown = re.match(r"unrecognized arguments: (--?[\w-]+)", message)
        known = [flag for action in self._actions for flag in action.option_strings]
        near = nearest(unknown[1], known) if unknown else ""
        if near:
            lines.insert(0, f"did you mean {near!r}?")
        raise UsageError(message, hint="\n".join(lines))


def make_parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of one command."""
    parser = _Parser(
        prog=f"{PROGRAM} {command.name}",
        description=_sentence(command.summary),
        # An abbreviation that is unique today may be ambiguous once there is another option.
        allow_abbrev=False,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_epilog(command),
    )
    for name, options in load(command)[1]:
        parser.add_argument(name, **options)
    if command.has_json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--color", choices=COLOR_CHOICES, default="auto", help="default auto: on a terminal")
    # The help is printed before anything is parsed; the option is added so that the help lists it.
    parser.add_argument("-h", "--help", action="store_true", help="show this text")
    if command.takes_settings:
        _add_settings(parser)
    # Python 3.8 and 3.9 call options "optional arguments".
    parser._positionals.title, parser._optionals.title = "arguments", "options"
    parser.usage = synopsis(parser, command)
    # Python 3.14 colours the help by default, regardless of --color.
    parser.color = False  # type: ignore[attr-defined, unused-ignore]
    return parser


def given_settings(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Return the settings that stand on the command line, by key."""
    # An absent option is None; then the environment and the configuration are read.
    flags = {option.key: value for option in OPTIONS if (value := getattr(arguments, option.attribute, None))}
    if getattr(arguments, "more", None):
        flags.setdefault("verbose", str(min(arguments.more, 2)))
    return flags


def make_overview(group: Optional[str] = None) -> str:
    """Return the help of the program, or of a group of commands."""
    start = f"{group} " if group else ""
    rows = [(command.name, command.summary) for command in COMMANDS if command.name.startswith(start)]
    width = max(len(name) for name, _ in rows) + 2
    intro = GROUPS[group] if group else "find and install Python interpreters for builds"
    lines = [f"usage: {PROGRAM} {start}COMMAND [OPTIONS]", "", _sentence(intro), "", "commands:"]
    lines += [f"  {name:<{width}}{summary}" for name, summary in rows]
    lines += ["", "options:", f"  {'--help':<{width}}show this text, or that of a command"]
    lines += [] if group else [f"  {'--version':<{width}}show the version"]
    return "\n".join([*lines, "", f"'{PROGRAM} {start}COMMAND --help' has the options of a command, and examples."])


def synopsis(parser: argparse.ArgumentParser, command: Command) -> str:
    """Return how a command is called, in one line: the settings and what is optional are ``[OPTIONS]``."""
    parts = [parser.prog, "[OPTIONS]"]
    for action in parser._actions:
        if action.option_strings and action.required:
            parts.append(f"{action.option_strings[-1]} {action.metavar}")
        elif not action.option_strings:
            name = str(action.metavar or "|".join(action.choices or ()) or action.dest)
            parts.append({"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name))
    tail = ["[-- COMMAND ...]"] if command.runs_another else []
    return " ".join([*parts, *tail])


def existing_folder(text: str, argument: str = "DIR") -> Path:
    """Return the folder that an argument names, or raise a `UsageError`."""
    try:
        is_folder, reason = stat.S_ISDIR(os.stat(text).st_mode), ""
    except FileNotFoundError:
        is_folder, reason = False, ""
    except (OSError, ValueError) as exc:  # ValueError: a NUL in it.
        is_folder, reason = False, f": {getattr(exc, 'strerror', None) or exc}"
    if not is_folder:
        raise UsageError(f"{argument} must name a folder, found {text!r}{reason}")
    if not os.access(text, os.X_OK):
        raise UsageError(f"{argument} names {text!r}, which this user may not enter")
    return Path(text)


def new_folder(text: str, argument: str = "DIR") -> Path:
    """Return the folder that an argument names, which need not exist, or raise a `UsageError`."""
    # Paths in SHA256SUMS, in answers and in messages are lines of UTF-8.
    if not text or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise UsageError(f"{argument} must name a folder, in UTF-8 and without control characters, found {text!r}")
    return Path(text)


def targets(text: str) -> Argument:
    """Return ``--target``, which may be repeated, instead of the setting."""
    # The result has them as targets, so that they are not read as a setting.
    text += "; may be repeated; default this host's"
    return argument("--target", "TRIPLE", text, action="append", dest="targets")


def requests(text: str) -> Argument:
    """Return ``--python``, which may be repeated, instead of the setting."""
    text += "; may be repeated; default what the project in this folder would be built with"
    return argument("--python", "REQUEST", text, action="append", dest="requests")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    own = {flag for action in parser._actions for flag in action.option_strings}
    group = parser.add_argument_group("settings", f"also environment variables, see '{PROGRAM} settings'")
    for option in OPTIONS:
        # A command may have an option of its own instead of a setting: --target of mirror may be repeated.
        if f"--{option.key}" in own:
            continue
        # Values are checked where those of variables are, so argparse gets neither choices nor types.
        more: Dict[str, Any] = {"metavar": "|".join(option.choices) or _METAVARS.get(option.kind, option.key.upper())}
        if option.kind == "flag":
            more = {"action": "store_const", "const": "1"}
        elif option.kind in ("locations", "paths"):
            more["action"] = "append"
        # argparse expands % in help texts.
        group.add_argument(f"--{option.key}", help=option.help.replace("%", "%%"), **more)
    group.add_argument("-v", action="count", dest="more", help="--verbose 1; -vv is --verbose 2")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _epilog(command: Command) -> str:
    examples = [text if text.startswith("eval") else f"{PROGRAM} {text}" for text in command.examples]
    codes = ["0    done", f"1    {f'{command.no}, or ' if command.no else ''}something failed", "2    wrong use"]
    if command.runs_another:
        codes[0] = "     that of COMMAND; 127 if COMMAND does not exist, 126 if it cannot be started"
    return "\n  ".join(["examples:", *examples]) + "\n\n" + "\n  ".join(["exit codes:", *codes, "130  interrupted"])
