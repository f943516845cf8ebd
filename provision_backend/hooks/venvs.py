"""Interpreter → a virtual environment, made by its own module ``venv``, or by uv where uv is what installs."""

from __future__ import annotations

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
        settings: say whether uv installs, which then makes it too.

    Raises:
        BuildEnvironmentError: it could not be made.
    """
    uv = find_uv(settings)
    if uv:
        # A third of the time, and the same links; where it does not work the message is that of the venv module.
        command = [uv, "venv", "--quiet", "--no-config", "--no-project", "--python", interpreter.executable]
        kept = ("UV_CACHE_DIR", "UV_NO_CACHE")
        inherited = clean_environment().items()
        variables = {name: value for name, value in inherited if name in kept or not name.startswith("UV_")}
        variables["UV_PYTHON_DOWNLOADS"] = "never"
        if run_quiet([*command, str(path)], env=variables, timeout=300.0).returncode == 0:
            return
    # The command line makes links on POSIX; a copied executable of a python-build-standalone that links libpython
    # dynamically does not start (python-build-standalone#381).
    command = [interpreter.executable, "-I", "-m", "venv"]
    if supports_python_option(interpreter.pip) or uv:
        # Without pip it takes 0.1 s, with it 7 s.
        command.append("--without-pip")
    done = run_quiet([*command, str(path)], env=clean_environment(), timeout=300.0)
    if done.returncode != 0:
        raise BuildEnvironmentError(
            f"{interpreter.executable} could not make a virtual environment: exit status {done.returncode}",
            hint=last_lines(done.stdout + done.stderr),
        )
