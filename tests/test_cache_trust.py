"""Caches that belong to others: which are believed, which are refused, and with what words. Real users, real modes."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Iterator, Tuple

import pytest
from support.as_user import run_as
from support.real_interpreters import Unavailable
from support.small_archives import catalog_of, shared_small_archives

from provision_backend.cache.manifest import verify_entry
from provision_backend.cache.trust import Trust, trust_cache
from provision_backend.errors import CacheError

ME = pwd.getpwuid(os.geteuid()).pw_name
ALICE, BOB, TEAM = 64001, 64002, 64100
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
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(str(folder))


def make(root: Path, *, owner: int = -1, group: int = -1, mode: int = 0o755) -> Path:
    for folder in (root, root / "interpreters"):
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


def refused(root: Path, name: str = "") -> str:
    with pytest.raises(CacheError) as caught:
        trust_cache(root, name=name)
    return str(caught.value)


def test_ones_own_cache_is_believed(tmp_path: Path) -> None:
    """What belongs to the user, and what is not there yet, is fine; so is an interpreter in it."""
    assert trust_cache(tmp_path / "none") == Trust(frozenset({os.geteuid(), 0}))
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


@pytest.mark.parametrize("folder", ["", "interpreters"])
@pytest.mark.parametrize("name", ["", "named"])
def test_a_cache_that_everybody_can_write_is_refused(tmp_path: Path, folder: str, name: str) -> None:
    """It does not matter whose it is or who has named it: anybody may have put an interpreter there."""
    root = make(tmp_path / "cache")
    wrong = root / folder
    wrong.chmod(0o777)

    assert refused(root, name and str(root)) == (
        f"{wrong} is not trusted: everybody can write there (mode 777)\n  look at what is in it, then chmod o-w {wrong}"
    )


def test_who_cannot_change_the_mode_is_told_what_else_helps(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emptyDir volume of Kubernetes belongs to root, and everybody can write there."""
    if public.stat().st_uid != 0:
        pytest.skip("only root can make what belongs to root")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert refused(public, str(public)) == (
        f"{public} is not trusted: everybody can write there (mode 1777)\n"
        f"  set PROVISION_BACKEND_CACHE_DIR to a folder in it that does not exist yet, such as {public}/cache"
    )


def test_the_sticky_bit_does_not_help(tmp_path: Path) -> None:
    """Whoever comes first owns the folders in such a cache, and may exchange what others put there."""
    root = make(tmp_path / "cache", mode=0o1777)

    assert refused(root, str(root)).startswith(f"{root} is not trusted: everybody can write there (mode 1777)\n")


def test_an_interpreter_that_everybody_can_write_is_not_accepted(tmp_path: Path) -> None:
    """It is passed over as if it were not there."""
    root = make(tmp_path / "cache")
    entry = make_entry(root, mode=0o757)

    assert not trust_cache(root).accepts(entry)


def test_a_group_is_trusted_where_the_cache_was_named(tmp_path: Path) -> None:
    """Who names a cache that his group can write means the group; the default one is the user's alone."""
    root = make(tmp_path / "cache", mode=0o2775)
    group = os.stat(root).st_gid
    import grp

    assert trust_cache(root, name=str(root)).group
    assert refused(root) == (
        f"{root} is not trusted: the group {grp.getgrgid(group).gr_name} can write there\n"
        f"  chmod g-w {root}, or set PROVISION_BACKEND_CACHE_DIR to the cache to say that this group is trusted"
    )


@as_root
def test_the_default_cache_of_another_user_is_refused(private: Path) -> None:
    """Root with the HOME of a user must not run what that user has put there."""
    root = make(private / "cache", owner=ALICE)
    message = f"{root} is not trusted: it belongs to user {ALICE}, not to {ME}"

    assert refused(root) == (
        f"{message}\n  with sudo use -H, or set PROVISION_BACKEND_CACHE_DIR to a cache whose owner you trust"
    )
    os.chown(root, 0, 0)
    assert refused(root).startswith(f"{root}/interpreters is not trusted: it belongs to user {ALICE}")


@as_root
def test_who_names_a_cache_trusts_its_owner(private: Path) -> None:
    """The owner's interpreters are believed then, and those of third parties are not."""
    root = make(private / "cache", owner=ALICE)
    trust = trust_cache(root, name=str(root))
    entry = make_entry(root, owner=ALICE)

    assert trust.accepts(entry)
    os.chown(entry, BOB, -1)
    assert not trust.accepts(entry)
    os.chown(entry, 0, -1)
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
        name.symlink_to(root)
    if way == "link to a link":
        (private / "link").symlink_to("../" * 9 + str(name).lstrip("/"))
        name = private / "link"
    if way == "link below":
        (public / "folder").symlink_to(private)
        name = public / "folder" / "cache"

    assert refused(root, str(name)) == (
        f"{root} is not trusted: it belongs to user {ALICE}, not to {ME}\n"
        "  everybody can write to a folder above it, so anybody could have made it"
    )
    os.chown(root, 0, 0)
    os.chown(root / "interpreters", 0, 0)
    assert trust_cache(root, name=str(name)) == Trust(frozenset({0}))


@as_root
def test_a_link_that_leads_to_itself_ends(public: Path) -> None:
    """Nothing is there, so nothing is run, and the look ends."""
    (public / "a").symlink_to("b")
    (public / "b").symlink_to("a")

    assert trust_cache(public / "a", name=str(public / "a")) == Trust(frozenset({0}))


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
        f"{root} is not trusted: the group {TEAM} can write there, and {ME} is not in it\n"
        "  join that group, or use another cache"
    )


@pytest.fixture(scope="module")
def offered() -> Iterator[Tuple[Path, Path]]:
    """Return a small archive of a real CPython and its catalog, where every user can read them."""
    try:
        archive = shared_small_archives()[0]
    except Unavailable as error:
        pytest.skip(str(error))
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
    assert {oct(path.stat().st_mode & 0o777) for path in (cache / "locks").glob("*.lock")} == {"0o666"}
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
        f"provision-backend: {home}/.cache/provision-backend is not trusted: it belongs to user {ALICE}, not to {ME}\n"
        "  with sudo use -H, or set PROVISION_BACKEND_CACHE_DIR to a cache whose owner you trust\n"
    )
    assert not trap.exists()


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
