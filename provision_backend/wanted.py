"""`Wanted`: which interpreter a build needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from packaging.specifiers import SpecifierSet

from .request import VersionRequest, satisfies

__all__ = ["Wanted"]


@dataclass(frozen=True)
class Wanted:
    """Which interpreter a build needs."""

    requires_python: SpecifierSet
    request: Optional[VersionRequest] = None
    """Which of the satisfying ones; None for the newest."""
    path: str = ""
    """An interpreter to use as it is; then the request is None."""

    def accepts(self, version: str, *, freethreaded: bool) -> bool:
        """Whether an interpreter of this version will do; free-threaded ones only when asked for."""
        if not satisfies(self.requires_python, version):
            return False
        if self.request is None:
            return not freethreaded
        return self.request.matches(version, freethreaded=freethreaded)

    def describe(self) -> str:
        """Say it as the subject of a message: ``requires-python '>=3.12' and python '3.13'``."""
        parts = []
        if str(self.requires_python):
            parts.append(f"requires-python '{self.requires_python}'")
        if self.request is not None:
            parts.append(f"python '{self.request.text}'")
        return " and ".join(parts) or "any version"
