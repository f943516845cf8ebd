"""Which wheel of a locked package fits: an interpreter on this host, or any target; and what tools write about wheels.

A build that finds its locked environment chooses none, and never imports this module, which needs packaging.

Source: PEP 751; "Platform compatibility tags"; "Dependency specifiers".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Sequence, cast
from urllib.parse import unquote, urlsplit

import packaging
from packaging.tags import Tag, parse_tag

from ..catalog.wanted import RELOCK, LockedRequirements
from ..errors import BuildEnvironmentError, ProjectError
from ..files import hash_file
from ..host.targets import OTHER_TARGETS, architecture_name, split_level
from ..install.sources import local_path
from ..interpreter import Interpreter
from ..processes import run_interpreter_json
from ..project.pylock import PYLOCK
from ..systems import SYSTEMS
from ..versions import IMPLEMENTATION, minor_of
from .requirements import PACKAGING

if TYPE_CHECKING:
    from ..catalog.archive import Archive

__all__ = ["LockedWheel", "choose_wheels", "report_package", "select_wheels", "target_environment", "wheel_file"]

# Run by the locked interpreter, with the folder of the packaging of this one as its argument. That may be too new (26.4
# needs Python 3.10), and then the copy in its pip answers.
_DESCRIBE = """
import json, sys
sys.path.append(sys.argv[1])
try:
    from packaging.markers import default_environment
    from packaging.tags import sys_tags
except Exception:
    from pip._vendor.packaging.markers import default_environment
    from pip._vendor.packaging.tags import sys_tags
print(json.dumps({"environment": default_environment(), "tags": list(map(str, sys_tags()))}))
"""


class LockedWheel(NamedTuple):
    """One file that a lock lists and this host installs."""

    name: str
    """Of the package, normalised."""
    version: str
    filename: str
    sha256: str
    """Lower-case hex."""


def choose_wheels(interpreter: Interpreter, requirements: LockedRequirements) -> List[LockedWheel]:
    """Choose the wheel of each locked package that applies to an interpreter on this host.

    The errors are those of `select_wheels`.
    """
    folder = str(Path(packaging.__file__).parent.parent)
    answer = run_interpreter_json(Path(interpreter.executable), _DESCRIBE, arguments=[folder])
    return select_wheels(
        requirements, answer["environment"], [tag for text in answer["tags"] for tag in parse_tag(text)]
    )


def select_wheels(requirements: LockedRequirements, environment: Any, tags: Sequence[Tag]) -> List[LockedWheel]:
    """Choose the wheel of each locked package that applies where markers and tags are these, the best tag first.

    Raises:
        BuildEnvironmentError: a package has no wheel, or the packaging of this environment is too old.
        ProjectError: the lock file is not one of PEP 751.
    """
    # It may be older, and only here it matters.
    try:
        from packaging.pylock import PackageWheel, Pylock, PylockSelectError, PylockValidationError

        select = Pylock.select
    except (ImportError, AttributeError):
        raise BuildEnvironmentError(
            f"a locked environment is made with {PACKAGING}, found {getattr(packaging, '__version__', 'none')}",
            hint=f"pip install '{PACKAGING}' where the build runs, or build with isolation",
        ) from None
    chosen: Dict[str, LockedWheel] = {}
    for table in requirements.packages:
        # One by one, so that the message can name the package.
        document = {"lock-version": "1.0", "created-by": "provision-backend", "packages": [table]}
        try:
            found = list(select(Pylock.from_dict(document), environment=environment, tags=tags))
        except PylockSelectError:
            raise _no_wheel(table, f"CPython {environment['python_version']}") from None
        except (PylockValidationError, ValueError) as exc:  # A marker may compare what cannot be compared.
            raise ProjectError(f"{PYLOCK} is not a lock file of PEP 751: {exc}", hint=RELOCK) from None
        for package, wheel in found:
            name = str(package.name)
            if name in chosen or not isinstance(wheel, PackageWheel):
                raise ProjectError(f"{PYLOCK} does not lock one wheel of {name!r} for this host", hint=RELOCK)
            chosen[name] = LockedWheel(name, str(package.version), wheel.filename, wheel.hashes["sha256"])
    return list(chosen.values())


def _no_wheel(table: Mapping[str, Any], interpreter: str) -> BuildEnvironmentError:
    return BuildEnvironmentError(
        f"{PYLOCK} has no wheel of {table['name']} {table.get('version', '')} for {interpreter} on this host",
        hint=f"locked: {', '.join(map(wheel_file, table['wheels']))}\n{RELOCK}",
    )


def target_environment(archive: Archive) -> Dict[str, str]:
    """Return what markers are evaluated with under a CPython on its target, which need not be this host.

    The release of the kernel is unknown and empty. Source: "Dependency specifiers", environment markers.
    """
    triple = split_level(archive.triple)[0]
    architecture, system = OTHER_TARGETS.get(triple, (triple.partition("-")[0], SYSTEMS["linux"]))
    return {
        "implementation_name": IMPLEMENTATION,
        "implementation_version": archive.version,
        "os_name": "nt" if system.name == "windows" else "posix",
        "platform_machine": system.machines.get(architecture) or architecture_name(architecture, "uname"),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Darwin" if system.name == "macos" else system.title,
        "platform_version": "",
        "python_full_version": archive.version,
        "python_version": minor_of(archive.version),
        "sys_platform": system.sys_platform,
        "extra": "",
    }


def wheel_file(wheel: Mapping[str, Any]) -> str:
    """Return the file name of an entry of ``wheels`` in a lock file: its name, or the end of its path or URL (PEP 751).

    Whatever is written there, the answer leads out of no folder.
    """
    path = str(wheel.get("name") or wheel.get("path") or urlsplit(wheel["url"]).path)
    return re.split(r"[/\\]", unquote(path))[-1]


def report_package(item: Mapping[str, Any]) -> Dict[str, Any]:
    """Return an item of pip's report as a table of ``[[packages]]``, whose one wheel is the file that pip chose.

    Its hash may be missing. Source: pip documentation, Installation Report; PEP 751.
    """
    source, metadata = item["download_info"], item["metadata"]
    hashes = source.get("archive_info", {}).get("hashes", {})
    if "sha256" not in hashes and "archive_info" in source and source["url"].startswith("file:"):
        # Before 23.1 pip leaves it out for a file of this machine.
        hashes = {"sha256": hash_file(cast("Path", local_path(source["url"])))}
    return {**{key: metadata[key] for key in ("name", "version")}, "wheels": [{"url": source["url"], "hashes": hashes}]}
