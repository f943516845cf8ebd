"""Every host that somebody reported as misdetected by another tool, as a small root of real ELF heads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Optional, Tuple

import pytest
from support.roots import GLIBC_AMD64, MUSL_AMD64, Content, Link, make_root

from provision_backend.errors import HostError
from provision_backend.host.compatibility import check_archive_runs
from provision_backend.host.detection import detect_platform

Files = Dict[str, Content]
SCRIPT = b"#!/usr/bin/coreutils --coreutils-prog-shebang=ls\n"
GNU, MUSL = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"
NIX_GLIBC: Files = {
    "/nix/store/0000-glibc-2.36/lib/ld-linux-x86-64.so.2": "debian/ld-2.36.amd64",
    "/nix/store/0000-glibc-2.36/lib/libc.so.6": "debian/libc-2.36.amd64",
}
NIX_SHELL: Files = {"/bin/sh": Link("/nix/store/1111-bash/bin/bash"), "/nix/store/1111-bash/bin/bash": "made/nix-bash"}
GCOMPAT: Files = {
    "/lib/ld-linux-x86-64.so.2": "made/gcompat-loader",
    "/lib64/ld-linux-x86-64.so.2": Link("../lib/ld-linux-x86-64.so.2"),
}
ALPINE: Files = {
    "/bin/busybox": "zig/x86_64-linux-musl",
    "/bin/sh": Link("/bin/busybox"),
    "/etc/os-release": b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.22.0\n',
    **MUSL_AMD64,
}
PYTHON = "/usr/bin/python3.11"


@dataclass(frozen=True)
class Host:
    """A root, the interpreter that would be running in it, and the truth about it."""

    files: Tuple[Files, ...]
    triple: str
    version: Optional[Tuple[int, ...]]
    python: str = ""
    problem: Optional[str] = None
    facts: Dict[str, object] = field(default_factory=dict)


HOSTS = {
    # Which libc?
    "Alpine (uv#1427, uv#1496, uv#4242)": Host((ALPINE,), MUSL, (1, 2, 5)),
    "Alpine's own interpreter (cibuildwheel#2889)": Host(
        (ALPINE, {PYTHON: "zig/x86_64-linux-musl"}), MUSL, (1, 2, 5), PYTHON
    ),
    "Alpine with gcompat": Host((ALPINE, GCOMPAT), MUSL, (1, 2, 5)),
    "Alpine with gcompat, under an interpreter for glibc (uv#6392)": Host(
        (ALPINE, GCOMPAT, {PYTHON: "zig/x86_64-linux-gnu.2.17"}), MUSL, (1, 2, 5), PYTHON
    ),
    "Alpine with gcompat and nothing but static executables": Host(
        (ALPINE, GCOMPAT, {"/bin/busybox": "debian/busybox-static.amd64"}), MUSL, (1, 2, 5)
    ),
    "old Alpine with libc6-compat, whose loader for glibc is a link to musl": Host(
        (
            MUSL_AMD64,
            {PYTHON: "zig/x86_64-linux-gnu.2.17", "/lib64/ld-linux-x86-64.so.2": Link("/lib/ld-musl-x86_64.so.1")},
        ),
        MUSL,
        (1, 2, 5),
        PYTHON,
    ),
    "Alpine with a real glibc beside musl": Host((ALPINE, GLIBC_AMD64), MUSL, (1, 2, 5)),
    "Debian with the package musl (aws-cli#10667, #10668)": Host(
        (GLIBC_AMD64, MUSL_AMD64, {"/bin/sh": "debian/hostname.amd64"}), GNU, (2, 36)
    ),
    "distroless image with both loaders": Host((GLIBC_AMD64, MUSL_AMD64), GNU, (2, 36)),
    "Void musl, where the loader is a link to libc.so (cpython#141600)": Host(
        (
            {
                "/bin/sh": "zig/x86_64-linux-musl",
                "/lib": Link("usr/lib"),
                "/usr/lib/ld-musl-x86_64.so.1": Link("/usr/lib/libc.so"),
                "/usr/lib/libc.so": "debian/musl-1.2.5.amd64",
                "/etc/os-release": b'ID="void"\n',
            },
        ),
        MUSL,
        (1, 2, 5),
    ),
    "Termux on Android (uv#7373, uv#9171, uv#2408)": Host(
        ({"/data/data/com.termux/files/usr/bin/sh": "made/android-aarch64"},),
        "aarch64-unknown-linux-android",
        None,
        facts={"libc": "android", "loader": "/system/bin/linker64"},
    ),
    "a router with uClibc": Host(
        ({"/bin/sh": "made/uclibc-arm"},), "armv7-unknown-linux-uclibceabi", None, facts={"libc": "uclibc"}
    ),
    # Which executable tells?
    "Rocky, where ls is a script and /bin a link (uv#1486)": Host(
        (
            GLIBC_AMD64,
            {
                "/bin": Link("usr/bin"),
                "/usr/bin/sh": SCRIPT,
                "/usr/bin/ls": SCRIPT,
                "/usr/bin/bash": "debian/hostname.amd64",
            },
        ),
        GNU,
        (2, 36),
    ),
    "a company's image whose sh is a script (uv#1810)": Host(
        (GLIBC_AMD64, {"/bin/sh": b'#!/bin/dash\nexec /bin/dash "$@"\n', "/bin/dash": "debian/hostname.amd64"}),
        GNU,
        (2, 36),
    ),
    "static busybox as sh": Host(
        (GLIBC_AMD64, {"/bin/sh": "debian/busybox-static.amd64", "/bin/ls": "debian/hostname.amd64"}), GNU, (2, 36)
    ),
    "static busybox and nothing else on a glibc": Host(
        (GLIBC_AMD64, {"/bin/sh": "debian/busybox-static.amd64"}), GNU, (2, 36)
    ),
    "static interpreter on a glibc (mise#2139, PBS#260)": Host(
        (GLIBC_AMD64, {PYTHON: "made/static-musl-python", "/bin/sh": "debian/hostname.amd64"}), GNU, (2, 36), PYTHON
    ),
    "no shell at all: distroless (uv#8635)": Host(
        (GLIBC_AMD64, {"/etc/os-release": Link("../usr/lib/os-release"), "/usr/lib/os-release": b"ID=debian\n"}),
        GNU,
        (2, 36),
    ),
    "Wolfi, which has no ldd (uv#7903)": Host(
        (GLIBC_AMD64, {"/etc/os-release": b"ID=wolfi\n", "/bin/busybox": "debian/hostname.amd64"}), GNU, (2, 36)
    ),
    "Alpine unpacked without its libc": Host(
        ({"/bin/sh": "debian/busybox-static.amd64", "/etc/os-release": b"ID=alpine\n"},),
        MUSL,
        None,
        problem="its loader '/lib/ld-musl-x86_64.so.1' does not exist",
    ),
    # Whose loader would start an archive?
    "NixOS with its stub (uv#1395, nixpkgs#429813, kani#4413)": Host(
        (
            NIX_GLIBC,
            NIX_SHELL,
            {
                "/lib64/ld-linux-x86-64.so.2": Link("/nix/store/2222-stub-ld-x86_64-unknown-linux-musl/bin/stub-ld"),
                "/nix/store/2222-stub-ld-x86_64-unknown-linux-musl/bin/stub-ld": "made/stub-ld",
            },
        ),
        GNU,
        (2, 36),
        problem="its loader '/lib64/ld-linux-x86-64.so.2' leads to "
        "'/nix/store/2222-stub-ld-x86_64-unknown-linux-musl/bin/stub-ld', "
        "which is NixOS's stub-ld, which starts no program",
    ),
    "NixOS with a copy of its stub": Host(
        (NIX_GLIBC, NIX_SHELL, {"/lib64/ld-linux-x86-64.so.2": "made/stub-ld"}),
        GNU,
        (2, 36),
        problem="its loader '/lib64/ld-linux-x86-64.so.2' is NixOS's stub-ld, which starts no program",
    ),
    "NixOS with nothing in /lib64 (nixpkgs#430257)": Host(
        (NIX_GLIBC, NIX_SHELL), GNU, (2, 36), problem="its loader '/lib64/ld-linux-x86-64.so.2' does not exist"
    ),
    "NixOS with nix-ld": Host(
        (
            NIX_GLIBC,
            NIX_SHELL,
            {
                "/lib64/ld-linux-x86-64.so.2": Link("/nix/store/3333-nix-ld-2.0.4/libexec/nix-ld"),
                "/nix/store/3333-nix-ld-2.0.4/libexec/nix-ld": "made/static-musl-python",
            },
        ),
        GNU,
        (2, 36),
    ),
    "Guix, which has no /lib64 at all": Host(
        (
            {
                "/bin/sh": Link("/gnu/store/4444-bash/bin/sh"),
                "/gnu/store/4444-bash/bin/sh": "made/guix-bash",
                "/gnu/store/0000-glibc-2.35/lib/ld-linux-x86-64.so.2": "debian/ld-2.36.amd64",
                "/gnu/store/0000-glibc-2.35/lib/libc.so.6": "debian/libc-2.31.amd64",
            },
        ),
        GNU,
        (2, 31),
        problem="its loader '/lib64/ld-linux-x86-64.so.2' does not exist",
    ),
    "an interpreter from Nix on Debian: the libc that counts is Debian's": Host(
        (
            NIX_GLIBC,
            GLIBC_AMD64,
            {PYTHON: "made/nix-bash", "/lib/x86_64-linux-gnu/libc.so.6": "debian/libc-2.31.amd64"},
        ),
        GNU,
        (2, 31),
        PYTHON,
    ),
    "an interpreter from Nix on Alpine: archives for glibc find no loader there": Host(
        (NIX_GLIBC, ALPINE, {PYTHON: "made/nix-bash"}), MUSL, (1, 2, 5), PYTHON
    ),
    # A running interpreter whose libc is not the platform's default.
    "an interpreter for musl on Debian": Host(
        (GLIBC_AMD64, MUSL_AMD64, {PYTHON: "zig/x86_64-linux-musl", "/bin/sh": "debian/hostname.amd64"}),
        MUSL,
        (1, 2, 5),
        PYTHON,
    ),
    "an interpreter for glibc on Alpine with a real glibc": Host(
        (ALPINE, GLIBC_AMD64, {PYTHON: "debian/hostname.amd64"}), GNU, (2, 36), PYTHON
    ),
    # Which architecture?
    "32-bit userland under a 64-bit kernel (uv#13288, uv#9866)": Host(
        (
            {
                "/bin/sh": "debian/hostname.i386",
                "/lib/ld-linux.so.2": Link("i386-linux-gnu/ld-linux.so.2"),
                "/lib/i386-linux-gnu/ld-linux.so.2": "debian/ld-2.36.i386",
                "/lib/i386-linux-gnu/libc.so.6": "debian/libc-2.36.i386",
                "/lib64/libc.so.6": "debian/libc-2.41.amd64",
            },
        ),
        "i686-unknown-linux-gnu",
        (2, 36),
        facts={"bits": 32},
    ),
    "armhf userland on aarch64 (uv#18509, uv#6873, uv#12780)": Host(
        (
            {
                "/bin/sh": "debian/hostname.armhf",
                "/lib/ld-linux-armhf.so.3": "debian/ld-2.36.armhf",
                "/lib/libc.so.6": "debian/libc-2.36.arm64",
                "/usr/lib/libc.so.6": "debian/libc-2.36.armhf",
            },
        ),
        "armv7-unknown-linux-gnueabihf",
        (2, 36),
        facts={"bits": 32, "float_abi": "hard"},
    ),
    "armel userland on a CPU with VFP": Host(
        ({"/bin/sh": "debian/hostname.armel"},),
        "armv7-unknown-linux-gnueabi",
        None,
        problem="its loader '/lib/ld-linux.so.3' does not exist",
        facts={"bits": 32, "float_abi": "soft"},
    ),
    "Alpine for armv7 (uv#9428, uv#17210, PBS#229)": Host(
        ({"/bin/sh": "zig/arm-linux-musleabihf", "/lib/ld-musl-armhf.so.1": "debian/musl-1.2.3.armhf"},),
        "armv7-unknown-linux-musleabihf",
        (1, 2, 3),
        facts={"float_abi": "hard"},
    ),
    "Alpine for aarch64 (uv#6890, PBS#87)": Host(
        ({"/bin/sh": "zig/aarch64-linux-musl", "/lib/ld-musl-aarch64.so.1": "debian/musl-1.2.3.arm64"},),
        "aarch64-unknown-linux-musl",
        (1, 2, 3),
    ),
    "x32": Host(
        ({"/bin/sh": "zig/x86_64-linux-gnux32"},),
        "x86_64-unknown-linux-gnux32",
        None,
        problem="its loader '/libx32/ld-linux-x32.so.2' does not exist",
        facts={"architecture": "x86_64", "bits": 32},
    ),
    "big-endian": Host(
        ({"/bin/sh": "debian/hostname.s390x"},),
        "s390x-unknown-linux-gnu",
        None,
        problem="its loader '/lib/ld64.so.1' does not exist",
        facts={"byte_order": "big"},
    ),
    "static busybox decides between the loaders of two architectures": Host(
        (
            GLIBC_AMD64,
            {
                "/bin/sh": "debian/busybox-static.arm64",
                "/lib/ld-linux-aarch64.so.1": "debian/ld-2.36.arm64",
                "/lib/libc.so.6": "debian/libc-2.36.arm64",
            },
        ),
        "aarch64-unknown-linux-gnu",
        (2, 36),
    ),
    # How old?
    "CentOS 6 with musl installed beside glibc 2.12 (uv#14262)": Host(
        (
            GLIBC_AMD64,
            MUSL_AMD64,
            {"/bin/sh": "debian/hostname.amd64", "/lib/x86_64-linux-gnu/libc.so.6": "made/libc-2.12"},
        ),
        GNU,
        (2, 12),
    ),
    "EGLIBC 2.15 with its vendor's string (uv#7529)": Host(
        (GLIBC_AMD64, {"/bin/sh": "debian/hostname.amd64", "/lib/x86_64-linux-gnu/libc.so.6": "made/libc-2.15-eglibc"}),
        GNU,
        (2, 15),
    ),
    "glibc 2.19, which defines no symbol of its own version": Host(
        (GLIBC_AMD64, {"/bin/sh": "debian/hostname.amd64", "/lib/x86_64-linux-gnu/libc.so.6": "made/libc-2.19"}),
        GNU,
        (2, 19),
    ),
    "glibc 2.31, whose newest symbol is of 2.30": Host(
        (
            GLIBC_AMD64,
            {"/bin/sh": "debian/hostname.amd64", "/lib/x86_64-linux-gnu/libc.so.6": "debian/libc-2.31.amd64"},
        ),
        GNU,
        (2, 31),
    ),
    "old Alpine with musl 1.1.22 (uv#16341)": Host(
        (ALPINE, {"/lib/ld-musl-x86_64.so.1": "made/musl-1.1.22"}), MUSL, (1, 1, 22)
    ),
    "musl between two releases": Host(
        (ALPINE, {"/lib/ld-musl-x86_64.so.1": "made/musl-1.2.5-git-24-g3ddd82f"}), MUSL, (1, 2, 5)
    ),
}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS.keys())
def test_the_host_is_told_right(host: Host, tmp_path: Path) -> None:
    """Triple, version of the libc, problem and what else the case is about are those of the reported host."""
    platform = detect_platform(root=make_root(tmp_path / "root", *host.files), executable=host.python)

    assert (platform.triple, platform.libc_version, platform.problem) == (host.triple, host.version, host.problem)
    assert host.facts == {name: getattr(platform, name) for name in host.facts}


def test_qemu_user_is_told_by_its_executables(tmp_path: Path) -> None:
    """Under qemu-user (docker/for-mac#7840) kernel and userland differ; both roots are told right."""
    roots = [
        make_root(tmp_path / "arm", {"/bin/sh": "debian/hostname.arm64"}),
        make_root(tmp_path / "amd", {"/bin/sh": "debian/hostname.amd64"}),
    ]

    assert [detect_platform(root=root).architecture for root in roots] == ["aarch64", "x86_64"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "CentOS 6 with musl installed beside glibc 2.12 (uv#14262)",
            "the libc of this host is too old: python-build-standalone for x86_64-unknown-linux-gnu needs "
            "glibc 2.17 or newer, found glibc 2.12",
        ),
        (
            "EGLIBC 2.15 with its vendor's string (uv#7529)",
            "the libc of this host is too old: python-build-standalone for x86_64-unknown-linux-gnu needs "
            "glibc 2.17 or newer, found glibc 2.15",
        ),
        (
            "old Alpine with musl 1.1.22 (uv#16341)",
            "the libc of this host is too old: python-build-standalone for x86_64-unknown-linux-musl needs "
            "musl 1.1.24 or newer, found musl 1.1.22",
        ),
        (
            "NixOS with its stub (uv#1395, nixpkgs#429813, kani#4413)",
            "no archive for x86_64-unknown-linux-gnu runs here: its loader '/lib64/ld-linux-x86-64.so.2' leads to "
            "'/nix/store/2222-stub-ld-x86_64-unknown-linux-musl/bin/stub-ld', "
            "which is NixOS's stub-ld, which starts no program",
        ),
        (
            "Guix, which has no /lib64 at all",
            "no archive for x86_64-unknown-linux-gnu runs here: "
            "its loader '/lib64/ld-linux-x86-64.so.2' does not exist",
        ),
    ],
    ids=["glibc 2.12", "EGLIBC 2.15", "musl 1.1.22", "stub-ld", "no loader"],
)
def test_an_archive_that_cannot_run_is_refused_before_the_download(name: str, message: str, tmp_path: Path) -> None:
    """What uv finds out when the downloaded interpreter does not start is said beforehand."""
    host = HOSTS[name]
    platform = detect_platform(root=make_root(tmp_path / "root", *host.files))

    with pytest.raises(HostError) as caught:
        check_archive_runs(platform, platform.triple)

    assert message == caught.value.message
    assert caught.value.hint


def test_a_fifo_in_place_of_the_shell_does_not_hang(tmp_path: Path) -> None:
    """A FIFO is no answer, and nobody waits for its other end."""
    root = make_root(tmp_path / "root", GLIBC_AMD64, {"/bin/ls": "debian/hostname.amd64"})
    os.mkfifo(root / "bin" / "sh")

    platform = detect_platform(root=root)

    assert platform.triple == "x86_64-unknown-linux-gnu"
    assert (platform.evidence[0].path, platform.evidence[0].finding) == (
        "/bin/sh",
        "cannot be used: cannot read '/bin/sh': it is a FIFO, not a regular file",
    )
