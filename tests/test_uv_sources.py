"""`uv_project`: requirements that uv takes from elsewhere than an index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision_backend.hooks import frontend_options
from provision_backend.hooks.frontend_options import original_tree
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


class TestOriginalTree:
    """`original_tree`: uv makes a wheel in its cache, from the sdist that it has made."""

    @staticmethod
    def call(
        monkeypatch: pytest.MonkeyPatch, folder: Path, command: str, text: str = "[project]\nname = 'mine'\n"
    ) -> Path:
        """Have a ``uv build`` that runs in the folder build an sdist of this ``pyproject.toml``."""
        unpacked = folder / "cache" / "sdists-v11" / ".tmpx" / "mine-1"
        TestUvProject.write(unpacked, text)
        monkeypatch.setattr(frontend_options, "frontend_name", lambda: "uv")
        monkeypatch.setattr(frontend_options, "frontend_command", command.split)
        monkeypatch.setattr(frontend_options, "frontend_folder", lambda _: str(folder))
        found = original_tree(unpacked)
        return Path("(the sdist)") if found == unpacked else Path(os.path.relpath(str(found), str(folder)))

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("uv build", "(the sdist)"),
            ("uv build --python other packages/mine", "packages/mine"),
            ("uv build packages/mine/ -o other", "packages/mine"),
            ("uv --project=packages/mine build", "packages/mine"),
            ("uv build --package mine packages", "packages/mine"),
            ("uv build mine-1.tar.gz", "(the sdist)"),
            ("uv pip install packages/mine", "(the sdist)"),
        ],
    )
    def test_it_has_the_name_of_the_project(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, expected: str
    ) -> None:
        """The words of a command line are not all folders, and not every folder is the argument."""
        TestUvProject.write(tmp_path / "other", "[project]\nname = 'other'\n")
        TestUvProject.write(tmp_path / "packages", "[tool.uv.workspace]\nmembers = ['*']\n")
        TestUvProject.write(tmp_path / "packages" / "mine", "[project]\nname = 'mine'\n")

        assert self.call(monkeypatch, tmp_path, command) == Path(expected)

    @pytest.mark.parametrize(("text", "expected"), [("[tool.x]\na = 1\n", "."), ("[tool.x]\na = 2\n", "(the sdist)")])
    def test_without_a_name_it_has_the_same_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: str
    ) -> None:
        """Setuptools takes the name from another file, too; the folder that uv runs in is the default."""
        TestUvProject.write(tmp_path, "[tool.x]\na = 1\n")

        assert self.call(monkeypatch, tmp_path, "uv build", text) == Path(expected)

    def test_it_is_looked_for_where_uv_has_unpacked_only(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A tree that the user has named is the original one."""
        self.call(monkeypatch, tmp_path, "uv build here")
        TestUvProject.write(tmp_path / "here", "[project]\nname = 'mine'\n")
        TestUvProject.write(tmp_path / "copy", "[project]\nname = 'mine'\n")

        assert original_tree(tmp_path / "copy") == tmp_path / "copy"
