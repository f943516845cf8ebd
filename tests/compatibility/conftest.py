"""Fixtures of the compatibility suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from .workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, own_wheel: Path, mirror: Path) -> Workshop:
    """Return what all cells share; worker processes of one test run have the same folder."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    folder = shared / "workshop"
    folder.mkdir(exist_ok=True)
    return Workshop(folder, tmp_path_factory.mktemp("private"), own_wheel, mirror)
