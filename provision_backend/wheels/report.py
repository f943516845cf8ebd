"""What became of a run: the table for people, and the object for ``--json``. Pure."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence

from ..output import format_size
from .state import Outcome, Tested

__all__ = ["Report"]

_HEAD = ("wheel", "size", "built", "repaired", "tested", "seconds", "memory")


class Report(NamedTuple):
    """What became of each build, and of the whole."""

    outcomes: Sequence[Outcome]
    out: str
    """The folder of the wheels, absolute."""
    seconds: float
    jobs: int

    @property
    def is_green(self) -> bool:
        """Whether every wheel was built and none failed a test."""
        return all(outcome.is_green for outcome in self.outcomes)

    def as_dict(self) -> Dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return {
            "green": self.is_green,
            "out": self.out,
            "seconds": round(self.seconds, 1),
            "jobs": self.jobs,
            "peak_memory": self._peak_memory(),
            "builds": [outcome.as_dict() for outcome in self.outcomes],
        }

    @property
    def numbers(self) -> Sequence[int]:
        """The columns of the table that hold numbers."""
        return (1, 5, 6)

    def rows(self) -> List[Sequence[str]]:
        """Return the table: a head, and a row for each wheel and each build that has none."""
        return [_HEAD, *(_row(each) for each in self.outcomes if each.status != "covered")]

    def summary(self) -> str:
        """Return one line about the whole."""
        wheels = sum(outcome.has_wheel for outcome in self.outcomes)
        failed = sum(outcome.status == "failed" for outcome in self.outcomes)
        tests = [test for outcome in self.outcomes for test in outcome.tests]
        passed, red = (sum(test.passed is value for test in tests) for value in (True, False))
        parts = [_count(wheels, "wheel") + f" in {self.out}", _count(passed, "test") + " passed"]
        parts += [_count(failed, "build") + " failed"] if failed else []
        parts += [_count(red, "test") + " failed"] if red else []
        waiting = sum(outcome.status == "waiting" for outcome in self.outcomes)
        parts += [_count(waiting, "build") + " not begun"] if waiting else []
        how = f"{_count(self.jobs, 'job')} at once, at most {format_size(self._peak_memory())} of memory in one"
        return f"{', '.join(parts)}; {self.seconds:.1f} s, {how}"

    def _peak_memory(self) -> int:
        peaks = [test.peak_memory for outcome in self.outcomes for test in outcome.tests]
        return max([0, *peaks, *(outcome.peak_memory for outcome in self.outcomes)])


def _row(outcome: Outcome) -> Sequence[str]:
    if not outcome.has_wheel:
        state = {"failed": "failed", "waiting": "not begun"}.get(outcome.status, outcome.status)
        return (outcome.build.id, "", state, "", "", f"{outcome.seconds:.1f}", format_size(outcome.peak_memory))
    made = outcome.made
    seconds = outcome.seconds + sum(test.seconds for test in outcome.tests)
    peak = max([outcome.peak_memory, *(test.peak_memory for test in outcome.tests)])
    built = outcome.build.python + (" (before)" if outcome.status == "kept" else "")
    return (
        str(made["wheel"]),
        format_size(int(made["size"])),
        built,
        _repaired(made),
        _tested(outcome),
        f"{seconds:.1f}",
        format_size(peak),
    )


def _repaired(made: Dict[str, Any]) -> str:
    grafted = made.get("grafted") or []
    return f"with {', '.join(grafted)}" if grafted else "yes" if made.get("repaired") else "no"


def _tested(outcome: Outcome) -> str:
    """Return on what the wheel was tested: ``3.9, 3.10; failed on 3.11; untested on 3.12``."""
    tests = sorted(outcome.tests, key=lambda test: ([int(part) for part in test.python.rstrip("t").split(".")], test))
    parts = []
    for start, passed in (("", True), ("failed on ", False), ("untested on ", None)):
        found = [_where(test, outcome) for test in tests if test.passed is passed]
        parts += [start + ", ".join(found)] if found else []
    parts += [f"not begun on {', '.join(test.python for test in outcome.untried)}"] if outcome.untried else []
    return "; ".join(parts)


def _where(test: Tested, outcome: Outcome) -> str:
    # A pure wheel is tested on more than one platform.
    return test.python if test.triple == outcome.build.triple else f"{test.python} on {test.triple}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
