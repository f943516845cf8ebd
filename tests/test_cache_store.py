"""The life of an entry: looked up, made, published, passed over when damaged; the trees hold one small program."""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, List, Mapping

import pytest
from support.cache_entries import ARCHIVE, ENVIRONMENT, KEY, SHA, build, filled, names, provide, provide_environment

from provision_backend import files
from provision_backend.cache import folders, locks, store
from provision_backend.cache.entries import MARKER, entry_of, key_of, read_environment
from provision_backend.cache.manifest import MANIFEST, verify_entry
from provision_backend.cache.store import Cache, open_cache
from provision_backend.errors import CacheError, UnpackError
from provision_backend.output import Reporter
from provision_backend.provision import set_aside_damaged
from provision_backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Return a cache that is not there yet."""
    return Cache(tmp_path / "cache")


def test_what_was_made_is_found(cache: Cache) -> None:
    """The second question is answered by what the first one made, and nothing is left beside it."""
    executable = provide(cache)

    assert executable == str(cache.root / "interpreters" / KEY / "bin" / "python3.13")
    found = cache.lookup(ARCHIVE)
    assert found is not None
    assert (found.executable, found.sha256, found.source, found.pip) == (executable, SHA, "managed", "25.0")
    assert (names(cache, "interpreters"), names(cache, "staging"), names(cache, "downloads")) == ([KEY], [], [])
    assert [found] == cache.published()
    assert entry_of(found) == cache.root / "interpreters" / KEY


def test_a_hit_writes_nothing(cache: Cache) -> None:
    """A cache that is only looked in stays as it is, to the time stamps."""
    provide(cache)
    before = {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")}

    def refuse(*_: Path) -> Dict[str, Any]:
        raise AssertionError

    provide(cache, refuse)
    assert before == {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")}


def test_a_hit_is_cheap_beside_a_thousand_others(cache: Cache) -> None:
    """How much the cache holds does not matter: a lookup calls as many functions beside a thousand others as alone."""

    def calls() -> List[str]:
        """Return the names of all functions that a lookup calls, those of C too."""
        called: List[str] = []

        def note(frame: FrameType, event: str, function: Any) -> None:
            if event.endswith("call"):
                called.append(function.__name__ if event == "c_call" else frame.f_code.co_name)

        gc.disable()  # What is collected then may call functions, too.
        sys.setprofile(note)
        try:
            assert cache.lookup(ARCHIVE)
        finally:
            sys.setprofile(None)
            gc.enable()
        return called

    provide(cache)
    calls()  # What is imported or kept for the next time is part of the first look alone.
    alone = calls()
    for number in range(1000):
        # In the order of names half of them come before the one that is looked for.
        (cache.root / "interpreters" / (f"{number}-{KEY}" if number % 2 else f"{KEY}-{number}")).mkdir()

    assert calls() == alone
    assert not {"listdir", "scandir"} & {*alone}


def test_looking_makes_nothing(cache: Cache) -> None:
    """A cache that is not there has nothing, and is not there afterwards."""
    assert (cache.lookup(ARCHIVE), cache.published()) == (None, [])
    assert not cache.root.exists()


def test_another_hash_is_another_interpreter(cache: Cache) -> None:
    """A build of the same version and tag stands beside the first one."""
    other = ARCHIVE._replace(sha256="f" * 64)
    provide(cache)
    provide(cache, archive=other)

    assert names(cache, "interpreters") == sorted([KEY, other.key])


def test_an_entry_whose_first_digits_are_the_same_is_not_taken(cache: Cache) -> None:
    """The name holds eight digits of the hash; the marker has them all, and they are compared."""
    provide(cache)

    assert cache.lookup(ARCHIVE._replace(sha256=SHA[:8] + "0" * 56)) is None


def test_shared_caches_come_first(tmp_path: Path) -> None:
    """The first shared cache that has it answers; the writable one is not even made."""
    shared = (Cache(tmp_path / "one"), Cache(tmp_path / "two"))
    provide(shared[1])
    cache = Cache(tmp_path / "own", tuple(each.root for each in shared))

    assert provide(cache) == str(tmp_path / "two" / "interpreters" / KEY / "bin" / "python3.13")
    assert not cache.root.exists()
    provide(shared[0])
    assert provide(cache).startswith(str(tmp_path / "one"))


DAMAGES: Dict[str, Callable[[Path], object]] = {
    "no program": lambda entry: (entry / "bin" / "python3.13").unlink(),
    "a program that is not executable": lambda entry: (entry / "bin" / "python3.13").chmod(0o644),
    "no marker": lambda entry: (entry / MARKER).unlink(),
    "an empty marker": lambda entry: (entry / MARKER).write_text(""),
    "half a marker": lambda entry: (entry / MARKER).write_text((entry / MARKER).read_text()[:80]),
    "a marker that is a list": lambda entry: (entry / MARKER).write_text("[]"),
    "a marker without a key": lambda entry: (entry / MARKER).write_text('{"format": 1}'),
    "a marker of another format": lambda entry: (entry / MARKER).write_text('{"format": 2}'),
    "a marker of bytes": lambda entry: (entry / MARKER).write_bytes(b"\xff\xfe"),
    "a program that is a number": lambda entry: (entry / MARKER).write_text(
        json.dumps({**json.loads((entry / MARKER).read_text()), "executable": 1})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_one_is_noticed_and_replaced_beside(cache: Cache, damage: Callable[[Path], object]) -> None:
    """A lookup passes it over, the next build makes a new one beside it, and whoever uses the old one keeps it."""
    provide(cache)
    damage(cache.root / "interpreters" / KEY)

    assert cache.lookup(ARCHIVE) is None
    assert provide(cache) == str(cache.root / "interpreters" / f"{KEY}.1" / "bin" / "python3.13")
    assert names(cache, "interpreters") == [KEY, f"{KEY}.1"]
    assert key_of(f"{KEY}.1") == key_of(KEY) == KEY


def test_ten_damaged_copies_are_enough(cache: Cache) -> None:
    """A cache that damages what it is given does not fill the disk; the message says what to do."""
    for _ in range(10):
        Path(provide(cache)).unlink()

    with pytest.raises(CacheError) as caught:
        provide(cache)
    assert str(caught.value) == (
        f"{cache.root}/interpreters holds 10 damaged copies of {KEY}\n"
        "  remove them with 'provision-backend cache prune'"
    )


def test_one_that_fails_and_differs_is_passed_over(cache: Cache) -> None:
    """What only a full look finds is written down, until somebody repairs it."""
    program = Path(provide(cache))
    found = cache.lookup(ARCHIVE)
    assert found is not None
    entry = program.parent.parent
    assert cache.repair(entry) == []
    program.write_text("#!/bin/false\n")

    assert list(map(str, cache.repair(entry))) == ["changed: bin/python3.13 (wanted 10 bytes, found 13)"]
    assert cache.lookup(ARCHIVE) is None
    assert cache.published() == []
    assert provide(cache) == str(program).replace(KEY, f"{KEY}.1")
    marker = program.parent.parent / MARKER
    marker.write_bytes(marker.read_bytes())
    again = cache.lookup(ARCHIVE)
    assert again is not None
    assert again.executable == str(program)


def test_one_of_a_shared_cache_is_passed_over_too(tmp_path: Path) -> None:
    """It cannot be marked where it is, so the writable cache remembers, and has the new one."""
    shared = Cache(tmp_path / "shared")
    program = Path(provide(shared))
    program.write_text("#!/bin/false\n")
    cache = Cache(tmp_path / "own", (shared.root,))
    folders.make_folders(cache.root)
    found = cache.lookup(ARCHIVE)
    assert found is not None

    assert cache.repair(program.parent.parent)
    assert provide(cache).startswith(str(cache.root))
    assert shared.lookup(ARCHIVE) == found


def test_bytecode_that_was_added_to_a_shared_cache_stays(tmp_path: Path) -> None:
    """A shared cache is never changed, so what differs is not used, and is not said to be removed."""
    shared = Cache(tmp_path / "shared")
    program = Path(provide(shared))
    added = program.parent / "__pycache__"
    added.mkdir()
    cache = Cache(tmp_path / "own", (shared.root,))
    found = cache.lookup(ARCHIVE)
    assert found is not None
    settings, said = Settings(cache_dir=str(cache.root), shared_caches=(str(shared.root),)), io.StringIO()

    assert set_aside_damaged(found, settings, Reporter(said))
    assert added.is_dir()
    assert cache.lookup(ARCHIVE) is None
    line = f"provision-backend: {program} is damaged (added: bin/__pycache__) and is no longer used\n"
    assert said.getvalue() == line


@pytest.mark.parametrize("error", [UnpackError("no"), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_what_fails_is_not_published(cache: Cache, error: BaseException) -> None:
    """Whatever is raised goes through, staging is removed, and the next build succeeds."""

    def fail(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        build(staging, download, final)
        raise error

    with pytest.raises(type(error)):
        provide(cache, fail)
    assert (names(cache, "interpreters"), names(cache, "staging")) == ([], [])
    assert provide(cache)


def test_a_disk_that_is_full_is_a_sentence(cache: Cache) -> None:
    """An error of the system while a tree is made is one of the cache."""

    def fail(*_: Path) -> Dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CacheError) as caught:
        provide(cache, fail)
    assert str(caught.value) == (
        f"the cache {cache.root} cannot be written: No space left on device\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache"
    )


def test_another_process_may_be_first(cache: Cache) -> None:
    """Without locks two processes make the same one; the rename decides, and both have that of the first."""

    def late(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        facts = build(staging, download, final)
        os.rename(provided_elsewhere(), final)
        return facts

    def provided_elsewhere() -> Path:
        other = Cache(cache.root.parent / "other")
        return Path(provide(other)).parent.parent

    assert provide(cache, late) == str(cache.root / "interpreters" / KEY / "bin" / "python3.13")
    assert names(cache, "staging") == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_modes_do_not_depend_on_the_umask(cache: Cache, umask: int) -> None:
    """Interpreters are not secret, and nobody else may write them, whoever came first."""
    before = os.umask(umask)
    try:
        provide(cache)
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in cache.root.rglob("*")}
    modes[cache.root] = stat.S_IMODE(cache.root.stat().st_mode)
    modes[cache.root.parent] = 0o755
    entry = cache.root / "interpreters" / KEY
    assert {oct(modes[path]) for path in (cache.root, *(cache.root / name for name in folders.FOLDERS))} == {"0o755"}
    assert (modes[entry], modes[entry / MARKER], modes[entry / MANIFEST]) == (0o755, 0o644, 0o644)


def test_a_umask_of_nothing_opens_no_folder_above(tmp_path: Path) -> None:
    """Some CI systems run with umask 0; the folders on the way to a new cache are not everybody's for that."""
    before = os.umask(0)
    try:
        provide(Cache(tmp_path / "a" / "b" / "cache"))
    finally:
        os.umask(before)

    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b")] == [0o755, 0o755]


def test_a_cache_for_a_group_stays_one(cache: Cache) -> None:
    """Its folders have its mode, also when somebody died before he could set it; interpreters are their owner's."""
    cache.root.mkdir()
    cache.root.chmod(0o2775)
    (cache.root / "locks").mkdir(mode=0o700)
    named = cache._replace(names=((cache.root, str(cache.root)),))
    seen = []

    def look(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        seen.append(oct(download.parent.stat().st_mode & 0o7777))
        return build(staging, download, final)

    provide(named, look)
    assert {oct((cache.root / name).stat().st_mode & 0o7777) for name in folders.FOLDERS} == {"0o2775"}
    assert seen == ["0o2775"]
    assert (cache.root / "interpreters" / KEY).stat().st_mode & 0o022 == 0


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_stay(cache: Cache) -> None:
    """Whoever makes the next interpreter clears away what crashed processes left, folders and files."""
    provide(cache)
    with folders.open_staging(cache.root, "key") as staging:
        living = staging.name.split("~")[1]
    dead = f"{living.rpartition('-')[0]}-{2**22 + 1}"
    for owner in (living, dead):
        (cache.root / "staging" / f"key~{owner}~x" / "python").mkdir(parents=True)
    (cache.root / "staging" / f"file~{dead}~x").write_text("")
    (cache.root / "staging" / "somebody's own").mkdir()
    provide(cache, archive=ARCHIVE._replace(sha256="f" * 64))

    assert names(cache, "staging") == sorted([f"key~{living}~x", "somebody's own"])


def test_a_half_fetched_archive_is_kept_for_the_next(cache: Cache) -> None:
    """The download of an archive has one place, so that the next process goes on and leftovers do not grow."""

    def interrupted(_staging: Path, download: Path, _final: Path) -> Dict[str, Any]:
        download.with_name(download.name + ".part").write_text("half")
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            provide(cache, interrupted)
    assert os.listdir(cache.root / "downloads" / SHA) == [ARCHIVE.filename + ".part"]
    provide(cache)
    assert names(cache, "downloads") == []


def test_a_cache_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file where a folder should be cannot be written, whoever asks."""
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match=rf"^the cache {tmp_path}/file/cache cannot be written: Not a directory\n"):
        provide(Cache(tmp_path / "file" / "cache"))


def test_the_last_use_is_noted_once_an_hour(cache: Cache) -> None:
    """A hit touches one file, and only when that says something new."""
    provide(cache)
    found = cache.lookup(ARCHIVE)
    assert found is not None
    stamp = cache.root / "used" / KEY
    for age, noted in ((0, False), (1800, False), (3700, True), (-7200, True)):
        cache.note_use(found)
        then = time.time() - age
        os.utime(stamp, (then, then))
        cache.note_use(found)
        assert (abs(stamp.stat().st_mtime - then) > 1) is noted


def test_the_tree_is_on_the_disk_before_its_name_is(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut an interpreter is complete or absent: marked, flushed, renamed, in this order."""
    seen = []
    flush, rename = files.flush_tree, files.rename

    def flushing(tree: Path) -> None:
        seen.append(("flush", (tree / MARKER).exists(), verify_entry(tree)))
        flush(tree)

    def renaming(source: Path, target: Path) -> None:
        if target.parent.name == "interpreters":
            seen.append(("rename", target.exists(), []))
        rename(source, target)

    monkeypatch.setattr(store, "flush_tree", flushing)
    monkeypatch.setattr(files, "rename", renaming)
    provide(cache)
    assert seen == [("flush", True, []), ("rename", False, [])]


def test_links_to_a_cache_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final path is written into the interpreter and must stay true when the link goes; the name is kept."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    cache = open_cache(Settings(cache_dir=str(tmp_path / "link"), shared_caches=(str(tmp_path / "link" / "x"),)))
    assert (cache.root, cache.shared) == (tmp_path / "real", (tmp_path / "real" / "x",))
    assert cache.names == ((tmp_path / "real" / "x", str(tmp_path / "link" / "x")), (cache.root, f"{tmp_path}/link"))
    assert open_cache(Settings()) == Cache(tmp_path / ".cache" / "provision-backend")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert open_cache(Settings()).root == tmp_path / "xdg" / "provision-backend"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert open_cache(Settings()).root == tmp_path / ".cache" / "provision-backend"


def test_a_note_is_whole_or_absent(cache: Cache) -> None:
    """It is replaced in one step, readable by everybody, and lost without a word where it cannot be written."""
    folders.make_folders(cache.root)
    note = cache.root / "used" / "note"
    for text in ("text", "another text"):
        folders.write_note(cache.root, note, text)
        assert (note.read_text(), oct(note.stat().st_mode & 0o777)) == (text, "0o644")
    folders.write_note(cache.root, cache.root / "none" / "note", "text")
    assert (names(cache, "used"), names(cache, "staging")) == (["note"], [])


WRITE = """
import os, signal, sys
from pathlib import Path
from provision_backend import files
from provision_backend.cache.folders import write_note
files.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
root = Path(sys.argv[1])
write_note(root, root / "used" / "note", "half")
"""


def test_writers_of_a_note_that_are_killed_leave_nothing_that_grows(cache: Cache) -> None:
    """Each removes what the one before it left, and so does the process that makes the next interpreter."""
    provide(cache)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(cache.root)], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == -signal.SIGKILL
        assert len(names(cache, "staging")) == 1
    assert names(cache, "used") == []
    provide(cache, archive=ARCHIVE._replace(sha256="f" * 64))
    assert names(cache, "staging") == []


def test_the_staging_folder_of_this_process_is_no_leftover(cache: Cache) -> None:
    """A folder of a living process is not swept by another one."""
    folders.make_folders(cache.root)
    with folders.open_staging(cache.root, "key") as staging:
        assert re.fullmatch(r"key~[0-9a-f]{8}-\d+~\w+", staging.name)
        assert folders.find_leftovers(cache.root) == []
    assert names(cache, "staging") == []


def test_a_host_name_may_be_no_text(cache: Cache) -> None:
    """The kernel takes any bytes for one, and the name of a folder in staging is made of it."""
    code = (
        "import socket, sys; socket.sethostname(bytes([97, 255, 254, 98]));"
        "from pathlib import Path; from provision_backend.cache import folders, locks; root = Path(sys.argv[1]);"
        "folders.make_folders(root); staging = folders.open_staging(root, 'key'); print(staging.__enter__().name);"
        "lock = root / 'locks' / 'x.lock'; locks._write_owner(lock); print(ascii(locks.read_owner(lock)['host']))"
    )
    unshare = ["unshare", "--map-root-user", "--uts"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare cannot give a process a host name of its own here")
    command = [*unshare, sys.executable, "-c", code, str(cache.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=str(ROOT))

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"key~[0-9a-f]{8}-\d+~\w+\n'a\\udcff\\udcfeb'\n", done.stdout)


@pytest.mark.parametrize("owner", ["0000ffff-1", "nonsense", "", "{machine}-x", "{machine}-", "{machine}-1"])
def test_what_another_machine_began_is_abandoned_after_a_day(cache: Cache, owner: str) -> None:
    """Its processes cannot be asked for, nor is a living process of another user gone: only time tells."""
    folders.make_folders(cache.root)
    with folders.open_staging(cache.root, "key") as staging:
        machine = staging.name.split("~")[1].rpartition("-")[0]
    leftover = cache.root / "staging" / f"key~{owner.format(machine=machine)}~x"
    leftover.mkdir()
    for hours, gone in ((0, False), (23, False), (25, True)):
        then = time.time() - hours * 3600
        os.utime(leftover, (then, then))
        assert folders.find_leftovers(cache.root) == ([leftover.name] if gone else [])


def test_simulated_a_tree_that_does_not_reach_the_disk_is_not_published(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the disk while a tree is flushed is an error of ours."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "_syncfs", fail)
    with pytest.raises(CacheError, match="cannot be written: Input/output error"):
        provide(cache)
    assert (names(cache, "interpreters"), names(cache, "staging")) == ([], [])


def test_an_environment_that_was_made_is_found(cache: Cache) -> None:
    """With its facts, its links and modes that do not depend on the umask; nothing is left beside it."""
    before = os.umask(0o077)
    try:
        entry = provide_environment(cache)
    finally:
        os.umask(before)

    assert entry == cache.find_environment(ENVIRONMENT) == cache.root / "environments" / ENVIRONMENT
    facts = read_environment(entry)
    program = str(cache.root / "interpreters" / KEY / "bin" / "python3.13")
    assert (facts["interpreter"], facts["files"]) == (
        program,
        {"hatchling": ["hatchling-1.33.0-py3-none-any.whl", SHA]},
    )
    assert (os.readlink(entry / "bin" / "python"), os.readlink(entry / "lib64")) == (program, "lib")
    assert verify_entry(entry) == []
    modes = {oct(stat.S_IMODE(path.stat().st_mode)) for path in (entry, *entry.rglob("*")) if not path.is_symlink()}
    assert modes == {"0o755", "0o644"}
    assert os.access(entry / "bin" / "hatchling", os.X_OK)
    assert (names(cache, "environments"), names(cache, "staging")) == ([ENVIRONMENT], [])


def test_a_hit_of_an_environment_writes_nothing(cache: Cache) -> None:
    """It takes no lock and makes nothing, and the interpreters are not looked at."""
    entry = provide_environment(cache)
    before = {path: path.lstat().st_mtime_ns for path in cache.root.rglob("*")}

    def refuse(_: Path) -> Mapping[str, Any]:
        raise AssertionError

    assert provide_environment(cache, refuse) == entry
    assert before == {path: path.lstat().st_mtime_ns for path in cache.root.rglob("*")}
    assert Cache(cache.root.parent / "none").find_environment(ENVIRONMENT) is None


def test_an_environment_of_a_shared_cache_comes_first(tmp_path: Path) -> None:
    """One that is only read serves, and the writable one is not even made."""
    shared = Cache(tmp_path / "shared")
    made = provide_environment(shared)
    cache = Cache(tmp_path / "own", (shared.root,))

    assert provide_environment(cache) == made
    assert not cache.root.exists()


ENVIRONMENT_DAMAGES: Dict[str, Callable[[Path], object]] = {
    "no marker": lambda entry: (entry / MARKER).unlink(),
    "a changed marker": lambda entry: (entry / MARKER).write_text((entry / MARKER).read_text().replace("1.33", "1.34")),
    "the marker of an interpreter": lambda entry: shutil.copy(
        str(entry.parent.parent / "interpreters" / KEY / MARKER), str(entry / MARKER)
    ),
    "no Python": lambda entry: (entry / "bin" / "python").unlink(),
    "a Python that leads nowhere": lambda entry: os.replace(
        str(entry / "bin" / "python"), str(entry / "bin" / "other")
    ),
}


@pytest.mark.parametrize("damage", ENVIRONMENT_DAMAGES.values(), ids=ENVIRONMENT_DAMAGES.keys())
def test_a_damaged_environment_is_noticed_and_replaced_beside(cache: Cache, damage: Callable[[Path], object]) -> None:
    """A lookup passes it over, and the next build makes a new one beside it."""
    entry = provide_environment(cache)
    damage(entry)

    assert cache.find_environment(ENVIRONMENT) is None
    assert provide_environment(cache) == entry.with_name(f"{ENVIRONMENT}.1")
    assert names(cache, "environments") == [ENVIRONMENT, f"{ENVIRONMENT}.1"]


def test_one_whose_interpreter_is_gone_is_passed_over(cache: Cache) -> None:
    """Nothing could run what is in it."""
    entry = provide_environment(cache)
    (cache.root / "interpreters" / KEY / "bin" / "python3.13").unlink()

    assert cache.find_environment(ENVIRONMENT) is None
    assert verify_entry(entry) == []


def test_an_environment_that_differs_is_condemned(cache: Cache) -> None:
    """What only a full look finds is written down; the next one stands beside it."""
    entry = provide_environment(cache)
    assert cache.repair(entry) == []
    (entry / "lib" / "python3.13" / "site-packages" / "hatchling" / "build.py").write_text("import os\n\n")

    assert list(map(str, cache.repair(entry))) == ["changed: lib/python3.13/site-packages/hatchling/build.py"]
    assert cache.find_environment(ENVIRONMENT) is None
    assert provide_environment(cache) == entry.with_name(f"{ENVIRONMENT}.1")


@pytest.mark.parametrize("error", [UnpackError("no"), KeyboardInterrupt()], ids=repr)
def test_an_environment_that_cannot_be_filled_is_not_published(cache: Cache, error: BaseException) -> None:
    """Whatever the installer ends with goes through, staging is removed, and the next build succeeds."""
    fill = filled(provide(cache))

    def fail(tree: Path) -> Mapping[str, Any]:
        fill(tree)
        raise error

    with pytest.raises(type(error)):
        provide_environment(cache, fail)
    assert (names(cache, "environments"), names(cache, "staging")) == ([], [])
    assert provide_environment(cache)


def test_another_process_may_make_the_environment_first(cache: Cache) -> None:
    """Without locks two processes make the same one; the rename decides, and both have that of the first."""
    fill = filled(provide(cache))
    made = []

    def late(tree: Path) -> Mapping[str, Any]:
        # A lock of the same key is held by this very process, so the other one works in a cache of its own.
        other = provide_environment(Cache(cache.root.parent / "other"), fill)
        os.rename(str(other), str(cache.root / "environments" / ENVIRONMENT))
        made.append(os.lstat(cache.root / "environments" / ENVIRONMENT).st_ino)
        return fill(tree)

    entry = provide_environment(cache, late)
    assert [os.lstat(entry).st_ino] == made
    assert names(cache, "environments") == [ENVIRONMENT]
    assert names(cache, "staging") == []


def test_the_last_use_of_an_environment_is_noted(cache: Cache) -> None:
    """Beside those of interpreters, and with the frontend of a build that needs it."""
    entry = provide_environment(cache)
    cache.note_use(entry, frontend=os.getpid())

    assert [name.partition("~")[0] for name in names(cache, "used")] == [ENVIRONMENT, ENVIRONMENT]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files of other users need root")
def test_an_environment_of_another_user_is_not_trusted(cache: Cache) -> None:
    """It is passed over as if it were not there, and so is one that everybody can write."""
    entry = provide_environment(cache)
    entry.chmod(0o777)
    assert cache.find_environment(ENVIRONMENT) is None
    entry.chmod(0o755)
    assert cache.find_environment(ENVIRONMENT) == entry
    os.chown(entry, 64001, 64001)
    assert cache.find_environment(ENVIRONMENT) is None
    assert provide_environment(cache) == entry.with_name(f"{ENVIRONMENT}.1")


@pytest.mark.parametrize("missing", ["filelock", "fcntl"])
def test_an_environment_is_made_without_locks(cache: Cache, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filelock is not installed where nothing is downloaded, and some Pythons lack fcntl."""
    if missing == "filelock":
        monkeypatch.setitem(sys.modules, missing, None)
    else:
        monkeypatch.setattr(locks, missing, None)

    assert cache.find_environment(ENVIRONMENT) is None
    assert provide_environment(cache) == cache.root / "environments" / ENVIRONMENT
    assert names(cache, "staging") == []
    assert not (cache.root / "locks" / f"{ENVIRONMENT}.owner").exists()
