"""Wheels are tested in an environment of their own: what is imported of them, and how a failure is told."""

from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, Dict, List

import pytest
from support.wheel_files import MACHINE, NATIVE, compile_library, compile_module, make_wheel

from provision_backend.errors import WheelError
from provision_backend.hooks.wheel_file import open_wheel
from provision_backend.interpreter import Interpreter, inspect_interpreter
from provision_backend.output import Reporter
from provision_backend.settings import Settings
from provision_backend.wheels import testing
from provision_backend.wheels.contents import read_contents
from provision_backend.wheels.job import Job
from provision_backend.wheels.plan import Python
from provision_backend.wheels.testing import import_names

LABEL = f"cp{sys.version_info[0]}{sys.version_info[1]}"
PURE = "py3-none-any"


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    """Return the interpreter that runs the tests."""
    return inspect_interpreter(Path(sys.executable))


def try_wheel(wheel: Path, interpreter: Interpreter, *, command: str = "", verbosity: int = 0, **more: Any) -> str:
    """Test a wheel, which uv installs; return the message of its failure, or what was reported."""
    stream = io.StringIO()
    options: Dict[str, Any] = {"requires": (), "source": None, "settings": Settings(installer="uv", offline=True)}
    try:
        reporter = Reporter(stream, verbosity)
        testing.test_wheel(read_contents(wheel), interpreter, command=command, reporter=reporter, **{**options, **more})
    except WheelError as exc:
        return str(exc).replace(interpreter.version, "X.Y.Z")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["spam.py", "_egg.abi3.so", "ham.cpython-311-x86_64-linux-gnu.so", "foo.cp311-win_amd64.pyd"],
         ["_egg", "foo", "ham", "spam"]),
        (["spam/__init__.py", "spam/egg.py", "spam/sub/__init__.py", "spam/_c.abi3.so"], ["spam"]),
        (["spam/__init__.cpython-311-x86_64-linux-gnu.so", "spam/egg.py"], ["spam"]),
        (["ns/spam/__init__.py", "ns/egg/__init__.py", "ns/deep/er/__init__.py"], ["ns.egg", "ns.spam"]),
        (["google/cloud/spam/__init__.py", "google/cloud/spam/v1/__init__.py"], ["google.cloud.spam"]),
        (["spam-1.0.data/purelib/spam/__init__.py", "spam-1.0.data/platlib/egg.so"], ["egg", "spam"]),
        (["spam-1.0.data/scripts/tool.py", "spam-1.0.data/data/x.py", "spam.libs/libz-1.so.1"], []),
        (["spam/__init__.py", "tests/__init__.py", "docs/conf.py", "setup.py", "conftest.py", "test/x.py"], ["spam"]),
        (["spam-stubs/__init__.pyi", "spam/py.typed", "data/x.txt", "a-b.py", "class.py", "__main__.py"], []),
        (["spam/cli.py", "spam/__main__.py", "spam/sub/more.py"], ["spam.cli"]),
        (["spam.so.1", "libspam.dylib", "spam.pyc"], []),
    ],
)  # fmt: skip
def test_what_is_imported_of_a_wheel(tmp_path: Path, files: List[str], names: List[str]) -> None:
    """The uppermost packages and modules load the rest; what is packed by mistake or is no module is left out."""
    assert import_names(read_contents(make_wheel(tmp_path, PURE, dict.fromkeys(files, "")))) == names


def test_declared_import_names_count(tmp_path: Path) -> None:
    """A project that lists its names knows better (PEP 794), also that there are none."""
    declared = make_wheel(
        tmp_path / "a", PURE, {"spam.py": ""}, metadata="Import-Name: egg\nImport-Name: _c ; private\n"
    )
    none = make_wheel(tmp_path / "b", PURE, {"spam.py": ""}, metadata="Import-Name:\n")

    assert (import_names(read_contents(declared)), import_names(read_contents(none))) == (["_c", "egg"], [])


def test_a_wheel_without_modules_is_untested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that does nothing is not one that passed; a command, and a wheel that declares it, are another matter."""
    monkeypatch.setattr(testing, "test_wheel", lambda *_, **__: None)
    monkeypatch.setattr(testing, "provision_for_build", lambda *_: None)
    empty = make_wheel(tmp_path / "a", PURE, {"spam-1.0.data/scripts/spam": "#!python"})
    declared = make_wheel(tmp_path / "b", PURE, {}, metadata="Import-Name:\n")
    job = Job("test", Python("3.13", NATIVE, "3.13.1"), str(tmp_path), "", 0, Settings(), str(empty))

    assert testing.run_test(job, Reporter()) == {
        "unavailable": True,
        "error": "it can be installed, and there is nothing to import in it",
    }
    assert testing.run_test(job._replace(test="spam"), Reporter()) == {}
    assert testing.run_test(job._replace(wheel=str(declared)), Reporter()) == {}


def test_a_module_that_ends_python_hides_no_other_one(tmp_path: Path, interpreter: Interpreter) -> None:
    """What leaves with exit status 0 when it is imported fails the test: what comes after it was not imported."""
    wheel = make_wheel(tmp_path, PURE, {"egg.py": "raise SystemExit\n", "spam.py": "import nowhere\n"})

    assert "and 'import egg' ends Python" in try_wheel(wheel, interpreter)


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    """No zip file, and one without metadata, end in sentences."""
    damaged = tmp_path / "spam-1.0-py3-none-any.whl"
    damaged.write_bytes(b"nothing")
    with pytest.raises(WheelError, match=r"^could not read .*whl: File is not a zip file$"):
        read_contents(damaged)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["deflate", "bzip2", "lzma"]
)
def test_a_wheel_with_damaged_data_is_refused(tmp_path: Path, method: int) -> None:
    """What decompresses has errors of its own, and no damage of the metadata leaves as one of them."""
    pytest.importorskip("lzma")
    wheel = tmp_path / "spam-1.0-py3-none-any.whl"
    with zipfile.ZipFile(str(wheel), "w", method) as archive:
        archive.writestr("spam-1.0.dist-info/METADATA", "Name: spam\n" + "X: abcdef\n" * 50)
    content = wheel.read_bytes()
    start = content.index(b"METADATA") + len("METADATA")
    # LZMA does not notice what is wrong behind its end marker.
    for place in range(start, start + (content.index(b"PK\1\2") - start) // 2):
        spoilt = bytes(byte ^ 0xFF for byte in content[place : place + 8])
        wheel.write_bytes(content[:place] + spoilt + content[place + 8 :])

        with pytest.raises(WheelError, match=r"^could not read .*whl: ."), open_wheel(wheel) as archive:
            archive.read("spam-1.0.dist-info/METADATA")


@pytest.mark.parametrize(
    ("method", "claimed", "said"),
    [
        (zipfile.ZIP_DEFLATED, 0, "has more than 8.0 MB"),
        (zipfile.ZIP_DEFLATED, 1000, "Bad CRC-32"),
        (zipfile.ZIP_DEFLATED, 8_000_000, "Bad CRC-32"),
        (zipfile.ZIP_BZIP2, 1000, "is compressed by method 12"),
    ],
    ids=["honest", "small", "just small enough", "bzip2"],
)
def test_metadata_that_would_fill_the_memory_is_refused(tmp_path: Path, method: int, claimed: int, said: str) -> None:
    """A wheel of 0.1 MB has 100 MB of metadata, of which hardly more than 8 MB are in memory, whatever it claims."""
    wheel = tmp_path / "spam-1.0-py3-none-any.whl"
    with zipfile.ZipFile(str(wheel), "w", method) as archive, archive.open("spam-1.0.dist-info/METADATA", "w") as file:
        for _ in range(100):
            file.write(b"\n" * (1 << 20))
    size = struct.pack("<I", 100 << 20)
    wheel.write_bytes(wheel.read_bytes().replace(size, struct.pack("<I", claimed) if claimed else size))
    tracemalloc.start()
    try:
        with pytest.raises(WheelError, match=rf"^could not read .*: .*{said}"):
            read_contents(wheel)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 40 << 20


def test_a_compiled_wheel_is_imported(tmp_path: Path, interpreter: Interpreter) -> None:
    """The import is one by the interpreter itself, in an environment that has nothing else."""
    module = compile_module(tmp_path / "spam.abi3.so", "-DPy_LIMITED_API=0x03080000")
    wheel = make_wheel(tmp_path, f"cp38-abi3-linux_{MACHINE}", {module.name: module})

    assert try_wheel(wheel, interpreter, verbosity=1).endswith(
        f"testing {wheel.name} under CPython {interpreter.version}: import spam\n"
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('no egg')", "failed\n  RuntimeError: no egg"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by the signal SIGKILL"),
        ("import nowhere", "failed\n  ModuleNotFoundError: No module named 'nowhere'"),
    ],
    ids=["error", "killed", "missing"],
)
def test_a_module_that_cannot_be_imported_is_named(
    tmp_path: Path, interpreter: Interpreter, code: str, said: str
) -> None:
    """The first one that fails is named with the end of its traceback, whatever has ended the process."""
    wheel = make_wheel(tmp_path, PURE, {"a.py": "print('fine')", "spam.py": code})

    first, *rest = try_wheel(wheel, interpreter).splitlines()

    assert "\n".join([first, *rest[-1:]]) == (
        f"spam-1.0-py3-none-any.whl was installed under CPython X.Y.Z, and 'import spam' {said}"
    )


def test_a_library_that_the_build_did_not_miss_is_found_missing(tmp_path: Path, interpreter: Interpreter) -> None:
    """A wheel that was not repaired fails on every machine but its own."""
    library = compile_library(
        tmp_path / "lib" / "libegg.so.1", "int egg(void) { return 1; }", "-Wl,-soname,libegg.so.1"
    )
    declarations, body = "int egg(void);", "return PyLong_FromLong(egg());"
    module = compile_module(tmp_path / "spam.abi3.so", library, declarations=declarations, body=body)
    wheel = make_wheel(tmp_path, f"{LABEL}-{LABEL}-linux_{MACHINE}", {module.name: module})

    assert "ImportError: libegg.so.1: cannot open shared object file" in try_wheel(wheel, interpreter)


def test_a_wheel_that_cannot_be_installed_says_why(tmp_path: Path, interpreter: Interpreter) -> None:
    """The end of what the installer says is the reason."""
    wheel = make_wheel(tmp_path, "cp27-none-any", {"spam.py": ""})

    message = try_wheel(wheel, interpreter)

    assert message.startswith(
        f"could not install {wheel.name} and what it requires under CPython X.Y.Z: uv ended with "
    )
    assert "cp27" in message


def test_a_command_runs_in_an_empty_folder_with_what_it_requires(tmp_path: Path, interpreter: Interpreter) -> None:
    """Its Python is the environment's, the source is not the working directory, and both placeholders are paths."""
    project = tmp_path / "my project"
    project.mkdir()
    (project / "check.py").write_text(
        "import os, sys, spam, egg\nprint(os.listdir('.'), os.path.exists(sys.argv[1]))\nsys.exit(3)\n"
    )
    wheel = make_wheel(tmp_path / "dist here", PURE, {"spam.py": ""})
    other = make_wheel(tmp_path / "others", PURE, {"egg.py": ""}, name="egg")

    message = try_wheel(
        wheel,
        interpreter,
        command="python {project}/check.py {wheel}",
        requires=[f"egg @ {other.as_uri()}"],
        source=project,
    )

    assert message == (
        "the test of spam-1.0-py3-none-any.whl under CPython X.Y.Z ended with exit status 3\n"
        f"  python '{project}'/check.py '{wheel}'\n"
        "  [] True"
    )


@pytest.mark.slow
def test_pip_installs_a_wheel_with_its_dependencies(tmp_path: Path, interpreter: Interpreter) -> None:
    """The user's find-links are used, as in any installation."""
    make_wheel(tmp_path / "links", PURE, {"egg.py": ""}, name="egg")
    wheel = make_wheel(tmp_path, PURE, {"spam.py": "import egg"}, metadata="Requires-Dist: egg\n")
    options: Dict[str, Any] = {"settings": Settings(installer="pip")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        without = try_wheel(wheel, interpreter, **options)
        patch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
        found = try_wheel(wheel, interpreter, **options)

    assert "No matching distribution found for egg" in without
    assert found == ""
