"""Rewrite the text files of a staged tree that name the machine they were made on, so that they name ``/install``.

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
from typing import Any, Callable, Dict, List, Set, Tuple

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

    Args:
        installation: its prefix, under every name that it has, becomes ``/install``; the folder in which it was built
            and the home of the user who packs it become ``/build``.
    """

    def __init__(self, installation: Installation) -> None:
        names = [str(installation.prefix), installation.config["prefix"], installation.config["exec_prefix"]]
        prefixes = _spellings(names) - {BUILD_PREFIX}
        built = _spellings([installation.config["abs_builddir"], installation.config["abs_srcdir"]]) - prefixes
        # Path.expanduser() raises where a user has no home.
        homes = _spellings([os.path.expanduser("~")]) - prefixes - built
        self._forbidden = sorted(prefixes | built - {_BUILD})
        pairs = [(name, BUILD_PREFIX) for name in prefixes] + [(name, _BUILD) for name in built | homes]
        # The longest comes first, since a home often contains the prefix.
        self._rules: List[Tuple[re.Pattern[str], str]] = [
            (re.compile(_BEGIN + re.escape(name) + _END), new) for name, new in sorted(pairs, key=_by_length)
        ]

    def scrub(self, text: str) -> str:
        """Return the text without search paths and names of the machine."""
        for pattern, new in self._rules:
            text = pattern.sub(new, text)
        return _FLAGS.sub("", text)

    def leftover(self, text: str) -> str:
        """Return a path of the machine that is still in the text, or an empty string."""
        return next((name for name in self._forbidden if re.search(re.escape(name) + _END, text)), "")


def _spellings(names: List[str]) -> Set[str]:
    paths = {spelling.rstrip("/") for name in names if name for spelling in (name, os.path.realpath(name))}
    return {path for path in paths if path.startswith("/")}


def _by_length(pair: Tuple[str, str]) -> Tuple[int, str]:
    return -len(pair[0]), pair[0]


def scrub_tree(installation: Installation, tree: Path) -> None:
    """Rewrite the text files of a staged tree.

    Raises:
        PackError: a file is not what CPython writes, or still names the prefix or the folder of the build.
        OSError: a file cannot be read or written.
    """
    scrubber = Scrubber(installation)
    for pattern, function in _rewriters(installation, scrubber).items():
        for path in sorted(tree.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                _rewrite(path, function, scrubber, tree)


def _rewriters(installation: Installation, scrubber: Scrubber) -> Dict[str, Callable[[str], str]]:
    """Return the function for the files of each pattern."""
    stdlib = os.path.normpath(installation.paths["stdlib"])
    return {
        f"{stdlib}/_sysconfigdata*.py": lambda text: _scrub_module(text, scrubber),
        f"{stdlib}/_sysconfig_vars*.json": lambda text: _scrub_json(text, scrubber),
        f"{stdlib}/build-details.json": scrubber.scrub,
        f"{stdlib}/config-*/*": scrubber.scrub,
        "lib/pkgconfig/*.pc": lambda text: _scrub_pkgconfig(text, scrubber),
        "bin/*": lambda text: _scrub_script(text, installation.program, scrubber),
    }


def _rewrite(path: Path, function: Callable[[str], str], scrubber: Scrubber, tree: Path) -> None:
    content = path.read_bytes()
    if b"\0" in content[:1024]:
        return
    # Bytes that are not UTF-8 come out as they went in.
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


def _scrub_module(text: str, scrubber: Scrubber) -> str:
    # Patching the text would depend on its quotes and line breaks, both of which differ between versions.
    return write_module(_scrubbed(read_module(text, "_sysconfigdata"), scrubber))


def _scrub_json(text: str, scrubber: Scrubber) -> str:
    values = _scrubbed(json.loads(text), scrubber)
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _scrubbed(value: Any, scrubber: Scrubber) -> Any:
    if isinstance(value, str):
        return scrubber.scrub(value)
    if isinstance(value, dict):
        return {name: _scrubbed(item, scrubber) for name, item in value.items()}
    return value


def _scrub_pkgconfig(text: str, scrubber: Scrubber) -> str:
    """Name ``/install`` once, as the prefix, which is rewritten after unpacking."""
    lines = scrubber.scrub(text).splitlines()
    return "".join(f"{line if line.startswith('prefix=') else _by_prefix(line)}\n" for line in lines)


def _by_prefix(line: str) -> str:
    return re.sub(_BEGIN + BUILD_PREFIX + _END, "${prefix}", line)


def _scrub_script(text: str, program: str, scrubber: Scrubber) -> str:
    head = _python_head(text)
    return relocatable_script(program, text[head:]) if head else scrubber.scrub(text)


def _python_head(text: str) -> int:
    """Return the length of the lines that name the Python of a script; 0 if it is not a Python script."""
    # Installers write the second form where the path is long or has a space, and so do we.
    lines = r"#!(?:[^\n]*python[\w.]*[^\n]*\n|/bin/sh\n(?:'''exec'[^\n]*\n' '''\n|\"exec\"[^\n]*\n))"
    match = re.match(lines, text)
    return match.end() if match else 0
