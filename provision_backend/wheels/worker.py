"""The process of one job: reads what to do from a file, does it, and writes what came of it beside that file.

A process of its own, since a build sets variables, a umask and timers that hold for a whole process, and so that its
memory is given back and its end ends all that it has started. Its output goes into the log of the job.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, List

from ..errors import BuildEnvironmentError, HookFailedError, ProvisionError
from ..files import remove_path, write_atomically
from ..frontend_watch import follow_frontend, frontend_id
from ..output import Reporter, explained
from ..systems import RUNNING
from .build import build_wheel
from .job import BUILD, TEST, Job, read_job
from .targets import enter_root
from .testing import run_test

with contextlib.suppress(ImportError):  # Windows has none.
    import resource

__all__ = ["RESULT", "main", "worker_command"]

RESULT = "result.json"
"""File in the folder of a job that says what came of it."""

_ACTIONS: Dict[str, Callable[[Job, Reporter], Dict[str, Any]]] = {BUILD: build_wheel, TEST: run_test}

# A module of the folder that people are in must not stand in for one of ours, so the paths are those of the parent.
_START = "import sys; sys.path[:] = sys.argv[3:]; from {} import main; sys.exit(main(*sys.argv[1:3]))"
_ENTERED = "entered"


def worker_command(file: Path, entered: str = "") -> List[str]:
    """Return the command of a worker for a job's file; *entered* says that it runs in the root of its target."""
    paths = [os.path.abspath(entry) for entry in sys.path]
    return [sys.executable, "-c", _START.format(__name__), str(file), entered, *paths]


def main(file: str, entered: str) -> int:
    """Do the job of a file; the exit status is 0 if a result was written, be it a failure."""
    parent, job = frontend_id(), read_job(Path(file))
    if job.kind == TEST and not entered:
        enter_root(job.runs, worker_command(Path(file), _ENTERED))
    try:
        with follow_frontend():
            _prepare(job)
            result = _do(job)
            answered = _answer(job, result)
    finally:
        # Where the process that we work for was killed, it cannot remove what is unfinished any more.
        if frontend_id() != parent and RUNNING.name != "windows":
            remove_path(Path(job.work or job.folder))
            if job.kind == BUILD:
                remove_path(Path(job.wheel))
            os.killpg(0, signal.SIGKILL)
    return int(not answered)


def _answer(job: Job, result: Dict[str, Any]) -> bool:
    try:
        write_atomically(Path(job.folder, RESULT), json.dumps(result).encode("utf-8"), durable=False)
    except OSError as exc:
        # The disk is full, or a build backend has removed more than its own.
        Reporter(color="never").error(f"could not write to {job.folder}: {exc.strerror or exc}")
        return False
    return True


def _prepare(job: Job) -> None:
    """Set what a build reads from its process, so that it does not depend on who calls it, where and when."""
    os.umask(0o022)
    temporary = Path(job.folder, "tmp")
    temporary.mkdir(exist_ok=True)
    os.environ.update(
        {
            **job.settings.variables(),
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(job.epoch),
            "TMPDIR": str(temporary),
            "TZ": "UTC",
        }
    )


def _do(job: Job) -> Dict[str, Any]:
    reporter = Reporter(verbosity=max(1, job.settings.verbose), color="never")
    began = time.monotonic()
    result: Dict[str, Any] = {}
    try:
        with explained():
            result = _ACTIONS[job.kind](job, reporter)
    except ProvisionError as exc:
        reporter.error(str(exc))
        result = {"error": exc.message, "hint": exc.hint, "see_log": _is_in_log(job, exc)}
    except Exception as exc:
        traceback.print_exc()
        result = {
            "error": f"{type(exc).__name__}: {exc}",
            "hint": "this is a bug in provision-backend; the traceback is in the log",
        }
    result["seconds"] = round(time.monotonic() - began, 3)
    result["largest_process"] = _largest_process()
    return result


def _is_in_log(job: Job, exc: ProvisionError) -> bool:
    """Tell whether a program has printed why something failed, which then is in the log."""
    programs = (BuildEnvironmentError, HookFailedError)
    return isinstance(exc, programs) or isinstance(exc.__cause__, programs) or bool(job.kind == TEST and job.test)


def _largest_process() -> int:
    """Return the peak memory of the largest process, in bytes; 0 where the system does not report it."""
    try:
        usages = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    except NameError:
        return 0
    # Linux counts in kilobytes, macOS in bytes.
    return max(usages) * (1 if RUNNING.name == "macos" else 1024)
