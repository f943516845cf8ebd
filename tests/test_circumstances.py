"""What an installation depends on: each thing that changes gives another key, or none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest

from provision_backend.hooks.circumstances import installation_key
from provision_backend.interpreter import Interpreter


@pytest.fixture
def key(tmp_path: Path) -> Callable[..., Optional[str]]:
    """Return a function that gives the key of an installation, with what the caller changes about it."""
    python = tmp_path / "python"
    python.write_text("")
    home = tmp_path / "home"
    (tmp_path / "started" / "below").mkdir(parents=True)

    def key(*requirements: str, installer: str = "", folder: str = "started", **environ: str) -> Optional[str]:
        facts: Dict[str, str] = {"HOME": str(home), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), **environ}
        interpreter = Interpreter(str(python), "3.13.5", pip="25.0")
        return installation_key(interpreter, installer, requirements or ("a",), facts, str(tmp_path / folder))

    return key


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_same_installation_has_the_same_key(key: Any) -> None:
    """Thirty-two digits, whatever steers nothing."""
    assert key() == key(PATH="/other", TERM="dumb", PIP_BUILD_TRACKER="/tmp/x", VIRTUAL_ENV="/y")
    assert len(key()) == 32


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"PIP_INDEX_URL": "https://index.example/simple"}, id="an index"),
        pytest.param({"PIP_EXTRA_INDEX_URL": "https://index.example/simple"}, id="one more index"),
        pytest.param({"UV_INDEX": "name=https://index.example/simple"}, id="an index of uv"),
        pytest.param({"PIP_NO_BINARY": ":all:"}, id="an option of pip"),
        pytest.param({"UV_EXCLUDE_NEWER": "2026-01-01"}, id="an option of uv"),
        pytest.param({"PIP_PRE": "1"}, id="pre-releases"),
        pytest.param({"CFLAGS": "-O0"}, id="an option of the compiler"),
        pytest.param({"https_proxy": "http://127.0.0.1:1"}, id="a proxy"),
        pytest.param({"HOME": "/elsewhere"}, id="another home"),
    ],
)
def test_a_variable_that_steers_the_installer_is_part_of_it(key: Any, change: Dict[str, str]) -> None:
    """Set, or changed."""
    assert key(**change) not in (None, key())
    assert key(**change) != key(**{name: value + "2" for name, value in change.items()})


def test_requirements_are_part_of_it_in_their_order(key: Any) -> None:
    """An installer is given them in this order."""
    assert len({key("a"), key("b"), key("a>=1"), key("a", "b"), key("b", "a")}) == 5


@pytest.mark.parametrize("text", ["a @ file:///x.whl", "a@git+https://x.example/a", "./a", "../a", "/a", "-e.", "."])
def test_what_is_no_name_on_an_index_has_no_key(key: Any, text: str) -> None:
    """A local project may be edited, and a URL may lead to something else."""
    assert key("b", text) is None


def test_a_marker_may_hold_anything(key: Any) -> None:
    """Only the requirement itself is looked at."""
    assert key("a; python_version >= '3.12'") is not None


def test_the_interpreter_is_part_of_it(key: Any, tmp_path: Path) -> None:
    """Another file at its path is another interpreter, and where there is none nothing is known."""
    before = key()
    put(tmp_path / "python", "other")
    assert key() not in (None, before)
    (tmp_path / "python").unlink()
    assert key() is None


def test_the_installer_is_part_of_it(key: Any, tmp_path: Path) -> None:
    """Which, and the file itself."""
    uv = put(tmp_path / "uv")
    first = key(installer=str(uv), UV_NO_CONFIG="1")
    put(uv, "a new one")

    assert len({key(UV_NO_CONFIG="1"), first, key(installer=str(uv), UV_NO_CONFIG="1")}) == 3


@pytest.mark.parametrize("variable", ["PIP_FIND_LINKS", "UV_FIND_LINKS"])
@pytest.mark.parametrize("form", ["{}", "file://{}", "wheels"], ids=["a path", "a URL", "a relative path"])
def test_what_stands_in_a_folder_of_links_is_part_of_it(key: Any, tmp_path: Path, variable: str, form: str) -> None:
    """A wheel comes, is exchanged, or goes."""
    folder = tmp_path / "started" / "wheels"
    wheel = put(folder / "a-1-py3-none-any.whl")
    find: Dict[str, str] = {variable: form.format(folder)}
    seen = [key(**find)]
    put(folder / "b-1-py3-none-any.whl")
    seen.append(key(**find))
    os.utime(str(wheel), (1, 1))
    seen.append(key(**find))
    wheel.unlink()
    seen.append(key(**find))

    assert None not in seen
    assert len(set(seen)) == 4


def test_a_relative_folder_of_links_belongs_to_where_it_starts(key: Any, tmp_path: Path) -> None:
    """The same words mean another folder elsewhere."""
    put(tmp_path / "started" / "wheels" / "a.whl")
    put(tmp_path / "started" / "below" / "wheels" / "a.whl")

    assert key(PIP_FIND_LINKS="wheels") != key(PIP_FIND_LINKS="wheels", folder="started/below")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"PIP_INDEX_URL": "file:///srv/index"}, id="an index in a folder"),
        pytest.param({"UV_INDEX": "name=/srv/index"}, id="an index of uv in a folder"),
        pytest.param({"PIP_FIND_LINKS": "/nowhere"}, id="a folder of links that is not there"),
        pytest.param({"PIP_BUILD_CONSTRAINT": "/nowhere"}, id="constraints that are not there"),
    ],
)
def test_what_cannot_be_looked_at_has_no_key(key: Any, change: Dict[str, str]) -> None:
    """The installer says what is wrong, if anything is."""
    assert key(**change) is None


@pytest.mark.parametrize("variable", ["PIP_BUILD_CONSTRAINT", "UV_BUILD_CONSTRAINT"])
def test_what_a_file_of_constraints_says_is_part_of_it(key: Any, tmp_path: Path, variable: str) -> None:
    """Its words count; what leads to other files or projects has no key."""
    file = put(tmp_path / "started" / "constraints.txt", "a==1\n")
    named: Dict[str, str] = {variable: "constraints.txt"}
    first = key(**named)
    put(file, "a==2\n")
    second = key(**named)
    assert len({first, second, key(), None}) == 4
    for text in ("-c other.txt\n", "a @ file:///x\n", "./project\n"):
        put(file, text)
        assert key(**named) is None


@pytest.mark.parametrize("place", ["home/.config/pip/pip.conf", "home/.pip/pip.conf", "xdg/pip/pip.conf", "named"])
def test_what_pips_configuration_says_is_part_of_it(key: Any, tmp_path: Path, place: str) -> None:
    """Wherever it stands; where it leads to files, nothing is known."""
    more: Dict[str, str] = {"PIP_CONFIG_FILE": str(tmp_path / "named")} if place == "named" else {}
    seen = [key(**more)]
    for text in ("[global]\nindex-url = https://a.example\n", "[global]\nindex-url = https://b.example\n"):
        put(tmp_path / place, text)
        seen.append(key(**more))
    assert len({*seen, None}) == 4
    put(tmp_path / place, "[global]\nfind-links = /srv/wheels\n")
    assert key(**more) is None


@pytest.mark.parametrize("place", ["started/uv.toml", "uv.toml", "home/.config/uv/uv.toml", "xdg/uv/uv.toml"])
def test_what_uvs_configuration_says_is_part_of_it(key: Any, tmp_path: Path, place: str) -> None:
    """Searched by uv are the folder that it is started in, and all above."""
    uv = str(put(tmp_path / "uv"))
    seen = [key(installer=uv)]
    for text in ("exclude-newer = '2026-01-01'\n", "exclude-newer = '2026-02-01'\n"):
        put(tmp_path / place, text)
        seen.append(key(installer=uv))
    assert len({*seen, None}) == 4
    assert key(installer=uv, UV_NO_CONFIG="1") is not None


def test_only_uvs_part_of_a_pyproject_counts(key: Any, tmp_path: Path) -> None:
    """The rest may change without an effect on the installation."""
    uv, file = str(put(tmp_path / "uv")), tmp_path / "started" / "pyproject.toml"
    put(file, "[project]\nname = 'a'\n[tool.uv]\nexclude-newer = '2026-01-01'\n[tool.x]\ny = 1\n")
    first = key(installer=uv)
    put(file, "[project]\nname = 'b'\npath = 1\n[tool.uv]\nexclude-newer = '2026-01-01'\n[tool.x]\ny = 2\n")
    assert key(installer=uv) == first
    put(file, "[tool.uv]\nexclude-newer = '2026-02-01'\n")
    assert key(installer=uv) not in (first, None)
    put(file, "[tool.uv.sources]\na = { path = '../a' }\n")
    assert key(installer=uv) is None
