"""Inspect a Python interpreter, and find the interpreters that are already on the machine.

An interpreter is inspected by running it with ``-I``, so that neither the environment nor the user's site directory
changes its answers.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from .errors import CacheError, InterpreterError
from .processes import run_interpreter_json
from .systems import RUNNING
from .trust import check_file
from .versions import IMPLEMENTATION, label_of, minor_of, parse_version

with contextlib.suppress(ImportError):  # Only Windows has a registry.
    import winreg

__all__ = ["Interpreter", "find_interpreters", "inspect_interpreter"]

_NAME = re.compile(r"python(3(\.\d+t?)?)?" + re.escape(RUNNING.program_suffix))

_QUESTIONS = """
import importlib.util, json, os, sys
try:
    import pip
except Exception:  # Where it is too old for this Python, or half removed, that is any error.
    pip = None
info = sys.version_info
level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
print(json.dumps({
    "version": "%d.%d.%d" % info[:3] + ("%s%d" % (level, info.serial) if level else ""),
    "implementation": sys.implementation.name,
    "freethreaded": "t" in getattr(sys, "abiflags", ""),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "has_venv": importlib.util.find_spec("venv") is not None,
    "pip": getattr(pip, "__version__", ""),
}))
"""


class Interpreter(NamedTuple):
    """A Python executable and the facts that it reports."""

    executable: str
    """Absolute path, links resolved: a virtual environment must not be made from a link to a standalone CPython,
    since it then looks for its home beside the link (python-build-standalone#380)."""
    version: str
    """Full version, PEP 440: ``3.13.5``, ``3.15.0a1``."""
    freethreaded: bool = False
    implementation: str = IMPLEMENTATION
    source: str = "system"
    """managed (from a cache of ours), system, or given (named by a setting)."""
    triple: str = ""
    """Target triple of a managed one; empty for others."""
    key: str = ""
    """Name in the cache of a managed one."""
    sha256: str = ""
    """Lower-case hex sha256 of the archive that a managed one was made from."""
    pip: str = ""
    """Version of its pip, or empty."""

    @property
    def label(self) -> str:
        """Version as people write it: ``3.13.5``, or ``3.13.5t`` for a free-threaded build."""
        return label_of(self.version, freethreaded=self.freethreaded)

    @property
    def minor(self) -> str:
        """Minor version, ``3.13`` or ``3.13t``."""
        return label_of(minor_of(self.version), freethreaded=self.freethreaded)

    def as_dict(self) -> Dict[str, object]:
        """Return the object that ``find --json`` and ``install --json`` print."""
        return {
            "executable": self.executable,
            "version": self.label,
            "triple": self.triple or None,
            "key": self.key or None,
            "sha256": self.sha256 or None,
            "implementation": self.implementation,
            "freethreaded": self.freethreaded,
            "source": self.source,
        }


def inspect_interpreter(python: Path, *, source: str = "system") -> Interpreter:
    """Run an executable, given by its absolute path, and return its facts.

    For the executable of a virtual environment, these are the facts of its base interpreter. What does not start, is
    not Python, or has no ``venv`` module raises `InterpreterError`.
    """
    facts = run_interpreter_json(python, _QUESTIONS)
    # Debian has the module in a package of its own, python3-venv.
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
    """Find the CPythons of the machine that a request accepts, newest first.

    The search covers ``PATH``, pyenv's versions and uv's managed interpreters. An executable whose name or folder shows
    its version is started only if that version may be accepted. Those whose paths show no version come last. None is
    started that another user could exchange: below ``HOME``, and anywhere as root, whose ``PATH`` may be another's.
    *accepts* is called with a full version and whether it is free-threaded; to *passed_over* the path of each rejected
    executable is added, and the reason.
    """
    skipped = [] if passed_over is None else passed_over
    candidates = []
    # A path that shows no version sorts last.
    for version, python in sorted(
        _candidates(), key=lambda each: (tuple(-part for part in each[0] or (0,)), str(each[1]))
    ):
        if _may_be_accepted(version, accepts):
            candidates.append((version, python))
        else:
            skipped.append((str(python), f"is {'.'.join(map(str, version))} by its path"))
    seen: Set[str] = set()
    # A path may show a minor version only, so those of one minor version are sorted by their own answers.
    for _, group in itertools.groupby(candidates, key=lambda candidate: candidate[0][:2]):
        fitting = []
        for found in _inspect_new([python for _, python in group], seen, skipped):
            if found.implementation == IMPLEMENTATION and accepts(found.version, found.freethreaded):
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
            # What another user's PATH or PYENV_ROOT names is that user's choice, but not what merely lies in a home.
            at_home = os.path.expanduser("~") in map(str, python.parents)
            if at_home or (hasattr(os, "geteuid") and os.geteuid() == 0):
                check_file(python)
            found = inspect_interpreter(python)
        except (CacheError, InterpreterError) as exc:
            # pyenv's shims and Debian's Python without venv are passed over rather than reported as errors.
            skipped.append((str(python), exc.message))
            continue
        if found.executable not in seen - {identity}:
            seen.add(found.executable)
            yield found


def _may_be_accepted(version: Tuple[int, ...], accepts: Callable[[str, bool], bool]) -> bool:
    if len(version) < 2:
        return True
    micros: Sequence[int] = range(60) if len(version) == 2 else version[2:]
    texts = [f"{version[0]}.{version[1]}.{micro}" for micro in micros]
    if 0 in micros:
        # A path rarely shows a pre-release, and a request for one may accept nothing else.
        levels = itertools.product(("a", "b", "rc"), range(1, 10))
        texts += [f"{version[0]}.{version[1]}.0{level}{serial}" for level, serial in levels]
    return any(accepts(text, freethreaded) for text in texts for freethreaded in (False, True))


def _candidates() -> List[Tuple[Tuple[int, ...], Path]]:
    """Return the paths to inspect, each after the version that the path shows, which may be short or empty."""
    found = []
    for folder in dict.fromkeys(os.environ.get("PATH", os.defpath).split(os.pathsep)):
        if os.path.isabs(folder):
            found += _executables_in(Path(folder))
    # Most of pyenv's shims on PATH fail, so its versions are found in their own folders.
    for folder, pattern in _version_folders():
        # HOME may be a folder of another user, as after sudo -u; up to 3.12, glob raises an error for that.
        with contextlib.suppress(PermissionError):
            if not os.path.isabs(folder):
                continue  # There is no HOME, and this user has no entry in passwd.
            found += [(_version_in(str(each)[len(folder) :]), each) for each in sorted(Path(folder).glob(pattern))]
    return [*found, *_registered()]


def _executables_in(folder: Path) -> List[Tuple[Tuple[int, ...], Path]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    paths = [folder / name for name in names if _NAME.fullmatch(name)]
    # "python3" is usually a link to a name such as "python3.12".
    return [
        (_version_in(path.name) or _version_in(os.path.basename(os.path.realpath(path))), path)
        for path in paths
        if os.access(str(path), os.X_OK)
    ]


def _version_folders() -> Iterator[Tuple[str, str]]:
    home = os.path.expanduser("~")
    if RUNNING.name == "windows":
        own, data, programs = ".pyenv/pyenv-win", os.environ.get("APPDATA"), ("python.exe", "python.exe")
    else:
        own, data, programs = ".pyenv", os.environ.get("XDG_DATA_HOME"), ("bin/python", "bin/python3")
    yield os.environ.get("PYENV_ROOT") or os.path.join(home, own), f"versions/*/{programs[0]}"
    data = data or os.path.join(home, ".local", "share")
    yield os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python"), f"*/{programs[1]}"


def _registered() -> Iterator[Tuple[Tuple[int, ...], Path]]:
    """Yield the interpreters of the registry of Windows, as `_candidates` returns them (PEP 514)."""
    if RUNNING.name != "windows":
        return
    for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
        companies = [rf"Software\Python\{name}" for name in _subkeys(root, r"Software\Python")]
        for path in (rf"{company}\{tag}" for company in companies for tag in _subkeys(root, company)):
            with contextlib.suppress(OSError), winreg.OpenKey(root, rf"{path}\InstallPath") as key:
                tag = path.rpartition("\\")[2]
                yield _version_in(tag), Path(str(winreg.QueryValueEx(key, "ExecutablePath")[0]))


def _subkeys(root: int, path: str) -> Iterator[str]:
    with contextlib.suppress(OSError), winreg.OpenKey(root, path) as key:
        for number in itertools.count():
            yield winreg.EnumKey(key, number)


def _version_in(name: str) -> Tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", name)
    return tuple(int(part) for part in match.groups() if part) if match else ()
