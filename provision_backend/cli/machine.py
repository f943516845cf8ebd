"""The commands that look at what is here: the host, the settings, and a project to be wrapped."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Sequence, Tuple

from ..errors import UsageError
from ..output import Reporter
from ..settings import OPTIONS, Settings

__all__ = ["detect", "init", "show_settings"]

Answer = Tuple[Any, Sequence[str], int]


def detect(arguments: argparse.Namespace, _settings: Settings, _reporter: Reporter) -> Answer:
    """Say what the host is."""
    from ..host.detection import detect_platform

    if arguments.root:
        if not Path(arguments.root).is_dir():
            raise UsageError(f"--root must name a folder, found {arguments.root!r}")
        platform = detect_platform(root=Path(arguments.root))
    else:
        platform = detect_platform()
    lines = [platform.triple, f"libc: {platform.libc_name}", f"architecture: {platform.architecture}"]
    lines += [f"problem: {platform.problem}"] if platform.problem else []
    lines += [f"note: {note}" for note in platform.notes]
    lines += [f"evidence: {item.path} {item.finding}" for item in platform.evidence]
    return platform.as_dict(), lines, 0


def init(arguments: argparse.Namespace, _settings: Settings, reporter: Reporter) -> Answer:
    """Wrap a project."""
    from .init import run

    return run(arguments, reporter)


def show_settings(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Show every setting."""
    from ..install.download import redact_url

    rows = []
    lines = []
    for option in OPTIONS:
        value = getattr(settings, option.attribute)
        if option.key in ("mirror", "catalog"):
            value = [redact_url(item) for item in value] if option.kind == "list" else redact_url(value)
        row = {
            "key": option.key,
            "variable": option.variable,
            "value": value,
            "origin": settings.origin(option.key),
            "help": option.help,
        }
        rows.append(row)
        lines.append(f"{option.key} = {json.dumps(value)}  ({row['origin']}; {option.variable})")
        lines.append(f"    {option.help}")
    return rows, lines, 0
