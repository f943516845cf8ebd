"""``provision-backend doctor``: look at everything that a build depends on, and print what was found."""

from __future__ import annotations

import argparse

from ..doctor import examine
from ..doctor.context import Context, count
from ..output import Reporter
from ..settings import Settings
from .answers import Answer
from .parser import PROJECT, existing_folder
from .registry import flag

__all__ = ["ARGUMENTS", "run"]


ARGUMENTS = {"doctor": [PROJECT, flag("--full", "also compare every file of the cache with its hash")]}


def run(arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Run every check; the exit code is 1 if there is a problem."""
    findings = examine(Context(settings, existing_folder(arguments.directory), full=arguments.full))
    lines = [line for finding in findings for line in finding.lines()]
    states = [finding.status for finding in findings]
    summary = ", ".join(count(states.count(name), name) for name in ("problem", "warning"))
    return Answer([finding.as_dict() for finding in findings], [*lines, summary], int("problem" in states))
