"""``provision-backend check``: test wheels, wherever they were made, under each Python that they claim.

A wheel claims the Pythons of its tags that satisfy its ``Requires-Python``. Those that can be provisioned here install
it and use it, one after the other; a wheel for another system is reported, and is no failure. A wheel
of the project in this folder is tested as the project's table for ``wheels`` says, unless an option says otherwise.
"""

from __future__ import annotations

import argparse
import glob
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..cache.platform import current_platform
from ..cache.store import open_cache
from ..catalog.archive import Archive
from ..catalog.selection import matching_archives, newest_of_minors
from ..catalog.wanted import Wanted
from ..errors import MissingDependencyError, ProjectError, ProvisionError, UsageError, WheelError
from ..hooks.installers import provision_for_build
from ..hooks.tags import covers, is_for, kind_of, oldest_libc, tags_of
from ..host.platforms import Platform, format_version
from ..host.targets import split_level
from ..install.catalogs import archives_for, load_archives
from ..interpreter import find_interpreters
from ..output import Reporter
from ..project.pyproject import parse_pyproject, read_text
from ..settings import Settings
from ..versions import VersionRequest, is_specifier, normalised_name, parse_request
from ..wheels.contents import Contents, check_name, check_record, check_tags, read_contents
from ..wheels.options import WheelOptions, read_options, read_table
from ..wheels.repair import check_abi3
from ..wheels.targets import NATIVE, how_to_run
from ..wheels.testing import test_wheel, why_untested
from .answers import Answer, as_columns
from .registry import argument

__all__ = ["ARGUMENTS", "run"]

_PYTHON = "only Pythons that satisfy it: 3.13, 3.14t or '>=3.11'; may be repeated; default all that the wheel claims"
_TEST = (
    "shell command to test with, {wheel} and {project} being the wheel and this folder; default: that of the project "
    "in this folder for its own wheels, else import what the wheel has"
)

ARGUMENTS = {
    "check": [
        argument("wheels", "WHEEL", "a wheel, or a folder of wheels; may be repeated", nargs="+"),
        argument("--python", "REQUEST", _PYTHON, action="append", dest="requests"),
        argument("--test", "COMMAND", _TEST),
        argument("--test-requires", "REQUIREMENT", "what the command needs; may be repeated", action="append"),
    ]
}

_FREETHREADED = VersionRequest("free-threaded", "", freethreaded=True)


def run(arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> Answer:
    """Test every wheel; the exit code is 1 if one failed, or if nothing could be tested."""
    wheels = list(_find_wheels(arguments.wheels))
    check = _Check(arguments, settings, reporter)
    results = [check.wheel(wheel) for wheel in wheels]
    failed = any(result["error"] or any(test["error"] for test in result["tests"]) for result in results)
    tested = any(result["tests"] for result in results)
    lines = as_columns([row for result in results for row in _rows(result)])
    return Answer(results, lines, int(failed or not tested))


def _find_wheels(texts: Sequence[str]) -> Iterator[Path]:
    for text in texts:
        path = Path(text)
        # The shells of Windows pass a pattern on as it is.
        found = sorted(map(Path, glob.glob(text))) if "*" in text and not path.exists() else [path]
        found = sorted(path.glob("*.whl")) if path.is_dir() else found
        if not found or not all(wheel.is_file() for wheel in found):
            raise UsageError(f"WHEEL must name a wheel, or a folder that has some, found {text!r}")
        for wheel in found:
            tags_of(wheel.name)
        yield from found


class _Target(NamedTuple):
    """Where wheels are tested."""

    platform: Platform
    triple: str
    archives: Tuple[Archive, ...]
    settings: Settings
    """Those by which its interpreters are provisioned."""


class _Check:
    """What all wheels are checked with."""

    def __init__(self, arguments: argparse.Namespace, settings: Settings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter
        self._name, table = _project_table(Path.cwd(), reporter)
        given = {"python": arguments.requests, "test": arguments.test, "test_requires": arguments.test_requires}
        self._options, self._others_options = read_options(given, table), read_options(given, {})
        self._here = self._open(settings)
        # Then the catalog is only the list of minor versions, of which this machine need not have all.
        self._installed: Optional[Set[str]] = None
        if settings.preference == "only-system":
            found = find_interpreters(lambda *_: True)
            self._installed = {each.minor for each in found}

    def _options_for(self, wheel: Path) -> WheelOptions:
        # What tests one project says nothing of the wheels of others.
        is_own = normalised_name(wheel.name.partition("-")[0]) == self._name
        return self._options if is_own else self._others_options

    def _open(self, settings: Settings) -> _Target:
        cache = open_cache(settings)
        platform = current_platform(settings, cache)
        triple, archives = archives_for(
            platform.triple, settings, lambda triple: load_archives(settings, triple, cache, self._reporter)
        )
        return _Target(platform, triple, archives, settings)

    def _target_of(self, wheel: Path) -> _Target:
        """Return what a wheel is tested on: this host, or the other libc where its loader is installed, too."""
        other = _other_libc(self._here.triple)
        fixed = self._settings.target or self._installed is not None
        if fixed or is_for(wheel.name, self._here.triple) or not is_for(wheel.name, other):
            return self._here
        runs = how_to_run(other, self._settings)
        return self._open(self._settings._replace(target=other)) if runs.how == NATIVE else self._here

    def wheel(self, wheel: Path) -> Dict[str, Any]:
        """Check one wheel, and return what was found out about it, as for ``--json``."""
        facts = {"wheel": str(wheel), "kind": kind_of(wheel.name)}
        try:
            contents = read_contents(wheel)
        except WheelError as exc:
            # It is the failure of this wheel, and the others have their answers.
            self._reporter.error(str(exc))
            return {**facts, "error": exc.message, "untested": None, "tests": []}
        error = self._try(partial(self._check_claims, contents))
        tests, reason = self._tests(contents)
        return {**facts, "error": error, "untested": reason or None, "tests": tests}

    def _tests(self, contents: Contents) -> Tuple[List[Dict[str, Any]], str]:
        """Test a wheel, and return what each test has found; without any, why there is none."""
        tests, reason, wheel = [], "", contents.wheel
        target = self._target_of(wheel)
        pythons = self._claimed(contents, target)
        nothing = why_untested(contents, self._options_for(wheel).test) if pythons else ""
        for label, wanted in pythons:
            self._reporter.info(f"testing {wheel.name} under CPython {label}")
            began = time.monotonic()
            failure = self._try(partial(self._test, contents, wanted, target.settings))
            if failure or not nothing:
                tests.append({"python": label, "error": failure, "seconds": round(time.monotonic() - began, 1)})
        if not tests:
            reason = nothing or self._reason(wheel, target)
            self._reporter.info(f"{wheel.name} is not tested here: {reason}")
        return tests, reason

    def _try(self, action: Callable[[], object]) -> Optional[str]:
        """Return why something failed, after reporting it; None where it did not."""
        try:
            action()
        except UsageError:
            raise
        except ProvisionError as exc:
            self._reporter.error(str(exc))
            return exc.message
        return None

    def _check_claims(self, contents: Contents) -> None:
        for check in (check_name, check_tags, check_record):
            check(contents)
        try:
            check_abi3(contents.wheel)
        except MissingDependencyError as exc:
            # The test under each Python says more, and needs nothing of the extra.
            self._reporter.info(f"the stable ABI of {contents.wheel.name} is not checked: {exc}")

    def _test(self, contents: Contents, wanted: Wanted, settings: Settings) -> None:
        reporter, options = self._reporter, self._options_for(contents.wheel)
        interpreter = provision_for_build(wanted, settings, reporter)
        test_wheel(
            contents,
            interpreter,
            command=options.test,
            requires=options.test_requires,
            source=Path.cwd(),
            settings=settings,
            reporter=reporter,
        )

    def _claimed(self, contents: Contents, target: _Target) -> List[Tuple[str, Wanted]]:
        """Return the labels of the Pythons that a wheel claims and that there are for this host, and how to get each.

        Free-threaded ones are left out unless they are requested, or the wheel names their ABI.
        """
        wheel = contents.wheel
        oldest = oldest_libc(wheel.name, target.triple)
        if oldest and target.platform.libc_version and oldest > target.platform.libc_version[:2]:
            return []
        text = str(contents.metadata.get("Requires-Python") or "")
        requires_python = text if is_specifier(text) else ""
        names_abi = any(tag.abi.endswith("t") for tag in tags_of(wheel.name))
        asked = [parse_request(text, source="--python") for text in self._options_for(wheel).python]
        requests: Sequence[Optional[VersionRequest]] = asked or [None, *[_FREETHREADED] * names_abi]
        found: Dict[str, Wanted] = {}
        # A wheel may be for a Python of which there are only pre-releases yet.
        for archives in (target.archives, [archive for archive in target.archives if archive.prerelease]):
            for request in requests if not found else ():
                wanted = Wanted(requires_python, request)
                for archive in newest_of_minors(matching_archives(archives, wanted, target.triple)):
                    label = archive.minor
                    available = self._installed is None or label in self._installed
                    if available and covers(wheel.name, label, target.triple):
                        both = ",".join(filter(None, [requires_python, request.specifiers if request else ""]))
                        found.setdefault(label, Wanted(both, parse_request(label)))
        return sorted(found.items(), key=lambda each: (int(each[0].rstrip("t").split(".")[1]), each[0]))

    def _reason(self, wheel: Path, target: _Target) -> str:
        oldest = oldest_libc(wheel.name, target.triple)
        if oldest and target.platform.libc_version and oldest > target.platform.libc_version[:2]:
            return f"it needs libc {format_version(oldest)}, and this host has {target.platform.libc_name}"
        if not is_for(wheel.name, target.triple):
            return f"it is for {wheel.stem.rpartition('-')[2]}, and this host is {target.triple}"
        asked = self._options_for(wheel).python
        what = "Python that it claims and --python allows" if asked else "Python that it claims"
        return f"there is no {what} for {target.triple}"


def _project_table(folder: Path, reporter: Reporter) -> Tuple[str, Dict[str, Any]]:
    """Return the normalised name of the project in a folder, and its table for ``wheels``; both empty without one."""
    try:
        document = parse_pyproject(read_text(folder))
    except ProjectError as exc:
        # The wheels may be of others, for which it is of no account.
        reporter.info(f"no table of the project in this folder is used: {exc}")
        return "", {}
    except UsageError:
        return "", {}
    return normalised_name(str(document.get("project", {}).get("name", ""))), read_table(document)


def _other_libc(triple: str) -> str:
    """Return the triple of the same CPU with musl for glibc, and with glibc for musl."""
    start, _, environment = split_level(triple)[0].rpartition("-")
    other = environment.replace("gnu", "musl") if "gnu" in environment else environment.replace("musl", "gnu")
    return f"{start}-{other}"


def _rows(result: Mapping[str, Any]) -> Iterator[Tuple[str, str, str, str]]:
    name = Path(result["wheel"]).name
    if result["error"]:
        yield name, result["kind"], "failed", ""
    if result["untested"]:
        yield name, "", "not tested here", ""
    for test in result["tests"]:
        yield name, test["python"], "failed" if test["error"] else "ok", f"{test['seconds']:.1f} s"
