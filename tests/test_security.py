"""Claims of docs/security.md that belong to no single module."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision_backend.errors import ProjectError
from provision_backend.project.pyproject import read_project
from provision_backend.settings import OPTIONS

PROJECTS = ("python", "installer", "toolchain", "glibc")
"""Settings that are keys of a project's table too; whoever builds has the last word on them."""


@pytest.mark.parametrize("key", [option.key for option in OPTIONS if option.key not in PROJECTS])
def test_a_project_cannot_decide_for_whoever_builds(key: str, tmp_path: Path) -> None:
    """Where interpreters come from, where they are kept and what is allowed is no matter of a project."""
    text = f"""
[project]
name = "toy"
version = "1.0"
requires-python = ">=3.8"

[tool.provision-backend]
build-backend = "toy"
requires = []
{key} = "anything"
"""
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(ProjectError, match=rf"^pyproject.toml: unknown key '{key}' in \[tool.provision-backend\]"):
        read_project(tmp_path)
