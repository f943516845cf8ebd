"""The machine and the Python that runs us: libc and loader, packages of ours, clock and temporary folder."""

from __future__ import annotations

import importlib.util
import os
import platform as running
import sys
import tempfile
import time
from typing import Callable, Iterator, Tuple

from ..errors import MissingDependencyError, ProvisionError
from .context import Context
from .findings import Finding, ok, problem, warning
from .folders import describe, free_bytes, is_noexec, try_writing

__all__ = ["check_clock", "check_host", "check_packages", "check_python", "check_temporary"]

_MODULES = (("pyelftools", "elftools"), ("certifi", "certifi"))
_ROOM = 200_000_000  # bytes; a build environment with its packages, and what is compiled in it


def check_host(context: Context) -> Iterator[Finding]:
    """Find out the libc and architecture, and whether a standalone CPython starts here."""
    from ..host.compatibility import minimum_libc_version
    from ..host.platforms import format_version

    try:
        platform = context.platform()
    except MissingDependencyError:
        raise
    except ProvisionError as exc:
        yield context.report(exc.message, exc.hint, matters=context.needed())
        return
    notes = "".join(f"; {note}" for note in platform.notes)
    if context.settings.target:
        notes += f"; set by {context.settings.origin('target')}, not detected"
    yield ok(f"{platform.triple}, {platform.libc_name}{notes}")
    if platform.problem:
        yield context.report(platform.problem, platform.hint, matters=context.needed())
    floor = minimum_libc_version(platform)
    if floor and platform.libc_version and platform.libc_version < floor:
        yield context.report(
            f"{platform.libc_name} is too old: standalone CPythons for {platform.triple} need "
            f"{format_version(floor)} or newer",
            "build on a newer system, or set preference = only-system and install an interpreter of the system",
            matters=context.needed(),
        )
    machine = os.uname().machine if hasattr(os, "uname") else ""
    detected = not context.settings.target and context.root.samefile("/")
    if detected and _is_emulated(machine, platform.architecture):
        yield warning(
            f"the kernel is for {machine} and the programs are for {platform.architecture}: they are emulated, "
            "or a 32-bit userland",
            "builds work and may be slow; for wheels of the machine itself use a Python that is built for it",
        )


def _is_emulated(machine: str, architecture: str) -> bool:
    if not machine:
        return False
    same = {"arm64": "aarch64", "amd64": "x86_64", "i386": "i686", "i586": "i686", "ppc64": "powerpc64"}
    machine = same.get(machine, machine)
    return machine[:3] != architecture[:3] if machine.startswith(("arm", "mips")) else machine != architecture


def check_python(context: Context) -> Iterator[Finding]:
    """Say which Python runs us, and where."""
    kind = running.python_implementation()
    place = f"in the virtual environment {sys.prefix}" if sys.prefix != sys.base_prefix else "in no virtual environment"
    yield ok(f"{kind} {running.python_version()} at {sys.executable}, {place}")
    for name in ("PYTHONHOME", "PYTHONPATH"):
        if context.environ.get(name):
            yield ok(f"{name} is set; the interpreters that builds are provisioned with do not get it")


def check_packages(_context: Context) -> Iterator[Finding]:
    """Look whether what only provisioning needs is installed."""
    from ..hooks.requirements import missing_extra

    missing = missing_extra("provision")
    # A checkout without metadata says nothing about what it needs.
    missing = missing or [name for name, module in _MODULES if importlib.util.find_spec(module) is None]
    if missing:
        yield warning(
            f"missing for provisioning: {', '.join(missing)}",
            "a frontend with build isolation installs them by itself; for builds without, and for this command line:\n"
            f"{sys.executable} -m pip install 'provision-backend[provision]'",
        )
    else:
        yield ok("all that provisioning needs is installed")


def check_clock(context: Context, *, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Look whether the clock is before what is known to have happened; certificates are not yet valid then."""
    today = time.strftime("%Y-%m-%d", time.gmtime(now()))
    latest = _latest_release()
    if latest and today.replace("-", "") < latest[1]:
        yield context.report(
            f"it says {today}, and the built-in catalog has a release of {latest[0]}",
            "set the clock; until then servers' certificates count as not yet valid",
            matters=context.fetching(),
        )
    else:
        yield ok(f"it says {today} {time.strftime('%H:%M', time.gmtime(now()))} UTC")


def _latest_release() -> Tuple[str, ...]:
    from ..catalog.selection import load_builtin_catalog

    tag = max((archive.tag for archive in load_builtin_catalog("x86_64-unknown-linux-gnu")), default="")
    return (f"{tag[:4]}-{tag[4:6]}-{tag[6:]}", tag) if tag else ()


def check_temporary(context: Context) -> Iterator[Finding]:
    """Look at the folder in which frontends make their build environments."""
    try:
        folder = tempfile.gettempdir()
    except OSError:
        yield problem("no folder for temporary files can be written", "set TMPDIR to one that can be")
        return
    named = context.environ.get("TMPDIR", "")
    if named and os.path.realpath(named) != os.path.realpath(folder):
        yield warning(f"TMPDIR names {named}, which cannot be used; {folder} is used", "correct or unset TMPDIR")
    error = try_writing(folder)
    if error is not None:
        yield problem(f"{folder} cannot be written: {error.strerror}", "make room, or set TMPDIR to another folder")
    if is_noexec(folder):
        yield warning(
            f"{folder} is mounted noexec: compiled backends and tools that a build installs there do not start",
            "set TMPDIR to a folder where programs may run",
        )
    room = free_bytes(folder)
    if room is not None and room < _ROOM:
        yield warning(f"{describe(folder)} has little room", "make room, or set TMPDIR to another folder")
    yield ok(describe(folder))
