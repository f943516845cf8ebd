"""b. Builds on a host that is too old, the interpreter being in the cache: what the way through another Python costs.

In: a workbench. Out: each frontend by each real backend: on the old host with us, the build environment made anew or
reused, beside the same frontend under the provisioned interpreter with the real backend and without us.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, List

from provision_backend.settings import OPTIONS

from .core import Claim, Contender, Group, Missing, Part, Series, Target, collect
from .floors import start_another
from .frontends import FRONTENDS, Build, Way, say_rounds
from .workbench import BACKENDS, Workbench

__all__ = ["measure_part"]

_DIRECT, _ANEW, _REUSED = "without us, under that Python", "with us, made anew", "with us, reused"
_LEAST = "without us, by another Python"
_FRESHNESS = "environment-freshness"


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    # Each way has a cache of its own, so that none finds what the other has left.
    hosts = {
        _ANEW: {**_variables(bench), "PROVISION_BACKEND_ENVIRONMENT_FRESHNESS": "0"},
        _REUSED: _variables(bench),
    }
    if not any(option.key == _FRESHNESS for option in OPTIONS):
        del hosts[_REUSED]
        part.missing.append(Missing(_REUSED, f"this version has no setting {_FRESHNESS}"))
    provisioned = [bench.provision(bench.environ(**variables)) for variables in hosts.values()]
    direct = bench.frontend(provisioned[0]).python
    for way in FRONTENDS:
        for backend in BACKENDS:
            say(f"{way.label}, {backend}")
            _compare(bench, part, way, backend, direct=direct, hosts=hosts, say=say)
    part.remarks.append(say_rounds(part.rounds))
    part.remarks.append(
        f"`{_LEAST}` starts on the old host too, with a backend of its own of six lines that runs the real one under "
        "the new Python, in an environment that is there: the least that the way through another Python costs, whoever "
        "goes it."
    )
    part.remarks.append(
        "The frontends under the old host are the newest that run there, and those under the provisioned interpreter "
        "the newest that run here, so their versions differ."
    )


def _variables(bench: Workbench) -> Dict[str, str]:
    return bench.provisioning(bench.archives, bench.new_folder("cache"))


def _compare(
    bench: Workbench,
    part: Part,
    way: Way,
    backend: str,
    *,
    direct: Path,
    hosts: Dict[str, Dict[str, str]],
    say: Callable[[str], None],
) -> None:
    alone = bench.project(backend, "without us")
    wrapped = bench.project(backend, "one list")
    contenders: List[Contender] = [Build(bench, way, direct, alone).contender(_DIRECT, ours=False)]
    contenders += [
        Build(bench, way, bench.old.python, wrapped, variables).contender(label) for label, variables in hosts.items()
    ]
    least = bench.project(backend, "without us")
    start_another(least, bench.environment(direct, backend))
    contenders.append(Build(bench, way, bench.old.python, least).contender(_LEAST, ours=False))
    samples, missing = collect(contenders, way.rounds(part.rounds), say=say)
    series = [Series(each.label, [run.seconds for run in samples[each.label]], each.ours) for each in contenders]
    limits = {_ANEW: 1.5 if way.uv else 2.0, _REUSED: 1.0}
    claims = [Claim(label, _DIRECT, Target("ratio", limits[label]) if way.targeted else None) for label in hosts]
    claims += [Claim(_LEAST, _DIRECT), Claim(_REUSED, _LEAST)]
    part.groups.append(Group(f"{way.label}, {backend}", "s", series, claims))
    part.missing += missing
