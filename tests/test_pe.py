"""Executables of Windows: what their headers say, and that a spoilt one ends in a sentence."""

from __future__ import annotations

import ctypes
import io
import struct
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.roots import program_bytes

from provision_backend.errors import HostError
from provision_backend.host.pe import PeFile, native_architecture, read_pe

AMD64 = program_bytes("x86_64-windows-gnu")
PE_HEADER = struct.unpack_from("<I", AMD64, 0x3C)[0]


def refused(data: bytes) -> str:
    with pytest.raises(HostError) as caught:
        read_pe(io.BytesIO(data))
    return caught.value.message


def changed(offset: int, form: str, value: object) -> bytes:
    data = bytearray(AMD64)
    struct.pack_into(form, data, PE_HEADER + offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x86-windows-gnu", PeFile(0x14C, "i686", 32, (6, 0))),
        ("x86_64-windows-gnu", PeFile(0x8664, "x86_64", 64, (6, 0))),
        ("aarch64-windows-gnu", PeFile(0xAA64, "aarch64", 64, (6, 0))),
    ],
)
def test_the_header_says_what_a_program_is_for(name: str, expected: PeFile) -> None:
    """Machine, word size and the oldest Windows, of what zig links."""
    assert read_pe(io.BytesIO(program_bytes(name))) == expected


@pytest.mark.parametrize(("name", "architecture"), [("t32", "i686"), ("t64", "x86_64"), ("t64-arm", "aarch64")])
def test_the_launchers_of_pip_are_read(name: str, architecture: str) -> None:
    """Whole programs that Microsoft's tools have linked."""
    spec = find_spec("pip")
    path = Path(str(spec and spec.origin)).parent / "_vendor" / "distlib" / f"{name}.exe"
    if not path.exists():
        pytest.skip("this pip has no launchers")

    assert read_pe(path).architecture == architecture


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(b"", "it starts with b''", id="empty"),
        pytest.param(b"\x7fELF" + AMD64[4:], "it starts with b'\\x7fE'", id="ELF"),
        pytest.param(AMD64[:40], "the offset of the PE header reaches to byte 64 of 40", id="cut in the first header"),
        pytest.param(
            AMD64[: PE_HEADER + 10],
            f"the PE header reaches to byte {PE_HEADER + 24} of {PE_HEADER + 10}",
            id="cut in the PE header",
        ),
        pytest.param(changed(0, "4s", b"NE\0\0"), "its PE header starts with b'NE\\x00\\x00'", id="16-bit Windows"),
        pytest.param(
            changed(20, "<H", 0),
            "the optional header has 0 bytes, which is too few for an executable",
            id="object file",
        ),
        pytest.param(changed(24, "<H", 0x107), "the optional header is of the unknown kind 0x107", id="ROM image"),
        pytest.param(
            AMD64[:0x3C] + b"\xff\xff\xff\xff" + AMD64[0x40:],
            f"the PE header reaches to byte {0xFFFFFFFF + 24} of {len(AMD64)}",
            id="an offset beyond the end",
        ),
    ],
)
def test_a_spoilt_file_is_refused_in_a_sentence(data: bytes, found: str) -> None:
    """Each offset is compared with the file, so nothing but our own error leaves."""
    assert refused(data) == f"cannot read 'the file' as a PE file: {found}"


def test_an_unknown_machine_is_a_number() -> None:
    """32-bit ARM, for which there are no archives."""
    pe = read_pe(io.BytesIO(changed(4, "<H", 0x1C4)))

    assert (pe.machine, pe.architecture) == (0x1C4, None)


class Kernel:
    """The functions of kernel32 that are called, on a machine of this number."""

    def __init__(self, machine: int) -> None:
        self.GetCurrentProcess = type("Function", (), {"__call__": lambda _self: -1})()
        self._machine = machine

    def IsWow64Process2(self, _process: object, own: Any, native: Any) -> bool:  # noqa: N802
        """Answer as Windows does: 0 stands for a process that is not emulated by WOW64, as x86_64 on arm64."""
        own._obj.value, native._obj.value = 0, self._machine
        return True


@pytest.mark.parametrize(("machine", "expected"), [(0xAA64, "aarch64"), (0x8664, "x86_64"), (0x1C4, None)])
def test_windows_says_what_it_is_for(machine: int, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that is right for x86_64 processes on arm64 too."""
    monkeypatch.setattr(ctypes, "WinDLL", lambda _name: Kernel(machine), raising=False)

    assert native_architecture() == expected


@pytest.mark.parametrize(("value", "expected"), [("AMD64", "x86_64"), ("arm64", "aarch64"), ("", None)])
def test_an_older_windows_says_it_in_a_variable(
    value: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows 8.1 lacks the call, and some interpreters lack _ctypes."""
    monkeypatch.setattr(ctypes, "WinDLL", lambda _name: SimpleNamespace(), raising=False)
    monkeypatch.setenv("PROCESSOR_ARCHITEW6432", value)

    assert native_architecture() == expected
