"""``provision-backend init`` as a process: the diff, the exit codes, and what becomes of the file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional

import pytest

from provision_backend.project.pyproject import read_project

ROOT = Path(__file__).resolve().parent.parent

BEFORE = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "x"
version = "1"
requires-python = ">=3.12"
"""
AFTER = """\
[build-system]
requires = ["provision-backend", "hatchling>=1.27; python_version >= '3.12'"]
build-backend = "provision_backend"

[project]
name = "x"
version = "1"
requires-python = ">=3.12"

[tool.provision-backend]
build-backend = "hatchling.build"
"""
DIFF = """\
--- a/pyproject.toml
+++ b/pyproject.toml
@@ -1,8 +1,11 @@
 [build-system]
-requires = ["hatchling>=1.27"]
-build-backend = "hatchling.build"
+requires = ["provision-backend", "hatchling>=1.27; python_version >= '3.12'"]
+build-backend = "provision_backend"
{}
 [project]
 name = "x"
 version = "1"
 requires-python = ">=3.12"
+
+[tool.provision-backend]
+build-backend = "hatchling.build"
""".format(" ")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that is not wrapped."""
    root = tmp_path / "pröject"
    root.mkdir()
    (root / "pyproject.toml").write_bytes(BEFORE.encode())
    return root


def _init(*arguments: object, cwd: Optional[Path] = None) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "provision_backend", "init", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=str(cwd) if cwd else None,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def _text(root: Path) -> str:
    return (root / "pyproject.toml").read_bytes().decode()


def test_a_project_is_wrapped_in_place(project: Path) -> None:
    """The diff goes to standard output, the rest to standard error, and a build reads what was meant."""
    assert _init(cwd=project) == Done(
        0,
        DIFF,
        "provision-backend: wrapped hatchling.build; 'provision-backend init --undo' reverts it\n",
    )
    assert _text(project) == AFTER
    read = read_project(project)
    assert (read.build_backend, read.requires, read.one_list) == (
        "hatchling.build",
        ("hatchling>=1.27; python_version >= '3.12'",),
        True,
    )
    assert sorted(path.name for path in project.iterdir()) == ["pyproject.toml"]


def test_check_writes_nothing(project: Path) -> None:
    """It shows the diff and ends with 1 as long as there is something to do, in either direction."""
    assert _init(project, "--check") == Done(1, DIFF, "provision-backend: wraps hatchling.build\n")
    assert _text(project) == BEFORE
    _init(project)
    assert _init(project, "--check").code == 0
    assert _init(project, "--undo", "--check").code == 1
    assert _text(project) == AFTER


def test_a_second_run_has_nothing_to_do(project: Path) -> None:
    """A project that is wrapped stays as it is, and one that is not has nothing to undo."""
    assert _init(project, "--undo") == Done(0, "", "provision-backend: nothing to do: pyproject.toml is not wrapped\n")
    _init(project)
    message = (
        "provision-backend: nothing to do: pyproject.toml is wrapped already, its real backend is hatchling.build\n"
    )
    assert _init(project) == Done(0, "", message)
    assert _init(project, "--form", "table") == Done(0, "", message)
    assert _text(project) == AFTER


def test_a_wrapped_project_that_does_not_require_us_is_refused(project: Path) -> None:
    """Its isolated builds do not find us, so a check in CI must not pass."""
    _init(project)
    text = _text(project).replace('"provision-backend", ', "")
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    message = (
        "provision-backend: pyproject.toml: build-system.requires does not name provision-backend, so an isolated "
        'build does not find it\n  add "provision-backend" to the list\n'
    )

    assert _init(project, "--check") == _init(project) == Done(1, "", message)
    assert _text(project) == text


def test_undo_restores_the_build_system(project: Path) -> None:
    """The file of this project comes back whole, line breaks included."""
    data = BEFORE.replace("\n", "\r\n").encode()
    (project / "pyproject.toml").write_bytes(data)
    assert _init(project).code == 0
    assert b'build-backend = "provision_backend"\r\n\r\n' in (project / "pyproject.toml").read_bytes()
    assert _init(project, "--undo").err == "provision-backend: the build backend is hatchling.build again\n"
    assert (project / "pyproject.toml").read_bytes() == data


def test_json_says_what_was_done(project: Path) -> None:
    """The keys are those that stay."""
    path = str(project / "pyproject.toml")
    wrapped = json.loads(_init(project, "--json").out)
    assert wrapped == {
        "path": path,
        "changed": True,
        "written": True,
        "form": "one-list",
        "build-backend": "hatchling.build",
        "requires": ["hatchling>=1.27; python_version >= '3.12'"],
        "notes": [],
        "diff": DIFF,
    }
    assert json.loads(_init(project, "--json", "--check").out) == {
        **wrapped, "changed": False, "written": False, "diff": "",
    }  # fmt: skip
    undone = json.loads(_init(project, "--json", "--undo", "--check").out)
    assert (undone["changed"], undone["written"], undone["form"]) == (True, False, None)
    assert (undone["build-backend"], undone["requires"]) == ("hatchling.build", ["hatchling>=1.27"])


@pytest.mark.parametrize("options", [["--check"], [], ["--undo"]], ids=["checked", "wrapped", "undone"])
def test_json_shows_no_password(project: Path, options: List[str]) -> None:
    """A requirement may be an address; only the diff has it as the file does."""
    file = project / "pyproject.toml"
    text = BEFORE.replace("hatchling>=1.27", "hatchling @ http://bob:s3cret@127.0.0.1:9/hatchling.whl")
    file.write_text(text, encoding="utf-8")
    if "--undo" in options:
        assert _init(project).code == 0
    data = json.loads(_init(project, "--json", *options).out)

    assert "s3cret" in data.pop("diff")
    assert "http://127.0.0.1:9/hatchling.whl" in data["requires"][0]
    assert "s3cret" not in json.dumps(data)


def test_the_diff_says_where_there_is_no_last_line_break(project: Path) -> None:
    """As diff has it, so that patch can apply it."""
    (project / "pyproject.toml").write_bytes(BEFORE.split("\n\n")[0].encode())
    out = _init(project, "--requires-python", ">=3.12").out

    assert '-build-backend = "hatchling.build"\n\\ No newline at end of file\n+' in out
    # The end of the file is the user's, so that --undo can give it back.
    assert out.endswith('+requires-python = ">=3.12"\n\\ No newline at end of file\n')


@pytest.mark.skipif(os.name != "posix", reason="there are no modes elsewhere")
def test_mode_and_link_are_kept(project: Path) -> None:
    """Where pyproject.toml is a symbolic link, the file that it leads to is replaced."""
    real = project / "real.toml"
    (project / "pyproject.toml").rename(real)
    (project / "pyproject.toml").symlink_to("real.toml")
    real.chmod(0o640)
    assert _init(project).code == 0

    assert os.readlink(str(project / "pyproject.toml")) == "real.toml"
    assert real.read_bytes() == AFTER.encode()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_reported(project: Path) -> None:
    """The reason is the system's."""
    project.chmod(0o555)
    done = _init(project)
    project.chmod(0o755)

    assert (done.code, done.err) == (1, "provision-backend: pyproject.toml cannot be written: Permission denied\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "DIR must name a folder, found 'nowhere'"),
        (["--undo", "--form", "table"], "--undo cannot be combined with --form or --requires-python"),
        (["--undo", "--requires-python", ">=3.12"], "--undo cannot be combined with --form or --requires-python"),
        (["--undo", "--requires-python", ""], "--undo cannot be combined with --form or --requires-python"),
        (
            ["--requires-python", "abc"],
            "--requires-python must be a version specifier such as '>=3.12', found 'abc'",
        ),
        (
            ["--requires-python", " "],
            "--requires-python must be a version specifier such as '>=3.12', found ' '",
        ),
        (
            ["--requires-python", ">=3.13"],
            "--requires-python is given although project.requires-python in pyproject.toml is '>=3.12'\n"
            "  leave the option out: frontends and package indexes read [project] alone",
        ),
    ],
)
def test_wrong_use_is_refused(project: Path, arguments: List[str], message: str) -> None:
    """With the exit code of wrong use."""
    assert _init(*arguments, cwd=project) == Done(2, "", f"provision-backend: {message}\n")


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    """Where there is a setup.py, the message says how to begin."""
    message = f"provision-backend: there is no pyproject.toml in {str(tmp_path)!r}\n"
    assert _init(tmp_path) == Done(2, "", message)
    (tmp_path / "setup.py").touch()
    assert _init(tmp_path) == Done(
        2, "", message + "  create an empty one and run this again with --requires-python '>=3.X'\n"
    )
    # It is no advice for --undo, which refuses the option.
    assert _init(tmp_path, "--undo") == Done(2, "", message)
    (tmp_path / "pyproject.toml").touch()
    assert _init(tmp_path, "--requires-python", ">=3.12").code == 0
    assert read_project(tmp_path).build_backend == "setuptools.build_meta:__legacy__"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"# caf\xe9\n", "pyproject.toml is not UTF-8: byte 5"),
        (
            BEFORE.encode().replace(b'"hatchling.build"', b'"b"\nbackend-path = ["src"]'),
            "pyproject.toml: tool.provision-backend.backend-path names 'src', which is not a folder",
        ),
        (
            BEFORE.encode().replace(b'"hatchling.build"', b'"b"\nbackend-path = [".."]'),
            "pyproject.toml: tool.provision-backend.backend-path must name folders inside the project, found '..'",
        ),
        (
            BEFORE.encode().replace(b'"hatchling.build"', b'"b c"'),
            "pyproject.toml: tool.provision-backend.build-backend must be 'module' or 'module:object', found 'b c'",
        ),
        (
            AFTER.encode().replace(b'"hatchling.build"', b'"hatchling.build"\nx = 1'),
            "pyproject.toml: unknown key 'x' in [tool.provision-backend]\n  known keys: build-backend, requires, "
            "backend-path, requires-python, python, installer, toolchain, glibc, lock, wheels",
        ),
    ],
    ids=["not UTF-8", "backend-path missing", "backend-path outside", "no backend", "wrapped and broken"],
)
def test_what_no_build_could_read_is_refused(project: Path, data: bytes, message: str) -> None:
    """The result is read as a build would read it before it replaces anything."""
    (project / "pyproject.toml").write_bytes(data)

    assert _init(project) == Done(1, "", f"provision-backend: {message}\n")
    assert (project / "pyproject.toml").read_bytes() == data


def test_an_in_tree_backend_is_found(project: Path) -> None:
    """Its folders must be there."""
    (project / "a" / "b").mkdir(parents=True)
    text = BEFORE.replace('"hatchling.build"', '"b"\nbackend-path = ["a/b", "."]')
    (project / "pyproject.toml").write_text(text)
    assert _init(project).code == 0

    assert read_project(project).backend_path == ("a/b", ".")
    assert _init(project, "--undo").code == 0
    assert _text(project) == text
