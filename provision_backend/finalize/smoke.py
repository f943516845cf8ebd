"""Start a finalized interpreter and compare what it is with what it should be: `smoke_run` → `Facts`.

This is the last check before a tree is published. What the program's ELF file says of its libc is checked elsewhere;
here the interpreter itself speaks: its version, the names of its extension modules, and whether it loads native code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

from ..errors import InterpreterError
from ..processes import run_interpreter_json

__all__ = ["Facts", "smoke_run"]

_PROBE = """
import importlib, importlib.machinery, importlib.util, json, os, sys, sysconfig

failed = {}

def attempt(name, action, *arguments):
    try:
        return action(*arguments)
    except Exception as exc:
        failed[name] = "%s: %s" % (type(exc).__name__, exc)

for name in ("zlib", "hashlib", "venv", "ssl", "ensurepip"):
    attempt(name, importlib.import_module, name)

# These need no library but libc and libm; others (_crypt, _tkinter) may lack theirs and do no harm.
plain = {"_bisect", "_ctypes", "_datetime", "_heapq", "_json", "_random", "_socket", "_struct", "array", "cmath",
         "fcntl", "math", "select"}
files = [file for folder in sys.path if os.path.basename(folder) == "lib-dynload" and os.path.isdir(folder)
         for file in os.listdir(folder)]
for name in sorted(plain.intersection(file.split(".")[0] for file in files)):
    attempt("native " + name, importlib.import_module, name)

has_ctypes = importlib.util.find_spec("_ctypes") is not None
if has_ctypes:
    attempt("dlopen", lambda: __import__("ctypes").CDLL(None))

pip = attempt("pip", importlib.import_module, "pip")
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
print(json.dumps({
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info.serial) if level else ""),
    "implementation": sys.implementation.name,
    "freethreaded": "t" in getattr(sys, "abiflags", ""),
    "soabi": sysconfig.get_config_var("SOABI") or "",
    "ext_suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "suffixes": importlib.machinery.EXTENSION_SUFFIXES,
    "prefix": sys.prefix,
    "pip": getattr(pip, "__version__", ""),
    "has_ctypes": has_ctypes,
    "failed": failed,
}))
"""

_WANTED_MODULES = ("ssl", "ensurepip", "pip")
"""Modules whose absence is told, not refused: an interpreter that someone packed may do without them."""


@dataclass(frozen=True)
class Facts:
    """What an interpreter said about itself when it was started."""

    version: str
    """Full version, PEP 440: ``3.13.5``, ``3.15.0a1``."""
    implementation: str
    """``sys.implementation.name``."""
    freethreaded: bool
    """Whether it was built without a GIL."""
    soabi: str
    """``cpython-313-x86_64-linux-gnu``."""
    ext_suffix: str
    """What extension modules that it builds are called: ``.cpython-313-x86_64-linux-gnu.so``."""
    prefix: Path
    """``sys.prefix``."""
    pip: str = ""
    """Version of its pip, or empty."""
    warnings: Tuple[str, ...] = ()
    """One sentence for each thing that an interpreter may lack and most do not."""


def smoke_run(python: Path, *, version: str, freethreaded: bool, triple: str) -> Facts:
    """Start an interpreter and check that it is what its archive says and can load native code.

    Args:
        python: absolute path of the interpreter in its tree: ``<tree>/bin/python3.X``.
        version: full version that is wanted, PEP 440.
        freethreaded: whether a build without a GIL is wanted.
        triple: target triple of the archive.

    Returns:
        What it said; `Facts.warnings` is empty when nothing is missing.

    Raises:
        InterpreterError: it does not start, is not what was wanted, or cannot be used to build wheels.
    """
    answer = run_interpreter_json(python, _PROBE)
    try:
        facts = _read_facts(answer)
        wrong = [*_differences(facts, version, freethreaded, python), *_wrong_names(facts, answer["suffixes"], triple)]
        unusable = list(_unusable(answer["failed"]))
    except (KeyError, TypeError, AttributeError):
        raise InterpreterError(f"{str(python)!r} did not answer like a CPython: found {str(answer)[:80]!r}") from None
    if wrong:
        raise InterpreterError(f"{str(python)!r} is not what its archive says: {'; '.join(wrong)}")
    if unusable:
        raise InterpreterError(f"{str(python)!r} cannot be used to build: {'; '.join(unusable)}")
    return facts


def _read_facts(answer: Dict[str, Any]) -> Facts:
    warnings = [
        f"module {name!r} is missing ({answer['failed'][name]})" for name in _WANTED_MODULES if name in answer["failed"]
    ]
    if not answer["has_ctypes"]:
        warnings.append(
            "module '_ctypes' is missing, so loading of native code was tried with the standard library only"
        )
    return Facts(
        version=answer["version"],
        implementation=answer["implementation"],
        freethreaded=answer["freethreaded"],
        soabi=answer["soabi"],
        ext_suffix=answer["ext_suffix"],
        prefix=Path(answer["prefix"]),
        pip=answer["pip"],
        warnings=tuple(warnings),
    )


def _differences(facts: Facts, version: str, freethreaded: bool, python: Path) -> Iterator[str]:
    # The interpreter resolves links to its own program, not those above it.
    tree, prefix = (os.path.realpath(str(path)) for path in (python.parent.parent, facts.prefix))
    for what, wanted, found in (
        ("implementation", "cpython", facts.implementation),
        ("version", version, facts.version),
        ("threading", _threading(freethreaded), _threading(facts.freethreaded)),
        ("prefix", tree, prefix),
    ):
        if wanted != found:
            yield f"wanted {what} {wanted!r}, found {found!r}"


def _wrong_names(facts: Facts, suffixes: Tuple[str, ...], triple: str) -> Iterator[str]:
    libc, other = ("musl", "gnu") if "-musl" in triple else ("gnu", "musl")
    # A musl build that calls its modules linux-gnu imports no musllinux wheel (python-build-standalone#724).
    if "-linux-" in triple and any(f"-linux-{other}" in name for name in (facts.soabi, facts.ext_suffix, *suffixes)):
        yield f"wanted extension modules named for {libc}, found {facts.ext_suffix!r}"
    if facts.ext_suffix not in suffixes:
        yield f"wanted extension modules named as it imports them ({', '.join(suffixes)}), found {facts.ext_suffix!r}"


def _threading(freethreaded: bool) -> str:
    return "free-threaded" if freethreaded else "with GIL"


def _unusable(failed: Dict[str, str]) -> Iterator[str]:
    for name, why in failed.items():
        if name == "dlopen" or name.startswith("native "):
            yield f"it cannot load native code ({why})"
        elif name not in _WANTED_MODULES:
            yield f"its module {name!r} is missing ({why})"
