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

| key | form | meaning | example |
| --- | --- | --- | --- |
"""

_TAIL = """
The same as a [JSON Schema](https://json-schema.org/) is in the package, `provision_backend/project/schema.json`, for
editors and for validate-pyproject: [checking the table](../adopting.md#check-the-table-without-a-build).
"""


def page() -> str:
    """Return the text of the page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    required = " and ".join(f"`{key}`" for key in schema["required"])
    rows = "".join(_row(key, value) for key, value in schema["properties"].items())
    return _HEAD.format(required=required) + rows + _TAIL


def _row(key: str, value: Dict[str, Any]) -> str:
    examples = value.get("examples") or value.get("enum") or []
    written = ", ".join(f"`{json.dumps(example)}`" for example in examples)
    return f"| `{key}` | {_form(value)} | {_escape(value['description'])} | {_escape(written)} |\n"


def _form(value: Dict[str, Any]) -> str:
    if value["type"] == "array":
        return f"list of {value['items']['type']}s"
    kinds = [value["type"]] if isinstance(value["type"], str) else value["type"]
    return "one of these" if "enum" in value else " or ".join(kinds)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
