"""Write docs/performance.md and its pictures from the last results of each part.

In: parts, and the hand-written notes on them. Out: the text of the page, and that of each picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

from .core import Claim, Group, Part, Series, judge, quartiles
from .plot import format_value, format_verdict, svg

__all__ = ["TITLES", "page", "read_notes", "summary", "write_page"]


@dataclass(frozen=True)
class _Text:
    """What the page says of a part, whatever was measured."""

    title: str
    caption: str


TITLES: Dict[str, _Text] = {
    "a": _Text(
        "Pass-through: the host satisfies the project",
        "Each block is one frontend and one real backend. The blue bars should end where the grey one ends: then we "
        "cost nothing.",
    ),
    "b": _Text(
        "Provisioned, with a warm cache of interpreters",
        "The grey bar is the same build with the new Python installed beforehand and without us. The blue bars start "
        "on the old host.",
    ),
    "c": _Text(
        "Cold provisioning from a server on loopback",
        "Three blocks, for time, CPU time and memory: what it takes to get the same archive from the same server to "
        "the same interpreter. `curl | tar` verifies nothing and makes nothing usable; it is the floor.",
    ),
    "d": _Text(
        "Finding an interpreter that is there",
        "First inside the process, then a process that only starts and imports beside one that also looks the "
        "interpreter up, then the commands. No bar should grow with the number of interpreters.",
    ),
    "e": _Text(
        "Many builds at once",
        "The upper blue bar is the whole of the builds on an empty cache. It should end near the grey one: a warm "
        "cache, plus the time to provision once.",
    ),
    "f": _Text(
        "Imports and processes",
        "What the hooks import, all eight of them together, and how many programs one build starts. The tables say it "
        "hook by hook.",
    ),
}
_HEAD = """# Performance

<!-- Written by scripts/bench from what it has measured; what is written by hand is in benchmarks/notes.md. -->

What we cost, beside what people would use otherwise. Both sides of each comparison ran by turns on one machine,
forwards in one round and backwards in the next, after a warm-up; programs, wheels and caches were on tmpfs where the
table below says so. A figure is the median of the rounds, with the middle half of the rounds behind it (first to
third quartile); a ratio is that of the medians. To repeat it: `scripts/bench`, or `scripts/bench --only c --rounds 20`
for one part. Only ratios of one run mean anything; seconds of different machines do not.
"""


def write_page(parts: Mapping[str, Part], notes: Mapping[str, str], folder: Path) -> Path:
    """Write page and pictures into a folder of documentation, and return the path of the page."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for key, part in parts.items():
        picture = svg(TITLES[key].title, part.groups)
        (images / f"performance-{key}.svg").write_text(picture, encoding="utf-8")
    path = folder / "performance.md"
    path.write_text(page(parts, notes), encoding="utf-8")
    return path


def page(parts: Mapping[str, Part], notes: Mapping[str, str]) -> str:
    """Return the text of the page.

    Args:
        parts: the last results by key; what was never run is named as such.
        notes: hand-written Markdown by key.
    """
    lines = [_HEAD, "## Summary\n", *summary(parts), *_machine(parts)]
    for key in TITLES:
        lines += _part(key, parts[key], notes.get(key, "")) if key in parts else _never(key)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def read_notes(text: str) -> Dict[str, str]:
    """Return the hand-written notes by part; a heading ``## a`` begins those of a."""
    pieces = re.split(r"^## ([a-z])\s*$", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {key: body.strip() for key, body in zip(pieces[1::2], pieces[2::2]) if body.strip()}


def _claims(part: Part, *, targeted: bool) -> Iterator[Tuple[Group, Claim]]:
    for group in part.groups:
        for claim in group.claims:
            if bool(claim.target) == targeted:
                yield group, claim


def summary(parts: Mapping[str, Part]) -> List[str]:
    """Return the lines that say which targets are met: a sentence and a table."""
    rows, met, total = [], 0, 0
    for key in sorted(parts):
        for group, claim in _claims(parts[key], targeted=True):
            verdict = judge(group, claim)[1]
            met, total = met + bool(verdict), total + 1
            rows.append(f"| {key} {_row(group, claim)}")
    head = "|  | case | ours | peer | ratio | target | met |\n| --- | --- | ---: | ---: | ---: | ---: | --- |"
    if not rows:
        return ["Nothing with a target has been measured yet.\n"]
    return [f"{met} of {total} targets are met.\n", head, *rows, ""]


def _row(group: Group, claim: Claim) -> str:
    found = judge(group, claim)[1]
    met = {True: "yes", False: "**no**", None: "" if group.find(claim.ours) else "not run"}[found]
    case = f"{group.name}: {claim.ours}" + (f" / {claim.peer}" if claim.peer else "")
    cells = [case, _value(group, claim.ours), _value(group, claim.peer), format_verdict(group, claim)]
    return _cells([*cells, _target(group, claim), met])


def _cells(cells: Sequence[str]) -> str:
    # A bar in a cell, as of a pipeline, would end it.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(group: Group, label: str) -> str:
    series = group.find(label)
    return _range(series, group.unit) if series else ""


def _range(series: Series, unit: str) -> str:
    median = format_value(series.median, unit)
    low, high = (format_value(value, unit).split(" ")[0] for value in quartiles(series.values))
    return median if low == high else f"{median} ({low}–{high})"  # noqa: RUF001 - it is a range.


def _target(group: Group, claim: Claim) -> str:
    if claim.target is None:
        return ""
    limit = f"{claim.target.limit:g}"
    kinds = {"ratio": f"≤ {limit}", "difference": f"≤ {limit} {group.unit}", "value": f"{limit} each time"}
    return kinds[claim.target.kind]


def _machine(parts: Mapping[str, Part]) -> List[str]:
    if not parts:
        return []
    order = sorted(parts.values(), key=lambda part: (part.date, part.key))
    latest = order[-1].machine
    lines = ["## The machine\n", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in latest.items()]
    lines += ["", "| part | day | rounds | took | other than above |", "| --- | --- | ---: | ---: | --- |"]
    for key in sorted(parts):
        part = parts[key]
        other = [f"{name}: {value}" for name, value in part.machine.items() if latest.get(name) != value]
        lines.append(f"| {key} | {part.date} | {part.rounds} | {part.seconds:.0f} s | {'; '.join(other)} |")
    return [*lines, ""]


def _part(key: str, part: Part, note: str) -> List[str]:
    text = TITLES[key]
    lines = [f"## {key}. {text.title}\n"]
    if any(series.values for group in part.groups for series in group.series):
        lines += [f"![{text.title}](images/performance-{key}.svg)\n", text.caption + "\n"]
    lines += [f"- {remark}" for remark in part.remarks] + [""]
    lines += _untargeted(part)
    for table in part.tables:
        lines += [f"{table.title}:\n", _cells(table.header), "| --- " * len(table.header) + "|"]
        lines += [_cells(row) for row in table.rows] + [""]
    for missing in part.missing:
        lines.append(f"Not run: {missing.what}. The reason: {missing.why}.\n")
    return lines + _note(part, note)


def _untargeted(part: Part) -> List[str]:
    rows = [_row(group, claim) for group, claim in _claims(part, targeted=False)]
    if not rows:
        return []
    head = "| without a target | ours | peer | ratio | | |\n| --- | ---: | ---: | ---: | --- | --- |"
    return [head, *rows, ""]


def _note(part: Part, note: str) -> List[str]:
    if note:
        return [note, ""]
    if any(judge(group, claim)[1] is False for group, claim in _claims(part, targeted=True)):
        return ["A target is missed here, and the profile that shows why has not been written down yet.\n"]
    return []


def _never(key: str) -> List[str]:
    return [f"## {key}. {TITLES[key].title}\n", f"Not run yet: `scripts/bench --only {key}`.\n"]
