"""Our own reading of version specifiers: never another answer than that of packaging."""

from __future__ import annotations

import itertools
import random
import sys
from typing import List

import pytest
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from provision_backend.errors import MissingDependencyError
from provision_backend.specifiers import PythonVersion, Specifiers, parse_specifiers, parse_version

OPERATORS = (">=", "<=", "==", "!=", "~=", "<", ">")
NUMBERS = (
    *("3", "3.0", "3.9", "3.12", "3.12.0", "3.12.1", "3.12.0.0", "3.13", "3.13.0", "3.13.5", "4", "4.0", "2.7"),
    *("03.12", "3.012", "0", "3.12.1.2", "3.100"),
)
STARS = ("", ".*")
VERSIONS = [
    f"{minor}.{micro}{stage}"
    for minor in ("2.7", "3.0", "3.9", "3.11", "3.12", "3.13", "3.14", "3.100", "4.0")
    for micro in ("0", "1", "5", "12")
    for stage in ("", "a1", "b2", "rc1", "rc10")
]
SINGLE = [f"{operator}{number}{star}" for operator, number, star in itertools.product(OPERATORS, NUMBERS, STARS)]


def _packaging(text: str) -> List[bool]:
    """Return the answers of packaging for all versions."""
    specifiers = SpecifierSet(text)
    return [specifiers.contains(version, prereleases=True) for version in VERSIONS]


def _ours(text: str) -> List[bool]:
    specifiers = parse_specifiers(text)
    return [specifiers.contains(version, prereleases=True) for version in VERSIONS]


def test_every_single_clause_has_the_answers_of_packaging() -> None:
    """All operators, all forms of numbers, all versions; what packaging refuses is refused."""
    for text in SINGLE:
        try:
            expected = _packaging(text)
        except InvalidSpecifier:
            with pytest.raises(ValueError, match="Invalid specifier"):
                parse_specifiers(text)
            continue
        assert (text, expected) == (text, _ours(text))


def test_clauses_together_have_the_answers_of_packaging() -> None:
    """Two and three clauses, with and without white space; the same sample each time."""
    chosen = random.Random(6)
    valid = [text for text in SINGLE if not ("*" in text and text[:2] not in ("==", "!="))]
    valid = [text for text in valid if not (text.startswith("~=") and "." not in text)]
    for _ in range(1500):
        parts = chosen.sample(valid, chosen.choice((2, 3)))
        text = chosen.choice((",", ", ", " , ")).join(parts)
        assert (text, _packaging(text)) == (text, _ours(text))
        assert SpecifierSet(text) == SpecifierSet(str(parse_specifiers(text)))


@pytest.mark.parametrize("text", ["", " ", ">=3.12", ">= 3.12,<4", "==3.13.*", "~=3.12", "!=3.9.7, >=3.8"])
def test_common_forms_need_no_packaging(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """That is what the module is for: importing it takes longer than all else that a hook does."""
    expected = _packaging(text)
    monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
    monkeypatch.setitem(sys.modules, "packaging.version", None)

    assert isinstance(parse_specifiers(text), Specifiers)
    assert _ours(text) == expected


@pytest.mark.parametrize(
    "text",
    [">=3.13.0rc1", "===3.12.1", ">=1!3", "==3.12.post1", "<3.13.dev0", ">=v3.12", ">=3.12,", ",", "==3.12+local"],
)
def test_other_forms_are_left_to_packaging(text: str) -> None:
    """Pre-releases, epochs, arbitrary equality: rare, and easy to get wrong."""
    assert parse_specifiers(text) == SpecifierSet(text)
    assert isinstance(parse_specifiers(text), SpecifierSet)


@pytest.mark.parametrize("text", [">=3.x", "3.12", "=>3", "^3.12", ">=3.12 <4", ">=", "~=3", "==3.*.1", ">=3.*"])
def test_what_is_no_specifier_is_refused(text: str) -> None:
    """The error is a ValueError, whoever has read it."""
    with pytest.raises(ValueError, match="Invalid specifier"):
        parse_specifiers(text)


def test_without_packaging_a_rare_form_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is missing, and what for."""
    monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
    with pytest.raises(MissingDependencyError) as caught:
        parse_specifiers(">=3.13.0rc1")

    assert str(caught.value).startswith(
        "the package 'packaging' is needed to understand the version specifiers '>=3.13.0rc1' and is not installed"
    )


def test_a_set_behaves_as_that_of_packaging() -> None:
    """Its text, its length, its clauses and what it equals."""
    mine, theirs = parse_specifiers("<4, >=3.12,>=3.12"), SpecifierSet(">=3.12,<4")

    assert mine == theirs
    assert (str(mine), len(mine), hash(mine)) == (str(theirs), 2, hash(parse_specifiers(">=3.12,<4")))
    assert sorted((each.operator, each.version) for each in mine) == [("<", "4"), (">=", "3.12")]
    assert repr(mine) == "Specifiers('<4,>=3.12')"
    assert not parse_specifiers("")


@pytest.mark.parametrize("version", ["3.12.0.post1", "3.12.1+local", "3.12"])
def test_a_version_that_no_cpython_has_is_left_to_packaging(version: str) -> None:
    """Our own specifiers ask packaging then."""
    assert isinstance(parse_version(version.partition("+")[0]), (Version, PythonVersion))
    for text in (">=3.12", ">3.12", "==3.12", "<3.13", "~=3.12.0"):
        assert parse_specifiers(text).contains(version, prereleases=True) == SpecifierSet(text).contains(
            version, prereleases=True
        )


def test_prereleases_can_be_left_out() -> None:
    """As packaging has it when it is told to."""
    assert not parse_specifiers(">=3.12").contains("3.13.0rc1", prereleases=False)


def test_versions_are_ordered_as_packaging_orders_them() -> None:
    """Among themselves, and with packaging's own."""
    for left, right in itertools.product(VERSIONS[::3], VERSIONS):
        mine, theirs = parse_version(left), Version(right)
        facts = (Version(left) < theirs, Version(left) == theirs, Version(left) > theirs)
        for other in (parse_version(right), theirs):
            assert (mine < other, mine == other, mine > other) == facts
            assert (mine <= other, mine >= other, mine != other) == (not facts[2], not facts[0], not facts[1])


def test_a_version_says_what_it_is() -> None:
    """Its text, its numbers, and whether it is a pre-release."""
    version = parse_version("3.14.0rc2+")

    assert (str(version), version.release, version.is_prerelease) == ("3.14.0rc2", (3, 14, 0), True)
    assert repr(version) == "PythonVersion('3.14.0rc2')"
    assert hash(version) == hash(parse_version("3.14.0rc2"))
