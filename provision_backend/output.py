"""What people see: sentences, progress, colour and suggestions, on standard error.

In: sentences, and counts of bytes. Out: text on a stream, every line prefixed ``provision-backend: ``. A terminal
gets a bar that is redrawn in place; anything else (the log of a frontend, a CI job) gets a line every few seconds.
Nothing here raises: a standard error that is closed or cannot encode a character must not end a build that is
otherwise going well.

Colour, first answer counts: ``--color``, then ``NO_COLOR`` (https://no-color.org), then ``FORCE_COLOR`` and
``CLICOLOR_FORCE``, then the stream: a terminal that is not ``TERM=dumb`` has colours, a pipe and a file have none.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Callable, Iterable, Mapping, Optional, TextIO, Type

__all__ = [
    "COLOR_CHOICES",
    "Progress",
    "Reporter",
    "Step",
    "format_size",
    "is_terminal",
    "nearest",
    "paint",
    "suggestion",
    "wants_color",
]

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


PREFIX = "provision-backend: "
REDRAW = 0.1  # seconds between two drawings of a bar
INTERVAL = 5.0  # seconds between two lines where there is no terminal
FALLBACK_WIDTH = 80
STATE_WIDTH = 44  # columns kept for the numbers behind a bar, so that its end stays where it is


class Reporter:
    """Writes to people, as much as they asked for.

    Args:
        stream: where to; None means whatever ``sys.stderr`` is at the moment of writing.
        verbosity: 0 for what a person must know, 1 for details, 2 for debugging.
        interval: seconds between two lines of progress where there is no terminal.
        clock: seconds that only grow; replaced in tests.
        color: whether a bar is coloured, one of `COLOR_CHOICES`.
    """

    def __init__(
        self,
        stream: Optional[TextIO] = None,
        verbosity: int = 0,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        color: str = "auto",
    ) -> None:
        self._stream = stream
        self._color = color
        self.verbosity = verbosity
        self.interval = interval
        self.clock = clock
        self.depth = 0  # of the steps that are being timed

    def info(self, text: str) -> None:
        """Say what a person should know, whatever the verbosity; each line of *text* gets the prefix."""
        for line in text.splitlines():
            self.write(PREFIX + _printable(line) + "\n")

    def detail(self, text: str) -> None:
        """Say what helps to follow along; from verbosity 1."""
        if self.verbosity >= 1:
            self.info(text)

    def debug(self, text: str) -> None:
        """Say what helps to find a fault; from verbosity 2."""
        if self.verbosity >= 2:
            self.info(text)

    def step(self, name: str) -> Step:
        """Return a context manager that tells how long something took; from verbosity 2, else it does nothing.

        Steps within steps are indented; a step is told when it ends, so those within it stand above it.

        Args:
            name: what is done: ``install the real backend's requirements``.
        """
        return Step(self, name)

    def took(self, name: str, seconds: float) -> None:
        """Say how long a step took; from verbosity 2."""
        self.debug(f"{seconds:8.3f} s  {'  ' * self.depth}{name}")

    def progress(self, label: str, total: Optional[int], *, done: int = 0, origin: str = "") -> Progress:
        """Return a context manager that shows how far some bytes have come.

        Args:
            label: what is being done to what: ``downloading cpython-...``.
            total: bytes in all; None where nobody knows.
            done: bytes that are there already.
            origin: the host or path they come from; named once, in the first line.
        """
        return Progress(self, label, total, done=done, origin=origin)

    def is_terminal(self) -> bool:
        """Say whether a bar can be redrawn on the stream."""
        with contextlib.suppress(Exception):
            return self._target().isatty() and os.environ.get("TERM") != "dumb"
        return False

    def wants_color(self) -> bool:
        """Say whether what is written is coloured."""
        return wants_color(self._target(), self._color)

    def width(self) -> int:
        """Return the columns of the terminal, asked anew each time since windows are resized."""
        with contextlib.suppress(Exception):
            # shutil.get_terminal_size would ask standard output, which a frontend may have redirected.
            return os.get_terminal_size(self._target().fileno()).columns or FALLBACK_WIDTH
        return FALLBACK_WIDTH

    def write(self, text: str) -> None:
        """Write *text* as it is; a stream that is closed, broken or cannot encode it is not our business."""
        with contextlib.suppress(Exception):
            stream = self._target()
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(stream, "encoding", None) or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()

    def _target(self) -> TextIO:
        return sys.stderr if self._stream is None else self._stream


class Step:
    """One step that is timed; made by `Reporter.step`, used in a ``with`` statement."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter if reporter.verbosity >= 2 else None
        self._name = name
        self._began = 0.0

    def __enter__(self) -> None:
        if self._reporter is not None:
            self._began = self._reporter.clock()
            self._reporter.depth += 1

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, traceback: object) -> None:
        if self._reporter is not None:
            self._reporter.depth -= 1
            failed = "" if kind is None else " (failed)"
            self._reporter.took(self._name + failed, self._reporter.clock() - self._began)


class Progress:
    """How far some bytes have come; made by `Reporter.progress`, used in a ``with`` statement."""

    def __init__(self, reporter: Reporter, label: str, total: Optional[int], *, done: int, origin: str) -> None:
        self._reporter = reporter
        self._label = _printable(label)
        self._total = total
        self._done = self._start = done
        self._origin = origin
        self._began = self._shown = reporter.clock()
        self._live = False
        self._drawn = 0  # columns that the bar covers now

    def __enter__(self) -> Progress:
        self._live = self._reporter.is_terminal()
        size = f" ({format_size(self._total)})" if self._total else ""
        origin = f" from {self._origin}" if self._origin else ""
        self._reporter.info(f"{self._label}{size}{origin}")
        if self._live:
            self._draw()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._erase()
        if kind is None:
            self._reporter.info(f"{self._label}: {self._summary()}")

    def advance(self, count: int) -> None:
        """Count *count* more bytes, and show it when it is time to."""
        self._done += count
        now = self._reporter.clock()
        if now - self._shown < (REDRAW if self._live else self._reporter.interval):
            return
        self._shown = now
        if self._live:
            self._draw()
        else:
            self._reporter.info(f"{self._label}: {self._state()}")

    def _draw(self) -> None:
        # The last column stays free: a terminal that wraps there would start a new line at every drawing.
        room = max(self._reporter.width() - 1, 0)
        bar = self._bar(room - len(PREFIX) - STATE_WIDTH)
        text = f"{PREFIX}{bar}{self._state()}"[:room]
        padding = " " * (self._drawn - len(text))
        self._drawn = len(text)
        self._reporter.write("\r" + (_coloured(text, bar) if self._reporter.wants_color() else text) + padding)

    def _erase(self) -> None:
        if self._drawn:
            self._reporter.write("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _bar(self, room: int) -> str:
        cells = min(room - 3, 40)
        if not self._total or cells < 5:
            return ""
        full = min(self._done, self._total) * cells // self._total
        return f"[{'#' * full}{'.' * (cells - full)}] "

    def _state(self) -> str:
        rate = self._rate()
        speed = f", {format_size(rate)}/s" if rate else ""
        if not self._total:
            return f"{format_size(self._done)}{speed}"
        percent = "" if self._live else f" ({min(self._done, self._total) * 100 // self._total} %)"
        left = f", {max(self._total - self._done, 0) / rate:.0f} s left" if rate else ""
        return f"{format_size(self._done)} of {format_size(self._total)}{percent}{speed}{left}"

    def _summary(self) -> str:
        seconds = self._reporter.clock() - self._began
        return f"done, {format_size(self._done)} in {seconds:.1f} s"

    def _rate(self) -> int:
        seconds = self._reporter.clock() - self._began
        return int((self._done - self._start) / seconds) if seconds > 0 else 0


def format_size(count: int) -> str:
    """Return *count* bytes as people read it, in powers of 1000: ``25.3 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _coloured(text: str, bar: str) -> str:
    if not bar or bar not in text:
        return text
    full = "#" * bar.count("#")
    return text.replace(full, paint(full, "green"), 1) if full else text


def _printable(text: str) -> str:
    # What a server or an archive is called must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)


def suggestion(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the hint of a message about an unknown word: the nearest known one, or all of them.

    Args:
        word: as it was written.
        known: the words that are accepted.
        prefix: stands before each of them where a user writes them.
    """
    known = list(known)
    near = nearest(word, known)
    return f"did you mean {prefix + near!r}?" if near else "known keys: " + ", ".join(known)


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the known word that somebody may have meant; empty where none is near.

    Args:
        word: as it was written.
        known: the words that are accepted.
        cutoff: the least similarity, from 0 to 1; see ``difflib.get_close_matches``.
    """
    # Needed only when something is wrong, and a pass-through build imports this module.
    import difflib

    return "".join(difflib.get_close_matches(word, list(known), 1, cutoff))
