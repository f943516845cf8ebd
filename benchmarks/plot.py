"""Results as pictures: horizontal bars with ranges and targets, in SVG that any viewer shows.

In: the groups of one part. Out: the text of an SVG file. No font is needed, nothing is fetched, and the picture brings
its own background, one for light and one for dark surroundings, so that it can be read on either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence
from xml.sax.saxutils import escape

from .core import Claim, Group, Series, judge, quartiles

__all__ = ["format_value", "format_verdict", "svg"]

_WIDTH, _LEFT, _BAR_AREA, _ROW, _PAD = 920, 290, 330, 18, 16
_STYLE = """
svg { font-family: system-ui, sans-serif; font-size: 12px }
.ground { fill: #ffffff } .halo { stroke: #ffffff; stroke-width: 5 }
text { fill: #1f2328 } .head { font-weight: 600 } .faint { fill: #59636e }
.ours { fill: #2f6fd0 } .peer { fill: #a9b1ba } .range { stroke: #1f2328; stroke-width: 1.5 }
.target { stroke: #c4570a; stroke-width: 2; stroke-dasharray: 3 2 } .met { fill: #1a7f37 } .missed { fill: #c4570a }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } .halo { stroke: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
.ours { fill: #4d8dee } .peer { fill: #59636e } .range { stroke: #e6edf3 }
.target { stroke: #f0883e } .met { fill: #3fb950 } .missed { fill: #f0883e }
}
"""


def format_value(value: float, unit: str) -> str:
    """Return a value with its unit, as precise as it is worth."""
    if unit.startswith(("s", "ms", "MiB")):
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
        return f"{value:.{digits}f} {unit.split(' ')[0]}"
    return f"{value:g}"


def format_verdict(group: Group, claim: Claim) -> str:
    """Return the figure of a claim in words: ``1.08 x``, ``+3.1 ms``; empty where there is none."""
    figure, _ = judge(group, claim)
    if figure is None or not claim.peer:
        return ""
    if claim.target and claim.target.kind == "difference":
        return f"{'+' if figure >= 0 else '-'}{format_value(abs(figure), group.unit)}"
    return f"{figure:.2f} ×"  # noqa: RUF001 - it is a sign of multiplication.


@dataclass
class _Picture:
    """Shapes, from top to bottom."""

    scales: Dict[str, float]
    """The value at the end of the bars, by unit."""
    y: float = _PAD
    shapes: Optional[List[str]] = None

    def add(self, shape: str) -> None:
        self.shapes = [*(self.shapes or []), shape]

    def text(self, x: float, words: str, *, kind: str = "", anchor: str = "start") -> None:
        marks = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{x:.0f}" y="{self.y + 12:.0f}" text-anchor="{anchor}"{marks}>{escape(words)}</text>')

    def x(self, value: float, unit: str) -> float:
        return _LEFT + _BAR_AREA * min(1.0, value / (self.scales[unit] or 1.0))


def svg(title: str, groups: Sequence[Group]) -> str:
    """Return the picture of the groups that are to be plotted.

    Args:
        title: what is compared.
        groups: of one part; those of one unit share a scale.
    """
    shown = [group for group in groups if group.plotted and any(each.values for each in group.series)]
    picture = _Picture(_scales(shown))
    picture.text(_PAD, title, kind="head")
    picture.y += 28
    for group in shown:
        _draw_group(picture, group)
    _draw_legend(picture)
    height = picture.y + _PAD
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
            f'height="{height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="ground" width="{_WIDTH}" height="{height:.0f}" rx="6"/>',
            *(picture.shapes or []),
            "</svg>",
            "",
        ]
    )


def _scales(groups: Sequence[Group]) -> Dict[str, float]:
    scales: Dict[str, float] = {}
    for group in groups:
        ends = [quartiles(each.values)[1] for each in group.series if each.values]
        ends += [end for claim in group.claims if (end := _target_at(group, claim)) is not None]
        scales[group.unit] = max([scales.get(group.unit, 0.0), *ends])
    return scales


def _target_at(group: Group, claim: Claim) -> Optional[float]:
    """Return the value that ours must not exceed."""
    peer = group.find(claim.peer)
    if claim.target is None or peer is None:
        return None
    return peer.median + claim.target.limit if claim.target.kind == "difference" else peer.median * claim.target.limit


def _draw_group(picture: _Picture, group: Group) -> None:
    picture.text(_PAD, group.name, kind="head")
    picture.y += _ROW + 2
    for series in group.series:
        if series.values:
            # Where there are several, the first claim is that with the target.
            claim = next((claim for claim in group.claims if claim.ours == series.label), None)
            _draw_series(picture, group, series, claim)
    picture.y += 12


def _draw_series(picture: _Picture, group: Group, series: Series, claim: Optional[Claim]) -> None:
    top, middle = picture.y + 2, picture.y + 8
    end = picture.x(series.median, group.unit)
    low, high = (picture.x(value, group.unit) for value in quartiles(series.values))
    kind = "ours" if series.ours else "peer"
    picture.text(_LEFT - 8, series.label, anchor="end")
    picture.add(f'<rect class="{kind}" x="{_LEFT}" y="{top:.1f}" width="{max(1.0, end - _LEFT):.1f}" height="12"/>')
    picture.add(f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
    at = _target_at(group, claim) if claim else None
    if at is not None:
        x = picture.x(at, group.unit)
        for kind in ("halo", "target"):
            picture.add(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2:.1f}" y2="{top + 14:.1f}"/>')
    picture.text(_LEFT + _BAR_AREA + 12, format_value(series.median, group.unit))
    if claim is not None:
        _draw_verdict(picture, group, claim)
    picture.y += _ROW


def _draw_verdict(picture: _Picture, group: Group, claim: Claim) -> None:
    words, met = format_verdict(group, claim), judge(group, claim)[1]
    if met is None:
        picture.text(_LEFT + _BAR_AREA + 92, words, kind="faint")
        return
    assert claim.target
    limit = f"{claim.target.limit:g} {group.unit.split(' ')[0] if claim.target.kind == 'difference' else '×'}"  # noqa: RUF001
    sign = "✓" if met else "✗"
    picture.text(_LEFT + _BAR_AREA + 92, f"{sign} {words}, target {limit}", kind="met" if met else "missed")


def _draw_legend(picture: _Picture) -> None:
    y = picture.y + 6
    picture.add(f'<rect class="ours" x="{_PAD}" y="{y + 2:.0f}" width="18" height="10"/>')
    picture.y = y
    picture.text(_PAD + 24, "with us", kind="faint")
    picture.add(f'<rect class="peer" x="100" y="{y + 2:.0f}" width="18" height="10"/>')
    picture.text(124, "the peer", kind="faint")
    picture.add(f'<line class="range" x1="196" x2="214" y1="{y + 8:.0f}" y2="{y + 8:.0f}"/>')
    picture.text(220, "the middle half of the rounds", kind="faint")
    picture.add(f'<line class="target" x1="412" x2="412" y1="{y:.0f}" y2="{y + 15:.0f}"/>')
    picture.text(420, "where our bar should end at the latest. Bars are medians; shorter is better.", kind="faint")
    picture.y += 18
