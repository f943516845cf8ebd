"""A build on an interpreter that somebody has damaged: noticed when it is used, and replaced beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest

from provision_backend.cache.manifest import verify_entry

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
    """Return a cache with a real interpreter, to be copied."""
    cache = tmp_path_factory.mktemp("published") / "cache"
    command = [sys.executable, "-m", "provision_backend", "install", "3"]
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
    assert "is not used any more\n" in first.stderr
    beside = entry.with_name(entry.name + ".1")
    assert (project / "toy-1-py3-none-any.whl").read_text() == str(beside)
    assert verify_entry(beside) == []
    second = build(project, environ)
    assert (second.returncode, second.stderr) == (0, "")
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
    ("lost", "broken"), [("encodings/utf_8.py", True), ("venv/__init__.py", True), ("this.py", False)]
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
