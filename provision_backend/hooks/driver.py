"""Run two hooks of the real backend in one start of its interpreter; a script, run in the build environment.

In: a JSON object as the only argument, with the ``backend``, the ``commands`` of pyproject_hooks for a
``get_requires_for_build_*`` and for the hook that needs it, the hooks to look for (``names``), those of which one must
be there (``wanted``), what is ``installed`` already, and where the answer goes. Out: that file, with the ``names`` that
the real backend has, how the first hook ended (``returncode``), and whether the second was ``started``; and whatever
the scripts of pyproject_hooks write, which are run as they are.

The real backend is imported once. The first hook then runs in a process that is forked off, since setuptools runs
``setup.py`` for it and is not made for two hooks in one process; backends that are known to keep nothing from one hook
to the next run both in this one, and import what they need for both once. What an import shows that a hook would show
otherwise (an error, a warning, threads) stops all of it before anything is run; each hook then gets a process of its
own.
"""

from __future__ import annotations

import os
import sys

# Our neighbours are none of the real backend's business, whatever they are called.
sys.path[:] = [
    path for path in sys.path if os.path.realpath(path or ".") != os.path.dirname(os.path.realpath(__file__))
]

import functools  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
import types  # noqa: E402
import warnings  # noqa: E402
from typing import Any, Dict, List, Optional  # noqa: E402

__all__ = ["main"]

_WITHOUT_STATE = ("flit_core.buildapi", "hatchling.build")
"""Real backends whose hooks read the project anew at each call, as a test of ours tries."""


def main(task: Dict[str, Any]) -> None:
    """Do what the module says."""
    names = _look(task["backend"], task["names"])
    if names is None:
        return
    _tell(task, names=names)
    first, second = task["commands"]
    if task["backend"] in _WITHOUT_STATE:
        _run(first)  # If it fails, so does this process, without a word about the second one.
        returncode = 0
    else:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _run(first)
            return
        returncode = _wait(child)
    _tell(task, names=names, returncode=returncode)
    if returncode == 0 and set(names) & set(task["wanted"]) and _is_content(first[-1], task["installed"]):
        _tell(task, names=names, returncode=returncode, started=True)
        _run(second)


def _look(backend: str, names: List[str]) -> Optional[List[str]]:
    """Import the real backend and say which hooks it has; None where it is better left to a process of its own."""
    module, _, path = backend.partition(":")
    with warnings.catch_warnings(record=True) as shown:
        try:
            found = functools.reduce(getattr, filter(None, path.split(".")), importlib.import_module(module))
        except Exception:
            return None
        there = [name for name in names if hasattr(found, name)]
    if threading.active_count() > 1 or any(issubclass(each.category, UserWarning) for each in shown):
        return None
    return there


def _tell(task: Dict[str, Any], **answer: Any) -> None:
    with open(task["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


def _is_content(folder: str, installed: List[str]) -> bool:
    """Whether the first hook has answered, and asks for nothing that is not installed."""
    with open(os.path.join(folder, "output.json"), encoding="utf-8") as file:
        answer = json.load(file).get("return_val")
    return isinstance(answer, list) and all(text in installed for text in answer)


def _wait(child: int) -> int:
    """Wait for a process, and end it with this one; return its exit status, minus the signal that ended it."""

    def end(number: int, _frame: object) -> None:
        os.kill(child, number)
        os.waitpid(child, 0)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        status = os.waitpid(child, 0)[1]
    except KeyboardInterrupt:
        os.waitpid(child, 0)  # It has had the signal too.
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _run(command: List[str]) -> None:
    """Run a script as ``python script argument ...`` would."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=command[0], __builtins__=__builtins__)
    sys.modules["__main__"] = module
    sys.argv[:] = command
    with open(command[0], "rb") as file:
        code = compile(file.read(), command[0], "exec")
    exec(code, module.__dict__)  # noqa: S102 - It is the script that would be run otherwise.


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
