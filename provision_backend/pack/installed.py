"""Inspect an installed CPython, and refuse one that cannot be moved to another folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping

from ..errors import PackError
from ..processes import run_interpreter_json
from ..versions import IMPLEMENTATION, minor_of

__all__ = ["Installation", "inspect_installation"]

# It runs in the interpreter to pack, which may be any Python.
_QUESTIONS = """
import json, os, sys, sysconfig
try:
    import ensurepip
    pip = ensurepip.version()
except Exception:
    pip = ""
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info[3])
freethreaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
names = ("prefix", "exec_prefix", "abs_builddir", "abs_srcdir")
bases = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix,
         "installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
scheme = "posix_prefix"
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info[4]) if level else ""),
    "program": "python%d.%d" % info[:2] + ("t" if freethreaded else ""),
    "too_old": info < (3, 8),
    "platform": sys.platform,
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "executable": sys.executable,
    "freethreaded": freethreaded,
    "debug": hasattr(sys, "gettotalrefcount"),
    "in_build_tree": sysconfig.is_python_build(),
    "paths": {key: sysconfig.get_path(key, scheme, bases) for key in ("stdlib", "platstdlib", "purelib", "include")},
    "config": {name: str(sysconfig.get_config_var(name) or "") for name in names},
    "pip": pip,
}))
"""


@dataclass(frozen=True)
class Installation:
    """An interpreter that can probably be packed."""

    executable: Path
    """The base interpreter's own executable, links resolved."""
    prefix: Path
    """Folder that it reports as its prefix, links not resolved."""
    version: str
    """Full version, ``3.13.5`` or ``3.15.0a1``."""
    freethreaded: bool
    paths: Mapping[str, str]
    """Standard library (``stdlib``, ``platstdlib``), ``purelib`` and ``include``, relative to the prefix."""
    config: Mapping[str, str]
    """Some variables of its sysconfig; absent ones are empty."""
    pip: str
    """Version of the pip that its ensurepip installs."""
    program: str
    """Name of its executable, ``python3.13`` or ``python3.13t``."""

    @property
    def minor(self) -> str:
        """Its minor version, ``3.13``."""
        return minor_of(self.version)


def inspect_installation(python: Path) -> Installation:
    """Inspect the interpreter of an executable, or the base interpreter of a virtual environment."""
    if not os.path.isfile(python):
        raise PackError(f"'{python}' is not a file", hint="name the executable of an installed CPython")
    facts = _inspect(python)
    # The executable of a virtual environment may be a copy, so the one in the prefix is packed.
    executable = Path(os.path.realpath(os.path.join(facts["prefix"], "bin", facts["program"])))
    if not os.path.isfile(executable):
        executable = Path(os.path.realpath(facts["executable"]))
    # A virtual environment may be out of date about its base interpreter, which may have been updated in place.
    facts = _inspect(executable)
    _refuse_layout(executable, facts)
    paths = {key: os.path.relpath(path, facts["prefix"]) for key, path in facts["paths"].items()}
    same = {key: facts[key] for key in ("version", "freethreaded", "config", "pip", "program")}
    return Installation(executable=executable, prefix=Path(facts["prefix"]), paths=paths, **same)


def _inspect(python: Path) -> Dict[str, Any]:
    # LD_LIBRARY_PATH stays set: some interpreters do not start without it, and the libraries found there are packed.
    facts = run_interpreter_json(python, _QUESTIONS)
    reason = _reason_against(facts)
    if reason:
        raise PackError(f"'{python}' cannot be packed: {reason}")
    return facts


def _reason_against(facts: Dict[str, Any]) -> str:
    if facts.get("implementation") != IMPLEMENTATION:
        return f"it is {facts.get('implementation')!r}, wanted CPython"
    if facts["too_old"]:
        return f"it is CPython {facts['version']}, wanted 3.8 or later"
    if facts["platform"] != "linux":
        return f"only interpreters for Linux are, this is one for {facts['platform']!r}"
    if facts["debug"]:
        return "it is a debug build, which extension modules of other builds do not fit"
    if facts["in_build_tree"]:
        return "it runs from the folder it was built in, wanted an installed one ('make install')"
    return ""


def _refuse_layout(executable: Path, facts: Dict[str, Any]) -> None:
    """Refuse an interpreter that is not in a folder of its own."""
    # Real paths are compared, since a prefix may be a link to another (pyenv's 3.12).
    prefix = os.path.realpath(facts["prefix"])
    reason = hint = ""
    paths = facts["paths"].values()
    outside = [path for path in paths if os.path.commonpath((os.path.realpath(path), prefix)) != prefix]
    if prefix in ("/", "/usr"):
        reason = f"it is part of the operating system, and its files are spread over the folders of '{prefix}'"
        hint = (
            "pack one that was installed into a folder of its own, for example by 'pyenv install', or from CPython's\n"
            "sources: './configure --prefix=DIR && make && make install'"
        )
    elif os.path.isdir(Path(prefix) / "conda-meta"):
        # Its packages are in lib, too, and nothing but conda's own records says which files are Python's.
        reason = f"'{prefix}' is an environment of conda, whose packages cannot be told from the interpreter"
        hint = "conda-pack makes such an environment relocatable; the setting 'python' uses it where it is"
    elif os.path.realpath(facts["exec_prefix"]) != prefix:
        reason = f"it is installed to two folders, '{prefix}' and '{facts['exec_prefix']}'"
    elif outside:
        reason = f"its prefix is '{prefix}', but a part of it is in '{outside[0]}'"
    elif not facts["pip"]:
        reason = "it has no module 'ensurepip', from which pip would be installed"
    if reason:
        raise PackError(f"'{executable}' cannot be packed: {reason}", hint=hint)
