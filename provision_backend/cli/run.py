"""``provision-backend run``: this process becomes the program, with a provisioned interpreter as its Python.

Signals, exit codes, the terminal and the standard streams are the program's own, since no process of ours remains.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
from typing import Dict, List, Mapping, Sequence

from ..errors import UsageError
from ..hooks.installers import interpreter_environment
from ..interpreter import Interpreter
from ..output import Reporter
from ..processes import run_attached
from ..provision import provision
from ..settings import Settings
from ..systems import RUNNING
from .answers import Answer
from .interpreters import REQUEST, read_request
from .registry import flag

__all__ = ["ARGUMENTS", "command_for", "run", "variables_for"]

# The exit codes of a shell and of env(1) for a program that does not exist, and for one that cannot be started.
_NOT_FOUND = 127
_NOT_STARTED = 126


# The arguments after ``--`` are never parsed. --json is accepted so that a message can explain why there is no JSON.
ARGUMENTS = {"run": [REQUEST, flag("--json", argparse.SUPPRESS)]}


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Become the program; return only if it cannot be started."""
    if arguments.json:
        raise UsageError(
            "run prints what COMMAND prints, so it has no --json",
            hint="'provision-backend find --json' describes the interpreter; options of COMMAND stand after --",
        )
    interpreter = provision(read_request(arguments.request, settings, reporter), settings, reporter)
    command = command_for(interpreter, arguments.command)
    reporter.detail(f"CPython {interpreter.version}: {interpreter.executable}")
    return Answer(None, code=_become(command, variables_for(interpreter), reporter))


def command_for(interpreter: Interpreter, words: Sequence[str]) -> List[str]:
    """Return the command line to execute; ``python``, ``pip`` and no words at all mean the interpreter."""
    if not words:
        return [interpreter.executable]
    minor = interpreter.minor
    first, *rest = words
    # Windows calls a program with and without its ending, in either case.
    name = re.sub(r"\.exe$", "", first.lower()) if RUNNING.name == "windows" else first
    if name in ("python", "python3", f"python{minor}"):
        return [interpreter.executable, *rest]
    if name in ("pip", "pip3", f"pip{minor}"):
        # The first script of that name in PATH may belong to another interpreter.
        return [interpreter.executable, "-m", "pip", *rest]
    return list(words)


def variables_for(interpreter: Interpreter) -> Dict[str, str]:
    """Return the environment of a program that is to use an interpreter as its Python, as for the child of a hook."""
    environ = interpreter_environment(interpreter, os.path.dirname(interpreter.executable))
    # It names another interpreter's environment, and uv would install into that.
    environ.pop("VIRTUAL_ENV", None)
    return environ


def _become(command: Sequence[str], environ: Mapping[str, str], reporter: Reporter) -> int:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Python ignores these for itself, and exec keeps that: ``run 3.13 -- yes | head`` would never end.
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        if RUNNING.name == "windows":
            return run_attached(command, environ)
        os.execvpe(command[0], list(command), dict(environ))  # noqa: S606
    except ValueError:
        raise UsageError("COMMAND is empty") from None
    except OSError as exc:
        reporter.info(f"could not start {command[0]!r}: {exc.strerror or exc}")
        return _NOT_FOUND if exc.errno == errno.ENOENT else _NOT_STARTED
