"""Run programs and measure them; none of them outlives its measurement.

In: command lines with all their variables. Out: `benchmarks.core.Sample`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

from .core import Failed, Sample

__all__ = ["Command", "at_once", "measure", "run"]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TIMEOUT = 600


@dataclass(frozen=True)
class Command:
    """A program to run."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """All its variables."""
    cwd: Path


def run(command: Command) -> str:
    """Run a program that is not measured, and return what it wrote to standard output.

    Raises:
        Failed: it did.
    """
    with _started(command, list(command.argv)) as process:
        out, err = process.communicate(timeout=_TIMEOUT)
    _check(command, process.returncode, out + err)
    return out


def measure(command: Command) -> Sample:
    """Run a program and measure it, with all its children.

    Raises:
        Failed: the program did.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), report, *command.argv]
        with _started(command, launcher) as process:
            out, err = process.communicate(timeout=_TIMEOUT)
        _check(command, process.returncode, out + err)
        with open(report, encoding="ascii") as file:
            found = json.load(file)
    _check(command, found["code"], out + err)
    return Sample(found["seconds"], found["cpu"], found["memory"], out)


def at_once(commands: Sequence[Command]) -> Sample:
    """Start programs at once and measure until the last has ended.

    Raises:
        Failed: one of them did.
    """
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")) for _ in commands]
        begin = time.monotonic()
        processes = [
            stack.enter_context(_started(command, list(command.argv), output=log.fileno()))
            for command, log in zip(commands, logs)
        ]
        for process in processes:
            process.wait(timeout=_TIMEOUT)
        seconds = time.monotonic() - begin
        for command, process, log in zip(commands, processes, logs):
            log.seek(0)
            _check(command, process.returncode, log.read())
    return Sample(seconds)


@contextlib.contextmanager
def _started(command: Command, argv: List[str], *, output: Optional[int] = None) -> Iterator[subprocess.Popen[str]]:
    """Start a program as the head of a process group, and end the whole group afterwards."""
    try:
        process = subprocess.Popen(
            argv,
            env=dict(command.env),
            cwd=str(command.cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE if output is None else output,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as exc:
        raise Failed(f"{os.path.basename(argv[0])} does not start: {exc.strerror}") from None
    try:
        yield process
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(argv[0])} took more than {_TIMEOUT} seconds") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _check(command: Command, code: int, output: str) -> None:
    if code == 0:
        return
    last: Dict[bool, str] = {bool(line.strip()): line.strip() for line in output.splitlines()}
    name = os.path.basename(command.argv[0])
    raise Failed(f"{name} ended with {code}: {last.get(True, 'it said nothing')[:300]}")
