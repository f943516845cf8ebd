"""The Alpine-like root is what the tests of provisioning on musl take it for."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Iterator

import pytest
from support import alpine, real_interpreters
from support.alpine import AlpineRoot

DEMO = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "demo"
version = "1.0"
[tool.hatch.build.targets.wheel]
packages = ["src/demo"]
"""


@pytest.fixture(scope="module")
def shared() -> AlpineRoot:
    """Return the root of all tests, or skip with the reason why there is none."""
    return AlpineRoot.shared()


@pytest.fixture
def root(shared: AlpineRoot) -> Iterator[AlpineRoot]:
    """Return a copy of the root for one test."""
    with shared.scratch() as copy:
        yield copy


def unpack(archive: Path, to: Path) -> None:
    """Unpack an archive of our own making."""
    with tarfile.open(str(archive)) as tar:
        if sys.version_info >= (3, 12):
            tar.extractall(str(to), filter="tar")
        else:
            tar.extractall(str(to))


@pytest.mark.slow
def test_interpreter_of_the_root_runs_on_musl(root: AlpineRoot) -> None:
    """Its extension modules are named for musl, and https works up to the certificates."""
    code = "import ctypes, ssl, sysconfig, zlib; print(sysconfig.get_config_var('SOABI'))"

    assert root.run(["python3", "-c", code]).stdout == "cpython-311-x86_64-linux-musl\n"


@pytest.mark.slow
def test_root_has_no_glibc(root: AlpineRoot) -> None:
    """Neither a loader nor a libc of glibc is in it, nor what this machine has installed."""
    found = [path.name for path in root.path.rglob("*") if path.name.startswith(("ld-linux", "libc.so.6"))]

    assert found == []
    assert sorted(path.name for path in root.inside("/lib").iterdir()) == [
        "ld-musl-x86_64.so.1",
        "libc.musl-x86_64.so.1",
        "libc.so",
    ]


@pytest.mark.slow
def test_shell_is_a_dynamic_executable_of_musl(root: AlpineRoot) -> None:
    """The evidence by which a host is recognised is there: busybox asks for musl's loader."""
    listed = root.run(["/lib/ld-musl-x86_64.so.1", "--list", "/bin/sh"]).stdout

    assert "libc.so => /lib/ld-musl-x86_64.so.1" in listed


@pytest.mark.slow
def test_environment_of_the_machine_stays_outside(root: AlpineRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what leads to the package index comes in, without the folders of this machine."""
    for name in alpine.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///wheels https://other.invalid/simple /more")

    lines = root.run(["env"], env={"GIVEN": "1"}).stdout.splitlines()

    assert {line for line in lines if line.startswith(("PYTHON", "PIP_FIND", "PIP_INDEX", "PIP_EXTRA", "GIVEN"))} == {
        "GIVEN=1",
        "PIP_INDEX_URL=https://index.invalid/simple",
        "PIP_EXTRA_INDEX_URL=https://other.invalid/simple",
    }


@pytest.mark.slow
def test_copies_do_not_disturb_each_other(shared: AlpineRoot, root: AlpineRoot) -> None:
    """What is written into or deleted from a copy is as it was in the shared root."""
    release = shared.inside("/etc/os-release").read_text()
    with root.inside("/etc/os-release").open("a") as file:
        file.write("CHANGED=1\n")
    root.inside("/usr/local/bin/pip").write_text("changed")
    root.run(["rm", "-r", "/usr/local/lib/python3.11/json"])

    assert shared.inside("/etc/os-release").read_text() == release
    assert shared.inside("/usr/local/bin/pip").read_text() != "changed"
    assert shared.inside("/usr/local/lib/python3.11/json/__init__.py").is_file()


@pytest.mark.slow
def test_shared_root_refuses_to_run(shared: AlpineRoot) -> None:
    """A program could change what all tests use."""
    with pytest.raises(RuntimeError, match=r"^the shared root must stay as it is: run in a copy of it$"):
        shared.run(["true"])


@pytest.mark.slow
def test_failure_inside_shows_the_output(root: AlpineRoot) -> None:
    """A test that fails in the root says what the program wrote there, and in which folder it ran."""
    with pytest.raises(AssertionError) as caught:
        root.run(["sh", "-c", "pwd; echo wrong >&2; exit 3"], cwd="/build")

    assert str(caught.value) == "['sh', '-c', 'pwd; echo wrong >&2; exit 3'] ended with 3\n/build\n\nwrong\n"
    assert root.run(["false"], check=False).returncode == 1


@pytest.mark.slow
def test_glibc_loader_can_be_added(root: AlpineRoot) -> None:
    """It runs there, and the programs of the root go on using musl."""
    loader = root.add_glibc_loader()

    libc = root.run([str(loader), str(alpine.host_glibc()[1])]).stdout

    assert libc.startswith("GNU C Library")
    assert "ld-musl" in root.run(["/lib/ld-musl-x86_64.so.1", "--list", "/usr/local/bin/python3"]).stdout


@pytest.mark.slow
def test_project_is_built_in_the_root(root: AlpineRoot, tmp_path: Path) -> None:
    """A venv, pip, an isolated build: a frontend works there wherever it works on this machine."""
    outside = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "hatchling"]
    if subprocess.run(outside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("this machine reaches no package index")
    project = root.inside("/build/demo")
    (project / "src/demo").mkdir(parents=True)
    (project / "src/demo/__init__.py").write_text("")
    (project / "pyproject.toml").write_text(DEMO)

    root.run(["python3", "-m", "venv", "/build/env"])
    root.run(["/build/env/bin/pip", "install", "-q", "build"])
    root.run(["/build/env/bin/python", "-m", "build", "--wheel"], cwd="/build/demo")

    assert [path.name for path in (project / "dist").iterdir()] == ["demo-1.0-py2.py3-none-any.whl"]


@pytest.mark.slow
def test_musl_archive_runs_where_it_is_unpacked(root: AlpineRoot) -> None:
    """It is relocatable, to a path with a space in it too, and so are its scripts."""
    unpack(real_interpreters.musl_archive("3.13"), root.inside("/opt/a place"))

    code = "import ssl, sys, zlib, _ctypes; print(sys.prefix, sys.version_info[:2])"

    assert root.run(["/opt/a place/python/bin/python3", "-c", code]).stdout == "/opt/a place/python (3, 13)\n"
    assert "/opt/a place/python/lib" in root.run(["/opt/a place/python/bin/pip", "--version"]).stdout


@pytest.mark.slow
def test_static_archive_starts_and_loads_no_module(root: AlpineRoot) -> None:
    """It is as the old static builds were: complete in itself, and of no use for wheels with extension modules."""
    archive = real_interpreters.static_musl_archive(tag="20250212")
    unpack(archive, root.path)

    started = root.run(["/python/bin/python3", "-c", "import ssl, sys; print(sys.version_info[:2])"])
    loaded = root.run(["/python/bin/python3", "-c", "import ctypes; ctypes.CDLL('libc.so')"], check=False)

    assert archive.name == "cpython-3.13.5+20250212-x86_64-unknown-linux-musl-install_only.tar.gz"
    assert (archive.parent / "SHA256SUMS").read_text().endswith(f"  {archive.name}\n")
    assert started.stdout == "(3, 13)\n"
    assert loaded.stderr.endswith("OSError: Dynamic loading not supported\n")


def test_pip_configuration_is_merged_to_what_leads_to_the_index(tmp_path: Path) -> None:
    """The stronger file wins, and settings that name files of the machine are left outside."""
    weak = tmp_path / "weak.conf"
    weak.write_text(
        "[global]\nindex-url = https://a.invalid/simple\ntimeout = 60\nfind-links = /wheels\ncert = /c.pem\n"
    )
    strong = tmp_path / "strong.conf"
    strong.write_text("[global]\nindex-url = https://b.invalid/simple\nextra-index-url =\n    file:///w\n    /more\n")

    merged = alpine.index_settings([weak, strong])

    assert {name: dict(merged[name]) for name in merged.sections()} == {
        "global": {"index-url": "https://b.invalid/simple", "timeout": "60"}
    }


@pytest.mark.parametrize(
    ("script", "arguments", "thing"),
    [
        pytest.param("build-musl-python", ["3.13"], "CPython for musl", id="musl"),
        pytest.param("build-gnu-python", ["3.13"], "CPython for glibc", id="gnu"),
        pytest.param("build-alpine-root", [], "the Alpine-like root", id="root"),
    ],
)
def test_what_may_not_be_built_ends_with_the_reason(
    tmp_path: Path, script: str, arguments: list[str], thing: str
) -> None:
    """A machine that cannot build says so in one line and with a code of its own, and nothing is touched."""
    cache = tmp_path / "cache"
    done = subprocess.run(
        [str(real_interpreters.FIXTURES / script), *arguments],
        env={**os.environ, "PROVISION_BACKEND_TEST_CACHE": str(cache), "PROVISION_BACKEND_TEST_BUILD": "0"},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"cannot build {thing} here: PROVISION_BACKEND_TEST_BUILD is 0\n"
    assert not cache.exists()


def test_running_interpreter_is_among_the_hosts() -> None:
    """Every interpreter is listed once, by its real path and oldest first."""
    hosts = real_interpreters.host_interpreters()

    paths = [host.path for host in hosts]
    versions = [tuple(map(int, host.version.split("."))) for host in hosts]

    assert Path(sys.executable).resolve() in paths
    assert len(set(paths)) == len(paths)
    assert versions == sorted(versions)
