"""What a wheel's file name says: its kind, and which interpreters can install it."""

from __future__ import annotations

import pytest

from provision_backend.errors import WheelError
from provision_backend.hooks.tags import architecture_tag, covers, kind_of

GNU, MUSL = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"


@pytest.mark.parametrize(
    ("tags", "covered", "not_covered"),
    [
        ("py3-none-any", ["3.8", "3.13", "3.14t"], []),
        ("py2.py3-none-any", ["3.8", "3.14t"], []),
        ("py2-none-any", [], ["3.8", "3.13"]),
        ("py311-none-any", ["3.11", "3.12", "3.13t"], ["3.10"]),
        ("cp311-none-any", ["3.11"], ["3.10", "3.12"]),
        (f"cp311-cp311-{'linux_x86_64'}", ["3.11"], ["3.10", "3.12"]),
        ("cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", ["3.13"], ["3.13t", "3.12"]),
        ("cp314-cp314t-manylinux_2_28_x86_64", ["3.14t"], ["3.14", "3.15t"]),
        ("cp39-abi3-manylinux_2_17_x86_64", ["3.9", "3.13", "3.15"], ["3.8", "3.13t", "3.15t"]),
        ("cp315-abi3t-manylinux_2_28_x86_64", ["3.15t", "3.16t"], ["3.14t", "3.15", "3.16"]),
        ("cp315-abi3.abi3t-manylinux_2_28_x86_64", ["3.15", "3.15t", "3.16", "3.16t"], ["3.14", "3.14t"]),
        ("py3-none-manylinux1_x86_64", ["3.8", "3.14t"], []),
        ("cp36.cp37.cp38.cp39-abi3-manylinux1_x86_64", ["3.8", "3.12"], ["3.12t"]),
    ],
)
def test_pythons(tags: str, covered: list[str], not_covered: list[str]) -> None:
    """A stable ABI serves its Python and newer ones of the same kind, another ABI its own Python only."""
    wheel = f"spam-1.0-{tags}.whl"

    assert [label for label in covered if not covers(wheel, label, GNU)] == []
    assert [label for label in not_covered if covers(wheel, label, GNU)] == []


@pytest.mark.parametrize(
    ("platform", "covered"),
    [
        ("any", [GNU, MUSL, "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]),
        ("linux_x86_64", [GNU, MUSL, "x86_64_v3-unknown-linux-gnu"]),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", [GNU, "x86_64_v3-unknown-linux-gnu"]),
        ("manylinux1_x86_64", [GNU, "x86_64_v3-unknown-linux-gnu"]),
        ("musllinux_1_2_x86_64", [MUSL]),
        ("manylinux_2_5_x86_64.musllinux_1_1_x86_64", [GNU, MUSL, "x86_64_v3-unknown-linux-gnu"]),
        ("manylinux_2_17_aarch64", ["aarch64-unknown-linux-gnu"]),
        ("manylinux_2_31_armv7l", ["armv7-unknown-linux-gnueabihf"]),
        ("linux_armv7l", ["armv7-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabi"]),
        ("manylinux2014_i686", ["i686-unknown-linux-gnu"]),
        ("manylinux_2_39_riscv64", ["riscv64-unknown-linux-gnu"]),
        ("macosx_11_0_arm64", ["aarch64-apple-darwin"]),
        ("macosx_10_13_universal2", ["aarch64-apple-darwin", "x86_64-apple-darwin"]),
        ("macosx_10_9_x86_64", ["x86_64-apple-darwin"]),
        ("win_amd64", ["x86_64-pc-windows-msvc"]),
        ("win32", ["i686-pc-windows-msvc"]),
        ("win_arm64", ["aarch64-pc-windows-msvc"]),
        ("plan9_x86_64", []),
    ],
)
def test_platforms(platform: str, covered: list[str]) -> None:
    """A wheel is for the triples whose architecture, system and libc its platform tags name, and for no other."""
    triples = [
        GNU, MUSL, "x86_64_v3-unknown-linux-gnu", "x86_64-unknown-linux-gnux32", "aarch64-unknown-linux-gnu",
        "aarch64-unknown-linux-musl", "armv7-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabi",
        "i686-unknown-linux-gnu", "riscv64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-apple-darwin",
        "x86_64-pc-windows-msvc", "i686-pc-windows-msvc", "aarch64-pc-windows-msvc",
    ]  # fmt: skip
    tags = "py3-none" if platform == "any" else "cp311-cp311"

    found = {triple for triple in triples if covers(f"spam-1.0-{tags}-{platform}.whl", "3.11", triple)}

    assert found == (set(triples) if platform == "any" else set(covered))


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ("py3-none-any", "pure"),
        ("cp311-none-any", "pure"),
        ("cp39-abi3-linux_x86_64", "abi3"),
        ("cp315-abi3t-linux_x86_64", "abi3t"),
        ("cp315-abi3.abi3t-manylinux_2_17_x86_64.manylinux2014_x86_64", "abi3t"),
        ("py3-none-win_amd64", "none"),
        ("py2.py3-none-manylinux1_x86_64", "none"),
        ("cp311-none-linux_x86_64", "each"),
        ("cp311-cp311-linux_x86_64", "each"),
        ("cp314-cp314t-macosx_11_0_arm64", "each"),
    ],
)
def test_kinds(tags: str, kind: str) -> None:
    """The kind says whether one build serves several Pythons."""
    assert kind_of(f"spam-1.0-1-{tags}.whl") == kind


def test_what_is_no_wheel_is_refused() -> None:
    """A name without tags is not guessed at."""
    with pytest.raises(WheelError) as caught:
        kind_of("spam-1.0.tar.gz")

    assert str(caught.value) == (
        "'spam-1.0.tar.gz' is not the name of a wheel\n  that is NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
    )


def test_architectures() -> None:
    """Tags have names of their own for a few architectures, and none for levels of x86-64."""
    triples = ("armv7-unknown-linux-musleabihf", "x86_64_v3-unknown-linux-gnu", "aarch64-unknown-linux-musl")

    assert [architecture_tag(triple) for triple in triples] == ["armv7l", "x86_64", "aarch64"]
