"""The benchmarks' arithmetic, order and page. Nothing is measured here, and all results are made up and named so."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple
from xml.etree import ElementTree

import pytest
from support.projects import pure

if sys.version_info < (3, 10):
    pytest.skip("the benchmarks are started with 3.10 or later", allow_module_level=True)

from benchmarks.core import (
    Claim,
    Contender,
    Failed,
    Group,
    Missing,
    Part,
    Sample,
    Series,
    Table,
    Target,
    collect,
    in_turns,
    judge,
    quartiles,
)
from benchmarks.floors import ask_once, start_another
from benchmarks.frontends import FRONTENDS, say_rounds
from benchmarks.imports import Imports, parse_importtime
from benchmarks.page import TITLES, page, read_notes, write_page
from benchmarks.plot import format_value, svg
from benchmarks.running import Command, at_once, measure
from benchmarks.workbench import _without_us

TARGET = Target("ratio", 1.15)
SVG = "{http://www.w3.org/2000/svg}"


def made_up(ours: Sequence[float] = (1.0, 1.1, 1.2), target: Target = TARGET) -> Group:
    """Return a group of made-up values."""
    series = [Series("made-up peer", [1.0, 1.0, 1.0], ours=False), Series("made-up us", list(ours))]
    return Group("made-up build", "s", series, [Claim("made-up us", "made-up peer", target)])


def made_up_part(**more: object) -> Part:
    """Return a part of made-up results."""
    return Part("a", 3, "2000-01-01", machine={"processor": "made up"}, groups=[made_up()], **more)  # type: ignore[arg-type]


def silent(_text: str) -> None:
    """Take what would be told."""


def test_each_round_runs_in_the_opposite_order() -> None:
    """What changes during a run changes all contenders alike."""
    assert list(in_turns(3, 3)) == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]


def test_contenders_take_turns_and_the_warm_up_does_not_count() -> None:
    """A B, B A, A B: and only what came after the first round is kept."""
    ran: List[str] = []

    def contender(label: str) -> Contender:
        def run() -> Sample:
            ran.append(label)
            return Sample(float(len(ran)))

        return Contender(label, run)

    samples, missing = collect([contender("A"), contender("B")], 2, say=silent)

    assert "".join(ran) == "ABBAAB"
    assert {label: [each.seconds for each in found] for label, found in samples.items()} == {"A": [4, 5], "B": [3, 6]}
    assert missing == []


def test_one_that_cannot_run_is_named_and_the_others_run() -> None:
    """The reason is kept; it is not started again, and what it had measured is not used."""
    runs: List[int] = []

    def fail() -> Sample:
        runs.append(1)
        if len(runs) == 2:
            raise Failed("made-up reason")
        return Sample(1.0)

    samples, missing = collect([Contender("broken", fail), Contender("good", lambda: Sample(2.0))], 3, say=silent)

    assert missing == [Missing("broken", "made-up reason")]
    assert samples["broken"] == []
    assert len(samples["good"]) == 3
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 3.0)), ([1.0, 2.0, 3.0], (1.5, 2.5)), ([5.0, 1.0, 3.0, 2.0, 100.0], (2.0, 5.0))],
    ids=["one", "three", "an outlier"],
)
def test_the_range_is_the_middle_half(values: List[float], expected: Tuple[float, float]) -> None:
    """One disturbed round does not move it."""
    assert quartiles(values) == expected


@pytest.mark.parametrize(
    ("ours", "target", "figure", "met"),
    [
        ([1.0, 1.1, 9.0], Target("ratio", 1.1), 1.1, True),
        ([1.0, 1.2, 1.2], Target("ratio", 1.1), 1.2, False),
        ([3.0, 5.0, 4.0], Target("difference", 3.0), 3.0, True),
        ([3.0, 5.0, 4.5], Target("difference", 3.0), 3.5, False),
        ([1.0, 1.0, 2.0], Target("value", 1.0), 1.0, False),
        ([1.0, 1.0, 1.0], Target("value", 1.0), 1.0, True),
    ],
    ids=["ratio met", "ratio missed", "difference met", "difference missed", "not each time", "each time"],
)
def test_targets_are_judged_by_medians(ours: List[float], target: Target, figure: float, met: bool) -> None:
    """But a count has to be right in every round."""
    group = made_up(ours, target)
    found, verdict = judge(group, group.claims[0])
    assert found == pytest.approx(figure)
    assert verdict is met


def test_what_was_not_run_is_not_judged() -> None:
    """Neither met nor missed."""
    assert judge(made_up([]), made_up().claims[0]) == (None, None)


def test_results_survive_their_file() -> None:
    """A page of kept results equals that of fresh ones."""
    part = made_up_part(tables=[Table("t", ["h"], [["c"]])], missing=[Missing("w", "y")], remarks=["r"])

    assert Part.from_dict(json.loads(json.dumps(part.as_dict()))) == part


def test_the_page_has_figure_range_target_and_verdict() -> None:
    """One row a claim; parts that were never run are named with how to run them."""
    text = page({"a": made_up_part()}, {})

    assert "1 of 1 targets are met." in text
    case = "made-up build: made-up us / made-up peer"
    assert f"| a | {case} | 1.10 s (1.05–1.15) | 1.00 s | 1.10 × | ≤ 1.15 | yes |" in text  # noqa: RUF001
    assert "| processor | made up |" in text
    assert [key for key in TITLES if f"Not run yet: `scripts/bench --only {key}`." in text] == ["b", "c", "d", "e", "f"]


def test_a_bar_in_a_name_ends_no_cell() -> None:
    """The name of a pipeline is one name."""
    group = Group("made up", "s", [Series("ours", [1.0]), Series("a | b", [1.0])], [Claim("ours", "a | b")])

    assert r"| made up: ours / a \| b | 1.00 s | 1.00 s |" in page({"a": Part("a", 1, groups=[group])}, {})


def test_the_page_says_what_is_missed_and_what_could_not_run() -> None:
    """A miss without an explanation is called that."""
    missed = Part("a", 3, groups=[made_up([2.0])], missing=[Missing("the made-up peer", "it is not there")])

    assert "| 2.00 × | ≤ 1.15 | **no** |" in page({"a": missed}, {})  # noqa: RUF001
    assert "has not been written down yet" in page({"a": missed}, {})
    assert "Not run: the made-up peer. The reason: it is not there." in page({"a": missed}, {})
    assert "has not been written down yet" not in page({"a": missed}, {"a": "Made-up profile."})
    assert "Made-up profile." in page({"a": missed}, {"a": "Made-up profile."})


def test_notes_are_read_by_part() -> None:
    """Comments and empty sections are none."""
    assert read_notes("<!-- ## c -->\n## a\n\nOne.\n\nTwo.\n\n## b\n\n## d\nThree.\n") == {
        "a": "One.\n\nTwo.",
        "d": "Three.",
    }


def test_notes_of_this_checkout_belong_to_parts() -> None:
    """A heading that names no part would be lost."""
    notes = Path(__file__).resolve().parent.parent / "benchmarks" / "notes.md"
    assert set(read_notes(notes.read_text(encoding="utf-8"))) <= set(TITLES)


def test_pictures_are_xml_with_a_bar_for_each_series(tmp_path: Path) -> None:
    """Whatever is in a name; bars are as long as their values, and the target is where ours should end."""
    group = made_up([2.0], Target("ratio", 1.5))
    picture = ElementTree.fromstring(svg("<made up> & co", [group]))
    bars = {each.get("class"): float(each.get("width", 0)) for each in picture.iter(f"{SVG}rect") if each.get("x")}
    drawn = next(each for each in picture.iter(f"{SVG}line") if each.get("class") == "target")

    assert [each.text for each in picture.iter(f"{SVG}title")] == ["<made up> & co"]
    rects = [each for each in picture.iter(f"{SVG}rect") if each.get("height") == "12"]
    lengths = {each.get("class"): float(each.get("width", 0)) for each in rects}
    assert lengths["ours"] == pytest.approx(2 * lengths["peer"])
    left = float(rects[0].get("x", 0))
    assert float(drawn.get("x1", 0)) - left == pytest.approx(1.5 * lengths["peer"])
    assert set(bars) == {"ours", "peer"}


def test_pictures_need_nothing_from_elsewhere() -> None:
    """No font, no image, no script; the one address is the name of the format."""
    text = svg("made up", [made_up()])
    assert text.count("http") == 1
    assert not {"<image", "<script", "@import", "@font-face", "url("} & set(text.split())


def test_page_and_pictures_go_into_one_folder(tmp_path: Path) -> None:
    """The page names the picture that is there."""
    path = write_page({"a": made_up_part()}, {}, tmp_path)

    assert path == tmp_path / "performance.md"
    assert "(images/performance-a.svg)" in path.read_text(encoding="utf-8")
    ElementTree.parse(str(tmp_path / "images" / "performance-a.svg"))


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(0.1234, "s", "0.12 s"), (12.34, "ms", "12.3 ms"), (123.4, "MiB", "123 MiB"), (3.0, "processes", "3")],
)
def test_values_are_as_precise_as_they_are_worth(value: float, unit: str, expected: str) -> None:
    """Three digits at most; what is counted has no unit."""
    assert format_value(value, unit) == expected


def test_importtime_is_added_up() -> None:
    """Own times are, since the cumulative ones hold each other; other lines of standard error are not taken."""
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 |   provision_backend.errors\n"
        "import time:      1900 |       2000 | provision_backend\n"
        "some warning\n"
        "import time:       500 |        500 | provision_backendish\n"
    )
    assert parse_importtime(text) == Imports(3, 2, 2.5)


def test_frontends_that_take_long_run_fewer_rounds() -> None:
    """The page says how many; one of each at least."""
    assert say_rounds(7) == (
        "Rounds: `build --wheel (pip)` 5, `build --wheel --installer=uv` 7, `uv build --wheel` 7, `pip wheel` 3."
    )
    assert {way.rounds(1) for way in FRONTENDS} == {1}


def environ() -> Dict[str, str]:
    """Return the variables of a small program."""
    return {"PATH": "/usr/bin:/bin"}


def test_a_program_is_measured_with_its_children(tmp_path: Path) -> None:
    """Wall time, CPU time and peak memory are those of the whole; the output is kept."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = b\"x\" * 60_000_000; print(len(x))'])"
    sample = measure(Command([sys.executable, "-c", code], environ(), tmp_path))

    assert sample.output == "60000000\n"
    assert sample.memory > 57
    assert sample.cpu > 0
    assert sample.seconds > 0.01


def test_small_programs_do_not_inherit_our_size(tmp_path: Path) -> None:
    """The kernel counts the parent's memory until exec; the parent is a small one."""
    ballast = b"x" * 100_000_000
    sample = measure(Command(["true"], environ(), tmp_path))

    assert len(ballast) > 0
    assert sample.memory < 30


def test_failures_are_told_by_their_last_words(tmp_path: Path) -> None:
    """One line, for the page."""
    command = Command(["sh", "-c", "echo first; echo 'made-up failure' >&2; exit 3"], environ(), tmp_path)
    with pytest.raises(Failed, match=r"^sh ended with 3: made-up failure$"):
        measure(command)
    with pytest.raises(Failed, match=r"^sh ended with 3: made-up failure$"):
        at_once([command, command])


def test_without_us_names_the_real_backend() -> None:
    """The other side of the comparison is the same project."""
    wrapped = (
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n\n[project]\n'
        'name = "pure"\n\n[tool.provision-backend]\nbuild-backend = "hatchling.build"\nrequires = ["hatchling"]\n'
    )
    assert _without_us(wrapped).strip() == (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n[project]\nname = "pure"'
    )


@pytest.mark.parametrize("backend", ["flit_core.buildapi", "hatchling.build", "setuptools.build_meta"])
@pytest.mark.parametrize("floor", ["ask", "start"])
def test_the_least_is_the_same_project_with_a_backend_of_its_own(tmp_path: Path, backend: str, floor: str) -> None:
    """Only who builds it is different, and that backend leads to the real one."""
    folder = pure(tmp_path / "project", backend)
    file = folder / "pyproject.toml"
    file.write_text(_without_us(file.read_text(encoding="utf-8")), encoding="utf-8")
    before = read_toml(file)
    if floor == "ask":
        ask_once(folder)
    else:
        start_another(folder, Path("/some/python"))
    after = read_toml(file)
    hooks: Dict[str, Any] = {}
    exec((folder / "least.py").read_text(encoding="utf-8"), hooks)

    assert before.pop("build-system")["build-backend"] == backend
    assert after.pop("build-system") == {
        "requires": ["pyproject-hooks"],
        "build-backend": "least",
        "backend-path": ["."],
    }
    assert after == before
    asked = hooks["get_requires_for_build_wheel"]()
    assert [re.split("[<>=]", each)[0] for each in asked] == ([backend.split(".")[0]] if floor == "ask" else [])
    assert f"{backend} " in (folder / "least.py").read_text(encoding="utf-8")


def read_toml(file: Path) -> Dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found: Dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    return found
