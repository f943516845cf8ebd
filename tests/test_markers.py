"""Plain markers have the answers of packaging, and need no packaging; all others are left to it."""

from __future__ import annotations

import itertools
import sys
from typing import Dict, List

import pytest
from packaging.markers import Marker

from provision_backend.markers import evaluate_marker

_OPERATORS = (">=", "<=", "==", "!=", "~=", "<", ">")


def environment(version: str, extra: str = "") -> Dict[str, str]:
    minor = ".".join(version.split(".")[:2])
    return {
        "python_version": minor,
        "python_full_version": version,
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": extra,
    }


ENVIRONMENTS: List[Dict[str, str]] = [
    environment("3.8.18"),
    environment("3.12.0"),
    environment("3.12.0rc1"),
    environment("3.13.5", "provision"),
]


@pytest.mark.parametrize("name", ["python_version", "python_full_version"])
def test_versions_are_compared_as_by_packaging(name: str) -> None:
    """Each operator with each of some versions, for final releases and one that is none."""
    answered = 0
    for operator, value, given in itertools.product(
        _OPERATORS, ["3", "3.12", "3.12.0", "3.8.18", "3.13.5", "3.1"], ENVIRONMENTS
    ):
        text = f"{name} {operator} '{value}'"
        answer = evaluate_marker(text, given)
        if answer is None:
            assert operator == "~=", text
            continue
        answered += 1
        assert answer == Marker(text).evaluate(dict(given)), (text, given)

    assert answered > 100


@pytest.mark.parametrize(
    "text",
    [
        "sys_platform == 'linux'",
        'sys_platform != "win32"',
        "os_name=='nt'",
        "extra == 'provision'",
        "extra == 'Provision'",
        "extra != 'other'",
        "(python_version >= '3.9') and extra == \"provision\"",
        "python_version < '3.13' and sys_platform == 'linux' and extra == ''",
        "  python_full_version<'3.13'  ",
        "python_version == '3.*'",
    ],
)
def test_plain_markers_have_the_answers_of_packaging(text: str) -> None:
    """Whatever the quotes, the space, and the brackets around one comparison."""
    for given in ENVIRONMENTS:
        assert evaluate_marker(text, given) == Marker(text).evaluate(dict(given))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " and ",
        "python_version",
        "python_version >= 3.9",
        "'3.9' <= python_version",
        "python_version >= '3.9' or os_name == 'nt'",
        "(python_version >= '3.9' and os_name == 'posix')",
        "(python_version >= '3.9'",
        "python_version >= '3.9')",
        "python_version in '3.9 3.10'",
        "python_version >= '3.9rc1'",
        "python_version === '3.9'",
        "python_version >= 'three'",
        "platform_machine == 'x86_64'",
        "sys_platform >= 'linux'",
        "sys_platform == 'a and b'",
        "colour == 'red'",
    ],
)
def test_what_is_not_plain_is_left_to_packaging(text: str) -> None:
    """Packaging then has the answer, or the error."""
    assert evaluate_marker(text, ENVIRONMENTS[0]) is None


def test_no_packaging_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain marker is answered where there is none."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "packaging"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "packaging", None)

    assert evaluate_marker("python_version >= '3.12' and extra == 'x'", environment("3.12.1", "x")) is True
