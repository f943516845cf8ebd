"""Versions of CPython: tell whether one satisfies version specifiers, or matches a request. Pure.

A request says *which* of the interpreters that satisfy ``requires-python`` to use. It is a version (``3``, ``3.13``,
``3.13.2``, ``3.14.0rc2``), with ``t`` for a free-threaded build, or a version specifier (``>=3.12,<3.14``). Versions
and specifiers are those of PEP 440 and read by ``packaging``; the free-threaded build is that of PEP 703, and its
``t`` is the one of ``sys.abiflags``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, NamedTuple, Optional

from .errors import MissingDependencyError, UsageError
from .output import shorten

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = [
    "IMPLEMENTATION", "PythonVersion", "VersionRequest", "asks_for_prereleases", "has_long_number", "is_specifier",
    "label_of", "leading_name", "minor_of", "normalised_name", "own_version", "parse_request", "parse_version",
    "plain_name", "satisfies", "satisfies_plain",
]  # fmt: skip

# Python refuses to convert thousands of digits, and needs minutes for millions before 3.11. No version has that many,
# dates and times included.
_TOO_LONG = re.compile(r"[0-9]{100}")
IMPLEMENTATION = "cpython"
"""The one implementation that is provisioned, as ``sys.implementation`` and the names of archives have it."""

# The prefixes are those that uv accepts.
_PREFIX = rf"{IMPLEMENTATION}[-@]?|python"
# One digit before the first dot, so that "313" is refused at once instead of matching no interpreter later.
_VERSION = r"[0-9](?:\.[0-9]{1,9}){0,2}"
_PRERELEASE = r"[0-9]\.[0-9]{1,9}(?:\.[0-9]{1,9})?(?:a|b|rc)[0-9]{1,9}"
_RANGE = r"[<>=!~][<>=!~0-9a-z.*, ]*"
_PLAIN_CLAUSE = r"\s*(>=|<=|==|!=|~=|<|>)\s*([0-9]{1,9}(?:\.[0-9]{1,9})*)(\.\*)?\s*"
_PLAIN_REQUIREMENT = r"[ \t]*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)[ \t]*([<>=!~][<>=!~0-9.*, \t]*)?"
_PYTHON_VERSION = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:(a|b|rc)([0-9]{1,9}))?")
_COMPARISONS = {"==": eq, "!=": ne, ">=": ge, "<=": le, ">": gt, "<": lt}


class PythonVersion(NamedTuple):
    """A version of CPython; those of two interpreters compare as PEP 440 has it."""

    major: int
    minor: int
    micro: int
    stage: str
    """``a``, ``b``, ``rc`` or ``release``, which sort in this order."""
    serial: int

    @property
    def is_prerelease(self) -> bool:
        """Whether it is an alpha, beta or release candidate."""
        return self.stage != "release"


class VersionRequest(NamedTuple):
    """Which interpreter is asked for."""

    text: str
    """The request as it was written, without surrounding white space; for messages."""
    specifiers: str
    """The specifiers that the version must satisfy; ``==3.13.*`` for the request ``3.13``."""
    freethreaded: bool = False
    """Whether a free-threaded build is asked for; if not, such a build never matches."""
    prereleases: bool = False
    """Whether the request itself names a pre-release."""


def parse_request(text: str, *, source: str = "python") -> VersionRequest:
    """Parse a version request, with or without the prefix ``cpython``, ``cpython-``, ``cpython@`` or ``python``.

    Raises:
        UsageError: it has none of these forms; the message begins with *source*, a key, variable or argument.
    """
    written = text.strip()
    prefix = re.match(_PREFIX, written)
    rest = written[prefix.end() :] if prefix else written
    freethreaded = rest.endswith("t")
    specifiers = _specifiers_of(rest[:-1] if freethreaded else rest)
    if specifiers is None:
        raise UsageError(
            f"{source} must be a version or a version specifier, found {shorten(text)!r}",
            hint="accepted forms are '3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'",
        )
    return VersionRequest(written, specifiers, freethreaded, asks_for_prereleases(specifiers))


def _specifiers_of(text: str) -> Optional[str]:
    """Return the specifiers that a request without its prefix and its ``t`` stands for, None for any other text."""
    if re.fullmatch(_VERSION, text):
        return f"=={text}" if text.count(".") == 2 else f"=={text}.*"
    if re.fullmatch(_PRERELEASE, text):
        return f"=={text}"
    # Arbitrary equality accepts any text, even one that is not a version.
    return text if re.fullmatch(_RANGE, text) and "===" not in text and is_specifier(text) else None


def satisfies(specifiers: str, version: str) -> bool:
    """Tell whether a full version satisfies valid specifiers, which may be empty.

    A pre-release is a version like any other: a running 3.15.0b1 satisfies ``>=3.9``, since the user has chosen it. pip
    compares ``requires-python`` in the same way.
    """
    version = version.rstrip("+")
    plain = satisfies_plain(specifiers, version)
    return _parse_specifiers(specifiers).contains(version, prereleases=True) if plain is None else plain


def satisfies_plain(specifiers: str, version: str) -> Optional[bool]:
    """Tell without ``packaging`` whether a version satisfies specifiers, where both name final releases only.

    A pass-through build has no other use for ``packaging``, whose import takes longer than the rest of the hook. A test
    compares the answers with those of ``packaging``.

    Returns:
        None for specifiers or a version of any other form, which only ``packaging`` can judge.

    Source: PEP 440, Version specifiers.
    """
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version):
        return None
    answer = True
    for text in specifiers.split(",") if specifiers.strip() else ():
        clause = re.fullmatch(_PLAIN_CLAUSE, text)
        if clause is None:
            return None
        symbol, number, star = clause.groups()
        wanted, found = ([int(part) for part in each.split(".")] for each in (number, version))
        prefix = len(wanted) if star else len(wanted) - 1
        # A prefix goes with equality only, and a compatible release needs a second number to leave out.
        if (star and symbol not in ("==", "!=")) or (symbol == "~=" and not prefix):
            return None
        # 3.12 and 3.12.0 are the same version.
        width = max(len(wanted), len(found))
        wanted, found = (each + [0] * (width - len(each)) for each in (wanted, found))
        if star or symbol == "~=":
            same = found[:prefix] == wanted[:prefix]
            answer &= same != (symbol == "!=") and (symbol != "~=" or found >= wanted)
        else:
            answer &= _COMPARISONS[symbol](found, wanted)
    return answer


def is_specifier(text: str) -> bool:
    """Tell whether a text is a valid version specifier, or several with commas between them, or empty."""
    try:
        return satisfies_plain(text, "3") is not None or (
            not has_long_number(text) and _parse_specifiers(text) is not None
        )
    except ValueError:
        return False


def has_long_number(text: str) -> bool:
    """Tell whether a text holds a number that is none of a version: one of a hundred digits or more."""
    return bool(_TOO_LONG.search(text))


def asks_for_prereleases(specifiers: str) -> bool:
    """Tell whether specifiers ask for a pre-release (``>=3.15.0a1``, ``==3.14.0rc2``).

    ``SpecifierSet.prereleases`` is not used: packaging 24 and 26 give different answers for ``<`` and ``>``, and which
    archive is selected must not depend on the version of a dependency. ``!=`` and ``<`` exclude what they name.
    """
    if not re.search("[A-Za-z]", specifiers):
        return False
    from packaging.version import Version

    return any(
        Version(clause.version[:-2] if clause.version.endswith(".*") else clause.version).is_prerelease
        for clause in _parse_specifiers(specifiers)
        if clause.operator not in ("!=", "<")
    )


# One selection compares the same few hundred versions many times.
@lru_cache(maxsize=None)
def parse_version(text: str) -> PythonVersion:
    """Parse the full version of an interpreter; the ``+`` that a Python built from a checkout appends is ignored.

    Python itself and python-build-standalone write no other forms, so ``packaging``, whose import takes a tenth of a
    build with a warm cache, is not needed for them. A test compares the order with that of ``packaging``. What is no
    version of CPython raises `ValueError`.
    """
    match = _PYTHON_VERSION.fullmatch(text.rstrip("+"))
    if match is None:
        raise ValueError(f"not a version of CPython: {text!r}")
    major, minor, micro, stage, serial = match.groups()
    return PythonVersion(int(major), int(minor), int(micro), stage or "release", int(serial or 0))


def label_of(version: str, *, freethreaded: bool) -> str:
    """Return a version as people write that of an interpreter: ``3.13.5``, ``3.14t`` of a free-threaded one."""
    return f"{version}t" if freethreaded else version


def minor_of(version: str) -> str:
    """Return the minor version, such as 3.13, of a full one."""
    return ".".join(version.split(".")[:2])


@lru_cache(maxsize=None)
def _parse_specifiers(text: str) -> SpecifierSet:
    # A build that names final releases only does not need it.
    try:
        from packaging import specifiers
    except ImportError:
        raise MissingDependencyError("packaging", f"understand the version specifiers {text!r}") from None
    return specifiers.SpecifierSet(text)


def plain_name(requirement: str) -> Optional[str]:
    """Return the name of a requirement that is a name and plain clauses; None for what only ``packaging`` can judge."""
    match = re.fullmatch(_PLAIN_REQUIREMENT, requirement)
    return match[1] if match and satisfies_plain(match[2] or "", "3") is not None else None


def leading_name(requirement: str) -> str:
    """Return the normalised name that a requirement begins with; whether it is valid is not checked."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return normalised_name(match[1]) if match else ""


def normalised_name(name: str) -> str:
    """Return the name of a distribution as PEP 503 normalises it; for modules that cannot import ``packaging``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def own_version() -> str:
    """Return the version of our own distribution; empty where the package runs from a folder without metadata."""
    import importlib.metadata  # Importing it takes longer than everything else that a pass-through build does.

    try:
        # Metadata without a version gives None.
        return importlib.metadata.version("provision-backend") or ""
    except importlib.metadata.PackageNotFoundError:
        return ""
