"""``provision-backend doctor``: examine everything a build depends on, and advise what to do about each finding.

A check yields one `Finding` or more, each check by itself and in bounded time. A check that raises, or that hangs on a
file system or a name server, becomes a finding of its own, and the others go on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Iterator, List, NamedTuple, Tuple

from ..errors import MissingDependencyError, ProvisionError
from ..output import explained, redact_text
from . import building, caches, machine, network
from .context import Context, Finding, problem, run_within, warning

__all__ = ["CHECKS", "Check", "examine", "run_check"]


DEADLINE = 30.0  # seconds that a check may take
_FULL_DEADLINE = 3600.0  # seconds, with --full: all files are read, and the cache may be on a network file system


class Check(NamedTuple):
    """One thing to examine."""

    name: str
    look: Callable[[Context], Iterator[Finding]]
    deadline: float = DEADLINE
    """Seconds after which the check is given up."""


_FUNCTIONS: Tuple[Callable[[Context], Iterator[Finding]], ...] = (
    machine.check_host, machine.check_python, machine.check_packages,
    building.check_settings, building.check_project, building.check_plan,
    building.check_catalog, building.check_interpreter, building.check_locked_build,
    caches.check_cache, caches.check_entries, caches.check_shared_caches, caches.check_lock,
    machine.check_clock, network.check_proxy, network.check_network, network.check_index,
    machine.check_temporary, machine.check_compiler, machine.check_frontends,
)  # fmt: skip
_NAMES = [function.__name__.replace("check_", "").replace("_", " ") for function in _FUNCTIONS]

CHECKS = [Check(name, look) for name, look in zip(_NAMES, _FUNCTIONS)]
"""Every check, in the order in which people read them: a cause before its consequences."""


def examine(context: Context) -> List[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in run_check(check, context)]


def run_check(check: Check, context: Context) -> List[Finding]:
    """Run one check; a failure of the check itself is a finding too."""
    findings: List[Finding] = []

    def _look() -> None:
        try:
            with explained():
                # One by one, so that findings before a failure are kept.
                for finding in check.look(context):
                    findings.append(finding)  # noqa: PERF402 - the list is read while this goes on
        except MissingDependencyError as exc:
            findings.append(warning(f"not checked: {exc.message}", exc.hint))
        except ProvisionError as exc:
            findings.append(problem(exc.message, exc.hint))
        except Exception as exc:
            # An unforeseen fault, of ours or of the machine, must not stop the other checks.
            findings.append(warning(f"the check failed: {type(exc).__name__}: {exc}", "please report this"))

    deadline = _FULL_DEADLINE if context.full and check.look is caches.check_entries else check.deadline
    in_time = run_within(deadline, [_look])
    found = list(findings)
    if not in_time:
        text = f"no answer within {deadline:g} s: a file system, a name server or a program hangs"
        found.append(problem(text, "look for a network mount that is not reachable, and at /etc/resolv.conf"))
    # Messages of a check may quote an address that holds a password.
    return [
        replace(each, check=check.name, found=redact_text(each.found), advice=redact_text(each.advice))
        for each in found
    ]
