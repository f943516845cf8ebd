"""Every target of `fuzz.py`, for a second, in a process of its own with bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import TARGETS

ROOT = Path(__file__).resolve().parent.parent
SECONDS = os.environ.get("PROVISION_BACKEND_TEST_FUZZ_SECONDS", "1")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="interval timers bound an input, and Windows has none")
@pytest.mark.parametrize("name", TARGETS)
def test_only_our_errors_leave(name: str) -> None:
    """Whatever is mutated, it is taken or refused by a `ProvisionError`, in time and in bounded memory."""
    command = [sys.executable, str(ROOT / "tests" / "fuzz.py"), name, "--seconds", SECONDS, "--seed", "1"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    assert " seed 1: " in done.stdout


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_taken_or_refused(name: str) -> None:
    """Each input that the mutations start with reaches what reads it, and at least one is taken."""
    target = TARGETS[name]

    taken = [target.check(data) for data in target.seeds()]

    assert any(taken)
