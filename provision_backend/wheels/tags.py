"""Tell from a wheel's file name what it is and which interpreters can install it. Pure.

Source: "Platform compatibility tags"; PEP 600 (manylinux), PEP 656 (musllinux), PEP 384 (abi3), PEP 803 (abi3t).
"""

from __future__ import annotations

import re
from typing import FrozenSet, Optional, Tuple

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..errors import WheelError
from ..host.targets import ELF_TARGETS, split_level

__all__ = ["architecture_tag", "covers", "is_for", "kind_of", "oldest_libc", "tags_of"]

# Architectures that tags call by another name than triples do.
_LINUX = {"armv7": "armv7l", "powerpc64": "ppc64"}
_MACOS = {"aarch64": ("arm64", "universal2"), "x86_64": ("x86_64", "universal2", "intel", "fat64", "universal")}
_WINDOWS = {"aarch64": "win_arm64", "x86_64": "win_amd64", "i686": "win32"}
_OLD_NAMES = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}  # PEP 600, "Legacy manylinux tags"
# PEP 600 and PEP 656 know ARM with hard float only, and no tag is for 32-bit pointers on 64-bit CPUs.
_LIBCS = {
    "gnu": "manylinux", "gnueabihf": "manylinux", "gnueabi": "-",
    "musl": "musllinux", "musleabihf": "musllinux", "musleabi": "-",
}  # fmt: skip


def covers(filename: str, label: str, triple: str) -> bool:
    """Return whether an interpreter can install a wheel, as far as the file name says.

    The versions of the libc and of macOS in a platform tag are not compared: a triple does not have them. A plain
    ``linux_x86_64`` does not say for which libc it is, and is taken for either, as installers do.

    Args:
        filename: name of the wheel, without a folder.
        label: minor version of a CPython: ``3.11``, ``3.14t`` for a free-threaded one.
        triple: target triple of the interpreter.

    Raises:
        WheelError: it is not the name of a wheel.
    """
    tags = tags_of(filename)
    numbers = tuple(int(part) for part in label.rstrip("t").split("."))
    interpreter = "cp" + "".join(map(str, numbers))
    # Tags are listed for the wheel's own platforms only, as far as they are the interpreter's.
    platforms = sorted({tag.platform for tag in tags if _is_platform_of(tag.platform, triple)})
    platforms = platforms or [""]  # For an empty list, packaging up to 26.2 takes those of the running system.
    abi = interpreter + ("t" if label.endswith("t") else "")
    if not tags.isdisjoint(cpython_tags(numbers, [abi], platforms)):
        return True
    return not tags.isdisjoint(compatible_tags(numbers, interpreter, platforms))


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
    """Return whether a wheel is for a triple, under whatever Python; raise `WheelError` if it is no wheel's name."""
    platforms = {tag.platform for tag in tags_of(filename)}
    return any(platform == "any" or _is_platform_of(platform, triple) for platform in platforms)


def oldest_libc(filename: str, triple: str) -> Optional[Tuple[int, int]]:
    """Return the version of the libc that a wheel needs on a triple at least; None where its tags promise no version.

    Raises:
        WheelError: it is not the name of a wheel.
    """
    versions = []
    for platform in {tag.platform for tag in tags_of(filename)}:
        match = re.fullmatch(r"(?:many|musl)linux(?:(1|2010|2014)|_([0-9]+)_([0-9]+))_.*", platform)
        if match and _is_platform_of(platform, triple):
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
    architecture = split_level(triple)[0].partition("-")[0]
    return _LINUX.get(architecture, architecture)


def _is_platform_of(platform: str, triple: str) -> bool:
    baseline = split_level(triple)[0]
    architecture, _, system = baseline.partition("-")
    if system == "pc-windows-msvc":
        return platform == _WINDOWS.get(architecture)
    if system == "apple-darwin":
        return platform.startswith("macosx_") and platform.endswith(_suffixes(_MACOS.get(architecture)))
    target = ELF_TARGETS.get(baseline)
    if target is None or target.environment not in _LIBCS:
        return False
    beginning = rf"(linux|{_LIBCS[target.environment]}(1|2010|2014|_[0-9]+_[0-9]+))"
    return re.fullmatch(f"{beginning}_{architecture_tag(triple)}", platform) is not None


def _suffixes(architectures: Optional[Tuple[str, ...]]) -> Tuple[str, ...]:
    return tuple(f"_{name}" for name in architectures or ())
