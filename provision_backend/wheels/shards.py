"""Cut a plan into shards: ``K/N``, or what the engine of continuous integration or of a cluster says. Pure.

A shard is made of whole builds, so that a wheel that serves many Pythons is built once. Every shard makes the same
plan and takes its part of it, without a word between the machines.

Source: the documentation of each engine, "predefined variables", "parallelism", "job arrays".
"""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple, Tuple

from ..errors import UsageError
from .plan import WheelPlan

__all__ = ["ENGINES", "Engine", "Shard", "cut_plan", "parse_shard"]


class Shard(NamedTuple):
    """One of several parts."""

    number: int
    """From 1 on."""
    total: int


class Engine(NamedTuple):
    """What runs the shards, and the variables by which each learns which one it is."""

    name: str
    marker: str
    """The variable that shows that it runs this process."""
    number: str
    """The variable with the number of the shard."""
    total: str
    """The variable with the number of all."""
    first: str = "0"
    """The number of the first shard, or the variable that has it."""
    step: str = "1"
    """The difference between two numbers, or the variable that has it."""
    advice: str = ""
    """How a person has it pass the variables on, where it does not by itself."""


ENGINES: Tuple[Engine, ...] = (
    Engine(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        "STRATEGY_JOB_INDEX",
        "STRATEGY_JOB_TOTAL",
        advice="pass them on in env of the job: STRATEGY_JOB_INDEX: ${{ strategy.job-index }} and "
        "STRATEGY_JOB_TOTAL: ${{ strategy.job-total }}",
    ),
    Engine("GitLab", "GITLAB_CI", "CI_NODE_INDEX", "CI_NODE_TOTAL", "1", advice="set parallel: N in the job"),
    Engine(
        "Buildkite",
        "BUILDKITE",
        "BUILDKITE_PARALLEL_JOB",
        "BUILDKITE_PARALLEL_JOB_COUNT",
        advice="set parallelism: N in the step",
    ),
    Engine("CircleCI", "CIRCLECI", "CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", advice="set parallelism: N in the job"),
    Engine(
        "Azure Pipelines",
        "TF_BUILD",
        "SYSTEM_JOBPOSITIONINPHASE",
        "SYSTEM_TOTALJOBSINPHASE",
        "1",
        advice="set strategy: parallel: N in the job",
    ),
    Engine(
        "Slurm",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
        advice="submit an array: sbatch --array=1-N",
    ),
    Engine(
        "Kubernetes",
        "JOB_COMPLETION_INDEX",
        "JOB_COMPLETION_INDEX",
        "JOB_COMPLETIONS",
        advice="a Job does not tell its pods how many there are: set the variable JOB_COMPLETIONS "
        "in the container's env to the same number as completions",
    ),
)
"""Those that ``--shard auto`` knows; the first whose marker is set counts."""


def parse_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """Return the shard that an option names; empty means everything: the one shard of one.

    Raises:
        UsageError: it is no shard, or ``auto`` and the variables of the engine do not say which.
    """
    if text == "auto":
        return _from_engine(environ)
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(
            f"--shard must be 'auto' or K/N with K from 1 to N, found {text!r}",
            hint="the second of three machines builds --shard 2/3",
        )
    return Shard(int(match[1]), int(match[2]))


def cut_plan(plan: WheelPlan, shard: Shard) -> WheelPlan:
    """Return the part of a plan that one shard builds: each build is in exactly one of them."""
    # Neighbours of the sorted builds take about as long, so each shard gets its share of the long ones.
    builds = plan.builds[shard.number - 1 :: shard.total]
    tested = {test.python for build in builds for test in build.tests}
    return plan._replace(builds=builds, pythons=tuple(each for each in plan.pythons if each in tested))


def _from_engine(environ: Mapping[str, str]) -> Shard:
    engine = next((engine for engine in ENGINES if environ.get(engine.marker)), None)
    if engine is None:
        names = ", ".join(engine.name for engine in ENGINES)
        raise UsageError(
            "--shard auto found no engine that says which shard this is",
            hint=f"known engines: {names}; elsewhere, name the shard: --shard 2/3",
        )
    number, total, first, step = (
        int(name) if name.isdigit() else _read_number(engine, name, environ)
        for name in (engine.number, engine.total, engine.first, engine.step)
    )
    found = Shard((number - first) // max(step, 1) + 1, total)
    if not 1 <= found.number <= found.total:
        raise UsageError(
            f"--shard auto: {engine.name} says {engine.number} = {number} and {engine.total} = {total}, "
            "which names none of the shards",
            hint=engine.advice,
        )
    return found


def _read_number(engine: Engine, name: str, environ: Mapping[str, str]) -> int:
    text = environ.get(name, "").strip()
    if re.fullmatch(r"[0-9]{1,6}", text):
        return int(text)
    found = f"is {text!r}, not a number" if text else "is not set"
    raise UsageError(f"--shard auto: this is {engine.name}, and its variable {name} {found}", hint=engine.advice)
