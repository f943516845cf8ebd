"""What uv's configuration says about build environments, for the inner uv: files of uv in, a ``uv.toml`` out.

Under ``uv build``, ``uv sync`` and the like, uv applies some keys to the build environments that it makes and others
only to what a project runs with. ``uv pip install``, which fills ours, does it the other way round. So where a key
makes a difference, the inner uv gets a configuration of its own in place of the files that it would find: what they
say together, without the keys that are about other environments.

Source: uv documentation, Concepts: "Configuration files"; Reference: "Settings". Which keys count was tried with 0.13.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence

from ..systems import RUNNING
from ..versions import normalised_name
from .frontend import frontend_folder, frontend_name
from .frontend_options import frontend_options, uv_command
from .installer_files import read_table, toml_value, workspace

__all__ = [
    "build_constraints", "build_options", "extra_requirements", "inner_settings", "is_true",
    "read_uv_settings", "requires_hashes",
]  # fmt: skip

_OTHER_ENVIRONMENTS = (
    "constraint-dependencies", "override-dependencies", "exclude-dependencies", "prerelease-package", "pip",
)  # fmt: skip
"""Keys that ``uv pip install`` obeys, and uv's own build environments do not."""

# Neither needs the key: uv.toml may not have the first ones, and the last ones are handed on in another way.
_NOT_IN_UV_TOML = (
    "build-backend", "conflicts", "default-groups", "dependency-groups", "dev-dependencies", "environments", "managed",
    "package", "required-environments", "sources", "workspace",
    "build-constraint-dependencies", "extra-build-dependencies",
)  # fmt: skip

_PLACES = ("find-links", "index-url", "extra-index-url")
_OF_PIP = (
    *_PLACES, "exclude-newer", "exclude-newer-package", "index-strategy", "keyring-provider", "link-mode", "no-binary",
    "no-index", "only-binary",
)  # fmt: skip
"""Keys of the table ``pip`` that hold for the build environments of ``uv pip``."""


def read_uv_settings(environ: Mapping[str, str], folder: str, options: Sequence[str]) -> Dict[str, Any]:
    """Return what uv's configuration files say together to a uv that runs in a folder, with absolute paths.

    The *options* are those of its command line, each with its value in one word.
    """
    given = {**_by_name(environ), **{name: value for name, _, value in (word.partition("=") for word in options)}}
    merged: Dict[str, Any] = {}
    if given.get("--config-file"):
        _merge(merged, _read(Path(folder, given["--config-file"])))
    elif "--no-config" not in given:
        for table in _discovered(environ, Path(folder, given.get("--project") or ".")):
            _merge(merged, table)
    return merged


def inner_settings(settings: Mapping[str, Any], command: str) -> str:
    """Return the text of a ``uv.toml`` for the inner uv; empty where the files that it finds itself do no harm.

    The *command* is that of the uv that builds.
    """
    # `uv tool` reads no file of a project, and the inner uv would find one in the folder that it runs in.
    if command != "tool" and not any(key in settings for key in _OTHER_ENVIRONMENTS):
        return ""
    kept = {key: settings[key] for key in settings if key not in (*_OTHER_ENVIRONMENTS, *_NOT_IN_UV_TOML)}
    if command == "pip":
        kept["pip"] = {key: value for key, value in settings.get("pip", {}).items() if key in _OF_PIP}
    return "".join(f"{toml_value(key)} = {toml_value(value)}\n" for key, value in kept.items()) or "# nothing\n"


def build_constraints(settings: Mapping[str, Any]) -> str:
    """Return the text of a file of constraints with ``build-constraint-dependencies``; empty where there are none."""
    lines = []
    for entry in settings.get("build-constraint-dependencies", []):
        table = entry if isinstance(entry, dict) else {"requirement": entry}
        hashes = "".join(f" --hash={digest}" for digest in table.get("hashes", []))
        lines.append(f"{table.get('requirement', '')}{hashes}\n")
    return "".join(lines)


def build_options(environ: Mapping[str, str]) -> List[str]:
    """Return the options for variables that count in uv's own build environments, and not for ``uv pip install``."""
    found = []
    for name, option in (("UV_NO_BINARY", "--no-binary"), ("UV_NO_BUILD", "--only-binary")):
        names = [":all:"] if is_true(environ, name) else environ.get(f"{name}_PACKAGE", "").split()
        found += [f"{option}={each}" for each in names]
    return found


def requires_hashes(
    environ: Mapping[str, str], options: Sequence[str], settings: Mapping[str, Any], command: str
) -> bool:
    """Return whether uv installs into its build environments only what it was given a hash for.

    The *options* are those of the command line of the uv that builds, the *command* is what it does, and the *settings*
    are those of its files.
    """
    # Without "build-", the option and the variable are about what `uv pip install` and others install themselves.
    own = command == "build" and ("--require-hashes" in options or is_true(environ, "UV_REQUIRE_HASHES"))
    if own or "--require-build-hashes" in options or "--no-require-build-hashes" in options:
        return own or "--require-build-hashes" in options
    return is_true(environ, "UV_REQUIRE_BUILD_HASHES") or bool(settings.get("require-build-hashes"))


def extra_requirements(name: str, source: Path) -> List[str]:
    """Return what ``extra-build-dependencies`` adds for a project of this name; none where the frontend is not uv."""
    if frontend_name() != "uv" or not name:
        return []
    settings = read_uv_settings(os.environ, frontend_folder(source), frontend_options("uv")[0])
    tables = settings.get("extra-build-dependencies", {})
    named = [entries for key, entries in tables.items() if normalised_name(key) == normalised_name(name)]
    # An entry with match-runtime has no environment to match in a build, and counts as it is written.
    return [entry["requirement"] if isinstance(entry, dict) else entry for entries in named for entry in entries]


def _by_name(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return the options that variables of uv stand for."""
    named = {"--config-file": environ.get("UV_CONFIG_FILE", ""), "--project": environ.get("UV_PROJECT", "")}
    return {**named, **({"--no-config": ""} if is_true(environ, "UV_NO_CONFIG") else {})}


def is_true(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether a variable of uv that stands for an option is set to a value that says yes."""
    return environ.get(name, "").lower() not in ("", "0", "false", "f", "no", "n", "off")


def _discovered(environ: Mapping[str, str], project: Path) -> Iterator[Dict[str, Any]]:
    """Yield what configuration files say that uv finds by itself, the first one foremost."""
    if uv_command() != "tool":
        yield _of_project(project)
    yield _read(Path(RUNNING.user_folder(environ), "uv", "uv.toml"))
    if not is_true(environ, "UV_NO_SYSTEM_CONFIG"):
        machine = (_read(Path(base, "uv", "uv.toml")) for base in RUNNING.machine_folders(environ))
        yield next(filter(None, machine), {})


def _of_project(project: Path) -> Dict[str, Any]:
    start = Path(os.path.abspath(str(project)))
    root = next((each for each in (start, *start.parents) if (each / "pyproject.toml").is_file()), start)
    outer, *_ = members = workspace(root)
    start = outer if root in members else start
    return next(filter(None, map(_of_folder, (start, *start.parents))), {})


def _of_folder(folder: Path) -> Dict[str, Any]:
    # A uv.toml takes the place of the table in the file beside it.
    path = folder / "uv.toml"
    return _read(path) if path.is_file() else _read(folder / "pyproject.toml", "tool", "uv")


def _read(path: Path, *keys: str) -> Dict[str, Any]:
    """Return what `read_table` does, with absolute paths; empty, too, where a value is not what uv wants."""
    try:
        return {key: _absolute(key, value, path.parent) for key, value in read_table(path, *keys).items()}
    except (KeyError, TypeError, AttributeError):
        return {}


def _absolute(key: str, value: Any, folder: Path) -> Any:
    """Return the value of a key with absolute paths, since the file that the inner uv reads stands elsewhere."""
    if key == "index":
        return [{**entry, "url": _absolute("index-url", entry["url"], folder)} for entry in value]
    if key == "pip":
        return {name: _absolute(name, item, folder) for name, item in value.items()}
    if key in _PLACES and isinstance(value, list):
        return [_absolute(key, item, folder) for item in value]
    if key in _PLACES and "://" not in value and not value.startswith("$"):
        return os.path.join(os.path.abspath(str(folder)), value)
    return value


def _merge(merged: Dict[str, Any], table: Mapping[str, Any]) -> None:
    """Add what a further file says: lists go on, tables are filled up, and of other values the first one stands."""
    for key, value in table.items():
        known = merged.setdefault(key, value)
        if known is not value and isinstance(known, dict):
            merged[key] = {**value, **known}
        elif known is not value and isinstance(known, list):
            merged[key] = [*known, *value]
