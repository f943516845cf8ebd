"""Where the hook processes of one frontend meet: in a folder that the frontend deletes, or that this process does.

In: where we are installed, the prefix, the variables. Out: folders.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import List, Optional

from ..errors import BuildEnvironmentError
from ..kept import installed_folder

__all__ = ["claim", "disposable_folder", "frontend_folder", "frontend_run", "places"]


def frontend_run() -> str:
    """Tell one run of a frontend from the next: all its hook processes have the same parent."""
    return str(os.getppid())


def frontend_folder(source: Path) -> str:
    """Return the folder that the frontend was started in, where relative find-links and constraints start for it.

    Args:
        source: the source tree, for where that cannot be told.

    A hook is called in the source tree, which may be an sdist that has just been unpacked anywhere.
    """
    try:
        started = os.readlink(f"/proc/{os.getppid()}/cwd")
    except OSError:
        started = os.environ.get("PWD", "")
    return started if os.path.isdir(started) else str(source)


def disposable_folder() -> Optional[Path]:
    """Find the folder of the frontend's isolated environment, which the frontend deletes.

    pip installs us below ``pip-build-env-*``; build makes ``build-env-*``; uv works in its cache's ``builds-v0``; tox
    has a lasting ``.pkg`` environment, for which the key takes care of changed requirements.
    """
    for parent in Path(installed_folder()).parents:
        if parent.name.startswith("pip-build-env-"):
            return parent / ".provision-backend"
    if sys.prefix == sys.base_prefix:
        return None
    prefix = Path(sys.prefix)
    known = prefix.name.startswith("build-env-") or "builds-v0" in prefix.parts
    if known or os.environ.get("TOX_ENV_DIR") == str(prefix) or os.environ.get("TOX_ENV_NAME", "").startswith(".pkg"):
        return prefix / ".provision-backend"
    return None


def places(shared: Optional[Path], key: str) -> List[Path]:
    """Return the folders to try. One that another process has claimed and not completed is passed over.

    This needs no lock: who makes the folder owns it, and its state file says that it is complete.
    """
    folder = shared or _private_folder()
    return [folder / (key + suffix) for suffix in ("", "-1", "-2", "-3", "-4", "-5", "-6", "-7")]


@functools.lru_cache(maxsize=None)  # A frontend may call many hooks in one process.
def _private_folder() -> Path:
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="provision-backend-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def claim(path: Path) -> bool:
    """Make a folder that is this process's own then; say whether it was not there.

    Raises:
        BuildEnvironmentError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        return False
    except OSError as exc:
        raise BuildEnvironmentError(f"could not make the folder {path}: {exc.strerror}") from None
    return True
