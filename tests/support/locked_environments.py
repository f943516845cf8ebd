"""A program that has a cache provide a locked environment: a real virtual environment with fifty modules, compiled.

In: the cache's folder, and a file that gets a line for each time that an environment is filled. Out, on standard
output: the environment's folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, List, Mapping

from provision_backend.cache.entries import read_environment
from provision_backend.cache.manifest import verify_entry
from provision_backend.cache.store import Cache
from provision_backend.output import Reporter
from provision_backend.processes import run_quiet

__all__ = ["KEY", "check_environments", "command", "fill", "install", "main"]

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = "ab" * 32
MODULES = 50


def command(cache: Path, filled: Path, **env: str) -> List[Any]:
    """Return the command line of this program, and its environment."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **env}
    return [[sys.executable, "-m", "support.locked_environments", str(cache), str(filled)], environ]


def fill(tree: Path) -> Mapping[str, Any]:
    """Make an environment as an installer does, in processes that are told to end with this one."""
    _run("-m", "venv", "--without-pip", str(tree))
    packages = next(tree.glob("lib/python*/site-packages"))
    for number in range(MODULES):
        install(packages, number)
    _run("-m", "compileall", "-qq", str(packages))
    return {"interpreter": sys.executable, "files": {"module": ["module-1.0-py3-none-any.whl", "0" * 64]}}


def _run(*arguments: str) -> None:
    done = run_quiet([sys.executable, "-I", "-B", *arguments])
    assert done.returncode == 0, done.stderr


def install(packages: Path, number: int) -> None:
    """Write one module."""
    (packages / f"module{number}.py").write_text(f"NUMBER = {number}\n" * 50, encoding="ascii")


def main(arguments: List[str]) -> int:
    """Provide the environment, and print its folder."""
    cache, filled = map(Path, arguments)

    def _fill(tree: Path) -> Mapping[str, Any]:
        with filled.open("a", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        return fill(tree)

    print(Cache(cache).provide_environment(KEY, _fill, lock_timeout=120, reporter=Reporter(sys.stderr, verbosity=1)))
    return 0


def check_environments(cache: Path) -> List[str]:
    """Return the names of the environments in a cache; each must be complete, and as it was when it was marked."""
    folder = cache / "environments"
    names = sorted(os.listdir(folder)) if folder.exists() else []
    for name in names:
        entry = folder / name
        assert read_environment(entry), name
        assert verify_entry(entry) == [], name
        for pattern in ("lib/python*/site-packages/*.py", "lib/python*/site-packages/__pycache__/*.pyc"):
            assert len(list(entry.glob(pattern))) == MODULES, name
    return names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
