"""``[tool.provision-backend.lock]`` in, the archives that a project's builds use out: one for each target triple.

A line is one of ``SHA256SUMS``, ``<sha256>  <file name>``, as in every catalog. The lines stand in the table itself
(``archives``), since a ``pyproject.toml`` is in every sdist; or in a file that the table names (``file``), which then
has to be there. Without that name a lock that was left out of an sdist would be no lock, and nobody would notice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..catalog.archive import Archive
from ..catalog.selection import parse_catalog
from ..errors import CatalogError, NoMatchingArchiveError, ProjectError
from ..output import nearest
from ..versions import VersionRequest
from .wanted import Lock, Wanted

__all__ = ["LOCK_FILE", "LOCK_KEYS", "LOCK_TABLE", "check_lock", "locked_archive", "read_lock"]

LOCK_TABLE = "tool.provision-backend.lock"

LOCK_KEYS = ("archives", "file", "always")

LOCK_FILE = "provision-backend.lock"
"""The file that ``provision-backend lock --file`` writes."""

_RELOCK = "run 'provision-backend lock' to lock the project again"


def read_lock(table: Mapping[str, Any], root: Path) -> Lock:
    """Read a project's lock.

    Args:
        table: what ``[tool.provision-backend.lock]`` says.
        root: the source tree.

    Raises:
        ProjectError: a key is missing, unknown or of the wrong type, a line is not one of ``SHA256SUMS`` with an
            archive of CPython, or the file that is named is not there.
    """
    _refuse_unknown(table)
    always = _typed(table, "always", bool, "a boolean")
    file = _typed(table, "file", str, "a string")
    lines = _typed(table, "archives", list, "an array of strings")
    if (file is None) == (lines is None):
        found = "both" if file is not None else "neither"
        raise ProjectError(f"pyproject.toml: {LOCK_TABLE} must have either archives or file, found {found}")
    archives = _parse_array(lines) if lines is not None else _parse_file(root, str(file))
    return Lock(archives, always=bool(always), file=file or "")


def check_lock(lock: Lock, requires_python: str, pin: Optional[VersionRequest]) -> None:
    """Refuse a lock that is not one of what the project wants today.

    Args:
        lock: of a project.
        requires_python: of the same project.
        pin: ``python`` of the same project.

    Raises:
        ProjectError: an archive does not satisfy both; the message names all three.
    """
    wanted = Wanted(requires_python, pin)
    for archive in lock.archives:
        if not wanted.accepts(archive.version, freethreaded=archive.freethreaded):
            raise ProjectError(
                f"{lock.place}: the project is locked to CPython {archive.label} on {archive.triple}, "
                f"which does not satisfy {wanted.describe()}",
                hint=_RELOCK,
            )


def locked_archive(lock: Lock, triple: str) -> Archive:
    """Return the archive that a build uses on a platform.

    Args:
        lock: of a project.
        triple: target triple of the host, with its microarchitecture level where one is asked for.

    Raises:
        NoMatchingArchiveError: the lock has none for it; the hint says how to add it, and how to do without.
    """
    for archive in lock.archives:
        if archive.triple == triple:
            return archive
    raise NoMatchingArchiveError(
        f"the project is locked to the archives in {lock.place}, and none of them is for {triple}",
        hint=f"locked: {', '.join(archive.triple for archive in lock.archives)}\n"
        f"add this one with 'provision-backend lock --target {triple}', "
        f"or build without the lock: PROVISION_BACKEND_PYTHON={lock.archives[0].label}",
    )


def _refuse_unknown(table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in LOCK_KEYS:
            near = nearest(key, LOCK_KEYS)
            hint = f"did you mean {near!r}?" if near else "known keys: " + ", ".join(LOCK_KEYS)
            raise ProjectError(f"pyproject.toml: unknown key {key!r} in [{LOCK_TABLE}]", hint=hint)


def _typed(table: Mapping[str, Any], key: str, kind: type, description: str) -> Any:
    value = table.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise ProjectError(f"pyproject.toml: {LOCK_TABLE}.{key} must be {description}, found {value!r}")


def _parse_array(lines: List[Any]) -> Tuple[Archive, ...]:
    found = []
    for number, line in enumerate(lines, 1):
        where = f"pyproject.toml: {LOCK_TABLE}.archives, entry {number}"
        if not isinstance(line, str):
            raise ProjectError(f"{where}: must be a string, found {line!r}")
        found.append((where, line))
    return _parse(found, source=f"pyproject.toml: {LOCK_TABLE}.archives")


def _parse_file(root: Path, name: str) -> Tuple[Archive, ...]:
    key = f"pyproject.toml: {LOCK_TABLE}.file"
    # What lies outside the project is not in its sdist.
    if os.path.isabs(name) or ".." in Path(name).parts or "\0" in name or not name.strip():
        raise ProjectError(f"{key} must name a file inside the project, found {name!r}")
    try:
        text = (root / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProjectError(
            f"{key} names {name!r}, which does not exist",
            hint="have the real backend put it into the sdist; or remove the table and run 'provision-backend lock', "
            "which writes the archives into pyproject.toml",
        ) from None
    except UnicodeDecodeError:
        raise ProjectError(f"{name} is not UTF-8") from None
    except OSError as exc:
        raise ProjectError(f"{name} cannot be read: {exc.strerror}") from None
    lines = [(f"{name}, line {number}", line) for number, line in enumerate(text.splitlines(), 1)]
    return _parse([(where, line) for where, line in lines if line.strip() and line.strip()[0] != "#"], source=name)


def _parse(lines: Sequence[Tuple[str, str]], *, source: str) -> Tuple[Archive, ...]:
    if not lines:
        raise ProjectError(f"{source} names no archive", hint=_RELOCK.replace("run", "remove the table and run"))
    found: Dict[str, Archive] = {}
    for where, line in lines:
        archive = _parse_line(where, line)
        if archive.triple in found:
            raise ProjectError(f"{where}: there is an archive for {archive.triple} already; a target has one")
        found[archive.triple] = archive
    return tuple(found.values())


def _parse_line(where: str, line: str) -> Archive:
    if len(line.splitlines()) == 1:
        try:
            return parse_catalog(line, source=where)[0]
        except CatalogError:
            pass  # It would call the line a catalog.
    shown = line if len(line) <= 80 else f"{line[:80]}..."
    raise ProjectError(f"{where}: expected '<sha256>  <file name of an archive>', found {shown!r}")
