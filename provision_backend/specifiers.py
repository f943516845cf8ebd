"""Version specifiers, as text → an answer for the version of an interpreter. Pure.

``packaging`` knows all of PEP 440, and importing it takes longer than all else that a hook does. So specifiers of final
releases (``>=3.9``, ``>=3.12,<4``, ``==3.13.*``, ``~=3.12``, ``!=3.9.7``) and versions as CPython has them (``3.13.5``,
``3.15.0b1``) are understood here, as are requirements that consist of a name and such specifiers. Everything else is
left to packaging. Both give the same answers; a test compares them over a grid of specifiers and versions.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Tuple, cast

from .errors import MissingDependencyError

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

__all__ = ["Clause", "PythonVersion", "Specifiers", "parse_requirement", "parse_specifiers", "parse_version"]

_OPERATORS = (">=", "<=", "==", "!=", "~=", "<", ">")
# It is compiled when it is used: a hook mostly has no use for it, and that takes longer than all else with a version.
_REQUIREMENT = r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*([<>=!~][<>=!~0-9.*, ]*)?"
_FINAL = "z"
"""Sorts behind the letters of pre-releases."""


class PythonVersion:
    """The version of a CPython; it compares as ``packaging.version.Version`` does, and with one.

    Args:
        text: as it was given.
        release: its numbers.
        stage: ``a``, ``b`` or ``rc`` and a number, for a pre-release.
    """

    __slots__ = ("is_prerelease", "key", "release", "text")

    def __init__(self, text: str, release: Tuple[int, ...], stage: str, serial: int) -> None:
        self.text = text
        self.release = release
        self.is_prerelease = stage != _FINAL
        significant = len(release)
        while significant and not release[significant - 1]:
            significant -= 1
        self.key = (release[:significant], stage, serial)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"PythonVersion({self.text!r})"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PythonVersion):
            return self.key == other.key
        return _full_version(self.text) == other

    def __lt__(self, other: Any) -> bool:
        return self.key < other.key if isinstance(other, PythonVersion) else _full_version(self.text) < other

    def __gt__(self, other: Any) -> bool:
        return self.key > other.key if isinstance(other, PythonVersion) else _full_version(self.text) > other

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other


class Clause(NamedTuple):
    """One comparison with a final release."""

    operator: str
    version: str
    """As it was written, with its ``.*``."""
    release: Tuple[int, ...]
    """Its numbers."""
    prefix: bool
    """Whether only so many numbers are compared."""

    def holds(self, version: PythonVersion) -> bool:
        """Whether a version satisfies it, pre-releases by their order alone.

        Source: PEP 440, Version specifiers.
        """
        if self.operator == "~=":
            # 3.12.1 stands for all of 3.12 from there on.
            return self._order(version) >= 0 and self._has_prefix(version, self.release[:-1])
        if self.prefix:
            return self._has_prefix(version, self.release) == (self.operator == "==")
        order = self._order(version)
        if self.operator == "<":
            # 3.13.0rc1 comes before 3.13, and is not meant by "<3.13".
            return order < 0 and not (version.is_prerelease and self._order(version, final=True) == 0)
        return {">=": order >= 0, "<=": order <= 0, "==": order == 0, "!=": order != 0, ">": order > 0}[self.operator]

    def _order(self, version: PythonVersion, *, final: bool = False) -> int:
        width = max(len(self.release), len(version.release))
        mine, theirs = _padded(self.release, width), _padded(version.release, width)
        if mine != theirs:
            return 1 if theirs > mine else -1
        return 0 if final or not version.is_prerelease else -1

    @staticmethod
    def _has_prefix(version: PythonVersion, prefix: Tuple[int, ...]) -> bool:
        return _padded(version.release, len(prefix))[: len(prefix)] == prefix


class Specifiers:
    """Several clauses, all of which must hold: the part of ``packaging.specifiers.SpecifierSet`` that we use."""

    __slots__ = ("clauses",)

    def __init__(self, clauses: Tuple[Clause, ...]) -> None:
        self.clauses = clauses

    def contains(self, version: Any, prereleases: bool = True) -> bool:
        """Whether a version satisfies all; a pre-release is a version like any other."""
        parsed = parse_version(str(version))
        if not isinstance(parsed, PythonVersion) or not prereleases:
            return bool(_full_specifiers(str(self)).contains(str(version), prereleases=prereleases))
        return all(clause.holds(parsed) for clause in self.clauses)

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)

    def __len__(self) -> int:
        return len(self.clauses)

    def __str__(self) -> str:
        # The order is that of packaging, whose text stood in messages before.
        return ",".join(sorted(clause.operator + clause.version for clause in self.clauses))

    def __repr__(self) -> str:
        return f"Specifiers({str(self)!r})"

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)


def parse_specifiers(text: str) -> SpecifierSet:
    """Parse version specifiers.

    Returns:
        What behaves as a ``SpecifierSet`` for all that is done with it here; packaging's own where the text names
        more than final releases.

    Raises:
        ValueError: it has no such form.
        MissingDependencyError: it is left to packaging, which is not installed.
    """
    clauses = []
    for part in text.split(",") if text.strip() else ():
        clause = _parse_clause(part)
        if clause is None:
            return _full_specifiers(text)
        clauses.append(clause)
    return cast("SpecifierSet", Specifiers(tuple(dict.fromkeys(clauses))))


@lru_cache(maxsize=None)
def parse_version(text: str) -> Version:
    """Parse a version, each text once; one selection compares the same few hundred versions many times.

    Args:
        text: a PEP 440 version; the ``+`` that a Python built from a checkout ends its own version with is ignored.

    Returns:
        A `PythonVersion`, or packaging's own for what no CPython has.
    """
    text = text.rstrip("+")
    release = _parse_release(text)
    if release is not None:
        return cast("Version", PythonVersion(text, release, _FINAL, 0))
    for stage in ("rc", "a", "b"):
        number, _, serial = text.partition(stage)
        release, which = _parse_release(number), _parse_release(serial)
        if release is not None and which is not None and len(which) == 1:
            return cast("Version", PythonVersion(text, release, stage, which[0]))
    return _full_version(text)


def parse_requirement(text: str) -> Optional[Tuple[str, Specifiers]]:
    """Parse a requirement that is a name, and specifiers of final releases where it has any.

    Returns:
        The name and the specifiers; None for what is of another form (extras, a marker, a URL) or of none.
    """
    match = re.fullmatch(_REQUIREMENT, text)
    if match is None:
        return None
    clauses = [_parse_clause(part) for part in match[2].split(",")] if match[2] else []
    return None if None in clauses else (match[1], Specifiers(tuple(filter(None, clauses))))


def _parse_clause(text: str) -> Optional[Clause]:
    """Parse one comparison with a final release; None for what is of another form."""
    text = text.strip()
    operator = next((each for each in _OPERATORS if text.startswith(each)), "")
    version = text[len(operator) :].lstrip()
    prefix = version.endswith(".*")
    release = _parse_release(version[:-2] if prefix else version)
    if not operator or release is None or (prefix and operator not in ("==", "!=")):
        return None
    return None if operator == "~=" and len(release) < 2 else Clause(operator, version, release, prefix)


def _parse_release(text: str) -> Optional[Tuple[int, ...]]:
    """Parse numbers with dots between them; None for what is of another form."""
    parts = text.split(".")
    return tuple(map(int, parts)) if text.isascii() and all(map(str.isdigit, parts)) else None


def _padded(release: Tuple[int, ...], width: int) -> Tuple[int, ...]:
    return release + (0,) * (width - len(release))


def _full_specifiers(text: str) -> SpecifierSet:
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        raise MissingDependencyError("packaging", f"understand the version specifiers {text!r}") from None
    return SpecifierSet(text)


@lru_cache(maxsize=None)
def _full_version(text: str) -> Version:
    try:
        from packaging.version import Version
    except ImportError:
        raise MissingDependencyError("packaging", f"understand the version {text!r}") from None
    return Version(text)
