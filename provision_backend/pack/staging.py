"""Copy the files of an installation that belong in its archive to a staged tree.

The layout is that of python-build-standalone's ``install_only`` archives: ``bin``, ``include``, ``lib`` and ``share``,
without test suites, byte code and static libraries, and with only pip (below 3.12 setuptools, too) in site-packages.
Packages that a user installed are not copied.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Dict, List, Tuple

from ..errors import PackError
from ..files import hash_file
from .installed import Installation

__all__ = ["copy_installation", "install_bundled", "is_test_module", "relocatable_script"]

# Test suites are more than half of a standard library, and python-build-standalone leaves them out as well.
_DROPPED_FOLDERS = {"__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests"}
_TEST_MODULE = re.compile(r"_test\w*|_ctypes_test|_xxtestfuzz|xx(limited|subtype)\w*")
# Static libraries and objects only serve to link CPython into another program. The marker of PEP 668 says who manages
# that installation, and nobody manages the copy.
_DROPPED_FILES = re.compile(r".*\.[ao]|EXTERNALLY-MANAGED")
# The shell reads the second line as a command, and Python reads the two lines as one string: this is how scripts of
# python-build-standalone find the interpreter beside them.
_STUB = """#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/{program}" "$0" "$@"
' '''
"""
# The name of pip's entry point differs between its versions; its module can be run in all of them.
_PIP = """import runpy
import sys

sys.exit(runpy.run_module("pip", run_name="__main__"))
"""


def is_test_module(filename: str) -> bool:
    """Tell whether an extension module belongs to CPython's test suite: ``_testcapi.cpython-313-....so``."""
    return _TEST_MODULE.fullmatch(filename.split(".")[0]) is not None


def relocatable_script(program: str, body: str) -> str:
    """Return a script, whose body is without a ``#!`` line, that runs with an interpreter of its own folder."""
    return _STUB.format(program=program) + body


def copy_installation(installation: Installation, tree: Path) -> None:
    """Copy the standard library, headers, programs and libpython to *tree*, which is created."""
    prefix, paths = installation.prefix, installation.paths
    for key in ("stdlib", "platstdlib", "include"):
        if os.path.isdir(prefix / paths[key]) and not os.path.exists(tree / paths[key]):
            _copy_folder(prefix / paths[key], tree / paths[key])
    _copy_file(installation.executable, tree / "bin" / installation.program)
    patterns, links = _contents(installation)
    for pattern in patterns:
        for path in sorted(prefix.glob(pattern)):
            copy = _copy_folder if os.path.isdir(path) else _copy_file
            copy(path, (tree / pattern.replace("lib64", "lib")).with_name(path.name))
    for link, name in links.items():
        if os.path.exists((tree / link).with_name(name)) and not os.path.lexists(str(tree / link)):
            (tree / link).symlink_to(name)


def _contents(installation: Installation) -> Tuple[List[str], Dict[str, str]]:
    """Return patterns of what is copied if it exists, and the names that links lead to."""
    program, minor = installation.program, installation.minor
    tag = program[len("python") :]
    # Other versions may live in the same prefix, as in /usr/local.
    library = "libpython3t.so" if installation.freethreaded else "libpython3.so"
    patterns = [f"{folder}/{name}" for folder in ("lib64", "lib") for name in (f"lib{program}.so*", library)]
    shortened = {f"lib/pkgconfig/python-{tag}{kind}.pc": f"lib/pkgconfig/python3{kind}.pc" for kind in ("", "-embed")}
    shortened.update({f"bin/{program}-config": "bin/python3-config", f"bin/pydoc{minor}": "bin/pydoc3"})
    shortened.update({f"bin/idle{minor}": "bin/idle3", f"bin/2to3-{minor}": "bin/2to3"})
    shortened[f"share/man/man1/python{minor}.1"] = "share/man/man1/python3.1"
    # Tcl looks for its scripts beside its library.
    tcl = [f"lib/{name}[0-9]*" for name in ("tcl", "tk", "itcl", "thread", "tdbc", "Tix")]
    links = {f"bin/{name}": program for name in ("python", "python3", f"python{minor}")}
    links.update({link: os.path.basename(path) for path, link in shortened.items()})
    return [*patterns, *shortened, "share/terminfo", *tcl], links


def _copy_folder(source: Path, target: Path) -> None:
    for folder, names, files in os.walk(str(source), onerror=_raise):
        copy = target / os.path.relpath(folder, str(source))
        copy.mkdir(parents=True, exist_ok=True)
        names[:] = sorted(name for name in names if name not in _DROPPED_FOLDERS)
        # os.walk counts a link to a folder as a folder, and does not follow it.
        links = [name for name in names if os.path.islink(Path(folder) / name)]
        kept = (name for name in sorted(files) if not _DROPPED_FILES.fullmatch(name))
        for name in links + [name for name in kept if not (name.endswith(".so") and is_test_module(name))]:
            _copy_file(Path(folder) / name, copy / name, root=source)


def _raise(error: OSError) -> None:
    raise error


def _copy_file(source: Path, target: Path, *, root: Path | None = None) -> None:
    """Copy a file; a link is copied as one if it leads into *root*, by default its own folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(str(target)):
        return
    if os.path.islink(source):
        aim = os.readlink(str(source))
        inside = os.path.relpath(str(source.parent / aim), str(root or source.parent))
        if not Path(aim).is_absolute() and not inside.startswith(".."):
            target.symlink_to(aim)
            return
        if os.path.isdir(source):
            raise PackError(f"'{source}' is a link to the folder '{aim}', which is no part of the interpreter")
    shutil.copyfile(str(source), str(target))
    target.chmod(0o755 if os.access(str(source), os.X_OK) else 0o644)


def install_bundled(installation: Installation, tree: Path) -> None:
    """Install the pip that ensurepip includes, and below 3.12 its setuptools, as python-build-standalone does.

    Source: PEP 427, Installing a wheel; PEP 376, RECORD and INSTALLER.
    """
    # ensurepip would write the path of the staged tree into the scripts, and their hashes into RECORD: but the same
    # interpreter must give the same bytes every time.
    bundled = tree / installation.paths["stdlib"] / "ensurepip" / "_bundled"
    wheels = sorted(bundled.glob(f"pip-{installation.pip}-*.whl"))
    if not wheels:
        raise PackError(
            f"'{installation.executable}' cannot be packed: its ensurepip does not include pip {installation.pip}",
            hint="distributions that take pip's wheel out of CPython put it into a folder of the system instead",
        )
    site = tree / installation.paths["purelib"]
    scripts = [tree / "bin" / name for name in ("pip", "pip3", f"pip{installation.minor}")]
    for script in scripts:
        script.write_text(relocatable_script(installation.program, _PIP), encoding="utf-8")
        script.chmod(0o755)
    _install_wheel(wheels[-1], site, scripts)
    # An update may leave several; the newest is the last one, since the versions of setuptools have two digits. Its
    # script easy_install is obsolete.
    for wheel in sorted(bundled.glob("setuptools-*.whl"))[-1:]:
        _install_wheel(wheel, site, [])


def _install_wheel(wheel: Path, site: Path, scripts: List[Path]) -> None:
    with zipfile.ZipFile(str(wheel)) as archive:
        archive.extractall(str(site))
        record = site / next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
    installer = record.with_name("INSTALLER")
    installer.write_text("pip\n", encoding="ascii")
    with record.open("a", encoding="utf-8") as file:
        for path in [installer, *scripts]:
            digest = base64.urlsafe_b64encode(bytes.fromhex(hash_file(path))).rstrip(b"=").decode("ascii")
            file.write(f"{os.path.relpath(str(path), str(site))},sha256={digest},{path.stat().st_size}\n")
