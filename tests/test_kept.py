"""Our own modules are imported from a copy in the cache where it is surely ours, and from where we are otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from provision_backend.cache.code import sweep_copies
from provision_backend.cache.store import Cache
from provision_backend.cache.upkeep import clean_cache

ROOT = Path(__file__).resolve().parent.parent

Install = Callable[..., Path]

USE = "import provision_backend as b; b._enter(); import provision_backend.settings as s; print(s.__file__)"
KEEP = "import provision_backend as b; b._enter(); from provision_backend.cache.code import keep_copy as k; k(); k()"


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return a function that installs us as a frontend does, with a RECORD, and returns the folder of packages."""

    def install(name: str = "build-env-one", *lines: str) -> Path:
        place = tmp_path / name / "site-packages"
        package = place / "provision_backend"
        shutil.copytree(str(ROOT / "provision_backend"), str(package), ignore=shutil.ignore_patterns("__pycache__"))
        files = sorted(str(path.relative_to(place)) for path in package.rglob("*.py"))
        record = [f"{file},sha256=x,{(place / file).stat().st_size}" for file in files]
        (place / "provision_backend-0.1.dist-info").mkdir()
        (place / "provision_backend-0.1.dist-info" / "RECORD").write_text("\n".join([*record, *lines, ""]))
        return place

    return install


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that an earlier build has made."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    return cache


def run(place: Path, code: str, cache: Path) -> str:
    """Run Python code with an installation, as a hook's process would, and return what it printed."""
    environ: Dict[str, str] = {**os.environ, "PYTHONPATH": str(place), "PROVISION_BACKEND_CACHE_DIR": str(cache)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=str(place), env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


def copies(cache: Path) -> List[Path]:
    """Return the copies in a cache."""
    return sorted((cache / "code" / str(os.geteuid())).glob("*"))


def test_a_later_build_imports_compiled_modules_from_the_copy(install: Install, cache: Path) -> None:
    """The first build runs from where it is and keeps a copy; a second one, in another folder, takes that."""
    first, second = install("build-env-one"), install("pip-build-env-two/overlay")
    assert run(first, USE, cache) == str(first / "provision_backend" / "settings.py")
    run(first, KEEP, cache)
    (copy,) = copies(cache)

    assert run(second, USE, cache) == str(copy / "provision_backend" / "settings.py")
    assert list(copy.glob("provision_backend/__pycache__/settings.*.pyc"))
    assert (copy / "provision_backend" / "catalog" / "data" / "aarch64-unknown-linux-gnu.txt").exists()
    assert copy.stat().st_mode & 0o777 == 0o700


def test_what_differs_from_build_to_build_does_not_count(install: Install, cache: Path) -> None:
    """The script has the path of its environment in it, and pip lists what it has compiled."""
    run(install("build-env-one", "../../bin/provision-backend,sha256=a,1"), KEEP, cache)
    other = install(
        "build-env-two",
        "../../bin/provision-backend,sha256=b,2",
        "provision_backend/__pycache__/settings.cpython-39.pyc,,",
        "provision_backend-0.1.dist-info/INSTALLER,sha256=c,3",
    )

    assert run(other, USE, cache).startswith(str(cache))


@pytest.mark.parametrize("change", ["other files", "no record", "no metadata", "a lasting installation", "no cache"])
def test_a_copy_of_something_else_is_not_used(install: Install, cache: Path, change: str) -> None:
    """Each of these imports from where it is installed, without a word."""
    run(install("build-env-one"), KEEP, cache)
    name = "environment" if change == "a lasting installation" else "build-env-two"
    place = install(name, *(["provision_backend/more.py,sha256=y,5"] if change == "other files" else []))
    if change == "no record":
        (place / "provision_backend-0.1.dist-info" / "RECORD").unlink()
    elif change == "no metadata":
        shutil.rmtree(str(place / "provision_backend-0.1.dist-info"))
    where = cache.parent / "elsewhere" if change == "no cache" else cache

    assert run(place, USE, where) == str(place / "provision_backend" / "settings.py")
    if change != "other files":
        run(place, KEEP, where)
        assert len(copies(cache)) == 1
        assert not (cache.parent / "elsewhere").exists()


def test_what_is_missing_in_the_copy_comes_from_where_we_are(install: Install, cache: Path) -> None:
    """Somebody has cleaned the cache while a hook runs, or damaged it."""
    place = install()
    run(place, KEEP, cache)
    (copies(cache)[0] / "provision_backend" / "settings.py").unlink()

    assert run(place, USE, cache) == str(place / "provision_backend" / "settings.py")


@pytest.mark.parametrize("place", ["copies", "cache"])
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_what_others_can_write_is_not_imported(install: Install, cache: Path, place: str, mode: int) -> None:
    """Neither in the folder itself nor by another folder in its place."""
    installed = install()
    run(installed, KEEP, cache)
    (cache if place == "cache" else copies(cache)[0].parent).chmod(mode)

    assert run(installed, USE, cache) == str(installed / "provision_backend" / "settings.py")


def test_what_belongs_to_somebody_else_is_not_imported(install: Install, cache: Path) -> None:
    """A user who owns the cache could exchange what root has put there."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    installed = install()
    run(installed, KEEP, cache)
    for folder in (cache, copies(cache)[0].parent):
        os.chown(str(folder), 65534, 65534)
        assert run(installed, USE, cache) == str(installed / "provision_backend" / "settings.py")
        os.chown(str(folder), 0, 0)

    assert run(installed, USE, cache).startswith(str(cache))


def test_a_link_in_the_place_of_the_copies_is_not_followed(install: Install, cache: Path, tmp_path: Path) -> None:
    """What it leads to may be somebody else's."""
    installed = install()
    run(installed, KEEP, cache)
    folder = copies(cache)[0].parent
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")

    assert run(installed, USE, cache) == str(installed / "provision_backend" / "settings.py")


def test_a_build_that_is_killed_leaves_no_copy(install: Install, cache: Path) -> None:
    """What it had copied has another name, and is swept when copies of other releases have come."""
    killed = KEEP.replace("import provision_backend as b", "import os, provision_backend as b")
    killed = killed.replace(
        "k(); k()", "from provision_backend.cache import code; code.flush_tree = lambda _: os._exit(0); k()"
    )
    place = install()
    run(place, killed, cache)

    assert [path.name[:4] for path in copies(cache)] == ["new-"]
    assert run(place, USE, cache) == str(place / "provision_backend" / "settings.py")
    run(place, KEEP, cache)
    assert [path.name[:4] for path in copies(cache)] == ["new-"]  # Another build may be at it.
    os.utime(str(copies(cache)[0]), (1, 1))
    run(place, KEEP, cache)
    assert run(place, USE, cache).startswith(str(cache))


def test_a_cache_that_cannot_be_written_is_done_without(install: Install, cache: Path) -> None:
    """A file in the place of the folder stands for a full disk and a read-only cache."""
    (cache / "code").write_text("")
    place = install()
    run(place, KEEP, cache)

    assert run(place, USE, cache) == str(place / "provision_backend" / "settings.py")


def test_the_newest_copies_stay(tmp_path: Path) -> None:
    """Each release makes one, and nobody comes back for the old ones."""
    for number in range(5):
        (tmp_path / str(number)).mkdir()
        os.utime(str(tmp_path / str(number)), (number, number))

    assert sorted(sweep_copies(tmp_path, keep=3)) == ["0", "1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4"]


def test_clean_removes_them(install: Install, cache: Path) -> None:
    """Like everything else in the cache that can be made again."""
    run(install(), KEEP, cache)
    (copy,) = copies(cache)
    swept = clean_cache(Cache(cache))

    assert copy.name in swept.leftovers
    assert copies(cache) == []
