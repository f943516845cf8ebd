"""Say what the CPU can do: ``/proc/cpuinfo`` in, a microarchitecture level or the version of ARM out.

An archive for ``x86_64_v3`` ends in SIGILL on a CPU that lacks a single instruction of the level, so a level counts
only when every one of its flags is there, on every processor. What cannot be read counts as missing.

Source: System V psABI for x86-64, "Micro-Architecture Levels"; Linux ``Documentation/arch/x86/cpuinfo.rst``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Set

from ..errors import HostError
from .rootfs import open_regular_file

__all__ = ["CPUINFO", "Cpu", "leveled_triples", "missing_for_armv7", "missing_for_level", "read_cpu", "select_level"]

CPUINFO = Path("/proc/cpuinfo")
# 2 KiB a processor: enough for 4096 of them.
_MAX_BYTES = 8 << 20

# The kernel's names: "pni" is SSE3, "abm" stands for LZCNT, and OSXSAVE is implied by any of the AVX flags,
# which the kernel hides when it does not save their registers.
_LEVEL_FLAGS: Dict[int, FrozenSet[str]] = {
    2: frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]),
    3: frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]),
    4: frozenset(["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"]),
}


class Cpu(NamedTuple):
    """What all processors of the machine have in common."""

    flags: FrozenSet[str]
    """Lower-case names of features, as the kernel calls them."""
    arm_version: Optional[int] = None
    """7 for ARMv7; the lowest of all processors; None where they are no ARM."""


def read_cpu(path: Path = CPUINFO) -> Optional[Cpu]:
    """Read what the processors can do.

    Args:
        path: the kernel's description of the processors.

    Returns:
        Their common features, or None where that cannot be told: not Linux, or no ``/proc``.
    """
    try:
        with open_regular_file(path) as file:
            text = file.read(_MAX_BYTES).decode("ascii", "replace")
    except (HostError, OSError):
        return None
    flags: List[Set[str]] = [set(line.split()) for line in _values(text, "flags|Features")]
    return Cpu(frozenset(set.intersection(*flags)) if flags else frozenset(), _arm_version(text))


def _values(text: str, key: str) -> List[str]:
    return re.findall(rf"^(?:{key})[ \t]*:[ \t]*(.*)$", text, re.MULTILINE | re.IGNORECASE)


def _arm_version(text: str) -> Optional[int]:
    versions = [8 if value == "AArch64" else int(value[:1]) for value in _values(text, "CPU architecture") if value]
    # An ARM1176 (Raspberry Pi Zero) says "CPU architecture: 7" because of its memory model; its name tells the truth.
    versions += [int(digit) for name in _values(text, "model name|Processor") for digit in _named_version(name)]
    return min(versions) if versions else None


def _named_version(name: str) -> List[str]:
    return [first or second for first, second in re.findall(r"\bARMv([0-9])|\(v([0-9])\w*\)", name)]


def missing_for_level(cpu: Cpu, level: int) -> List[str]:
    """List the features that a level of x86_64 demands and the CPU lacks.

    Args:
        cpu: what :func:`read_cpu` returned.
        level: 1 (the baseline, which every CPU has) to 4.

    Returns:
        The kernel's names of the features, sorted; empty when the level is supported.
    """
    wanted = {flag for number, flags in _LEVEL_FLAGS.items() if number <= level for flag in flags}
    return sorted(wanted - cpu.flags)


def select_level(cpu: Optional[Cpu]) -> int:
    """Choose the highest microarchitecture level of x86_64 that the CPU fully supports.

    Args:
        cpu: what :func:`read_cpu` returned; None, where nothing is known, gives the baseline.

    Returns:
        1 (the baseline) to 4.
    """
    return max([1] + [level for level in _LEVEL_FLAGS if cpu and not missing_for_level(cpu, level)])


def leveled_triples(triple: str, wanted: str, cpuinfo: Path = CPUINFO) -> List[str]:
    """Return the triples that a wish for a microarchitecture level comes down to, best first.

    Args:
        triple: target triple of the host; one that is not for x86_64, or names a level already, stays as it is.
        wanted: ``v2``, ``v3``, ``v4``, or ``auto`` for the highest that the CPU runs.
        cpuinfo: the kernel's description of the processors.

    Returns:
        One triple; for ``auto`` those of all levels that the CPU runs, without the baseline, and possibly none.
    """
    if not triple.startswith("x86_64-"):
        return [triple]
    levels = range(select_level(read_cpu(cpuinfo)), 1, -1) if wanted == "auto" else [int(wanted[1:])]
    return [triple.replace("x86_64", f"x86_64_v{level}", 1) for level in levels]


def missing_for_armv7(cpu: Cpu, *, hard_float: bool) -> List[str]:
    """List what an ARM CPU lacks for ARMv7 code.

    Args:
        cpu: what :func:`read_cpu` returned.
        hard_float: whether floating-point registers are needed as well.

    Returns:
        Names for a message; empty when the CPU will do.
    """
    missing = [] if cpu.arm_version is None or cpu.arm_version >= 7 else [f"ARMv7 (it is ARMv{cpu.arm_version})"]
    # A 64-bit process reads "fp" and "asimd" where a 32-bit one reads "vfpv3" on the same machine (uv#18509).
    if hard_float and not cpu.flags & {"vfpv3", "vfpv3d16", "vfpv4", "neon", "fp", "asimd"}:
        missing.append("VFPv3")
    return missing
