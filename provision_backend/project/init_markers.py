"""``requires-python`` → an environment marker that says the same, and requirements with that marker. Pure.

A marker compares ``python_version``, which is the first two numbers, or ``python_full_version``, which is all of it
(PEP 508). The first is what people write and read, so it is taken wherever no release tells the two apart; the second
is compared as PEP 440 has it, which is how ``requires-python`` is compared too, so any clause can be copied onto it.

What remains are pre-releases. ``<3.14`` and ``python_version < '3.14'`` both exclude 3.14.0rc1. ``>=3.12`` excludes
3.12.0rc1, whose ``python_version`` is 3.12: there, and nowhere else, a marker is true although ``requires-python`` is
not. It is never the other way round, so no requirement is ever missing; pip compares the release alone as well.
"""

from __future__ import annotations

import re
from typing import Optional

__all__ = ["add_marker", "drop_marker", "translate_specifiers"]

_CLAUSE = re.compile(r"\s*(~=|==|!=|<=|>=|<|>)\s*([0-9][^\s,=]*)\s*")
# In a requirement by URL the semicolon stands behind a space, since a URL may hold one itself.
_BY_URL = re.compile(r"(?P<body>[^;@]*@\s*\S+)(?:(?P<gap>\s+;\s*)(?P<marker>.*))?", re.DOTALL)
_BY_NAME = re.compile(r"(?P<body>[^;]*)(?:(?P<gap>;\s*)(?P<marker>.*))?", re.DOTALL)
_MINOR_ONLY = re.compile(r"[0-9]+(\.[0-9]+)?")


def translate_specifiers(text: str) -> Optional[str]:
    """Translate version specifiers into a marker, clause by clause in their order.

    Args:
        text: valid specifiers such as ``>=3.9,<3.14``.

    Returns:
        A marker whose strings are in single quotes, or None where there is no marker that says the same: no clause at
        all, arbitrary equality, an epoch.

    Source:
        PEP 440, Version specifiers; PEP 508, Environment Markers.
    """
    clauses = [_translate(clause) for clause in text.split(",") if clause.strip()]
    return " and ".join(clause for clause in clauses if clause) if clauses and all(clauses) else None


def _translate(clause: str) -> Optional[str]:
    match = _CLAUSE.fullmatch(clause)
    # "===" compares text, and an epoch is nothing that a Python has.
    if match is None or "!" in match[2]:
        return None
    operator, version = match[1], match[2]
    variable = "python_full_version"
    if operator in (">=", "<"):
        # A third number is left out where it is zero: 3.12 and 3.12.0 are the same version.
        short = re.sub(r"^([0-9]+\.[0-9]+)(\.0+)+$", r"\1", version)
        if _MINOR_ONLY.fullmatch(short):
            variable, version = "python_version", short
    elif operator == "~=" and re.fullmatch(r"[0-9]+\.[0-9]+", version):
        variable = "python_version"
    elif re.fullmatch(r"[0-9]+\.[0-9]+\.\*", version):
        variable, version = "python_version", version[:-2]
    return f"{variable} {operator} '{version}'"


def add_marker(requirement: str, marker: str) -> str:
    """Return a requirement that applies only where the marker is true, and where its own one is.

    Args:
        requirement: PEP 508; every character of it is kept.
        marker: as of `translate_specifiers`.
    """
    match = _BY_URL.fullmatch(requirement) or _BY_NAME.fullmatch(requirement)
    if match is None or match["marker"] is None:
        # Without the space, the semicolon and the marker would be taken for a part of the URL.
        gap = " ; " if _BY_URL.fullmatch(requirement) else "; "
        return f"{requirement}{gap}{marker}"
    return f"{match['body']}{match['gap']}({match['marker']}) and ({marker})"


def drop_marker(requirement: str, marker: str) -> Optional[str]:
    """Return the requirement that `add_marker` made this one of, or None where it did not."""
    for ending, closing in ((f") and ({marker})", "("), (f" ; {marker}", ""), (f"; {marker}", "")):
        if not requirement.endswith(ending):
            continue
        body = requirement[: -len(ending)]
        if closing:
            body = re.sub(r"(;\s*)\(", r"\1", body, count=1)
        if add_marker(body, marker) == requirement:
            return body
    return None
