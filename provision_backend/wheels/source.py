"""The source of all wheels: a folder, an sdist, or the name of one on the package index → one sdist.

Whatever was named, every wheel is built from the same sdist, unpacked anew for each. That of a folder is made by the
project's own backend, and written again with one time for all files, so that it depends on their content alone; any
other one is used as it is.
"""

from __future__ import annotations

import os
import pkgutil
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

from ..catalog.wanted import Wanted
from ..errors import DownloadError, InterpreterError, ProjectError, UsageError
from ..files import hash_file, remove_path
from ..hooks.build import Build
from ..hooks.frontend import guard_recursion
from ..hooks.provisioned import call_hook
from ..install.archives import write_archive
from ..install.unpack import unpack_sdist
from ..mirror.wheels import find_pip, run_pip
from ..output import Reporter, redact_text
from ..processes import describe_end, last_lines, run_quiet
from ..project.plan import Plan, make_plan
from ..project.pyproject import Project
from ..project.unadopted import read_any_project
from ..settings import Settings
from ..toolchain import toolchain_for
from ..variables import clean_environment
from ..versions import leading_name, parse_request
from .state import LOGS, MADE

__all__ = ["Source", "fetch_sdist", "inspect_source", "open_source"]

_NAME = r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:==\s*[A-Za-z0-9.!+_-]+\s*)?"
_EPOCH = "SOURCE_DATE_EPOCH"
_FIRST = 315532800  # 1980-01-01, before which no time can be written into a wheel, which is a zip file
_END = 1 << 32  # in 2106, where the times of other formats end; those of zip files do in 2108
_GENERATED = re.compile(r"(^|/)([^/]+\.egg-info/.*|PKG-INFO)$")


class Source(NamedTuple):
    """What every wheel of a run is built from."""

    project: Project
    """The project as its sdist says; its root is an unpacked copy that nothing is built in."""
    sdist: Path
    """Absolute path of the ``.tar.gz``."""
    epoch: int
    """Seconds since 1970 for ``SOURCE_DATE_EPOCH``: the variable, else the last commit, else the newest file."""
    sha256: str
    """Of the sdist, lower-case hex."""


def open_source(
    source: str, work: Path, settings: Settings, reporter: Reporter, *, python: str = "", out: Optional[Path] = None
) -> Source:
    """Make or find the sdist of what a person names: a folder, an sdist, or ``NAME`` or ``NAME==VERSION`` on the index.

    The sdist of a folder is made by an interpreter for the request *python*, else by the newest that satisfies the
    project. What a run has left in *out*, the absolute path of the folder of the wheels, is in no sdist, although some
    backends pack all that lies in a folder: else no two runs would have the same source. The folder *work* is empty.

    Raises:
        UsageError: *source* is nothing of that.
        ProvisionError: the project is malformed, its sdist could not be made, or is damaged or holds what is refused.
    """
    path = fetch_sdist(source, work, settings, reporter)
    if os.path.isdir(path):
        began = time.time()
        project = read_any_project(path)
        made = _make_sdist(project, work, settings, reporter, python=python)
        tree = unpack_sdist(made, work / "made")
        _drop_output(tree, path, out)
        epoch = _set_epoch() or _last_commit(path) or _newest(tree, path, before=began)
        folder = work / "sdist"
        folder.mkdir()
        write_archive(tree, folder / made.name, mtime=epoch)
        return _opened(folder / made.name, work, epoch)
    return _opened(path, work, _set_epoch())


def _drop_output(tree: Path, source: Path, out: Optional[Path]) -> None:
    output, root = Path(os.path.realpath(out or os.curdir)), Path(os.path.realpath(source))
    if out is None or root not in (output, *output.parents):
        return
    # The folder may have files of the project as well, so only what is ours goes.
    folder = tree / output.relative_to(root)
    for path in [path for pattern in MADE for path in folder.glob(pattern)]:
        remove_path(path)
    for each in (folder / LOGS, folder):
        with suppress(OSError):  # It is not empty, or not there.
            each.rmdir()


def inspect_source(source: str, work: Path, settings: Settings, reporter: Reporter) -> Project:
    """Read the project that a person names, without making anything of a folder; the arguments are `open_source`'s."""
    path = fetch_sdist(source, work, settings, reporter)
    return read_any_project(path if os.path.isdir(path) else unpack_sdist(path, work / "look"))


def fetch_sdist(source: str, work: Path, settings: Settings, reporter: Reporter) -> Path:
    """Return the absolute path of a folder or of an sdist, which is downloaded into *work* where it is only a name.

    Raises:
        UsageError: *source* is neither a path nor the name of a project.
        ProvisionError: there is no Python that could fetch it, or its index has no such sdist.
    """
    path = Path(os.path.abspath(source))
    if not source.strip():  # Mostly a variable that is not set; its path would be this folder.
        raise UsageError(f"SOURCE must name a folder, an sdist or a project, found {source!r}")
    if os.path.isdir(path):
        return path
    # PEP 625 has no other form, and what is left of them is older than the Pythons that wheels are built for.
    if os.path.exists(path) and not path.name.endswith(".tar.gz"):
        raise UsageError(f"SOURCE must name a folder or an sdist, <name>-<version>.tar.gz, found {source!r}")
    if os.path.exists(path):
        return path
    name = re.fullmatch(_NAME, source)
    if name is None or source.endswith((".gz", ".zip", ".whl")):
        raise UsageError(
            f"SOURCE must name a folder, an sdist or a project, found {source!r}, which does not exist",
            hint="a project on the package index is NAME or NAME==VERSION",
        )
    found = next((work / "download").glob("*.tar.gz"), None)
    if found is None:
        reporter.info(f"there is no folder {source!r} here; fetching the sdist of {source} from the package index")
        found = _download(source, name[1], work / "download", settings, reporter)
    return found


def _download(requirement: str, name: str, folder: Path, settings: Settings, reporter: Reporter) -> Path:
    """Download an sdist by pip, which knows the user's indexes, passwords, proxies and certificates."""
    # Otherwise pip asks the project for its metadata: for some a whole compilation.
    hooks = folder / "hooks"
    hooks.mkdir(parents=True)
    # The package may lie in a zip file.
    (hooks / "sitecustomize.py").write_bytes(pkgutil.get_data(__package__, "stand_in.py") or b"")
    command = ["download", "--quiet", "--no-deps", "--dest", str(folder), "--no-binary", name, requirement]
    # Whatever Python pip runs under, the newest release is wanted.
    command += ["--use-pep517", "--no-build-isolation", "--ignore-requires-python", "--disable-pip-version-check"]
    with reporter.step(f"fetch the sdist of {requirement}"):
        done = run_pip(find_pip("", settings, reporter), command, {"PYTHONPATH": str(hooks)})
    found = next(folder.glob("*.tar.gz"), None)
    if done.returncode != 0 or found is None:
        reason = f"pip {describe_end(done.returncode)}" if done.returncode else "it has none as .tar.gz"
        raise DownloadError(
            f"could not fetch the sdist of {requirement!r}: {reason}",
            hint=redact_text(last_lines(done.stdout + done.stderr)) + "\nor download the .tar.gz and name that",
        )
    return found


def _opened(sdist: Path, work: Path, epoch: int) -> Source:
    root = unpack_sdist(sdist, work / "source")
    project = read_any_project(root)
    if not (project.name and project.version):
        raise ProjectError(f"{sdist.name} has no PKG-INFO with a name and a version, so it is not an sdist")
    newest = epoch or int(max((os.stat(path).st_mtime for path in _files(root)), default=_FIRST))
    return Source(project, sdist, max(newest, _FIRST), hash_file(sdist))


def _make_sdist(project: Project, work: Path, settings: Settings, reporter: Reporter, *, python: str) -> Path:
    folder = work / "made-by-backend"
    folder.mkdir()
    # Only meson configures the project, with a compiler, to make its sdist; zig is 100 MB for the others.
    configures = any(leading_name(text) == "meson-python" for text in project.requires)
    toolchain = toolchain_for(settings) if configures else None
    build = Build(project, settings, _plan(project, settings, python), None, reporter, toolchain)
    with guard_recursion(project.root, project.build_backend):
        name = call_hook(build, "build_sdist", (str(folder), None))
    return folder / str(name)


def _plan(project: Project, settings: Settings, python: str) -> Plan:
    # A lock decides about the interpreter, and about what is installed beside it.
    wanted = make_plan(project, settings).wanted
    if python and wanted.lock is None:
        wanted = Wanted(project.requires_python, parse_request(python))
    return Plan(True, wanted, "the sdist of all wheels is made")


def _set_epoch() -> int:
    text = os.environ.get(_EPOCH, "")
    if text and not re.fullmatch("[0-9]{1,12}", text):
        raise UsageError(f"{_EPOCH} must be a number of seconds, found {text!r}")
    if int(text or 0) >= _END:
        raise UsageError(f"{_EPOCH} must be a time that a wheel can have, before 2106, found {text!r}")
    return int(text or 0)


def _last_commit(folder: Path) -> int:
    """Return the time of the last commit of a folder; 0 where it has none, or git is missing."""
    with suppress(InterpreterError, ValueError):
        command = ["git", "-C", str(folder), "log", "-1", "--format=%ct", "--", "."]
        return int(run_quiet(command, env=clean_environment()).stdout)
    return 0


def _newest(tree: Path, folder: Path, *, before: float) -> int:
    """Return the newest time of those files of a folder that are in its sdist, and that no backend has made."""
    names = [str(path.relative_to(tree)).replace(os.sep, "/") for path in _files(tree)]
    found = [_time_of(folder / name) for name in names if not _GENERATED.search(name)]
    return int(max((each for each in found if each is not None and each < before), default=_FIRST))


def _time_of(path: Path) -> Optional[float]:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _files(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(str(tree)):
        yield from (Path(folder, name) for name in names)
