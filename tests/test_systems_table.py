"""The table of systems is what tests have recorded, and no page promises more than it says."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Dict

import pytest
from compatibility import page as pages
from support.systems_table import RESULTS, STEPS, SYSTEMS, cells_of, recorded, summary, table

from provision_backend.host.targets import split_level
from provision_backend.settings import load_toml

LINUX, WINDOWS = "s390x-unknown-linux-gnu", "x86_64-pc-windows-msvc"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that a run with results writes to."""
    monkeypatch.setenv(RESULTS, str(tmp_path))
    return tmp_path


def written() -> Dict[str, str]:
    """Return what the committed page says."""
    return pages.previous(pages.PAGE.read_text(encoding="utf-8"))


def test_what_was_run_is_recorded_for_the_page(results: Path) -> None:
    """Each step is a file, with how it was tried."""
    with recorded(LINUX, "install", "frontend-uv build", how="qemu"):
        pass

    found = {path.name: path.read_text() for path in results.iterdir()}
    assert found == {f"system.{LINUX}.install.json": '"qemu"', f"system.{LINUX}.frontend-uv build.json": '"qemu"'}


def test_a_failure_is_recorded_as_one(results: Path) -> None:
    """The page then says FAILED, until it is tried again."""
    with pytest.raises(RuntimeError), recorded(LINUX, "install", how="run"):
        raise RuntimeError

    assert (results / f"system.{LINUX}.install.json").read_text() == '"FAILED"'


def test_what_is_skipped_is_not_recorded(results: Path) -> None:
    """The page keeps what an earlier run has seen."""
    with pytest.raises(pytest.skip.Exception), recorded(LINUX, "install", how="run"):
        pytest.skip("there is no such machine")

    assert list(results.iterdir()) == []


def test_a_usual_run_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a run that writes the page names a folder."""
    monkeypatch.delenv(RESULTS, raising=False)
    monkeypatch.chdir(tmp_path)
    with recorded(LINUX, "install", how="run"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_the_table_is_read_back_as_what_it_was_made_of() -> None:
    """So a part of a run replaces its own cells only."""
    steps = [step for step in STEPS if step != "frontend"]
    cells = {f"system.{LINUX}.{step}": "qemu" for step in steps}
    cells.update({f"system.{WINDOWS}.install": "wine", f"system.{WINDOWS}.pure": "FAILED"})
    cells.update({f"system.{WINDOWS}.frontend-{name}": "wine" for name in ("build", "uv build")})
    cells[f"system.{WINDOWS}.frontend-pip"] = "FAILED"

    assert (
        f"| Windows, x86-64 | `{WINDOWS}` | never | wine | FAILED | never | FAILED: pip; wine: build, uv build |"
        in (table(cells))
    )
    assert cells_of(table(cells)) == cells


def test_every_target_of_the_catalog_is_a_row() -> None:
    """A system that was never tried is in the table, and not left out of it."""
    data = pages.ROOT / "provision_backend" / "catalog" / "data"

    assert {split_level(path.stem)[0] for path in data.glob("*.txt")} == set(SYSTEMS)


def test_the_page_is_made_of_what_it_says() -> None:
    """Nothing in it was written by hand."""
    assert pages.page(written()) == pages.PAGE.read_text(encoding="utf-8")


def test_nothing_in_the_page_has_failed() -> None:
    """A run that fails is no result to publish."""
    assert [name for name, result in written().items() if result == "FAILED"] == []


@pytest.mark.parametrize("path", pages.SUMMARIES, ids=lambda path: str(path.name))
def test_a_page_says_of_systems_what_the_table_says(path: Path) -> None:
    """The sentence is that of the table; a run that changes the table writes it, too."""
    assert fill(summary(written()), 120) in path.read_text(encoding="utf-8")


def test_a_system_where_nothing_was_built_is_named_as_such() -> None:
    """What was only read, or has failed, is no support."""
    cells = {f"system.{LINUX}.pure": "qemu", f"system.{WINDOWS}.pure": "FAILED", f"system.{WINDOWS}.detect": "parsed"}
    said = summary(cells)

    assert said.startswith("Provisioned builds ran under qemu on Linux s390x glibc; never on ")
    assert "Windows x86-64" in said.partition("never on ")[2]


@pytest.mark.parametrize("name", ["Linux", "Windows", "macOS"])
def test_the_metadata_claims_only_systems_on_which_something_was_built(name: str) -> None:
    """A classifier is a promise: people search the package index by it."""
    project = load_toml((pages.ROOT / "pyproject.toml").read_bytes().decode())["project"]
    labels = {"Linux": "POSIX :: Linux", "Windows": "Microsoft", "macOS": "MacOS"}
    claimed = any(f"Operating System :: {labels[name]}" in text for text in project["classifiers"])
    cells = [written().get(f"system.{triple}.pure") for triple, label in SYSTEMS.items() if label.startswith(name)]
    built = any(cell in ("run", "qemu", "wine") for cell in cells)

    assert built or not claimed
