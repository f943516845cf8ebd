"""Version requests: text such as ``3.13t`` in, a question that can be put to any interpreter out. Pure.

A request says *which* of the interpreters that satisfy ``requires-python`` is wanted. It is a version (``3``, ``3.13``,
``3.13.2``, ``3.14.0rc2``), with ``t`` for a free-threaded build, or a version specifier (``>=3.12,<3.14``). Versions
are those of PEP 440; the free-threaded build is that of PEP 703, and its ``t`` is the one of ``sys.abiflags``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .errors import UsageError
from .specifiers import Specifiers, parse_specifiers, parse_version

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = ["VersionRequest", "asks_for_prereleases", "parse_request", "parse_version", "satisfies"]

ACCEPTED_FORMS = "'3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'"

# Patterns are compiled when they are used: most builds have no request.
# The prefixes are those that uv accepts; "cpython" is the only implementation there is an archive of.
_PREFIX = r"cpython[-@]?|python"
# One digit before the first dot, so that "313" is refused here instead of being looked for in vain.
_VERSION = r"[0-9](?:\.[0-9]+){0,2}"
_PRERELEASE = r"[0-9]\.[0-9]+(?:\.[0-9]+)?(?:a|b|rc)[0-9]+"
_RANGE = r"[<>=!~][<>=!~0-9a-z.*, ]*"


class VersionRequest(NamedTuple):
    """Which interpreter is asked for."""

    text: str
    """As it was written, without the white space round it; for messages."""

    specifiers: SpecifierSet
    """What the version must satisfy; ``==3.13.*`` for the request ``3.13``."""

    freethreaded: bool = False
    """Whether a free-threaded build is asked for; if not, such a build never matches."""

    prereleases: bool = False
    """Whether the request itself names a pre-release."""

    def matches(self, version: str, *, freethreaded: bool) -> bool:
        """Tell whether an interpreter is one of those asked for.

        Args:
            version: its full version, ``3.13.5`` or ``3.15.0a1``.
            freethreaded: whether it is a free-threaded build.
        """
        return freethreaded == self.freethreaded and satisfies(self.specifiers, version)


def parse_request(text: str, *, source: str = "python") -> VersionRequest:
    """Parse what a project or a user writes for the interpreter wanted.

    Args:
        text: a version (``3``, ``3.13``, ``3.13.2``, ``3.14.0rc2``) or a specifier (``>=3.12,<3.14``), either with one
            ``t`` at its end for a free-threaded build, and with or without the prefix ``cpython``, ``cpython-``,
            ``cpython@`` or ``python``.
        source: the key, variable or argument that the text comes from; begins the message of the error.

    Raises:
        UsageError: when the text has none of these forms.

    Source:
        PEP 440, Version specifiers; PEP 703, Build Configuration Changes.
    """
    written = text.strip()
    prefix = re.match(_PREFIX, written)
    rest = written[prefix.end() :] if prefix else written
    freethreaded = rest.endswith("t")
    specifiers = _parse_specifiers(rest[:-1] if freethreaded else rest)
    if specifiers is None:
        raise UsageError(
            f"{source} must be a version or a version specifier, found {text!r}",
            hint=f"accepted forms are {ACCEPTED_FORMS}",
        )
    return VersionRequest(written, specifiers, freethreaded, asks_for_prereleases(specifiers))


def satisfies(specifiers: SpecifierSet, version: str) -> bool:
    """Tell whether a version satisfies specifiers; a pre-release is a version like any other.

    A running 3.15.0b1 satisfies ``>=3.9``: whoever runs it has chosen it, as pip assumes of ``requires-python`` too.

    Args:
        specifiers: ``requires-python`` or those of a request.
        version: full version of an interpreter, ``3.13.5`` or ``3.15.0a1``.
    """
    return specifiers.contains(version.rstrip("+"), prereleases=True)


def asks_for_prereleases(specifiers: SpecifierSet) -> bool:
    """Tell whether specifiers name a pre-release as something wanted (``>=3.15.0a1``, ``==3.14.0rc2``).

    ``SpecifierSet.prereleases`` is not used: packaging 24 and 26 give different answers for ``<`` and ``>``, and which
    archive is selected must not depend on the version of a dependency. ``!=`` and ``<`` exclude what they name.
    """
    if isinstance(specifiers, Specifiers):
        return False  # These name final releases only.
    return any(
        parse_version(specifier.version[:-2] if specifier.version.endswith(".*") else specifier.version).is_prerelease
        for specifier in specifiers
        if specifier.operator not in ("!=", "<")
    )


def _parse_specifiers(text: str) -> SpecifierSet | None:
    """Return the specifiers that a request without its prefix and its ``t`` stands for, None if it has no such form."""
    if re.fullmatch(_VERSION, text):
        return parse_specifiers(f"=={text}" if text.count(".") == 2 else f"=={text}.*")
    if re.fullmatch(_PRERELEASE, text):
        return parse_specifiers(f"=={text}")
    # Arbitrary equality accepts any text, hence also none that is a version.
    if not re.fullmatch(_RANGE, text) or "===" in text:
        return None
    try:
        return parse_specifiers(text)
    except ValueError:
        return None
