"""``provision-backend completions``: print the completion script of a shell.

The scripts are made from the table of commands by ``scripts/update-docs`` and shipped with the package: printing one
takes no more time than ``--help``, which counts for a line of ``~/.bashrc``, and completing starts no Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..output import Reporter
from ..settings import Settings
from .answers import Answer

__all__ = ["SHELLS", "add_arguments", "run"]

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``completions``."""
    parser.add_argument("shell", choices=SHELLS, help="which shell's script")


def run(arguments: argparse.Namespace, _settings: Settings, _reporter: Reporter) -> Answer:
    """Print the script of a shell."""
    # A file and not importlib.resources, which takes longer to import than all else here.
    script = Path(__file__).with_name("shells") / f"provision-backend.{arguments.shell}"
    return Answer(None, script.read_text(encoding="utf-8").splitlines())
