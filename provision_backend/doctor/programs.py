"""Other programs that a build may need: a C compiler for this libc, and the frontends and what they do not do."""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
from typing import Iterator, List, Mapping, Optional

from ..errors import InterpreterError, ProvisionError
from ..processes import run_quiet
from ..project.plan import running_interpreter
from ..versions import satisfies
from .context import Context
from .findings import Finding, ok, warning

__all__ = ["check_compiler", "check_frontends"]

_SECONDS = 5.0  # that a program has to say its version
_INSTALL = (
    "only projects with C extensions need it: apt-get install build-essential (Debian, Ubuntu), "
    "apk add build-base (Alpine),\ndnf install gcc (Fedora, RHEL)"
)
_HEADERS = (
    "only projects with C extensions need them: apt-get install libc6-dev (Debian, Ubuntu), "
    "apk add musl-dev (Alpine),\ndnf install glibc-devel (Fedora, RHEL)"
)


def check_compiler(context: Context) -> Iterator[Finding]:
    """Find the C compiler, and try whether it has the headers of the libc and makes programs for it."""
    named = context.environ.get("CC", "")
    command = _words(named) or [name for name in ("cc", "gcc", "clang") if _which(name, context.environ)][:1]
    if not command:
        yield warning("no C compiler is on PATH", _INSTALL)
        return
    if _which(command[0], context.environ) is None:
        yield warning(f"CC names {command[0]!r}, which is not there", "correct or unset CC")
        return
    version = _ask([command[0], "--version"], context.environ)
    if version is None:
        yield warning(f"{command[0]} does not start or does not answer", _INSTALL)
        return
    yield ok(f"{' '.join(command)}: {version}{' (CC)' if named else ''}")
    yield from _target(command[0], context)
    if _ask([*command, "-E", "-include", "stdlib.h", "-x", "c", "/dev/null"], context.environ) is None:
        yield warning(f"{command[0]} does not find the headers of the C library", _HEADERS)


def _target(compiler: str, context: Context) -> Iterator[Finding]:
    machine = _ask([compiler, "-dumpmachine"], context.environ)
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


def _words(command: str) -> List[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return [command]


def _which(program: str, environ: Mapping[str, str]) -> Optional[str]:
    return shutil.which(program, path=environ.get("PATH"))


def _ask(command: List[str], environ: Mapping[str, str]) -> Optional[str]:
    """Return the first line that a program prints, None where it fails."""
    try:
        done = run_quiet(command, env=environ, timeout=_SECONDS)
    except InterpreterError:
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return (lines[0].strip() if lines else "") if done.returncode == 0 else None


def _installed(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_frontends(context: Context) -> Iterator[Finding]:
    """Say which frontends are there, and which of them refuse this project."""
    found = [text for text in map(_installed, ("build", "pip")) if text]
    uv = _which("uv", context.environ)
    version = _ask([uv, "--version"], context.environ) if uv else None
    found += [version] if version else []
    yield ok(", ".join(found) or "neither build, pip nor uv is here")
    if context.settings.installer == "uv" and not uv and not context.environ.get("UV"):
        advice = "install uv, or unset it to have the interpreter's own pip install"
        yield warning(
            f"the installer uv is asked for ({context.settings.origin('installer')}), and none is on PATH", advice
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
