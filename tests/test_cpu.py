"""What /proc/cpuinfo of real machines says about levels and versions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List

import pytest

from provision_backend.host.cpu import (
    Cpu,
    missing_for_armv7,
    missing_for_level,
    read_cpu,
    runnable_triples,
    select_level,
)

BASE = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat clflush mmx fxsr sse sse2 syscall nx lm"
V2 = f"{BASE} pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"

PI_ZERO = """processor\t: 0
model name\t: ARMv6-compatible processor rev 7 (v6l)
Features\t: half thumb fastmult vfp edsp java tls
CPU implementer\t: 0x41
CPU architecture: 7
CPU part\t: 0xb76
"""
PI_2 = """processor\t: 0
model name\t: ARMv7 Processor rev 5 (v7l)
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm
CPU architecture: 7
"""
PI_4_READ_BY_64_BITS = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU architecture: 8
"""
OLD_NAS = """Processor\t: Feroceon 88FR131 rev 1 (v5l)
Features\t: swp half thumb fastmult edsp
CPU architecture: 5TE
"""


def cpu(path: Path, text: str) -> Cpu:
    path.write_text(text)
    found = read_cpu(path)
    assert found is not None
    return found


def x86(*processors: str) -> str:
    return "".join(f"processor\t: {number}\nflags\t\t: {flags}\n\n" for number, flags in enumerate(processors))


@pytest.mark.parametrize(
    ("processors", "level"),
    [
        ([BASE], 1),
        ([V2], 2),
        ([V3], 3),
        ([V4], 4),
        ([V4, V2], 2),
        ([V3.replace(" movbe", "")], 2),
        ([V4.replace(" avx512cd", "")], 3),
        ([V4.replace(" popcnt", "")], 1),
        ([V4.replace(" avx2", "")], 2),
        ([""], 1),
    ],
    ids=["k8", "v2", "v3", "v4", "unequal processors", "no movbe", "no avx512cd", "no popcnt", "avx only", "no flags"],
)
def test_a_level_counts_only_with_all_its_flags_on_all_processors(
    processors: list[str], level: int, tmp_path: Path
) -> None:
    """A single missing instruction is a SIGILL (qDiffusion#69), so a single missing flag is a lower level."""
    assert select_level(cpu(tmp_path / "cpuinfo", x86(*processors))) == level


def test_the_missing_flags_are_named(tmp_path: Path) -> None:
    """The message can say which instructions the CPU lacks."""
    found = cpu(tmp_path / "cpuinfo", x86(V3.replace(" movbe", "").replace(" popcnt", "")))

    assert missing_for_level(found, 3) == ["movbe", "popcnt"]
    assert missing_for_level(found, 1) == []


def test_what_cannot_be_read_is_the_baseline(tmp_path: Path) -> None:
    """Guessing v3 without /proc, as others do, ends in SIGILL."""
    assert read_cpu(tmp_path / "none") is None
    assert select_level(None) == 1


def test_a_fifo_for_cpuinfo_is_nothing(tmp_path: Path) -> None:
    """Not even this file is waited for."""
    os.mkfifo(tmp_path / "cpuinfo")

    assert read_cpu(tmp_path / "cpuinfo") is None


@pytest.mark.parametrize(
    ("text", "version", "missing"),
    [
        (PI_ZERO, 6, ["ARMv7 (it is ARMv6)", "VFPv3"]),
        (PI_2, 7, []),
        (PI_4_READ_BY_64_BITS, 8, []),
        (OLD_NAS, 5, ["ARMv7 (it is ARMv5)", "VFPv3"]),
        (PI_2.replace(" neon vfpv3", "").replace(" vfpv4", ""), 7, ["VFPv3"]),
        (PI_2.replace("CPU architecture: 7", "CPU architecture: undefined/unknown"), 7, []),
    ],
    ids=[
        "Pi Zero says 7 and is 6",
        "Pi 2",
        "64-bit kernel without vfp (uv#18509)",
        "ARMv5",
        "ARMv7 without VFPv3",
        "unknown",
    ],
)
def test_armv7_is_read_from_the_name_and_the_features(
    text: str, version: int, missing: list[str], tmp_path: Path
) -> None:
    """The kernel's "CPU architecture" is not the whole truth."""
    found = cpu(tmp_path / "cpuinfo", text)

    assert (found.arm_version, missing_for_armv7(found, hard_float=True)) == (version, missing)


def test_soft_float_needs_no_floating_point_unit(tmp_path: Path) -> None:
    """An archive for gnueabi runs on an ARMv7 without VFP."""
    text = PI_2.replace(" vfp edsp neon vfpv3 tls vfpv4", "")

    assert missing_for_armv7(cpu(tmp_path / "cpuinfo", text), hard_float=False) == []


def test_this_machine_is_read() -> None:
    """The real file is understood: this CPU has a level, and everything of the levels below."""
    found = read_cpu()
    if found is None or "lm" not in found.flags:
        pytest.skip("not an x86_64 machine with /proc")

    assert [missing_for_level(found, level) for level in range(1, select_level(found) + 1)] == [[]] * select_level(
        found
    )


@pytest.mark.parametrize(
    ("triple", "wanted", "expected"),
    [
        pytest.param("x86_64-unknown-linux-gnu", "v3", ["x86_64_v3-unknown-linux-gnu"], id="asked for"),
        pytest.param("x86_64-unknown-linux-musl", "v4", ["x86_64_v4-unknown-linux-musl"], id="more than the CPU has"),
        pytest.param(
            "x86_64-unknown-linux-gnu",
            "auto",
            ["x86_64_v3-unknown-linux-gnu", "x86_64_v2-unknown-linux-gnu", "x86_64-unknown-linux-gnu"],
            id="auto, best first",
        ),
        pytest.param("x86_64-unknown-linux-gnu", "", ["x86_64-unknown-linux-gnu"], id="nothing asked for"),
        pytest.param("x86_64-unknown-linux-musl", "baseline", ["x86_64-unknown-linux-musl"], id="the baseline"),
        pytest.param("aarch64-unknown-linux-gnu", "v3", ["aarch64-unknown-linux-gnu"], id="other architecture"),
        pytest.param("x86_64_v2-unknown-linux-gnu", "auto", ["x86_64_v2-unknown-linux-gnu"], id="a target says it"),
    ],
)
def test_a_level_becomes_triples(tmp_path: Path, triple: str, wanted: str, expected: List[str]) -> None:
    """A level that is asked for is taken by name; auto stops at what the CPU runs."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {V3}\n")

    assert runnable_triples(triple, wanted, cpuinfo) == expected
