"""Test one wheel on one Python, as a job of a worker: provision the interpreter, and unpack what the test asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..catalog.wanted import Wanted
from ..hooks.installers import find_uv
from ..install.unpack import unpack_sdist
from ..output import Reporter
from ..provision import provision
from ..versions import parse_request
from .job import Job
from .targets import settings_for
from .testing import test_wheel

__all__ = ["run_test"]


def run_test(job: Job, reporter: Reporter) -> Dict[str, Any]:
    """Test the wheel of a job; the result is empty, or says why there can be no test here.

    Whatever is wrong with the wheel is a `WheelError`.
    """
    if not job.runs.how:
        return {"unavailable": True, "error": job.runs.reason}
    settings = settings_for(job.triple, job.runs.how, job.settings)
    wanted = Wanted("", parse_request(job.request))
    interpreter = provision(wanted, settings, reporter, with_pip=not find_uv(settings))
    # {project} is a copy for this test alone, so that none finds what another one has left in it.
    source = unpack_sdist(Path(job.sdist), Path(job.folder, "project")) if "{project}" in job.test else None
    test_wheel(
        Path(job.wheel),
        interpreter,
        command=job.test,
        requires=job.test_requires,
        source=source,
        settings=settings,
        reporter=reporter,
    )
    return {}
