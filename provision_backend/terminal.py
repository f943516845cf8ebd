"""Whether text for people is coloured, and how. In: a stream and what a person asked for. Out: a yes or no, and text.

Who is asked, first answer counts: ``--color``, then ``NO_COLOR`` (https://no-color.org), then ``FORCE_COLOR`` and
``CLICOLOR_FORCE``, then the stream: a terminal that is not ``TERM=dumb`` has colours, a pipe and a file have none.
"""

from __future__ import annotations

import os
from typing import Mapping, Optional, TextIO

__all__ = ["COLOR_CHOICES", "is_terminal", "paint", "wants_color"]

COLOR_CHOICES = ("auto", "always", "never")
"""What ``--color`` accepts."""

# ECMA-48, select graphic rendition.
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "error": "1;31"}


def wants_color(stream: Optional[TextIO], choice: str = "auto", environ: Optional[Mapping[str, str]] = None) -> bool:
    """Tell whether what is written to a stream is coloured.

    Args:
        stream: where the text goes; None: nowhere.
        choice: one of `COLOR_CHOICES`.
        environ: the environment; default the process's own.
    """
    if choice != "auto":
        return choice == "always"
    environ = os.environ if environ is None else environ
    # All three count when they are set and not empty; some programs write 0 for "no".
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: Optional[TextIO]) -> bool:
    """Tell whether a stream is a terminal; a closed one and one that does not say are none."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False


def paint(text: str, style: str) -> str:
    """Return text in a style (``bold``, ``dim``, ``error`` or a colour), or as it is where there is none of it."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text
