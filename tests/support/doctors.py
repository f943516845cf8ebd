"""Run ``provision-backend doctor`` as a process of its own, also as another user and where mounts are its own.

What it selects is an archive of the smallest kind, which only the catalog and the mirror of `make_mirror` have; so
nothing of the machine's own settings, caches or network is looked at.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

from provision_backend.host.detection import detect_platform
from support.as_user import public_root

__all__ = ["Diagnosis", "archive_name", "environment", "make_mirror", "make_project", "run_doctor"]

_DROPPED = ("PIP_", "UV_", "SSL_", "REQUESTS_", "PROVISION_BACKEND_", "PYTHON", "CC", "TMPDIR", "XDG_")

# Everything is imported before the rights are given up: another user may not be able to read the checkout.
_SCRIPT = """
import json, os, sys, tempfile
from provision_backend.cli.doctor import run
from provision_backend.cli.parser import make_parser
from provision_backend.cli.registry import find_command
from provision_backend.output import Reporter
from provision_backend.settings import load_settings
arguments = make_parser(find_command(["doctor"])[0]).parse_args(sys.argv[2:])
uid = int(sys.argv[1])
if uid:
    import encodings.idna, pwd
    run(arguments, load_settings(), Reporter())
    os.chdir("/")
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    tempfile.tempdir = None
data, lines, code = run(arguments, load_settings(), Reporter())
print(json.dumps({"data": data, "lines": lines}))
sys.exit(code)
"""


@dataclass(frozen=True)
class Diagnosis:
    """What it said."""

    code: int
    data: List[Dict[str, str]]
    lines: List[str]

    def of(self, check: str, *statuses: str) -> List[str]:
        """Return what a check said with one of the statuses: the line and its advice, without indentation."""
        return [
            "\n".join([f"{item['status']}: {item['found']}", *item["advice"].splitlines()])
            for item in self.data
            if item["check"] == check and (not statuses or item["status"] in statuses)
        ]

    @property
    def problems(self) -> List[str]:
        """The names of the checks that found a problem."""
        return list(dict.fromkeys(item["check"] for item in self.data if item["status"] == "problem"))


def archive_name(triple: str = "") -> str:
    """Return the name of an archive, for this machine or another."""
    return f"cpython-3.13.5+{time.strftime('%Y%m%d')}-{triple or detect_platform().triple}-install_only.tar.gz"


def make_mirror(folder: Path, content: bytes = b"an archive") -> Path:
    """Make a flat mirror of one archive and its ``SHA256SUMS``, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    data = gzip.compress(content, mtime=0)
    (folder / archive_name()).write_bytes(data)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(data).hexdigest()}  {archive_name()}\n", encoding="ascii")
    return folder


def make_project(folder: Path, *, requires_python: str = ">=3.8", table: str = "", build_system: str = "") -> Path:
    """Write a project that builds through us, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f"""
[build-system]
requires = ["provision-backend"]
build-backend = "provision_backend"
{build_system}

[project]
name = "x"
version = "1"
requires-python = "{requires_python}"

[tool.provision-backend]
build-backend = "flit_core.buildapi"
requires = ["flit_core>=3.11"]
{table}
""",
        encoding="utf-8",
    )
    return folder


def environment(home: Path, mirror: Path, **more: str) -> Dict[str, str]:
    """Return the variables of a user with this home, who builds with this mirror and an interpreter of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_DROPPED)}
    kept = {name: value for name, value in kept.items() if not name.upper().endswith("_PROXY")}
    return {
        **kept,
        "HOME": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(public_root()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PROVISION_BACKEND_CACHE_DIR": str(home / "cache"),
        "PROVISION_BACKEND_CATALOG": str(mirror),
        "PROVISION_BACKEND_MIRROR": str(mirror),
        "PROVISION_BACKEND_PREFERENCE": "only-managed",
        **more,
    }


def run_doctor(
    project: Path,
    env: Mapping[str, str],
    *options: str,
    uid: int = 0,
    under: Sequence[str] = (),
    python: str = sys.executable,
) -> Diagnosis:
    """Run it on a project.

    Args:
        project: its folder.
        env: all variables, as `environment` has them; an empty value takes a variable away.
        options: further arguments.
        uid: the user that runs it; 0 for this one.
        under: a command that runs the process, such as ``unshare -m``.
        python: the interpreter that runs it.
    """
    done = subprocess.run(
        [*under, python, "-c", _SCRIPT, str(uid), str(project), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={name: value for name, value in env.items() if value},
        cwd=str(project),
    )
    assert done.stderr == "", done.stderr
    said = json.loads(done.stdout)
    return Diagnosis(done.returncode, said["data"], said["lines"])
