"""Which interpreter a build needs, and the lock of a project that has one. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import NoMatchingArchiveError, ProjectError
from ..files import hash_bytes
from ..versions import VersionRequest, satisfies

if TYPE_CHECKING:
    from .archive import Archive

__all__ = [
    "RELOCK", "Lock", "LockedRequirements", "Wanted", "canonical_hash", "check_lock", "check_requirements",
    "locked_archive",
]  # fmt: skip

RELOCK = "run 'provision-backend lock' to lock the project again"  # the hint for a lock that is out of date


def canonical_hash(value: Any) -> str:
    """Return the sha256, in hex, of a value that TOML can hold; the order of keys and the layout do not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hash_bytes(text.encode("utf-8"))


class LockedRequirements(NamedTuple):
    """The build requirements that a lock pins, with everything that they depend on."""

    packages: Tuple[Mapping[str, Any], ...]
    """The tables ``[[packages]]`` of the lock file, as parsed (PEP 751)."""
    requires: Tuple[str, ...]
    """The static requirements that were resolved, as the project writes them."""
    dynamic: Tuple[str, ...]
    """What the real backend's three ``get_requires_for_build_*`` answered, sorted, each once."""
    build_backend: str
    """The real backend that answered."""

    @property
    def digest(self) -> str:
        """The sha256 of the packages: environments of the same digest hold the same."""
        return canonical_hash(list(self.packages))


class Lock(NamedTuple):
    """What the builds of a project use: archives, and mostly build requirements."""

    archives: Tuple[Archive, ...]
    """One for each target triple, at least one, in the order in which they are written."""
    always: bool = False
    """Whether they are used where the running interpreter satisfies the project too."""
    file: str = ""
    """The file that lists them, relative to the project; empty for ``pyproject.toml``."""
    requirements: Optional[LockedRequirements] = None
    """The build requirements; None where only the interpreter is locked."""

    def is_for(self, label: str, triple: str) -> bool:
        """Whether an interpreter is locked: its full version, with ``t`` for a free-threaded one, and its triple."""
        return any((archive.label, archive.triple) == (label, triple) for archive in self.archives)

    @property
    def place(self) -> str:
        """Where the archives are written, for messages."""
        return self.file or "pyproject.toml"


class Wanted(NamedTuple):
    """Which interpreter a build needs."""

    requires_python: str
    request: Optional[VersionRequest] = None
    """Which of the interpreters that satisfy it; None for the newest."""
    path: str = ""
    """An interpreter of the machine to use; then the request is None."""
    lock: Optional[Lock] = None
    """The archives of which one must be provisioned; they satisfy the rest."""

    def accepts(self, version: str, freethreaded: bool) -> bool:
        """Whether an interpreter of this version can be used; a free-threaded one only if it is asked for."""
        # The ABI of a free-threaded build differs (PEP 703), so its wheels would not fit the other interpreters. The
        # cheap comparison comes first, since each selection goes through the whole catalog.
        if freethreaded != (self.request is not None and self.request.freethreaded):
            return False
        asked = self.request is None or satisfies(self.request.specifiers, version)
        return asked and satisfies(self.requires_python, version)

    def describe(self) -> str:
        """Return it as the object of a message: ``requires-python '>=3.12' and python '3.13'``."""
        parts = []
        if self.requires_python:
            parts.append(f"requires-python '{self.requires_python}'")
        if self.request is not None:
            parts.append(f"python '{self.request.text}'")
        return " and ".join(parts) or "any version"


def check_lock(lock: Lock, requires_python: str, pin: Optional[VersionRequest]) -> None:
    """Raise `ProjectError` if an archive of a lock does not satisfy ``requires-python`` and the pin of its project."""
    # The project may have changed since it was locked.
    wanted = Wanted(requires_python, pin)
    for archive in lock.archives:
        if not wanted.accepts(archive.version, freethreaded=archive.freethreaded):
            raise ProjectError(
                f"{lock.place}: the project is locked to CPython {archive.label} on {archive.triple}, "
                f"which does not satisfy {wanted.describe()}",
                hint=RELOCK,
            )


def check_requirements(lock: Lock, requires: Sequence[str], build_backend: str) -> None:
    """Raise `ProjectError` if a project's real backend or static requirements are not those that were locked."""
    locked = lock.requirements
    if locked is None:
        return
    if build_backend != locked.build_backend:
        raise ProjectError(
            f"{lock.place}: the project was locked with the real backend {locked.build_backend!r}, "
            f"and pyproject.toml names {build_backend!r}",
            hint=RELOCK,
        )
    changed = [f"{text!r} is not locked" for text in requires if text not in locked.requires]
    changed += [f"{text!r} is locked and no longer required" for text in locked.requires if text not in requires]
    if changed:
        raise ProjectError(
            f"{lock.place}: the requirements of pyproject.toml have changed: {'; '.join(changed)}", hint=RELOCK
        )


def locked_archive(lock: Lock, triple: str) -> Archive:
    """Return the archive that a build uses on a platform, or raise `NoMatchingArchiveError` with a way out."""
    # A level of x86-64 is a triple of its own: an archive for another level is another build than the locked one.
    for archive in lock.archives:
        if archive.triple == triple:
            return archive
    # The setting python overrides a lock, so a person who only builds the project is not stuck.
    raise NoMatchingArchiveError(
        f"the project is locked to the archives in {lock.place}, and none of them is for {triple}",
        hint=f"locked: {', '.join(archive.triple for archive in lock.archives)}\n"
        f"add this one with 'provision-backend lock --target {triple}', "
        f"or build without the lock: PROVISION_BACKEND_PYTHON={lock.archives[0].label}",
    )
