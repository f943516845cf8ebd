"""Define `Platform`, what an interpreter must be built for to run on a host, and convert it from and to other forms.

A platform comes from a target triple that a user wrote, or from the facts that ``detection.py`` found.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from ..errors import UsageError
from ..output import nearest
from ..systems import SYSTEMS
from .targets import ELF_TARGETS, LEVELED_TRIPLES, OTHER_TARGETS, split_level, with_level

__all__ = ["Evidence", "FileIdentity", "Platform", "format_version", "platform_from_triple"]


class FileIdentity(NamedTuple):
    """The facts that distinguish one state of a file from another without reading it."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last modification, nanoseconds since the epoch."""
    inode: int
    """Inode number; changes when a package manager replaces the file, which may keep size and time."""


class Evidence(NamedTuple):
    """One fact that identifies a platform."""

    path: str
    """Absolute path inside the inspected root, or the name of another source."""
    finding: str
    """The fact, as a sentence whose subject is the path."""
    identity: Optional[FileIdentity] = None
    """The file's state when it was read; None if it does not exist or cannot be reached."""

    def as_dict(self) -> Dict[str, Any]:
        """Return the fact for JSON; `from_dict` undoes it."""
        return {"path": self.path, "finding": self.finding, **(self.identity._asdict() if self.identity else {})}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Evidence:
        """Undo `as_dict`."""
        identity = FileIdentity(facts["size"], facts["mtime_ns"], facts["inode"]) if "inode" in facts else None
        return cls(facts["path"], facts["finding"], identity)


class Platform(NamedTuple):
    """An architecture with a system and a libc: what an interpreter must be built for to run on the host."""

    triple: str
    """Target triple, such as ``x86_64-unknown-linux-musl``."""
    architecture: str
    """python-build-standalone's or LLVM's name; never with a microarchitecture level."""
    libc: str
    """``gnu``, ``musl``, ``android`` (bionic) or ``uclibc``; empty where the system has one C library, its own."""
    libc_version: Optional[Tuple[int, ...]] = None
    """Version of the libc that an archive for this platform would be loaded with; None if it is unknown."""
    loader: Optional[str] = None
    """The dynamic loader that the deciding executable names, or that exists."""
    float_abi: Optional[str] = None
    """``hard`` or ``soft`` on ARM; ``double``, ``single`` or ``soft`` on RISC-V and LoongArch; else None."""
    bits: int = 64
    """Word size of the userland: 32 or 64."""
    byte_order: str = "little"
    """``little`` or ``big``."""
    system: str = "linux"
    """Name of a row of `provision_backend.systems.SYSTEMS`."""
    system_version: Optional[Tuple[int, ...]] = None
    """Version of the system where it decides what runs: that of macOS or Windows; None on Linux, or if unknown."""
    problem: Optional[str] = None
    """Why an executable for this very triple does not start here, as a sentence; None if it should."""
    hint: str = ""
    """What to do about the problem."""
    notes: Tuple[str, ...] = ()
    """Remarks for the reader of the evidence."""
    evidence: Tuple[Evidence, ...] = ()
    """The facts in the order of reading; the last ones decided."""

    @property
    def libc_name(self) -> str:
        """The usual name of the libc, or of a system with its own, and the version if known: ``glibc 2.36``."""
        if not self.libc:
            return " ".join(filter(None, [SYSTEMS[self.system].title, format_version(self.system_version)]))
        name = {"gnu": "glibc", "android": "bionic (Android)", "uclibc": "uClibc"}.get(self.libc, self.libc)
        return " ".join(filter(None, [name, format_version(self.libc_version)]))

    def as_dict(self) -> Dict[str, Any]:
        """Return the platform for JSON; `from_dict` undoes it."""
        return {
            **self._asdict(),
            "libc": self.libc or None,
            "libc_version": format_version(self.libc_version),
            "system_version": format_version(self.system_version),
            "hint": self.hint or None,
            "notes": list(self.notes),
            "evidence": [item.as_dict() for item in self.evidence],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Platform:
        """Undo `as_dict`; raises KeyError, TypeError or ValueError for facts of another form."""

        def _version(text: Optional[str]) -> Optional[Tuple[int, ...]]:
            return tuple(int(part) for part in text.split(".")) if text else None

        SYSTEMS[facts["system"]]  # A KeyError where this version of ours does not know the system.
        # No field is optional: a record of an older version of ours is not completed with defaults.
        return cls(**{name: facts[name] for name in cls._fields})._replace(
            libc=facts["libc"] or "",
            libc_version=_version(facts["libc_version"]),
            system_version=_version(facts["system_version"]),
            hint=facts["hint"] or "",
            notes=tuple(facts["notes"]),
            evidence=tuple(Evidence.from_dict(item) for item in facts["evidence"]),
        )


def platform_from_triple(triple: str) -> Platform:
    """Make the platform of a triple with which a user overrides the detection (as ``UV_LIBC`` does for uv#14262).

    The triple may lack the vendor. The version of the libc is unknown; an unknown triple raises UsageError.
    """
    parts = triple.split("-")
    # LLVM and Debian accept "x86_64-linux-gnu", and people copy it from "gcc -dumpmachine".
    full = "-".join([parts[0], "unknown", *parts[1:]]) if len(parts) == 3 and parts[1] == "linux" else triple
    baseline, level = split_level(full)
    # Only builds for Linux have microarchitecture levels.
    if baseline in OTHER_TARGETS and level == 1:
        architecture, system = OTHER_TARGETS[baseline]
        return Platform(baseline, architecture, "", bits=32 if architecture == "i686" else 64, system=system.name)
    target = ELF_TARGETS.get(baseline)
    if target is None:
        raise UsageError(f"unknown target {triple!r}", hint=_suggest(full))
    platform = Platform(full, target.architecture, target.libc, loader=target.loader)
    return platform._replace(float_abi=target.float_abi, bits=target.bits, byte_order=target.byte_order)


def _suggest(triple: str) -> str:
    # Levels are suggested only to those who use them, since they resemble the baseline of the same name.
    known = [*ELF_TARGETS, *OTHER_TARGETS]
    if "_v" in triple:
        known += [with_level(name, level) for name in LEVELED_TRIPLES for level in (2, 3, 4)]
    near = nearest(triple, known)
    return f"did you mean {near}?" if near else "a target is like x86_64-unknown-linux-musl"


def format_version(version: Optional[Tuple[int, ...]]) -> Optional[str]:
    """Join the numbers of a version with dots: ``(2, 36)`` is ``2.36``."""
    return ".".join(map(str, version)) if version else None
