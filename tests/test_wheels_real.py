"""Projects of others, from the package index: their wheels are compared with those that they publish.

None of them knows of us. What is published was made by cibuildwheel, in the images of manylinux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Set

import pytest
from packaging.utils import parse_wheel_filename
from support.command_line import variables
from support.host_interpreters import usable_hosts
from support.hosts import find_uv

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the tags of Linux are compared"),
    pytest.mark.skipif(sys.version_info < (3, 10), reason="auditwheel needs Python 3.10"),
]

PROJECTS = {
    "setuptools, C": "xxhash==4.1.0",
    "setuptools, Cython, C++": "cymem==2.0.16",
    "cffi, stable ABI, without pyproject.toml": "brotlicffi==1.2.1.0",
    "cffi, stable ABI, scikit-build-core": "argon2-cffi-bindings==26.2.0",
    "pybind11, scikit-build-core": "xatlas==0.0.11",
    "meson-python": "pywavelets==1.6.0",
    "flit_core, pure": "typing-extensions==4.15.0",
    "setuptools, pure": "tabulate==0.10.0",
    "hatchling, pure": "humanize==4.17.0",
}
"""Real projects by what builds them; those that compile take a minute or more."""


@pytest.mark.slow
def test_a_real_extension_is_like_its_published_wheel(tmp_path: Path) -> None:
    """Given only a name, it makes a portable wheel that has the files of the published one and passes the tests."""
    minor = _minors()[-1]
    published = _published("lru-dict==1.4.1", minor, tmp_path / "published")
    test = ["--test", "python -m pytest -q {project}/test", "--test-requires", "pytest"]

    answer = _wheels("lru-dict==1.4.1", [minor], tmp_path, *test)

    (build,) = answer["builds"]
    made = tmp_path / "dist" / build["wheel"]
    assert [(each["python"], each["passed"]) for each in build["tests"]] == [(minor, True)]
    assert all(platform.startswith("manylinux") for platform in _platforms(made))
    assert _files(made) == _files(published)


@pytest.mark.slow
@pytest.mark.matrix
@pytest.mark.parametrize("requirement", PROJECTS.values(), ids=PROJECTS)
def test_real_projects_have_wheels_for_every_python(requirement: str, tmp_path: Path) -> None:
    """Every Python that the project supports gets a wheel for glibc 2.17, or shares one, and each passes its test."""
    answer = _wheels(requirement, [], tmp_path, "--glibc", "2.17")

    wheels = [build["wheel"] for build in answer["builds"] if build["wheel"]]
    tested = [each for build in answer["builds"] for each in build["tests"]]
    supported = {each for build in answer["plan"]["builds"] for each in (t["python"] for t in build["tests"])}
    assert {each["python"] for each in tested if each["passed"]} == supported
    assert supported
    assert all("manylinux_2_17" in name or name.endswith("-none-any.whl") for name in wheels)


def _minors() -> List[str]:
    """Return the minor versions of the interpreters of this machine that projects still support, lowest first."""
    minors = list(dict.fromkeys(".".join(host.version.split(".")[:2]) for host in usable_hosts()))
    supported = [minor for minor in minors if int(minor.split(".")[1]) >= 9]
    if not supported:
        pytest.skip("a CPython 3.9 or later is needed")
    return supported


def _wheels(source: str, pythons: List[str], folder: Path, *arguments: str) -> Dict[str, Any]:
    command = [sys.executable, "-m", "provision_backend", "wheels", source, "--json", "--keep-going"]
    command += ["--preference", "only-system", "--out", str(folder / "dist"), *arguments]
    command += [word for python in pythons for word in ("--python", python)]
    uv, more = find_uv(), {"TMPDIR": str(folder)}
    if uv is not None:
        more["PATH"] = f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env=variables(more), cwd=str(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: Dict[str, Any] = json.loads(done.stdout)
    return answer


def _published(requirement: str, minor: str, folder: Path) -> Path:
    """Download the wheel that a project publishes for a Python on this machine."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", minor, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.iterdir()
    return wheel


def _platforms(wheel: Path) -> Set[str]:
    return {tag.platform for tag in parse_wheel_filename(wheel.name)[3]}


def _files(wheel: Path) -> Set[str]:
    """Return the names of the files in a wheel; some tools write its folders, too."""
    with zipfile.ZipFile(str(wheel)) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}
