"""Pip's configuration files: which of them counts is compared with the pip that runs beside the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Optional

import pytest

from provision_backend.hooks import frontend_options
from provision_backend.hooks.frontend_options import PIP_OPTIONS, pip_command
from provision_backend.hooks.installer_files import configured_variables, read_pip_files


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


@pytest.mark.parametrize(("command", "expected"), [("wheel", "mine"), ("install", None), ("download", None)])
def test_the_section_of_the_running_command_counts(tmp_path: Path, command: str, expected: Optional[str]) -> None:
    """The frontend's pip obeys it in its build environments; the inner pip installs, and reads another section."""
    path = tmp_path / "pip.conf"
    path.write_text(
        "[wheel]\nfind_links = mine\nno-index = yes\nwheel-dir = x\nconstraint = y\nretries = 1\n"
        "[global]\nfind-links = all\nretries = 1\n[install]\nno-index = no\n"
    )
    found = configured_variables({"PIP_CONFIG_FILE": str(path), "PIP_NO_INDEX": ""}, command, PIP_OPTIONS)

    # What the inner pip has from its own sections needs no variable, nor does what is about other things than packages.
    assert found.get("PIP_FIND_LINKS") == expected
    assert found.get("PIP_NO_INDEX") == ("yes" if command == "wheel" else None)
    assert not {"PIP_WHEEL_DIR", "PIP_CONSTRAINT", "PIP_RETRIES"} & set(found)


def test_a_variable_comes_before_the_section_of_a_command(tmp_path: Path) -> None:
    """As it does for pip."""
    path = tmp_path / "pip.conf"
    path.write_text("[wheel]\nindex-url = mine\n")
    environ = {"PIP_CONFIG_FILE": str(path), "PIP_INDEX_URL": "given"}

    assert "PIP_INDEX_URL" not in configured_variables(environ, "wheel", PIP_OPTIONS)


@pytest.mark.parametrize(
    ("frontend", "words", "expected"),
    [
        ("pip", "python -m pip --no-input wheel install", "wheel"),
        ("pip", "pip lock", "lock"),
        ("pip", "", "install"),
        ("uv", "uv wheel", "install"),
    ],
)
def test_the_command_of_the_frontends_pip(
    monkeypatch: pytest.MonkeyPatch, frontend: str, words: str, expected: str
) -> None:
    """It is on the frontend's command line; build and uv have their installer install."""
    monkeypatch.setattr(frontend_options, "frontend_name", lambda: frontend)
    monkeypatch.setattr(frontend_options, "frontend_command", words.split)

    assert pip_command() == expected
