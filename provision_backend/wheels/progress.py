"""Show how builds and tests go: one line each, which a terminal redraws while they run.

Elsewhere there is one line at each end, and after each minute without any one that says what is at work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple

from ..files import read_end
from ..output import PREFIX, REDRAW, Reporter, paint, printable

__all__ = ["Progress"]

_TAIL = 400  # bytes of a log that are read for its last line
_SILENCE = 60.0  # seconds without a line where there is no terminal, after which people wonder


class _Line(NamedTuple):
    began: float
    log: Path


class Progress:
    """The lines of one run."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lines: Dict[str, _Line] = {}
        self._live = reporter.is_terminal()
        self._drawn = 0  # lines on the terminal that are going to be redrawn
        self._shown = 0.0

    def begin(self, name: str, log: Path) -> None:
        """Show that something has begun, with the end of its log while it runs."""
        self._lines[name] = _Line(self._reporter.clock(), log)
        if not self._live:
            self.say(f"{name}: begun, log in {log}")

    def end(self, name: str, text: str, *, red: bool = False) -> None:
        """Show how something has ended."""
        self._lines.pop(name, None)
        self._wipe()
        self._shown = self._reporter.clock()
        (self._reporter.error if red else self._reporter.info)(f"{name}: {text}")

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._wipe()
        self._shown = self._reporter.clock()
        self._reporter.info(text)

    def draw(self) -> None:
        """Show what is running, not more often than a person can read it, and where there is no terminal rarely."""
        now = self._reporter.clock()
        if now - self._shown < (2 * REDRAW if self._live else _SILENCE):
            return
        if not self._live:
            if self._lines:
                running = (f"{name} ({now - line.began:.0f} s)" for name, line in self._lines.items())
                self.say(f"at work: {', '.join(running)}")
            return
        self._wipe()
        self._shown = now
        room = max(self._reporter.width() - 1, 20)
        texts = [
            f"{name}  {now - line.began:4.0f} s  {_last_line(line.log)}"[:room] for name, line in self._lines.items()
        ]
        if self._reporter.wants_color():
            texts = [paint(text, "dim") for text in texts]
        self._reporter.write("".join(f"{text}\n" for text in texts))
        self._drawn = len(texts)

    def close(self) -> None:
        """Leave nothing on the terminal that would be redrawn."""
        self._wipe()

    def _wipe(self) -> None:
        # Up by the number of lines that were drawn, and everything from there on is cleared: ECMA-48, CPL and ED.
        if self._drawn:
            self._reporter.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0


def _last_line(log: Path) -> str:
    try:
        lines: List[bytes] = read_end(log, _TAIL).splitlines()
    except OSError:
        return ""
    text = next((line for line in reversed(lines) if line.strip()), b"")
    said = printable(text.decode("utf-8", "replace").strip())
    # Half of a narrow terminal would be our own name.
    return said[len(PREFIX) :] if said.startswith(PREFIX) else said
