"""A host whose system has one C library, identified by a program that runs on it."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.roots import elf_bytes, program_bytes
from support.systems_table import recorded

from provision_backend.errors import HostError, InterpreterError
from provision_backend.host import programs
from provision_backend.host.platforms import Platform
from provision_backend.host.programs import Program, platform_of_program, read_program
from provision_backend.processes import CompletedOutput
from provision_backend.systems import SYSTEMS, System

MACOS, WINDOWS = SYSTEMS["macos"], SYSTEMS["windows"]
FREEBSD = System("freebsd", "FreeBSD", "freebsd", "unknown-freebsd", ("aarch64", "x86_64"), "ELF")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Return the path that each test writes its program to."""
    return tmp_path / "python3"


@pytest.fixture
def on_macos(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Answer as macOS does; a test changes the answers."""
    answers = SimpleNamespace(version="14.5\n", machine="arm64", translated=False)
    monkeypatch.setattr(programs, "run_quiet", lambda *_, **__: CompletedOutput(0, answers.version, ""))
    monkeypatch.setattr(programs, "is_translated", lambda: answers.translated)
    monkeypatch.setattr(os, "uname", lambda: answers, raising=False)
    return answers


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Answer as Windows does; a test changes the answers."""
    answers = SimpleNamespace(platform_version=(10, 0, 19045), native="x86_64")
    monkeypatch.setattr(sys, "getwindowsversion", lambda: answers, raising=False)
    monkeypatch.setattr(programs, "native_architecture", lambda: answers.native)
    monkeypatch.setenv("SystemRoot", "/windows")
    return answers


def test_macos_is_identified_by_the_interpreter(python: Path, on_macos: SimpleNamespace) -> None:
    """Architecture, version, and how both were found."""
    python.write_bytes(program_bytes("aarch64-macos.11.0"))
    platform = platform_of_program(str(python), MACOS)

    assert platform._replace(evidence=()) == Platform(
        "aarch64-apple-darwin",
        "aarch64",
        "",
        system="macos",
        system_version=(14, 5),
        notes=(f"decided by '{python}'",),
    )
    assert [(item.path, item.finding) for item in platform.evidence] == [
        (str(python), "is a macOS program (Mach-O) for aarch64"),
        ("/System/Library/CoreServices/SystemVersion.plist", "is that of macOS 14.5"),
    ]
    assert platform.evidence[0].identity is not None
    assert platform.libc_name == "macOS 14.5"
    assert Platform.from_dict(platform.as_dict()) == platform


@pytest.mark.parametrize(("machine", "expected"), [("arm64", "aarch64"), ("x86_64", "x86_64")])
def test_a_universal_interpreter_is_what_runs_of_it(
    machine: str, expected: str, python: Path, on_macos: SimpleNamespace
) -> None:
    """The file holds both, and the process is one of them."""
    on_macos.machine = machine
    python.write_bytes(program_bytes("universal-macos"))
    platform = platform_of_program(str(python), MACOS)

    with recorded(f"{expected}-apple-darwin", "detect", how="parsed"):
        assert platform.triple == f"{expected}-apple-darwin"
    assert platform.evidence[0].finding == f"is a macOS program (Mach-O) for x86_64 and aarch64, and runs as {expected}"


def test_rosetta_is_named(python: Path, on_macos: SimpleNamespace) -> None:
    """What is built must fit the interpreter that runs, so its architecture stays."""
    on_macos.machine, on_macos.translated = "x86_64", True
    python.write_bytes(program_bytes("x86_64-macos.10.15"))
    platform = platform_of_program(str(python), MACOS)

    assert platform.triple == "x86_64-apple-darwin"
    assert platform.notes[1:] == ("this interpreter is for x86_64 and runs under Rosetta on an arm64 Mac",)


def test_a_macos_that_does_not_say_its_version(
    python: Path, on_macos: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then no archive is refused for its version."""

    def _fail(*_arguments: object, **_options: object) -> CompletedOutput:
        raise InterpreterError("could not start '/usr/bin/sw_vers'")

    monkeypatch.setattr(programs, "run_quiet", _fail)
    python.write_bytes(program_bytes("aarch64-macos.11.0"))
    platform = platform_of_program(str(python), MACOS)

    assert (platform.system_version, platform.libc_name) == (None, "macOS")
    assert platform.evidence[1].finding == "does not tell the version of macOS"


@pytest.mark.parametrize(
    ("program", "native", "triple", "bits", "notes"),
    [
        ("x86_64-windows-gnu", "x86_64", "x86_64-pc-windows-msvc", 64, ()),
        ("aarch64-windows-gnu", "aarch64", "aarch64-pc-windows-msvc", 64, ()),
        ("x86_64-windows-gnu", None, "x86_64-pc-windows-msvc", 64, ()),
        (
            "x86_64-windows-gnu",
            "aarch64",
            "x86_64-pc-windows-msvc",
            64,
            ("this interpreter is for x86_64 and runs on Windows for aarch64, which emulates it",),
        ),
        (
            "x86-windows-gnu",
            "x86_64",
            "i686-pc-windows-msvc",
            32,
            ("this interpreter is for i686 and runs on Windows for x86_64, which emulates it",),
        ),
    ],
    ids=["x86_64", "arm64", "unknown", "x86_64 under arm64", "32-bit"],
)
def test_windows_is_identified_by_the_interpreter(
    program: str,
    native: str | None,
    triple: str,
    bits: int,
    notes: tuple[str, ...],
    python: Path,
    on_windows: SimpleNamespace,
) -> None:
    """Architecture, version, what emulates it, and how that was found."""
    on_windows.native = native
    python.write_bytes(program_bytes(program))
    platform = platform_of_program(str(python), WINDOWS)

    # The one of x86_64 runs for real under wine.
    with nullcontext() if program == "x86_64-windows-gnu" else recorded(triple, "detect", how="parsed"):
        assert (platform.triple, platform.bits, platform.notes[1:]) == (triple, bits, notes)
    assert platform.libc_name == "Windows 10.0.19045"
    assert [(item.path, item.finding) for item in platform.evidence] == [
        (str(python), f"is a Windows program (PE) for {platform.architecture}"),
        (r"/windows\System32\kernel32.dll", "is that of Windows 10.0.19045"),
    ]


def test_another_system_needs_a_row_only(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FreeBSD: programs are ELF files, and the kernel says its version."""
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="amd64", release="14.1-RELEASE-p3"), raising=False)
    python.write_bytes(elf_bytes("debian/hostname.amd64"))
    platform = platform_of_program(str(python), FREEBSD)

    assert (platform.triple, platform.system_version) == ("x86_64-unknown-freebsd", (14, 1))
    assert [item.finding for item in platform.evidence] == [
        "is a FreeBSD program (ELF) for x86_64",
        "is that of FreeBSD 14.1",
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(None, "this Python does not know its own executable", id="embedded"),
        pytest.param(b"#!/bin/sh\n", "cannot read '{}' as a Mach-O file: it starts with b'#!/b'", id="a script"),
        pytest.param(
            program_bytes("aarch64-macos.11.0").replace(b"\x0c\0\0\x01", b"\x0c\0\0\x02", 1),
            "'{}' is for CPU type 0x200000c",
            id="an unknown machine",
        ),
    ],
)
def test_what_cannot_be_identified_is_said(
    content: bytes | None, found: str, python: Path, on_macos: SimpleNamespace
) -> None:
    """The message says what to set."""
    if content:
        python.write_bytes(content)
    with pytest.raises(HostError) as caught:
        platform_of_program(str(python) if content else "", MACOS)

    assert caught.value.message == f"could not identify this host: {found.format(python)}"
    assert caught.value.hint == "set target, for example to aarch64-apple-darwin"


def test_a_program_for_ios_has_no_architecture_of_macos(python: Path) -> None:
    """It would not start, although the machine is the same."""
    data = program_bytes("aarch64-macos.11.0")
    start = data.index(b"\x32\0\0\0\x20\0\0\0") + 8
    python.write_bytes(data[:start] + b"\x02" + data[start + 1 :])

    assert read_program(python, MACOS) == [Program("aarch64 not for macOS", 64, (11, 0))]
