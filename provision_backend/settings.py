"""The one table of settings, and where their values come from.

The first place that names a key wins: an option of our command line, the ``config_settings`` of a hook
(``provision-backend.<key>``), the environment (``PROVISION_BACKEND_<KEY>``), the user's ``config.toml``, that of the
machine, ``[tool.provision-backend]``, the default. Who builds and whose machine it is thus decide over a project.

A relative path means the folder that the frontend was started in, and in a file that of the file; `Settings` has
absolute ones.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .errors import CacheError, UsageError
from .files import read_file
from .output import redact_text, redact_url, suggestion
from .setting_values import PATH_KINDS, Option, absolute_path, convert, parse_text
from .systems import RUNNING
from .trust import check_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CONFIG_FILE", "NO_CONFIG", "OPTIONS", "PREFIX", "Settings", "load_settings", "load_toml", "secret_variables",
    "strip_settings",
]  # fmt: skip

PREFIX = "provision-backend."
"""Namespace of our keys in ``config_settings``; some real backends refuse keys they do not know."""

CONFIG_FILE, NO_CONFIG = "PROVISION_BACKEND_CONFIG_FILE", "PROVISION_BACKEND_NO_CONFIG"
"""The variable that names a file instead of the user's and the machine's, and the one that turns files off."""

# A setting is a row here and a field of Settings, and one of a project a property of project/schema.json; tests compare
# them, and scripts/update-docs writes the pages.
OPTIONS: Tuple[Option, ...] = (
    Option("python", "text", "a version request (3.13, 3.13.2, 3.13t, >=3.12,<3.14) or the path of an interpreter"),
    Option("cache-dir", "path", "the writable cache; default: a folder in the user's cache directory"),
    Option("shared-caches", "paths", f"read-only caches to look in first, separated by {os.pathsep!r}"),
    Option("mirror", "locations", "sources of archives, separated by commas: https://, http://, file:// or a path"),
    Option("catalog", "location", "path or URL of a SHA256SUMS file that replaces the built-in catalog"),
    Option("target", "text", "the target triple, instead of the one that is detected"),
    Option(
        "cpu-level",
        "choice",
        "x86-64 microarchitecture level of the archive; auto is the highest that this CPU supports",
        ("baseline", "v2", "v3", "v4", "auto"),
    ),
    Option(
        "preference",
        "choice",
        "which interpreters may be used: provisioned ones, or those of the machine",
        ("managed", "only-managed", "system", "only-system"),
    ),
    Option("offline", "flag", "never use the network to get an interpreter"),
    Option("installer", "choice", "the installer that fills build environments", ("pip", "uv"), in_project=True),
    Option(
        "toolchain",
        "choice",
        "the C and C++ compiler of a build on Linux: that of the host, or zig, from the package ziglang",
        ("host", "zig"),
        in_project=True,
    ),
    Option(
        "glibc",
        "text",
        "the oldest glibc that compiled code is to run on, such as 2.17; with it zig compiles",
        form=(r"2\.\d{1,3}", "a version of glibc such as 2.17"),
        in_project=True,
    ),
    Option("sbom", "path", "CycloneDX SBOM of what built each wheel: in the 'wheel', 'beside' it, or in a folder"),
    # Another process may be downloading tens of megabytes over a slow line.
    Option("lock-timeout", "seconds", "seconds to wait for another process that holds a lock"),
    Option("connect-timeout", "seconds", "seconds to wait for a connection to a source of archives"),
    Option(
        "read-timeout",
        "seconds",
        "seconds to wait for data; a source that sends less than 1 kB/s for twice as long, or takes 120 times as long "
        "in all, is left for the next",
    ),
    Option("retries", "number", "number of times that a failed request is repeated"),
    Option("verbose", "number", "verbosity of standard error, 0 to 2"),
)
"""Every setting."""

_BY_KEY = {option.key: option for option in OPTIONS}


class Settings(NamedTuple):
    """A value for every setting, by default that when nothing names the key, and where each came from."""

    python: str = ""
    cache_dir: str = ""
    shared_caches: Tuple[str, ...] = ()
    mirror: Tuple[str, ...] = ()
    catalog: str = ""
    target: str = ""
    cpu_level: str = ""
    preference: str = "managed"
    offline: bool = False
    installer: str = ""
    toolchain: str = ""
    glibc: str = ""
    sbom: str = ""
    lock_timeout: float = 600.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: int = 3
    verbose: int = 0
    origins: Tuple[Tuple[str, str], ...] = ()
    """Pairs of key and place, for each key that does not have its default."""

    def __repr__(self) -> str:
        # A mirror may hold a password, and this ends up in logs.
        return f"Settings({', '.join(dict(self.origins))})"

    def origin(self, key: str) -> str:
        """Return where the value of a key comes from: a variable's name, a config setting, or ``default``."""
        return dict(self.origins).get(key, "default")

    def correct(self, key: str) -> str:
        """Return the advice to correct a value, where it stands: a variable, an option or a key of a file."""
        return f"correct {dict(self.origins).get(key, f'the setting {key}')}, which names it"

    def variables(self) -> Dict[str, str]:
        """Return those of our variables that hold paths, with absolute ones, for processes that start elsewhere."""
        found = {}
        for option in OPTIONS:
            value = getattr(self, option.attribute)
            if self.origin(option.key) == option.variable and (option.key == "python" or option.kind in PATH_KINDS):
                separator = os.pathsep if option.kind == "paths" else ", "
                found[option.variable] = value if isinstance(value, str) else separator.join(value)
        return found


class _Place(NamedTuple):
    """One of the places that values come from."""

    values: Mapping[str, Any]
    """Those of them that count, by key."""
    name: str
    """What a message and ``settings`` call it; ``{}`` stands for the key."""
    folder: str = ""
    """Where its relative paths start; empty for the folder of the frontend."""
    is_file: bool = False

    def of(self, option: Option) -> str:
        """Return the name of the place of one value."""
        return option.variable if self.name == "environment" else self.name.replace("{}", option.key, 1)


def load_settings(
    config_settings: Optional[Mapping[str, Any]] = None,
    *,
    environ: Optional[Mapping[str, str]] = None,
    project: Optional[Mapping[str, str]] = None,
    flags: Optional[Mapping[str, Any]] = None,
    folder: str = "",
) -> Settings:
    """Find the value of every setting.

    The *config_settings* are those of the hook, ours and the real backend's mixed. Values of the *project* and *flags*,
    which are those of our own command line, are given by key. The *folder* is the one that the frontend was started in.

    Raises:
        UsageError: a value is not of its kind, or a key under ``provision-backend.`` or in a file is unknown.
        CacheError: another user can write to a file.
    """
    environ = os.environ if environ is None else environ
    # An empty variable counts as unset, as in pip and uv.
    variables = {option.key: value for option in OPTIONS if (value := environ.get(option.variable))}
    places = [
        _Place(flags or {}, "--{}"),
        _Place(_ours(config_settings), f"config setting {PREFIX}{{}}"),
        _Place(variables, "environment"),
        *_read_files(environ, folder),
        _Place({key: value for key, value in (project or {}).items() if value}, "tool.provision-backend.{}"),
    ]
    values: Dict[str, Any] = {}
    origins = []
    for option in OPTIONS:
        place = next((place for place in places if option.key in place.values), None)
        if place is not None:
            values[option.attribute] = convert(
                option, place.values[option.key], place.of(option), place.folder or folder, whole=place.is_file
            )
            origins.append((option.key, place.of(option)))
    return Settings(**values, origins=tuple(origins))


def secret_variables(environ: Mapping[str, str]) -> List[str]:
    """Return the names of those of our variables that hold a password or something like it."""
    found = [(option.variable, environ.get(option.variable, "")) for option in OPTIONS]
    return [name for name, value in found if value not in (redact_url(value), redact_text(value))]


def load_toml(text: str) -> Dict[str, Any]:
    """Parse TOML; raises `ValueError`, whose message says where and why, for another text."""
    # This is the only module that knows which library parses TOML.
    if text.startswith("\ufeff"):
        # Editors and shells of Windows write one, and nobody sees the character that the parser complains of.
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    try:
        document: Dict[str, Any] = tomllib.loads(text)
        repr(document)  # Python reads hexadecimal numbers of any length, and cannot write them in a message.
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as exc:
        last = len(text.splitlines())
        raise ValueError(str(exc).replace("at end of document", f"at the end, line {last}")) from None
    return document


def _read_files(environ: Mapping[str, str], folder: str) -> List[_Place]:
    off = Option("", "flag", "")
    if environ.get(NO_CONFIG) and parse_text(off, environ[NO_CONFIG].strip(), NO_CONFIG, folder):
        return []
    named = environ.get(CONFIG_FILE, "")
    if named == os.devnull:
        return []  # As pip has it.
    if named:
        return [_read_file(absolute_path(named, folder), named=True)]
    # What is relative, as where there is no home directory, would be another file in every folder.
    folders = [base if os.path.isabs(base) else "" for base in RUNNING.config_folders(environ)]
    user, *machine = [base and os.path.join(base, "provision-backend", "config.toml") for base in folders]
    # Of the machine's files the first one counts, as the XDG Base Directory Specification and uv have it.
    existing = [path for path in (user, next(filter(_exists, machine), "")) if _exists(path)]
    return [_read_file(path) for path in existing]


def _exists(path: str) -> bool:
    # A home that may not be entered is that of another user.
    return bool(path) and os.path.exists(path)


def _read_file(path: str, *, named: bool = False) -> _Place:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UsageError(f"the configuration file {path} is not a file")
        check_file(Path(path), named=named)
        text = read_file(Path(path)).decode("utf-8")
    except CacheError as exc:
        raise CacheError(exc.message, hint=f"{exc.hint}\nor read no configuration file: {NO_CONFIG}=1") from None
    except OSError as exc:
        origin = f", which {CONFIG_FILE} names," if named else ""
        raise UsageError(f"the configuration file {path}{origin} cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"the configuration file {path} is not UTF-8: byte {exc.start}") from None
    try:
        values = load_toml(text)
    except ValueError as exc:
        raise UsageError(f"the configuration file {path} is not valid TOML: {exc}") from None
    for key in values:
        if key not in _BY_KEY:
            raise UsageError(f"{path}: unknown key {key!r}", hint=suggestion(key, _BY_KEY))
    return _Place(values, "{} in " + path, os.path.dirname(path), is_file=True)


def strip_settings(config_settings: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    """Return ``config_settings`` without our keys; None stays None, since some frontends pass that."""
    if config_settings is None:
        return None
    return {key: value for key, value in config_settings.items() if not str(key).startswith(PREFIX)}


def _ours(config_settings: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    given = {}
    for key, value in (config_settings or {}).items():
        owner, dot, name = str(key).partition(".")
        # Other keys are those of the real backend.
        if owner.lower().replace("_", "-") + "." != PREFIX:
            continue
        # A misspelt key would otherwise be ignored, and the build would not do what the user wants.
        if owner + dot != PREFIX or name not in _BY_KEY:
            raise UsageError(f"unknown config setting {key!r}", hint=suggestion(name, _BY_KEY, prefix=PREFIX))
        given[name] = value
    return given
