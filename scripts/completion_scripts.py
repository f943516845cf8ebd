"""Write the completion scripts for bash, zsh and fish from the table of commands and their parsers.

The scripts are static: completing does not start Python. They are our own since shtab 1.13 does not complete the
COMMAND of ``run 3.13 -- COMMAND`` in any of the three shells, nor ``--option=VALUE`` in bash, and supports fish only
on Python 3.9 and later. ``tests/test_completions.py`` asks the shells themselves.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from provision_backend.cli.parser import PROGRAM, make_parser, setting_of  # noqa: E402
from provision_backend.cli.registry import COMMANDS, GROUPS, Command  # noqa: E402

__all__ = ["SHELLS_FOLDER", "Argument", "arguments_of", "make_script"]

_FOLDERS = ("DIR", "DIRS")
_FILES = ("PATH", "FILE", "PYTHON", "CATALOG", "MIRROR")


SHELLS_FOLDER = ROOT / "provision_backend" / "cli" / "shells"


class Argument(NamedTuple):
    """An option of a command, or a positional argument."""

    flags: Tuple[str, ...]
    """Empty for a positional argument."""
    help: str
    metavar: str
    """Empty for an option that takes no value."""
    choices: Tuple[str, ...]
    repeats: bool
    is_setting: bool = False
    """Whether it is one of the settings of a build."""

    @property
    def kind(self) -> str:
        """What a value is: words, folders, files, other, or empty where there is none."""
        if self.choices:
            return "words"
        if not self.metavar:
            return ""
        return "folders" if self.metavar in _FOLDERS else "files" if self.metavar in _FILES else "other"


def make_script(shell: str) -> str:
    """Return the text of the script.

    Args:
        shell: bash, zsh or fish.
    """
    commands = {each.name: arguments_of(each) for each in COMMANDS}
    return "\n".join([*{"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands), ""])


def arguments_of(command: Command) -> List[Argument]:
    """Return the arguments of a command that its help shows."""
    found = []
    for action in make_parser(command)._actions:
        if action.help == argparse.SUPPRESS:
            continue
        setting = setting_of(action)
        choices = setting.choices if setting else tuple(action.choices or ())
        takes_value = action.nargs != 0
        metavar = str(action.metavar or action.dest.upper()) if takes_value else ""
        repeats = action.nargs in ("*", "+") or bool(setting and setting.kind in ("list", "paths"))
        help_text = (action.help or "").replace("%%", "%")
        flags = tuple(action.option_strings)
        found.append(Argument(flags, help_text, metavar, choices, repeats, setting is not None))
    return found


_Commands = Dict[str, List[Argument]]


def _first_words() -> List[Tuple[str, str]]:
    single = [(command.name, command.summary) for command in COMMANDS if " " not in command.name]
    return single + list(GROUPS.items())


def _second_words(group: str) -> List[Tuple[str, str]]:
    start = f"{group} "
    return [(each.name[len(start) :], each.summary) for each in COMMANDS if each.name.startswith(start)]


def _bash(commands: _Commands) -> List[str]:
    return [
        *_bash_words(),
        *_bash_cases(commands),
        "    case $kind in",
        '        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;',
        '        folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;',
        '        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;',
        "    esac",
        "}",
        f"complete -F _provision_backend {PROGRAM}",
    ]


def _bash_words() -> List[str]:
    """Return the part that finds the command, completes its name, and completes another program's arguments."""
    lines = [
        f"# {PROGRAM} for bash; made by '{PROGRAM} completions bash'.",
        "_provision_backend() {",
        '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at=1 words="" kind="" i',
        "    local command=${COMP_WORDS[1]}",
        "    COMPREPLY=()",
        "    case $command in",
    ]
    for group in GROUPS:
        names = " ".join(name for name, _ in _second_words(group))
        lines += [
            f'        {group}) at=2; command="{group} ${{COMP_WORDS[2]}}"',
            f'            [[ $COMP_CWORD -eq 2 ]] && words="{names}" ;;',
        ]
    first = " ".join([*(name for name, _ in _first_words()), "help", "--help", "--version"])
    lines += [
        "    esac",
        f'    [[ $COMP_CWORD -eq 1 ]] && words="{first}"',
        '    if [[ $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); return; fi',
        "    # readline breaks words at =, so --option=value are three of them.",
        '    [[ $cur == "=" ]] && cur=""',
        '    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}',
    ]
    runners = "|".join(each.name for each in COMMANDS if each.runs_another)
    return [
        *lines,
        f"    if [[ $command == @({runners}) ]]; then",
        "        for ((i = at + 1; i < COMP_CWORD; i++)); do",
        "            [[ ${COMP_WORDS[i]} == -- ]] || continue",
        "            if ((i == COMP_CWORD - 1)); then kind=command; else kind=file; fi",
        '            compopt -o filenames; mapfile -t COMPREPLY < <(compgen -A $kind -- "$cur"); return',
        "        done",
        "    fi",
    ]


def _bash_cases(commands: _Commands) -> List[str]:
    lines = ['    case "$command $prev" in']
    for name, arguments in commands.items():
        lines += [
            f"        {'|'.join(_quoted(f'{name} {flag}') for flag in argument.flags)}) {_bash_value(argument)} ;;"
            for argument in arguments
            if argument.flags and argument.kind
        ]
    lines += ["        *)", '            case "$command" in']
    for name, arguments in commands.items():
        flags = " ".join(flag for argument in arguments for flag in argument.flags)
        value = next((_bash_value(each) for each in arguments if not each.flags), "")
        lines.append(
            f'                {_quoted(name)}) if [[ $cur == -* ]]; then words="{flags}"; else {value or ":"}; fi ;;'
        )
    return [*lines, "            esac ;;", "    esac"]


def _bash_value(argument: Argument) -> str:
    if argument.kind == "words":
        return f'words="{" ".join(argument.choices)}"'
    return f"kind={argument.kind}"


def _zsh(commands: _Commands) -> List[str]:
    return [
        *_zsh_words(),
        *_zsh_cases(commands),
        "}",
        "# In a file of $fpath this is the function itself; otherwise it is made known.",
        'if [[ $funcstack[1] == _provision_backend ]]; then _provision_backend "$@"',
        f"else compdef _provision_backend {PROGRAM}; fi",
    ]


def _zsh_words() -> List[str]:
    """Return the part that completes the name of a command, and leaves the words after it."""
    lines = [
        f"#compdef {PROGRAM}",
        f"# {PROGRAM} for zsh; made by '{PROGRAM} completions zsh'.",
        "_provision_backend() {",
        "    local -a names",
        "    local command=$words[2]",
        "    if (( CURRENT == 2 )); then",
        f"        names=({' '.join(_quoted(f'{name}:{text}') for name, text in _first_words())})",
        "        _describe command names",
        "        return",
        "    fi",
        "    shift words; (( CURRENT-- ))",
    ]
    for group in GROUPS:
        lines += [
            f"    if [[ $command == {group} ]]; then",
            "        if (( CURRENT == 2 )); then",
            f"            names=({' '.join(_quoted(f'{name}:{text}') for name, text in _second_words(group))})",
            "            _describe command names",
            "            return",
            "        fi",
            f'        command="{group} $words[2]"',
            "        shift words; (( CURRENT-- ))",
            "    fi",
        ]
    return lines


def _zsh_cases(commands: _Commands) -> List[str]:
    runners = "|".join(each.name for each in COMMANDS if each.runs_another)
    lines = [
        f"    if [[ $command == ({runners}) ]] && (( ${{words[(i)--]}} < CURRENT )); then",
        "        (( CURRENT -= ${words[(i)--]} ))",
        "        shift ${words[(i)--]} words",
        "        _normal",
        "        return",
        "    fi",
        "    case $command in",
    ]
    for name, arguments in commands.items():
        specs = [_quoted(spec) for argument in arguments for spec in _zsh_specs(argument)]
        lines.append(f"        {_quoted(name)}) _arguments -S {' '.join(specs)} ;;")
    return [*lines, "    esac"]


def _zsh_specs(argument: Argument) -> List[str]:
    # In a specification these characters end a part.
    text = "".join(f"\\{char}" if char in "[]:\\" else char for char in argument.help)
    action = {"words": f"({' '.join(argument.choices)})", "folders": "_directories", "files": "_files"}.get(
        argument.kind, " "
    )
    if not argument.flags:
        return [f"{'*' if argument.repeats else ''}:{argument.metavar}:{action}"]
    star = "*" if argument.repeats else ""
    value = f":{argument.metavar}:{action}".replace("|", " ") if argument.kind else ""
    return [f"{star}{flag}{'=' if value and flag.startswith('--') else ''}[{text}]{value}" for flag in argument.flags]


def _fish(commands: _Commands) -> List[str]:
    start = f"complete -c {PROGRAM}"
    lines = [
        f"# {PROGRAM} for fish; made by '{PROGRAM} completions fish'.",
        "function __provision_backend_at",
        "    # True where the words so far begin with those given, and as many stand there as --only says.",
        "    argparse only -- $argv; or return",
        "    set -l words (commandline -opc)[2..]",
        "    set -q _flag_only; and test (count $words) -ne (count $argv); and return 1",
        "    for i in (seq (count $argv))",
        '        test "$words[$i]" = "$argv[$i]"; or return 1',
        "    end",
        "end",
        f"{start} -f",
    ]
    at = "__provision_backend_at"
    lines += [f"{start} -n '{at} --only' -a {name} -d {_fish_quoted(text)}" for name, text in _first_words()]
    for group in GROUPS:
        lines += [
            f"{start} -n '{at} --only {group}' -a {name} -d {_fish_quoted(text)}" for name, text in _second_words(group)
        ]
    for command in COMMANDS:
        dashes = "contains -- -- (commandline -opc)"
        condition = f"{at} {command.name}"
        if command.runs_another:
            there, last = f"{condition}; and {dashes}", "(commandline -opc)[-1]"
            lines.append(f"{start} -n '{there}; and test {last} = --' -f -a '(complete -C (commandline -ct))'")
            lines.append(f"{start} -n '{there}; and test {last} != --' -F")
            condition += f"; and not {dashes}"
        lines += [f"{start} -n '{condition}' {_fish_argument(argument)}" for argument in commands[command.name]]
    return lines


def _fish_argument(argument: Argument) -> str:
    parts = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags]
    parts += ["-r"] if argument.kind and argument.flags else []
    parts += {
        "words": ["-f", f"-a '{' '.join(argument.choices)}'"],
        "folders": ["-f", "-a '(__fish_complete_directories)'"],
        "files": ["-F"],
    }.get(argument.kind, ["-f"])
    return " ".join([*parts, f"-d {_fish_quoted(argument.help)}"])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
