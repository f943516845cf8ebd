"""The JSON Schema of ``[tool.provision-backend]``, for programs that check a ``pyproject.toml`` without building it.

``schema.json`` beside this module is for editors; validate-pyproject finds it through our entry point. It refuses what
`project` refuses, as far as that can be seen from the table alone. Source: JSON Schema, draft 7; validate-pyproject,
entry point ``validate_pyproject.tool_schema``, whose command line shows the docstring of the function as its help.
"""

from __future__ import annotations

from typing import Any, Dict

__all__ = ["tool_schema"]


def tool_schema(_tool_name: str = "provision-backend") -> Dict[str, Any]:
    """Check the table of provision-backend: which backend is wrapped, and which Python it gets."""
    import json
    import pkgutil

    # It is None only where a loader cannot read files; those of Python can, from an archive too.
    data = pkgutil.get_data(__package__ or "", "schema.json")
    schema: Dict[str, Any] = json.loads(data or b"null")
    return schema
