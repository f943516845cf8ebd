"""The answer of a command, and how it is printed: JSON for programs, lines for people, in colour on a terminal.

Standard output that cannot be written is an error like any other, except that a reader may close the pipe early.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, TextIO, Tuple

from ..errors import ProvisionError
from ..output import is_terminal, paint, printable, wants_color

__all__ = ["PAINTERS", "Answer", "as_columns", "edit_answer", "paint_line", "show_lines", "terminal_width"]


class Answer(NamedTuple):
    """The answer of a command."""

    data: Any
    """For ``--json``."""
    lines: Sequence[str] = ()
    """For people, without line ends."""
    code: int = 0
    """The exit code: 1 for "no", as when nothing was found."""


def show_lines(lines: Sequence[str], *, painter: str = "", color: str = "auto") -> None:
    """Print lines for people, in the colours of one of the `PAINTERS`; no lines print nothing."""
    if is_terminal(sys.stdout):
        # The name of an archive, a folder or a server must not control the terminal (CWE-150).
        lines = [printable(line) for line in lines]
    if painter and wants_color(sys.stdout, color):
        lines = ["".join(paint(text, style) for text, style in paint_line(painter, line)) for line in lines]
    if not lines:
        return  # No lines are no output, rather than an empty line.
    stream = sys.stdout
    # Python sets it to None when the descriptor was closed before the start.
    if stream is None:
        raise ProvisionError("standard output cannot be written: it is closed")
    try:
        _encode(stream, "".join(f"{line}\n" for line in lines))
        stream.flush()
    except BrokenPipeError:
        # Otherwise Python flushes once more at exit, and prints a traceback.
        sys.stdout = None
    except OSError as exc:
        sys.stdout = None
        raise ProvisionError(f"standard output cannot be written: {exc.strerror or exc}") from None


def edit_answer(path: Path, diff: Sequence[str], data: Mapping[str, Any], *, check: bool) -> Answer:
    """Return the answer of a command that edits a file; the exit code is 1 if ``--check`` found something to change."""
    edit = {"path": str(path), "changed": bool(diff), "written": bool(diff) and not check}
    text = "".join(f"{line}\n" for line in diff)
    return Answer({**edit, **data, "diff": text}, diff, int(bool(diff) and check))


def as_columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 0) -> List[str]:
    """Return rows as lines with aligned columns.

    Args:
        rows: at least one, all of one length.
        right: the numbers of the columns that are aligned to the right.
        width: if a line would be longer, the first column gets lines of its own; 0 for lines of any length.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    if 0 < width < sum(widths) + 2 * len(widths) - 2:
        others = as_columns([row[1:] for row in rows], right=[number - 1 for number in right])
        return [line for row, other in zip(rows, others) for line in (row[0], f"    {other}")]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def terminal_width() -> int:
    """Return the columns of the terminal that lines are printed to; 0 where standard output is none."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stdout.fileno()).columns if is_terminal(sys.stdout) else 0
    return 0


def _encode(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # A path may have characters that the locale lacks, or bytes that are no characters (PEP 383).
        try:
            data = os.fsencode(text)
        except UnicodeEncodeError:
            data = text.encode(stream.encoding, "backslashreplace")
        stream.buffer.write(data)


PAINTERS: Dict[str, Dict[str, str]] = {
    "archives": {r"(\S+)(.*can be provisioned)": "bold dim", r"(\S+)(.*)": "bold green"},
    "checked": {
        r"\S+ .* (ok)( .*|$)": "green dim",
        r"\S+ .* (failed)( .*|$)": "red dim",
        r"(\S+ .*tested here)": "dim",
    },
    "diff": {r"(\+\+\+.*|---.*)": "bold", r"(\+.*)": "green", r"(-.*)": "red", r"(@.*)": "cyan"},
    "entries": {r"(\S+)(.*\(damaged\))": "bold red", r"(\S+)": "bold"},
    "findings": {r"(ok)( .*)": "green dim", r"(warning)( .*)": "yellow dim", r"(problem)( .*)": "red dim"},
    "help": {r"([a-z ]+:)(?= |$)": "bold"},
    "labels": {r"(problem:)": "red", r"(note:)": "yellow", r"([^ :]*:)": "dim", r"(.+)": "bold"},
    "settings": {r"( .*)": "dim", r"(\S+) = .*(  \((?!default;).*)": "bold cyan", r"(\S+)": "bold"},
    "verified": {r"\S.*: (damaged)$": "red", r"\S.*: (as it was published)$": "green"},
}
"""How lines are coloured: patterns for their start, of which the first to match counts, and styles of its groups."""


def paint_line(painter: str, line: str) -> List[Tuple[str, str]]:
    """Return the parts of a line, each with its style."""
    for pattern, styles in PAINTERS[painter].items():
        match = re.match(pattern, line)
        if match:
            parts, end = [], 0
            for number, style in enumerate(styles.split(), 1):
                parts += [(line[end : match.start(number)], ""), (match[number], style)]
                end = match.end(number)
            return [*parts, (line[end:], "")]
    return [(line, "")]
