"""The backend that pip finds in place of a project's own while it downloads the sdist of the project.

pip does not download a file without asking the project's backend for the metadata, which may be a whole compilation,
with a compiler and everything that the build requires. An sdist has its metadata in a file, so this answers with that.
This text is copied to where Python imports it when it starts, ``sitecustomize.py``: in the process in which pip calls
hooks, the module of the backend has been imported already, and it is this. It imports nothing of ours.

Source: PEP 517 (the hooks), PEP 643 (metadata in an sdist); the documentation of ``site``; the variables of
pyproject-hooks, which pip brings along.
"""

from __future__ import annotations

import os
import re
import sys
import types
from typing import Any, List, Optional

__all__: List[str] = []


def _answer_for(name: str) -> None:
    """Put this module where the backend, ``module`` or ``module:object``, is looked for."""
    module, _, path = name.partition(":")
    stand_in: Any = types.ModuleType(module)
    # A backend of the project's own has to lie in a folder that the project names.
    folders = os.environ.get("_PYPROJECT_HOOKS_BACKEND_PATH") or os.environ.get("PEP517_BACKEND_PATH") or ""
    stand_in.__file__ = os.path.join(folders.split(os.pathsep)[0], "stand_in.py")
    stand_in.get_requires_for_build_wheel = _get_requires
    stand_in.prepare_metadata_for_build_wheel = _prepare_metadata
    sys.modules[module] = stand_in
    holder = stand_in
    for part in filter(None, path.split(".")):
        inner = types.SimpleNamespace(
            get_requires_for_build_wheel=_get_requires, prepare_metadata_for_build_wheel=_prepare_metadata
        )
        setattr(holder, part, inner)
        holder = inner


def _get_requires(_config_settings: Optional[Any] = None) -> List[str]:
    return []


def _prepare_metadata(metadata_directory: str, _config_settings: Optional[Any] = None) -> str:
    with open("PKG-INFO", encoding="utf-8", errors="replace") as file:
        text = file.read()
    # Packages that it needs are none of pip's business here, and old metadata may name them in any form.
    head, empty, body = text.partition("\n\n")
    dropped = re.compile("(requires-dist|requires-python|provides-extra):", re.IGNORECASE)
    lines = [line for line in head.splitlines() if not dropped.match(line)]
    name, version = ([*re.findall(rf"(?im)^{key}:[ \t]*(\S+)", head), "0"][0] for key in ("name", "version"))
    folder = f"{re.sub('[-_.]+', '_', name)}-{version}.dist-info"
    os.mkdir(os.path.join(metadata_directory, folder))
    with open(os.path.join(metadata_directory, folder, "METADATA"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + empty + body)
    return folder


_BACKEND = os.environ.get("_PYPROJECT_HOOKS_BUILD_BACKEND") or os.environ.get("PEP517_BUILD_BACKEND")
if _BACKEND:
    _answer_for(_BACKEND)
