"""Find out how the interpreters of a target triple are run on this machine: `how_to_run` → `Runs`.

They run as they are where the triple is the host's own, or where the loader of the other libc is installed, as Debian's
package ``musl`` does it. With a root file system of that target they run too: qemu-user, which looks for a program's
loader and libraries in the root first (``QEMU_LD_PREFIX``), is registered for programs of the other architecture in a
user namespace of its own, so that nothing else on the machine notices (Linux 6.7 or later); and the loader of the other
libc on this very CPU is shown where programs look for it, in a mount namespace of its own. So the installers and all
other programs of this machine work in there as usual. Whether it works is not guessed: the loader is started.

Source: Linux ``Documentation/admin-guide/binfmt-misc.rst`` and ``overlayfs.rst``; QEMU User space emulator, "-L path".
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..errors import InterpreterError
from ..host.elf import ElfFile, read_elf
from ..host.loaders import inspect_loader
from ..host.rootfs import RootDirectory
from ..host.targets import ELF_TARGETS, Target, architecture_name, split_level
from ..processes import run_quiet
from ..settings import Settings

__all__ = ["HOST", "NATIVE", "ROOT", "Runs", "enter_root", "how_to_run", "settings_for"]

HOST, NATIVE, ROOT = "host", "native", "root"

# What the environment of a triple is called by `inspect_loader`, and what its loader says when it is started.
_KINDS = {"gnu": "glibc", "musl": "musl"}
_SAYS = {"gnu": re.compile(r"ld[.-][\w.-]*so|GNU C Library", re.IGNORECASE), "musl": re.compile(r"musl libc \(")}

# "$1" is the line for binfmt_misc; it is followed by the program and its arguments.
_REGISTER = """
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
printf '%s' "$1" >/proc/sys/fs/binfmt_misc/register && shift && exec "$@"
"""

# "$1" is the folder of this machine in which programs look for their loader, "$2" that of the root with the loader.
# What both have is this machine's; an overlay without an upper layer is read-only.
_SHOW_LOADER = 'mount -t overlay overlay -o "lowerdir=$1:$2" "$1" && shift 2 && exec "$@"'

_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


class Runs(NamedTuple):
    """How the interpreters of a target are run."""

    how: str
    """`HOST` where the target is this host's own, `NATIVE` where programs for another one start here as well, `ROOT`
    where they do with a root, and empty where they do not."""
    command: Tuple[str, ...] = ()
    """What a process that is to run them is started by: a program and its first arguments, before its own."""
    variables: Tuple[Tuple[str, str], ...] = ()
    """Environment variables for it."""
    reason: str = ""
    """Why they cannot be run, as a sentence without a capital letter."""


def how_to_run(triple: str, settings: Settings, root: str = "") -> Runs:
    """Find out how the interpreters of a target triple of Linux are run here.

    The *root* is the absolute path of a folder with the root file system of the target; empty for none.

    Raises:
        HostError: this host could not be identified, or the root is not a folder.
        MissingDependencyError: pyelftools is not installed.
    """
    host = current_platform(settings, open_cache(settings)).triple
    target = ELF_TARGETS.get(split_level(triple)[0])
    if split_level(triple)[0] == split_level(host)[0]:
        return Runs(HOST)
    if target is None or target.libc not in _KINDS:
        return Runs("", reason=f"{triple} is no target of Linux with glibc or musl")
    here = RootDirectory(Path("/"))
    # The name alone proves nothing: it may be gcompat's, which is not enough for a CPython.
    if inspect_loader(here, target.loader).kind == _KINDS[target.libc] and not _failure(target, target.loader):
        return Runs(NATIVE)
    if not root:
        return Runs("", reason=f"this host has no loader {target.loader} that starts, and no root was named")
    return _in_root(target, ELF_TARGETS.get(split_level(host)[0]), Path(os.path.realpath(root)))


def settings_for(triple: str, how: str, settings: Settings) -> Settings:
    """Return the settings by which an interpreter of a target that runs here is provisioned."""
    # The interpreters of this machine are for its own target, and none of them may stand in.
    return settings if how == HOST else settings._replace(target=triple, preference="only-managed")


def enter_root(runs: Runs, command: Sequence[str]) -> None:
    """Have this process run interpreters in this way from now on.

    Where that takes namespaces of its own, *command*, which is to do the same as this process, takes its place.
    """
    os.environ.update(dict(runs.variables))
    if runs.command:
        os.execvp(runs.command[0], [*runs.command, *command])  # noqa: S606 (the program is ours)


def _in_root(target: Target, host: Optional[Target], root: Path) -> Runs:
    found = inspect_loader(RootDirectory(root), target.loader)
    if found.kind != _KINDS[target.libc] or found.resolved is None:
        return Runs("", reason=f"{root} is no root for {target.triple}: its {target.loader} {found.evidence.finding}")
    loader = f"{root}{found.resolved}"
    direct = _failure(target, loader)
    if not direct and host is not None and _same_cpu(target, host):
        return _with_loader(target, host, root)
    prefix = (("QEMU_LD_PREFIX", str(root)),)
    if not direct:
        return Runs(ROOT, (), prefix)  # Somebody has registered qemu for the whole machine.
    name = f"qemu-{architecture_name(target.architecture, 'qemu')}"
    # Since Debian 13 the one without the ending is linked statically, too.
    emulator = shutil.which(f"{name}-static") or shutil.which(name)
    if emulator is None:
        return Runs("", reason=f"there is no program {name} or {name}-static, with which {target.architecture} runs")
    line = _binfmt_line(read_elf(Path(loader)), emulator)
    return _tried(target, Runs(ROOT, (*_NAMESPACES, _REGISTER, "sh", line), prefix), loader)


def _with_loader(target: Target, host: Target, root: Path) -> Runs:
    """Show the loader of the root where programs for this CPU look for it."""
    folder = os.path.dirname(target.loader)
    here, there = os.path.realpath(folder), RootDirectory(root).locate(folder)
    if target.libc == "gnu" and host.libc != "gnu":
        # musl's loader is its libc; that of glibc needs libraries at paths that this host does not have.
        return Runs("", reason=f"glibc of {root} cannot be shown to programs on a host with {host.libc}")
    if there is None or there.identity is None or not os.path.isdir(here):
        return Runs("", reason=f"this host has no folder {here}, in which the loader of {root} could be shown")
    return _tried(target, Runs(ROOT, (*_NAMESPACES, _SHOW_LOADER, "sh", here, f"{root}{there.path}")), target.loader)


def _tried(target: Target, runs: Runs, loader: str) -> Runs:
    """Return *runs* if it starts a loader, else why it does not."""
    failure = _failure(target, loader, runs)
    return Runs("", reason=f"programs for {target.triple} do not start here: {failure}") if failure else runs


def _failure(target: Target, loader: str, runs: Optional[Runs] = None) -> str:
    """Start a loader and return why that has failed; empty if it has not."""
    runs = runs or Runs(NATIVE)
    try:
        done = run_quiet([*runs.command, loader, "--version"], env={**os.environ, **dict(runs.variables)}, timeout=60)
    except InterpreterError as exc:
        return exc.message
    said = done.stdout + done.stderr
    return "" if _SAYS[target.libc].search(said) else (said.strip().splitlines() or ["it says nothing"])[-1]


def _same_cpu(target: Target, host: Target) -> bool:
    return target.architecture == host.architecture or (target.architecture, host.architecture) == ("i686", "x86_64")


def _binfmt_line(elf: ElfFile, emulator: str) -> str:
    """Return the line that registers an emulator at binfmt_misc for the machine of an ELF file."""
    order = "little" if elf.byte_order == "little" else "big"
    head = b"\x7fELF" + bytes([elf.bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    magic = head + (2).to_bytes(2, order) + elf.machine.to_bytes(2, order)  # type: ignore[arg-type]
    # Any ABI, and an executable or a shared object: ET_EXEC is 2, ET_DYN is 3.
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + (b"\xfe\xff" if order == "little" else b"\xff\xfe") + b"\xff\xff"
    escaped = [re.sub("..", r"\\x\g<0>", raw.hex()) for raw in (magic, mask)]
    # The flag F opens the emulator now, as this machine sees it.
    return f":provision-backend:M::{escaped[0]}:{escaped[1]}:{emulator}:F"
