"""Check that a wheel is what was to be built: a wheel, of this project, for the Python that has built it.

A frontend that installs what it has built finds that out by itself; here the wheel would go to those who publish it.

Source: "Binary distribution format"; pip compares the same.
"""

from __future__ import annotations

from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ..errors import WheelError
from ..hooks.tags import covers, tags_of
from ..project.pyproject import Project
from .testing import read_metadata

__all__ = ["check_made"]


def check_made(wheel: Path, project: Project, python: str, triple: str) -> None:
    """Raise `WheelError` for a wheel that must not be published.

    Args:
        wheel: as its build backend has made it.
        project: what its sdist says; its name and version are known.
        python: label of the Python that has built it: ``3.11``, ``3.14t``.
        triple: target triple that it was built for.
    """
    tags_of(wheel.name)
    name, version = parse_wheel_filename(wheel.name)[:2]
    metadata = read_metadata(wheel)
    inside = f"{metadata.get('Name')} {metadata.get('Version')}"
    if not _same(str(metadata.get("Name")), str(metadata.get("Version")), str(name), str(version)):
        raise WheelError(f"the name of {wheel.name} does not match its metadata, which is that of {inside}")
    # A local version, 1.0+cpu, may come from the machine that builds.
    if not _same(str(name), version.public, project.name, project.version):
        raise WheelError(
            f"{wheel.name} was built from the sdist of {project.name} {project.version}",
            hint="what computes its name or version must give the same in a build as in the sdist",
        )
    if not covers(wheel.name, python, triple):
        raise WheelError(
            f"{wheel.name} was built by CPython {python} for {triple}, and cannot be installed there",
            hint="its build backend must give it the tags of the Python and the platform that it was built for",
        )


def _same(name: str, version: str, other_name: str, other_version: str) -> bool:
    try:
        equal = Version(version) in (Version(other_version), Version(Version(other_version).public))
    except InvalidVersion:
        equal = version == other_version  # Versions of long ago have any form, and no wheel's name has one of them.
    return equal and canonicalize_name(name) == canonicalize_name(other_name)
