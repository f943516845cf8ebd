"""Many real processes on one cache: who downloads, who waits for whom, and what a signal leaves.

How many is the variable ``PROVISION_BACKEND_TEST_PROCESSES`` (default 32).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest
from support import locked_environments
from support.locked_environments import check_environments
from support.servers import ArchiveServer, Reply
from support.small_archives import ours, shared_small_archives, start

from provision_backend.cache.manifest import verify_entry

pytestmark = pytest.mark.slow

PROCESSES = int(os.environ.get("PROVISION_BACKEND_TEST_PROCESSES", "32"))


@pytest.fixture(scope="module")
def archives() -> List[Path]:
    """Return eight small archives of a real CPython."""
    return shared_small_archives()


@pytest.fixture
def server(archives: List[Path]) -> Iterator[ArchiveServer]:
    """Serve them on loopback."""
    with ArchiveServer(root=archives[0].parent) as server:
        yield server


def finish(processes: List[subprocess.Popen[str]]) -> List[Tuple[int, str, str]]:
    """Wait for processes, and return exit status, standard output and standard error of each."""
    results = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        results.append((process.returncode, out.strip(), err))
    return results


def names(folder: Path) -> List[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def downloads(server: ArchiveServer) -> Dict[str, int]:
    """Return how often each archive was sent."""
    sent = [seen.path for seen in server.requests if seen.status in (200, 206)]
    return {path: sent.count(path) for path in sent}


def check(cache: Path, entries: int) -> None:
    """There are so many interpreters, each as it was published, and nothing is left over."""
    assert len(names(cache / "interpreters")) == entries
    for name in names(cache / "interpreters"):
        assert verify_entry(cache / "interpreters" / name) == []
    assert (names(cache / "staging"), names(cache / "downloads")) == ([], [])


def test_many_processes_make_one_download(tmp_path: Path, archives: List[Path], server: ArchiveServer) -> None:
    """All of them have the same interpreter; one has fetched it, and the others have said for whom they waited."""
    command = ours(cache=tmp_path / "cache", archive=archives[0], mirror=server.url)
    results = finish([start(command) for _ in range(PROCESSES)])

    assert [(code, err) for code, _, err in results if code] == []
    assert len({out for _, out, _ in results}) == 1
    assert list(downloads(server).values()) == [1]
    assert server.bytes_sent < archives[0].stat().st_size + 1000
    check(tmp_path / "cache", 1)
    waited = [err for _, _, err in results if "waiting for" in err]
    # Between taking the lock and writing down who has it, a holder is known to the kernel only, and may end meanwhile.
    known = r"process \d+ on \S+ \(since \d\d:\d\d:\d\d\)|process \d+ of \S+"
    wanted = (
        rf"waiting for ({known}|a child of process \d+, which has ended|another process), which provisions the same"
    )
    assert all(re.search(wanted, err) for err in waited)


def test_different_archives_do_not_wait_for_each_other(
    tmp_path: Path, archives: List[Path], server: ArchiveServer
) -> None:
    """Several processes for each of eight archives: eight downloads, and nobody waits for a holder of another key."""
    cache = tmp_path / "cache"
    commands = [ours(cache=cache, archive=archive, mirror=server.url) for archive in archives]
    results = finish([start(commands[number % 8]) for number in range(PROCESSES)])

    assert [(code, err) for code, _, err in results if code] == []
    assert len({out for _, out, _ in results}) == 8
    assert sorted(downloads(server).values()) == [1] * 8
    check(cache, 8)


def test_a_slow_download_delays_no_other_key(tmp_path: Path, archives: List[Path], server: ArchiveServer) -> None:
    """While one source stands still, another interpreter is provisioned to its end; the same one is waited for."""
    cache = tmp_path / "cache"
    server.script = [Reply(status=404), Reply(stall=1000)]
    slow = start(ours(cache=cache, archive=archives[0], mirror=server.url))
    deadline = time.monotonic() + 60
    while not list(cache.glob("downloads/*/*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    other = finish([start(ours("--lock-timeout", "0", cache=cache, archive=archives[1]))])
    assert other[0][0] == 0
    assert "waiting" not in other[0][2]
    code, _, err = finish([start(ours("--upgrade", "--lock-timeout", "0.3", cache=cache, archive=archives[0]))])[0]
    key = re.escape(names(cache / "locks")[0].rpartition(".")[0])
    assert code == 1
    assert re.fullmatch(
        rf"provision-backend: waiting for process {slow.pid} on (\S+) \(since (\S+)\), "
        r"which provisions the same interpreter\n"
        rf"provision-backend: the lock {cache}/locks/{key}.lock was held for 0.3 seconds by process {slow.pid} on \1 "
        r"\(since \2\)\n"
        r"  wait for that process or end it, or raise PROVISION_BACKEND_LOCK_TIMEOUT\n",
        err,
    ), err
    slow.kill()
    slow.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("moment", ["download", "start"])
def test_a_signal_leaves_nothing_half_published(
    tmp_path: Path,
    archives: List[Path],
    server: ArchiveServer,
    number: signal.Signals,
    moment: str,
    request: pytest.FixtureRequest,
) -> None:
    """The process ends at once, nothing is visible, no child of it goes on, and the next one succeeds."""
    cache = tmp_path / "cache"
    if moment == "download":
        server.script = [Reply(status=404), Reply(stall=1000)]
        process = start(ours(cache=cache, archive=archives[0], mirror=server.url))
        wait_for(lambda: bool(list(cache.glob("downloads/*/*.part"))))
    else:
        command, environ = ours(cache=cache, archive=archives[0])
        # The smoke run waits, as one does that hangs.
        code = (
            "import sys; from provision_backend.install import smoke; from provision_backend.cli import main;"
            "smoke._PROBE = 'import time; time.sleep(200)'; sys.exit(main(sys.argv[1:]))"
        )
        process = start([[sys.executable, "-c", code, *command[3:]], environ])
        wait_for(lambda: bool(children(process.pid)))
    # Where it goes on in spite of the signal, the tests after this one are not to meet it.
    request.addfinalizer(process.kill)
    running = children(process.pid)
    process.send_signal(number)
    begin = time.monotonic()
    _, err = process.communicate(timeout=120)

    assert time.monotonic() - begin < 50
    assert process.returncode == 130, err
    assert names(cache / "interpreters") == []
    wait_for(lambda: not [child for child in running if Path(f"/proc/{child}").exists()])
    assert err.splitlines()[-1] == "provision-backend: interrupted"
    assert names(cache / "staging") == []
    assert finish([start(ours(cache=cache, archive=archives[0]))])[0][0] == 0
    check(cache, 1)


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(process: int) -> List[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in path.read_text().split()] if path.exists() else []


SHIM = """
#include <errno.h>
int flock(int file, int operation) { errno = %s; return -1; }
"""


@pytest.fixture(scope="module", params=["ENOSYS", "ENOLCK", "ENOTSUP"])
def no_flock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a library that makes flock fail, for LD_PRELOAD."""
    if shutil.which("cc") is None:
        pytest.skip("this needs a C compiler")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM % request.param)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "shim.so", "shim.c"], cwd=str(folder), check=True)
    return str(folder / "shim.so")


def test_simulated_without_flock_all_succeed(tmp_path: Path, archives: List[Path], no_flock: str) -> None:
    """Each works under names of its own, the first rename decides, and nothing is left over (uv#9050, uv#13626)."""
    cache = tmp_path / "cache"
    command = ours("--verbose", "1", cache=cache, archive=archives[0], LD_PRELOAD=no_flock)
    results = finish([start(command) for _ in range(4)])

    assert [(code, err) for code, _, err in results if code] == []
    assert len({out for _, out, _ in results}) == 1
    assert any("; continuing without a lock" in err for _, _, err in results)
    check(cache, 1)


def test_many_processes_make_one_environment(tmp_path: Path) -> None:
    """One of 32 fills it; the others have waited for that one, or come later, and have the same."""
    cache, filled = tmp_path / "cache", tmp_path / "filled"
    results = finish([start(locked_environments.command(cache, filled)) for _ in range(32)])

    assert [(code, err) for code, _, err in results if code] == []
    assert {out for _, out, _ in results} == {f"{cache}/environments/{locked_environments.KEY}"}
    assert len(filled.read_text().splitlines()) == 1
    assert check_environments(cache) == [locked_environments.KEY]
    assert names(cache / "staging") == []
    waited = [err for _, _, err in results if err]
    assert all(
        re.match("provision-backend: waiting for .*, which makes the same locked environment\n", err) for err in waited
    )


def test_simulated_without_flock_one_environment_is_published(tmp_path: Path, no_flock: str) -> None:
    """Each process fills one of its own, the first rename decides, and nothing is left over."""
    cache, filled = tmp_path / "cache", tmp_path / "filled"
    results = finish([start(locked_environments.command(cache, filled, LD_PRELOAD=no_flock)) for _ in range(4)])

    assert [(code, err) for code, _, err in results if code] == []
    assert {out for _, out, _ in results} == {f"{cache}/environments/{locked_environments.KEY}"}
    assert any("; continuing without a lock" in err for _, _, err in results)
    assert check_environments(cache) == [locked_environments.KEY]
    assert names(cache / "staging") == []


def in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where mounts are its own."""
    command = ["unshare", "-m", "sh", "-eu", "-c", script, "sh", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture
def mounts() -> None:
    """Skip where nothing can be mounted."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or in_namespace("mount -t tmpfs none /mnt").returncode:
        pytest.skip("mounting needs root")


def shell(command: List[object], **more: str) -> str:
    """Return a command line for a shell script."""
    import shlex

    arguments, environ = command
    assert isinstance(arguments, list)
    assert isinstance(environ, dict)
    variables = {key: value for key, value in environ.items() if key.startswith(("PROVISION_BACKEND_", "PYTHONPATH"))}
    return (
        " ".join(["env", *(shlex.quote(f"{key}={value}") for key, value in {**variables, **more}.items())])
        + " "
        + (" ".join(map(shlex.quote, arguments)))
    )


def test_a_read_only_cache_serves(tmp_path: Path, archives: List[Path], mounts: None) -> None:
    """A hit writes nothing; a miss says that the cache cannot be written; a shared one is complemented by one's own."""
    cache, own = tmp_path / "cache", tmp_path / "own"
    published = finish([start(ours(cache=cache, archive=archives[0]))])[0][1]
    script = f"mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}; "
    hit = in_namespace(script + shell(ours(cache=cache, archive=archives[0])))
    assert (hit.returncode, hit.stdout, hit.stderr) == (0, published + "\n", "")
    miss = in_namespace(script + shell(ours("--upgrade", cache=cache, archive=archives[1])))
    assert (miss.returncode, miss.stdout, miss.stderr) == (
        1,
        "",
        f"provision-backend: the cache {cache} cannot be written: Read-only file system\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache\n",
    )
    shared = {"PROVISION_BACKEND_SHARED_CACHES": str(cache)}
    commands = [ours("--upgrade", cache=own, archive=archives[number]) for number in (0, 1)]
    both = [in_namespace(script + shell(command, **shared)) for command in commands]
    assert [done.returncode for done in both] == [0, 0]
    assert both[0].stdout == published + "\n"
    assert both[1].stdout.startswith(str(own))
    command = [sys.executable, "-m", "provision_backend", "cache", "verify"]
    verified = in_namespace(script + shell([command, ours(cache=cache, archive=archives[0])[1]]))
    assert verified.returncode == 0


def test_damage_that_cannot_be_noted_is_not_called_out_of_use(
    tmp_path: Path, archives: List[Path], mounts: None
) -> None:
    """In a read-only cache, or on a full disk, a damaged interpreter would be used as before."""
    cache = tmp_path / "cache"
    environ = ours(cache=cache, archive=archives[0])[1]
    program = Path(finish([start(ours(cache=cache, archive=archives[0]))])[0][1])
    (program.parent.parent / "added").touch()
    (cache / "damaged").mkdir()  # Something was found damaged before.
    repair = [sys.executable, "-m", "provision_backend", "cache", "verify", "--repair"]
    done = in_namespace(f"mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}; {shell([repair, environ])}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the cache {cache} cannot be written: Read-only file system\n" in done.stderr


def test_a_read_only_cache_serves_environments(tmp_path: Path, mounts: None) -> None:
    """A hit writes nothing; a miss says that the cache cannot be written."""
    cache, filled = tmp_path / "cache", tmp_path / "filled"
    published = finish([start(locked_environments.command(cache, filled))])[0][1]
    script = f"mount --bind {cache} {cache}; mount -o remount,ro,bind {cache}; "
    hit = in_namespace(script + shell(locked_environments.command(cache, filled)))
    assert (hit.returncode, hit.stdout, hit.stderr) == (0, published + "\n", "")
    script += f"mount --bind -o ro {tmp_path} {cache}/environments; "
    miss = in_namespace(script + shell(locked_environments.command(cache, filled)))
    assert miss.returncode == 1
    assert f"the cache {cache} cannot be written: Read-only file system" in miss.stderr
    assert len(filled.read_text().splitlines()) == 1


@pytest.mark.parametrize("megabytes", [1, 3, 8, 14], ids=lambda number: f"{number} MB")
def test_a_full_disk_is_said_and_cleared(tmp_path: Path, archives: List[Path], mounts: None, megabytes: int) -> None:
    """Wherever the room ends, nothing is published, what was written is removed, and with room it succeeds."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o755)
    install = shell(ours(cache=cache, archive=archives[0]))
    script = (
        f"mount -t tmpfs -o size={megabytes}m,mode=755 none {cache}; {install} || echo failed >&2; "
        f"find {cache}/interpreters {cache}/staging {cache}/downloads -mindepth 1; "
        f"mount -o remount,size=200m {cache}; {install}"
    )
    done = in_namespace(script)

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if ": downloading " not in line]
    assert len(done.stdout.splitlines()) == 1, done.stdout
    assert re.search(r"[Nn]ot enough space|No space left on device|not enough", lines[0]), done.stderr
    assert "Traceback" not in done.stderr
    assert "failed" in lines


def test_a_disk_without_room_for_a_folder_can_be_cleaned(tmp_path: Path, archives: List[Path], mounts: None) -> None:
    """To remove an interpreter makes nothing; this file system has no inode left, as one that is full has no block."""
    cache = tmp_path / "cache"
    cache.mkdir()
    install = ours(cache=cache, archive=archives[0])
    clean = shell([[sys.executable, "-m", "provision_backend", "cache", "clean", "--force"], install[1]])
    script = (
        f"mount -t tmpfs -o size=200m,mode=755 none {cache}; {shell(install)} >&2; "
        f"mount -o remount,nr_inodes=$(df --output=iused {cache} | tail -1 | xargs) {cache}; "
        f"! mkdir {cache}/more; {clean}; find {cache}/interpreters {cache}/staging -mindepth 1"
    )
    done = in_namespace(script)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"removed .*\n.* freed\n", done.stdout), done.stdout
