"""Say what a platform is, and read one from its name.

What goes in: a target triple that somebody wrote, or the facts that host.py found. What comes out: a
:class:`Platform`, which can be written down as JSON and taken back. Pure; nothing here touches a file.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import UsageError
from .identity import FileIdentity
from .targets import ELF_TARGETS, OTHER_TARGETS, split_level

__all__ = ["Evidence", "Platform", "format_version", "platform_from_triple"]

# Microarchitecture levels exist for these only.
_LEVEL_TRIPLES = ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl")


class Evidence(NamedTuple):
    """One fact that a platform was concluded from."""

    path: str
    """Absolute path inside the root that was inspected, or the name of what else was asked."""
    finding: str
    """What it says, as a sentence that begins after the path."""
    identity: Optional[FileIdentity] = None
    """The file's state when it was read; None where it does not exist or is not a file."""

    def as_dict(self) -> Dict[str, Any]:
        """Return what JSON can hold."""
        facts: Dict[str, Any] = {"path": self.path, "finding": self.finding}
        if self.identity:
            facts.update(size=self.identity.size, mtime_ns=self.identity.mtime_ns, inode=self.identity.inode)
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Evidence:
        """Undo :meth:`as_dict`."""
        identity = FileIdentity(facts["size"], facts["mtime_ns"], facts["inode"]) if "inode" in facts else None
        return cls(facts["path"], facts["finding"], identity)


class Platform(NamedTuple):
    """An architecture with a libc: what an interpreter must be built for to run on the host."""

    architecture: str
    """python-build-standalone's or LLVM's name; never with a microarchitecture level."""
    libc: str
    """``gnu``, ``musl``, ``android`` (bionic), ``uclibc``, or ``none`` on macOS and Windows."""
    libc_version: Optional[Tuple[int, ...]]
    """Version of the libc that an archive for this platform would be loaded with; None where it is not known."""
    triple: str
    """Target triple, such as ``x86_64-unknown-linux-musl``."""
    evidence: Tuple[Evidence, ...] = ()
    """What was read, in the order of reading; the last ones decided."""
    loader: Optional[str] = None
    """The dynamic loader that the deciding executable names, or the one that was found."""
    float_abi: Optional[str] = None
    """``hard`` or ``soft`` on ARM; ``double``, ``single`` or ``soft`` on RISC-V and LoongArch; else None."""
    bits: int = 64
    """Word size of the userland: 32 or 64."""
    byte_order: str = "little"
    """``little`` or ``big``."""
    problem: Optional[str] = None
    """Why an executable for this very triple does not start here, as a sentence; None where it should."""
    hint: str = ""
    """What to do about the problem."""
    notes: Tuple[str, ...] = ()
    """What the reader of the evidence should know besides."""

    @property
    def libc_name(self) -> str:
        """The libc as people call it, with its version where that is known: ``glibc 2.36``."""
        name = {"gnu": "glibc", "android": "bionic (Android)", "uclibc": "uClibc", "none": "no ELF libc"}.get(self.libc)
        return " ".join(filter(None, [name or self.libc, format_version(self.libc_version)]))

    def as_dict(self) -> Dict[str, Any]:
        """Return what JSON can hold; :meth:`from_dict` undoes it."""
        return {
            "triple": self.triple,
            "architecture": self.architecture,
            "libc": self.libc,
            "libc_version": format_version(self.libc_version),
            "loader": self.loader,
            "float_abi": self.float_abi,
            "bits": self.bits,
            "byte_order": self.byte_order,
            "problem": self.problem,
            "hint": self.hint or None,
            "notes": list(self.notes),
            "evidence": [item.as_dict() for item in self.evidence],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Platform:
        """Undo :meth:`as_dict`.

        Args:
            facts: what was remembered; may raise KeyError, TypeError or ValueError when it is something else.
        """
        version = facts["libc_version"]
        return cls(
            architecture=facts["architecture"],
            libc=facts["libc"],
            libc_version=tuple(int(part) for part in version.split(".")) if version else None,
            triple=facts["triple"],
            evidence=tuple(Evidence.from_dict(item) for item in facts["evidence"]),
            loader=facts["loader"],
            float_abi=facts["float_abi"],
            bits=facts["bits"],
            byte_order=facts["byte_order"],
            problem=facts["problem"],
            hint=facts["hint"] or "",
            notes=tuple(facts["notes"]),
        )


def platform_from_triple(triple: str) -> Platform:
    """Take a platform from its name, for whoever overrides the detection.

    Args:
        triple: a target triple, such as ``x86_64-unknown-linux-musl``; the vendor may be left out.

    Returns:
        The platform, with no evidence and an unknown version of its libc.

    Raises:
        UsageError: nothing is known by that name.
    """
    baseline, level = split_level(_with_vendor(triple))
    suffix = f"_v{level}" if level > 1 else ""
    if baseline in OTHER_TARGETS and not level > 1:
        architecture, bits = OTHER_TARGETS[baseline]
        return Platform(architecture, "none", None, baseline, bits=bits)
    target = ELF_TARGETS.get(baseline)
    if target is None:
        raise UsageError(f"unknown target {triple!r}", hint=_near(_with_vendor(triple)))
    return Platform(
        target.architecture,
        target.libc,
        None,
        baseline.replace(target.architecture, target.architecture + suffix, 1),
        loader=target.loader,
        float_abi=target.float_abi,
        bits=target.bits,
        byte_order=target.byte_order,
    )


def _with_vendor(triple: str) -> str:
    parts = triple.split("-")
    return "-".join([parts[0], "unknown", *parts[1:]]) if len(parts) == 3 and parts[1] == "linux" else triple


def _near(triple: str) -> str:
    import difflib

    known: List[str] = [*ELF_TARGETS, *OTHER_TARGETS]
    if "_v" in triple:
        known += [name.replace("x86_64", f"x86_64_v{level}", 1) for name in _LEVEL_TRIPLES for level in (2, 3, 4)]
    near = difflib.get_close_matches(triple, known, n=4, cutoff=0.6)
    return "targets with a similar name: " + ", ".join(near) if near else "a target is like x86_64-unknown-linux-musl"


def format_version(version: Optional[Tuple[int, ...]]) -> Optional[str]:
    """Write a version as people do: ``(2, 36)`` is ``2.36``."""
    return ".".join(map(str, version)) if version else None
