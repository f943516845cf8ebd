"""Test a wheel under an interpreter: install it with what it requires into an environment of its own, and use it.

By default all its import names are imported, which finds what a build cannot: a missing library or module, a symbol
that the interpreter does not have, files that were left out. A command tests more.

Source: "Recording installed projects"; PEP 794 (Import-Name); PEP 420 (namespace packages).
"""

from __future__ import annotations

import keyword
import re
import shlex
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set

from packaging.utils import parse_wheel_filename

from ..catalog.wanted import Wanted
from ..errors import BuildEnvironmentError, InterpreterError, WheelError
from ..hooks.environment import BuildEnvironment, create_environment
from ..hooks.installers import provision_for_build
from ..hooks.tags import tags_of
from ..install.unpack import unpack_sdist
from ..interpreter import Interpreter
from ..output import Reporter
from ..processes import abnormal_end, last_lines, run_quiet, run_visible
from ..settings import Settings
from ..systems import RUNNING
from ..versions import parse_request
from .contents import Contents, read_contents
from .job import Job
from .targets import settings_for

__all__ = ["import_names", "run_test", "test_wheel", "why_untested"]

_IMPORTING = """
import importlib, sys
for name in sys.argv[2:]:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(name)
    importlib.import_module(name)
open(sys.argv[1], "w").close()
"""

_LONGEST = 6 * 3600.0  # seconds that a test may take

# What projects pack by mistake, beside their packages, often needs what only its developers have.
_NOT_IMPORTED = {
    "benchmark", "benchmarks", "conftest", "doc", "docs", "example", "examples", "scripts", "setup", "test", "tests",
    "tools",
}  # fmt: skip


def test_wheel(
    contents: Contents,
    interpreter: Interpreter,
    *,
    command: str,
    requires: Sequence[str],
    source: Optional[Path],
    settings: Settings,
    reporter: Reporter,
) -> None:
    """Install a wheel and test it; what the tests print is shown with ``--verbose``, else its end if they fail.

    The *command* is one of the system's shell, run in an empty folder, whose Python is that of the environment;
    ``{project}``, which is the *source*, and ``{wheel}`` in it are paths. Without a command, all import names of the
    wheel are imported. One that cannot be installed, or fails its test, is a `WheelError`.
    """
    wheel = contents.wheel.absolute()
    label = f"CPython {interpreter.label}"
    words = _replaced(command, wheel, source)
    names = [] if command else import_names(contents)
    with tempfile.TemporaryDirectory(prefix="provision-backend-") as name:
        folder = Path(name)
        environment = BuildEnvironment(folder / "environment", interpreter, settings, reporter, source or folder)
        _install(environment, wheel, requires)
        reporter.detail(f"testing {wheel.name} under {label}: {command or 'import ' + ', '.join(names)}")
        (folder / "empty").mkdir()
        if command:
            _run_command(words, environment, folder / "empty", f"the test of {wheel.name} under {label}")
        elif names:
            _import(names, environment, folder, f"{wheel.name} was installed under {label}")


def why_untested(contents: Contents, command: str) -> str:
    """Return why `test_wheel` does no more than install a wheel; empty if it does.

    A wheel of scripts, data or dependencies is no failure, and neither is it known to work: a build backend that finds
    no packages makes the same. One that says with ``Import-Name`` that there is nothing to import was tested.
    """
    if command or import_names(contents) or contents.metadata.get_all("Import-Name") is not None:
        return ""
    return "it can be installed, and there is nothing to import in it"


def run_test(job: Job, reporter: Reporter) -> Dict[str, Any]:
    """Test the wheel of a job; the result is empty, or says why there can be no test here.

    Whatever is wrong with the wheel is a `WheelError`.
    """
    if not job.runs.how:
        return {"unavailable": True, "error": job.runs.reason}
    settings = settings_for(job.target.triple, job.runs.how, job.settings)
    wanted = Wanted("", parse_request(job.target.request))
    interpreter = provision_for_build(wanted, settings, reporter)
    # {project} is a copy for this test alone, so that none finds what another one has left in it.
    source = unpack_sdist(Path(job.sdist), Path(job.folder, "project")) if "{project}" in job.test else None
    contents = read_contents(Path(job.wheel))
    test_wheel(
        contents,
        interpreter,
        command=job.test,
        requires=job.test_requires,
        source=source,
        settings=settings,
        reporter=reporter,
    )
    reason = why_untested(contents, job.test)
    return {"unavailable": True, "error": reason} if reason else {}


def _replaced(command: str, wheel: Path, source: Optional[Path]) -> str:
    paths = {"{project}": str(source and source.absolute()), "{wheel}": str(wheel)}
    for name, path in paths.items():
        command = command.replace(name, f'"{path}"' if RUNNING.name == "windows" else shlex.quote(path))
    return command


def _install(environment: BuildEnvironment, wheel: Path, requires: Sequence[str]) -> None:
    tags_of(wheel.name)
    # By its URL, so that no other file of the same name and version can take its place.
    requirement = f"{parse_wheel_filename(wheel.name)[0]} @ {wheel.as_uri()}"
    try:
        create_environment(environment.interpreter, environment.path, environment.settings)
        environment.install([requirement, *requires], what=f"{wheel.name} and what it requires")
    except BuildEnvironmentError as exc:
        raise WheelError(exc.message, hint=exc.hint) from exc


def _import(names: Sequence[str], environment: BuildEnvironment, folder: Path, installed: str) -> None:
    last = folder / "last"
    # -B: the interpreter in the cache stays as it was published.
    command = [environment.python, "-I", "-B", "-c", _IMPORTING, str(last), *names]
    try:
        done = run_quiet(command, env=environment.installer_environ(), cwd=str(folder / "empty"))
    except InterpreterError as exc:
        raise WheelError(f"{installed}, and its import does not end: {exc.message}", hint=exc.hint) from None
    # The file is empty once all are imported: a module that ends Python with exit status 0 has hidden the others.
    name = last.read_text(encoding="utf-8") if last.exists() else names[0]
    if done.returncode or name:
        end = abnormal_end(done.returncode)
        how = f"was ended by {end}" if end else "failed" if done.returncode else "ends Python"
        what = f"'import {name}'" if name else "the end of Python after the imports"
        raise WheelError(f"{installed}, and {what} {how}", hint=last_lines(done.stderr or done.stdout))


def _run_command(command: str, environment: BuildEnvironment, folder: Path, what: str) -> None:
    shell = ["cmd", "/d", "/s", "/c", command] if RUNNING.name == "windows" else ["/bin/sh", "-c", command]
    environ = environment.installer_environ()
    hint = ""
    if environment.reporter.verbosity:
        returncode = run_visible(shell, env=environ, cwd=str(folder))
    else:
        done = run_quiet(shell, env=environ, cwd=str(folder), timeout=_LONGEST)
        returncode, hint = done.returncode, last_lines(done.stdout + done.stderr)
    if returncode:
        end = abnormal_end(returncode)
        how = f"was ended by {end}" if end else f"ended with exit status {returncode}"
        raise WheelError(f"{what} {how}", hint=f"{command}\n{hint}".strip())


def import_names(contents: Contents) -> List[str]:
    """Return what can be imported of a wheel, in alphabetical order: the least names that load all its packages.

    Where the metadata lists ``Import-Name``, these; otherwise the top-level packages and modules, and for a namespace
    the uppermost ones in it. ``tests``, ``docs`` and the like, which many wheels hold by mistake, are left out.
    """
    declared = contents.metadata.get_all("Import-Name")
    if declared is not None:
        names = {text.partition(";")[0].strip() for text in declared}
        return sorted(filter(None, names))  # One without a name says that there is none.
    uppermost: Dict[str, List[str]] = {}
    for name in sorted(set(_modules(contents.paths)), key=lambda name: (name.count("."), name)):
        found = uppermost.setdefault(name.partition(".")[0], [])
        if not found or name.count(".") == found[0].count("."):
            found.append(name)
    return sorted(name for found in uppermost.values() for name in found)


def _modules(paths: Sequence[str]) -> Iterator[str]:
    """Yield the dotted names of modules that no package holds, and of packages that no other one holds."""
    files = [PurePosixPath(re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", path)) for path in paths]
    modules: Mapping[PurePosixPath, str] = {file: _module(file.name) for file in files}
    packages: Set[PurePosixPath] = {file.parent for file, stem in modules.items() if stem == "__init__"}
    for file, stem in modules.items():
        if not stem:
            continue
        # The uppermost package counts, and the folder of all counts as none, even with an __init__.py in it.
        above = [folder for folder in reversed(file.parents) if folder in packages and folder.parts]
        parts = above[0].parts if above else (*file.parent.parts, stem)
        named = all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
        if named and parts[0] not in _NOT_IMPORTED and not parts[-1].startswith("__"):
            yield ".".join(parts)


def _module(name: str) -> str:
    stem, _, ending = name.partition(".")
    return stem if ending == "py" or re.search(r"(^|\.)(so|pyd)$", ending) else ""
