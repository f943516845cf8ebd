"""Every check of ``doctor``, and how one is run: for itself and in bounded time.

In: a `Context`. Out: one `Finding` or more for each check. A check that raises, or that hangs on a file system or a
name server, becomes a finding of its own, and the others go on.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Callable, Iterator, List, NamedTuple, Tuple

from ..errors import MissingDependencyError, ProvisionError
from ..install.sources import redact_text
from . import building, caches, machine, network
from .context import Context
from .findings import Finding, problem, warning

__all__ = ["CHECKS", "Check", "examine", "run_check"]

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
    Check("lock", caches.check_lock),
    Check("clock", machine.check_clock),
    Check("proxy", network.check_proxy),
    Check("network", network.check_sources),
    Check("index", network.check_indexes),
    Check("temporary", machine.check_temporary),
    Check("compiler", machine.check_compiler),
    Check("frontends", machine.check_frontends),
)
"""Every check, in the order in which people read them: the cause before what follows from it."""


def examine(context: Context) -> List[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in run_check(check, context)]


def run_check(check: Check, context: Context) -> List[Finding]:
    """Run one check; a failure of the check itself is a finding too."""
    findings: List[Finding] = []

    def _look() -> None:
        try:
            # One by one, so that findings before a failure are kept.
            for finding in check.look(context):
                findings.append(finding)  # noqa: PERF402 - the list is read while this goes on
        except MissingDependencyError as exc:
            findings.append(warning(f"not checked: {exc.message}", exc.hint))
        except ProvisionError as exc:
            findings.append(problem(exc.message, exc.hint))
        except Exception as exc:
            # An unforeseen fault, of ours or of the machine, must not keep the other checks from running.
            findings.append(warning(f"the check failed: {type(exc).__name__}: {exc}", "please report this"))

    # A call that hangs on a dead network file system cannot be interrupted, only left behind.
    thread = threading.Thread(target=_look, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # Old container runtimes refuse clone3, so that no thread can be made (pip#11665); then a check may hang.
        _look()
    else:
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
    # Messages of a check may quote an address that holds a password.
    return replace(finding, check=name, found=redact_text(finding.found), advice=redact_text(finding.advice))
