"""What a project and a builder have written, and what follows from it: settings, plan, catalog and archive."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple

from ..catalog.selection import Archive, builtin_triples
from ..errors import HostError, MissingDependencyError, NoMatchingArchiveError, ProvisionError
from ..install.sources import local_path, redact_url
from ..project.pyproject import OWN_NAME, TABLE, names_us
from ..project.wanted import Lock
from ..settings import OPTIONS
from .context import Context
from .findings import Finding, ok, problem, warning

__all__ = ["check_catalog", "check_interpreter", "check_plan", "check_project", "check_settings"]

_PREFIX = "PROVISION_BACKEND_"
_OLD = 400  # days after which a catalog lacks what people ask for


def check_settings(context: Context) -> Iterator[Finding]:
    """Show every setting that does not have its default, and every variable that sets nothing."""
    settings = context.settings
    for option in OPTIONS:
        if settings.origin(option.key) != "default":
            value = _shown(getattr(settings, option.attribute))
            yield ok(f"{option.key} = {value} ({settings.origin(option.key)})")
    known = [option.variable for option in OPTIONS]
    unknown = sorted(
        name
        for name, value in context.environ.items()
        if name.startswith(_PREFIX) and value and name not in known and not name.startswith(f"{_PREFIX}TEST_")
    )
    for name in unknown:
        near = difflib.get_close_matches(name, known, 1)
        advice = f"did you mean {near[0]}?" if near else "'provision-backend settings' shows those that there are"
        yield problem(f"the variable {name} is set, and there is no such setting", advice)
    if not settings.origins and not unknown:
        yield ok("every setting has its default")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(item) for item in value)
    return redact_url(value) if isinstance(value, str) else str(value)


def check_project(context: Context) -> Iterator[Finding]:
    """Look whether the project builds through us, and as it should."""
    path = context.directory / "pyproject.toml"
    project = context.project()
    if project is None:
        if path.exists():
            yield warning(
                f"{path} does not build through provision_backend",
                "'provision-backend init' wraps its backend; until then no interpreter is provisioned for it",
            )
        else:
            yield ok(f"no pyproject.toml in {context.directory.resolve()}: only the machine is looked at")
        return
    yield ok(f"wraps {project.build_backend}, requires-python '{project.requires_python}'")
    if not str(project.requires_python):
        yield warning(
            "the project names no requires-python, so every Python satisfies it and none is provisioned",
            'write requires-python = ">=3.X" into [project]',
        )
    yield from _build_system(path, needs_marker=bool(str(project.requires_python)))


def _build_system(path: Path, *, needs_marker: bool) -> Iterator[Finding]:
    from ..project.pyproject import parse_pyproject

    table = parse_pyproject(path.read_text(encoding="utf-8")).get("build-system", {})
    requires = [text for text in table.get("requires", []) if isinstance(text, str)]
    others = [text for text in requires if not names_us(text)]
    if len(others) == len(requires):
        yield problem(
            f"pyproject.toml: build-system.requires does not name {OWN_NAME}, so an isolated build does not find it",
            f'add "{OWN_NAME}" to the list',
        )
    if "backend-path" in table:
        yield problem(
            "pyproject.toml: build-system.backend-path makes frontends look for provision_backend inside the project",
            f"move backend-path to [{TABLE}], where it is about the real backend (PEP 517)",
        )
    bare = [text for text in others if ";" not in text]
    if bare and needs_marker:
        yield warning(
            f"pyproject.toml: build-system.requires holds {', '.join(map(repr, bare))} without a marker, "
            "which a frontend resolves for the Python that it runs under, however old",
            f"add a marker such as ; python_version >= '3.X', or move it to requires in [{TABLE}]",
        )


def check_plan(context: Context) -> Iterator[Finding]:
    """Say what a build of the project would do under this Python, and why.

    Raises:
        ProvisionError: the setting ``python``, or the project's lock, does not go with the rest.
    """
    try:
        context.project()
    except ProvisionError:
        yield warning("not known, since the project cannot be used", "see project")
        return
    plan = context.plan()
    context.wanted()  # Without a project it is the setting python that may be wrong.
    if plan is None:
        yield ok("without a project, what any build here would provision is looked at")
    elif plan.provision:
        yield ok(f"provision an interpreter: {plan.reason}")
    else:
        yield ok(f"pass through, nothing is provisioned: {plan.reason}")
    if plan is not None and plan.note:
        yield warning(plan.note, "nothing, where that is what you want; else unset it")


def check_catalog(context: Context) -> Iterator[Finding]:
    """Look whether there is a catalog for this platform, and how old it is."""
    lock = _lock(context)
    if lock is not None:
        yield ok(f"not needed: the project is locked to the archives in {lock.place}")
        return
    try:
        triple, archives = context.catalog()
    except MissingDependencyError:
        raise
    except HostError:
        yield warning("not looked at, since the platform is not known", "see host")
        return
    except ProvisionError as exc:
        yield context.report(exc.message, exc.hint, matters=context.needed())
        return
    yield _judge(context, triple, archives)


def _judge(context: Context, triple: str, archives: Tuple[Archive, ...]) -> Finding:
    named = context.settings.catalog
    name = f"the catalog {redact_url(named)}" if named else "the built-in catalog"
    here = [archive.tag for archive in archives if archive.triple == triple]
    if not here:
        others = ", ".join(sorted({archive.triple for archive in archives}) or builtin_triples())
        advice = "name one with PROVISION_BACKEND_CATALOG, or set preference = system and install an interpreter"
        found = f"{name} has no archive for {triple}; it has some for {others}"
        return context.report(found, advice, matters=context.needed())
    newest = max(here)
    count = f"{len(here)} archive{'' if len(here) == 1 else 's'}"
    text = f"{name} has {count} for {triple}, the newest of {_date(newest)}"
    if (time.time() - _seconds(newest)) / 86400 <= _OLD:
        return ok(text)
    advice = "get a newer SHA256SUMS" if named else "upgrade provision-backend for newer ones"
    return warning(f"{text}, which is more than a year ago", advice)


def _lock(context: Context) -> Optional[Lock]:
    wanted = _quietly(context.wanted)
    return None if wanted is None else wanted.lock


def _date(tag: str) -> str:
    return f"{tag[:4]}-{tag[4:6]}-{tag[6:]}"


def _seconds(tag: str) -> float:
    try:
        return time.mktime(time.strptime(tag, "%Y%m%d"))
    except (ValueError, OverflowError):
        return time.time()  # Eight digits that are no date.


def check_interpreter(context: Context) -> Iterator[Finding]:
    """Say which interpreter would run the real backend, and whether it is there."""
    plan = _quietly(context.plan)
    if plan is not None and not plan.provision:
        yield ok("the running one")
        return
    if _quietly(context.wanted) is None:
        yield warning("not known, since the project or a setting cannot be used", "see project and plan")
        return
    try:
        found = context.machine_interpreter()
        if found is not None:
            yield ok(f"{found.executable}, CPython {found.version}, of this machine")
            return
        yield from _archive(context)
    except (HostError, NoMatchingArchiveError) as exc:
        # Here a build takes what the machine has, where that is allowed.
        # A lock says which interpreter it is, so no other one may stand in for it.
        allowed = context.settings.preference == "managed" and _lock(context) is None
        other = _quietly(context.fallback) if allowed else None
        if other is None:
            yield problem(exc.message, exc.hint)
        else:
            yield warning(
                f"{exc.message}; a build uses {other.executable} (CPython {other.version}) of this machine", exc.hint
            )


def _archive(context: Context) -> Iterator[Finding]:
    from ..host.compatibility import check_archive_runs

    archive = context.archive()
    if archive is None:
        return
    cached = _quietly(context.cached)
    if cached is not None:
        yield ok(f"CPython {cached.version} ({cached.key}), in the cache: {cached.executable}")
        return
    check_archive_runs(context.platform(), archive.triple)
    settings = context.settings
    if settings.offline and not any(local_path(mirror) for mirror in settings.mirror):
        yield problem(
            f"{archive.filename} is not in the cache, and offline is set ({settings.origin('offline')})",
            "run 'provision-backend install' once with network, or name a shared cache or a local mirror",
        )
    else:
        yield ok(f"CPython {archive.label} ({archive.filename}), not in the cache: the next build fetches it")


def _quietly(answer: Any) -> Any:
    try:
        return answer()
    except ProvisionError:
        return None
