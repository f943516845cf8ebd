"""Two hooks of the real backend in one start of its interpreter: the same as one start for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Optional

import pytest

from provision_backend.errors import BackendError, HookFailedError
from provision_backend.hooks import driver
from provision_backend.hooks import forwarded as forward
from provision_backend.hooks.environment import BuildEnvironment
from provision_backend.interpreter import Interpreter
from provision_backend.output import Reporter
from provision_backend.project.pyproject import Project
from provision_backend.settings import Settings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each hook has a process of its own here")

HOOKS = ("get_requires_for_build_wheel", "build_wheel")

BACKEND = """
import os, sys
print("imported by", os.getpid())

def get_requires_for_build_wheel(config_settings=None):
    print("asked in", os.getpid(), config_settings, sys.argv[0].endswith("_in_process.py"))
    return REQUIRES

def build_wheel(directory, config_settings=None, metadata_directory=None):
    alone = not any(path.endswith("hooks") for path in sys.path)
    print("built in", os.getpid(), config_settings, sys.stdin.read(), alone)
    return "a.whl"
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Any:
    """Return a function that calls ``build_wheel`` of a backend, whose source it is given, with its question."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))

    def call(source: str, *, installed: Any = (), backend: str = "toy_real") -> forward.Together:
        module = site.joinpath(*(backend if "." in backend else "toy_real").split(".")).with_suffix(".py")
        module.parent.mkdir(exist_ok=True)
        module.write_text(source)
        project = Project(tmp_path, backend, (), False, (), "", None, "")
        environment = BuildEnvironment(
            venv, Interpreter(sys.executable, "3.13.5"), Settings(), Reporter(), tmp_path, installed=tuple(installed)
        )
        call.environment = environment  # type: ignore[attr-defined]
        return forward.call_together(project, environment, HOOKS, str(tmp_path), {"a": "1"}, None)

    return call


def numbers(output: str) -> List[Optional[str]]:
    """Return the processes that imported, were asked and built; None for what did not happen."""
    lines = {line.split()[0]: line.split()[2] for line in output.splitlines() if " by " in line or " in " in line}
    return [lines.get(word) for word in ("imported", "asked", "built")]


def test_both_hooks_run_and_the_backend_is_imported_once(call: Any, capfd: Any) -> None:
    """The question is put in a process that is forked off, and the wheel is built in the first."""
    done = call(BACKEND.replace("REQUIRES", "[]"))
    output = capfd.readouterr().out
    imported, asked, built = numbers(output)

    assert done == forward.Together([], True, "a.whl")
    assert output.count("imported by") == 1
    assert imported == built != asked
    assert "{'a': '1'} True" in output
    assert "{'a': '1'}  True" in output
    assert list(call.environment.hooks.values()) == [["build_wheel"]]


@pytest.mark.parametrize("backend", driver._WITHOUT_STATE)
def test_a_backend_without_state_is_asked_in_the_same_process(call: Any, capfd: Any, backend: str) -> None:
    """What it imports for the question is not imported again for the wheel."""
    done = call(BACKEND.replace("REQUIRES", "[]"), backend=backend)
    imported, asked, built = numbers(capfd.readouterr().out)

    assert done == forward.Together([], True, "a.whl")
    assert imported == asked == built
    assert call(BACKEND.replace("REQUIRES", "['x']"), backend=backend) == forward.Together(["x"])


def test_what_is_installed_already_is_no_reason_to_wait(call: Any) -> None:
    """A second build in the same environment, mostly."""
    assert call(BACKEND.replace("REQUIRES", "['x']"), installed=["x"]) == forward.Together(["x"], True, "a.whl")


def test_what_has_to_be_installed_first_stops_before_the_second(call: Any, capfd: Any) -> None:
    """The answer is there, and nothing was built."""
    assert call(BACKEND.replace("REQUIRES", "['x', 'y']"), installed=["x"]) == forward.Together(["x", "y"])
    assert numbers(capfd.readouterr().out)[2] is None


@pytest.mark.parametrize(
    ("end", "status", "signal"),
    [("raise ValueError('why')", 1, ""), ("raise SystemExit(7)", 7, ""), ("os.kill(os.getpid(), 9)", -9, "SIGKILL")],
)
@pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "build_wheel"])
@pytest.mark.parametrize("backend", ["toy_real", "flit_core.buildapi"])
def test_a_hook_that_fails_ends_as_it_would_alone(
    call: Any, capfd: Any, backend: str, hook: str, end: str, status: int, signal: str
) -> None:
    """With its exit status, after its own traceback, and by its own name."""
    source = BACKEND.replace("REQUIRES", "[]") + f"\ndef {hook}(*arguments):\n    {end}\n"
    with pytest.raises(HookFailedError) as caught:
        call(source, backend=backend)

    assert caught.value.returncode == status
    assert str(caught.value).startswith(f"the real backend's {hook} ")
    assert signal in str(caught.value)
    assert ("ValueError: why" in capfd.readouterr().err) == ("ValueError" in end)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import nowhere", id="it cannot be imported"),
        pytest.param("1 / 0", id="it fails when it is imported"),
        pytest.param("import warnings; warnings.warn('old')", id="it warns"),
        pytest.param(
            "import threading, time; threading.Thread(target=time.sleep, args=(2,), daemon=True).start()",
            id="it has threads",
        ),
    ],
)
def test_what_an_import_shows_is_left_to_processes_of_their_own(call: Any, capfd: Any, source: str) -> None:
    """They show it as pyproject_hooks has it; here nothing was run."""
    assert call(source + BACKEND.replace("REQUIRES", "[]")) == forward.Together(None)
    assert numbers(capfd.readouterr().out)[1:] == [None, None]


def test_a_backend_without_the_hook_is_not_called(call: Any) -> None:
    """The caller, who knows the hooks now, says so."""
    done = call("def get_requires_for_build_wheel(config_settings=None): return []")

    assert done == forward.Together([])
    assert list(call.environment.hooks.values()) == [[]]


def test_an_answer_that_is_no_list_is_not_taken(call: Any) -> None:
    """As pyproject_hooks, which passes it on, and whoever makes a list of it fails."""
    with pytest.raises(TypeError):
        call(BACKEND.replace("REQUIRES", "None"))


def test_an_object_of_a_module_is_looked_up(call: Any) -> None:
    """``module:object``, as for setuptools' ``__legacy__``."""
    source = "class Api:\n  @staticmethod\n  def build_wheel(directory, config_settings, metadata): return 'b.whl'\n"

    assert call(source, backend="toy_real:Api") == forward.Together([], True, "b.whl")


def test_the_script_is_run_by_any_interpreter_that_can_be_provisioned() -> None:
    """It is read by the interpreter of the build environment, so it imports nothing of ours."""
    text = Path(driver.__file__).read_text(encoding="utf-8")

    assert "from ." not in text
    assert json.dumps("provision_backend") not in text
    assert issubclass(HookFailedError, BackendError)
