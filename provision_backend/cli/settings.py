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
    """Show every setting; an address without its password."""
    rows = []
    lines = []
    for option in OPTIONS:
        value = getattr(settings, option.attribute)
        # Their addresses may hold passwords, and this output is what people paste into bug reports.
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
    return Answer(rows, lines)
