"""Locked projects, one for each kind of real backend, and the machines that build them.

In: the projects of the matrix and a package index that changes. Out: `KINDS`, `locked_project`, which writes and locks
one of them, and `tools_of`, which reads from an SBOM what a build has used.
"""

from __future__ import annotations

__all__ = ["KINDS", "Site", "Tools", "another_machine", "locked_tools", "machine", "make_site", "tools_of", "unlocked"]

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List, NamedTuple

from packaging.utils import canonicalize_name
from support.changing_index import ChangingIndex, extra_wheels
from support.hosts import Outcome
from support.real_interpreters import Unavailable, locked

from provision_backend.project.pylock import PYLOCK
from provision_backend.settings import load_toml

from .backends import Backend, backend
from .workshop import Workshop

_TARGETS = ("--target", "x86_64-unknown-linux-gnu", "--target", "x86_64-unknown-linux-musl")

# The Alpine-like root has a compiler for C only.
_PYBIND11 = """cmake_minimum_required(VERSION 3.18...4.0)
project(sample LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
  find_package(pybind11 CONFIG REQUIRED)
  pybind11_add_module(_fast sample/_fast.cpp)
else()
  Python_add_library(_fast MODULE sample/_fast.c WITH_SOABI)
endif()
install(TARGETS _fast DESTINATION sample)
"""
_PYBIND11_MODULE = """#include <pybind11/pybind11.h>
PYBIND11_MODULE(_fast, module) { module.def("answer", [] { return 42; }); }
"""
# The versions are newer than what a machine is likely to have, so that they are asked for on each.
_PROGRAMS = '[tool.scikit-build]\ncmake.version = ">=4"\nninja.version = ">=1.13"\n'
# How each real backend is had to put the lock into its sdist; the others take all that git does not ignore.
_IN_SDIST = {
    "maturin": ("[tool.maturin]\n", f'[tool.maturin]\ninclude = [{{ path = "{PYLOCK}", format = "sdist" }}]\n'),
    "poetry-core": ("[tool.poetry]\n", f'[tool.poetry]\ninclude = [{{ path = "{PYLOCK}", format = "sdist" }}]\n'),
}


def _scikit_build_core() -> Backend:
    project = backend("scikit-build-core")
    text = project.files["pyproject.toml"].replace("[tool.scikit-build]\n", _PROGRAMS)
    text = text.replace('requires = ["scikit-build-core"]', 'requires = ["scikit-build-core", "pybind11"]')
    files = {**project.files, "CMakeLists.txt": _PYBIND11, "sample/_fast.cpp": _PYBIND11_MODULE, "pyproject.toml": text}
    return replace(project, files=files, requires=(*project.requires, "pybind11"))


def _lockable(project: Backend) -> Backend:
    """Return a project that says it is locked, and has its lock in its sdist."""
    files = dict(project.files)
    text = files["pyproject.toml"].replace("[tool.provision-backend]\n", '[tool.provision-backend]\nlock = "always"\n')
    text = text.replace(*_IN_SDIST.get(project.key, ("", "")))
    if project.key == "pdm-backend":
        text += f'\n[tool.pdm.build]\nsource-includes = ["{PYLOCK}"]\n'
    if project.key.startswith("setuptools"):
        files["MANIFEST.in"] = f"include {PYLOCK}\n"
    return replace(project, files={**files, "pyproject.toml": text})


KINDS: Dict[str, Backend] = {
    each.key: _lockable(each)
    for each in (
        *map(backend, ("hatch-vcs", "setuptools-cython", "meson-python", "maturin", "pdm-backend", "poetry-core")),
        _scikit_build_core(),
    )
}
"""The projects, by the names of their kinds, before they are locked."""


def unlocked(project: Backend) -> Backend:
    """Return the same project without a lock, whose builds take what the index has today."""
    text = project.files["pyproject.toml"].replace('lock = "always"\n', "")
    files = {name: content for name, content in project.files.items() if name != PYLOCK}
    return replace(project, files={**files, "pyproject.toml": text})


@dataclass(frozen=True)
class Site:
    """What all tests of locked projects share."""

    workshop: Workshop
    python: Path
    """Of the environment with ourselves that locks."""

    def index(self, folder: Path) -> ChangingIndex:
        """Return an index in a new folder, as it is when the projects are locked; not started."""
        return ChangingIndex(folder, [*self.workshop.wheels.glob("*.whl"), self.workshop.own_wheel, *extra_wheels()])

    def lock(self, index: ChangingIndex, source: Path, *arguments: str, **more: str) -> Outcome:
        """Run ``provision-backend lock`` in a source tree, with the packages of an index and further variables."""
        command = [str(self.python), "-m", "provision_backend", "lock", *arguments, str(source)]
        path = f"{self.workshop.tools / 'bin'}{os.pathsep}{self.workshop.environ()['PATH']}"
        return self.workshop.run(command, env=self.workshop.environ(PATH=path, **index.variables, **more))

    def locked(self, kind: str) -> Backend:
        """Return a project with its lock for glibc and musl, resolved by uv; by whichever process is first."""
        project, file = KINDS[kind], self.workshop.folder / "locked" / f"{kind}.toml"
        with locked(file.with_suffix(".lock")):
            if not file.exists():
                with TemporaryDirectory() as folder, self.index(Path(folder, "index")) as index:
                    source = self.workshop.source(project, Path(folder, "source"))
                    done = self.lock(index, source, *_TARGETS, PROVISION_BACKEND_INSTALLER="uv")
                    assert done.returncode == 0, done.output
                    file.write_text((source / PYLOCK).read_text(encoding="utf-8"), encoding="utf-8")
        return replace(project, files={**project.files, PYLOCK: file.read_text(encoding="utf-8")})


def make_site(workshop: Workshop, mirror: Path, folder: Path) -> Site:
    """Make the environment of the machine that locks.

    Args:
        workshop: of this run.
        mirror: a folder with the archives of the interpreters, and their SHA256SUMS.
        folder: for it; made by the caller.
    """
    here = workshop.having(PROVISION_BACKEND_MIRROR=str(mirror), PROVISION_BACKEND_CATALOG=str(mirror / "SHA256SUMS"))
    site = Site(here, folder / "env/bin/python")
    newest = workshop.host_of(workshop.host_versions()[-1]).path
    with site.index(folder / "index") as index:
        here.having(**index.variables).new_environment(newest, folder / "env", "provision-backend[provision,init]")
    return site


class Tools(NamedTuple):
    """What a build has used, as its SBOM says."""

    interpreter: str
    """Its version and the sha256 of its archive."""
    packages: Dict[str, str]
    """By their normalised names: version and sha256 of the file."""


def tools_of(folder: Path) -> Tools:
    """Read the one SBOM of a folder."""
    (path,) = folder.glob("*.cdx.json")
    components = json.loads(path.read_text(encoding="utf-8"))["components"]
    described = {each["name"]: f"{each['version']} {_sha256(each)}" for each in components}
    return Tools(described.pop("cpython"), described)


def _sha256(component: Dict[str, Any]) -> str:
    hashes = {each["alg"]: each["content"] for each in component.get("hashes", [])}
    return str(hashes.get("SHA-256", ""))


def locked_tools(text: str) -> Dict[str, List[str]]:
    """Return what a lock allows: by name, each file's version and sha256."""
    packages = load_toml(text)["packages"]
    return {
        canonicalize_name(each["name"]): [f"{each['version']} {wheel['hashes']['sha256']}" for wheel in each["wheels"]]
        for each in packages
    }


def machine(workshop: Workshop, folder: Path, **more: str) -> Workshop:
    """Return a workshop whose programs have folders of their own: home, caches, temporary files, SBOMs."""
    places = {name: folder / name for name in ("home", "tmp", "sbom", "cache", "uv-cache")}
    for name in ("home", "tmp", "sbom"):
        places[name].mkdir(parents=True)
    own = {
        "HOME": str(places["home"]),
        "TMPDIR": str(places["tmp"]),
        "XDG_CACHE_HOME": str(places["home"] / ".cache"),
        "UV_CACHE_DIR": str(places["uv-cache"]),
        # Assertions in Python.h would name the folder of the header, which is in the cache.
        "CFLAGS": "-g0 -DNDEBUG",
        # The compiler for Rust belongs to the machine, though it lies in the home of whoever runs the tests.
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME") or str(Path.home() / ".rustup"),
        "PROVISION_BACKEND_CACHE_DIR": str(places["cache"]),
        "PROVISION_BACKEND_SBOM": str(places["sbom"]),
    }
    return workshop.having(**{**own, **more})


def another_machine(workshop: Workshop, folder: Path, **more: str) -> Workshop:
    """Return what `machine` does, for another user with another umask, time zone and locale.

    Raises:
        Unavailable: the kernel gives no user namespaces.
    """
    here = machine(workshop, folder, TZ="Asia/Kolkata", LC_ALL="C", USER="builder", LOGNAME="builder", **more)
    # In its namespace the user is another one, who can still enter the folders of whoever runs the tests.
    under = ("unshare", "--user", "--map-user=4321", "--map-group=4321", "sh", "-c", 'umask 077; exec "$@"', "sh")
    try:
        subprocess.run([*under, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise Unavailable(f"another user cannot be had: {exc}") from None
    return here.having(*under)
