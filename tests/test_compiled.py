"""A new interpreter is compiled once, by the build that has provisioned it, and not by each one that waited."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Dict, List, Set

import pytest
from support.hosts import FrontendCache
from support.projects import pure
from support.real_interpreters import HostInterpreter, usable_hosts

from provision_backend.install import compiled
from provision_backend.install.compiled import compile_modules
from provision_backend.install.unpack import unpack_archive
from provision_backend.interpreter import Interpreter

pytestmark = pytest.mark.slow


def compiled_in(library: Path) -> Set[str]:
    """Return which modules of a standard library have compiled code, as paths without ending."""
    return {
        str(path.parent.parent.relative_to(library) / path.name.split(".")[0])
        for path in library.rglob("__pycache__/*.pyc")
    }


@pytest.fixture
def interpreter(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    """A real CPython, just unpacked; pytest itself may run with variables that forbid compiling."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    tree = unpack_archive(next(mirror.glob("**/*.tar.gz")), tmp_path)
    return Interpreter(str(next(path for path in tree.glob("bin/python3.??") if not path.is_symlink())), "3.13.0")


@pytest.fixture
def library(interpreter: Interpreter) -> Path:
    program = Path(interpreter.executable)
    return program.parent.parent / "lib" / program.name


def test_what_builds_import_is_compiled_and_read(interpreter: Interpreter, library: Path) -> None:
    """The interpreter takes the compiled modules for its own, so importing them again writes nothing."""
    compile_modules(interpreter, pip=False)
    before = compiled_in(library)
    code = "import argparse, email.headerregistry, json, logging, subprocess, tarfile, tomllib, zipfile"
    done = subprocess.run([interpreter.executable, "-I", "-v", "-c", code], capture_output=True, text=True, check=True)

    assert {"json/decoder", "zipfile/__init__", "email/headerregistry", "tomllib/_parser"} <= before
    assert "# wrote" not in done.stderr
    assert "could not create" not in done.stderr
    assert compiled_in(library) == before


def test_pip_is_compiled_where_it_installs(interpreter: Interpreter, library: Path) -> None:
    """Its modules, vendored ones too, are those that an installation imports."""
    compile_modules(interpreter, pip=True)
    before = compiled_in(library)
    command = [interpreter.executable, "-I", "-m", "pip", "install", "--dry-run", "--no-index", "absent"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert "No matching distribution found for absent" in done.stderr
    assert "site-packages/pip/_internal/commands/install" in before
    assert compiled_in(library) == before


@pytest.mark.parametrize("variable", ["PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"])
def test_who_wants_no_compiled_modules_gets_none(
    interpreter: Interpreter, library: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Neither where Python is told to write none, nor where it is told to look for them elsewhere."""
    monkeypatch.setenv(variable, "1")
    compile_modules(interpreter, pip=False)

    assert compiled_in(library) == set()


@pytest.mark.parametrize("damage", ["a module that is no Python", "an interpreter that does not start"])
def test_what_cannot_be_compiled_is_no_error(interpreter: Interpreter, library: Path, damage: str) -> None:
    """It only costs the builds some time; the other modules are compiled all the same."""
    if damage.startswith("a module"):
        (library / "zipfile" / "damaged.py").write_text("def")
    else:
        Path(interpreter.executable).write_bytes(b"#!/nowhere\n")
    compile_modules(interpreter, pip=False)

    assert ("zipfile/__init__" in compiled_in(library)) == damage.startswith("a module")


@pytest.mark.parametrize("host", usable_hosts(), ids=lambda host: host.version)
def test_every_name_is_a_module_of_some_version(host: HostInterpreter) -> None:
    """A misspelt name would be passed over in silence; what is missing in one version is there in another."""
    names = f"{compiled._MODULES} {compiled._PIP_MODULES}".split()
    known = {name for each in usable_hosts() for name in names if list(_library(each).glob(f"{name}.py"))}
    known |= {name for each in usable_hosts() for name in names if (_library(each) / name).is_dir()}

    # These came with 3.13.
    assert set(names) - known <= {"_colorize", "_opcode_metadata"}
    assert len(list(compiled._files(_library(host), pip=False))) > 100


def _library(host: HostInterpreter) -> Path:
    return host.path.resolve().parent.parent / "lib" / f"python{host.version.rpartition('.')[0]}"


def test_the_first_build_compiles_and_install_does_not(
    frontends: FrontendCache, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build has what later builds import compiled when it lets go of the lock; the command does it when asked."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    found: List[Set[str]] = []
    frontend = frontends.below("3.10")
    assert frontend.run(["-m", "pip", "install", "-q", "provision-backend[provision]"]).returncode == 0
    for name in ("build", "install", "asked"):
        cache = tmp_path / name
        settings = _settings(mirror, cache)
        if name == "build":
            outcome = frontend.build(pure(tmp_path / "pure"), "--wheel", env=settings)
        else:
            asked = ["--compile-bytecode"] if name == "asked" else []
            more = {"PYTHONDONTWRITEBYTECODE": "1"} if asked else {}
            outcome = frontend.run(["-m", "provision_backend", "install", ">=3.12", *asked], env={**settings, **more})
        assert outcome.returncode == 0, outcome.output
        found.append(compiled_in(next(cache.glob("interpreters/*/lib/python3.*"))))

    built, installed, asked_for = found
    # The build itself needs some of them; nobody builds with setuptools here, which needs this one.
    assert "importlib/metadata/_adapters" in built
    assert "site-packages/pip/_internal/commands/install" in built
    assert installed == set()
    assert asked_for >= {"importlib/metadata/_adapters", "site-packages/pip/_internal/commands/install"}


def _settings(mirror: Path, cache: Path) -> Dict[str, str]:
    return {
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_CATALOG": str(mirror / "SHA256SUMS"),
        "PROVISION_BACKEND_CACHE_DIR": str(cache),
        "PROVISION_BACKEND_ENVIRONMENT_FRESHNESS": "0",
    }
