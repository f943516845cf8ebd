"""`uv_project`: requirements that uv takes from elsewhere than an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision_backend.hooks.installer_files import uv_project
from provision_backend.settings import load_toml


class TestUvProject:
    """`uv_project`: requirements that uv takes from elsewhere."""

    @staticmethod
    def write(folder: Path, text: str) -> None:
        """Write a project's file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")

    @pytest.mark.parametrize(
        "text", ["", "[tool.uv.sources]\nother = { path = 'other' }\n", "[tool]\nuv = 5\n", "no TOML"]
    )
    def test_without_an_entry_there_is_none(self, tmp_path: Path, text: str) -> None:
        """An entry for another name has no say."""
        self.write(tmp_path, text)

        assert uv_project(tmp_path, ["plugin>=1"]) == ""

    def test_a_member_of_a_workspace(self, tmp_path: Path) -> None:
        """Its own entries come first; paths are absolute, each from the folder of its file."""
        self.write(
            tmp_path,
            "[tool.uv.workspace]\nmembers = ['packages/*']\n"
            "[tool.uv.sources]\nMy_Plugin = { workspace = true }\nother = { path = 'vendor' }\n"
            "named = { index = 'ours' }\n"
            "[[tool.uv.index]]\nname = 'ours'\nurl = 'https://index.example/\"'\nexplicit = true\n",
        )
        self.write(tmp_path / "packages" / "plugin", "[project]\nname = 'my.plugin'\n")
        mine = tmp_path / "packages" / "mine"
        self.write(
            mine,
            "[tool.uv.sources]\nother = [{ path = 'near', marker = \"os_name == 'posix'\" }]\n"
            "far = { git = 'https://git.example/x', rev = '1' }\n",
        )
        wanted = ["my-plugin>=1", "other[x]; python_version > '3'", "named", "far", "plain"]
        found = load_toml(uv_project(mine, wanted))

        assert found["project"]["dependencies"] == wanted
        assert found["tool"]["uv"] == {
            "sources": {
                "My_Plugin": [{"path": f"{tmp_path}/packages/plugin"}],
                "other": [{"path": f"{mine}/near", "marker": "os_name == 'posix'"}],
                "named": [{"index": "ours"}],
                "far": [{"git": "https://git.example/x", "rev": "1"}],
            },
            "index": [{"name": "ours", "url": 'https://index.example/"', "explicit": True}],
        }

    def test_a_project_beside_a_workspace_is_no_member(self, tmp_path: Path) -> None:
        """The entries of the workspace are not its own."""
        self.write(tmp_path, "[tool.uv.workspace]\nmembers = ['a']\n[tool.uv.sources]\nplugin = { path = 'x' }\n")
        self.write(tmp_path / "b", "")

        assert uv_project(tmp_path / "b", ["plugin"]) == ""
