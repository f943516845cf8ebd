"""Executables of macOS: what their headers say, and that a spoilt one ends in a sentence."""

from __future__ import annotations

import io
import struct

import pytest
from support.roots import program_bytes

from provision_backend.errors import HostError, InterpreterError
from provision_backend.host import macho
from provision_backend.host.macho import MachoFile, is_translated, read_macho
from provision_backend.processes import CompletedOutput

ARM64 = program_bytes("aarch64-macos.11.0")
UNIVERSAL = program_bytes("universal-macos")
MACHO_ARM64 = MachoFile(0x0100000C, "aarch64", 64, (11, 0), is_macos=True)
MACHO_AMD64 = MachoFile(0x01000007, "x86_64", 64, (10, 15), is_macos=True)


def refused(data: bytes) -> str:
    with pytest.raises(HostError) as caught:
        read_macho(io.BytesIO(data))
    return caught.value.message


def changed(data: bytes, offset: int, form: str, *values: object) -> bytes:
    copy = bytearray(data)
    struct.pack_into(form, copy, offset, *values)
    return bytes(copy)


def command_at(number: int) -> int:
    """Return where in ARM64 the load command of a number stands."""
    offset = 32
    while struct.unpack_from("<I", ARM64, offset)[0] != number:
        offset += struct.unpack_from("<I", ARM64, offset + 4)[0]
    return offset


BUILD_VERSION = command_at(0x32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aarch64-macos.11.0", (MACHO_ARM64,)),
        ("aarch64-macos.15.1.2", (MACHO_ARM64._replace(minimum=(15, 1, 2)),)),
        ("x86_64-macos.10.15", (MACHO_AMD64,)),
        ("x86_64-macos.10.13", (MACHO_AMD64._replace(minimum=(10, 13)),)),
        ("universal-macos", (MACHO_AMD64, MACHO_ARM64)),
        ("universal64-macos", (MACHO_AMD64, MACHO_ARM64)),
    ],
)
def test_the_header_says_what_a_program_is_for(name: str, expected: tuple[MachoFile, ...]) -> None:
    """Architectures and the oldest macOS of each, of what zig links, in all forms of the header."""
    assert read_macho(io.BytesIO(program_bytes(name))) == expected


def test_a_big_endian_program_is_read() -> None:
    """PowerPC, which macOS had until 10.5: no load command names a version."""
    data = struct.pack(">IIIIIII", 0xFEEDFACE, 18, 0, 2, 1, 8, 0) + struct.pack(">II", 1, 8)

    assert read_macho(io.BytesIO(data)) == (MachoFile(18, "powerpc", 32, None, is_macos=True),)


def test_a_program_for_ios_is_not_one_for_macos() -> None:
    """The architecture is the same, and so is all but one number."""
    (file,) = read_macho(io.BytesIO(changed(ARM64, BUILD_VERSION + 8, "<I", 2)))

    assert (file.architecture, file.is_macos) == ("aarch64", False)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(b"", "it starts with b''", id="empty"),
        pytest.param(b"\x7fELF" + ARM64[4:], "it starts with b'\\x7fELF'", id="ELF"),
        pytest.param(ARM64[:20], "the header reaches beyond the 20 bytes of its architecture", id="cut in the header"),
        pytest.param(
            b"\xca\xfe\xba\xbe\0\0\0\x37" + bytes(99), "55 architectures, expected 1 to 32", id="a class of Java"
        ),
        pytest.param(changed(UNIVERSAL, 4, ">I", 0), "0 architectures, expected 1 to 32", id="no architecture"),
        pytest.param(UNIVERSAL[:20], "the list of architectures reaches to byte 28 of 20", id="cut in the list"),
        pytest.param(
            changed(UNIVERSAL, 16, ">I", 0xFFFFFFF0),
            f"the magic number reaches to byte {0xFFFFFFF0 + 4} of {len(UNIVERSAL)}",
            id="an architecture beyond the end",
        ),
        pytest.param(
            changed(UNIVERSAL, 8, ">I", 12),
            "a file for CPU 0x1000007 where the list says 0xc",
            id="another architecture than the list says",
        ),
        pytest.param(
            changed(UNIVERSAL, 16, ">I", 0), "it starts with b'\\xca\\xfe\\xba\\xbe'", id="a universal file in itself"
        ),
        pytest.param(
            changed(ARM64, 16, "<I", 70000), "70000 load commands, more than 1024", id="too many load commands"
        ),
        pytest.param(
            changed(ARM64, 20, "<I", len(ARM64)),
            f"load commands of {len(ARM64)} bytes in an architecture of {len(ARM64)}",
            id="load commands beyond the end",
        ),
        pytest.param(
            changed(ARM64, 36, "<I", 0),
            f"a load command of 0 bytes, {struct.unpack_from('<I', ARM64, 20)[0]} bytes before the end of them all",
            id="a load command without length",
        ),
    ],
)
def test_a_spoilt_file_is_refused_in_a_sentence(data: bytes, found: str) -> None:
    """Each count, offset and size is compared with the file, so nothing but our own error leaves."""
    assert refused(data) == f"cannot read 'the file' as a Mach-O file: {found}"


@pytest.mark.parametrize(("answer", "expected"), [("1\n", True), ("0\n", False), ("", False)])
def test_macos_says_whether_rosetta_translates(answer: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Intel Mac has no such value, and prints nothing."""
    monkeypatch.setattr(macho, "run_quiet", lambda *_args, **_options: CompletedOutput(0, answer, ""))

    assert is_translated() is expected


def test_without_sysctl_nothing_translates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note is all that would be lost."""

    def _fail(*_arguments: object, **_options: object) -> CompletedOutput:
        raise InterpreterError("could not start '/usr/sbin/sysctl'")

    monkeypatch.setattr(macho, "run_quiet", _fail)

    assert is_translated() is False
