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

from provision_backend.cli.parser import PROGRAM, make_parser  # noqa: E402
from provision_backend.cli.registry import COMMANDS, GROUPS, Command  # noqa: E402
from provision_backend.settings import OPTIONS  # noqa: E402

__all__ = ["SHELLS_FOLDER", "Argument", "arguments_of", "make_script"]

SHELLS_FOLDER = ROOT / "provision_backend" / "cli" / "shells"

_KINDS = {
    **dict.fromkeys(("DIR", "DIRS"), "folders"),
    **dict.fromkeys(("PATH", "FILE", "PYTHON", "CATALOG", "MIRROR"), "files"),
}


class Argument(NamedTuple):
    """An option of a command, or a positional argument."""

    flags: Tuple[str, ...]
    """Empty for a positional argument."""
    help: str
    metavar: str
    """Empty for an option without a value."""
    choices: Tuple[str, ...]
    repeats: bool
    is_setting: bool

    @property
    def kind(self) -> str:
        """What a value is: words, folders, files or other; empty where there is none."""
        return "words" if self.choices else _KINDS.get(self.metavar, "other") if self.metavar else ""


def arguments_of(command: Command) -> List[Argument]:
    """Return the arguments of a command that its help shows."""
    settings = {option.attribute: option for option in OPTIONS} if command.takes_settings else {}
    found = []
    for action in make_parser(command)._actions:
        if action.help == argparse.SUPPRESS:
            continue
        # mirror, lock and cache key have options of their own instead of some settings; their attributes differ.
        setting = settings.get(action.dest)
        choices = setting.choices if setting else tuple(action.choices or ())
        metavar = str(action.metavar or action.dest.upper()) if action.nargs != 0 else ""
        repeats = action.nargs in ("*", "+") or bool(setting and setting.kind in ("locations", "paths"))
        help_text = (action.help or "").replace("%%", "%")
        flags = tuple(action.option_strings)
        found.append(Argument(flags, help_text, metavar, choices, repeats, setting is not None))
    return found


def make_script(shell: str) -> str:
    """Return the text of the script for bash, zsh or fish."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _menus() -> Dict[str, Dict[str, str]]:
    """Return the words that may follow nothing, and those that may follow a group, each with its summary."""
    single = {command.name: command.summary for command in COMMANDS if " " not in command.name}
    menus = {"": {**single, **GROUPS}}
    for group in GROUPS:
        rows = (command for command in COMMANDS if command.name.startswith(f"{group} "))
        menus[group] = {command.name.split()[1]: command.summary for command in rows}
    return menus


def _filled(template: str, rows: List[str]) -> str:
    runners = "|".join(command.name for command in COMMANDS if command.runs_another)
    values = {"PROGRAM": PROGRAM, "GROUPS": "|".join(GROUPS), "RUNNERS": runners, "ROWS": "\n".join(rows)}
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


_BASH = r"""# @PROGRAM@ for bash; made by '@PROGRAM@ completions bash'.
_provision_backend() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" at=1 words="" kind="" i
    [[ ${COMP_WORDS[1]} == @(@GROUPS@) ]] && at=2
    for ((i = 1; i < COMP_CWORD && i <= at; i++)); do command+="${command:+ }${COMP_WORDS[i]}"; done
    # readline breaks words at =, so --option=value is three words.
    [[ $cur == "=" ]] && cur=""
    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
    case $command in
@ROWS@
    esac
    for ((i = at + 1; i < COMP_CWORD; i++)); do
        [[ $command == @(@RUNNERS@) && ${COMP_WORDS[i]} == -- ]] || continue
        if ((i == COMP_CWORD - 1)); then kind=program; else kind=files; fi
        break
    done
    case $kind in
        program) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    esac
}
complete -F _provision_backend @PROGRAM@
"""


def _bash() -> str:
    rows = []
    for name, words in _menus().items():
        more = "" if name else " help --help --version"
        rows.append(f'        {_quoted(name)}) words="{" ".join(words)}{more}" ;;')
    for command in COMMANDS:
        arguments = arguments_of(command)
        flags = " ".join(flag for argument in arguments for flag in argument.flags)
        value = next((_bash_value(each) for each in arguments if not each.flags), ":")
        rows.append(f"        {_quoted(command.name)}) case $prev in")
        rows += [
            f"            {'|'.join(each.flags)}) {_bash_value(each)} ;;"
            for each in arguments
            if each.flags and each.kind
        ]
        rows.append(f'            *) if [[ $cur == -* ]]; then words="{flags}"; else {value}; fi ;;')
        rows.append("        esac ;;")
    return _filled(_BASH, rows)


def _bash_value(argument: Argument) -> str:
    return f'words="{" ".join(argument.choices)}"' if argument.choices else f"kind={argument.kind}"


_ZSH = r"""#compdef @PROGRAM@
# @PROGRAM@ for zsh; made by '@PROGRAM@ completions zsh'.
_provision_backend() {
    local -a names
    local command=""
    if (( CURRENT > 2 )); then command=$words[2]; shift words; (( CURRENT-- )); fi
    if [[ $command == (@GROUPS@) ]] && (( CURRENT > 2 )); then
        command+=" $words[2]"; shift words; (( CURRENT-- ))
    fi
    if [[ $command == (@RUNNERS@) ]] && (( ${words[(i)--]} < CURRENT )); then
        (( CURRENT -= ${words[(i)--]} ))
        shift ${words[(i)--]} words
        _normal
        return
    fi
    case $command in
@ROWS@
    esac
}
# In a file of $fpath this is the function itself; otherwise it is registered.
if [[ $funcstack[1] == _provision_backend ]]; then _provision_backend "$@"
else compdef _provision_backend @PROGRAM@; fi
"""


def _zsh() -> str:
    rows = []
    for name, words in _menus().items():
        names = " ".join(_quoted(f"{word}:{summary}") for word, summary in words.items())
        rows.append(f"        {_quoted(name)}) names=({names}); _describe command names ;;")
    for command in COMMANDS:
        specs = [_quoted(spec) for argument in arguments_of(command) for spec in _zsh_specs(argument)]
        rows.append(f"        {_quoted(command.name)}) _arguments -S {' '.join(specs)} ;;")
    return _filled(_ZSH, rows)


def _zsh_specs(argument: Argument) -> List[str]:
    # These characters end a part of a specification.
    text = "".join(f"\\{char}" if char in "[]:\\" else char for char in argument.help)
    actions = {"words": f"({' '.join(argument.choices)})", "folders": "_directories", "files": "_files"}
    value = f":{argument.metavar}:{actions.get(argument.kind, ' ')}".replace("|", " ") if argument.kind else ""
    star = "*" if argument.repeats else ""
    if not argument.flags:
        return [star + value]
    return [f"{star}{flag}{'=' if value and flag.startswith('--') else ''}[{text}]{value}" for flag in argument.flags]


_FISH = r"""# @PROGRAM@ for fish; made by '@PROGRAM@ completions fish'.
function __provision_backend_at
    # True where the words so far begin with those given; with --only, where no other words follow.
    argparse only -- $argv; or return
    set -l words (commandline -opc)[2..]
    set -q _flag_only; and test (count $words) -ne (count $argv); and return 1
    for i in (seq (count $argv))
        test "$words[$i]" = "$argv[$i]"; or return 1
    end
end
complete -c @PROGRAM@ -f
@ROWS@
"""


def _fish() -> str:
    def _row(condition: str, arguments: str) -> str:
        return f"complete -c {PROGRAM} -n '__provision_backend_at {condition}' {arguments}"

    rows = []
    for name, words in _menus().items():
        only = f"--only {name}".strip()
        rows += [_row(only, f"-a {word} -d {_fish_quoted(summary)}") for word, summary in words.items()]
    for command in COMMANDS:
        condition = command.name
        if command.runs_another:
            dashes, last = "contains -- -- (commandline -opc)", "test (commandline -opc)[-1]"
            rows.append(_row(f"{condition}; and {dashes}; and {last} = --", "-f -a '(complete -C (commandline -ct))'"))
            rows.append(_row(f"{condition}; and {dashes}; and {last} != --", "-F"))
            condition += f"; and not {dashes}"
        rows += [_row(condition, _fish_argument(argument)) for argument in arguments_of(command)]
    return _filled(_FISH, rows)


def _fish_argument(argument: Argument) -> str:
    parts = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags]
    parts += ["-r"] if argument.kind and argument.flags else []
    values = {"words": f"-f -a '{' '.join(argument.choices)}'", "files": "-F"}
    values["folders"] = "-f -a '(__fish_complete_directories)'"
    return " ".join([*parts, values.get(argument.kind, "-f"), f"-d {_fish_quoted(argument.help)}"])


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
