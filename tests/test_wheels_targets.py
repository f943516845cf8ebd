"""Targets that are not this host's: how their interpreters run here, and what a build for one that does not is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from support.cache_entries import ARCHIVE, KEY, build, names, provide

from provision_backend.cache.store import Cache
from provision_backend.cache.upkeep import list_entries, prune_cache
from provision_backend.host.targets import ELF_TARGETS
from provision_backend.output import Reporter
from provision_backend.settings import Settings, load_settings
from provision_backend.toolchain import Toolchain, running_triple
from provision_backend.wheels.cross import Cross, Target
from provision_backend.wheels.targets import HOST, how_to_run

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
