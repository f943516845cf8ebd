"""The benchmarks' order, arithmetic and page; what is measured here are commands that take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

pytest.importorskip("pyperf", reason="only scripts/bench and a full scripts/test install it")
pytest.importorskip("matplotlib", reason="only scripts/bench and a full scripts/test install it")

from benchmarks.measuring import Command, Comparison, Series, compare
from benchmarks.page import page, write_page
from benchmarks.parts import PARTS, SUMMARY
from benchmarks.workbench import ROOT

MADE_UP = Comparison(
    "made-up build",
    [Series("with us", [2.0, 3.0, 8.0], [9.0]), Series("without us", [1.0, 2.0, 4.0], [8.0])],
    goals=[("with us", "without us", 1.5)],
    memory=True,
)


def contender(label: str, script: str, folder: Path, started: List[str], expected: str = "") -> Callable[[], Command]:
    """Return a contender that notes when it is prepared, and runs a line of Python."""

    def prepare() -> Command:
        started.append(label)
        fresh = folder / f"{label}-{len(started)}"
        fresh.mkdir()
        return Command([sys.executable, "-c", script], {}, fresh, expected)

    return prepare


def test_contenders_run_by_turns_after_a_warm_up(tmp_path: Path) -> None:
    """The order is turned round in each round, and the first run of each does not count."""
    started: List[str] = []
    found = compare("x", {name: contender(name, "pass", tmp_path, started) for name in ("a", "b")}, rounds=2)

    assert started == ["a", "b", "b", "a", "a", "b"]
    assert [(each.label, len(each.seconds)) for each in found.series] == [("a", 2), ("b", 2)]
    assert all(0 < seconds < 60 for each in found.series for seconds in each.seconds)
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """The others still run, and what the command printed last is kept for the page."""
    contenders = {
        "fails": contender("fails", "import sys; sys.exit('no room')", tmp_path, []),
        "leaves nothing": contender("leaves nothing", "pass", tmp_path, [], expected="out/*.whl"),
        "peer": contender("peer", "pass", tmp_path, []),
    }
    found = compare("x", contenders, rounds=1)

    assert found.series[0].failure.endswith("ended with 1: no room")
    assert found.series[1].failure.endswith("left no out/*.whl")
    assert [len(each.seconds) for each in found.series] == [0, 0, 1]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """Both sides of a ratio ran in the same round, so that a slow round counts once."""
    assert MADE_UP.ratio("with us") == 2.0
    assert MADE_UP.ratio("without us", "with us") == 0.5
    assert Comparison.from_dict(json.loads(json.dumps(asdict(MADE_UP)))) == MADE_UP


def test_the_page_says_what_was_met_and_what_was_not_run(tmp_path: Path) -> None:
    """A goal that is missed is named, and a contender that failed shows why."""
    failed = Comparison("another", [Series("with us", failure="no uv"), Series("without us", [1.0], [2.0])])
    text = page({"install": [MADE_UP, failed]}, {"install": {"day": "today"}}, {"install": "A note."})

    assert "| made-up build | with us | 3.00 s | 2.00 | at most 1.50 of without us: **missed** | 9 MiB |" in text
    assert "| another | with us | not run |  | no uv |" in text
    assert text.endswith("A note.\n\nMeasured: day today.\n")


def test_the_first_table_and_the_picture_have_what_was_measured(tmp_path: Path) -> None:
    """A line whose part has not run, or where one side failed, is left out; the same results draw the same picture."""
    what, part, name, ours, peer = SUMMARY[0]
    measured = Comparison(f"{name}, 25 MB", [Series(ours, [3.0]), Series(peer, [2.0])])
    failed = Comparison(SUMMARY[1][2], [Series(ours, failure="no room"), Series(peer, [2.0])])
    results = {part: [measured, failed]}
    first = write_page(results, {}, tmp_path / "a").read_text(encoding="utf-8").split("\n## ")[0]

    assert [line for line in first.splitlines() if line.startswith("| ")][2:] == [
        f"| {what} | 3.00 s | {peer} | 2.00 s | 1.50 |"
    ]
    write_page(results, {}, tmp_path / "b")
    pictures = [(tmp_path / folder / "images" / "performance.svg").read_bytes() for folder in "ab"]
    assert pictures[0] == pictures[1]


def test_the_server_sends_pages_files_and_ranges_as_an_index_does(tmp_path: Path) -> None:
    """What is asked for again costs a request without a body, and a range is the bytes that were asked for."""
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / "index.html").write_text("{}")
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    argv = [sys.executable, str(ROOT / "benchmarks" / "server.py"), str(tmp_path), "1000", "0.001"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        connection = HTTPConnection("127.0.0.1", int(server.stdout.readline()), timeout=60)

        def get(path: str, **headers: str) -> Tuple[int, Dict[str, str], bytes]:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

        try:
            page = get("/name/")[1]
            again = get("/name/", If_Modified_Since=page["Last-Modified"])
            file, part, beyond = (
                get("/file"),
                get("/file", Range="bytes=1000-1999"),
                get("/file", Range="bytes=256000-"),
            )
        finally:
            connection.close()
            server.terminate()

    assert page["Content-type"] == "application/vnd.pypi.simple.v1+json"
    assert page["Cache-Control"] == "max-age=1, public"
    assert (again[0], again[2]) == (304, b"")
    assert (file[0], file[2]) == (200, content)
    assert (part[0], part[2]) == (206, content[1000:2000])
    assert part[1]["Content-Range"] == "bytes 1000-1999/256000"
    assert beyond[0] == 416


def test_every_part_has_a_sentence_for_the_page() -> None:
    """The first line of its docstring stands below its heading."""
    assert all((part.__doc__ or "").splitlines()[0].endswith(".") for part in PARTS.values())
