"""Find the microarchitecture level of the CPU, or its version of ARM, in ``/proc/cpuinfo``.

An archive for ``x86_64_v3`` ends in SIGILL on a CPU that lacks a single instruction of the level (uv#8499), so a level
counts only if every processor has every flag of it. What cannot be read counts as missing.

Source: System V psABI for x86-64, "Micro-Architecture Levels"; Linux ``Documentation/arch/x86/cpuinfo.rst``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Set

from ..errors import HostError
from .rootfs import open_regular_file
from .targets import LEVELED_TRIPLES, with_level

__all__ = ["CPUINFO", "Cpu", "missing_for_armv7", "missing_for_level", "read_cpu", "runnable_triples", "select_level"]

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
    """The features that all processors of the machine have in common."""

    flags: FrozenSet[str]
    """Lower-case names of features, as the kernel calls them."""
    arm_version: Optional[int] = None
    """7 for ARMv7; the lowest of all processors; None if they are not ARM."""


def read_cpu(path: Path = CPUINFO) -> Optional[Cpu]:
    """Read the features of all processors; None if they are unknown: not Linux, or no ``/proc``."""
    try:
        with open_regular_file(path) as file:
            text = file.read(_MAX_BYTES).decode("ascii", "replace")
    except (HostError, OSError):
        return None
    # The processors of a machine may differ (early hybrid CPUs had AVX-512 on half of them).
    flags: List[Set[str]] = [set(line.split()) for line in _values(text, "flags|Features")]
    return Cpu(frozenset(set.intersection(*flags)) if flags else frozenset(), _arm_version(text))


def _values(text: str, key: str) -> List[str]:
    return re.findall(rf"^(?:{key})[ \t]*:[ \t]*(.*)$", text, re.MULTILINE | re.IGNORECASE)


def _arm_version(text: str) -> Optional[int]:
    # A 64-bit kernel describes the processors of a 32-bit userland as "AArch64" or "8"; others are "undefined/unknown".
    values = _values(text, "CPU architecture")
    versions = [8 if value == "AArch64" else int(value[0]) for value in values if re.match("AArch64$|[0-9]", value)]
    # An ARM1176 (Raspberry Pi Zero) says "CPU architecture: 7" because of its memory model, but its name is right.
    names = "\n".join(_values(text, "model name|Processor"))
    versions += [int(first or second) for first, second in re.findall(r"\bARMv([0-9])|\(v([0-9])\w*\)", names)]
    return min(versions, default=None)


def missing_for_level(cpu: Cpu, level: int) -> List[str]:
    """List the features, by the kernel's names, that a level of x86_64 (1 to 4) requires and the CPU lacks."""
    wanted = {flag for number, flags in _LEVEL_FLAGS.items() if number <= level for flag in flags}
    return sorted(wanted - cpu.flags)


def select_level(cpu: Optional[Cpu]) -> int:
    """Choose the highest level of x86_64 that the CPU fully supports; 1 (the baseline) if nothing is known."""
    return max([1] + [level for level in _LEVEL_FLAGS if cpu and not missing_for_level(cpu, level)])


def runnable_triples(triple: str, level: str, cpuinfo: Path = CPUINFO) -> List[str]:
    """Return the triples that archives may have for a host, best first.

    Args:
        triple: target triple of the host; one that names a level already, or has no levels, stays as it is.
        level: the setting ``cpu-level``. ``v2``, ``v3`` and ``v4`` stand for exactly that level, whether or not this
            CPU runs it; ``auto`` for all levels that the CPU runs, then the baseline; else only the baseline.
        cpuinfo: the kernel's description of the processors.
    """
    if triple not in LEVELED_TRIPLES or level in ("", "baseline"):
        return [triple]
    # "auto" goes through all levels, since a mirror may have archives for v2 and none for v3. It is not the default:
    # a cache may be shared with a slower machine, on which its interpreters would end in SIGILL (uv#9788).
    levels = range(select_level(read_cpu(cpuinfo)), 0, -1) if level == "auto" else [int(level[1:])]
    return [with_level(triple, number) for number in levels]


def missing_for_armv7(cpu: Cpu, *, hard_float: bool) -> List[str]:
    """List what an ARM CPU lacks for ARMv7 code, for a message; empty if it lacks nothing."""
    missing = [] if cpu.arm_version is None or cpu.arm_version >= 7 else [f"ARMv7 (it is ARMv{cpu.arm_version})"]
    # A 64-bit process reads "fp" and "asimd" where a 32-bit one reads "vfpv3" on the same machine (uv#18509).
    if hard_float and not cpu.flags & {"vfpv3", "vfpv3d16", "vfpv4", "neon", "fp", "asimd"}:
        missing.append("VFPv3")
    return missing
