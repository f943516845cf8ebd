"""Decide whether a build passes through to the running interpreter or needs a provisioned one.

The decision is the same in every hook process of a build: it depends on the project, the settings and the running
interpreter alone, not on the hook, the cache or the network.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple, Optional

from ..catalog.wanted import Lock, Wanted, check_lock, check_requirements
from ..errors import UsageError
from ..settings import Settings
from ..versions import parse_request, satisfies
from .pyproject import Project

__all__ = ["Plan", "RunningInterpreter", "make_plan", "running_interpreter"]


class RunningInterpreter(NamedTuple):
    """What the decision depends on."""

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
    """Always printed: the project is locked, and a setting overrides that."""


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

    Raises:
        UsageError: the setting ``python`` is not a request.
        ProjectError: the project's lock is out of date.
    """
    # A pin in [tool.provision-backend] python says which interpreter to provision if one must be provisioned. It never
    # overrides a running interpreter that satisfies requires-python: pip does not check the tag of a wheel that it has
    # just built, so one for another ABI would be installed and could not be imported. Only the person who builds can
    # ask for that (setting python, or preference = only-managed). For the same reason a lock applies to provisioned
    # interpreters only, unless it says always.
    running = running or running_interpreter()
    # "~=3.13" is a version specifier; a path in the home directory has a separator anyway.
    is_path = "/" in settings.python or os.sep in settings.python
    plan = (_plan_for_path if is_path else _plan_for_version)(project, settings, running)
    return plan if project.lock is None else _with_lock(plan, project.lock, project, settings)


def _with_lock(plan: Plan, lock: Lock, project: Project, settings: Settings) -> Plan:
    """Apply a lock, or add a note about the setting that overrides it."""
    # Settings come before every key of a project, so that a person who only builds it can always build.
    concerned = plan.provision or lock.always
    if settings.python or settings.preference == "only-system":
        key = "python" if settings.python else "preference"
        value = settings.python or settings.preference
        note = f"the lock in {lock.place} is not used: {settings.origin(key)} is {value!r}"
        return plan._replace(note=note if concerned else "")
    check_lock(lock, project.requires_python, project.python)
    check_requirements(lock, project.requires, project.build_backend)
    plan = plan._replace(wanted=plan.wanted._replace(lock=lock))
    if settings.preference == "system":
        note = f"interpreters of this machine come before the lock in {lock.place}"
        note += f": {settings.origin('preference')} is 'system'"
        return plan._replace(note=note if concerned else "")
    if lock.always and not plan.provision:
        return plan._replace(provision=True, reason=f"the lock in {lock.place} always applies")
    unused = "" if plan.provision else f", so the lock in {lock.place} is not used"
    return plan._replace(reason=plan.reason + unused)


def _plan_for_version(project: Project, settings: Settings, running: RunningInterpreter) -> Plan:
    explicit = parse_request(settings.python, source=settings.origin("python")) if settings.python else None
    wanted = Wanted(project.requires_python, explicit or project.python)
    # Machines whose own interpreters differ may share a cache; this makes all of them build alike.
    if settings.preference == "only-managed":
        return Plan(True, wanted, "only provisioned interpreters are allowed (preference = only-managed)")
    if not satisfies(project.requires_python, running.version):
        reason = f"Python {running.version} does not satisfy requires-python '{project.requires_python}'"
        return Plan(True, wanted, reason)
    if explicit is not None and not Wanted("", explicit).accepts(running.version, running.freethreaded):
        return Plan(True, wanted, f"python '{explicit.text}' was asked for, and this is Python {running.version}")
    return Plan(False, wanted, f"Python {running.version} satisfies requires-python '{project.requires_python}'")


def _plan_for_path(project: Project, settings: Settings, running: RunningInterpreter) -> Plan:
    path = os.path.abspath(settings.python)
    if settings.preference == "only-managed":
        raise UsageError(
            f"{settings.origin('python')} names an interpreter of the machine, and preference is only-managed"
        )
    # Another link to the running interpreter is no reason to start a second process.
    wanted = Wanted(project.requires_python, None, path)
    if os.path.realpath(path) == running.executable and satisfies(project.requires_python, running.version):
        return Plan(False, wanted, f"{path} is the running interpreter")
    return Plan(True, wanted, f"{path} was asked for")
