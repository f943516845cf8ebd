"""Which requirements apply, and which are met, in the environment of the running interpreter.

Requirements are PEP 508 strings; an environment is what ``importlib.metadata`` sees on ``sys.path``. That and
``packaging`` take longer to import than the rest of a hook takes, so the common answers are found without them.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Dict, FrozenSet, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import MissingDependencyError, ProjectError
from ..markers import evaluate_marker
from ..project.pyproject import OWN_NAME
from ..specifiers import Specifiers, parse_requirement

if TYPE_CHECKING:
    import importlib.metadata

    from packaging.requirements import Requirement

__all__ = [
    "extra_requirements",
    "missing_extra",
    "names_for",
    "normalised_name",
    "require_extra",
    "unmet_requirements",
]

_VERSION = sys.version.split()[0].rstrip("+")
"""Of this process; one that was built from a checkout ends with a plus sign."""


def unmet_requirements(requirements: Iterable[str]) -> List[str]:
    """Return those of the requirements that apply here and are not met, in their order.

    An extra's own requirements are looked at too, since ``setuptools-scm[toml]`` is not met by a setuptools-scm
    alone. A requirement by URL is met by any version, as pip has it.

    Raises:
        ProjectError: one of them is not a requirement; frontends that skip their dependency check let that pass.
    """
    return [text for text in requirements if not _is_met_quickly(text)]


def names_for(requirements: Iterable[str], version: str) -> List[str]:
    """Return the names of those requirements that apply to a CPython of another version on this host."""
    environment = _environment(version)
    requirements = list(requirements)
    simple = [_Simple.parse(text, environment) for text in requirements]
    if all(simple):
        return [each.name for each in simple if each and each.applies]
    from packaging.requirements import InvalidRequirement, Requirement

    names = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # A path, which an installer takes; its name is not known.
        if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            names.append(requirement.name)
    return names


def normalised_name(name: str) -> str:
    """Return the name of a distribution as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extra_requirements(extra: str) -> Tuple[str, ...]:
    """Return the requirements of one of our own extras, read from our own metadata, without its marker.

    Returns:
        PEP 508 strings; empty where the package runs from a folder without metadata.
    """
    return tuple(_of_extra(_declared(), extra))


def missing_extra(extra: str) -> List[str]:
    """Return those requirements of one of our extras that are not met here."""
    return unmet_requirements(extra_requirements(extra))


def require_extra(extra: str, purpose: str) -> None:
    """Raise `MissingDependencyError` when a requirement of one of our extras is not met here."""
    for text in missing_extra(extra):
        raise MissingDependencyError(_parse(text).name, purpose, extra=extra)


def _parse(text: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as exc:
        raise ProjectError(f"{text!r} is not a requirement: {str(exc).splitlines()[0]}") from None


def _declared() -> List[str]:
    """Return the requirements of our own metadata; importing what reads any metadata takes longer than reading it."""
    for entry in filter(None, sys.path):
        for folder in _metadata_folders(entry, OWN_NAME):
            return re.findall(r"^Requires-Dist: *(.*\S)", _metadata(folder), re.MULTILINE)
    import importlib.metadata

    try:
        return importlib.metadata.requires(OWN_NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _of_extra(declared: Iterable[str], extra: str) -> Iterator[str]:
    for text in declared:
        body, semicolon, marker = text.partition(";")
        # A requirement without the extra is a static one: its marker is true with no extra at all.
        if not semicolon or evaluate_marker(marker, _environment(_VERSION)):
            continue
        wanted = evaluate_marker(marker, _environment(_VERSION, extra))
        if wanted is None:
            yield from _of_extra_by_packaging(text, extra)
        elif wanted:
            yield body.strip()


def _of_extra_by_packaging(text: str, extra: str) -> Iterator[str]:
    requirement = _parse(text)
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
        return
    requirement.marker = None
    yield str(requirement)


def _environment(version: str, extra: str = "") -> Dict[str, str]:
    """Return the variables of PEP 508 that are looked at, of a CPython on this host."""
    return {
        "python_version": ".".join(version.split(".")[:2]),
        "python_full_version": version,
        "sys_platform": sys.platform,
        "os_name": os.name,
        "extra": extra,
    }


class _Simple(NamedTuple):
    """A requirement of a name, plain specifiers and a plain marker."""

    name: str
    specifiers: Specifiers
    applies: bool

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Optional[_Simple]:
        """Parse a requirement; None where it is of another form."""
        body, semicolon, marker = text.partition(";")
        simple = parse_requirement(body)
        applies = evaluate_marker(marker, environment) if semicolon else True
        return None if simple is None or applies is None else cls(*simple, applies)


def _is_met_quickly(text: str) -> bool:
    """Answer for a name with plain specifiers by a look at the folders; ask the slow way where they do not tell."""
    simple = _Simple.parse(text, _environment(_VERSION))
    places = [entry for entry in sys.path if entry]
    if simple is None or not all(os.path.isdir(entry) or not os.path.exists(entry) for entry in places):
        return _is_met(text)
    if not simple.applies:
        return True
    found = [path for entry in places for path in _metadata_folders(entry, normalised_name(simple.name))]
    if not found:
        return False
    version = _plain_version(found[0])
    return simple.specifiers.contains(version) if version else _is_met(text)


def _metadata_folders(entry: str, name: str) -> Iterator[str]:
    try:
        inside = os.listdir(entry)
    except OSError:
        return
    for each in inside:
        stem, kind = os.path.splitext(each)
        if kind in (".dist-info", ".egg-info") and name in (normalised_name(stem.split("-")[0]), normalised_name(stem)):
            yield os.path.join(entry, each)


def _plain_version(folder: str) -> str:
    """Return the version of an installed distribution; empty where it is not just numbers, or not to be found."""
    match = re.search(r"^Version: *([0-9.]*[0-9])\s*$", _metadata(folder), re.MULTILINE)
    return match[1] if match else ""


def _metadata(folder: str) -> str:
    """Return the headers of an installed distribution's metadata; empty where they cannot be read."""
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8", errors="replace") as file:
            return file.read().partition("\n\n")[0]
    except OSError:
        return ""


def _is_met(text: str, extra: str = "", seen: FrozenSet[str] = frozenset()) -> bool:
    # Extras may refer to each other in a circle.
    if text in seen:
        return True
    requirement = _parse(text)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
        return True
    distribution = _find_distribution(requirement.name)
    if distribution is None or not _fits(requirement, distribution):
        return False
    nested = [item for item in distribution.requires or [] if "extra" in item]
    return all(_is_met(item, name, seen | {text}) for name in requirement.extras for item in nested)


def _find_distribution(name: str) -> Optional[importlib.metadata.Distribution]:
    import importlib.metadata

    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pass
    # Before 3.10 a name is found by its own spelling only: "zope-interface" is not that of zope.interface (bpo-44246).
    wanted = normalised_name(name)
    candidates = importlib.metadata.distributions()
    return next((found for found in candidates if normalised_name(found.metadata["Name"] or "") == wanted), None)


def _fits(requirement: Requirement, distribution: importlib.metadata.Distribution) -> bool:
    from packaging.version import InvalidVersion, Version

    # A removal that was interrupted leaves folders without metadata behind.
    if "Version" not in (distribution.metadata or ()):
        return False
    try:
        version = Version(distribution.version)
    except InvalidVersion:
        return False
    return requirement.specifier.contains(version, prereleases=True)
