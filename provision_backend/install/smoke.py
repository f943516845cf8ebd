"""Start a finalized interpreter and compare what it is with what it should be: `smoke_run` → `Facts`.

This is the last check before a tree is published. What the program's ELF file says of its libc is checked elsewhere;
here the interpreter reports its version, the names of its extension modules, and whether it loads native code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Tuple

from ..errors import InterpreterError
from ..host.resources import usable_cores
from ..processes import run_interpreter_json
from ..systems import RUNNING
from ..versions import IMPLEMENTATION

__all__ = ["Facts", "smoke_run"]

_IMPORTED_BY_BUILDS = [
    "__future__", "_ast_unparse", "_colorize", "_compression", "_opcode_metadata", "_py_warnings", "_weakrefset",
    "annotationlib", "argparse", "ast", "base64", "bisect", "bz2", "collections", "compression.*",
    "compression._common.*", "configparser", "contextlib", "copy", "copyreg", "csv", "dataclasses", "datetime",
    "decimal", "difflib", "dis", "email.*", "encodings.utf_8_sig", "enum", "fnmatch", "functools", "getopt",
    "gettext", "glob", "gzip", "hashlib", "heapq", "http", "http.client", "importlib", "importlib._abc",
    "importlib.abc", "importlib.metadata.*", "importlib.readers", "importlib.resources.*", "inspect", "ipaddress",
    "json.*", "keyword", "linecache", "locale", "logging", "lzma", "numbers", "opcode", "operator", "pathlib",
    "pathlib.*", "platform", "queue", "quopri", "random", "re", "re.*", "reprlib", "selectors", "shlex", "shutil",
    "signal", "socket", "sre_compile", "sre_constants", "sre_parse", "ssl", "string", "string.*", "struct",
    "subprocess", "sysconfig", "tarfile", "tempfile", "textwrap", "threading", "token", "tokenize", "tomllib.*",
    "traceback", "types", "typing", "urllib.*", "warnings", "weakref", "zipfile", "zipfile.*", "zipfile._path.*",
]  # fmt: skip
"""What hooks of hatchling, setuptools and flit_core import of CPython; with a star, every module of a package."""

_PIP_MODULES = ["venv", "pip._internal.cli.main_parser", "pip._internal.cli.main", "pip._internal.commands.install"]
"""What makes and fills a build environment where uv does not; pip imports 300 modules of its own."""

_MOST_PROCESSES = 8
"""How many processes compile, at most; each one shortens it by less than the one before."""

# Nothing that has a source is imported before builds' modules are compiled: an archive brings no .pyc files.
_PROBE = r"""
import os, sys
from importlib import machinery

# What it compiles from here on, and not while it started, is for other users, too.
os.umask(0o022)
sys.dont_write_bytecode = not compiled
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

def read_version(module):
    # A release of pip has its version in the first lines of its module, and takes its time to be imported.
    with open(find(module).origin, encoding="utf-8") as file:
        return file.read().split('__version__ = "')[1].split('"')[0]

for name, native in (("zlib", "zlib"), ("hashlib", "sys"), ("venv", "sys"), ("ssl", "_ssl"), ("ensurepip", "sys")):
    if attempt(name, find, name):
        attempt(name, __import__, name if thorough else native)

# These need no library but libc and libm; others (_crypt, _tkinter) may lack theirs and do no harm.
plain = ["_bisect", "_ctypes", "_datetime", "_heapq", "_json", "_random", "_socket", "_struct", "array", "cmath",
         "fcntl", "math", "select"]
for name in plain:
    if getattr(machinery.PathFinder.find_spec(name), "origin", None):
        attempt("native " + name, __import__, name)
if sys.platform != "win32" and attempt("_ctypes", find, "_ctypes"):
    attempt("dlopen", lambda: __import__("_ctypes").dlopen(None, 0))

def find_sources(names):
    # By os alone: what else finds files would first import, one after the other, much of what is to be compiled.
    library = os.path.dirname(os.__file__)
    for name in names:
        folder, last = os.path.split(os.path.join(library, *name.split(".")))
        files = [last + ".py", os.path.join(last, "__init__.py")]
        if last == "*":
            files = [file for file in os.listdir(folder) if file.endswith(".py")] if os.path.isdir(folder) else []
        yield from filter(os.path.isfile, [os.path.join(folder, file) for file in files])

def compile_sources(paths):
    # What an import does except to execute: the bytecode is stored beside the source.
    for path in paths:
        try:
            machinery.SourceFileLoader(path, path).get_code(path)
        except Exception:
            pass

def compile_in_processes(paths):
    # By size, so that all of them take the same time.
    paths = sorted(set(paths), key=os.path.getsize, reverse=True)
    shares = [paths[number::processes] for number in range(processes)]
    children = []
    try:
        while len(shares) > 1:
            children.append(os.fork())
            if not children[-1]:
                compile_sources(shares[-1])
                os._exit(0)
            shares.pop()
    except (AttributeError, OSError):
        pass
    for share in shares:
        compile_sources(share)
    for child in children:
        os.waitpid(child, 0)

if compiled:
    # What it has imported while it started, too, unless that is frozen into the program.
    started = [name for name in sys.modules if getattr(sys.modules[name].__spec__, "has_location", False)]
    compile_in_processes(find_sources(compiled + started))
for name in imported:
    try:
        __import__(name)
    except Exception:
        pass

import json, sysconfig

info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
print(json.dumps({
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info.serial) if level else ""),
    "implementation": sys.implementation.name,
    "threading": "free-threaded" if "t" in getattr(sys, "abiflags", "") else "with GIL",
    "ext_suffix": sysconfig.get_config_var("EXT_SUFFIX") or "",
    "suffixes": machinery.EXTENSION_SUFFIXES,
    "prefix": sys.prefix,
    "pip": attempt("pip", read_version, "pip") or "",
    "failed": failed,
}))
"""

_WANTED_MODULES = ("ssl", "ensurepip", "pip", "_ctypes")
"""Modules whose absence is reported, not refused: an interpreter that was packed may do without them."""


class Facts(NamedTuple):
    """What an interpreter reported about itself when it was started."""

    pip: str = ""
    """Version of its pip, or empty."""
    warnings: Tuple[str, ...] = ()
    """One sentence for each thing that an interpreter may lack and most do not."""


def smoke_run(
    python: Path, label: str, triple: str, *, thorough: bool = False, compiled: bool = False, with_pip: bool = False
) -> Facts:
    """Start an interpreter and check that it is what its archive says and can load native code.

    Args:
        python: absolute path of the interpreter in its tree: ``<tree>/bin/python3.X`` or ``<tree>/python.exe``.
        label: full version that is wanted, PEP 440, with a ``t`` behind it for a build without a GIL.
        triple: target triple of the archive.
        thorough: import the modules that every build needs, and do not only look whether they and their libraries
            exist; for an archive that nothing has used yet.
        compiled: have it store in its tree the bytecode of what builds import.
        with_pip: have it store that of venv and pip, too.

    Raises:
        InterpreterError: it does not start, is not what was wanted, or cannot be used to build wheels.
    """
    modules = _IMPORTED_BY_BUILDS if compiled else [], _PIP_MODULES if with_pip else []
    processes = min(usable_cores(), _MOST_PROCESSES)
    code = f"thorough, processes = {thorough}, {processes}\ncompiled, imported = {modules}\n{_PROBE}"
    answer = run_interpreter_json(python, code)
    wanted = {
        "implementation": IMPLEMENTATION,
        "version": label.rstrip("t"),
        "threading": "free-threaded" if label.endswith("t") else "with GIL",
        "prefix": os.path.realpath(str(RUNNING.tree_of(python))),
    }
    try:
        # The interpreter resolves links to its own program, not those above it.
        answer["prefix"] = os.path.realpath(answer["prefix"])
        wrong = [
            f"wanted {what} {wanted[what]!r}, found {answer[what]!r}" for what in wanted if wanted[what] != answer[what]
        ]
        wrong += _wrong_names(answer["ext_suffix"], answer["suffixes"], triple)
        failed = answer["failed"]
        unusable = list(_unusable(failed, triple))
        warnings = [f"module {name!r} is missing ({failed[name]})" for name in _WANTED_MODULES if name in failed]
        facts = Facts(answer["pip"], tuple(warnings))
    except (KeyError, TypeError, AttributeError, ValueError):  # The last one for a text that can be no path.
        raise InterpreterError(f"{str(python)!r} did not answer like a CPython: found {str(answer)[:80]!r}") from None
    if wrong:
        raise InterpreterError(f"{str(python)!r} is not what its archive says: {'; '.join(wrong)}")
    if unusable:
        raise InterpreterError(f"{str(python)!r} cannot be used to build: {'; '.join(unusable)}")
    return facts


def _wrong_names(suffix: str, suffixes: List[str], triple: str) -> Iterator[str]:
    libc, other = ("musl", "gnu") if "-musl" in triple else ("gnu", "musl")
    # A musl build that calls its modules linux-gnu imports no musllinux wheel (python-build-standalone#724).
    if "-linux-" in triple and any(f"-linux-{other}" in name for name in (suffix, *suffixes)):
        yield f"wanted extension modules named for {libc}, found {suffix!r}"
    if suffix not in suffixes:
        yield f"wanted extension modules named as it imports them ({', '.join(suffixes)}), found {suffix!r}"


def _unusable(failed: Dict[str, str], triple: str) -> Iterable[str]:
    reasons: Dict[str, str] = {}
    # The embeddable distribution for Windows has no module venv, and uv makes environments without it.
    optional = (*_WANTED_MODULES, *(["venv"] if "-windows-" in triple else []))
    for name, why in failed.items():
        # A library that is missing fails all modules that need it, and is reported once.
        if name == "dlopen" or name.startswith("native "):
            reasons.setdefault(why, f"it cannot load native code ({why})")
        elif name not in optional:
            reasons.setdefault(why, f"its module {name!r} is missing ({why})")
    return reasons.values()
