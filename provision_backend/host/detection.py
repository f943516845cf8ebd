"""Detect the platform of the host, or of an unpacked image, from its files.

A system with one C library, such as macOS or Windows, is identified by the running interpreter's own executable. On
Linux that may not be enough, and the order of evidence is:

1. the running interpreter's own executable, whose loader certainly works here;
2. the usual executables (``/bin/sh`` and others); a script or a static executable does not count (uv#1486, uv#1810);
3. the loaders that exist, beginning with those of the libc of the distribution in ``/etc/os-release`` (uv#8635).

The first executable decides whose loader exists, is what its name says, and is where executables of python-build-
standalone look for theirs. If there is none, the first with such a failure decides, and its failure is the platform's
``problem``. Architecture, word size, byte order and float ABI come from ELF headers: the kernel may have another word
size than the userland (uv#13288), and under qemu-user it is for another machine altogether.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import List, Optional, Tuple

from ..errors import HostError
from ..systems import RUNNING
from .elf import ElfFile, machine_of, read_elf
from .loaders import LoaderFile, Version, ask_confstr, ask_musl_loader, glibc_version, inspect_loader, libc_of_loader
from .platforms import Evidence, Platform
from .programs import platform_of_program
from .rootfs import RootDirectory
from .targets import ELF_TARGETS, architecture_of, float_abi_of, triple_of

__all__ = ["detect_platform"]

# A list and not one path: NixOS has only the first two of these (uv#1395, uv#1418), Rocky 9's ls is a script (uv#1486),
# and a company's sh may be one (uv#1810). Android, NixOS and Guix have their executables elsewhere.
_EXECUTABLES = (
    "/bin/sh", "/usr/bin/env", "/bin/ls", "/bin/bash", "/bin/dash", "/bin/busybox", "/usr/bin/busybox",
    "/usr/bin/coreutils", "/usr/bin/python3", "/usr/local/bin/python3", "/run/current-system/sw/bin/sh",
    "/run/current-system/profile/bin/sh", "/data/data/com.termux/files/usr/bin/sh", "/system/bin/sh",
)  # fmt: skip

# The names in os-release of the systems whose libc is musl. They decide if no executable does, since with gcompat,
# Alpine has glibc's loader too. Void has editions with either libc and does not state which.
_MUSL_SYSTEMS = frozenset({"alpine", "postmarketos", "chimera", "adelie", "openwrt", "kiss"})

# The kind of file that the loader of a libc should be.
_KINDS = {"gnu": "glibc", "musl": "musl"}

_SYSTEM_HINT = "or set preference = system and install an interpreter of the system"
_HINTS = {
    # NixOS starts no foreign executable by default: "Could not start dynamically linked executable" (nixpkgs#429813).
    "stub-ld": "enable nix-ld (programs.nix-ld.enable = true), build in an FHS environment, " + _SYSTEM_HINT,
    "gcompat": "set target to the musl triple of this host",
    "missing": "install the libc of the distribution that has this loader, " + _SYSTEM_HINT,
    "unreachable": "let this user reach it, and have a file there, " + _SYSTEM_HINT,
}


def detect_platform(*, root: Path = Path("/"), executable: Optional[str] = None) -> Platform:
    """Detect the platform of the root file system in a directory; it has a ``problem`` if its executables do not start.

    The *executable*, whose absolute path is one inside the root, is read first; None for the running interpreter if the
    root is that of the running system, an empty string for none.

    Raises:
        HostError: no file tells the architecture or the libc.
        MissingDependencyError: pyelftools is not installed.
    """
    directory = RootDirectory(root)
    if os.open not in os.supports_dir_fd and not directory.is_running_system:
        raise HostError(f"cannot inspect the root {str(root)!r}: {RUNNING.title} opens no folder to look into it")
    if directory.is_running_system and RUNNING.architectures:
        # A virtual environment of Windows has a small program that starts this one.
        own = getattr(sys, "_base_executable", None) or sys.executable or ""
        return platform_of_program(own if executable is None else executable, RUNNING)
    if executable is None:
        # sys.executable is empty in an embedded interpreter.
        executable = os.path.realpath(sys.executable) if directory.is_running_system and sys.executable else ""
    return _Detection(directory).decide(executable)


class _Detection:
    """One search through a root, and its findings so far."""

    def __init__(self, root: RootDirectory) -> None:
        self._root = root
        self._evidence: List[Evidence] = []
        self._static: Optional[ElfFile] = None
        self._asked = ""

    def decide(self, executable: str) -> Platform:
        """Go through the evidence in its order, and return the first platform without a problem."""
        doubtful: Optional[Platform] = None
        for path in filter(None, (executable, *_EXECUTABLES)):
            platform = self._ask(path)
            # A problem is not final: on NixOS a Python from a Nix store fails, and one of an FHS environment does not.
            if platform and not platform.problem:
                break
            doubtful = doubtful or platform
        else:
            platform = doubtful or self._decide_by_loaders()
        return platform._replace(evidence=tuple(self._evidence))

    def _ask(self, path: str) -> Optional[Platform]:
        """Return the platform that an executable is for; None if that is unclear."""
        located = self._root.locate(path)
        if located is None:
            return None
        elf, loader, finding = self._read_executable(path)
        self._evidence.append(Evidence(path, finding, located.identity))
        libc = libc_of_loader(loader) if loader else None
        if elf is None or loader is None or libc is None:
            return None
        self._asked = path
        return self._judge(_platform_of(elf, libc, loader)._replace(notes=(f"decided by {path!r}",)), elf)

    def _read_executable(self, path: str) -> Tuple[Optional[ElfFile], Optional[str], str]:
        try:
            with self._root.open(path) as file:
                # "The magic number is wrong" would read like a fault of the host.
                if file.read(2) == b"#!":
                    return None, None, "is a script, which does not show the libc"
                elf = read_elf(file)
        except HostError as exc:
            return None, None, f"cannot be used: {exc.message}"
        architecture = architecture_of(elf)
        if architecture is None:
            return None, None, f"is for the unknown machine {elf.machine}"
        if elf.loader is None:
            # The busybox of minimal images is static; it shows the machine, though not the libc.
            self._static = self._static or elf
            return elf, None, f"is a static executable for {architecture}, which does not show the libc"
        unknown = "" if libc_of_loader(elf.loader) else "unknown "
        return elf, elf.loader, f"is for {architecture} and names the {unknown}loader {elf.loader!r}"

    def _judge(self, platform: Platform, elf: ElfFile) -> Optional[Platform]:
        """Check that the loader is what its name says, and that archives would find theirs."""
        target = ELF_TARGETS.get(platform.triple)
        if target is None or platform.libc not in _KINDS or platform.loader is None:
            return platform
        own = self._inspect(platform.loader, elf)
        if own.kind != _KINDS[platform.libc] and own.kind in ("gcompat", "musl", "glibc"):
            # It is a program for glibc that runs on Alpine by the compatibility layer; the host is musl (uv#4242).
            return None
        if platform.loader == target.loader:
            return self._complete(platform, own, elf)
        canonical = self._inspect(target.loader, elf)
        note = f"executables for {platform.triple} use the loader {target.loader!r}, not {platform.loader!r}"
        platform = platform._replace(notes=(*platform.notes, note))
        if not _works(canonical, platform.libc):
            return _with_problem(self._complete(platform, own, elf), canonical)
        # Archives get the libc of their own loader, such as Debian's even if the interpreter comes from Nix.
        return self._complete(platform, canonical if canonical.kind == _KINDS[platform.libc] else own, elf)

    def _inspect(self, path: str, elf: Optional[ElfFile] = None) -> LoaderFile:
        loader = inspect_loader(self._root, path, elf)
        self._evidence.append(loader.evidence)
        return loader

    def _complete(self, platform: Platform, loader: LoaderFile, elf: ElfFile) -> Platform:
        """Add the version of the libc that belongs to a loader."""
        if not _works(loader, platform.libc):
            return _with_problem(platform, loader)
        version = loader.version
        if platform.libc == "gnu":
            version, evidence = glibc_version(self._root, loader, elf)
            self._evidence += evidence
        if version is None and self._root.is_running_system:
            version = self._ask_the_system(platform, loader)
        return platform._replace(libc_version=version)

    def _ask_the_system(self, platform: Platform, loader: LoaderFile) -> Optional[Version]:
        if loader.kind == "musl" and loader.resolved:
            version, said = ask_musl_loader(loader.resolved)
        elif (
            platform.libc == "gnu"
            and platform.loader == loader.path
            and self._asked == os.path.realpath(sys.executable)
        ):
            # confstr answers for the libc of this very process, so that must be the libc in question.
            version, said = ask_confstr()
        else:
            return None
        self._evidence.append(said)
        return version

    def _decide_by_loaders(self) -> Platform:
        """Take the first loader that is what its name says; those of the distribution's libc come first."""
        preferred = "musl" if self._system_is_musl() else "gnu"
        targets = sorted(ELF_TARGETS.values(), key=lambda target: target.libc != preferred)
        paths = dict.fromkeys(target.loader for target in targets if target.libc != "android")
        return next(filter(None, map(self._ask_loader, paths)), None) or self._without_loader(preferred)

    def _ask_loader(self, path: str) -> Optional[Platform]:
        """Return the platform of a loader, if it is what its name says and is where its target has it."""
        libc = libc_of_loader(path)
        if libc is None or self._root.locate(path) is None:
            return None
        loader = self._inspect(path)
        if loader.kind != _KINDS.get(libc):
            return None
        with self._root.open(path) as file:
            elf = read_elf(file)
        platform = _platform_of(elf, libc, path)
        target = ELF_TARGETS.get(platform.triple)
        if target is None or target.loader != path or (self._static and machine_of(elf) != machine_of(self._static)):
            return None
        return self._complete(platform, loader, elf)

    def _without_loader(self, preferred: str) -> Platform:
        # Alpine images without a libc have a static userland and the name of a musl system. For a glibc system a
        # message is better than a guess, since PT_INTERP of archives would name a loader that is missing anyway.
        if self._static is None or preferred != "musl":
            findings = [f"{item.path!r} {item.finding}" for item in self._evidence] or ["none of these files exists"]
            raise HostError(
                f"could not identify the libc of '{self._root.path}': "
                "no dynamic executable among the usual ones, and no loader of glibc or musl",
                hint="\n".join([*findings, "set target, for example to x86_64-unknown-linux-musl"]),
            )
        triple = triple_of(self._static, "musl", "")
        loader = ELF_TARGETS[triple].loader if triple in ELF_TARGETS else "/lib/ld-musl"
        return _with_problem(_platform_of(self._static, "musl", loader), self._inspect(loader))

    def _system_is_musl(self) -> bool:
        for path in ("/etc/os-release", "/usr/lib/os-release"):
            located = self._root.locate(path)
            # A file that does not exist or cannot be read is skipped.
            with suppress(HostError), self._root.open(path) as file:
                # A link may lead to a file of /proc, which is read without blocking and returns None if it has no data.
                text = (file.read(1 << 16) or b"").decode("utf-8", "replace")
                # ID and ID_LIKE, as os-release(5) has them.
                values = " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", text, re.MULTILINE))
                names = re.findall(r"[a-z0-9._-]+", values.lower()[:200]) or ["an unnamed system"]
                identity = located.identity if located else None
                self._evidence.append(Evidence(path, f"says that this is {' or '.join(names)}", identity))
                return not _MUSL_SYSTEMS.isdisjoint(names)
        return False


def _with_problem(platform: Platform, loader: LoaderFile) -> Platform:
    problem = f"its loader {loader.path!r} {loader.evidence.finding}"
    return platform._replace(problem=problem, hint=_HINTS.get(loader.kind, _HINTS["missing"]))


def _works(loader: LoaderFile, libc: str) -> bool:
    # "other" is not refused: it may be a loader that we do not know, and the smoke run decides.
    return loader.kind in (_KINDS[libc], "nix-ld", "other")


def _platform_of(elf: ElfFile, libc: str, loader: str) -> Platform:
    platform = Platform(triple_of(elf, libc, loader), architecture_of(elf) or "unknown", libc, loader=loader)
    return platform._replace(float_abi=float_abi_of(elf, loader), bits=elf.bits, byte_order=elf.byte_order)
