"""The wheels of a mirror: those of a lock, and what a frontend installs before it calls a hook. pip fetches them.

pip finds indexes, passwords, proxies and certificates where the user has configured them, which a lock does not hold.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..catalog.wanted import RELOCK, Wanted
from ..errors import DownloadError, ProjectError
from ..files import remove_path
from ..hooks.installers import PIP_DROPPED, interpreter_environment
from ..hooks.locked_wheels import report_package, wheel_file
from ..install.sources import WHEELS
from ..interpreter import Interpreter, inspect_interpreter
from ..output import Reporter
from ..processes import CompletedOutput, describe_end, last_lines, run_quiet
from ..project.pylock import wheel_sha256
from ..project.pyproject import OWN_NAME
from ..provision import provision
from ..settings import Settings
from ..variables import drop_variables
from ..versions import minor_of, parse_request
from .folder import Filled, Item, fill_folder, hash_if_exists

__all__ = ["Wheel", "fill_wheels", "find_pip", "list_wheels", "run_pip", "wheels_for_frontends"]


_TIMEOUT = 3600.0  # seconds that one call of pip may take; some wheels have a gigabyte


class Wheel(NamedTuple):
    """A wheel that a lock names."""

    name: str
    version: str
    filename: str
    """Its path below the mirror, with slashes."""
    sha256: str
    python: str
    """Version of the interpreter that it is for, such as 3.13."""
    tags: FrozenSet[Tag]

    def as_dict(self) -> Dict[str, str]:
        """Return what a command prints as JSON."""
        return {key: str(value) for key, value in self._asdict().items() if key != "tags"}


def list_wheels(packages: Iterable[Mapping[str, Any]], python: str) -> Tuple[Wheel, ...]:
    """Return the wheels of tables ``[[packages]]``, each with its sha256, for a version of Python (PEP 751)."""
    found: Dict[str, Wheel] = {}
    for wheel in [wheel for package in packages for wheel in package["wheels"]]:
        file = wheel_file(wheel)
        try:
            name, version, _, tags = parse_wheel_filename(file)
        except InvalidWheelFilename as exc:
            raise ProjectError(f"a package is locked to what is no wheel: {exc}", hint=RELOCK) from None
        found[file] = Wheel(name, str(version), f"{WHEELS}/{file}", wheel["hashes"]["sha256"], python, tags)
    return tuple(found.values())


def find_pip(python: str, settings: Settings, reporter: Reporter) -> Interpreter:
    """Return this interpreter, or provision one, to run pip: of a minor version, or of any where that is empty."""
    running = inspect_interpreter(Path(sys.executable))
    if running.pip and python in ("", minor_of(running.version)):
        return running._replace(executable=sys.executable)
    request = parse_request(python or minor_of(running.version), source="--host-python")
    return provision(Wanted("", request), settings, reporter)


def wheels_for_frontends(
    requires: Sequence[str], python: str, settings: Settings, reporter: Reporter
) -> Tuple[Wheel, ...]:
    """Resolve what a frontend that runs on a minor version of Python installs for a project that lists *requires*."""
    pip = find_pip(python, settings, reporter)
    reporter.info(f"resolving what a frontend on Python {minor_of(pip.version)} installs")
    command = ["install", "--dry-run", "--quiet", "--ignore-installed", "--only-binary", ":all:", "--report", "-"]
    done = run_pip(pip, [*command, *requires, f"{OWN_NAME}[provision]"])
    if done.returncode != 0:
        raise DownloadError(
            f"could not resolve what a frontend on Python {python} installs: pip {describe_end(done.returncode)}",
            hint=last_lines(done.stdout + done.stderr),
        )
    found = [report_package(item) for item in json.loads(done.stdout)["install"]]
    for package in found:
        if not wheel_sha256(package["wheels"][0]):
            raise DownloadError(f"the index has no sha256 of {package['name']}, so that it cannot be checked")
    return list_wheels(found, minor_of(pip.version))


def run_pip(pip: Interpreter, words: Sequence[str], environ: Optional[Mapping[str, str]] = None) -> CompletedOutput:
    """Run the pip of an interpreter with the user's indexes and passwords, and more variables for what it starts."""
    variables = drop_variables(interpreter_environment(pip, os.path.dirname(pip.executable)), PIP_DROPPED)
    # The lock is what constrains these files; a configuration file may hold constraints, too.
    variables.update(PIP_CONSTRAINT=os.devnull, PIP_NO_INPUT="1", **(environ or {}))
    return run_quiet([pip.executable, "-I", "-B", "-m", "pip", *words], env=variables, timeout=_TIMEOUT)


def fill_wheels(folder: Path, wheels: Sequence[Wheel], settings: Settings, reporter: Reporter) -> Filled:
    """Fetch the wheels that a folder does not have by pip, from the user's indexes; errors are those of `fill_folder`.

    They may be for any platform and Python.
    """
    pip = find_pip("", settings, reporter)
    # One call of pip fetches files of the same tags, and one file of each name.
    batches: Dict[Any, List[Item]] = {}
    seen: Dict[Any, int] = {}
    for wheel in wheels:
        kind = (wheel.python, wheel.tags)
        number = seen[kind, wheel.name] = seen.get((kind, wheel.name), 0) + 1
        batches.setdefault((kind, number), []).append(wheel)

    def _fetch(wheels: Sequence[Any], work: Path) -> None:
        reporter.info(f"fetching {len(wheels)} wheel{'s' if len(wheels) > 1 else ''} with pip")
        _download_wheels(wheels, work, pip)

    return fill_folder(folder, list(batches.values()), _fetch, settings, reporter)


def _download_wheels(wheels: Sequence[Wheel], work: Path, pip: Interpreter) -> None:
    requirements = work / "requirements.txt"
    lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels]
    requirements.write_text("".join(lines), encoding="utf-8")
    tags = wheels[0].tags
    command = ["download", "--quiet", "--dest", str(work), "--python-version", wheels[0].python]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)]
    command += [word for abi in sorted({tag.abi for tag in tags}) for word in ("--abi", abi)]
    command += [word for platform in sorted({tag.platform for tag in tags}) for word in ("--platform", platform)]
    done = run_pip(pip, command)
    remove_path(requirements)
    for wheel in wheels:
        name = PurePosixPath(wheel.filename).name
        if done.returncode != 0 or hash_if_exists(work / name) != wheel.sha256:
            raise DownloadError(
                f"could not fetch {name}: pip {describe_end(done.returncode)}",
                hint=last_lines(done.stdout + done.stderr),
            )
