"""Ask the running system what its files do not tell.

These are the exceptions to reading files only: the loader of musl is started when its file does not hold its version
in the usual form, the C library of the process itself is asked for its version when its file is not found, and hosts
without ELF files (macOS and Windows) are named by what Python was built for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Optional, Tuple

from .platforms import Evidence, Platform

__all__ = ["ask_confstr", "ask_musl_loader", "has_elf_files", "platform_without_elf"]

_SECONDS = 10


def has_elf_files() -> bool:
    """Whether the executables of the running system are ELF files."""
    return sys.platform not in ("darwin", "win32", "cygwin")


def ask_musl_loader(path: str) -> Tuple[Optional[Tuple[int, ...]], Evidence]:
    """Start a loader of musl, which prints its version and ends.

    Args:
        path: absolute path on the running system, links resolved.
    """
    try:
        done = subprocess.run(
            [path], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return None, Evidence(f"{path} (started)", "does not start")
    text = (done.stderr + done.stdout).decode("utf-8", "replace")
    match = re.search(r"^Version (\d+)\.(\d+)(?:\.(\d+))?", text, re.MULTILINE)
    if match is None:
        return None, Evidence(f"{path} (started)", "does not say its version")
    version = tuple(int(part) for part in match.groups() if part)
    return version, Evidence(f"{path} (started)", f"says {match[0]!r}")


def ask_confstr() -> Tuple[Optional[Tuple[int, ...]], Evidence]:
    """Ask the C library of this process for its version; only glibc answers (confstr(3))."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        text = ""
    match = re.match(r"glibc (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None, Evidence("confstr", f"says {text!r}")


def platform_without_elf() -> Platform:
    """Name a host that has no ELF files. This project does not test it: there is no such host at hand."""
    import sysconfig  # Not needed, and not cheap, on the hosts that do have them.

    name = sysconfig.get_platform()
    machine = name.rpartition("-")[2].lower()
    if machine == "universal2":
        machine = os.uname().machine
    architecture = {"amd64": "x86_64", "win32": "i686", "arm64": "aarch64"}.get(machine, machine)
    system = "apple-darwin" if sys.platform == "darwin" else "pc-windows-msvc"
    evidence = Evidence("sysconfig.get_platform()", f"says {name!r}")
    bits = 64 if sys.maxsize > 1 << 32 else 32
    return Platform(architecture, "none", None, f"{architecture}-{system}", (evidence,), bits=bits)
