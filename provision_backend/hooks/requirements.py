"""What packaging and importlib.metadata are asked: requirements that apply or are met, and tags of wheels.

Importing both takes 85 ms, so most builds never import this module.
"""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ..errors import BackendError, ProjectError
from ..install.sources import is_local
from ..output import Reporter
from ..project.plan import running_interpreter
from ..project.pyproject import OWN_NAME, parse_requirement
from ..settings import Settings
from ..versions import leading_name, minor_of

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = [
    "PACKAGING", "check_wheel", "extra_requirements", "find_distributions", "missing_extra", "missing_for_lock",
    "missing_to_provision",    "names_for", "same_release", "unmet_in", "unmet_requirements",
]  # fmt: skip

_Find = Callable[[str], Optional[importlib.metadata.Distribution]]
"""Finds a distribution by its name, however that is written."""

PACKAGING = "packaging>=26.1"
"""What chooses the wheels of a lock; the first version with `packaging.pylock.Pylock.select`."""


def unmet_requirements(requirements: Iterable[str]) -> List[str]:
    """Return those of the requirements that apply here and are not met, in their order.

    An extra's own requirements are looked at too, since ``setuptools-scm[toml]`` is not met by a setuptools-scm
    alone. A requirement by URL is met by any version, as pip has it. What is none, as frontends that skip their
    dependency check let pass, raises `ProjectError`.
    """
    return [text for text in requirements if not _is_met(text, _find_distribution, {})]


def same_release(first: str, second: str) -> bool:
    """Return whether two versions are of one release, whatever a build has added (``1.0``, ``1.0.0.dev3+local``)."""
    try:
        return Version(Version(first).base_version) == Version(Version(second).base_version)
    except InvalidVersion:
        return True  # The frontend will say what is wrong with it.


def names_for(requirements: Iterable[str], version: str) -> List[str]:
    """Return the names of those requirements that apply to a CPython of another version on this host."""
    names = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # A path, which an installer takes; its name is not known.
        if requirement.marker is None or requirement.marker.evaluate(_environment(version)):
            names.append(requirement.name)
    return names


def _environment(version: str) -> Dict[str, str]:
    # It is a release, so the full version is all that a marker can ask for besides the minor one.
    return {
        "python_version": minor_of(version),
        "python_full_version": version,
        "implementation_version": version,
        "extra": "",
    }


def find_distributions(path: Sequence[str]) -> Dict[str, importlib.metadata.Distribution]:
    """Return the distributions of the folders of any Python's ``sys.path`` by normalised name, as imports find them."""
    found: Dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions(path=list(path)):
        # It is parsed each time it is asked for. A removal that was interrupted leaves folders without it behind.
        metadata = distribution.metadata
        if metadata and "Name" in metadata:
            found.setdefault(canonicalize_name(metadata["Name"]), distribution)
    return found


def unmet_in(requirements: Iterable[str], packages: Sequence[str], version: str) -> List[str]:
    """Return what `unmet_requirements` would under a CPython of a full version, on this host, with packages in folders.

    The folders are in the order of ``sys.path``. What is no requirement counts as unmet: a path, for one, which an
    installer would take.
    """
    installed = find_distributions(packages)

    def _find(name: str) -> Optional[importlib.metadata.Distribution]:
        return installed.get(canonicalize_name(name))

    def _met(text: str) -> bool:
        try:
            return _is_met(text, _find, _environment(version))
        except ProjectError:
            return False

    return [text for text in requirements if not _met(text)]


def extra_requirements(extra: str) -> Tuple[str, ...]:
    """Return the PEP 508 requirements of one of our own extras, without its marker; empty without our own metadata."""
    try:
        declared = importlib.metadata.requires(OWN_NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return ()
    found = []
    for requirement in map(Requirement, declared):
        marker = requirement.marker
        # A requirement without the extra is a static one: its marker is true with no extra at all.
        if marker and not marker.evaluate({"extra": ""}) and marker.evaluate({"extra": extra}):
            requirement.marker = None
            found.append(str(requirement))
    return tuple(found)


def missing_extra(extra: str) -> List[str]:
    """Return those requirements of one of our extras that are not met here."""
    return unmet_requirements(extra_requirements(extra))


def missing_to_provision(settings: Settings) -> List[str]:
    """Return what it takes to provision an interpreter, and is not met here: of the extra, or its part for a folder."""
    return missing_extra("local" if is_local(settings) else "provision")


def missing_for_lock() -> List[str]:
    """Return what it takes to make a locked environment, the file lock and packaging, if it is not met here."""
    file_lock = [text for text in extra_requirements("provision") if leading_name(text) == "filelock"]
    return unmet_requirements([PACKAGING, *file_lock])


def _is_met(
    text: str, find: _Find, environment: Mapping[str, str], extra: str = "", seen: FrozenSet[str] = frozenset()
) -> bool:
    # Extras may refer to each other in a circle.
    if text in seen:
        return True
    requirement = parse_requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate({**environment, "extra": extra}):
        return True
    distribution = find(requirement.name)
    # A removal that was interrupted leaves folders without metadata behind.
    if distribution is None or "Version" not in (distribution.metadata or ()):
        return False
    try:
        fits = requirement.specifier.contains(Version(distribution.version), prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        return False
    nested = [item for item in distribution.requires or [] if "extra" in item]
    seen |= {text}
    return all(_is_met(item, find, environment, name, seen) for name in requirement.extras for item in nested)


def _find_distribution(name: str) -> Optional[importlib.metadata.Distribution]:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    # Before 3.10 a name is found by its own spelling only: "zope-interface" is not that of zope.interface (bpo-44246).
    wanted = canonicalize_name(name)
    candidates = importlib.metadata.distributions()
    return next((found for found in candidates if canonicalize_name(found.metadata["Name"] or "") == wanted), None)


def check_wheel(wheel: Path, interpreter: Interpreter, reporter: Reporter, *, editable: bool) -> None:
    """Announce a wheel that the running interpreter cannot install, and refuse an editable one.

    pip does not look at the tag of a wheel that it has just built. An editable wheel is imported by the interpreter
    that it is installed for, so one that is tied to another ABI could never work: it is removed, and `BackendError`
    raised.
    """
    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename:
        return  # The frontend will say what is wrong with it.
    if not tags.isdisjoint(sys_tags()):
        return
    tag = "-".join(wheel.stem.split("-")[-3:])
    here = running_interpreter().version
    if editable:
        os.unlink(str(wheel))
        raise BackendError(
            f"the editable wheel has the tag {tag}: it was built by CPython {interpreter.version}, "
            f"and Python {here} cannot import it",
            hint=f"make the editable install with CPython {interpreter.version}: {interpreter.executable}",
        )
    reporter.info(f"{wheel.name} was built by {interpreter.executable}; Python {here} cannot install it")
