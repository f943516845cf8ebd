"""Every command of the command line, as one table: its name, what it is for, and where its code is.

The table names modules by their name below the package and imports none of them, so that a command costs nothing until
somebody calls it. The parser, the help, the completions and the reference page are all made from this table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..errors import UsageError

__all__ = ["COMMANDS", "GROUPS", "Command", "find_command", "load"]


class Command(NamedTuple):
    """One command; what stands after ``:`` in a place is a function of that module."""

    name: str
    """One word, or two for a command of a group: ``cache prune``."""
    summary: str
    """One line, as the end of "use this to ..."."""
    runs: str
    """Place of ``(arguments, settings, reporter) -> (data for --json, lines for people, exit code)``."""
    options: str = ""
    """Place of ``(parser) -> None``; empty for a command without arguments of its own."""
    examples: Tuple[str, ...] = ()
    """Command lines without the program's name."""
    no: str = ""
    """What the exit code 1 means beside a failure."""
    painter: str = ""
    """Name of the painter for its lines, as in `provision_backend.cli.answers`."""
    takes_settings: bool = True
    """Whether the settings of a build mean anything to it."""
    has_json: bool = True
    """False for what prints another program's output or a script."""
    runs_another: bool = False
    """Whether what stands after the first ``--`` belongs to another program."""


GROUPS: Dict[str, str] = {"cache": "look after the cache"}
"""The first words that stand for nothing alone, and what their commands are for."""

COMMANDS: Tuple[Command, ...] = (
    Command(
        "detect",
        "say what this host is: libc, its version and architecture",
        "cli.machine:detect",
        "cli.options:add_detect",
        ("detect", "detect --root /mnt/image --json"),
        painter="labels",
    ),
    Command(
        "list",
        "list the interpreters that can be provisioned here",
        "cli.interpreters:list_archives",
        "cli.options:add_list",
        ("list", "list '>=3.12' --all", "list 3.13t --target aarch64-unknown-linux-musl"),
        no="no archive satisfies REQUEST",
        painter="archives",
    ),
    Command(
        "find",
        "print the interpreter that satisfies a request and is there already",
        "cli.interpreters:find",
        "cli.options:add_find",
        ("find 3.13", "find '>=3.12' --preference only-system", "find --json"),
        no="none is there",
    ),
    Command(
        "install",
        "provision interpreters into the cache",
        "cli.interpreters:install",
        "cli.options:add_install",
        ("install 3.12 3.13", "install --offline --mirror /srv/mirror", "install 3.13 --compile-bytecode"),
    ),
    Command(
        "run",
        "run a program with an interpreter, which is provisioned where it is not there yet",
        "cli.run:run",
        "cli.options:add_run",
        ("run 3.13 -- python -m timeit 'sum(range(1000))'", "run '>=3.12' -- pip --version", "run"),
        has_json=False,
        runs_another=True,
    ),
    Command(
        "pack",
        "make a standalone archive of an installed CPython",
        "cli.interpreters:pack",
        "cli.options:add_pack",
        ("pack /usr/local/bin/python3.12 --to /srv/mirror",),
        takes_settings=False,
    ),
    Command(
        "mirror",
        "fill a folder with the archives that builds need, to serve them from there",
        "cli.mirror:run",
        "cli.mirror_options:add_arguments",
        ("mirror /srv/mirror --python '>=3.11' --target x86_64-unknown-linux-musl", "mirror /srv/mirror --verify"),
        no="--verify found something wrong",
    ),
    Command(
        "lock",
        "write down the archives that builds of a project use",
        "cli.lock:run",
        "cli.lock_options:add_arguments",
        ("lock", "lock --target all", "lock --upgrade"),
        no="--check found something to change",
        painter="diff",
    ),
    Command(
        "init",
        "wrap the real backend of a project, in its pyproject.toml",
        "cli.machine:init",
        "cli.init_options:add_arguments",
        ("init --check", "init", "init --undo"),
        no="--check found something to change",
        painter="diff",
        takes_settings=False,
    ),
    Command(
        "settings",
        "show every setting, its value and where that comes from",
        "cli.machine:show_settings",
        "",
        ("settings", "settings --offline --json"),
        painter="settings",
    ),
    Command(
        "doctor",
        "look for what will go wrong here, and say what to do about it",
        "cli.doctor:run",
        "cli.doctor_options:add_arguments",
        ("doctor", "doctor --full --json"),
        no="there is a problem",
        painter="findings",
    ),
    Command("cache dir", "print the cache's folder", "cli.cache:directory", "", ("cache dir",)),
    Command(
        "cache list",
        "list the interpreters in it, their size and last use",
        "cli.cache:list_entries",
        "",
        ("cache list", "cache list --json"),
        painter="entries",
    ),
    Command(
        "cache verify",
        "find changed, missing and added files",
        "cli.cache:verify",
        "cli.options:add_cache_verify",
        ("cache verify",),
        no="an interpreter is damaged",
        painter="verified",
    ),
    Command(
        "cache prune",
        "remove what is damaged, left over, old or too much",
        "cli.cache:prune",
        "cli.options:add_cache_prune",
        ("cache prune", "cache prune --unused-for 30 --max-size 2G"),
    ),
    Command(
        "cache clean",
        "remove everything that is not in use",
        "cli.cache:clean",
        "cli.options:add_cache_clean",
        ("cache clean",),
        no="something is in use and was kept",
    ),
    Command(
        "cache key",
        "print a key for the caches of continuous integration",
        "cli.cache_key:run",
        "cli.cache_key_options:add_arguments",
        ("cache key", "cache key --python 3.13 --target x86_64-unknown-linux-musl"),
    ),
    Command(
        "completions",
        "print a script by which a shell completes our commands",
        "cli.completions:run",
        "cli.options:add_completions",
        ('eval "$(provision-backend completions bash)"',),
        takes_settings=False,
        has_json=False,
    ),
)
"""In the order that the help lists them."""

_BY_NAME = {command.name: command for command in COMMANDS}


def find_command(argv: Sequence[str]) -> Tuple[Command, List[str]]:
    """Return the command that the arguments begin with, and the arguments that are left for it.

    Raises:
        UsageError: there is no such command.
    """
    words = list(argv[:2]) if argv[0] in GROUPS else list(argv[:1])
    command = _BY_NAME.get(" ".join(words))
    if command is not None:
        return command, list(argv[len(words) :])
    if words[-1].startswith("-"):
        raise UsageError(
            f"there is no option {words[-1]!r} before a command",
            hint=f"options stand after the command: provision-backend {' '.join([*words[:-1], 'COMMAND'])} [OPTIONS]",
        )
    start = f"{words[0]} " if words[0] in GROUPS else ""
    names = _next_words(start)
    if start and len(words) == 1:
        raise UsageError(f"a command is missing after {words[0]!r}", hint=f"one of {', '.join(names)}")
    raise UsageError(f"there is no command {' '.join(words)!r}", hint=_nearest(words[-1], start, names))


def load(place: str) -> Any:
    """Import a function of the table.

    Args:
        place: ``module:function``, the module's name below the package.
    """
    module, _, function = place.partition(":")
    return getattr(import_module(f"..{module}", __package__), function)


def _next_words(start: str) -> List[str]:
    rest = (command.name[len(start) :] for command in COMMANDS if command.name.startswith(start))
    return list(dict.fromkeys(name.split()[0] for name in rest))


def _nearest(word: str, start: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, names, 1)
    return f"did you mean 'provision-backend {start}{near[0]}'?" if near else f"one of {', '.join(names)}"
