"""requires-python as a marker: the same set of Pythons, and requirements that get the marker and lose it again."""

from __future__ import annotations

from typing import List, Optional

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from provision_backend.project.init_checks import add_marker, drop_marker, translate_specifiers
from provision_backend.versions import satisfies

MARKER = "python_version >= '3.12'"

TRANSLATED = {
    ">=3.12": "python_version >= '3.12'",
    ">= 3.12": "python_version >= '3.12'",
    ">=3.12.0": "python_version >= '3.12'",
    ">=3": "python_version >= '3'",
    ">=3.12.4": "python_full_version >= '3.12.4'",
    ">=3.9,<3.14": "python_version >= '3.9' and python_version < '3.14'",
    ">=3.9, <4.0": "python_version >= '3.9' and python_version < '4.0'",
    "<3.14,>=3.9,": "python_version < '3.14' and python_version >= '3.9'",
    "<3.13.2": "python_full_version < '3.13.2'",
    "<=3.13": "python_full_version <= '3.13'",
    ">3.12": "python_full_version > '3.12'",
    "~=3.11": "python_version ~= '3.11'",
    "~=3.11.0": "python_full_version ~= '3.11.0'",
    "!=3.12.*": "python_version != '3.12'",
    "==3.13.*": "python_version == '3.13'",
    "==3.*": "python_full_version == '3.*'",
    "!=3.12.3.*": "python_full_version != '3.12.3.*'",
    "==3.13": "python_full_version == '3.13'",
    "!=3.9.7": "python_full_version != '3.9.7'",
    ">=3.8,!=3.9.*,!=3.10.1,<3.15": (
        "python_version >= '3.8' and python_version != '3.9' and python_full_version != '3.10.1' "
        "and python_version < '3.15'"
    ),
    ">=3.14.0rc1": "python_full_version >= '3.14.0rc1'",
    "<3.14.0a1": "python_full_version < '3.14.0a1'",
}


def _versions() -> List[str]:
    finals = [f"{major}.{minor}.{micro}" for major, minors in ((2, (6, 7)), (3, range(17)), (4, (0, 1)))
              for minor in minors for micro in (0, 1, 2, 3, 4, 7, 12)]  # fmt: skip
    return finals + [f"{version}{suffix}" for version in finals for suffix in ("a1", "b3", "rc1", "rc2")]


@pytest.mark.parametrize(("specifiers", "marker"), TRANSLATED.items(), ids=list(TRANSLATED))
def test_specifiers_become_a_marker(specifiers: str, marker: str) -> None:
    """python_version where two numbers decide, python_full_version where the third one counts."""
    assert translate_specifiers(specifiers) == marker


@pytest.mark.parametrize("specifiers", list(TRANSLATED))
def test_the_marker_is_true_for_the_same_pythons(specifiers: str) -> None:
    """For every release; and for each pre-release too, but those of the very version that >= or ~= begins with."""
    marker = Marker(TRANSLATED[specifiers])
    lowest = [Version(clause.version) for clause in SpecifierSet(specifiers) if clause.operator in (">=", "~=")]
    for version in map(Version, _versions()):
        environment = {"python_full_version": str(version), "python_version": f"{version.major}.{version.minor}"}
        wanted, found = satisfies(specifiers, str(version)), marker.evaluate(environment)
        early = version.is_prerelease and Version(version.base_version) in lowest
        # Never the other way round: then a requirement would be missing.
        assert found == wanted or (found and early), version


@pytest.mark.parametrize("specifiers", ["", " ", ",", "===3.12", "===3.12.*", ">=1!3.12", "3.12", "^3.12"])
def test_what_no_marker_says_is_not_translated(specifiers: str) -> None:
    """Arbitrary equality compares text, an epoch is nothing that a Python has, and nothing says nothing."""
    assert translate_specifiers(specifiers) is None


ADDED = {
    "hatchling": "hatchling; python_version >= '3.12'",
    "setuptools-scm[toml]>=8,<9": "setuptools-scm[toml]>=8,<9; python_version >= '3.12'",
    "wheel (>=0.40)": "wheel (>=0.40); python_version >= '3.12'",
    "wheel ": "wheel ; python_version >= '3.12'",
    "tomli; python_version < '3.11'": "tomli; (python_version < '3.11') and (python_version >= '3.12')",
    "tomli;python_version<'3.11'": "tomli;(python_version<'3.11') and (python_version >= '3.12')",
    "a >=1 ; os_name == 'nt' or python_version < '3'": (
        "a >=1 ; (os_name == 'nt' or python_version < '3') and (python_version >= '3.12')"
    ),
    "b ; (os_name == 'nt')": "b ; ((os_name == 'nt')) and (python_version >= '3.12')",
    "a @ https://example.org/a.whl": "a @ https://example.org/a.whl ; python_version >= '3.12'",
    "a@file:///x;y.whl": "a@file:///x;y.whl ; python_version >= '3.12'",
    "a[b] @ https://example.org/a;x.whl ; os_name == 'nt'": (
        "a[b] @ https://example.org/a;x.whl ; (os_name == 'nt') and (python_version >= '3.12')"
    ),
}


@pytest.mark.parametrize(("before", "after"), ADDED.items(), ids=list(ADDED))
def test_a_marker_is_added_and_dropped(before: str, after: str) -> None:
    """Nothing else of the requirement changes, its own marker keeps its meaning, and the way back is exact."""
    assert add_marker(before, MARKER) == after
    assert drop_marker(after, MARKER) == before
    old, new = Requirement(before), Requirement(after)
    assert (old.name, old.extras, old.specifier, old.url) == (new.name, new.extras, new.specifier, new.url)
    for name in ("nt", "posix"):
        for version in ("3.9", "3.12"):
            environment = {"os_name": name, "python_version": version}
            mine: Optional[Marker] = old.marker
            own = mine is None or mine.evaluate(environment)
            assert new.marker is not None
            assert new.marker.evaluate(environment) == (own and version == "3.12")


@pytest.mark.parametrize(
    "requirement",
    ["hatchling", "hatchling; python_version >= '3.11'", "a; (os_name == 'nt') and (python_version >= '3.11')",
     "a; os_name == 'nt' and (python_version >= '3.12')"],
)  # fmt: skip
def test_another_marker_is_not_dropped(requirement: str) -> None:
    """What was not added in this form was written by somebody."""
    assert drop_marker(requirement, MARKER) is None
