"""``provision-backend wheels``: wheels of a project for every Python that it supports, or the plan for them."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..cache.locks import key_lock
from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.wanted import Lock, Wanted
from ..errors import HookFailedError, InterpreterError, UsageError
from ..files import read_end, remove_path
from ..host.targets import ELF_TARGETS, OTHER_TARGETS, split_level
from ..install.catalogs import load_archives
from ..interpreter import find_interpreters
from ..output import Reporter
from ..processes import last_lines, standard_output_to
from ..project.plan import make_plan as make_build_plan
from ..project.pyproject import Project
from ..project.unadopted import read_document
from ..settings import Settings, load_settings
from ..variables import set_variables
from ..versions import VersionRequest, parse_request
from ..wheels.kind import guess_kind
from ..wheels.options import ABIS, LIBCS, SETTINGS, WheelOptions, read_options, read_table
from ..wheels.plan import PlannedBuild, Python, WheelPlan, choose_pythons, make_plan, target_triples
from ..wheels.pool import run_plan
from ..wheels.report import Report
from ..wheels.shards import Shard, cut_plan, parse_shard
from ..wheels.source import inspect_source, open_source
from ..wheels.state import LOCK, open_output, open_work
from .answers import Answer, as_columns, terminal_width
from .parser import given_settings
from .registry import argument, flag

__all__ = ["ARGUMENTS", "Prepared", "plan_wheels", "prepare", "run"]

_SOURCE = "a folder, an sdist, or the name of a project on the package index; default this folder"
_PYTHON = "wheels for these only: 3.13, 3.14t or '>=3.10'; may be repeated; default all that the project supports"
_TEST = "command that tests each wheel, in which {project} and {wheel} stand for paths; default: import what is in it"
_ABI = "what the wheels are, where that is not read from the project: " + ", ".join(ABIS)
_SHARD = "build one of several parts: K/N, or 'auto' for the one that the CI engine assigns"
_ROOT = "run interpreters in this root file system of another Linux"

ARGUMENTS = {
    "wheels": [
        argument("source", "SOURCE", _SOURCE, nargs="?", default="."),
        argument("--python", "REQUEST", _PYTHON, action="append", dest="requests"),
        argument("--libc", "|".join(LIBCS), "C libraries to build for, separated by commas", action="append"),
        argument("--arch", "ARCH", "architectures to build for, such as x86_64,aarch64", action="append"),
        argument("--abi", "|".join(ABIS), _ABI),
        argument("--test", "COMMAND", _TEST),
        argument("--test-requires", "REQUIREMENT", "package that the test needs; may be repeated", action="append"),
        argument(
            "--jobs", "N", "how many builds and tests run at a time; default what the machine has room for", type=int
        ),
        argument("--shard", "K/N", _SHARD),
        argument("--out", "DIR", "folder for the wheels; default dist"),
        flag("--keep-going", "go on with the others after a failure"),
        argument("--root", "DIR", _ROOT),
        flag("--plan", "show what would be built and tested, and build nothing"),
        argument("--format", "github", "with --plan: print the matrix of a job of GitHub Actions", choices=["github"]),
    ]
}


class Prepared(NamedTuple):
    """What is known before anything is built."""

    project: Project
    """As its folder or sdist says."""
    options: WheelOptions
    settings: Settings
    """With what the project's table says of these wheels."""
    plan: WheelPlan
    """The part of it that is built here."""
    shard: Shard


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Plan the wheels of a project, and build and test them."""
    if arguments.format and not arguments.plan:
        raise UsageError("--format is for --plan")
    if arguments.format and arguments.shard:
        raise UsageError("--format prints a matrix of all shards, so it cannot be used with --shard")
    with open_work() as work:
        prepared = prepare(arguments, settings, reporter, work)
        for note in prepared.plan.notes:
            reporter.info(f"note: {note}")
        if arguments.plan:
            return _matrix(prepared.plan) if arguments.format else _show(prepared)
        logs, timeout = open_output(Path(os.path.abspath(prepared.options.out))), prepared.settings.lock_timeout
        # Two runs would take each other's unfinished wheels. Shards have none in common.
        key = f"{LOCK}{prepared.shard.number}-of-{prepared.shard.total}"
        with key_lock(logs, key, timeout=timeout, reporter=reporter, work="builds into the same folder"):
            report = _build(arguments.source, prepared, reporter, work, logs)
    table = as_columns(report.rows(), right=report.numbers, width=terminal_width())
    lines = [*table, report.summary()]
    return Answer({"plan": prepared.plan.as_dict(), **report.as_dict()}, lines, int(not report.is_green))


def _build(source: str, prepared: Prepared, reporter: Reporter, work: Path, logs: Path) -> Report:
    """Make the sdist, plan by what it says, and build, repair and test all wheels."""
    settings, options, shard = prepared.settings, prepared.options, prepared.shard
    here = current_platform(settings, open_cache(settings)).triple
    # What a build backend prints is of no use to a program that reads our answer.
    log = logs / "sdist.log"
    remove_path(log)
    try:
        with standard_output_to(log), _temporary_files_in(work):
            newest = prepared.plan.newest_on(here)
            opened = open_source(source, work, settings, reporter, python=newest, out=logs.parent)
    except HookFailedError as exc:
        # meson and others print there what is wrong.
        text = last_lines(read_end(log, 1 << 16).decode("utf-8", "replace"))
        exc.hint = "\n".join(filter(None, [exc.hint, text, f"the whole log is {log}"]))
        raise
    # A setup.py may have computed what Pythons the project supports.
    plan = cut_plan(plan_wheels(opened.project, options, settings, reporter), shard)
    for line in _show(prepared._replace(project=opened.project, plan=plan)).lines:
        reporter.info(line)
    return run_plan(plan, opened, options, settings, reporter, work=work, logs=logs)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Have this process, and what it starts, make temporary files in a folder while the body runs.

    If the process is killed later, the worker that removes the folder removes them, too.
    """
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        with set_variables({"TMPDIR": str(folder)}):
            yield
    finally:
        tempfile.tempdir = before


def prepare(arguments: argparse.Namespace, settings: Settings, reporter: Reporter, work: Path) -> Prepared:
    """Read the project and the options, and make the plan.

    Raises:
        UsageError: an argument or a setting is malformed.
        ProjectError: the project is.
        NoMatchingArchiveError: a Python that was asked for is in no catalog.
    """
    project = inspect_source(arguments.source, work, settings, reporter)
    table = read_table(read_document(project.root))
    if not os.path.isdir(arguments.source):
        table.pop("out", None)  # Where the files of this machine go is nothing that the author of an sdist decides.
    options = read_options(_given(arguments), table)
    shard = parse_shard(options.shard, os.environ)
    ours = {**project.settings, **{key: table[key] for key in SETTINGS if key in table}}
    # A wheel is for every CPU of its architecture, whatever this one can do.
    settings = load_settings(flags=given_settings(arguments), project=ours)._replace(cpu_level="baseline")
    if options.root and not os.path.isdir(options.root):
        raise UsageError(f"--root must name a folder, found {options.root!r}")
    plan = plan_wheels(project, options, settings, reporter)
    return Prepared(project, options, settings, cut_plan(plan, shard), shard)


def plan_wheels(project: Project, options: WheelOptions, settings: Settings, reporter: Reporter) -> WheelPlan:
    """Return the whole plan of a project; the errors are those of `prepare`."""
    lock, requests = _lock_and_requests(project, options, settings)
    cache = open_cache(settings)
    pythons: Dict[str, Tuple[Python, ...]] = {}
    for triple in target_triples(options, current_platform(settings, cache).triple):
        if settings.preference == "only-system":
            pythons[triple] = _of_this_machine(project, requests, triple)
            continue
        archives = load_archives(settings, triple, cache, reporter)
        pythons[triple] = choose_pythons(archives, project.requires_python, requests, triple)
    return make_plan(lock, guess_kind(project, options.abi), pythons, asked=bool(requests))


def _given(arguments: argparse.Namespace) -> Dict[str, Any]:
    values = {name: getattr(arguments, name, None) for name in WheelOptions._fields if name != "python"}
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs must be 1 or more, found {arguments.jobs}")
    return {**values, "python": arguments.requests}


def _lock_and_requests(
    project: Project, options: WheelOptions, settings: Settings
) -> Tuple[Optional[Lock], List[VersionRequest]]:
    """Return the lock of a project if the settings leave it one, and what is asked for."""
    texts, source = list(options.python), "--python"
    if not texts and settings.python:
        texts, source = [settings.python], settings.origin("python")
        if "/" in settings.python or os.sep in settings.python:
            raise UsageError(
                f"{source} names an interpreter of the machine, and wheels are made for versions",
                hint="unset it, and ask for a version: --python 3.13",
            )
    return make_build_plan(project, settings).wanted.lock, [parse_request(text, source=source) for text in texts]


def _of_this_machine(project: Project, requests: List[VersionRequest], triple: str) -> Tuple[Python, ...]:
    wanted = [Wanted(project.requires_python, request) for request in requests] or [Wanted(project.requires_python)]

    def _accepts(version: str, freethreaded: bool) -> bool:
        return any(each.accepts(version, freethreaded) for each in wanted)

    found: Dict[str, Python] = {}
    # Of each minor version the newest comes first.
    for each in find_interpreters(_accepts):
        found.setdefault(each.minor, Python(each.minor, triple, each.version))
    if not found:
        described = " or ".join(each.describe() for each in wanted)
        raise InterpreterError(f"no interpreter of this machine satisfies {described}")
    return tuple(sorted(found.values(), key=lambda python: python.sort_key))


def _show(prepared: Prepared) -> Answer:
    project, plan, shard = prepared.project, prepared.plan, prepared.shard
    name = project.name or project.root.name
    data = {"name": name, "version": project.version or None, **plan.as_dict(), "shard": shard._asdict()}
    kinds = {"pure": "one wheel for all", "none": "one wheel a platform", "each": "one wheel a Python"}
    title = f"{name} {project.version}".strip()
    lines = [f"{title}: {kinds.get(plan.kind, f'wheels of the stable ABI, {plan.kind}')}, since {plan.reason}"]
    if plan.builds:
        rows = [(build.id, f"CPython {build.request}", _tested(build, plan)) for build in plan.builds]
        lines += as_columns(rows)
    builds, tests = len(plan.builds), sum(len(build.tests) for build in plan.builds)
    part = f", shard {shard.number} of {shard.total}" if shard.total > 1 else ""
    lines.append(f"{builds} build{'s'[: builds != 1]}, {tests} test{'s'[: tests != 1]}{part}")
    return Answer(data, lines)


def _tested(build: PlannedBuild, plan: WheelPlan) -> str:
    triples = {test.triple for test in build.tests}
    tests = sorted(build.tests, key=lambda test: plan.pythons.index(test.python))
    found = [test.python if len(triples) == 1 else f"{test.python} {_short(test.triple)}" for test in tests]
    return "" if found == [build.python] else "tested on " + ", ".join(found)


def _matrix(plan: WheelPlan) -> Answer:
    """Return the matrix of a job of GitHub Actions, in which each build is a shard, in one line."""
    total = len(plan.builds)
    rows = [
        {
            "id": build.id,
            "python": build.request,
            "triple": build.triple,
            "arch": _architecture(build.triple),
            "shard": f"{number}/{total}",
        }
        for number, build in enumerate(plan.builds, 1)
    ]
    data = {"include": rows}
    return Answer(data, [json.dumps(data)])


def _architecture(triple: str) -> str:
    baseline = split_level(triple)[0]
    return ELF_TARGETS[baseline].architecture if baseline in ELF_TARGETS else OTHER_TARGETS[baseline][0]


def _short(triple: str) -> str:
    """Return a triple without the parts that all of them have."""
    return triple.replace("-unknown-linux", "")
