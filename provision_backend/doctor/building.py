"""Check the settings and the project, and what follows from them: the plan, the catalog and the interpreter."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Sequence, Tuple

from ..catalog.archive import Archive
from ..catalog.selection import builtin_triples
from ..catalog.wanted import LockedRequirements
from ..errors import CacheError, HostError, MissingDependencyError, ProvisionError
from ..files import read_file
from ..hooks.locked import environment_key
from ..hooks.locked_wheels import LockedWheel, choose_wheels, select_wheels, target_environment
from ..hooks.made import advise_including, leaves_out
from ..hooks.requirements import PACKAGING, unmet_requirements
from ..hooks.tags import target_tags
from ..host.platforms import Platform
from ..output import nearest, redact_url
from ..project.pylock import PYLOCK
from ..project.pyproject import NOT_NAMED, OWN_NAME, TABLE, Project, names_us, parse_pyproject, read_text
from ..settings import CONFIG_FILE, NO_CONFIG, OPTIONS, Settings
from .context import Context, Finding, count, ok, problem, warning
from .machine import ask

__all__ = ["check_catalog", "check_interpreter", "check_locked_build", "check_plan", "check_project", "check_settings"]

_PREFIX = "PROVISION_BACKEND_"
_OLD = 400  # days after which a catalog lacks what people ask for; python-build-standalone has a release each month
_SHOWN = 8  # interpreters that are listed with the reason why they are not used


def check_settings(context: Context) -> Iterator[Finding]:
    """Report every setting that does not have its default, and every variable that sets nothing."""
    settings = context.settings
    for option in OPTIONS:
        if settings.origin(option.key) != "default":
            value = _shown(getattr(settings, option.attribute))
            yield ok(f"{option.key} = {value} ({settings.origin(option.key)})")
    # A build cannot refuse an unknown variable: a newer or older version in the same environment may know it.
    known = [*(option.variable for option in OPTIONS), CONFIG_FILE, NO_CONFIG]
    unknown = sorted(
        name
        for name, value in context.environ.items()
        if name.startswith(_PREFIX) and value and name not in known and not name.startswith(f"{_PREFIX}TEST_")
    )
    for name in unknown:
        near = nearest(name, known)
        advice = f"did you mean {near}?" if near else "'provision-backend settings' shows all settings"
        yield problem(f"the variable {name} is set, and there is no such setting", advice)
    if not settings.origins and not unknown:
        yield ok("every setting has its default")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)
    return redact_url(value) if isinstance(value, str) else str(value)


def check_project(context: Context) -> Iterator[Finding]:
    """Check whether the project builds through us, and whether its build system is complete."""
    path = context.directory / "pyproject.toml"
    project = context.project()
    if project is None:
        found = f"{path} does not build through provision_backend"
        advice = "'provision-backend init' wraps its backend; until then no interpreter is provisioned for it"
        nothing = f"no pyproject.toml in {context.directory.resolve()}: only the machine is checked"
        yield warning(found, advice) if os.path.exists(path) else ok(nothing)
        return
    yield ok(f"wraps {project.build_backend}, requires-python '{project.requires_python}'")
    if not project.requires_python:
        yield warning(
            "the project names no requires-python, so every Python satisfies it and none is provisioned",
            'write requires-python = ">=3.X" into [project]',
        )
    yield from _check_build_system(path, needs_marker=bool(project.requires_python))


def _check_build_system(path: Path, *, needs_marker: bool) -> Iterator[Finding]:
    """Check for faults that show only in an isolated build, where the frontend reads this table before we run."""
    table = parse_pyproject(read_text(path.parent)).get("build-system", {})
    requires = [text for text in table.get("requires", []) if isinstance(text, str)]
    others = [text for text in requires if not names_us(text)]
    # An isolated build installs this list and nothing else before it imports the backend.
    if len(others) == len(requires):
        yield problem(NOT_NAMED, f'add "{OWN_NAME}" to the list')
    if "backend-path" in table:
        yield problem(
            "pyproject.toml: build-system.backend-path makes frontends look for provision_backend inside the project",
            f"move backend-path to [{TABLE}], where it is about the real backend (PEP 517)",
        )
    # The frontend installs this list under the old Python, before any interpreter is provisioned.
    bare = [text for text in others if ";" not in text]
    if bare and needs_marker:
        yield warning(
            f"pyproject.toml: build-system.requires holds {', '.join(map(repr, bare))} without a marker, "
            "which a frontend resolves for the Python that it runs under, however old",
            f"add a marker such as ; python_version >= '3.X', or move it to requires in [{TABLE}]",
        )


def check_plan(context: Context) -> Iterator[Finding]:
    """Report what a build of the project would do under this Python, and why."""
    try:
        context.project()
    except ProvisionError:
        yield warning("unknown, since the project cannot be used", "see project")
        return
    plan = context.plan()
    context.wanted()  # Without a project, it is the setting `python` that may be wrong.
    if plan is None:
        yield ok("without a project, the checks are about what any build here would provision")
    elif plan.provision:
        yield ok(f"provision an interpreter: {plan.reason}")
    else:
        yield ok(f"pass through, nothing is provisioned: {plan.reason}")
    if plan is not None and plan.note:
        yield warning(plan.note, "nothing, where that is what you want; else unset it")


def check_catalog(context: Context) -> Iterator[Finding]:
    """Check whether there is a catalog for this platform, and how old it is."""
    explanation = context.explanation()
    lock = explanation.wanted.lock
    if lock is not None:
        yield ok(f"not needed: the project is locked to the archives in {lock.place}")
        return
    error = explanation.error or explanation.reason
    if explanation.archives is not None:
        yield _check_archives(context, explanation.triple, explanation.archives)
    elif isinstance(error, MissingDependencyError):
        raise error
    elif isinstance(error, (HostError, CacheError)):
        text = "not checked, since the platform is unknown or a cache cannot be used"
        yield warning(text, "see host, cache and shared caches")
    elif explanation.interpreter is not None or context.settings.preference == "only-system":
        yield ok("not needed: an interpreter of the machine was asked for")
    elif error is not None:
        # A file that cannot be read says no more than that, and the setting may be one of a file that nobody remembers.
        correct = context.settings.correct("catalog") if context.settings.catalog else ""
        yield context.if_needed(error.message, error.hint or correct)


def _check_archives(context: Context, triple: str, archives: Tuple[Archive, ...]) -> Finding:
    named = context.settings.catalog
    name = f"the catalog {redact_url(named)}" if named else "the built-in catalog"
    # A mirror often has archives for the machine that filled it, and none for the one that builds.
    here = [archive.tag for archive in archives if archive.triple == triple]
    if not here:
        others = ", ".join(sorted({archive.triple for archive in archives}) or builtin_triples())
        advice = "name one with PROVISION_BACKEND_CATALOG, or set preference = system and install an interpreter"
        found = f"{name} has no archive for {triple}; it has some for {others}"
        return context.if_needed(found, advice)
    newest = max(here)
    day = f"{newest[:4]}-{newest[4:6]}-{newest[6:]}"
    text = f"{name} has {count(len(here), 'archive')} for {triple}, the newest of {day}"
    # A tag is a date, or in a private mirror any eight digits.
    if newest >= time.strftime("%Y%m%d", time.gmtime(time.time() - _OLD * 86400)):
        return ok(text)
    advice = "get a newer SHA256SUMS" if named else "upgrade provision-backend for newer ones"
    return warning(f"{text}, which is more than a year ago", advice)


def check_interpreter(context: Context) -> Iterator[Finding]:
    """Report which interpreter would run the real backend, and whether it is available."""
    try:
        plan, _ = context.plan(), context.wanted()
    except ProvisionError:
        yield warning("unknown, since the project or a setting cannot be used", "see project and plan")
        return
    if plan is not None and not plan.provision:
        yield ok("the running Python")
        return
    explanation = context.explanation()
    found, error, reason = explanation.interpreter, explanation.error, explanation.reason
    if isinstance(error, CacheError):
        yield warning("unknown, since a cache cannot be used", "see cache and shared caches")
    elif isinstance(error, MissingDependencyError):
        raise error
    elif error is not None:
        passed_over = "".join(f"\npassed over: {path} {why}" for path, why in explanation.passed_over[:_SHOWN])
        yield problem(error.message, (error.hint + passed_over).strip())
    elif reason is not None and found is not None:
        found_text = f"{found.executable} (CPython {found.version}) of this machine"
        yield warning(f"{reason.message}; a build uses {found_text}", reason.hint)
    elif found is not None and found.source == "managed":
        yield ok(f"CPython {found.version} ({found.key}), in the cache: {found.executable}")
    elif found is not None:
        yield ok(f"{found.executable}, CPython {found.version}, of this machine")
    elif explanation.choice is not None:
        archive = explanation.choice.archive
        yield ok(f"CPython {archive.label} ({archive.filename}), not in the cache: the next build fetches it")


def check_locked_build(context: Context) -> Iterator[Finding]:
    """Report whether the lock of the build requirements is fresh, is handed on, and has all that this host needs."""
    try:
        project, plan = context.project(), context.plan()
    except ProvisionError:
        yield warning("unknown, since the project cannot be used", "see project and plan")
        return
    requirements = project.lock.requirements if project and project.lock else None
    if project is None or plan is None or requirements is None:
        yield ok("no build requirements are locked")
        return
    lock = plan.wanted.lock
    if lock is None:
        yield warning(f"{PYLOCK} is not used, and not checked, since a setting overrides it", "see plan")
        return
    targets = ", ".join(archive.triple for archive in lock.archives)
    yield ok(f"{PYLOCK} is fresh: {count(len(requirements.packages), 'package')}, on {targets}")
    if requirements.dynamic:
        asked = ", ".join(requirements.dynamic)
        yield ok(f"the real backend asked for {asked}; 'provision-backend lock --check' tells whether it still does")
    yield from _check_lock_file(context, project)
    if plan.provision:
        yield from _check_locked_wheels(context, requirements)
    else:
        yield ok('not used by a build here, which passes through; lock = "always" would have it used')


def _check_lock_file(context: Context, project: Project) -> Iterator[Finding]:
    """Check whether the file gets to those who build from the repository, or from an sdist."""
    git = ["git", "-C", str(context.directory), "status", "--porcelain", "--ignored", "--", PYLOCK]
    state = (ask(git, context.environ) or "")[:2]  # Without git, or a repository, there is nothing to tell.
    if state == "!!":
        yield warning(f"git ignores {PYLOCK}", f"take it out of .gitignore, and git add {PYLOCK}")
    elif state == "??":
        yield warning(f"{PYLOCK} is not under version control", f"git add {PYLOCK}")
    texts = [_text(context.directory / name) for name in ("pyproject.toml", "MANIFEST.in")]
    if leaves_out(project) and not any(PYLOCK in text for text in texts):
        found = f"nothing names {PYLOCK} for the sdist, and {project.build_backend} mostly leaves such a file out"
        yield warning(found, advise_including(project, PYLOCK))


def _text(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8", "replace")
    except OSError:
        return ""


def _check_locked_wheels(context: Context, requirements: LockedRequirements) -> Iterator[Finding]:
    """Look for the locked environment in the cache, or for a wheel of each package that it would be made of."""
    explanation = context.explanation()
    found, choice = explanation.interpreter, explanation.choice
    if found is not None and found.source != "managed":
        yield ok("not used by a build here, which an interpreter of this machine runs")
        return
    try:
        stored = None
        if found is not None:
            key = environment_key(found, requirements, context.settings, partial(_platform, context))
            stored = context.cache().find_environment(key)
        if stored is not None:
            yield ok(f"the environment is in the cache: {stored}")
        elif unmet_requirements([PACKAGING]):
            advice = f"pip install '{PACKAGING}', which an isolated build asks for"
            yield warning("not checked whether it has wheels for this host", advice)
        elif found is not None:
            yield _has_wheels(choose_wheels(found, requirements))
        elif choice is not None:
            archive = choice.archive
            tags = sorted(target_tags(archive.label, archive.triple), key=str)
            yield _has_wheels(select_wheels(requirements, target_environment(archive), tags))
        else:
            yield warning("not checked whether it has wheels for this host", "see interpreter")
    except CacheError:
        yield warning("unknown whether the environment is in the cache, which cannot be used", "see cache")
    except ProvisionError as exc:
        yield problem(exc.message, exc.hint)


def _platform(context: Context, settings: Settings) -> Platform:
    return Context(settings, context.directory, root=context.root).platform()


def _has_wheels(wheels: Sequence[LockedWheel]) -> Finding:
    return ok(f"it has {count(len(wheels), 'wheel')} for this host, not in the cache: the next build installs them")
