"""The source text of a TOML array of requirements: with ourselves first and a marker on each, and back. Pure."""

from __future__ import annotations

import re
from typing import Iterator, Optional

from .init_markers import add_marker, drop_marker

__all__ = ["OURSELVES", "add_ourselves", "drop_ourselves", "mark_all", "unmark_all"]

OURSELVES = '"provision-backend"'
"""As it is written into an array."""

# Strings come first, so that a number sign in one begins no comment.
_TOKEN = re.compile(
    r'(?P<quote>""")(?P<a>(?:\\.|[^\\])*?)"""|'
    r"(?P<literal>''')(?P<b>.*?)'''|"
    r'"(?P<c>(?:\\.|[^"\\])*)"|'
    r"'(?P<d>[^']*)'|"
    r"#[^\n]*",
    re.DOTALL,
)
_LEAD = re.compile(r"\[(?:[ \t\r\n]|#[^\n]*\n)*")


def mark_all(source: str, marker: str) -> str:
    """Add a marker to each string of an array.

    Args:
        source: the array as it is written.
        marker: with single quotes; strings that TOML has in single quotes get it with double ones.
    """
    return _TOKEN.sub(lambda match: _changed(match, add_marker(_content(match), _quoted(match, marker))), source)


def unmark_all(source: str, marker: str) -> Optional[str]:
    """Undo `mark_all`; None where a string does not have the marker."""
    pieces = []
    position = 0
    for match in _TOKEN.finditer(source):
        content = drop_marker(_content(match), _quoted(match, marker)) if _is_string(match) else ""
        if content is None:
            return None
        pieces += [source[position : match.start()], _changed(match, content)]
        position = match.end()
    return "".join(pieces) + source[position:]


def add_ourselves(source: str) -> str:
    """Put ourselves first into an array, with a line of our own where the others have one."""
    match = _LEAD.match(source)
    lead = match[0] if match else "["
    rest = source[len(lead) :]
    if rest == "]":
        return source[:1] + OURSELVES + source[1:]
    if "\n" not in lead:
        return f"{lead}{OURSELVES}, {rest}"
    # A comment behind the bracket stays there, one above the first requirement stays above it.
    head = lead[: lead.index("\n") + 1]
    line_break = "\r\n" if head.endswith("\r\n") else "\n"
    following = source[len(head) :]
    indent = re.match(r"(?:[ \t]*\r?\n)*([ \t]*)", following)
    return f"{head}{indent[1] if indent else ''}{OURSELVES},{line_break}{following}"


def drop_ourselves(source: str) -> Iterator[str]:
    """Yield the arrays that `add_ourselves` may have made this one of, the likely one first."""
    for pattern in (rf"[ \t]*{OURSELVES},\r?\n", f"{OURSELVES}, ", OURSELVES):
        before = re.sub(pattern, "", source, count=1)
        if before != source and add_ourselves(before) == source:
            yield before


def _is_string(match: re.Match[str]) -> bool:
    return not match[0].startswith("#")


def _content(match: re.Match[str]) -> str:
    return next((match[name] for name in "abcd" if match[name] is not None), "")


def _changed(match: re.Match[str], content: str) -> str:
    if not _is_string(match):
        return match[0]
    quote = match["quote"] or match["literal"] or match[0][0]
    return f"{quote}{content}{quote}"


def _quoted(match: re.Match[str], marker: str) -> str:
    return marker.replace("'", '"') if match[0].startswith("'") else marker
