"""The least that a comparison can come down to: projects with a backend of a few lines in the place of ours.

In: a project without us. Out: the same project, whose own backend does the one thing that ours cannot do without, and
nothing else. What is measured of it is no target; it tells how much of what we cost is ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Tuple

__all__ = ["ask_once", "start_another"]

_SYSTEM = """[build-system]
requires = ["pyproject-hooks"]
build-backend = "least"
backend-path = ["."]
"""
"""One small package stands for us, so that the frontend's installer has something to do."""

_ASK = """
def get_requires_for_build_wheel(config_settings=None):
    return {requires}


def build_wheel(*arguments):
    from {module} import build_wheel

    return build_wheel(*arguments)
"""

_START = """
def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(directory, config_settings=None, metadata_directory=None):
    import subprocess

    # setuptools has arguments of its own when it has been asked.
    code = "import sys, {module} as b; to = sys.argv[1]; b.get_requires_for_build_wheel(); print(b.build_wheel(to))"
    return subprocess.check_output([{python!r}, "-c", code, directory]).decode().split()[-1]
"""


def ask_once(project: Path) -> None:
    """Have the frontend install the real backend in a second run of its installer, as ``requires`` in a table does."""
    system, module = _take_system(project)
    requires = re.search(r"^requires = (.*)$", system, re.MULTILINE)
    assert requires, system
    (project / "least.py").write_text(_ASK.format(module=module, requires=requires[1]), encoding="utf-8")


def start_another(project: Path, python: Path) -> None:
    """Have the real backend run under another interpreter, whose path is known and where all is installed."""
    _, module = _take_system(project)
    (project / "least.py").write_text(_START.format(module=module, python=str(python)), encoding="utf-8")


def _take_system(project: Path) -> Tuple[str, str]:
    """Put our ``[build-system]`` in the place of the project's, and return that and the module of its backend."""
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    match = re.search(r"^\[build-system\]\n(?:[^\[\n].*\n)+", text, re.MULTILINE)
    assert match, text
    backend = re.search(r'^build-backend = "(.*)"$', match[0], re.MULTILINE)
    assert backend, text
    file.write_text(text.replace(match[0], _SYSTEM), encoding="utf-8")
    return match[0], backend[1]
