"""Write ``docs/reference/command-line.md``: every command, its options, its exit codes and its JSON.

It is made from the table of commands and their parsers. The JSON examples are in ``docs_command_line.json``;
``tests/test_cli_json.py`` checks that the answers of the commands have the same shape.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from completion_scripts import Argument, arguments_of  # noqa: E402

from provision_backend.cli.parser import PROGRAM, make_parser, synopsis  # noqa: E402
from provision_backend.cli.registry import COMMANDS, Command  # noqa: E402

__all__ = ["EXAMPLES", "PAGE", "page"]

PAGE = ROOT / "docs" / "reference" / "command-line.md"

EXAMPLES: Dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
"""For each command a sentence, or sentences and JSON documents in the order in which they are shown."""

_HEAD = """# Command line

<!-- Written by scripts/docs_command_line.py from the parser; the JSON is in scripts/docs_command_line.json. -->

`provision-backend COMMAND --help` shows the same in a terminal. `python -m provision_backend` is the same program.

**REQUEST** is a version (`3.13`, `3.13.2`), a free-threaded one (`3.13t`) or a specifier (`'>=3.12,<3.14'`). In the
folder of a project, `.` or no REQUEST means what the project wants: its `requires-python`, its `python` and its lock.

**Settings.** Every [setting](settings.md) is also an option (`--offline`, `--cache-dir DIR`) of the commands below that
list the settings, and overrides the environment variable. `-v` and `-vv` are `--verbose 1` and `2`.

**Output.** The answer goes to standard output, everything else to standard error. With `--json` standard output
holds one JSON document: the keys shown here will stay, others may be added. "Nothing found" is an answer (`null` or
`[]`) with exit code 1. A failure leaves standard output empty and is explained on standard error, as with uv, pip and
gh.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | no: nothing was found, or something failed; what else it means is said below for each command |
| 2 | wrong use: an argument or a setting is malformed |
| 130 | interrupted by Ctrl-C, SIGTERM or SIGHUP; nothing unfinished is left, but for a download that goes on later |

**Colours** are for terminals. `--color always` or `never` decides; without it, a `NO_COLOR` that is not empty turns
them off, then `FORCE_COLOR` or `CLICOLOR_FORCE` turns them on, and otherwise a terminal that is not `TERM=dumb` has
them. The progress bar of a download is drawn on terminals only; elsewhere a line is printed every five seconds.

**Completions** come from scripts that a shell reads once; completing does not start Python:

```text
bash    echo 'eval "$(provision-backend completions bash)"' >> ~/.bashrc
zsh     echo 'eval "$(provision-backend completions zsh)"' >> ~/.zshrc        after compinit
fish    provision-backend completions fish > ~/.config/fish/completions/provision-backend.fish
```
"""

_RUN = """
An interpreter is found or, if none is installed, provisioned; then this process becomes COMMAND: signals, the terminal
and the exit code are COMMAND's own. `python`, `python3`, `pip` and the like as its first word mean that interpreter,
its folder is the first in `PATH`, and without a COMMAND the interpreter itself starts. Variables that would misdirect
it (`PYTHONPATH`, `PYTHONHOME`, `VIRTUAL_ENV` and others) are not passed on; to set one, write
`provision-backend run 3.13 -- env PYTHONPATH=src python app.py`.

An interpreter in the cache is shared, so no packages can be installed into it: create an environment with it
(`provision-backend run 3.13 -- python -m venv .venv`).

Exit codes: that of COMMAND; 127 if COMMAND does not exist and 126 if it cannot be started. Before COMMAND starts: 1, 2
and 130 as for every command.
"""

_COMMON = ("--json", "--color", "--help", "-v")


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *("\n".join(_section(command)) for command in COMMANDS)])


def _section(command: Command) -> Iterator[str]:
    parser = make_parser(command)
    yield f"## {command.name}\n"
    yield f"{command.summary[0].upper()}{command.summary[1:]}.\n"
    yield f"```text\n{synopsis(parser, command)}\n```\n"
    yield from _arguments(command)
    also = ["`--json`"] if command.has_json else []
    also += ["`--color`", "`--help`", "`-v`", "the [settings](settings.md)"][: 4 if command.takes_settings else 2]
    yield f"Also {', '.join(also[:-1])} and {also[-1]}.\n"
    if command.runs_another:
        yield _RUN.lstrip("\n")
    elif command.no:
        yield f"Exit code 1: {command.no}, or something failed.\n"
    examples = [text if text.startswith("eval") else f"{PROGRAM} {text}" for text in command.examples]
    yield "Examples:\n\n```text\n" + "\n".join(examples) + "\n```\n"
    if command.has_json:
        yield from _json(command)


def _arguments(command: Command) -> Iterator[str]:
    own = (each for each in arguments_of(command) if not each.is_setting and not set(each.flags) & set(_COMMON))
    rows = [_row(argument) for argument in own]
    if rows:
        yield "| argument | meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def _row(argument: Argument) -> str:
    value = "|".join(argument.choices) or argument.metavar
    name = f"{', '.join(argument.flags)} {value}".strip()
    meaning = argument.help.replace("|", "\\|")
    escaped = name.replace("|", "\\|")
    return f"| `{escaped}` | {meaning} |"


def _json(command: Command) -> Iterator[str]:
    examples = EXAMPLES[command.name]
    yield "With `--json`:\n"
    for example in [examples] if isinstance(examples, str) else examples:
        yield f"{example}\n" if isinstance(example, str) else f"```json\n{json.dumps(example, indent=2)}\n```\n"
