"""Find the CPythons that are installed on this machine.

In: the places where version managers and systems install. Out: every release of CPython from 3.8 on, each once, oldest
first, and the choices among them that tests make.
"""

from __future__ import annotations

__all__ = [
    "HostInterpreter",
    "Unavailable",
    "host_interpreters",
    "host_not_satisfying",
    "newest_host",
    "oldest_host",
    "usable_hosts",
]

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

PROBE = """
import importlib.util, json, sys
try:
    import ssl
except ImportError:
    ssl = None
print(json.dumps({
    "implementation": sys.implementation.name,
    "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    "version": "%d.%d.%d" % sys.version_info[:3],
    "final": sys.version_info[3] == "final",
    "path": sys.executable,
    "prefix": sys.base_prefix,
    "has_venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
    "has_ssl": ssl is not None,
}))
"""


class Unavailable(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """This machine does not have the thing and cannot make it; pytest skips what needs it, and shows the reason."""

    __module__ = "builtins"  # as pytest's own has it; the reason is shown with the name of the class


@dataclass(frozen=True)
class HostInterpreter:
    """A CPython that is installed on this machine."""

    version: str
    """X.Y.Z."""
    path: Path
    """The executable, absolute, symbolic links resolved."""
    prefix: Path
    """``sys.base_prefix``."""
    has_venv: bool
    """``venv`` and ``ensurepip`` can be imported; Debian splits them off."""
    has_ssl: bool
    """``ssl`` can be imported."""


def _candidates() -> Iterator[Path]:
    """Yield the paths at which a CPython is usually installed, some of them missing, many of them twice."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    yield Path(sys.executable)
    for root in (
        Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"),
        data / "mise/installs/python",
        home / ".asdf/installs/python",
    ):
        yield from root.glob("*/bin/python3")
    for folder in map(Path, [*os.get_exec_path(), "/usr/local/bin", "/usr/bin"]):
        # A version manager's shims are slow, and lead to the interpreters that were found already.
        if folder.name != "shims":
            yield from folder.glob("python3")
            yield from folder.glob("python3.[0-9]*")


def _probe(path: Path) -> HostInterpreter | None:
    """Ask the interpreter at *path* what it is; None for what does not run or is no release of CPython >= 3.8."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        # What is called python3.X need not be a program that runs here.
        return None
    if found["implementation"] != "cpython" or not found["gil"] or not found["final"]:
        return None
    if Version(found["version"]) < Version("3.8"):
        return None
    return HostInterpreter(
        version=found["version"],
        # In a virtual environment the executable is a link to the interpreter it was made of.
        path=Path(found["path"]).resolve(),
        prefix=Path(found["prefix"]),
        has_venv=found["has_venv"],
        has_ssl=found["has_ssl"],
    )


@functools.lru_cache(maxsize=None)
def _find_hosts() -> tuple[HostInterpreter, ...]:
    resolved = {path.resolve() for path in _candidates() if not path.name.endswith("-config")}
    probed = (_probe(path) for path in sorted(resolved))
    distinct = {host.path: host for host in probed if host is not None}
    return tuple(sorted(distinct.values(), key=lambda host: (Version(host.version), str(host.path))))


def host_interpreters() -> list[HostInterpreter]:
    """Return every CPython from 3.8 on that is installed here, each once, oldest first; at least the running one.

    Looked at are the versions of pyenv, uv, mise and asdf, PATH, /usr/local/bin and /usr/bin.
    """
    return list(_find_hosts())


def usable_hosts() -> list[HostInterpreter]:
    """Return the hosts under which a frontend can work: with venv and with ssl."""
    return [host for host in host_interpreters() if host.has_venv and host.has_ssl]


def oldest_host(below: str = "3.10") -> HostInterpreter:
    """Return the oldest interpreter that has venv and ssl.

    Args:
        below: It must be older than this version.

    Raises:
        Unavailable: There is none.
    """
    for host in usable_hosts():
        if Version(host.version) < Version(below):
            return host
    raise Unavailable(f"no CPython below {below} with venv and ssl is installed")


def newest_host() -> HostInterpreter:
    """Return the newest interpreter that has venv and ssl.

    Raises:
        Unavailable: There is none.
    """
    hosts = usable_hosts()
    if not hosts:
        raise Unavailable("no CPython with venv and ssl is installed")
    return hosts[-1]


def host_not_satisfying(specifier: str) -> HostInterpreter:
    """Return the newest interpreter with venv and ssl that does not satisfy *specifier*, as a build's host.

    Args:
        specifier: As in requires-python, ``">=3.12"``.

    Raises:
        Unavailable: All satisfy it.
    """
    for host in reversed(usable_hosts()):
        if not SpecifierSet(specifier).contains(host.version, prereleases=True):
            return host
    raise Unavailable(f"every CPython that is installed here satisfies {specifier!r}")
