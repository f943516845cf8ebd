"""``provision-backend detect``: show what the host is, and the evidence."""

from __future__ import annotations

import argparse

from ..host.detection import detect_platform
from ..output import Reporter
from ..settings import Settings
from .answers import Answer
from .parser import existing_folder
from .registry import argument

__all__ = ["ARGUMENTS", "run"]


ARGUMENTS = {"detect": [argument("--root", "DIR", "inspect an unpacked image instead of the host")]}


def run(arguments: argparse.Namespace, _settings: Settings, _reporter: Reporter) -> Answer:
    """Describe the host."""
    platform = detect_platform(root=existing_folder(arguments.root, "--root")) if arguments.root else detect_platform()
    lines = [
        platform.triple,
        f"{'libc' if platform.libc else 'system'}: {platform.libc_name}",
        f"architecture: {platform.architecture}",
    ]
    lines += [f"problem: {platform.problem}"] if platform.problem else []
    lines += [f"note: {note}" for note in platform.notes]
    lines += [f"evidence: {item.path} {item.finding}" for item in platform.evidence]
    return Answer(platform.as_dict(), lines)
