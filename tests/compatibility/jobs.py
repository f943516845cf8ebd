"""What all frontends of the matrix share: the job that each is given, what it leaves, and how it is described.

In: nothing. Out: `Job`, `Made`, `Frontend` and `Refusal`; `found` and `installed` make a `Made` of what is there.
"""

from __future__ import annotations

__all__ = ["Frontend", "Job", "Made", "Refusal", "found", "installed"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from support.hosts import Outcome

from .backends import Backend
from .workshop import Host, Workshop


@dataclass(frozen=True)
class Job:
    """One project that one frontend builds on one host."""

    workshop: Workshop
    backend: Backend
    host: Host
    folder: Path
    source: Path
    settings: Dict[str, Any]
    """What goes to the real backend as ``config_settings``; our own keys not among them."""

    def run(self, *command: str, cwd: Optional[Path] = None, **more: str) -> Outcome:
        """Run a program of the workshop for this job."""
        return self.workshop.run(list(command), cwd=cwd or self.folder, env=self.workshop.environ(**more))

    @property
    def out(self) -> Path:
        """Where artifacts go."""
        return self.folder / "out"


@dataclass(frozen=True)
class Made:
    """What a frontend left."""

    done: Outcome
    wheel: Optional[Path] = None
    from_sdist: bool = False
    """Whether the wheel was made from the sdist, not from the tree."""
    sdist: Optional[Path] = None
    editable: Optional[Path] = None
    """An editable wheel."""
    site: Optional[Path] = None
    """The folder of packages that the project is installed in."""
    python: Optional[Path] = None
    """The interpreter of an environment in which an editable install was made."""
    metadata: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Why a combination cannot be."""

    reason: str
    """A sentence for the table."""
    output: str
    """A regular expression that what the frontend says must match."""
    fails: Optional[bool] = True
    """Whether the frontend calls it an error; None: sometimes."""


@dataclass(frozen=True)
class Frontend:
    """A frontend, in one way of starting it."""

    key: str
    label: str
    run: Callable[[Job], Made]
    newest_old_host: bool = False
    """Whether only a new release has what is asked for, so that an old host must be as new as may be."""
    settings: bool = False
    """Whether it hands over ``config_settings``."""
    sdist: bool = False
    """Whether it asks for an sdist."""
    editable: bool = False
    """Whether it asks for an editable wheel."""
    refuses: Optional[Refusal] = None
    """What it says, on its own, of a project that its interpreter does not satisfy."""
    builds_first: bool = False
    """Whether it says so only after it has built."""
    calls_nothing: Optional[Refusal] = None
    """What it does instead, where it never calls the backend."""
    no_table: Optional[Refusal] = None
    """What it says of a project that has no table ``[project]``."""
    no_version: Optional[Refusal] = None
    """What it says of a project whose version is not in that table."""
    times: bool = True
    """Whether it hands on ``SOURCE_DATE_EPOCH``, so that the times in an artifact are fixed."""


def found(done: Outcome, folder: Path, **facts: Any) -> Made:
    """Return the wheel and the sdist that a frontend has left in a folder."""
    if done.returncode != 0:
        return Made(done)
    wheels, sdists = sorted(folder.rglob("*.whl")), sorted(folder.rglob("*.tar.gz"))
    assert len(wheels) <= 1, wheels
    assert len(sdists) <= 1, sdists
    made = {"wheel": wheels[0] if wheels else None, "sdist": sdists[0] if sdists else None}
    return Made(done, **{"from_sdist": bool(wheels and sdists), **made, **facts})


def installed(done: Outcome, python: Path, *, editable: bool) -> Made:
    """Return the environment of an interpreter, in which a frontend has installed the project."""
    if done.returncode != 0:
        return Made(done)
    if editable:
        return Made(done, python=python)
    site = next((python.parent.parent / "lib").glob("python*/site-packages"))
    return Made(done, site=site)
