"""Source trees that the tests build: small, and each with one point. All need a Python that an old host is not."""

from __future__ import annotations

from pathlib import Path

from support.hosts import make_project

__all__ = ["c_extension", "pure"]

_HEADER = """
[build-system]
requires = ["provision-backend"{one_list}]
build-backend = "provision_backend"

[project]
name = "{name}"
version = "1.0"
requires-python = "{requires_python}"

[tool.provision-backend]
build-backend = "{backend}"
{requires}
"""

# PyLong_AsInt and METH_FASTCALL would be there on older ones too; the point is that a real compiler has run.
_EXTENSION = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *unused) { return PyLong_FromLong(42); }
static PyObject *compiler(PyObject *self, PyObject *unused) { return PyUnicode_FromString(__VERSION__); }
static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, "The answer."},
    {"compiler", compiler, METH_NOARGS, "The version of the compiler that made this."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "cext", NULL, -1, methods};
PyMODINIT_FUNC PyInit_cext(void) { return PyModule_Create(&module); }
"""

_REQUIREMENTS = {
    "setuptools.build_meta": "setuptools>=77",
    "hatchling.build": "hatchling>=1.27",
    "flit_core.buildapi": "flit_core>=3.11",
}


def pyproject(name: str, backend: str, *, requires_python: str = ">=3.12", one_list: bool = False) -> str:
    """Return a pyproject.toml in one of the two ways to write the real requirements."""
    requirement = _REQUIREMENTS[backend]
    return _HEADER.format(
        name=name,
        backend=backend,
        requires_python=requires_python,
        one_list=f", \"{requirement}; python_version >= '3.12'\"" if one_list else "",
        requires="" if one_list else f'requires = ["{requirement}"]',
    )


def pure(
    folder: Path, backend: str = "flit_core.buildapi", *, requires_python: str = ">=3.12", one_list: bool = False
) -> Path:
    """Write a pure project whose module an old Python cannot parse."""
    text = pyproject("pure", backend, requires_python=requires_python, one_list=one_list)
    if backend.startswith("flit"):
        text = text.replace('version = "1.0"', 'version = "1.0"\ndescription = "A pure project."')
    if backend.startswith("setuptools"):
        text += '\n[tool.setuptools]\npy-modules = ["pure"]\n'
    if backend.startswith("hatchling"):
        text += '\n[tool.hatch.build.targets.wheel]\ninclude = ["pure.py"]\n'
    return make_project(folder, {"pyproject.toml": text, "pure.py": "type Number = int | float\n"})


def c_extension(folder: Path, *, requires_python: str = ">=3.12") -> Path:
    """Write a project with a C extension, built by setuptools, with a dynamic requirement of the real backend."""
    text = pyproject("cext", "setuptools.build_meta", requires_python=requires_python)
    setup = "from setuptools import Extension, setup\nsetup(ext_modules=[Extension('cext', ['cext.c'])])\n"
    return make_project(folder, {"pyproject.toml": text, "setup.py": setup, "cext.c": _EXTENSION})
