"""Check the machine, the running Python, and the programs that a build may need: libc, clock, compiler, frontends."""

from __future__ import annotations

import importlib.util
import os
import platform as running
import shlex
import shutil
import sys
import tempfile
import time
from typing import Callable, Iterator, List, Mapping, Optional

from ..catalog.selection import load_builtin_catalog
from ..errors import HostError, InterpreterError, MissingDependencyError, ProvisionError
from ..files import free_bytes, is_noexec
from ..hooks.requirements import find_distributions, missing_extra
from ..host.compatibility import check_libc_version
from ..host.compilers import TOOLCHAIN_ADVICE, missing_compiler
from ..host.targets import read_machine
from ..processes import run_quiet
from ..project.plan import running_interpreter
from ..systems import RUNNING, kernel_machine
from ..versions import satisfies
from .caches import describe, try_writing
from .context import Context, Finding, ok, problem, warning

__all__ = [
    "ask", "check_clock", "check_compiler", "check_frontends", "check_host", "check_packages", "check_python",
    "check_temporary",
]  # fmt: skip

_ROOM = 200_000_000  # bytes; a build environment with its packages, and what is compiled in it
_SECONDS = 5.0  # for a program to print its version
_INSTALL = (
    "only projects with C extensions need {}: apt-get install {} (Debian, Ubuntu), apk add {} (Alpine),\n"
    "dnf install {} (Fedora, RHEL)"
)
_COMPILER = _INSTALL.format("it", "build-essential", "build-base", "gcc")
_HEADERS = _INSTALL.format("them", "libc6-dev", "musl-dev", "glibc-devel")


def check_host(context: Context) -> Iterator[Finding]:
    """Report the libc and the architecture, and check whether a standalone CPython starts here."""
    try:
        platform = context.platform()
    except MissingDependencyError:
        raise
    except ProvisionError as exc:
        yield context.if_needed(exc.message, exc.hint)
        return
    notes = "".join(f"; {note}" for note in platform.notes)
    if context.settings.target:
        notes += f"; set by {context.settings.origin('target')}, not detected"
    yield ok(f"{platform.triple}, {platform.libc_name}{notes}")
    if platform.problem:
        yield context.if_needed(platform.problem, platform.hint)
    try:
        check_libc_version(platform)
    except HostError as exc:
        yield context.if_needed(exc.message, exc.hint)
    machine = kernel_machine()
    # The running kernel is not that of an image which is only inspected.
    detected = not context.settings.target and context.root.samefile("/")
    if detected and _is_emulated(machine, platform.architecture):
        yield warning(
            f"the kernel is for {machine} and the programs are for {platform.architecture}: "
            "they are emulated, or a 32-bit userland",
            "builds work and may be slow; for wheels of the machine itself use a Python that is built for it",
        )


def _is_emulated(machine: str, architecture: str) -> bool:
    if not machine:
        return False
    machine = read_machine(machine)
    # For the same userland, a kernel may call itself armv6l, armv7l or armv8l, and mips or mips64.
    return machine[:3] != architecture[:3] if machine.startswith(("arm", "mips")) else machine != architecture


def check_python(context: Context) -> Iterator[Finding]:
    """Report the running Python and its environment."""
    kind = running.python_implementation()
    place = f"in the virtual environment {sys.prefix}" if sys.prefix != sys.base_prefix else "in no virtual environment"
    yield ok(f"{kind} {running.python_version()} at {sys.executable}, {place}")
    for name in ("PYTHONHOME", "PYTHONPATH"):
        if context.environ.get(name):
            yield ok(f"{name} is set; it is not passed on to the interpreters that are provisioned for builds")


def check_packages(_context: Context) -> Iterator[Finding]:
    """Check whether the packages that only provisioning needs are installed."""
    # A checkout without metadata names no requirements.
    reads_elf = RUNNING.executable_format != "ELF" or importlib.util.find_spec("elftools")
    missing = missing_extra("provision") or ([] if reads_elf else ["pyelftools"])
    if missing:
        # The environments of uv have no pip.
        has_pip = importlib.util.find_spec("pip")
        install = f"{sys.executable} -m pip install" if has_pip else f"uv pip install --python {sys.executable}"
        yield warning(
            f"missing for provisioning: {', '.join(missing)}",
            "a frontend with build isolation installs them by itself; for builds without, and for this command line:\n"
            f"{install} 'provision-backend[provision]'",
        )
    else:
        yield ok("all packages that provisioning needs are installed")


def check_clock(context: Context, *, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Check whether the clock is before the newest release that we know of; certificates are not yet valid then."""
    # A board without a battery starts in 1970.
    today = time.gmtime(now())
    latest = max((archive.tag for archive in load_builtin_catalog("x86_64-unknown-linux-gnu")), default="")
    if time.strftime("%Y%m%d", today) < latest:
        yield context.if_fetching(
            f"it says {time.strftime('%Y-%m-%d', today)}, and the built-in catalog has a release of "
            f"{latest[:4]}-{latest[4:6]}-{latest[6:]}",
            "set the clock; until then servers' certificates count as not yet valid",
        )
    else:
        yield ok(f"it says {time.strftime('%Y-%m-%d %H:%M', today)} UTC")


def check_temporary(context: Context) -> Iterator[Finding]:
    """Check the folder in which frontends make their build environments."""
    # gettempdir writes into each candidate, so the folder that it returns can be used.
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
        found = f"{folder} is mounted noexec: compiled backends and tools that a build installs there do not start"
        yield warning(found, "set TMPDIR to a folder where programs may run")
    room = free_bytes(folder)
    if room is not None and room < _ROOM:
        yield warning(f"{describe(folder)} has little room", "make room, or set TMPDIR to another folder")
    yield ok(describe(folder))


def check_compiler(context: Context) -> Iterator[Finding]:
    """Check whether there is a C compiler, with the headers of the libc, that makes programs for this libc."""
    if RUNNING.name == "windows":
        missing, _, advice = missing_compiler(context.environ).partition("\n")
        yield warning(missing, advice.strip()) if missing else ok("Microsoft Visual C++ is installed")
        return
    if context.settings.toolchain == "zig":
        yield ok(f"zig, from the package ziglang ({context.settings.origin('toolchain')})")
        return
    named = context.environ.get("CC", "")
    try:
        # As for distutils and make, CC may have options too: "gcc -m32", "ccache cc".
        command = shlex.split(named)
    except ValueError:
        command = [named]
    command = command or [name for name in ("cc", "gcc", "clang") if _which(name, context.environ)][:1]
    if not command:
        yield warning("no C compiler is on PATH", f"{_COMPILER}; or {TOOLCHAIN_ADVICE}")
        return
    if _which(command[0], context.environ) is None:
        yield warning(f"CC names {command[0]!r}, which does not exist", "correct or unset CC")
        return
    version = ask([command[0], "--version"], context.environ)
    if version is None:
        yield warning(f"{command[0]} does not start or does not answer", _COMPILER)
        return
    yield ok(f"{' '.join(command)}: {version}{' (CC)' if named else ''}")
    yield from _check_target(command[0], context)
    # On Alpine and Debian a compiler may lack the headers: musl-dev and libc6-dev are packages of their own.
    if ask([*command, "-E", "-include", "stdlib.h", "-x", "c", "/dev/null"], context.environ) is None:
        yield warning(f"{command[0]} does not find the headers of the C library", _HEADERS)


def _check_target(compiler: str, context: Context) -> Iterator[Finding]:
    machine = ask([compiler, "-dumpmachine"], context.environ)
    try:
        triple = context.platform().triple
    except ProvisionError:
        return
    if machine is None or "linux" not in machine or "linux" not in triple:
        return
    made, wanted = ("musl" if "musl" in text else "gnu" for text in (machine, triple))
    if made != wanted:
        yield warning(
            f"{compiler} makes programs for {machine}, and interpreters here are for {triple}",
            "extension modules for another libc are not loaded; set CC to a compiler for this one",
        )


def _which(program: str, environ: Mapping[str, str]) -> Optional[str]:
    return shutil.which(program, path=environ.get("PATH"))


def ask(command: List[str], environ: Mapping[str, str]) -> Optional[str]:
    """Return the first line that a program prints; None if it fails."""
    try:
        done = run_quiet(command, env=environ, timeout=_SECONDS)
    except InterpreterError:
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return (lines[0].strip() if lines else "") if done.returncode == 0 else None


def check_frontends(context: Context) -> Iterator[Finding]:
    """Report which frontends are installed, and which of them refuse this project."""
    installed = find_distributions(sys.path)
    found = [f"{name} {installed[name].version}" for name in ("build", "pip") if name in installed]
    uv = _which("uv", context.environ)
    version = ask([uv, "--version"], context.environ) if uv else None
    found += [version] if version else []
    yield ok(", ".join(found) or "neither build, pip nor uv is installed")
    # `uv run` and `uv build` put themselves into UV, and need not be on PATH.
    if context.settings.installer == "uv" and not uv and not context.environ.get("UV"):
        yield warning(
            f"the installer uv is requested ({context.settings.origin('installer')}), and no uv is on PATH",
            "install uv, or unset it to have the interpreter's own pip install",
        )
    try:
        project = context.project()
    except ProvisionError:
        return
    if project is not None and not satisfies(project.requires_python, running_interpreter().version):
        yield ok(
            "'python -m build', 'uv build' and 'pip wheel --ignore-requires-python' build this project here; "
            "'pip install' and 'uv pip install' refuse it",
            "they refuse what the Python that they install into could not run",
        )
