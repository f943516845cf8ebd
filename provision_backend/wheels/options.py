"""What a person asks of ``wheels``: options of the command, and the table ``[tool.provision-backend.wheels]``.

An option of the command line comes before the same key of the table. The keys ``glibc`` and ``toolchain`` of the table
are settings, which apply to these wheels only. What depends on the machine, ``shard`` and ``root``, is in no table.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ..errors import ProjectError, UsageError
from ..host.targets import read_machine
from ..output import nearest
from ..project.pyproject import (
    OWN_NAME,
    TABLE,
    parse_requirement,
    read_settings,
    read_strings,
    read_value,
    refuse_unknown,
)
from ..settings import OPTIONS
from ..versions import parse_request

__all__ = ["ABIS", "ARCHITECTURES", "LIBCS", "SETTINGS", "WheelOptions", "read_options", "read_table"]

LIBCS = {"glibc": "gnu", "musl": "musl"}
"""The C libraries that wheels can be made for, and how the environment of a target triple begins."""

ABIS = ("none", "abi3", "each")
"""What a project can say about its wheels where that is not read from it: one a platform, stable ABI, one a Python."""

ARCHITECTURES = ("x86_64", "aarch64", "i686", "armv7", "ppc64le", "s390x", "riscv64", "loongarch64")
"""The architectures of Linux that wheels can be made for, as target triples call them."""

SETTINGS = ("glibc", "toolchain")
"""Keys of the table that are settings."""

_SECTION = f"{TABLE}.wheels"
_LISTS = ("python", "libc", "arch", "test-requires")
_KINDS: Dict[str, type] = {"test": str, "abi": str, "out": str, "jobs": int, "keep-going": bool}


class WheelOptions(NamedTuple):
    """What is asked for; the defaults are those of the command without options."""

    python: Tuple[str, ...] = ()
    """Version requests, each valid; several mean what any of them allows; none means what the project supports."""
    libc: Tuple[str, ...] = ()
    """Keys of `LIBCS`; none means that of this host."""
    arch: Tuple[str, ...] = ()
    """Some of `ARCHITECTURES`; none means that of this host."""
    test: str = ""
    """The command that tests a wheel; empty for importing what is in it."""
    test_requires: Tuple[str, ...] = ()
    """Requirements of the test, in the form of PEP 508."""
    abi: str = ""
    """One of `ABIS`; empty for what is read from the project."""
    jobs: int = 0
    """How many builds and tests run at a time; 0 for as many as the machine has room for."""
    shard: str = ""
    """``K/N``, ``auto``, or empty for everything."""
    out: str = "dist"
    """The folder for the wheels, as it is written."""
    keep_going: bool = False
    """Whether the others are still begun after a failure."""
    root: str = ""
    """A folder with the root file system of another Linux, in which interpreters are run; empty for this one."""


def read_table(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the table ``wheels`` of a parsed ``pyproject.toml``, empty where it has none.

    Raises:
        ProjectError: it has an unknown key, or a value of the wrong type.
    """
    ours = read_value(document.get("tool", {}), "tool", OWN_NAME, dict) or {}
    table: Dict[str, Any] = read_value(ours, TABLE, "wheels", dict) or {}
    refuse_unknown(table, _SECTION, (*_LISTS, *_KINDS, *SETTINGS))
    # A single request or C library needs no brackets.
    table = {key: [value] if key in _LISTS and isinstance(value, str) else value for key, value in table.items()}
    for key in _LISTS:
        read_strings(table, _SECTION, key)
    read_settings(table, _SECTION, (option for option in OPTIONS if option.key in SETTINGS))
    for key, kind in _KINDS.items():
        value = read_value(table, _SECTION, key, kind)
        # In Python, true is a number.
        if kind is int and (isinstance(value, bool) or (value is not None and value < 0)):
            raise ProjectError(f"pyproject.toml: {_SECTION}.{key} must be a whole number, 0 or more, found {value!r}")
    return table


def read_options(given: Mapping[str, Any], table: Mapping[str, Any]) -> WheelOptions:
    """Return the options of a command, and for those that are not given what the table of `read_table` says.

    The values on the command line are given by the fields of `WheelOptions`; None or empty for those that are absent.

    Raises:
        UsageError: a value on the command line is not one of its kind.
        ProjectError: one of the table is not.
    """
    values = {key.replace("-", "_"): value for key, value in table.items() if key not in SETTINGS}
    options = _checked({key: value for key, value in given.items() if value}, "--{}")
    try:
        return WheelOptions(**{**_checked(values, f"{_SECTION}.{{}}"), **options})
    except UsageError as exc:
        raise ProjectError(f"pyproject.toml: {exc.message}", hint=exc.hint) from None


def _checked(values: Mapping[str, Any], place: str) -> Dict[str, Any]:
    """Return values as `WheelOptions` has them; *place* is how a message calls a key."""
    found = dict(values)
    for key, known in (("libc", tuple(LIBCS)), ("arch", ARCHITECTURES)):
        if key in found:
            found[key] = _choices(found[key], known, place.format(key))
    if "python" in found:
        for text in found["python"]:
            parse_request(text, source=place.format("python"))
        found["python"] = tuple(found["python"])
    if "test_requires" in found:
        for text in found["test_requires"]:
            _check_requirement(text, place.format("test-requires"))
        found["test_requires"] = tuple(found["test_requires"])
    if found.get("abi", ABIS[0]) not in ABIS:
        raise UsageError(f"{place.format('abi')} must be one of {', '.join(ABIS)}, found {found['abi']!r}")
    return found


def _choices(values: Any, known: Tuple[str, ...], place: str) -> Tuple[str, ...]:
    words: List[str] = []
    for word in re.split(r"[\s,]+", " ".join(values)):
        name = read_machine(word)
        if name and name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else ""
            raise UsageError(f"{place} must be one or more of {', '.join(known)}, found {word!r}", hint=hint)
        words += [name] if name else []
    return tuple(dict.fromkeys(words))


def _check_requirement(text: str, place: str) -> None:
    try:
        parse_requirement(text)
    except ProjectError as exc:
        raise UsageError(f"{place}: {exc.message}") from None
