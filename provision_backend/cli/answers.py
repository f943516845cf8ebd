"""The answer of a command → standard output: JSON for programs, lines for people, in colour where that is wanted.

What cannot be written is an error like any other, but for one case: a reader that goes away has seen enough.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Callable, Dict, Iterable, List, Sequence, TextIO, Tuple

from ..errors import ProvisionError
from ..output import is_terminal, paint, wants_color

__all__ = ["PAINTERS", "as_columns", "show_json", "show_lines"]

Painted = Iterable[Tuple[str, str]]
"""Pieces of a line, each with its style."""


def show_json(data: Any) -> None:
    """Print what a command found out for programs.

    Raises:
        ProvisionError: standard output cannot be written.
    """
    _write(json.dumps(data, indent=2))


def show_lines(lines: Sequence[str], *, painter: str = "", color: str = "auto") -> None:
    """Print lines for people.

    Args:
        lines: without their ends; none: nothing is printed.
        painter: a name of `PAINTERS`, or empty for lines without colours.
        color: one of `provision_backend.output.COLOR_CHOICES`.

    Raises:
        ProvisionError: standard output cannot be written.
    """
    if is_terminal(sys.stdout):
        # What an archive, a folder or a server is called must not steer the terminal.
        lines = ["".join(char if char.isprintable() else "?" for char in line) for line in lines]
    if painter and wants_color(sys.stdout, color):
        lines = ["".join(paint(text, style) for text, style in PAINTERS[painter](line)) for line in lines]
    if lines:
        _write("\n".join(lines))


def as_columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> List[str]:
    """Return rows as lines, with the cells below each other.

    Args:
        rows: all of the same length.
        right: numbers of the columns that are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _write(text: str) -> None:
    stream = sys.stdout
    # None is what Python has for a descriptor that was closed before it started.
    if stream is None:
        raise ProvisionError("standard output cannot be written: it is closed")
    try:
        _encode(stream, text + "\n")
        stream.flush()
    except BrokenPipeError:
        # Without this Python would try once more when it ends, and complain.
        sys.stdout = None
    except OSError as exc:
        sys.stdout = None
        raise ProvisionError(f"standard output cannot be written: {exc.strerror or exc}") from None


def _encode(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # A path may hold what the locale has no character for, or bytes that are none; it goes out as it is.
        try:
            data = os.fsencode(text)
        except UnicodeEncodeError:
            data = text.encode(stream.encoding, "backslashreplace")
        stream.buffer.write(data)


def _help(line: str) -> Painted:
    heading = re.match(r"[a-z ]+:(?= |$)", line)
    if heading:
        return [(heading[0], "bold"), (line[heading.end() :], "")]
    return [(line, "")]


def _labels(line: str) -> Painted:
    """Paint what stands before a colon by what it says."""
    label, colon, rest = line.partition(":")
    if not colon or " " in label:
        return [(line, "bold")]
    style = {"problem": "red", "error": "red", "warning": "yellow", "note": "yellow", "ok": "green"}.get(label, "dim")
    return [(label + colon, style), (rest, "")]


def _findings(line: str) -> Painted:
    """Paint the status that a line of ``doctor`` begins with."""
    status, space, rest = line.partition(" ")
    style = {"ok": "green", "warning": "yellow", "problem": "red"}.get(status, "")
    return [(status, style), (space + rest, "" if status else "dim")]


def _archives(line: str) -> Painted:
    version, space, rest = line.partition(" ")
    return [(version, "bold"), (space + rest, "dim" if rest.endswith("can be provisioned") else "green")]


def _entries(line: str) -> Painted:
    version, space, rest = line.partition(" ")
    return [(version, "bold"), (space + rest, "red" if rest.endswith("(damaged)") else "")]


def _verified(line: str) -> Painted:
    path, colon, verdict = line.rpartition(": ")
    if line.startswith(" ") or not colon:
        return [(line, "")]
    return [(path + colon, ""), (verdict, "red" if verdict == "damaged" else "green")]


def _diff(line: str) -> Painted:
    style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
    return [(line, "bold" if line.startswith(("+++", "---")) else style)]


def _settings(line: str) -> Painted:
    if line.startswith(" "):
        return [(line, "dim")]
    key, equals, rest = line.partition(" = ")
    value, bracket, origin = rest.rpartition("  (")
    return [(key, "bold"), (equals + value, ""), (bracket + origin, "" if origin.startswith("default;") else "cyan")]


PAINTERS: Dict[str, Callable[[str], Painted]] = {
    "archives": _archives,
    "diff": _diff,
    "entries": _entries,
    "findings": _findings,
    "help": _help,
    "labels": _labels,
    "settings": _settings,
    "verified": _verified,
}
"""How the lines of a command are painted."""
