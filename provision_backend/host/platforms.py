"""`Platform`: what an interpreter must be built for to run on a host, and how it is written down and read back.

In: a target triple that a person wrote, or facts that ``detection.py`` found. Out: a `Platform`. Only the hosts that
have no ELF files are asked for here, by what Python itself was built for.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from ..errors import UsageError
from ..output import nearest
from .rootfs import FileIdentity
from .targets import ELF_TARGETS, LEVELED_TRIPLES, OTHER_TARGETS, split_level, with_level

__all__ = ["Evidence", "Platform", "format_version", "has_elf_files", "platform_from_triple", "platform_without_elf"]


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
        return {"path": self.path, "finding": self.finding, **(self.identity._asdict() if self.identity else {})}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Evidence:
        """Undo `as_dict`."""
        identity = FileIdentity(facts["size"], facts["mtime_ns"], facts["inode"]) if "inode" in facts else None
        return cls(facts["path"], facts["finding"], identity)


class Platform(NamedTuple):
    """An architecture with a libc: what an interpreter must be built for to run on the host."""

    triple: str
    """Target triple, such as ``x86_64-unknown-linux-musl``."""
    architecture: str
    """python-build-standalone's or LLVM's name; never with a microarchitecture level."""
    libc: str
    """``gnu``, ``musl``, ``android`` (bionic), ``uclibc``, or ``none`` on macOS and Windows."""
    libc_version: Optional[Tuple[int, ...]] = None
    """Version of the libc that an archive for this platform would be loaded with; None where it is unknown."""
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
    """What else the reader of the evidence should know."""
    evidence: Tuple[Evidence, ...] = ()
    """What was read, in the order of reading; the last items decided."""

    @property
    def libc_name(self) -> str:
        """The libc as people call it, with its version where that is known: ``glibc 2.36``."""
        name = {"gnu": "glibc", "android": "bionic (Android)", "uclibc": "uClibc", "none": "no ELF libc"}.get(self.libc)
        return " ".join(filter(None, [name or self.libc, format_version(self.libc_version)]))

    def as_dict(self) -> Dict[str, Any]:
        """Return what JSON can hold; `from_dict` undoes it."""
        return {
            **self._asdict(),
            "libc_version": format_version(self.libc_version),
            "hint": self.hint or None,
            "notes": list(self.notes),
            "evidence": [item.as_dict() for item in self.evidence],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Platform:
        """Undo `as_dict`.

        Args:
            facts: what was written down; may raise KeyError, TypeError or ValueError when it is something else.
        """
        version = facts["libc_version"]
        # Every field must be there: what an older version of ours wrote down is not completed with defaults.
        return cls(**{name: facts[name] for name in cls._fields})._replace(
            libc_version=tuple(int(part) for part in version.split(".")) if version else None,
            hint=facts["hint"] or "",
            notes=tuple(facts["notes"]),
            evidence=tuple(Evidence.from_dict(item) for item in facts["evidence"]),
        )


def platform_from_triple(triple: str) -> Platform:
    """Take a platform from its name, where the user overrides the detection (as ``UV_LIBC`` does for uv#14262).

    Args:
        triple: a target triple, such as ``x86_64-unknown-linux-musl``; the vendor may be left out.

    Returns:
        The platform, with no evidence and an unknown version of its libc.

    Raises:
        UsageError: nothing is known by that name.
    """
    full = _with_vendor(triple)
    baseline, level = split_level(full)
    if baseline in OTHER_TARGETS and level == 1:
        architecture, bits = OTHER_TARGETS[baseline]
        return Platform(baseline, architecture, "none", bits=bits)
    target = ELF_TARGETS.get(baseline)
    if target is None:
        raise UsageError(f"unknown target {triple!r}", hint=_suggest(full))
    return Platform(
        with_level(baseline, level),
        target.architecture,
        target.libc,
        loader=target.loader,
        float_abi=target.float_abi,
        bits=target.bits,
        byte_order=target.byte_order,
    )


def _with_vendor(triple: str) -> str:
    # LLVM and Debian accept "x86_64-linux-gnu", and people copy it from "gcc -dumpmachine".
    parts = triple.split("-")
    return "-".join([parts[0], "unknown", *parts[1:]]) if len(parts) == 3 and parts[1] == "linux" else triple


def _suggest(triple: str) -> str:
    known = [*ELF_TARGETS, *OTHER_TARGETS]
    if "_v" in triple:
        known += [with_level(name, level) for name in LEVELED_TRIPLES for level in (2, 3, 4)]
    near = nearest(triple, known)
    return f"did you mean {near}?" if near else "a target is like x86_64-unknown-linux-musl"


def format_version(version: Optional[Tuple[int, ...]]) -> Optional[str]:
    """Write a version as people do: ``(2, 36)`` is ``2.36``."""
    return ".".join(map(str, version)) if version else None


def has_elf_files() -> bool:
    """Whether the executables of the running system are ELF files."""
    return sys.platform not in ("darwin", "win32", "cygwin")


def platform_without_elf() -> Platform:
    """Name a host that has no ELF files, by what the running Python was built for."""
    name = sysconfig.get_platform()
    machine = name.rpartition("-")[2].lower()
    # A universal binary holds code for both; the kernel says which half runs.
    if machine == "universal2":
        machine = os.uname().machine
    architecture = {"amd64": "x86_64", "win32": "i686", "arm64": "aarch64"}.get(machine, machine)
    system = "apple-darwin" if sys.platform == "darwin" else "pc-windows-msvc"
    evidence = Evidence("sysconfig.get_platform()", f"says {name!r}")
    # A 32-bit Python on 64-bit Windows says win32; a pointer's size is that of the interpreter, not of the system.
    bits = 64 if sys.maxsize > 1 << 32 else 32
    return Platform(f"{architecture}-{system}", architecture, "none", bits=bits, evidence=(evidence,))
