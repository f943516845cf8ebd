"""Environment markers that are comparisons joined by ``and`` → whether they hold. Pure.

Most markers of requirements are of this form: ``python_version >= '3.12'``, ``extra == "provision"``. What else PEP 508
allows is left to ``packaging``, whose import takes longer than all else that a hook does. Both give the same answers; a
test compares them.
"""

from __future__ import annotations

import re
from typing import Mapping, Optional

from .specifiers import Specifiers, parse_specifiers

__all__ = ["evaluate_marker"]

_VERSIONS = ("python_version", "python_full_version")
_COMPARISON = re.compile(
    r"(?P<open>\()?\s*(?P<name>python_version|python_full_version|sys_platform|os_name|extra)\s*"
    r"(?P<operator>>=|<=|==|!=|~=|<|>)\s*(?P<quote>['\"])(?P<value>[^'\"]*)(?P=quote)\s*(?(open)\))"
)


def evaluate_marker(marker: str, environment: Mapping[str, str]) -> Optional[bool]:
    """Say whether a marker holds.

    Args:
        marker: what stands behind the semicolon of a requirement.
        environment: values of ``python_version``, ``python_full_version``, ``sys_platform``, ``os_name``, ``extra``.

    Returns:
        None for a marker that only packaging understands, or that is none.

    Source: PEP 508, Environment Markers.
    """
    answers = [_compare(part, environment) for part in re.split(r"\band\b", marker)]
    return None if None in answers else all(answers)


def _compare(text: str, environment: Mapping[str, str]) -> Optional[bool]:
    match = _COMPARISON.fullmatch(text.strip())
    if match is None:
        return None
    name, operator, value = match["name"], match["operator"], match["value"]
    if name in _VERSIONS:
        return _compare_version(environment[name], operator + value)
    if operator not in ("==", "!="):
        return None
    found = environment[name]
    if name == "extra":
        found, value = (re.sub(r"[-_.]+", "-", each).lower() for each in (found, value))
    return (found == value) == (operator == "==")


def _compare_version(version: str, specifier: str) -> Optional[bool]:
    try:
        parsed = parse_specifiers(specifier)
    except ValueError:
        return None  # packaging compares as text what is no version.
    return parsed.contains(version, prereleases=True) if isinstance(parsed, Specifiers) else None
