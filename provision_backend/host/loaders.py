"""Identify a dynamic loader, and find the version of its libc.

A path such as ``/lib64/ld-linux-x86-64.so.2`` proves nothing: on Alpine it may be gcompat's or a link to musl, on
NixOS a stub that only prints an error. So the file behind it is read. The version of glibc is the highest
``GLIBC_x.y`` that ``libc.so.6`` defines, which is what the dynamic linker itself compares, and its banner for the
releases that added no symbol; that of musl is a string in the loader, which is the libc at the same time.

Files are read rather than run, since a loader may be for another machine (running it under qemu-user has ended in a
segmentation fault, docker/for-mac#7840). The two exceptions are at the end, for the running system only.

Source: glibc ``Versions`` files and ``csu/version.c``; musl ``ldso/dynlink.c`` and ``src/internal/version.c``.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO, Iterator, List, Match, NamedTuple, Optional, Pattern, Tuple

from ..errors import HostError, InterpreterError
from ..processes import run_quiet
from .elf import ElfFile, machine_of, read_elf
from .platforms import Evidence, format_version
from .rootfs import RootDirectory
from .targets import architecture_of, multiarch_of

__all__ = [
    "LoaderFile", "Version", "ask_confstr", "ask_musl_loader", "glibc_version", "inspect_loader", "libc_of_loader",
    "musl_version",
]  # fmt: skip

Version = Tuple[int, ...]

# libc.so.6 has 2 MiB and musl less than 1 MiB; with debugging symbols both stay below this.
_MAX_SCAN = 8 << 20
_CHUNK = 1 << 18
# Longer than any text that is searched for, so that none is lost between two chunks.
_OVERLAP = 256
_SECONDS = 10  # for musl's loader to print its version and end

_GLIBC_SYMBOL_VERSION = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
# "GNU C Library (Ubuntu EGLIBC 2.15-0ubuntu10) stable release version 2.15, by ..."; the vendor's
# part may say anything (uv#7529).
_GLIBC_BANNER = re.compile(rb"GNU C Library [^\0\n]{0,120}? version (\d{1,2})\.(\d{1,3})")
_GLIBC_FILE_NAME = re.compile(r"(?:ld|libc)-(\d+)\.(\d+)(?:\.\d+)?\.so")
# musl's loader holds its usage text, "musl libc (x86_64)\nVersion 1.2.5\n...", and nothing else of it is constant.
_MUSL_MARK = re.compile(rb"musl libc \(")
_GCOMPAT_MARK = re.compile(rb"libgcompat|/lib/ld-musl-[a-z]")
_STUB_MARK = re.compile(rb"NixOS cannot run dynamically linked")
# The string stands alone between other data. "LINUX_2.6.39" is not a version of musl but the name of a vDSO's symbols.
_MUSL_VERSION = re.compile(rb"(?<![0-9._])([01])\.(\d{1,2})\.(\d{1,3})(?:-git-\d+-g[0-9a-f]+)?\0")


class LoaderFile(NamedTuple):
    """The file that a loader's path leads to."""

    kind: str
    """``glibc``, ``musl``, ``gcompat``, ``stub-ld``, ``nix-ld``, or ``other`` for one that is not known.

    One that cannot be used is ``missing``, ``unreachable``, ``broken`` (no ELF file), or ``foreign`` (for another
    machine than the executable that names it).
    """
    path: str
    """The path as it was given."""
    resolved: Optional[str]
    """The path inside the root without links; None if there is no such file."""
    evidence: Evidence
    version: Optional[Version] = None
    """Of musl, whose loader is its libc, or of an old glibc, whose loader is called ``ld-2.17.so``."""


def libc_of_loader(path: str) -> Optional[str]:
    """Return the libc that a loader's name stands for: ``gnu``, ``musl``, ``android``, ``uclibc``; None if unknown."""
    # The directory does not matter: Nix and Guix have the loader in their stores.
    name = path.rpartition("/")[2]
    # "libc.so" is where ld-musl-*.so.1 links to; executables linked by hand name it directly.
    if name.startswith("ld-musl-") or name == "libc.so":
        return "musl"
    if "uClibc" in name:
        return "uclibc"
    if name in ("linker", "linker64", "linker_asan", "linker_asan64"):
        return "android"
    # FreeBSD's /libexec/ld-elf.so.1 and NetBSD's have names like glibc's.
    if re.fullmatch(r"ld(64|-linux[\w.-]*|-\d+\.\d+)?\.so(\.\d+)?", name) and "/libexec/" not in path:
        return "gnu"
    return None


def inspect_loader(root: RootDirectory, path: str, like: Optional[ElfFile] = None) -> LoaderFile:
    """Identify the file that a loader's path leads to, and the version of musl if it is musl's.

    It must be for the machine of an executable *like* this one; None for any machine.
    """
    located = root.locate(path)
    if located is None:
        return LoaderFile("missing", path, None, Evidence(path, "does not exist"))
    if located.problem:
        return LoaderFile("unreachable", path, None, Evidence(path, located.problem, located.identity))
    kind, finding, version = _identify(root, located.path, like)
    if located.path != path:
        finding = f"leads to {located.path!r}, which {finding}"
    return LoaderFile(kind, path, located.path, Evidence(path, finding, located.identity), version)


def _identify(root: RootDirectory, path: str, like: Optional[ElfFile]) -> Tuple[str, str, Optional[Version]]:
    stub = "stub-ld", "is NixOS's stub-ld, which starts no program", None
    # NixOS puts the stub and nix-ld where foreign executables look for glibc (nixpkgs#429813, kani#4413).
    if "stub-ld" in path:
        return stub
    if re.match("/nix/store/[^/]*nix-ld", path):
        return "nix-ld", "is nix-ld, which hands over to the loader of NixOS", None
    try:
        with root.open(path) as file:
            elf = read_elf(file)
            if like is not None and machine_of(elf) != machine_of(like):
                return "foreign", f"is for another machine ({architecture_of(elf) or elf.machine})", None
            if any(name.startswith("GLIBC_") for name in elf.version_definitions):
                return "glibc", "is glibc's loader", _version_in_name(path)
            # musl exports no symbol versions, so only its text distinguishes it from other loaders.
            if any(_matches(file, _MUSL_MARK)):
                version = musl_version(file)
                text = format_version(version)
                return "musl", f"is musl {text}" if text else "is musl of an unknown version", version
            # gcompat's loader starts musl's with a library of its own preloaded, so it names both.
            if any(_matches(file, _GCOMPAT_MARK)):
                return "gcompat", "is gcompat's loader, which runs programs for glibc on musl", None
            if any(_matches(file, _STUB_MARK)):
                return stub
    except HostError as exc:
        # The kernel may read what this user may not.
        if isinstance(exc.__cause__, OSError):
            return "other", f"is not readable: {exc.message}", None
        return "broken", f"is no loader: {exc.message}", None
    return "other", f"is neither glibc's nor musl's loader (a {elf.bits}-bit ELF file)", None


def _version_in_name(path: str) -> Optional[Version]:
    match = _GLIBC_FILE_NAME.fullmatch(path.rpartition("/")[2])
    return (int(match[1]), int(match[2])) if match else None


def musl_version(file: BinaryIO) -> Optional[Version]:
    """Find the version of musl, three numbers, in its loader; None unless the loader holds exactly one."""
    # Of two different ones, one must be something else, and a guess would be worse than not knowing.
    found = None
    for match in _matches(file, _MUSL_VERSION):
        version = tuple(int(part) for part in match.groups())
        if found not in (None, version):
            return None
        found = version
    return found


def glibc_version(root: RootDirectory, loader: LoaderFile, like: ElfFile) -> Tuple[Optional[Version], List[Evidence]]:
    """Find the version, two numbers, of the glibc that a loader would load for an executable *like* this one."""
    for path in _libc_paths(loader, like):
        located = root.locate(path)
        if located is None or located.problem:
            continue
        found = _read_glibc(root, path, like)
        if found is not None:
            version, banner = found
            # 2.19 to 2.21, 2.37 and others added no symbol to libc.so.6, so the symbols end at 2.18 and 2.36 there.
            stated = (int(banner[1]), int(banner[2])) if banner else version
            exact = max(version, stated, _version_in_name(located.path) or version)
            finding = f"defines symbol versions up to GLIBC_{format_version(version)}"
            if exact != version:
                finding += f" and calls itself {format_version(exact)}"
            return exact, [Evidence(path, finding, located.identity)]
    return loader.version, []


def _read_glibc(root: RootDirectory, path: str, like: ElfFile) -> Optional[Tuple[Version, Optional[Match[bytes]]]]:
    try:
        with root.open(path) as file:
            elf = read_elf(file)
            matches = filter(None, map(_GLIBC_SYMBOL_VERSION.fullmatch, elf.version_definitions))
            version = max(((int(match[1]), int(match[2])) for match in matches), default=None)
            # Multilib and multiarch systems have several glibcs, and not all of one version.
            if version is None or machine_of(elf) != machine_of(like):
                return None
            return version, next(_matches(file, _GLIBC_BANNER), None)
    except HostError:
        return None


def _libc_paths(loader: LoaderFile, like: ElfFile) -> Iterator[str]:
    """List where the loader would find its libc: beside it, then in the usual directories, those of Debian first.

    Debian's loader does not look into /lib64, where its link is: what was copied as a file (``cp -L``, ``tar -h``) is
    not beside its libc.
    """
    beside = [path.rpartition("/")[0] for path in (loader.resolved, loader.path) if path]
    usual = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib32", "/usr/lib32", "/libx32")
    multiarch = multiarch_of(like, loader.path)
    debian = [f"/lib/{multiarch}", f"/usr/lib/{multiarch}"]
    own = [directory for directory in beside if directory not in usual]
    return (f"{directory}/libc.so.6" for directory in dict.fromkeys([*own, *debian, *beside, *usual]))


def _matches(file: BinaryIO, pattern: Pattern[bytes]) -> Iterator[Match[bytes]]:
    """Search a file chunk by chunk; a text that lies across two chunks is found once or twice."""
    file.seek(0)
    rest = b""
    for _ in range(_MAX_SCAN // _CHUNK):
        chunk = file.read(_CHUNK)
        if not chunk:
            return
        # At the start of a later chunk a pattern cannot look behind; a match there was found in the chunk before.
        yield from (match for match in pattern.finditer(rest + chunk) if match.start() or not rest)
        rest = (rest + chunk)[-_OVERLAP:]


def ask_musl_loader(path: str) -> Tuple[Optional[Version], Evidence]:
    """Start a loader of musl, by its absolute path on the running system; it prints its version and ends."""
    started = f"{path} (started)"
    try:
        done = run_quiet([path], env={}, timeout=_SECONDS)
    except InterpreterError:
        return None, Evidence(started, "does not start")
    match = re.search(r"^Version (\d+)\.(\d+)(?:\.(\d+))?", done.stderr + done.stdout, re.MULTILINE)
    if match is None:
        return None, Evidence(started, "does not print its version")
    return tuple(int(part) for part in match.groups() if part), Evidence(started, f"prints {match[0]!r}")


def ask_confstr() -> Tuple[Optional[Version], Evidence]:
    """Ask the C library of this process for its version; only glibc answers (confstr(3))."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        text = ""
    match = re.match(r"glibc (\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None, Evidence("confstr", f"says {text!r}")
