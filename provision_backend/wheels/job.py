"""One job of a worker process, as the file by which it is handed over: a build, or the test of a wheel.

The file lies in a folder that only this user may enter, since settings may hold passwords.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Tuple

from ..files import read_json, write_atomically
from ..settings import Settings
from .plan import Python
from .targets import HOST, Runs

__all__ = ["BUILD", "TEST", "Job", "read_job", "write_job"]

BUILD, TEST = "build", "test"


class Job(NamedTuple):
    """What one worker does."""

    kind: str
    """`BUILD` or `TEST`."""
    target: Python
    """What is built for, or tested on."""
    folder: str
    """A folder for all that the job makes, which exists; absolute, as all paths here."""
    sdist: str
    """The sdist that is built, or that the tested wheel was built from."""
    epoch: int
    """``SOURCE_DATE_EPOCH``, in seconds."""
    settings: Settings
    wheel: str = ""
    """A build leaves its wheel here, on the file system of the output; a test finds it here."""
    work: str = ""
    """The folder of the whole run; a worker that is left alone removes it."""
    pure: bool = False
    """Whether the wheel is expected to be pure, so that no compiler is installed for it."""
    cores: int = 1
    """Number of compilers that a build should run at once."""
    test: str = ""
    """The command of a test; empty for the import of the wheel's modules."""
    test_requires: Tuple[str, ...] = ()
    runs: Runs = Runs(HOST)
    """How interpreters of the triple are run here."""


def write_job(job: Job, file: Path) -> None:
    """Write a job to a file that only this user can read; raise `OSError` if that fails."""
    write_atomically(file, json.dumps(job).encode("utf-8"), mode=0o600, durable=False)


def read_job(file: Path) -> Job:
    """Read what `write_job` has written."""
    job = Job(*_tuples(read_json(file)))
    return job._replace(target=Python(*job.target), settings=Settings(*job.settings), runs=Runs(*job.runs))


def _tuples(value: Any) -> Any:
    # JSON has no tuples, with names or without; the values of settings and of jobs have no lists.
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
