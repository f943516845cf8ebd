"""Where a hook of the real backend can be run, and the one such place that is there already: this process's own."""

from __future__ import annotations

import os
import sys
from typing import Dict, Protocol

__all__ = ["CurrentEnvironment", "HookEnvironment"]


class HookEnvironment(Protocol):
    """Where a hook of the real backend can be run."""

    @property
    def python(self) -> str:
        """Path of the interpreter."""

    @property
    def version(self) -> str:
        """Its version."""

    def environ(self) -> Dict[str, str]:
        """Return the variables of a process there."""


class CurrentEnvironment:
    """The environment that runs the frontend's hook, for questions that need a process of their own."""

    python = sys.executable
    version = sys.version.split()[0]

    def environ(self) -> Dict[str, str]:
        """Return this process's variables less those by which the frontend told its own backend.

        PYTHONPATH stays: under pip that is where the build requirements are.
        """
        return {
            name: value for name, value in os.environ.items() if not name.startswith(("_PYPROJECT_HOOKS", "PEP517_"))
        }
