"""The one table of settings, and where their values come from.

The first place that names a key wins: an option of our command line, the ``config_settings`` of a hook
(``provision-backend.<key>``), the environment (``PROVISION_BACKEND_<KEY>``), the user's ``config.toml``, that of the
machine, ``[tool.provision-backend]``, the default. Who builds and whose machine it is thus decide over a project.

A relative path means the folder that the frontend was started in, and in a file that of the file; `Settings` has
absolute ones. Addresses may hold passwords, and what might be one without a scheme is refused: as a path it would be
shown.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .errors import CacheError, UsageError
from .files import read_file
from .output import redact_text, redact_url, shorten, suggestion
from .systems import RUNNING
from .trust import check_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "BESIDE", "CONFIG_FILE", "INSIDE", "NO_CONFIG", "OPTIONS", "PREFIX", "Option", "Settings", "check_text",
    "load_settings", "load_toml", "secret_variables", "strip_settings",
]  # fmt: skip

PREFIX = "provision-backend."
"""Namespace of our keys in ``config_settings``; some real backends refuse keys they do not know."""

CONFIG_FILE, NO_CONFIG = "PROVISION_BACKEND_CONFIG_FILE", "PROVISION_BACKEND_NO_CONFIG"
"""The variable that names a file instead of the user's and the machine's, and the one that turns files off."""

# Values of the setting ``sbom`` that are no folders: that of the wheel itself, and the wheel.
BESIDE, INSIDE = "beside", "wheel"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What stands behind a comma that separates: white space or a URL, and a path where the item before it has no query.
_BEGINNING = re.compile(rf"\s|{_URL.pattern}")
_BEGINNING_OR_PATH = re.compile(rf"{_BEGINNING.pattern}|[~/\\]|\.\.?[/\\]|[A-Za-z]:[/\\]")

_PATH_KINDS = ("path", "paths", "location", "locations")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Option(NamedTuple):
    """One setting: a row of the reference page and of ``provision-backend settings``."""

    key: str
    """The name after ``provision-backend.``, in lower case with hyphens."""
    kind: str
    """text, path, paths, location (a path or a URL), locations, flag, seconds, number or choice."""
    default: Any
    """The value when nothing names the key."""
    help: str
    """One line for people."""
    choices: Tuple[str, ...] = ()
    """The accepted values of a choice."""
    form: Tuple[str, str] = ("", "")
    """The pattern of a text that is no choice, and what that is, for messages; empty where any text is accepted."""
    in_project: bool = False
    """Whether ``[tool.provision-backend]`` has a key of this name, which decides where whoever builds does not."""

    @property
    def attribute(self) -> str:
        """Name of the field of `Settings`."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"PROVISION_BACKEND_{self.attribute.upper()}"


# A setting is a row here and a field of Settings, and one of a project a property of project/schema.json; tests compare
# them, and scripts/update-docs writes the pages.
OPTIONS: Tuple[Option, ...] = (
    Option("python", "text", "", "a version request (3.13, 3.13.2, 3.13t, >=3.12,<3.14) or the path of an interpreter"),
    Option("cache-dir", "path", "", "the writable cache; default: a folder in the user's cache directory"),
    Option("shared-caches", "paths", (), f"read-only caches to look in first, separated by {os.pathsep!r}"),
    Option("mirror", "locations", (), "sources of archives, separated by commas: https://, http://, file:// or a path"),
    Option("catalog", "location", "", "path or URL of a SHA256SUMS file that replaces the built-in catalog"),
    Option("target", "text", "", "the target triple, instead of the one that is detected"),
    Option(
        "cpu-level",
        "choice",
        "",
        "x86-64 microarchitecture level of the archive; auto is the highest that this CPU supports",
        ("baseline", "v2", "v3", "v4", "auto"),
    ),
    Option(
        "preference",
        "choice",
        "managed",
        "which interpreters may be used: provisioned ones, or those of the machine",
        ("managed", "only-managed", "system", "only-system"),
    ),
    Option("offline", "flag", False, "never use the network to get an interpreter"),
    Option("installer", "choice", "", "the installer that fills build environments", ("pip", "uv"), in_project=True),
    Option(
        "toolchain",
        "choice",
        "",
        "the C and C++ compiler of a build on Linux: that of the host, or zig, from the package ziglang",
        ("host", "zig"),
        in_project=True,
    ),
    Option(
        "glibc",
        "text",
        "",
        "the oldest glibc that compiled code is to run on, such as 2.17; with it zig compiles",
        form=(r"2\.\d{1,3}", "a version of glibc such as 2.17"),
        in_project=True,
    ),
    Option("sbom", "path", "", "CycloneDX SBOM of what built each wheel: in the 'wheel', 'beside' it, or in a folder"),
    # Another process may be downloading tens of megabytes over a slow line.
    Option("lock-timeout", "seconds", 600.0, "seconds to wait for another process to provision the same interpreter"),
    Option("connect-timeout", "seconds", 10.0, "seconds to wait for a connection to a source of archives"),
    Option(
        "read-timeout",
        "seconds",
        60.0,
        "seconds to wait for data; a source that sends less than 1 kB/s for twice as long, or takes 120 times as long "
        "in all, is left for the next",
    ),
    Option("retries", "number", 3, "number of times that a failed request is repeated"),
    Option("verbose", "number", 0, "verbosity of standard error, 0 to 2"),
)
"""Every setting."""

_BY_KEY = {option.key: option for option in OPTIONS}


class Settings(NamedTuple):
    """A value for every setting, and where each came from."""

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

    def variables(self) -> Dict[str, str]:
        """Return those of our variables that hold paths, with absolute ones, for processes that start elsewhere."""
        found = {}
        for option in OPTIONS:
            value = getattr(self, option.attribute)
            if self.origin(option.key) == option.variable and (option.key == "python" or option.kind in _PATH_KINDS):
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

    Args:
        config_settings: what the frontend passed to the hook, ours and the real backend's mixed.
        environ: default the environment of the process.
        project: values from the project's table, by key (``installer``).
        flags: values from our own command line, by key.
        folder: the folder that the frontend was started in; default the current one.

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
            values[option.attribute] = _convert(option, place, place.folder or folder)
            origins.append((option.key, place.of(option)))
    return Settings(**values, origins=tuple(origins))


def secret_variables(environ: Mapping[str, str]) -> List[str]:
    """Return the names of those of our variables that hold a password or something like it."""
    found = [(option.variable, environ.get(option.variable, "")) for option in OPTIONS]
    return [name for name, value in found if value not in (redact_url(value), redact_text(value))]


def load_toml(text: str) -> Dict[str, Any]:
    """Parse TOML; raises `ValueError`, whose message says where and why, for another text."""
    # This is the only module that knows which library parses TOML.
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
    off = Option("", "flag", False, "")
    if environ.get(NO_CONFIG) and _parse(off, environ[NO_CONFIG].strip(), NO_CONFIG, folder):
        return []
    named = environ.get(CONFIG_FILE, "")
    if named == os.devnull:
        return []  # As pip has it.
    if named:
        return [_read_file(_absolute(named, folder), named=True)]
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
        # Other keys are those of the real backend.
        if not str(key).startswith(PREFIX):
            continue
        name = key[len(PREFIX) :]
        # A misspelt key would otherwise be ignored, and the build would not do what the user wants.
        if name not in _BY_KEY:
            raise UsageError(f"unknown config setting {key!r}", hint=suggestion(name, _BY_KEY, prefix=PREFIX))
        given[name] = value
    return given


def _convert(option: Option, place: _Place, folder: str) -> Any:
    raw, name = place.values[option.key], place.of(option)
    if option.kind in ("locations", "paths"):
        return _split(option, raw, name, folder, whole=place.is_file)
    if isinstance(raw, bool) and option.kind == "flag":
        return raw
    # Numbers in JSON and TOML are accepted where a number is meant. A version would not do: 3.10 would arrive as 3.1.
    if isinstance(raw, (int, float)) and not isinstance(raw, bool) and option.kind in ("flag", "number", "seconds"):
        raw = str(raw)
    if not isinstance(raw, str):
        raise UsageError(f"{name} must be one string, found {type(raw).__name__}")
    return _parse(option, raw.strip(), name, folder)


def _split(option: Option, raw: Any, place: str, folder: str, *, whole: bool) -> Tuple[str, ...]:
    parts = raw if isinstance(raw, (list, tuple)) else [raw]
    if not all(isinstance(part, str) for part in parts):
        raise UsageError(f"{place} must be a string or a list of strings")
    # In the list of a file each item stands for itself. Frontends make lists of options that are repeated.
    if not whole or isinstance(raw, str):
        parts = [item for part in parts for item in _items(option, part, place)]
    return tuple(_parse(option, item.strip(), place, folder) for item in parts if item.strip())


def _items(option: Option, text: str, place: str) -> List[str]:
    if option.kind == "paths":
        _refuse_address(option, text, place)  # In pieces, a URL with its colons would not be recognised.
        return text.split(os.pathsep)
    # A comma may be part of a URL and of a path, so it separates only where something begins behind it.
    first, *pieces = text.rstrip(", ").split(",")
    items = [first]
    for piece in pieces:
        beginning = _BEGINNING if _URL.match(items[-1].lstrip()) and "?" in items[-1] else _BEGINNING_OR_PATH
        if beginning.match(piece):
            items.append(piece)
        else:
            items[-1] += "," + piece
    return items


def _parse(option: Option, text: str, place: str, folder: str) -> Any:
    _refuse_address(option, text, place)
    if "\0" in text:
        raise UsageError(f"{place} must not have a NUL character in it, found {text!r}")
    if option.kind == "flag":
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"{place} must be true or false, found {text!r}")
        return text.lower() in _TRUE
    if option.kind in ("seconds", "number"):
        return _parse_number(option, text, place)
    if text or option.kind == "choice":
        check_text(option, text, place)
    return _absolute(text, folder) if _is_path(option, text) else text


def check_text(option: Option, text: str, place: str) -> None:
    """Raise `UsageError` for a text that a choice, or a setting of a certain form, does not accept."""
    if option.kind == "choice" and text not in option.choices:
        raise UsageError(f"{place} must be one of {', '.join(option.choices)}, found {shorten(text)!r}")
    pattern, wanted = option.form
    if pattern and not re.fullmatch(pattern, text):
        raise UsageError(f"{place} must be {wanted}, found {shorten(text)!r}")


def _refuse_address(option: Option, text: str, place: str) -> None:
    """Refuse a URL where none is wanted, and what may be one without a scheme: it would be shown, as a path is."""
    can_be_url, shown = option.kind in ("location", "locations"), redact_text(redact_url(text))
    if can_be_url and _URL.match(text):
        return
    if "://" in text or (redact_url(text) != text and (can_be_url or ":" in text)):
        wanted = "a URL or a path" if can_be_url else "a path" if "path" in option.kind else "no URL"
        hint = "a URL begins with https://, and a path with such a name with ./" if can_be_url else ""
        raise UsageError(f"{place} must be {wanted}, found {shown!r}", hint=hint)


def _is_path(option: Option, text: str) -> bool:
    if option.key == "sbom" and text in (BESIDE, INSIDE):
        return False
    # A version request has no slash in it.
    is_python = option.key == "python" and ("/" in text or os.sep in text)
    return bool(text) and "://" not in text and (is_python or option.kind in _PATH_KINDS)


def _absolute(path: str, folder: str) -> str:
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else os.path.join(folder or os.getcwd(), path)


def _parse_number(option: Option, text: str, place: str) -> float:
    convert = float if option.kind == "seconds" else int
    try:
        value = convert(text)
    except ValueError:
        value = -1
    # The chained comparison is false for "nan", too; the limit keeps time.sleep() and select() from an OverflowError.
    if not 0 <= value < 1e9:
        wanted = "a number of seconds" if option.kind == "seconds" else "a whole number"
        raise UsageError(f"{place} must be {wanted}, 0 or more, found {shorten(text)!r}")
    return value
