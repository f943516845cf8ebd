"""The tags of wheels: real modules, compiled here, get the tag that they deserve, or the reason why they have none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Dict

import pytest
from support.wheel_files import (
    MACHINE,
    NATIVE,
    compile_library,
    compile_module,
    make_wheel,
    members,
    record_problems,
)

from provision_backend.errors import MissingDependencyError, WheelError
from provision_backend.host.elf import read_elf
from provision_backend.wheels import repair
from provision_backend.wheels.repair import Repaired, check_abi3, repair_wheel

LABEL = f"cp{sys.version_info[0]}{sys.version_info[1]}"
TAGS = f"{LABEL}-{LABEL}-linux_{MACHINE}"
SUFFIX = f".cpython-{LABEL[2:]}-{MACHINE}-linux-gnu.so"

needs_auditwheel = pytest.mark.skipif(
    sys.version_info < (3, 10) or sys.platform != "linux", reason="auditwheel needs Python 3.10 and is for Linux"
)
needs_x86_64 = pytest.mark.skipif(MACHINE != "x86_64", reason="the compiler's options are those of x86-64")
pytestmark = pytest.mark.usefixtures("no_epoch")


@pytest.fixture
def no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time be set that all files of a wheel would get."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return an empty folder for finished wheels."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def refusal(wheel: Path, out: Path, *, triple: str = NATIVE, glibc: str = "") -> str:
    """Return why a wheel cannot have its tag; nothing may be left behind."""
    with pytest.raises(WheelError) as caught:
        repair_wheel(wheel, out, triple=triple, glibc=glibc)
    assert list(out.iterdir()) == []
    return str(caught.value).replace(MACHINE, "ARCH").replace(LABEL, "cpXY").replace(LABEL[2:], "XY")


@needs_auditwheel
def test_a_wheel_gets_the_tag_of_the_oldest_system_that_it_runs_on(tmp_path: Path, out: Path) -> None:
    """Without a wish it is the lowest policy; the name, WHEEL and RECORD agree, and nothing else has changed."""
    module = compile_module(tmp_path / f"spam{SUFFIX}", "-nostdlib")
    wheel = make_wheel(tmp_path, TAGS, {module.name: module, "spam.txt": "text"})

    repaired = repair_wheel(wheel, out, triple=NATIVE)

    with zipfile.ZipFile(str(repaired.path)) as archive:
        lines = archive.read("spam-1.0.dist-info/WHEEL").decode().splitlines()
        assert archive.read(module.name) == module.read_bytes()
    tags = {line.rpartition("-")[2] for line in lines if line.startswith("Tag: ")}
    assert repaired.path.parent == out
    assert repaired == Repaired(repaired.path, repaired.path.stem.rpartition("-")[2], ())
    assert tags == set(repaired.platform.split("."))
    assert ("manylinux_2_5_x86_64" if MACHINE == "x86_64" else f"manylinux_2_17_{MACHINE}") in tags
    assert members(repaired.path) == members(wheel)
    assert record_problems(repaired.path) == []


@needs_auditwheel
def test_symbols_that_are_too_new_are_named(tmp_path: Path, out: Path) -> None:
    """The message says which file needs which symbol of which version, and what would help."""
    module = compile_module(
        tmp_path / f"spam{SUFFIX}",
        "-lm",
        declarations="#include <math.h>",
        body="return PyFloat_FromDouble(pow(PyFloat_AsDouble(argument), 0.5));",
    )
    wheel = make_wheel(tmp_path, TAGS, {module.name: module})

    assert refusal(wheel, out, glibc="2.17") == (
        "spam-1.0-cpXY-cpXY-linux_ARCH.whl cannot have the tag manylinux_2_17_ARCH: it uses symbols that are too new\n"
        "  spam.cpython-XY-ARCH-linux-gnu.so: pow@GLIBC_2.29\n"
        "  build it with the toolchain zig, --glibc 2.17, or for --glibc 2.31"
    )
    assert repair_wheel(wheel, out, triple=NATIVE).platform == f"manylinux_2_31_{MACHINE}"


@needs_auditwheel
def test_a_tag_that_a_backend_has_given_is_not_believed(tmp_path: Path, out: Path) -> None:
    """Maturin and others tag wheels themselves; a false promise must not stay beside the true one."""
    module = compile_module(
        tmp_path / f"spam{SUFFIX}",
        "-lm",
        declarations="#include <math.h>",
        body="return PyFloat_FromDouble(pow(PyFloat_AsDouble(argument), 0.5));",
    )
    wheel = make_wheel(tmp_path, TAGS.replace("linux", "manylinux_2_28"), {module.name: module})

    message = refusal(wheel, out)

    assert "cannot have the tag manylinux_2_28_ARCH: it uses symbols that are too new" in message
    assert "pow@GLIBC_2.29" in message


@pytest.mark.slow
@needs_auditwheel
@needs_x86_64
@pytest.mark.parametrize(
    ("platform", "triple"),
    [
        ("manylinux2014_x86_64", "x86_64-unknown-linux-gnu"),
        ("musllinux_1_2_x86_64", "x86_64-unknown-linux-musl"),
        ("manylinux2014_aarch64", "aarch64-unknown-linux-gnu"),
    ],
)
def test_a_published_wheel_keeps_its_tags(tmp_path: Path, out: Path, platform: str, triple: str) -> None:
    """What cibuildwheel has tagged gets the same tags, whatever machine they are made on."""
    options = ["--no-deps", "--only-binary", ":all:", "--platform", platform, "--python-version", "3.11"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--retries", "0", "-d", str(tmp_path), *options]
    done = subprocess.run([*command, "markupsafe"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    wheel = next(tmp_path.glob("*.whl"))

    repaired = repair_wheel(wheel, out, triple=triple)

    assert set(repaired.platform.split(".")) == set(wheel.stem.rpartition("-")[2].split("."))
    assert members(repaired.path) == members(wheel)


@needs_auditwheel
@pytest.mark.parametrize(
    ("glibc", "tag"), [("2.17", "manylinux_2_17"), ("2.30", "manylinux_2_28"), ("2.99", "manylinux_2_41")]
)
def test_a_wish_is_rounded_to_an_older_glibc(tmp_path: Path, out: Path, glibc: str, tag: str) -> None:
    """A wheel for the wished glibc runs on newer ones; that it runs on older ones too is said beside it."""
    module = compile_module(tmp_path / f"spam{SUFFIX}", "-nostdlib")

    repaired = repair_wheel(make_wheel(tmp_path, TAGS, {module.name: module}), out, triple=NATIVE, glibc=glibc)

    assert f"{tag}_{MACHINE}" in repaired.platform.split(".")


@needs_auditwheel
def test_two_repairs_are_alike(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files get the newest time of the wheel, or SOURCE_DATE_EPOCH, and not that of the repair."""
    module = compile_module(tmp_path / f"spam{SUFFIX}", "-nostdlib")
    wheel = make_wheel(tmp_path, TAGS, {module.name: module})
    times, contents = [], []
    for epoch in ("", "", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        repaired = repair_wheel(wheel, out, triple=NATIVE)
        contents.append(repaired.path.read_bytes())
        with zipfile.ZipFile(str(repaired.path)) as archive:
            times.append({entry.date_time for entry in archive.infolist()})

    assert contents[0] == contents[1]
    assert times == [{(2024, 5, 6, 7, 8, 10)}] * 2 + [{(2023, 11, 14, 22, 13, 20)}]


def external(tmp_path: Path, code: str = "int egg(void) { return 43; }") -> Path:
    """Return a module that needs a library which no policy promises, and which lies in the folder ``libraries``."""
    library = compile_library(tmp_path / "libraries" / "libegg.so.1", code, "-nostdlib", "-Wl,-soname,libegg.so.1")
    return compile_module(
        tmp_path / f"spam{SUFFIX}",
        library,
        declarations="int egg(void);",
        body="return PyLong_FromLong(egg());",
    )


@needs_auditwheel
def test_an_external_library_is_grafted(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It travels in the wheel under a name of its own, and the module finds it there."""
    module = external(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "libraries"))

    repaired = repair_wheel(make_wheel(tmp_path, TAGS, {module.name: module}), out, triple=NATIVE)

    monkeypatch.delenv("LD_LIBRARY_PATH")
    with zipfile.ZipFile(str(repaired.path)) as archive:
        archive.extractall(str(tmp_path / "installed"))
    command = [sys.executable, "-c", "import spam; print(spam.answer(None))"]
    done = subprocess.run(command, cwd=str(tmp_path / "installed"), capture_output=True, text=True)
    assert done.stdout == "43\n", done.stderr
    assert repaired.grafted == ("libegg.so.1",)
    assert [name for name in members(repaired.path) if name.startswith("spam.libs/libegg-")] != []
    assert record_problems(repaired.path) == []


@needs_auditwheel
def test_a_library_that_is_nowhere_is_named(tmp_path: Path, out: Path) -> None:
    """The message says who needs it, and what can be done."""
    module = external(tmp_path)

    assert refusal(make_wheel(tmp_path, TAGS, {module.name: module}), out, glibc="2.17") == (
        "spam-1.0-cpXY-cpXY-linux_ARCH.whl cannot have the tag manylinux_2_17_ARCH: "
        "it needs libegg.so.1, which was found in no library folder\n"
        "  needed by: spam.cpython-XY-ARCH-linux-gnu.so\n"
        "  install it, name its folder in LD_LIBRARY_PATH, or link it statically"
    )


@needs_auditwheel
def test_symbols_of_a_grafted_library_count(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library of this host may need a newer glibc than the module: then it is the one that is named."""
    code = "#include <math.h>\nint egg(void) { volatile double x = 2; return (int)pow(x, x); }"
    library = tmp_path / "libraries" / "libegg.so.1"
    compile_library(library, code, "-Wl,-soname,libegg.so.1", "-lm")
    declarations, body = "int egg(void);", "return PyLong_FromLong(egg());"
    module = compile_module(tmp_path / f"spam{SUFFIX}", library, declarations=declarations, body=body)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "libraries"))

    message = refusal(make_wheel(tmp_path, TAGS, {module.name: module}), out, glibc="2.17")

    assert message.splitlines()[1:2] == [f"  {library}: pow@GLIBC_2.29"]


@needs_auditwheel
def test_a_wheel_for_musl_names_its_libc_as_a_musl_system_does(tmp_path: Path, out: Path) -> None:
    """What a cross compiler links to ``libc.so`` would find no library of that name on Alpine."""
    libc = compile_library(tmp_path / "libc.so", "int own(void) { return 1; }", "-nostdlib", "-Wl,-soname,libc.so")
    name = f"spam{SUFFIX.replace('gnu', 'musl')}"
    declarations, body = "int own(void);", "return PyLong_FromLong(own());"
    module = compile_module(tmp_path / name, "-nostdlib", libc, declarations=declarations, body=body)
    wheel = make_wheel(tmp_path, TAGS, {module.name: module})

    repaired = repair_wheel(wheel, out, triple=f"{MACHINE}-unknown-linux-musl")

    with zipfile.ZipFile(str(repaired.path)) as archive:
        archive.extract(module.name, str(tmp_path / "installed"))
    assert read_elf(module).needed == ("libc.so",)
    assert read_elf(tmp_path / "installed" / module.name).needed == (f"libc.musl-{MACHINE}.so.1",)
    assert repaired.platform == f"musllinux_1_2_{MACHINE}"
    assert record_problems(repaired.path) == []


@needs_auditwheel
@pytest.mark.parametrize("triple", [f"{MACHINE}-unknown-linux-musl", "s390x-unknown-linux-gnu"])
def test_a_wheel_for_another_system_is_refused(tmp_path: Path, out: Path, triple: str) -> None:
    """A build that has used the wrong compiler must not get the tag of the right one."""
    module = compile_module(tmp_path / f"spam{SUFFIX}")
    wheel = make_wheel(tmp_path, TAGS.replace(MACHINE, triple.partition("-")[0]), {module.name: module})

    message = refusal(wheel, out, triple=triple).splitlines()

    assert message[0].endswith(f".whl has no compiled file for {triple.replace(MACHINE, 'ARCH')}")
    assert message[1] == "  compiled for another libc or architecture: spam.cpython-XY-ARCH-linux-gnu.so"


@needs_auditwheel
@needs_x86_64
def test_code_for_newer_cpus_is_refused(tmp_path: Path, out: Path) -> None:
    """The tag promises every x86-64, and a file that says it needs AVX2 breaks that."""
    module = compile_module(tmp_path / f"spam{SUFFIX}", "-nostdlib", "-march=x86-64-v3", "-Wl,-z,x86-64-v3")

    assert refusal(make_wheel(tmp_path, TAGS, {module.name: module}), out, glibc="2.17") == (
        "spam-1.0-cpXY-cpXY-linux_ARCH.whl cannot have the tag manylinux_2_17_ARCH: "
        "it is compiled for a newer CPU than ARCH\n"
        "  compile it without -march=native and the like, and choose the code for newer CPUs at run time"
    )


@needs_auditwheel
def test_internal_symbols_of_a_library_are_named(tmp_path: Path, out: Path) -> None:
    """Not every zlib has what only zlib itself should use."""
    zlib = compile_library(
        tmp_path / "libz.so.1", "int zcalloc(void) { return 0; }", "-nostdlib", "-Wl,-soname,libz.so.1"
    )
    declarations, body = "int zcalloc(void);", "return PyLong_FromLong(zcalloc());"
    module = compile_module(tmp_path / f"spam{SUFFIX}", zlib, declarations=declarations, body=body)

    assert refusal(make_wheel(tmp_path, TAGS, {module.name: module}), out, glibc="2.17") == (
        "spam-1.0-cpXY-cpXY-linux_ARCH.whl cannot have the tag manylinux_2_17_ARCH: "
        "it uses symbols that not every build of the library has\n"
        "  libz.so.1: zcalloc\n"
        "  these are internal to the library: link it statically"
    )


@needs_auditwheel
def test_a_platform_wheel_without_compiled_files_is_refused(tmp_path: Path, out: Path) -> None:
    """It would be offered to one platform for no reason."""
    assert refusal(make_wheel(tmp_path, TAGS, {"spam.py": ""}), out) == (
        "spam-1.0-cpXY-cpXY-linux_ARCH.whl has no compiled file for ARCH-unknown-linux-gnu\n"
        "  a wheel without compiled files is pure: have its build backend tag it py3-none-any"
    )


@needs_auditwheel
def test_a_damaged_wheel_is_refused(tmp_path: Path, out: Path) -> None:
    """What is no zip file ends in a sentence."""
    wheel = tmp_path / f"spam-1.0-{TAGS}.whl"
    wheel.write_bytes(b"nothing")

    assert refusal(wheel, out).replace(str(wheel.parent), "/srv") == (
        "could not read /srv/spam-1.0-cpXY-cpXY-linux_ARCH.whl: File is not a zip file"
    )


@pytest.mark.parametrize(
    ("tags", "triple"),
    [
        ("py3-none-any", NATIVE),
        ("cp311-cp311-win_amd64", "x86_64-pc-windows-msvc"),
        ("cp311-cp311-linux_armv7l", "armv7-unknown-linux-gnueabi"),
    ],
)
def test_wheels_that_need_no_repair_are_copied(tmp_path: Path, out: Path, tags: str, triple: str) -> None:
    """A pure wheel runs everywhere, Windows has one libc, and no tag is for soft float: none needs auditwheel."""
    wheel = make_wheel(tmp_path, tags, {"spam.py": ""})

    repaired = repair_wheel(wheel, out, triple=triple, glibc="2.17")

    assert repaired == Repaired(out / wheel.name, tags.rpartition("-")[2])
    assert repaired.path.read_bytes() == wheel.read_bytes()
    assert list(out.iterdir()) == [repaired.path]


def test_a_missing_package_is_named(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra; on a Python that is too old for it, that too."""
    wheel = make_wheel(tmp_path, TAGS, {"spam.so": ""})
    messages = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for oldest in ((3, 8), (3, 99)):
        monkeypatch.setattr(repair, "_OLDEST", oldest)
        with pytest.raises(MissingDependencyError) as caught:
            repair_wheel(wheel, out, triple=NATIVE)
        this = f"this is {sys.version_info[0]}.{sys.version_info[1]}:"
        messages.append(str(caught.value).replace(this, "this is X.Y:"))

    missing = "the package 'auditwheel' is needed to give wheels for Linux their tags and is not installed\n  "
    assert messages == [
        f"{missing}pip install 'provision-backend[wheels]'",
        f"{missing}it needs Python 3.99, and this is X.Y: install 'provision-backend[wheels]' in an environment of a "
        "newer one, such as one of 'provision-backend install 3.13'",
    ]


@pytest.fixture
def limited(tmp_path: Path) -> Dict[str, Path]:
    """Return a module that keeps to the stable ABI of 3.10, and one that keeps to none, under the name of each."""
    body = "return PyUnicode_FromString(PyUnicode_AsUTF8AndSize(argument, 0));"

    private = "int _PyUnicode_EQ(PyObject *, PyObject *);"
    return {
        "3.10": compile_module(tmp_path / "limited" / "spam.abi3.so", "-DPy_LIMITED_API=0x030a0000", body=body),
        "none": compile_module(
            tmp_path / "private" / "spam.abi3.so",
            declarations=private,
            body="return PyLong_FromLong(_PyUnicode_EQ(argument, argument));",
        ),
    }


@pytest.mark.slow
@needs_auditwheel
@pytest.mark.parametrize("tags", ["cp310-abi3", "cp315-abi3.abi3t", "cp311-cp311"])
def test_a_true_claim_of_a_stable_abi_passes(tmp_path: Path, limited: Dict[str, Path], tags: str) -> None:
    """What 3.10 has, newer Pythons have; a wheel that claims no stable ABI is not looked at."""
    check_abi3(make_wheel(tmp_path, f"{tags}-linux_{MACHINE}", {"spam.abi3.so": limited["3.10"]}))


@pytest.mark.slow
@needs_auditwheel
def test_symbols_outside_of_the_stable_abi_are_named(tmp_path: Path, limited: Dict[str, Path]) -> None:
    """The message says since when a symbol is in it, or that it never was; a test would find neither."""
    messages = []
    for tags, which in (("cp39-abi3", "3.10"), ("cp315-abi3t", "none")):
        wheel = make_wheel(tmp_path, f"{tags}-linux_{MACHINE}", {"spam.abi3.so": limited[which]})
        with pytest.raises(WheelError) as caught:
            check_abi3(wheel)
        messages.append(str(caught.value).replace(MACHINE, "ARCH"))

    advice = "claim a newer Python, or build a wheel for each: --abi each"
    assert messages == [
        "spam-1.0-cp39-abi3-linux_ARCH.whl claims the stable ABI of Python 3.9 and uses what that does not have\n"
        "  spam.abi3.so: PyUnicode_AsUTF8AndSize (since 3.10)\n"
        f"  compile it with Py_LIMITED_API=0x03090000, {advice}",
        "spam-1.0-cp315-abi3t-linux_ARCH.whl claims the stable ABI of Python 3.15 and uses what that does not have\n"
        "  spam.abi3.so: _PyUnicode_EQ (in no stable ABI)\n"
        f"  compile it with Py_LIMITED_API=0x030f0000, {advice}",
    ]


def test_a_module_for_one_python_is_no_abi3(tmp_path: Path) -> None:
    """The other Pythons do not look for a file of that name."""
    wheel = make_wheel(tmp_path, "cp39-abi3-linux_x86_64", {"spam/_egg.cpython-311-x86_64-linux-gnu.so": ""})

    with pytest.raises(WheelError) as caught:
        check_abi3(wheel)

    assert str(caught.value) == (
        "spam-1.0-cp39-abi3-linux_x86_64.whl claims the stable ABI of Python 3.9, and only one Python imports "
        "spam/_egg.cpython-311-x86_64-linux-gnu.so\n"
        "  build the module as one of the limited API, whose name ends in .abi3.so; with setuptools:\n"
        "  Extension(..., py_limited_api=True)"
    )
