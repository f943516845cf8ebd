"""What a project may write, both ways of writing requirements, and the exact message for each broken project."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import List, Set, Tuple

import pytest
from packaging.requirements import InvalidRequirement, Requirement

from provision_backend.errors import ProjectError, UsageError
from provision_backend.project.pyproject import Project, read_project
from provision_backend.versions import parse_request

PROJECTS = Path(__file__).parent / "data" / "projects"

TABLE = '[tool.provision-backend]\nbuild-backend = "hatchling.build"\n'

# One a folder of tests/data/projects; {root} stands for the path of the folder, {reason} for what packaging says.
MESSAGES = {
    "backend-path-is-a-string": (
        "pyproject.toml: tool.provision-backend.backend-path must be an array of strings, found a string"
    ),
    "backend-path-missing": (
        "pyproject.toml: tool.provision-backend.backend-path names 'backend', which is not a folder"
    ),
    "backend-path-outside": (
        "pyproject.toml: tool.provision-backend.backend-path must name folders inside the project, found '..'"
    ),
    "build-backend-is-an-array": (
        "pyproject.toml: tool.provision-backend.build-backend must be a string, found an array"
    ),
    "build-backend-is-ourselves": (
        "pyproject.toml: tool.provision-backend.build-backend names provision_backend itself\n"
        '  name the backend that builds the project, for example "hatchling.build"'
    ),
    "build-backend-malformed": (
        "pyproject.toml: tool.provision-backend.build-backend must be 'module' or 'module:object', "
        "found 'hatchling-build'"
    ),
    "build-system-is-an-integer": "pyproject.toml: build-system must be a table, found an integer",
    "build-system-requires-is-a-string": (
        "pyproject.toml: build-system.requires must be an array of strings, found a string"
    ),
    "byte-order-mark": (
        "pyproject.toml is not valid TOML: it begins with a byte order mark; save it as UTF-8 without one"
    ),
    "dynamic-is-a-string": "pyproject.toml: project.dynamic must be an array of strings, found a string",
    "installer-is-a-table": "pyproject.toml: tool.provision-backend.installer must be a string, found a table",
    "installer-unknown": "pyproject.toml: tool.provision-backend.installer must be one of pip, uv, found 'conda'",
    "toolchain-unknown": "pyproject.toml: tool.provision-backend.toolchain must be one of host, zig, found 'gcc'",
    "glibc-is-no-version": (
        "pyproject.toml: tool.provision-backend.glibc must be a version of glibc such as 2.17, found 'manylinux_2_17'"
    ),
    "no-build-backend": (
        "pyproject.toml: tool.provision-backend.build-backend is missing\n"
        '  name the real backend, for example build-backend = "hatchling.build"'
    ),
    "no-pyproject": "there is no pyproject.toml in {root!r}",
    "no-table": (
        "pyproject.toml: [tool.provision-backend] is missing\n"
        "  name the real backend there: build-backend and requires, as in [build-system]"
    ),
    "no-table-of-that-name": (
        "pyproject.toml: [tool.provision-backend] is missing\n"
        "  did you mean [tool.provision_backend]? Rename it to [tool.provision-backend]"
    ),
    "not-toml": (
        "pyproject.toml is not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 13)"
    ),
    "not-utf-8": "pyproject.toml is not UTF-8: byte 5",
    "project-is-a-boolean": "pyproject.toml: project must be a table, found a boolean",
    "project-requires-python-is-a-float": "pyproject.toml: project.requires-python must be a string, found a float",
    "project-requires-python-malformed": (
        "pyproject.toml: project.requires-python must be a version specifier such as '>=3.12', found '3.12 or later'"
    ),
    "pyproject-is-a-folder": "pyproject.toml cannot be read: it is a directory, not a regular file",
    "python-is-a-float": "pyproject.toml: tool.provision-backend.python must be a string, found a float",
    "python-is-a-path": (
        "pyproject.toml: tool.provision-backend.python must be a version or a version specifier, "
        "found '/usr/bin/python3'\n"
        "  accepted forms are '3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'"
    ),
    "requires-holds-an-integer": (
        "pyproject.toml: tool.provision-backend.requires must be an array of strings, found 1 (integer)"
    ),
    "requires-holds-no-requirement": (
        "pyproject.toml: tool.provision-backend.requires: 'hatchling 1.27' is not a requirement: {reason}"
    ),
    "requires-is-a-string": (
        "pyproject.toml: tool.provision-backend.requires must be an array of strings, found a string"
    ),
    "requires-python-dynamic": (
        "pyproject.toml: project.requires-python is dynamic, so it is not known before the build\n"
        '  repeat it as requires-python = ">=3.X" in [tool.provision-backend]'
    ),
    "requires-python-is-a-float": (
        "pyproject.toml: tool.provision-backend.requires-python must be a string, found a float"
    ),
    "requires-python-malformed": (
        "pyproject.toml: tool.provision-backend.requires-python must be a version specifier such as '>=3.12', "
        "found '^3.12'"
    ),
    "requires-python-twice": (
        "pyproject.toml: tool.provision-backend.requires-python is given although project.requires-python is\n"
        "  remove the one in [tool.provision-backend]"
    ),
    "table-is-an-array": "pyproject.toml: tool.provision-backend must be a table, found an array",
    "tool-is-a-string": "pyproject.toml: tool must be a table, found a string",
    "unknown-key-far": (
        "pyproject.toml: unknown key 'colour' in [tool.provision-backend]\n"
        "  known keys: build-backend, requires, backend-path, requires-python, python, installer, toolchain, glibc, "
        "lock, wheels"
    ),
    "unknown-key-near": (
        "pyproject.toml: unknown key 'build-backends' in [tool.provision-backend]\n  did you mean 'build-backend'?"
    ),
}


def _write(root: Path, text: str) -> Path:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return root


def _refusal(root: Path) -> str:
    with pytest.raises((ProjectError, UsageError)) as caught:
        read_project(root)
    return str(caught.value)


def test_every_broken_project_has_its_message_pinned() -> None:
    """A folder without a message, or a message without a folder, is a mistake of ours."""
    assert sorted(MESSAGES) == sorted(folder.name for folder in PROJECTS.iterdir())


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_broken_project_is_refused_in_these_words(name: str) -> None:
    """Each way of writing it wrong has one message, that names the key, what is wanted and what was found."""
    root = PROJECTS / name
    # The reason is in the words of the packaging that is installed.
    with pytest.raises(InvalidRequirement) as caught:
        Requirement("hatchling 1.27")
    message = (
        MESSAGES[name]
        if "{" not in MESSAGES[name]
        else MESSAGES[name].format(root=str(root), reason=str(caught.value).splitlines()[0])
    )

    assert message == _refusal(root)


def test_all_keys_are_read(tmp_path: Path) -> None:
    """Whatever a project writes arrives in `Project` as it is meant."""
    (tmp_path / "backend").mkdir()
    _write(
        tmp_path,
        """
        [build-system]
        requires = ["provision-backend", "wheel"]
        build-backend = "provision_backend"
        [tool.provision-backend]
        build-backend = "backend:hooks.Main"
        requires = ["hatchling>=1.27", "tomli; python_version < '3.11'"]
        backend-path = [".", "backend", "backend/../backend"]
        requires-python = ">=3.12"
        python = "3.13t"
        installer = "uv"
        """,
    )

    assert read_project(tmp_path) == Project(
        root=tmp_path,
        build_backend="backend:hooks.Main",
        requires=("hatchling>=1.27", "tomli; python_version < '3.11'"),
        one_list=False,
        backend_path=(".", "backend", "backend/../backend"),
        requires_python=">=3.12",
        python=parse_request("3.13t"),
        settings={"installer": "uv"},
    )


def test_the_backend_alone_is_enough(tmp_path: Path) -> None:
    """Everything but the real backend's name may be left out."""
    project = read_project(_write(tmp_path, TABLE))

    assert Project(tmp_path, "hatchling.build", (), one_list=True) == project


def test_without_requires_in_the_table_the_one_list_counts(tmp_path: Path) -> None:
    """The real requirements are then those of build-system less ourselves, markers included, in their order."""
    _write(
        tmp_path,
        '[build-system]\nrequires = ["b>=1; python_version >= \'3.12\'", "Provision.Backend[provision]>=0.1", '
        '" provision_backend ", "provision-backend-extra", "a", "provision-backend@file:///x"]\n' + TABLE,
    )
    project = read_project(tmp_path)

    assert project.requires == ("b>=1; python_version >= '3.12'", "provision-backend-extra", "a")
    assert project.one_list


def test_requires_in_the_table_replace_the_one_list(tmp_path: Path) -> None:
    """With a list in the table, that of build-system is the frontend's business alone, even when ours is empty."""
    _write(tmp_path, '[build-system]\nrequires = ["provision-backend", "wheel"]\n' + TABLE + "requires = []\n")
    project = read_project(tmp_path)

    assert (project.requires, project.one_list) == ((), False)


@pytest.mark.parametrize("requires_python", [">=3.12", ">=3.9, <4", "~=3.12", ""])
def test_reading_a_plain_project_needs_no_packaging(tmp_path: Path, requires_python: str) -> None:
    """A pass-through build in the one-list form does not pay for the import."""
    _write(
        tmp_path,
        f'[build-system]\nrequires = ["provision-backend", "b[x]>=1; os_name == \'posix\'"]\n'
        f'[project]\nname = "x"\nrequires-python = "{requires_python}"\n{TABLE}python = "3.13"\n',
    )
    code = (
        "import sys; from pathlib import Path; from provision_backend.project.pyproject import read_project\n"
        "print(read_project(Path(sys.argv[1])).requires_python, 'packaging' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]

    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode() == f"{requires_python} False\n"


@pytest.mark.parametrize(
    ("project", "table", "expected"),
    [
        pytest.param('requires-python = ">=3.12,<4"', "", ">=3.12,<4", id="project"),
        pytest.param('name = "x"', "", "", id="neither"),
        pytest.param('name = "x"', 'requires-python = "~=3.12"', "~=3.12", id="table"),
        pytest.param('dynamic = ["requires-python"]', 'requires-python = ">=3.12"', ">=3.12", id="dynamic and table"),
        pytest.param('dynamic = ["version"]', "", "", id="something else is dynamic"),
        pytest.param('requires-python = ""', "", "", id="empty"),
        pytest.param('requires-python = " >= 3.12 "', "", ">= 3.12", id="white space"),
    ],
)
def test_requires_python_comes_from_project_or_table(tmp_path: Path, project: str, table: str, expected: str) -> None:
    """The table's key stands in where [project] has none, or lists it as dynamic."""
    _write(tmp_path, f"[project]\n{project}\n{TABLE}{table}\n")

    assert expected == read_project(tmp_path).requires_python


@pytest.mark.parametrize(
    "backend", ["a", "a.b", "a:b", "a.b:c.d", "_a1:B_2", "setuptools.build_meta:__legacy__", "é.ü"]
)
def test_an_import_path_with_an_object_path_is_a_backend(tmp_path: Path, backend: str) -> None:
    """PEP 517 has ``module`` and ``module:object``."""
    _write(tmp_path, f'[tool.provision-backend]\nbuild-backend = "{backend}"\n')

    assert backend == read_project(tmp_path).build_backend


@pytest.mark.parametrize(
    "backend", ["", " a", "a ", "a.", ".a", "a:", ":a", "a:b:c", "a/b", "1a", "a..b", "a b", "a\\n"]
)
def test_anything_else_is_no_backend(tmp_path: Path, backend: str) -> None:
    """The message quotes what was written."""
    _write(tmp_path, f'[tool.provision-backend]\nbuild-backend = "{backend}"\n')

    assert _refusal(tmp_path) == (
        f"pyproject.toml: tool.provision-backend.build-backend must be 'module' or 'module:object', found '{backend}'"
    )


@pytest.mark.parametrize(
    "backend", ["provision_backend", "provision_backend:x", "provision_backend.hooks.build:build.x"]
)
def test_a_project_that_wraps_the_wrapper_is_refused(tmp_path: Path, backend: str) -> None:
    """It would start itself without end, whichever of our modules it names."""
    _write(tmp_path, f'[tool.provision-backend]\nbuild-backend = "{backend}"\n')

    assert MESSAGES["build-backend-is-ourselves"] == _refusal(tmp_path)


def test_a_backend_whose_name_begins_like_ours_is_another_one(tmp_path: Path) -> None:
    """Only the root module is compared, and as a whole."""
    _write(tmp_path, '[tool.provision-backend]\nbuild-backend = "provision_backend_x"\n')

    assert read_project(tmp_path).build_backend == "provision_backend_x"


def _escapes(root: Path) -> List[Tuple[str, str]]:
    return [
        ("absolute", str(root / "inside")),
        ("absolute root", "/"),
        ("parent", "inside/../.."),
        ("sibling with the same beginning", "../" + root.name + "2"),
        ("link to the parent", "up"),
        ("below a link to the parent", "up/elsewhere"),
    ]


@pytest.mark.parametrize("number", range(6), ids=[name for name, _ in _escapes(Path("x"))])
def test_a_backend_path_outside_the_project_is_refused(tmp_path: Path, number: int) -> None:
    """Absolute paths, ``..`` and symbolic links do not lead out of the source tree (PEP 517)."""
    root = tmp_path / "root"
    for folder in (root / "inside", tmp_path / "root2", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    (root / "up").symlink_to(tmp_path)
    path = _escapes(root)[number][1]
    _write(root, f'{TABLE}backend-path = ["inside", "{path}"]\n')

    assert _refusal(root) == (
        f"pyproject.toml: tool.provision-backend.backend-path must name folders inside the project, found '{path}'"
    )


def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    """What counts is where a backend path ends, also when the project itself is reached through a link."""
    (tmp_path / "root" / "inside").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to("inside")
    (tmp_path / "other").symlink_to("root")
    _write(tmp_path / "root", TABLE + 'backend-path = ["link"]\n')

    assert read_project(tmp_path / "other").backend_path == ("link",)


@pytest.mark.parametrize("path", ["file", "loop", "x" * 5000, "a\\u0000b"], ids=["file", "loop", "long", "NUL"])
def test_a_backend_path_that_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    """Files, circular links and names that no file system has are refused alike."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    _write(tmp_path, f'{TABLE}backend-path = ["{path}"]\n')
    shown = path.replace("\\u0000", "\\x00")

    assert _refusal(tmp_path) == (
        f"pyproject.toml: tool.provision-backend.backend-path names '{shown}', which is not a folder"
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    """The message says why the file cannot be read."""
    _write(tmp_path, TABLE)
    (tmp_path / "pyproject.toml").chmod(0)

    assert _refusal(tmp_path) == "pyproject.toml cannot be read: Permission denied"


def test_unicode_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    """The file is UTF-8 whatever the locale, and TOML allows both line ends."""
    (tmp_path / "pyproject.toml").write_bytes(
        (TABLE + '# 日本\nrequires = ["ü @ file:///ü"]\n').encode().replace(b"\n", b"\r\n")
    )

    with pytest.raises(ProjectError, match=r"^pyproject.toml: tool.provision-backend.requires: 'ü @ file:///ü'"):
        read_project(tmp_path)


_VALUES = (
    "1", "-0", "3.12", "nan", "inf", "true", "false", '""', '"x"', "'>=3.12'", '"provision_backend"', '"\\u0000"',
    '"\\n"',
    "[]", "[1]", '[""]', '["x", true]', "[[]]", "[{}]", '["."]', '[".."]', '["\\u0000"]', '["a; python_version"]',
    "{}", "{ a = 1 }", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", '"3.13"', '">=3,<"', '["requires-python"]',
)  # fmt: skip
_KEYS = (
    "tool.provision-backend.build-backend", "tool.provision-backend.requires", "tool.provision-backend.backend-path",
    "tool.provision-backend.requires-python", "tool.provision-backend.python", "tool.provision-backend.installer",
    "tool.provision-backend.lock", "tool.provision-backend.lock.archives", "tool.provision-backend.lock.file",
    "tool.provision-backend", "tool", "build-system", "build-system.requires", "project", "project.requires-python",
    "project.dynamic",
)  # fmt: skip


@pytest.mark.parametrize("key", _KEYS)
def test_any_value_for_a_key_is_read_or_refused(tmp_path: Path, key: str) -> None:
    """Whatever TOML can write for one key, only `ProjectError` leaves."""
    backend = "" if key in ("tool", "tool.provision-backend") else 'tool.provision-backend.build-backend = "x"\n'
    if key == "tool.provision-backend.build-backend":
        backend = ""
    outcomes: Set[type] = set()
    for value in _VALUES:
        _write(tmp_path, f"{backend}{key} = {value}\n")
        try:
            outcomes.add(type(read_project(tmp_path)))
        except ProjectError as exc:
            assert str(exc).startswith("pyproject.toml: ")  # noqa: PT017 - either outcome is right
            outcomes.add(type(exc))

    assert ProjectError in outcomes


def test_random_combinations_are_read_or_refused(tmp_path: Path) -> None:
    """Values of several keys at once, and mutilated files, end in `ProjectError` at worst."""
    chance = random.Random(2)
    count = 0
    for _ in range(400):
        chosen = chance.sample(_KEYS[:6] + _KEYS[9:10] + _KEYS[11:], 5)
        text = "\n".join(f"{key} = {chance.choice(_VALUES)}" for key in chosen)
        data = bytearray((text + "\n").encode())
        if chance.random() < 0.5:
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "pyproject.toml").write_bytes(bytes(data))
        try:
            read_project(tmp_path)
        except ProjectError:
            count += 1

    assert count > 300
