"""``provision-backend settings``: show every setting, its value and where the value comes from."""

from __future__ import annotations

import argparse
import json

from ..install.sources import redact_url
from ..output import Reporter
from ..settings import OPTIONS, Settings
from .answers import Answer

__all__ = ["run"]


def run(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Show every setting, addresses without their passwords."""
    rows = []
    lines = []
    for option in OPTIONS:
        value = getattr(settings, option.attribute)
        # Addresses may contain passwords, and people paste this output into bug reports.
        if option.key in ("mirror", "catalog"):
            value = [redact_url(item) for item in value] if option.kind == "list" else redact_url(value)
        origin = settings.origin(option.key)
        row = {"key": option.key, "variable": option.variable, "value": value, "origin": origin, "help": option.help}
        rows.append(row)
        lines.append(f"{option.key} = {json.dumps(value)}  ({origin}; {option.variable})")
        lines.append(f"    {option.help}")
    return Answer(rows, lines)
