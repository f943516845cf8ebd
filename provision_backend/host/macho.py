"""Read the headers of a macOS executable (Mach-O), thin or universal, and ask macOS whether it translates this process.

Of each architecture in the file, the header and the load commands that name the oldest macOS are read. Every count,
offset and size in a file may be a lie, so each read is checked (`HeaderReader`), and a malformed file ends in
`HostError` and in nothing else. Nothing is ever written: a changed byte would break the signature, without which no
arm64 program starts.

Source: Apple's mach-o/loader.h, mach-o/fat.h and mach/machine.h; "About the Rosetta translation environment".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple, Optional, Tuple, Union

from ..errors import InterpreterError
from ..processes import run_quiet
from .rootfs import HeaderReader, MalformedError, read_headers

__all__ = ["MachoFile", "is_translated", "read_macho"]

_ABI64 = 0x01000000
_ARCHITECTURES = {7: "i686", 7 | _ABI64: "x86_64", 12 | _ABI64: "aarch64", 18: "powerpc", 18 | _ABI64: "powerpc64"}
# The magic number as it stands in the file: word size and byte order.
_MAGIC = {
    b"\xcf\xfa\xed\xfe": (64, "<"), b"\xce\xfa\xed\xfe": (32, "<"),
    b"\xfe\xed\xfa\xcf": (64, ">"), b"\xfe\xed\xfa\xce": (32, ">"),
}  # fmt: skip
# The header of a universal file is big-endian, whatever it holds; each entry has type, subtype, offset and size.
_UNIVERSAL = {b"\xca\xfe\xba\xbe": ">I4xII4x", b"\xca\xfe\xba\xbf": ">I4xQQ8x"}

# A Java class begins as a universal file does, and has its version, 45 or more, in place of the number.
_MAX_ARCHITECTURES = 32
# The largest real executables have some sixty.
_MAX_COMMANDS = 1024
_LC_VERSION_MIN_MACOSX, _LC_BUILD_VERSION, _PLATFORM_MACOS = 0x24, 0x32, 1


class MachoFile(NamedTuple):
    """What a Mach-O file holds for one architecture."""

    cpu_type: int
    """``cputype``, such as 0x100000c for arm64."""
    architecture: Optional[str]
    """Its name in target triples; None for one that macOS has never had."""
    bits: int
    """Word size: 32 or 64."""
    minimum: Optional[Tuple[int, ...]]
    """The oldest macOS that loads it, such as (11, 0); None where it does not say."""
    is_macos: bool
    """False for a program of another system of Apple's, such as iOS."""


def read_macho(file: Union[BinaryIO, Path]) -> Tuple[MachoFile, ...]:
    """Read the headers of a Mach-O file, for each architecture in the order of the file.

    A stream must support seeking, and is not closed.

    Raises:
        HostError: the file cannot be read, is not Mach-O, or contradicts itself.
    """
    return read_headers(file, "a Mach-O file", _parse)


def _parse(headers: HeaderReader) -> Tuple[MachoFile, ...]:
    magic = headers.read(0, min(4, headers.size), "the magic number") if headers.size else b""
    if magic not in _UNIVERSAL:
        return (_parse_thin(headers, 0, headers.size),)
    (count,) = struct.unpack(">I", headers.read(4, 4, "the number of architectures"))
    if not 1 <= count <= _MAX_ARCHITECTURES:
        raise MalformedError(f"{count} architectures, expected 1 to {_MAX_ARCHITECTURES}")
    entry = struct.Struct(_UNIVERSAL[magic])
    found = []
    for index in range(count):
        data = headers.read(8 + index * entry.size, entry.size, "the list of architectures")
        cpu_type, offset, size = entry.unpack(data)
        thin = _parse_thin(headers, offset, size)
        if thin.cpu_type != cpu_type:
            raise MalformedError(f"a file for CPU {thin.cpu_type:#x} where the list says {cpu_type:#x}")
        found.append(thin)
    return tuple(found)


def _parse_thin(headers: HeaderReader, offset: int, size: int) -> MachoFile:
    magic = headers.read(offset, min(4, size), "the magic number") if size else b""
    if magic not in _MAGIC:
        raise MalformedError(f"it starts with {magic!r}")
    bits, order = _MAGIC[magic]
    length = 32 if bits == 64 else 28
    if size < length:
        raise MalformedError(f"the header reaches beyond the {size} bytes of its architecture")
    cpu_type, count, total = struct.unpack(f"{order}4xI8xII", headers.read(offset, 24, "the header"))
    if count > _MAX_COMMANDS:
        raise MalformedError(f"{count} load commands, more than {_MAX_COMMANDS}")
    if length + total > size:
        raise MalformedError(f"load commands of {total} bytes in an architecture of {size}")
    minimum, is_macos = None, True
    for command, data in _read_commands(headers, offset + length, count, total, order):
        if command == _LC_VERSION_MIN_MACOSX and len(data) >= 4:
            minimum = _version(struct.unpack_from(f"{order}I", data)[0])
        if command == _LC_BUILD_VERSION and len(data) >= 8:
            platform, packed = struct.unpack_from(f"{order}II", data)
            minimum, is_macos = _version(packed), platform == _PLATFORM_MACOS
    return MachoFile(cpu_type, _ARCHITECTURES.get(cpu_type), bits, minimum, is_macos)


def _read_commands(
    headers: HeaderReader, offset: int, count: int, total: int, order: str
) -> Iterator[Tuple[int, bytes]]:
    """Yield the number of each load command, and the first bytes of its content."""
    end = offset + total
    for _ in range(count):
        command, size = struct.unpack(f"{order}II", headers.read(offset, 8, "a load command"))
        # The kernel wants multiples of four, too; with less than the head of a command the walk would not get on.
        if size < 8 or size % 4 or offset + size > end:
            raise MalformedError(f"a load command of {size} bytes, {end - offset} bytes before the end of them all")
        yield command, headers.read(offset, min(size, 16), "a load command")[8:]
        offset += size


def _version(packed: int) -> Tuple[int, ...]:
    """Unpack ``xxxx.yy.zz``, a number of 16 bits and two of 8; a last zero is left out, as people write it."""
    major, minor, patch = packed >> 16, packed >> 8 & 0xFF, packed & 0xFF
    return (major, minor, patch) if patch else (major, minor)


def is_translated() -> bool:
    """Return whether Rosetta translates this process, an x86_64 one on an arm64 Mac.

    A program that a translated process starts is translated as well where it can be, so ``sysctl`` answers for us.
    """
    try:
        done = run_quiet(["/usr/sbin/sysctl", "-in", "sysctl.proc_translated"], timeout=10)
    except InterpreterError:
        return False
    return done.stdout.strip() == "1"
