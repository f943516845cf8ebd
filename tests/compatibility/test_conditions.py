"""Builds under what goes wrong in practice: constraints, variables that leak, odd paths, wrappers of wrappers."""

from __future__ import annotations

import os
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest
from _pytest.mark import ParameterSet
from support.hosts import Outcome, make_project, only

from .backends import Backend, backend
from .direct import Reference, compare, installed_differences, members, reference
from .workshop import Workshop

pytestmark = pytest.mark.slow

OLD = pytest.mark.parametrize(
    "old", [pytest.param(True, id="provisioned"), pytest.param(False, id="pass-through", marks=pytest.mark.matrix)]
)


def in_matrix(name: str) -> ParameterSet:
    """Return a parameter that only the whole matrix has."""
    return pytest.param(name, marks=pytest.mark.matrix)


def by(*frontends: str) -> pytest.MarkDecorator:
    """Parametrize by frontends; the first is always run, the others with the whole matrix."""
    return pytest.mark.parametrize("frontend", [frontends[0], *map(in_matrix, frontends[1:])])


_STAMPED = '''"""A backend that writes its own version into the wheel."""

import os
import zipfile

VERSION = "{version}"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = "sample-1.0.dist-info/"
    files = {{
        "sample.py": "MADE_BY = %r\\n" % VERSION,
        info + "METADATA": "Metadata-Version: 2.1\\nName: sample\\nVersion: 1.0\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: stamped\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "RECORD": "",
    }}
    with zipfile.ZipFile(os.path.join(wheel_directory, "sample-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "sample-1.0-py3-none-any.whl"
'''


def build_with(workshop: Workshop, frontend: str, source: Path, out: Path, *, old: bool, **environ: str) -> Outcome:
    """Make a wheel of a project with one of the frontends."""
    host = workshop.host(old=old)
    python = str(host.python)
    commands: Dict[str, List[str]] = {
        "build": [python, "-m", "build", "--wheel", "--outdir", str(out), str(source)],
        "sdist+wheel": [python, "-m", "build", "--outdir", str(out), str(source)],
        "pip": [python, "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "-w", str(out), str(source)],
        "uv": [workshop.uv, "build", "--wheel", "--python", str(host.path), "--out-dir", str(out), str(source)],
    }
    if old:
        workshop.provisioned()
    return workshop.run(commands[frontend], cwd=source.parent, env=workshop.environ(**environ))


def wheel_of(done: Outcome, out: Path) -> Path:
    """Return the wheel of a build that must have succeeded."""
    assert done.returncode == 0, done.output
    return only(out, "*.whl")


def interpreter_for(workshop: Workshop, *, old: bool) -> Path:
    """Return the interpreter that the real backend runs under."""
    return workshop.provisioned() if old else workshop.host(old=old).path


def make_wheel(folder: Path, name: str, version: str, files: Dict[str, str]) -> Path:
    """Write a wheel by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    everything[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*everything, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(str(path), "w") as archive:
        for file, text in everything.items():
            archive.writestr(file, text)
    return path


@pytest.fixture
def stamped(workshop: Workshop, tmp_path: Path) -> Dict[str, str]:
    """Offer two versions of a backend, and return the variables that do."""
    offered = tmp_path / "offered"
    for version in ("1.0", "2.0"):
        make_wheel(offered, "stamped", version, {"stamped.py": _STAMPED.format(version=version)})
    return workshop.sources(f"{workshop.wheels} {workshop.own_wheel.parent} {offered}")


def stamped_project(folder: Path) -> Path:
    text = """[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"
[tool.provision-backend]
build-backend = "stamped"
requires = ["stamped"]
requires-python = ">=3.12"
"""
    return make_project(folder, {"pyproject.toml": text})


@OLD
@pytest.mark.parametrize(
    ("frontend", "variable"), [("pip", "PIP_BUILD_CONSTRAINT"), ("uv", "UV_BUILD_CONSTRAINT")], ids=["pip", "uv"]
)
def test_a_build_constraint_chooses_the_real_backend(
    workshop: Workshop, stamped: Dict[str, str], tmp_path: Path, frontend: str, variable: str, old: bool
) -> None:
    """The frontend's build constraints hold for what is installed under a provisioned interpreter too."""
    constraint = tmp_path / "constraints.txt"
    constraint.write_text("stamped==1.0\n")
    source = stamped_project(tmp_path / "source")

    free = build_with(workshop, frontend, source, tmp_path / "free", old=old, **stamped)
    bound = build_with(
        workshop, frontend, source, tmp_path / "bound", old=old, **{variable: str(constraint)}, **stamped
    )

    made = [zipfile.ZipFile(wheel_of(done, tmp_path / name)) for done, name in ((free, "free"), (bound, "bound"))]
    found = []
    for archive in made:
        with archive:
            found.append(archive.read("sample.py").decode())
    assert found == ["MADE_BY = '2.0'\n", "MADE_BY = '1.0'\n"]


@by("sdist+wheel", "pip", "uv")
@OLD
def test_a_folder_of_wheels_that_is_named_from_where_the_frontend_was_started(
    workshop: Workshop, tmp_path: Path, frontend: str, old: bool
) -> None:
    """A relative find-links means the same to what we install as to what the frontend installs."""
    (tmp_path / "here").mkdir()
    links = tmp_path / "here" / "wheels"
    shutil.copytree(str(workshop.wheels), str(links), ignore=lambda _folder, names: [n for n in names if "cmake" in n])
    shutil.copy(str(workshop.own_wheel), str(links))
    project = backend("hatchling")
    source = workshop.source(project, tmp_path / "here" / "source")

    done = build_with(workshop, frontend, source, tmp_path / "out", old=old, **workshop.sources("wheels"))

    wheel_of(done, tmp_path / "out")


@OLD
def test_a_build_without_network(workshop: Workshop, tmp_path: Path, old: bool) -> None:
    """With a warm cache and a folder of wheels nothing is asked of any network."""
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    project = backend("setuptools-c")
    source = workshop.source(project, tmp_path / "source")

    done = build_with(
        workshop, "build", source, tmp_path / "out", old=old, PROVISION_BACKEND_OFFLINE="1", no_proxy="", **proxies
    )

    compare(wheel_of(done, tmp_path / "out"), direct(workshop, project, old=old))


def direct(workshop: Workshop, project: Backend, *, old: bool) -> Reference:
    """Return the wheel that the real backend makes alone."""
    return reference(workshop, project, interpreter_for(workshop, old=old), "wheel")


@by("uv", "build", "pip")
@OLD
def test_variables_of_another_python_do_not_reach_the_real_backend(
    workshop: Workshop, tmp_path: Path, frontend: str, old: bool
) -> None:
    """What an outer frontend, a cross build or another environment has set changes neither name nor contents."""
    stray = make_project(tmp_path / "stray", {"setuptools/__init__.py": "raise SystemExit('stray module')"})
    leaks = {
        "_PYPROJECT_HOOKS_BUILD_BACKEND": "absent",
        "PEP517_BUILD_BACKEND": "absent",
        "PEP517_BACKEND_PATH": str(tmp_path),
        "VIRTUAL_ENV": str(tmp_path / "absent"),
        "CONDA_PREFIX": str(tmp_path / "absent"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    if old:
        # The host's own builds obey these, as they do without us.
        leaks.update({"SETUPTOOLS_EXT_SUFFIX": ".cpython-27.so", "PYTHONPATH": str(stray)})
    if frontend == "uv":
        # pyproject_hooks, which build and pip use, would itself be misled, without us too.
        leaks["_PYPROJECT_HOOKS_BACKEND_PATH"] = str(tmp_path)
        leaks["_PYPROJECT_HOOKS_BACKEND_PATH_JSON"] = f'["{tmp_path}"]'
    project = backend("setuptools-c")
    source = workshop.source(project, tmp_path / "source")

    done = build_with(workshop, frontend, source, tmp_path / "out", old=old, **leaks)

    compare(wheel_of(done, tmp_path / "out"), direct(workshop, project, old=old))


def test_what_misdirects_pip_does_not_misdirect_our_installation(workshop: Workshop, tmp_path: Path) -> None:
    """Variables that are meant for the user's own pip install leave our build environment alone."""
    elsewhere = tmp_path / "elsewhere"
    misdirections = {
        "PIP_TARGET": str(elsewhere),
        "PIP_PREFIX": str(elsewhere),
        "PIP_ROOT": str(elsewhere),
        "PIP_USER": "1",
        "PIP_DRY_RUN": "1",
        "PIP_REQUIRE_HASHES": "1",
        "PIP_NO_DEPS": "1",
        "PIP_CONSTRAINT": str(tmp_path / "absent.txt"),
        "PIP_PYTHON_VERSION": "3.8",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "_PIP_RUNNING_IN_SUBPROCESS": "1",
    }
    project = backend("setuptools-c")
    source = workshop.source(project, tmp_path / "source")

    done = build_with(
        workshop, "uv", source, tmp_path / "out", old=True, PROVISION_BACKEND_INSTALLER="pip", **misdirections
    )

    compare(wheel_of(done, tmp_path / "out"), direct(workshop, project, old=True))
    assert not elsewhere.exists()


def test_what_misdirects_uv_does_not_misdirect_our_installation(workshop: Workshop, tmp_path: Path) -> None:
    """Variables that are meant for the user's own project leave our build environment alone."""
    elsewhere = tmp_path / "elsewhere"
    misdirections = {
        "UV_TARGET": str(elsewhere),
        "UV_PREFIX": str(elsewhere),
        "UV_PYTHON": "3.8",
        "UV_SYSTEM_PYTHON": "1",
        "UV_OVERRIDE": str(tmp_path / "absent.txt"),
        "UV_REQUIRE_HASHES": "1",
        "UV_RESOLUTION": "lowest",
        "UV": workshop.uv,
    }
    project = backend("hatchling")
    source = workshop.source(project, tmp_path / "source")

    done = build_with(
        workshop, "build", source, tmp_path / "out", old=True, PROVISION_BACKEND_INSTALLER="uv", **misdirections
    )

    compare(wheel_of(done, tmp_path / "out"), direct(workshop, project, old=True))
    assert not elsewhere.exists()


_SHIM = '''"""A wrapper of the wrapper, in the source tree."""

from provision_backend import *
from provision_backend import __getattr__  # The hooks that a star import does not see.

CALLS = []
'''


@by("uv", "sdist+wheel", "pip")
@OLD
def test_a_wrapper_in_the_source_tree(workshop: Workshop, tmp_path: Path, frontend: str, old: bool) -> None:
    """A project may wrap us with a module of its own; the real backend is not looked for in that folder."""
    project = backend("poetry-core")
    source = shim(workshop, project, tmp_path / "source")

    done = build_with(workshop, frontend, source, tmp_path / "out", old=old)

    compare(wheel_of(done, tmp_path / "out"), direct(workshop, project, old=old))


def shim(workshop: Workshop, project: Backend, folder: Path) -> Path:
    source = workshop.source(project, folder)
    text = (source / "pyproject.toml").read_text().replace("packages = [", 'include = ["wrapper/*"]\npackages = [')
    wrapped = text.replace('"provision_backend"\n', '"shim"\nbackend-path = ["wrapper"]\n', 1)
    assert wrapped != text
    make_project(source, {"pyproject.toml": wrapped, "wrapper/shim.py": _SHIM})
    return source


@OLD
def test_an_editable_install_through_a_wrapper_in_the_source_tree(
    workshop: Workshop, tmp_path: Path, old: bool
) -> None:
    """The optional hooks are there for the wrapper too."""
    source = shim(workshop, backend("poetry-core"), tmp_path / "source")
    python = workshop.new_environment(workshop.host(old=old).path, tmp_path / "target", "pip")
    command = [str(python), "-m", "pip", "install", "--no-deps", "--ignore-requires-python", "-e", str(source)]

    done = workshop.run(command)

    assert done.returncode == 0, done.output
    assert workshop.check([str(python), "-c", "import sample; print(sample.__file__)"]).strip().startswith(str(source))


@by("uv", "build", "pip")
@OLD
def test_a_build_requirement_that_is_itself_built_by_us(
    workshop: Workshop, tmp_path: Path, frontend: str, old: bool
) -> None:
    """A requirement that there is only as an sdist of a wrapped project is built within the build."""
    offered = tmp_path / "offered"
    helper = workshop.source(backend("hatchling"), tmp_path / "helper")
    (helper / "sample" / "made.py").write_text(_STAMPED.format(version="nested"))
    command = [str(workshop.host(old=True).python), "-m", "build", "--sdist", "--outdir", str(offered), str(helper)]
    workshop.check(command)
    text = """[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"
[tool.provision-backend]
build-backend = "sample.made"
requires = ["sample==1.0"]
requires-python = ">=3.12"
"""
    source = make_project(tmp_path / "source", {"pyproject.toml": text})
    folders = workshop.sources(f"{workshop.wheels} {workshop.own_wheel.parent} {offered}")

    done = build_with(workshop, frontend, source, tmp_path / "out", old=old, **folders)

    with zipfile.ZipFile(str(wheel_of(done, tmp_path / "out"))) as archive:
        assert archive.read("sample.py") == b"MADE_BY = 'nested'\n"


@by("build", "pip", "uv")
@OLD
def test_a_project_that_is_a_build_requirement_of_itself(
    workshop: Workshop, tmp_path: Path, frontend: str, old: bool
) -> None:
    """A circle ends at once, with a message, and not with a storm of processes."""
    project = backend("minimal")
    offered = tmp_path / "offered"
    source = workshop.source(project, tmp_path / "source")
    text = (source / "pyproject.toml").read_text().replace("requires = []", 'requires = ["sample"]')
    (source / "pyproject.toml").write_text(text)
    packed = tmp_path / "packed"
    # The sdist is made by the real backend alone: through us it could not be made.
    workshop.check(
        [str(workshop.host(old=False).python), "-c", _PACK, str(packed)],
        cwd=source,
    )
    offered.mkdir()
    shutil.copy(str(only(packed, "*.tar.gz")), str(offered))
    folders = workshop.sources(f"{workshop.wheels} {workshop.own_wheel.parent} {offered}")
    before = time.monotonic()

    done = build_with(workshop, frontend, source, tmp_path / "out", old=old, **folders)

    assert done.returncode != 0
    said = re.sub(r"[\s<]+", " ", done.output)
    assert re.search("already being built|[Cc]yclic|has started itself|builds within builds", said), done.output
    assert time.monotonic() - before < 300


_PACK = "import os, sys; sys.path.insert(0, 'tools'); import toy; os.mkdir(sys.argv[1]); toy.build_sdist(sys.argv[1])"


@pytest.mark.parametrize("key", ["setuptools-c", *map(in_matrix, ("hatchling", "meson-python", "scikit-build-core"))])
@pytest.mark.parametrize("locale", ["C", in_matrix("C.UTF-8")])
@OLD
def test_paths_with_spaces_and_other_letters(
    workshop: Workshop, tmp_path: Path, key: str, locale: str, old: bool
) -> None:
    """Source, temporary files and results may be in folders of any name, in any locale."""
    project = backend(key)
    place = tmp_path / "sp ace ü日本"
    (place / "tmp").mkdir(parents=True)
    source = workshop.source(project, place / "source")
    more = {"TMPDIR": str(place / "tmp"), "LC_ALL": locale}

    done = build_with(workshop, "build", source, place / "out", old=old, **more)

    compare(wheel_of(done, place / "out"), direct(workshop, project, old=old))


def read_only_command(command: List[str]) -> List[str]:
    """Return the command that runs without the right of root to write where the mode forbids it."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("as root, a source tree is read-only only where there is setpriv")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner", *command]


@pytest.mark.parametrize(
    "key", ["hatchling", *map(in_matrix, ("flit-core", "uv-build", "in-tree", "scikit-build-core"))]
)
@OLD
def test_a_source_tree_that_is_read_only(workshop: Workshop, tmp_path: Path, key: str, old: bool) -> None:
    """We write nothing into the source tree, so a real backend that does not either builds there."""
    project = backend(key)
    source = workshop.source(project, tmp_path / "source")
    tree = [source, *source.rglob("*")]
    if old:
        workshop.provisioned()
    theirs = direct(workshop, project, old=old)
    for path in tree:
        path.chmod(0o555 if path.is_dir() else 0o444)
    out = tmp_path / "out"
    command = [str(workshop.host(old=old).python), "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    try:
        done = workshop.run(read_only_command(command))
    finally:
        for path in tree:
            path.chmod(0o755 if path.is_dir() else 0o644)

    assert members_of_names(wheel_of(done, out)) == members_of_names(theirs.first)
    assert sorted(path for path in source.rglob("*")) == sorted(tree[1:])


def members_of_names(wheel: Path) -> List[str]:
    return sorted(members(wheel))


@OLD
def test_the_epoch_of_the_frontend_reaches_the_real_backend(workshop: Workshop, tmp_path: Path, old: bool) -> None:
    """SOURCE_DATE_EPOCH is that of the build, whatever interpreter runs the real backend."""
    source = workshop.source(backend("flit-core"), tmp_path / "source")

    done = build_with(workshop, "build", source, tmp_path / "out", old=old, SOURCE_DATE_EPOCH="1500000000")

    with zipfile.ZipFile(str(wheel_of(done, tmp_path / "out"))) as archive:
        assert {info.date_time[:3] for info in archive.infolist()} == {(2017, 7, 14)}


def test_a_wheel_that_the_host_cannot_install_is_announced_in_one_line(workshop: Workshop, tmp_path: Path) -> None:
    """One line says which interpreter built the wheel, and its name says which tag it has."""
    source = workshop.source(backend("setuptools-c"), tmp_path / "source")

    done = build_with(workshop, "build", source, tmp_path / "out", old=True)

    wheel = wheel_of(done, tmp_path / "out")
    lines = [line for line in done.output.splitlines() if line.startswith("provision-backend:")]
    version = workshop.host(old=True).version
    assert "building with" in lines.pop(0)
    assert len(lines) == 1
    assert wheel.name in lines[0]
    assert f"Python {version} cannot install it" in lines[0]
    assert str(workshop.folder / "cache") in lines[0]


def test_pip_installs_under_an_old_host_what_is_pure(workshop: Workshop, tmp_path: Path) -> None:
    """A pure wheel that a provisioned interpreter has built is the one that the real backend makes."""
    project = backend("poetry-core")
    source = workshop.source(project, tmp_path / "source")
    python = workshop.new_environment(workshop.host(old=True).path, tmp_path / "target", "pip")
    workshop.provisioned()

    workshop.check([str(python), "-m", "pip", "install", "--no-deps", "--ignore-requires-python", str(source)])

    site = only(tmp_path / "target" / "lib", "python*") / "site-packages"
    assert installed_differences(site, direct(workshop, project, old=True)) == []


_TELLS_INSTALLER = """import pathlib

import flit_core
from flit_core.buildapi import *

found = pathlib.Path(flit_core.__file__).parent.parent.glob("flit_core-*.dist-info/INSTALLER")
print("flit_core was installed by", *[each.read_text().strip() for each in found], flush=True)
"""


@pytest.mark.parametrize("installer", ["uv", in_matrix("pip")])
def test_a_build_environment_is_filled_by_what_the_frontend_installs_with(
    workshop: Workshop, tmp_path: Path, installer: str
) -> None:
    """``build --installer=uv`` says so to nobody; its choice holds for the environment of the real backend too."""
    flit = backend("flit-core")
    project = {**flit.files, "tools/telling.py": _TELLS_INSTALLER}
    project["pyproject.toml"] = project["pyproject.toml"].replace(
        'build-backend = "flit_core.buildapi"', 'build-backend = "telling"\nbackend-path = ["tools"]'
    )
    source = make_project(tmp_path / "source", project)
    workshop.provisioned()
    command = [str(workshop.host(old=True).python), "-m", "build", "--wheel", f"--installer={installer}"]
    environ = workshop.environ(PATH=f"{workshop.tools / 'bin'}:{os.environ['PATH']}")

    done = workshop.run([*command, "--outdir", str(tmp_path / "out"), str(source)], env=environ)

    wheel_of(done, tmp_path / "out")
    assert f"flit_core was installed by {installer}\n" in done.output
