"""The project: what it writes for us, what follows from that, and what ``init`` and ``lock`` write into it."""

from __future__ import annotations

from typing import Any, Dict

__all__ = ["tool_schema"]


def tool_schema(_tool_name: str = "provision-backend") -> Dict[str, Any]:
    """Check the table of provision-backend: which backend is wrapped, and which Python it gets."""
    # validate-pyproject finds this function by its entry point validate_pyproject.tool_schema, and shows its docstring
    # as help. Every other use of this package has no use for these modules.
    import json
    import pkgutil

    # It is None only where a loader cannot read files; those of Python can, even from an archive.
    data = pkgutil.get_data(__name__, "schema.json")
    schema: Dict[str, Any] = json.loads(data or b"null")
    return schema
