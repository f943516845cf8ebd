"""The command ``lock``, run in this process, and projects for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from provision_backend.cli.lock import run
from provision_backend.cli.parser import make_parser
from provision_backend.cli.registry import find_command
from provision_backend.output import Reporter
from provision_backend.settings import Settings

__all__ = ["Answer", "line", "lock", "lock_all", "project"]


class Answer(NamedTuple):
    """What the command said."""

    data: Dict[str, Any]
    lines: List[str]
    code: int
    told: str
    """On standard error."""


def lock(root: Path, *arguments: str, **settings: Any) -> Answer:
    """Lock the interpreter of a project.

    Args:
        root: its folder.
        arguments: of the command line, without the folder.
        settings: fields of `Settings`.
    """
    return lock_all(root, "--only-interpreter", *arguments, **settings)


def lock_all(root: Path, *arguments: str, **settings: Any) -> Answer:
    """Lock a project, with its requirements where the arguments do not say otherwise."""
    parser = make_parser(find_command(["lock"])[0])
    stream = io.StringIO()
    answer = run(parser.parse_args([*arguments, str(root)]), Settings(**settings), Reporter(stream))
    return Answer(answer.data, list(answer.lines), answer.code, stream.getvalue())


def line(version: str, tag: str = "20260101", triple: str = "x86_64-unknown-linux-gnu", digit: str = "a") -> str:
    """Return a line of ``SHA256SUMS`` of an archive that does not exist."""
    return f"{digit * 64}  cpython-{version}+{tag}-{triple}-install_only_stripped.tar.gz"


def project(folder: Path, more: str = "", *, requires_python: str = ">=3.12", table: str = "") -> Path:
    """Write a project that names us.

    Args:
        folder: made where it does not exist.
        more: text behind our table.
        requires_python: of ``[project]``.
        table: more lines of our table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n\n'
        f'[project]\nname = "toy"\nversion = "1.0"\nrequires-python = "{requires_python}"\n\n'
        f'[tool.provision-backend]\nbuild-backend = "flit_core.buildapi"\nrequires = ["flit_core"]\n{table}{more}',
        encoding="utf-8",
    )
    return folder
