"""Decide what is built for whom, and what is only tested: `WheelPlan`. Pure.

The kind of a project's wheels is read from its files before anything is built, and it is a guess: what the first build
makes decides which of the others are still needed.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple

__all__ = ["PlannedBuild", "PlannedTest", "WheelPlan"]


class PlannedTest(NamedTuple):
    """A Python on which the wheel of a build is tested."""

    python: str
    """Its minor version, ``3.13`` or, for a free-threaded one, ``3.14t``."""
    triple: str
    """The target triple."""
    version: str
    """Its full version, without ``t``: what it is built with, should it turn out that it needs a wheel of its own."""

    @property
    def request(self) -> str:
        """The request for exactly this interpreter, as `parse_request` reads it."""
        return self.version + ("t" if self.python.endswith("t") else "")

    @property
    def id(self) -> str:
        """The id that a build for this Python has: ``cp311-x86_64-unknown-linux-gnu``."""
        return f"cp{self.python.replace('.', '')}-{self.triple}"


class PlannedBuild(NamedTuple):
    """A wheel to build, and the Pythons that it is tested on."""

    python: str
    """The minor version of the Python that builds it, ``3.13`` or ``3.14t``."""
    version: str
    """Its full version, without ``t``."""
    triple: str
    """The target triple."""
    tests: Tuple[PlannedTest, ...]
    """Where its wheel is tested: itself first, then the others that are expected to use the same wheel."""

    @property
    def request(self) -> str:
        """The request for exactly this interpreter, as `parse_request` reads it."""
        return self.version + ("t" if self.python.endswith("t") else "")

    @property
    def id(self) -> str:
        """``cp311-x86_64-unknown-linux-gnu``: the name of its log, and what a shard is made of."""
        return f"cp{self.python.replace('.', '')}-{self.triple}"


class WheelPlan(NamedTuple):
    """Everything that is built and tested."""

    kind: str
    """``pure``, ``abi3``, ``abi3t`` or ``each``: what the wheels are expected to be."""
    reason: str
    """Where in the project that was read."""
    builds: Tuple[PlannedBuild, ...]
    """Lowest Python first."""
    pythons: Tuple[str, ...]
    """The minor versions that are built or tested, lowest first."""

    def as_dict(self) -> Dict[str, Any]:
        """Return the plan for ``--json``."""
        builds = [
            {
                "id": build.id,
                "python": build.python,
                "version": build.version,
                "triple": build.triple,
                "tests": [test._asdict() for test in build.tests],
            }
            for build in self.builds
        ]
        return {"kind": self.kind, "reason": self.reason, "pythons": list(self.pythons), "builds": builds}
