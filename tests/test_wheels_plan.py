"""What is built for whom: read from a project's files, the catalog and the options, without building anything."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import pytest
from support.command_line import bare_machine, ours
from support.mirrors import archive_name

from provision_backend.catalog.archive import Archive, parse_archive
from provision_backend.catalog.wanted import Lock
from provision_backend.cli.parser import make_parser
from provision_backend.cli.registry import find_command
from provision_backend.cli.wheels import prepare
from provision_backend.errors import NoMatchingArchiveError, ProjectError, UsageError
from provision_backend.output import Reporter
from provision_backend.project.unadopted import read_any_project
from provision_backend.settings import Settings
from provision_backend.versions import parse_request
from provision_backend.wheels.kind import Guess, guess_kind
from provision_backend.wheels.options import WheelOptions, read_options, read_table
from provision_backend.wheels.plan import (
    Python,
    WheelPlan,
    choose_pythons,
    make_plan,
    target_triples,
)

__all__ = ["bare_machine"]  # A fixture that every test here uses.

GNU, MUSL, ARM = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu"

Files = Mapping[str, str]


def _project(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _backend(backend: str, more: str = "") -> Dict[str, str]:
    return {"pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "{backend}"\n{more}'}


KINDS = {
    "flit": (_backend("flit_core.buildapi"), Guess("pure", "flit_core makes pure wheels")),
    "a setup.py without extensions": (
        {"setup.py": "from setuptools import setup\nsetup(name='a')\n"},
        Guess("pure", "setuptools is given no extension"),
    ),
    "a setup.py with one": (
        {"setup.py": "setup(ext_modules=[Extension('a', ['a.c'])])"},
        Guess("each", "setup.py has ext_modules"),
    ),
    "Cython": ({"setup.py": "setup(**cythonize('a.pyx'))"}, Guess("each", "setup.py has cythonize")),
    "extensions in pyproject.toml": (
        _backend("setuptools.build_meta", '[tool.setuptools]\next-modules = [{name = "a", sources = ["a.c"]}]\n'),
        Guess("each", "tool.setuptools.ext-modules has extensions"),
    ),
    "abi3 in setup.cfg": (
        {"setup.py": "setup(ext_modules=[])", "setup.cfg": "[bdist_wheel]\npy_limited_api = cp39\n"},
        Guess("abi3", "py_limited_api is cp39 in setup.cfg", (3, 9)),
    ),
    "abi3 in pyproject.toml": (
        _backend("setuptools.build_meta", '[tool.distutils.bdist_wheel]\npy-limited-api = "cp311"\n'),
        Guess("abi3", "py_limited_api is cp311 in pyproject.toml", (3, 11)),
    ),
    "abi3 in setup.py": (
        {"setup.py": "setup(options={'bdist_wheel': {'py_limited_api': 'cp310'}})"},
        Guess("abi3", "py_limited_api is cp310 in setup.py", (3, 10)),
    ),
    "abi3 that setup.py computes": (
        {"setup.py": "setup(options={'bdist_wheel': {'py_limited_api': tag()}})"},
        Guess("abi3", "setup.py sets py_limited_api of bdist_wheel"),
    ),
    "scikit-build-core": (
        _backend("scikit_build_core.build"),
        Guess("each", "scikit-build-core compiles for each Python"),
    ),
    "scikit-build-core, abi3": (
        _backend("scikit_build_core.build", '[tool.scikit-build]\nwheel.py-api = "cp312"\n'),
        Guess("abi3", "tool.scikit-build.wheel.py-api is cp312", (3, 12)),
    ),
    "scikit-build-core, programs": (
        _backend("scikit_build_core.build", '[tool.scikit-build]\nwheel.py-api = "py3"\n'),
        Guess("none", "tool.scikit-build.wheel.py-api is py3"),
    ),
    "meson-python, abi3": (
        {
            **_backend("mesonpy", "[tool.meson-python]\nlimited-api = true\n"),
            "meson.build": "py.extension_module('a', 'a.c', limited_api: '3.8')",
        },
        Guess("abi3", "tool.meson-python.limited-api is true", (3, 8), freethreaded=True),
    ),
    "maturin, abi3": (
        {
            **_backend("maturin"),
            "Cargo.toml": '[dependencies]\npyo3 = { version = "0.25", features = ["abi3-py38"] }',
        },
        Guess("abi3", "Cargo.toml has the feature abi3-py38", (3, 8)),
    ),
    "maturin, both stable ABIs": (
        {**_backend("maturin", '[tool.maturin]\nfeatures = ["pyo3/abi3-py310", "pyo3/abi3t-py315"]\n')},
        Guess("abi3", "Cargo.toml has the feature abi3-py310", (3, 10), freethreaded=True),
    ),
    "maturin, a program": (
        _backend("maturin", '[tool.maturin]\nbindings = "bin"\n'),
        Guess("none", "tool.maturin.bindings is bin"),
    ),
    "hatchling": (_backend("hatchling.build"), Guess("pure", "hatchling makes pure wheels")),
    "hatchling with mypyc": (
        _backend("hatchling.build", "[tool.hatch.build.targets.wheel.hooks.mypyc]\n"),
        Guess("each", "hatchling has the build hook 'mypyc'"),
    ),
    "hatchling with a hook that sets the tag": (
        {
            **_backend("hatchling.build", "[tool.hatch.build.hooks.custom]\n"),
            "hatch_build.py": "build_data['infer_tag'] = True",
        },
        Guess("each", "the build hook hatch_build.py sets the tag"),
    ),
    "hatchling with a harmless hook": (
        {**_backend("hatchling.build", "[tool.hatch.build.hooks.custom]\n"), "hatch_build.py": "print(1)"},
        Guess("pure", "hatchling makes pure wheels"),
    ),
    "Poetry with a script": (
        _backend("poetry.core.masonry.api", '[tool.poetry]\nname = "a"\nbuild = "build.py"\n'),
        Guess("each", "tool.poetry.build names a script"),
    ),
    "a backend of its own": (
        _backend("own", 'backend-path = ["."]\n'),
        Guess("each", "what own makes is not known before it is built"),
    ),
    "a backend of its own that calls another one": (
        {
            "pyproject.toml": '[build-system]\nrequires = ["scikit-build-core>=0.10"]\nbuild-backend = "own"\n'
            'backend-path = ["."]\n[tool.scikit-build]\nwheel.py-api = "py3"\n'
        },
        Guess("none", "tool.scikit-build.wheel.py-api is py3"),
    ),
    "a backend of its own that calls setuptools": (
        {"pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "own"\nbackend-path = ["."]\n'},
        Guess("each", "what own makes is not known before it is built"),
    ),
    "flit by itself": (
        _backend("flit_core.buildapi", 'backend-path = ["."]\n'),
        Guess("pure", "flit_core makes pure wheels"),
    ),
    "hatchling with a hook that is off": (
        _backend("hatchling.build", "[tool.hatch.build.hooks.mypyc]\nenable-by-default = false\n"),
        Guess("pure", "hatchling makes pure wheels"),
    ),
    "an unknown backend": (
        _backend("sipbuild.api"),
        Guess("each", "what sipbuild.api makes is not known before it is built"),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_is_read_from_the_files(tmp_path: Path, name: str) -> None:
    """What a project's wheels will be stands in its files, and the reason says in which."""
    files, expected = KINDS[name]
    root = _project(tmp_path / "project", files)

    assert guess_kind(read_any_project(root)) == expected


def test_the_option_comes_before_what_the_files_say(tmp_path: Path) -> None:
    """A person knows better than a look at the files."""
    root = _project(tmp_path / "project", _backend("flit_core.buildapi"))

    assert guess_kind(read_any_project(root), "each") == Guess("each", "abi = each")


def _archives(*labels: str, triple: str = GNU) -> List[Archive]:
    names = [archive_name(label.rstrip("t"), triple, freethreaded=label.endswith("t")) for label in labels]
    return [archive for name in names for archive in [parse_archive(name, "0" * 64)] if archive]


CATALOG = _archives(
    "3.8.20", "3.9.1", "3.9.25", "3.10.19", "3.11.14", "3.13.0", "3.13.9", "3.13.9t", "3.14.2", "3.14.2t", "3.15.0a2"
)


def _chosen(requires_python: str, *requests: str) -> List[str]:
    found = choose_pythons(CATALOG, requires_python, [parse_request(text) for text in requests], GNU)
    return [python.version + "t" * python.freethreaded for python in found]


def test_the_newest_of_each_minor_version_is_chosen() -> None:
    """What requires-python allows, without what was not asked for: free-threaded ones and pre-releases."""
    assert _chosen(">=3.9,<3.14") == ["3.9.25", "3.10.19", "3.11.14", "3.13.9"]
    assert _chosen("") == ["3.8.20", "3.9.25", "3.10.19", "3.11.14", "3.13.9", "3.14.2"]


def test_requests_are_added_up() -> None:
    """Each brings its own; a free-threaded Python and a pre-release only where they are named."""
    assert _chosen(">=3.9", ">=3.13", "3.9") == ["3.9.25", "3.13.9", "3.14.2"]
    assert _chosen(">=3.9", "3.13", "3.14t", ">=3.15.0a1") == ["3.13.9", "3.14.2t", "3.15.0a2"]
    assert _chosen(">=3.9", ">=3.13t") == ["3.13.9t", "3.14.2t"]
    assert _chosen(">=3.9", "3.13.0", "3.9") == ["3.9.25", "3.13.0"]


def test_a_request_that_nothing_satisfies_is_an_error() -> None:
    """One that was mistyped, or that the project does not support, is not left out silently."""
    with pytest.raises(NoMatchingArchiveError) as caught:
        _chosen(">=3.9", "3.13", "3.8")

    assert caught.value.message == f"no CPython archive satisfies requires-python '>=3.9' and python '3.8' on {GNU}"


def _pythons(*labels: str, triple: str = GNU) -> List[Python]:
    return [Python(each.minor, triple, each.version) for each in _archives(*labels, triple=triple)]


SEVERAL = _pythons("3.9.25", "3.11.14", "3.14.2", "3.14.2t", "3.15.1", "3.15.1t", "3.16.0t")


def _groups(plan: WheelPlan) -> Dict[str, str]:
    return {build.python: " ".join(test.python for test in build.tests) for build in plan.builds}


PLANS: Dict[str, Any] = {
    "each": (Guess("each", ""), "each", {p.python: p.python for p in SEVERAL}),
    "pure": (Guess("pure", ""), "pure", {"3.15": "3.15 3.9 3.11 3.14 3.14t 3.15t 3.16t"}),
    "none": (Guess("none", ""), "none", {"3.9": "3.9 3.11 3.14 3.14t 3.15 3.15t 3.16t"}),
    "abi3": (
        Guess("abi3", ""),
        "abi3",
        {"3.9": "3.9 3.11 3.14 3.15", "3.14t": "3.14t", "3.15t": "3.15t 3.16t"},
    ),
    "abi3 from a version on": (
        Guess("abi3", "", (3, 11)),
        "abi3",
        {"3.9": "3.9", "3.11": "3.11 3.14 3.15", "3.14t": "3.14t", "3.15t": "3.15t 3.16t"},
    ),
    "abi3 and abi3t": (
        Guess("abi3", "", (3, 15), freethreaded=True),
        "abi3",
        {"3.9": "3.9", "3.11": "3.11", "3.14": "3.14", "3.14t": "3.14t", "3.15t": "3.15t 3.15 3.16t"},
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_one_wheel_serves_as_many_as_it_can(name: str) -> None:
    """A pure wheel all; abi3 those from its version on, but no free-threaded one; abi3t these and the others."""
    guess, kind, expected = PLANS[name]
    plan = make_plan(None, guess, {GNU: SEVERAL})

    assert _groups(plan) == expected
    assert plan.kind == kind
    assert plan.pythons == tuple(python.python for python in SEVERAL)


def test_every_python_is_tested_exactly_once() -> None:
    """Whatever the kind, no Python is left out, and none is tested with two wheels."""
    for guess, _, _ in PLANS.values():
        plan = make_plan(None, guess, {GNU: SEVERAL, MUSL: [python._replace(triple=MUSL) for python in SEVERAL]})
        tested = [(test.triple, test.python) for build in plan.builds for test in build.tests]

        assert sorted(tested) == sorted((triple, python.python) for triple in (GNU, MUSL) for python in SEVERAL)


def test_a_wheel_of_abi3t_alone_gives_the_plan_its_name() -> None:
    """Where nothing below 3.15 is asked for, one build serves every Python (PEP 803)."""
    plan = make_plan(
        None, Guess("abi3", "", (3, 15), freethreaded=True), {GNU: _pythons("3.15.1", "3.15.1t", "3.16.0")}
    )

    assert _groups(plan) == {"3.15t": "3.15t 3.15 3.16"}
    assert plan.kind == "abi3t"


def test_the_newest_python_makes_the_sdist() -> None:
    """That of the host, and a free-threaded one only where there is no other."""
    plan = make_plan(None, Guess("each", ""), {GNU: SEVERAL, MUSL: _pythons("3.14.2t", triple=MUSL)})

    assert [plan.newest_on(triple) for triple in (GNU, MUSL, ARM)] == ["3.15.1", "3.14.2t", ""]


def test_each_platform_has_its_own_builds_but_for_a_pure_wheel() -> None:
    """A pure wheel is built on the host alone and tested for every platform."""
    pythons = {GNU: _pythons("3.9.25", "3.13.9"), MUSL: _pythons("3.13.9", triple=MUSL)}
    pure, each = (make_plan(None, Guess(kind, ""), pythons) for kind in ("pure", "each"))

    assert [(build.id, len(build.tests)) for build in pure.builds] == [(f"cp313-{GNU}", 3)]
    assert [build.id for build in each.builds] == [f"cp39-{GNU}", f"cp313-{GNU}", f"cp313-{MUSL}"]


def test_a_locked_project_is_built_by_the_locked_python() -> None:
    """Without a request nothing else is built; with one, the lock counts for its own Python."""
    lock, pythons = Lock(tuple(_archives("3.11.2"))), {GNU: _pythons("3.9.25", "3.11.14", "3.13.9")}
    each = make_plan(lock, Guess("each", ""), pythons)
    pure = make_plan(lock, Guess("pure", ""), pythons)
    asked = make_plan(lock, Guess("each", ""), pythons, asked=True)

    assert [build.request for build in each.builds] == ["3.11.2"]
    assert each.notes == (
        "the lock in pyproject.toml is for 3.11 only; --python asks for wheels that are built without it",
    )
    assert _groups(pure) == {"3.11": "3.11 3.9 3.13"}
    assert [(build.request, lock.is_for(build.request, build.triple)) for build in asked.builds] == [
        ("3.9.25", False), ("3.11.2", True), ("3.13.9", False),
    ]  # fmt: skip
    with pytest.raises(NoMatchingArchiveError, match="none of them is for"):
        make_plan(lock, Guess("each", ""), {MUSL: _pythons("3.11.14", triple=MUSL)})


def test_triples_are_made_of_libcs_and_architectures() -> None:
    """The host's own comes first; ARM has hard float only, and what does not exist is said."""
    assert target_triples(WheelOptions(), MUSL) == (MUSL,)
    assert target_triples(WheelOptions(libc=("musl", "glibc")), "x86_64_v3-unknown-linux-gnu") == (GNU, MUSL)
    assert target_triples(WheelOptions(arch=("aarch64", "x86_64")), GNU) == (GNU, ARM)
    assert target_triples(WheelOptions(libc=("musl",), arch=("armv7",)), GNU) == ("armv7-unknown-linux-musleabihf",)
    assert target_triples(WheelOptions(), "aarch64-apple-darwin") == ("aarch64-apple-darwin",)
    with pytest.raises(UsageError, match="for Linux"):
        target_triples(WheelOptions(libc=("musl",)), "x86_64-pc-windows-msvc")


def test_options_come_before_the_table() -> None:
    """A key that stands on the command line replaces that of the table; words may be separated by commas."""
    document = {
        "tool": {
            "provision-backend": {
                "wheels": {
                    "python": ">=3.10",
                    "libc": ["musl"],
                    "test-requires": ["pytest"],
                    "glibc": "2.17",
                    "jobs": 3,
                }
            }
        }
    }
    table = read_table(document)
    given = {"libc": ["glibc,musl"], "arch": ["arm64"], "python": None, "jobs": None}

    assert read_options(given, table) == WheelOptions(
        python=(">=3.10",), libc=("glibc", "musl"), arch=("aarch64",), test_requires=("pytest",), jobs=3
    )
    assert read_options({}, {}) == WheelOptions()


WRONG_TABLES = {
    "an unknown key": ({"pythons": []}, "pyproject.toml: unknown key 'pythons' in [tool.provision-backend.wheels]"),
    "a wrong type": (
        {"jobs": "2"},
        "pyproject.toml: tool.provision-backend.wheels.jobs must be an integer, found a string",
    ),
    "a truth for a number": (
        {"jobs": True},
        "pyproject.toml: tool.provision-backend.wheels.jobs must be a whole number, 0 or more, found True",
    ),
    "a wrong request": (
        {"python": "latest"},
        "pyproject.toml: tool.provision-backend.wheels.python must be a version or a version specifier, found 'latest'",
    ),
    "a libc by another name": (
        {"libc": "gnu"},
        "pyproject.toml: tool.provision-backend.wheels.libc must be one or more of glibc, musl, found 'gnu'",
    ),
    "an unknown ABI": (
        {"abi": "abi4"},
        "pyproject.toml: tool.provision-backend.wheels.abi must be one of none, abi3, each, found 'abi4'",
    ),
    "a requirement that is none": (
        {"test-requires": ["a b"]},
        "pyproject.toml: tool.provision-backend.wheels.test-requires: 'a b' is not a requirement",
    ),
}


@pytest.mark.parametrize("name", WRONG_TABLES)
def test_a_wrong_table_is_refused(name: str) -> None:
    """The message names the key, what is wanted and what was found."""
    table, message = WRONG_TABLES[name]
    with pytest.raises(ProjectError) as caught:
        read_options({}, read_table({"tool": {"provision-backend": {"wheels": table}}}))

    assert caught.value.message.startswith(message)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog of archives for two platforms."""
    names = [archive_name(version, triple) for triple in (GNU, MUSL) for version in ("3.9.25", "3.11.14", "3.13.9")]
    names.append(archive_name("3.14.2", GNU, freethreaded=True))
    file = tmp_path / "SHA256SUMS"
    file.write_text("".join(f"{number:064}  {name}\n" for number, name in enumerate(names)), encoding="utf-8")
    return file


def _plan(root: Path, catalog: Path, *arguments: str) -> Any:
    command: Sequence[str] = ("wheels", str(root), "--plan", "--target", GNU, "--catalog", str(catalog), *arguments)
    return ours(*command)


EXTENSION = {
    "setup.py": "from setuptools import Extension, setup\n"
    "setup(name='spam', version='1.2', python_requires='>=3.10', ext_modules=[Extension('spam', ['spam.c'])])\n"
}


def test_the_plan_is_printed_for_people(tmp_path: Path, catalog: Path) -> None:
    """One line a build, with what else its wheel is tested on; nothing is downloaded or made."""
    root = _project(tmp_path / "project", EXTENSION)
    done = _plan(root, catalog, "--python", ">=3.10", "--python", "3.14t")

    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "spam 1.2: one wheel a Python, since setup.py has Extension",
        f"cp311-{GNU}   CPython 3.11.14",
        f"cp313-{GNU}   CPython 3.13.9",
        f"cp314t-{GNU}  CPython 3.14.2t",
        "3 builds, 3 tests",
    ]
    assert [path.name for path in root.iterdir()] == ["setup.py"]


def test_a_plan_of_one_wheel_names_what_it_is_tested_on(tmp_path: Path, catalog: Path) -> None:
    """The Pythons that share the wheel stand behind the build, with their platform where there are several."""
    root = _project(tmp_path / "project", {"setup.py": "setup(name='ham', version='2')"})

    assert _plan(root, catalog).out.splitlines()[1:] == [
        f"cp313-{GNU}  CPython 3.13.9  tested on 3.9, 3.11, 3.13",
        "1 build, 3 tests",
    ]
    both = _plan(root, catalog, "--libc", "glibc,musl", "--python", "3.13")
    assert both.out.splitlines()[1].endswith("tested on 3.13 x86_64-gnu, 3.13 x86_64-musl")


def test_a_matrix_has_a_shard_for_each_build(tmp_path: Path, catalog: Path) -> None:
    """One line that a workflow can put into an output; each shard is that build."""
    root = _project(tmp_path / "project", EXTENSION)
    done = _plan(root, catalog, "--format", "github")

    assert done.out.count("\n") == 1
    rows = done.json["include"]
    assert [(row["id"], row["python"], row["arch"], row["shard"]) for row in rows] == [
        (f"cp311-{GNU}", "3.11.14", "x86_64", "1/2"), (f"cp313-{GNU}", "3.13.9", "x86_64", "2/2"),
    ]  # fmt: skip
    for row in rows:
        shard = _plan(root, catalog, "--json", "--shard", row["shard"]).json
        assert [build["id"] for build in shard["builds"]] == [row["id"]]


def test_the_table_of_a_project_that_has_not_adopted_us_is_read(tmp_path: Path, catalog: Path) -> None:
    """It has nothing but ``wheels`` in our table, and other commands still take it for one of any other backend."""
    wheels = '[tool.provision-backend.wheels]\npython = [">=3.11"]\nlibc = ["musl"]\nabi = "each"\n'
    root = _project(tmp_path / "project", _backend("flit_core.buildapi", f'[project]\nname = "a"\n{wheels}'))
    done = _plan(root, catalog, "--json")

    assert [build["id"] for build in done.json["builds"]] == [f"cp311-{MUSL}", f"cp313-{MUSL}"]
    listed = ours("list", ".", "--target", GNU, "--catalog", str(catalog), cwd=root)
    assert (listed.code, len(listed.out.splitlines())) == (0, 3)


def test_an_sdist_does_not_say_where_its_wheels_go(tmp_path: Path, catalog: Path) -> None:
    """The folder that a table names counts where its own folder is built, not for what came from elsewhere."""
    wheels = '[tool.provision-backend.wheels]\nout = "../elsewhere"\n'
    text = f'[project]\nname = "a"\nversion = "1"\n{wheels}'
    root = _project(tmp_path / "a-1", _backend("flit_core.buildapi", text))
    (root / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: a\nVersion: 1\n", encoding="ascii")
    sdist = tmp_path / "a-1.tar.gz"
    with tarfile.open(str(sdist), "w:gz") as packed:
        packed.add(str(root), root.name)
    command, _ = find_command(["wheels"])
    outs = []
    for source in (root, sdist):
        arguments = make_parser(command).parse_args([str(source), "--target", GNU, "--catalog", str(catalog)])
        work = tmp_path / "work" / source.name
        work.mkdir(parents=True)
        settings = Settings(target=GNU, catalog=str(catalog))
        outs.append(prepare(arguments, settings, Reporter(), work).options.out)

    assert outs == ["../elsewhere", "dist"]


MISUSES = {
    "a format without a plan": (["wheels", "--format", "github"], "--format is for --plan"),
    "a matrix of a shard": (
        ["wheels", "--plan", "--format", "github", "--shard", "1/2"],
        "--format prints a matrix of all shards, so it cannot be used with --shard",
    ),
    "no glibc": (["wheels", "--plan", "--glibc", "2"], "--glibc must be a version of glibc such as 2.17, found '2'"),
    "no root": (["wheels", "--plan", "--root", "nowhere"], "--root must name a folder, found 'nowhere'"),
    "no source": (["wheels", "--plan", ""], "SOURCE must name a folder, an sdist or a project, found ''"),
    "no job": (["wheels", "--plan", "--jobs", "0"], "--jobs must be 1 or more, found 0"),
    "an interpreter of the machine": (
        ["wheels", "--plan", "--target", GNU],
        "PROVISION_BACKEND_PYTHON names an interpreter of the machine, and wheels are made for versions",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_wrong_use_is_said_in_a_sentence(tmp_path: Path, name: str) -> None:
    """The exit code is 2, and standard output is empty."""
    arguments, message = MISUSES[name]
    root = _project(tmp_path / "project", EXTENSION)
    env = {"PROVISION_BACKEND_PYTHON": "/usr/bin/python3"} if "interpreter" in name else {}
    done = ours(*arguments, cwd=root, env=env)

    assert (done.code, done.out, done.err.splitlines()[0]) == (2, "", f"provision-backend: {message}")


def test_the_json_of_a_plan_is_the_documented_one(tmp_path: Path, catalog: Path) -> None:
    """The keys on the page are those of an answer."""
    root = _project(tmp_path / "project", EXTENSION)
    page = json.loads((Path(__file__).parent.parent / "scripts" / "docs_command_line.json").read_text(encoding="utf-8"))
    documented = page["wheels"][1]
    answer = _plan(root, catalog, "--json").json

    assert list(answer) == list(documented)
    assert list(answer["builds"][0]) == list(documented["builds"][0])
    assert list(answer["builds"][0]["tests"][0]) == list(documented["builds"][0]["tests"][0])
