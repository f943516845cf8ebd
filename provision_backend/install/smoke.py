"""Start a finalized interpreter and compare what it is with what it should be: `smoke_run` → `Facts`.

This is the last check before a tree is published. What the program's ELF file says of its libc is checked elsewhere;
here the interpreter itself speaks: its version, the names of its extension modules, and whether it loads native code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Tuple

from ..errors import InterpreterError
from ..processes import run_interpreter_json

__all__ = ["Facts", "smoke_run"]

# Nothing of the standard library that has a source is imported, unless asked: an archive brings no .pyc files, and to
# compile what json, sysconfig and ssl import took longer than everything else of a provisioning together.
_PROBE = r"""
import sys
from importlib import machinery

failed = {}

def attempt(name, action, *arguments):
    try:
        return action(*arguments)
    except Exception as exc:
        failed[name] = "%s: %s" % (type(exc).__name__, exc)

def find(name):
    found = name in sys.builtin_module_names or machinery.PathFinder.find_spec(name)
    if not found:
        raise ModuleNotFoundError("No module named %r" % name)
    return found

def look(name, native):
    find(name)
    __import__(name if thorough else native)

def read(module):
    # A release of pip says its version in the first lines of its module.
    origin = find(module).origin
    if not thorough:
        with open(origin, encoding="utf-8") as file:
            for line in file:
                if line.startswith("__version__ ="):
                    return line.split("=")[1].strip(" \n'\"")
    return getattr(__import__(module), "__version__", "")

def build_variables(*names):
    # As sysconfig finds them; its module is a literal of thousands of lines.
    multiarch = getattr(sys.implementation, "_multiarch", "")
    try:
        origin = find("_sysconfigdata_%s_%s_%s" % (getattr(sys, "abiflags", ""), sys.platform, multiarch)).origin
        with open(origin, encoding="utf-8") as file:
            text = file.read()
        return [text.split("'%s': '" % name, 1)[1].split("'", 1)[0] for name in names]
    except Exception:
        import sysconfig
        return [sysconfig.get_config_var(name) or "" for name in names]

def encode(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (encode(key), encode(value[key])) for key in value)
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(encode, value))
    units = str(value).encode("utf-16-be", "surrogatepass")
    return '"%s"' % "".join("\\u%02x%02x" % pair for pair in zip(units[::2], units[1::2]))

for name, native in (("zlib", "zlib"), ("hashlib", "sys"), ("venv", "sys"), ("ssl", "_ssl"), ("ensurepip", "sys")):
    attempt(name, look, name, native)

# These need no library but libc and libm; others (_crypt, _tkinter) may lack theirs and do no harm.
plain = ["_bisect", "_ctypes", "_datetime", "_heapq", "_json", "_random", "_socket", "_struct", "array", "cmath",
         "fcntl", "math", "select"]
for name in plain:
    if getattr(machinery.PathFinder.find_spec(name), "origin", None):
        attempt("native " + name, __import__, name)

has_ctypes = "_ctypes" in sys.builtin_module_names or bool(machinery.PathFinder.find_spec("_ctypes"))
if has_ctypes:
    attempt("dlopen", lambda: __import__("_ctypes").dlopen(None, 0))

soabi, ext_suffix = build_variables("SOABI", "EXT_SUFFIX")
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
print(encode({
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info.serial) if level else ""),
    "implementation": sys.implementation.name,
    "freethreaded": "t" in getattr(sys, "abiflags", ""),
    "soabi": soabi,
    "ext_suffix": ext_suffix,
    "suffixes": machinery.EXTENSION_SUFFIXES,
    "prefix": sys.prefix,
    "pip": attempt("pip", read, "pip") or "",
    "has_ctypes": has_ctypes,
    "failed": failed,
}))
"""

_WANTED_MODULES = ("ssl", "ensurepip", "pip")
"""Modules whose absence is told, not refused: an interpreter that someone packed may do without them."""


class Facts(NamedTuple):
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


def smoke_run(python: Path, *, version: str, freethreaded: bool, triple: str, thorough: bool = False) -> Facts:
    """Start an interpreter and check that it is what its archive says and can load native code.

    Args:
        python: absolute path of the interpreter in its tree: ``<tree>/bin/python3.X``.
        version: full version that is wanted, PEP 440.
        freethreaded: whether a build without a GIL is wanted.
        triple: target triple of the archive.
        thorough: import the modules that every build needs, and do not only look whether they and their libraries are
            there; for an archive that nobody has used yet.

    Returns:
        What it said; `Facts.warnings` is empty when nothing is missing.

    Raises:
        InterpreterError: it does not start, is not what was wanted, or cannot be used to build wheels.
    """
    answer = run_interpreter_json(python, f"thorough = {thorough}\n{_PROBE}")
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
