"""Interpreter → a virtual environment (PEP 405).

That of an interpreter which we have provisioned is laid out here, which takes no process. Every other interpreter makes
one with its own module ``venv``, since distributions patch that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BuildEnvironmentError
from ..processes import clean_environment, run_quiet
from ..settings import Settings
from .installers import find_uv, last_lines, supports_python_option

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["create_environment"]


def create_environment(interpreter: Interpreter, path: Path, settings: Settings) -> None:
    """Make a virtual environment with nothing in it, or with pip where the interpreter's own cannot fill it.

    Args:
        interpreter: what it is made of.
        path: its folder, which may be there and empty.
        settings: say whether uv installs.

    Raises:
        BuildEnvironmentError: it could not be made.
    """
    bare = supports_python_option(interpreter.pip) or bool(find_uv(settings))
    if bare and interpreter.source == "managed" and os.name == "posix":
        try:
            _lay_out(Path(interpreter.executable), interpreter.version, path)
        except OSError as exc:
            raise BuildEnvironmentError(f"could not make the virtual environment {path}: {exc.strerror}") from None
    else:
        _run_venv(interpreter, path, bare=bare)


def _lay_out(executable: Path, version: str, path: Path) -> None:
    """Write what the module ``venv`` writes, less what is for people: scripts that activate it, and a prompt.

    An interpreter finds its environment by ``pyvenv.cfg`` and what it is made of by ``home`` there.

    Args:
        executable: ``bin/python3.X`` of a standalone CPython, no link.
        version: of it.
        path: the environment's folder.

    Source: PEP 405, Specification; CPython, Modules/getpath.py.
    """
    site_packages = path / "lib" / executable.name / "site-packages"
    site_packages.mkdir(parents=True)
    (path / "bin").mkdir()
    # Links, since a copied executable of a python-build-standalone that links libpython dynamically does not start
    # (python-build-standalone#381).
    (path / "bin" / "python").symlink_to(str(executable))
    # A free-threaded one calls itself python3.Xt, and is found as python3.X too.
    for name in {"python3", "python" + ".".join(version.split(".")[:2]), executable.name}:
        (path / "bin" / name).symlink_to("python")
    # Build tools of 64-bit systems look there too, and find the same.
    (path / "lib64").symlink_to("lib")
    facts = f"home = {executable.parent}\ninclude-system-site-packages = false\nversion = {version}\n"
    (path / "pyvenv.cfg").write_text(facts + f"executable = {executable}\n", encoding="utf-8")


def _run_venv(interpreter: Interpreter, path: Path, *, bare: bool) -> None:
    # The command line makes links on POSIX.
    command = [interpreter.executable, "-I", "-m", "venv"]
    if bare:
        # Without pip it takes 0.1 s, with it 7 s.
        command.append("--without-pip")
    done = run_quiet([*command, str(path)], env=clean_environment(), timeout=300.0)
    if done.returncode != 0:
        raise BuildEnvironmentError(
            f"{interpreter.executable} could not make a virtual environment: exit status {done.returncode}",
            hint=last_lines(done.stdout + done.stderr),
        )
