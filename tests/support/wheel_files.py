"""Make small wheels with compiled files in them, by the C compiler of this machine, and look into wheels."""

from __future__ import annotations

__all__ = ["MACHINE", "NATIVE", "compile_library", "compile_module", "make_wheel", "members", "record_problems"]

import base64
import csv
import hashlib
import os
import platform
import shutil
import subprocess
import sysconfig
import zipfile
from itertools import product
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Union

import pytest

MACHINE = platform.machine()
NATIVE = f"{MACHINE}-unknown-linux-gnu"

MODULE = """
#include <Python.h>
{declarations}
static PyObject *answer(PyObject *self, PyObject *argument) {{ {body} }}
static PyMethodDef methods[] = {{{{"answer", answer, METH_O, ""}}, {{0}}}};
static struct PyModuleDef module = {{PyModuleDef_HEAD_INIT, "spam", 0, -1, methods}};
PyMODINIT_FUNC PyInit_spam(void) {{ return PyModule_Create(&module); }}
"""


def compile_library(target: Path, code: str, *flags: Union[str, Path]) -> Path:
    """Compile C code into a shared library of this machine, or skip where there is no compiler."""
    # A test may have a PATH without programs.
    path = os.pathsep.join([os.environ.get("PATH", ""), os.defpath])
    compiler = shutil.which("cc", path=path)
    if compiler is None:
        pytest.skip("there is no C compiler")
    target.parent.mkdir(parents=True, exist_ok=True)
    source = target.parent / f"{target.name}.c"
    source.write_text(code)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    source.unlink()
    if "Python.h" in done.stderr:
        pytest.skip("the headers of the running Python are not installed")
    assert done.returncode == 0, done.stderr
    return target


def compile_module(
    target: Path, *flags: Union[str, Path], body: str = "return PyLong_FromLong(42);", declarations: str = ""
) -> Path:
    """Compile the extension module ``spam``, whose function ``answer`` has a *body* and takes an ``argument``."""
    code = MODULE.format(body=body, declarations=declarations)
    return compile_library(target, code, f"-I{sysconfig.get_path('include')}", *flags)


def make_wheel(
    folder: Path, tags: str, files: Mapping[str, Union[Path, str, bytes]], *, name: str = "spam", metadata: str = ""
) -> Path:
    """Write a wheel of version 1.0 as a build backend does.

    Args:
        folder: where it is written; made if it does not exist.
        tags: as in its file name: ``cp311-cp311-linux_x86_64``.
        files: their content, or a file that has it, by path in the wheel.
        name: of the project.
        metadata: more lines of the core metadata, each with its line end.
    """
    info = f"{name}-1.0.dist-info"
    expanded = ["-".join(tag) for tag in product(*(part.split(".") for part in tags.split("-")))]
    lines = ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: false", *(f"Tag: {tag}" for tag in expanded)]
    content: Dict[str, bytes] = {path: _bytes(data) for path, data in files.items()}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}".encode()
    content[f"{info}/WHEEL"] = "".join(f"{line}\n" for line in lines).encode()
    rows = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{rows}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-{tags}.whl"
    with zipfile.ZipFile(str(wheel), "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, (2024, 5, 6, 7, 8, 10))
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return wheel


def members(wheel: Path) -> List[str]:
    """Return the paths of the files in a wheel, sorted; folders are left out."""
    with zipfile.ZipFile(str(wheel)) as archive:
        return sorted(name for name in archive.namelist() if not name.endswith("/"))


def record_problems(wheel: Path) -> List[str]:
    """Return the files whose hash is not that of the wheel's RECORD, and those that are not in it."""
    with zipfile.ZipFile(str(wheel)) as archive:
        record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1] for row in csv.reader(archive.read(record).decode().splitlines())}
        paths = [path for path in members(wheel) if path != record]
        return [path for path in paths if rows.get(path) != _digest(archive.read(path))]


def _bytes(data: Union[Path, str, bytes]) -> bytes:
    if isinstance(data, bytes):
        return data
    return data.encode() if isinstance(data, str) else data.read_bytes()


def _digest(data: bytes) -> Optional[str]:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
