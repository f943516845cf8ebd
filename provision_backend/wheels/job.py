"""One job of a worker process, as the file by which it is handed over: a build, or the test of a wheel.

The file lies in a folder that only this user may enter, since settings may hold passwords.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

from ..files import read_json, write_atomically
from ..settings import Settings
from .plan import request_of
from .targets import HOST, Runs

__all__ = ["BUILD", "TEST", "Job", "read_job", "write_job"]

BUILD, TEST = "build", "test"


class Job(NamedTuple):
    """What one worker does."""

    kind: str
    """`BUILD` or `TEST`."""
    name: str
    """The build id, and for a test the Python and the triple too; names the log."""
    python: str
    """Label of the Python: ``3.11``, or ``3.14t``."""
    version: str
    """Full version of the interpreter: ``3.11.14``."""
    triple: str
    """Target triple that is built for, or tested on."""
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

    @property
    def request(self) -> str:
        """The interpreter as a version request."""
        return request_of(self.version, self.python)


def write_job(job: Job, file: Path) -> None:
    """Write a job to a file that only this user can read; raise `OSError` if that fails."""
    data = {**job._asdict(), "settings": job.settings._asdict(), "runs": job.runs._asdict()}
    write_atomically(file, json.dumps(data).encode("utf-8"), mode=0o600, durable=False)


def read_job(file: Path) -> Job:
    """Read what `write_job` has written."""
    data: Dict[str, Any] = read_json(file)
    parts = {name: {key: _tuples(each) for key, each in data.pop(name).items()} for name in ("settings", "runs")}
    values = {key: _tuples(value) for key, value in data.items()}
    return Job(**values, settings=Settings(**parts["settings"]), runs=Runs(**parts["runs"]))


def _tuples(value: Any) -> Any:
    # JSON has no tuples; the values of settings and of jobs have no lists.
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
