"""``provision-backend detect``: show what the host is, and the evidence."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..host.detection import detect_platform
from ..host.platforms import platform_from_triple
from ..output import Reporter, printable
from ..settings import Settings
from .answers import Answer
from .parser import existing_folder
from .registry import argument

__all__ = ["ARGUMENTS", "run"]


ARGUMENTS = {"detect": [argument("--root", "DIR", "inspect an unpacked image instead of the host")]}


def run(arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Describe the host."""
    # An empty name is one that a script has failed to fill in, and no wish for the host.
    root = Path("/") if arguments.root is None else existing_folder(arguments.root, "--root")
    platform = detect_platform(root=root)
    if settings.target:
        target = platform_from_triple(settings.target).triple
        note = f"the setting target names {target}, and builds use that instead"
        platform = platform._replace(notes=(*platform.notes, note))
    lines = [
        platform.triple,
        f"{'libc' if platform.libc else 'system'}: {platform.libc_name}",
        f"architecture: {platform.architecture}",
    ]
    lines += [f"problem: {platform.problem}"] if platform.problem else []
    lines += [f"note: {note}" for note in platform.notes]
    lines += [f"evidence: {item.path} {item.finding}" for item in platform.evidence]
    # A path in an image may have line breaks, and would add lines.
    return Answer(platform.as_dict(), list(map(printable, lines)))
