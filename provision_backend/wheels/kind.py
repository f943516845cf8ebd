"""Read from a project's files what its wheels will be, without building one: a `Guess`.

Nothing of the project is run. A wrong guess costs a build or two: what the first wheel turns out to be decides. It is
read so that a plan can be shown, and a fleet cut into shards, before anything is built.

Source: the documentation of each backend; PEP 384 (abi3), PEP 803 (abi3t).
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

from ..project.pyproject import Project
from ..project.unadopted import read_document, read_source_text
from ..versions import leading_name

__all__ = ["Guess", "guess_kind"]


class Guess(NamedTuple):
    """What a project's wheels are expected to be."""

    kind: str
    """``pure``; ``none``, for programs and libraries without the ABI of a Python; ``abi3``; or ``each``."""
    reason: str
    """Where that was read, for people."""
    floor: Tuple[int, int] = (3, 2)
    """The first minor version that a wheel of the stable ABI serves."""
    freethreaded: bool = False
    """Whether the backend is asked for a wheel of both stable ABIs, which only 3.15 and later can make."""


_PURE = ("flit_core", "flit_scm", "flit", "poetry", "uv_build", "hatchling", "pdm", "whey", "trampolim")
# Hooks of hatchling that leave the tag of a wheel as it is; a custom one is read.
_PURE_HOOKS = {"vcs", "version", "custom", "build-scripts", "jupyter-builder", "nodejs-build", "requirements_txt"}
_CHANGES_TAG = re.compile(r"pure_python|infer_tag|['\"]tag['\"]")

_EXTENSIONS = re.compile(
    r"ext_modules|\bExtension\b|cythonize|mypycify|cffi_modules|rust_extensions|RustExtension|CMakeExtension|"
    r"CUDAExtension|pybind11|Pybind11Extension|has_ext_modules|root_is_pure|skbuild|build_ext|libraries\s*="
)
_LIMITED = re.compile(r"py[_-]limited[_-]api['\"]?\s*[:=]\s*['\"]?cp3(\d+)")
_PY_API = re.compile(r"cp3\.?(\d+)(t?)|abi3t")
_PYO3 = re.compile(r"\babi3(t?)(?:-py3(\d+))?\b")


def guess_kind(project: Project, abi: str = "") -> Guess:
    """Return what the wheels of a project will be; *abi* is what its options say instead, one of `ABIS`."""
    if abi:
        return Guess(abi, f"abi = {abi}")
    document = read_document(project.root)
    tool = document.get("tool", {})
    tool = tool if isinstance(tool, dict) else {}
    module = re.split("[.:]", project.build_backend)[0]
    read = _READERS.get(module) or (_read_pure if module in _PURE else None)
    if read is not None:
        return read(project, tool)
    # A backend in the project's own tree mostly calls one of those that the project requires.
    names = {leading_name(text).replace("-", "_") for text in project.requires} if project.backend_path else set()
    for name, package in (("mesonpy", "meson_python"), *((name, name) for name in _READERS)):
        found = _READERS[name](project, tool) if package in names else None
        # That it makes nothing but pure wheels would be said by its own code.
        if found and found.kind != "pure":
            return found
    return Guess("each", f"what {project.build_backend} makes is not known before it is built")


def _read_setuptools(project: Project, tool: Mapping[str, Any]) -> Guess:
    setup_py = read_source_text(project.root, "setup.py")
    places = {
        "setup.py": setup_py,
        "setup.cfg": read_source_text(project.root, "setup.cfg"),
        "pyproject.toml": json.dumps(_table(tool, "distutils", "bdist_wheel")),
    }
    for name, text in places.items():
        match = _LIMITED.search(text)
        if match:
            return Guess("abi3", f"py_limited_api is cp3{match[1]} in {name}", (3, int(match[1])))
    if "bdist_wheel" in setup_py and "py_limited_api" in setup_py:
        return Guess("abi3", "setup.py sets py_limited_api of bdist_wheel")
    if _table(tool, "setuptools").get("ext-modules"):
        return Guess("each", "tool.setuptools.ext-modules has extensions")
    match = _EXTENSIONS.search(setup_py)
    if match:
        return Guess("each", f"setup.py has {match[0].rstrip(' =')}")
    if "setuptools-rust" in tool:
        return Guess("each", "tool.setuptools-rust has extensions")
    return Guess("pure", "setuptools is given no extension")


def _read_pure(project: Project, tool: Mapping[str, Any]) -> Guess:
    name = re.split("[.:]", project.build_backend)[0]
    poetry, pdm = _table(tool, "poetry"), _table(tool, "pdm", "build")
    if poetry.get("build"):
        return Guess("each", "tool.poetry.build names a script")
    if name == "pdm" and (pdm.get("run-setuptools") or pdm.get("is-purelib") is False):
        return Guess("each", "tool.pdm.build has extensions")
    if name == "pdm" and re.search("ext_modules|is_purelib", read_source_text(project.root, "pdm_build.py")):
        return Guess("each", "pdm_build.py has extensions")
    return Guess("pure", f"{name} makes pure wheels")


def _read_hatchling(project: Project, tool: Mapping[str, Any]) -> Guess:
    build = _table(tool, "hatch", "build")
    hooks = {**_table(build, "hooks"), **_table(build, "targets", "wheel", "hooks")}
    for name, options in hooks.items():
        options = options if isinstance(options, dict) else {}
        if options.get("enable-by-default") is False:
            continue  # A variable turns it on, in the builds of those who publish the project.
        if name not in _PURE_HOOKS:
            return Guess("each", f"hatchling has the build hook {name!r}")
        path = options.get("path")
        file = path if isinstance(path, str) else "hatch_build.py"
        if name == "custom" and _CHANGES_TAG.search(read_source_text(project.root, file)):
            return Guess("each", f"the build hook {file} sets the tag")
    return Guess("pure", "hatchling makes pure wheels")


def _read_scikit_build(_project: Project, tool: Mapping[str, Any]) -> Guess:
    wheel = _table(tool, "scikit-build", "wheel")
    api, key = str(wheel.get("py-api", "")), "tool.scikit-build.wheel.py-api"
    if wheel.get("platlib") is False:
        return Guess("pure", "tool.scikit-build.wheel.platlib is false")
    if api.startswith("py"):
        return Guess("none", f"{key} is {api}")
    match = _PY_API.search(api)
    if match:
        both = "t" in api
        return Guess("abi3", f"{key} is {api}", (3, int(match[1] or 15)), both)
    return Guess("each", "scikit-build-core compiles for each Python")


def _read_meson(project: Project, tool: Mapping[str, Any]) -> Guess:
    if _table(tool, "meson-python").get("limited-api") is True:
        match = re.search(r"limited_api['\"]?\s*:\s*['\"]3\.(\d+)", read_source_text(project.root, "meson.build"))
        floor = (3, int(match[1])) if match else Guess._field_defaults["floor"]
        # On a free-threaded 3.15 it makes a wheel of both stable ABIs by itself.
        return Guess("abi3", "tool.meson-python.limited-api is true", floor, freethreaded=True)
    return Guess("each", "meson-python compiles for each Python")


def _read_maturin(project: Project, tool: Mapping[str, Any]) -> Guess:
    table = _table(tool, "maturin")
    if table.get("bindings") in ("bin", "cffi", "uniffi"):
        return Guess("none", f"tool.maturin.bindings is {table['bindings']}")
    manifest = table.get("manifest-path")
    file = manifest if isinstance(manifest, str) else "Cargo.toml"
    text = f"{read_source_text(project.root, file)}\n{json.dumps(table.get('features', []))}"
    found = [match for match in _PYO3.finditer(text) if match[2]] or list(_PYO3.finditer(text))
    if found:
        lowest = min(found, key=lambda match: int(match[2] or 2))
        both = any(match[1] for match in _PYO3.finditer(text))
        floor = (3, int(lowest[2] or (15 if lowest[1] else 2)))
        return Guess("abi3", f"{file} has the feature {lowest[0]}", floor, both)
    return Guess("each", "maturin compiles for each Python")


def _table(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return a table inside others, empty where there is none: tables of other tools may have any form."""
    found: Any = table
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


_READERS: Dict[str, Callable[[Project, Mapping[str, Any]], Guess]] = {
    "setuptools": _read_setuptools,
    "hatchling": _read_hatchling,
    "scikit_build_core": _read_scikit_build,
    "mesonpy": _read_meson,
    "maturin": _read_maturin,
}
