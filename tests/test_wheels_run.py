"""Builds and tests of wheels in worker processes: which of them count, what is kept, and how a run ends."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest
from support.command_line import variables
from support.host_interpreters import usable_hosts
from support.wheel_projects import toy_sdist

Wheels = Dict[str, str]
"""The sha256 of each wheel, by its name."""


@pytest.fixture
def pythons() -> List[str]:
    """Return three minor versions of installed interpreters, lowest first."""
    minors = list(dict.fromkeys(".".join(host.version.split(".")[:2]) for host in usable_hosts()))
    if len(minors) < 3:
        pytest.skip("three minor versions of CPython are needed")
    return minors[-3:]


class Toy:
    """The toy project in a folder, and runs of ``wheels`` for it on the interpreters of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "dist"
        self.sdist = toy_sdist(folder)

    def command(self, pythons: Sequence[str], *arguments: str) -> List[str]:
        """Return the command line."""
        chosen = [word for python in pythons for word in ("--python", python)]
        command = [sys.executable, "-m", "provision_backend", "wheels", str(self.sdist), *chosen, "--json"]
        return [*command, "--preference", "only-system", "--out", str(self.out), *arguments]

    def run(self, pythons: Sequence[str], *arguments: str, **toy: str) -> Tuple[int, Any, str]:
        """Run it, with variables of the toy, and return exit code, answer and standard error."""
        environ = variables({**toy, "TMPDIR": str(self.folder)})
        done = subprocess.run(self.command(pythons, *arguments), env=environ, capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    def wheels(self) -> Wheels:
        """Return what is in the output."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.out.glob("*.whl")}

    def leftovers(self) -> List[str]:
        """Return the names of what nobody should find after a run."""
        names = [path.name for path in self.folder.iterdir() if path.name.startswith("provision-backend-")]
        return names + [path.name for path in (self.out / "logs").iterdir() if path.suffix not in (".log", ".json")]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def _tested(answer: Any) -> Dict[str, List[str]]:
    """Return on which Pythons each wheel has passed its test."""
    return {
        build["wheel"]: sorted(test["python"] for test in build["tests"] if test["passed"])
        for build in answer["builds"]
        if build["wheel"]
    }
