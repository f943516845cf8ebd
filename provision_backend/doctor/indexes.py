"""Where packages come from, and what misdirects an installer: variables and configuration files of pip and uv.

Source: pip documentation, Configuration; uv documentation, Environment variables; `provision_backend.hooks.installers`
for what a build environment gets of them.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from ..hooks.installers import DROPPED, pip_files, uv_files
from ..install.sources import redact_url
from ..project.pyproject import load_toml
from .context import Context
from .findings import Finding, ok, problem, warning

__all__ = ["check_indexes"]

_INDEXES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
)
_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "constraint", "target", "prefix", "root", "user")
_OFF = ("", "0", "false", "no", "off", "n", "f")
# The one mark of a run-time setting that people mean for builds.
_BUILD_CONSTRAINTS = {"PIP_CONSTRAINT": "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT": "UV_BUILD_CONSTRAINT"}


def check_indexes(context: Context) -> Iterator[Finding]:
    """Look at what pip and uv are told from outside."""
    environ = context.environ
    files = list(_read_files(environ))
    configured = {key: (value, str(path)) for path, values in files for key, value in values.items()}
    found: List[Finding] = []
    found += [ok(f"{name} = {_redacted(environ[name])}") for name in _INDEXES if environ.get(name)]
    found += [ok(f"{key} = {_redacted(value)} ({place})") for key, (value, place) in configured.items() if key in _KEYS]
    found += _dropped(environ)
    found += _misdirected(configured)
    found += _misdirected_uv(context)
    found += _without_index(environ, configured)
    found += _missing_files(environ)
    yield from found or [ok("neither variables nor configuration files of pip and uv say where packages come from")]


def _redacted(value: str) -> str:
    return " ".join(redact_url(word) for word in value.split())


def _dropped(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in DROPPED:
        if not environ.get(name):
            continue
        instead = _BUILD_CONSTRAINTS.get(name)
        if instead:
            yield warning(
                f"{name} is set, and it is not passed on: it is about what runs, not about build environments",
                f"for build environments set {instead}",
            )
        else:
            yield ok(f"{name} is set, and it is not passed on, since it would misdirect a build environment")
    if environ.get("PIP_REQUIRE_VIRTUALENV"):
        yield ok("PIP_REQUIRE_VIRTUALENV is set and kept: a build environment is one")


def _misdirected(configured: Mapping[str, Tuple[str, str]]) -> Iterator[Finding]:
    for key in ("prefix", "root"):
        if key in configured:
            value, place = configured[key]
            yield problem(
                f"{place} sets {key} = {value}, so pip installs there and not into the build environment",
                f"take {key} out of that file, or name another one with PIP_CONFIG_FILE",
            )


def _misdirected_uv(context: Context) -> Iterator[Finding]:
    """Look into the files of uv, where it is to install: no option takes these back."""
    environ = context.environ
    if context.settings.installer != "uv" and not environ.get("UV"):
        return
    for file in uv_files(environ, str(context.directory)):
        path = Path(file)
        data = _read_toml(path)
        table = data.get("tool", {}).get("uv", {}) if path.name == "pyproject.toml" else data
        for key in ("target", "prefix"):
            if isinstance(table, dict) and key in table.get("pip", {}):
                yield problem(
                    f"{path} sets pip.{key}, so uv installs there and not into the build environment",
                    f"take {key} out of it, or have pip install: PROVISION_BACKEND_INSTALLER=pip",
                )


def _read_toml(path: Path) -> Dict[str, Any]:
    try:
        return load_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # It does not exist, or the program that reads it will report what is wrong with it.


def _without_index(environ: Mapping[str, str], configured: Mapping[str, Tuple[str, str]]) -> Iterator[Finding]:
    value = environ.get("PIP_NO_INDEX") or configured.get("no-index", ("", ""))[0]
    links = environ.get("PIP_FIND_LINKS") or configured.get("find-links", ("", ""))[0]
    if value.lower() not in _OFF and not links:
        place = "PIP_NO_INDEX" if environ.get("PIP_NO_INDEX") else f"no-index in {configured['no-index'][1]}"
        yield problem(
            f"{place} is set without find-links: pip finds no package, so no build environment can be filled",
            "set PIP_FIND_LINKS to a folder with the wheels of the real backend, or unset it",
        )
    for name in ("UV_OFFLINE", "UV_NO_INDEX"):
        if environ.get(name, "").lower() not in _OFF and not environ.get("UV_FIND_LINKS"):
            yield warning(
                f"{name} is set without UV_FIND_LINKS: uv installs only what it has in its cache",
                "set UV_FIND_LINKS to a folder with the wheels of the real backend, or unset it",
            )


def _missing_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("PIP_BUILD_CONSTRAINT", "UV_BUILD_CONSTRAINT", "PIP_CONFIG_FILE", "UV_CONFIG_FILE", "PIP_FIND_LINKS"):
        for word in environ.get(name, "").split():
            if "://" in word:
                continue
            if not os.path.exists(os.path.expanduser(word)):
                where = "" if os.path.isabs(word) else f" in {os.getcwd()}, where it is looked for"
                yield problem(
                    f"{name} names {word}, which does not exist{where}", "correct it; an absolute path is safest"
                )
            elif not os.path.isabs(word) and not word.startswith("~"):
                yield warning(
                    f"{name} names {word}, which is looked for in the folder that a frontend is started in",
                    "write an absolute path",
                )


def _read_files(environ: Mapping[str, str]) -> Iterator[Tuple[Path, Dict[str, str]]]:
    for path in map(Path, pip_files(environ, sys.prefix)):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # It is not there, or pip will say what is wrong with it.
        values: Dict[str, str] = {}
        for section in ("global", "install"):
            if parser.has_section(section):
                values.update({key.replace("_", "-"): value for key, value in parser.items(section)})
        yield path, values
