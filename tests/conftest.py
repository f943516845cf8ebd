"""Fixtures that more than one test module uses. What is real is real: wheels, frontends, interpreters, a server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The tests use the checkout, and their own support code, whatever folder pytest is started in.
for folder in (str(ROOT), str(ROOT / "tests")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from support.alpine_host import AlpineHost, open_alpine_host  # noqa: E402
from support.hosts import NO_COMPILE, FrontendCache  # noqa: E402
from support.real_interpreters import standalone_archive  # noqa: E402

# Taken away from every test: what would redirect a download, an installation or a Python.
_SCRUBBED = ("PROVISION_BACKEND_", "_PROVISION_BACKEND_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV")
_KEPT = (
    "PROVISION_BACKEND_TEST_CACHE",
    "PROVISION_BACKEND_TEST_BUILD",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_CACHE_DIR",
)

# Files of minutes. What starts last should be short, or the other workers wait for it with nothing to do.
_LONGEST = (
    "test_docs",
    "test_messages",
    "test_end_to_end",
    "test_conditions",
    "test_matrix",
    "test_locked_projects",
    "test_crashes",
    "test_lock_builds",
    "test_windows_builds",
    "test_architectures",
    "test_scripts",
)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist keep the order of the files: by itself it starts with those that have the most tests."""
    config.option.loadscopereorder = False
    # Tests change modes to what another umask would have made them from the start.
    os.umask(0o022)


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Begin with the files that take longest, go on with those that have slow tests, and end with the quick ones."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        if item.path.stem in _LONGEST:
            return _LONGEST.index(item.path.stem)
        return len(_LONGEST) + (item.path not in slow)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give every test an environment without our settings and a user cache of its own."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED) and name not in _KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PROVISION_BACKEND_CACHE_DIR", str(tmp_path / "cache"))
    for name, value in NO_COMPILE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Have SIGINT and SIGHUP end what tests start: in the background, or under nohup, it would ignore them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGHUP] == signal.SIG_IGN:
        # Of a handler a program inherits the default, and the tests themselves go on as they were told to.
        signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build our own wheel once, in a folder of its own, and return its path."""
    folder = tmp_path_factory.mktemp("own-wheel")
    source = tmp_path_factory.mktemp("own-source") / "provision_backend"
    shutil.copytree(
        str(ROOT), str(source), ignore=shutil.ignore_patterns(".*", "tests", "__pycache__", "build", "dist")
    )
    command = [sys.executable, "-c", "import sys; from flit_core import buildapi; buildapi.build_wheel(sys.argv[1])"]
    subprocess.run([*command, str(folder)], cwd=str(source), check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Return a folder with the archive of a real CPython 3.12 or later and its SHA256SUMS."""
    archive = standalone_archive("3.12")
    return archive.parent


@pytest.fixture(scope="session")
def frontends(tmp_path_factory: pytest.TempPathFactory, own_wheel: Path) -> FrontendCache:
    """Return virtual environments with ``build``, one a host interpreter, made when they are first asked for."""
    return FrontendCache(tmp_path_factory.mktemp("frontends"), own_wheel)


@pytest.fixture(scope="module")
def alpine(own_wheel: Path) -> Iterator[AlpineHost]:
    """Give a musl machine with ``build`` on CPython 3.11."""
    with open_alpine_host(own_wheel) as machine:
        yield machine
