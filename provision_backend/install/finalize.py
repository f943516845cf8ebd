"""Make an unpacked tree a usable interpreter: correct what it recorded of its build, and set its markers and links.

The tree is finalized in staging, and every absolute path that is written is one of the place where it will be
published, so no published tree is ever incomplete (uv#19329). Only regular files below real folders are replaced, never
written to: a link in an archive cannot lead a write out of the tree, nor to another of its files.

Source: python-build-standalone, Running distributions; PEP 668.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
from pathlib import Path
from typing import Callable, Iterator

from ..errors import InstallError, InterpreterError, UnpackError
from ..interpreter import Interpreter
from ..processes import clean_environment, run_quiet
from .sysconfig_data import patch_config_script, patch_json, patch_makefile, patch_module, patch_pkgconfig

__all__ = ["compile_bytecode", "finalize_tree", "find_executable"]

_COMPILE_TIMEOUT = 600.0  # seconds; it takes ten on one core

_EXTERNALLY_MANAGED = """\
[externally-managed]
Error=This Python is managed by provision-backend and shared by all builds on this
 machine; what is installed into it would change every one of them.

 Make a virtual environment of it and install there:

     {python} -m venv path/to/environment
     path/to/environment/bin/python -m pip install ...
"""


def finalize_tree(tree: Path, *, final_path: Path) -> None:
    """Make an unpacked tree usable at the place where it will lie.

    Finalizing twice is finalizing once: the second time no byte changes.

    Args:
        tree: the folder that holds ``bin`` and ``lib``, in staging.
        final_path: absolute path at which the tree will be published; it does not have to exist.

    Raises:
        UnpackError: the tree has no interpreter, no standard library, or a build record that is not of CPython's form.
        InstallError: a file could not be read or written.
    """
    try:
        executable = find_executable(tree)
        stdlib = _standard_library(tree, executable)
        # Links of the final path are not resolved: tools compare it with what they are given.
        _patch_build_record(tree, stdlib, os.path.abspath(str(final_path)))
        for path in _own_files(tree, "lib/pkgconfig/*.pc"):
            _rewrite(path, patch_pkgconfig)
        marker = _EXTERNALLY_MANAGED.format(python=executable.name)
        _write(stdlib / "EXTERNALLY-MANAGED", marker.encode(), mode=0o644)
        _link_executable(executable)
    except OSError as exc:
        raise InstallError(f"could not finalize {tree}: {exc.strerror or exc}: {exc.filename!r}") from exc


def compile_bytecode(interpreter: Interpreter) -> None:
    """Compile the standard library of a provisioned interpreter, pip included, as it would itself when it imports.

    The manifest of a published interpreter leaves compiled modules out. What cannot be compiled, such as a test of
    broken syntax, is left to whoever imports it.

    Args:
        interpreter: one that was provisioned, at its final place.
    """
    executable = Path(interpreter.executable)
    library = executable.parent.parent / "lib" / executable.name
    command = [str(executable), "-I", "-m", "compileall", "-q", "-j", "0", str(library)]
    # A failure costs the builds some time and is no error.
    with contextlib.suppress(InterpreterError):
        run_quiet(command, env=clean_environment(), timeout=_COMPILE_TIMEOUT)


def find_executable(tree: Path) -> Path:
    """Return the interpreter of a tree: a real file, never a link to it (python-build-standalone#380).

    Args:
        tree: the folder that holds ``bin`` and ``lib``.

    Returns:
        ``bin/python3.X``, or ``bin/python3.Xt`` of a free-threaded build.

    Raises:
        UnpackError: there is none.
    """
    names = [path for path in _own_files(tree, "bin/python3.*") if re.fullmatch(r"python3\.\d+t?d?", path.name)]
    # A free-threaded build installs its program under both names; the longer one is what it calls itself.
    names.sort(key=lambda path: (-len(path.name), path.name))
    # The layout of Windows.
    names.extend(_own_files(tree, "python.exe"))
    if not names:
        raise UnpackError(f"{tree} holds no interpreter: wanted the file bin/python3.X")
    return names[0]


def _standard_library(tree: Path, executable: Path) -> Path:
    stdlib = tree / "lib" / executable.name.rstrip("d")
    if not stdlib.is_dir() or _leads_elsewhere(tree, stdlib):
        raise UnpackError(f"{tree} holds no standard library: wanted the folder lib/{stdlib.name}")
    return stdlib


def _patch_build_record(tree: Path, stdlib: Path, prefix: str) -> None:
    modules = list(_own_files(stdlib, "_sysconfigdata*.py"))
    if not modules:
        raise UnpackError(f"{tree} does not say how it was built: wanted the file lib/{stdlib.name}/_sysconfigdata*.py")
    for path in modules:
        tail = "/" + path.relative_to(tree).as_posix()
        _rewrite(path, functools.partial(patch_module, prefix=prefix, tail=tail))
        # CPython trusts a compiled module by size and time of its source, and both may stay the same.
        for stale in _own_files(stdlib, f"__pycache__/{path.stem}.*.pyc"):
            stale.unlink()
    for path in _own_files(stdlib, "_sysconfig_vars_*.json"):
        _rewrite(path, functools.partial(patch_json, prefix=prefix, name=path.name))
    for path in _own_files(stdlib, "config-*/Makefile"):
        _rewrite(path, functools.partial(patch_makefile, prefix=prefix))
    for path in _own_files(tree, "bin/python*-config"):
        _rewrite(path, functools.partial(patch_config_script, prefix=prefix))


def _link_executable(executable: Path) -> None:
    # Archives up to tag 20240107 have no bin/python.
    for name in ("python", "python3"):
        link = executable.with_name(name)
        if executable.suffix != ".exe" and not os.path.lexists(str(link)):
            link.symlink_to(executable.name)


def _own_files(root: Path, pattern: str) -> Iterator[Path]:
    """Find the regular files of a tree that no link leads to."""
    for path in sorted(root.glob(pattern)):
        if path.is_file() and not _leads_elsewhere(root, path):
            yield path


def _leads_elsewhere(root: Path, path: Path) -> bool:
    return any(part.is_symlink() for part in [path, *path.parents] if root in part.parents)


def _rewrite(path: Path, patch: Callable[[str], str]) -> None:
    old = path.read_bytes()
    new = patch(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if new != old:
        _write(path, new, mode=stat.S_IMODE(path.stat().st_mode))


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # What another name links to stays as it is, since the file is made anew.
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with path.open("xb") as file:
        file.write(content)
    path.chmod(mode)
