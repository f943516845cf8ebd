"""Find out whether a wheel or an sdist is what ``pyproject.toml`` says, and how a lock file gets into an sdist."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterator

from ..errors import BackendError
from ..project.pyproject import Project
from ..settings import load_toml
from ..versions import normalised_name

__all__ = ["advise_including", "leaves_out", "surprises"]

_INCLUDING = {
    "flit_core": '[tool.flit.sdist] of pyproject.toml: include = ["{}"]',
    "hatchling": '[tool.hatch.build.targets.sdist.force-include] of pyproject.toml: "{0}" = "{0}"',
    "maturin": '[tool.maturin] of pyproject.toml: include = [{{ path = "{}", format = "sdist" }}]',
    "mesonpy": "git, since meson packs only what is committed: git add {}",
    "pdm": '[tool.pdm.build] of pyproject.toml: source-includes = ["{}"]',
    "poetry": '[tool.poetry] of pyproject.toml: include = [{{ path = "{}", format = "sdist" }}]',
    "scikit_build_core": '[tool.scikit-build] of pyproject.toml: sdist.include = ["{}"]',
    "setuptools": "MANIFEST.in: include {}",
    "uv_build": '[tool.uv.build-backend] of pyproject.toml: source-include = ["{}"]',
}
"""By the module of a real backend: the line that puts a file into its sdist, and where it stands."""

_PACK_ALL = ("hatchling", "mesonpy", "scikit_build_core")
"""Those of them that pack every file that is not ignored, or that is committed."""


def surprises(project: Project, made: Path, cache: str) -> Iterator[str]:
    """Yield a line for each thing about a wheel or an sdist that is not as ``pyproject.toml`` promises.

    Nothing is said of a folder, and a project without ``[project]`` promises no name and no version. The *cache* is its
    path below the source tree, with slashes; empty where it lies elsewhere. An sdist without the file that locks the
    project is removed, and `BackendError` raised: it could not be built.
    """
    is_sdist, called = made.name.endswith(".tar.gz"), made.name
    if not is_sdist and made.suffix != ".whl":
        return
    name, _, rest = called[: -len(".tar.gz")].rpartition("-") if is_sdist else called.partition("-")
    version = rest.partition("-")[0]
    if project.name and normalised_name(name) != normalised_name(project.name):
        yield f"{called} has the name {name!r}, and pyproject.toml has {project.name!r}"
    if project.name and not project.version and version == "0.0.0":
        # It is what setuptools writes, and pbr.build where it is not the one that [build-system] names.
        yield f"{called} has the version 0.0.0, which stands for none: does {project.build_backend} look for its name?"
    elif project.name and project.version and version != project.version:
        from .requirements import same_release

        if not same_release(version, project.version):
            yield f"{called} has the version {version!r}, and pyproject.toml has {project.version!r}"
    if is_sdist:
        yield from _surprises_inside(project, made, cache)


def _surprises_inside(project: Project, sdist: Path, cache: str) -> Iterator[str]:
    from ..install.archives import read_sdist

    lock = project.lock.file.replace(os.sep, "/") if project.lock else ""
    cached, paths = 0, set()
    for path, content in read_sdist(sdist, "pyproject.toml", read_all=bool(cache or lock)):
        paths.add(path)
        cached += bool(cache) and path.startswith(f"{cache}/")
        backend = _named_backend(content) if path == "pyproject.toml" else "provision_backend"
        if backend != "provision_backend":
            yield (
                f"{sdist.name} names {backend!r} as its build backend: {project.build_backend} has changed "
                "[build-system], so no interpreter is provisioned for wheels that are built from it"
            )
    if cached:
        yield (
            f"{sdist.name} holds {cached} files of the cache {cache}, which lies in the source tree: add /{cache}/ to "
            ".gitignore, or set PROVISION_BACKEND_CACHE_DIR to a folder elsewhere"
        )
    # What cannot be read is the frontend's to report.
    if lock and lock not in paths and "pyproject.toml" in paths:
        os.unlink(str(sdist))
        raise BackendError(
            f"{sdist.name} would lack {lock}, which locks the project", hint=advise_including(project, lock)
        )


def _named_backend(content: bytes) -> str:
    try:
        return str(load_toml(content.decode("utf-8"))["build-system"]["build-backend"])
    except (ValueError, KeyError, TypeError):
        return "none"


def leaves_out(project: Project) -> bool:
    """Return whether a project's real backend is known to leave a file out of the sdist that nothing names."""
    module = re.split(r"[.:]", project.build_backend)[0]
    if module == "setuptools" and any(re.match(r"setuptools[-_.]scm\b", text, re.I) for text in project.requires):
        return False  # It has setuptools pack every file that is committed.
    return module in _INCLUDING and module not in _PACK_ALL


def advise_including(project: Project, file: str) -> str:
    """Return what to do so that the sdist of a project holds a file."""
    known = _INCLUDING.get(re.split(r"[.:]", project.build_backend)[0])
    return f"add to {known.format(file)}" if known else f"have {project.build_backend} put it into the sdist"
