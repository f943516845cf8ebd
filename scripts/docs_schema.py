"""The JSON Schema of ``[tool.provision-backend]`` as a table for people → ``docs/reference/schema.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "provision_backend" / "project" / "schema.json"
PAGE = ROOT / "docs" / "reference" / "schema.md"

__all__ = ["page"]

_HEAD = """# The table in pyproject.toml

<!-- Written by scripts/docs_schema.py from provision_backend/project/schema.json. -->

What a project writes in `[tool.provision-backend]`. {required} is needed, the rest is not; any other key is an error.
Settings of whoever builds stand elsewhere: [settings](settings.md).

{columns}"""

_COLUMNS = """| key | form | meaning | example |
| --- | --- | --- | --- |
"""

_WHEELS = """
## The table wheels

`[tool.provision-backend.wheels]` has the options of [`provision-backend wheels`](command-line.md#wheels), which come
before it. A project that is not built through provision_backend may have it too, and then needs no other key.

"""

_TAIL = """
The same as a [JSON Schema](https://json-schema.org/) is in the package, `provision_backend/project/schema.json`, for
editors and for validate-pyproject: [checking the table](../adopting.md#check-the-table-without-a-build).
"""


def page() -> str:
    """Return the text of the page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    required = " and ".join(f"`{key}`" for key in schema["anyOf"][0]["required"])
    wheels = schema["properties"]["wheels"]["properties"]
    return (
        _HEAD.format(required=required, columns=_COLUMNS)
        + _rows(schema["properties"])
        + _WHEELS
        + _COLUMNS
        + (_rows(wheels) + _TAIL)
    )


def _rows(properties: Dict[str, Any]) -> str:
    return "".join(_row(key, value) for key, value in properties.items())


def _row(key: str, value: Dict[str, Any]) -> str:
    examples = value.get("examples") or value.get("enum") or []
    written = ", ".join(f"`{json.dumps(example)}`" for example in examples)
    return f"| `{key}` | {_form(value)} | {_escape(value['description'])} | {_escape(written)} |\n"


def _form(value: Dict[str, Any]) -> str:
    if value["type"] == "array":
        return f"list of {value['items']['type']}s"
    if "array" in value["type"] and "items" in value:
        return f"{value['items']['type']}, or list of {value['items']['type']}s"
    kinds = [value["type"]] if isinstance(value["type"], str) else value["type"]
    return "one of these" if "enum" in value else " or ".join(kinds)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
