"""Build for a target whose interpreters do not run here: its headers and its records, this machine's interpreter.

The real backend runs under an interpreter of this machine of the same minor version, and what it asks about the Python
that it builds for is answered from the target's archive, which is never run: by the variables of the standard library
for that (``_PYTHON_SYSCONFIGDATA_NAME``, ``_PYTHON_HOST_PLATFORM``), and by a ``sitecustomize`` module for what asks in
other ways. CMake and meson get files that say what they compile for. The compiler is the toolchain's.

What a build finds out by running what it has compiled, it does not find out; and ``sys.maxsize`` stays this machine's.

Source: CPython ``Lib/sysconfig`` and "Cross Compiling Options" of its documentation; setuptools ``build_ext``;
cmake-toolchains(7); meson, "Cross compilation"; scikit-build-core and meson-python, "cross-compiling".
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..cache.entries import entry_of
from ..cache.store import open_cache
from ..catalog.selection import select_archive
from ..catalog.wanted import Wanted
from ..errors import InstallError
from ..files import read_file
from ..frontend_watch import frontend_id
from ..hooks.tags import architecture_tag
from ..host.targets import ELF_TARGETS, architecture_name, split_level
from ..install.catalogs import load_archives
from ..install.install import target_maker
from ..install.sysconfig_data import read_module
from ..output import Reporter
from ..settings import Settings
from ..toolchain import Toolchain
from ..versions import parse_request, parse_version
from . import cross_site

__all__ = ["Cross", "Target", "open_target"]

_MESON = """\
[host_machine]
system = 'linux'
cpu_family = {family!r}
cpu = {machine!r}
endian = {endian!r}

[properties]
needs_exe_wrapper = true
"""

_CMAKE = """\
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR {machine})
"""


class Target(NamedTuple):
    """What compilers read of the Python that is built for."""

    tree: Path
    """A folder with its ``include``, and of its ``lib`` at least what says how it was built."""
    version: str
    """Its full version."""


class Cross(NamedTuple):
    """A toolchain, and the Python that it compiles for; it takes the place of the toolchain in a build."""

    toolchain: Toolchain
    target: Target
    files: Path
    """A folder for what is written for the build; it is made."""

    @property
    def requirements(self) -> Tuple[str, ...]:
        """What the toolchain needs in the build environment."""
        return self.toolchain.requirements

    def for_triple(self, triple: str) -> Cross:  # noqa: ARG002
        """Return itself: its target does not depend on the interpreter of this machine that runs the build."""
        return self

    def variables(self, folder: Path, packages: Sequence[str], environ: Mapping[str, str]) -> Dict[str, str]:
        """Return the variables of the toolchain, and those for the target; writes the files that they name."""
        variables = self.toolchain.variables(folder, packages, environ)
        self.files.mkdir(parents=True, exist_ok=True)
        module = _find_one(self.target.tree, "lib/python3*/_sysconfigdata_*linux*.py")
        shutil.copyfile(str(module), str(self.files / module.name))
        shutil.copyfile(str(cross_site.__file__), str(self.files / "sitecustomize.py"))
        values = read_module(read_file(module).decode("utf-8"), module.name)
        include = _find_one(self.target.tree, "include/python3*/Python.h").parent
        minor = list(parse_version(self.target.version)[:2])
        facts = {"version": minor, "machine": self._machine, "include": str(include)}
        (self.files / "target.json").write_text(json.dumps(facts), encoding="utf-8")
        (self.files / "target.cmake").write_text(_CMAKE.format(machine=self._machine), encoding="utf-8")
        self._meson_file.write_text(self._describe_for_meson(), encoding="utf-8")
        return {
            **variables,
            "PYTHONPATH": str(self.files),
            "_PYTHON_SYSCONFIGDATA_NAME": module.stem,
            "_PYTHON_HOST_PLATFORM": f"linux-{self._machine}",
            # pybind11 and scikit-build-core read it, too.
            "SETUPTOOLS_EXT_SUFFIX": str(values.get("EXT_SUFFIX", "")),
            "CMAKE_TOOLCHAIN_FILE": str(self.files / "target.cmake"),
        }

    def config_settings(self, build_backend: str) -> Dict[str, List[str]]:
        """Return the ``config_settings`` for a real backend that reads no variable for the target."""
        return {"setup-args": [f"--cross-file={self._meson_file}"]} if build_backend == "mesonpy" else {}

    @property
    def _machine(self) -> str:
        return architecture_tag(self.toolchain.triple)

    @property
    def _meson_file(self) -> Path:
        return self.files / "target.meson"

    def _describe_for_meson(self) -> str:
        target = ELF_TARGETS[split_level(self.toolchain.triple)[0]]
        family = architecture_name(target.architecture, "meson")
        return _MESON.format(family=family, machine=self._machine, endian=target.byte_order)


def open_target(triple: str, request: str, settings: Settings, reporter: Reporter) -> Target:
    """Provide what compilers read of a target's interpreter, for the request of a version: ``3.11.14``, or ``3.14t``.

    Errors are those of an interpreter that is provisioned, `NoMatchingArchiveError` where there is no such archive.
    """
    cache = open_cache(settings)
    archives = load_archives(settings, triple, cache, reporter)
    archive = select_archive(archives, Wanted("", parse_request(request)), triple)
    installed = cache.lookup(archive)
    # Where it was run, as by qemu-user, the whole interpreter is in the cache already.
    tree = entry_of(installed) if installed else None
    if tree is None:
        make = target_maker(archive, settings, reporter)
        tree = cache.provide_target(archive, make, lock_timeout=settings.lock_timeout, reporter=reporter)
    cache.note_use(tree, frontend=frontend_id())
    return Target(tree, archive.version)


def _find_one(tree: Path, pattern: str) -> Path:
    # Debian's trees have the record twice, the second time under the name that CPython itself would look for.
    found = sorted(tree.glob(pattern))
    if not found:
        raise InstallError(f"the archive of {tree.name} cannot be compiled for: it has no {pattern}")
    return found[-1]
