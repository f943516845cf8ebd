"""What a hook knows of the frontend that called it: its run, its folders, and the builds that it is part of.

In: where we are installed, the prefix, the variables. Out: the folder in which the hook processes of one frontend meet,
and which the frontend deletes; and a guard against a build that starts itself.
"""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, List, Optional

from ..errors import ProjectError
from ..systems import RUNNING

__all__ = [
    "INSTALLED", "OWN_FOLDER", "UnsupportedOperation", "disposable_folder", "frontend_folder", "frontend_name",
    "guard_recursion",
]  # fmt: skip

INSTALLED = Path(os.path.abspath(__file__)).parent.parent.parent
"""The folder in which the frontend has installed our package."""

OWN_FOLDER = "_PROVISION_BACKEND_FOLDER"
"""Variable with the folder for the environment of a build that we call ourselves, as ``wheels`` does."""

_ACTIVE = "_PROVISION_BACKEND_ACTIVE"
"""Variable with the source trees that are being built, a JSON list, outermost first."""

_MAX_DEPTH = 10
"""A build requirement that is built from source may use us too, and so may its own; more than this is a loop."""


class UnsupportedOperation(Exception):  # noqa: N818 - PEP 517 gives the name.
    """The real backend cannot make an sdist of this tree; the message is its own traceback."""


def frontend_name() -> str:
    """Return ``pip`` or ``uv`` where they build; empty for build and tox, which run one of the two as an installer."""
    if "PIP_BUILD_TRACKER" in os.environ:
        return "pip"
    return "uv" if "UV_INTERNAL__BUILD_DIR" in os.environ or "builds-v0" in Path(sys.prefix).parts else ""


def frontend_folder(source: Path) -> str:
    """Return the folder that the frontend was started in, where relative find-links and constraints start for it.

    A hook is called in the source tree, which may be an sdist that has just been unpacked anywhere. Where the folder is
    unknown, the answer is the source tree.
    """
    # Only Linux shows it. The shell that has started the frontend has left this, unless the frontend changed it.
    started = os.environ.get("PWD", "")
    if RUNNING.name == "linux":
        with suppress(OSError):
            started = os.readlink(f"/proc/{os.getppid()}/cwd")
    return started if os.path.isdir(started) else str(source)


def disposable_folder() -> Optional[Path]:
    """Find the folder of the frontend's isolated environment, which the frontend deletes; None without isolation.

    pip installs us below ``pip-build-env-*``, PDM below ``pdm-build-env-*``; build makes ``build-env-*``, pnpm
    ``.tmp******``; uv works in its cache's ``builds-v0``; tox and hatch have a lasting environment, ``.pkg`` or
    ``hatch-build``, in which changed requirements get a folder of another name. Poetry's is a ``.venv`` in a temporary
    folder, which could be anybody's, so its command must be Poetry's, too.
    """
    if os.environ.get(OWN_FOLDER):
        return Path(os.environ[OWN_FOLDER])  # Two builds of one run must not share what they install into.
    # pip and PDM run hooks under the user's own prefix, so only the place of our package shows it.
    for parent in (INSTALLED, *INSTALLED.parents):
        if parent.name.startswith(("pip-build-env-", "pdm-build-env-")):
            return parent / ".provision-backend"
    if sys.prefix == sys.base_prefix:
        return None  # The others make virtual environments.
    prefix = Path(sys.prefix)
    known = prefix.name.startswith("build-env-") or "builds-v0" in prefix.parts
    known = known or re.fullmatch(r"\.tmp\w{6}", prefix.name) is not None
    known = known or prefix.name == os.environ.get("HATCH_ENV_ACTIVE") == "hatch-build"
    known = known or (re.fullmatch(r"tmp\w{8}/\.venv", "/".join(prefix.parts[-2:])) is not None and _is_poetry())
    if known or os.environ.get("TOX_ENV_DIR") == str(prefix) or os.environ.get("TOX_ENV_NAME", "").startswith(".pkg"):
        return prefix / ".provision-backend"
    return None


def _is_poetry() -> bool:
    from ..frontend_watch import frontend_command  # Only what stands in such a folder asks.

    # A Python and its options come first, unless the program is one by itself.
    return any(re.fullmatch(r"(.*[/\\])?poetry(\.exe)?", word) for word in frontend_command()[:4])


@contextmanager
def guard_recursion(source: Path, build_backend: str) -> Iterator[None]:
    """Raise `ProjectError` if the build of a source tree has led back to itself, or builds are nested too deep."""
    # pip's own guard, PIP_BUILD_TRACKER, sees builds of sdists only: without this one, 50 nested processes were counted
    # in 12 seconds.
    before = os.environ.get(_ACTIVE)
    active: List[str] = json.loads(before) if before else []
    # The second build may reach the tree by another path.
    root = os.path.realpath(str(source))
    if root in active:
        raise ProjectError(
            f"the build of {root} has started itself",
            hint=f"its real backend {build_backend!r} must not lead back to provision_backend",
        )
    if len(active) >= _MAX_DEPTH:
        raise ProjectError(f"builds within builds are {_MAX_DEPTH} deep", hint=" -> ".join([*active, root]))
    os.environ[_ACTIVE] = json.dumps([*active, root])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ACTIVE, None)  # A real backend may have removed it.
        else:
            os.environ[_ACTIVE] = before
