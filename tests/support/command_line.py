"""Run our command line as people and programs do: in a process, with pipes or on a real terminal."""

from __future__ import annotations

__all__ = ["ROOT", "Done", "bare_machine", "ours", "ours_on_terminal", "variables"]

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for programs."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no interpreter of the machine be found, and no choice of colours, so that answers are the same everywhere."""
    for name, value in (("PATH", tmp_path / "bin"), ("HOME", tmp_path), ("PYENV_ROOT", tmp_path / "pyenv")):
        monkeypatch.setenv(name, str(value))
    for name in ("XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)


def variables(env: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the variables of a process of ours, with some more."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})}


def _command(arguments: Any) -> List[str]:
    return [sys.executable, "-m", "provision_backend", *arguments]


def ours(*arguments: str, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None) -> Done:
    """Run our command line with pipes.

    Args:
        arguments: those after the program's name.
        env: variables beside those of this process.
        cwd: the current folder of the command.
    """
    done = subprocess.run(
        _command(arguments), stdin=subprocess.DEVNULL, capture_output=True, env=variables(env), cwd=cwd and str(cwd)
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def ours_on_terminal(
    *arguments: str, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None, typed: bytes = b""
) -> Done:
    """Run our command line on a terminal of its own, which shows standard output and standard error together.

    Args:
        arguments: those after the program's name.
        env: variables beside those of this process.
        cwd: the current folder of the command.
        typed: what a person types at once.
    """
    process, terminal = pty.fork()
    if not process:
        with contextlib.suppress(BaseException):
            if cwd is not None:
                os.chdir(str(cwd))
            os.execve(sys.executable, _command(arguments), variables({"TERM": "xterm", **(env or {})}))
        os._exit(99)
    if typed:
        os.write(terminal, typed)
    shown = _read(terminal, time.monotonic() + 120)
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return Done(code, shown.decode().replace("\r\n", "\n"), "")


def _read(terminal: int, end: float) -> bytes:
    shown = b""
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            # Linux says so when the last process that had the terminal has ended.
            return shown
        if not data:
            return shown
        shown += data
    raise TimeoutError(f"still running after what it has shown: {shown!r}")
