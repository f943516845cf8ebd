"""Tools that build projects in their own way: how each is started, and what it says where no Python satisfies."""

from __future__ import annotations

__all__ = ["BY_HAND", "OTHERS", "Tool"]

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Tool:
    """A tool of the package index with a command that builds."""

    key: str
    label: str
    packages: Tuple[str, ...]
    words: Tuple[str, ...]
    """The command line, with ``{out}`` for the folder of the wheel."""
    refusal: str = ""
    """What it says instead of building where no Python of the machine satisfies the project: a regular expression."""
    reason: str = ""
    """The same for the table."""
    from_sdist: bool = False
    """Whether its wheel is made from its sdist."""


OTHERS: Tuple[Tool, ...] = (
    Tool(
        "pdm",
        "pdm build",
        # hishel 2 lacks what PDM 2.29 imports.
        ("pdm", "hishel[httpx2]<2"),
        ("pdm", "build", "-v", "-d", "{out}"),
        r"Can't resolve python interpreter|No Python interpreter",
        "PDM looks for a Python that satisfies the project, and fetches one itself: it never asks us",
        from_sdist=True,
    ),
    Tool(
        "poetry",
        "poetry build",
        ("poetry",),
        ("poetry", "build", "-v", "-o", "{out}"),
        "unable to find a compatible version",
        "Poetry looks for an installed Python that satisfies the project, and ends without one: it never asks us",
    ),
    Tool("hatch", "hatch build", ("hatch",), ("hatch", "build", "{out}")),
    Tool(
        "tox",
        "tox, with its own pass_env and our settings in config.toml",
        ("tox",),
        ("tox", "run", "--pkg-only", "-e", "py", "--workdir", "{out}", "-x", "testenv.package=wheel"),
    ),
)

BY_HAND = (
    "| pnpm install (12.21) | passed, editable, by hand | pnpm looks for a Python that satisfies the project, and "
    "fetches one itself: it never asks us |\n"
)
"""What no test runs, since it comes from another index."""
