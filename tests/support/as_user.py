"""Run our command line as another user: a process that starts as root, imports everything, and gives its rights up.

The interpreter and the checkout of the tests may be where only their owner can read, so everything is imported before.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Mapping, Optional, Sequence

__all__ = ["ROOT", "public_root", "run_as"]

ROOT = Path(__file__).resolve().parent.parent.parent

_SCRIPT = """
import contextlib, encodings.ascii, encodings.idna, grp, io, json, os, pwd, sys, tempfile
from pathlib import Path
from provision_backend.cache.locks import key_lock
from provision_backend.cli import main
from provision_backend.output import Reporter
nowhere = io.StringIO()
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
    # What this imports is all that the same command needs once more.
    with key_lock(Path(folder), "warm", timeout=0, reporter=Reporter()):
        pass
    warm = main([*sys.argv[2:], "--cache-dir", folder, "--shared-caches", ""])
uid, gid, groups, umask = json.loads(sys.argv[1])
os.chdir("/")
os.umask(umask)
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
sys.exit(main(sys.argv[2:]))
"""


@lru_cache(maxsize=None)
def public_root() -> Path:
    """Return the checkout, or a copy of the package if other users may not go to the checkout: it has data files."""
    if all(folder.stat().st_mode & 0o001 for folder in (ROOT, *ROOT.parents)):
        return ROOT
    copy = Path(tempfile.mkdtemp(prefix="provision-backend-"))
    atexit.register(shutil.rmtree, str(copy), ignore_errors=True)
    copy.chmod(0o755)
    shutil.copytree(str(ROOT / "provision_backend"), str(copy / "provision_backend"))
    # Under a umask of 077 git has made its folders and files for their owner alone.
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def run_as(
    uid: int,
    *arguments: str,
    gid: Optional[int] = None,
    groups: Sequence[int] = (),
    umask: int = 0o022,
    env: Optional[Mapping[str, str]] = None,
    under: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``provision-backend`` with *arguments* as user *uid*, and return how it ended.

    Args:
        uid: user.
        arguments: of the command line.
        gid: its group; by default the number of the user.
        groups: further groups.
        umask: of the process.
        env: variables that are added.
        under: a command that runs the process, such as ``unshare -m``.
    """
    import json

    identity = json.dumps([uid, uid if gid is None else gid, list(groups), umask])
    return subprocess.run(
        [*under, sys.executable, "-c", _SCRIPT, identity, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",  # With -c the current folder, which may be the checkout, comes before PYTHONPATH.
        env={**os.environ, "PYTHONPATH": str(public_root()), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
    )
