"""`Finding`: one thing that was looked at, what was found, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "ok", "problem", "warning"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """What one look at the machine or the project came to."""

    status: str
    """``ok``; ``warning`` for what may matter; ``problem`` for what makes a build fail, or do what nobody asked for."""
    found: str
    """What was looked at and what is there, without a full stop."""
    advice: str = ""
    """What to do, perhaps in several lines; empty where there is nothing to do."""
    check: str = ""
    """Which check found it; set by whoever runs the checks."""

    def as_dict(self) -> Dict[str, str]:
        """Return what ``--json`` prints."""
        return {"check": self.check, "status": self.status, "found": self.found, "advice": self.advice}

    def lines(self) -> List[str]:
        """Return what people read: a line, and the advice below it."""
        first = f"{self.status:<7}  {self.check}: {_printable(self.found)}"
        return [first, *(f"         {_printable(line)}" for line in self.advice.splitlines())]


def ok(found: str, advice: str = "") -> Finding:
    """Return a finding about which nothing has to be done."""
    return Finding(OK, found, advice)


def warning(found: str, advice: str = "") -> Finding:
    """Return a finding that may matter."""
    return Finding(WARNING, found, advice)


def problem(found: str, advice: str = "") -> Finding:
    """Return a finding that makes a build fail, or do what nobody asked for."""
    return Finding(PROBLEM, found, advice)


def _printable(text: str) -> str:
    # Paths, and what a server or a file says, must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)
