"""The cells of the matrix: which there are, which cannot be and why, and what must be true of the others.

In: a backend, a frontend, a plan. Out: `check_cell` runs the frontend and returns the words that stand in the table;
what is wrong is an AssertionError. A combination that cannot be is tried all the same, and must be refused with the
words that it is known for.
"""

from __future__ import annotations

__all__ = ["PLANS", "check_cell", "is_representative", "refusal"]

import re
import shutil
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Optional

from support.hosts import only
from support.real_interpreters import Unavailable

from .backends import BACKENDS, Backend
from .direct import Reference, compare, installed_differences, members, reference, run_direct
from .frontends import FRONTENDS
from .jobs import Frontend, Job, Made, Refusal
from .managers import MANAGERS
from .workshop import Workshop

PLANS = {"pass-through": "the host satisfies the project", "provisioned": "the host is too old"}
PASSED = "passed"


def refusal(backend: Backend, frontend: Frontend, plan: str) -> Optional[Refusal]:
    """Return why a combination cannot be, None where it must work."""
    old = plan == "provisioned"
    if frontend.no_table and not backend.table:
        return frontend.no_table
    if frontend.no_version and not backend.static:
        return frontend.no_version
    if frontend.calls_nothing and not old:
        return frontend.calls_nothing
    if frontend.refuses and old and not frontend.builds_first:
        return frontend.refuses
    if frontend.key == "tox-editable" and not backend.editable and not old:
        return Refusal(
            "tox sees that the real backend has no build_editable and falls back to its legacy mode",
            "does not support PEP-660, falling back",
            fails=False,
        )
    # pnpm then takes a wheel. Where we provision it learns only by the call that there is no such hook.
    if frontend.editable and not backend.editable and (old or frontend.key != "pnpm-install"):
        return Refusal("the real backend has no build_editable", "build_editable|editable")
    if frontend.sdist and not backend.sdist:
        return Refusal("the real backend refuses to make an sdist", "sample has no sdist")
    if frontend.editable and backend.compiled and old:
        return Refusal(
            "an editable wheel for another ABI could not be imported by the host; refused",
            r"the editable wheel has the tag cp3",
        )
    if frontend.key == "pipx-run" and backend.compiled and old:
        reason = "the program that pipx then starts cannot import an extension for another Python; pip installs it"
        return Refusal(reason, r"No module named 'sample\._fast'")
    if frontend.key == "cibuildwheel" and not old and not backend.for_platform:
        return Refusal("cibuildwheel refuses a wheel for any platform, after it was built", "pure Python wheel")
    if frontend.key == "pyproject-api" and backend.key == "setup-requires" and not old:
        reason = "pyproject-api asks once, before setuptools can be asked, and its caller's environment is left alone"
        return Refusal(reason, "No module named 'editables'")
    return frontend.refuses if old else None


def is_representative(backend: Backend, frontend: Frontend, plan: str) -> bool:
    """Whether a cell belongs to the part that is always run: backends and frontends, by turns of the plans."""
    if frontend in MANAGERS:
        return False  # They come from the package index, and each is a minute.
    row, column = BACKENDS.index(backend), FRONTENDS.index(frontend)
    turn = list(PLANS)[row % 2]
    # There are more frontends than backends; the first backends take those that are left.
    return plan == turn and column % len(BACKENDS) == row


def check_cell(workshop: Workshop, backend: Backend, frontend: Frontend, plan: str, folder: Path) -> str:
    """Run a frontend on a project, and compare what it makes with what the real backend makes alone.

    Returns:
        What stands in the table: ``passed``, or why the combination cannot be.

    Raises:
        Unavailable: this machine lacks something; the reason stands in the table too.
    """
    if backend.program and shutil.which(backend.program) is None:
        raise Unavailable(f"there is no program {backend.program} on this machine")
    old = plan == "provisioned"
    host = workshop.host(old=old, last=frontend.newest_old_host if old else frontend.key in _NEWEST)
    python = workshop.provisioned() if old else host.path
    settings = dict(backend.settings) if frontend.settings else {}
    source = workshop.source(backend, folder / "source")
    job = Job(workshop, backend, host, folder, source, settings)
    made = frontend.run(job)
    expected = refusal(backend, frontend, plan)
    if expected is not None:
        failed = made.done.returncode != 0
        assert expected.fails in (failed, None), f"it worked, though {expected.reason}\n{made.done.output}"
        assert re.search(expected.output, made.done.output), made.done.output
        return expected.reason
    assert made.done.returncode == 0, made.done.output
    if frontend.key == "cibuildwheel" and old:
        return _check_identifiers(made)
    _check_made(job, made, python, times=frontend.times)
    if made.editable:
        _check_editable_wheel(workshop, backend, made.editable, python, source)
    if made.python:
        _check_live(workshop, backend, made.python, source)
    return PASSED


# Frontends that run on the newest host where it satisfies; the others run on the oldest that does.
_NEWEST = frozenset(each.key for each in FRONTENDS[1::2])


def _check_identifiers(made: Made) -> str:
    """See that cibuildwheel starts nothing that the project does not allow."""
    identifiers = [line for line in made.done.output.splitlines() if line.startswith("cp")]
    assert identifiers
    assert not [each for each in identifiers if int(re.findall(r"cp3(\d+)", each)[0]) < 12]
    return "cibuildwheel selects only builds whose Python satisfies the project"


def _check_made(job: Job, made: Made, python: Path, *, times: bool) -> None:
    def alone(kind: str) -> Reference:
        return reference(job.workshop, job.backend, python, kind, job.settings)

    if made.sdist:
        compare(made.sdist, alone("sdist"), times=times)
    if made.wheel:
        compare(made.wheel, alone("wheel-from-sdist" if made.from_sdist else "wheel"), times=times)
    if made.site:
        assert installed_differences(made.site, alone("wheel")) == []
    if made.metadata:
        wheel = alone("wheel")
        name = next(each for each in members(wheel.first) if each.endswith(".dist-info/METADATA"))
        with zipfile.ZipFile(str(wheel.first)) as archive:
            direct = message_from_bytes(archive.read(name))
        for key in ("name", "version", "requires_python"):
            assert made.metadata[key] == direct[key.replace("_", "-")]
    assert made.sdist or made.wheel or made.site or made.metadata or made.editable or made.python, made.done.output


def _check_editable_wheel(workshop: Workshop, backend: Backend, ours: Path, python: Path, source: Path) -> None:
    """Compare with the editable wheel that the real backend makes alone, in the same folder: it holds its path."""
    alone = source.parent / "alone"
    alone.mkdir()
    theirs = only(
        run_direct(workshop, backend, source, alone, hook="build_editable", python=python),
        "*.whl",
    )
    assert ours.name == theirs.name
    assert sorted(members(ours)) == sorted(members(theirs))
    if backend.live and not backend.compiled:
        assert members(ours) == members(theirs)


def _check_live(workshop: Workshop, backend: Backend, python: Path, source: Path) -> None:
    """See that an editable install is one: the module is that of the source tree."""
    code = "import importlib.metadata as m; print(m.version('sample'))"
    assert workshop.check([str(python), "-c", code]).split()[-1].startswith("1.0")
    if not (backend.imports and backend.live):
        return
    show = [str(python), "-c", "import sample; print(sample.VALUE)"]
    assert workshop.check(show).split()[-1] == "42"
    module = source / "sample" / "__init__.py"
    module.write_text(module.read_text() + "VALUE = 'edited'\n")
    assert workshop.check(show).split()[-1] == "edited"
