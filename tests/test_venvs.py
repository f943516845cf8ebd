"""A virtual environment that we lay out ourselves is to its interpreter what one of the module ``venv`` is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest
from support.real_interpreters import HostInterpreter, usable_hosts

from provision_backend.errors import BuildEnvironmentError
from provision_backend.hooks import venvs as subject
from provision_backend.hooks.venvs import create_environment
from provision_backend.interpreter import Interpreter
from provision_backend.settings import Settings

pytestmark = pytest.mark.slow

PROBE = """
import json, site, sys, sysconfig
names = ("prefix", "exec_prefix", "base_prefix", "base_exec_prefix", "executable", "_base_executable")
print(json.dumps({
    "sys": {name: getattr(sys, name, None) for name in names},
    "path": sys.path,
    "paths": {name: sysconfig.get_paths(name) for name in sorted(sysconfig.get_scheme_names())},
    "site": [site.getsitepackages(), site.ENABLE_USER_SITE, sys.flags.no_user_site],
    "variables": {name: str(value) for name, value in sysconfig.get_config_vars().items()},
}))
"""


def managed(host: HostInterpreter, pip: str = "24.0") -> Interpreter:
    """Return an interpreter of this machine as if we had provisioned it."""
    return Interpreter(os.path.realpath(str(host.path)), host.version, source="managed", pip=pip)


def answer(environment: Path, name: str) -> Dict[str, Any]:
    """Ask an environment's interpreter, under one of its names, what it takes itself for."""
    done = subprocess.run([str(environment / "bin" / name), "-c", PROBE], capture_output=True, text=True, check=True)
    found: Dict[str, Any] = json.loads(done.stdout.replace(str(environment), "/environment"))
    return found


@pytest.mark.parametrize("host", usable_hosts(), ids=lambda host: host.version)
def test_an_interpreter_takes_it_for_one_of_venv(host: HostInterpreter, tmp_path: Path) -> None:
    """Prefixes, module search path, every scheme of installation and every variable are the same, by all its names."""
    interpreter = managed(host)
    create_environment(interpreter, tmp_path / "ours", Settings())
    subject._run_venv(interpreter, tmp_path / "theirs", bare=True)
    names = ["python", "python3", Path(interpreter.executable).name]

    for name in names:
        assert answer(tmp_path / "ours", name) == answer(tmp_path / "theirs", name)
    assert sorted(path.name for path in (tmp_path / "ours" / "bin").iterdir()) == sorted(names)


def test_it_may_be_made_in_a_folder_that_is_there(tmp_path: Path) -> None:
    """The folder was claimed by making it."""
    host = usable_hosts()[-1]
    create_environment(managed(host), tmp_path, Settings())

    assert answer(tmp_path, "python")["sys"]["prefix"] == "/environment"


def test_a_free_threaded_one_has_both_names(tmp_path: Path) -> None:
    """No such interpreter is on this machine, so that only the layout can be looked at."""
    subject._lay_out(Path("/nowhere/bin/python3.14t"), "3.14.1", tmp_path)

    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == [
        "python",
        "python3",
        "python3.14",
        "python3.14t",
    ]
    assert (tmp_path / "lib" / "python3.14t" / "site-packages").is_dir()
    assert "home = /nowhere/bin\n" in (tmp_path / "pyvenv.cfg").read_text()


@pytest.mark.parametrize("source", ["system", "given"])
def test_every_other_interpreter_makes_its_own(tmp_path: Path, source: str) -> None:
    """Distributions patch their venv, so it is theirs that is asked."""
    interpreter = managed(usable_hosts()[-1])._replace(source=source)
    create_environment(interpreter, tmp_path / "made", Settings())

    assert (tmp_path / "made" / "bin" / "activate").exists()


def test_a_pip_that_cannot_install_elsewhere_is_put_inside(tmp_path: Path) -> None:
    """Before 22.3 pip installs only where it is."""
    create_environment(managed(usable_hosts()[-1], pip="22.2"), tmp_path / "made", Settings())

    assert list(tmp_path.glob("made/lib/python*/site-packages/pip"))


def test_a_folder_that_cannot_be_filled_is_one_message(tmp_path: Path) -> None:
    """A file stands in the way."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "bin").touch()
    with pytest.raises(BuildEnvironmentError) as caught:
        create_environment(managed(usable_hosts()[-1]), tmp_path / "made", Settings())

    assert str(caught.value) == f"could not make the virtual environment {tmp_path}/made: File exists"
