"""Text files of a staged tree that name the machine they were made on → the same files naming ``/install``.

What is rewritten is what tools that build C extensions read, and what a person runs: ``_sysconfigdata*.py``,
``_sysconfig_vars*.json``, ``build-details.json``, ``config-*/``, ``*.pc`` and the scripts in ``bin``. Python sources of
the standard library name no machine.

Source: what real trees hold: python-build-standalone, Quirks; CPython ``Makefile.pre.in``, libinstall.
"""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, List, Set, Tuple

from ..errors import PackError
from .installed import Installation
from .staging import relocatable_script

__all__ = ["Scrubber", "scrub_tree"]

_INSTALL = "/install"
_BUILD = "/build"

# A path begins after anything that is no part of one, or after an option that takes one.
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
    """Replaces what only the machine of an installation means.

    Args:
        installation: its prefix, under every name that it has, becomes ``/install``; the folder it was built in and the
            home of the user who packs become ``/build``.
    """

    def __init__(self, installation: Installation) -> None:
        names = [str(installation.prefix), installation.config["prefix"], installation.config["exec_prefix"]]
        prefixes = _spellings(names) - {_INSTALL}
        built = _spellings([installation.config["abs_builddir"], installation.config["abs_srcdir"]]) - prefixes
        # Path.expanduser() raises where a user has no home.
        homes = _spellings([os.path.expanduser("~")]) - prefixes - built
        self._forbidden = sorted(prefixes | built - {_BUILD})
        pairs = [(name, _INSTALL) for name in prefixes] + [(name, _BUILD) for name in built | homes]
        # The longest comes first, since a home mostly holds the prefix.
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
        PackError: a file is not of CPython's form, or still names the prefix or the folder of the build.
        OSError: a file cannot be read or written.
    """
    scrubber = Scrubber(installation)
    rewrite = _rewriters(installation, scrubber)
    for pattern, function in rewrite.items():
        for path in sorted(tree.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                _rewrite(path, function, scrubber, tree)


def _rewriters(installation: Installation, scrubber: Scrubber) -> Dict[str, Callable[[str], str]]:
    """Return what is done to the files of each pattern, in order."""
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
    try:
        new = function(text)
    except (ValueError, SyntaxError) as error:
        raise PackError(f"'{path.relative_to(tree)}' is not of the form that CPython writes: {error}") from None
    left = scrubber.leftover(new)
    if left:
        raise PackError(
            f"'{path.relative_to(tree)}' cannot be made relocatable: it names '{left}' in a form that is not known"
        )
    if new != text:
        path.write_bytes(new.encode("utf-8", "surrogateescape"))


def _scrub_module(text: str, scrubber: Scrubber) -> str:
    """Write the dictionary anew, in the form of python-build-standalone.

    Patching the text would depend on its quotes and line breaks, both of which differ between versions.
    """
    values = _literal(text)
    lines = "".join(f"    {_quoted(name)}: {_quoted(_scrubbed(values[name], scrubber))},\n" for name in sorted(values))
    head = "# system configuration generated and used by the sysconfig module\n"
    return f"{head}build_time_vars = {{\n{lines}}}\n"


def _literal(text: str) -> Dict[str, Any]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values = ast.literal_eval(node.value)
            if node.targets[0].id == "build_time_vars" and isinstance(values, dict):
                return values
    raise ValueError("wanted build_time_vars = {...}")


def _quoted(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


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
    """Name ``/install`` once, as the prefix, which is what is rewritten after unpacking."""
    lines = scrubber.scrub(text).splitlines()
    return "".join(f"{line if line.startswith('prefix=') else _by_prefix(line)}\n" for line in lines)


def _by_prefix(line: str) -> str:
    return re.sub(_BEGIN + _INSTALL + _END, "${prefix}", line)


def _scrub_script(text: str, program: str, scrubber: Scrubber) -> str:
    head = _python_head(text)
    return relocatable_script(program, text[head:]) if head else scrubber.scrub(text)


def _python_head(text: str) -> int:
    """Return the length of the lines that say which Python runs a script; 0 if it is none for Python."""
    # The second form is that of installers where the path is long or has a space, and of our own scripts.
    lines = r"#!(?:[^\n]*python[\w.]*[^\n]*\n|/bin/sh\n(?:'''exec'[^\n]*\n' '''\n|\"exec\"[^\n]*\n))"
    match = re.match(lines, text)
    return match.end() if match else 0
