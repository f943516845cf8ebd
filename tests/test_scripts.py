"""The two commands of the README do their own set-up, or say at once what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict, Iterator, Optional

import pytest
from packaging.version import Version
from support.real_interpreters import (
    FIXTURES,
    Unavailable,
    cache_folder,
    fresh,
    gnu_archive,
    host_interpreters,
    locked,
)

from provision_backend.install.sources import DEFAULT_SOURCES

ROOT = Path(__file__).resolve().parent.parent
# What the scripts run, but neither a Python nor an installer of packages.
PROGRAMS = (
    "awk", "bash", "basename", "cat", "chmod", "cut", "dirname", "env", "grep", "id", "ls", "mkdir", "mktemp",
    "nproc", "printf", "realpath", "rm", "sed", "sleep", "sort", "tail", "tr", "true", "uname", "xargs",
)  # fmt: skip
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the checkout, in which the scripts may make their environments."""
    folder = tmp_path / "checkout"
    shutil.copytree(str(ROOT), str(folder), ignore=IGNORED)
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Dict[str, str]:
    """Return the variables of a machine on which no package can be installed, without a network and without Python."""
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            (programs / program).symlink_to(found)
    # Nothing listens on port 9 of the loopback interface.
    proxy = "http://127.0.0.1:9"
    return {"PATH": str(programs), "HOME": str(home), "http_proxy": proxy, "https_proxy": proxy}


def refusal(checkout: Path, environ: Dict[str, str], *command: str) -> str:
    """Return what a script says that cannot work, at once and without having made anything."""
    before = sorted(checkout.iterdir())
    started = time.monotonic()
    done = subprocess.run(
        [str(checkout / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environ,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert time.monotonic() - started < 60  # One second, where nothing else runs; a set-up takes minutes.
    assert sorted(checkout.iterdir()) == before
    return done.stderr


@pytest.mark.parametrize("command", ["scripts/demo", "scripts/test --quick"])
def test_without_a_python_they_say_each_way_to_get_one(command: str, checkout: Path, bare: Dict[str, str]) -> None:
    """Nothing is set up, and what to type is there for administrators and for everybody else."""
    said = refusal(checkout, bare, *command.split())

    assert said.startswith("No CPython 3.8 or later with the modules venv, ensurepip and ssl is here.\n")
    assert re.findall(r"^  (?:an|with) (\w+)", said, re.MULTILINE) == ["administrator", "uv", "pyenv"]


def test_without_an_interpreter_to_fetch_the_demo_says_each_way_to_get_one(
    checkout: Path, bare: Dict[str, str]
) -> None:
    """An old Python alone is no demo: something must be there that its build can fetch."""
    old = [host for host in host_interpreters() if Version(host.version) < Version("3.12")]
    if not (old and old[0].has_venv and old[0].has_ssl):
        pytest.skip("no CPython below 3.12 with venv and ssl is installed")
    (Path(bare["PATH"]) / "python3").symlink_to(old[0].path)

    said = refusal(checkout, bare, "scripts/demo")

    assert "the default source does not answer" in said
    assert "building one from Debian's source needs apt-get.\n" in said
    assert re.findall(r"^  (?:an|with a?) ?(\w+)", said, re.MULTILINE) == ["administrator", "uv", "pyenv", "mirror"]


def test_the_demo_asks_the_default_sources() -> None:
    """It has to ask before anything is installed, so the addresses are written in it once more."""
    text = (ROOT / "scripts" / "demo").read_text(encoding="utf-8")

    assert re.findall(r'"(https://[^"]*)"', text) == list(DEFAULT_SOURCES)


def fresh_root(*arguments: str) -> str:
    """Run the fixture script, and return what it printed; skip where this machine cannot have such a root."""
    done = subprocess.run(
        [str(FIXTURES / "fresh-root"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 3:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def bookworm(tmp_path: Path) -> Iterator[Path]:
    """Give a fresh Debian 12 with its Python 3.11: a copy of one that is made once a day and in which nothing runs."""
    kept, root = cache_folder() / "roots" / "bookworm", tmp_path / "root"
    wanted = (FIXTURES / "fresh-root").read_text(encoding="utf-8")
    with locked(cache_folder() / "bookworm.lock"):
        stamp = kept.with_name("bookworm.complete")
        if not fresh(stamp, wanted):
            shutil.rmtree(str(kept), ignore_errors=True)
            kept.parent.mkdir(exist_ok=True)
            fresh_root("make", str(kept), "bookworm", "python3", "python3-venv")
            stamp.write_text(wanted, encoding="utf-8")
        subprocess.run(["cp", "-a", str(kept), str(root)], check=True)
    yield root
    shutil.rmtree(str(root))


def built_for_bookworm() -> Optional[Path]:
    """Return an archive that the demo would build in a Debian 12, where this machine is one; it takes minutes."""
    release = Path("/etc/os-release")
    if not release.exists() or "VERSION_CODENAME=bookworm" not in release.read_text():
        return None
    try:
        return gnu_archive("3.13")
    except Unavailable:
        return None


@pytest.mark.slow
def test_the_demo_works_on_a_fresh_machine(bookworm: Path, checkout: Path) -> None:
    """Only Python 3.11 is there: the first build fetches an interpreter from a mirror, the second one nothing."""
    # pip splits the paths that it is given in a variable at blanks.
    shutil.copytree(str(checkout), str(bookworm / "root" / "my checkout"))
    archive = built_for_bookworm()
    if archive is not None:
        cached = bookworm / "root/.cache/provision-backend-tests/archives/gnu"
        cached.mkdir(parents=True)
        shutil.copy(str(archive), str(cached))

    said = fresh_root("run", str(bookworm), "'my checkout/scripts/demo'")

    first, second = (said[said.index(title) :].partition("\n\n")[0] for title in ("== python -m build", "== Once more"))
    assert "downloading cpython-3." in first
    assert "downloading" not in second
    table = dict(re.findall(r"^(host|provisioned|first build|second build|the wheel) {2,}(.*)$", said, re.MULTILINE))
    assert re.fullmatch(r"Python 3\.11\.\d+ ran the frontend", table["host"])
    assert re.fullmatch(r"\d+ s, fetched [\d.]+ MB from \S+", table["first build"])
    assert re.fullmatch(r"\d+ s, fetched nothing", table["second build"])
    assert "Hello, stranger! I was built by CPython 3." in table["the wheel"]
    # More is not read. A slow download adds a few lines about its progress.
    assert said[said.index("== The host") :].count("\n") < 70
