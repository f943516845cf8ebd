"""Names of targets: every head of a real executable gets the right triple, and every triple can be read back."""

from __future__ import annotations

import io

import pytest
from support.roots import elf_bytes

from provision_backend.errors import UsageError
from provision_backend.host.elf import read_elf
from provision_backend.host.loaders import libc_of_loader
from provision_backend.host.platforms import Evidence, FileIdentity, Platform, format_version, platform_from_triple
from provision_backend.host.targets import ELF_TARGETS, architecture_of, float_abi_of, split_level, triple_of

HEADS = {
    "debian/hostname.amd64": "x86_64-unknown-linux-gnu",
    "debian/hostname.arm64": "aarch64-unknown-linux-gnu",
    "debian/hostname.armhf": "armv7-unknown-linux-gnueabihf",
    "debian/hostname.armel": "armv7-unknown-linux-gnueabi",
    "debian/hostname.i386": "i686-unknown-linux-gnu",
    "debian/hostname.ppc64el": "ppc64le-unknown-linux-gnu",
    "debian/hostname.s390x": "s390x-unknown-linux-gnu",
    "debian/hostname.riscv64": "riscv64-unknown-linux-gnu",
    "debian/hostname.mips64el": "mips64el-unknown-linux-gnuabi64",
    "debian/hostname.mipsel": "mipsel-unknown-linux-gnu",
    "zig/x86_64-linux-gnu.2.17": "x86_64-unknown-linux-gnu",
    "zig/x86_64-linux-musl": "x86_64-unknown-linux-musl",
    "zig/x86_64-linux-gnux32": "x86_64-unknown-linux-gnux32",
    "zig/x86_64-linux-muslx32": "x86_64-unknown-linux-muslx32",
    "zig/x86-linux-gnu": "i686-unknown-linux-gnu",
    "zig/x86-linux-musl": "i686-unknown-linux-musl",
    "zig/aarch64-linux-gnu": "aarch64-unknown-linux-gnu",
    "zig/aarch64-linux-musl": "aarch64-unknown-linux-musl",
    "zig/aarch64_be-linux-gnu": "aarch64_be-unknown-linux-gnu",
    "zig/aarch64_be-linux-musl": "aarch64_be-unknown-linux-musl",
    "zig/arm-linux-gnueabihf": "armv7-unknown-linux-gnueabihf",
    "zig/arm-linux-gnueabi": "armv7-unknown-linux-gnueabi",
    "zig/arm-linux-musleabihf": "armv7-unknown-linux-musleabihf",
    "zig/arm-linux-musleabi": "armv7-unknown-linux-musleabi",
    "zig/armeb-linux-gnueabihf": "armeb-unknown-linux-gnueabihf",
    "zig/powerpc64le-linux-gnu": "ppc64le-unknown-linux-gnu",
    "zig/powerpc64le-linux-musl": "ppc64le-unknown-linux-musl",
    "zig/powerpc64-linux-musl": "powerpc64-unknown-linux-musl",
    "made/powerpc64-gnu": "powerpc64-unknown-linux-gnu",
    "zig/s390x-linux-gnu": "s390x-unknown-linux-gnu",
    "zig/s390x-linux-musl": "s390x-unknown-linux-musl",
    "zig/riscv64-linux-gnu": "riscv64-unknown-linux-gnu",
    "zig/riscv64-linux-musl": "riscv64-unknown-linux-musl",
    "zig/riscv32-linux-gnu": "riscv32-unknown-linux-gnu",
    "zig/loongarch64-linux-gnu": "loongarch64-unknown-linux-gnu",
    "zig/loongarch64-linux-gnusf": "loongarch64-unknown-linux-gnusf",
    "zig/loongarch64-linux-musl": "loongarch64-unknown-linux-musl",
    "zig/mips64el-linux-gnuabi64": "mips64el-unknown-linux-gnuabi64",
    "zig/mips64el-linux-gnuabin32": "mips64el-unknown-linux-gnuabin32",
    "zig/mips64el-linux-muslabi64": "mips64el-unknown-linux-muslabi64",
    "zig/mipsel-linux-gnueabihf": "mipsel-unknown-linux-gnu",
    "zig/mipsel-linux-musleabihf": "mipsel-unknown-linux-musl",
    "zig/mips-linux-gnueabihf": "mips-unknown-linux-gnu",
    "made/android-aarch64": "aarch64-unknown-linux-android",
    "made/uclibc-arm": "armv7-unknown-linux-uclibceabi",
}
"""Every dynamic executable of the fixtures and the triple that it is for, from its origin and not from its bytes."""


@pytest.mark.parametrize(("name", "triple"), HEADS.items(), ids=HEADS.keys())
def test_a_head_of_a_real_executable_is_named(name: str, triple: str) -> None:
    """Machine, word size, byte order, float ABI and loader come to the triple of the origin."""
    elf = read_elf(io.BytesIO(elf_bytes(name)))
    assert elf.loader is not None

    assert triple_of(elf, libc_of_loader(elf.loader) or "", elf.loader) == triple


@pytest.mark.parametrize("name", [name for name, triple in HEADS.items() if "uclibc" not in triple])
def test_the_table_agrees_with_real_executables(name: str) -> None:
    """Loader, word size, byte order and float ABI of the table's row are those of an executable for it."""
    elf = read_elf(io.BytesIO(elf_bytes(name)))
    target = ELF_TARGETS[HEADS[name]]

    assert (target.loader, target.bits, target.byte_order) == (elf.loader, elf.bits, elf.byte_order)
    assert target.float_abi == float_abi_of(elf, target.loader)
    assert target.architecture == architecture_of(elf)


def test_an_arm_executable_of_an_old_linker_is_named_by_its_loader() -> None:
    """Before 2013 the flags did not tell the float ABI; the loader's name does."""
    data = bytearray(elf_bytes("debian/hostname.armhf"))
    data[0x24:0x28] = (0x5000002).to_bytes(4, "little")
    elf = read_elf(io.BytesIO(bytes(data)))

    assert float_abi_of(elf, "/lib/ld-linux-armhf.so.3") == "hard"
    assert float_abi_of(elf, "/lib/ld-linux.so.3") == "soft"


def test_the_flags_win_over_the_loader_on_arm() -> None:
    """A hard-float userland with the old path of the loader is hard-float (uv#7529's generation)."""
    elf = read_elf(io.BytesIO(elf_bytes("debian/hostname.armhf")))

    assert float_abi_of(elf, "/lib/ld-linux.so.3") == "hard"


@pytest.mark.parametrize("triple", ELF_TARGETS)
def test_every_triple_is_read_back(triple: str) -> None:
    """`target` takes every name that detection may give."""
    platform = platform_from_triple(triple)

    assert (platform.triple, platform.loader) == (triple, ELF_TARGETS[triple].loader)
    assert platform.evidence == ()


@pytest.mark.parametrize(
    ("text", "triple", "architecture", "libc"),
    [
        ("x86_64-linux-musl", "x86_64-unknown-linux-musl", "x86_64", "musl"),
        ("x86_64_v3-unknown-linux-gnu", "x86_64_v3-unknown-linux-gnu", "x86_64", "gnu"),
        ("aarch64-apple-darwin", "aarch64-apple-darwin", "aarch64", ""),
        ("i686-pc-windows-msvc", "i686-pc-windows-msvc", "i686", ""),
    ],
)
def test_other_ways_to_write_a_target(text: str, triple: str, architecture: str, libc: str) -> None:
    """The vendor may be left out, a level may be asked for, and there are hosts without ELF files."""
    platform = platform_from_triple(text)

    assert (platform.triple, platform.architecture, platform.libc) == (triple, architecture, libc)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "x86_64-unknown-linux-muls",
            "did you mean x86_64-unknown-linux-musl?",
        ),
        (
            "x86_64_v5-unknown-linux-musl",
            "did you mean x86_64_v4-unknown-linux-musl?",
        ),
        (
            "aarch64_v2-linux-gnu",
            "did you mean aarch64-unknown-linux-gnu?",
        ),
        ("linux", "a target is like x86_64-unknown-linux-musl"),
        ("", "a target is like x86_64-unknown-linux-musl"),
    ],
)
def test_an_unknown_target_is_refused_with_names_near_to_it(text: str, hint: str | None) -> None:
    """A typing error is met with what may have been meant."""
    with pytest.raises(UsageError) as caught:
        platform_from_triple(text)

    assert caught.value.message == f"unknown target {text!r}"
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("triple", "expected"),
    [
        ("x86_64-unknown-linux-gnu", ("x86_64-unknown-linux-gnu", 1)),
        ("x86_64_v2-unknown-linux-musl", ("x86_64-unknown-linux-musl", 2)),
        ("x86_64_v4-unknown-linux-gnu", ("x86_64-unknown-linux-gnu", 4)),
        ("x86_64_v5-unknown-linux-gnu", ("x86_64_v5-unknown-linux-gnu", 1)),
    ],
)
def test_a_level_is_taken_off_a_triple(triple: str, expected: tuple[str, int]) -> None:
    """Only the levels that exist are levels."""
    assert split_level(triple) == expected


def test_a_platform_can_be_written_down_and_taken_back() -> None:
    """What is remembered beside the cache is what was found, evidence and all."""
    platform = Platform(
        "armv7-unknown-linux-musleabihf",
        "armv7",
        "musl",
        (1, 2, 5),
        evidence=(Evidence("/bin/sh", "is for armv7", FileIdentity(1, 2, 3)), Evidence("/lib/ld.so", "does not exist")),
        loader="/lib/ld-musl-armhf.so.1",
        float_abi="hard",
        bits=32,
        problem="its loader is gone",
        hint="get it back",
        notes=("a note",),
    )

    assert Platform.from_dict(platform.as_dict()) == platform
    assert platform.as_dict()["libc_version"] == "1.2.5"


@pytest.mark.parametrize(
    ("libc", "version", "name"),
    [
        ("gnu", (2, 36), "glibc 2.36"),
        ("musl", (1, 2, 5), "musl 1.2.5"),
        ("musl", None, "musl"),
        ("android", None, "bionic (Android)"),
        ("uclibc", None, "uClibc"),
    ],
)
def test_the_libc_is_called_as_people_call_it(libc: str, version: tuple[int, ...] | None, name: str) -> None:
    """Messages say glibc, although the triple says gnu."""
    assert Platform("x", "x86_64", libc, version).libc_name == name


def test_an_unknown_version_is_none() -> None:
    """JSON says null."""
    assert format_version(None) is None
