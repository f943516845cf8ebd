"""Build one wheel: sdist + interpreter → a wheel that is tagged for its platform, made the same way every time.

The build is that of a frontend: a build environment with what the project requires, and the hook of its backend. What
would make two builds differ is fixed: times (SOURCE_DATE_EPOCH), the umask, the order of sets, and in what is compiled
the paths of folders that have other names in each build.

Source: reproducible-builds.org, "Build path"; GCC manual, ``-ffile-prefix-map``.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from packaging.utils import parse_wheel_filename

from ..catalog.wanted import Wanted, check_lock, check_requirements
from ..errors import InterpreterError, WheelError
from ..files import hash_file
from ..hooks.build import Build
from ..hooks.frontend import OWN_FOLDER, guard_recursion
from ..hooks.installers import provision_for_build
from ..hooks.provisioned import call_hook
from ..hooks.tags import covers, kind_of
from ..install.unpack import unpack_sdist
from ..interpreter import Interpreter
from ..output import Reporter
from ..processes import run_quiet
from ..project.plan import Plan
from ..project.pyproject import Project
from ..project.unadopted import read_any_project
from ..settings import Settings
from ..systems import RUNNING
from ..toolchain import Compilers, Toolchain, toolchain_for
from ..versions import parse_request
from .contents import check_name, check_record, check_tags, read_contents, same_project
from .cross import Cross, open_target
from .job import Job
from .repair import check_abi3, repair_wheel
from .targets import HOST, NATIVE, settings_for

__all__ = ["build_wheel", "check_made"]


class _Kit(NamedTuple):
    """What a build works with, found once."""

    project: Project
    interpreter: Interpreter
    settings: Settings
    wanted: Wanted
    compilers: Optional[Compilers]
    """What compiles in place of the host's own; None for that."""
    config_settings: Optional[Dict[str, Any]] = None
    """Those of the real backend."""


def build_wheel(job: Job, reporter: Reporter) -> Dict[str, Any]:
    """Build the wheel of a job, and leave it where the job says.

    The result has the ``wheel``'s file name, its ``sha256`` and ``size``, whether it was ``repaired``, the libraries
    that were ``grafted`` into it, and the ``interpreter``. Any `ProvisionError` may be raised.
    """
    _limit_compilers(job.cores)
    how = job.runs.how
    toolchain = None if job.pure else _toolchain(job, how)
    kit, wheel = _build(job, how, toolchain, reporter)
    # Zig is 100 MB to install, so what is expected to be pure does without, and is built again where it is not.
    if job.pure and kind_of(wheel.name) != "pure" and _toolchain(job, how):
        kit, wheel = _build(job._replace(pure=False), how, _toolchain(job, how), reporter)
    check_made(wheel, kit.project, job.target.python, job.target.triple)
    with reporter.step("give the wheel its tags"):
        check_abi3(wheel)
        repaired = repair_wheel(wheel, wheel.parent.parent, triple=job.target.triple, glibc=job.settings.glibc)
        # What auditwheel has written anew is right, whatever the backend has made.
        contents = read_contents(repaired.path)
        check_tags(contents)
        check_record(contents)
    target = Path(job.wheel)
    shutil.copyfile(str(repaired.path), str(target))
    return {
        "wheel": repaired.path.name,
        "sha256": hash_file(target),
        "size": target.stat().st_size,
        "repaired": repaired.path.name != wheel.name,
        "grafted": list(repaired.grafted),
        "interpreter": kit.interpreter.as_dict(),
    }


def _toolchain(job: Job, how: str) -> Optional[Toolchain]:
    # No compiler of this host makes programs for another target.
    return toolchain_for(job.settings if how == HOST else job.settings._replace(toolchain="zig"), job.target.triple)


def _build(job: Job, how: str, toolchain: Optional[Toolchain], reporter: Reporter) -> Tuple[_Kit, Path]:
    """Build in a folder of its own, and return the wheel as the real backend has made it."""
    folder = Path(job.folder, "pure" if job.pure else "build")
    folder.mkdir()
    os.environ[OWN_FOLDER] = str(folder)
    root = unpack_sdist(Path(job.sdist), folder / "source")
    kit = _open(read_any_project(root), job, how, reporter)
    prefix = Path(kit.interpreter.executable).parent.parent
    if toolchain is None:
        _fix_paths(_path_maps(kit.project, prefix))
    elif how in (HOST, NATIVE):
        kit = kit._replace(compilers=toolchain._replace(maps=_path_maps(kit.project, prefix)))
    else:
        target = open_target(job.target.triple, job.target.request, job.settings, reporter)
        toolchain = toolchain._replace(maps=_path_maps(kit.project, target.tree))
        cross = Cross(toolchain, target, folder / "target")
        kit = kit._replace(compilers=cross, config_settings=cross.config_settings(kit.project.build_backend))
    raw = folder / "raw"
    raw.mkdir()
    project, plan = kit.project, Plan(True, kit.wanted, f"a wheel for CPython {kit.interpreter.version} was asked for")
    build = Build(project, kit.settings, plan, kit.config_settings, reporter, kit.compilers)
    with guard_recursion(project.root, project.build_backend):
        name = call_hook(build, "build_wheel", (str(raw), kit.config_settings, None))
    return kit, raw / str(name)


def _open(project: Project, job: Job, how: str, reporter: Reporter) -> _Kit:
    """Provide the interpreter that runs the real backend; one of this machine where those of the target do not run."""
    settings = job.settings._replace(installer=job.settings.installer or project.settings.get("installer", ""))
    if how in (HOST, NATIVE):
        wanted, settings = _wanted(project, job, reporter), settings_for(job.target.triple, how, settings)
    else:
        wanted = Wanted(project.requires_python, parse_request(job.target.python))
        if project.lock is not None:
            reporter.info("the lock is not for a build for another machine, so requirements are resolved")
    with reporter.step("provide an interpreter"):
        found = provision_for_build(wanted, settings, reporter)
    return _Kit(project, found, settings, wanted, None)


def _wanted(project: Project, job: Job, reporter: Reporter) -> Wanted:
    """Return the interpreter of the plan, with the project's lock where that is for it."""
    request, lock = parse_request(job.target.request), project.lock
    if lock is not None:
        check_lock(lock, project.requires_python, project.python)
        check_requirements(lock, project.requires, project.build_backend)
        if not lock.is_for(job.target.request, job.target.triple):
            reporter.info(
                f"the lock in {lock.place} is not for CPython {job.target.request}, so requirements are resolved"
            )
            lock = None
    return Wanted(project.requires_python, request, lock=lock)


def _path_maps(project: Project, prefix: Path) -> Tuple[Tuple[str, str], ...]:
    """Return the folders that have other names in each build or on each machine, and what stands for them."""
    return (
        (str(project.root), "."),
        (str(project.root.parent.parent / "env"), "/env"),
        (str(prefix), "/python"),
    )


def _fix_paths(maps: Sequence[Tuple[str, str]]) -> None:
    """Have the host's C compiler write the same paths into debug information and ``__FILE__`` in every build."""
    # CFLAGS would replace those of the interpreter in setuptools 77 and newer, -O3 among them; CPPFLAGS are added.
    flags = [shlex.quote(f"-ffile-prefix-map={folder}={name}") for folder, name in maps]
    compiler = shlex.split(os.environ.get("CC") or "cc")[:1]
    if RUNNING.name == "windows" or not _knows(compiler, flags):
        return
    os.environ["CPPFLAGS"] = " ".join([os.environ.get("CPPFLAGS", ""), *flags]).strip()


def _knows(compiler: List[str], flags: List[str]) -> bool:
    # GCC has the option from 8 on, and ends at one that it does not know.
    try:
        return run_quiet([*compiler, *flags, "-E", "-x", "c", os.devnull]).returncode == 0
    except InterpreterError:
        return False  # There is none, and what compiles with another one is not reproduced to the byte.


def _limit_compilers(cores: int) -> None:
    """Have builds that run side by side share the processors, and with them the memory, as far as variables can."""
    for name in ("CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS", "MAX_JOBS"):
        os.environ.setdefault(name, str(cores))


def check_made(wheel: Path, project: Project, python: str, triple: str) -> None:
    """Raise `WheelError` for a wheel that is not of this project, or not for the Python and the triple of its build.

    A frontend finds that out by itself when it installs what it has built; here the wheel would be published.

    Source: "Binary distribution format"; pip compares the same.
    """
    check_name(read_contents(wheel))
    name, version = parse_wheel_filename(wheel.name)[:2]
    # A local version, 1.0+cpu, may come from the machine that builds.
    if not same_project(str(name), version.public, project.name, project.version):
        raise WheelError(
            f"{wheel.name} was built from the sdist of {project.name} {project.version}",
            hint="what computes its name or version must give the same in a build as in the sdist",
        )
    if not covers(wheel.name, python, triple):
        raise WheelError(
            f"{wheel.name} was built by CPython {python} for {triple}, and cannot be installed there",
            hint="its build backend must give it the tags of the Python and the platform that it was built for",
        )
