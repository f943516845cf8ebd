"""Pip's configuration files: which of them counts is compared with the pip that runs beside the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from provision_backend.hooks.installer_files import read_pip_files


def test_of_the_machines_files_the_last_one_counts(tmp_path: Path) -> None:
    """Unlike the XDG Base Directory Specification, by which the first one would; /etc/pip.conf comes after them."""
    for name in ("first", "last"):
        (tmp_path / name / "pip").mkdir(parents=True)
        (tmp_path / name / "pip" / "pip.conf").write_text(f"[global]\nbuild-constraint = {name}.txt\n")
    folders = f"relative:{tmp_path}/first:{tmp_path}/last"

    found = read_pip_files({"XDG_CONFIG_DIRS": folders})

    assert found["build-constraint"] == ("last.txt", f"{tmp_path}/last/pip/pip.conf")
    environ = {**os.environ, "XDG_CONFIG_DIRS": folders, "HOME": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "config", "debug"], env=environ, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    read = re.findall(r"^  (/.*), exists: ", shown.partition("site:")[0], re.MULTILINE)
    assert [path for path in read if path.startswith(str(tmp_path))] == [
        f"{tmp_path}/first/pip/pip.conf",
        f"{tmp_path}/last/pip/pip.conf",
    ]
    assert read[-1] == "/etc/pip.conf"


def test_a_relative_folder_is_not_one_of_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty item of the list would name the folder in which the hook runs, whose files are the project's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[global]\nbuild-constraint = planted.txt\n")

    assert "build-constraint" not in read_pip_files({"XDG_CONFIG_DIRS": ":/nowhere"})
