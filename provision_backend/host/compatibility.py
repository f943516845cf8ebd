"""Decide whether an archive runs on a platform: before the download by its name, afterwards by its executables.

The first check reads no file but ``/proc/cpuinfo``. The second reads the interpreter and its ``libpython`` in the
unpacked tree, so that an archive of another system, libc or architecture that a mirror offers under the right name is
never published. Without the version of the host's libc, an interpreter would end with "version `GLIBC_2.17' not found"
or "symbol not found" when it starts (uv#14262, uv#16341).

Source: python-build-standalone, "Running Distributions" and ``src/validation.rs`` for what its builds need.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict

from ..errors import HostError, InterpreterError
from ..systems import SYSTEMS
from .cpu import CPUINFO, missing_for_armv7, missing_for_level, read_cpu
from .elf import ElfFile, read_elf, require_pyelftools
from .loaders import Version, libc_of_loader
from .platforms import Platform, format_version, platform_from_triple
from .programs import read_program
from .targets import architecture_of, split_level, triple_of

__all__ = ["check_archive_runs", "check_libc_version", "check_tree", "require_reader"]

# What python-build-standalone's validation allows its builds to need, and the first glibc with each later port.
_GLIBC_FLOOR: Version = (2, 17)
_GLIBC_FLOORS: Dict[str, Version] = {"riscv64": (2, 28), "loongarch64": (2, 36)}
_GLIBC_FLOORS.update(dict.fromkeys(("mips", "mipsel", "mips64", "mips64el"), (2, 19)))
# Below 1.1.24 functions are missing that every build needs: "copy_file_range: symbol not found" (uv#16341). The builds
# are made against 1.2.2; whether 1.1.24 (Alpine 3.11 and 3.12) has all that they use is unknown, so between the two
# the smoke run decides instead of a refusal that may be wrong.
_MUSL_FLOOR: Version = (1, 1, 24)

_BASELINE_HINT = "use the baseline, which every CPU of the architecture runs"
_SYSTEM_HINT = "set preference = only-system and install an interpreter of the system"


def check_archive_runs(platform: Platform, archive_triple: str, *, cpuinfo: Path = CPUINFO) -> None:
    """Refuse an archive that cannot run on a platform, before it is downloaded.

    Raises:
        HostError: other architecture or libc; libc too old; loader missing, gcompat's or NixOS's stub; or a CPU that
            lacks what the archive needs.
        UsageError: the triple is not known.
    """
    baseline, level = split_level(archive_triple)
    wanted = split_level(platform.triple)[0]
    if platform_from_triple(baseline).triple != wanted:
        raise HostError(
            f"an archive for {archive_triple} does not run on this host: "
            f"it needs {baseline}, and the host is {wanted} ({platform.libc_name})"
        )
    # What makes the host's own executables fail, such as a missing loader, makes those of an archive fail too.
    if platform.problem:
        raise HostError(f"no archive for {archive_triple} runs here: {platform.problem}", hint=platform.hint)
    check_libc_version(platform)
    _check_cpu(platform, archive_triple, level, cpuinfo)


def check_libc_version(platform: Platform) -> None:
    """Raise HostError if the libc of a platform is older than archives need."""
    glibc = _GLIBC_FLOORS.get(platform.architecture, _GLIBC_FLOOR)
    floor = {"gnu": glibc, "musl": _MUSL_FLOOR}.get(platform.libc)
    # An unknown version is no reason to refuse; the smoke run of the unpacked interpreter decides.
    if floor and platform.libc_version and platform.libc_version < floor:
        needed = platform._replace(libc_version=floor).libc_name
        raise HostError(
            f"the libc of this host is too old: python-build-standalone for {platform.triple} needs "
            f"{needed} or newer, found {platform.libc_name}",
            hint=f"build on a newer system, or {_SYSTEM_HINT}",
        )


def _check_cpu(platform: Platform, archive_triple: str, level: int, cpuinfo: Path) -> None:
    if level == 1 and platform.architecture != "armv7":
        return
    cpu = read_cpu(cpuinfo)
    if level > 1:
        if cpu is None:
            # A guess would end in SIGILL in the middle of a build.
            text = f"cannot tell whether this CPU runs {archive_triple}: '{cpuinfo}' is not readable"
            raise HostError(text, hint=_BASELINE_HINT)
        missing, hint = missing_for_level(cpu, level), _BASELINE_HINT
    elif cpu is None or cpu.arm_version is None:
        # qemu-user shows the description of the real machine, which does not mention ARM.
        return
    else:
        missing, hint = missing_for_armv7(cpu, hard_float=platform.float_abi == "hard"), _SYSTEM_HINT
    if missing:
        raise HostError(f"this CPU does not run {archive_triple}: it lacks {', '.join(missing)}", hint=hint)


def require_reader(platform: Platform) -> None:
    """Raise MissingDependencyError now, before a download, if `check_tree` would raise it afterwards."""
    if SYSTEMS[platform.system].executable_format == "ELF":
        require_pyelftools()


def check_tree(python_executable: Path, platform: Platform) -> None:
    """Refuse an unpacked interpreter that is not for the platform, before it is started or published.

    Raises:
        InterpreterError: it is no executable of the system, is for another architecture or libc, is statically linked,
            or needs a newer glibc, macOS or Windows than the host has.
        MissingDependencyError: pyelftools is needed and not installed.
    """
    system = SYSTEMS[platform.system]
    # All interpreters for Windows are linked to this library, and those before tag 20250517 elsewhere.
    libraries = filter(os.path.isfile, sorted(system.tree_of(python_executable.resolve()).glob(system.library)))
    if not platform.libc:
        for path in (python_executable, *libraries):
            _check_program(path, platform)
        return
    elf = _read(python_executable)
    _check_linkage(python_executable, elf, platform)
    _check_version_needs(python_executable, elf, platform)
    for path in libraries:
        _check_version_needs(path, _read(path), platform)


def _check_program(path: Path, platform: Platform) -> None:
    """Check an executable of a system with one C library for its architecture, and the version of the system."""
    system = SYSTEMS[platform.system]
    try:
        programs = read_program(path, system)
    except HostError as exc:
        raise InterpreterError(f"the archive holds no interpreter for this host: {exc.message}") from None
    program = next((each for each in programs if each.architecture == platform.architecture), None)
    if program is None:
        found = " and ".join(each.architecture for each in programs)
        raise InterpreterError(f"'{path}' is not for this host: wanted {platform.triple}, found {found}")
    if program.minimum and platform.system_version and program.minimum > (*platform.system_version, 0, 0):
        raise InterpreterError(
            f"'{path}' needs a newer {system.title} than this host has: "
            f"wanted {format_version(program.minimum)} or newer, found {format_version(platform.system_version)}",
            hint=f"build on a newer {system.title}, or {_SYSTEM_HINT}",
        )


def _read(path: Path) -> ElfFile:
    try:
        return read_elf(path)
    except HostError as exc:
        raise InterpreterError(f"the archive holds no interpreter for this host: {exc.message}") from None


def _check_linkage(path: Path, elf: ElfFile, platform: Platform) -> None:
    # Static musl builds were the default until 2025; they also yield no musllinux tag (python-build-standalone#260).
    if elf.loader is None:
        raise InterpreterError(
            f"'{path}' is statically linked: it could not import a single extension module from a wheel, "
            f"wanted an interpreter that the loader of {platform.triple} starts",
            hint="dynamically linked musl builds exist from tag 20250311 on",
        )
    libc = libc_of_loader(elf.loader)
    found = f"{architecture_of(elf) or f'machine {elf.machine}'} with the loader {elf.loader!r}"
    if triple_of(elf, libc or "unknown", elf.loader) != split_level(platform.triple)[0]:
        raise InterpreterError(f"'{path}' is not for this host: wanted {platform.triple}, found {found}")


def _check_version_needs(path: Path, elf: ElfFile, platform: Platform) -> None:
    if platform.libc != "gnu" or platform.libc_version is None:
        return
    needs = (re.fullmatch(r"GLIBC_(\d+)\.(\d+)[\d.]*", name) for _, names in elf.version_needs for name in names)
    version, symbol = max((((int(need[1]), int(need[2])), need[0]) for need in needs if need), default=((0, 0), ""))
    if version > platform.libc_version:
        raise InterpreterError(
            f"'{path}' needs a newer libc than this host has: wanted {symbol} or newer, found {platform.libc_name}"
        )
