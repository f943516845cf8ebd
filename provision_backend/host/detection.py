"""Decide what the host is: its files in, a :class:`Platform` with the evidence for it out.

Order of evidence:

1. the running interpreter's own executable, whose loader certainly works here;
2. the usual executables (``/bin/sh`` and others), scripts and static ones being no answer (uv#1486, uv#1810);
3. the loaders that exist, those of the libc first that ``/etc/os-release`` stands for (uv#8635).

The first executable decides whose loader exists, is what its name says, and is where executables of python-build-
standalone look for theirs. One that fails at this is kept for the case that none does better; then its failure is the
platform's ``problem``. Architecture, word size, byte order and float ABI come from ELF headers: the kernel may have
another word size than the userland (uv#13288), and under qemu-user it is of another machine altogether.

Everything is read through a root directory, so that any unpacked image can be inspected, and nothing is executed,
with one exception: the loader of musl on the running system, when its file does not tell its version.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import List, Optional, Tuple

from ..errors import HostError
from .compatibility import check_archive_runs, check_tree
from .elf import ElfFile, read_elf
from .loaders import LoaderFile, Version, glibc_version, inspect_loader, libc_of_loader
from .platforms import Evidence, Platform, platform_from_triple
from .rootfs import RootDirectory
from .running import ask_confstr, ask_musl_loader, has_elf_files, platform_without_elf
from .targets import ELF_TARGETS, architecture_of, float_abi_of, triple_of

__all__ = [
    "Evidence",
    "Platform",
    "check_archive_runs",
    "check_tree",
    "detect_platform",
    "platform_from_triple",
]

# NixOS has only the second of these, Rocky's ls is a script, and a company's sh may be one; Android, NixOS and Guix
# have their executables elsewhere.
_EXECUTABLES = (
    "/bin/sh",
    "/usr/bin/env",
    "/bin/ls",
    "/bin/bash",
    "/bin/dash",
    "/bin/busybox",
    "/usr/bin/busybox",
    "/usr/bin/coreutils",
    "/usr/bin/python3",
    "/usr/local/bin/python3",
    "/run/current-system/sw/bin/sh",
    "/run/current-system/profile/bin/sh",
    "/data/data/com.termux/files/usr/bin/sh",
    "/system/bin/sh",
)

# What os-release calls the systems whose libc is musl. Void has both and does not say which.
_MUSL_SYSTEMS = frozenset({"alpine", "postmarketos", "chimera", "adelie", "openwrt", "kiss"})

# The file behind the path of a loader, if all is well.
_KINDS = {"gnu": "glibc", "musl": "musl"}

_NIX_HINT = (
    "enable nix-ld (programs.nix-ld.enable = true), build in an FHS environment, "
    "or set preference = system and install an interpreter of the system"
)
_HINTS = {
    "stub-ld": _NIX_HINT,
    "gcompat": "set target to the musl triple of this host",
    "missing": "install the libc of the distribution that has this loader, "
    "or set preference = system and install an interpreter of the system",
}


def detect_platform(*, root: Path = Path("/"), executable: Optional[str] = None) -> Platform:
    """Find out what the host is, or what an unpacked image is for.

    Args:
        root: directory that holds the root file system.
        executable: absolute path, inside the root, of an executable to ask first; None for the running interpreter
            where the root is that of the running system, an empty string for none.

    Returns:
        The platform. Its ``problem`` is set where executables of its triple do not start.

    Raises:
        HostError: nothing there tells the architecture or the libc.
        MissingDependencyError: pyelftools is not installed.
    """
    directory = RootDirectory(root)
    if directory.is_running_system and not has_elf_files():
        return platform_without_elf()
    if executable is None:
        executable = os.path.realpath(sys.executable) if directory.is_running_system and sys.executable else ""
    return _Detection(directory).decide(executable)


class _Detection:
    """One search through a root, and what it has seen so far."""

    def __init__(self, root: RootDirectory) -> None:
        self._root = root
        self._evidence: List[Evidence] = []
        self._static: Optional[ElfFile] = None
        self._doubtful: Optional[Platform] = None
        self._asked = ""

    def decide(self, executable: str) -> Platform:
        for path in filter(None, (executable, *_EXECUTABLES)):
            platform = self._ask(path)
            if platform and not platform.problem:
                return self._conclude(platform)
            self._doubtful = self._doubtful or platform
        if self._doubtful:
            return self._conclude(self._doubtful)
        return self._conclude(self._decide_by_loaders())

    def _conclude(self, platform: Platform) -> Platform:
        return platform._replace(evidence=tuple(self._evidence))

    def _ask(self, path: str) -> Optional[Platform]:
        """Take an executable's answer; None where it has none."""
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
                if file.read(2) == b"#!":
                    return None, None, "is a script, which is no answer"
                elf = read_elf(file)
        except HostError as exc:
            return None, None, f"is no answer: {exc.message}"
        architecture = architecture_of(elf)
        if architecture is None:
            return None, None, f"is for machine {elf.machine}, which has no name here"
        if elf.loader is None:
            self._static = self._static or elf
            return elf, None, f"is a static executable for {architecture}, which tells no libc"
        if libc_of_loader(elf.loader) is None:
            return elf, None, f"is for {architecture} and names the unknown loader {elf.loader!r}"
        return elf, elf.loader, f"is for {architecture} and names the loader {elf.loader!r}"

    def _judge(self, platform: Platform, elf: ElfFile) -> Optional[Platform]:
        """Look whether the loader is what it seems, and whether archives would find theirs."""
        target = ELF_TARGETS.get(platform.triple)
        if target is None or platform.libc not in _KINDS or platform.loader is None:
            return platform
        own = self._inspect(platform.loader)
        if own.kind != _KINDS[platform.libc] and own.kind in ("gcompat", "musl", "glibc"):
            # A program for glibc that runs on Alpine by its compatibility layer; the host is musl (uv#4242).
            return None
        if platform.loader == target.loader:
            return self._complete(platform, own, elf)
        canonical = self._inspect(target.loader)
        note = f"executables for {platform.triple} use the loader {target.loader!r}, not {platform.loader!r}"
        platform = platform._replace(notes=(*platform.notes, note))
        if not _works(canonical, platform.libc):
            return self._with_problem(self._complete(platform, own, elf), canonical)
        # The libc of archives is the one that belongs to their loader, such as Debian's under an interpreter from Nix.
        return self._complete(platform, canonical if canonical.kind == _KINDS[platform.libc] else own, elf)

    def _inspect(self, path: str) -> LoaderFile:
        loader = inspect_loader(self._root, path)
        self._evidence.append(loader.evidence)
        return loader

    def _complete(self, platform: Platform, loader: LoaderFile, elf: ElfFile) -> Platform:
        """Add the version of the libc that belongs to a loader."""
        if not _works(loader, platform.libc):
            return self._with_problem(platform, loader)
        version = loader.version
        if platform.libc == "gnu":
            version, evidence = glibc_version(self._root, loader, elf)
            self._evidence += evidence
        if version is None and self._root.is_running_system:
            version = self._ask_the_system(platform, loader)
        return platform._replace(libc_version=version)

    def _ask_the_system(self, platform: Platform, loader: LoaderFile) -> Optional[Version]:
        if platform.libc == "musl" and loader.resolved:
            version, said = ask_musl_loader(loader.resolved)
        elif platform.loader == loader.path and self._asked == os.path.realpath(sys.executable):
            # Only the libc of this very process answers, so it must be the one that is asked about.
            version, said = ask_confstr()
        else:
            return None
        self._evidence.append(said)
        return version

    def _with_problem(self, platform: Platform, loader: LoaderFile) -> Platform:
        problem = f"its loader {loader.path!r} {loader.evidence.finding}"
        return platform._replace(problem=problem, hint=_HINTS.get(loader.kind, _HINTS["missing"]))

    def _decide_by_loaders(self) -> Platform:
        """Take the first loader that is what its name says; the libc of the distribution first, then glibc."""
        preferred = "musl" if self._system_is_musl() else "gnu"
        targets = sorted(ELF_TARGETS.values(), key=lambda target: target.libc != preferred)
        for path in dict.fromkeys(target.loader for target in targets if target.libc != "android"):
            platform = self._ask_loader(path)
            if platform:
                return platform
        return self._without_loader(preferred)

    def _ask_loader(self, path: str) -> Optional[Platform]:
        """Take a loader for the answer, if it is what its name says and where its target has it."""
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
        if target is None or target.loader != path or (self._static and not _same_machine(elf, self._static)):
            return None
        return self._complete(platform, loader, elf)

    def _without_loader(self, preferred: str) -> Platform:
        if self._static is None or preferred != "musl":
            findings = [f"{item.path!r} {item.finding}" for item in self._evidence] or ["nothing of that exists"]
            raise HostError(
                f"could not identify the libc of '{self._root.path}': "
                "no dynamic executable among the usual ones, and no loader of glibc or musl",
                hint="\n".join([*findings, "set target, for example to x86_64-unknown-linux-musl"]),
            )
        triple = triple_of(self._static, "musl", "")
        loader = ELF_TARGETS[triple].loader if triple in ELF_TARGETS else "/lib/ld-musl"
        platform = _platform_of(self._static, "musl", loader)
        return self._with_problem(platform, self._inspect(loader))

    def _system_is_musl(self) -> bool:
        for path in ("/etc/os-release", "/usr/lib/os-release"):
            located = self._root.locate(path)
            if located is None or not located.is_file:
                continue
            try:
                names = _names_in_os_release(self._root.read(path, 1 << 16))
            except HostError:
                continue
            self._evidence.append(Evidence(path, f"says that this is {' or '.join(names)}", located.identity))
            return not _MUSL_SYSTEMS.isdisjoint(names)
        return False


def _works(loader: LoaderFile, libc: str) -> bool:
    # "other" is not refused: it may be a loader that nobody here has heard of, and the smoke run will tell.
    return loader.kind in (_KINDS[libc], "nix-ld", "other")


def _platform_of(elf: ElfFile, libc: str, loader: str) -> Platform:
    return Platform(
        architecture=architecture_of(elf) or "unknown",
        libc=libc,
        libc_version=None,
        triple=triple_of(elf, libc, loader),
        loader=loader,
        float_abi=float_abi_of(elf, loader),
        bits=elf.bits,
        byte_order=elf.byte_order,
    )


def _same_machine(first: ElfFile, second: ElfFile) -> bool:
    return (first.machine, first.bits, first.byte_order) == (second.machine, second.bits, second.byte_order)


def _names_in_os_release(text: bytes) -> List[str]:
    """Return the values of ID and ID_LIKE (os-release(5))."""
    values = re.findall(r"^ID(?:_LIKE)?=(.*)$", text.decode("utf-8", "replace"), re.MULTILINE)
    return re.findall(r"[a-z0-9._-]+", " ".join(values).lower()[:200]) or ["an unnamed system"]
