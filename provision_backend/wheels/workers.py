"""The worker processes of a run: begun with a job, looked at while they work, and ended with what they have started."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..files import free_bytes, read_end, read_json, remove_path
from ..host.resources import available_memory, tree_memory, usable_cores
from ..output import PREFIX, format_size
from ..processes import abnormal_end, last_lines, start_program
from ..settings import Settings
from ..termination import end_programs
from .job import BUILD, TEST, Job, write_job
from .options import WheelOptions
from .plan import Python
from .progress import Progress
from .source import Source
from .state import FREE_SOME, Keys, Outcome, staged_wheel
from .targets import how_to_run
from .worker import RESULT, worker_command

__all__ = ["Result", "Run", "Task", "Workers", "number_of_jobs"]

_MEMORY = 1 << 30  # bytes that a build is expected to need: what a C++ compiler takes for a large file
_END_OF_LOG = 64 << 10  # bytes of a log, which may be of any size, that are read for what it says at its end
_NO_SPACE = r"No space left on device|Disk quota exceeded|os error 28|Errno 28"  # ENOSPC and EDQUOT, as programs say
# As clang says of a header that leaves a function out, and lld of a library.
_UNDECLARED = r"call to undeclared (?:library )?function '(\w+)'|undefined symbol: (\w+)"

Result = Dict[str, Any]
"""What a worker has answered, with ``seconds`` and ``peak_memory``; of a failure its ``error`` and ``hint``."""


class Run(NamedTuple):
    """What all jobs of one run share."""

    source: Source
    settings: Settings
    options: WheelOptions
    out: Path
    """The folder of the wheels, absolute."""
    logs: Path
    work: Path
    """A folder of this run alone, which the caller removes."""
    jobs: int
    pure: bool
    """Whether the wheels are expected to be pure."""
    keys: Dict[str, Keys]
    """By build id, of every build that there may be."""


class Task(NamedTuple):
    """A build, or with *test* the test of its wheel on one Python."""

    outcome: Outcome
    test: Optional[Python] = None

    @property
    def name(self) -> str:
        """Name of the log, and of the line that shows how it goes."""
        build, test = self.outcome.build, self.test
        if test is None:
            return build.id
        # The triple is named where it is another one.
        return f"{build.id}-test-{test.id if test.triple != build.triple else test.id.partition('-')[0]}"


class _Worker:
    """A process at work."""

    def __init__(self, task: Task, folder: Path, log: Path, process: Any) -> None:
        self.task = task
        self.folder = folder
        self.log = log
        self.process = process
        self.began = time.monotonic()
        self.peak_memory = 0


def _ask_for_newer(text: str, settings: Settings) -> str:
    """Return what to do where zig did not find a function, as it does not those that came after the glibc asked for."""
    found = re.search(_UNDECLARED, text) if settings.glibc and settings.toolchain != "host" else None
    if found is None:
        return ""
    return f"glibc {settings.glibc} has no {found[1] or found[2]}; if a newer one does, ask for that: --glibc 2.28"


def number_of_jobs(wanted: int, count: int) -> int:
    """Return how many jobs to run at once: those that are wanted, else one a processor as far as memory allows.

    Never more than there are, *count*, and at least one.
    """
    memory = available_memory()
    room = count if memory is None else memory // _MEMORY
    return max(1, min(wanted or min(usable_cores(), room), count))


class Workers:
    """The processes that are at work for a run."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        self._working: List[_Worker] = []
        self._removing: List[threading.Thread] = []
        self._count = 0  # of jobs that were begun, for the names of their folders
        # It starts programs, and the answer stays.
        self._how_to_run = lru_cache(maxsize=None)(how_to_run)

    @property
    def tasks(self) -> List[Task]:
        """What is being worked at."""
        return [worker.task for worker in self._working]

    def begin(self, task: Task) -> None:
        """Start the process of a task; raise `OSError` where its log or its folder cannot be written."""
        run, outcome = self._run, task.outcome
        self._count += 1
        folder, log = run.work / f"job{self._count}", run.logs / f"{task.name}.log"
        folder.mkdir()
        remove_path(log)
        if task.test is None:
            outcome.status, outcome.log = "running", str(log)
        file = folder / "job.json"
        write_job(self._job(task, folder), file)
        process = start_program(worker_command(file), log, cwd=str(folder))
        self._working.append(_Worker(task, folder, log, process))
        self._progress.begin(task.name, log)

    def _job(self, task: Task, folder: Path) -> Job:
        run, build, made = self._run, task.outcome.build, task.outcome.made
        target = task.test or build.own
        kind = TEST if task.test else BUILD
        wheel = run.out / made["wheel"] if task.test else staged_wheel(run.logs, build.id)
        return Job(
            kind,
            target,
            str(folder),
            str(run.source.sdist),
            run.source.epoch,
            run.settings,
            wheel=str(wheel),
            work=str(run.work),
            pure=run.pure,
            cores=max(1, usable_cores() // run.jobs),
            test=run.options.test,
            test_requires=run.options.test_requires,
            runs=self._how_to_run(target.triple, run.settings, run.options.root and os.path.abspath(run.options.root)),
        )

    def look(self) -> List[Tuple[Task, Result]]:
        """Return what has ended, and see how much memory the others take."""
        ended = []
        for worker in list(self._working):
            if worker.process.poll() is None:
                worker.peak_memory = max(worker.peak_memory, tree_memory(worker.process.pid))
                continue
            # What it has left running, such as a server of a compiler, is of no use any more.
            end_programs([worker.process])
            ended.append((worker.task, self._result(worker)))
            self._forget(worker)
        return ended

    def end(self, *tasks: Task) -> None:
        """End the work at some tasks, without a result."""
        ending = [worker for worker in self._working if worker.task in tasks]
        end_programs([worker.process for worker in ending])
        for worker in ending:
            self._forget(worker)

    def finish(self) -> None:
        """Wait until nothing of what has ended is left."""
        for thread in self._removing:
            thread.join()
        self._removing.clear()

    def _forget(self, worker: _Worker) -> None:
        self._working.remove(worker)
        # A build environment with zig has 19 500 files, whose removal takes a minute on a busy disk. What has ended is
        # reported at once, and the next one begins.
        thread = threading.Thread(target=remove_path, args=(worker.folder,), daemon=True)
        thread.start()
        self._removing.append(thread)

    def _result(self, worker: _Worker) -> Dict[str, Any]:
        """Return what a worker has answered; for one that did not, what has ended it."""
        try:
            result: Dict[str, Any] = read_json(worker.folder / RESULT)
        except (OSError, ValueError):
            code = worker.process.returncode
            ended = abnormal_end(code) or f"exit status {code}"
            result = {"error": f"the process was ended by {ended}", "see_log": True}
        result.setdefault("seconds", round(time.monotonic() - worker.began, 3))
        result["peak_memory"] = max(worker.peak_memory, result.pop("largest_process", 0))
        if "error" in result and not result.get("unavailable"):
            result["hint"] = self._reason(worker, result)
        return result

    def _reason(self, worker: _Worker, result: Dict[str, Any]) -> str:
        """Return the hint of a failure, with the end of its log where only that says why."""
        text = ""
        with suppress(OSError):
            text = read_end(worker.log, _END_OF_LOG).decode("utf-8", "backslashreplace")
        if re.search(_NO_SPACE, f"{result['error']} {result.get('hint')} {text}"):
            free = {folder: free_bytes(folder) for folder in (self._run.work.parent, self._run.out)}
            least = min(free, key=lambda folder: free[folder] or 0)
            return f"the disk is full: {format_size(free[least] or 0)} left in {least}\n{FREE_SOME}"
        # The log ends with the very message to which this is added.
        newer = ""
        if worker.task.test is None and "-gnu" in worker.task.outcome.build.triple:
            newer = _ask_for_newer(text, self._run.settings)
        text = text.partition(f"{PREFIX}{result['error']}")[0] if result.get("see_log") else ""
        return "\n".join(
            filter(None, [result.get("hint", ""), newer, last_lines(text), f"the whole log is {worker.log}"])
        )
