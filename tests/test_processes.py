"""Running other programs: what comes back, which variables stay behind, and how each failure reads."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from provision_backend import processes, variables
from provision_backend.errors import InterpreterError
from provision_backend.processes import (
    CompletedOutput,
    abnormal_end,
    describe_end,
    last_lines,
    run_interpreter_json,
    run_quiet,
    run_visible,
)
from provision_backend.systems import SYSTEMS
from provision_backend.variables import DROPPED_VARIABLES, clean_environment, drop_variables


def make_program(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


class TestRunQuiet:
    """`run_quiet`."""

    def test_returns_what_a_program_printed(self) -> None:
        """Exit status and both streams come back, and a non-zero status is no error."""
        done = run_quiet(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])

        assert done == CompletedOutput(3, "out\n", "err\n")

    def test_child_has_no_standard_input(self) -> None:
        """A program that asks a question reads the end of the file at once."""
        assert run_quiet(["/bin/sh", "-c", "cat; echo end"]).stdout == "end\n"

    def test_bytes_that_are_not_utf8_are_shown(self) -> None:
        """Output in another encoding is no reason to fail."""
        assert run_quiet(["/bin/sh", "-c", r"printf 'caf\351'"]).stdout == "caf\\xe9"

    def test_output_may_be_paths(self) -> None:
        """They are decoded as this process decodes the name of a file, so that they can be used."""
        assert run_quiet(["/bin/sh", "-c", r"printf '/caf\351'"], paths=True).stdout == os.fsdecode(b"/caf\xe9")

    def test_environment_and_folder_are_those_given(self, tmp_path: Path) -> None:
        """The child sees the variables and the working directory that were passed, and no others."""
        done = run_quiet(["/bin/sh", "-c", 'echo "$MINE|$HOME"; pwd -P'], env={"MINE": "1"}, cwd=str(tmp_path))

        assert done.stdout.splitlines() == ["1|", str(tmp_path.resolve())]

    def test_program_that_does_not_end_is_killed(self) -> None:
        """A program that hangs ends in a message with the time it was given."""
        with pytest.raises(InterpreterError) as caught:
            run_quiet(["sleep", "60"], timeout=0.2)

        assert str(caught.value) == "'sleep' did not end within 0.2 seconds and was killed"

    def test_missing_program_is_named(self, tmp_path: Path) -> None:
        """What is not there gets no guess about loaders."""
        program = str(tmp_path / "python")
        with pytest.raises(InterpreterError) as caught:
            run_quiet([program])

        assert str(caught.value) == f"could not start {program!r}: No such file or directory"

    def test_missing_loader_is_explained(self, tmp_path: Path) -> None:
        """The kernel says "no such file" for a program that is there when its loader is not (uv#4242)."""
        program = str(make_program(tmp_path / "python", "#!/nowhere/ld-musl-x86_64.so.1\n"))
        with pytest.raises(InterpreterError) as caught:
            run_quiet([program])

        assert str(caught.value) == (
            f"could not start {program!r}: No such file or directory\n"
            "  the file is there, so the loader that it names is not: was it built for another libc?"
        )

    @pytest.mark.parametrize(
        ("mode", "message"),
        [
            pytest.param(
                0o755,
                "Exec format error\n  it is no program for this machine: was it built for another architecture?",
                id="no program",
            ),
            pytest.param(
                0o644,
                "Permission denied\n  it is not executable for this user, or its file system is mounted noexec",
                id="not executable",
            ),
        ],
    )
    def test_program_that_cannot_be_run_is_explained(self, tmp_path: Path, mode: int, message: str) -> None:
        """A foreign file and a missing permission each say what may be the cause."""
        program = str(make_program(tmp_path / "python", "\0\0\0\0", mode))
        with pytest.raises(InterpreterError) as caught:
            run_quiet([program])

        assert str(caught.value) == f"could not start {program!r}: {message}"

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
    @pytest.mark.parametrize(
        ("limit", "value", "message"),
        [
            (
                "RLIMIT_NPROC",
                0,
                "Resource temporarily unavailable\n"
                "  let this user or container have more processes: 'ulimit -u' shows the limit of the user",
            ),
            (
                "RLIMIT_NOFILE",
                3,
                "Too many open files: '/dev/null'\n  let this process open more files: ulimit -n 1024",
            ),
        ],
    )
    def test_a_limit_is_not_blamed_on_the_program(self, limit: str, value: int, message: str) -> None:
        """What this process may not have is named, with how to get it."""
        code = (
            "import os, resource, sys; from provision_backend.processes import run_quiet\n"
            "if os.geteuid() == 0: os.setuid(64001)\n"  # Root has as many processes as it wants.
            f"resource.setrlimit(resource.{limit}, ({value}, {value}))\n"
            "try: run_quiet(['/bin/sh', '-c', ':'])\nexcept Exception as exc: print(type(exc).__name__, exc)"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "LC_ALL": "C"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )

        assert (done.stderr, done.stdout) == ("", f"InterpreterError could not start '/bin/sh': {message}\n")

    def test_a_root_without_devices_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Programs get the empty device as standard input, and a chroot may lack it."""
        monkeypatch.setattr(os, "devnull", str(tmp_path / "null"))
        with pytest.raises(InterpreterError) as caught:
            run_quiet([sys.executable, "-c", ""])

        assert str(caught.value) == (
            f"could not start {sys.executable!r}: No such file or directory: '{tmp_path}/null'\n"
            "  a root file system needs /dev: bind that of the machine"
        )

    def test_missing_folder_is_not_blamed_on_the_program(self, tmp_path: Path) -> None:
        """A working directory that is gone is named itself."""
        folder = str(tmp_path / "gone")
        with pytest.raises(InterpreterError) as caught:
            run_quiet(["/bin/sh"], cwd=folder)

        assert str(caught.value) == f"could not start '/bin/sh': No such file or directory: {folder!r}"


class TestRunVisible:
    """`run_visible`."""

    def test_prints_to_standard_error_only(self, capfd: pytest.CaptureFixture[str]) -> None:
        """What the program prints is seen, and standard output stays ours."""
        returncode = run_visible(["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 4"])

        assert (returncode, capfd.readouterr()) == (4, ("", "out\nerr\n"))

    def test_missing_program_is_named(self, tmp_path: Path) -> None:
        """A program that cannot be started is our error, not the system's."""
        with pytest.raises(InterpreterError, match="No such file or directory"):
            run_visible([str(tmp_path / "pip")])


class TestCleanEnvironment:
    """`clean_environment`."""

    @pytest.mark.parametrize(
        "name",
        [
            *sorted(name for name in DROPPED_VARIABLES if not name.endswith("*") and name != "_PYTHON_HOST_PLATFORM"),
            "_PYPROJECT_HOOKS_BUILD_BACKEND",
            "_PYPROJECT_HOOKS_BACKEND_PATH_JSON",
            "PEP517_BACKEND_PATH",
        ],
    )
    def test_drops(self, name: str) -> None:
        """A variable that stops or misdirects another Python stays behind."""
        assert clean_environment({name: "x", "PATH": "/bin"}) == {
            "PATH": "/bin",
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @pytest.mark.parametrize(
        "name",
        ["PIP_BUILD_TRACKER", "PIP_INDEX_URL", "LD_LIBRARY_PATH", "PYTHONWARNINGS", "CC", "MACOSX_DEPLOYMENT_TARGET"],
    )
    def test_keeps(self, name: str) -> None:
        """What the user or pip's guard against recursion says reaches the child."""
        assert clean_environment({name: "x"}) == {name: "x", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_host_platform_is_kept_on_macos_only(self, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Universal builds of macOS set it deliberately; elsewhere it spoils the wheel's tag."""
        monkeypatch.setattr(variables, "RUNNING", SYSTEMS[system])

        kept = "_PYTHON_HOST_PLATFORM" in clean_environment({"_PYTHON_HOST_PLATFORM": "x"})
        assert kept == (system == "macos")

    def test_starts_from_this_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an argument the variables of this process are cleaned, and left as they are here."""
        monkeypatch.setenv("PYTHONHOME", "/nowhere")
        monkeypatch.setenv("MINE", "1")

        assert "PYTHONHOME" not in clean_environment()
        assert clean_environment()["MINE"] == "1"
        assert os.environ["PYTHONHOME"] == "/nowhere"

    @pytest.mark.parametrize("name", ["PYTHONHOME", "PYTHONPLATLIBDIR"])
    def test_python_starts_in_it(self, name: str) -> None:
        """A real interpreter that would die of the variable starts."""
        environ = clean_environment({**os.environ, name: "/nowhere"})
        done = subprocess.run([sys.executable, "-c", "print(1)"], env=environ, stdout=subprocess.PIPE, check=False)

        assert (done.returncode, done.stdout) == (0, b"1\n")


class TestRunInterpreterJson:
    """`run_interpreter_json`."""

    def test_returns_what_the_code_printed(self) -> None:
        """The answer of a real interpreter comes back as a dictionary."""
        code = "import json, sys; print(json.dumps({'major': sys.version_info[0], 'isolated': sys.flags.isolated}))"

        assert run_interpreter_json(Path(sys.executable), code) == {"major": 3, "isolated": 1}

    def test_only_the_last_line_counts(self) -> None:
        """A site directory that prints something at start-up does no harm."""
        assert run_interpreter_json(Path(sys.executable), "print('hello'); print('{}')") == {}

    @pytest.mark.parametrize("variables", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["UTF-8", "ASCII"])
    def test_a_path_is_that_of_this_process(self, tmp_path: Path, variables: Dict[str, str]) -> None:
        """The interpreter ignores PYTHONUTF8, and reads other characters where this process has ASCII alone."""
        folder = os.path.join(os.fsencode(tmp_path), b"caf\xc3\xa9-\xff")
        os.mkdir(folder)
        asked = "import json, os, sys; print(json.dumps({'paths': {os.getcwd(): sys.argv[1:]}, 'lone': chr(0xd800)}))"
        code = (
            "import os, sys; from pathlib import Path; from provision_backend.processes import run_interpreter_json;"
            f"here = os.getcwd(); found = run_interpreter_json(Path(sys.executable), {asked!r}, arguments=[here]);"
            "print(found == {'paths': {here: [here]}, 'lone': chr(0xd800)}, sys.getfilesystemencoding())"
        )
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "LC_ALL": "C", **variables}
        done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=folder, capture_output=True, text=True)

        assert (done.stderr, done.stdout) == ("", "True ascii\n" if variables else "True utf-8\n")

    def test_code_may_end_the_interpreter(self) -> None:
        """Then it says nothing of its encoding, which is taken for that of this process."""
        code = "import json, sys; print(json.dumps({'text': chr(233)})); sys.exit()"

        assert run_interpreter_json(Path(sys.executable), code) == {"text": "é"}

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            pytest.param("echo hello", "did not answer like a Python: wanted a JSON object, found 'hello'", id="text"),
            pytest.param("echo '[1]'", "did not answer like a Python: wanted a JSON object, found '[1]'", id="list"),
            pytest.param("true", "did not answer like a Python: wanted a JSON object, found ''", id="nothing"),
            pytest.param("echo why >&2; exit 3", "ended with exit status 3\n  why", id="exit status"),
            pytest.param("kill -SEGV $$", "was ended by the signal SIGSEGV", id="crash"),
            pytest.param(
                "kill -ILL $$",
                "was ended by the signal SIGILL\n  it was built for a newer CPU than this one",
                id="newer CPU",
            ),
            pytest.param(
                "printf 'pyenv: python: command not found\\n\\nIt exists in:\\n  3.13.0\\n  3.12.1\\n' >&2; exit 127",
                "is a script that ended with exit status 127\n"
                "  pyenv: python: command not found\n  It exists in:\n    3.13.0\n    3.12.1",
                id="shim",
            ),
        ],
    )
    def test_failure_says_what_happened(self, tmp_path: Path, script: str, message: str) -> None:
        """Each way in which an interpreter may fail has its own sentence."""
        program = make_program(tmp_path / "python", f"#!/bin/sh\n{script}\n")
        with pytest.raises(InterpreterError) as caught:
            run_interpreter_json(program, "")

        assert str(caught.value) == f"{str(program)!r} {message}"

    def test_a_program_whose_library_is_missing(self, tmp_path: Path) -> None:
        """The loader of an ELF program ends with 127, as that of an older libc does where a symbol is missing."""
        program = shutil.copy(os.path.realpath("/bin/sh"), str(tmp_path / "python"))
        content = Path(program).read_bytes()
        if b"\0libc.so.6\0" not in content:
            pytest.skip("needs a shell of glibc, as a program that is smaller than a Python")
        Path(program).write_bytes(content.replace(b"\0libc.so.6\0", b"\0libx.so.6\0"))
        with pytest.raises(InterpreterError) as caught:
            run_interpreter_json(Path(program), "")

        found = str(caught.value).splitlines()
        assert found[0] == f"{program!r} could not be loaded: a library or a symbol that it needs is missing"
        assert "libx.so.6" in found[1]

    def test_a_program_that_cannot_be_read_has_a_status_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What may be executed and not be read, as root reads everything here, is not said to lack anything."""
        monkeypatch.setattr(processes, "run_quiet", lambda *_, **__: CompletedOutput(127, "", "why\n"))
        with pytest.raises(InterpreterError) as caught:
            run_interpreter_json(Path("/none/python"), "")

        assert str(caught.value) == "'/none/python' ended with exit status 127\n  why"

    def test_long_errors_are_cut_to_their_end(self, tmp_path: Path) -> None:
        """Of a traceback the last three lines are shown."""
        program = make_program(tmp_path / "python", "#!/bin/sh\nfor n in 1 2 3 4 5; do echo $n >&2; done; exit 1\n")
        with pytest.raises(InterpreterError) as caught:
            run_interpreter_json(program, "")

        assert caught.value.hint == "3\n4\n5"

    def test_unnamed_signal_is_shown_by_number(self, tmp_path: Path) -> None:
        """A real-time signal has no name in every Python."""
        program = make_program(tmp_path / "python", "#!/bin/sh\nkill -40 $$\n")
        with pytest.raises(InterpreterError) as caught:
            run_interpreter_json(program, "")

        assert str(caught.value) == f"{str(program)!r} was ended by the signal 40"


@pytest.mark.parametrize(
    ("returncode", "end"),
    [
        (0, ""),
        (3, ""),
        (-9, "the signal SIGKILL"),
        (0xC0000005, "the exception 0xC0000005 (access violation)"),
        (0xC0000374, "the exception 0xC0000374"),
    ],
)
def test_what_has_ended_a_program(returncode: int, end: str) -> None:
    """An exception of Windows has the place of a signal, and both are told from an exit status."""
    assert abnormal_end(returncode) == end


def test_a_python_of_windows_without_ctypes_asks_for_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook then runs without a job, and what it does not know is unknown."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    windows = runpy.run_path(str(Path(processes.__file__).with_name("windows.py")))

    with windows["end_with"](lambda: False, lambda _number, _frame: None, every=1.0, grace=1.0):
        assert windows["frontend_id"]() == os.getppid()
    assert windows["has_ended"](windows["open_process"](1)) is False
    assert windows["is_alive"](1) is None
    assert windows["programs_above"](1) == []
    assert windows["allows_long_paths"]() is False


@pytest.mark.parametrize(("system", "left"), [("linux", ["pythonhome", "Pep517_X", "Path"]), ("windows", ["Path"])])
def test_a_variable_has_any_case_on_windows(monkeypatch: pytest.MonkeyPatch, system: str, left: List[str]) -> None:
    """There ``PythonHome`` is ``PYTHONHOME``; elsewhere it is another variable."""
    monkeypatch.setattr(variables, "RUNNING", SYSTEMS[system])
    given = dict.fromkeys(("pythonhome", "Pep517_X", "Path", "PYTHONHOME"), "x")

    assert list(drop_variables(given, ["PYTHONHOME", "PEP517_*"])) == left


def test_last_lines_are_the_end_without_gaps() -> None:
    """Of a long output the end says why."""
    assert last_lines("\n\n".join(map(str, range(30)))) == "\n".join(map(str, range(15, 30)))


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX closes the stream")
def test_what_is_printed_goes_to_a_file_where_standard_output_is_closed(tmp_path: Path) -> None:
    """A program that has closed it still gets the output of its children into the log, and no traceback."""
    code = (
        "import sys; from pathlib import Path\n"
        "from provision_backend.processes import run_visible, standard_output_to\n"
        "with standard_output_to(Path(sys.argv[1])):\n"
        "    run_visible([sys.executable, '-c', 'print(1)'], stdout=None)\n"
    )
    log = tmp_path / "log"
    command = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code, str(log)]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(processes.__file__).parent.parent)}
    )

    assert (done.returncode, done.stderr, log.read_bytes()) == (0, b"", b"1\n")


def _quietly(_folder: Path) -> None:
    processes.run_quiet(["sleep", "200"])


def _beside(folder: Path) -> None:
    processes.start_program(["sleep", "200"], folder / "log", cwd=str(folder))


@pytest.mark.skipif(sys.platform == "win32", reason="there a process cannot send a signal to itself alone")
@pytest.mark.parametrize("start", [_quietly, _beside])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"])
def test_a_signal_while_a_program_is_started_ends_it(
    start: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's ``Popen`` would leave the program running: nobody has its handle yet."""
    started: List[subprocess.Popen[bytes]] = []
    number = getattr(signal, name)

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    (child,) = started
    assert child.returncode == -signal.SIGTERM
    assert after is signal.default_int_handler


@pytest.mark.parametrize(
    ("returncode", "text"), [(1, "ended with exit status 1"), (-signal.SIGKILL, "was ended by the signal SIGKILL")]
)
def test_the_end_of_a_program_is_described(returncode: int, text: str) -> None:
    """A minus in front of a number says nothing to most people."""
    assert describe_end(returncode) == text
