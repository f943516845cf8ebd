"""The projects of the matrix: one for each real backend, or way of using it.

In: nothing. Out: `BACKENDS`, each with the files of a project called *sample* that names us as its backend and the
real one in our table. None of the modules needs a new Python, so that a pure project can be imported by an old one.
"""

from __future__ import annotations

__all__ = ["BACKENDS", "PYTHON", "Backend", "backend"]

from dataclasses import dataclass, field
from typing import Dict, Mapping, Tuple

PYTHON = ">=3.12"
"""What every project requires."""

_SYSTEM = """[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"
"""
_PROJECT = f"""
[project]
name = "sample"
version = "1.0"
description = "A sample."
requires-python = "{PYTHON}"
"""
_PROGRAM = """
[project.scripts]
sample = "sample:main"
"""
_INIT = "VALUE = 42\n\n\ndef main():\n    print(VALUE)\n"
_EXTENSION = """#define PY_SSIZE_T_CLEAN
#include <Python.h>
#ifndef ANSWER
#define ANSWER 42
#endif
static PyObject *answer(PyObject *self, PyObject *unused) { return PyLong_FromLong(ANSWER); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, "The answer."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", NULL, -1, methods};
PyMODINIT_FUNC PyInit__fast(void) { return PyModule_Create(&module); }
"""
_COMPILED_INIT = "from ._fast import answer\n\nVALUE = answer()\n\n\ndef main():\n    print(VALUE)\n"


@dataclass(frozen=True)
class Backend:
    """A project, and what is to be known about its real backend."""

    key: str
    label: str
    """How the table calls it."""
    module: str
    """The real backend, as ``build-backend`` has it."""
    requires: Tuple[str, ...]
    files: Mapping[str, str] = field(repr=False)
    backend_path: Tuple[str, ...] = ()
    compiled: bool = False
    """Whether its wheel is tied to an ABI."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """``config_settings`` that it understands, for the frontends that hand some over."""
    git: bool = False
    """Whether the source tree has to be a repository, with the tag v1.0."""
    program: str = ""
    """What the machine must have."""
    table: bool = True
    """Whether ``pyproject.toml`` has a table ``[project]``."""
    imports: bool = True
    """Whether there is a module to import; else a program is what is installed."""
    live: bool = True
    """Whether an edit of the source is seen after an editable install that was built in isolation."""
    editable: bool = True
    """Whether the real backend has ``build_editable``."""
    sdist: bool = True
    """Whether the real backend makes sdists."""

    @property
    def for_platform(self) -> bool:
        """Whether its wheel is tied to a platform."""
        return self.compiled or not self.imports

    @property
    def static(self) -> bool:
        """Whether ``[project]`` has its version."""
        return self.table and 'dynamic = ["version"]' not in self.files["pyproject.toml"]


def _pyproject(module: str, requires: Tuple[str, ...], more: str = "", *, project: str = _PROJECT) -> str:
    listed = ", ".join(f'"{text}"' for text in requires)
    ours = f'\n[tool.provision-backend]\nbuild-backend = "{module}"\nrequires = [{listed}]\n'
    # A crate of a program has its own.
    scripts = _PROGRAM if project and module != "maturin" else ""
    return _SYSTEM + project + scripts + ours + more


_HATCH_HOOK = '''"""Add a file, in a syntax that an old Python cannot parse."""

import platform
from pathlib import Path
from tempfile import TemporaryDirectory

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

type Data = dict[str, dict[str, str]]


class BuiltBy(BuildHookInterface):
    def initialize(self, version: str, build_data: Data) -> None:
        self.folder = TemporaryDirectory()
        file = Path(self.folder.name, "built_by.txt")
        file.write_text(f"built by {f"{platform.python_version()}"}\\n")
        build_data["force_include"][str(file)] = "sample/built_by.txt"

    def finalize(self, version: str, build_data: Data, artifact_path: str) -> None:
        self.folder.cleanup()
'''

_SETUP_REQUIRES = """from setuptools import setup
from setuptools.command.build_py import build_py


class Build(build_py):
    def run(self):
        import editables

        super().run()
        self.mkpath(self.build_lib + "/sample")
        with open(self.build_lib + "/sample/made.txt", "w") as file:
            file.write(editables.__name__)


setup(
    name="sample", version="1.0", description="A sample.", packages=["sample"], python_requires=">=3.12",
    setup_requires=["editables"], cmdclass={"build_py": Build},
    entry_points={"console_scripts": ["sample = sample:main"]},
)
"""
_SETUP_CFG = f"""[metadata]
name = sample
version = 1.0
description = A sample.

[options]
packages = sample
python_requires = {PYTHON}

[options.entry_points]
console_scripts =
    sample = sample:main
"""
_CMAKE = """cmake_minimum_required(VERSION 3.18)
project(sample LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
Python_add_library(_fast MODULE sample/_fast.c WITH_SOABI)
if(ANSWER)
  target_compile_definitions(_fast PRIVATE ANSWER=${ANSWER})
endif()
install(TARGETS _fast DESTINATION sample)
"""
_MESON = """project('sample', 'c', version: '1.0', default_options: ['buildtype=release'])
py = import('python').find_installation(pure: false)
py.install_sources('sample/__init__.py', subdir: 'sample')
py.extension_module('_fast', 'sample/_fast.c', subdir: 'sample', install: true,
  c_args: ['-DANSWER=' + get_option('answer')])
"""
_CARGO = """[package]
name = "sample"
version = "1.0.0"
edition = "2021"

[[bin]]
name = "sample"
path = "src/main.rs"

[profile.release]
strip = true
"""
_CARGO_LOCK = """# This file is automatically @generated by Cargo.
# It is not intended for manual editing.
version = 3

[[package]]
name = "sample"
version = "1.0.0"
"""
_NO_TABLE = f'\nrequires-python = "{PYTHON}"\n'

_TOY_HEAD = '''"""A build backend in the source tree, without requirements."""

import base64
import hashlib
import os
import tarfile
import zipfile

INFO = "sample-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: sample\\nVersion: 1.0\\nRequires-Python: >=3.12\\n"
STAMP = (2020, 2, 2, 0, 0, 0)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open("sample/__init__.py") as file:
        return _write(wheel_directory, {"sample/__init__.py": file.read()})


def _info():
    wheel = "Wheel-Version: 1.0\\nGenerator: toy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    scripts = "[console_scripts]\\nsample = sample:main\\n"
    return {"METADATA": METADATA, "WHEEL": wheel, "entry_points.txt": scripts}


def _write(folder, files):
    name = "sample-1.0-py3-none-any.whl"
    files = dict(files, **{INFO + "/" + key: text for key, text in _info().items()})
    files[INFO + "/RECORD"] = "".join(map(_line, files, files.values())) + INFO + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, STAMP), text)
    return name


def _line(path, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return path + ",sha256=" + digest + "," + str(len(text.encode())) + "\\n"
'''
_TOY_SDIST = """

def build_sdist(sdist_directory, config_settings=None):
    import gzip
    import io

    def plain(member):
        member.mtime = 1580601600
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    data = METADATA.encode()
    info = plain(tarfile.TarInfo("sample-1.0/PKG-INFO"))
    info.size = len(data)
    path = os.path.join(sdist_directory, "sample-1.0.tar.gz")
    with open(path, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name in ("pyproject.toml", "sample/__init__.py", "tools/toy.py"):
                archive.add(name, "sample-1.0/" + name, filter=plain)
            archive.addfile(info, io.BytesIO(data))
    return "sample-1.0.tar.gz"
"""
_TOY_REFUSES = """

class UnsupportedOperation(Exception):
    pass


def build_sdist(sdist_directory, config_settings=None):
    raise UnsupportedOperation("sample has no sdist")
"""
_TOY_OPTIONAL = """

def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_editable(config_settings=None):
    return []


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write(wheel_directory, {"sample.pth": os.getcwd() + "\\n"})


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    os.mkdir(os.path.join(metadata_directory, INFO))
    for name, text in _info().items():
        with open(os.path.join(metadata_directory, INFO, name), "w") as file:
            file.write(text)
    return INFO


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel

if "PIP_BUILD_TRACKER" in os.environ:
    # As hatchling does: under pip, metadata come from the wheel.
    del prepare_metadata_for_build_wheel, prepare_metadata_for_build_editable
"""


def _toy(key: str, label: str, code: str, **facts: bool) -> Backend:
    text = _pyproject("toy", ()) + 'backend-path = ["tools"]\n'
    files = {"pyproject.toml": text, "sample/__init__.py": _INIT, "tools/toy.py": _TOY_HEAD + code}
    return Backend(key, label, "toy", (), files, backend_path=("tools",), **facts)  # type: ignore[arg-type]


def _pure(key: str, label: str, module: str, requires: str, more: str = "", **facts: object) -> Backend:
    names = tuple(requires.split())
    files = {"pyproject.toml": _pyproject(module, names, more), "sample/__init__.py": _INIT}
    files.update(facts.pop("files", {}))  # type: ignore[call-overload]
    return Backend(key, label, module, names, files, **facts)  # type: ignore[arg-type]


def _setuptools(key: str, label: str, files: Mapping[str, str], **facts: object) -> Backend:
    """Return a project of setuptools without a table ``[project]``: all is in setup.py or setup.cfg."""
    module = str(facts.pop("module", "setuptools.build_meta"))
    text = _pyproject(module, ("setuptools",), project="").rstrip() + _NO_TABLE
    all_files = {"pyproject.toml": text, "sample/__init__.py": _INIT, **files}
    return Backend(key, label, module, ("setuptools",), all_files, table=False, **facts)  # type: ignore[arg-type]


_PACKAGES = '\n[tool.setuptools]\npackages = ["sample"]\n'
_SETUP_C = """from setuptools import Extension, setup
setup(ext_modules=[Extension("sample._fast", ["sample/_fast.c"])])
"""
_SETUP_CYTHON = _SETUP_C.replace("_fast.c", "_fast.pyx")
_C_FILES = {"sample/__init__.py": _COMPILED_INIT, "sample/_fast.c": _EXTENSION}
_DYNAMIC = _PROJECT.replace('version = "1.0"', 'dynamic = ["version"]')

BACKENDS: Tuple[Backend, ...] = (
    _pure(
        *("hatchling", "hatchling, build hook; its hook set depends on the frontend", "hatchling.build", "hatchling"),
        "\n[tool.hatch.build.hooks.custom]\n",
        files={"hatch_build.py": _HATCH_HOOK},
    ),
    Backend(
        *("hatch-vcs", "hatchling with hatch-vcs", "hatchling.build", ("hatchling", "hatch-vcs")),
        {
            "pyproject.toml": _pyproject("hatchling.build", ("hatchling", "hatch-vcs"), project=_DYNAMIC)
            + '\n[tool.hatch.version]\nsource = "vcs"\n',
            "sample/__init__.py": _INIT,
        },
        git=True,
    ),
    _pure("setuptools", "setuptools, pure", "setuptools.build_meta", "setuptools", _PACKAGES),
    _pure(
        *("setuptools-c", "setuptools, C extension", "setuptools.build_meta", "setuptools", _PACKAGES),
        files={"setup.py": _SETUP_C, **_C_FILES},
        compiled=True,
        program="cc",
    ),
    _pure(
        *("setuptools-cython", "setuptools, Cython", "setuptools.build_meta", "setuptools cython", _PACKAGES),
        files={
            "setup.py": _SETUP_CYTHON,
            "sample/__init__.py": _COMPILED_INIT,
            "sample/_fast.pyx": "def answer():\n    return 42\n",
        },
        compiled=True,
        program="cc",
    ),
    _setuptools("setup-requires", "setuptools, setup_requires", {"setup.py": _SETUP_REQUIRES}),
    _setuptools("setup-cfg", "setuptools, setup.cfg only", {"setup.cfg": _SETUP_CFG}),
    _setuptools(
        *("object", "an object: setuptools.build_meta:\\_\\_legacy\\_\\_", {"setup.cfg": _SETUP_CFG}),
        module="setuptools.build_meta:__legacy__",
        settings={"--build-option": "--build-number=7"},
    ),
    _pure("flit-core", "flit_core", "flit_core.buildapi", "flit_core"),
    _pure("pdm-backend", "pdm-backend", "pdm.backend", "pdm-backend", settings={"--build-number": "7"}),
    _pure(
        *("poetry-core", "poetry-core", "poetry.core.masonry.api", "poetry-core"),
        '\n[tool.poetry]\npackages = [{ include = "sample" }]\n',
        settings={"local-version": "local"},
    ),
    _pure(
        *("scikit-build-core", "scikit-build-core", "scikit_build_core.build", "scikit-build-core"),
        '\n[tool.scikit-build]\nwheel.packages = ["sample"]\n',
        files={"CMakeLists.txt": _CMAKE, **_C_FILES},
        compiled=True,
        program="cc",
        settings={"cmake.define.ANSWER": "43"},
    ),
    _pure(
        *("meson-python", "meson-python", "mesonpy", "meson-python"),
        files={
            "meson.build": _MESON,
            "meson.options": "option('answer', type: 'string', value: '42')\n",
            **_C_FILES,
        },
        compiled=True,
        program="cc",
        git=True,
        live=False,
        settings={"setup-args": "-Danswer=43"},
    ),
    _pure(
        *("maturin", "maturin, a Rust program", "maturin", "maturin"),
        '\n[tool.maturin]\nbindings = "bin"\ncompatibility = "linux"\n',
        files={
            "Cargo.toml": _CARGO,
            "Cargo.lock": _CARGO_LOCK,
            "src/main.rs": 'fn main() {\n    println!("42");\n}\n',
        },
        program="cargo",
        imports=False,
    ),
    _pure("uv-build", "uv_build", "uv_build", "uv_build", '\n[tool.uv.build-backend]\nmodule-root = ""\n'),
    _toy("in-tree", "in the tree (backend-path), hook set by environment", _TOY_SDIST + _TOY_OPTIONAL),
    _toy("minimal", "in the tree, without optional hooks", _TOY_SDIST, editable=False),
    _toy("no-sdist", "in the tree, raises UnsupportedOperation", _TOY_REFUSES + _TOY_OPTIONAL, sdist=False),
)

_BY_KEY: Dict[str, Backend] = {each.key: each for each in BACKENDS}


def backend(key: str) -> Backend:
    """Return the project of this key."""
    return _BY_KEY[key]
