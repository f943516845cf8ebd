"""What a standalone CPython recorded about its own build → what is true where it is installed. Pure: text in, text out.

python-build-standalone configures with ``--prefix=/install`` and compilers that exist on no other machine, and CPython
records both in ``_sysconfigdata*.py``, ``_sysconfig_vars_*.json`` (3.14), ``config-*/Makefile``, ``python3.X-config``
and ``lib/pkgconfig/*.pc``; every tool that builds C extensions reads one of them.

Source: python-build-standalone, Quirks; CPython ``Lib/sysconfig``; the breakages in uv#8429, uv#7369, uv#9905,
python-build-standalone#194, #374, #616, #857 and #1011.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from typing import Any, Dict

from ..errors import UnpackError

__all__ = [
    "BUILD_PREFIX", "LIBRARY_ROOM", "clean_value", "patch_config_script", "patch_json", "patch_makefile",
    "patch_module", "patch_pkgconfig", "patch_program", "read_module", "replace_prefix", "write_module",
]  # fmt: skip

BUILD_PREFIX = "/install"  # the prefix that python-build-standalone configures with

LIBRARY_ROOM = f"{BUILD_PREFIX}{'/' * 200}lib"
"""The last folder of the RUNPATH that ``pack`` gives a program with a shared libpython; `patch_program` replaces it."""

_MARKER = "PYTHON_BUILD_STANDALONE"

_COMPILERS = frozenset({"BLDSHARED", "CC", "CPP", "CXX", "LDCXXSHARED", "LDSHARED", "LINKCC"})

_COMPILER = re.compile(
    r"(?:[^\s=,'\"]*/)?(?:[\w.]+-)*(?:(?P<cxx>clang\+\+|g\+\+|c\+\+)|clang|gcc|cc)(?:-\d+(?:\.\d+)*)?"
)

_UNUSABLE_FLAGS = re.compile(
    r"""(?<![^\s"'=])
    (?: -isysroot[ \t]+[^\s"']+             # An SDK of the machine that built.
      | -isystem[ \t]+/tools/deps[^\s"']*   # Its kernel headers (python-build-standalone#1163).
      | -[IL](?:/[^\s"']*)?/tools/deps(?:/[^\s"']*)?  # Its libraries; on macOS below a temporary folder.
      | -Werror=unguarded-availability-new  # Right for CPython, too strict for others; builds of 2025 drop it, too.
      | -fdebug-default-version=\d+         # gcc refuses it (python-build-standalone#194).
      | -LModules/_hacl                     # A folder of the build tree (python-build-standalone#1011).
      | -l:libatomic\.a                     # Not everywhere (python-build-standalone#616).
      | --rtlib=compiler-rt                 # Only clang knows it; aarch64 musl has it (zlmdb#126).
      | -fstack-clash-protection            # gcc before version 8 refuses it (python-build-standalone#1166).
      | -Wl,--exclude-libs,ALL              # For its static libraries only; the linker of zig refuses it.
      | -march=x86-64-v\d                   # The wheel's tag does not say that it needs such a CPU.
    )(?![^\s"'])[ \t]?""",
    re.VERBOSE,
)

# GNU and LLVM name these tools alike; only LLVM's own ones keep their names.
_BUILD_TOOL = re.compile(
    r"(?<![^\s\"'=])[^\s\"'=]*/tools/llvm/bin/(?:llvm-(?=(?:ar|nm|objcopy|objdump|ranlib|readelf|strip)(?![\w-])))?"
)

_TRAILER = """

# Written by provision-backend. The values above are right where the tree was installed; the code below keeps them right
# where the tree was mounted or copied to another place.
{function}

_installed, _here = build_time_vars.get("prefix"), globals().get("__file__") or ""
if _installed and _here.startswith("/") and _here.endswith({tail}):
    _here = _here[: -len({tail})]
    if _here != _installed:
        build_time_vars = replace_prefix(build_time_vars, _installed, _here)
"""


def replace_prefix(values: "dict[str, Any]", old: str, new: str) -> "dict[str, Any]":  # noqa: UP037
    """Return a dict with *old* replaced by *new* wherever a string names it as the head of a path.

    A value that begins with it is a path and is not quoted; elsewhere it is a word of a command and is quoted for
    the shell where *new* needs it. Needs nothing from outside: its source is also the trailer of _sysconfigdata.
    """
    import re
    import shlex

    def _spell(path: str, quote: str) -> str:
        if quote == "'":
            return path.replace("'", "'\"'\"'")
        if quote == '"':
            return re.sub(r'([\\"])', r"\\\1", path)
        return shlex.quote(path) if re.search(r"[\s'\"\\$`&|;<>()*?\[\]#~!{}]", path) else path

    def _open_quote(text: str) -> str:
        found = re.search("['\"]", re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", "", text))
        return found.group() if found else ""

    def _replace(value: str) -> str:
        if not any(form in value for form in forms[old]):
            return value

        def _moved(path: str, before: str) -> str:
            if path not in forms[old]:
                return path
            return new if is_path else _spell(new, _open_quote(before))

        head = pattern.match(value)
        is_path = head is not None and head.start(2) == 0
        return pattern.sub(lambda found: found.group(1) + _moved(found.group(2), value[: found.start(2)]), value)

    forms = {path: {path} | {_spell(path, quote) for quote in ("", "'", '"')} for path in (old, new)}
    # What already says new stays, even when new lies below old; so replacing twice is replacing once.
    longest_first = sorted(forms[old] | forms[new], key=lambda form: (-len(form), form))
    paths = "|".join(re.escape(form) for form in longest_first)
    pattern = re.compile(r"((?:^|[\s,:;=('\"])(?:-[A-Za-z])?)(" + paths + r")(?=[/\s,:;)'\"\\]|$)")
    return {name: _replace(value) if isinstance(value, str) else value for name, value in values.items()}


def clean_value(name: str, value: str) -> str:
    """Return a build variable without flags of the build machine, and with ``cc``, ``c++`` or ``ar``."""
    cleaned = _BUILD_TOOL.sub("", _UNUSABLE_FLAGS.sub("", value))
    if cleaned != value and value == value.rstrip():
        cleaned = cleaned.rstrip()
    if name == "AR" and cleaned:
        return "ar"
    if name in _COMPILERS:
        return _name_compiler(name, cleaned)
    return cleaned


def patch_module(text: str, *, prefix: str, tail: str) -> str:
    """Return the source of a ``_sysconfigdata`` module for a tree that will lie at *prefix*.

    The dictionary stays a plain literal, since some tools read it without importing it (PyO3). After it comes code that
    moves the values when the module is imported from elsewhere (python-build-standalone#857, uv#6782). The text may be
    as CPython, python-build-standalone or this function writes it; *tail* is its path below the tree, ``/lib/...``.
    """
    values = _patch_values(read_module(text, tail), prefix)
    function = inspect.getsource(replace_prefix).replace("  # noqa: UP037", "")
    return f"{write_module(values)}{_TRAILER.format(function=function.rstrip(), tail=ascii(tail))}"


def patch_json(text: str, *, prefix: str, name: str) -> str:
    """Return ``_sysconfig_vars_*.json``, called *name* in an error, with the same replacements and no trailer."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UnpackError(f"{name} is not what CPython writes: wanted a JSON object")
    return json.dumps(_patch_values(values, prefix), indent=2, sort_keys=True) + "\n"


def patch_makefile(text: str, *, prefix: str) -> str:
    """Return ``config-*/Makefile`` with the same replacements; ``$`` and ``#`` of the prefix are escaped for make."""
    escaped = prefix.replace("$", "$$").replace("#", "\\#")

    def _patch(found: re.Match[str]) -> str:
        head, name, value = found.group(1), found.group(2) or "", found.group(3)
        return str(head) + _moved(clean_value(name, value), escaped)

    return re.sub(r"(?m)^((?:(\w+)[ \t]*=[ \t]*)?)(.*)$", _patch, text)


def patch_config_script(text: str, *, prefix: str) -> str:
    """Return ``python3.X-config`` with the same replacements.

    The script finds out where it lies and edits the prefix by ``sed``; one that sed or the shell would misread is left
    ``/install``, from which the script finds its way as well. Its own search for the folder is quoted, without which a
    path with a space has no prefix at all.
    """
    text = text.replace('$(dirname $(cd $(dirname "$1") && pwd -P))', '$(dirname "$(cd "$(dirname "$1")" && pwd -P)")')
    lines = [_BUILD_TOOL.sub("", _UNUSABLE_FLAGS.sub("", line)) for line in text.split("\n")]
    if not re.search(r"[\\$`\"'#&*\[\]^\n]", prefix):
        lines = [_moved(line, prefix) for line in lines]
    return "\n".join(lines)


def patch_pkgconfig(text: str) -> str:
    """Return a ``.pc`` file whose prefix is computed from where the file lies; one that already does is unchanged."""
    text = re.sub(rf"(?m)^prefix={BUILD_PREFIX}/?$", "prefix=${pcfiledir}/../..", text)
    return re.sub(rf"(?<![\w.}}/-]){BUILD_PREFIX}(?![\w.-])|(?<=-[A-Z]){BUILD_PREFIX}(?![\w.-])", "${prefix}", text)


def patch_program(content: bytes, prefix: str) -> bytes:
    """Return a program whose copy finds libpython, as `venv --copies` makes one; any other is unchanged.

    A copy looks beside itself first. Nothing in an ELF file may move, so slashes fill the room that ``pack`` has left;
    a longer path than that stays out.
    """
    path = prefix.encode("utf-8", "surrogateescape")
    room = len(LIBRARY_ROOM) - len("lib")
    return content.replace(LIBRARY_ROOM.encode(), path.ljust(room, b"/") + b"lib") if len(path) < room else content


def _name_compiler(name: str, value: str) -> str:
    if name == "CXX" and not value.strip():
        return "c++"
    if name == "LDCXXSHARED" and value.startswith("-"):
        # Where configure found no C++ compiler, the command has lost its program.
        return f"c++ {value}"
    # Only words before the first option are programs; a path behind -L may contain anything.
    programs, options = re.match(r"((?:\s*(?!-)\S+)*)(.*)", value, re.DOTALL).groups()  # type: ignore[union-attr]
    return re.sub(r"\S+", _short_name, programs) + options


def _short_name(word: re.Match[str]) -> str:
    found = _COMPILER.fullmatch(word.group())
    if not found:
        return str(word.group())
    return "c++" if found.group("cxx") else "cc"


def _patch_values(values: Dict[str, Any], prefix: str) -> Dict[str, Any]:
    if values.get(_MARKER) and values.get("prefix") == prefix:
        return values
    cleaned = {name: clean_value(name, value) if isinstance(value, str) else value for name, value in values.items()}
    moved: Dict[str, Any] = replace_prefix(cleaned, BUILD_PREFIX, prefix)
    moved[_MARKER] = 1
    return moved


def _moved(text: str, prefix: str) -> str:
    # Of the thousands of lines of a Makefile few name it, and each call below compiles an expression.
    if BUILD_PREFIX not in text:
        return text
    return str(replace_prefix({"": text}, BUILD_PREFIX, prefix)[""])


def read_module(text: str, path: str) -> Dict[str, Any]:
    """Return the dictionary of a ``_sysconfigdata`` module without running it; an `UnpackError` names *path*."""
    try:
        assigned = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        named = [node.value for node in assigned if getattr(node.targets[0], "id", "") == "build_time_vars"]
        values = ast.literal_eval(named[0])
    except (SyntaxError, ValueError, TypeError, IndexError, RecursionError, MemoryError):
        # Missing, or anything else than a literal; the module's code is never run here.
        values = None
    if isinstance(values, dict) and all(isinstance(name, str) for name in values):
        return values
    raise UnpackError(f"{path.lstrip('/')} is not what CPython writes: wanted build_time_vars = {{...}}")


def write_module(values: Dict[str, Any]) -> str:
    """Return the source of a ``_sysconfigdata`` module with these values, one in a line."""
    lines = "".join(f"    {name!a}: {values[name]!a},\n" for name in sorted(values))
    return f"# system configuration generated and used by the sysconfig module\nbuild_time_vars = {{\n{lines}}}\n"
