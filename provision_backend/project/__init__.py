"""A project's ``pyproject.toml``: read and checked for a build, and edited by ``init`` and ``lock``."""

from __future__ import annotations

import json
from typing import Any, Dict

__all__ = ["tool_schema"]


def tool_schema(_tool_name: str = "provision-backend") -> Dict[str, Any]:
    """Check the table of provision-backend: which backend is wrapped, and which Python it gets."""
    # validate-pyproject finds this function by its entry point validate_pyproject.tool_schema, and shows its docstring
    # as help. Nothing else in the package needs the module.
    import pkgutil

    # It is None only for a loader that cannot read files; Python's own can, even from an archive.
    data = pkgutil.get_data(__name__, "schema.json")
    schema: Dict[str, Any] = json.loads(data or b"null")
    return schema
