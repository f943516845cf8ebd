"""``provision-backend settings``: show every setting, its value and where the value comes from."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from typing import Any

from ..cache.store import open_cache
from ..errors import CacheError, MissingDependencyError
from ..install.sources import DEFAULT_SOURCES
from ..output import Reporter, redact_url
from ..setting_values import Option
from ..settings import OPTIONS, Settings
from .answers import Answer

__all__ = ["run"]


def run(_arguments: argparse.Namespace, settings: Settings, _reporter: Reporter) -> Answer:
    """Show every setting, addresses without their passwords."""
    rows = []
    lines = []
    for option in OPTIONS:
        # Addresses may contain passwords, and people paste this output into bug reports.
        value = _in_force(option, settings)
        value = redact_url(value) if isinstance(value, str) else value
        value = list(map(redact_url, value)) if isinstance(value, tuple) else value
        origin = settings.origin(option.key)
        row = {"key": option.key, "variable": option.variable, "value": value, "origin": origin, "help": option.help}
        rows.append(row)
        lines.append(f"{option.key} = {json.dumps(value)}  ({origin}; {option.variable})")
        lines.append(f"    {option.help}")
    return Answer(rows, lines)


def _in_force(option: Option, settings: Settings) -> Any:
    if option.key == "cache-dir":
        with suppress(CacheError, MissingDependencyError):  # There may be no home directory.
            return str(open_cache(settings).root)
    if option.key == "mirror":
        return settings.mirror or DEFAULT_SOURCES
    return getattr(settings, option.attribute)
