"""The first start of an interpreter: what is asked, what is refused and how each refusal reads."""

from __future__ import annotations

import json
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict

import pytest

from provision_backend.errors import InterpreterError
from provision_backend.install.smoke import Facts, smoke_run

MUSL = "x86_64-unknown-linux-musl"
GNU = "x86_64-unknown-linux-gnu"
RUNNING = platform.python_version() + ("t" if "t" in sys.abiflags else "")
HERE = MUSL if "musl" in str(sysconfig.get_config_var("EXT_SUFFIX")) else GNU

GOOD: Dict[str, Any] = {
    "version": "3.13.5",
    "implementation": "cpython",
    "threading": "with GIL",
    "ext_suffix": ".cpython-313-x86_64-linux-musl.so",
    "suffixes": [".cpython-313-x86_64-linux-musl.so", ".abi3.so", ".so"],
    "pip": "25.1",
    "failed": {},
}


def running_interpreter() -> Path:
    return Path(sys.base_prefix) / "bin" / "python{}.{}{}".format(*sys.version_info[:2], sys.abiflags)


def answering_interpreter(tree: Path, **changes: object) -> Path:
    """Make a program that answers as an interpreter would that no machine has."""
    python = tree / "bin" / "python3.13"
    python.parent.mkdir(parents=True)
    answer = json.dumps({**GOOD, "prefix": str(tree), **changes})
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n", encoding="utf-8")
    python.chmod(0o755)
    return python


def run_as_wanted(python: Path) -> Facts:
    return smoke_run(python, "3.13.5", MUSL)


def test_running_interpreter_is_what_it_is() -> None:
    """A real interpreter starts, loads native code and says the truth about itself."""
    facts = smoke_run(running_interpreter(), RUNNING, HERE)

    assert "module 'ssl'" not in str(facts.warnings)


def test_every_difference_is_named() -> None:
    """Version, threading and libc of a real interpreter are compared at once, wanted first."""
    python = running_interpreter()
    freethreaded = "t" in sys.abiflags
    with pytest.raises(InterpreterError) as caught:
        smoke_run(python, "3.1.4" if freethreaded else "3.1.4t", MUSL if HERE == GNU else GNU)

    threading = ["with GIL", "free-threaded"]
    assert str(caught.value) == (
        f"{str(python)!r} is not what its archive says: "
        f"wanted version '3.1.4', found {platform.python_version()!r}; "
        f"wanted threading {threading[not freethreaded]!r}, found {threading[freethreaded]!r}; "
        f"wanted extension modules named for {'musl' if HERE == GNU else 'gnu'}, "
        f"found {sysconfig.get_config_var('EXT_SUFFIX')!r}"
    )


def test_link_to_another_tree_is_refused(tmp_path: Path) -> None:
    """An interpreter that takes its standard library from elsewhere is not that of its tree."""
    python = tmp_path / "bin" / running_interpreter().name
    python.parent.mkdir()
    python.symlink_to(running_interpreter().resolve())
    with pytest.raises(InterpreterError) as caught:
        smoke_run(python, RUNNING, HERE)

    wanted, found = str(tmp_path.resolve()), str(Path(sys.base_prefix).resolve())
    assert caught.value.message.endswith(f"says: wanted prefix {wanted!r}, found {found!r}")


def test_complete_answer_has_no_warnings(tmp_path: Path) -> None:
    """What a good interpreter answers comes back as it is."""
    assert run_as_wanted(answering_interpreter(tmp_path)) == Facts(pip="25.1")


def test_musl_build_that_calls_itself_gnu_is_refused(tmp_path: Path) -> None:
    """Such a build imports no musllinux wheel (python-build-standalone#724)."""
    suffix = ".cpython-312-x86_64-linux-gnu.so"
    python = answering_interpreter(tmp_path, ext_suffix=suffix, suffixes=[suffix, ".so"])
    with pytest.raises(InterpreterError) as caught:
        run_as_wanted(python)

    assert str(caught.value) == (
        f"{str(python)!r} is not what its archive says: wanted extension modules named for musl, found {suffix!r}"
    )


def test_suffix_that_it_does_not_import_is_refused(tmp_path: Path) -> None:
    """Extension modules that the interpreter builds must be those that it imports."""
    python = answering_interpreter(tmp_path, ext_suffix=".other.so", suffixes=[".abi3.so", ".so"])
    with pytest.raises(InterpreterError) as caught:
        run_as_wanted(python)

    assert caught.value.message.endswith(
        "wanted extension modules named as it imports them (.abi3.so, .so), found '.other.so'"
    )


def test_other_systems_name_no_libc(tmp_path: Path) -> None:
    """On macOS the names of extension modules say nothing of a libc."""
    suffix = ".cpython-313-darwin.so"
    python = answering_interpreter(tmp_path, ext_suffix=suffix, suffixes=[suffix])

    assert smoke_run(python, "3.13.5", "aarch64-apple-darwin") == Facts(pip="25.1")


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        pytest.param(
            {"failed": {"ssl": "ModuleNotFoundError: No module named '_ssl'"}},
            ("module 'ssl' is missing (ModuleNotFoundError: No module named '_ssl')",),
            id="ssl",
        ),
        pytest.param(
            {"failed": {"ensurepip": "x", "pip": "y"}, "pip": ""},
            ("module 'ensurepip' is missing (x)", "module 'pip' is missing (y)"),
            id="ensurepip and pip",
        ),
        pytest.param(
            {"failed": {"_ctypes": "x"}},
            ("module '_ctypes' is missing (x)",),
            id="ctypes",
        ),
    ],
)
def test_what_a_packed_interpreter_may_lack_is_told(tmp_path: Path, changes: Dict[str, Any], warnings: object) -> None:
    """An interpreter without these can still build, so it is used and the gap is said."""
    assert run_as_wanted(answering_interpreter(tmp_path, **changes)).warnings == warnings


@pytest.mark.parametrize(
    ("failed", "message"),
    [
        pytest.param(
            {"dlopen": "OSError: Dynamic loading not supported"},
            "it cannot load native code (OSError: Dynamic loading not supported)",
            id="static interpreter",
        ),
        pytest.param({"native math": "ImportError: x"}, "it cannot load native code (ImportError: x)", id="module"),
        pytest.param(
            {"zlib": "x", "venv": "y"},
            "its module 'zlib' is missing (x); its module 'venv' is missing (y)",
            id="zlib and venv",
        ),
        pytest.param(
            {"native _ctypes": "ImportError: libffi.so.8", "dlopen": "ImportError: libffi.so.8"},
            "it cannot load native code (ImportError: libffi.so.8)",
            id="a library that two need",
        ),
    ],
)
def test_what_cannot_build_is_refused(tmp_path: Path, failed: Dict[str, str], message: str) -> None:
    """An interpreter without native modules, wheels or environments is of no use."""
    python = answering_interpreter(tmp_path, failed=failed)
    with pytest.raises(InterpreterError) as caught:
        run_as_wanted(python)

    assert str(caught.value) == f"{str(python)!r} cannot be used to build: {message}"


@pytest.mark.parametrize(
    "changes",
    [{"failed": None}, {"suffixes": 3}, {"prefix": 3}, {"prefix": "\ud800"}, {"prefix": "\0"}],
    ids=["null", "number", "path", "half a character", "NUL"],
)
def test_answer_of_another_form_is_refused(tmp_path: Path, changes: Dict[str, Any]) -> None:
    """A program that answers in JSON but not as asked is our error, not a traceback."""
    # Up to Python 3.9 a text that can be no path is a relative one, and not the prefix that is wanted.
    with pytest.raises(InterpreterError, match=r"did not answer like a CPython: found |wanted prefix "):
        run_as_wanted(answering_interpreter(tmp_path, **changes))
