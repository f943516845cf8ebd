"""The decision: pass through or provision, and that it is the same wherever it is made."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Tuple

import pytest

from provision_backend.errors import UsageError
from provision_backend.project.plan import Plan, RunningInterpreter, make_plan, running_interpreter
from provision_backend.project.pyproject import Project
from provision_backend.settings import Settings
from provision_backend.versions import parse_request

ROOT = Path(__file__).resolve().parent.parent


def _project(requires_python: str = "", pin: str = "") -> Project:
    request = parse_request(pin) if pin else None
    return Project(Path("/x"), "a", requires_python=requires_python, python=request)


def _plan(requires_python: str, pin: str, python: str, preference: str, running: str) -> Plan:
    freethreaded = running.endswith("t")
    settings = Settings(python=python, preference=preference, origins=(("python", "PROVISION_BACKEND_PYTHON"),))
    interpreter = RunningInterpreter(running.rstrip("t"), freethreaded, "/opt/python/bin/python3.12")
    return make_plan(_project(requires_python, pin), settings, interpreter)


@pytest.mark.parametrize(
    ("running", "requires_python", "pin", "python", "preference", "provision"),
    [
        # What the project says.
        pytest.param("3.12.1", ">=3.12", "", "", "managed", False, id="satisfied"),
        pytest.param("3.9.18", ">=3.12", "", "", "managed", True, id="too old"),
        pytest.param("3.14.0", ">=3.12,<3.14", "", "", "managed", True, id="too new"),
        pytest.param("3.8.18", "", "", "", "managed", False, id="nothing required"),
        pytest.param("3.12.1", ">=3.12", "3.13", "", "managed", False, id="a pin does not override"),
        pytest.param("3.9.18", ">=3.12", "3.13", "", "managed", True, id="a pin with a host that is too old"),
        pytest.param("3.12.1", ">=3.12", "3.13t", "", "managed", False, id="a free-threaded pin does not override"),
        # Free-threaded and pre-release interpreters are judged by their version like any other.
        pytest.param("3.13.0t", ">=3.12", "", "", "managed", False, id="free-threaded"),
        pytest.param("3.13.0rc1", ">=3.12", "", "", "managed", False, id="release candidate above the bound"),
        pytest.param("3.13.0rc1", ">=3.13", "", "", "managed", True, id="release candidate of the bound"),
        pytest.param("3.13.0rc1", ">=3.13.0rc1", "", "", "managed", False, id="release candidate that is the bound"),
        pytest.param("3.13.0rc1", "<3.13", "", "", "managed", True, id="release candidate of the upper bound"),
        pytest.param("3.15.0a1", ">=3.9", "", "", "managed", False, id="alpha"),
        # What the person who builds says.
        pytest.param("3.12.1", ">=3.12", "", "3.12", "managed", False, id="asked for what runs"),
        pytest.param("3.12.1", ">=3.12", "", "3.13", "managed", True, id="asked for another"),
        pytest.param("3.12.1", ">=3.12", "3.12", "3.13", "managed", True, id="asked for another than the pin"),
        pytest.param("3.12.1", ">=3.12", "3.13", "3.12", "managed", False, id="asked for what runs against the pin"),
        pytest.param("3.12.1", ">=3.12", "", "3.12.1", "managed", False, id="asked for the very version"),
        pytest.param("3.12.1", ">=3.12", "", ">=3.12,<3.14", "managed", False, id="asked for a range"),
        pytest.param("3.12.1", ">=3.12", "", "~=3.12", "managed", False, id="a compatible release is no path"),
        pytest.param("3.13.5", ">=3.12", "", "3.13t", "managed", True, id="asked for free-threaded"),
        pytest.param("3.13.5t", ">=3.12", "", "3.13t", "managed", False, id="asked for free-threaded, and it runs"),
        pytest.param("3.13.5t", ">=3.12", "", "3.13", "managed", True, id="asked for one with a GIL"),
        pytest.param("3.9.18", ">=3.12", "", "3.9", "managed", True, id="asked for what does not satisfy"),
        # Preferences.
        pytest.param("3.12.1", ">=3.12", "", "", "only-managed", True, id="only managed"),
        pytest.param("3.12.1", "", "", "3.12", "only-managed", True, id="only managed and asked for what runs"),
        pytest.param("3.12.1", ">=3.12", "", "", "system", False, id="system"),
        pytest.param("3.9.18", ">=3.12", "", "", "system", True, id="system with a host that is too old"),
        pytest.param("3.12.1", ">=3.12", "", "", "only-system", False, id="only system"),
        pytest.param("3.9.18", ">=3.12", "", "", "only-system", True, id="only system with a host that is too old"),
        pytest.param("3.12.1", ">=3.12", "", "3.13", "only-system", True, id="only system and asked for another"),
        # Paths.
        pytest.param("3.12.1", ">=3.12", "", "/opt/python/bin/python3.12", "managed", False, id="path of what runs"),
        pytest.param("3.12.1", ">=3.12", "", "/opt/other", "managed", True, id="path of another"),
        pytest.param(
            "3.9.18", ">=3.12", "", "/opt/python/bin/python3.12", "managed", True, id="path of what is too old"
        ),
        pytest.param("3.12.1", ">=3.12", "", "~/python", "only-system", True, id="path in the home directory"),
        pytest.param("3.12.1", ">=3.12", "", "venv/bin/python", "system", True, id="relative path"),
    ],
)
def test_the_decision(
    running: str, requires_python: str, pin: str, python: str, preference: str, provision: bool
) -> None:
    """Only requires-python and whoever builds have a say in whether the running interpreter will do."""
    assert provision is _plan(requires_python, pin, python, preference, running).provision


@pytest.mark.parametrize(
    ("arguments", "wanted", "reason"),
    [
        pytest.param(
            (">=3.12", "3.13", "", "managed", "3.9.18"),
            "requires-python '>=3.12' and python '3.13'",
            "Python 3.9.18 does not satisfy requires-python '>=3.12'",
            id="too old: the pin says which",
        ),
        pytest.param(
            (">=3.12", "3.13", "3.14", "managed", "3.12.1"),
            "requires-python '>=3.12' and python '3.14'",
            "python '3.14' was asked for, and this is Python 3.12.1",
            id="the setting says which, and not the pin",
        ),
        pytest.param(
            (">=3.12", "", "", "only-managed", "3.12.1"),
            "requires-python '>=3.12'",
            "only provisioned interpreters are allowed (preference = only-managed)",
            id="only managed",
        ),
        pytest.param(
            (">=3.12", "3.13", "/opt/other", "managed", "3.12.1"),
            "requires-python '>=3.12'",
            "/opt/other was asked for",
            id="a path replaces the pin",
        ),
        pytest.param(
            (">=3.12", "", "/opt/python/bin/python3.12", "managed", "3.12.1"),
            "requires-python '>=3.12'",
            "/opt/python/bin/python3.12 is the running interpreter",
            id="the path of what runs",
        ),
        pytest.param(
            (">=3.12", "", "", "managed", "3.12.1"),
            "requires-python '>=3.12'",
            "Python 3.12.1 satisfies requires-python '>=3.12'",
            id="satisfied",
        ),
    ],
)
def test_a_plan_says_what_is_wanted_and_why(
    arguments: Tuple[str, str, str, str, str], wanted: str, reason: str
) -> None:
    """The reason is a sentence for verbose output, and what is wanted goes into messages."""
    plan = _plan(*arguments)

    assert (wanted, reason) == (plan.wanted.describe(), plan.reason)


def test_a_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings have absolute ones; another one is below the current folder."""
    monkeypatch.chdir(tmp_path)

    assert _plan("", "", "bin/python", "managed", "3.12.1").wanted.path == os.path.join(os.getcwd(), "bin/python")


def test_a_link_to_the_running_interpreter_is_the_running_interpreter(tmp_path: Path) -> None:
    """Links are resolved, so that naming a virtual environment's python of the same interpreter provisions nothing."""
    link = tmp_path / "python"
    link.symlink_to(running_interpreter().executable)

    assert not make_plan(_project(), Settings(python=str(link))).provision


def test_a_path_contradicts_only_managed() -> None:
    """Naming an interpreter of the machine and forbidding those is wrong use."""
    with pytest.raises(UsageError) as caught:
        _plan("", "", "/opt/other", "only-managed", "3.12.1")

    assert str(caught.value) == (
        "PROVISION_BACKEND_PYTHON names an interpreter of the machine, and preference is only-managed"
    )


def test_a_request_of_no_form_names_its_place() -> None:
    """What the person who builds wrote is refused with the name of the variable it stands in."""
    with pytest.raises(UsageError) as caught:
        _plan("", "", "newest", "managed", "3.12.1")

    assert caught.value.message == "PROVISION_BACKEND_PYTHON must be a version or a version specifier, found 'newest'"


def test_the_running_interpreter_is_described_as_it_is() -> None:
    """Version, free threading and the installation's executable are those that other modules of Python tell."""
    running = running_interpreter()

    assert running.version == platform.python_version().rstrip("+")
    assert running.freethreaded is bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert os.path.realpath(running.executable) == running.executable
    assert os.path.dirname(os.path.dirname(running.executable)) == os.path.realpath(sys.base_prefix)


@pytest.mark.slow
def test_the_decision_is_the_same_in_each_process(tmp_path: Path) -> None:
    """Frontends run each hook in a process of its own; the folder, the home and the PATH have no say."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nrequires-python = ">=3.7"\n[tool.provision-backend]\nbuild-backend = "a"\npython = "3.13"\n'
    )
    code = (
        "import json, os, sys; from pathlib import Path; from provision_backend.project.plan import make_plan;"
        "from provision_backend.project.pyproject import read_project;"
        "from provision_backend.settings import load_settings;"
        "plan = make_plan(read_project(Path(sys.argv[1])), load_settings());"
        "print(json.dumps([plan.provision, plan.wanted.describe(), plan.wanted.path, plan.reason]))"
    )
    answers = set()
    for python, path in itertools.product(["", ">=3.7", "/opt/other"], ["/usr/bin", "/nowhere"]):
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": path,
            "HOME": path,
            "PROVISION_BACKEND_PYTHON": python,
        }
        for folder in (tmp_path, ROOT):
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)], cwd=str(folder), env=environ, check=True, stdout=-1
            )
            answers.add((python, done.stdout))

    assert len(answers) == 3
    assert {(python, json.loads(answer)[0]) for python, answer in answers} == {
        ("", False),
        (">=3.7", False),
        ("/opt/other", True),
    }
