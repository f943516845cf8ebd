"""``provision-backend doctor``: examine everything a build depends on, and advise what to do about each `Finding`.

A finding, the result of a check, has three kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Dict, List

from ..output import printable

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "ok", "problem", "warning"]

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    status: str
    """``ok``; ``warning`` for what may matter; ``problem`` for what makes a build fail, or do something unwanted."""
    found: str
    """What was examined and found, without a full stop."""
    advice: str = ""
    """What to do, perhaps in several lines; empty if nothing has to be done."""
    check: str = ""
    """Name of the check; set after it has run."""

    def as_dict(self) -> Dict[str, str]:
        """Return the object that ``--json`` prints."""
        return {"check": self.check, "status": self.status, "found": self.found, "advice": self.advice}

    def lines(self) -> List[str]:
        """Return a line for the user, and those of the advice below it."""
        # A path, or the text of a server or a file, may hold escape sequences.
        first = f"{self.status:<7}  {self.check}: {printable(self.found)}"
        return [first, *(f"         {printable(line)}" for line in self.advice.splitlines())]


ok = partial(Finding, OK)
"""Makes a finding about which nothing has to be done."""
warning = partial(Finding, WARNING)
"""Makes a finding that may matter."""
problem = partial(Finding, PROBLEM)
"""Makes a finding that makes a build fail, or do something unwanted."""
