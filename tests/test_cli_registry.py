"""The table of commands: each has its code, its help and its place; and a command imports what it needs, no more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Set

import pytest
from support.command_line import bare_machine, ours, variables

from provision_backend.cli.answers import PAINTERS
from provision_backend.cli.completions import arguments_of
from provision_backend.cli.parser import make_parser, synopsis
from provision_backend.cli.registry import COMMANDS, GROUPS, Command, find_command, load
from provision_backend.settings import OPTIONS

__all__ = ["bare_machine"]  # A fixture that every test here uses.

commands = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))


@commands
def test_every_place_is_there(command: Command) -> None:
    """The table names modules of this folder by text, and each of them exists."""
    for place in filter(None, (command.runs, command.options)):
        assert callable(load(place))
        assert place.startswith("cli.")
    assert command.painter in {"", *PAINTERS}


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
    own = {flag for argument in arguments_of(command) if not argument.is_setting for flag in argument.flags}
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
        "detect", "list", "find", "install", "run", "pack", "mirror", "lock", "init", "settings", "doctor",
        "cache dir", "cache list", "cache verify", "cache prune", "cache clean", "cache key", "completions",
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


# What takes its time. A command has what it works with and none of the others.
HEAVY = {"http", "elftools", "tomlkit", "patchelf", "platformdirs", "asyncio", "email", "venv"}
MIDDLE = {"packaging.specifiers", "dataclasses", "subprocess", "tempfile", "importlib.metadata", "ssl", "zipfile"}


@pytest.mark.parametrize(
    ("arguments", "allowed", "ours_allowed"),
    [
        pytest.param(["--help"], {"dataclasses"}, {"settings"}, id="--help"),
        pytest.param(["lst"], {"dataclasses"}, {"output"}, id="a wrong command"),
        pytest.param(["list", "--help"], {"dataclasses"}, {"settings"}, id="the help of a command"),
        pytest.param(["doctor", "--help"], {"dataclasses"}, {"settings", "cli.doctor_options"}, id="another"),
        pytest.param(["cache"], set(), {"output"}, id="a group"),
    ],
)
def test_what_only_talks_imports_little(arguments: List[str], allowed: Set[str], ours_allowed: Set[str]) -> None:
    """Help, completions and wrong use are quick: no module of a command is imported, nor what those need."""
    imported = _imported(*arguments)
    base = {"cli", "errors", "output", "cli.answers", "cli.registry", "cli.parser", "cli.options", "__main__"}

    assert imported & (HEAVY | MIDDLE) <= allowed
    assert {name[18:] for name in imported if name.startswith("provision_backend.")} <= base | ours_allowed


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        pytest.param(["settings"], set(), id="settings"),
        pytest.param(["completions", "bash"], set(), id="completions"),
        pytest.param(["init", "--check", "/nowhere"], set(), id="init of nothing"),
        pytest.param(["detect"], {"elftools"}, id="detect"),
        pytest.param(["cache", "dir", "--cache-dir", "/nowhere"], {"platformdirs"}, id="cache dir"),
    ],
)
def test_a_command_imports_no_other_ones_packages(arguments: List[str], needed: Set[str]) -> None:
    """Each pays for what it works with; only provisioning needs http, only editing tomlkit."""
    assert {name.partition(".")[0] for name in _imported(*arguments)} & HEAVY - {"email"} <= needed


def test_a_version_is_known_without_reading_metadata() -> None:
    """The name of the metadata's folder says it, where we are installed and alone."""
    from importlib.metadata import version

    expected = version("provision-backend")
    done = ours("--version")

    assert (done.code, done.out, done.err) == (0, f"{expected}\n", "")
    assert ours("-V") == done


def test_an_installed_version_is_read_from_the_name(tmp_path: Path) -> None:
    """Beside an installed package stands one folder with its version in the name; nothing more is looked at."""
    (tmp_path / "provision_backend").symlink_to(Path(__file__).resolve().parent.parent / "provision_backend")
    (tmp_path / "provision_backend-7.8.9.dist-info").mkdir()
    code = "import sys, provision_backend.cli as c; c.main(['--version']); print('importlib.metadata' in sys.modules)"
    env: Dict[str, str] = variables({"PYTHONPATH": str(tmp_path)})
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, env=env, cwd=str(tmp_path), stdout=subprocess.PIPE, check=True)

    assert done.stdout.decode() == "7.8.9\nFalse\n"
