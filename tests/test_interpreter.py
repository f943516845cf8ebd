"""Ask real interpreters what they are, and find them on a machine that has shims and broken ones too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, List, Set, Tuple

import pytest
from packaging.version import Version
from support.real_interpreters import host_interpreters

from provision_backend.errors import InterpreterError
from provision_backend.interpreter import Interpreter, find_interpreters, inspect_interpreter
from provision_backend.project.plan import running_interpreter

VERSION = running_interpreter().version


def _script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def _fake(path: Path, log: Path, **facts: Any) -> Path:
    """Write a fake: a script that notes that it was started, and answers like an interpreter of some version."""
    answer = {
        "version": "3.99.0",
        "implementation": "cpython",
        "freethreaded": False,
        "executable": str(path),
        "prefix": "/",
        "has_venv": True,
        "pip": "",
        **facts,
    }
    return _script(path, f"echo {path} >> {log}", f"echo '{json.dumps(answer)}'")


class Machine:
    """An empty home and PATH, with fakes that note when they are started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "started"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.pyenv = folder / "pyenv"
        # The shell that the fakes are written for is needed, and a Python beside it is none of this machine's.
        monkeypatch.setenv("PATH", os.pathsep.join([str(self.bin), "relative", str(folder / "absent")]))
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("PYENV_ROOT", str(self.pyenv))
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)

    def on_path(self, name: str, **facts: Any) -> None:
        """Put a fake on PATH."""
        _fake(self.bin / name, self.log, **facts)

    def in_pyenv(self, folder: str, **facts: Any) -> None:
        """Put a fake among pyenv's versions."""
        _fake(self.pyenv / "versions" / folder / "bin" / "python", self.log, **{"version": folder, **facts})

    def in_uv(self, folder: str, **facts: Any) -> None:
        """Put a fake among uv's interpreters, at their default place."""
        _fake(self.folder / ".local/share/uv/python" / folder / "bin/python3", self.log, **facts)

    def started(self) -> Set[str]:
        """Return the paths of the fakes that were started, below the machine's folder."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return {os.path.relpath(line, str(self.folder)) for line in lines}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine that has no interpreter."""
    return Machine(tmp_path, monkeypatch)


def _anything(_version: str, _freethreaded: bool) -> bool:
    return True


def _found(accepts: Callable[[str, bool], bool] = _anything) -> List[str]:
    return [found.version for found in find_interpreters(accepts)]


def _minor(text: str) -> Callable[[str, bool], bool]:
    return lambda version, freethreaded: version.startswith(text + ".") and not freethreaded


def test_the_running_interpreter_tells_what_it_is() -> None:
    """A real interpreter answers with its full version and the installation's executable."""
    found = inspect_interpreter(Path(sys.executable), source="given")

    assert (found.version, sys.implementation.name, found.source) == (VERSION, "cpython", "given")
    assert running_interpreter().executable == found.executable
    assert (found.triple, found.key, found.sha256) == ("", "", "")


@pytest.mark.slow
def test_every_interpreter_of_this_machine_tells_its_version() -> None:
    """What is asked is understood by each version from 3.8 on."""
    hosts = [host for host in host_interpreters() if host.has_venv]
    if not hosts:
        pytest.skip("no CPython with venv is installed")

    assert [host.version for host in hosts] == [
        re.sub(r"(a|b|rc)\d+$", "", inspect_interpreter(host.path).version) for host in hosts
    ]


@pytest.mark.slow
def test_a_virtual_environment_is_answered_by_its_base_interpreter(tmp_path: Path) -> None:
    """Its own folder goes away; the installation that it was made from stays."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    found = inspect_interpreter(tmp_path / "env" / "bin" / "python")

    assert running_interpreter().executable == found.executable
    assert found.pip == "" or "env" not in found.executable


def test_a_pip_that_cannot_be_imported_is_none(tmp_path: Path) -> None:
    """One that is too old for its Python, or half removed, ends in any error; the interpreter is a good one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    broken = next((tmp_path / "env").glob("lib/python3*/site-packages")) / "pip"
    broken.mkdir()
    (broken / "__init__.py").write_text("import pkgutil\npkgutil.NoSuchImporter\n")

    assert inspect_interpreter(tmp_path / "env" / "bin" / "python").pip == ""


def test_variables_of_another_python_do_not_reach_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """PYTHONHOME would stop it, and a sitecustomize on PYTHONPATH would answer in its place."""
    (tmp_path / "json.py").write_text("raise SystemExit('wrong json')")
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert inspect_interpreter(Path(sys.executable)).version == VERSION


def test_an_interpreter_without_venv_is_refused(tmp_path: Path) -> None:
    """Debian splits the module off; the message names the package. The interpreter is a fake that answers as such."""
    python = _fake(tmp_path / "python3", tmp_path / "log", has_venv=False)

    with pytest.raises(InterpreterError) as caught:
        inspect_interpreter(python)

    assert str(caught.value) == (
        f"{python} cannot make virtual environments: its module 'venv' is missing\n"
        "  install the distribution's package for it, for example python3-venv"
    )


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    """A program that says something else, or nothing, is an error and not an interpreter."""
    with pytest.raises(InterpreterError) as caught:
        inspect_interpreter(_script(tmp_path / "python", "echo hello"))
    assert str(caught.value) == (
        f"'{tmp_path}/python' did not answer like a Python: wanted a JSON object, found 'hello'"
    )

    with pytest.raises(InterpreterError) as caught:
        inspect_interpreter(tmp_path / "absent")
    assert str(caught.value) == f"could not start '{tmp_path}/absent': No such file or directory"


def test_what_find_prints_has_the_keys_that_stay() -> None:
    """Those of a managed one have values; a system one has null for them."""
    managed = Interpreter("/c/bin/python3", "3.13.5", True, source="managed", triple="t", key="k", sha256="s")
    kept = ("executable", "version", "triple", "key", "sha256")

    assert [managed.as_dict()[key] for key in kept] == ["/c/bin/python3", "3.13.5t", "t", "k", "s"]
    assert [Interpreter("/p", "3.8.1").as_dict()[key] for key in kept] == ["/p", "3.8.1", None, None, None]


def test_interpreters_are_found_newest_first(machine: Machine) -> None:
    """PATH, pyenv's versions and uv's interpreters are one list, ordered by what the interpreters say."""
    machine.on_path("python3.10", version="3.10.1")
    machine.on_path("python3.12", version="3.12.3")
    machine.on_path("python3.9", version="3.9.18")
    machine.in_pyenv("3.12.10")
    machine.in_pyenv("3.12.9")
    machine.in_pyenv("3.8.18")
    machine.in_uv("cpython-3.14.0-linux-x86_64-gnu", version="3.14.0")

    assert _found() == ["3.14.0", "3.12.10", "3.12.9", "3.12.3", "3.10.1", "3.9.18", "3.8.18"]


def test_a_name_without_a_version_is_told_by_where_it_leads(machine: Machine) -> None:
    """A python3 that is a link to the newest does not come last, and is one interpreter with its target."""
    machine.on_path("python3.13", version="3.13.1")
    machine.on_path("python3.12", version="3.12.3")
    (machine.bin / "python3").symlink_to("python3.13")
    (machine.bin / "python").symlink_to("python3")

    assert _found() == ["3.13.1", "3.12.3"]
    assert len(machine.log.read_text().splitlines()) == 2


def test_shims_and_broken_ones_are_skipped(machine: Machine) -> None:
    """Shims of pyenv, a Python without venv, other implementations and failing scripts are no answers, not errors."""
    _script(machine.bin / "python3.11", 'echo "pyenv: python3.11: command not found" >&2', "exit 127")
    _script(machine.bin / "python3.10", "kill -9 $$")
    machine.on_path("python3.13", has_venv=False)
    machine.on_path("python3", implementation="pypy", version="3.12.0")
    machine.in_pyenv("3.12.1")
    machine.in_pyenv("pypy3.10-7.3", version="3.10.14", implementation="pypy")
    (machine.bin / "python3.14").write_text("not executable")
    (machine.bin / "python3.8").mkdir()
    (machine.bin / "python3.9").symlink_to("nowhere")
    for name in ("python3-config", "python3.12-config", "pythonw", "python2", "python4"):
        machine.on_path(name)

    assert _found() == ["3.12.1"]


def test_one_interpreter_is_named_once(machine: Machine) -> None:
    """A shim that works leads to an installation that was found already."""
    machine.in_pyenv("3.12.1")
    machine.on_path("python3.12", version="3.12.1", executable=str(machine.pyenv / "versions/3.12.1/bin/python"))

    assert _found() == ["3.12.1"]


def test_nothing_is_started_whose_path_shows_that_it_cannot_do(machine: Machine) -> None:
    """Starting an interpreter takes a tenth of a second, and a machine may have dozens."""
    for version in ("3.8.18", "3.12.1", "3.13.0"):
        machine.in_pyenv(version)
    machine.on_path("python3.12", version="3.12.3")
    machine.on_path("python3.13", version="3.13.3")
    machine.on_path("python3", version="3.9.2")

    assert _found(_minor("3.12")) == ["3.12.3", "3.12.1"]
    # The plain name tells nothing, so it has to be asked.
    assert {"bin/python3", "bin/python3.12", "pyenv/versions/3.12.1/bin/python"} == machine.started()


def test_the_search_ends_with_the_first_minor_that_will_do(machine: Machine) -> None:
    """Who takes the newest pays for no other."""
    machine.in_pyenv("3.12.1")
    machine.in_pyenv("3.13.0")
    newest = next(find_interpreters(_anything))

    assert ("3.13.0", {"pyenv/versions/3.13.0/bin/python"}) == (newest.version, machine.started())


@pytest.mark.parametrize("version", ["3.15.0a3", "3.14.0rc2", "3.13.0b1"])
def test_a_prerelease_is_found_when_it_is_asked_for(machine: Machine, version: str) -> None:
    """Neither a folder named by the whole version nor a name that tells the minor alone hides it."""
    machine.in_pyenv(version)
    machine.on_path("python" + ".".join(version.split(".")[:2]), version=version)

    assert [version, version] == _found(lambda found, _: Version(found) == Version(version))


def test_free_threading_is_told_to_who_decides(machine: Machine) -> None:
    """The same version with and without a GIL are two interpreters."""
    machine.on_path("python3.13", version="3.13.1")
    machine.on_path("python3.13t", version="3.13.1", freethreaded=True)
    asked: List[Tuple[str, bool]] = []

    def accepts(version: str, freethreaded: bool) -> bool:
        asked.append((version, freethreaded))
        return freethreaded

    assert [found.executable for found in find_interpreters(accepts)] == [str(machine.bin / "python3.13t")]
    assert ("3.13.1", True) in asked


def test_simulated_a_home_that_cannot_be_entered_has_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME is often that of another user, as after sudo -u."""

    def refuse(_folder: Path, _pattern: str) -> List[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "glob", refuse)
    assert list(find_interpreters(lambda *_: True)) == []


def test_an_empty_machine_has_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that do not exist are no errors."""
    assert _found() == []
    monkeypatch.setenv("PATH", "")
    assert _found() == []


@pytest.mark.slow
def test_the_real_interpreters_of_this_machine_are_found() -> None:
    """The search finds the running interpreter's minor version, in descending order, where the PATH or pyenv has it."""
    hosts = {host.version for host in host_interpreters() if host.has_venv}
    found = _found()
    if not found:
        pytest.skip("neither PATH nor pyenv has a CPython with venv")

    assert sorted(found, key=Version, reverse=True) == found
    assert hosts & set(found)
