"""Every extra can be installed by an old pip and under the oldest Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.hosts import clean_environ, run_checked
from support.real_interpreters import host_interpreters, oldest_host

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: Dict[str, List[str]] = PROJECT["optional-dependencies"]
# Debian 11's. It copies the folder that it installs from, and its resolver takes no extra that names the project.
OLD_PIP = "20.3.4"


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_no_extra_names_the_project_itself(extra: str) -> None:
    """An old pip that installs from a path ends with an error over such a requirement."""
    names = {canonicalize_name(Requirement(text).name) for text in EXTRAS[extra]}

    assert canonicalize_name(PROJECT["name"]) not in names


@pytest.mark.parametrize("extra", ["pack", "wheels"])
def test_some_extras_hold_all_that_provisioning_needs(extra: str) -> None:
    """The list is written again: `pack` reads ELF files and tests what it has packed, and `wheels` provisions."""
    assert set(EXTRAS["provision"]) <= set(EXTRAS[extra])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what an installation needs of the checkout: an old pip copies all of the folder."""
    copy = tmp_path_factory.mktemp("checkout") / "provision_backend"
    copy.mkdir()
    shutil.copytree(
        str(ROOT / "provision_backend"), str(copy / "provision_backend"), ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(copy))
    return copy


def need_index(pip: List[str], folder: Path) -> None:
    """Skip where no package can be fetched."""
    fetch = [*pip, "download", "-q", "--no-deps", "--retries", "0", "-d", str(folder), "packaging"]
    done = subprocess.run(fetch, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_environ(), text=True)
    if done.returncode != 0:
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")


@pytest.mark.slow
def test_an_old_pip_installs_every_extra_from_a_path(checkout: Path, tmp_path: Path) -> None:
    """All extras at once, from the folder of the checkout, by the pip of Debian 11; then we run."""
    hosts = [host for host in host_interpreters() if host.version.startswith("3.9.") and host.has_venv and host.has_ssl]
    if not hosts:
        pytest.skip("no CPython 3.9, the Python of Debian 11, with venv and ssl is installed")
    run_checked([str(hosts[0].path), "-I", "-m", "venv", str(tmp_path / "env")], clean_environ())
    python = str(tmp_path / "env" / "bin" / "python")
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check"]
    need_index(pip, tmp_path)
    run_checked([*pip, "install", "-q", f"pip=={OLD_PIP}"], clean_environ())

    run_checked([*pip, "install", "-q", f"{checkout}[{','.join(EXTRAS)}]"], clean_environ())

    assert run_checked([python, "-I", "-m", "pip", "check"], clean_environ()).strip() == "No broken requirements found."
    assert PROJECT["version"] in run_checked([python, "-I", "-m", "provision_backend", "--version"], clean_environ())


@pytest.mark.slow
def test_the_oldest_python_resolves_every_extra(checkout: Path, tmp_path: Path) -> None:
    """A host of the oldest Python that we support has a release of everything that we name."""
    host = oldest_host()
    run_checked([str(host.path), "-I", "-m", "venv", str(tmp_path / "env")], clean_environ())
    pip = [str(tmp_path / "env" / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
    need_index(pip, tmp_path)

    # What is found for all extras together is one for each of them.
    run_checked([*pip, "install", "-q", f"{checkout}[{','.join(EXTRAS)}]"], clean_environ())

    assert run_checked([*pip, "check"], clean_environ()).strip() == "No broken requirements found."
