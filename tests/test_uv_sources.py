"""What uv is configured with: requirements from elsewhere than an index, and which keys hold for a build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from provision_backend.hooks import frontend_options, uv_settings
from provision_backend.hooks.frontend_options import original_tree
from provision_backend.hooks.installer_files import uv_project
from provision_backend.hooks.uv_settings import build_constraints, extra_requirements, inner_settings, read_uv_settings
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


class TestReadUvSettings:
    """`read_uv_settings`: what uv's configuration files say together."""

    @staticmethod
    def read(tmp_path: Path, *options: str, **variables: str) -> Dict[str, Any]:
        """Return what they say to a uv that runs in the folder of a project."""
        (tmp_path / "project").mkdir(exist_ok=True)
        environ = {"XDG_CONFIG_HOME": f"{tmp_path}/user", "XDG_CONFIG_DIRS": f"{tmp_path}/machine", **variables}
        return read_uv_settings(environ, str(tmp_path / "project"), options)

    @staticmethod
    def write(path: Path, text: str) -> None:
        """Write a file, and the folder that it is in."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_files_are_merged(self, tmp_path: Path) -> None:
        """The project's comes first, then the user's and the machine's; paths start at the folder of their file."""
        self.write(
            tmp_path / "project" / "pyproject.toml", "[tool.uv]\nfind-links = ['a', 'https://b']\noffline = true\n"
        )
        self.write(tmp_path / "user/uv/uv.toml", "find-links = ['/c']\noffline = false\n[pip]\nindex-url = 'd'\n")
        self.write(tmp_path / "machine/uv/uv.toml", "pip = {index-url = 'e', no-index = true}\nindex = [{url = 'f'}]\n")

        assert self.read(tmp_path) == {
            "find-links": [f"{tmp_path}/project/a", "https://b", "/c"],
            "offline": True,
            "pip": {"index-url": f"{tmp_path}/user/uv/d", "no-index": True},
            "index": [{"url": f"{tmp_path}/machine/uv/f"}],
        }

    @pytest.mark.parametrize(
        ("options", "variables", "expected"),
        [
            ([], {}, "near"),
            (["--project=../other"], {}, "other"),
            (["--project=../member"], {}, "workspace"),
            (["--config-file=../file.toml", "--no-config"], {}, "file"),
            ([], {"UV_CONFIG_FILE": "../file.toml"}, "file"),
            (["--no-config"], {}, None),
            ([], {"UV_NO_CONFIG": "1"}, None),
            ([], {"UV_NO_CONFIG": "false"}, "near"),
        ],
    )
    def test_which_file_is_read(
        self, tmp_path: Path, options: List[str], variables: Dict[str, str], expected: Optional[str]
    ) -> None:
        """A uv.toml takes the place of the table beside it; a member of a workspace has the workspace's."""
        self.write(tmp_path / "project" / "pyproject.toml", "[tool.uv]\nx = 'far'\n")
        self.write(tmp_path / "project" / "uv.toml", "x = 'near'\n")
        self.write(tmp_path / "other" / "pyproject.toml", "[tool.uv]\nx = 'other'\n")
        self.write(tmp_path / "member" / "pyproject.toml", "[tool.uv]\nx = 'member'\n")
        self.write(tmp_path / "pyproject.toml", "[tool.uv]\nx = 'workspace'\nworkspace = {members = ['member']}\n")
        self.write(tmp_path / "file.toml", "x = 'file'\n")

        assert self.read(tmp_path, *options, **variables).get("x") == expected

    def test_a_variable_leaves_out_the_files_of_the_machine(self, tmp_path: Path) -> None:
        """Those of the user and the project count all the same."""
        self.write(tmp_path / "user/uv/uv.toml", "a = 1\n")
        self.write(tmp_path / "machine/uv/uv.toml", "b = 1\n")

        assert self.read(tmp_path, UV_NO_SYSTEM_CONFIG="1") == {"a": 1}
        assert self.read(tmp_path, UV_NO_SYSTEM_CONFIG="0") == {"a": 1, "b": 1}

    @pytest.mark.parametrize(("command", "expected"), [("uv tool install x", {"a": 1}), ("uv sync", {"a": 1, "b": 1})])
    def test_uv_tool_reads_no_file_of_a_project(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, expected: Dict[str, int]
    ) -> None:
        """It may be called in any folder, and that is not what it installs. uvx runs it, too."""
        monkeypatch.setattr(frontend_options, "frontend_command", command.split)
        self.write(tmp_path / "user/uv/uv.toml", "a = 1\n")
        self.write(tmp_path / "project" / "uv.toml", "b = 1\n")

        assert self.read(tmp_path) == expected

    @pytest.mark.parametrize(
        "text", ["no TOML", "[tool]\nuv = 5\n", "[tool.uv]\nindex = 5\n", "[tool.uv]\nfind-links = [1]\n"]
    )
    def test_what_is_wrong_says_nothing(self, tmp_path: Path, text: str) -> None:
        """The uv that builds has reported it already."""
        self.write(tmp_path / "project" / "pyproject.toml", text)

        assert self.read(tmp_path) == {}


class TestInnerSettings:
    """`inner_settings` and `build_constraints`: what of them the inner uv gets."""

    def test_keys_of_other_environments_are_left_out(self) -> None:
        """What remains is a uv.toml, in which uv refuses what is about projects."""
        settings = {
            "constraint-dependencies": ["a<2"],
            "find-links": ["/a"],
            "index": [{"url": "https://b", "default": True}],
            "pip": {"no-index": True, "target": "/c"},
            "sources": {},
        }
        expected = {"find-links": ["/a"], "index": [{"url": "https://b", "default": True}]}

        assert load_toml(inner_settings(settings, "build")) == expected
        # Its own options are the table's.
        assert load_toml(inner_settings(settings, "pip")) == {**expected, "pip": {"no-index": True}}
        assert load_toml(inner_settings({"override-dependencies": []}, "sync")) == {}
        # uv tool has none of a project, and the inner uv runs in a folder that may be one.
        assert load_toml(inner_settings({"no-index": True}, "tool")) == {"no-index": True}
        assert inner_settings({}, "tool") == "# nothing\n"

    def test_files_that_do_no_harm_are_left_to_the_inner_uv(self) -> None:
        """It finds them where uv has found them, and may know keys that we do not."""
        assert inner_settings({"find-links": ["/a"], "sources": {}, "build-constraint-dependencies": []}, "build") == ""

    def test_constraints_of_builds_may_have_hashes(self) -> None:
        """The inner uv reads them from a file of constraints."""
        entries = ["a<2", {"requirement": "b==1", "hashes": ["sha256:1", "sha256:2"]}]

        assert build_constraints({"build-constraint-dependencies": entries}) == (
            "a<2\nb==1 --hash=sha256:1 --hash=sha256:2\n"
        )
        assert build_constraints({}) == ""


@pytest.mark.parametrize(
    ("frontend", "name", "expected"),
    [
        ("uv", "My.Project", ["a<2", "b; python_version > '3'"]),
        ("uv", "other", []),
        ("uv", "", []),
        ("", "my-project", []),
    ],
)
def test_extra_requirements(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frontend: str, name: str, expected: List[str]
) -> None:
    """``extra-build-dependencies`` is by name of the project, in the configuration of the uv that builds."""
    monkeypatch.setattr(uv_settings, "frontend_name", lambda: frontend)
    monkeypatch.setattr(uv_settings, "frontend_folder", lambda _: str(tmp_path))
    TestUvProject.write(
        tmp_path,
        "[tool.uv.extra-build-dependencies]\n"
        "my_project = ['a<2', { requirement = \"b; python_version > '3'\", match-runtime = true }]\n",
    )

    assert extra_requirements(name, tmp_path / "elsewhere") == expected
