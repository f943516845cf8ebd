"""Caches that belong to others: which are believed, which are refused, and with what words. Real users, real modes."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import pytest
from support.as_user import run_as
from support.cache_entries import build, provide
from support.small_archives import catalog_of, shared_small_archives

from provision_backend.cache.manifest import verify_entry
from provision_backend.cache.store import Cache, open_cache
from provision_backend.errors import CacheError
from provision_backend.settings import Settings
from provision_backend.trust import ENTRY_FOLDERS, Trust, check_file, make_root, trust_cache

ME = pwd.getpwuid(os.geteuid()).pw_name
ALICE, BOB, TEAM = 64001, 64002, 64100
ADVICE = "set HOME to your home, as sudo -H does, or PROVISION_BACKEND_CACHE_DIR to a cache whose owner you trust"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")


@pytest.fixture
def private() -> Iterator[Path]:
    """Return a folder that everybody can reach and that lies where nobody but root can write."""
    for parent in ("/run", "/srv", "/opt", "/var/lib"):
        place = Path(parent)
        if place.is_dir() and os.access(place, os.W_OK) and not place.stat().st_mode & stat.S_IWOTH:
            folder = Path(tempfile.mkdtemp(dir=parent))
            folder.chmod(0o755)
            yield folder
            shutil.rmtree(str(folder))
            return
    pytest.skip("there is no folder that only root can write")


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder like ``/tmp``: everybody can write, and each only to what is his own."""
    # On a disk if there is one: in memory making is so quick that hardly a race is lost, whatever is not checked.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(str(folder))


def make(root: Path, *, owner: int = -1, group: int = -1, mode: int = 0o755) -> Path:
    for folder in (root, *(root / name for name in ENTRY_FOLDERS)):
        folder.mkdir(parents=True)
        os.chown(folder, owner, group)
        folder.chmod(mode)
    return root


def make_entry(root: Path, *, owner: int = -1, group: int = -1, mode: int = 0o755) -> Path:
    entry = root / "interpreters" / "key"
    entry.mkdir()
    os.chown(entry, owner, group)
    entry.chmod(mode)
    return entry


def plant_link(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.lchown(path, ALICE, ALICE)


def refused(root: Path, name: str = "") -> str:
    with pytest.raises(CacheError) as caught:
        trust_cache(root, name=name)
    return str(caught.value)


def test_ones_own_cache_is_believed(tmp_path: Path) -> None:
    """What belongs to the user, and what is not there yet, is fine; so is an interpreter in it."""
    assert trust_cache(tmp_path / "none") == Trust(frozenset())
    root = make(tmp_path / "cache")
    trust = trust_cache(root)
    assert trust == Trust(frozenset({os.geteuid(), 0}))
    assert trust.accepts(make_entry(root))
    assert not trust.accepts(root / "interpreters" / "none")


def test_an_interpreter_that_is_a_link_is_not_accepted(tmp_path: Path) -> None:
    """A link says nothing about whose it is where it leads."""
    root = make(tmp_path / "cache")
    (root / "interpreters" / "link").symlink_to(make_entry(root))

    assert not trust_cache(root).accepts(root / "interpreters" / "link")


@pytest.mark.parametrize("folder", ["", *ENTRY_FOLDERS])
@pytest.mark.parametrize("name", ["", "named"])
def test_a_cache_that_everybody_can_write_is_refused(tmp_path: Path, folder: str, name: str) -> None:
    """It does not matter whose it is or who has named it: anybody may have put an interpreter there."""
    root = make(tmp_path / "cache")
    wrong = root / folder
    wrong.chmod(0o777)

    assert refused(root, name and str(root)) == (
        f"{wrong} is not trusted: everybody can write there (mode 777)\n"
        f"  look at what is in it, then chmod go-w {wrong}"
    )


def test_who_cannot_change_the_mode_is_told_what_else_helps(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emptyDir volume of Kubernetes belongs to root, and everybody can write there."""
    if public.stat().st_uid != 0:
        pytest.skip("only root can make what belongs to root")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert refused(public, str(public)) == (
        f"{public} is not trusted: everybody can write there (mode 1777)\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder in which, and above which, only you or root can write, "
        f"such as {public}/provision-backend-12345"
    )
    (public / "provision-backend-12345").mkdir()  # by root, as far as this user is concerned
    assert f"{public}/provision-backend-12345" not in refused(public, str(public))


def test_the_sticky_bit_does_not_help(tmp_path: Path) -> None:
    """The first one in such a cache owns its folders, and may exchange what others put there."""
    root = make(tmp_path / "cache", mode=0o1777)

    assert refused(root, str(root)).startswith(f"{root} is not trusted: everybody can write there (mode 1777)\n")


def test_an_interpreter_that_everybody_can_write_is_not_accepted(tmp_path: Path) -> None:
    """It is passed over as if it were not there."""
    root = make(tmp_path / "cache")
    entry = make_entry(root, mode=0o757)

    assert not trust_cache(root).accepts(entry)


@as_root
def test_a_group_is_trusted_where_the_cache_was_named_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a cache that was made for a group means the group; the default one is the user's alone."""
    monkeypatch.setattr(os, "getgroups", lambda: [TEAM])
    root = make(tmp_path / "cache", group=TEAM, mode=0o2775)

    assert trust_cache(root, name=str(root)).group
    message = f"{root} is not trusted: the group {TEAM} can write there"
    assert refused(root) == f"{message} (mode 2775)\n  look at what is in it, then chmod go-w {root}"
    root.chmod(0o775)
    assert refused(root, str(root)) == (
        f"{message} (mode 775)\n"
        f"  chmod g+s {root} says that it is a cache for this group; chmod g-w {root} that it is not"
    )


def test_a_group_of_ones_own_is_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each user has a group of that name, a umask of 002 is usual; another member makes it a group."""
    members: List[str] = []
    entry = grp.struct_group((ME, "x", os.getegid(), members))
    monkeypatch.setattr(grp, "getgrgid", lambda _number: entry)
    (tmp_path / "above").mkdir()
    (tmp_path / "above").chmod(0o775)
    root = make(tmp_path / "above" / "cache", mode=0o775)

    assert trust_cache(root) == trust_cache(root, name=str(root)) == Trust(frozenset({os.geteuid(), 0}))
    assert trust_cache(root).accepts(make_entry(root, mode=0o775))
    members.append("bob")
    assert refused(root).startswith(f"{root} is not trusted: the group {ME} can write to {root.parent}\n")


def let_write(path: Path, tag: int, number: int) -> None:
    """Do what ``setfacl -m u:NUMBER:rwx`` does with the tag 2, and ``setfacl -m g:NUMBER:rwx`` with 8."""
    entries = [(1, 7, -1), (tag, 7, number), (4, 5, -1), (0x10, 7, -1), (0x20, 5, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in sorted(entries))
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)
    except (AttributeError, OSError) as exc:
        pytest.skip(f"no access control lists here: {exc}")


@pytest.mark.parametrize("place", [".", "cache", "cache/interpreters"])
def test_an_access_control_list_may_let_others_write(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows as a mode of 775, which a group of one's own excuses; whom the list names is somebody else."""
    entry, of_this_system = grp.struct_group((ME, "x", os.getegid(), [])), grp.getgrgid
    monkeypatch.setattr(grp, "getgrgid", lambda gid: entry if gid == os.getegid() else of_this_system(gid))
    root = make(tmp_path / "cache")
    let_write(tmp_path / place, 2, os.geteuid())
    assert trust_cache(root).accepts(make_entry(root))

    let_write(tmp_path / place, 2, BOB)
    assert stat.S_IMODE((tmp_path / place).stat().st_mode) == 0o775
    assert f"user {BOB}, whom an access control list names, can write " in refused(root)
    assert "chmod go-w" in refused(root)
    let_write(tmp_path / place, 8, TEAM)
    assert f"the group {TEAM}, which an access control list names, can write " in refused(root)
    (tmp_path / place).chmod(0o755)  # It takes the rights of those on the list, too.
    assert trust_cache(root).owners


def test_an_interpreter_that_an_access_control_list_opens_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a list lets others write is passed over."""
    own = grp.struct_group((ME, "x", os.getegid(), []))
    monkeypatch.setattr(grp, "getgrgid", lambda _number: own)
    root = make(tmp_path / "cache")
    entry = make_entry(root)
    assert trust_cache(root).accepts(entry)

    let_write(entry, 2, BOB)
    assert not trust_cache(root).accepts(entry)
    let_write(entry / "..", 2, BOB)
    with pytest.raises(CacheError):
        check_file(entry)


@as_root
def test_the_default_cache_of_another_user_is_refused(private: Path) -> None:
    """Root with the HOME of a user must not run what that user has put there."""
    root = make(private / "cache", owner=ALICE)
    message = f"{root} is not trusted: it belongs to user {ALICE}, not to {ME}"

    assert refused(root) == f"{message}\n  {ADVICE}"
    os.chown(root, 0, 0)
    for folder in ENTRY_FOLDERS:
        assert refused(root).startswith(f"{root} is not trusted: {root}/{folder} belongs to user {ALICE}")
        os.chown(root / folder, 0, 0)
    assert trust_cache(root) == Trust(frozenset({0}))


@as_root
def test_who_names_a_cache_trusts_its_owner(private: Path) -> None:
    """The owner's interpreters are believed then, and those of third parties are not."""
    root = make(private / "cache", owner=ALICE)
    trust = trust_cache(root, name=str(root))
    entry = make_entry(root, owner=ALICE)

    assert trust.accepts(entry)
    os.chown(entry, BOB, -1)
    assert not trust.accepts(entry)
    os.chown(entry, 0, TEAM)
    assert trust.accepts(entry)
    entry.chmod(0o775)
    assert not trust.accepts(entry)


@as_root
@pytest.mark.parametrize("way", ["folder", "link", "link to a link", "link below"])
def test_what_anybody_could_have_planted_is_refused(private: Path, public: Path, way: str) -> None:
    """Naming a path below a folder like ``/tmp`` says nothing about who has made it, nor does a link there."""
    if way == "folder":
        root = make(public / "cache", owner=ALICE)
        name = root
    else:
        root = make(private / "cache", owner=ALICE)
        name = public / "cache"
        plant_link(name, root)
    if way == "link to a link":
        (private / "link").symlink_to("../" * 9 + str(name).lstrip("/"))
        name = private / "link"
    if way == "link below":
        name.unlink()
        plant_link(public / "folder", private)
        name = public / "folder" / "cache"

    what = {"folder": "it", "link below": f"{public}/folder"}.get(way, f"{public}/cache")
    assert refused(root, str(name)) == (
        f"{name} is not trusted: {'it' if what == str(name) else what} belongs to user {ALICE}, not to {ME}\n"
        f"  everybody can write to {public}, so anybody could have made it\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder in which, and above which, only you or root can write, "
        f"such as {public}/provision-backend-{os.geteuid()}"
    )
    for path in (root, *(root / name for name in ENTRY_FOLDERS), public / "cache", public / "folder"):
        if os.path.lexists(path):
            os.lchown(path, 0, 0)
    assert trust_cache(root, name=str(name)) == Trust(frozenset({0}))


@as_root
def test_a_link_that_leads_to_itself_ends(public: Path) -> None:
    """Nothing is there, so nothing is run, and the look ends."""
    (public / "a").symlink_to("b")
    (public / "b").symlink_to("a")

    assert trust_cache(public / "a", name=str(public / "a")) == Trust(frozenset())


@as_root
def test_a_link_that_leads_elsewhere_by_now_is_refused(private: Path) -> None:
    """The cache was resolved when the command began."""
    (private / "cache").symlink_to(make(private / "new"))
    old = make(private / "old", owner=ALICE)

    assert refused(old, str(private / "cache")).startswith(
        f"{old} is not trusted: {private}/cache leads to {private}/new now"
    )


@as_root
@pytest.mark.parametrize("folder", ENTRY_FOLDERS)
def test_interpreters_elsewhere_are_refused(private: Path, folder: str) -> None:
    """A link says nothing about the way to where it leads."""
    root = make(private / "cache")
    (root / folder).rmdir()
    (root / folder).symlink_to(make(private / "other") / folder)

    assert refused(root) == f"{root}/{folder} is not trusted: it is a link"


WAYS: Dict[str, Tuple[int, int, int, str]] = {
    "another user's": (ALICE, 0, 0o755, "{folder} belongs to user 64001, not to {me}"),
    "another user's, sticky": (ALICE, 0, 0o1777, "{folder} belongs to user 64001, not to {me}"),
    "writable for a group": (0, TEAM, 0o2775, "the group 64100 can write to {folder}"),
    "writable for everybody": (0, 0, 0o777, "everybody can write to {folder}"),
}


@as_root
@pytest.mark.parametrize(("owner", "group", "mode", "reason"), WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("named", [False, True])
def test_a_folder_in_which_others_may_rename_is_refused(
    private: Path, owner: int, group: int, mode: int, reason: str, *, named: bool
) -> None:
    """Neither is a cache below it used, whoever made that, nor is one made there, nor a program of it run."""
    folder = private / "folder"
    root = make(folder / "deeper" / "cache")
    os.chown(folder, owner, group)
    folder.chmod(mode)
    program = root / "python"
    program.touch()
    expected = "{} is not trusted: " + reason.format(folder=folder, me=ME)

    assert refused(root, str(root) if named else "").splitlines()[0] == expected.format(root)
    for path, act in ((folder / "new" / "cache", make_root), (folder / "new", make_root), (program, check_file)):
        with pytest.raises(CacheError) as caught:
            act(path)
        assert caught.value.message == expected.format(path)
    assert not (folder / "new").exists()


@as_root
def test_a_sticky_folder_serves_what_lies_in_it(public: Path) -> None:
    """Nobody but its owner can rename it there; a group's folder of that mode is no other."""
    for mode, group in ((0o1777, 0), (0o1775, TEAM)):
        os.chown(public, 0, group)
        public.chmod(mode)
        make_root(public / str(group) / "cache")

        assert trust_cache(public / str(group) / "cache") == Trust(frozenset({0}))


@as_root
def test_folders_of_the_owner_of_a_named_cache_serve(private: Path) -> None:
    """A home directory is on the way to a cache in it; one of a third user is not."""
    home = private / "alice"
    root = make(home / "cache", owner=ALICE)
    os.chown(home, ALICE, ALICE)

    assert trust_cache(root, name=str(root)) == Trust(frozenset({0, ALICE}))
    assert refused(root).startswith(f"{root} is not trusted: {home} belongs to user {ALICE}")
    os.chown(home, BOB, BOB)
    assert refused(root, str(root)) == f"{root} is not trusted: {home} belongs to user {BOB}, not to {ME}\n  {ADVICE}"


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o4755])
def test_a_program_that_others_can_write_is_refused(private: Path, mode: int) -> None:
    """A link to it is judged by where it leads."""
    program = private / "python"
    program.touch()
    program.chmod(mode)
    (private / "link").symlink_to("python")

    check_file(private / "link")
    program.chmod(mode | 0o002)
    with pytest.raises(CacheError, match=f"link is not trusted: everybody can write to {program}"):
        check_file(private / "link")
    program.chmod(mode)
    os.chown(program, ALICE, 0)
    with pytest.raises(CacheError, match=f"link is not trusted: {program} belongs to user {ALICE}"):
        check_file(private / "link")


_ATTACKER = """
import os, sys
target, evil = sys.argv[1:]
os.setgid(64001); os.setuid(64001)
print("ready", flush=True)
while True:
    for make in (os.mkdir, lambda path: os.symlink(evil, path)):
        try:
            make(target)
            os.rename(target, target + ".old")
            (os.unlink if os.path.islink(target + ".old") else os.rmdir)(target + ".old")
        except OSError:
            pass
"""


@as_root
@pytest.mark.slow
def test_nothing_is_made_where_an_attacker_renames(public: Path, private: Path) -> None:
    """In 200 races a cache is refused, or each folder of it is ours and stays where it was made."""
    evil = private / "evil"
    evil.mkdir()
    os.chown(evil, ALICE, ALICE)
    target = public / "folder"
    command = [sys.executable, "-c", _ATTACKER, str(target), str(evil)]
    made = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/") as attacker:
        try:
            assert attacker.stdout is not None
            attacker.stdout.readline()
            for _ in range(200):
                # The attacker's folder or link was there, or was removed when it was looked at again.
                with contextlib.suppress(CacheError, FileNotFoundError):
                    make_root(target / "cache")
                    assert (os.lstat(target / "cache").st_uid, os.lstat(target).st_uid) == (0, 0)
                    assert trust_cache(target / "cache", name=str(target / "cache")) == Trust(frozenset({0}))
                    made += 1
                    shutil.rmtree(target)
        finally:
            attacker.kill()
    assert os.listdir(evil) == []
    assert made


# It exchanges what lies at its places, one after the other, by a cache of its own or a link to that, and back again.
_RENAMER = """
import itertools, os, sys
evil, *places = sys.argv[1:]
os.setgroups([64100]); os.setgid(64001); os.setuid(64001)
print("ready", flush=True)

def attempt(act, *paths):
    try:
        act(*paths)
    except OSError:
        pass

for number in itertools.count():
    place = places[number % len(places)]
    attempt(os.makedirs, os.path.dirname(place))
    attempt(os.rename, place, place + ".old")
    attempt(os.symlink, evil, place) if number % 5 else attempt(os.mkdir, place)
    attempt(os.unlink, place)
    attempt(os.rmdir, place)
    attempt(os.rename, evil, place)
    attempt(os.rename, place, evil)
    attempt(os.rename, place + ".old", place)
"""


def make_and_run(place: str, home: Path, *, keep: bool) -> str:
    """Make an interpreter in a cache that is named, or below HOME, or use the one that is there, and start it."""

    def program(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        facts = build(staging, download, final)
        (facts["tree"] / "bin" / "python3.13").write_text("#!/bin/sh\necho ours\n")
        return facts

    os.environ["HOME"] = str(home)
    os.environ.pop("XDG_CACHE_HOME", None)  # The default cache is in the home folder.
    cache = open_cache(Settings(cache_dir=place))
    executable = provide(cache, program)
    said = subprocess.run([executable], stdout=subprocess.PIPE, check=True).stdout.decode()
    if not keep:
        shutil.rmtree(str(cache.root), ignore_errors=True)
    return said.strip()


def race(uid: int, places: Sequence[str], home: Path, number: int, *, keep: bool = False) -> List[str]:
    """Return what the programs said that one user has started in so many races; a refusal is an error of ours."""
    # That user may not be able to read this Python's files, so what the child needs of them is loaded before.
    with tempfile.TemporaryDirectory() as folder:
        provide(Cache(Path(folder, "cache")))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Whatever happens, the child must not go on as a second run of the tests.
        try:
            os.setgroups([TEAM])
            os.setgid(uid)
            os.setuid(uid)
            for each in range(number):
                try:
                    word = make_and_run(places[each % len(places)], home, keep=keep)
                except (CacheError, FileNotFoundError) as error:
                    word = type(error).__name__
                os.write(writing, f"{word}\n".encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read().split()
    assert os.waitpid(child, 0)[1] == 0
    return said


@as_root
@pytest.mark.slow
def test_in_200_races_nothing_foreign_is_run(public: Path, private: Path) -> None:
    """Root and a user make caches where another one may rename, in every order: what they start is what they made."""
    pytest.importorskip("filelock")
    home, group, trap = private / "alice", private / "group", private / "trap"
    evil = public / "evil"  # Renames to most of the places work: private may be of another file system.
    provide(Cache(evil))
    for folder, owner, mode in ((home, ALICE, 0o755), (group, 0, 0o2775)):
        folder.mkdir(exist_ok=True)
        os.chown(folder, owner, TEAM)
        folder.chmod(mode)
    program = next(evil.glob("interpreters/*/bin/python3.13"))
    program.write_text(f"#!/bin/sh\ntouch {trap}\necho evil\n")
    for path in (evil, *evil.rglob("*")):
        os.lchown(path, ALICE, TEAM)
    named = [str(public / "cache"), str(public / "folder" / "cache"), str(group / "cache")]
    default = str(home / ".cache" / "provision-backend")
    private.chmod(0o711)
    command = [sys.executable, "-c", _RENAMER, str(evil), *named, str(public / "folder"), default, str(home / ".cache")]
    said = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/") as attacker:
        try:
            assert attacker.stdout is not None
            attacker.stdout.readline()
            for uid in (0, BOB):
                said[uid] = race(uid, [*named, ""], home, 100)
        finally:
            attacker.kill()

    assert not trap.exists()
    assert [len(each) for each in said.values()] == [100, 100]
    assert {word for each in said.values() for word in each} <= {"ours", "CacheError", "FileNotFoundError"}
    assert all("ours" in each for each in said.values())


@as_root
@pytest.mark.slow
@pytest.mark.parametrize("maker", [0, ALICE, BOB])
def test_every_order_of_making_and_using(public: Path, private: Path, maker: int) -> None:
    """What one of two users or root has made, another one starts only where it is of root."""
    pytest.importorskip("filelock")
    home = private / "home"
    for folder in (home, public / "shared"):
        folder.mkdir()
        os.chown(folder, maker, maker)
        folder.chmod(0o755)
    for place in ("", str(public / "shared" / "cache")):
        assert race(maker, [place], home, 1, keep=True) == ["ours"]
        for user in {0, ALICE, BOB} - {maker}:
            expected = "CacheError" if maker else "ours"
            assert race(user, [place], home, 1, keep=True) == [expected], (place, user)


@as_root
def test_members_of_the_group_may_have_made_it(private: Path) -> None:
    """In a cache for a group an interpreter of any member is believed, unless everybody can write it."""
    root = make(private / "cache", owner=ALICE, group=0, mode=0o2775)
    trust = trust_cache(root, name=str(root))
    entry = make_entry(root, owner=BOB)

    assert trust.accepts(entry)
    entry.chmod(0o757)
    assert not trust.accepts(entry)


@as_root
def test_a_group_that_one_is_not_in_is_refused(private: Path) -> None:
    """Others could add what this user would run."""
    root = make(private / "cache", group=TEAM, mode=0o2775)

    assert refused(root, str(root)) == (
        f"{root} is not trusted: the group {TEAM} can write there (mode 2775)\n"
        f"  {ME} is not in it: join that group, or use another cache"
    )


@pytest.fixture(scope="module")
def offered() -> Iterator[Tuple[Path, Path]]:
    """Return a small archive of a real CPython and its catalog, where every user can read them."""
    archive = shared_small_archives()[0]
    folder = Path(tempfile.mkdtemp())
    shutil.copy(str(archive), str(folder))
    folder.chmod(0o755)
    (folder / archive.name).chmod(0o644)
    catalog = catalog_of(archive, folder)
    catalog.chmod(0o644)
    yield folder, catalog
    shutil.rmtree(str(folder))


def installs(user: int, cache: Path, offered: Tuple[Path, Path], umask: int = 0o022, **env: str) -> str:
    """Have a user provision an interpreter; return its path, or what was said when there is none."""
    mirror, catalog = offered
    environ = {
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(catalog),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "HOME": "/nonexistent",
        **env,
    }
    done = run_as(user, "install", "3", gid=user if user else 0, groups=[TEAM], umask=umask, env=environ)
    return done.stdout.strip() if done.returncode == 0 else done.stderr


@as_root
@pytest.mark.slow
def test_two_users_of_a_group_share_one_cache(private: Path, offered: Tuple[Path, Path]) -> None:
    """What one has made the other uses, and can add to; whatever their umasks are."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, 0, TEAM)
    cache.chmod(0o2775)

    first = installs(ALICE, cache, offered, umask=0o077)
    assert first.startswith(str(cache / "interpreters"))
    entry = Path(first).parent.parent
    assert (entry.stat().st_uid, entry.stat().st_gid) == (ALICE, TEAM)
    assert first == installs(BOB, cache, offered, PROVISION_BACKEND_OFFLINE="1", PROVISION_BACKEND_MIRROR="")
    # Bob finds it damaged, and makes another beside it.
    (entry / "bin" / Path(first).name).unlink()
    second = installs(BOB, cache, offered, umask=0o077)
    assert second == first.replace(entry.name, f"{entry.name}.1")
    assert Path(second).stat().st_uid == BOB
    assert second == installs(ALICE, cache, offered)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o2775 for path in cache.iterdir() if path.is_dir())
    assert {oct(path.stat().st_mode & 0o777) for path in (cache / "locks").glob("*.lock")} == {"0o660"}
    assert os.listdir(cache / "staging") == []
    # A member removes his own, and is told about those of others.
    cleaned = run_as(ALICE, "cache", "clean", "--cache-dir", str(cache), groups=[TEAM])
    assert (cleaned.returncode, cleaned.stderr) == (
        1,
        f"provision-backend: kept {entry.name}.1: it belongs to another user\n",
    )
    assert os.listdir(cache / "interpreters") == [f"{entry.name}.1"]


@as_root
@pytest.mark.slow
def test_half_a_download_of_another_member_is_no_obstacle(private: Path, offered: Tuple[Path, Path]) -> None:
    """It is continued or done again, by whoever comes next."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, 0, TEAM)
    cache.chmod(0o2775)
    digest = offered[1].read_text().split()[0]
    for path, mode in ((cache / "downloads", 0o2775), (cache / "downloads" / digest, 0o2775)):
        path.mkdir()
        os.chown(path, ALICE, TEAM)
        path.chmod(mode)
    part = cache / "downloads" / digest / (offered[1].read_text().split()[1] + ".part")
    part.write_bytes(b"half")
    os.chown(part, ALICE, TEAM)
    part.chmod(0o600)

    assert installs(BOB, cache, offered).startswith(str(cache))
    assert os.listdir(cache / "downloads") == []


@as_root
@pytest.mark.slow
def test_a_planted_interpreter_is_not_run(private: Path, offered: Tuple[Path, Path]) -> None:
    """Root in a user's HOME gets an error, and nothing that the user has put there runs."""
    home = private / "alice"
    home.mkdir()
    os.chown(home, ALICE, ALICE)

    def in_home(user: int) -> str:
        default = {"PROVISION_BACKEND_CACHE_DIR": "", "XDG_CACHE_HOME": ""}
        return installs(user, Path(), offered, 0o022, HOME=str(home), **default)

    planted = in_home(ALICE)
    assert planted.startswith(f"{home}/.cache/provision-backend/interpreters/")
    trap = private / "trapped"
    Path(planted).write_text(f"#!/bin/sh\ntouch {trap}\n")
    said = in_home(0)

    assert said == (
        f"provision-backend: {home}/.cache/provision-backend is not trusted: "
        f"{home} belongs to user {ALICE}, not to {ME}\n  {ADVICE}\n"
    )
    assert not trap.exists()


@as_root
@pytest.mark.slow
@pytest.mark.parametrize(("user", "owner", "mode"), [(0, ALICE, 0o755), (BOB, ALICE, 0o1777), (BOB, BOB, 0o2775)])
def test_nothing_is_made_in_the_home_of_another_user(
    private: Path, offered: Tuple[Path, Path], user: int, owner: int, mode: int
) -> None:
    """Nor in one that a group can write: who could rename the cache meanwhile could have his programs run."""
    home = private / "home"
    home.mkdir()
    os.chown(home, owner, TEAM)
    home.chmod(mode)
    said = installs(user, Path(), offered, HOME=str(home), PROVISION_BACKEND_CACHE_DIR="", XDG_CACHE_HOME="")

    assert said.startswith(f"provision-backend: {home}/.cache/provision-backend is not trusted: ")
    assert os.listdir(home) == []


@as_root
@pytest.mark.slow
@pytest.mark.parametrize("user", [0, BOB])
def test_interpreters_in_the_home_of_another_user_are_not_run(private: Path, user: int) -> None:
    """Neither those of its pyenv and uv nor, as root, those of its PATH."""
    home, trap = private / "alice", private / "trap"
    trap.mkdir()
    trap.chmod(0o777)
    for folder in (".pyenv/versions/3.13.1/bin/python", ".local/share/uv/python/cpython-3.13.2/bin/python3"):
        program = home / folder
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\ntouch {trap}/$(id -u)\nexit 1\n")
        program.chmod(0o755)
    for path in (home, *home.rglob("*")):
        os.chown(path, ALICE, ALICE)
    search = os.environ["PATH"] if user else f"{home}/.pyenv/versions/3.13.1/bin:/usr/bin:/bin"
    names = ("XDG_DATA_HOME", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR")
    env = {"HOME": str(home), "PATH": search, "PROVISION_BACKEND_CACHE_DIR": "/none", **dict.fromkeys(names, "")}
    done = run_as(user, "find", "3.13", "--preference", "only-system", env=env)

    assert os.listdir(trap) == []
    assert "Traceback" not in done.stderr


@as_root
@pytest.mark.slow
def test_the_cache_of_another_user_serves_as_a_shared_one(private: Path, offered: Tuple[Path, Path]) -> None:
    """Nothing is written there; what is missing is made in the own cache."""
    shared = private / "shared"
    shared.mkdir()
    os.chown(shared, ALICE, ALICE)
    first = installs(ALICE, shared, offered)
    before = sorted((str(path), path.stat().st_mtime_ns) for path in shared.rglob("*"))
    own = private / "own"
    own.mkdir()
    os.chown(own, BOB, BOB)

    assert first == installs(BOB, own, offered, PROVISION_BACKEND_SHARED_CACHES=str(shared))
    assert os.listdir(own) == []
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in shared.rglob("*"))
    # The same cache as the writable one: a hit needs no writing, and a miss says that it cannot be.
    assert first == installs(BOB, shared, offered)
    Path(first).unlink()
    assert installs(BOB, shared, offered) == (
        f"provision-backend: the cache {shared} cannot be written: Permission denied\n"
        "  set PROVISION_BACKEND_CACHE_DIR to a folder that can be, or put the interpreter into a shared cache\n"
    )
    assert installs(BOB, own, offered, PROVISION_BACKEND_SHARED_CACHES=str(shared)).startswith(str(own))


@as_root
@pytest.mark.slow
def test_a_lock_file_of_root_is_no_obstacle(private: Path, offered: Tuple[Path, Path]) -> None:
    """Root was first, once; the user goes on without the lock and has the interpreter."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, ALICE, ALICE)
    first = installs(ALICE, cache, offered)
    for path in (cache / "locks").iterdir():
        os.chown(path, 0, 0)
        path.chmod(0o600)
    Path(first).unlink()
    second = installs(ALICE, cache, offered)

    assert second == first.replace("/bin/", ".1/bin/")
    assert verify_entry(Path(second).parent.parent) == []
    assert os.listdir(cache / "staging") == []


@as_root
@pytest.mark.slow
def test_an_interpreter_that_is_write_protected_is_removed(private: Path, offered: Tuple[Path, Path]) -> None:
    """Its owner has asked for it; of what was in it nothing stays in staging."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, ALICE, ALICE)
    tree = Path(installs(ALICE, cache, offered)).parent.parent
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o555)
    done = run_as(ALICE, "cache", "clean", "--force", env={"PROVISION_BACKEND_CACHE_DIR": str(cache)})

    assert (done.returncode, done.stderr) == (0, "")
    assert [os.listdir(cache / folder) for folder in ("interpreters", "staging")] == [[], []]


@as_root
@pytest.mark.slow
def test_a_folder_of_a_mirror_that_may_not_be_entered_is_passed_over(private: Path, offered: Tuple[Path, Path]) -> None:
    """The archive may lie in the mirror itself; a server that answers 403 for that folder is asked once more, too."""
    mirror = private / "mirror"
    mirror.mkdir()
    (archive,) = offered[0].glob("*.tar.gz")
    shutil.copy(str(archive), str(mirror))
    (mirror / archive.name.split("+")[1][:8]).mkdir(0o700)
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, ALICE, ALICE)
    assert installs(ALICE, cache, (mirror, offered[1])).startswith(str(cache))


@as_root
@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "lib"])
def test_a_folder_that_may_not_be_entered_hides_no_other_entry(
    private: Path, offered: Tuple[Path, Path], folder: str
) -> None:
    """An interpreter that lost its marker and the right to enter its folder is listed as damaged, and pruned."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, ALICE, ALICE)
    tree = Path(installs(ALICE, cache, offered)).parent.parent
    (tree / "provision-backend.json").unlink()
    (tree / folder).chmod(0o444)
    env = {"PROVISION_BACKEND_CACHE_DIR": str(cache)}
    listed, pruned = (run_as(ALICE, "cache", command, env=env) for command in ("list", "prune"))

    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.endswith(f"  {tree}  (damaged)\n")
    assert (pruned.returncode, pruned.stderr) == (0, "")
    assert not tree.exists()


@as_root
@pytest.mark.slow
def test_what_cannot_be_removed_is_not_said_to_be(private: Path, offered: Tuple[Path, Path]) -> None:
    """A cache whose folders are write-protected belongs to nobody else, and what stays was not removed."""
    cache = private / "cache"
    cache.mkdir()
    os.chown(cache, ALICE, ALICE)
    tree = Path(installs(ALICE, cache, offered)).parent.parent
    tree.parent.chmod(0o555)
    leftover = cache / "staging" / f"key~{'0' * 8}-1~abcd1234"
    (leftover / "folder").mkdir(parents=True)  # It is root's, and so is the file in it.
    (leftover / "folder" / "file").touch()
    os.utime(leftover, (0, 0))
    clean = ("cache", "clean", "--force")
    done = run_as(ALICE, *clean, env={"PROVISION_BACKEND_CACHE_DIR": str(cache)})
    tree.parent.chmod(0o755)
    again = run_as(ALICE, *clean, env={"PROVISION_BACKEND_CACHE_DIR": str(cache)})

    assert done.stderr.startswith(f"provision-backend: the cache {cache} cannot be written: Permission denied\n")
    assert (again.returncode, "leftover" in again.stdout) == (0, False)
    assert not tree.exists()
