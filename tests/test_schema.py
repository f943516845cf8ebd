"""The schema of our table agrees with what a build accepts, as validate-pyproject and as editors read it."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, cast

import pytest
from fastjsonschema import JsonSchemaValueException, compile
from validate_pyproject.api import Validator
from validate_pyproject.errors import ValidationError
from validate_pyproject.plugins import PluginWrapper

from provision_backend.errors import ProjectError
from provision_backend.project import pyproject as project_module
from provision_backend.project import tool_schema
from provision_backend.project.pyproject import read_project
from provision_backend.settings import OPTIONS
from provision_backend.wheels.options import SETTINGS, WheelOptions, read_options, read_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ROOT / "tests" / "data" / "projects"

# What cannot be seen from the table alone: other tables, the file itself, and the folders of the project.
UNSEEN = {
    "backend-path-missing", "build-system-is-an-integer", "build-system-requires-is-a-string", "byte-order-mark",
    "dynamic-is-a-string", "no-pyproject", "no-table", "no-table-of-that-name", "not-toml", "not-utf-8",
    "project-is-a-boolean", "project-requires-python-is-a-float", "project-requires-python-malformed",
    "pyproject-is-a-folder", "requires-python-dynamic", "requires-python-twice", "tool-is-a-string",
}  # fmt: skip
SEEN = sorted(folder.name for folder in PROJECTS.iterdir() if folder.name not in UNSEEN)


@pytest.fixture(scope="module")
def validator() -> Validator:
    """Return what validate-pyproject makes of our schema."""
    return Validator(plugins=[PluginWrapper("provision-backend", cast(Any, tool_schema))])


def _table(text: str) -> Dict[str, Any]:
    table: Dict[str, Any] = tomllib.loads(text)["tool"]
    return {"tool": {"provision-backend": table["provision-backend"]}}


def test_every_unseen_case_is_there() -> None:
    """A folder that is gone leaves the list."""
    assert {folder.name for folder in PROJECTS.iterdir()} >= UNSEEN


@pytest.mark.parametrize("name", SEEN)
def test_a_broken_table_is_refused(validator: Validator, name: str) -> None:
    """Whatever a build refuses in the table alone, the schema refuses too, and names the table."""
    with pytest.raises(ValidationError, match=r"^`tool\.provision-backend"):
        validator(_table((PROJECTS / name / "pyproject.toml").read_text(encoding="utf-8")))


# What an editor does not know are the formats of validate-pyproject.
@pytest.mark.parametrize("name", sorted(set(SEEN) - {"requires-holds-no-requirement"}))
def test_an_editor_refuses_a_broken_table(name: str) -> None:
    """The same without any format that is validate-pyproject's own."""
    table = _table((PROJECTS / name / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["provision-backend"]
    formats = {key: lambda _text: True for key in re.findall(r'"format": "([^"]+)"', json.dumps(tool_schema()))}
    with pytest.raises(JsonSchemaValueException):
        compile(tool_schema(), formats=formats)(table)


VALUES = {
    "build-backend": ["a", "a.b", "a:b", "a.b:c.d", "_a1:B_2", "setuptools.build_meta:__legacy__", "é.ü",
                      "provision_backend_x", "", " a", "a ", "a.", ".a", "a:", ":a", "a:b:c", "a/b", "1a", "a..b",
                      "a-b", "a\n", "provision_backend", "provision_backend:x", "provision_backend.hooks", 1, [], {}],
    "requires": [[], ["a"], ["a[b]>=1; os_name == 'nt'"], ["a @ https://example.org/a.whl"], [""], [" "], ["a b"], [1],
                 [[]], "a", {}, ["a", "b c"]],
    "backend-path": [[], ["."], [".", "inside"], ["inside/../inside"], [".."], ["../x"], ["/"], [1], ".", True],
    "requires-python": ["", " ", ">=3.12", " >= 3.12 , <4 ", "~=3.12", "==3.12.*", "!=3.12.1", "===3.12", ">=3.12,",
                        "3.12", "^3.12", ">=", ">=3.12 <4", "3.12 or later", ">=3.12; os_name", 3.12, []],
    "python": ["3", "3.13", "3.13.2", "3.13t", "3.14.0rc2", "3.14rc2", "cpython3.13", "cpython-3.13", "python3.13",
               "cpython@3.13t", " 3.13 ", ">=3.12,<3.14", ">=3.13t", "~=3.12", "!=3.13.1", "", "313", "3.13.1.2",
               "3.13tt", "x", "/usr/bin/python3", "pypy3.10", "===3.13", "3.13 t", "=3.13", 3.13, 3, []],
    "installer": ["pip", "uv", "conda", "PIP", 1, ["pip"]],
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(VALUES))
def test_a_value_passes_where_a_build_accepts_it(validator: Validator, tmp_path: Path, key: str) -> None:
    """The schema says of each value what `read_project` says."""
    (tmp_path / "inside").mkdir()
    disagreements = []
    for value in VALUES[key]:
        table = {"build-backend": "hatchling.build", key: value}
        lines = [f"{name} = {json.dumps(item)}" for name, item in table.items()]
        (tmp_path / "pyproject.toml").write_text(
            "\n".join(["[tool.provision-backend]", *lines]) + "\n", encoding="utf-8"
        )
        accepted = {"build": True, "schema": True}
        try:
            read_project(tmp_path)
        except ProjectError:
            accepted["build"] = False
        try:
            validator({"tool": {"provision-backend": table}})
        except ValidationError:
            accepted["schema"] = False
        if accepted["build"] != accepted["schema"]:
            disagreements.append((value, accepted))

    assert disagreements == []


def test_the_keys_are_those_of_a_project() -> None:
    """A key that is added to one is added to the other, and each is described."""
    properties = tool_schema()["properties"]

    assert tuple(properties) == project_module._KEYS
    assert all(value["description"].endswith(".") for value in properties.values())
    for option in OPTIONS:
        assert option.in_project == (option.key in properties) or option.key == "python"
        if option.in_project and option.choices:
            assert properties[option.key]["enum"] == list(option.choices)


def test_a_project_that_has_not_adopted_us_may_have_wheels_alone(validator: Validator) -> None:
    """The table of the command ``wheels`` needs no real backend beside it, and any other key does."""
    wheels = {"python": [">=3.10", "3.14t"], "libc": ["musl"], "glibc": "2.17", "jobs": 2, "keep-going": True}
    validator({"tool": {"provision-backend": {"wheels": wheels}}})
    refused: List[Dict[str, Any]] = [
        {"wheels": wheels, "installer": "pip"}, {"wheels": {"pythons": []}}, {"wheels": {"libc": ["gnu"]}},
        {"wheels": {"jobs": "2"}}, {"wheels": {"shard": "1/2"}},
    ]  # fmt: skip

    for table in refused:
        with pytest.raises(ValidationError):
            validator({"tool": {"provision-backend": table}})


def test_the_keys_of_wheels_are_those_that_are_read() -> None:
    """One that the command reads is in the schema, and each has a description."""
    properties = tool_schema()["properties"]["wheels"]["properties"]
    for key, schema in properties.items():
        for example in schema.get("examples", schema.get("enum", [True])):
            read_options({}, read_table({"tool": {"provision-backend": {"wheels": {key: example}}}}))

    assert set(WheelOptions._fields) - {"shard", "root"} | set(SETTINGS) == {
        key.replace("-", "_") for key in properties
    }
    assert all(value["description"].endswith(".") for value in properties.values())


@pytest.mark.parametrize("name", ["sample_project/pyproject.toml"])
def test_our_own_projects_pass(validator: Validator, name: str) -> None:
    """The sample is a file that people copy."""
    data = tomllib.loads((ROOT / name).read_text(encoding="utf-8"))

    assert validator(data) == data


def test_the_examples_of_the_schema_pass(validator: Validator) -> None:
    """Editors offer them."""
    for key, schema in tool_schema()["properties"].items():
        for example in schema.get("examples", schema.get("enum")):
            table = {"build-backend": "b", key: example}
            assert validator({"tool": {"provision-backend": table}})["tool"]["provision-backend"] == table


def test_validate_pyproject_finds_the_schema() -> None:
    """The entry point leads to the function; its name is that of the table, and its docstring is shown as help."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    module, _, function = declared["validate_pyproject.tool_schema"]["provision-backend"].partition(":")
    found: Any = getattr(importlib.import_module(module), function)

    assert found("provision-backend")["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert PluginWrapper("provision-backend", found).help_text
    assert found is tool_schema
