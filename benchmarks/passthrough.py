"""a. Builds on a host that satisfies the project: what we cost where nobody needs us.

In: a workbench. Out: each frontend by each real backend, without us, with us in the one-list form, and with
``requires`` in the tool's table.
"""

from __future__ import annotations

from typing import Callable, List

from .core import Claim, Group, Part, Series, Target, collect
from .floors import ask_once
from .frontends import FRONTENDS, Build, Way, say_rounds
from .workbench import BACKENDS, Workbench

__all__ = ["measure_part"]

_WITHOUT, _LIST, _TABLE = "without us", "with us, one list", "with us, table"
_ASKING = "without us, requirements asked for"


def measure_part(bench: Workbench, part: Part, say: Callable[[str], None]) -> None:
    """Fill the part."""
    for way in FRONTENDS:
        for backend in BACKENDS:
            say(f"{way.label}, {backend}")
            _compare(bench, part, way, backend, say)
    part.remarks.append(say_rounds(part.rounds))
    part.remarks.append(
        f"`{_ASKING}` is the same project with a backend of its own of five lines, which names the real backend when "
        "it is asked what it requires: the least that `requires` in a table costs, whoever does it."
    )
    part.remarks.append(
        "All wheels are built from a fresh copy of the same small project; what is installed comes from a local "
        "folder of wheels; uv has a warm cache."
    )


def _compare(bench: Workbench, part: Part, way: Way, backend: str, say: Callable[[str], None]) -> None:
    python = bench.satisfying.python
    forms = {_WITHOUT: "without us", _LIST: "one list", _TABLE: "table"}
    contenders = [
        Build(bench, way, python, bench.project(backend, form)).contender(label, ours=label != _WITHOUT)
        for label, form in forms.items()
    ]
    least = bench.project(backend, "without us")
    ask_once(least)
    contenders.append(Build(bench, way, python, least).contender(_ASKING, ours=False))
    samples, missing = collect(contenders, way.rounds(part.rounds), say=say)
    series = [Series(each.label, [run.seconds for run in samples[each.label]], each.ours) for each in contenders]
    part.groups.append(Group(f"{way.label}, {backend}", "s", series, _claims(way)))
    part.missing += missing


def _claims(way: Way) -> List[Claim]:
    limits = {_LIST: 1.15 if way.uv else 1.10, _TABLE: 1.5}
    claims = [
        Claim(label, _WITHOUT, Target("ratio", limit) if way.targeted else None) for label, limit in limits.items()
    ]
    return [*claims, Claim(_ASKING, _WITHOUT), Claim(_TABLE, _ASKING)]
