"""What `inspect_installation` refuses, and what it finds out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest
from support.real_interpreters import host_interpreters

from provision_backend.errors import InterpreterError, PackError
from provision_backend.pack.installed import inspect_installation

CPYTHON: Dict[str, Any] = {
    "implementation": "cpython",
    "version": "3.13.5",
    "program": "python3.13",
    "too_old": False,
    "platform": "linux",
    "freethreaded": False,
    "debug": False,
    "in_build_tree": False,
    "pip": "25.1",
    "config": {},
}


def make_fake(folder: Path, **facts: Any) -> Path:
    """Make a shell script that answers as an interpreter installed to *folder* would; real ones are not at hand."""
    program = folder / "bin" / "python3.13"
    program.parent.mkdir(parents=True)
    places = {key: str(folder / "lib/python3.13") for key in ("stdlib", "platstdlib", "purelib", "include")}
    answer = {"prefix": str(folder), "exec_prefix": str(folder), "executable": str(program), "paths": places}
    (folder / "answer.json").write_text(json.dumps({**CPYTHON, **answer, **facts}), encoding="utf-8")
    program.write_text(f"#!/bin/sh\ncat '{folder}/answer.json'\n", encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({"implementation": "pypy"}, "it is 'pypy', wanted CPython", id="pypy"),
        pytest.param({"version": "3.7.17", "too_old": True}, "it is CPython 3.7.17, wanted 3.8 or later", id="too old"),
        pytest.param(
            {"platform": "darwin"}, "only interpreters for Linux are, this is one for 'darwin'", id="another system"
        ),
        pytest.param(
            {"debug": True}, "it is a debug build, which extension modules of other builds do not fit", id="debug build"
        ),
        pytest.param(
            {"in_build_tree": True},
            "it runs from the folder it was built in, wanted an installed one ('make install')",
            id="not installed",
        ),
        pytest.param(
            {"pip": ""}, "it has no module 'ensurepip', from which pip would be installed", id="without ensurepip"
        ),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_reason(tmp_path: Path, facts: Dict[str, Any], reason: str) -> None:
    """Each kind of interpreter that an archive cannot be made of has a sentence of its own."""
    program = make_fake(tmp_path / "fake", **facts)

    with pytest.raises(PackError) as caught:
        inspect_installation(program)

    assert str(caught.value) == f"'{program}' cannot be packed: {reason}"


def test_an_interpreter_of_the_operating_system_is_refused(tmp_path: Path) -> None:
    """One that is installed to /usr shares its folders with all other software."""
    program = make_fake(tmp_path / "fake", prefix="/usr", exec_prefix="/usr", program="python3.99")

    with pytest.raises(PackError) as caught:
        inspect_installation(program)

    assert str(caught.value) == (
        f"'{program}' cannot be packed: it is part of the operating system, and its files are spread over the folders"
        " of '/usr'\n  pack one that was installed into a folder of its own, for example by 'pyenv install', or from"
        " CPython's\n  sources: './configure --prefix=DIR && make && make install'"
    )


def test_an_environment_of_conda_is_refused(tmp_path: Path) -> None:
    """The hint names the tool that is made for them."""
    program = make_fake(tmp_path / "fake")
    (tmp_path / "fake" / "conda-meta").mkdir()

    with pytest.raises(PackError) as caught:
        inspect_installation(program)

    assert str(caught.value) == (
        f"'{program}' cannot be packed: '{tmp_path}/fake' is an environment of conda, whose packages cannot be told"
        " from the interpreter\n"
        "  conda-pack makes such an environment relocatable; the setting 'python' uses it where it is"
    )


def test_an_interpreter_in_two_folders_is_refused(tmp_path: Path) -> None:
    """Configure's --exec-prefix splits an installation, and the loader of modules looks in both."""
    program = make_fake(tmp_path / "fake", exec_prefix="/opt/other")

    with pytest.raises(PackError) as caught:
        inspect_installation(program)

    assert caught.value.message == (
        f"'{program}' cannot be packed: it is installed to two folders, '{tmp_path}/fake' and '/opt/other'"
    )


def test_an_interpreter_with_a_part_outside_of_its_prefix_is_refused(tmp_path: Path) -> None:
    """What is not below the prefix would not be in the archive."""
    inside = str(tmp_path / "fake/lib/python3.13")
    places = {"stdlib": "/elsewhere/python3.13", "platstdlib": inside, "purelib": inside, "include": inside}
    program = make_fake(tmp_path / "fake", paths=places)

    with pytest.raises(PackError) as caught:
        inspect_installation(program)

    assert caught.value.message == (
        f"'{program}' cannot be packed: its prefix is '{tmp_path}/fake', but a part of it is in '/elsewhere/python3.13'"
    )


@pytest.mark.parametrize(
    "script", ["echo hello", "true", "echo '[1, 2'", "echo 3"], ids=["text", "nothing", "broken", "a number"]
)
def test_a_program_that_is_no_python_is_refused(tmp_path: Path, script: str) -> None:
    """Whatever it prints, it is not taken for an interpreter."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)

    with pytest.raises(InterpreterError, match=r"did not answer like a Python"):
        inspect_installation(program)


def test_a_program_that_fails_is_refused_with_what_it_said(tmp_path: Path) -> None:
    """Python 2 does not know the options, and says so; that is shown."""
    program = tmp_path / "python2"
    program.write_text("#!/bin/sh\necho 'Unknown option: -I' >&2\nexit 2\n", encoding="utf-8")
    program.chmod(0o755)

    with pytest.raises(InterpreterError) as caught:
        inspect_installation(program)

    assert str(caught.value) == f"'{program}' ended with exit status 2\n  Unknown option: -I"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Nothing is started that is not there."""
    with pytest.raises(PackError) as caught:
        inspect_installation(tmp_path / "nowhere")

    assert str(caught.value) == (f"'{tmp_path}/nowhere' is not a file\n  name the executable of an installed CPython")


def test_a_file_that_cannot_be_started_is_refused(tmp_path: Path) -> None:
    """The sentence is that of whoever starts programs here."""
    (tmp_path / "data").write_text("no program", encoding="utf-8")

    with pytest.raises(InterpreterError, match=r"could not start .* Permission denied"):
        inspect_installation(tmp_path / "data")


@pytest.mark.slow
def test_a_virtual_environment_stands_for_its_base_interpreter(tmp_path: Path) -> None:
    """The environment's own files are not what is packed."""
    host = next((host for host in reversed(host_interpreters()) if host.has_venv and host.prefix != Path("/usr")), None)
    if host is None:
        pytest.skip("no CPython outside of /usr is installed")
    subprocess.run([str(host.path), "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)

    found = inspect_installation(tmp_path / "env/bin/python")

    assert (found.executable, found.version) == (host.path, host.version)
    assert found.prefix.resolve() == host.prefix.resolve()
