"""A build on an interpreter that somebody has damaged: noticed when it is used, and replaced beside it."""

from __future__ import annotations

import marshal
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest

from provision_backend.cache.entries import read_entry
from provision_backend.cache.manifest import verify_entry
from provision_backend.install import smoke

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

BACKEND = """
import sys

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "toy-1-py3-none-any.whl"
    with open(folder + "/" + name, "w") as file:
        file.write(sys.base_prefix)
    return name

def build_sdist(folder, config_settings=None):
    raise NotImplementedError
"""

PROJECT = """
[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"

[project]
name = "toy"
version = "1"
requires-python = ">=3.12"

[tool.provision-backend]
build-backend = "toy_backend"
backend-path = ["."]
requires = []
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose wheel holds the path of the interpreter that built it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "toy_backend.py").write_text(BACKEND)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Path:
    """Return a cache with a real interpreter, to be copied, whose user keeps new files from everybody.

    Its path would be a pattern of file names, too.
    """
    cache = tmp_path_factory.mktemp("published") / "cache[1]"
    command = ["sh", "-c", 'umask 077 && exec "$@"', "sh", sys.executable, "-m", "provision_backend", "install", "3"]
    subprocess.run(command, env=environment(cache, mirror), check=True, stdout=subprocess.DEVNULL)
    return cache


def environment(cache: Path, mirror: Path) -> Dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
        "PROVISION_BACKEND_PREFERENCE": "only-managed",
    }


def build(
    project: Path, environ: Dict[str, str], *, before: str = "pass", call: str = "build_wheel('.')"
) -> subprocess.CompletedProcess[str]:
    """Run a hook, as a frontend without isolation does."""
    code = f"{before}; import provision_backend; print(provision_backend.{call})"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(project),
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


DAMAGES: Dict[str, Tuple[Callable[[Path], object], str]] = {
    "the program is cut": (lambda entry: os.truncate(program(entry), 1000), "changed: bin/"),
    "the program is a script": (lambda entry: program(entry).write_text("#!/bin/false\n"), "changed: bin/"),
    "a module of the start is missing": (
        lambda entry: shutil.rmtree(next(entry.glob("lib/python3.*/encodings"))),
        "missing: lib/",
    ),
    "a module of each hook is damaged": (
        lambda entry: next(entry.glob("lib/python3.*/json/decoder.py")).write_text("garbage("),
        "changed: lib/",
    ),
}


def program(entry: Path) -> Path:
    return next(path for path in entry.glob("bin/python3.*") if not path.is_symlink() and "config" not in path.name)


@pytest.mark.parametrize(("damage", "problem"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_interpreter_is_replaced_in_the_same_build(
    project: Path, published: Path, mirror: Path, damage: Callable[[Path], object], problem: str
) -> None:
    """The build says what is damaged and succeeds with a new one beside it; the next build has that at once."""
    cache = project.parent / "cache"
    # The cache is made anew: a copy would have the paths of the original in it.
    environ = environment(cache, mirror)
    shutil.copytree(str(published), str(cache), symlinks=True)
    entry = next((cache / "interpreters").iterdir())
    damage(entry)
    first = build(project, environ)

    assert first.returncode == 0, first.stderr
    assert f"provision-backend: {program(entry)} is damaged ({problem}" in first.stderr
    assert "is no longer used\n" in first.stderr
    beside = entry.with_name(entry.name + ".1")
    assert (project / "toy-1-py3-none-any.whl").read_text() == str(beside)
    assert verify_entry(beside) == []
    second = build(project, environ)
    assert (second.returncode, "is damaged" in second.stderr) == (0, False)
    assert (project / "toy-1-py3-none-any.whl").read_text() == str(beside)


def test_a_build_without_our_packages_says_to_build_again(project: Path, published: Path, mirror: Path) -> None:
    """The frontend was told that nothing is needed; the interpreter is set aside, so the next build asks for it."""
    cache = project.parent / "cache"
    shutil.copytree(str(published), str(cache), symlinks=True)
    entry = next((cache / "interpreters").iterdir())
    program(entry).write_text("#!/bin/false\n")
    done = build(project, environment(cache, mirror), before="import sys; sys.modules['elftools'] = None")

    assert done.returncode == 1
    assert done.stderr.endswith(
        f"provision-backend: the project could not be built with the damaged {program(entry)}\n"
        "  build again, and a new one is provisioned; this build has no package 'pyelftools' for that\n"
    ), done.stderr
    assert build(project, environment(cache, mirror)).returncode == 0


@pytest.mark.parametrize(
    ("lost", "broken"), [("encodings/utf_8.py", True), ("ensurepip/__init__.py", False), ("this.py", False)]
)
def test_damage_is_found_before_the_frontend_installs(
    project: Path, published: Path, mirror: Path, lost: str, broken: bool
) -> None:
    """An isolated build gets our packages in time; a tree that was made smaller is used as long as it does."""
    cache = project.parent / "cache"
    shutil.copytree(str(published), str(cache), symlinks=True)
    entry = next((cache / "interpreters").iterdir())
    next(entry.glob(f"lib/python3.*/{lost}")).unlink()
    call = "get_requires_for_build_wheel()"
    first, second = (build(project, environment(cache, mirror), call=call) for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0)
    said = f"provision-backend: {program(entry)} is damaged (missing: lib/"
    assert (said in first.stderr, bool(second.stderr)) == (broken, False)


@pytest.mark.parametrize("call", ["get_requires_for_build_wheel()", "build_wheel('.')"])
def test_a_module_that_the_host_lacks_is_one_sentence(project: Path, published: Path, mirror: Path, call: str) -> None:
    """Whoever has compiled this Python may have left one out of the standard library."""
    before = "import sys; sys.modules['_posixsubprocess'] = None"
    done = build(project, environment(published, mirror), before=before, call=call)

    assert done.returncode == 1
    assert done.stderr == (
        "provision-backend: this Python has no module 'posixsubprocess'\n"
        "  it was built without it, or its package is not installed; use another Python\n"
    )


def test_an_interpreter_that_is_what_it_was_is_not_replaced(project: Path, published: Path, mirror: Path) -> None:
    """Another copy of the same bytes would fail alike, so the failure is reported as it is."""
    (project / "pyproject.toml").write_text(PROJECT.replace("requires = []", 'requires = ["no-such-package-at-all"]'))
    environ = {**environment(published, mirror), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = build(project, environ)

    assert done.returncode == 1
    assert "could not install the real backend's requirements" in done.stderr
    assert "damaged" not in done.stderr
    assert len(os.listdir(published / "interpreters")) == 1


def test_a_hook_that_fails_is_not_run_again(project: Path, published: Path, mirror: Path) -> None:
    """It failed under an interpreter whose files are what they were, so that the failure is the project's."""
    (project / "toy_backend.py").write_text(BACKEND.replace("    name =", "    print('called')\n    1 / 0\n    name ="))
    done = build(project, environment(published, mirror))

    assert done.returncode == 1
    assert done.stdout.count("called") == 1
    assert done.stderr.count("ZeroDivisionError") == 1
    assert "damaged" not in done.stderr


def copied(published: Path, project: Path) -> Path:
    """Copy the cache and return the interpreter's folder in the copy."""
    cache = project.parent / "cache"
    shutil.copytree(str(published), str(cache), symlinks=True)
    return next((cache / "interpreters").iterdir())


CURIOUS = """
import subprocess, sys, xml.dom.minidom, sched, wave
subprocess.run([sys.executable, "-c", "import this, turtledemo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""


def test_a_build_leaves_the_interpreter_as_it_was(project: Path, published: Path, mirror: Path) -> None:
    """Its hooks, and the programs that they run, store what they compile in the build environment."""
    entry = copied(published, project)
    (project / "toy_backend.py").write_text(CURIOUS + BACKEND)
    environ = environment(project.parent / "cache", mirror)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    done = build(project, environ)

    assert done.returncode == 0, done.stderr
    assert verify_entry(entry) == []
    assert not list(project.glob("**/__pycache__"))


def test_a_program_that_is_run_leaves_it_as_it_was(project: Path, published: Path, mirror: Path) -> None:
    """The interpreter that `run` starts stores nothing in its folder."""
    entry = copied(published, project)
    environ = environment(project.parent / "cache", mirror)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "provision_backend", "run", "3", "--", "python", "-c", "import sched, wave"]
    subprocess.run(command, env=environ, check=True)

    assert verify_entry(entry) == []


def test_bytecode_of_what_builds_import_is_published(published: Path) -> None:
    """It is there before the first build, readable for everybody, and valid: its sources are what they were."""
    entry = next((published / "interpreters").iterdir())
    library = next(entry.glob("lib/python3.*"))
    compiled = {path.name.split(".")[0]: path for path in library.glob("__pycache__/*.pyc")}

    assert {"argparse", "inspect", "subprocess", "tempfile", "typing"} <= set(compiled)
    for name, path in compiled.items():
        assert int.from_bytes(path.read_bytes()[8:12], "little") == int((library / f"{name}.py").stat().st_mtime)
        assert path.stat().st_mode & 0o777 == 0o644
    assert (library / "json" / "__pycache__").stat().st_mode & 0o777 == 0o755
    # Each start imports it, before anything could be stored.
    assert list(library.glob("encodings/__pycache__/utf_8.*.pyc"))


@pytest.mark.parametrize("cores", [1, 8])
def test_any_number_of_processes_compiles_the_same(
    project: Path, published: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Alone, or as one of eight, the first start stores the files that the machine's own number has stored."""
    entry = copied(published, project)
    listed = {path.relative_to(entry): path.read_bytes()[:16] for path in entry.rglob("*.pyc")}
    for path in listed:
        (entry / path).unlink()
    facts = read_entry(entry)
    assert facts is not None
    monkeypatch.setattr(smoke, "usable_cores", lambda: cores)
    smoke.smoke_run(program(entry), facts.version, facts.triple, compiled=True)

    assert {path.relative_to(entry): path.read_bytes()[:16] for path in entry.rglob("*.pyc")} == listed


@pytest.mark.parametrize("place", ["listed", "added"])
def test_hooks_use_no_bytecode_that_was_not_published(project: Path, published: Path, mirror: Path, place: str) -> None:
    """What another build has planted, or the disk has damaged, is not what they import."""
    entry = copied(published, project)
    library = next(entry.glob("lib/python3.*"))
    listed = next(library.glob("__pycache__/shlex.*.pyc"))
    planted = listed if place == "listed" else listed.with_name(listed.name.replace("shlex", "sched"))
    source = (library / ("shlex.py" if place == "listed" else "sched.py")).stat()
    header = listed.read_bytes()[:8] + struct.pack("<II", int(source.st_mtime), source.st_size)
    planted.write_bytes(header + marshal.dumps(compile("raise SystemExit('planted')", "planted", "exec")))
    (project / "toy_backend.py").write_text("import sched, shlex\n" + BACKEND)
    done = build(project, environment(project.parent / "cache", mirror))

    assert done.returncode == 0, done.stderr
    problem = "changed" if place == "listed" else "added"
    assert [each.what for each in verify_entry(entry)] == [problem]


def test_added_bytecode_is_removed_where_the_interpreter_fails(project: Path, published: Path, mirror: Path) -> None:
    """It may be the reason, and can be made again; the build says so and goes on."""
    entry = copied(published, project)
    library = next(entry.glob("lib/python3.*"))
    (library / "__pycache__" / "other.pyc").touch()
    (project / "pyproject.toml").write_text(PROJECT.replace("requires = []", 'requires = ["no-such-package-at-all"]'))
    environ = {**environment(project.parent / "cache", mirror), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    done = build(project, environ)

    assert done.returncode == 1
    added = f"added: lib/{library.name}/__pycache__/other.pyc"
    assert f"removed bytecode that was added to {program(entry)} ({added}); trying again\n" in done.stderr
    assert verify_entry(entry) == []
