"""Toys that do the real thing: tiny wheels, projects with a build backend in their own tree, and hook processes.

A hook is run as a frontend runs it: by pyproject_hooks, in a process of its own, in a virtual environment that has the
name and the place that a frontend gives it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

from support.hosts import NO_COMPILE, clean_environ, make_project, wheelhouse
from support.real_interpreters import HostInterpreter, host_interpreters

__all__ = [
    "BACKENDS",
    "ROOT",
    "Host",
    "another_interpreter",
    "backend_packages",
    "host_environment",
    "in_process",
    "project_of",
    "toy_wheel",
]

ROOT = Path(__file__).resolve().parent.parent.parent
BACKENDS = ROOT / "tests" / "data" / "backends"

_HEAD = """
[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"

[project]
name = "toy"
version = "1.0"
requires-python = "{requires_python}"

[tool.provision-backend]
"""


def toy_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = (), *, command: str = "") -> Path:
    """Write a wheel with one module of its own name, which knows its version, and a *command* that prints the name."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {
        f"{name}.py": f"VERSION = {version!r}\n\n\ndef main():\n    print({name!r})\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if command:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command} = {name}:main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(str(path), "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path


def project_of(folder: Path, backend: str, *, name: str = "toy_backend", table: str = "", python: str = "") -> Path:
    """Write a project whose real backend is in its own tree.

    Args:
        folder: made where it does not exist.
        backend: source of the backend's module; it may import ``minimal``, which has every hook.
        name: what ``build-backend`` says.
        table: more of ``[tool.provision-backend]``; ``requires = []`` where it does not say.
        python: requires-python.
    """
    requires = "" if "requires =" in table else "requires = []\n"
    head = _HEAD.format(requires_python=python)
    table = f'build-backend = "{name}"\nbackend-path = ["backends"]\n{requires}{table}\n'
    return make_project(
        folder,
        {
            "pyproject.toml": head + table,
            "backends/toy_backend.py": backend,
            "backends/minimal.py": (BACKENDS / "minimal.py").read_text(encoding="utf-8"),
        },
    )


def another_interpreter() -> HostInterpreter:
    """Return the newest interpreter of this machine that is of another minor version than the running one; or skip."""
    here = "{}.{}.".format(*sys.version_info[:2])
    for host in reversed(host_interpreters()):
        if host.has_venv and host.has_ssl and not host.version.startswith(here):
            return host
    pytest.skip("no second CPython with venv and ssl is installed")


@dataclass
class Host:
    """A virtual environment in which hooks are run."""

    python: Path
    environ: Dict[str, str] = field(repr=False)
    stdout: str = ""
    """What the last hook process printed."""
    stderr: str = ""
    returncode: int = 0

    def hook(self, project: Path, hook: str, *arguments: Any, env: Optional[Mapping[str, str]] = None) -> Any:
        """Call a hook of ours as pip and build do; raises what pyproject_hooks raises, and `CalledProcessError`."""
        from pyproject_hooks import BuildBackendHookCaller

        def run(
            cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None
        ) -> None:
            environ = {**self.environ, **(env or {}), **(extra_environ or {})}
            # Standard input has something to read: whatever reads it shows that it was inherited.
            done = subprocess.run(cmd, cwd=cwd, env=environ, input="typed\n", capture_output=True, text=True)
            self.stdout, self.stderr, self.returncode = done.stdout, done.stderr, done.returncode
            if done.returncode:
                raise subprocess.CalledProcessError(done.returncode, list(cmd), done.stdout, done.stderr)

        caller = BuildBackendHookCaller(
            str(project), "provision_backend", runner=run, python_executable=str(self.python)
        )
        return getattr(caller, hook)(*arguments)

    def run(self, code: str, *arguments: str, cwd: Path, env: Optional[Mapping[str, str]] = None) -> Any:
        """Run code in one process, as tox runs many hooks, and return the JSON that it prints as its last line."""
        done = subprocess.run(
            [str(self.python), "-c", code, *arguments],
            cwd=str(cwd),
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.stdout, self.stderr, self.returncode = done.stdout, done.stderr, done.returncode
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def host_environment(prefix: Path, *, paths: Sequence[Path] = (ROOT,), bare: bool = False) -> Host:
    """Make the virtual environment of a frontend, of the running interpreter, with our package.

    Args:
        prefix: where; its name tells what frontend it is of.
        paths: folders on its path.
        bare: leave out the packages of the test run.
    """
    environ = clean_environ()
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(prefix)], check=True, env=environ)
    site = next(prefix.glob("lib/python*/site-packages"))
    lines = [*map(str, paths), *([] if bare else _packages())]
    if os.environ.get("COVERAGE_PROCESS_START") and not bare:
        # The hook processes are measured too, since most of what is tested runs there.
        lines.append("import coverage; coverage.process_startup()")
        environ.update({name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")})
    (site / "test-run.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Host(prefix / "bin" / "python", environ)


def _packages() -> List[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def backend_packages(folder: Path, *names: str) -> Path:
    """Install real build backends for the running interpreter into a folder that can be put on the path."""
    environ = clean_environ()
    links = wheelhouse(Path(sys.executable), environ)
    environ.update(NO_COMPILE, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links))
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *names]
    subprocess.run(command, check=True, env=environ)
    return folder


def in_process(code: str, project: Path, *, env: Optional[Mapping[str, str]] = None) -> Any:
    """Run code in a process of the running interpreter, in a project's folder, with our package; return its JSON."""
    environ = {**clean_environ(), **(env or {}), "PYTHONPATH": os.pathsep.join([str(ROOT), *_packages()])}
    return Host(Path(sys.executable), environ).run(code, cwd=project)
