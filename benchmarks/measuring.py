"""Time whole commands by turns: commands in, their times and ratios out.

Each run is timed by pyperf, which starts the command in a process of its own and asks the kernel for its peak memory.
The contenders of a comparison run one after the other in each round, and the next round runs them in the opposite
order: whatever changes while the machine gets warm or busy then changes all of them alike. So ratios of one comparison
mean something on a noisy machine; seconds of two machines do not.
"""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, List, Mapping, Sequence, Tuple

import pyperf

__all__ = ["Command", "Comparison", "Contenders", "Failed", "Series", "compare", "run"]

_TIMEOUT = 600  # Seconds after which a command is ended.
Contenders = Mapping[str, Callable[[], "Command"]]
"""By label, what makes a fresh folder and the command to run there; not timed."""


class Failed(Exception):  # noqa: N818 - it is the reason why a comparison is not on the page.
    """A command failed; the message is the reason, for the page."""


@dataclass(frozen=True)
class Command:
    """A program to run."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    """All its variables."""
    folder: Path
    """Where it runs; a fresh one, which is removed afterwards."""
    expected: str = ""
    """Pattern, relative to the folder, of a file that it must leave behind."""


@dataclass(frozen=True)
class Series:
    """The runs of one contender, one a round."""

    label: str
    seconds: List[float] = field(default_factory=list)
    memory: List[float] = field(default_factory=list)
    """MiB of the largest process."""
    failure: str = ""
    """Why there are no runs."""


@dataclass
class Comparison:
    """Contenders that ran by turns; the last one is the peer that the others are compared with."""

    name: str
    series: List[Series]
    goals: List[Tuple[str, str, float]] = field(default_factory=list)
    """A label of ours, a peer's, and the largest ratio that there should be."""
    memory: bool = False
    """Whether peak memory is compared as well."""

    def ratio(self, label: str, peer: str = "") -> float:
        """Return the median of the ratios, round by round, to the last one or another; 0 where one did not run."""
        found = {each.label: each for each in self.series}
        pairs = list(zip(found[label].seconds, found[peer or self.series[-1].label].seconds))
        return statistics.median(ours / peer for ours, peer in pairs) if pairs else 0.0

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Comparison:
        """Return what `dataclasses.asdict` has made a dictionary of."""
        goals = [(label, peer, limit) for label, peer, limit in record["goals"]]
        return cls(**{**record, "series": [Series(**each) for each in record["series"]], "goals": goals})


def compare(name: str, contenders: Contenders, rounds: int, **facts: Any) -> Comparison:
    """Run contenders by turns, after one run each that is not counted.

    Args:
        name: of the comparison.
        contenders: the last one is the peer.
        rounds: how often each of them runs.
        facts: further fields of the `Comparison`.
    """
    found = {label: Series(label) for label in contenders}
    for number in range(rounds + 1):
        for label in list(contenders)[:: -1 if number % 2 else 1]:
            if found[label].failure:
                continue
            try:
                seconds, memory = _measure(contenders[label]())
            except Failed as exc:
                found[label] = Series(label, failure=_reason(contenders[label](), exc))
                continue
            if number:
                found[label].seconds.append(seconds)
                found[label].memory.append(memory)
    return Comparison(name, list(found.values()), **facts)


def run(argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> str:
    """Run a command that is not timed, and return what it printed.

    Raises:
        Failed: it did not succeed.
    """
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environ),
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Failed(str(exc)) from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["it printed nothing"]
        raise Failed(f"{shlex.join(argv)[:80]} ended with {done.returncode}: {' / '.join(lines[-3:])[:300]}")
    return done.stdout


def _measure(command: Command) -> tuple[float, float]:
    """Run a command once; return seconds and MiB."""
    result = command.folder / "pyperf.json"
    # One process, one value, no warm-up: rounds and warm-ups are ours, so that contenders can run by turns.
    once = ["--processes=1", "--values=1", "--warmups=0", "--loops=1", f"--inherit-environ={','.join(command.environ)}"]
    argv = [sys.executable, "-m", "pyperf", "command", *once, "--quiet", "--output", str(result), "--", *command.argv]
    try:
        run(argv, {**os.environ, **command.environ}, command.folder)
        if command.expected and not list(command.folder.glob(command.expected)):
            raise Failed(f"{shlex.join(command.argv)[:80]} left no {command.expected}")
        measured = pyperf.Benchmark.load(str(result))
        memory = float(measured.get_metadata().get("command_max_rss", 0)) / 2**20
        return float(measured.get_values()[0]), memory
    finally:
        shutil.rmtree(str(command.folder), ignore_errors=True)


def _reason(command: Command, failure: Failed) -> str:
    """Run a command again that failed, since pyperf hides what it prints, and return why it failed."""
    try:
        run(command.argv, command.environ, command.folder)
    except Failed as exc:
        return str(exc)
    return str(failure)
