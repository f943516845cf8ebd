"""Project + Settings + the running interpreter → `Plan`: pass through, or provision.

Pure, and the same in every hook process of one build: nothing here depends on which hook is called, on the cache or
on the network.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple, Optional

from ..errors import UsageError
from ..settings import Settings
from ..versions import parse_request, satisfies
from .pyproject import Project
from .wanted import Lock, Wanted, check_lock

__all__ = ["Plan", "RunningInterpreter", "make_plan", "running_interpreter"]


class RunningInterpreter(NamedTuple):
    """What counts of the interpreter that runs the frontend's hook."""

    version: str
    """Full version without local build suffix: ``3.13.0rc1``."""
    freethreaded: bool
    executable: str
    """The installation's own executable, links resolved, never a virtual environment's."""


class Plan(NamedTuple):
    """The decision, with its reason as a sentence for ``verbose`` output."""

    provision: bool
    wanted: Wanted
    reason: str
    note: str = ""
    """Printed whatever the verbosity: the project is locked, and a setting overrides that."""


def running_interpreter() -> RunningInterpreter:
    """Describe this process's interpreter without importing sysconfig, whose data file is large."""
    info = sys.version_info
    level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(info.releaselevel)
    suffix = f"{level}{info.serial}" if level else ""
    return RunningInterpreter(
        version=f"{info.major}.{info.minor}.{info.micro}{suffix}",
        # PEP 703: the ABI flag exists on POSIX only; Windows has no abiflags attribute.
        freethreaded="t" in getattr(sys, "abiflags", ""),
        executable=os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    )


def make_plan(project: Project, settings: Settings, running: Optional[RunningInterpreter] = None) -> Plan:
    """Decide how the hooks of this build are run.

    A pin in ``[tool.provision-backend] python`` says which interpreter to provision when one must be provisioned. It
    never overrides a running interpreter that satisfies ``requires-python``: pip installs a wheel that it has just
    built without looking at its tag, so a wheel for another ABI would end up installed and not importable. Only an
    explicit request of the person who builds does (setting ``python``, or ``preference = only-managed``). For the same
    reason a lock holds where an interpreter is provisioned; where the running one satisfies, only if it says always.

    Raises:
        UsageError: the setting ``python`` is not a request.
        ProjectError: the project's lock is not one of what the project wants.
    """
    running = running or running_interpreter()
    plan = (_plan_for_path if _is_path(settings.python) else _plan_for_version)(project, settings, running)
    return plan if project.lock is None else _with_lock(plan, project.lock, project, settings)


def _with_lock(plan: Plan, lock: Lock, project: Project, settings: Settings) -> Plan:
    """Decide whether a lock holds; a setting that overrides it does so with a note."""
    # Settings come before every key of a project, so that somebody who only builds it is never stuck.
    concerned = plan.provision or lock.always
    if settings.python or settings.preference == "only-system":
        key = "python" if settings.python else "preference"
        value = settings.python or settings.preference
        note = f"the lock in {lock.place} is not used: {settings.origin(key)} is {value!r}"
        return plan._replace(note=note if concerned else "")
    check_lock(lock, project.requires_python, project.python)
    plan = plan._replace(wanted=plan.wanted._replace(lock=lock))
    if settings.preference == "system":
        note = f"interpreters of this machine come before the lock in {lock.place}"
        note += f": {settings.origin('preference')} is 'system'"
        return plan._replace(note=note if concerned else "")
    if lock.always and not plan.provision:
        return plan._replace(provision=True, reason=f"the lock in {lock.place} holds always")
    return plan


def _plan_for_version(project: Project, settings: Settings, running: RunningInterpreter) -> Plan:
    explicit = None
    if settings.python:
        explicit = parse_request(settings.python, source=settings.origin("python"))
    wanted = Wanted(project.requires_python, explicit or project.python)
    # A cache may be shared by machines whose own interpreters differ; this makes all of them build alike.
    if settings.preference == "only-managed":
        return Plan(True, wanted, "only provisioned interpreters are allowed (preference = only-managed)")
    if not satisfies(project.requires_python, running.version):
        reason = f"Python {running.version} does not satisfy requires-python '{project.requires_python}'"
        return Plan(True, wanted, reason)
    if explicit is not None and not explicit.matches(running.version, freethreaded=running.freethreaded):
        return Plan(True, wanted, f"python '{explicit.text}' was asked for, and this is Python {running.version}")
    return Plan(False, wanted, f"Python {running.version} satisfies requires-python '{project.requires_python}'")


def _is_path(text: str) -> bool:
    # "~=3.13" is a version specifier; a path in the home directory has a separator anyway.
    return "/" in text or os.sep in text


def _plan_for_path(project: Project, settings: Settings, running: RunningInterpreter) -> Plan:
    path = os.path.abspath(os.path.expanduser(settings.python))
    if settings.preference == "only-managed":
        raise UsageError(
            f"{settings.origin('python')} names an interpreter of the machine, and preference is only-managed"
        )
    # The same interpreter is no reason to start another process, whichever link it was named by.
    wanted = Wanted(project.requires_python, None, path)
    if os.path.realpath(path) == running.executable and satisfies(project.requires_python, running.version):
        return Plan(False, wanted, f"{path} is the running interpreter")
    return Plan(True, wanted, f"{path} was asked for")
