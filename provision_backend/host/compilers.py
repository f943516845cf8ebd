"""Say where a C compiler was looked for on Windows, where none is found; elsewhere the real backend's message says it.

Source: setuptools, ``distutils/compilers/C/msvc.py``: it takes cl.exe from PATH, or asks vswhere, the program of the
Visual Studio installer.
"""

from __future__ import annotations

import os
import shutil
from typing import Mapping

from ..errors import InterpreterError
from ..processes import run_quiet
from ..systems import RUNNING

__all__ = ["TOOLCHAIN_ADVICE", "missing_compiler"]

TOOLCHAIN_ADVICE = "set PROVISION_BACKEND_TOOLCHAIN=zig, which takes one from the package ziglang"

_VSWHERE = os.path.join("Microsoft Visual Studio", "Installer", "vswhere.exe")
_QUESTION = ("-latest", "-prerelease", "-products", "*", "-property", "installationPath", "-requires")
_COMPONENTS = ("Microsoft.VisualStudio.Component.VC.Tools.x86.x64", "Microsoft.VisualStudio.Component.VC.Tools.ARM64")


def missing_compiler(environ: Mapping[str, str]) -> str:
    """Return where a build with these variables looked for a compiler, and what to do; empty where there is one.

    That is Microsoft's on Windows, and on Linux any on ``PATH``; on other systems nothing is looked for.
    """
    if RUNNING.name == "linux":
        return _missing_on_path(environ)
    if RUNNING.name != "windows" or shutil.which("cl", path=environ.get("PATH")):
        return ""
    vswhere = os.path.join(environ.get("PROGRAMFILES(X86)") or environ.get("PROGRAMFILES", ""), _VSWHERE)
    try:
        if run_quiet([vswhere, *_QUESTION, *_COMPONENTS, "-requiresAny"], env=environ).stdout.strip():
            return ""
        asked = f"{vswhere} names no Visual Studio that has it"
    except InterpreterError:
        asked = f"{vswhere} does not exist"
    return (
        f"extension modules need Microsoft Visual C++, and it was not found: cl.exe is not on PATH, and {asked}\n"
        "  install the Build Tools for Visual Studio with 'Desktop development with C++', if this build compiles"
    )


def _missing_on_path(environ: Mapping[str, str]) -> str:
    named = environ.get("CC", "").split()[:1]  # It may have options, too.
    names = named or ["cc", "gcc", "clang"]
    if any(shutil.which(name, path=environ.get("PATH")) for name in names):
        return ""
    found = f"CC names {named[0]}, which is not there" if named else "neither cc, gcc nor clang is on PATH"
    return f"no C compiler was found: {found}\n  if this build compiles, {TOOLCHAIN_ADVICE}, or install a compiler"
