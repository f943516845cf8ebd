"""Interleaving and statistics: what is compared, in which order it runs, and what comes out.

In: contenders, each of which can be run once and measured. Out: `Part`, the values of all rounds and the claims about
them. Pure but for the clock; what runs programs is `benchmarks.running`.

Contenders run one after the other in each round, and the next round runs them in the opposite order: what changes
while the machine gets warm or busy then changes all of them alike. Every figure is a median of rounds, and its range
is the middle half of the rounds (first to third quartile), which one disturbed round does not move.
"""

from __future__ import annotations

import operator
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

__all__ = [
    "Claim",
    "Contender",
    "Failed",
    "Group",
    "Missing",
    "Part",
    "Sample",
    "Series",
    "Table",
    "Target",
    "collect",
    "in_turns",
    "judge",
    "quartiles",
]


class Failed(Exception):  # noqa: N818 - it is the reason why a comparison is not on the page.
    """A comparison cannot run here; the message is the reason, for the page."""


@dataclass(frozen=True)
class Sample:
    """One run, measured."""

    seconds: float
    cpu: float = 0.0
    """Seconds of user and system time, of all its processes."""
    memory: float = 0.0
    """MiB of the largest of its processes."""
    output: str = ""
    """What it wrote to standard output."""


@dataclass(frozen=True)
class Contender:
    """Something that runs in turns with others."""

    label: str
    run: Callable[[], Sample]
    """Prepares without being timed, runs, and cleans up."""
    ours: bool = True


@dataclass(frozen=True)
class Series:
    """The values of one contender, one a round."""

    label: str
    values: List[float]
    ours: bool = True

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Target:
    """What the issue asks for."""

    kind: str
    """``ratio`` and ``difference`` to the peer must be at most `limit`; ``value`` must be exactly it.

    A difference is far smaller than the two values, so it is taken in each round, where both ran one after the other;
    the median is that of the differences.
    """
    limit: float


@dataclass(frozen=True)
class Claim:
    """A comparison of two series of one group, or a statement about one."""

    ours: str
    peer: str = ""
    """Label of the other series; empty for a statement about one."""
    target: Optional[Target] = None


@dataclass(frozen=True)
class Group:
    """Series of one unit that belong side by side, and what is claimed of them."""

    name: str
    unit: str
    """s, ms, MiB, or what is counted."""
    series: List[Series]
    claims: List[Claim] = field(default_factory=list)
    plotted: bool = True

    def find(self, label: str) -> Optional[Series]:
        """Return the series of a label, if it could be run."""
        return next((each for each in self.series if each.label == label and each.values), None)


@dataclass(frozen=True)
class Table:
    """Facts that are no comparison."""

    title: str
    header: List[str]
    rows: List[List[str]]


@dataclass(frozen=True)
class Missing:
    """A comparison that could not be run here."""

    what: str
    why: str


@dataclass
class Part:
    """All results of one of the six parts."""

    key: str
    rounds: int
    date: str = ""
    """Day of the run."""
    seconds: float = 0.0
    """How long the part took."""
    machine: Dict[str, str] = field(default_factory=dict)
    groups: List[Group] = field(default_factory=list)
    tables: List[Table] = field(default_factory=list)
    missing: List[Missing] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)
    """What was done where the comparison needs a word."""

    def as_dict(self) -> Dict[str, Any]:
        """Return what is kept as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Part:
        """Return what `as_dict` was made of."""
        fields = dict(record)
        fields["groups"] = [_group(each) for each in record["groups"]]
        fields["tables"] = [Table(**each) for each in record["tables"]]
        fields["missing"] = [Missing(**each) for each in record["missing"]]
        return cls(**fields)


def _group(record: Mapping[str, Any]) -> Group:
    claims = [
        Claim(each["ours"], each["peer"], Target(**each["target"]) if each["target"] else None)
        for each in record["claims"]
    ]
    series = [Series(**each) for each in record["series"]]
    return Group(record["name"], record["unit"], series, claims, record["plotted"])


def quartiles(values: Sequence[float]) -> Tuple[float, float]:
    """Return the first and the third quartile; of a single value, twice that."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def judge(group: Group, claim: Claim) -> Tuple[Optional[float], Optional[bool]]:
    """Return the figure that a claim is about, and whether its target is met.

    Returns:
        The ratio of the medians, the median of the differences, or the median, in the unit of the group; None where a
        series is missing. And None for no target.
    """
    ours, peer = group.find(claim.ours), group.find(claim.peer)
    if ours is None or (claim.peer and peer is None):
        return None, None
    kind = claim.target.kind if claim.target else "ratio" if claim.peer else "value"
    if peer is None or kind == "value":
        figure = ours.median
    elif kind == "difference":
        figure = statistics.median(map(operator.sub, ours.values, peer.values))
    else:
        figure = ours.median / peer.median if peer.median else float("inf")
    if claim.target is None:
        return figure, None
    if kind == "value":
        return figure, all(value == claim.target.limit for value in ours.values)
    return figure, figure <= claim.target.limit


def in_turns(count: int, rounds: int) -> Iterator[List[int]]:
    """Yield, for each round, the order in which the contenders run: forwards and backwards by turns."""
    for number in range(rounds):
        order = list(range(count))
        yield order[::-1] if number % 2 else order


def collect(
    contenders: Sequence[Contender], rounds: int, *, say: Callable[[str], None], warm_ups: int = 1
) -> Tuple[Dict[str, List[Sample]], List[Missing]]:
    """Run contenders in turns.

    Args:
        contenders: what is compared.
        rounds: how often each runs, after the warm-up.
        say: told what came out.
        warm_ups: rounds that are not counted.

    Returns:
        The samples of each label, and those that could not be run, with the reason; the others still are.
    """
    samples: Dict[str, List[Sample]] = {each.label: [] for each in contenders}
    missing: Dict[str, str] = {}
    begin = time.monotonic()
    for number, order in enumerate(in_turns(len(contenders), warm_ups + rounds)):
        for index in order:
            contender = contenders[index]
            if contender.label in missing:
                continue
            try:
                sample = contender.run()
            except Failed as exc:
                missing[contender.label] = str(exc)
                samples[contender.label] = []
                continue
            if number >= warm_ups:
                samples[contender.label].append(sample)
    told = ", ".join(
        f"{label} {statistics.median(each.seconds for each in found):.3f} s "
        f"({statistics.median(each.cpu for each in found):.3f} s of CPU)"
        for label, found in samples.items()
        if found
    )
    say(f"{told or 'nothing could be run'} ({time.monotonic() - begin:.0f} s)")
    for label, why in missing.items():
        say(f"cannot run {label}: {why}")
    return samples, [Missing(label, why) for label, why in missing.items()]
