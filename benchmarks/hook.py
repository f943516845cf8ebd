"""Call one hook of a project's backend, its imports written down: ``python hook.py SOURCE OUT HOOK RUNNER [LOG]``.

In: a source tree, and the interpreter of an environment with its backend. Out: with LOG, what ``-X importtime`` says
of the hook's own process, and of no child of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Mapping, Optional, Sequence

import pyproject_hooks

__all__ = ["main"]

_BACKEND = 'build-backend = "'


def main() -> int:
    """Call the hook."""
    source, out, hook, python, log = sys.argv[1:]

    def runner(
        cmd: Sequence[str], cwd: Optional[str] = None, extra_environ: Optional[Mapping[str, str]] = None
    ) -> None:
        environ = {**os.environ, **(extra_environ or {})}
        with open(log, "w", encoding="utf-8") as errors:
            command = [cmd[0], "-X", "importtime", *cmd[1:]]
            subprocess.run(command, cwd=cwd, env=environ, stdout=subprocess.DEVNULL, stderr=errors, check=True)

    with open(os.path.join(source, "pyproject.toml"), encoding="utf-8") as file:
        # The first is that of [build-system].
        backend = file.read().partition(_BACKEND)[2].partition('"')[0]
    caller = pyproject_hooks.BuildBackendHookCaller(source, backend, runner=runner, python_executable=python)
    arguments: Sequence[Any] = () if hook.startswith("get_requires") else (out,)
    getattr(caller, hook)(*arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
