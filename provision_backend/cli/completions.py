"""``provision-backend completions``: print the completion script of a shell.

``scripts/update-docs`` makes the scripts from the table of commands, and the package includes them: printing one takes
no longer than ``--help``, since shells start with it, and completing does not start Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..output import Reporter
from ..settings import Settings
from .answers import Answer

__all__ = ["ARGUMENTS", "run"]

SHELLS = ("bash", "zsh", "fish")


ARGUMENTS = {"completions": [("shell", {"choices": SHELLS, "help": "which shell's script"})]}


def run(arguments: argparse.Namespace, _settings: Settings, _reporter: Reporter) -> Answer:
    """Print the script of a shell."""
    # importlib.resources would take longer to import than everything else here.
    script = Path(__file__).with_name("shells") / f"provision-backend.{arguments.shell}"
    return Answer(None, script.read_text(encoding="utf-8").splitlines())
