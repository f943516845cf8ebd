"""Which systems were tried, and how: tests record what they have run, and docs/compatibility.md gets a table of it.

A test wraps what it runs: ``with recorded("aarch64-unknown-linux-gnu", "install", how="qemu"):``. A run with the
variable ``COMPATIBILITY_RESULTS``, as ``scripts/test --architectures`` sets it, keeps that for the page; any other run
keeps nothing. A block that fails is recorded as FAILED, one that is skipped not at all. Each target that the catalog
has archives for is a row, so that what was never tried is in the table too.
"""

from __future__ import annotations

__all__ = ["HOW", "RESULTS", "STEPS", "SYSTEMS", "cells_of", "recorded", "summary", "table"]

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Dict, Iterator, List, Mapping

import pytest

RESULTS = "COMPATIBILITY_RESULTS"
"""Variable with a folder; each cell of the page leaves there what stands in the table."""

SYSTEMS = {
    "x86_64-unknown-linux-gnu": "Linux, x86-64, glibc",
    "x86_64-unknown-linux-musl": "Linux, x86-64, musl",
    "i686-unknown-linux-gnu": "Linux, i686, glibc",
    "aarch64-unknown-linux-gnu": "Linux, aarch64, glibc",
    "aarch64-unknown-linux-musl": "Linux, aarch64, musl",
    "armv7-unknown-linux-gnueabihf": "Linux, armv7 hard float, glibc",
    "armv7-unknown-linux-gnueabi": "Linux, armv7 soft float, glibc",
    "ppc64le-unknown-linux-gnu": "Linux, ppc64le, glibc",
    "riscv64-unknown-linux-gnu": "Linux, riscv64, glibc",
    "s390x-unknown-linux-gnu": "Linux, s390x, glibc",
    "x86_64-pc-windows-msvc": "Windows, x86-64",
    "i686-pc-windows-msvc": "Windows, x86",
    "aarch64-pc-windows-msvc": "Windows, arm64",
    "x86_64-apple-darwin": "macOS, x86-64",
    "aarch64-apple-darwin": "macOS, arm64",
}
"""Every target of the catalog, microarchitecture levels apart, and what it is called in the table."""

STEPS = {
    "detect": "detect",
    "install": "install, first start",
    "pure": "pure build",
    "extension": "C extension",
    "frontend": "frontends",
}
"""The columns. A frontend is recorded by its name: ``frontend-pip wheel``."""

HOW = {
    "run": "on such a CPU and the system's own kernel",
    "qemu": "by qemu-user, on x86-64",
    "wine": "by wine, on Linux",
    "parsed": "files of that system were read and unpacked on Linux, and none of them was started",
    "never": "not tried",
}
"""How a step was tried, as the table has it."""

_NEVER = "never"
_RAN = {"run": "", "qemu": "under qemu ", "wine": "under wine "}


@contextlib.contextmanager
def recorded(triple: str, *steps: str, how: str) -> Iterator[None]:
    """Record for the page that what runs in this block was tried on a system, or that it has failed.

    Args:
        triple: a target, such as ``x86_64-pc-windows-msvc``; microarchitecture levels have no rows.
        steps: of `STEPS`, or ``frontend-NAME``.
        how: of `HOW`.
    """
    assert triple in SYSTEMS, triple
    assert how in set(HOW) - {_NEVER}, how
    assert all(step.partition("-")[0] in STEPS for step in steps), steps
    try:
        yield
    except pytest.skip.Exception:
        raise
    except BaseException:
        _keep(triple, steps, "FAILED")
        raise
    _keep(triple, steps, how)


def _keep(triple: str, steps: tuple[str, ...], result: str) -> None:
    folder = os.environ.get(RESULTS)
    for step in steps if folder else ():
        Path(str(folder), f"system.{triple}.{step}.json").write_text(json.dumps(result), encoding="utf-8")


def table(results: Mapping[str, str]) -> str:
    """Return the table.

    Args:
        results: how each step was tried, by ``system.TRIPLE.STEP``; others are passed over.
    """
    lines = [f"| system | target | {' | '.join(STEPS.values())} |", "| --- " * (len(STEPS) + 2) + "|"]
    for triple, label in SYSTEMS.items():
        cells = [results.get(f"system.{triple}.{step}", _NEVER) for step in STEPS if step != "frontend"]
        lines.append(f"| {label} | `{triple}` | {' | '.join([*cells, _frontends(triple, results)])} |")
    return "\n".join(lines) + "\n"


def _frontends(triple: str, results: Mapping[str, str]) -> str:
    start = f"system.{triple}.frontend-"
    tried: Dict[str, List[str]] = {}
    for name in sorted(results):
        if name.startswith(start):
            tried.setdefault(results[name], []).append(name[len(start) :])
    return "; ".join(f"{how}: {', '.join(names)}" for how, names in sorted(tried.items())) or _NEVER


def cells_of(page: str) -> Dict[str, str]:
    """Read the table of a page back, as the results that it was made of."""
    results: Dict[str, str] = {}
    for triple, row in re.findall(r"^\| [^|]+ \| `([\w-]+)` \| (.*) \|$", page, re.MULTILINE):
        *cells, frontends = row.split(" | ")
        steps = [step for step in STEPS if step != "frontend"]
        results.update({f"system.{triple}.{step}": cell for step, cell in zip(steps, cells) if cell != _NEVER})
        for how, names in re.findall(r"(\w+): ([^;]+)", frontends):
            results.update({f"system.{triple}.frontend-{name}": how for name in names.split(", ")})
    return results


def summary(results: Mapping[str, str]) -> str:
    """Return in one sentence where provisioned builds ran, for pages that say what is supported."""
    tried: Dict[str, List[str]] = {}
    for triple, label in SYSTEMS.items():
        how = results.get(f"system.{triple}.pure", "")
        tried.setdefault(how if how in _RAN else "", []).append(label.replace(", ", " "))
    places = {**_RAN, "": "never "}
    parts = [f"{places[how]}on {_listed(tried[how])}" for how in places if how in tried]
    return f"Provisioned builds ran {'; '.join(parts)}."


def _listed(names: List[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
