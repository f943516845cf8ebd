"""Results → docs/performance.md and its pictures."""

from __future__ import annotations

import inspect
import statistics
from pathlib import Path
from typing import Dict, List, Mapping

import matplotlib as mpl
from matplotlib.figure import Figure

from .measuring import Comparison, Series
from .parts import PARTS

__all__ = ["draw", "page", "write_page"]

_HEAD = """# Performance

<!-- Written by scripts/bench from what it has measured; the paragraphs below a table are in benchmarks/notes. -->

What we cost, beside what people would use otherwise. All contenders of a table ran by turns on one machine; a time is
the median of the rounds, and a ratio is the median of the ratios round by round. To repeat it: `scripts/bench`, or
`scripts/bench --only install --rounds 20` for one part. Only ratios of one run mean anything; seconds of different
machines do not.
"""
_OURS, _PEER = "#2f6db5", "#9aa0a6"


def write_page(results: Mapping[str, List[Comparison]], facts: Mapping[str, Mapping[str, str]], docs: Path) -> Path:
    """Write the page and a picture for each part into a folder of documentation; return the path of the page.

    Args:
        results: the comparisons by part.
        facts: what is known of the machine and the run, by part.
        docs: the folder.
    """
    (docs / "images").mkdir(parents=True, exist_ok=True)
    for part, comparisons in results.items():
        if not comparisons:
            continue
        draw(comparisons, docs / "images" / f"performance-{part}.svg")
    path = docs / "performance.md"
    notes = {file.stem: file.read_text(encoding="utf-8") for file in (Path(__file__).parent / "notes").glob("*.md")}
    path.write_text(page(results, facts, notes), encoding="utf-8")
    return path


def page(
    results: Mapping[str, List[Comparison]], facts: Mapping[str, Mapping[str, str]], notes: Mapping[str, str]
) -> str:
    """Return the text of the page."""
    lines = [_HEAD]
    for part, comparisons in results.items():
        summary = (inspect.getdoc(PARTS[part]) or "").splitlines()[0]
        lines += [f"## {part}\n", summary + "\n"]
        lines += [f"![{part}](images/performance-{part}.svg)\n"] if comparisons else []
        lines += [f"- {name}: {value}" for name, value in facts.get(part, {}).items()]
        lines += ["", *_table(comparisons), ""]
        lines += [notes[part].strip() + "\n"] if part in notes else []
    return "\n".join(lines).rstrip() + "\n"


def _table(comparisons: List[Comparison]) -> List[str]:
    memory = any(each.memory for each in comparisons)
    rows = [["case", "", "time", "ratio", "goal", *(["peak memory"] if memory else [])]]
    rows.append(["---", "---", "---:", "---:", "---", *(["---:"] if memory else [])])
    for comparison in comparisons:
        for number, series in enumerate(comparison.series):
            rows.append([comparison.name if not number else "", *_cells(comparison, series)])
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _cells(comparison: Comparison, series: Series) -> List[str]:
    if not series.seconds:
        return [series.label, "not run", "", series.failure]
    ratio, limit = comparison.ratio(series), comparison.limits.get(series.label)
    is_peer = series is comparison.series[-1]
    goal = "" if limit is None else f"at most {limit:.2f}: {'met' if ratio <= limit else '**missed**'}"
    cells = [series.label, f"{statistics.median(series.seconds):.2f} s", "" if is_peer else f"{ratio:.2f}", goal]
    return [*cells, *([f"{statistics.median(series.memory):.0f} MiB"] if comparison.memory else [])]


def draw(comparisons: List[Comparison], path: Path) -> None:
    """Draw the ratios to the peer as bars, one block a comparison; the peer is the line at 1."""
    bars: Dict[str, float] = {}
    for comparison in comparisons:
        for series in comparison.series[:-1]:
            bars[f"{comparison.name}: {series.label}"] = comparison.ratio(series)
    # The same results give the same file.
    mpl.rcParams["svg.hashsalt"] = "provision_backend"
    figure = Figure(figsize=(9, 0.8 + 0.28 * len(bars)), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(bars), list(bars.values()), color=_OURS)
    axes.axvline(1, color=_PEER)
    axes.invert_yaxis()
    axes.set_xlabel(f"times as long as {comparisons[0].series[-1].label}")
    figure.savefig(str(path), metadata={"Date": None})
