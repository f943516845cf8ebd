"""Real projects from the package index, wrapped by ``provision-backend init`` and built on an old host.

These tests need the package index. What they build under is a provisioned interpreter, on a host Python 3.9 (or the
oldest that there is); their wheels are those that the projects' own backends make of the untouched sdists.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict

import pytest
from support.hosts import clean_environ, only, run_checked
from support.real_interpreters import cache_folder, locked

from .backends import Backend
from .direct import Reference, compare, next_time_stamp, run_direct
from .workshop import Host, Workshop

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = [pytest.mark.slow, pytest.mark.matrix]


@dataclass(frozen=True)
class Release:
    """An sdist of the index."""

    name: str
    version: str
    way: str
    """Which backend it has, and how it uses it."""


RELEASES = (
    Release("attrs", "25.3.0", "hatchling with hatch-vcs and a metadata hook"),
    Release("idna", "3.10", "flit_core"),
    Release("tomlkit", "0.13.3", "poetry-core"),
    Release("pluggy", "1.6.0", "setuptools with setuptools-scm"),
    Release("markupsafe", "3.0.2", "setuptools with a C extension"),
    Release("frozenlist", "1.8.0", "an in-tree wrapper of setuptools that asks for Cython"),
    Release("findpython", "0.7.0", "pdm-backend with a version from the repository"),
    Release("pybind11", "3.0.1", "scikit-build-core with CMake"),
    Release("meson-python", "0.18.0", "meson-python built by itself, in the tree"),
    Release("hatchling", "1.27.0", "hatchling built by itself, in the tree, a backend with dynamic requirements"),
)


class OnlineWorkshop(Workshop):
    """A workshop whose installers may ask the package index that the user has configured."""

    def environ(self, **more: str) -> Dict[str, str]:
        """Return the variables of a frontend, with the user's own settings of pip and uv."""
        environ = super().environ()
        for name in ("PIP_NO_INDEX", "PIP_CONFIG_FILE", "UV_OFFLINE", "UV_NO_CONFIG"):
            environ.pop(name, None)
        mine = {name: value for name, value in clean_environ().items() if name.startswith(("PIP_", "UV_"))}
        links = f"{self.own_wheel.parent} {mine.get('PIP_FIND_LINKS', '')}".strip()
        return {**environ, **mine, "PIP_FIND_LINKS": links, "UV_FIND_LINKS": str(self.own_wheel.parent), **more}


@pytest.fixture(scope="module")
def online(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> OnlineWorkshop:
    folder = tmp_path_factory.mktemp("online")
    return OnlineWorkshop(workshop.folder, folder, workshop.own_wheel, workshop.mirror)


def sdist_of(release: Release, tools: Path) -> Path:
    """Return the sdist, downloaded once and kept in the test cache."""
    folder = cache_folder() / "sdists" / f"{release.name}-{release.version}"
    with locked(cache_folder() / "sdists.lock"):
        if not folder.is_dir():
            command = [str(tools / "bin" / "python"), "-I", "-m", "pip", "download", "-q", "--no-deps"]
            command += ["--no-binary", release.name, f"{release.name}=={release.version}"]
            try:
                run_checked([*command, "-d", f"{folder}.new"], clean_environ())
            except (AssertionError, subprocess.SubprocessError) as exc:
                pytest.skip(f"{release.name} could not be downloaded: {str(exc)[-300:]}")
            os.rename(f"{folder}.new", str(folder))
    return only(folder, "*.tar.gz")


def unpacked(workshop: Workshop, sdist: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    workshop.check(["tar", "--no-same-permissions", "-xf", str(sdist), "-C", str(folder)])
    return only(folder, "*")


def old_host(workshop: Workshop) -> Host:
    minors = [version.rpartition(".")[0] for version in workshop.host_versions()]
    return workshop.host_of("3.9") if "3.9" in minors else workshop.host(old=True)


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_the_wheel_of_a_wrapped_project_is_that_of_its_own_backend(
    online: OnlineWorkshop, tmp_path: Path, release: Release
) -> None:
    """``init`` wraps the sdist; what the old host then builds equals what the provisioned interpreter builds alone."""
    sdist = sdist_of(release, online.tools)
    python = online.provisioned()
    theirs = direct(online, release, sdist, tmp_path / "direct", python)
    host = old_host(online)
    source = unpacked(online, sdist, tmp_path / "wrapped")
    frontend = online.new_environment(host.path, tmp_path / "frontend", "pip", "build", "provision-backend", "tomlkit")
    wrap = [str(frontend), "-m", "provision_backend", "init", str(source)]
    if "requires-python" not in (source / "pyproject.toml").read_text():
        wrap += ["--requires-python", ">=3.9"]
    online.check(wrap)

    out = tmp_path / "out"
    environ = online.environ(PROVISION_BACKEND_PYTHON=">=3.12")
    done = online.run([str(frontend), "-m", "build", "--wheel", "--outdir", str(out), str(source)], env=environ)

    assert done.returncode == 0, done.output
    compare(only(out, "*.whl"), theirs)


def direct(workshop: Workshop, release: Release, sdist: Path, folder: Path, python: Path) -> Reference:
    """Build the untouched sdist twice with its own backend."""
    made = []
    for place in ("first", "second/longer"):
        source = unpacked(workshop, sdist, folder / place / "source")
        system = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
        backend = Backend(
            f"sdist-{release.name}",
            release.way,
            system["build-backend"],
            tuple(system["requires"]),
            {},
            backend_path=tuple(system.get("backend-path", ())),
        )
        out = run_direct(workshop, backend, source, folder / place, hook="build_wheel", python=python)
        made.append(only(out, "*.whl"))
        next_time_stamp()
    return Reference(*made)
