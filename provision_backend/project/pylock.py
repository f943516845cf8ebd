"""Read ``pylock.provision-backend.toml``, the lock of an interpreter and of all build requirements.

It is a lock file of PEP 751. What it says beside the packages is in its table ``[tool.provision-backend]``: what was
resolved, the archives of the interpreter in the lines of ``SHA256SUMS``, and a digest of everything else in the file.
So a file that was edited, or merged by hand, is refused before anything of it is used. The digest is no signature:
whoever can change the file can write another digest.

Only what a warm build needs is checked here, and without packaging, whose import takes as long as the rest of such a
build; `packaging.pylock` checks the rest before anything is installed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple, cast

from ..catalog.sums import format_line
from ..catalog.wanted import RELOCK, Lock, LockedRequirements, canonical_hash
from ..errors import ProjectError
from ..files import read_file
from ..output import shorten
from ..settings import load_toml
from ..versions import minor_of
from .lock import parse_lines

__all__ = ["PYLOCK", "digest_of", "pylock_document", "read_pylock", "wheel_sha256"]

PYLOCK = "pylock.provision-backend.toml"
"""The name of the file; PEP 751 wants it to begin with ``pylock.`` and to have no other dot in the middle."""

_TOOL = "tool.provision-backend"


def read_pylock(root: Path, *, always: bool, relocking: bool = False) -> Lock:
    """Return the lock of the project in a folder, or raise `ProjectError` where its file is missing or not as written.

    With *always* it also applies where the running interpreter satisfies the project. Where it is *relocking*, an
    edited file is read too.
    """
    document = _load(root)
    tool = document.get("tool")
    ours = tool.get("provision-backend") if isinstance(tool, dict) else None
    if not isinstance(ours, dict) or (ours.get("digest") != digest_of(document) and not relocking):
        raise ProjectError(f"{PYLOCK} has been edited: its content does not match its digest", hint=RELOCK)
    try:
        packages = tuple(map(_package, document["packages"]))
        requires, dynamic, lines = (_texts(ours[key]) for key in ("requires", "dynamic", "interpreters"))
        requirements = LockedRequirements(packages, requires, dynamic, str(ours["build-backend"]))
    except (KeyError, TypeError) as exc:
        raise ProjectError(f"{PYLOCK} is not complete: {exc} in [{_TOOL}] or [[packages]]", hint=RELOCK) from None
    place = f"{PYLOCK}: {_TOOL}.interpreters"
    numbered = [(f"{place}, entry {number}", line) for number, line in enumerate(lines, 1)]
    return Lock(parse_lines(numbered, source=place), always=always, file=PYLOCK, requirements=requirements)


def pylock_document(lock: Lock) -> Dict[str, Any]:
    """Return what the file says for a lock with requirements, as it is parsed; `read_pylock` returns the lock again."""
    requirements = cast("LockedRequirements", lock.requirements)
    ours = {
        "build-backend": requirements.build_backend,
        "requires": list(requirements.requires),
        "dynamic": list(requirements.dynamic),
        "interpreters": [format_line(archive.filename, archive.sha256) for archive in lock.archives],
    }
    document = {
        "lock-version": "1.0",
        "created-by": "provision-backend",
        "requires-python": f"=={minor_of(lock.archives[0].version)}.*",
        "packages": [dict(package) for package in requirements.packages],
        "tool": {"provision-backend": ours},
    }
    ours["digest"] = digest_of(document)
    return document


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the digest that belongs into a parsed lock file with our table: the sha256 of everything else in it."""
    ours = {**document["tool"]["provision-backend"]}
    ours.pop("digest", None)
    return canonical_hash({**document, "tool": {**document["tool"], "provision-backend": ours}})


def wheel_sha256(wheel: Mapping[str, Any]) -> str:
    """Return the sha256 of an entry of ``wheels``, in lower-case hex (PEP 751); empty where it has none."""
    # Installers read it from a file of requirements, in which another line could be an option.
    found = str(wheel.get("hashes", {}).get("sha256"))
    return found if re.fullmatch("[0-9a-f]{64}", found) else ""


def _load(root: Path) -> Dict[str, Any]:
    try:
        return load_toml(read_file(root / PYLOCK).decode("utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"tool.provision-backend.lock locks the project, and {PYLOCK} does not exist",
            hint="have the real backend put it into the sdist; or run 'provision-backend lock', which writes it",
        ) from None
    except OSError as exc:
        raise ProjectError(f"{PYLOCK} cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise ProjectError(f"{PYLOCK} is not valid TOML: {exc}", hint=RELOCK) from None


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("wrong type")
    return value


def _package(value: Any) -> Mapping[str, Any]:
    """Return a table with the parts that builds, mirrors and a new lock use, each of its type."""
    package = _table(value)
    texts = [package["name"], package["version"], package.get("marker", "")]
    wheels = package["wheels"] if isinstance(package["wheels"], list) else [None]
    for wheel in map(_table, wheels):
        texts += [wheel.get("path") or wheel["url"], wheel.get("name", "")]
        if not wheel_sha256({"hashes": _table(wheel["hashes"])}):
            raise TypeError(f"no sha256 of a wheel of {shorten(str(package['name']))!r}")
    _texts(texts)
    return package


def _texts(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("wrong type")
    return tuple(value)
