"""`Wanted`: which interpreter a build needs, and the `Lock` of a project that has one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional, Tuple

from ..errors import NoMatchingArchiveError, ProjectError
from ..versions import VersionRequest, satisfies

if TYPE_CHECKING:
    from ..catalog.archive import Archive

__all__ = ["RELOCK", "Lock", "Wanted", "check_lock", "locked_archive"]

RELOCK = "run 'provision-backend lock' to lock the project again"
"""The hint where a lock must be made anew."""


class Lock(NamedTuple):
    """The archives that the builds of a project use."""

    archives: Tuple[Archive, ...]
    """One for each target triple, at least one, in the order that they are written in."""
    always: bool = False
    """Whether they are used where the running interpreter satisfies the project too."""
    file: str = ""
    """The file that they stand in, relative to the project; empty for ``pyproject.toml``."""

    @property
    def place(self) -> str:
        """Where the archives are written, for messages."""
        return self.file or "pyproject.toml"


class Wanted(NamedTuple):
    """Which interpreter a build needs."""

    requires_python: str
    request: Optional[VersionRequest] = None
    """Which of the satisfying ones; None for the newest."""
    path: str = ""
    """An interpreter to use as it is; then the request is None."""
    lock: Optional[Lock] = None
    """What must be used where an interpreter is provisioned; its archives satisfy the rest."""

    def accepts(self, version: str, *, freethreaded: bool) -> bool:
        """Whether an interpreter of this version will do; free-threaded ones only when asked for."""
        if not satisfies(self.requires_python, version):
            return False
        if self.request is None:
            # The ABI of a free-threaded build differs (PEP 703), so its wheels would not fit the other interpreters.
            return not freethreaded
        return self.request.matches(version, freethreaded=freethreaded)

    def describe(self) -> str:
        """Return it as the subject of a message: ``requires-python '>=3.12' and python '3.13'``."""
        parts = []
        if self.requires_python:
            parts.append(f"requires-python '{self.requires_python}'")
        if self.request is not None:
            parts.append(f"python '{self.request.text}'")
        return " and ".join(parts) or "any version"


def check_lock(lock: Lock, requires_python: str, pin: Optional[VersionRequest]) -> None:
    """Refuse a lock that is not one of what the project wants today.

    Args:
        lock: of a project.
        requires_python: of the same project.
        pin: ``python`` of the same project.

    Raises:
        ProjectError: an archive does not satisfy both; the message names all three.
    """
    wanted = Wanted(requires_python, pin)
    for archive in lock.archives:
        if not wanted.accepts(archive.version, freethreaded=archive.freethreaded):
            raise ProjectError(
                f"{lock.place}: the project is locked to CPython {archive.label} on {archive.triple}, "
                f"which does not satisfy {wanted.describe()}",
                hint=RELOCK,
            )


def locked_archive(lock: Lock, triple: str) -> Archive:
    """Return the archive that a build uses on a platform.

    Args:
        lock: of a project.
        triple: target triple of the host, with its microarchitecture level where one is asked for.

    Raises:
        NoMatchingArchiveError: the lock has none for it; the hint says how to add it, and how to do without.
    """
    # A level of x86-64 is a triple of its own: an archive for another level is another build than the locked one.
    for archive in lock.archives:
        if archive.triple == triple:
            return archive
    raise NoMatchingArchiveError(
        f"the project is locked to the archives in {lock.place}, and none of them is for {triple}",
        hint=f"locked: {', '.join(archive.triple for archive in lock.archives)}\n"
        f"add this one with 'provision-backend lock --target {triple}', "
        f"or build without the lock: PROVISION_BACKEND_PYTHON={lock.archives[0].label}",
    )
