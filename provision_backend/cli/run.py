"""``provision-backend run``: this process becomes the program, which has an interpreter of ours as its Python.

Signals, exit codes, the terminal and the standard streams are the program's own, since nothing stands between. The
variables are those of a hook's child (`provision_backend.processes.clean_environment`).
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence, Tuple

from ..errors import UsageError
from ..output import Reporter
from ..settings import Settings

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["command_for", "run", "variables_for"]

# What a shell answers, and env(1), for a program that is not there and for one that cannot be started.
_NOT_FOUND = 127
_NOT_STARTED = 126


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Tuple[None, Sequence[str], int]:
    """Become a program; returns only where it cannot be started."""
    from ..provision import provision
    from .requests import wanted_for

    if arguments.json:
        raise UsageError(
            "run prints what COMMAND prints, so it has no --json",
            hint="'provision-backend find --json' describes the interpreter; options of COMMAND stand after --",
        )
    interpreter = provision(wanted_for(arguments.request, settings, reporter), settings, reporter)
    command = command_for(interpreter, arguments.command)
    reporter.detail(f"CPython {interpreter.version}: {interpreter.executable}")
    return None, [], _become(command, variables_for(interpreter), reporter)


def command_for(interpreter: Interpreter, words: Sequence[str]) -> List[str]:
    """Return what is executed.

    Args:
        interpreter: what ``python``, ``python3``, ``pip`` and the like mean, and what is run without any word.
        words: the program and its arguments.
    """
    if not words:
        return [interpreter.executable]
    minor = ".".join(interpreter.version.split(".")[:2]) + ("t" if interpreter.freethreaded else "")
    name, *rest = words
    if name in ("python", "python3", f"python{minor}"):
        return [interpreter.executable, *rest]
    if name in ("pip", "pip3", f"pip{minor}"):
        # The script of that name may be another interpreter's; this one has it as a module.
        return [interpreter.executable, "-m", "pip", *rest]
    return list(words)


def variables_for(interpreter: Interpreter) -> Dict[str, str]:
    """Return the variables of a program whose Python an interpreter is to be."""
    from ..hooks.installers import interpreter_environment

    environ = interpreter_environment(interpreter, os.path.dirname(interpreter.executable))
    # It names the environment of another interpreter, in which uv would install.
    environ.pop("VIRTUAL_ENV", None)
    return environ


def _become(command: Sequence[str], environ: Mapping[str, str], reporter: Reporter) -> int:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ignored = _restore_signals()
    try:
        os.execvpe(command[0], list(command), dict(environ))  # noqa: S606
    except OSError as exc:
        for number, handler in ignored.items():
            signal.signal(number, handler)
        reporter.info(f"could not start {command[0]!r}: {exc.strerror or exc}")
        return _NOT_FOUND if exc.errno == errno.ENOENT else _NOT_STARTED


def _restore_signals() -> Dict[signal.Signals, signal.Handlers]:
    """Undo what Python ignores for itself, which would go on being ignored: ``run 3.13 -- yes | head`` must end."""
    ignored: Dict[signal.Signals, signal.Handlers] = {}
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            ignored[number] = signal.SIG_IGN
    return ignored
