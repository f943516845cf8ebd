"""`Interpreter`: inspect one, and find those that are already on the machine. Nothing here installs.

An interpreter is inspected by running it with ``-I``, so that neither the environment nor the user's site directory
changes what it answers.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from .errors import InterpreterError
from .processes import run_interpreter_json
from .versions import parse_version

__all__ = ["Interpreter", "find_interpreters", "inspect_interpreter"]

_QUESTIONS = """
import json, os, sys
try:
    import venv
except ImportError:
    venv = None
try:
    import pip
except ImportError:
    pip = None
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
print(json.dumps({
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info.serial) if level else ""),
    "implementation": sys.implementation.name,
    "freethreaded": "t" in getattr(sys, "abiflags", ""),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix,
    "has_venv": venv is not None,
    "pip": getattr(pip, "__version__", ""),
}))
"""


class Interpreter(NamedTuple):
    """A Python executable and what it said about itself."""

    executable: str
    """Absolute path, links resolved: a virtual environment must not be made from a link to a standalone CPython,
    since it then looks for its home beside the link (python-build-standalone#380)."""
    version: str
    """Full version, PEP 440: ``3.13.5``, ``3.15.0a1``."""
    freethreaded: bool = False
    implementation: str = "cpython"
    source: str = "system"
    """managed (from a cache of ours), system, or given (named by a setting)."""
    triple: str = ""
    """Target triple of a managed one; empty for others."""
    key: str = ""
    """Name in the cache of a managed one."""
    sha256: str = ""
    """Lower-case hex sha256 of the archive a managed one was made from."""
    pip: str = ""
    """Version of its pip, or empty."""

    def as_dict(self) -> Dict[str, object]:
        """Return what ``find --json`` and ``install --json`` print."""
        return {
            "executable": self.executable,
            "version": self.version + ("t" if self.freethreaded else ""),
            "triple": self.triple or None,
            "key": self.key or None,
            "sha256": self.sha256 or None,
            "implementation": self.implementation,
            "freethreaded": self.freethreaded,
            "source": self.source,
        }


def inspect_interpreter(python: Path, *, source: str = "system") -> Interpreter:
    """Ask an executable what it is.

    Args:
        python: absolute path of an executable; a virtual environment's is answered by its base interpreter.
        source: where it comes from, as in `Interpreter`.

    Raises:
        InterpreterError: it does not start, is no Python, or has no ``venv`` module (Debian without python3-venv).
    """
    facts = run_interpreter_json(python, _QUESTIONS)
    if not facts.get("has_venv"):
        raise InterpreterError(
            f"{python} cannot make virtual environments: its module 'venv' is missing",
            hint="install the distribution's package for it, for example python3-venv",
        )
    return Interpreter(
        executable=str(facts["executable"]),
        version=str(facts["version"]),
        freethreaded=bool(facts["freethreaded"]),
        implementation=str(facts["implementation"]),
        source=source,
        pip=str(facts["pip"]),
    )


def find_interpreters(
    accepts: Callable[[str, bool], bool], passed_over: Optional[List[Tuple[str, str]]] = None
) -> Iterator[Interpreter]:
    """Find CPythons of the machine that a request accepts, newest first.

    Looks at ``PATH``, pyenv's versions and uv's managed interpreters. An executable whose name or folder shows its
    version is started only if that version may be accepted, and those of one minor version are compared by what they
    answer; those whose paths show no version (shims, mostly) come last.

    Args:
        accepts: called with a full version and whether it is free-threaded.
        passed_over: gets the path of each executable that does not serve, and why.
    """
    skipped = [] if passed_over is None else passed_over
    candidates = []
    for version, python in sorted(_candidates(), key=_newest_first):
        if _may_be_accepted(version, accepts):
            candidates.append((version, python))
        else:
            skipped.append((str(python), f"is {'.'.join(map(str, version))} by its path"))
    seen: Set[str] = set()
    for _, group in itertools.groupby(candidates, key=lambda candidate: candidate[0][:2]):
        fitting = []
        for found in _inspect_new([python for _, python in group], seen, skipped):
            if found.implementation == "cpython" and accepts(found.version, found.freethreaded):
                fitting.append(found)
            else:
                skipped.append((found.executable, f"is {found.implementation} {found.version}"))
        yield from sorted(fitting, key=lambda found: parse_version(found.version), reverse=True)


def _inspect_new(pythons: Iterable[Path], seen: Set[str], skipped: List[Tuple[str, str]]) -> Iterator[Interpreter]:
    for python in pythons:
        identity = os.path.realpath(python)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            found = inspect_interpreter(python)
        except InterpreterError as exc:
            # pyenv's shims and Debian's Python without venv are no answers, not errors.
            skipped.append((str(python), exc.message))
            continue
        if found.executable not in seen - {identity}:
            seen.add(found.executable)
            yield found


def _newest_first(candidate: Tuple[Tuple[int, ...], Path]) -> Tuple[Tuple[int, ...], str]:
    version, python = candidate
    # A path that shows no version sorts last.
    return tuple(-part for part in version or (0,)), str(python)


def _may_be_accepted(version: Tuple[int, ...], accepts: Callable[[str, bool], bool]) -> bool:
    if len(version) < 2:
        return True
    micros: Sequence[int] = range(60) if len(version) == 2 else version[2:]
    texts = [f"{version[0]}.{version[1]}.{micro}" for micro in micros]
    if 0 in micros:
        # A pre-release hardly shows in a path, and a request for one may accept nothing else.
        levels = itertools.product(("a", "b", "rc"), range(1, 10))
        texts += [f"{version[0]}.{version[1]}.0{level}{serial}" for level, serial in levels]
    return any(accepts(text, freethreaded) for text in texts for freethreaded in (False, True))


def _candidates() -> List[Tuple[Tuple[int, ...], Path]]:
    """Return pairs of the version that the path shows (may be short or empty) and the path."""
    found = []
    for folder in dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep)):
        # pyenv's shims answer "not found" mostly; its versions are looked at directly below.
        if os.path.isabs(folder):
            found += _executables_in(Path(folder))
    for folder, pattern in _version_folders():
        # HOME may be a folder of another user, as after sudo -u; Python raises an error for that up to 3.12.
        with contextlib.suppress(PermissionError):
            for python in sorted(Path(folder).glob(pattern)):
                found.append((_version_in(str(python.parent.parent.name)), python))
    return found


def _executables_in(folder: Path) -> List[Tuple[Tuple[int, ...], Path]]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith("python"))
    except OSError:
        return []
    wanted = (name for name in names if re.fullmatch(r"python(3(\.\d+t?)?)?", name))
    return [
        (_version_of_path(folder / name), folder / name) for name in wanted if os.access(str(folder / name), os.X_OK)
    ]


def _version_of_path(python: Path) -> Tuple[int, ...]:
    # "python3" is a link to "python3.12" mostly.
    return _version_in(python.name) or _version_in(os.path.basename(os.path.realpath(python)))


def _version_folders() -> Iterator[Tuple[str, str]]:
    home = os.path.expanduser("~")
    yield os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv"), "versions/*/bin/python"
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    yield os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python"), "*/bin/python3"


def _version_in(name: str) -> Tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", name)
    return tuple(int(part) for part in match.groups() if part) if match else ()
