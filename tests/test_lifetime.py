"""What a hook runs ends with the frontend: real processes, and signals that they really get."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
from support.servers import RawServer

from provision_backend import frontend_watch as lifetime
from provision_backend.processes import run_visible, start_program
from provision_backend.termination import end_programs

# A frontend starts a hook, the hook starts a program; each writes its process id where the test reads it.
_FRONTEND = """
import subprocess, sys
hook = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
hook.wait()
"""
_HOOK = """
import os, sys
from provision_backend.frontend_watch import follow_frontend
from provision_backend.processes import run_visible
import contextlib
with follow_frontend() if sys.argv[3] == "follows" else contextlib.suppress():
    open(sys.argv[1], "w").write(str(os.getpid()))
    run_visible([sys.executable, "-c", sys.argv[4], sys.argv[2]])
"""
_PROGRAM = """
import os, subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {below.pid}")
below.wait()
"""
ROOT = Path(__file__).resolve().parent.parent


class Family:
    """A frontend, the hook that it has called, the program that the hook runs, and what that has started."""

    def __init__(self, folder: Path, *, follows: bool) -> None:
        notes = [folder / "hook", folder / "program"]
        arguments = [*map(str, notes), "follows" if follows else "alone", _PROGRAM]
        command = [sys.executable, "-c", _FRONTEND, _HOOK, *arguments]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.frontend = subprocess.Popen(
            command, env=environ, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        wait_until(lambda: all(note.exists() and note.read_text() for note in notes), 30)
        self.hook, self.program, self.below = (int(pid) for note in notes for pid in note.read_text().split())


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def has_ended(pid: int) -> bool:
    """Whether a process has ended, even if nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Family]:
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc tells which processes are there")
    made = Family(tmp_path, follows=getattr(request, "param", True))
    yield made
    with contextlib.suppress(ProcessLookupError):
        os.killpg(made.frontend.pid, signal.SIGKILL)
    made.frontend.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_hook_and_program_end_when_the_frontend_has_ended(family: Family, number: signal.Signals) -> None:
    """A hook that nobody waits for any more ends what it runs, and then itself."""
    family.frontend.send_signal(number)
    assert wait_until(lambda: all(map(has_ended, (family.program, family.hook, family.below))), 20)


def test_program_ends_when_the_hook_is_killed(family: Family) -> None:
    """The kernel tells the program that its parent was killed, which no handler could."""
    os.kill(family.hook, signal.SIGKILL)
    assert wait_until(lambda: has_ended(family.program), 20)


@pytest.mark.parametrize("family", [False], indirect=True, ids=["alone"])
def test_a_command_goes_on_without_its_parent(family: Family) -> None:
    """What was put into the background and left by its shell is no hook."""
    family.frontend.kill()
    assert not wait_until(lambda: has_ended(family.program) or has_ended(family.hook), 2)


def test_time_limit_holds_for_a_hook(tmp_path: Path) -> None:
    """A program may take as long as it was given, whether or not a frontend is followed."""
    code = """
from provision_backend.errors import InterpreterError
from provision_backend.frontend_watch import follow_frontend
from provision_backend.processes import run_quiet
with follow_frontend():
    try:
        run_quiet(["sleep", "30"], timeout=0.7)
    except InterpreterError as exc:
        print(exc)
    print(run_quiet(["sh", "-c", "sleep 0.7; echo done"], timeout=20).stdout)
"""
    command = [sys.executable, "-c", code]
    output = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, universal_newlines=True)
    assert output == "'sleep' did not end within 0.7 seconds and was killed\ndone\n\n"


def test_nothing_is_asked_of_the_kernel_for_a_command() -> None:
    """Where no frontend is followed, programs are started as ever."""
    assert lifetime.child_options() == {}


# What a hook may be busy with while its frontend is killed; none of it runs a program.
_BUSY = {
    "downloads": """
from provision_backend.install.download import fetch_text
from provision_backend.settings import Settings
work = lambda: fetch_text("http://127.0.0.1:" + sys.argv[2] + "/", settings=Settings())
""",
    "sleeps between two tries": """
from provision_backend.install.download import sleep
work = lambda: sleep(60)
""",
    "waits for a lock": """
from pathlib import Path
from provision_backend.cache.locks import key_lock
from provision_backend.output import Reporter
other = Path(sys.argv[1]).parent / "locks"
import fcntl
other.mkdir()
held = open(str(other / "x.lock"), "w")
fcntl.flock(held, fcntl.LOCK_EX)
def work():
    with key_lock(other, "x", timeout=60, reporter=Reporter()):
        pass
""",
    "unpacks": """
def work():
    while True:
        pass
""",
}
_BUSY_HOOK = """
import os, sys
from provision_backend.frontend_watch import follow_frontend
BUSY
with follow_frontend():
    open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    try:
        work()
    finally:
        open(sys.argv[1] + ".cleaned", "w").close()
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="without interval timers only programs are followed")
@pytest.mark.parametrize("busy", _BUSY)
def test_a_hook_ends_with_its_frontend_whatever_it_does(busy: str, tmp_path: Path) -> None:
    """A hook whose frontend was killed ends in a moment, after what it has begun was removed."""
    note = tmp_path / "hook"

    def drip(_number: int, _request: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            time.sleep(0.05)
            yield b"x" * 1000

    with RawServer(drip) as server:
        hook = _BUSY_HOOK.replace("BUSY", _BUSY[busy])
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", _FRONTEND, hook, str(note), str(server.port)]
        frontend = subprocess.Popen(command, env=environ, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            assert wait_until(note.exists, 30)
            time.sleep(0.3)
            frontend.kill()
            assert wait_until(lambda: has_ended(int(note.read_text())), 5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(frontend.pid, signal.SIGKILL)
            frontend.wait()

    assert (tmp_path / "hook.cleaned").exists()


def test_an_alarm_of_somebody_else_is_left_alone() -> None:
    """A handler or a timer that the process has already stays what it is, and ours goes with the hook."""

    def theirs(_number: int, _frame: object) -> None:
        pass

    before = signal.signal(signal.SIGALRM, theirs)
    try:
        with lifetime.follow_frontend():
            assert signal.getsignal(signal.SIGALRM) is theirs
    finally:
        signal.signal(signal.SIGALRM, before)
    with lifetime.follow_frontend():
        assert signal.getitimer(signal.ITIMER_REAL)[1] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="without interval timers a program is looked after")
def test_a_program_of_a_hook_is_waited_for_without_sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is noticed at once, and not up to 50 ms later."""
    slept: List[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with lifetime.follow_frontend():
        assert run_visible([sys.executable, "-c", "import time; time.sleep(0.1)"], stdout=None) == 0

    assert slept == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which processes are there")
def test_what_has_left_the_group_of_a_program_ends_with_it(tmp_path: Path) -> None:
    """A test may start a server in a session of its own, and what ignores SIGTERM is killed."""
    note = tmp_path / "pid"
    code = f"trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >{note}; sleep 61' & wait"
    program = start_program(["sh", "-c", code], tmp_path / "log", cwd=str(tmp_path))
    assert wait_until(lambda: note.exists() and note.read_text().strip() != "", 20)
    end_programs([program])

    assert wait_until(lambda: has_ended(int(note.read_text())), 20)
