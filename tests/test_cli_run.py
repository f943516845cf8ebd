"""``provision-backend run``: this process becomes a program, with an interpreter of ours as its Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import pytest
from support.command_line import Done, bare_machine, ours, ours_on_terminal, variables

from provision_backend.cli.run import command_for, variables_for
from provision_backend.interpreter import Interpreter

__all__ = ["bare_machine"]  # A fixture that every test here uses.

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
REAL = os.path.realpath(sys.executable)
TELL = (
    "import json, os, sys;print(json.dumps([sys.version_info[:2], os.path.realpath(sys.executable), dict(os.environ)]))"
)


@pytest.fixture
def machine(tmp_path: Path) -> List[str]:
    """Return arguments by which ``run`` takes the interpreter that runs the tests."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / f"python{MINOR}").symlink_to(REAL)
    return ["run", MINOR, "--preference", "only-system"]


@pytest.mark.parametrize("name", ["python", "python3", f"python{MINOR}"])
def test_python_means_the_interpreter(machine: List[str], name: str) -> None:
    """Whatever else is called so on the machine, the first word of COMMAND is the interpreter that was asked for."""
    done = ours(*machine, "--", name, "-c", TELL)
    version, executable, environ = json.loads(done.out)

    assert (done.code, done.err, version, executable) == (0, "", list(sys.version_info[:2]), REAL)
    assert environ["PATH"].split(os.pathsep)[0] == os.path.dirname(REAL)


def test_pip_is_the_interpreters_own(machine: List[str]) -> None:
    """``pip`` is run as a module: a script of that name may be another interpreter's."""
    done = ours(*machine, "--", "pip", "--version")

    if subprocess.run([REAL, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        assert done.code == 0, done.err
        assert f"(python {MINOR})" in done.out
    else:  # As on Debian, whose python3 finds no pip outside a virtual environment.
        assert (done.code, done.err) == (1, f"{REAL}: No module named pip\n")


def test_the_first_words_that_mean_the_interpreter() -> None:
    """Names of another version are looked for like any program; a free-threaded one has its ``t``."""
    found = Interpreter("/i/bin/python3.13", "3.13.9")
    threaded = Interpreter("/i/bin/python3.13t", "3.13.9", freethreaded=True)

    assert command_for(found, []) == ["/i/bin/python3.13"]
    assert command_for(found, ["python", "-V"]) == ["/i/bin/python3.13", "-V"]
    assert command_for(found, ["python3.12", "-V"]) == ["python3.12", "-V"]
    assert command_for(found, ["pip3.13", "list"]) == ["/i/bin/python3.13", "-m", "pip", "list"]
    assert command_for(threaded, ["python3.13t"]) == ["/i/bin/python3.13t"]
    assert command_for(found, ["./python"]) == ["./python"]


def test_what_misdirects_an_interpreter_is_not_passed_on(monkeypatch: pytest.MonkeyPatch, machine: List[str]) -> None:
    """Variables of another Python go; everything else stays."""
    for name in ("PYTHONHOME", "_PYPROJECT_HOOKS_BUILD_BACKEND", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("SOMETHING", "kept")
    environ = variables_for(Interpreter(REAL, "3.13.9"))

    assert {"PYTHONHOME", "_PYPROJECT_HOOKS_BUILD_BACKEND", "VIRTUAL_ENV"} & set(environ) == set()
    assert environ["SOMETHING"] == "kept"
    monkeypatch.delenv("PYTHONHOME")
    assert "PYTHONPATH" not in json.loads(ours(*machine, "--", "python", "-c", TELL).out)[2]


def test_arguments_are_passed_on_as_they_are(machine: List[str]) -> None:
    """Only the first ``--`` is ours: options, another ``--``, ``--help`` and odd words are COMMAND's."""
    words = ["--help", "--", "-x", "", "a b", "--json", "é", "--offline"]
    done = ours(*machine, "--", "python", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *words)

    assert (json.loads(done.out), done.err) == (words, "")


@pytest.mark.parametrize("code", [0, 1, 2, 7, 255])
def test_the_exit_code_is_that_of_the_command(machine: List[str], code: int) -> None:
    """Nothing is made of it, and nothing is said."""
    assert ours(*machine, "--", "python", "-c", f"raise SystemExit({code})") == Done(code, "", "")


def test_a_signal_ends_the_command(machine: List[str], tmp_path: Path) -> None:
    """It is the same process: whoever ends what was started ends COMMAND, and is told so by its status."""
    code = f"import time; open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)"
    command = [sys.executable, "-m", "provision_backend", *machine, "--", "python", "-c", code]
    process = subprocess.Popen(command, env=variables())
    end = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()

    assert process.wait(60) == -signal.SIGTERM


def test_signals_are_not_ignored_for_the_command(machine: List[str]) -> None:
    """Python ignores SIGPIPE for itself; inherited, it would keep ``run 3.13 -- yes | head`` from ending."""
    code = "print(open('/proc/self/status').read())" if os.path.exists("/proc/self/status") else ""
    if not code:
        pytest.skip("there is no /proc")
    ignored = subprocess.run(
        [sys.executable, "-m", "provision_backend", *machine, "--", "/bin/cat", "/proc/self/status"],
        env=variables(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    mask = int(next(line.split()[1] for line in ignored.splitlines() if line.startswith("SigIgn")), 16)

    assert not mask & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def test_standard_input_is_passed_on(machine: List[str]) -> None:
    """A program in a pipe reads what comes."""
    command = [sys.executable, "-m", "provision_backend", *machine, "--", "python", "-"]
    done = subprocess.run(command, env=variables(), input=b"print(6 * 7)", stdout=subprocess.PIPE)

    assert (done.returncode, done.stdout) == (0, b"42\n")


def test_without_a_command_the_interpreter_itself_starts(machine: List[str]) -> None:
    """On a terminal a person gets its prompt, and leaves with its own exit code."""
    done = ours_on_terminal(*machine, env={"TERM": "dumb", "PYTHON_BASIC_REPL": "1"}, typed=b"6 * 7\nexit(3)\n")

    assert done.code == 3
    assert f"Python {MINOR}." in done.out
    assert "\n42\n" in done.out


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        pytest.param(["no-such-program"], 127, "No such file or directory", id="not there"),
        pytest.param(["/no/such/program"], 127, "No such file or directory", id="no such path"),
        pytest.param(["/"], 126, "Permission denied", id="a folder"),
        pytest.param(["/etc/passwd/x"], 126, "Not a directory", id="below a file"),
    ],
)
def test_a_command_that_cannot_be_started(machine: List[str], words: List[str], code: int, reason: str) -> None:
    """The codes are those of shells and of env(1), and the message names the program."""
    message = f"provision-backend: could not start {words[0]!r}: {reason}\n"

    assert ours(*machine, "--", *words) == Done(code, "", message)


def test_json_is_refused_with_a_reason(machine: List[str]) -> None:
    """Standard output is COMMAND's."""
    assert ours(*machine, "--json", "--", "python", "-V") == Done(
        2,
        "",
        "provision-backend: run prints what COMMAND prints, so it has no --json\n"
        "  'provision-backend find --json' describes the interpreter; options of COMMAND stand after --\n",
    )


def test_a_command_without_dashes_is_wrong_use(machine: List[str]) -> None:
    """Which option is whose would be a guess."""
    done = ours(*machine, "python", "-V")

    assert (done.code, done.out) == (2, "")
    assert "usage: provision-backend run [OPTIONS] [REQUEST] [-- COMMAND ...]" in done.err


def test_an_interpreter_that_cannot_be_had_is_a_no(machine: List[str]) -> None:
    """COMMAND is not started then, and the exit code is ours."""
    done = ours("run", "3.99", "--preference", "only-system", "--", "python", "-V")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("provision-backend: no interpreter of this machine satisfies python '3.99'\n")


PROJECT = """
[project]
name = "toy"
version = "1"
{requires}
"""

WRAPPED = """
[tool.provision-backend]
build-backend = "toy"
requires = []
"""


def _project(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("request_words", [[], ["."]], ids=["absent", "dot"])
@pytest.mark.parametrize("wrapped", ["", WRAPPED], ids=["not wrapped", "wrapped"])
@pytest.mark.usefixtures("machine")
def test_the_project_of_this_folder_is_a_request(tmp_path: Path, request_words: List[str], wrapped: str) -> None:
    """Its requires-python decides, whether it builds with us or not."""
    fits = _project(tmp_path / "fits", PROJECT.format(requires=f'requires-python = ">={MINOR}"') + wrapped)
    newer = _project(tmp_path / "newer", PROJECT.format(requires='requires-python = ">=3.99"') + wrapped)
    options = ["--preference", "only-system"]

    assert ours("find", *request_words, *options, cwd=fits).out == f"{REAL}\n"
    assert ours("run", *request_words, *options, "--", "python", "-c", "print(1)", cwd=fits).out == "1\n"
    assert ours("find", *request_words, *options, cwd=newer).err.startswith(
        "provision-backend: no interpreter of this machine satisfies requires-python '>=3.99'\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[", "pyproject.toml is not valid TOML: ", id="no TOML"),
        pytest.param(
            PROJECT.format(requires='requires-python = "3.x"'),
            "pyproject.toml: project.requires-python must be a version specifier",
            id="no specifier",
        ),
        pytest.param(
            PROJECT.format(requires="requires-python = 3"),
            "pyproject.toml: project.requires-python must be a version specifier",
            id="no text",
        ),
    ],
)
def test_a_folder_without_a_usable_project_is_a_no(tmp_path: Path, text: str, message: str) -> None:
    """The message names what is wrong, and what to do in place of it."""
    folder = tmp_path / "project"
    folder.mkdir()
    _project(folder, text)
    for arguments in (["find"], ["install", "."], ["run"], ["list", "."]):
        done = ours(*arguments, cwd=folder)

        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"provision-backend: {message.format(folder=folder)}")
        assert done.err.endswith("\n  name a version such as 3.13, or go to the folder of a project\n")


@pytest.mark.slow
def test_run_provisions_what_is_not_there(mirror: Path, tmp_path: Path) -> None:
    """A real archive becomes an interpreter, which then runs what was asked for; scripts find it by their names too."""
    environ: Dict[str, str] = {
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror),
        "PATH": "/usr/bin:/bin",
    }
    first = ours("run", ">=3.12", "--preference", "only-managed", "--", "python", "-c", TELL, env=environ)

    assert first.code == 0, first.err
    _, executable, _ = json.loads(first.out)
    assert executable.startswith(str(tmp_path / "cache" / "interpreters"))
    inner = ours("run", ">=3.12", "--", "/bin/sh", "-c", "python -c 'import sys; print(sys.executable)'", env=environ)
    assert os.path.realpath(inner.out.strip()) == executable
    assert inner.err == ""
    assert "pip" in ours("run", ">=3.12", "--", "pip", "--version", env=environ).out
    folder = _project(tmp_path / "project", PROJECT.format(requires='requires-python = ">=3.12"') + WRAPPED)
    installed = ours("install", "--json", env=environ, cwd=folder)
    assert installed.json["executable"] == executable
    assert [row["executable"] for row in ours("list", ".", "--json", env=environ, cwd=folder).json] == [executable]
