"""Projects that are locked to wheels of a folder, without the command ``lock``: the file is written by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, List, Sequence

import tomlkit
from packaging.utils import parse_wheel_filename

from provision_backend.project.pylock import PYLOCK, digest_of

__all__ = ["index_of", "lock_to", "package_of", "wheels_in"]


def package_of(*wheels: Path) -> Dict[str, Any]:
    """Return the table of a package that has these wheels."""
    name, version = parse_wheel_filename(wheels[0].name)[:2]
    entries = [{"path": wheel.name, "hashes": {"sha256": _sha256(wheel)}} for wheel in wheels]
    return {"name": str(name), "version": str(version), "wheels": entries}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lock_to(
    root: Path,
    archive: Path,
    packages: Sequence[Dict[str, Any]],
    *,
    dynamic: Sequence[str] = (),
    scope: str = "provisioned",
    more: Sequence[Path] = (),
) -> Path:
    """Lock a project to an archive and to packages, and return its folder.

    Args:
        root: with a ``pyproject.toml`` whose last table is ours, in the form with ``requires``.
        archive: of the interpreter.
        packages: tables as `package_of` returns them.
        dynamic: what the real backend answers.
        scope: ``provisioned`` or ``always``.
        more: archives of other targets.
    """
    pyproject = root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    document = tomlkit.parse(text)
    table: Any = document["tool"]["provision-backend"]
    table["lock"] = scope
    pyproject.write_text(tomlkit.dumps(document), encoding="utf-8")
    ours: Dict[str, Any] = {
        "build-backend": str(table["build-backend"]),
        "requires": [str(item) for item in table["requires"]],
        "dynamic": list(dynamic),
        "interpreters": [f"{_sha256(path)}  {path.name}" for path in (archive, *more)],
    }
    found: Dict[str, Any] = {
        "lock-version": "1.0",
        "created-by": "provision-backend",
        "packages": list(packages),
        "tool": {"provision-backend": ours},
    }
    ours["digest"] = digest_of(found)
    (root / PYLOCK).write_text(tomlkit.dumps(found), encoding="utf-8")
    return root


def wheels_in(folder: Path, *names: str) -> List[Dict[str, Any]]:
    """Return the tables of packages, each with the one wheel of its name in a folder."""
    return [package_of(next(folder.glob(f"{name.replace('-', '_')}-*.whl"))) for name in names]


def index_of(*wheels: Path) -> Dict[str, bytes]:
    """Return the files of an index below ``/simple``, by path, for `ArchiveServer` (PEP 503)."""
    files = {}
    for wheel in wheels:
        name = str(parse_wheel_filename(wheel.name)[0])
        files[f"/files/{wheel.name}"] = wheel.read_bytes()
        link = f'<a href="/files/{wheel.name}#sha256={_sha256(wheel)}">{wheel.name}</a>'
        files[f"/simple/{name}/"] = f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
    return files
