"""Read a program of any system, and identify by one a host whose system has one C library, its own.

There the architecture and the version of the system are all that an interpreter depends on. `detection.py` finds the
program; on Linux, where the libc has to be found out, it does the rest as well.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from ..errors import HostError, InterpreterError
from ..processes import run_quiet
from ..systems import System, kernel_machine
from .elf import read_elf
from .macho import is_translated, read_macho
from .pe import native_architecture, read_pe
from .platforms import Evidence, FileIdentity, Platform
from .targets import architecture_of, read_machine

__all__ = ["Program", "platform_of_program", "read_program"]


class Program(NamedTuple):
    """What an executable of any format holds for one architecture."""

    architecture: str
    """Its name in target triples, or a text that is none."""
    bits: int
    """Word size: 32 or 64."""
    minimum: Optional[Tuple[int, ...]] = None
    """The oldest version of the system that loads it; None where the file does not say."""


def read_program(path: Path, system: System) -> List[Program]:
    """Read an executable of a system, for each architecture that it is for; more than one only on macOS.

    Raises:
        HostError: it cannot be read, or is none of that system.
        MissingDependencyError: pyelftools is needed and not installed.
    """
    if system.executable_format == "PE":
        pe = read_pe(path)
        return [Program(pe.architecture or f"machine {pe.machine:#x}", pe.bits, pe.minimum)]
    if system.executable_format == "Mach-O":
        files = read_macho(path)
        names = [file.architecture or f"CPU type {file.cpu_type:#x}" for file in files]
        names = [name if file.is_macos else f"{name} not for macOS" for name, file in zip(names, files)]
        return [Program(name, file.bits, file.minimum) for name, file in zip(names, files)]
    elf = read_elf(path)
    return [Program(architecture_of(elf) or f"machine {elf.machine}", elf.bits)]


def platform_of_program(executable: str, system: System) -> Platform:
    """Return the platform of the running system by a program that runs here, given by its absolute path.

    Its architecture counts even where it is emulated, since that is what is to be built for the running interpreter.

    Raises:
        HostError: the program cannot be read, or is for something that there are no archives for.
    """
    hint = f"set target, for example to {system.architectures[0]}-{system.triple}"
    if not executable:
        raise HostError("could not identify this host: this Python does not know its own executable", hint=hint)
    path = Path(os.path.realpath(executable))
    try:
        programs = read_program(path, system)
    except HostError as exc:
        raise HostError(f"could not identify this host: {exc.message}", hint=hint) from None
    names = [program.architecture for program in programs]
    # A universal program holds code for several, and the process that it has become shows which of them runs.
    running = read_machine(kernel_machine())
    program = next((each for each in programs if each.architecture == running), programs[0])
    if program.architecture not in system.architectures:
        raise HostError(f"could not identify this host: '{path}' is for {' and '.join(names)}", hint=hint)
    finding = f"is a {system.title} program ({system.executable_format}) for {' and '.join(names)}"
    if len(programs) > 1:
        finding += f", and runs as {program.architecture}"
    version, evidence = _ask_version(system)
    return Platform(
        f"{program.architecture}-{system.triple}",
        program.architecture,
        "",
        bits=program.bits,
        system=system.name,
        system_version=version,
        notes=(f"decided by '{path}'", *_emulation(program.architecture, system)),
        evidence=(Evidence(str(path), finding, _identity(path)), evidence),
    )


def _identity(path: Path) -> Optional[FileIdentity]:
    with suppress(OSError):
        status = path.stat()
        return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)
    return None


def _ask_version(system: System) -> Tuple[Optional[Tuple[int, ...]], Evidence]:
    """Ask the running system for its version; the evidence is a file that changes with it."""
    if hasattr(sys, "getwindowsversion"):
        # Unlike the other fields, these are not what a manifest makes Windows say.
        text = ".".join(map(str, sys.getwindowsversion().platform_version))
    elif system.name == "macos":
        # To a program built with an older SDK, macOS 11 and later say that they are 10.16, unless this variable is set.
        try:
            text = run_quiet(["/usr/bin/sw_vers", "-productVersion"], env={"SYSTEM_VERSION_COMPAT": "0"}).stdout
        except InterpreterError:
            text = ""
    else:
        text = os.uname().release
    match = re.match(r"\d+(\.\d+)*", text)
    version = tuple(map(int, match[0].split("."))) if match else None
    path = os.path.expandvars(system.version_file) or "uname"
    said = f"is that of {system.title} {match[0]}" if match else f"does not tell the version of {system.title}"
    return version, Evidence(path, said, _identity(Path(path)))


def _emulation(architecture: str, system: System) -> Tuple[str, ...]:
    """Name what emulates the running interpreter's architecture, if anything does."""
    if system.name == "macos" and architecture == "x86_64" and is_translated():
        return ("this interpreter is for x86_64 and runs under Rosetta on an arm64 Mac",)
    native = native_architecture() if system.name == "windows" else None
    if native and native != architecture:
        return (f"this interpreter is for {architecture} and runs on Windows for {native}, which emulates it",)
    return ()
