"""Read the headers of a Windows executable (PE), and ask Windows what machine it runs on.

Read are the signature, the COFF header and the start of the optional header, which name the machine and the oldest
Windows that loads the file. Every offset in a file may be a lie, so each read is checked (`HeaderReader`), and a
malformed file ends in `HostError` and in nothing else.

Source: Microsoft, PE Format; IsWow64Process2 of wow64apiset.h.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple, Optional, Tuple, Union

from .rootfs import HeaderReader, MalformedError, read_headers

__all__ = ["PeFile", "native_architecture", "read_pe"]

_ARCHITECTURES = {0x014C: "i686", 0x8664: "x86_64", 0xAA64: "aarch64"}
_BITS = {0x10B: 32, 0x20B: 64}


class PeFile(NamedTuple):
    """The facts in the headers of one PE file."""

    machine: int
    """``IMAGE_FILE_HEADER.Machine``, such as 0x8664 for x86_64."""
    architecture: Optional[str]
    """Its name in target triples; None for one without archives."""
    bits: int
    """Word size of the file: 32 (PE32) or 64 (PE32+)."""
    minimum: Tuple[int, int]
    """The oldest version of Windows that loads it, such as (6, 0): ``MajorSubsystemVersion`` and its minor."""


def read_pe(file: Union[BinaryIO, Path]) -> PeFile:
    """Read the headers of a PE file; a stream must support seeking, and is not closed.

    Raises:
        HostError: the file cannot be read, is not PE, or contradicts itself.
    """
    return read_headers(file, "a PE file", _parse)


def _parse(headers: HeaderReader) -> PeFile:
    start = headers.read(0, min(2, headers.size), "the signature") if headers.size else b""
    if start != b"MZ":
        raise MalformedError(f"it starts with {start!r}")
    (offset,) = struct.unpack("<I", headers.read(0x3C, 4, "the offset of the PE header"))
    signature, machine, size = struct.unpack("<4sH14xH2x", headers.read(offset, 24, "the PE header"))
    if signature != b"PE\0\0":
        raise MalformedError(f"its PE header starts with {signature!r}")
    # The fields up to the version are at the same offsets in PE32 and in PE32+.
    if size < 52:
        raise MalformedError(f"the optional header has {size} bytes, which is too few for an executable")
    magic, major, minor = struct.unpack("<H46xHH", headers.read(offset + 24, 52, "the optional header"))
    if magic not in _BITS:
        raise MalformedError(f"the optional header is of the unknown kind {magic:#x}")
    return PeFile(machine, _ARCHITECTURES.get(machine), _BITS[magic], (major, minor))


def native_architecture() -> Optional[str]:
    """Return what this Windows is for, which may emulate what the running interpreter is for; None if unknown.

    No variable says it to an x86_64 process on arm64, and ``platform.machine()`` only from Python 3.12 on.
    """
    try:
        import ctypes

        kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
        process, native = ctypes.c_ushort(), ctypes.c_ushort()
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        current = ctypes.c_void_p(kernel.GetCurrentProcess())
        if kernel.IsWow64Process2(current, ctypes.byref(process), ctypes.byref(native)):
            return _ARCHITECTURES.get(native.value)
    except (ImportError, AttributeError, OSError):
        pass  # There is no _ctypes, this is not Windows, or it is older than Windows 10.
    # A 32-bit process gets this variable where Windows is not 32-bit (WOW64 Implementation Details).
    names = {"AMD64": "x86_64", "ARM64": "aarch64"}
    return names.get(os.environ.get("PROCESSOR_ARCHITEW6432", "").upper())
