"""``provision-backend doctor``: run every check, each for itself and in bounded time, and print what was found.

In: settings and a folder. Out: one `Finding` or more a check. A check that raises, or that hangs on a file system or
a name server, becomes a finding of its own, and the others go on.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, NamedTuple, Tuple

from ..doctor import building, caches, indexes, locking, machine, network, programs
from ..doctor.context import Context
from ..doctor.findings import PROBLEM, WARNING, Finding, problem, warning
from ..errors import MissingDependencyError, ProvisionError, UsageError

if TYPE_CHECKING:
    import argparse

    from ..output import Reporter
    from ..settings import Settings

__all__ = ["CHECKS", "Check", "examine", "run", "run_check"]

DEADLINE = 30.0  # seconds that a check may take


class Check(NamedTuple):
    """One thing to look at."""

    name: str
    look: Callable[[Context], Iterator[Finding]]
    deadline: float = DEADLINE
    """Seconds after which it is given up."""


CHECKS: Tuple[Check, ...] = (
    Check("host", machine.check_host),
    Check("python", machine.check_python),
    Check("packages", machine.check_packages),
    Check("settings", building.check_settings),
    Check("project", building.check_project),
    Check("plan", building.check_plan),
    Check("catalog", building.check_catalog),
    Check("interpreter", building.check_interpreter),
    Check("cache", caches.check_cache),
    Check("entries", caches.check_entries, 3600.0),
    Check("shared caches", caches.check_shared),
    Check("lock", locking.check_lock),
    Check("clock", machine.check_clock),
    Check("proxy", network.check_proxy),
    Check("network", network.check_sources),
    Check("index", indexes.check_indexes),
    Check("temporary", machine.check_temporary),
    Check("compiler", programs.check_compiler),
    Check("frontends", programs.check_frontends),
)
"""Every check, in the order in which people read them: the cause before what follows from it."""


def run(
    arguments: argparse.Namespace, settings: Settings, _reporter: Reporter
) -> Tuple[List[Dict[str, str]], List[str], int]:
    """Look at everything.

    Returns:
        What ``--json`` prints, the lines for people, and the exit code: 1 where there is a problem.

    Raises:
        UsageError: the folder is none.
    """
    directory = Path(arguments.directory)
    if not directory.is_dir():
        raise UsageError(f"DIR must name a folder, found {str(directory)!r}")
    findings = examine(Context(settings, directory, full=arguments.full))
    lines = [line for finding in findings for line in finding.lines()]
    problems = sum(finding.status == PROBLEM for finding in findings)
    return [finding.as_dict() for finding in findings], [*lines, _summary(findings)], int(problems > 0)


def examine(context: Context) -> List[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in run_check(check, context)]


def run_check(check: Check, context: Context) -> List[Finding]:
    """Run one check; whatever becomes of it, it is told."""
    findings: List[Finding] = []

    def look() -> None:
        try:
            # One by one, so that what was found before a failure is kept.
            for finding in check.look(context):
                findings.append(finding)  # noqa: PERF402 - the list is read while this goes on
        except MissingDependencyError as exc:
            findings.append(warning(f"not looked at: {exc.message}", exc.hint))
        except ProvisionError as exc:
            findings.append(problem(exc.message, exc.hint))
        except Exception as exc:
            # A fault of ours, or of the machine, that nobody has thought of; the other checks still have a say.
            findings.append(warning(f"could not be looked at: {type(exc).__name__}: {exc}", "please report this"))

    # A call that hangs on a dead network file system cannot be interrupted, only left behind.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(check.deadline)
    found = list(findings)
    if thread.is_alive():
        found.append(
            problem(
                f"no answer within {check.deadline:g} s: a file system, a name server or a program hangs",
                "look for a network mount that is not reachable, and at /etc/resolv.conf",
            )
        )
    return [_named(finding, check.name) for finding in found]


def _named(finding: Finding, name: str) -> Finding:
    from ..install.sources import redact_text

    # Whatever a check takes its words from, no address leaves with a password in it.
    return replace(finding, check=name, found=redact_text(finding.found), advice=redact_text(finding.advice))


def _summary(findings: List[Finding]) -> str:
    problems = sum(finding.status == PROBLEM for finding in findings)
    warnings = sum(finding.status == WARNING for finding in findings)
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
