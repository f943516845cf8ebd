"""`Finding`: what was looked at, what was found, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Dict, List

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "ok", "problem", "warning"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    status: str
    """``ok``; ``warning`` for what may matter; ``problem`` for what makes a build fail, or do something unwanted."""
    found: str
    """What was looked at and found, without a full stop."""
    advice: str = ""
    """What to do, perhaps in several lines; empty where nothing has to be done."""
    check: str = ""
    """Name of the check; set when it has run."""

    def as_dict(self) -> Dict[str, str]:
        """Return what ``--json`` prints."""
        return {"check": self.check, "status": self.status, "found": self.found, "advice": self.advice}

    def lines(self) -> List[str]:
        """Return what people read: a line, and the advice below it."""
        first = f"{self.status:<7}  {self.check}: {_printable(self.found)}"
        return [first, *(f"         {_printable(line)}" for line in self.advice.splitlines())]


ok = partial(Finding, OK)
"""Makes a finding about which nothing has to be done."""
warning = partial(Finding, WARNING)
"""Makes a finding that may matter."""
problem = partial(Finding, PROBLEM)
"""Makes a finding that makes a build fail, or do something unwanted."""


def _printable(text: str) -> str:
    # A path, or what a server or a file says, may hold escape sequences that would steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)
