"""Run other programs: a command in, what it printed out; no foreign exception leaves.

No child gets a standard input: a hidden prompt would hang a build. The variables that an interpreter is run with
are made in `provision_backend.variables`, and callers find that function here, too.

A pass-through build runs nothing, and does not import this module.

What is run for a frontend does not outlive it; `provision_backend.frontend_watch` says how.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

from .errors import InterpreterError
from .files import open_regular
from .frontend_watch import POLL, child_options, frontend_has_ended, is_following, is_watched_by_timer
from .systems import RUNNING
from .termination import end_child, end_programs, passing_on_sigterm, signals_later, terminate
from .variables import DROPPED_VARIABLES, clean_environment

if RUNNING.name == "windows":
    from . import windows

__all__ = [
    "DROPPED_VARIABLES", "NO_OUTPUT", "CompletedOutput", "abnormal_end", "clean_environment", "describe_end",
    "is_alive", "last_lines", "run_attached", "run_interpreter_json", "run_quiet", "run_visible",
    "standard_output_to", "start_program",
]  # fmt: skip

NO_OUTPUT = subprocess.DEVNULL
"""For `run_visible`: what the program prints to its standard output is shown nowhere."""

_NOT_STARTED = {
    errno.ENOENT: "the file is there, so the loader that it names is not: was it built for another libc?",
    errno.ENOEXEC: "it is no program for this machine: was it built for another architecture?",
    errno.EACCES: "it is not executable for this user, or its file system is mounted noexec",
}
_NO_DEVICE = {errno.ENOENT: "a root file system needs /dev: bind that of the machine"}
_NO_PROC = "a root file system needs /proc: mount it"
_LIMITS = {
    errno.EAGAIN: "let this user or container have more processes: 'ulimit -u' shows the limit of the user",
    errno.ENOMEM: "let this process or container have more memory: 'ulimit -v' shows the limit of the process",
    errno.EMFILE: "let this process open more files: ulimit -n 1024",
}
"""What to do where this process may not start any program."""

_ILLEGAL = "illegal instruction"

_EXCEPTION = 0xC0000000  # the least exit status that stands for an exception on Windows: NTSTATUS, severity "error"

_EXCEPTIONS = {
    0xC0000005: "access violation",
    0xC000001D: _ILLEGAL,
    0xC00000FD: "stack overflow",
    0xC000013A: "Ctrl-C",
    0xC0000135: "a DLL that it needs is missing",
    0xC0000139: "a DLL that it needs is another version",
    0xC0000409: "it has aborted itself",
}
"""The exceptions of Windows that builds meet, as people call them; ntstatus.h."""

_PATHS = "paths are in "
_NAME_ENCODING = f"\nimport sys; print({_PATHS!r} + sys.getfilesystemencoding())"
"""Code that has an interpreter say how it reads the bytes of a path: ``paths are in utf-8``."""


class CompletedOutput(NamedTuple):
    """What a program left behind when it ended."""

    returncode: int
    """Exit status; negative: minus the number of the signal that ended it."""
    stdout: str
    """Standard output; bytes that are not UTF-8 are shown as ``\\xNN``, unless it was asked for as paths."""
    stderr: str
    """Standard error; bytes that are not UTF-8 are shown so, too."""


def run_quiet(
    command: Sequence[str],
    *,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
    timeout: float = 300.0,
    paths: bool = False,
) -> CompletedOutput:
    """Run a program without standard input and return what it printed.

    The variables *env* are all that it has; None: those of this process. It is killed after *timeout* seconds: an
    interpreter that qemu-user emulates compiles for a minute of CPU. With *paths* its standard output is decoded as the
    names of files are in this process, so that paths in it can be used.

    Raises:
        InterpreterError: it could not be started, or did not end in time. Any exit status is a result, not an error.
    """
    try:
        returncode, output, errors = _run(
            command, env=env, cwd=cwd, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except subprocess.TimeoutExpired:
        program = str(command[0])
        raise InterpreterError(f"{program!r} did not end within {timeout:g} seconds and was killed") from None
    return CompletedOutput(returncode, os.fsdecode(output) if paths else _decode(output), _decode(errors))


def run_visible(
    command: Sequence[str],
    *,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
    stdout: Optional[int] = 2,
) -> int:
    """Run a program as `run_quiet` does, but let it print to the file descriptor *stdout*, and return its exit status.

    Standard output stays ours: a command line with ``--json`` promises what stands there. With None it is the
    program's, for what stands in for this process.

    Raises:
        InterpreterError: it could not be started.
    """
    # What we have said so far stands before what the program says, also in a pipe.
    _flush_output()
    return _run(command, env=env, cwd=cwd, stdout=stdout)[0]


def run_attached(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a program with the standard streams of this process, and return its exit status: the ``exec`` of Windows.

    Raises:
        OSError: it cannot be started.
    """
    # CreateProcess knows neither PATHEXT nor the PATH of the new environment.
    program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
    # Ctrl-C reaches both, and what it means is for the program to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call([program, *command[1:]], env=dict(environ))


def start_program(command: Sequence[str], log: Path, *, cwd: str) -> subprocess.Popen[bytes]:
    """Start a program beside this process, with all that it prints in a file, and return its handle.

    It gets a process group of its own, so that `provision_backend.termination.end_programs` reaches what it has
    started, and the signals of a terminal reach this process alone.

    Raises:
        InterpreterError: it could not be started.
        OSError: the file cannot be written.
    """
    with log.open("ab") as output, signals_later() as signals_now:
        try:
            program = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, start_new_session=True
            )
        except OSError as exc:
            raise _not_started(str(command[0]), exc) from exc
        try:
            signals_now()
        except BaseException:
            end_programs([program])
            raise
    return program


@contextmanager
def standard_output_to(file: Path) -> Iterator[None]:
    """Have what this process and its programs print to standard output in a file, while the body runs.

    Raises:
        OSError: the file cannot be written.
    """
    _flush_output()
    # It may have been closed before the start, and who prints the answer says so.
    before = os.dup(1) if sys.stdout is not None else None
    try:
        descriptor = os.open(str(file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        # A file that is opened gets the lowest number that is free, which is this one where it was closed.
        if descriptor == 1:
            os.set_inheritable(1, True)
        else:
            os.dup2(descriptor, 1)
            os.close(descriptor)
        yield
    finally:
        _flush_output()
        if before is None:
            os.close(1)
        else:
            os.dup2(before, 1)
            os.close(before)


def _flush_output() -> None:
    """Print what this process has buffered before another one prints; Python has None for a stream that is closed."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()


def run_interpreter_json(
    python: os.PathLike[str], code: str, *, arguments: Sequence[str] = (), env: Optional[Mapping[str, str]] = None
) -> Dict[str, Any]:
    """Run code in an interpreter and return the JSON object that it prints as its last line.

    The interpreter is started with ``-I -B`` and a clean environment, unless *env* is another one: nothing but the code
    has a say, and nothing is written beside a shared standard library. The arguments are its ``sys.argv[1:]``. A path
    in the answer names the same file here, although ``-I`` may give the interpreter another encoding.

    Raises:
        InterpreterError: it does not start, is ended by a signal or an error, or prints something else.
    """
    program = os.fspath(python)
    env = clean_environment() if env is None else env
    done = run_quiet([program, "-I", "-B", "-c", code + _NAME_ENCODING, *arguments], env=env)
    if done.returncode:
        raise _ended_badly(program, done)
    lines = ["", *done.stdout.strip().splitlines()]
    # Code may end the interpreter itself, and what is no Python has printed something else.
    encoding = lines.pop()[len(_PATHS) :] if lines[-1].startswith(_PATHS) else sys.getfilesystemencoding()
    last = lines[-1]
    try:
        answer = json.loads(last)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise InterpreterError(f"{program!r} did not answer like a Python: wanted a JSON object, found {last[:80]!r}")
    return answer if encoding == sys.getfilesystemencoding() else _recode(answer, encoding)


def _recode(value: Any, encoding: str) -> Any:
    """Return a value of JSON with each text as this process reads the bytes that another one has read in *encoding*."""
    if isinstance(value, dict):
        return {_recode(key, encoding): _recode(each, encoding) for key, each in value.items()}
    if isinstance(value, list):
        return [_recode(each, encoding) for each in value]
    if isinstance(value, str):
        # What is no path may have characters that the encoding lacks.
        with suppress(UnicodeEncodeError, LookupError):
            return os.fsdecode(value.encode(encoding, "surrogateescape"))
    return value


def abnormal_end(returncode: int) -> str:
    """Return what has ended a program that did not end by itself: ``the signal SIGKILL``; empty for an exit status."""
    if returncode >= _EXCEPTION:
        name = _EXCEPTIONS.get(returncode, "")
        return f"the exception 0x{returncode:08X}" + (f" ({name})" if name else "")
    if returncode >= 0:
        return ""
    try:
        return f"the signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"the signal {-returncode}"


def describe_end(returncode: int) -> str:
    """Return how a program has ended: ``ended with exit status 1``, or ``was ended by the signal SIGKILL``."""
    cause = abnormal_end(returncode)
    return f"was ended by {cause}" if cause else f"ended with exit status {returncode}"


def _run(command: Sequence[str], *, timeout: Optional[float] = None, **options: Any) -> Tuple[int, bytes, bytes]:
    """Run a program to its end; it does not outlive this process, nor a frontend that a hook follows."""
    with passing_on_sigterm() as adopt, signals_later() as signals_now:
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **child_options(), **options)
        except OSError as exc:
            raise _not_started(str(command[0]), exc) from exc
        with child:
            adopt(child)
            try:
                signals_now()
                output, errors = _communicate(child, timeout)
            except BaseException:
                # Mostly Ctrl-C: the child has had the signal too, and communicate() has given it a moment.
                end_child(child)
                raise
    return child.returncode, output, errors


def _decode(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")


def _not_started(program: str, exc: OSError) -> InterpreterError:
    message = f"could not start {program!r}: {exc.strerror or exc}"
    # The kernel answers ENOENT for a missing program, a missing loader and a missing working directory alike.
    if exc.filename is not None and os.fspath(exc.filename) != program:
        message, hints = f"{message}: {exc.filename!r}", _NO_DEVICE if exc.filename == os.devnull else {}
    else:
        hints = _NOT_STARTED if os.path.lexists(program) else {}
    return InterpreterError(message, hint={**_LIMITS, **hints}.get(exc.errno or 0, ""))


def _ended_badly(program: str, done: CompletedOutput) -> InterpreterError:
    cause = abnormal_end(done.returncode)
    if cause:
        illegal = cause.endswith(("SIGILL", f"({_ILLEGAL})"))
        hint = "it was built for a newer CPU than this one" if illegal else last_lines(done.stderr, 3)
        return InterpreterError(f"{program!r} was ended by {cause}", hint=hint)
    start = _read_start(program) if done.returncode == 127 else b""
    if start.startswith(b"#!"):
        # A shim of pyenv whose version is not selected ends so, and takes some lines to say which ones there are.
        message = f"{program!r} is a script that ended with exit status 127"
        return InterpreterError(message, hint=last_lines(done.stderr))
    message = f"{program!r} ended with exit status {done.returncode}"
    if start == b"\x7fELF":
        # musl's and glibc's loaders end so when a library or a symbol is missing: a libc that is too old (uv#16341).
        message = f"{program!r} could not be loaded: a library or a symbol that it needs is missing"
        # A loader finds the folder of a program, in which its own libraries may be, by a file there (ld.so(8)).
        if RUNNING.name == "linux" and not os.path.exists("/proc/self/exe"):
            return InterpreterError(message, hint=f"{_NO_PROC}\n{last_lines(done.stderr, 3)}")
    return InterpreterError(message, hint=last_lines(done.stderr, 3))


def _read_start(program: str) -> bytes:
    """Return the first four bytes of a file; nothing where it cannot be read."""
    with suppress(OSError), open_regular(Path(program)) as file:
        return file.read(4)
    return b""


def last_lines(text: str, count: int = 15) -> str:
    """Return the end of what a program printed, without empty lines, as the hint of a message."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def is_alive(pid: int) -> Optional[bool]:
    """Whether a process of this number runs on this machine, whoever owns it; None if that is unknown."""
    if RUNNING.name == "windows":
        return windows.is_alive(pid)
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError) as exc:
        return isinstance(exc, PermissionError)  # It belongs to another user.
    return True


def _communicate(child: subprocess.Popen[bytes], timeout: Optional[float]) -> Tuple[bytes, bytes]:
    """Wait as ``child.communicate`` does, and end a program when its frontend has ended."""
    # Python waits for the end of a program by sleeping up to 50 ms where that has a timeout, so a timer is better.
    if is_watched_by_timer() or not is_following():
        return child.communicate(timeout=timeout)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = POLL if end is None else min(POLL, max(0.0, end - time.monotonic()))
        try:
            return child.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            if frontend_has_ended():
                terminate(child)  # Nobody waits for it; what it was run for then fails, and this process ends.
            if end is not None and time.monotonic() >= end:
                raise
