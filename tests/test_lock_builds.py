"""Locked projects built for real: the archive that is written down, on every host, whatever a catalog says by then."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Dict, List

import pytest
from packaging.version import Version
from support.alpine_host import MIRROR, AlpineHost, offer
from support.hosts import FrontendCache, Outcome, make_project
from support.locking import lock
from support.projects import pure
from support.real_interpreters import gnu_archive, musl_archive, standalone_archive

from provision_backend.catalog.archive import parse_archive

pytestmark = pytest.mark.slow

# A real backend that writes into the wheel which interpreter has built it.
_BACKEND = """
import sys
from flit_core.buildapi import *
from flit_core import buildapi

def build_wheel(*args):
    with open("pure.py", "w") as file:
        file.write("BUILT_BY = %r\\n" % sys.version.split()[0])
    return buildapi.build_wheel(*args)
"""
_EPOCH = "1700000000"


def version_of(archive: Path) -> str:
    name = parse_archive(archive.name, "")
    assert name is not None
    return name.version


@pytest.fixture(scope="module")
def archives() -> List[Path]:
    """Return two real archives for this machine, of different versions, the older one first."""
    found = [standalone_archive("3.12"), gnu_archive("3.13")]
    if version_of(found[0]) == version_of(found[1]):
        pytest.skip("there are no two versions of CPython that can be provisioned here")
    return sorted(found, key=lambda archive: Version(version_of(archive)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests that build; what is in it afterwards is what they have used."""
    return tmp_path_factory.mktemp("locked-cache") / "cache"


@pytest.fixture
def mirror(archives: List[Path], tmp_path: Path) -> Path:
    """A mirror that has the older archive only."""
    return offer(tmp_path / "mirror", archives[0])


@pytest.fixture
def locked(mirror: Path, tmp_path: Path) -> Path:
    """A project that was locked when there was the older archive only."""
    root = stamping(tmp_path / "pure")
    assert lock(root, catalog=str(mirror / "SHA256SUMS")).code == 0
    return root


def stamping(folder: Path) -> Path:
    pure(folder)
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    text = text.replace('"flit_core.buildapi"', '"stamping"\nbackend-path = ["."]')
    text += '\n[tool.flit.sdist]\ninclude = ["stamping.py"]\n'
    return make_project(folder, {"pyproject.toml": text, "stamping.py": _BACKEND, "pure.py": "BUILT_BY = ''\n"})


def settings(mirror: Path, cache: Path, **more: str) -> Dict[str, str]:
    variables = {
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_RETRIES": "0",
        "SOURCE_DATE_EPOCH": _EPOCH,
    }
    return {**variables, **{f"PROVISION_BACKEND_{name.upper()}": value for name, value in more.items()}}


def built_by(root: Path) -> str:
    import zipfile

    (wheel,) = (root / "dist").glob("*.whl")
    with zipfile.ZipFile(str(wheel)) as archive:
        return archive.read("pure.py").decode().split("'")[1]


def test_newer_archives_in_the_catalog_change_nothing(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], cache: Path
) -> None:
    """The sdist carries the lock, and the wheel is built from the sdist by the archive that was locked."""
    offer(mirror, *archives)
    outcome = frontends.below("3.12").build_by_uv(locked, env=settings(mirror, cache))

    assert outcome.returncode == 0, outcome.output
    assert built_by(locked) == version_of(archives[0])
    assert lock(locked, "--check", catalog=str(mirror / "SHA256SUMS")).code == 0
    shutil.rmtree(str(locked / "dist"))
    assert lock(locked, "--upgrade", catalog=str(mirror / "SHA256SUMS")).code == 0
    outcome = frontends.below("3.12").build_by_uv(locked, "--wheel", env=settings(mirror, cache))

    assert outcome.returncode == 0, outcome.output
    assert built_by(locked) == version_of(archives[1])


@pytest.mark.parametrize("catalog", ["http://127.0.0.1:9/SHA256SUMS", ""], ids=["no answer", "built in"])
def test_the_catalog_is_not_asked(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], cache: Path, catalog: str
) -> None:
    """What has left all catalogs, or was in none of ours, is built with for as long as somebody has its bytes."""
    outcome = frontends.below("3.12").build_by_uv(locked, "--wheel", env=settings(mirror, cache, catalog=catalog))

    assert outcome.returncode == 0, outcome.output
    assert built_by(locked) == version_of(archives[0])


def test_an_archive_that_nobody_has_any_more(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], tmp_path: Path
) -> None:
    """No other archive and no interpreter of the machine stands in for it; the message says what to do."""
    offer(tmp_path / "other", archives[1])
    outcome = frontends.below("3.12").build_by_uv(
        locked, "--wheel", env=settings(tmp_path / "other", tmp_path / "cache")
    )

    assert outcome.returncode != 0
    assert archives[0].name in outcome.output
    assert_said(
        outcome,
        "the project is locked to this archive, with this sha256, in pyproject.toml",
        "'provision-backend lock --upgrade' moves it to a newer one",
    )


def test_other_bytes_are_refused(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], tmp_path: Path
) -> None:
    """The sha256 is the lock's, also where a catalog and a mirror agree on another one."""
    (mirror / archives[0].name).write_bytes(archives[1].read_bytes())
    digest = hashlib.sha256(archives[1].read_bytes()).hexdigest()
    (mirror / "SHA256SUMS").write_text(f"{digest}  {archives[0].name}\n", encoding="ascii")
    outcome = frontends.below("3.12").build_by_uv(locked, "--wheel", env=settings(mirror, tmp_path / "cache"))

    expected = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    assert outcome.returncode != 0
    assert_said(
        outcome,
        f"sha256 of {archives[0].name} differs from the catalog: expected {expected}",
        f"  {mirror}: found {digest}",
        "the project is locked to this archive, with this sha256, in pyproject.toml",
    )


def test_a_target_that_is_not_locked(frontends: FrontendCache, locked: Path, mirror: Path, tmp_path: Path) -> None:
    """The message says what is locked, what this host is, and how to add it or to do without."""
    text = (locked / "pyproject.toml").read_text(encoding="utf-8")
    (locked / "pyproject.toml").write_text(text.replace("x86_64-unknown-linux-gnu", "s390x-unknown-linux-gnu"))
    outcome = frontends.below("3.12").build_by_uv(locked, "--wheel", env=settings(mirror, tmp_path / "cache"))

    assert outcome.returncode != 0
    assert_said(
        outcome,
        "the project is locked to the archives in pyproject.toml, and none of them is for x86_64-unknown-linux-gnu",
        "locked: s390x-unknown-linux-gnu",
        "add this one with 'provision-backend lock --target x86_64-unknown-linux-gnu', "
        "or build without the lock: PROVISION_BACKEND_PYTHON=",
    )


def test_the_builder_has_the_last_word_and_is_told(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], cache: Path
) -> None:
    """An explicit version comes before the lock, as before every other key of a project."""
    offer(mirror, *archives)
    newer = version_of(archives[1])
    outcome = frontends.below("3.12").build_by_uv(locked, "--wheel", env=settings(mirror, cache, python=newer))

    assert outcome.returncode == 0, outcome.output
    assert built_by(locked) == newer
    assert_said(outcome, f"the lock in pyproject.toml is not used: PROVISION_BACKEND_PYTHON is '{newer}'")


def test_a_file_that_the_sdist_leaves_out_is_an_error(
    frontends: FrontendCache, locked: Path, mirror: Path, cache: Path
) -> None:
    """Nobody builds an unlocked sdist of a locked project without noticing."""
    assert lock(locked, "--file", catalog=str(mirror / "SHA256SUMS")).code == 0
    frontend = frontends.below("3.12")
    assert frontend.build_by_uv(locked, "--wheel", env=settings(mirror, cache)).returncode == 0
    outcome = frontend.build_by_uv(locked, env=settings(mirror, cache))

    assert outcome.returncode != 0
    assert_said(
        outcome,
        "pure-1.0.tar.gz would lack provision-backend.lock, which locks the project",
        "have stamping put it into the sdist",
    )
    assert not list((locked / "dist").glob("*.tar.gz"))
    text = (locked / "pyproject.toml").read_text(encoding="utf-8")
    (locked / "pyproject.toml").write_text(text.replace('["stamping.py"]', '["stamping.py", "*.lock"]'))
    assert frontend.build_by_uv(locked, env=settings(mirror, cache)).returncode == 0


def test_where_the_running_interpreter_satisfies(
    frontends: FrontendCache, locked: Path, mirror: Path, archives: List[Path], cache: Path
) -> None:
    """It builds, unless the lock says always, or the builder wants provisioned interpreters only."""
    frontend = frontends.of("3.12")
    used = []
    for arguments, more in (((), {}), ((), {"preference": "only-managed"}), (("--always",), {})):
        assert lock(locked, *arguments, catalog=str(mirror / "SHA256SUMS")).code == 0
        shutil.rmtree(str(locked / "dist"), ignore_errors=True)
        outcome = frontend.build_by_uv(locked, "--wheel", env=settings(mirror, cache, **more))
        assert outcome.returncode == 0, outcome.output
        used.append(built_by(locked))

    assert used == [frontend.version, version_of(archives[0]), version_of(archives[0])]


def test_every_host_makes_the_same_wheel(
    frontends: FrontendCache, alpine: AlpineHost, cache: Path, tmp_path: Path
) -> None:
    """On old and new Pythons, on glibc and musl: one version of one release builds, and the wheels are equal."""
    mirror = offer(tmp_path / "mirror", gnu_archive("3.13"), musl_archive("3.13"))
    root = stamping(tmp_path / "pure")
    targets = ("--target", "x86_64-unknown-linux-musl", "--target", "x86_64-unknown-linux-gnu")
    answer = lock(root, "--always", *targets, catalog=str(mirror / "SHA256SUMS"))
    assert len({(item["version"], item["tag"]) for item in answer.data["archives"]}) == 1
    wheels = {}
    for minor in ("3.8", "3.13"):
        copied = shutil.copytree(str(root), str(tmp_path / minor / "pure"))
        outcome = frontends.of(minor).build_by_uv(Path(copied), "--wheel", env=settings(mirror, cache))
        assert outcome.returncode == 0, outcome.output
        wheels[minor] = Path(copied)
    shutil.copytree(str(mirror), str(alpine.inside(MIRROR)))
    shutil.copytree(str(root), str(alpine.inside("/build/pure")))
    alpine.build("/build/pure", "--wheel", env={**alpine.settings("/build/cache"), "SOURCE_DATE_EPOCH": _EPOCH})
    wheels["musl"] = alpine.inside("/build/pure")

    assert {built_by(folder) for folder in wheels.values()} == {answer.data["archives"][0]["version"]}
    keys = {path.name for path in (cache / "interpreters").iterdir()}
    keys |= {path.name for path in alpine.inside("/build/cache/interpreters").iterdir()}
    locked = {(item["version"], item["tag"], item["triple"], item["sha256"][:8]) for item in answer.data["archives"]}
    assert keys >= {"cpython-" + "-".join(parts) for parts in locked}
    digests = {
        name: hashlib.sha256(next((folder / "dist").glob("*.whl")).read_bytes()).hexdigest()
        for name, folder in wheels.items()
    }
    assert len(set(digests.values())) == 1, digests


def assert_said(outcome: Outcome, *lines: str) -> None:
    for line in lines:
        assert line in outcome.output
