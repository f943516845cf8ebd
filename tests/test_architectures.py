"""Linux on every architecture that has archives, for real: by qemu-user, or by this CPU where that runs them.

Each machine is a Debian of that architecture (`support.foreign`), with ``build`` under its own CPython; the projects
want an older one, or ask for one that is provisioned. ``scripts/test --architectures`` runs all of them and writes
the table of systems in docs/compatibility.md; what is not marked ``architectures`` is part of ``scripts/test``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Union

import pytest
from support.foreign import MACHINES, WORK, ForeignMachine, open_foreign_machine
from support.projects import c_extension, pure
from support.real_interpreters import Unavailable
from support.systems_table import recorded

pytestmark = pytest.mark.slow

LIBC = {"trixie": "2.41", "bookworm": "2.36", "musl": "1.2.5"}

COMPILING_BACKEND = """
import os, shlex, subprocess, sys, sysconfig, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    value = lambda name: shlex.split(sysconfig.get_config_var(name) or "")
    subprocess.check_call([*value("CC"), *value("CFLAGS"), *value("CCSHARED"),
                           "-I" + sysconfig.get_path("include"), "-c", "cext.c", "-o", "cext.o"])
    module = "cext" + sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.check_call([*value("LDSHARED"), "cext.o", "-o", module])
    tag = "cp%d%d" % sys.version_info[:2]
    tag = "-".join([tag, tag, sysconfig.get_platform().replace("-", "_").replace(".", "_")])
    name = "cext-1.0-%s.whl" % tag
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.write(module)
        wheel.writestr("cext-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: cext\\nVersion: 1.0\\n")
        wheel.writestr("cext-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: %s\\n" % tag)
        wheel.writestr("cext-1.0.dist-info/RECORD", "")
    return name

def build_sdist(directory, config_settings=None):
    raise NotImplementedError
"""


def on(*names: str, always: str = "") -> List[Any]:
    """Return the parameters of a test: machines, of which those in *always* are part of ``scripts/test``."""
    chosen = names or tuple(MACHINES)
    marks = {name: () if name in always.split() else (pytest.mark.architectures,) for name in chosen}
    return [pytest.param(name, id=name, marks=[pytest.mark.xdist_group(name), *marks[name]]) for name in chosen]


@pytest.fixture(scope="module")
def opened() -> Dict[str, Union[ForeignMachine, Unavailable]]:
    """Return the machines that were asked for so far, or why there is none."""
    return {}


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    opened: Dict[str, Union[ForeignMachine, Unavailable]],
    own_wheel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> ForeignMachine:
    """Return the machine of a test's parameter; made once, so that its tests share an environment and a cache."""
    name = request.param
    if name not in opened:
        try:
            opened[name] = open_foreign_machine(name, tmp_path_factory.mktemp(name), own_wheel)
        except Unavailable as error:
            opened[name] = error
    found = opened[name]
    if isinstance(found, Unavailable):
        pytest.skip(str(found))
    return found


def wanted(machine: ForeignMachine) -> str:
    """Return the ``requires-python`` of a project that the machine's own CPython does not satisfy, if that can be."""
    return f"=={machine.machine.minor}.*"


def build(machine: ForeignMachine, name: str, *options: str, **settings: str) -> tuple[Path, str]:
    """Build the wheel of a project with ``python -m build``, and return it with all that was printed."""
    said = machine.python("-m", "build", "--wheel", *options, f"{WORK}/{name}", env=settings)
    return next((machine.work / name / "dist").glob("*.whl")), said


def isolation(machine: ForeignMachine) -> List[str]:
    """Return the options of build: one run of pip less where each takes half a minute of CPU."""
    return ["--no-isolation"] if machine.machine.qemu else []


def provisioning(machine: ForeignMachine) -> Dict[str, str]:
    """Return the settings of a build that provisions: none, but where only the same version can be had."""
    return {"PROVISION_BACKEND_PREFERENCE": "only-managed"} if machine.machine.satisfied else {}


def pure_project(machine: ForeignMachine, name: str, requires_python: str) -> None:
    """Write a project with a module that every Python can parse."""
    folder = pure(machine.work / name, requires_python=requires_python)
    (folder / "pure.py").write_text("Number = int\n", encoding="ascii")


def import_extension(machine: ForeignMachine, site: str) -> str:
    """Import the extension that was installed into a folder under the provisioned interpreter; return its answer."""
    python = machine.ours("find", wanted(machine), env=provisioning(machine)).splitlines()[-1]
    code = "import cext; print(cext.answer())"
    return machine.check(python, "-c", code, env={"PYTHONPATH": f"{WORK}/{site}"}).strip()


@pytest.mark.parametrize("machine", on(always="i386 arm64"), indirect=True)
def test_an_architecture_is_detected_from_its_own_executables(machine: ForeignMachine) -> None:
    """Whatever the kernel says of itself: below i386 and qemu-user there is one for x86-64."""
    expected = machine.machine
    with recorded(expected.triple, "detect", how=machine.how):
        facts = json.loads(machine.ours("detect", "--json"))

        assert (facts["triple"], facts["problem"]) == (expected.triple, None)
        assert (facts["bits"], facts["byte_order"]) == (expected.elf[0], expected.elf[1])
        assert facts["libc_version"] == LIBC[expected.host if expected.suite else "musl"]
    if expected.triple.startswith(("i686", "aarch64-", "armv7")):
        asked = "from provision_backend.toolchain import running_triple; print(running_triple())"
        assert machine.python("-c", asked).split()[-1] == expected.triple


@pytest.mark.parametrize("machine", on(always="i386"), indirect=True)
def test_doctor_finds_a_machine_in_order(machine: ForeignMachine) -> None:
    """It ends with 0, and what it says of the host names the architecture."""
    said = machine.ours("doctor")

    assert re.search(rf"{machine.machine.triple}, (glibc|musl) \d", said)


@pytest.mark.parametrize("machine", on(), indirect=True)
def test_a_host_that_satisfies_builds_as_without_us(machine: ForeignMachine) -> None:
    """Nothing is provisioned and no ELF file is read."""
    pure_project(machine, "satisfied", ">=3.8")
    wheel, said = build(machine, "satisfied", *isolation(machine))

    assert wheel.name == "pure-1.0-py3-none-any.whl"
    assert "CPython" not in said


@pytest.mark.parametrize("machine", on(always="i386"), indirect=True)
def test_an_archive_of_the_architecture_is_installed_and_started(machine: ForeignMachine) -> None:
    """By its name from a folder of this machine; it answers with the version that was asked for."""
    triple, minor = machine.machine.triple, machine.machine.minor
    with recorded(triple, "install", how=machine.how):
        listed = json.loads(machine.ours("list", "--json"))
        python = machine.ours("install", minor).splitlines()[-1]
        version = machine.check(python, "-I", "-c", "import sys; print(sys.version)").strip()

        assert [row["triple"] for row in listed] == [triple]
        assert python.startswith(f"{WORK}/cache/interpreters/")
        assert version.startswith(listed[0]["version"])


@pytest.mark.parametrize("machine", on(), indirect=True)
def test_a_pure_project_is_built_under_a_provisioned_interpreter(machine: ForeignMachine) -> None:
    """Its real backend is installed by that interpreter's own pip."""
    with recorded(machine.machine.triple, "pure", "frontend-build", how=machine.how):
        pure_project(machine, "pure", wanted(machine))
        wheel, said = build(machine, "pure", *isolation(machine), **provisioning(machine))

        assert wheel.name == "pure-1.0-py3-none-any.whl"
        assert f"CPython {machine.machine.minor}" in said


@pytest.mark.parametrize("machine", on("arm64"), indirect=True)
def test_a_backend_that_runs_the_compiler_builds_under_an_emulated_interpreter(machine: ForeignMachine) -> None:
    """The quick form of the next test: the backend is in the tree, so that no pip has to run."""
    c_extension(machine.work / "quick", requires_python=wanted(machine))
    text = (machine.work / "quick/pyproject.toml").read_text()
    text = re.sub('"setuptools.build_meta"\nrequires = .*', '"backend"\nbackend-path = ["."]', text)
    (machine.work / "quick/pyproject.toml").write_text(text, encoding="ascii")
    (machine.work / "quick/backend.py").write_text(COMPILING_BACKEND, encoding="ascii")
    with recorded(machine.machine.triple, "install", "extension", "frontend-build", how=machine.how):
        wheel, _ = build(machine, "quick", "--no-isolation")
        machine.install_from_outside(wheel, "quick-site")

        assert import_extension(machine, "quick-site") == "42"


@pytest.mark.parametrize("machine", on("amd64", "i386", "arm64", "arm64-musl", always="i386"), indirect=True)
def test_a_c_extension_is_built_installed_and_imported(machine: ForeignMachine) -> None:
    """By the provisioned interpreter and the machine's own gcc; the wheel's tag names both."""
    with recorded(machine.machine.triple, "extension", how=machine.how):
        c_extension(machine.work / "cext", requires_python=wanted(machine))
        wheel, _ = build(machine, "cext", **provisioning(machine))
        tag = f"cp{machine.machine.minor.replace('.', '')}"
        python = machine.ours("find", wanted(machine), env=provisioning(machine)).splitlines()[-1]
        words = ("-m", "pip", "install", "-q", "--target", f"{WORK}/site", f"{WORK}/cext/dist/{wheel.name}")
        machine.check(python, "-I", *words)

        assert wheel.name == f"cext-1.0-{tag}-{tag}-{machine.machine.wheel_platform}.whl"
        assert import_extension(machine, "site") == "42"


@pytest.mark.parametrize("machine", on("amd64", "i386"), indirect=True)
def test_pip_builds_it_too(machine: ForeignMachine) -> None:
    """As ``pip wheel``, which asks for the metadata first."""
    with recorded(machine.machine.triple, "frontend-pip", how=machine.how):
        pure_project(machine, "piped", wanted(machine))
        words = ("wheel", "-q", "--no-deps", "--ignore-requires-python", "-w", f"{WORK}/piped-dist", f"{WORK}/piped")
        machine.python("-m", "pip", *words)

        assert [path.name for path in (machine.work / "piped-dist").iterdir()] == ["pure-1.0-py3-none-any.whl"]
