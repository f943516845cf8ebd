"""Locks between real processes: waiting, timing out, a holder that is killed, and places that have no locks."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from provision_backend.cache import locks
from provision_backend.cache.locks import is_locked, key_lock, try_locking
from provision_backend.errors import CacheError, LockTimeoutError
from provision_backend.output import Reporter

ROOT = Path(__file__).resolve().parent.parent

HOLDER = """
import sys
from pathlib import Path
from provision_backend.cache import locks
from provision_backend.cache.locks import key_lock
from provision_backend.output import Reporter
with key_lock(Path(sys.argv[1]), sys.argv[2], timeout=30, reporter=Reporter()) as held:
    print(held, flush=True)
    sys.stdin.read()
"""

Hold = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Return a function that starts a process which holds a lock until its standard input ends."""
    running: List[subprocess.Popen[bytes]] = []

    def start(folder: Path, key: str = "key", *, wait: bool = True) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        running.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == b"True\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def _describe(folder: Path, process: subprocess.Popen[bytes]) -> str:
    since = json.loads((folder / "key.owner").read_text())["since"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", since)
    return f"process {process.pid} on {socket.gethostname()} (since {since})"


def test_a_free_lock_is_had_at_once(tmp_path: Path) -> None:
    """Nobody is told anything, the lock file stays, and the lock can be had again and again."""
    said = io.StringIO()
    for _ in range(3):
        with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(said, verbosity=2)) as held:
            assert held
            assert json.loads((tmp_path / "key.owner").read_text())["pid"] == os.getpid()

    assert said.getvalue() == ""
    # Nobody removes the file: another process may have it open, and would then hold a lock on nothing.
    assert sorted(os.listdir(tmp_path)) == ["key.lock", "key.owner"]


def test_a_process_waits_and_says_for_whom(tmp_path: Path, hold: Hold) -> None:
    """One line names the holder, and the lock is had when the holder gives it back."""
    first = hold(tmp_path)
    second = hold(tmp_path, wait=False)
    assert second.stderr is not None
    line = second.stderr.readline().decode()

    assert line == (
        f"provision-backend: waiting for {_describe(tmp_path, first)}, which provisions the same interpreter\n"
    )
    first.communicate()
    assert first.returncode == 0
    assert second.stdout is not None
    assert second.stdout.readline() == b"True\n"
    assert json.loads((tmp_path / "key.owner").read_text())["pid"] == second.pid
    assert second.communicate() == (b"", b"")


def test_a_holder_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    """What an earlier holder has written down is not blamed on it; the kernel knows better."""
    if not _find_holder_works(tmp_path):
        pytest.skip("this kernel does not list locks")
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())):
        pass
    facts = json.loads((tmp_path / "key.owner").read_text())
    (tmp_path / "key.owner").write_text(json.dumps({**facts, "pid": 2**22 + 1}))
    code = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "key.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(LockTimeoutError) as caught, key_lock(
            tmp_path, "key", timeout=0.2, reporter=Reporter(io.StringIO())
        ):
            pass
        holder.communicate()

    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"was held for 0.2 seconds by process {holder.pid} of {user}\n" in str(caught.value)


def _find_holder_works(folder: Path) -> bool:
    with (folder / "probe").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return locks._find_holder(folder / "probe") == os.getpid()


def test_another_key_is_another_lock(tmp_path: Path, hold: Hold) -> None:
    """Two interpreters are provisioned side by side."""
    hold(tmp_path, "one")
    with key_lock(tmp_path, "two", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert held


def test_the_time_is_over(tmp_path: Path, hold: Hold) -> None:
    """The message names the file, the time, the holder, and what to do."""
    holder = hold(tmp_path)
    start = time.monotonic()
    with pytest.raises(LockTimeoutError) as caught, key_lock(
        tmp_path, "key", timeout=0.5, reporter=Reporter(io.StringIO())
    ):
        pass

    assert 0.5 <= time.monotonic() - start < 50
    assert str(caught.value) == (
        f"the lock {tmp_path}/key.lock was held for 0.5 seconds by {_describe(tmp_path, holder)}\n"
        "  wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT"
    )


@pytest.mark.parametrize("owner", [None, "", "{", "[]", '{"pid": 1}'])
def test_a_holder_that_left_no_name_is_another_process(tmp_path: Path, hold: Hold, owner: Any) -> None:
    """The owner's file only serves the message; whatever stands there, the message is a sentence."""
    holder = hold(tmp_path)
    if owner is None:
        (tmp_path / "key.owner").unlink()
    else:
        (tmp_path / "key.owner").write_text(owner)
    with pytest.raises(LockTimeoutError) as caught, key_lock(
        tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())
    ):
        pass

    known = _find_holder_works(tmp_path)
    name = f"process {holder.pid} of {pwd.getpwuid(os.geteuid()).pw_name}" if known else "another process"
    assert caught.value.message == f"the lock {tmp_path}/key.lock was held for 0 seconds by {name}"


def test_a_holder_that_is_killed_frees_the_lock(tmp_path: Path, hold: Hold) -> None:
    """The kernel drops the lock, though the file and the owner's name are still there."""
    holder = hold(tmp_path)
    holder.kill()
    holder.communicate()

    assert json.loads((tmp_path / "key.owner").read_text())["pid"] == holder.pid
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert held


def test_a_process_excludes_itself(tmp_path: Path) -> None:
    """Two threads of a process would make the same interpreter at once as two processes would."""
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())), pytest.raises(
        LockTimeoutError
    ), key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())):
        pass


CHILD = """
import os, subprocess, sys
from pathlib import Path
from provision_backend.cache import locks
from provision_backend.cache.locks import key_lock
from provision_backend.output import Reporter
with key_lock(Path(sys.argv[1]), "key", timeout=0, reporter=Reporter()):
    if sys.argv[2] == "program":
        child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, close_fds=False).pid
        print(child, flush=True)
        sys.stdin.read()
    child = os.fork()
    if not child:
        os.close(1)
        sys.stdin.read()
        os._exit(0)
print(child, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["program", "fork"])
def test_a_child_does_not_keep_the_lock(tmp_path: Path, kind: str) -> None:
    """A program that outlives a killed holder has nothing of it, nor has a fork when the holder gives the lock back."""
    holder = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        if kind == "program":
            holder.kill()
            holder.wait()
        os.kill(child, 0)
        with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
            assert held
    finally:
        os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    """The next process need not wait for this one to end."""
    with pytest.raises(ZeroDivisionError), key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())):
        raise ZeroDivisionError
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert held


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660), (0o777, 0o666)])
def test_the_file_is_for_whoever_may_write_the_folder(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    """In a cache of several users each must be able to open the lock of another; elsewhere nobody else may hold it."""
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(folder_mode)
    before = os.umask(0o077)
    try:
        with key_lock(folder, "key", timeout=0, reporter=Reporter(io.StringIO())):
            pass
    finally:
        os.umask(before)

    assert oct(file_mode) == oct((folder / "key.lock").stat().st_mode & 0o777)


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_is_done_without(tmp_path: Path, there: bool) -> None:
    """Where others may write, one can lead to a file of ours, which is neither made nor opened up to them."""
    tmp_path.chmod(0o777)
    target = tmp_path / "target"
    if there:
        target.touch(mode=0o600)
    (tmp_path / "key.lock").symlink_to(target)
    said = io.StringIO()
    with key_lock(tmp_path, "key", timeout=60, reporter=Reporter(said, verbosity=1)) as held:
        assert held is False

    assert said.getvalue().startswith(f"provision-backend: could not lock {tmp_path}/key.lock (")
    assert target.exists() is there
    assert not there or target.stat().st_mode & 0o777 == 0o600


def test_a_second_name_of_a_file_is_no_lock(tmp_path: Path) -> None:
    """The file keeps its content and its mode: some versions of filelock empty what they lock."""
    tmp_path.chmod(0o777)
    file = tmp_path / "file"
    file.write_text("mine")
    file.chmod(0o600)
    os.link(str(file), str(tmp_path / "key.lock"))
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert not held

    assert (file.read_text(), file.stat().st_mode & 0o777) == ("mine", 0o600)


def test_the_file_of_another_user_keeps_its_mode(tmp_path: Path) -> None:
    """Root may open it, and whom it is for is up to its owner."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file that belongs to another user")
    tmp_path.chmod(0o777)
    file = tmp_path / "key.lock"
    file.touch(mode=0o600)
    os.chown(str(file), 65534, 65534)
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert held

    assert file.stat().st_mode & 0o777 == 0o600


def test_simulated_a_file_that_is_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux refuses to make another user's file in a sticky folder, if it is told to protect regular files."""
    (tmp_path / "key.lock").touch()
    really_open = os.open

    def protected(path: Path, flags: int, mode: int = 0o777, **more: Any) -> int:
        if path == tmp_path / "key.lock" and flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "simulated")
        return really_open(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", protected)
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())) as held:
        assert held


@pytest.mark.parametrize("what", ["a folder", "no folder to be in"])
def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path, what: str) -> None:
    """To go on without a lock would end in the same trouble, said less clearly."""
    folder = tmp_path / "cache" / "locks"
    if what == "a folder":
        (folder / "key.lock").mkdir(parents=True)
    with pytest.raises(CacheError) as caught, key_lock(folder, "key", timeout=0, reporter=Reporter(io.StringIO())):
        pass

    reason = os.strerror(errno.EISDIR if what == "a folder" else errno.ENOENT)
    assert str(caught.value) == f"could not acquire the lock {folder}/key.lock: {reason}"


AS_NOBODY = """
import os, sys, tempfile, socket, json
from pathlib import Path
from provision_backend.cache import locks
from provision_backend.cache.locks import key_lock
from provision_backend.output import Reporter
folder = Path(sys.argv[1])
with key_lock(folder, "warm", timeout=0, reporter=Reporter()):
    pass
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with key_lock(folder, "key", timeout=60, reporter=Reporter(verbosity=1)) as held:
    print(held)
"""


@pytest.mark.parametrize("folder_mode", [0o555, 0o1777], ids=["read-only folder", "shared folder"])
def test_a_lock_file_of_another_user_is_done_without(folder_mode: int) -> None:
    """Whoever may not open the file for writing goes on without a lock, at once, and says so when asked."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file that belongs to another user")
    # The folders of pytest are closed to other users.
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "key.lock").touch()
        (folder / "key.lock").chmod(0o444)
        folder.chmod(folder_mode)
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder)],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        shutil.rmtree(str(folder))

    assert (done.returncode, done.stdout) == (0, b"False\n"), done.stderr.decode()
    assert time.monotonic() - start < 50
    message = f"provision-backend: could not lock {folder}/key.lock ("
    assert done.stderr.decode().startswith(message)
    assert done.stderr.decode().endswith("); continuing without a lock\n")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(errno.ENOSYS, id="ENOSYS"),
        pytest.param(errno.ENOTSUP, id="ENOTSUP"),
        pytest.param(errno.ENOLCK, id="ENOLCK"),
        pytest.param(errno.EBADF, id="EBADF"),
        pytest.param(errno.EPERM, id="EPERM"),
        pytest.param(524, id="ENOTSUPP"),
    ],
)
def test_simulated_a_file_system_without_flock_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where flock answers as such file systems do, no time is lost and no file is left that would have to be removed.

    It is a simulation, since no such file system is at hand.
    """

    def flock(_file: object, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    said = io.StringIO()
    start = time.monotonic()
    with key_lock(tmp_path, "key", timeout=60, reporter=Reporter(said, verbosity=1)) as held:
        assert held is False
        assert not (tmp_path / "key.owner").exists()

    assert time.monotonic() - start < 50
    assert said.getvalue() == (
        f"provision-backend: could not lock {tmp_path}/key.lock ([Errno {number}] {os.strerror(number)}); "
        "continuing without a lock\n"
    )


def test_a_lock_file_that_is_replaced_while_a_process_waits(tmp_path: Path, hold: Hold) -> None:
    """A lock on a file that has lost its name excludes nobody, so the process that gets it tries again."""
    folder = tmp_path / "locks"
    first = hold(folder)
    second = hold(folder, wait=False)
    assert second.stderr is not None
    assert second.stderr.readline()
    folder.rename(tmp_path / "aside")
    assert second.stdout is not None
    assert second.stdout.readline() == b"True\n"
    assert is_locked(folder / "key.lock")
    assert first.poll() is None


def test_whether_a_lock_is_held_can_be_asked(tmp_path: Path, hold: Hold) -> None:
    """The answer changes nothing: no file is made, and the holder keeps its lock."""
    path = tmp_path / "key.lock"
    assert not is_locked(path)
    assert os.listdir(tmp_path) == []
    holder = hold(tmp_path)
    assert is_locked(path)
    assert is_locked(path)
    holder.communicate()
    assert not is_locked(path)


def test_whether_a_folder_has_locks_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in it, and the kernel's refusal is passed on."""
    try_locking(tmp_path)
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(fcntl, "flock", _refuse)
    with pytest.raises(OSError, match="simulated"):
        try_locking(tmp_path)


def _refuse(_file: object, _operation: int) -> None:
    raise OSError(errno.ENOLCK, "simulated")


def test_simulated_a_python_without_fcntl_works_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a build of Python provisions all the same, and says so when asked."""
    monkeypatch.setattr(locks, "fcntl", None)
    said = io.StringIO()
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(said, verbosity=1)) as held:
        assert held is False
    assert "this Python has no module fcntl); continuing without a lock" in said.getvalue()
    try_locking(tmp_path)
    assert not is_locked(tmp_path / "key.lock")


def test_without_filelock_work_continues_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build whose archives come from a folder does not ask for it."""
    monkeypatch.setitem(sys.modules, "filelock", None)
    said = io.StringIO()
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(said, verbosity=1)) as held:
        assert held is False

    assert "filelock is not installed); continuing without a lock" in said.getvalue()


def test_what_a_killed_holder_began_to_write_is_replaced(tmp_path: Path) -> None:
    """The next holder writes the owner's file anew, and leaves nothing beside it."""
    (tmp_path / "key.owner").write_text('{"pid": 1')
    with key_lock(tmp_path, "key", timeout=0, reporter=Reporter(io.StringIO())):
        assert json.loads((tmp_path / "key.owner").read_text())["pid"] == os.getpid()
        assert sorted(os.listdir(tmp_path)) == ["key.lock", "key.owner"]
