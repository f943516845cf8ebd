"""A frontend that is ended leaves no process behind, and tox's lasting process serves one build after another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List

import pytest
from support.hosts import is_running, make_project, only

from .backends import backend
from .direct import members, reference
from .frontends import _TOX
from .workshop import Workshop

pytestmark = pytest.mark.slow

_SLEEPER = """import os, pathlib, time

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    note = pathlib.Path(os.environ["PROVISION_BACKEND_TEST_NOTE"])
    note.with_suffix(".new").write_text("%d %d" % (os.getpid(), os.getppid()))
    note.with_suffix(".new").rename(note)
    time.sleep(300)
"""


def sleeping_project(folder: Path) -> Path:
    text = """[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"
[project]
name = "sample"
version = "1.0"
requires-python = ">=3.12"
[tool.provision-backend]
build-backend = "sleeper"
requires = []
backend-path = ["tools"]
"""
    return make_project(folder, {"pyproject.toml": text, "tools/sleeper.py": _SLEEPER})


def commands(workshop: Workshop, source: Path, folder: Path) -> Dict[str, List[str]]:
    host = workshop.host(old=True, last=True)
    python, out = str(host.python), str(folder / "out")
    tox = folder / "tox.ini"
    tox.write_text(_TOX.format(package="wheel", python=host.path))
    options = ["-c", str(tox), "--root", str(source), "--workdir", str(folder / "tox"), "--pkg-only", "-e", "main"]
    return {
        "build": [python, "-m", "build", "--wheel", "--outdir", out, str(source)],
        "pip": [python, "-m", "pip", "wheel", "--no-deps", "--ignore-requires-python", "-w", out, str(source)],
        "uv": [workshop.uv, "build", "--wheel", "--python", str(host.path), "--out-dir", out, str(source)],
        "tox": [str(workshop.tools / "bin" / "tox"), "run", *options],
    }


@pytest.mark.parametrize(
    ("frontend", "number"),
    [
        pytest.param(frontend, number, id=f"{frontend}-{number.name}", marks=() if always else pytest.mark.matrix)
        for frontend in ("build", "pip", "uv", "tox")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        for always in [(frontend, number) in (("build", signal.SIGINT), ("uv", signal.SIGTERM))]
    ],
)
def test_a_frontend_that_is_ended_leaves_no_process(
    workshop: Workshop, tmp_path: Path, frontend: str, number: signal.Signals
) -> None:
    """Neither our process nor that of the real backend outlives the frontend, to which alone the signal was sent."""
    workshop.provisioned()
    source = sleeping_project(tmp_path / "source")
    note = tmp_path / "note"
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            commands(workshop, source, tmp_path)[frontend],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=workshop.environ(PROVISION_BACKEND_TEST_NOTE=str(note)),
            # In a session of its own, so that whatever it leaves can be ended together.
            start_new_session=True,
        )
        try:
            wait_until(note.exists, 120)
            left = [int(pid) for pid in note.read_text().split()]
            if frontend == "tox" and number == signal.SIGINT:
                # Alone it waits for the hook to end, without us too. A terminal sends the signal to all.
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            process.wait(60)
            wait_until(lambda: not any(map(is_running, left)), 15)
            assert [pid for pid in left if is_running(pid)] == [], (tmp_path / "output").read_text()
        finally:
            end_session(process)


def wait_until(condition, seconds: float) -> None:  # type: ignore[no-untyped-def]
    """Wait for a condition, or the time to be over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


def end_session(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


_TWO = """[tox]
env_list = first, second, third
[testenv]
base_python = {python}
[testenv:first]
package = wheel
[testenv:second]
package = editable
[testenv:third]
package = sdist
[testenv:.pkg]
base_python = {python}
pass_env = PROVISION_BACKEND_*
"""


@pytest.mark.parametrize(
    "old", [pytest.param(True, id="provisioned"), pytest.param(False, id="pass-through", marks=pytest.mark.matrix)]
)
def test_the_lasting_process_of_tox(workshop: Workshop, tmp_path: Path, old: bool) -> None:
    """One process makes a wheel, an editable wheel and an sdist; the next run sees what has changed."""
    host = workshop.host(old=old, last=True)
    python = workshop.provisioned() if old else host.path
    project = backend("hatchling")
    source = workshop.source(project, tmp_path / "source")
    file, work = tmp_path / "tox.ini", tmp_path / "tox"
    file.write_text(_TWO.format(python=host.path))
    command = [str(workshop.tools / "bin" / "tox"), "run", "-c", str(file), "--root", str(source)]
    command += ["--workdir", str(work), "--pkg-only"]

    first = workshop.check(command)
    made = only(work / ".pkg" / "dist", "*.tar.gz")
    # tox does not hand SOURCE_DATE_EPOCH on, so the time of each file is another one.
    assert members(made) == members(reference(workshop, project, python, "sdist").first)
    started = {line for line in first.splitlines() if "_backend.py" in line and "_optional_hooks" in line}
    assert len(started) == 1, json.dumps(sorted(started))

    (source / "sample" / "new.py").write_text("")
    pyproject = source / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "1.0"', 'version = "2.0"'))
    workshop.check(command)
    names = sorted(path.name for path in (work / ".pkg" / "dist").glob("*2.0*"))
    assert [name.split("-")[1][:3] for name in names] == ["2.0"] * len(names)
    assert any(name.endswith(".tar.gz") for name in names)
