"""f. What each hook imports, and how many processes a build starts.

In: a workbench. Out: modules and milliseconds of each hook's own process, without us, passed through and provisioned;
and the programs that one build executes, with and without us.
"""

from __future__ import annotations

import re
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

from .core import Claim, Failed, Group, Missing, Part, Series, Table, in_turns
from .frontends import FRONTENDS, Build
from .processes import count_processes, method
from .running import Command, run
from .workbench import ROOT, Workbench

__all__ = ["Imports", "measure_part", "parse_importtime"]

_HOOKS = (
    *("get_requires_for_build_sdist", "build_sdist"),
    *("get_requires_for_build_wheel", "prepare_metadata_for_build_wheel", "build_wheel"),
    *("get_requires_for_build_editable", "prepare_metadata_for_build_editable", "build_editable"),
)
_WITHOUT, _PASSED, _PROVISIONED = "without us", "pass-through", "provisioned"
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)")


class Imports(NamedTuple):
    """What one process imported."""

    modules: int
    ours: int
    """Those of our package."""
    milliseconds: float
    """Time spent importing."""


@dataclass(frozen=True)
class _Way:
    """A way of building, and what runs its hooks."""

    label: str
    python: Path
    project: Path
    environ: Dict[str, str]


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    try:
        warm = bench.provisioning(bench.archives, bench.new_folder("cache"))
        bench.provision(bench.environ(**warm))
    except Failed as exc:
        warm = {}
        part.missing.append(Missing(_PROVISIONED, str(exc)))
    say("imports of the hooks")
    _imports(bench, part, warm)
    say("processes of a build")
    _processes(bench, part, warm)


def _imports(bench: Workbench, part: Part, warm: Dict[str, str]) -> None:
    python = bench.environment(bench.new_host.path, "provision-backend", "flit_core")
    ways = [
        _Way(_WITHOUT, python, bench.project("flit_core", "without us"), bench.environ()),
        _Way(_PASSED, python, bench.project("flit_core", "one list"), bench.environ()),
    ]
    if warm and bench.old_host:
        old = bench.environment(bench.old_host.path, "provision-backend[provision]")
        ways.append(_Way(_PROVISIONED, old, bench.project("flit_core", "one list"), bench.environ(**warm)))
    rows, values = [], {way.label: [0.0] * part.rounds for way in ways}
    for hook in _HOOKS:
        found: Dict[str, List[Imports]] = {way.label: [] for way in ways}
        for number, order in enumerate(in_turns(len(ways), 1 + part.rounds)):
            for way in (ways[index] for index in order):
                imports = _imports_of(bench, way, hook)
                if number:  # The first one compiles.
                    found[way.label].append(imports)
                    values[way.label][number - 1] += imports.milliseconds
        rows.append([f"`{hook}`", *(_cell(found.get(label, [])) for label in (_WITHOUT, _PASSED, _PROVISIONED))])
    header = ["hook", "without us", "pass-through", "provisioned, on the old host"]
    part.tables.append(Table("What each hook imports: modules, of these ours; milliseconds", header, rows))
    series = [Series(label, found_values, ours=label != _WITHOUT) for label, found_values in values.items()]
    claims = [Claim(way.label, _WITHOUT) for way in ways[1:]]
    part.groups.append(Group("importing, all eight hooks", "ms", series, claims))
    part.remarks.append(
        "The real backend is flit_core. Counted are the modules that `-X importtime` shows in the hook's own process, "
        "those that every Python imports when it starts among them; provisioned, the real backend is imported in "
        "another process, under another Python, and is not among them."
    )


def _cell(found: List[Imports]) -> str:
    if not found:
        return "not run"
    milliseconds = statistics.median(each.milliseconds for each in found)
    return f"{found[-1].modules}, {found[-1].ours}; {milliseconds:.0f} ms"


def _imports_of(bench: Workbench, way: _Way, hook: str) -> Imports:
    folder = bench.new_folder()
    try:
        (folder / "out").mkdir()
        shutil.copytree(str(way.project), str(folder / "source"))
        log = folder / "imports.log"
        script = str(ROOT / "benchmarks" / "hook.py")
        argv = [sys.executable, script, str(folder / "source"), str(folder / "out"), hook, str(way.python), str(log)]
        run(Command(argv, way.environ, folder))
        return parse_importtime(log.read_text(encoding="utf-8", errors="replace"))
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def parse_importtime(text: str) -> Imports:
    """Return what the lines of ``-X importtime`` add up to."""
    found = _LINE.findall(text)
    names = [name for _, _, name in found]
    ours = sum(name.split(".")[0] == "provision_backend" for name in names)
    return Imports(len(names), ours, sum(int(own) for own, _, _ in found) / 1000)


def _processes(bench: Workbench, part: Part, warm: Dict[str, str]) -> None:
    part.remarks.append(f"Processes are counted {method()}; the build before the counted one has warmed the caches.")
    for way in FRONTENDS:
        builds = {
            _WITHOUT: Build(bench, way, bench.satisfying.python, bench.project("flit_core", "without us")),
            f"{_PASSED}, one list": Build(bench, way, bench.satisfying.python, bench.project("flit_core", "one list")),
            f"{_PASSED}, table": Build(bench, way, bench.satisfying.python, bench.project("flit_core", "table")),
        }
        if warm and bench.old_host:
            project = bench.project("flit_core", "one list")
            builds[_PROVISIONED] = Build(bench, way, bench.old.python, project, warm)
        series = [
            Series(label, _counted(bench, part, build, f"{way.label}, {label}"), ours=label != _WITHOUT)
            for label, build in builds.items()
        ]
        claims = [Claim(label, _WITHOUT) for label in list(builds)[1:]]
        part.groups.append(Group(f"processes, {way.label}", "processes", series, claims))


def _counted(bench: Workbench, part: Part, build: Build, what: str) -> List[float]:
    """Return the number of programs in a list of one, or nothing where the build fails."""
    try:
        count_processes(bench, build)
        return [float(count_processes(bench, build))]
    except Failed as exc:
        part.missing.append(Missing(what, str(exc)))
        return []
