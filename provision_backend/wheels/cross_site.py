"""What an interpreter answers in a build for another machine: copied into a folder as its ``sitecustomize.py``.

The standard library has variables for that (`provision_backend.wheels.cross`), which most of a build goes by. This is
for what asks in other ways: where the headers are, and what the machine is. A file beside it has the answers, and the
version of the interpreter that is meant; any other Python that finds the folder on its path stays as it is.
"""

import json
import os
import sys
import sysconfig
from typing import Any, Dict, List

__all__: List[str] = []


def _answer(facts: Dict[str, Any]) -> None:
    get_path, get_paths, uname = sysconfig.get_path, sysconfig.get_paths, os.uname
    headers = dict.fromkeys(("include", "platinclude"), facts["include"])

    def _path(name: str, *arguments: Any, **options: Any) -> str:
        found = headers.get(name) or get_path(name, *arguments, **options)
        return str(found)

    def _paths(*arguments: Any, **options: Any) -> Dict[str, str]:
        found = get_paths(*arguments, **options)
        return {**found, **{name: path for name, path in headers.items() if name in found}}

    def _uname() -> os.uname_result:
        return os.uname_result([*uname()[:4], facts["machine"]])

    # platform.machine() and platform.uname() take it from there.
    os.uname = _uname
    sysconfig.get_path, sysconfig.get_paths = _path, _paths


if __name__ == "sitecustomize":
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "target.json"), encoding="utf-8") as _file:
        _facts = json.load(_file)
    if list(sys.version_info[:2]) == _facts["version"]:
        _answer(_facts)
