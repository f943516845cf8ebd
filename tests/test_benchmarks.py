"""The benchmarks' order, arithmetic and page; what is measured here are commands that take no time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

import pytest

pytest.importorskip("pyperf", reason="only scripts/bench and a full scripts/test install it")
pytest.importorskip("matplotlib", reason="only scripts/bench and a full scripts/test install it")

from benchmarks.measuring import Command, Comparison, Contender, Series, compare
from benchmarks.page import page, write_page
from benchmarks.parts import PARTS

MADE_UP = Comparison(
    "made-up build",
    [Series("with us", [2.0, 3.0, 8.0], [9.0]), Series("without us", [1.0, 2.0, 4.0], [8.0])],
    limits={"with us": 1.5},
    memory=True,
)


def contender(label: str, script: str, folder: Path, started: List[str], expected: str = "") -> Contender:
    """Return a contender that notes when it is prepared, and runs a line of Python."""

    def prepare() -> Command:
        started.append(label)
        fresh = folder / f"{label}-{len(started)}"
        fresh.mkdir()
        return Command([sys.executable, "-c", script], {}, fresh, expected)

    return Contender(label, prepare)


def test_contenders_run_by_turns_after_a_warm_up(tmp_path: Path) -> None:
    """The order is turned round in each round, and the first run of each does not count."""
    started: List[str] = []
    found = compare("x", [contender(name, "pass", tmp_path, started) for name in ("a", "b")], rounds=2)

    assert started == ["a", "b", "b", "a", "a", "b"]
    assert [(each.label, len(each.seconds)) for each in found.series] == [("a", 2), ("b", 2)]
    assert all(0 < seconds < 60 for each in found.series for seconds in each.seconds)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """The others still run, and what the command printed last is kept for the page."""
    contenders = [
        contender("fails", "import sys; sys.exit('no room')", tmp_path, []),
        contender("leaves nothing", "pass", tmp_path, [], expected="out/*.whl"),
        contender("peer", "pass", tmp_path, []),
    ]
    found = compare("x", contenders, rounds=1)

    assert found.series[0].failure.endswith("ended with 1: no room")
    assert found.series[1].failure.endswith("left no out/*.whl")
    assert [len(each.seconds) for each in found.series] == [0, 0, 1]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """Both sides of a ratio ran in the same round, so that a slow round counts once."""
    assert MADE_UP.ratio(MADE_UP.series[0]) == 2.0
    assert Comparison.from_dict(MADE_UP.as_dict()) == MADE_UP


def test_the_page_says_what_was_met_and_what_was_not_run(tmp_path: Path) -> None:
    """A goal that is missed is named, and a contender that failed shows why."""
    failed = Comparison("another", [Series("with us", failure="no uv"), Series("without us", [1.0], [2.0])])
    text = page({"install": [MADE_UP, failed]}, {"install": {"day": "today"}}, {"install": "A note."})

    assert "| made-up build | with us | 3.00 s | 2.00 | at most 1.50: **missed** | 9 MiB |" in text
    assert "| another | with us | not run |  | no uv |" in text
    assert text.endswith("A note.\n")
    write_page({"install": [MADE_UP]}, {}, tmp_path)
    first = (tmp_path / "images" / "performance-install.svg").read_bytes()
    write_page({"install": [MADE_UP]}, {}, tmp_path)
    assert (tmp_path / "images" / "performance-install.svg").read_bytes() == first


def test_every_part_has_a_sentence_for_the_page() -> None:
    """The first line of its docstring stands below its heading."""
    assert all((part.__doc__ or "").splitlines()[0].endswith(".") for part in PARTS.values())
