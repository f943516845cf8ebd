"""A plan is cut by build, the same way on every machine; the engines say in variables which part is whose."""

from __future__ import annotations

from typing import Dict, List, Tuple

import pytest

from provision_backend.errors import UsageError
from provision_backend.wheels.kind import Guess
from provision_backend.wheels.plan import Python, WheelPlan, make_plan
from provision_backend.wheels.shards import ENGINES, Shard, cut_plan, parse_shard

GNU, MUSL = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"
PYTHONS, MUSL_PYTHONS = (
    [Python(f"3.{minor}", triple, f"3.{minor}.1") for minor in range(9, 15)] for triple in (GNU, MUSL)
)


def _plan(kind: str) -> WheelPlan:
    return make_plan(None, Guess(kind, ""), {GNU: PYTHONS, MUSL: MUSL_PYTHONS[1:]})


@pytest.mark.parametrize("kind", ["pure", "none", "abi3", "each"])
@pytest.mark.parametrize("total", [1, 2, 3, 7, 40])
def test_each_build_is_in_exactly_one_shard(kind: str, total: int) -> None:
    """Whatever the number of shards, they are the plan, with all its tests, and their sizes differ by one at most."""
    plan = _plan(kind)
    shards = [cut_plan(plan, Shard(number, total)) for number in range(1, total + 1)]
    builds = [build for shard in shards for build in shard.builds]

    assert sorted(builds) == sorted(plan.builds)
    assert max(len(shard.builds) for shard in shards) - min(len(shard.builds) for shard in shards) <= 1
    assert {python for shard in shards for python in shard.pythons} == set(plan.pythons)


def test_the_shards_of_a_wheel_for_many_pythons_do_not_share_it() -> None:
    """A wheel of the stable ABI is built by one shard, which tests it everywhere; another one has nothing to do."""
    plan = make_plan(None, Guess("abi3", ""), {GNU: PYTHONS})

    assert [len(cut_plan(plan, Shard(number, 2)).builds) for number in (1, 2)] == [1, 0]
    assert len(cut_plan(plan, Shard(1, 2)).builds[0].tests) == len(PYTHONS)


GIVEN: List[Tuple[str, Dict[str, str], Shard]] = [
    ("GitHub Actions", {"GITHUB_ACTIONS": "true", "STRATEGY_JOB_INDEX": "0", "STRATEGY_JOB_TOTAL": "3"}, Shard(1, 3)),
    ("GitLab", {"GITLAB_CI": "true", "CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "3"}, Shard(3, 3)),
    (
        "Buildkite",
        {"BUILDKITE": "true", "BUILDKITE_PARALLEL_JOB": "1", "BUILDKITE_PARALLEL_JOB_COUNT": "4"},
        Shard(2, 4),
    ),
    ("CircleCI", {"CIRCLECI": "true", "CIRCLE_NODE_INDEX": "1", "CIRCLE_NODE_TOTAL": "2"}, Shard(2, 2)),
    (
        "Azure Pipelines",
        {"TF_BUILD": "True", "SYSTEM_JOBPOSITIONINPHASE": "1", "SYSTEM_TOTALJOBSINPHASE": "5"},
        Shard(1, 5),
    ),
    ("Kubernetes", {"JOB_COMPLETION_INDEX": "4", "JOB_COMPLETIONS": "5"}, Shard(5, 5)),
    (
        "Slurm",
        {
            "SLURM_ARRAY_TASK_ID": "14",
            "SLURM_ARRAY_TASK_COUNT": "4",
            "SLURM_ARRAY_TASK_MIN": "10",
            "SLURM_ARRAY_TASK_STEP": "2",
        },
        Shard(3, 4),
    ),
]


@pytest.mark.parametrize(("engine", "environ", "expected"), GIVEN, ids=[row[0] for row in GIVEN])
def test_auto_reads_what_the_engine_says(engine: str, environ: Dict[str, str], expected: Shard) -> None:
    """Each counts from 0 or from 1, as its documentation has it; Slurm from where the array begins."""
    assert parse_shard("auto", environ) == expected
    assert engine in [each.name for each in ENGINES]


def test_every_engine_is_tried() -> None:
    """One that is added to the table is added here."""
    assert {row[0] for row in GIVEN} == {engine.name for engine in ENGINES}


def test_what_an_engine_does_not_say_is_asked_for() -> None:
    """The message names the variable, and the hint what to write where."""
    with pytest.raises(UsageError) as caught:
        parse_shard("auto", {"GITHUB_ACTIONS": "true"})
    assert caught.value.message == (
        "--shard auto: this is GitHub Actions, and its variable STRATEGY_JOB_INDEX is not set"
    )
    assert "STRATEGY_JOB_INDEX: ${{ strategy.job-index }}" in caught.value.hint

    with pytest.raises(UsageError) as caught:
        parse_shard("auto", {"JOB_COMPLETION_INDEX": "0"})
    assert "its variable JOB_COMPLETIONS is not set" in caught.value.message
    assert "the same number as completions" in caught.value.hint

    with pytest.raises(UsageError, match="is 'many', not a number"):
        parse_shard("auto", {"GITLAB_CI": "1", "CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "many"})
    with pytest.raises(UsageError, match="CI_NODE_INDEX = 4 and CI_NODE_TOTAL = 3, which names none of the shards"):
        parse_shard("auto", {"GITLAB_CI": "1", "CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "3"})
    with pytest.raises(UsageError, match="found no engine"):
        parse_shard("auto", {})


def test_a_shard_is_named_by_two_numbers() -> None:
    """From 1 on, and at most as many as there are; without the option there is one of one."""
    assert parse_shard("2/3", {}) == Shard(2, 3)
    assert parse_shard("", {}) == Shard(1, 1)
    for text in ("0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5"):
        with pytest.raises(UsageError, match=r"^--shard must be 'auto' or K/N with K from 1 to N"):
            parse_shard(text, {})
