"""What the real backend makes alone: the other side of every comparison.

In: a project and an interpreter. Out: the wheel, the sdist, the wheel made from that sdist and the editable wheel,
each made twice, in two folders, by calling the real backend's own hooks in an environment of that interpreter. What is
the same in both is what the backend makes reproducibly, and what a wheel that was made through us must equal.
"""

from __future__ import annotations

__all__ = ["Reference", "compare", "installed_differences", "members", "next_time_stamp", "reference", "run_direct"]

import hashlib
import json
import os
import shutil
import tarfile
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pyproject_hooks
from support.hosts import only
from support.real_interpreters import locked

from .backends import Backend
from .workshop import Workshop


@dataclass(frozen=True)
class Reference:
    """An artifact of the real backend alone, made twice."""

    first: Path
    second: Path

    @property
    def reproducible(self) -> bool:
        """Whether the real backend itself makes the same bytes twice."""
        return self.first.read_bytes() == self.second.read_bytes()


def members(artifact: Path) -> Dict[str, str]:
    """Return the names in a wheel or an sdist, and digests of their contents, modes included for an sdist."""
    if artifact.suffix == ".whl":
        with zipfile.ZipFile(str(artifact)) as archive:
            infos = archive.infolist()
            return {each.filename: f"{each.external_attr:x} {_digest(archive.read(each))}" for each in infos}
    found = {}
    with tarfile.open(str(artifact)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.isfile() else None
            data = file.read() if file else (member.type + member.linkname.encode())
            found[member.name] = f"{member.mode:o} {_digest(data)}"
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def compare(ours: Path, theirs: Reference, *, times: bool = True) -> str:
    """Check that an artifact equals that of the real backend alone.

    Args:
        ours: made through us.
        theirs: made by the real backend.
        times: whether the times in it must be the same.

    Returns:
        How it was compared: ``bytes``, or ``contents`` where the real backend does not make the same bytes twice.
    """
    assert ours.name == theirs.first.name
    if times and theirs.reproducible:
        if ours.read_bytes() != theirs.first.read_bytes():
            assert members(ours) == members(theirs.first)
            raise AssertionError(f"{ours.name} has the right contents, and other bytes")
        return "bytes"
    first, second, mine = members(theirs.first), members(theirs.second), members(ours)
    assert list(mine) == list(first) or sorted(mine) == sorted(first)
    # RECORD repeats the digests of all others, so it differs as soon as one of them does.
    stable = {name for name in first if first[name] == second[name]}
    assert {name: mine[name] for name in stable} == {name: first[name] for name in stable}
    return "contents"


def installed_differences(site: Path, theirs: Reference) -> List[str]:
    """Return the names of the wheel's files that are not in a folder of packages as the wheel has them."""
    wrong = []
    with zipfile.ZipFile(str(theirs.first)) as first, zipfile.ZipFile(str(theirs.second)) as second:
        for name in first.namelist():
            changed_by_installers = name.endswith(("RECORD", "/")) or ".data/" in name
            data = first.read(name)
            if changed_by_installers or second.read(name) != data:
                continue
            installed = site / name
            if not installed.is_file() or installed.read_bytes() != data:
                wrong.append(name)
    return wrong


def reference(
    workshop: Workshop, backend: Backend, python: Path, kind: str, settings: Optional[Mapping[str, Any]] = None
) -> Reference:
    """Return what the real backend makes alone under an interpreter; once a test run.

    Args:
        workshop: of this run.
        backend: the project.
        python: the interpreter, not one of an environment.
        kind: ``wheel``, ``sdist``, ``wheel-from-sdist``.
        settings: ``config_settings`` for the hooks.
    """
    suffix = _digest(json.dumps([str(python), settings or {}], sort_keys=True).encode())[:8]
    folder = workshop.folder / "direct" / f"{backend.key}-{kind}-{suffix}"
    with locked(folder.with_name(folder.name + ".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(str(folder), ignore_errors=True)
            for place in ("first", "second/longer"):
                _make(workshop, backend, python, kind, folder / place, settings)
                next_time_stamp()
            (folder / "complete").write_text("")
    pattern = "*.tar.gz" if kind == "sdist" else "*.whl"
    return Reference(only(folder / "first/out", pattern), only(folder / "second/longer/out", pattern))


def next_time_stamp() -> None:
    """Wait until an artifact gets another time stamp: a zip counts in two seconds, the head of a gzip in one.

    pdm-backend writes the present into the head of an sdist, whatever SOURCE_DATE_EPOCH says; two sdists of the same
    second would look as if it made the same bytes always.
    """
    time.sleep(2 - time.time() % 2)


def _make(
    workshop: Workshop,
    backend: Backend,
    python: Path,
    kind: str,
    folder: Path,
    settings: Optional[Mapping[str, Any]],
) -> None:
    folder.mkdir(parents=True)
    if kind == "wheel-from-sdist":
        sdist = reference(workshop, backend, python, "sdist", settings).first
        workshop.check(["tar", "--no-same-permissions", "-xf", str(sdist), "-C", str(folder)])
        source = only(folder, "*")
    else:
        source = workshop.source(backend, folder / "source")
    hook = "build_sdist" if kind == "sdist" else "build_wheel"
    run_direct(workshop, backend, source, folder, hook=hook, python=python, settings=settings)


def _environment(workshop: Workshop, backend: Backend, python: Path) -> Path:
    """Return the interpreter of an environment with what the real backend requires; one for all of its builds."""
    name = f"{backend.key}-{_digest(str(python).encode())[:8]}"
    folder = workshop.folder / "direct-environments" / name
    folder.parent.mkdir(exist_ok=True)
    with locked(folder.with_name(f"{name}.lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(str(folder), ignore_errors=True)
            workshop.new_environment(python, folder, *backend.requires)
            (folder / "complete").write_text("")
    return folder / "bin" / "python"


def run_direct(
    workshop: Workshop,
    backend: Backend,
    source: Path,
    folder: Path,
    *,
    hook: str,
    python: Path,
    settings: Optional[Mapping[str, Any]] = None,
) -> Path:
    """Call a hook of the real backend, in an environment made for it, and return the folder of what it made."""
    inside = _environment(workshop, backend, python)
    out = folder / "out"
    out.mkdir()
    environ = workshop.environ()
    environ["PATH"] = f"{inside.parent}{os.pathsep}{environ['PATH']}"

    def runner(
        cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None
    ) -> None:
        workshop.check(cmd, cwd=Path(cwd or source), env={**environ, **(extra_environ or {})})

    caller = pyproject_hooks.BuildBackendHookCaller(
        str(source),
        backend.module,
        backend_path=list(backend.backend_path) or None,
        runner=runner,
        python_executable=str(inside),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # setuptools warns of every editable installation.
        dynamic = getattr(caller, f"get_requires_for_{hook}")(settings)
        if dynamic:
            workshop.check([workshop.uv, "pip", "install", "-q", "--python", str(inside), *dynamic])
        getattr(caller, hook)(str(out), settings)
    return out
