"""Version requests: the forms that are accepted, what each matches, and the message for the rest."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from provision_backend.errors import UsageError
from provision_backend.versions import (
    VersionRequest,
    asks_for_prereleases,
    parse_request,
    parse_version,
    satisfies,
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
        pytest.param(">= 3.12, < 3.14", ">=3.12,<3.14", False, False, id="range with white space"),
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
    assert parse_request(text) == VersionRequest(text, SpecifierSet(specifiers), freethreaded, prereleases)


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
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    """What has none of the forms is an error that names the source, the text and the forms."""
    with pytest.raises(UsageError) as caught:
        parse_request(text, source="PROVISION_BACKEND_PYTHON")

    assert str(caught.value) == (
        f"PROVISION_BACKEND_PYTHON must be a version or a version specifier, found {text!r}\n"
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
    assert parse_request(request_text).matches(version, freethreaded=False) is expected


@pytest.mark.parametrize("text", ["3.13", "3.13.2", ">=3.13"])
def test_free_threading_is_matched_exactly(text: str) -> None:
    """Without ``t`` a free-threaded build never matches, with ``t`` no other does."""
    plain, threaded = parse_request(text), parse_request(f"{text}t")

    assert [plain.matches("3.13.2", freethreaded=flag) for flag in (False, True)] == [True, False]
    assert [threaded.matches("3.13.2", freethreaded=flag) for flag in (False, True)] == [False, True]


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
    assert satisfies(SpecifierSet(specifiers), version) is expected


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
    assert asks_for_prereleases(SpecifierSet(specifiers)) is expected


def test_a_version_is_parsed_once() -> None:
    """The same text gives the same object."""
    assert parse_version("3.13.5") is parse_version("3.13.5")
    assert parse_version("3.14.0a1+") == Version("3.14.0a1")
