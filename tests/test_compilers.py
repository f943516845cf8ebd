"""Where a C compiler of Windows is looked for; the search itself works on any system."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

import pytest

from provision_backend.doctor import machine
from provision_backend.host import compilers
from provision_backend.host.compilers import missing_compiler
from provision_backend.systems import SYSTEMS


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, str]:
    """Give the variables of a Windows without a compiler."""
    monkeypatch.setattr(compilers, "RUNNING", SYSTEMS["windows"])
    return {"PATH": str(tmp_path / "path"), "PROGRAMFILES(X86)": str(tmp_path)}


def make_program(path: Path, output: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_the_places_are_named(environ: Dict[str, str], tmp_path: Path) -> None:
    """Who builds sees what was looked for and what to install."""
    vswhere = tmp_path / "Microsoft Visual Studio/Installer/vswhere.exe"

    assert missing_compiler(environ) == (
        "extension modules need Microsoft Visual C++, and it was not found: cl.exe is not on PATH, and "
        f"{vswhere} does not exist\n"
        "  install the Build Tools for Visual Studio with 'Desktop development with C++', if this build compiles"
    )
    make_program(vswhere, "")
    assert f"{vswhere} names no Visual Studio that has it\n" in missing_compiler(environ)


def test_nothing_is_said_where_there_is_one(environ: Dict[str, str], tmp_path: Path) -> None:
    """Either of the two places is enough."""
    found = make_program(tmp_path / "Microsoft Visual Studio/Installer/vswhere.exe", "C:\\\\BuildTools")
    assert missing_compiler(environ) == ""
    found.unlink()
    make_program(tmp_path / "path/cl", "")

    assert missing_compiler(environ) == ""


def test_linux_without_a_compiler_names_the_setting(tmp_path: Path) -> None:
    """What was looked for is named, and the setting that brings a compiler; any of the names is enough."""
    named = {"PATH": str(tmp_path), "CC": "ccache gcc-14"}
    advice = (
        "\n  if this build compiles, set PROVISION_BACKEND_TOOLCHAIN=zig, which takes one from the package ziglang, "
        "or install a compiler"
    )
    assert missing_compiler(named) == "no C compiler was found: CC names ccache, which is not there" + advice
    assert missing_compiler({"PATH": str(tmp_path)}) == (
        "no C compiler was found: neither cc, gcc nor clang is on PATH" + advice
    )
    make_program(tmp_path / "gcc", "")

    assert missing_compiler({"PATH": str(tmp_path)}) == ""


def test_other_systems_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the real backend's own message names its compiler."""
    monkeypatch.setattr(compilers, "RUNNING", SYSTEMS["macos"])

    assert missing_compiler({"PATH": str(tmp_path)}) == ""


def test_doctor_says_the_same(environ: Dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built, the check of the compiler names the same places and the same advice."""
    monkeypatch.setattr(machine, "RUNNING", SYSTEMS["windows"])
    context: Any = SimpleNamespace(environ=environ)
    (found,) = machine.check_compiler(context)

    assert (found.status, f"{found.found}\n  {found.advice}") == ("warning", missing_compiler(environ))
    make_program(tmp_path / "path/cl", "")
    (found,) = machine.check_compiler(context)
    assert (found.status, found.found) == ("ok", "Microsoft Visual C++ is installed")
