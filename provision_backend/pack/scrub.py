"""Rewrite the text files of a staged tree that name the machine on which they were made: they then name ``/install``.

These are the files that tools for C extensions read, and those that people run: ``_sysconfigdata*.py``,
``_sysconfig_vars*.json``, ``build-details.json``, ``config-*/``, ``*.pc`` and the scripts in ``bin``. Python sources of
the standard library do not name a machine.

Source: python-build-standalone, Quirks; CPython ``Makefile.pre.in``, libinstall.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Set

from ..errors import PackError, UnpackError
from ..install.sysconfig_data import BUILD_PREFIX, read_module, write_module
from .installed import Installation
from .staging import relocatable_script

__all__ = ["Scrubber", "scrub_tree"]

_BUILD = "/build"

# A path begins after anything that cannot be part of one, or after an option that takes one.
_BEGIN = r"(?:(?<=-[LIR])|(?<![\w/-]))"
_END = r"(?![\w.-])"

# Where a compiler and its linker looked on the machine that built. The interpreter's own folders are not needed: its
# libpython is found through LIBDIR, its headers through INCLUDEPY, and a RUNPATH to them would end up in every wheel.
_FLAGS = re.compile(
    r"""[ ]?(?<![\w./-])
    (?: -Wl,(?:-R|--?rpath(?:-link)?)[,=][^\s"',]+
      | -(?:L|I|isystem[ ]?)(?!/usr/(?:include|lib)|/lib)/[^\s"']*
    )""",
    re.VERBOSE,
)


class Scrubber:
    """Replaces the names of one machine.

    The prefix of the installation, in every spelling, becomes ``/install``; the folder in which it was built and the
    home of the user who packs it become ``/build``.
    """

    def __init__(self, installation: Installation) -> None:
        self.program = installation.program
        names = [str(installation.prefix), installation.config["prefix"], installation.config["exec_prefix"]]
        prefixes = _spellings(names) - {BUILD_PREFIX}
        built = _spellings([installation.config["abs_builddir"], installation.config["abs_srcdir"]]) - prefixes
        # Path.expanduser() raises if a user has no home.
        homes = _spellings([os.path.expanduser("~")]) - prefixes - built
        self._forbidden = sorted(prefixes | built - {_BUILD})
        pairs = [(name, BUILD_PREFIX) for name in prefixes] + [(name, _BUILD) for name in built | homes]
        # The longest comes first, since a home often contains the prefix.
        pairs.sort(key=lambda pair: (-len(pair[0]), pair[0]))
        self._rules = [(re.compile(_BEGIN + re.escape(name) + _END), new) for name, new in pairs]

    def scrub(self, text: str) -> str:
        """Return the text without search paths and names of the machine."""
        for pattern, new in self._rules:
            text = pattern.sub(new, text)
        return _FLAGS.sub("", text)

    def leftover(self, text: str) -> str:
        """Return a path of the machine that is still in the text, or an empty string."""
        return next((name for name in self._forbidden if re.search(re.escape(name) + _END, text)), "")

    def scrub_module(self, text: str) -> str:
        """Scrub ``_sysconfigdata``: its values, since quotes and line breaks differ between versions of CPython."""
        return write_module(self._scrub_values(read_module(text, "_sysconfigdata")))

    def scrub_json(self, text: str) -> str:
        """Scrub ``_sysconfig_vars``, in the layout of CPython."""
        return json.dumps(self._scrub_values(json.loads(text)), indent=2, sort_keys=True) + "\n"

    def _scrub_values(self, values: Mapping[str, Any]) -> Dict[str, Any]:
        return {name: self.scrub(value) if isinstance(value, str) else value for name, value in values.items()}

    def scrub_pkgconfig(self, text: str) -> str:
        """Scrub a ``.pc`` file, so that it names ``/install`` once, as the prefix, which is changed after unpacking."""
        lines = self.scrub(text).splitlines(keepends=True)
        by_prefix = re.compile(_BEGIN + BUILD_PREFIX + _END)
        return "".join(line if line.startswith("prefix=") else by_prefix.sub("${prefix}", line) for line in lines)

    def scrub_script(self, text: str) -> str:
        """Scrub a script; one of Python then runs with the interpreter beside it."""
        # Installers write the second form if the path is long or has a space, and so do we.
        head = re.match(r"#!(?:[^\n]*python[\w.]*[^\n]*\n|/bin/sh\n(?:'''exec'[^\n]*\n' '''\n|\"exec\"[^\n]*\n))", text)
        return relocatable_script(self.program, text[head.end() :]) if head else self.scrub(text)


def _spellings(names: List[str]) -> Set[str]:
    paths = {spelling.rstrip("/") for name in names if name for spelling in (name, os.path.realpath(name))}
    return {path for path in paths if path.startswith("/")}


def scrub_tree(installation: Installation, tree: Path) -> None:
    """Rewrite the text files of a staged tree."""
    scrubber = Scrubber(installation)
    stdlib = os.path.normpath(installation.paths["stdlib"])
    functions = {
        f"{stdlib}/_sysconfigdata*.py": scrubber.scrub_module,
        f"{stdlib}/_sysconfig_vars*.json": scrubber.scrub_json,
        f"{stdlib}/build-details.json": scrubber.scrub,
        f"{stdlib}/config-*/*": scrubber.scrub,
        "lib/pkgconfig/*.pc": scrubber.scrub_pkgconfig,
        "bin/*": scrubber.scrub_script,
    }
    for pattern, function in functions.items():
        for path in sorted(tree.glob(pattern)):
            if os.path.isfile(path) and not os.path.islink(path):
                _rewrite(path, function, scrubber, tree)


def _rewrite(path: Path, function: Callable[[str], str], scrubber: Scrubber, tree: Path) -> None:
    content = path.read_bytes()
    if b"\0" in content[:1024]:
        return
    # Bytes that are not UTF-8 stay as they are.
    text = content.decode("utf-8", "surrogateescape")
    name = path.relative_to(tree)
    try:
        new = function(text)
    except UnpackError:
        raise PackError(f"'{name}' is not what CPython writes: wanted build_time_vars = {{...}}") from None
    except ValueError as error:
        raise PackError(f"'{name}' is not what CPython writes: {error}") from None
    left = scrubber.leftover(new)
    if left:
        raise PackError(f"'{name}' cannot be made relocatable: it names '{left}' in an unknown form")
    if new != text:
        path.write_bytes(new.encode("utf-8", "surrogateescape"))
