"""Environment variables: those that a child does not get, and those of this process that are set for a while.

Every Python that is not the running one gets `clean_environment()`: variables that a frontend or another Python left
behind stop it or misdirect it. What the installers of a build environment do not get is beside them, in
`provision_backend.hooks.installers`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Dict, Iterator, Mapping, Optional, Sequence

from .systems import RUNNING

__all__ = ["DROPPED_VARIABLES", "FRONTEND_VARIABLES", "clean_environment", "drop_variables", "set_variables"]

DROPPED_VARIABLES: Dict[str, str] = {
    "PYTHONHOME": "another Python's standard library; start-up ends in a fatal error",
    "PYTHONPATH": "modules of another version; pip's isolation puts a sitecustomize there that extends sys.path",
    "PYTHONPLATLIBDIR": "another Python's lib64; start-up ends in a fatal error",
    "PYTHON_GIL": "0 is a fatal error in every build from 3.13 on that has a GIL",
    "PYTHONEXECUTABLE": "hides from the child that it is in a virtual environment",
    "__PYVENV_LAUNCHER__": "hides from the child that it is in a virtual environment",
    "_PYTHON_SYSCONFIGDATA_NAME": "names a module that only crossenv's or conda's Python has",
    "_PYTHON_SYSCONFIGDATA_PATH": "the folder of that module, from 3.14 on",
    "_PYTHON_HOST_PLATFORM": "changes the platform tag of the wheel; kept on macOS, where universal builds set it",
    "_PYTHON_PROJECT_BASE": "makes sysconfig look for another Python's build tree",
    "_PYPROJECT_HOOKS_*": "the outer backend's name and path; a forwarded hook would import from the outer path",
    "PEP517_*": "the same, as older frontends spell it",
    "_PIP_RUNNING_IN_SUBPROCESS": "makes pip ignore --python and install into its own environment: the shared cache",
    "_PIP_IN_BUILD_IGNORE_CONSTRAINTS": "makes a nested pip ignore constraints",
    "_PROVISION_BACKEND_FOLDER": "the folder of the environment of one of our own builds, and of no build within it",
    "SETUPTOOLS_EXT_SUFFIX": "names extension modules for another version",
}
"""Variables that `clean_environment()` drops, and why; a name that ends in ``*`` stands for all that begin so.

PIP_BUILD_TRACKER is not among them: it is pip's guard against recursion and has to reach the inner pip.
"""

FRONTEND_VARIABLES = ("_PYPROJECT_HOOKS_*", "PEP517_*")
"""Those of them by which a frontend tells its hook process which backend to call."""


def clean_environment(base: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the environment variables, by default those of this process, for a Python that is not the running one.

    They are without `DROPPED_VARIABLES`, and with ``PYTHONNOUSERSITE=1``, since packages of the user's other Pythons
    have no place in a build, and ``PYTHONDONTWRITEBYTECODE=1``, since an interpreter in the cache is to stay as it was
    published.
    """
    dropped = [name for name in DROPPED_VARIABLES if name not in RUNNING.build_variables]
    environ = drop_variables(os.environ if base is None else base, dropped)
    return {**environ, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def drop_variables(environ: Mapping[str, str], names: Sequence[str]) -> Dict[str, str]:
    """Return a copy of an environment without the variables of some names; ``A_*`` stands for all that begin so."""
    fold = str.upper if RUNNING.name == "windows" else str  # There a variable is the same in any case.
    exact = {fold(name) for name in names if not name.endswith("*")}
    beginnings = tuple(fold(name[:-1]) for name in names if name.endswith("*"))
    kept = [name for name in environ if fold(name) not in exact and not fold(name).startswith(beginnings)]
    return {name: environ[name] for name in kept}


@contextmanager
def set_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process while the body runs, whatever the body does with them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
