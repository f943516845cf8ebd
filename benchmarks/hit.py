"""d. Finding an interpreter that is there, with 1, 100 and 1,000 of them in the cache.

In: a workbench. Out: what a hit costs a process that has imported what it needs, and in that process; and
``provision-backend find`` beside ``uv python find``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Callable, Dict, List

from .core import Claim, Contender, Group, Part, Sample, Series, Target, collect
from .running import Command, measure, run
from .workbench import ROOT, Workbench

__all__ = ["measure_part"]

_SIZES = (1, 100, 1000)
_REQUEST = ">=3.12"
_MORE = 5
"""Times as many rounds for what is a hundredth of what is measured: a hit, within a process that starts and imports."""
_IMPORTS, _HIT = "Python and imports", "the same, and a hit"
_OURS, _UV = "provision-backend find", "uv python find"

# What a hook does before it forwards: settings, the request, the lookup. The imports come first, by name.
_CODE = """
import importlib, json, sys, time
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
def hit():
    from provision_backend.provision import find
    from provision_backend.output import Reporter
    from provision_backend.settings import load_settings
    from provision_backend.project.wanted import Wanted
    found = find(Wanted(sys.argv[2]), load_settings(), Reporter())
    assert found is not None, "nothing was found"
begin = time.perf_counter()
if sys.argv[3] == "hit":
    hit()
print(json.dumps([time.perf_counter() - begin, sorted(sys.modules) if sys.argv[1] == "[]" else []]))
"""


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    python = bench.environment(bench.new_host.path, "provision-backend[provision]")
    inside: Dict[str, List[float]] = {}
    for count in _SIZES:
        say(f"{count} interpreters")
        environ = _our_cache(bench, python, count)
        inside[f"{count:,}"] = _compare_hit(bench, part, python, count, environ=environ, say=say)
        _compare_commands(bench, part, python, count, environ=environ, say=say)
    series = [Series(label, values, ours=label != "1") for label, values in inside.items()]
    same = Claim(f"{_SIZES[-1]:,}", "1", Target("ratio", 1.10))
    part.groups.append(
        Group("a hit, in the process, by interpreters in the cache", "ms in the process", series, [same])
    )
    # Like beside like: the process, the hits, the commands.
    part.groups.sort(key=lambda group: group.name.partition(",")[0])
    part.remarks += [
        "A hit is all that a hook does until it knows the interpreter: settings, request, platform, catalog, lookup; "
        "the modules that it imports on the way are imported by name before, in both programs. The built-in catalog "
        "is used; the interpreters are the smallest trees that count, since a lookup reads only their markers.",
        "`the same` with 1,000 interpreters is taken as at most 10 % more, measured inside the process.",
        "uv has as many folders in `UV_PYTHON_INSTALL_DIR`: the real CPython, which it finds, and others named like "
        "older versions, each with a hard link to its program; its cache of what an interpreter says is warm.",
    ]


def _our_cache(bench: Workbench, python: Path, count: int) -> Dict[str, str]:
    """Fill a cache, and return the variables of those who use it."""
    environ = bench.environ(PROVISION_BACKEND_CACHE_DIR=str(bench.new_folder("cache")))
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    argv = [str(python), str(ROOT / "benchmarks" / "entries.py"), str(count), _REQUEST]
    run(Command(argv, {**environ, "PYTHONPATH": paths}, bench.folder))
    return environ


def _compare_hit(
    bench: Workbench,
    part: Part,
    python: Path,
    count: int,
    *,
    environ: Dict[str, str],
    say: Callable[[str], None],
) -> List[float]:
    """Measure a hit, and return its times inside the process, in milliseconds."""

    def command(imports: str, what: str) -> Command:
        return Command([str(python), "-I", "-c", _CODE, imports, _REQUEST, what], environ, bench.folder)

    names = [name for name in json.loads(run(command("[]", "hit")))[1] if name != "__main__"]
    imports = json.dumps(names)
    contenders = [
        Contender(_IMPORTS, lambda: measure(command(imports, "nothing")), ours=False),
        Contender(_HIT, lambda: measure(command(imports, "hit"))),
    ]
    samples, missing = collect(contenders, part.rounds * _MORE, say=say)
    part.missing += missing
    target = Claim(_HIT, _IMPORTS, Target("difference", 5.0))
    name = f"a hit beyond starting and importing, {count:,} in the cache"
    part.groups.append(Group(name, "ms", _milliseconds(contenders, samples), [target]))
    return [json.loads(sample.output)[0] * 1000 for sample in samples[_HIT]]


def _compare_commands(
    bench: Workbench,
    part: Part,
    python: Path,
    count: int,
    *,
    environ: Dict[str, str],
    say: Callable[[str], None],
) -> None:
    program = str(python.with_name("provision-backend"))
    ours = Command([program, "find", _REQUEST], environ, bench.folder)
    argv = [str(bench.uv), "python", "find", "--no-project", "--managed-python", _REQUEST]
    uv = Command(argv, bench.environ(UV_PYTHON_INSTALL_DIR=str(_uv_folder(bench, count))), bench.folder)
    contenders = [Contender(_OURS, lambda: measure(ours)), Contender(_UV, lambda: measure(uv), ours=False)]
    samples, missing = collect(contenders, part.rounds, say=say)
    part.missing += missing
    name = f"the command find, {count:,} in the cache"
    part.groups.append(Group(name, "ms", _milliseconds(contenders, samples), [Claim(_OURS, _UV)]))


def _uv_folder(bench: Workbench, count: int) -> Path:
    """Lay out as many interpreters as uv would have installed, the real one the newest."""
    folder = bench.new_folder("pythons")
    shutil.unpack_archive(str(bench.archive), str(folder))
    version, triple = bench.archives.version, bench.archive.name.split("-", 2)[2]
    suffix = f"linux-{triple.split('-')[0]}-{'musl' if 'musl' in triple else 'gnu'}"
    real = (folder / "python").rename(folder / f"cpython-{version}-{suffix}")
    program = (real / "bin" / "python3").resolve()
    for number in range(count - 1):
        other = folder / f"cpython-3.{8 + number % 4}.{100 + number // 4}-{suffix}"
        (other / "bin").mkdir(parents=True)
        for name in (f"python3.{8 + number % 4}", "python3", "python"):
            os.link(str(program), str(other / "bin" / name))
    return folder


def _milliseconds(contenders: List[Contender], samples: Dict[str, List[Sample]]) -> List[Series]:
    return [Series(each.label, [run.seconds * 1000 for run in samples[each.label]], each.ours) for each in contenders]
