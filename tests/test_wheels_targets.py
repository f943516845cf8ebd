"""Targets that are not this host's: how their interpreters run here, and what a build for one that does not is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.alpine_host import offer
from support.cache_entries import ARCHIVE, KEY, build, names, provide
from support.foreign import foreign_mirror, foreign_root
from support.projects import c_extension
from support.real_interpreters import cache_folder, gnu_archive, musl_archive
from support.zig import installed_zig

from provision_backend.cache.store import Cache
from provision_backend.cache.upkeep import list_entries, prune_cache
from provision_backend.catalog.archive import parse_archive
from provision_backend.host.elf import read_elf
from provision_backend.host.targets import ELF_TARGETS
from provision_backend.output import Reporter
from provision_backend.settings import Settings, load_settings
from provision_backend.toolchain import Toolchain, running_triple
from provision_backend.wheels.cross import Cross, Target, open_target
from provision_backend.wheels.job import BUILD, TEST, Job, write_job
from provision_backend.wheels.plan import Python
from provision_backend.wheels.targets import HOST, how_to_run
from provision_backend.wheels.worker import worker_command

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="targets are those of Linux")
FOREIGN = "s390x-unknown-linux-gnu"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a run with a cache of its own."""
    return load_settings(None, environ={})._replace(cache_dir=str(tmp_path / "cache"))


class OnlyScripts:
    """A toolchain that adds one variable, in place of zig."""

    triple = FOREIGN
    requirements = ("ziglang",)

    def variables(self, *_: Any) -> Dict[str, str]:
        """Return the variables of a build."""
        return {"CC": "cc"}


@pytest.fixture
def cross(tmp_path: Path) -> Cross:
    """Return a build for another machine, of whose interpreter there is what compilers read."""
    tree, stdlib = tmp_path / "tree", tmp_path / "tree" / "lib" / f"python{MINOR}"
    (tree / "include" / f"python{MINOR}").mkdir(parents=True)
    (tree / "include" / f"python{MINOR}" / "Python.h").touch()
    stdlib.mkdir(parents=True)
    values = {"EXT_SUFFIX": ".cpython-s390x.so", "SOABI": "cpython-s390x", "INCLUDEPY": "/there"}
    (stdlib / "_sysconfigdata__linux_s390x-linux-gnu.py").write_text(f"build_time_vars = {values}\n")
    toolchain: Any = OnlyScripts()
    return Cross(toolchain, Target(tree, f"{MINOR}.99"), tmp_path / "files")


def _archives(root: str, minor: str) -> List[Path]:
    """Return the archive of a target's CPython, and that of this host's of the same minor version."""
    if not root:
        return [musl_archive(minor)]
    (own,) = [gnu_archive(minor)] if minor == "3.13" else foreign_mirror("amd64").glob("*.gz")
    (target,) = foreign_mirror(root, newer=minor == "3.13").glob("*.gz")
    return [target, own]


def _environ() -> Dict[str, str]:
    """Return the variables of a worker, whose zig keeps what it compiles of each libc with what the tests keep."""
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig-targets")}


def _ask(cross: Cross, folder: Path, code: str) -> Any:
    """Run code as a hook of a build would be run, and return the JSON that it prints."""
    environ = {**os.environ, **cross.variables(folder, [], {})}
    return json.loads(subprocess.check_output([sys.executable, "-c", code], env=environ, text=True))


@linux_only
def test_a_hook_is_told_about_the_target(cross: Cross, tmp_path: Path) -> None:
    """Names of modules, headers, the platform and the machine are those of the target, whoever asks for them."""
    code = "import json, os, platform, sysconfig as s; print(json.dumps([s.get_config_var('EXT_SUFFIX'), "
    code += "s.get_path('include'), s.get_paths()['platinclude'], s.get_platform(), os.uname().machine, "
    code += "platform.machine(), s.get_path('purelib')]))"
    suffix, include, platinclude, platform, *machines, purelib = _ask(cross, tmp_path, code)

    assert (suffix, platform, machines) == (".cpython-s390x.so", "linux-s390x", ["s390x", "s390x"])
    assert include == platinclude == str(tmp_path / "tree" / "include" / f"python{MINOR}")
    assert purelib.startswith(sys.prefix)


@linux_only
def test_another_python_that_a_hook_starts_answers_for_itself(cross: Cross, tmp_path: Path) -> None:
    """A program of another version, as an installed meson may be, is not taken for the build's interpreter."""
    other = cross._replace(target=cross.target._replace(version="3.1.4"))

    assert _ask(other, tmp_path, "import json, os; print(json.dumps(os.uname().machine))") == os.uname().machine


def test_cmake_and_meson_are_told_what_they_compile_for(cross: Cross, tmp_path: Path) -> None:
    """CMake by a variable, meson by an option, since it reads none; both know the order of bytes or the processor."""
    variables = cross.variables(tmp_path, [], {})
    (option,) = cross.config_settings("mesonpy")["setup-args"]

    assert "set(CMAKE_SYSTEM_PROCESSOR s390x)" in Path(variables["CMAKE_TOOLCHAIN_FILE"]).read_text()
    assert "endian = 'big'" in Path(option.partition("=")[2]).read_text()
    assert cross.config_settings("setuptools.build_meta") == {}


def test_a_target_in_the_cache_is_no_interpreter(tmp_path: Path) -> None:
    """A machine that could run its archive finds it not, and makes an interpreter beside it."""
    cache = Cache(tmp_path / "cache")

    def without_program(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        facts = build(staging, download, final)
        (facts["tree"] / "bin" / "python3.13").unlink()
        return {"tree": facts["tree"]}

    found = cache.provide_target(ARCHIVE, without_program, lock_timeout=5, reporter=Reporter(io.StringIO()))

    assert (found, cache.find_target(ARCHIVE)) == (cache.root / "targets" / f"target-{KEY}", found)
    assert (cache.lookup(ARCHIVE), cache.published()) == (None, [])
    provide(cache)
    assert [(entry.kind, entry.damaged) for entry in list_entries(cache)] == [("interpreter", False), ("target", False)]
    (found / "provision-backend.json").write_text("{}")
    prune_cache(cache)
    assert (names(cache, "targets"), names(cache, "interpreters")) == ([], [KEY])


@linux_only
def test_a_target_that_this_host_does_not_run_says_why(settings: Settings, tmp_path: Path) -> None:
    """The host's own runs; another architecture needs a root, and a folder without its loader is none."""
    host = how_to_run(running_triple(), settings)
    without, wrong = how_to_run(FOREIGN, settings), how_to_run(FOREIGN, settings, str(tmp_path))

    assert (host.how, without.how, wrong.how) == (HOST, "", "")
    loader = ELF_TARGETS[FOREIGN].loader
    assert without.reason == f"this host has no loader {loader} that starts, and no root was named"
    assert wrong.reason == f"{tmp_path} is no root for {FOREIGN}: its {loader} does not exist"


def test_a_toolchain_is_for_the_triple_that_it_was_made_for(cross: Cross) -> None:
    """The interpreter that runs the build is this host's, and must not change what is compiled for."""
    assert cross.for_triple("x86_64-unknown-linux-gnu") is cross
    assert Toolchain(FOREIGN).for_triple("x86_64-unknown-linux-gnu").triple == FOREIGN


COMPILE = """
import json, os, shlex, subprocess, sys, sysconfig
suffix = sysconfig.get_config_var("EXT_SUFFIX")
flags = shlex.split(sysconfig.get_config_var("CFLAGS")) + ["-fPIC", "-I" + sysconfig.get_path("include")]
subprocess.check_call([os.environ["CC"], *flags, "-c", "cext.c", "-o", "cext.o"])
subprocess.check_call([*shlex.split(os.environ["LDSHARED"]), "cext.o", "-o", "cext" + suffix])
print(json.dumps("cext" + suffix))
"""


@pytest.mark.slow
@linux_only
@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="the archive is of CPython 3.13")
@pytest.mark.parametrize(
    ("root", "libc"), [("arm64", "gnu"), pytest.param("arm64-musl", "musl", marks=pytest.mark.architectures)]
)
def test_an_extension_is_compiled_for_an_archive_that_is_never_run(
    settings: Settings, tmp_path: Path, root: str, libc: str
) -> None:
    """Zig makes it for the target's libc, with its headers and under its name, and no program of it stays."""
    mirror = str(foreign_mirror(root, newer=libc == "gnu"))
    triple, reporter = f"aarch64-unknown-linux-{libc}", Reporter(io.StringIO())
    target = open_target(triple, "3.13", settings._replace(catalog=mirror, mirror=(mirror,)), reporter)
    cross = Cross(Toolchain(triple), target, tmp_path / "files")
    environ = _environ()
    variables = cross.variables(tmp_path, [str(installed_zig())], environ)
    c_extension(tmp_path / "project", requires_python=">=3.8")
    command = [sys.executable, "-c", COMPILE]
    made = json.loads(
        subprocess.check_output(command, env={**environ, **variables}, cwd=str(tmp_path / "project"), text=True)
    )
    elf = read_elf(tmp_path / "project" / made)

    assert (made, elf.machine) == (f"cext.cpython-313-aarch64-linux-{libc}.so", 183)
    assert not list(target.tree.rglob("bin/*"))
    assert target.tree.parent.name == "targets"


@pytest.mark.slow
@pytest.mark.architectures
@linux_only
@pytest.mark.parametrize(
    ("triple", "root", "minor"),
    [
        ("aarch64-unknown-linux-gnu", "arm64", "3.11"),
        ("aarch64-unknown-linux-gnu", "arm64", "3.13"),
        ("x86_64-unknown-linux-musl", "", "3.13"),
    ],
    ids=["arm64-3.11", "arm64-3.13", "musl-3.13"],
)
def test_a_wheel_for_another_target_is_built_and_imported(triple: str, root: str, minor: str, tmp_path: Path) -> None:
    """One of setuptools, made on this host by zig: under qemu in a root of the target, or with the loader of musl."""
    where = str(foreign_root(root)) if root else ""
    runs = how_to_run(triple, load_settings(None, environ={}), where)
    if not runs.how:
        pytest.skip(runs.reason)
    folder = c_extension(tmp_path / "cext-1.0", requires_python=">=3.8")
    with tarfile.open(str(tmp_path / "cext-1.0.tar.gz"), "w:gz") as sdist:
        sdist.add(str(folder), folder.name)
    archives = _archives(root, minor)
    mirror = offer(tmp_path / "mirror", *archives)
    version = parse_archive(archives[0].name, "")
    assert version is not None
    settings = load_settings(None, environ={})._replace(
        catalog=str(mirror), mirror=(str(mirror),), cache_dir=str(tmp_path / "cache"), installer="pip", glibc="2.17"
    )

    def work(kind: str, wheel: Path) -> Any:
        inside = tmp_path / kind
        inside.mkdir()
        job = Job(kind, Python(minor, triple, version.version), str(inside), f"{folder}.tar.gz", 1700000000, settings)
        write_job(job._replace(wheel=str(wheel), runs=runs), inside / "job.json")
        subprocess.run(worker_command(inside / "job.json"), env=_environ(), cwd=str(inside), check=True)
        return json.loads((inside / "result.json").read_text())

    built = work(BUILD, tmp_path / "made.whl")
    assert "error" not in built, built
    platform = "musllinux_1_2_x86_64" if "musl" in triple else "manylinux2014_aarch64.manylinux_2_17_aarch64"
    tag = f"cp{minor.replace('.', '')}"
    assert built["wheel"] == f"cext-1.0-{tag}-{tag}-{platform}.whl"
    wheel = (tmp_path / "made.whl").rename(tmp_path / built["wheel"])
    assert "error" not in work(TEST, wheel)
