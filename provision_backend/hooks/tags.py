"""Tell from a wheel's file name what it is and which interpreters can install it. Pure.

Source: "Platform compatibility tags"; PEP 600 (manylinux), PEP 656 (musllinux), PEP 384 (abi3), PEP 803 (abi3t).
"""

from __future__ import annotations

import functools
import re
from typing import FrozenSet, Iterator, Optional, Tuple

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..errors import WheelError
from ..host.targets import ELF_TARGETS, OTHER_TARGETS, architecture_name, split_level

__all__ = ["architecture_tag", "covers", "is_for", "kind_of", "oldest_libc", "tags_of", "target_tags"]

_OLD_NAMES = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}  # PEP 600, "Legacy manylinux tags"


def covers(filename: str, label: str, triple: str) -> bool:
    """Return whether an interpreter can install a wheel, as far as the file name says; see `target_tags`.

    If it is not the name of a wheel, `WheelError` is raised.
    """
    return not target_tags(label, triple).isdisjoint(tags_of(filename))


@functools.lru_cache(maxsize=None)  # There are thousands, and each wheel is compared with them.
def target_tags(label: str, triple: str) -> FrozenSet[Tag]:
    """Return the tags of all wheels that fit an interpreter, whatever the version of its libc or of its system.

    Of the version its minor one counts: ``3.11``, ``3.14t`` for a free-threaded one. A plain ``linux_x86_64`` does not
    say for which libc it is, and is taken for either, as installers do.
    """
    major, minor = (int(part) for part in label.rstrip("t").split(".")[:2])
    interpreter = f"cp{major}{minor}"
    # For an empty list, packaging up to 26.2 takes those of the running system.
    platforms = list(_platforms(split_level(triple)[0])) or ["none"]
    abis = [f"{interpreter}t" if label.endswith("t") else interpreter]
    return frozenset(
        {*cpython_tags((major, minor), abis, platforms), *compatible_tags((major, minor), interpreter, platforms)}
    )


def kind_of(filename: str) -> str:
    """Return for which Pythons one wheel serves: ``pure``, ``abi3t``, ``abi3``, ``none`` or ``each``.

    ``none`` is a wheel with programs or libraries of a platform and without the ABI of a Python: one a platform. A
    wheel for both stable ABIs is ``abi3t``.

    Raises:
        WheelError: it is not the name of a wheel.
    """
    tags = tags_of(filename)
    abis = {tag.abi for tag in tags}
    if all(tag.platform == "any" and tag.abi == "none" for tag in tags):
        return "pure"
    for abi in ("abi3t", "abi3"):
        if abi in abis:
            return abi
    return "none" if abis == {"none"} and {"py3"} <= {tag.interpreter for tag in tags} else "each"


def is_for(filename: str, triple: str) -> bool:
    """Return whether a wheel is for a triple, under any Python; raise `WheelError` if it is no wheel's name."""
    return not {tag.platform for tag in tags_of(filename)}.isdisjoint({"any", *_platforms(split_level(triple)[0])})


def oldest_libc(filename: str, triple: str) -> Optional[Tuple[int, int]]:
    """Return the version of the libc that a wheel needs on a triple at least; None where its tags promise no version.

    Raises:
        WheelError: it is not the name of a wheel.
    """
    versions, known = [], set(_platforms(split_level(triple)[0]))
    for platform in {tag.platform for tag in tags_of(filename)}:
        match = re.fullmatch(r"(?:many|musl)linux(?:(1|2010|2014)|_([0-9]+)_([0-9]+))_.*", platform)
        if match and platform in known:
            versions.append(_OLD_NAMES[match[1]] if match[1] else (int(match[2]), int(match[3])))
        elif platform == "any" or platform == f"linux_{architecture_tag(triple)}":
            return None
    return min(versions) if versions else None


def tags_of(filename: str) -> FrozenSet[Tag]:
    """Return the tags in the name of a wheel, compressed sets expanded; raise `WheelError` if it has none."""
    try:
        return parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        raise WheelError(
            f"{filename!r} is not the name of a wheel", hint="that is NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
        ) from None


def architecture_tag(triple: str) -> str:
    """Return what Linux platform tags call the architecture of a triple: ``armv7l`` for ``armv7``."""
    return architecture_name(split_level(triple)[0].partition("-")[0], "uname")


def _platforms(triple: str) -> Iterator[str]:
    """Yield the platform tags of a triple, for every version of its libc or system that there may ever be."""
    if triple in OTHER_TARGETS:
        architecture, system = OTHER_TARGETS[triple]
        machine = system.machines.get(architecture, architecture)
        if system.name == "macos":
            yield from mac_platforms((99, 0), machine)  # It lists all versions up to the one that is given.
        elif system.name == "windows":
            yield "win32" if machine == "x86" else f"win_{machine.lower()}"
        return
    target, machine = ELF_TARGETS.get(triple), architecture_tag(triple)
    if target is None or target.environment not in ("gnu", "gnueabihf", "gnueabi", "musl", "musleabihf", "musleabi"):
        return  # No tag is for 32-bit pointers on 64-bit CPUs.
    yield f"linux_{machine}"
    if target.float_abi == "soft":
        return  # Both standards are for hard float only.
    if target.libc == "musl":
        yield from (f"musllinux_1_{minor}_{machine}" for minor in range(20))
        return
    yield from (f"manylinux_2_{minor}_{machine}" for minor in range(5, 100))
    yield from (f"manylinux{name}_{machine}" for name in _OLD_NAMES)
