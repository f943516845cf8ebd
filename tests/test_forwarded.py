"""Forwarding: hooks in processes of their own, with real signals, pipes and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.toys import Host, host_environment, project_of

from provision_backend.errors import BackendError, HookFailedError
from provision_backend.hooks import forwarded as forward
from provision_backend.hooks.forwarded import CurrentEnvironment
from provision_backend.hooks.frontend import UnsupportedOperation
from provision_backend.hooks.in_process import import_advice
from provision_backend.project.pyproject import Project, read_project

pytestmark = pytest.mark.slow

WAITS = """
import os, subprocess, sys, time
from minimal import *

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    {before}
    with open(os.environ["PIDS"], "w") as file:
        file.write("%d %d" % (os.getppid(), os.getpid()))
    os.rename(os.environ["PIDS"], os.environ["PIDS"] + ".ready")
    time.sleep(200)
"""


def project(tmp_path: Path, backend: str = "from minimal import *", **more: Any) -> Project:
    return read_project(project_of(tmp_path / "toy", backend, **more))


def failing(statement: str) -> str:
    return f"""
import os, signal, sys
from minimal import *

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    {statement}
"""


class TestCallHook:
    """`call_hook`."""

    def test_arguments_arrive_and_the_answer_comes_back(self, tmp_path: Path) -> None:
        """JSON in and JSON out; nested values and None too (frontends 1.3)."""
        source = """
from minimal import *
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return [wheel_directory, config_settings, metadata_directory]
"""
        settings = {"a": ["1", "2"], "b": "", "c": {"d": None, "e": True}}
        answer = forward.call_hook(
            project(tmp_path, source), CurrentEnvironment(), "build_wheel", "/out", settings, None
        )

        assert answer == ["/out", settings, None]

    def test_a_missing_metadata_hook_is_answered_from_a_wheel(self, tmp_path: Path) -> None:
        """As pyproject_hooks does for every frontend; the wheel then serves build_wheel too."""
        source = """
from minimal import build_sdist
from minimal import build_wheel as make

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("building")
    return make(wheel_directory)
"""
        mine, place = project(tmp_path, source), str(tmp_path)
        name = forward.call_hook(mine, CurrentEnvironment(), "prepare_metadata_for_build_wheel", place, None)

        assert name == "toy-1.0.dist-info"
        assert (tmp_path / name / "METADATA").exists()

    @pytest.mark.parametrize(
        ("statement", "returncode", "message"),
        [
            pytest.param("sys.exit(7)", 7, "ended with exit status 7", id="exit status"),
            pytest.param("os._exit(9)", 9, "ended with exit status 9", id="hard exit"),
            pytest.param("raise ValueError(1)", 1, "ended with exit status 1", id="exception"),
            pytest.param("os.kill(os.getpid(), signal.SIGKILL)", -9, "was ended by the signal SIGKILL", id="killed"),
        ],
    )
    def test_a_failure_keeps_its_code(self, tmp_path: Path, statement: str, returncode: int, message: str) -> None:
        """The exit code of the hook's process is that of the error."""
        with pytest.raises(HookFailedError) as caught:
            forward.call_hook(
                project(tmp_path, failing(statement)), CurrentEnvironment(), "build_wheel", str(tmp_path), None, None
            )

        assert caught.value.returncode == returncode
        assert str(caught.value) == f"the real backend's build_wheel {message}"

    @pytest.mark.parametrize("statement", ["sys.exit()", "os._exit(0)"])
    def test_a_backend_that_ends_before_it_has_answered(self, tmp_path: Path, statement: str) -> None:
        """An exit status of 0 is no answer: a setup.py that leaves early looks like that."""
        with pytest.raises(BackendError, match=r"^the real backend 'toy_backend' has ended its process before it"):
            forward.call_hook(
                project(tmp_path, failing(statement)), CurrentEnvironment(), "build_wheel", str(tmp_path), None, None
            )

    def test_an_sdist_that_cannot_be_made(self, tmp_path: Path) -> None:
        """The exception of PEP 517 arrives with the real backend's own traceback as its text."""
        source = """
from minimal import *
class UnsupportedOperation(Exception): pass
def build_sdist(sdist_directory, config_settings=None):
    raise UnsupportedOperation("no version control")
"""
        with pytest.raises(UnsupportedOperation, match="no version control"):
            forward.call_hook(project(tmp_path, source), CurrentEnvironment(), "build_sdist", str(tmp_path), None)

    @pytest.mark.parametrize(
        ("name", "table", "message", "traceback"),
        [
            pytest.param(
                "nowhere.api",
                "",
                "the real backend 'nowhere.api' could not be imported under Python {version}: Cannot find module "
                "'nowhere.api' in ['{root}/backends']\n"
                "  tool.provision-backend.backend-path must lead to it, found backends",
                False,
                id="no module in the tree",
            ),
            pytest.param(
                "toy_backend",
                "",
                "the real backend 'toy_backend' could not be imported under Python {version}: "
                "No module named 'nowhere'\n"
                "  tool.provision-backend.backend-path must lead to it, found backends",
                True,
                id="what it imports is missing",
            ),
        ],
    )
    def test_a_backend_that_cannot_be_imported(
        self,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        name: str,
        table: str,
        message: str,
        traceback: bool,
    ) -> None:
        """The message names the module; the traceback is shown where the fault is deeper (frontends 2.5)."""
        mine = project(tmp_path, "import nowhere", name=name, table=table)
        with pytest.raises(BackendError) as caught:
            forward.call_hook(mine, CurrentEnvironment(), "build_wheel", str(tmp_path), None, None)

        expected = message.format(version=CurrentEnvironment.version, root=mine.root)
        assert str(caught.value) == expected
        assert ("Traceback" in capfd.readouterr().err) == traceback


class TestImportAdvice:
    """`import_advice`."""

    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            pytest.param(
                'requires = ["flit_core>=3"]',
                "tool.provision-backend.requires must name what provides it, found flit_core>=3",
                id="table",
            ),
            pytest.param(
                "requires = []", "tool.provision-backend.requires must name what provides it", id="empty table"
            ),
            pytest.param("", "build-system.requires must name what provides it, found flit_core", id="one list"),
        ],
    )
    def test_advice(self, tmp_path: Path, table: str, expected: str) -> None:
        """Advice names the list that is used, and what it has."""
        text = '[build-system]\nrequires = ["provision-backend", "flit_core"]\nbuild-backend = "provision_backend"\n'
        text += f'[tool.provision-backend]\nbuild-backend = "flit_core.buildapi"\n{table}\n'
        (tmp_path / "pyproject.toml").write_text(text)

        assert import_advice(read_project(tmp_path)) == expected


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return host_environment(tmp_path_factory.mktemp("host") / "build-env-x")


@pytest.fixture
def forwarded(host: Host) -> Dict[str, str]:
    """Return the setting by which a hook is forwarded: the running interpreter, by a path that is not its own."""
    from support.toys import another_interpreter

    return {"PROVISION_BACKEND_PYTHON": str(another_interpreter().path)}


class TestThroughAFrontend:
    """The whole way: frontend, hook process, process of the real backend."""

    def test_standard_input_is_never_inherited(self, tmp_path: Path, host: Host, forwarded: Dict[str, str]) -> None:
        """Tox sends its commands there; a child must see its end at once (frontends 1.5 and 6.8)."""
        source = failing("name = repr(sys.stdin.read()); open(os.path.join(wheel_directory, name), 'w'); return name")
        mine = project_of(tmp_path / "toy", source)

        assert host.hook(mine, "build_wheel", str(tmp_path), None, env=forwarded) == "''"

    def test_output_comes_in_order_and_where_it_belongs(
        self, tmp_path: Path, host: Host, forwarded: Dict[str, str]
    ) -> None:
        """In one pipe what we say stands before what the real backend says; its streams stay apart (frontends 1.1)."""
        source = failing("print('to out', flush=True); print('to err', file=sys.stderr); return '.'")
        mine = project_of(tmp_path / "toy", source)
        env = {**forwarded, "PROVISION_BACKEND_VERBOSE": "1"}
        host.hook(mine, "build_wheel", str(tmp_path), None, env=env)

        assert host.stdout == "to out\n"
        assert host.stderr.endswith("to err\n")
        environ = {**host.environ, **env}
        code = "print('hello'); import provision_backend; provision_backend.build_wheel('.')"
        done = subprocess.run(
            [str(host.python), "-c", code], cwd=str(mine), env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        words = [line.split()[-1] for line in done.stdout.decode().splitlines()]
        assert words.index("hello") < words.index("out") < words.index("err")
        assert b"build_wheel of toy_backend under" in done.stdout.partition(b"to out")[0]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
    @pytest.mark.parametrize("group", [False, True], ids=["the hook process alone", "the group"])
    def test_nothing_goes_on_after_a_signal(
        self, tmp_path: Path, host: Host, forwarded: Dict[str, str], number: signal.Signals, group: bool
    ) -> None:
        """Ctrl-C and kill end the hook and the real backend's process below it (frontends 6.9)."""
        mine = project_of(tmp_path / "toy", WAITS.format(before="pass"))
        process, parent, child = self._start(mine, tmp_path, host, forwarded)
        assert parent == process.pid
        if group:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)

        assert process.wait(60) == -number
        assert is_gone(child)

    def test_a_real_backend_that_ignores_ctrl_c_is_ended(
        self, tmp_path: Path, host: Host, forwarded: Dict[str, str]
    ) -> None:
        """It is asked to end, and then it is killed."""
        before = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]"
        mine = project_of(tmp_path / "toy", WAITS.format(before=before))
        process, _, child = self._start(mine, tmp_path, host, forwarded)
        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(60) == -signal.SIGINT
        assert is_gone(child)

    @staticmethod
    def _start(mine: Path, tmp_path: Path, host: Host, forwarded: Dict[str, str]) -> Any:
        pids = tmp_path / "pids"
        environ = {**host.environ, **forwarded, "PIDS": str(pids)}
        command = [str(host.python), "-c", "import provision_backend; provision_backend.build_wheel('.')"]
        process = subprocess.Popen(
            command, cwd=str(mine), env=environ, stderr=subprocess.DEVNULL, start_new_session=True
        )
        ready = tmp_path / "pids.ready"
        until = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        parent, child = map(int, ready.read_text().split())
        return process, parent, child


def is_gone(pid: int) -> bool:
    """Whether a process ends within a few seconds; one that nobody has waited for counts as ended."""
    for _ in range(250):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


SIGTERM_AFTER = """
import os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from provision_backend.processes import run_quiet, run_visible
{setup}
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
{call}
print("went on")
"""


class TestSigterm:
    """A SIGTERM to the process that runs another program (frontends 6.9)."""

    @pytest.mark.parametrize(
        ("setup", "call", "expected"),
        [
            pytest.param("", "run_quiet(['sleep', '60'])", (-15, ""), id="what is run quietly"),
            pytest.param("", "run_visible(['sleep', '60'])", (-15, ""), id="what is run visibly"),
            pytest.param("", "run_quiet(['true']); time.sleep(60)", (-15, ""), id="after a program"),
            pytest.param(
                "signal.signal(signal.SIGTERM, lambda *a: sys.exit(3))",
                "run_quiet(['sleep', '60'])",
                (3, ""),
                id="a handler of the frontend's own",
            ),
            pytest.param(
                "",
                "t = threading.Thread(target=run_quiet, args=(['sleep', '2'],)); t.start(); t.join()",
                (-15, ""),
                id="in another thread",
            ),
        ],
    )
    def test_sigterm(self, setup: str, call: str, expected: Any) -> None:
        """The process ends at once and by the signal, as it would without a child."""
        root = str(Path(__file__).resolve().parent.parent)
        seconds = f"60.{os.getpid()}"  # Tells our sleeper from those of other test processes.
        code = SIGTERM_AFTER.format(root=root, setup=setup, call=call.replace("'60'", repr(seconds)))
        before = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=50)

        assert (done.returncode, done.stdout.decode()) == expected
        assert time.monotonic() - before < 20
        assert sleepers(seconds) == []


def sleepers(seconds: str) -> List[str]:
    """Return the processes that sleep for this time."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(entry.parent.name)
    return found
