"""Versions: which satisfy specifiers, and the version requests with the message for what is none."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from typing import List, Optional

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from provision_backend.catalog.wanted import Wanted
from provision_backend.errors import MissingDependencyError, UsageError
from provision_backend.output import shorten
from provision_backend.versions import (
    VersionRequest,
    asks_for_prereleases,
    is_specifier,
    normalised_name,
    parse_request,
    parse_version,
    plain_name,
    satisfies,
    satisfies_plain,
)


@pytest.mark.parametrize(
    ("text", "specifiers", "freethreaded", "prereleases"),
    [
        pytest.param("3", "==3.*", False, False, id="major"),
        pytest.param("3.13", "==3.13.*", False, False, id="minor"),
        pytest.param("3.13.2", "==3.13.2", False, False, id="patch"),
        pytest.param("3t", "==3.*", True, False, id="free-threaded major"),
        pytest.param("3.13t", "==3.13.*", True, False, id="free-threaded minor"),
        pytest.param("3.13.2t", "==3.13.2", True, False, id="free-threaded patch"),
        pytest.param("3.14.0rc2", "==3.14.0rc2", False, True, id="release candidate"),
        pytest.param("3.15.0a1", "==3.15.0a1", False, True, id="alpha"),
        pytest.param("3.15.0b1t", "==3.15.0b1", True, True, id="free-threaded beta"),
        pytest.param("3.15a1", "==3.15a1", False, True, id="alpha without patch"),
        pytest.param(">=3.12,<3.14", ">=3.12,<3.14", False, False, id="range"),
        pytest.param(">= 3.12, < 3.14", ">= 3.12, < 3.14", False, False, id="range with white space"),
        pytest.param("~=3.12", "~=3.12", False, False, id="compatible release"),
        pytest.param("==3.13.*", "==3.13.*", False, False, id="prefix match"),
        pytest.param(">=3.13t", ">=3.13", True, False, id="free-threaded range"),
        pytest.param(">=3.15.0a1", ">=3.15.0a1", False, True, id="range from an alpha"),
        pytest.param("cpython-3.13", "==3.13.*", False, False, id="cpython and hyphen"),
        pytest.param("cpython@3.13t", "==3.13.*", True, False, id="cpython and at sign"),
        pytest.param("cpython3.13", "==3.13.*", False, False, id="cpython"),
        pytest.param("python3.13", "==3.13.*", False, False, id="python"),
        pytest.param("cpython>=3.12", ">=3.12", False, False, id="cpython and range"),
    ],
)
def test_every_accepted_form_is_understood(text: str, specifiers: str, freethreaded: bool, prereleases: bool) -> None:
    """Each form becomes the specifiers it stands for."""
    assert parse_request(text) == VersionRequest(text, specifiers, freethreaded, prereleases)


def test_white_space_round_a_request_is_dropped() -> None:
    """The text for messages is what was written, less white space."""
    assert parse_request(" 3.13\n").text == "3.13"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "t",
        "latest",
        "python",
        "cpython",
        "pypy3.10",
        "python-3.12",
        "v3.13",
        "313",
        "3.",
        "3.13.",
        "3.13.*",
        "3.13.2.1",
        "3.13tt",
        "3.13T",
        "3.13.2rc",
        "3a1",
        "=3.12",
        "^3.12",
        ">=",
        ",",
        ">=3.12 <3.14",
        ">=3.12;<3.14",
        ">=3.13t,<3.15",
        "===3.13.2",
        "/usr/bin/python3",
        "3." + "9" * 5000,
        ">=3." + "9" * 5000,
        "3.\u0661\u0663",
        "3.-1",
        "3.+1",
        "3.1_3",
    ],
    ids=lambda text: text[:20],
)
def test_any_other_text_is_refused(text: str) -> None:
    """What has none of the forms is an error that names the source, the text and the forms."""
    with pytest.raises(UsageError) as caught:
        parse_request(text, source="PROVISION_BACKEND_PYTHON")

    assert str(caught.value) == (
        f"PROVISION_BACKEND_PYTHON must be a version or a version specifier, found {shorten(text)!r}\n"
        "  accepted forms are '3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'"
    )


@pytest.mark.parametrize(
    ("request_text", "version", "expected"),
    [
        ("3.13", "3.13.0", True),
        ("3.13", "3.13.18", True),
        ("3.13", "3.13.0rc1", True),
        ("3.13", "3.14.0", False),
        ("3.1", "3.13.2", False),
        ("3.13.2", "3.13.2", True),
        ("3.13.2", "3.13.20", False),
        ("3.14.0", "3.14.0rc2", False),
        ("3.14.0rc2", "3.14.0rc2", True),
        ("3.14.0rc2", "3.14.0", False),
        ("3.15a1", "3.15.0a1", True),
        (">=3.12,<3.14", "3.13.18", True),
        (">=3.12,<3.14", "3.14.0rc1", False),
    ],
)
def test_a_request_matches_the_versions_it_says(request_text: str, version: str, expected: bool) -> None:
    """A minor version means each of its patches, a patch only itself."""
    assert Wanted("", parse_request(request_text)).accepts(version, False) is expected


@pytest.mark.parametrize("text", ["3.13", "3.13.2", ">=3.13"])
def test_free_threading_is_matched_exactly(text: str) -> None:
    """Without ``t`` a free-threaded build never matches, with ``t`` no other does."""
    plain, threaded = (Wanted("", parse_request(each)) for each in (text, f"{text}t"))

    assert [plain.accepts("3.13.2", flag) for flag in (False, True)] == [True, False]
    assert [threaded.accepts("3.13.2", flag) for flag in (False, True)] == [False, True]


@pytest.mark.parametrize(
    ("specifiers", "version", "expected"),
    [
        (">=3.9", "3.15.0b1", True),
        (">=3.15", "3.15.0b1", False),
        (">=3.12", "3.12.0+", True),
        (">=3.12", "3.11.9", False),
        ("", "3.8.0", True),
    ],
)
def test_a_prerelease_is_a_version_like_any_other(specifiers: str, version: str, expected: bool) -> None:
    """Whether a version satisfies follows its order alone, also for pre-releases and builds from a checkout."""
    assert satisfies(specifiers, version) is expected


@pytest.mark.parametrize(
    ("specifiers", "expected"),
    [
        (">=3.15.0a1", True),
        ("==3.14.0rc2", True),
        (">=3.12,<=3.15.0b1", True),
        ("~=3.15.0a1", True),
        (">=3.12", False),
        ("==3.14.*", False),
        (">=3.12,!=3.15.0a1", False),
        (">=3.12,<3.15.0a1", False),
        ("", False),
    ],
)
def test_specifiers_ask_for_prereleases_by_naming_a_wanted_one(specifiers: str, expected: bool) -> None:
    """A pre-release that is only excluded is not asked for, whatever version of packaging is installed."""
    assert asks_for_prereleases(specifiers) is expected


def test_versions_of_cpython_have_the_order_of_packaging() -> None:
    """Final releases, and what comes before them."""
    stages = ("", "a1", "a10", "b2", "rc1", "rc12", "+", "b2+")
    texts = [f"{minor}.{micro}{stage}" for minor in ("3.8", "3.13", "4.0") for micro in (0, 2, 11) for stage in stages]

    def _by_packaging(text: str) -> Version:
        return Version(text.rstrip("+"))

    assert sorted(texts, key=parse_version) == sorted(texts, key=_by_packaging)
    assert [parse_version(text).is_prerelease for text in texts] == [
        _by_packaging(text).is_prerelease for text in texts
    ]
    assert {parse_version(text)[:3] for text in texts} == {_by_packaging(text).release for text in texts}


@pytest.mark.parametrize("text", ["", "3.13", "3.13.1.2", "3.14.0.dev1", "3.13.1c1", "x"])
def test_another_text_is_no_version_of_cpython(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="not a version of CPython"):
        parse_version(text)


OPERATORS = (">=", "<=", "==", "!=", "~=", "<", ">")
NUMBERS = (
    *("3", "3.0", "3.9", "3.12", "3.12.0", "3.12.1", "3.12.0.0", "3.13", "3.13.0", "3.13.5", "4", "4.0", "2.7"),
    *("03.12", "3.012", "0", "3.12.1.2", "3.100"),
)
VERSIONS = [
    f"{minor}{micro}{stage}"
    for minor in ("2.7", "3.0", "3.9", "3.11", "3.12", "3.13", "3.14", "3.100", "4.0")
    for micro in ("", ".0", ".1", ".5", ".12")
    for stage in ("", "a1", "rc1")
]
SINGLE = [f"{operator}{number}{star}" for operator, number, star in itertools.product(OPERATORS, NUMBERS, ("", ".*"))]
FORMS = ("", " ", ">=3.13.0rc1", "===3.12.1", ">=1!3", "==3.12.post1", "<3.13.dev0", ">=v3.12", ">=3.12,", ",")


def test_plain_requirements_are_those_of_packaging() -> None:
    """What is taken without packaging is valid, has the same name, and neither marker, extras nor URL."""
    names = ("a", "a-b", "A.b_c", "a-", "-a", "a b", "", "a[x]", "a@b", "é")
    texts = [f"{name}{space}{clause}" for name in names for space in ("", " ") for clause in (*SINGLE, *FORMS)]
    texts += [
        "a; python_version > '3'",
        "a @ https://example.org/a.whl",
        "a>=1 ; extra == 'x'",
        "a>=1,<2",
        " a ",
        "a\n",
    ]
    taken = {text: name for text in texts for name in [plain_name(text)] if name is not None}

    assert {"a", "a>=3.12", "A.b_c ==3.12.*", "a>=1,<2"} <= set(taken)
    for text, name in taken.items():
        requirement = Requirement(text)
        assert (requirement.name, requirement.marker, requirement.extras, requirement.url) == (name, None, set(), None)


def _by_packaging(text: str) -> Optional[List[bool]]:
    try:
        specifiers = SpecifierSet(text)
    except InvalidSpecifier:
        return None
    return [specifiers.contains(version, prereleases=True) for version in VERSIONS]


def _compare(text: str) -> None:
    expected = _by_packaging(text)
    assert (text, is_specifier(text)) == (text, expected is not None)
    if expected is not None:
        assert (text, [satisfies(text, version) for version in VERSIONS]) == (text, expected)


def test_single_clauses_have_the_answers_of_packaging() -> None:
    """All operators, all forms of numbers, all versions; what packaging refuses is refused."""
    for text in (*SINGLE, *FORMS):
        _compare(text)
    answered = [satisfies_plain(text, "3.12.1") for text in SINGLE]
    assert (answered.count(True), answered.count(False)) > (30, 30)


def test_clauses_together_have_the_answers_of_packaging() -> None:
    """Two and three clauses, with and without white space; the same sample each time."""
    chosen = random.Random(6)
    for _ in range(1500):
        parts = chosen.sample(SINGLE, chosen.choice((2, 3)))
        _compare(chosen.choice((",", ", ", " , ")).join(parts))


@pytest.mark.parametrize("text", ["", " ", ">=3.12", ">= 3.12,<4", "==3.13.*", "~=3.12", "!=3.9.7, >=3.8"])
def test_plain_clauses_need_no_packaging(text: str) -> None:
    """A pass-through build does not pay for the import."""
    code = (
        "import sys; from provision_backend.versions import is_specifier, satisfies\n"
        f"print(is_specifier({text!r}), satisfies({text!r}, '3.13.5'), 'packaging' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)

    assert done.stdout.split() == [b"True", b"True", b"False"]


@pytest.mark.parametrize("text", FORMS[2:])
def test_other_forms_are_left_to_packaging(text: str) -> None:
    """Pre-releases, epochs, arbitrary equality: rare, and easy to get wrong."""
    assert satisfies_plain(text, "3.12.1") is None


@pytest.mark.parametrize("version", ["3.15.0b1", "3.12.0.post1", "3.12.1+local", ""])
def test_other_versions_are_left_to_packaging(version: str) -> None:
    """Only final releases are compared without it."""
    assert satisfies_plain(">=3.12", version) is None


@pytest.mark.parametrize("text", [">=3.x", "3.12", "=>3", "^3.12", ">=3.12 <4", ">=", "~=3", "==3.*.1", ">=3.*"])
def test_what_is_no_specifier_is_refused(text: str) -> None:
    """Typing errors are found, whichever way a text is read."""
    assert not is_specifier(text)


def test_without_packaging_a_rare_form_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the missing package, and what needs it."""
    monkeypatch.setitem(sys.modules, "packaging", None)
    with pytest.raises(MissingDependencyError) as caught:
        satisfies(">=3.13.0rc7", "3.13.0")

    assert str(caught.value).startswith(
        "the package 'packaging' is needed to understand the version specifiers '>=3.13.0rc7' and is not installed"
    )


def test_names_are_normalised() -> None:
    """Runs of separators become one hyphen, letters become small (PEP 503)."""
    assert normalised_name("Zope._-Interface") == "zope-interface"


@pytest.mark.parametrize("text", [">=" + "9" * 5000, "!=3.13.dev" + "9" * 5000, "==3.*,<" + "9" * 100])
def test_a_number_that_no_version_has_is_no_specifier(text: str) -> None:
    """Python refuses to convert thousands of digits, and would need long for millions."""
    assert not is_specifier(text)
    assert is_specifier(">=1.0.dev20261128120000") is True
