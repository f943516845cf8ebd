r"""Builds on Windows, with real CPythons under wine: 3.9.13 is the host, and 3.13.2 is provisioned.

What is marked ``matrix`` is left to ``scripts/test --windows``; the rest is part of ``scripts/test``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from support.locked_projects import lock_to, wheels_in
from support.systems_table import recorded
from support.wine import Windows, open_windows, windows_path

pytestmark = [pytest.mark.slow, pytest.mark.windows]

TARGET = "x86_64-pc-windows-msvc"
PURE = {"hatchling": "hatchling.build", "flit_core": "flit_core.buildapi"}


class Machine:
    """A Windows machine with our wheel in its folder of wheels, and no network."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        wheels = windows_path(windows.wheels)
        self.environ = {
            **windows.settings(),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": wheels,
            "PIP_NO_INDEX": "1",
            "UV_CACHE_DIR": windows_path(windows.folder / "uv"),
            "UV_FIND_LINKS": wheels,
            "UV_OFFLINE": "1",
            "PROVISION_BACKEND_INSTALLER": "uv",
            "PROVISION_BACKEND_VERBOSE": "1",
            "SOURCE_DATE_EPOCH": "1700000000",
        }
        self.backends = windows.folder / "backends"
        self.uv = windows.python.parent / "Scripts/uv.exe"

    def project(self, name: str, backend: str, *requires: str, python: str = ">=3.12", more: str = "") -> Path:
        """Make a project of one module, of the name of its folder's last part."""
        folder = self.windows.folder / "projects" / name
        folder.mkdir(parents=True)
        text = f"""
            [build-system]
            requires = ["provision-backend"]
            build-backend = "provision_backend"
            [project]
            name = "greeting"
            version = "1.0"
            description = "Greets."
            requires-python = "{python}"
            [tool.provision-backend]
            build-backend = "{backend}"
            requires = {json.dumps(list(requires))}
        """
        (folder / "pyproject.toml").write_text(textwrap.dedent(text) + more, encoding="utf-8")
        (folder / "greeting.py").write_text('"""Greets."""\ntype Greeting = str\n', encoding="utf-8")
        return folder

    def run(
        self, *command: str | Path, cwd: Path, env: Dict[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of Windows."""
        return self.windows.run(command, env={**self.environ, **(env or {})}, cwd=cwd, check=check)

    def hook(
        self, project: Path, *, python: Path | None = None, env: Dict[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        r"""Build a wheel into ``dist`` in the project as a frontend does, whose hook is given ``Z:\...\dist``."""
        (project / "dist").mkdir(exist_ok=True)
        code = "import sys, provision_backend; provision_backend.build_wheel(sys.argv[1])"
        return self.run(
            python or self.windows.python, "-c", code, windows_path(project / "dist"), cwd=project, env=env, check=check
        )

    def direct(self, project: Path, backend: str, *packages: str) -> List[bytes]:
        """Return the wheel and the sdist that a real backend makes alone under the newer interpreter."""
        folder = self.backends / backend
        for name in packages:
            with zipfile.ZipFile(sorted(self.windows.wheels.glob(f"{name}-*.whl"))[-1]) as wheel:
                wheel.extractall(folder)
        code = f"import {backend} as backend; backend.build_wheel('direct'); backend.build_sdist('direct')"
        (project / "direct").mkdir()
        environ = {"PYTHONPATH": windows_path(folder)}
        self.run(self.windows.newer, "-B", "-c", code, cwd=project, env=environ)
        made = contents(project / "direct")
        shutil.rmtree(str(project / "direct"))
        return made


def contents(folder: Path) -> List[bytes]:
    """Return what the wheel and the sdist in a folder hold."""
    return [path.read_bytes() for pattern in ("*.whl", "*.tar.gz") for path in folder.glob(pattern)]


@pytest.fixture(scope="module")
def machine(own_wheel: Path) -> Iterator[Machine]:
    with open_windows() as windows:
        (windows.wheels / own_wheel.name).unlink(missing_ok=True)
        shutil.copy(str(own_wheel), str(windows.wheels))
        yield Machine(windows)


_HATCH = """
[tool.hatch.build.targets.wheel]
packages = ["greeting.py"]
[tool.hatch.build.targets.sdist]
only-include = ["greeting.py"]
"""


@pytest.mark.parametrize("backend", [pytest.param("flit_core", marks=pytest.mark.matrix), "hatchling"])
def test_uv_builds_what_the_real_backend_makes_alone(machine: Machine, backend: str) -> None:
    """An sdist, and a wheel from it, on an older host: byte for byte those of the newer interpreter."""
    project = machine.project(f"uv-{backend}", PURE[backend], backend, more=_HATCH)
    alone = machine.direct(project, PURE[backend], backend, "packaging", "pathspec", "pluggy", "trove_classifiers")
    with recorded(TARGET, "pure", "frontend-uv build", how="wine"):
        options = ["--python", str(machine.windows.python), "--out-dir", "dist"]
        done = machine.run(machine.uv, "build", *options, cwd=project)

        assert "building with CPython 3.13.2 from the cache: Z:\\" in done.stdout + done.stderr
        assert contents(project / "dist") == alone


@pytest.mark.matrix
@pytest.mark.parametrize("frontend", ["build --wheel --no-isolation", "pip wheel"])
def test_other_frontends_build_the_same(machine: Machine, frontend: str) -> None:
    """The embeddable distribution has no module venv, which build needs for isolation and pip does not."""
    project = machine.project(f"by-{frontend.split()[0]}", PURE["flit_core"], "flit_core")
    alone = machine.direct(project, PURE["flit_core"], "flit_core")
    arguments = {
        "build": ["-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", "dist", "."],
        "pip": ["-m", "pip", "wheel", "-v", "--ignore-requires-python", "--no-deps", "-w", "dist", "."],
    }[frontend.split()[0]]
    with recorded(TARGET, f"frontend-{frontend}", how="wine"):
        done = machine.run(machine.windows.python, *arguments, cwd=project)

        assert "building with CPython 3.13.2 from the cache: Z:\\" in done.stdout + done.stderr
        assert contents(project / "dist") == alone[:1]


def test_a_satisfying_host_builds_in_this_process(machine: Machine) -> None:
    """Nothing is provisioned, and the wheel is that of the real backend."""
    project = machine.project("pass-through", PURE["flit_core"], "flit_core", python=">=3.9")
    alone = machine.direct(project, PURE["flit_core"], "flit_core")
    ours, theirs = machine.windows.python.parent / "Lib/site-packages", machine.backends / PURE["flit_core"]
    env = {"PYTHONPATH": f"{windows_path(theirs)};{windows_path(ours)}"}
    env["PROVISION_BACKEND_CACHE_DIR"] = windows_path(project / "no")
    done = machine.hook(project, python=machine.windows.newer, env=env)

    assert "passing through: Python 3.13.2 satisfies requires-python '>=3.9'" in done.stderr
    assert contents(project / "dist") == alone[:1]
    assert not (project / "no").exists()


@pytest.mark.matrix
def test_a_locked_build_copies_its_environment(machine: Machine) -> None:
    """The second one starts no installer; a program of a copy starts the interpreter of that copy."""
    project = machine.project("locked", PURE["hatchling"], "hatchling", more=_HATCH)
    alone = machine.direct(
        project, PURE["hatchling"], "hatchling", "packaging", "pathspec", "pluggy", "trove_classifiers"
    )
    names = ("hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")
    lock_to(project, next(machine.windows.mirror.glob("*.tar.gz")), wheels_in(machine.windows.wheels, *names))
    for env in ({}, {"UV_FIND_LINKS": "", "UV": "nowhere"}):
        machine.hook(project, env=env)

        assert contents(project / "dist") == alone[:1]
    code = """
import sys
from pathlib import Path
from provision_backend.hooks.locked import copy_environment
copy_environment(next(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]))
"""
    target = project / "a copy"
    target.mkdir()
    stored = windows_path(machine.windows.folder / "cache" / "environments")
    machine.run(machine.windows.python, "-c", code, stored, windows_path(target), cwd=project)
    done = machine.run(target / "Scripts/hatchling.exe", "--help", cwd=project)
    assert "usage: hatchling" in done.stdout


_IN_TREE = """
import json, os, sys, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("seen.json", json.dumps([sys.prefix, sys.version, __file__, dict(os.environ)]))
    print("gr\\u00fc\\u00dfe \\u65e5\\u672c")
    return name
"""


def test_paths_and_variables_are_those_of_windows(machine: Machine) -> None:
    r"""Backslashes in ``backend-path``, a folder with spaces and letters of no code page, variables in any case."""
    project = machine.project("sp ace \u00fc\u65e5\u672c", "in_tree", more='backend-path = ["back\\\\end"]\n')
    (project / "back/end").mkdir(parents=True)
    (project / "back/end/in_tree.py").write_text(_IN_TREE, encoding="utf-8")
    env = {"Setuptools_Ext_Suffix": ".cp39.pyd", "pep517_Backend_Path": "nowhere", "Kept": "x"}
    done = machine.hook(project, env={**env, "PYTHONIOENCODING": "cp1252:backslashreplace"})

    with zipfile.ZipFile(next((project / "dist").glob("*.whl"))) as wheel:
        prefix, version, path, environ = json.loads(wheel.read("seen.json"))
    names = {name.upper() for name in environ}
    assert version.startswith("3.13.2")
    assert path == windows_path(project / "back/end/in_tree.py")
    assert names.isdisjoint({"SETUPTOOLS_EXT_SUFFIX", "PEP517_BACKEND_PATH"})
    assert {"KEPT", "VIRTUAL_ENV"} <= names
    assert environ["PATH"].split(";")[0] == f"{prefix}\\Scripts"
    assert "\\u65e5\\u672c" in done.stdout + done.stderr


def test_a_message_that_the_console_cannot_show(machine: Machine) -> None:
    """What code page 1252 lacks is escaped, and the error stays a sentence."""
    project = machine.project("message", "in_tree")
    env = {"PROVISION_BACKEND_PYTHON": "Z:\\\u65e5\u672c\\python.exe", "PYTHONIOENCODING": "cp1252"}
    done = machine.hook(project, env=env, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "provision-backend: PROVISION_BACKEND_PYTHON names 'Z:\\\\\\u65e5\\u672c\\\\python.exe', which does not exist"
    )


@pytest.mark.matrix
def test_an_interpreter_without_venv_ends_in_a_sentence(machine: Machine) -> None:
    """Only uv makes environments of the embeddable distribution."""
    project = machine.project("no-venv", PURE["flit_core"], "flit_core")
    done = machine.hook(project, env={"PROVISION_BACKEND_INSTALLER": "pip"}, check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(
        r"provision-backend: Z:\\.*\\python\.exe cannot make a build environment: its module 'venv' is missing\n"
        r"  have uv make it: install uv, and set PROVISION_BACKEND_INSTALLER=uv\n",
        done.stderr,
    )


@pytest.mark.matrix
def test_a_compiled_project_says_what_it_needs(machine: Machine) -> None:
    """The message of setuptools stays, and one line says where a compiler was looked for."""
    project = machine.project(
        "compiled", "setuptools.build_meta", "setuptools", more="[tool.setuptools]\npackages = []\n"
    )
    setup = 'from setuptools import Extension, setup\nsetup(ext_modules=[Extension("cext", ["cext.c"])])\n'
    (project / "setup.py").write_text(setup, encoding="ascii")
    (project / "cext.c").write_text("", encoding="ascii")
    done = machine.hook(project, check=False)

    assert done.returncode == 1
    assert "Microsoft Visual C++ 14.0 or greater is required" in done.stdout + done.stderr
    found, advice = done.stderr.splitlines()[-2:]
    assert found == (
        "provision-backend: extension modules need Microsoft Visual C++, and it was not found: cl.exe is not on PATH, "
        "and C:\\Program Files (x86)\\Microsoft Visual Studio\\Installer\\vswhere.exe does not exist"
    )
    assert "install the Build Tools for Visual Studio with 'Desktop development with C++'" in advice


# A frontend starts a hook, which runs a program, which starts another one; each writes its number into a file.
_FAMILY = {
    "frontend": "import subprocess, sys; subprocess.call([sys.executable, 'hook.py'])",
    "hook": """
import os, sys
from provision_backend.frontend_watch import follow_frontend, frontend_id
from provision_backend.processes import run_visible
with follow_frontend():
    open("hook.pid", "w").write("%d %d" % (os.getpid(), frontend_id()))
    try:
        run_visible([sys.executable, "program.py"])
    finally:
        open("cleaned", "w").close()
""",
    "program": """
import os, subprocess, sys, time
name = "grandchild" if sys.argv[1:] else "program"
open(name + ".pid", "w").write(str(os.getpid()))
if not sys.argv[1:]:
    subprocess.Popen([sys.executable, __file__, "again"])
time.sleep(60)
""",
    "watch": """
import os, subprocess, sys, time
from provision_backend.processes import is_alive

def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()

def read(name):
    return [int(number) for number in open(name + ".pid").read().split()]

frontend = subprocess.Popen([sys.executable, "frontend.py"])
assert until(lambda: os.path.exists("grandchild.pid") and read("grandchild"), 60)
hook, followed = read("hook")
others = [hook, *read("program"), *read("grandchild")]
assert all(map(is_alive, others))
if sys.argv[1] == "hook":
    os.kill(hook, 9)
else:
    assert followed == frontend.pid, (followed, frontend.pid)
    frontend.kill()
print(until(lambda: not any(map(is_alive, others)), 50), os.path.exists("cleaned"))
frontend.kill()
""",
}


@pytest.mark.parametrize(("killed", "cleaned"), [("frontend", True), ("hook", False)])
def test_what_a_hook_runs_ends_with_it(machine: Machine, killed: str, cleaned: bool) -> None:
    """A frontend that is gone ends its hook, which cleans up; a hook that is killed takes all that it started along."""
    folder = machine.windows.folder / f"killed-{killed}"
    folder.mkdir()
    for name, code in _FAMILY.items():
        (folder / f"{name}.py").write_text(code, encoding="ascii")
    done = machine.run(machine.windows.python, "watch.py", killed, cwd=folder)

    assert done.stdout.split() == ["True", str(cleaned)]
