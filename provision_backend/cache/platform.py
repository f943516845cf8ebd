"""Remember the host's `Platform` in the cache.

Detection reads ELF files with a package that a warm cache should not need. So its result is stored with the identity
(size, modification time, inode) of every file that was its evidence, and is valid while none of them changes.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Optional

from ..files import hash_bytes, read_json
from ..host.platforms import Evidence, Platform, platform_from_triple
from ..settings import Settings
from ..systems import kernel_machine
from .folders import write_note
from .store import Cache

__all__ = ["current_platform", "remember_platform"]


def current_platform(settings: Settings, cache: Cache) -> Platform:
    """Return the platform that interpreters are provisioned for.

    Raises:
        HostError: the host was not identified.
        MissingDependencyError: it is not remembered, and pyelftools is not installed.
        UsageError: the setting ``target`` is not a target triple.
    """
    if settings.target:
        return platform_from_triple(settings.target)
    remembered = _recall(cache)
    if remembered is not None:
        return remembered
    # Imported here, since it is a third of what a build with a warm cache would import.
    from ..host.detection import detect_platform

    platform = detect_platform()
    remember_platform(platform, cache)
    return platform


def _file_name() -> str:
    # The executable that runs us is the first evidence, so what was found depends on it, and on the architecture that
    # runs of a universal one of macOS.
    path = os.path.realpath(sys.executable)
    readable = "".join(each if each.isalnum() else "-" for each in path if each.isascii())[-80:].strip("-")
    return f"{readable}-{hash_bytes(os.fsencode(path + kernel_machine()))[:8]}.json"


def _recall(cache: Cache) -> Optional[Platform]:
    for root in (cache.root, *cache.shared):
        path = root / "platforms" / _file_name()
        if not cache.trust(root).accepts(path):
            continue
        # A damaged record may contain anything.
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            platform = Platform.from_dict(read_json(path))
            if platform.evidence and all(map(_still_holds, platform.evidence)):
                return platform
    return None


def _still_holds(evidence: Evidence) -> bool:
    try:
        status = os.stat(os.fspath(evidence.path))  # A number would be taken for a descriptor.
    except (OSError, ValueError):
        # A missing file is evidence, too: a loader that is installed later changes the result.
        return evidence.identity is None
    return evidence.identity == (status.st_size, status.st_mtime_ns, status.st_ino)


def remember_platform(platform: Platform, cache: Cache) -> None:
    """Store what was detected, where the cache exists; called again after the first interpreter was installed."""
    write_note(cache.root, cache.root / "platforms" / _file_name(), json.dumps(platform.as_dict(), indent=1))
