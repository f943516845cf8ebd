"""Results → docs/performance.md and its picture."""

from __future__ import annotations

import inspect
import statistics
from pathlib import Path
from typing import Iterator, List, Mapping, Sequence, Tuple

import matplotlib as mpl
from matplotlib.figure import Figure

from .measuring import Comparison, Series
from .parts import PARTS, SUMMARY

__all__ = ["draw", "page", "write_page"]

_HEAD = """# Performance

<!-- Written by scripts/bench from what it has measured; the paragraphs below a table are in benchmarks/notes. -->

What you would wait for, with us and with what you would use otherwise. At a ratio of 1.10 it takes 10 % longer with us:
"""
_METHOD = """
All contenders of a case ran by turns on one machine. A time is the median of the rounds, and a ratio is the median of
the ratios round by round. Only ratios of one run mean anything; seconds of different machines do not. To repeat it:
`scripts/bench`, or `scripts/bench --only install --rounds 20` for one part.
"""
_OURS, _PEER = "#2f6db5", "#9aa0a6"
_PICTURE = "performance.svg"


_Line = Tuple[str, float, str, float, float]  # What is done, our seconds, the peer, its seconds, the ratio.


def write_page(results: Mapping[str, List[Comparison]], facts: Mapping[str, Mapping[str, str]], docs: Path) -> Path:
    """Write the page and its picture into a folder of documentation; return the path of the page.

    Args:
        results: the comparisons by part.
        facts: what is known of the machine and the run, by part.
        docs: the folder.
    """
    (docs / "images").mkdir(parents=True, exist_ok=True)
    draw(list(_summary(results)), docs / "images" / _PICTURE)
    path = docs / "performance.md"
    notes = {file.stem: file.read_text(encoding="utf-8") for file in (Path(__file__).parent / "notes").glob("*.md")}
    path.write_text(page(results, facts, notes), encoding="utf-8")
    return path


def page(
    results: Mapping[str, List[Comparison]], facts: Mapping[str, Mapping[str, str]], notes: Mapping[str, str]
) -> str:
    """Return the text of the page."""
    rows = [["what you do", "with us", "otherwise", "", "ratio"], ["---", "---:", "---", "---:", "---:"]]
    rows += [
        [what, _time(ours), peer, _time(its), f"{ratio:.2f}"] for what, ours, peer, its, ratio in _summary(results)
    ]
    lines = [_HEAD, *_markdown(rows), "", f"![how the times compare](images/{_PICTURE})", _METHOD]
    for part, comparisons in results.items():
        summary = (inspect.getdoc(PARTS[part]) or "").splitlines()[0]
        lines += [f"## {part}\n", summary + "\n", *_table(comparisons), ""]
        lines += [notes[part].strip() + "\n"] if part in notes else []
        lines += ["Measured: " + "; ".join(f"{name} {value}" for name, value in facts.get(part, {}).items()) + ".\n"]
    return "\n".join(lines).rstrip() + "\n"


def _summary(results: Mapping[str, List[Comparison]]) -> Iterator[_Line]:
    """Yield the lines of which both sides have run."""
    for what, part, name, ours, peer in SUMMARY:
        for comparison in results.get(part, []):
            found = {each.label: each.seconds for each in comparison.series}
            if comparison.name.startswith(name) and found.get(ours) and found.get(peer):
                medians = [statistics.median(found[label]) for label in (ours, peer)]
                yield what, medians[0], peer, medians[1], comparison.ratio(ours, peer)


def _table(comparisons: List[Comparison]) -> List[str]:
    memory = any(each.memory for each in comparisons)
    rows = [["case", "", "time", "ratio", "goal", *(["peak memory"] if memory else [])]]
    rows.append(["---", "---", "---:", "---:", "---", *(["---:"] if memory else [])])
    for comparison in comparisons:
        for number, series in enumerate(comparison.series):
            rows.append([comparison.name if not number else "", *_cells(comparison, series)])
    return _markdown(rows)


def _cells(comparison: Comparison, series: Series) -> List[str]:
    if not series.seconds:
        return [series.label, "not run", "", series.failure]
    ratio = "" if series is comparison.series[-1] else f"{comparison.ratio(series.label):.2f}"
    goals = []
    for label, peer, limit in comparison.goals:
        if label == series.label:
            met = "met" if comparison.ratio(label, peer) <= limit else "**missed**"
            goals.append(f"at most {limit:.2f} of {peer}: {met}")
    cells = [series.label, _time(statistics.median(series.seconds)), ratio, "; ".join(goals)]
    return [*cells, *([f"{statistics.median(series.memory):.0f} MiB"] if comparison.memory else [])]


def _markdown(rows: Sequence[Sequence[str]]) -> List[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def draw(lines: Sequence[_Line], path: Path) -> None:
    """Draw two bars a line of the summary: our time, and that of the peer, which has the same length on each line."""
    # The same results give the same file.
    mpl.rcParams["svg.hashsalt"] = "provision_backend"
    figure = Figure(figsize=(9, 0.9 + 0.55 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for number, (_, ours, peer, theirs, ratio) in enumerate(lines):
        bars = [(-0.2, ratio, _OURS, f"{_time(ours)} with us"), (0.2, 1.0, _PEER, f"{_time(theirs)} {peer}")]
        for shift, length, color, text in bars:
            axes.barh(number + shift, length, height=0.36, color=color)
            axes.text(length + 0.02, number + shift, text, va="center", fontsize=8)
    axes.set_yticks(range(len(lines)), [line[0] for line in lines])
    axes.set_xlim(0, 1.4 * max([1.0, *(line[-1] for line in lines)]))
    axes.invert_yaxis()
    axes.set_xlabel("time, in times of the peer's")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(str(path), metadata={"Date": None})
