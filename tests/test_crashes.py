"""Processes that are killed while they provision: what is visible then, what is left over, and what the next one does.

The places of ``cache/store.py`` are tried one by one; then come random moments. How many of these is said by
``PROVISION_BACKEND_TEST_KILLS`` (default 5).
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List, Sequence

import pytest
from support import locked_environments
from support.locked_environments import check_environments
from support.servers import ArchiveServer, Reply
from support.small_archives import ours, shared_small_archives, start

from provision_backend.cache.entries import key_of, read_entry
from provision_backend.cache.manifest import verify_entry

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("PROVISION_BACKEND_TEST_KILLS", "5"))


@pytest.fixture(scope="module")
def archive() -> Path:
    """Return a small archive of a real CPython."""
    return shared_small_archives()[0]


def names(folder: Path) -> List[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


def check_visible(cache: Path) -> List[str]:
    """Return the names of what is published; each must be complete, finalized and as it was when it was marked."""
    found = names(cache / "interpreters")
    for name in found:
        entry = cache / "interpreters" / name
        assert read_entry(entry) is not None, name
        assert verify_entry(entry) == [], name
        records = list(entry.glob("lib/python3.*/_sysconfigdata*.py"))
        assert records, name
        for record in records:
            text = record.read_text()
            assert str(entry) in text, name
            assert not re.search(r"['\" ]/install\b", text), name
    return found


def check_leftovers(cache: Path) -> None:
    """After a run that was left alone there is nothing but what it published."""
    assert names(cache / "staging") == []
    assert names(cache / "downloads") == []
    assert [name for name in names(cache / "locks") if not name.endswith((".lock", ".owner"))] == []


def succeed(cache: Path, archive: Path, **options: str) -> Path:
    """Provision without a fault, and return the folder of the interpreter that was started."""
    done = start(ours(cache=cache, archive=archive, **options))
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    version = subprocess.run([out.strip(), "-I", "-B", "-c", "import sys; print(sys.prefix)"], stdout=subprocess.PIPE)
    assert version.stdout.decode().strip() == str(Path(out.strip()).parent.parent)
    check_visible(cache)
    check_leftovers(cache)
    return Path(out.strip()).parent.parent


# A process that kills itself when a function is called, or after it has returned: nothing of ours runs any more.
KILLED = """
import os, signal, sys
from importlib import import_module

def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

module, name, when = sys.argv[1].split(":")
owner = import_module(module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
original = getattr(owner, name)
calls = 0

def patched(*arguments, **options):
    global calls
    calls += 1
    if when == "before" or when == str(calls):
        kill()
    result = original(*arguments, **options)
    if when == "after":
        kill()
    return result

setattr(owner, name, patched)
from provision_backend.cli import main
sys.exit(main(sys.argv[2:]))
"""

PLACES = {
    "the lock is held": "provision_backend.cache.store:sweep_staging:before",
    "the owner is being written": "provision_backend.cache.locks:json.dump:before",
    "a staging folder is there": "tempfile:mkdtemp:after",
    "the staging folder is empty": "provision_backend.cache.store:Cache._download_path:before",
    "the download has begun": "provision_backend.install.partial:Partial.begin:after",
    "some bytes are there": "provision_backend.output:Progress.advance:8",
    "some files are unpacked": "provision_backend.install.unpack:os.open:300",
    "all bytes are there": "provision_backend.install.archives:Plain.check_end:before",
    "all files are unpacked": "provision_backend.install.unpack:unpack_stream:after",
    "half of it is finalized": "provision_backend.install.install:_rewrite:2",
    "it is finalized": "provision_backend.install.install:finalize_tree:after",
    "it has been started": "provision_backend.install.install:smoke_run:after",
    "the archive is being removed": "provision_backend.cache.store:remove_path:before",
    "it is listed": "provision_backend.cache.manifest:write_manifest:after",
    "it is marked": "provision_backend.cache.entries:write_marker:after",
    "the archive is removed": "provision_backend.cache.store:flush_tree:before",
    "it is flushed": "provision_backend.cache.store:flush_tree:after",
    "it is renamed": "provision_backend.cache.store:publish:after",
}
PUBLISHED = {"it is renamed"}
# Another process does not come to these places again: what was done there stays done.
ONCE = PUBLISHED


def kill_at(place: str, cache: Path, archive: Path, command: Sequence[str] = (), **options: str) -> int:
    (_python, _m, _package, *install), environ = ours(cache=cache, archive=archive, **options)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, PLACES.get(place, place), *(command or install)],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return done.returncode


@pytest.fixture(scope="module")
def server(archive: Path) -> Iterator[ArchiveServer]:
    """Give a server that has it, since of a local mirror nothing is kept beside."""
    with ArchiveServer(root=archive.parent) as running:
        yield running


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_place(place: str, tmp_path: Path, archive: Path, server: ArchiveServer) -> None:
    """Nothing or a complete interpreter is visible, however often it happens; then the next process succeeds."""
    cache = tmp_path / "cache"
    left = []
    for _ in range(3):
        assert kill_at(place, cache, archive, mirror=server.url) == -signal.SIGKILL
        assert len(check_visible(cache)) == (place in PUBLISHED)
        left.append([len(names(cache / "staging")), len(list((cache / "downloads").glob("*/*")))])
        if place in ONCE:
            break

    # Each crash has removed what the one before it left, or has left less. The first one may come to another place:
    # what is known of the host is written down once there is a cache.
    assert left[-1] <= left[len(left) > 1]
    assert max(staging for staging, _ in left) <= 1
    assert max(downloads for _, downloads in left) <= 2
    following = succeed_with_leftovers if place in PUBLISHED else succeed
    found = following(cache, archive, mirror=server.url)
    assert key_of(found.name) == found.name


def succeed_with_leftovers(cache: Path, archive: Path, **options: str) -> Path:
    """A hit sweeps nothing: what a crash has left goes with the next miss, or with ``prune``."""
    done = start(ours(cache=cache, archive=archive, **options))
    out, err = done.communicate(timeout=120)
    assert (done.returncode, err) == (0, "")
    (_python, _m, _package, *_), environ = ours(cache=cache, archive=archive)
    prune = [sys.executable, "-m", "provision_backend", "cache", "prune"]
    assert subprocess.run(prune, env=environ, stdout=subprocess.PIPE).returncode == 0
    assert names(cache / "staging") == []
    return Path(out.strip()).parent.parent


def test_killed_in_the_middle_of_a_removal(tmp_path: Path, archive: Path) -> None:
    """An interpreter that is being removed is gone at once, and what is left of it is swept by the next process."""
    cache = tmp_path / "cache"
    succeed(cache, archive)
    place = "provision_backend.cache.upkeep:remove_path:before"

    assert kill_at(place, cache, archive, ["cache", "clean"]) == -signal.SIGKILL
    assert check_visible(cache) == []
    assert len(names(cache / "staging")) == 1
    succeed(cache, archive)


def test_what_was_fetched_is_not_fetched_again(tmp_path: Path, archive: Path) -> None:
    """A process that dies while it unpacks has left the verified archive; the next one takes it from there."""
    with ArchiveServer(root=archive.parent) as server:
        cache = tmp_path / "cache"
        server.script = [Reply(status=404)]
        (_python, _m, _package, *install), environ = ours(cache=cache, archive=archive, mirror=server.url)
        place = PLACES["all files are unpacked"]
        done = subprocess.run([sys.executable, "-c", KILLED, place, *install], env=environ, capture_output=True)
        assert done.returncode == -signal.SIGKILL
        sent = server.bytes_sent
        succeed(cache, archive, mirror=server.url)

    assert server.bytes_sent == sent == archive.stat().st_size


def test_a_killed_download_goes_on_where_it_was(tmp_path: Path, archive: Path) -> None:
    """The bytes that a killed process had received are not sent again."""
    cache = tmp_path / "cache"
    size = archive.stat().st_size
    with ArchiveServer(root=archive.parent) as server:
        server.script = [Reply(status=404), Reply(stall=size // 2)]
        process = start(ours(cache=cache, archive=archive, mirror=server.url))
        deadline = time.monotonic() + 60
        while sum(part.stat().st_size for part in cache.glob("downloads/*/*.part")) < size // 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate()
        there = next(cache.glob("downloads/*/*.part")).stat().st_size
        sent = server.bytes_sent
        server.script = [Reply(status=404)]
        succeed(cache, archive, mirror=server.url)

    assert server.bytes_sent - sent == size - there < size


def test_killed_at_random_moments(tmp_path: Path, archive: Path) -> None:
    """After every kill nothing incomplete is visible, the next run succeeds, and leftovers do not grow."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    cache = tmp_path / "cache"
    with ArchiveServer(root=archive.parent) as server:
        begin = time.monotonic()
        clear(succeed(cache, archive, mirror=server.url), cache)
        whole = time.monotonic() - begin
        died = 0
        for number in range(KILLS):
            options = {"mirror": server.url} if number % 2 else {}
            process = start(ours(cache=cache, archive=archive, **options))
            time.sleep(moments.uniform(0, whole * 1.1))
            process.kill()
            process.communicate()
            died += process.returncode == -signal.SIGKILL
            check_visible(cache)
            assert len(names(cache / "staging")) <= 1
            assert len(list(cache.glob("downloads/*/*"))) <= 2
            check_one_key(cache)
            clear(succeed_any(cache, archive, **options), cache)
    print(
        f"{KILLS} runs were killed, {died} of them before they had ended, over {whole:.2f} s each; then all succeeded"
    )
    assert died  # How many depends on what else the machine does.


# A process in which one call of the operating system fails, as on a full or broken disk.
FAILING = """
import os, sys

number, code, calls = int(sys.argv[1]), int(sys.argv[2]), 0

def failing(function):
    def patched(*arguments, **options):
        global calls
        calls += 1
        if calls == number:
            raise OSError(code, os.strerror(code))
        return function(*arguments, **options)
    return patched

import provision_backend.install.install
from provision_backend.cli import main
for name in ("chmod", "fsync", "mkdir", "open", "replace", "scandir", "symlink", "utime", "write"):
    setattr(os, name, failing(getattr(os, name)))
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_simulated_an_error_of_the_disk_at_any_call(tmp_path: Path, archive: Path, code: int) -> None:
    """Whichever call fails, the end is a sentence or an interpreter, and the next run succeeds."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    # The first calls are about locks and notes, most are of the unpacking, and the last publish the interpreter.
    numbers = [1 + int(4000 * random.Random(seed + each).random() ** 3) for each in range(max(1, KILLS // 4))]
    for number in numbers:
        cache = tmp_path / str(number)
        (_python, _m, _package, *install), environ = ours(cache=cache, archive=archive)
        command = [sys.executable, "-c", FAILING, str(number), str(code), *install]
        done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode in (0, 1), (number, done.stderr)
        assert "Traceback" not in done.stderr, (number, done.stderr)
        assert len(check_visible(cache)) == (done.returncode == 0), (number, done.stderr)
        succeed_any(cache, archive)
        shutil.rmtree(cache)


def succeed_any(cache: Path, archive: Path, **options: str) -> Path:
    if names(cache / "interpreters"):
        return succeed_with_leftovers(cache, archive, **options)
    return succeed(cache, archive, **options)


def check_one_key(cache: Path) -> None:
    """No crash makes a second copy: a published interpreter is found, an unpublished one is not there."""
    assert len(names(cache / "interpreters")) <= 1


def clear(entry: Path, cache: Path) -> None:
    """Take the interpreter away again, so that the next run begins with a miss."""
    subprocess.run(["rm", "-rf", str(entry), *map(str, cache.glob("downloads/*"))], check=True)


ENVIRONMENT_PLACES = {
    "some files are installed": "support.locked_environments:install:25",
    "all files are installed": "support.locked_environments:fill:after",
    "their modes are being set": "os:chmod:30",
    "it is being listed": "provision_backend.cache.manifest:hash_file:50",
    "it is listed": "provision_backend.cache.store:write_manifest:after",
    "it is marked": "provision_backend.cache.entries:write_marker:after",
    "it is flushed": "provision_backend.cache.store:flush_tree:after",
    "it is renamed": "provision_backend.cache.store:publish:after",
}


def make_environment(cache: Path) -> None:
    """Have an environment provided without a fault; nothing is left of those that were killed before."""
    done = start(locked_environments.command(cache, cache.parent / "filled"))
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert out == f"{cache / 'environments' / locked_environments.KEY}\n"
    assert check_environments(cache) == [locked_environments.KEY]


@pytest.mark.parametrize("place", ENVIRONMENT_PLACES)
def test_killed_at_each_place_of_an_environment(place: str, tmp_path: Path) -> None:
    """Nothing or a complete environment is found, and the next process makes it, or uses it."""
    cache = tmp_path / "cache"
    (_python, _m, _module, *arguments), environ = locked_environments.command(cache, tmp_path / "filled")
    program = KILLED.replace("provision_backend.cli", "support.locked_environments")
    killed = [sys.executable, "-c", program, ENVIRONMENT_PLACES[place], *arguments]
    done = subprocess.run(killed, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(check_environments(cache)) == (place == "it is renamed")
    assert len(names(cache / "staging")) == 1
    make_environment(cache)
    assert len(names(cache / "staging")) == (place == "it is renamed")  # A hit sweeps nothing.


def test_killed_at_random_moments_of_an_environment(tmp_path: Path) -> None:
    """After every kill nothing half-made is found, the next process succeeds, and leftovers do not grow."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    cache = tmp_path / "cache"
    begin = time.monotonic()
    make_environment(cache)
    whole = time.monotonic() - begin
    died, found = 0, 0
    for _ in range(KILLS):
        shutil.rmtree(str(cache / "environments" / locked_environments.KEY))
        process = start(locked_environments.command(cache, tmp_path / "filled"))
        time.sleep(moments.uniform(0, whole * 1.1))
        process.kill()
        process.communicate()
        died += process.returncode == -signal.SIGKILL
        found += len(check_environments(cache))
        # An installer that was started ends a moment after the process that has started it.
        assert len(names(cache / "staging")) <= 2
        make_environment(cache)
    print(
        f"{KILLS} runs were killed, {died} of them before they had ended, {KILLS - found} before it was published, "
        f"over {whole:.2f} s each; then all succeeded"
    )
    assert died
