"""The table of commands: the name of each, what it does, and which module of this folder has its code.

The table imports none of these modules, so that each command imports only what it needs itself, and the overview
nothing. The parser, the help, the completion scripts and the reference page are all made from the table. A new command
is a row here, and in a module its row of ``ARGUMENTS`` and its ``run``, which is found by name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from ..errors import UsageError
from ..output import Reporter, nearest

if TYPE_CHECKING:
    import argparse

    from ..settings import Settings
    from .answers import Answer

    Run = Callable[[argparse.Namespace, Settings, Reporter], Answer]

__all__ = ["COMMANDS", "GROUPS", "Argument", "Command", "argument", "find_command", "flag", "load"]

Argument = Tuple[str, Dict[str, Any]]
"""An argument of a command: its name, and how argparse's ``add_argument`` takes it."""


def argument(name: str, metavar: str, text: str, **options: Any) -> Argument:
    """Return an argument with its help, which calls the value *metavar*."""
    return name, {"metavar": metavar, "help": text, **options}


def flag(name: str, text: str, **options: Any) -> Argument:
    """Return an option without a value, with its help."""
    return name, {"action": "store_true", "help": text, **options}


class Command(NamedTuple):
    """One command."""

    name: str
    """One word, or two for a command of a group: ``cache prune``."""
    summary: str
    """What it does, without a capital letter and a full stop."""
    examples: Tuple[str, ...]
    """Command lines without the program's name."""
    module: str = ""
    """Its module in this folder, if that does not have the name of the command or of its group."""
    no: str = ""
    """What the exit code 1 means besides a failure."""
    painter: str = ""
    """How its lines are coloured: a name of `provision_backend.cli.answers.PAINTERS`."""
    takes_settings: bool = True
    """Whether the settings of a build are options of the command."""
    has_json: bool = True
    """False for a command that prints a script or another program's output."""
    extras: str = "provision"
    """The extras of ours that it needs, or some uses of it do, separated by commas."""
    runs_another: bool = False
    """Whether the words after the first ``--`` are another program and its arguments."""


GROUPS: Dict[str, str] = {"cache": "manage the cache"}
"""The first words of commands with two words, and what these commands are for."""

COMMANDS: Tuple[Command, ...] = (
    Command(
        "detect",
        "show what this host is: its libc, the libc's version and the architecture",
        ("detect", "detect --root /mnt/image --json"),
        painter="labels",
    ),
    Command(
        "list",
        "list the interpreters that can be provisioned here",
        ("list", "list '>=3.12' --all", "list 3.13t --target aarch64-unknown-linux-musl"),
        module="interpreters",
        no="no archive satisfies REQUEST",
        painter="archives",
    ),
    Command(
        "find",
        "print an installed interpreter that matches a request",
        ("find 3.13", "find '>=3.12' --preference only-system", "find --json"),
        module="interpreters",
        no="no installed interpreter matches",
    ),
    Command(
        "install",
        "provision interpreters into the cache",
        ("install 3.12 3.13", "install --offline --mirror /srv/mirror", "install 3.13 --compile-bytecode"),
        module="interpreters",
    ),
    Command(
        "uninstall",
        "remove an interpreter from the cache",
        ("uninstall 3.13.2", "uninstall '<3.12' --all"),
        module="cache",
        no="no interpreter matches, or it is in use",
    ),
    Command(
        "run",
        "run a program with an interpreter, which is provisioned if necessary",
        ("run 3.13 -- python -m timeit 'sum(range(1000))'", "run '>=3.12' -- pip --version", "run"),
        has_json=False,  # Standard output belongs to the other program.
        runs_another=True,
    ),
    Command(
        "wheels",
        "build and test a project's wheels for every Python that it supports",
        ("wheels", "wheels --glibc 2.17 --test 'pytest {project}/tests' --test-requires pytest", "wheels --plan"),
        no="a build or a test failed",
        extras="wheels",
    ),
    Command(
        "check",
        "test wheels under each Python that they claim",
        (
            "check dist/*.whl",
            "check dist --python '>=3.11' --test 'pytest {project}/tests' --test-requires pytest",
        ),
        no="a wheel failed, or none could be tested",
        painter="checked",
        extras="wheels",
    ),
    Command(
        "pack",
        "make a standalone archive of an installed CPython",
        ("pack /usr/local/bin/python3.12 --to /srv/mirror",),
        module="archives",
        takes_settings=False,  # It needs an installed interpreter, and neither a source nor a cache.
        extras="pack",
    ),
    Command(
        "mirror",
        "fill a folder with the archives that builds need, to serve as their mirror",
        ("mirror /srv/mirror --python '>=3.11' --target x86_64-unknown-linux-musl", "mirror /srv/mirror --verify"),
        module="archives",
        no="--verify found a problem",
    ),
    Command(
        "lock",
        "lock what a project is built with: the interpreter and all build requirements",
        ("lock", "lock --target all", "lock --upgrade-package hatchling", "lock --only-interpreter"),
        no="--check found something to change",
        painter="diff",
        extras="init,provision",
    ),
    Command(
        "init",
        "make a project build with provision_backend, by editing its pyproject.toml",
        ("init --check", "init", "init --undo"),
        no="--check found something to change",
        painter="diff",
        extras="init",
        takes_settings=False,  # What a project's file says must not depend on the person who edits it.
    ),
    Command(
        "settings",
        "show every setting, its value and where the value comes from",
        ("settings", "settings --offline --json"),
        painter="settings",
    ),
    Command(
        "doctor",
        "look for problems that would make a build fail, and suggest what to do",
        ("doctor", "doctor --full --json"),
        no="there is a problem",
        painter="findings",
    ),
    Command("cache dir", "print the path of the cache", ("cache dir",)),
    Command(
        "cache list",
        "list the interpreters and locked environments in the cache, their size and last use",
        ("cache list", "cache list --json"),
        painter="entries",
    ),
    Command(
        "cache verify",
        "check the cache for changed, missing and added files",
        ("cache verify",),
        no="an interpreter or environment is damaged",
        painter="verified",
    ),
    Command(
        "cache prune",
        "remove what is damaged, left over, old or too large",
        ("cache prune", "cache prune --unused-for 30 --max-size 2G"),
    ),
    Command("cache clean", "remove everything that is not in use", ("cache clean",), no="something in use was kept"),
    Command(
        "cache key",
        "print a key for the caches of continuous integration",
        ("cache key", "cache key --python 3.13 --target x86_64-unknown-linux-musl"),
        module="archives",
    ),
    Command(
        "completions",
        "print a shell completion script",
        ('eval "$(provision-backend completions bash)"',),
        takes_settings=False,  # The script is the same whatever a build would do.
        has_json=False,
    ),
)
"""In the order of the help."""


def load(command: Command) -> Tuple[Run, Sequence[Argument]]:
    """Import the module of a command, and return its function and its own arguments."""
    # A module that several commands share has run_prune instead of run, and so on.
    # Only the code of one command is imported: cache dir, for example, does not pay for what mirror needs.
    group, *words = command.name.split()
    module = import_module(f".{command.module or group}", __package__)
    word = f"_{words[0] if words else group}" if command.module or words else ""
    return getattr(module, f"run{word}"), getattr(module, "ARGUMENTS", {}).get(command.name, ())


def find_command(argv: Sequence[str]) -> Tuple[Command, List[str]]:
    """Return the command at the start of the arguments, and the remaining arguments, or raise a `UsageError`."""
    # argparse could find it, too, but would import every module for the parsers of all commands.
    words = list(argv[:2]) if argv[0] in GROUPS else list(argv[:1])
    command = next((command for command in COMMANDS if command.name == " ".join(words)), None)
    if command is not None:
        return command, list(argv[len(words) :])
    # Many programs take options there, so the message says where ours belong.
    if words[-1].startswith("-"):
        raise UsageError(
            f"there is no option {words[-1]!r} before a command",
            hint=f"options stand after the command: provision-backend {' '.join([*words[:-1], 'COMMAND'])} [OPTIONS]",
        )
    start = f"{words[0]} " if words[0] in GROUPS else ""
    rest = (command.name[len(start) :] for command in COMMANDS if command.name.startswith(start))
    names = list(dict.fromkeys(name.split()[0] for name in rest))
    known = f"one of {', '.join(names)}"
    if start and len(words) == 1:
        raise UsageError(f"a command is missing after {words[0]!r}", hint=known)
    # A command that is close is most likely a typing error; all of them would hide it.
    near = nearest(words[-1], names)
    hint = f"did you mean 'provision-backend {start}{near}'?" if near else known
    raise UsageError(f"there is no command {' '.join(words)!r}", hint=hint)
