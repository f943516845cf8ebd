"""What a person asks of ``wheels``: options of the command, and the table ``[tool.provision-backend.wheels]``.

An option of the command line comes before the same key of the table. The keys ``glibc`` and ``toolchain`` are settings,
which have a place in the table as well, since they are about wheels for other machines.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

__all__ = ["ABIS", "ARCHITECTURES", "LIBCS", "WheelOptions"]

LIBCS = {"glibc": "gnu", "musl": "musl"}
"""The C libraries that wheels can be made for, and how the environment of a target triple begins."""

ABIS = ("none", "abi3", "each")
"""What a project can say about its wheels where that is not read from it: pure, stable ABI, or one a Python."""

ARCHITECTURES = ("x86_64", "aarch64", "i686", "armv7", "ppc64le", "s390x", "riscv64", "loongarch64")
"""The architectures of Linux that wheels can be made for, as target triples call them."""


class WheelOptions(NamedTuple):
    """What is asked for; the defaults are those of the command without options."""

    python: Tuple[str, ...] = ()
    """Version requests, each valid; several mean what any of them allows; none means what the project supports."""
    libc: Tuple[str, ...] = ()
    """Keys of `LIBCS`; none means that of this host."""
    arch: Tuple[str, ...] = ()
    """Some of `ARCHITECTURES`; none means that of this host."""
    test: str = ""
    """The command that tests a wheel; empty for importing what is in it."""
    test_requires: Tuple[str, ...] = ()
    """Requirements of the test, in the form of PEP 508."""
    abi: str = ""
    """One of `ABIS`; empty for what is read from the project."""
    jobs: int = 0
    """How many builds and tests run at a time; 0 for as many as the machine has room for."""
    shard: str = ""
    """``K/N``, ``auto``, or empty for everything."""
    out: str = "dist"
    """The folder for the wheels, as it is written."""
    keep_going: bool = False
    """Whether a failure keeps others from being begun."""
    root: str = ""
    """A folder with the root file system of another Linux, in which interpreters are run; empty for this one."""
