"""Which interpreters are accepted for a build, and how that is said."""

from __future__ import annotations

import pytest

from provision_backend.catalog.wanted import Wanted
from provision_backend.versions import parse_request


@pytest.mark.parametrize(
    ("requires_python", "request_text", "version", "freethreaded", "accepted"),
    [
        pytest.param("", "", "3.8.0", False, True, id="anything"),
        pytest.param("", "", "3.13.0", True, False, id="free-threaded unasked"),
        pytest.param(">=3.12", "", "3.11.9", False, False, id="too old"),
        pytest.param(">=3.12", "", "3.12.0", False, True, id="at the bound"),
        pytest.param(">=3.12", "", "3.13.0rc1", False, True, id="pre-release above the bound"),
        pytest.param(">=3.13", "", "3.13.0rc1", False, False, id="pre-release below the bound"),
        pytest.param(">=3.12", "3.13", "3.12.1", False, False, id="not the requested one"),
        pytest.param(">=3.12", "3.13", "3.13.5", False, True, id="the requested one"),
        pytest.param(">=3.12", "3.13", "3.13.5", True, False, id="the requested one but free-threaded"),
        pytest.param(">=3.12", "3.13t", "3.13.5", True, True, id="free-threaded as requested"),
        pytest.param(">=3.12", "3.13t", "3.13.5", False, False, id="not free-threaded though requested"),
        pytest.param(">=3.12", "3.11", "3.11.9", False, False, id="a request does not loosen requires-python"),
        pytest.param("<3.13", ">=3.12", "3.13.0", False, False, id="both count"),
    ],
)
def test_an_interpreter_is_accepted_when_both_are_satisfied(
    requires_python: str, request_text: str, version: str, freethreaded: bool, accepted: bool
) -> None:
    """requires-python and the request must both hold, and free-threaded ones are only for who asks."""
    wanted = Wanted(requires_python, parse_request(request_text) if request_text else None)

    assert accepted is wanted.accepts(version, freethreaded=freethreaded)


@pytest.mark.parametrize(
    ("requires_python", "request_text", "text"),
    [
        pytest.param("", "", "any version", id="nothing"),
        pytest.param(">=3.12", "", "requires-python '>=3.12'", id="requires-python"),
        pytest.param("", "3.13t", "python '3.13t'", id="request"),
        pytest.param(">=3.12", "3.13", "requires-python '>=3.12' and python '3.13'", id="both"),
    ],
)
def test_what_is_wanted_is_said_as_the_subject_of_a_message(requires_python: str, request_text: str, text: str) -> None:
    """Messages quote both parts as they were written."""
    assert text == Wanted(requires_python, parse_request(request_text) if request_text else None).describe()
