"""Looking after a cache: what is in it, what has changed, and what goes and stays. Small trees, real processes."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import pytest
from support.cache_entries import ARCHIVE, ENVIRONMENT, KEY, build, filled, names, provide, provide_environment

from provision_backend import files
from provision_backend.cache import entries, manifest, upkeep
from provision_backend.cache.entries import MARKER, note_use
from provision_backend.cache.locks import key_lock
from provision_backend.cache.manifest import MANIFEST, verify_entry
from provision_backend.cache.store import Cache
from provision_backend.cache.upkeep import clean_cache, list_entries, prune_cache, remove_entries
from provision_backend.files import read_file
from provision_backend.output import Reporter, format_size
from provision_backend.provision import set_aside_damaged
from provision_backend.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Return a cache with one interpreter."""
    cache = Cache(tmp_path / "cache")
    provide(cache, rich)
    return cache


def rich(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
    """Make a tree that has what real ones have: files, links to files and folders, compiled modules."""
    facts = build(staging, download, final)
    tree: Path = facts["tree"]
    (tree / "bin" / "python").symlink_to("python3.13")
    (tree / "lib" / "__pycache__").mkdir(parents=True)
    (tree / "lib" / "__pycache__" / "os.pyc").write_text("compiled")
    (tree / "lib" / "os.py").write_text("import sys\n")
    (tree / "lib" / "caf\udce9.txt").write_text("a name that is no UTF-8")
    (tree / "share").symlink_to("lib")
    return facts


def entry_of(cache: Cache) -> Path:
    return cache.root / "interpreters" / KEY


def add(cache: Cache, digit: str, *, unused_for: float = 0.0) -> str:
    """Publish another interpreter and return its key."""
    archive = ARCHIVE._replace(sha256=digit * 64)
    provide(cache, archive=archive)
    age(cache, archive.key, unused_for)
    return archive.key


def age(cache: Cache, key: str, seconds: float, folder: str = "interpreters") -> None:
    then = time.time() - seconds
    for path in (cache.root / "used" / key, cache.root / folder / key / MARKER):
        path.touch()
        os.utime(path, (then, then))


def verified(cache: Cache) -> List[str]:
    return list(map(str, verify_entry(entry_of(cache))))


def test_an_untouched_interpreter_is_as_it_was(cache: Cache) -> None:
    """To look at it changes nothing."""
    assert verified(cache) == verified(cache) == []


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


CHANGES: Dict[str, Tuple[Callable[[Path], object], List[str]]] = {
    "a byte": (lambda tree: (tree / "lib/os.py").write_text("import syS\n"), ["changed: lib/os.py"]),
    "the size": (
        lambda tree: (tree / "lib/os.py").write_text(""),
        ["changed: lib/os.py (wanted 11 bytes, found 0)"],
    ),
    "the mode": (lambda tree: (tree / "lib/os.py").chmod(0o666), ["changed: lib/os.py"]),
    "a missing file": (lambda tree: (tree / "lib/os.py").unlink(), ["missing: lib/os.py"]),
    "a missing folder": (
        lambda tree: shutil.rmtree(tree / "lib"),
        [
            "missing: lib",
            "missing: lib/__pycache__",
            "missing: lib/__pycache__/os.pyc",
            "missing: lib/caf?.txt",
            "missing: lib/os.py",
        ],
    ),
    "a file more": (lambda tree: (tree / "lib/new.py").touch(), ["added: lib/new.py"]),
    "a link that leads elsewhere": (
        lambda tree: replaced(tree / "share", lambda path: path.symlink_to("/etc")),
        ["changed: share"],
    ),
    "a link in place of a file": (
        lambda tree: replaced(tree / "lib/os.py", lambda path: path.symlink_to("/dev/zero")),
        ["changed: lib/os.py"],
    ),
    "a pipe in place of a file": (
        lambda tree: replaced(tree / "lib/os.py", lambda path: os.mkfifo(str(path))),
        ["changed: lib/os.py"],
    ),
    "a folder in place of a file": (
        lambda tree: replaced(tree / "lib/os.py", Path.mkdir),
        ["changed: lib/os.py"],
    ),
    "a byte of a compiled module": (
        lambda tree: (tree / "lib/__pycache__/os.pyc").write_text("Compiled"),
        ["changed: lib/__pycache__/os.pyc"],
    ),
    "no compiled module": (
        lambda tree: (tree / "lib/__pycache__/os.pyc").unlink(),
        ["missing: lib/__pycache__/os.pyc"],
    ),
    "a compiled module more": (
        lambda tree: (tree / "lib/__pycache__/json.pyc").touch(),
        ["added: lib/__pycache__/json.pyc"],
    ),
    "a folder more": (lambda tree: (tree / "lib/json").mkdir(), ["added: lib/json"]),
    "a link more": (lambda tree: (tree / "lib/json.py").symlink_to("os.py"), ["added: lib/json.py"]),
    "a pipe more": (lambda tree: os.mkfifo(str(tree / "pipe")), ["added: pipe"]),
    "a name that would steer a terminal": (lambda tree: (tree / "a\x1b[1m\n").touch(), ["added: a?[1m?"]),
    "the mode of a folder": (lambda tree: (tree / "lib").chmod(0o700), ["changed: lib"]),
    "the mode of the whole": (lambda tree: tree.chmod(0o700), ["changed: ."]),
    "the mode of the marker": (lambda tree: (tree / MARKER).chmod(0o600), [f"changed: {MARKER}"]),
    "the mode of the list": (lambda tree: (tree / MANIFEST).chmod(0o600), [f"changed: {MANIFEST}"]),
    "a byte of the marker": (
        lambda tree: (tree / MARKER).write_text((tree / MARKER).read_text().replace('"pip": "25.0"', '"pip": "25.1"')),
        [f"damaged: {MARKER}"],
    ),
    "a space in the marker": (
        lambda tree: (tree / MARKER).write_text((tree / MARKER).read_text().replace("{", "{ ")),
        [f"damaged: {MARKER}"],
    ),
    "a marker that is nested deeply": (
        lambda tree: (tree / MARKER).write_text("[" * 100_000),
        [f"damaged: {MARKER}"],
    ),
    "a pipe in place of the marker": (
        lambda tree: replaced(tree / MARKER, lambda path: os.mkfifo(str(path))),
        [f"damaged: {MARKER}"],
    ),
    "no marker": (
        lambda tree: (tree / "provision-backend.json").unlink(),
        ["damaged: provision-backend.json"],
    ),
    "no list": (lambda tree: (tree / MANIFEST).unlink(), [f"missing: {MANIFEST}"]),
    "another list": (lambda tree: (tree / MANIFEST).write_text("{}"), [f"damaged: {MANIFEST}"]),
}


@pytest.mark.parametrize(("change", "problems"), CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_found(cache: Cache, change: Callable[[Path], object], problems: List[str]) -> None:
    """Each changed, missing or added file is named."""
    change(entry_of(cache))

    assert verified(cache) == problems


def test_added_bytecode_is_removed_and_the_rest_stays(cache: Cache) -> None:
    """A Python that was started by its path has written it; the interpreter is then as it was published."""
    entry = entry_of(cache)
    (entry / "lib" / "__pycache__" / "json.pyc").write_text("compiled")
    (entry / "bin" / "__pycache__").mkdir()
    (entry / "bin" / "__pycache__" / "other.pyc").symlink_to("../python3.13")
    found = ["bin/__pycache__", "bin/__pycache__/other.pyc", "lib/__pycache__/json.pyc"]

    assert list(map(str, cache.repair(entry))) == [f"added: {path}" for path in found]
    assert verified(cache) == []
    assert (entry / "bin" / "python3.13").exists()
    assert cache.lookup(ARCHIVE) is not None


@pytest.mark.parametrize("damage", ["lib/os.py", "lib/__pycache__/os.pyc"])
def test_what_differs_otherwise_is_used_no_longer(cache: Cache, damage: str) -> None:
    """The next build makes a new one beside it, and prune removes the old one."""
    (entry_of(cache) / damage).unlink()
    (entry_of(cache) / "lib" / "added.py").touch()

    assert {*map(str, cache.repair(entry_of(cache)))} == {"added: lib/added.py", f"missing: {damage}"}
    assert (entry_of(cache) / "lib" / "added.py").exists()
    assert cache.lookup(ARCHIVE) is None
    assert [entry.path for entry in prune_cache(cache).removed] == [entry_of(cache)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", [MARKER, MANIFEST])
def test_simulated_what_cannot_be_read_for_a_moment_is_not_damaged(
    cache: Cache, name: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files, or a server that is gone, say nothing of the interpreter: it would be removed."""

    def _failing(path: Path) -> bytes:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return read_file(path)

    for module in (entries, manifest):
        monkeypatch.setattr(module, "read_file", _failing)
    interpreter = cache.lookup(ARCHIVE) if name == MANIFEST else None
    with pytest.raises(OSError, match=os.strerror(number)):
        verify_entry(entry_of(cache))
    if interpreter:
        assert not set_aside_damaged(
            interpreter, load_settings(flags={"cache-dir": str(cache.root)}), Reporter(io.StringIO())
        )
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            prune_cache(cache, unused_for=0)
    monkeypatch.undo()

    assert cache.lookup(ARCHIVE) is not None


def test_each_byte_counts(cache: Cache) -> None:
    """Wherever a single bit of a file is turned, it is found."""
    path = entry_of(cache) / "lib" / "os.py"
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert verified(cache) == ["changed: lib/os.py"]


def test_the_list_says_what_there_is(cache: Cache, tmp_path: Path) -> None:
    """Shared caches come first; a damaged one is shown as such."""
    shared = Cache(tmp_path / "shared")
    provide(shared)
    (entry_of(shared) / "bin" / "python3.13").unlink()
    age(cache, KEY, 5 * DAY)
    entries = list_entries(Cache(cache.root, (shared.root,)))

    assert [(entry.path, entry.shared, entry.damaged) for entry in entries] == [
        (entry_of(shared), True, True),
        (entry_of(cache), False, False),
    ]
    assert (entries[1].key, entries[1].version) == (KEY, "3.13.5")
    files = [path for path in entry_of(cache).rglob("*") if path.is_file()]
    files.remove(entry_of(cache) / "provision-backend.json")
    assert entries[1].size == sum(path.lstat().st_size for path in files)
    assert abs(time.time() - entries[1].last_use - 5 * DAY) < 60


def test_prune_removes_nothing_that_is_fine(cache: Cache) -> None:
    """Without a bound only leftovers and damaged ones go."""
    age(cache, KEY, 1000 * DAY)
    swept = prune_cache(cache)

    assert (swept.removed, swept.kept, swept.leftovers) == ([], {}, [])


def test_prune_by_age(cache: Cache) -> None:
    """What was not used for so long goes, with its time stamp; the rest stays."""
    age(cache, KEY, 31 * DAY)
    fresh = add(cache, "b", unused_for=29 * DAY)
    swept = prune_cache(cache, unused_for=30 * DAY)

    assert [entry.key for entry in swept.removed] == [KEY]
    assert (names(cache, "interpreters"), names(cache, "used"), names(cache, "staging")) == ([fresh], [fresh], [])


def test_prune_by_size_takes_the_longest_unused_first(cache: Cache) -> None:
    """It ends as soon as the rest is small enough."""
    keys = [add(cache, digit, unused_for=days * DAY) for digit, days in (("a", 1), ("b", 3), ("c", 2))]
    age(cache, KEY, 4 * DAY)
    sizes = {entry.key: entry.size for entry in list_entries(cache)}
    swept = prune_cache(cache, max_size=sizes[keys[0]] + sizes[keys[2]])

    assert [entry.key for entry in swept.removed] == [KEY, keys[1]]
    assert sum(entry.size for entry in swept.removed) == sizes[KEY] + sizes[keys[1]]
    assert prune_cache(cache, max_size=10**9).removed == []


def test_prune_leaves_what_was_used_lately(cache: Cache) -> None:
    """Between two hooks of a build no process runs its interpreter, so two hours are waited."""
    age(cache, KEY, 3600)
    assert prune_cache(cache, unused_for=0, max_size=0).kept == {
        KEY: "it was used 60 minutes ago, so a build may still need it"
    }
    age(cache, KEY, 7300)
    assert [entry.key for entry in prune_cache(cache, unused_for=0).removed] == [KEY]


def test_a_time_in_the_future_says_nothing(cache: Cache) -> None:
    """A clock was wrong, or somebody wants to fill the disk; a file server's clock may be a little ahead."""
    used = cache.root / "used" / KEY
    age(cache, KEY, 100 * DAY)
    os.utime(used, (time.time() + 600,) * 2)
    assert prune_cache(cache, max_size=0).kept == {KEY: "it was used 0 minutes ago, so a build may still need it"}
    os.utime(used, (time.time() + 1000 * DAY,) * 2)
    download = cache.root / "downloads" / ("f" * 64)
    download.mkdir()
    os.utime(download, (time.time() + 1000 * DAY,) * 2)
    swept = prune_cache(cache, unused_for=30 * DAY)

    assert [entry.key for entry in swept.removed] == [KEY]
    assert swept.leftovers == [download.name]


def test_the_notes_of_builds_that_have_ended_do_not_pile_up(cache: Cache) -> None:
    """The next build removes them, since most caches are never pruned."""
    found = cache.lookup(ARCHIVE)
    assert found is not None
    for _ in range(3):
        with subprocess.Popen(["sleep", "60"]) as frontend:
            cache.note_use(found, frontend=frontend.pid)
            frontend.kill()
        assert len(names(cache, "used")) == 2


def test_what_a_build_needs_between_two_hooks_stays(cache: Cache) -> None:
    """No process runs the interpreter then; its frontend does, here or in a container that shares the cache."""
    found = cache.lookup(ARCHIVE)
    assert found is not None
    with subprocess.Popen(["sleep", "60"]) as frontend:
        cache.note_use(found, frontend=frontend.pid)
        kept = {KEY: f"process {frontend.pid} builds with it"}
        assert clean_cache(cache).kept == prune_cache(cache, max_size=0).kept == kept
        frontend.kill()
    elsewhere = cache.root / "used" / f"{KEY}~00000000-1"
    elsewhere.touch()
    assert clean_cache(cache).kept == {KEY: "a build in another container or on another machine may need it"}
    assert names(cache, "used") == [KEY, elsewhere.name]
    os.utime(elsewhere, (time.time() - 7300,) * 2)
    assert [entry.key for entry in clean_cache(cache).removed] == [KEY]
    assert names(cache, "used") == []


def test_force_asks_for_no_builds(cache: Cache) -> None:
    """Who wants the room gets it."""
    found = cache.lookup(ARCHIVE)
    assert found is not None
    cache.note_use(found, frontend=os.getpid())
    assert [entry.key for entry in clean_cache(cache, force=True).removed] == [KEY]
    assert names(cache, "used") == []


def test_prune_removes_damaged_ones_and_leftovers(cache: Cache) -> None:
    """They serve nobody: what a build would pass over, staging of the dead, archives half-fetched long ago."""
    (entry_of(cache) / "bin" / "python3.13").unlink()
    dead = f"key~00000000-{2**22 + 1}~x"
    for path in (
        cache.root / "staging" / dead,
        cache.root / "downloads" / ("e" * 64),
        cache.root / "downloads" / ("f" * 64),
    ):
        path.mkdir()
    for path in (cache.root / "staging" / dead, cache.root / "downloads" / ("e" * 64)):
        os.utime(path, (0, 0))
    swept = prune_cache(cache)

    assert [entry.key for entry in swept.removed] == [KEY]
    assert swept.leftovers == [dead, "e" * 64]
    assert (names(cache, "interpreters"), names(cache, "staging"), names(cache, "downloads")) == ([], [], ["f" * 64])


@contextlib.contextmanager
def process_in(cache: Cache, how: str) -> Iterator[int]:
    """Run a process whose program, working directory or library lies in the interpreter."""
    entry = entry_of(cache)
    command, cwd = ["sleep", "60"], None
    if how == "program":
        shutil.copy(str(shutil.which("sleep")), str(entry / "bin" / "sleep"))
        command[0] = str(entry / "bin" / "sleep")
    elif how == "working directory":
        cwd = str(entry / "lib")
    else:
        (entry / "lib" / "mapped").write_bytes(bytes(4096))
        code = (
            "import mmap, sys, time; f = open(sys.argv[1]); m = mmap.mmap(f.fileno(), 0, prot=1); print(flush=True); "
        )
        command = [sys.executable, "-c", code + "time.sleep(60)", str(entry / "lib" / "mapped")]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE)
    if how == "library":
        assert process.stdout is not None
        process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", ["program", "working directory", "library"])
def test_what_a_process_uses_stays(cache: Cache, how: str) -> None:
    """However long ago it was started; it goes when the process has ended, or with force."""
    age(cache, KEY, 100 * DAY)
    with process_in(cache, how) as number:
        deadline = time.monotonic() + 60
        while prune_cache(cache, unused_for=DAY).kept != {KEY: f"process {number} uses it"}:
            assert time.monotonic() < deadline
            assert names(cache, "interpreters") == [KEY]
        assert clean_cache(cache).kept == {KEY: f"process {number} uses it"}
        if how == "working directory":
            assert [entry.key for entry in clean_cache(cache, force=True).removed] == [KEY]
            return
    assert [entry.key for entry in prune_cache(cache, unused_for=DAY).removed] == [KEY]


def test_uninstall_removes_what_was_used_lately_and_not_what_runs(cache: Cache) -> None:
    """Whoever names an interpreter means it, so only a process that uses it keeps it, unless it is forced."""
    with process_in(cache, "working directory") as number:
        assert remove_entries(cache, list_entries(cache)).kept == {KEY: f"process {number} uses it"}
        assert [entry.key for entry in remove_entries(cache, list_entries(cache), force=True).removed] == [KEY]
    provide(cache, rich)
    other = add(cache, "e")
    assert [entry.key for entry in remove_entries(cache, list_entries(cache)[:1]).removed] == [KEY]
    assert names(cache, "interpreters") == [other]


def test_what_is_being_provisioned_stays(cache: Cache) -> None:
    """Whoever holds the lock of a key is at work on it: neither an old copy nor his download goes."""
    age(cache, KEY, 100 * DAY)
    (cache.root / "downloads" / ARCHIVE.sha256).mkdir()
    os.utime(cache.root / "downloads" / ARCHIVE.sha256, (0, 0))
    with key_lock(cache.root / "locks", KEY, timeout=0, reporter=Reporter(io.StringIO())):
        for swept in (prune_cache(cache, unused_for=DAY), clean_cache(cache), clean_cache(cache, force=True)):
            assert swept.kept == {KEY: "another process provisions it now"}
            assert (swept.removed, swept.leftovers) == ([], [])
    assert names(cache, "downloads") == [ARCHIVE.sha256]
    assert len(clean_cache(cache).removed) == 1


def test_simulated_one_in_a_lower_layer_is_removed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay file system refuses to rename a folder of a container's image."""
    age(cache, KEY, 100 * DAY)

    def refuse(_source: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(upkeep, "rename", refuse)
    assert [entry.key for entry in prune_cache(cache, unused_for=DAY).removed] == [KEY]
    assert names(cache, "interpreters") == []
    assert names(cache, "staging") == []


def test_one_that_comes_into_use_meanwhile_is_put_back(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever found it just before the rename has noted its use, and finds it again just after."""
    age(cache, KEY, 100 * DAY)
    rename = files.rename

    def renaming(source: Path, target: Path) -> None:
        rename(source, target)
        if source == entry_of(cache):
            note_use(entry_of(cache))

    monkeypatch.setattr(upkeep, "rename", renaming)
    swept = prune_cache(cache, unused_for=DAY)
    assert swept.kept == {KEY: "it was used 0 minutes ago, so a build may still need it"}
    assert verify_entry(entry_of(cache)) == []


def test_an_interpreter_leaves_at_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is renamed away before the first of its files is deleted."""
    seen = []
    delete = shutil.rmtree

    def deleting(path: Any, **options: Any) -> None:
        seen.append((entry_of(cache).exists(), len(names(cache, "staging"))))
        delete(path, **options)

    monkeypatch.setattr(shutil, "rmtree", deleting)
    clean_cache(cache)
    assert seen[0] == (False, 1)
    assert names(cache, "staging") == []


def test_clean_leaves_an_empty_cache(cache: Cache) -> None:
    """The lock files stay, since another process may have them open; everything else is made again."""
    for note in ("platforms/usr-bin-python3-01234567.json", f"catalogs/{'a' * 16}", f"damaged/{'b' * 16}"):
        (cache.root / note).parent.mkdir(exist_ok=True)
        (cache.root / note).touch()
    (cache.root / "downloads" / ("c" * 64)).mkdir()
    clean_cache(cache)

    left = sorted(str(path.relative_to(cache.root)) for path in cache.root.rglob("*") if not path.is_dir())
    assert left == [".gitignore", "CACHEDIR.TAG", f"locks/{KEY}.lock", f"locks/{KEY}.owner"]
    assert provide(cache)


def test_what_is_not_of_a_cache_stays(cache: Cache) -> None:
    """The setting may name a home or a project by mistake, whose folders may be called as those of a cache."""
    folders = ("interpreters", "environments", "targets", "compilers", "downloads", "used", "damaged", "catalogs")
    mine = [cache.root / folder / "mine" / "data" for folder in (*folders, "platforms")]
    for file in mine:
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        os.utime(file.parent, (0, 0))
        os.utime(file, (0, 0))
    swept = (prune_cache(cache, unused_for=0), clean_cache(cache, force=True))

    assert [file for file in mine if not file.exists()] == []
    assert [each.leftovers for each in swept] == [[], []]
    assert "mine" not in {entry.key for each in swept for entry in each.removed}


@pytest.mark.parametrize("folder", ["downloads", "damaged"])
def test_what_a_link_leads_to_stays(cache: Cache, folder: str, tmp_path: Path) -> None:
    """It may be a folder of somebody else, whatever the names in it are."""
    elsewhere = tmp_path / "elsewhere"
    name = "a" * (64 if folder == "downloads" else 16)
    (elsewhere / name).mkdir(parents=True)
    os.utime(elsewhere / name, (0, 0))
    shutil.rmtree(cache.root / folder, ignore_errors=True)
    (cache.root / folder).symlink_to(elsewhere)
    prune_cache(cache, unused_for=0)
    clean_cache(cache, force=True)

    assert os.listdir(elsewhere) == [name]


def test_shared_caches_are_not_touched(cache: Cache, tmp_path: Path) -> None:
    """They are only looked in."""
    other = Cache(tmp_path / "other", (cache.root,))
    provide(other, archive=ARCHIVE._replace(sha256="b" * 64))
    clean_cache(other)

    assert verify_entry(entry_of(cache)) == []
    assert names(other, "interpreters") == []


def run(cache: Cache, *arguments: str, group: Sequence[str] = ("cache",)) -> Tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "provision_backend", *group, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROVISION_BACKEND_CACHE_DIR": str(cache.root)},
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_line_lists(cache: Cache) -> None:
    """One line for people, the same facts for programs."""
    entry = list_entries(cache)[0]
    code, out, err = run(cache, "list")
    assert (code, err) == (0, "")
    assert out == f"3.13.5  {entry.size} B  used just now  {entry.path}\n"
    assert json.loads(run(cache, "list", "--json")[1]) == [
        {
            "path": str(entry.path),
            "key": KEY,
            "kind": "interpreter",
            "version": "3.13.5",
            "interpreter": "",
            "packages": 0,
            "size": entry.size,
            "last_use": entry.last_use,
            "damaged": False,
            "shared": False,
        }
    ]


def test_the_command_line_verifies(cache: Cache) -> None:
    """It ends with 1 when something is damaged, and names the files."""
    assert run(cache, "verify") == (0, f"{entry_of(cache)}: as it was published\n", "")
    (entry_of(cache) / "lib" / "os.py").unlink()
    advice = (
        "provision-backend: 'provision-backend cache verify --repair' removes bytecode that was added; what "
        "differs otherwise is then replaced by the next build that needs it\n"
    )
    assert run(cache, "verify", KEY) == (
        1,
        f"{entry_of(cache)}: differs from what was published\n    missing: lib/os.py\n",
        advice,
    )
    code, out, _ = run(cache, "verify", "--json")
    assert (code, json.loads(out)) == (1, {str(entry_of(cache)): ["missing: lib/os.py"]})
    assert run(cache, "verify", "--repair") == (
        1,
        f"{entry_of(cache)}: differs from what was published\n    missing: lib/os.py\n",
        "provision-backend: bytecode that was added is removed, but not from a shared cache; what differs otherwise "
        "is not used any more, and 'provision-backend cache prune' removes it\n",
    )
    assert run(cache, "list")[1].endswith(f"{entry_of(cache)}  (damaged)\n")
    assert run(cache, "verify", "other") == (
        2,
        "",
        "provision-backend: there is no interpreter or environment 'other' in the cache\n  see cache list\n",
    )


def test_the_command_line_prunes_and_cleans(cache: Cache) -> None:
    """What has gone is listed, and why something has stayed; clean ends with 1 when it could not."""
    age(cache, KEY, 100 * DAY)
    size = list_entries(cache)[0].size
    with process_in(cache, "working directory") as number:
        kept = f"provision-backend: kept {KEY}: process {number} uses it\n"
        assert run(cache, "clean") == (1, "0 B freed\n", kept)
        assert run(cache, "prune", "--unused-for", "30") == (0, "0 B freed\n", kept)
    code, out, err = run(cache, "prune", "--max-size", "0.001K", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["freed"] == size
    provide(cache)
    size = list_entries(cache)[0].size
    assert run(cache, "clean")[:2] == (0, f"removed {entry_of(cache)} ({size} B)\n{size} B freed\n")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--unused-for", "-1", "--unused-for must be a number of days, 0 or more, found '-1'"),
        ("--unused-for", "nan", "--unused-for must be a number of days, 0 or more, found 'nan'"),
        ("--max-size", "2 X", "--max-size must be a number of bytes such as 500M or 2G, found '2 X'"),
    ],
)
def test_bounds_are_checked(cache: Cache, option: str, value: str, message: str) -> None:
    """A value that is not of its form is wrong use, and nothing is removed."""
    assert run(cache, "prune", f"{option}={value}") == (2, "", f"provision-backend: {message}\n")
    assert names(cache, "interpreters") == [KEY]


def test_an_empty_cache_is_no_trouble(tmp_path: Path) -> None:
    """Nothing is there, nothing is damaged, nothing is made."""
    cache = Cache(tmp_path / "none")
    assert [run(cache, command)[:2] for command in ("list", "verify", "prune", "clean")] == [
        (0, ""),
        (0, ""),
        (0, "0 B freed\n"),
        (0, "0 B freed\n"),
    ]
    assert not cache.root.exists()


def test_environments_are_listed(cache: Cache) -> None:
    """After the interpreters: with the number of their packages, and the interpreter that they are for."""
    path = provide_environment(cache)
    entry = list_entries(cache)[1]

    assert (entry.path, entry.key, entry.kind, entry.packages) == (path, ENVIRONMENT, "environment", 1)
    assert entry.interpreter == str(entry_of(cache) / "bin" / "python3.13")
    assert (entry.version, entry.damaged, entry.shared) == ("", False, False)
    code, out, err = run(cache, "list")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == f"1 package  {format_size(entry.size)}  used just now  {path}"
    assert json.loads(run(cache, "list", "--json")[1])[1] == {**vars(entry), "path": str(path)}
    (path / MARKER).unlink()
    assert run(cache, "list")[1].splitlines()[1].startswith("?       ")


def test_environments_are_verified(cache: Cache) -> None:
    """Added bytecode is a difference as any other, since nothing runs there; after --repair a build makes a new one."""
    path = provide_environment(cache)
    assert run(cache, "verify", ENVIRONMENT) == (0, f"{path}: as it was published\n", "")
    (path / "lib" / "python3.13" / "site-packages" / "hatchling" / "__pycache__" / "new.pyc").touch()
    difference = "added: lib/python3.13/site-packages/hatchling/__pycache__/new.pyc"

    assert run(cache, "verify", ENVIRONMENT)[:2] == (1, f"{path}: differs from what was published\n    {difference}\n")
    assert cache.find_environment(ENVIRONMENT) == path
    assert run(cache, "verify", "--repair")[0] == 1
    assert cache.find_environment(ENVIRONMENT) is None
    assert cache.lookup(ARCHIVE) is not None
    assert [entry.path for entry in prune_cache(cache).removed] == [path]


def test_prune_removes_an_environment_that_was_not_used(cache: Cache) -> None:
    """Its interpreter was, by other projects, and stays."""
    path = provide_environment(cache)
    age(cache, ENVIRONMENT, 31 * DAY, "environments")

    assert [entry.path for entry in prune_cache(cache, unused_for=30 * DAY).removed] == [path]
    assert (names(cache, "environments"), names(cache, "interpreters")) == ([], [KEY])
    provide_environment(cache)
    assert prune_cache(cache, unused_for=0).kept[ENVIRONMENT] == (
        "it was used 0 minutes ago, so a build may still need it"
    )


def test_prune_counts_environments(cache: Cache) -> None:
    """The longest unused goes first, of whatever kind it is."""
    provide_environment(cache)
    age(cache, ENVIRONMENT, 4 * DAY, "environments")
    age(cache, KEY, 3 * DAY)
    interpreter, environment = list_entries(cache)

    assert prune_cache(cache, max_size=interpreter.size + environment.size).removed == []
    assert prune_cache(cache, max_size=interpreter.size).removed == [environment]


@pytest.mark.parametrize("unused_for", [5.0 * DAY, None], ids=["old", "too large"])
def test_an_environment_goes_with_its_interpreter(cache: Cache, unused_for: Optional[float]) -> None:
    """Nothing could run it; the environments of other interpreters stay."""
    path = provide_environment(cache)
    age(cache, ENVIRONMENT, 3 * DAY, "environments")
    age(cache, KEY, 6 * DAY)
    other = provide_environment(cache, filled(sys.executable), key="a" * 32)
    size = sum(entry.size for entry in list_entries(cache)) - 1 if unused_for is None else None
    swept = prune_cache(cache, unused_for=unused_for, max_size=size)

    assert [entry.path for entry in swept.removed] == [entry_of(cache), path]
    assert (names(cache, "environments"), names(cache, "used")) == ([other.name], [])


def test_prune_removes_an_environment_without_its_interpreter(cache: Cache) -> None:
    """Somebody has deleted the folder of that one."""
    path = provide_environment(cache)
    shutil.rmtree(str(entry_of(cache)))

    assert [(entry.path, entry.damaged) for entry in list_entries(cache)] == [(path, True)]
    assert [entry.path for entry in prune_cache(cache).removed] == [path]


def test_clean_and_uninstall_take_environments(cache: Cache) -> None:
    """The first takes all there is, the second those of an interpreter, or one that is named; each is reported."""
    for command, left in ((("cache", "clean"), []), (("uninstall", ENVIRONMENT), [KEY]), (("uninstall", "3.13"), [])):
        provide_environment(cache)
        lines = [
            f"removed {each.path} ({format_size(each.size)})" for each in list_entries(cache) if each.key not in left
        ]
        code, out, err = run(cache, *command[1:], group=command[:1])
        assert (code, err, out.splitlines()[:-1]) == (0, "", lines)
        assert (names(cache, "environments"), names(cache, "interpreters")) == ([], left)


def test_an_environment_that_is_copied_stays(cache: Cache) -> None:
    """The frontend of the build that copies it is noted; a process may also stand in it."""
    path = provide_environment(cache)
    with subprocess.Popen(["sleep", "60"]) as frontend:
        cache.note_use(path, frontend=frontend.pid)
        assert clean_cache(cache).kept == {ENVIRONMENT: f"process {frontend.pid} builds with it"}
        frontend.kill()
    with subprocess.Popen(["sleep", "60"], cwd=str(path / "lib")) as process:
        entries = list_entries(cache)
        assert remove_entries(cache, entries).kept == {ENVIRONMENT: f"process {process.pid} uses it"}
        process.kill()
    assert [entry.path for entry in clean_cache(cache).removed] == [path]


def test_an_environment_that_is_being_made_stays(cache: Cache) -> None:
    """Its folder in staging belongs to a process that runs, and an older copy is not taken away meanwhile."""
    fill = filled(provide(cache))
    age(cache, KEY, 100 * DAY)
    seen = []

    def fill_slowly(tree: Path) -> Mapping[str, Any]:
        facts = fill(tree)
        seen.append(prune_cache(cache, unused_for=1000 * DAY))
        return facts

    path = provide_environment(cache, fill_slowly)
    assert [(swept.removed, swept.leftovers) for swept in seen] == [([], [])]
    assert verify_entry(path) == []
    with key_lock(cache.root / "locks", ENVIRONMENT, timeout=0, reporter=Reporter(io.StringIO())):
        kept = clean_cache(cache, force=True).kept
    assert kept == {ENVIRONMENT: "another process provisions it now"}


def test_environments_of_a_shared_cache_stay(tmp_path: Path) -> None:
    """It is never changed, whatever becomes of the interpreters."""
    shared = Cache(tmp_path / "shared")
    path = provide_environment(shared)
    cache = Cache(tmp_path / "own", (shared.root,))
    provide_environment(Cache(cache.root), filled(sys.executable), key="a" * 32)

    assert len(clean_cache(cache).removed) == 1
    assert cache.find_environment(ENVIRONMENT) == path
