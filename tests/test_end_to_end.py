"""The main job, done for real: real frontends on real host interpreters, a real CPython, a real HTTP server."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest
from support.hosts import FrontendCache, only
from support.projects import c_extension, pure
from support.servers import ArchiveServer

pytestmark = pytest.mark.slow

_EPOCH = "1700000000"


@pytest.fixture(scope="module")
def server(mirror: Path) -> Iterator[ArchiveServer]:
    with ArchiveServer(root=mirror) as running:
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests of this module: the first build fills it."""
    return tmp_path_factory.mktemp("shared-cache") / "cache"


@pytest.fixture
def settings(server: ArchiveServer, mirror: Path, cache: Path) -> Dict[str, str]:
    return {
        "PROVISION_BACKEND_MIRROR": server.url,
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_PREFERENCE": "managed",
    }


def contents(wheel: Path) -> Dict[str, str]:
    with zipfile.ZipFile(str(wheel)) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_a_c_extension_is_built_under_a_provisioned_interpreter_and_imports_there(
    frontends: FrontendCache, settings: Dict[str, str], cache: Path, tmp_path: Path
) -> None:
    """An old host makes the sdist and a wheel for a newer ABI with its own compiler, and the wheel works."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    frontend = frontends.below("3.12", oldest=True)
    project = c_extension(tmp_path / "cext")

    outcome = frontend.build(project, env=settings)

    assert outcome.returncode == 0, outcome.output
    assert only(project / "dist", "*.tar.gz").name == "cext-1.0.tar.gz"
    wheel = only(project / "dist", "*.whl")
    python = only(cache / "interpreters", "*/bin/python3.??")
    tag = "cp" + "".join(python.name[len("python") :].split("."))
    assert f"-{tag}-{tag}-linux_" in wheel.name
    # An environment of its own would take as long as the build.
    site = tmp_path / "site"
    install = [str(python), "-IB", "-m", "pip", "install", "-q", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)
    code = f"import sys; sys.path.append({str(site)!r}); import cext; print(cext.answer(), cext.compiler())"
    answer, version = subprocess.check_output([str(python), "-I", "-c", code], universal_newlines=True).split(" ", 1)
    assert answer == "42"
    host_compiler = subprocess.check_output([compiler, "-dumpfullversion"], universal_newlines=True).strip()
    assert host_compiler in version


def test_a_second_build_and_another_project_make_no_request(
    frontends: FrontendCache, settings: Dict[str, str], server: ArchiveServer, tmp_path: Path
) -> None:
    """Once an interpreter is in the cache, no build of any project asks the archive server for anything."""
    frontend = frontends.below("3.12")
    first = pure(tmp_path / "first")
    outcome = frontend.build(first, "--wheel", env=settings)
    assert outcome.returncode == 0, outcome.output
    before = len(server.requests)
    assert before >= 1

    again = frontend.build_by_uv(first, env=settings)
    other = frontend.build(pure(tmp_path / "other", "hatchling.build", one_list=True), "--wheel", env=settings)

    assert (again.returncode, other.returncode) == (0, 0), again.output + other.output
    assert len(server.requests) == before
    # With a warm cache nothing of the extra is installed either.
    assert "certifi" not in other.output
    assert "pyelftools" not in other.output


def test_pip_wheel_builds_on_an_old_host_when_told_to(
    frontends: FrontendCache, settings: Dict[str, str], tmp_path: Path
) -> None:
    """Pip goes on where it is told to ignore requires-python, and the wheel is announced as not installable."""
    frontend = frontends.below("3.12", oldest=True)
    project = c_extension(tmp_path / "cext")

    outcome = frontend.pip(
        "wheel", "-v", "--no-deps", "--ignore-requires-python", "-w", str(tmp_path / "out"), str(project), env=settings
    )

    assert outcome.returncode == 0, outcome.output
    wheel = only(tmp_path / "out", "*.whl")
    assert f"provision-backend: {wheel.name} was built by " in outcome.output
    assert f"Python {frontend.version} cannot install it" in outcome.output


@pytest.fixture(scope="module")
def direct(frontends: FrontendCache, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dict[str, str]]:
    """Give the contents of the wheel that a real backend makes without us, which is made once."""

    @functools.lru_cache(maxsize=None)
    def build(backend: str) -> Dict[str, str]:
        project = pure(tmp_path_factory.mktemp("direct") / "pure", backend)
        unwrap(project / "pyproject.toml", backend)
        outcome = frontends.from_("3.12").build_by_uv(project, "--wheel", env={"SOURCE_DATE_EPOCH": _EPOCH})
        assert outcome.returncode == 0, outcome.output
        return contents(only(project / "dist", "*.whl"))

    return build


@pytest.mark.parametrize("form", ["table", "one list"])
@pytest.mark.parametrize("backend", ["flit_core.buildapi", "hatchling.build", "setuptools.build_meta"])
def test_passing_through_makes_the_wheel_of_the_real_backend_alone(
    frontends: FrontendCache, direct: Callable[[str], Dict[str, str]], tmp_path: Path, backend: str, form: str
) -> None:
    """Where the host satisfies the project, the files and their contents are those of a build without us."""
    environ = {"SOURCE_DATE_EPOCH": _EPOCH, "PROVISION_BACKEND_OFFLINE": "1"}
    project = pure(tmp_path / "pure", backend, one_list=form == "one list")

    outcome = frontends.from_("3.12").build_by_uv(project, "--wheel", env=environ)

    assert outcome.returncode == 0, outcome.output
    assert contents(only(project / "dist", "*.whl")) == direct(backend)
    assert "pyelftools" not in outcome.output


@pytest.mark.parametrize("backend", ["flit_core.buildapi", "hatchling.build", "setuptools.build_meta"])
def test_provisioning_makes_the_wheel_of_the_real_backend_alone(
    frontends: FrontendCache,
    direct: Callable[[str], Dict[str, str]],
    settings: Dict[str, str],
    tmp_path: Path,
    backend: str,
) -> None:
    """Two hooks in one process make the files that the same Python makes with one process for each."""
    project = pure(tmp_path / "pure", backend)

    outcome = frontends.below("3.12").build_by_uv(project, "--wheel", env={**settings, "SOURCE_DATE_EPOCH": _EPOCH})

    assert outcome.returncode == 0, outcome.output
    assert contents(only(project / "dist", "*.whl")) == direct(backend)


def unwrap(pyproject: Path, backend: str) -> None:
    """Make the project's real backend the one that the frontend sees."""
    text = pyproject.read_text()
    text = text.replace('build-backend = "provision_backend"', f'build-backend = "{backend}"')
    text = text.replace(
        'requires = ["provision-backend"]', 'requires = ["setuptools>=77", "hatchling>=1.27", "flit_core>=3.11"]'
    )
    pyproject.write_text(text)


def test_pip_install_passes_through(frontends: FrontendCache, tmp_path: Path) -> None:
    """``pip install`` on a satisfying host installs the project and none of what only provisioning needs."""
    frontend = frontends.from_("3.12")
    project = pure(tmp_path / "pure")
    target = tmp_path / "target"

    outcome = frontend.pip("install", "-v", "--no-deps", "--target", str(target), str(project))

    assert outcome.returncode == 0, outcome.output
    assert (target / "pure.py").exists()
    for package in ("certifi", "pyelftools"):
        assert package not in outcome.output


def test_an_editable_install_of_a_compiled_project_is_refused_under_another_abi(
    frontends: FrontendCache, settings: Dict[str, str], tmp_path: Path
) -> None:
    """An editable wheel is imported by the old interpreter, so one for another ABI must not be made."""
    frontend = frontends.below("3.12")
    project = c_extension(tmp_path / "cext")

    outcome = frontend.pip(
        "install",
        "--no-deps",
        "--ignore-requires-python",
        "--target",
        str(tmp_path / "t"),
        "-e",
        str(project),
        env=settings,
    )

    assert outcome.returncode != 0
    assert "the editable wheel has the tag cp3" in outcome.output
    assert "Traceback" not in outcome.output


def test_hooks_of_one_frontend_environment_share_one_build_environment(
    frontends: FrontendCache, settings: Dict[str, str], tmp_path: Path
) -> None:
    """Pip's metadata step and its build step install the real backend once."""
    frontend = frontends.below("3.12")
    project = pure(tmp_path / "pure", "hatchling.build")

    outcome = frontend.pip(
        "wheel",
        "-v",
        "--no-deps",
        "--ignore-requires-python",
        "-w",
        str(tmp_path / "out"),
        str(project),
        env={**settings, "PROVISION_BACKEND_VERBOSE": "1"},
    )

    assert outcome.returncode == 0, outcome.output
    assert outcome.output.count("installing the real backend's requirements") == 1


@pytest.mark.parametrize("minor", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_host_interpreter_builds_the_sample_project(
    frontends: FrontendCache, settings: Dict[str, str], tmp_path: Path, minor: str
) -> None:
    """Each CPython of this machine makes the sample project's wheel, by itself or by a provisioned interpreter."""
    sample = Path(__file__).parent.parent / "sample_project"
    project = tmp_path / "sample_project"
    shutil.copytree(str(sample), str(project), ignore=shutil.ignore_patterns("dist"))
    frontend = frontends.of(minor)

    # Between the oldest and the newest Python nothing else is known to differ for pip and for an sdist.
    if minor in ("3.8", "3.13", "3.14"):
        outcome = frontend.build(project, env=settings)
    else:
        outcome = frontend.build_by_uv(project, "--wheel", env=settings)

    assert outcome.returncode == 0, outcome.output
    with zipfile.ZipFile(str(only(project / "dist", "*.whl"))) as archive:
        built_by = archive.read("greeting/built_by.txt").decode().split()[-1]
    old = int(minor.split(".")[1]) < 12
    assert (built_by != frontend.version) == old
    assert tuple(map(int, built_by.split(".")[:2])) >= (3, 12)
