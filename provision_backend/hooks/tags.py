"""Compare the tag of a wheel that was built on a provisioned interpreter with those of the running one."""

from __future__ import annotations

import os
from pathlib import Path

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..errors import BackendError
from ..interpreter import Interpreter
from ..output import Reporter
from ..project.plan import running_interpreter

__all__ = ["check_wheel"]


def check_wheel(wheel: Path, interpreter: Interpreter, reporter: Reporter, *, editable: bool) -> None:
    """Announce a wheel that the running interpreter cannot install, and refuse an editable one.

    pip does not look at the tag of a wheel that it has just built. An editable wheel is imported by the interpreter
    that it is installed for, so one that is tied to another ABI could never work.

    Args:
        wheel: the wheel, just built.
        interpreter: what built it.
        reporter: gets the announcement.
        editable: whether it is an editable wheel.

    Raises:
        BackendError: it is editable and cannot be imported here; it has been removed.
    """
    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename:
        return  # The frontend will say what is wrong with it.
    if not tags.isdisjoint(sys_tags()):
        return
    tag = "-".join(wheel.stem.split("-")[-3:])
    here = running_interpreter().version
    if editable:
        os.unlink(str(wheel))
        raise BackendError(
            f"the editable wheel has the tag {tag}: it was built by CPython {interpreter.version}, "
            f"and Python {here} cannot import it",
            hint=f"make the editable install with CPython {interpreter.version}: {interpreter.executable}",
        )
    reporter.info(f"{wheel.name} was built by {interpreter.executable}; Python {here} cannot install it")
