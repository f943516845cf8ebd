"""Alpine for real: frontends on a musl machine build under a provisioned musl CPython that loads native modules.

The machine is the root of `support.alpine_host`: musl, busybox, CPython 3.11, no glibc and no compiler. The
tests share one cache there; the pure project fills it, and then the mirror is taken away.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple

import pytest
from elftools.elf.elffile import ELFFile
from support.alpine import AlpineRoot, host_glibc
from support.alpine_host import MIRROR, WHEELS, AlpineHost, offer
from support.projects import c_extension, pure
from support.real_interpreters import musl_archive, standalone_archive
from support.systems_table import recorded

pytestmark = pytest.mark.slow

CACHE = "/build/cache"
LOADER = "/lib/ld-musl-x86_64.so.1"
TRIPLE = "x86_64-unknown-linux-musl"
REQUEST = ">=3.13"


class Built(NamedTuple):
    """What a build in the root left."""

    files: Dict[str, str]
    """Kind (``sdist``, ``wheel``) → path as seen from inside."""
    output: str


@pytest.fixture(scope="module")
def host(alpine: AlpineHost) -> AlpineHost:
    return alpine


@pytest.fixture(scope="module")
def first(host: AlpineHost) -> Built:
    """Build a project with an empty cache and a mirror; nothing can be downloaded any more afterwards."""
    archive = musl_archive("3.13")
    offer(host.inside(MIRROR), archive)
    pure(host.inside("/build/first"), requires_python=REQUEST)
    built = build(host, "/build/first", host.settings(CACHE))
    for path in host.inside(MIRROR).glob("*.tar.gz"):
        path.unlink()
    return built


@pytest.fixture(scope="module")
def provisioned(host: AlpineHost, first: Built) -> Dict[str, Any]:
    """What the command line says of the interpreter that the first build left in the cache."""
    answer: Dict[str, Any] = json.loads(host.ours("find", REQUEST, "--json", env=host.settings(CACHE)).stdout)
    return answer


@pytest.fixture(scope="module")
def extension(host: AlpineHost, first: Built) -> Built:
    """Build a project with a C extension; the interpreter comes from the cache."""
    zig = host.add_zig()
    c_extension(host.inside("/build/cext"), requires_python=REQUEST)
    settings = {**host.settings(CACHE), "PROVISION_BACKEND_TOOLCHAIN": "zig", **zig}
    return build(host, "/build/cext", settings, "--wheel")


@pytest.fixture(scope="module")
def venv(host: AlpineHost, provisioned: Mapping[str, Any]) -> str:
    """Path of the Python of a virtual environment of the provisioned interpreter, with its own pip."""
    host.run([provisioned["executable"], "-m", "venv", "/build/venv"])
    return "/build/venv/bin/python"


def build(host: AlpineHost, project: str, settings: Mapping[str, str], *arguments: str) -> Built:
    done = host.build(project, *arguments, env=settings)
    dist = host.inside(project) / "dist"
    kinds = {"sdist" if path.name.endswith(".tar.gz") else "wheel": path.name for path in dist.iterdir()}
    files = {kind: f"{project}/dist/{name}" for kind, name in kinds.items()}
    return Built(files, done.stdout + done.stderr)


def outside(*arguments: str, environ: Mapping[str, str]) -> Dict[str, Any]:
    """Run our command line on this machine, from the checkout."""
    checkout = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "provision_backend", *arguments, "--json"],
        env={**os.environ, "PYTHONPATH": checkout, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: Dict[str, Any] = json.loads(done.stdout)
    return answer


def loader_of(path: Path) -> str:
    """Return PT_INTERP of an executable, without our own reader of ELF files."""
    with path.open("rb") as file:
        # pyelftools' type hints know the base class of segments only.
        segment: Any = next(ELFFile(file).iter_segments("PT_INTERP"))
        return str(segment.get_interp_name())


@recorded(TRIPLE, "detect", how="run")
def test_detect_says_musl_and_its_version_and_why(host: AlpineHost) -> None:
    """Inside, the platform and the version of its libc are read from the host interpreter and its loader."""
    found = json.loads(host.ours("detect", "--json").stdout)

    assert (found["triple"], found["libc"], found["libc_version"], found["problem"]) == (TRIPLE, "musl", "1.2.5", None)
    assert {(item["path"], item["finding"]) for item in found["evidence"]} >= {
        ("/usr/local/bin/python3.11", f"is for x86_64 and names the loader '{LOADER}'"),
        (LOADER, "is musl 1.2.5"),
    }


def test_detect_from_outside_says_the_same(host: AlpineHost) -> None:
    """The machine with glibc reads the root as the root reads itself, though from other evidence."""
    inside = json.loads(host.ours("detect", "--json").stdout)

    found = outside("detect", "--root", str(host.root.path), environ={})

    facts = ("triple", "libc", "libc_version", "architecture", "loader", "problem")
    assert {name: found[name] for name in facts} == {name: inside[name] for name in facts}
    assert found["evidence"]


@recorded(TRIPLE, "pure", "frontend-build", how="run")
def test_a_pure_project_is_built_under_a_provisioned_interpreter(host: AlpineHost, first: Built) -> None:
    """CPython 3.11 for musl makes sdist and wheel of a project that needs 3.13, and says what it downloads."""
    name = musl_archive("3.13").name

    assert first.files == {
        "sdist": "/build/first/dist/pure-1.0.tar.gz",
        "wheel": "/build/first/dist/pure-1.0-py3-none-any.whl",
    }
    assert host.run(["/build/env/bin/python", "-c", "import sys; print(sys.version_info[:2])"]).stdout == "(3, 11)\n"
    assert first.output.count(f"provision-backend: downloading {name}: done") == 1


@recorded(TRIPLE, "install", how="run")
def test_the_provisioned_interpreter_is_for_musl(host: AlpineHost, provisioned: Mapping[str, Any]) -> None:
    """What is in the cache names musl in its key, and its executable asks for musl's loader."""
    executable = provisioned["executable"]

    assert provisioned["triple"] == TRIPLE
    assert executable.startswith(f"{CACHE}/interpreters/cpython-3.13.")
    assert loader_of(host.inside(executable)) == LOADER
    code = "import sysconfig; print(sysconfig.get_config_var('SOABI'))"
    assert host.run([executable, "-c", code]).stdout == "cpython-313-x86_64-linux-musl\n"


def test_the_second_project_is_built_from_the_cache(host: AlpineHost, first: Built) -> None:
    """With nothing to download from, another project is built, and what only downloading needs is not installed."""
    pure(host.inside("/build/second"), "hatchling.build", requires_python=REQUEST, one_list=True)

    second = build(host, "/build/second", {**host.settings(CACHE), "PROVISION_BACKEND_OFFLINE": "1"})

    assert set(second.files) == {"sdist", "wheel"}
    assert list(host.inside(MIRROR).iterdir()) == [host.inside(f"{MIRROR}/SHA256SUMS")]
    assert "downloading" not in second.output
    assert "pyelftools" in first.output
    assert "pyelftools" not in second.output


def test_a_c_extension_is_built_with_zig(host: AlpineHost, extension: Built) -> None:
    """Where there is no compiler the setting brings one; the wheel is named for this machine, its module for musl."""
    wheel = extension.files["wheel"]
    unpacked = host.inside("/build/cext-unpacked")
    shutil.unpack_archive(str(host.inside(wheel)), str(unpacked), "zip")

    # setuptools names wheels for the machine; auditwheel would make musllinux of it, and pip takes both.
    assert wheel == "/build/cext/dist/cext-1.0-cp313-cp313-linux_x86_64.whl"
    assert [path.name for path in unpacked.glob("*.so")] == ["cext.cpython-313-x86_64-linux-musl.so"]
    assert "downloading" not in extension.output
    assert "Python 3.11.2 cannot install it" in extension.output


@recorded(TRIPLE, "extension", how="run")
def test_the_provisioned_interpreter_loads_the_extension(host: AlpineHost, extension: Built, venv: str) -> None:
    """Pip installs the wheel into an environment of the provisioned interpreter, and zig's code runs there."""
    host.run([venv, "-m", "pip", "install", "-q", extension.files["wheel"]])

    code = "import cext; print(cext.answer()); print(cext.compiler())"
    answer, compiler = host.run([venv, "-c", code]).stdout.splitlines()

    assert answer == "42"
    assert "Clang" in compiler


def test_the_provisioned_interpreter_loads_a_musllinux_wheel(host: AlpineHost, venv: str) -> None:
    """Pip takes a musllinux wheel from the package index, and its extension module is the one that works."""
    wheels = [path.name for path in host.inside(WHEELS).glob("markupsafe-*")]
    assert len(wheels) == 1
    assert "-cp313-cp313-musllinux_1_2_x86_64" in wheels[0]
    host.run([venv, "-m", "pip", "install", "-q", "--only-binary", ":all:", "markupsafe"])

    code = "import markupsafe, markupsafe._speedups as native; print(native.__file__, markupsafe.escape('<'))"
    file, escaped = host.run([venv, "-c", code]).stdout.split()

    assert file.endswith("/markupsafe/_speedups.cpython-313-x86_64-linux-musl.so")
    assert escaped == "&lt;"


@pytest.fixture(scope="module")
def both() -> list[Path]:
    """Archives of CPython 3.12 or later for glibc and for musl, for one catalog."""
    return [standalone_archive("3.12"), musl_archive("3.13")]


def test_musl_is_provisioned_beside_a_loader_of_glibc(host: AlpineHost, both: list[Path], own_wheel: Path) -> None:
    """A loader of glibc in the root, as gcompat puts there, does not make it a machine with glibc."""
    loader = host.root.add_glibc_loader()
    mirror = "/build/both"
    offer(host.inside(mirror), *both)

    detected = json.loads(host.ours("detect", "--json").stdout)
    seen = outside("detect", "--root", str(host.root.path), environ={})
    settings = host.settings("/build/beside-glibc", mirror)
    installed = json.loads(host.ours("install", ">=3.12", "--json", env=settings).stdout)

    assert host.inside(str(loader)).exists()
    assert (detected["triple"], seen["triple"]) == (TRIPLE, TRIPLE)
    assert installed["triple"] == TRIPLE
    assert loader_of(host.inside(installed["executable"])) == LOADER


def test_gnu_is_provisioned_beside_a_loader_of_musl(both: list[Path], tmp_path: Path) -> None:
    """The package musl on a machine with glibc does not make it Alpine; the catalog has archives of both."""
    if not Path(LOADER).exists():
        pytest.skip(f"the package musl is not installed: there is no {LOADER}")
    host_glibc()
    mirror = offer(tmp_path / "mirror", *both)
    environ = {
        "PROVISION_BACKEND_CACHE_DIR": str(tmp_path / "cache"),
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
    }

    detected = outside("detect", environ=environ)
    installed = outside("install", ">=3.12", environ=environ)

    assert (detected["libc"], installed["triple"]) == ("gnu", detected["triple"])
    assert detected["triple"].endswith("-linux-gnu")
    assert "ld-linux" in loader_of(Path(installed["executable"]))
    assert sorted(path.name for path in (tmp_path / "cache" / "interpreters").iterdir()) == [installed["key"]]


def test_the_root_of_all_tests_stays_as_it_was(first: Built) -> None:
    """Builds write into the copy of the root only."""
    shared = AlpineRoot.shared()

    assert list(shared.inside("/build").iterdir()) == []
    assert not shared.inside(MIRROR).exists()
