"""Read and validate everything that a ``pyproject.toml`` says about our build, before anything is done.

That is ``[build-system]`` (PEP 517, PEP 518), ``[project] requires-python`` (PEP 621) and ``[tool.provision-backend]``.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
)

from ..catalog.wanted import Lock
from ..errors import ProjectError, UsageError
from ..files import read_file
from ..output import nearest, shorten, suggestion
from ..setting_values import Option, check_text
from ..settings import OPTIONS, load_toml
from ..versions import VersionRequest, has_long_number, is_specifier, leading_name, parse_request, plain_name

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = [
    "NOT_NAMED", "OWN_NAME", "TABLE", "Project", "has_table", "is_wrapped", "names_us", "parse_pyproject",
    "parse_requirement", "read_backend", "read_backend_path", "read_project", "read_settings", "read_strings",
    "read_text", "read_value", "read_wrapped", "refuse_unknown",
]  # fmt: skip

OWN_NAME = "provision-backend"  # name of our distribution, normalised as in PEP 503

TABLE = "tool.provision-backend"

NOT_NAMED = f"pyproject.toml: build-system.requires does not name {OWN_NAME}, so an isolated build does not find it"

Value = TypeVar("Value")

_SETTINGS = tuple(option for option in OPTIONS if option.in_project)

_KEYS = (
    "build-backend", "requires", "backend-path", "requires-python", "python",
    *(option.key for option in _SETTINGS),
    "lock", "wheels",
)  # fmt: skip

# PEP 517: an import path, optionally followed by a colon and an object path.
_BACKEND = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")

_TYPE_NAMES = {str: "string", list: "array", dict: "table", bool: "boolean", int: "integer", float: "float"}


class Project(NamedTuple):
    """What one source tree says about how it is built."""

    root: Path
    """The source tree, absolute."""
    build_backend: str = ""
    """The real backend: ``module`` or ``module:object``."""
    requires: Tuple[str, ...] = ()
    """The real backend's requirements, in the order in which they are written; never ourselves."""
    one_list: bool = False
    """Whether ``requires`` is in ``[build-system]``, so that the frontend has installed what applies."""
    backend_path: Tuple[str, ...] = ()
    """Folders of an in-tree real backend, relative to the root."""
    requires_python: str = ""
    """Valid version specifiers as the project writes them; may be empty."""
    python: Optional[VersionRequest] = None
    """Which of the interpreters that satisfy it to provision, or None."""
    settings: Mapping[str, str] = {}
    """The settings that the project decides on, where whoever builds does not, by key."""
    lock: Optional[Lock] = None
    """The archives that the project is built with, or None if it is not locked."""
    name: str = ""
    """``project.name``; empty where there is no ``[project]``."""
    version: str = ""
    """``project.version``; empty where the real backend says it."""


def read_project(root: Path, text: Optional[str] = None, *, relocking: bool = False) -> Project:
    """Read the project in an absolute folder, or check what a new text of its ``pyproject.toml`` would say.

    Where it is *relocking*, a lock file that is missing or damaged is a lock without archives.

    Raises:
        UsageError: the file is missing.
        ProjectError: it is unreadable or not TOML, or a key is missing, unknown or of the wrong type.
    """
    document = parse_pyproject(read_text(root) if text is None else text)
    table = read_value(document.get("tool", {}), "tool", OWN_NAME, dict)
    if table is None:
        hint = "name the real backend there: build-backend and requires, as in [build-system]"
        raise ProjectError(f"pyproject.toml: [{TABLE}] is missing", hint=_misspelt_table(document) or hint)
    refuse_unknown(table, TABLE, _KEYS)
    one_list = "requires" not in table
    if one_list:
        build_system = document.get("build-system", {})
        requires = tuple(text for text in read_strings(build_system, "build-system", "requires") if not names_us(text))
    else:
        requires = tuple(read_strings(table, TABLE, "requires"))
        for text in requires:
            # Most requirements are a name, with a version or two: packaging is imported for the others only.
            if plain_name(text) is None:
                parse_requirement(text, f"{TABLE}.requires")
    # The command that it is for reads it; a build has no use for it.
    read_value(table, TABLE, "wheels", dict)
    names = document.get("project", {})
    return Project(
        root=root,
        build_backend=_build_backend(table),
        requires=requires,
        one_list=one_list,
        backend_path=read_backend_path(table, TABLE, root),
        requires_python=_requires_python(document, table),
        python=_pin(table),
        settings=read_settings(table, TABLE, _SETTINGS),
        lock=_lock(table, root, relocking=relocking),
        name=str(names.get("name", "")),
        version=str(names.get("version", "")),
    )


def read_wrapped(root: Path, *, relocking: bool = False) -> Project:
    """Read the project in an absolute folder as `read_project`, if its builds go through us.

    Raises:
        UsageError: the file is missing.
        ProjectError: also if a frontend would not call us, so that what the table says has no effect.
    """
    document = parse_pyproject(read_text(root))
    if not is_wrapped(document):
        raise ProjectError(
            "pyproject.toml: the project does not build through provision_backend",
            hint="run 'provision-backend init' first, which wraps its backend",
        )
    if not any(map(names_us, read_strings(document["build-system"], "build-system", "requires"))):
        raise ProjectError(NOT_NAMED, hint=f'add "{OWN_NAME}" to the list')
    return read_project(root, relocking=relocking)


def read_text(root: Path) -> str:
    """Return the text of a project's ``pyproject.toml`` with its own line breaks.

    Raises:
        UsageError: there is no such file: the command was started in another folder. A frontend has looked for it.
        ProjectError: it cannot be read.
    """
    try:
        return read_file(root / "pyproject.toml").decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no pyproject.toml in {os.path.abspath(root)!r}") from None
    except UnicodeDecodeError as exc:
        raise ProjectError(f"pyproject.toml is not UTF-8: byte {exc.start}") from None
    except OSError as exc:
        raise ProjectError(f"pyproject.toml cannot be read: {exc.strerror}") from None


def parse_pyproject(text: str) -> Dict[str, Any]:
    """Parse the text of a ``pyproject.toml``; raise `ProjectError` if it, or a standard table, is malformed."""
    try:
        document = load_toml(text)
    except ValueError as exc:
        raise ProjectError(f"pyproject.toml is not valid TOML: {exc}") from None
    for name in ("build-system", "project", "tool"):
        if not isinstance(document.get(name, {}), dict):
            raise _wrong_type(name, "table", document[name])
    return document


def names_us(requirement: str) -> bool:
    """Tell whether a requirement names provision-backend."""
    # Only the name is read, without packaging: a frontend has parsed the list before it calls a hook.
    return leading_name(requirement) == OWN_NAME


def is_wrapped(data: Mapping[str, Any]) -> bool:
    """Tell whether a project is wrapped; raise `ProjectError` if it has only our table or only our backend's name."""
    backend = data.get("build-system", {}).get("build-backend")
    if backend == "provision_backend":
        if read_value(data.get("tool", {}), "tool", OWN_NAME, dict) is not None:
            return True
        hint = "the real backend is not known; name it there, or put it back into [build-system] and run this again"
        raise ProjectError(
            f"pyproject.toml: the build-backend is provision_backend already, but [{TABLE}] is missing",
            hint=_misspelt_table(data) or hint,
        )
    if has_table(data):
        raise ProjectError(
            f"pyproject.toml: [{TABLE}] exists, but the build-backend is {backend!r}",
            hint='write build-backend = "provision_backend" in [build-system], '
            "or remove the table and run 'provision-backend init'",
        )
    return False


def _misspelt_table(data: Mapping[str, Any]) -> str:
    # The module has an underscore, and so people write the table with one.
    near = nearest(OWN_NAME, data.get("tool", {}))
    return f"did you mean [tool.{near}]? Rename it to [{TABLE}]" if near else ""


def has_table(data: Mapping[str, Any]) -> bool:
    """Tell whether a project has our table for its builds; ``wheels`` alone is for any project that has wheels made."""
    table = read_value(data.get("tool", {}), "tool", OWN_NAME, dict)
    return table is not None and set(table) != {"wheels"}


def read_value(table: Mapping[str, Any], section: str, key: str, kind: Type[Value]) -> Optional[Value]:
    """Return a value of a table, None if it has none; raise `ProjectError` for another type."""
    value = table.get(key)
    # TOML has no null, so None means that the key is absent.
    if value is None or isinstance(value, kind):
        return value
    raise _wrong_type(f"{section}.{key}", _TYPE_NAMES[kind], value)


def _wrong_type(key: str, wanted: str, found: Any) -> ProjectError:
    kinds = (wanted, _TYPE_NAMES.get(type(found), type(found).__name__))
    wanted, kind = (f"an {each}" if each[0] in "aeiou" else f"a {each}" for each in kinds)
    return ProjectError(f"pyproject.toml: {key} must be {wanted}, found {kind}")


def read_strings(table: Mapping[str, Any], section: str, key: str) -> List[str]:
    """Return an array of strings of a table; raise `ProjectError` for another type."""
    value = table.get(key, [])
    if not isinstance(value, list):
        raise _wrong_type(f"{section}.{key}", "array of strings", value)
    for item in value:
        if not isinstance(item, str):
            kind = _TYPE_NAMES.get(type(item), type(item).__name__)
            raise ProjectError(f"pyproject.toml: {section}.{key} must be an array of strings, found {item!r} ({kind})")
    return value


def read_settings(table: Mapping[str, Any], section: str, options: Iterable[Option]) -> Dict[str, str]:
    """Return those of the settings that a table has; raise `ProjectError` for a value that is none of theirs."""
    found = {}
    for option in options:
        value = read_value(table, section, option.key, str)
        if value is not None:
            with _as_project_error():
                check_text(option, value, f"{section}.{option.key}")
            found[option.key] = value
    return found


@contextmanager
def _as_project_error() -> Iterator[None]:
    try:
        yield
    except UsageError as exc:
        raise ProjectError(f"pyproject.toml: {exc.message}", hint=exc.hint) from None


def refuse_unknown(table: Mapping[str, Any], section: str, known: Sequence[str]) -> None:
    """Raise `ProjectError` for a key of a table that is not known."""
    # A misspelt key would otherwise be ignored, and the build would not do what its author wrote.
    for key in table:
        if key not in known:
            raise ProjectError(f"pyproject.toml: unknown key {key!r} in [{section}]", hint=suggestion(key, known))


def _build_backend(table: Mapping[str, Any]) -> str:
    backend = read_backend(table, TABLE)
    if backend is None:
        raise ProjectError(
            f"pyproject.toml: {TABLE}.build-backend is missing",
            hint='name the real backend, for example build-backend = "hatchling.build"',
        )
    if re.split(r"[.:]", backend)[0] == "provision_backend":
        # Such a project would start itself again and again: 50 nested processes were counted after 12 seconds.
        raise ProjectError(
            f"pyproject.toml: {TABLE}.build-backend names provision_backend itself",
            hint='name the backend that builds the project, for example "hatchling.build"',
        )
    return backend


def read_backend(table: Mapping[str, Any], section: str) -> Optional[str]:
    """Return the ``build-backend`` of a table, None if it has none; raise `ProjectError` if it is not one (PEP 517)."""
    backend = read_value(table, section, "build-backend", str)
    # It is checked here since importing it would fail only after an interpreter was downloaded.
    if backend is not None and not _BACKEND.fullmatch(backend):
        raise ProjectError(
            f"pyproject.toml: {section}.build-backend must be 'module' or 'module:object', found {backend!r}"
        )
    return backend


def read_backend_path(table: Mapping[str, Any], section: str, root: Path) -> Tuple[str, ...]:
    """Return the ``backend-path`` of a table; raise `ProjectError` if it is not one of the project (PEP 517)."""
    folders = read_strings(table, section, "backend-path")
    base = os.path.realpath(str(root))
    for folder in folders:
        # A TOML string may contain a NUL, for which os.path raises ValueError.
        resolved = Path(base if "\0" in folder else os.path.realpath(os.path.join(base, folder)))
        # PEP 517: the paths are relative and must lie inside the source tree, links included.
        if os.path.isabs(folder) or Path(base) not in (resolved, *resolved.parents):
            raise ProjectError(
                f"pyproject.toml: {section}.backend-path must name folders inside the project, found {folder!r}"
            )
        if "\0" in folder or not os.path.isdir(resolved):
            raise ProjectError(f"pyproject.toml: {section}.backend-path names {folder!r}, which is not a folder")
    return tuple(folders)


def _requires_python(document: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    own = read_value(table, TABLE, "requires-python", str)
    project = document.get("project", {})
    static = read_value(project, "project", "requires-python", str)
    # The two could contradict each other, and frontends and indexes know only the standard one.
    if own is not None and static is not None:
        raise ProjectError(
            f"pyproject.toml: {TABLE}.requires-python is given although project.requires-python is",
            hint=f"remove the one in [{TABLE}]",
        )
    if own is None and "requires-python" in read_strings(project, "project", "dynamic"):
        raise ProjectError(
            "pyproject.toml: project.requires-python is dynamic, so it is not known before the build",
            hint=f'repeat it as requires-python = ">=3.X" in [{TABLE}]',
        )
    key, text = (f"{TABLE}.requires-python", own) if own is not None else ("project.requires-python", static)
    if not is_specifier(text or ""):
        found = shorten(text or "")
        raise ProjectError(f"pyproject.toml: {key} must be a version specifier such as '>=3.12', found {found!r}")
    return (text or "").strip()


def _pin(table: Mapping[str, Any]) -> Optional[VersionRequest]:
    text = read_value(table, TABLE, "python", str)
    if text is None:
        return None
    with _as_project_error():
        return parse_request(text, source=f"{TABLE}.python")


def _lock(table: Mapping[str, Any], root: Path, *, relocking: bool) -> Optional[Lock]:
    if isinstance(table.get("lock"), str):
        return _pylock(table["lock"], root, relocking=relocking)
    lock = read_value(table, TABLE, "lock", dict)
    if lock is None:
        return None
    section = f"{TABLE}.lock"
    refuse_unknown(lock, section, ("archives", "file", "always"))
    # Only a project with a lock pays for the import of the catalog.
    from .lock import read_lock

    lines = read_strings(lock, section, "archives") if "archives" in lock else None
    file, always = read_value(lock, section, "file", str), read_value(lock, section, "always", bool)
    return read_lock(root, lines, file, always=bool(always))


def _pylock(scope: str, root: Path, *, relocking: bool) -> Lock:
    # Only a project with a lock pays for the import of the catalog.
    from .pylock import PYLOCK, read_pylock

    if scope not in ("provisioned", "always"):
        raise ProjectError(
            f"pyproject.toml: {TABLE}.lock must be 'provisioned', 'always' or a table, found {shorten(scope)!r}"
        )
    try:
        return read_pylock(root, always=scope == "always", relocking=relocking)
    except ProjectError:
        if not relocking:
            raise
    return Lock((), always=scope == "always", file=PYLOCK)


def parse_requirement(text: str, key: str = "") -> Requirement:
    """Parse a requirement, or raise `ProjectError`, which names the array of ``pyproject.toml`` that it is from."""
    # The frontend has checked the one-list form, so a pass-through build does not pay for this import.
    from packaging.requirements import InvalidRequirement, Requirement

    place = f"pyproject.toml: {key}: " if key else ""
    reason = "it holds a number that no version has"
    try:
        if not has_long_number(text):
            return Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).splitlines()[0]
    raise ProjectError(f"{place}{shorten(text)!r} is not a requirement: {reason}")
