"""e. Builds at once, on an empty and on a warm cache.

In: a workbench. Out: total time of 1, 8 and 32 builds, and how often the archive was downloaded, as the server counts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable, Dict, List

from .cold import installs
from .core import Claim, Contender, Group, Part, Sample, Series, Target, collect
from .frontends import FRONTENDS, Build
from .running import at_once
from .workbench import Workbench

__all__ = ["measure_part"]

_SIZES = (1, 8, 32)
# What is warm is the cache of interpreters; build environments that are reused would be warm on one side only.
_ANEW = {"PROVISION_BACKEND_ENVIRONMENT_FRESHNESS": "0"}
_EMPTY, _WARM, _COLD = "empty cache", "warm cache", "one cold provisioning"
_SUM, _DOWNLOADS = "warm cache + one cold provisioning", "downloads on an empty cache"


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    warm = bench.new_folder("cache")
    bench.provision(bench.environ(**bench.provisioning(bench.archives, warm)))
    assert bench.old_host is not None  # Or the line above had failed.
    alone = installs(bench, bench.environment(bench.old_host.path, "provision-backend[provision]"))
    for count in _SIZES:
        say(f"{count} at once")
        _compare(bench, part, count, warm=warm, alone=alone, say=say)
    part.remarks.append(
        "Each build is `uv build --wheel` of flit_core on the old host; they are started "
        "together, and the time is that until the last has ended. Every build makes its environment anew "
        "(`environment-freshness` 0), so that only the interpreters are warm. The cold provisioning is "
        "`provision-backend install` on the same host."
    )


def _compare(
    bench: Workbench, part: Part, count: int, *, warm: Path, alone: Callable[[], Sample], say: Callable[[str], None]
) -> None:
    downloads: List[float] = []

    def empty() -> Sample:
        folder, before = bench.new_folder("cache"), bench.archives.downloads()
        try:
            sample = _builds(bench, count, folder)
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)
        downloads.append(float(bench.archives.downloads() - before))
        return sample

    contenders = [
        Contender(_EMPTY, empty),
        Contender(_WARM, lambda: _builds(bench, count, warm)),
        Contender(_COLD, alone),
    ]
    # What there is to warm up is warm after the first builds.
    samples, missing = collect(contenders, part.rounds, say=say, warm_ups=int(count == min(_SIZES)))
    part.missing += missing
    part.groups += _groups(count, samples, downloads)


def _groups(count: int, samples: Dict[str, List[Sample]], downloads: List[float]) -> List[Group]:
    seconds = {label: [each.seconds for each in found] for label, found in samples.items()}
    both = [warm + cold for warm, cold in zip(seconds[_WARM], seconds[_COLD])]
    name = f"{count} build{'s' * (count > 1)} at once"
    target = Target("ratio", 1.3) if count == max(_SIZES) else None
    series = [Series(_EMPTY, seconds[_EMPTY]), Series(_WARM, seconds[_WARM]), Series(_SUM, both, ours=False)]
    once = Target("value", 1.0)
    return [
        Group(name, "s", series, [Claim(_EMPTY, _SUM, target)]),
        Group(name, "downloads", [Series(_DOWNLOADS, downloads)], [Claim(_DOWNLOADS, "", once)], plotted=False),
    ]


def _builds(bench: Workbench, count: int, cache: Path) -> Sample:
    # The quickest frontend: with a slow one, provisioning would not be seen.
    way = next(each for each in FRONTENDS if each.label.startswith("uv build"))
    variables = {**bench.provisioning(bench.archives, cache), **_ANEW}
    build = Build(bench, way, bench.old.python, bench.project("flit_core", "one list"), variables)
    folders = [bench.new_folder() for _ in range(count)]
    try:
        return at_once([build.command(folder) for folder in folders])
    finally:
        for folder in (*folders, build.project):
            shutil.rmtree(str(folder), ignore_errors=True)
