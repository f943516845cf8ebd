"""How the measured frontends are started.

In: an interpreter with pip and build, and a project. Out: command lines that build a wheel.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional

from .core import Contender, Failed, Sample
from .running import Command, measure
from .workbench import Workbench

__all__ = ["FRONTENDS", "Build", "Way", "say_rounds"]


@dataclass(frozen=True)
class Way:
    """A frontend, in one way of starting it."""

    label: str
    argv: Callable[[Workbench, Path, Path], List[str]]
    """(workbench, interpreter of the frontend, folder for the wheel) → the command, less the project."""
    uv: bool
    """Whether uv installs."""
    targeted: bool = True
    """Whether the issue has a target for it."""
    share: float = 1.0
    """The part of the rounds that it runs: pip takes longer than uv, and the whole half an hour."""

    def rounds(self, rounds: int) -> int:
        """Return how many rounds it runs of so many."""
        return max(1, round(rounds * self.share))


def _build(*options: str) -> Callable[[Workbench, Path, Path], List[str]]:
    return lambda _bench, python, out: [str(python), "-m", "build", "--wheel", *options, "--outdir", str(out)]


def _uv_build(bench: Workbench, python: Path, out: Path) -> List[str]:
    return [str(bench.uv), "build", "--wheel", "--python", str(python), "--out-dir", str(out)]


def _pip_wheel(_bench: Workbench, python: Path, out: Path) -> List[str]:
    # pip would refuse, on its own, a project that its interpreter does not satisfy.
    return [str(python), "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "-w", str(out)]


FRONTENDS = (
    Way("build --wheel (pip)", _build(), uv=False, share=0.7),
    Way("build --wheel --installer=uv", _build("--installer=uv"), uv=True),
    Way("uv build --wheel", _uv_build, uv=True),
    Way("pip wheel", _pip_wheel, uv=False, targeted=False, share=0.4),
)


def say_rounds(rounds: int) -> str:
    """Return a remark on which frontend ran how many rounds."""
    return "Rounds: " + ", ".join(f"`{way.label}` {way.rounds(rounds)}" for way in FRONTENDS) + "."


@dataclass(frozen=True)
class Build:
    """One frontend that builds one project under one interpreter."""

    bench: Workbench
    way: Way
    python: Path
    """The interpreter of the frontend."""
    project: Path
    variables: Optional[Dict[str, str]] = None
    """Further variables."""

    def command(self, folder: Path) -> Command:
        """Return the command that builds a fresh copy of the project in a folder."""
        source = folder / "source"
        shutil.copytree(str(self.project), str(source))
        argv = [*self.way.argv(self.bench, self.python, folder / "out"), str(source)]
        return Command(argv, self.bench.environ(**(self.variables or {})), folder)

    def run(self) -> Sample:
        """Build once."""
        folder = self.bench.new_folder()
        try:
            sample = measure(self.command(folder))
            if not list(folder.glob("out/*.whl")):
                raise Failed("no wheel was made")
            return sample
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)

    def contender(self, label: str, *, ours: bool = True) -> Contender:
        """Return it as something that runs in turns with others."""
        return Contender(label, self.run, ours)
