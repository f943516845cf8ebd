#!/usr/bin/env python3
"""Make the fixtures of this folder again: heads of programs for Windows and macOS, linked by zig from an empty function.

    python build.py

needs Python 3.8 or later with the package ziglang. Cut means: everything behind the headers is zeroed, so each file
unpacks to its original length. A universal file is put together here of two thin ones, in both forms of its header.
What was made and how is written to ORIGINS.md.
"""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent

# macOS up to 10.13 is named by another load command than later ones.
TARGETS = """
x86-windows-gnu x86_64-windows-gnu aarch64-windows-gnu
aarch64-macos.11.0 aarch64-macos.15.1.2 x86_64-macos.10.15 x86_64-macos.10.13
""".split()


def zig(*arguments: str, cwd: str) -> str:
    command = [sys.executable, "-m", "ziglang", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True, cwd=cwd).stdout.strip()


def cut(data: bytes) -> bytes:
    """Zero everything behind the headers."""
    if data[:2] == b"MZ":
        (end,) = struct.unpack_from("<I", data, 0x3C)
        end += 24 + struct.unpack_from("<H", data, end + 20)[0]
    else:
        end = 32 + struct.unpack_from("<I", data, 20)[0]
    return data[:end].ljust(len(data), b"\0")


def universal(files: List[bytes], *, wide: bool) -> bytes:
    """Put thin files into one, each at a multiple of 16 KiB, as lipo does."""
    entries, bodies, offset = b"", b"", 1 << 14
    for data in files:
        kind = struct.unpack_from("<II", data, 4)
        form, end = (">IIQQII", (14, 0)) if wide else (">IIIII", (14,))
        entries += struct.pack(form, *kind, offset, len(data), *end)
        room = -len(data) % (1 << 14)
        bodies += data + bytes(room)
        offset += len(data) + room
    head = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(files)) + entries
    return head.ljust(1 << 14, b"\0") + bodies


def write(name: str, data: bytes, origin: str) -> str:
    path = HERE / f"{name}.gz"
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    return f"| {name} | {origin} | {path.stat().st_size} |"


def main() -> None:
    rows, made = [], {}
    with tempfile.TemporaryDirectory() as work:
        version = zig("version", cwd=work)
        Path(work, "source.c").write_text("int start(void) { return 0; }\n")
        for target in TARGETS:
            # Without a C library, which zig would have to compile first.
            options = ["-target", target, "-Os", "-s", "-nostdlib"]
            options += ["-Wl,--entry=start" if "windows" in target else "-Wl,-e,_start"]
            zig("cc", *options, "-o", "output", "source.c", cwd=work)
            made[target] = cut(Path(work, "output").read_bytes())
            rows.append(write(target, made[target], f"zig {version} cc {' '.join(options)}, an empty function"))
    pair = [made["x86_64-macos.10.15"], made["aarch64-macos.11.0"]]
    rows.append(write("universal-macos", universal(pair, wide=False), "made of the last x86_64 and the first aarch64"))
    rows.append(write("universal64-macos", universal(pair, wide=True), "the same with offsets of 64 bits"))
    text = "Written by build.py. Sizes are those of the compressed files, in bytes.\n\n"
    text += "| fixture | origin | size |\n| --- | --- | --- |\n"
    (HERE / "ORIGINS.md").write_text(text + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
