"""The one table of settings, and where their values come from.

The first place that names a key wins: an option of our command line, the ``config_settings`` of a hook
(``provision-backend.<key>``), the environment (``PROVISION_BACKEND_<KEY>``), ``[tool.provision-backend]``, the default.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .errors import UsageError
from .output import suggestion

__all__ = ["OPTIONS", "PREFIX", "Option", "Settings", "load_settings", "strip_settings"]

PREFIX = "provision-backend."
"""Namespace of our keys in ``config_settings``; some real backends refuse keys they do not know."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Option(NamedTuple):
    """One setting: a row of the reference page and of ``provision-backend settings``."""

    key: str
    """The name after ``provision-backend.``, in lower case with hyphens."""
    kind: str
    """text, path, paths, list, flag, seconds, number or choice."""
    default: Any
    """The value when nothing names the key."""
    help: str
    """One line for people."""
    choices: Tuple[str, ...] = ()
    """The accepted values of a choice."""

    @property
    def attribute(self) -> str:
        """Name of the field of `Settings`."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return f"PROVISION_BACKEND_{self.attribute.upper()}"


# A setting is a row here and a field of Settings; a test compares them, and scripts/update-docs writes the pages.
OPTIONS: Tuple[Option, ...] = (
    Option("python", "text", "", "a version request (3.13, 3.13.2, 3.13t, >=3.12,<3.14) or the path of an interpreter"),
    Option("cache-dir", "path", "", "the writable cache; default: a folder in the user's cache directory"),
    Option("shared-caches", "paths", (), f"read-only caches to look in first, separated by {os.pathsep!r}"),
    Option("mirror", "list", (), "sources of archives, separated by commas: https://, http://, file:// or a path"),
    Option("catalog", "text", "", "path or URL of a SHA256SUMS file that replaces the built-in catalog"),
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
    Option("installer", "choice", "", "the installer that fills build environments", ("pip", "uv")),
    Option("sbom", "path", "", "folder for a CycloneDX SBOM of what built each wheel, or 'beside' the wheel"),
    # Another process may be downloading tens of megabytes over a slow line.
    Option("lock-timeout", "seconds", 600.0, "seconds to wait for another process to provision the same interpreter"),
    Option("connect-timeout", "seconds", 10.0, "seconds to wait for a connection to a source of archives"),
    Option("read-timeout", "seconds", 60.0, "seconds to wait for data during a download"),
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
    sbom: str = ""
    lock_timeout: float = 600.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: int = 3
    verbose: int = 0
    origins: Tuple[Tuple[str, str], ...] = ()
    """Pairs of key and place, for each key that does not have its default."""

    def origin(self, key: str) -> str:
        """Return where the value of a key comes from: a variable's name, a config setting, or ``default``."""
        return dict(self.origins).get(key, "default")


def load_settings(
    config_settings: Optional[Mapping[str, Any]] = None,
    *,
    environ: Optional[Mapping[str, str]] = None,
    project: Optional[Mapping[str, str]] = None,
    flags: Optional[Mapping[str, Any]] = None,
) -> Settings:
    """Find the value of every setting.

    Args:
        config_settings: what the frontend passed to the hook, ours and the real backend's mixed.
        environ: default the environment of the process.
        project: values from the project's table, by key (``installer``).
        flags: values from our own command line, by key.

    Raises:
        UsageError: a value is not of its kind, or a key under ``provision-backend.`` is unknown.
    """
    environ = os.environ if environ is None else environ
    given = {key: (value, f"config setting {PREFIX + key}") for key, value in _ours(config_settings).items()}
    given.update({key: (value, f"--{key}") for key, value in (flags or {}).items()})
    values: Dict[str, Any] = {}
    origins = []
    for option in OPTIONS:
        found = given.get(option.key)
        if found is None:
            of_project = (project or {}).get(option.key), f"tool.provision-backend.{option.key}"
            # An empty variable counts as unset, as in pip and uv.
            others = ((environ.get(option.variable), option.variable), of_project)
            found = next((each for each in others if each[0]), None)
        if found is not None:
            raw, place = found
            values[option.attribute] = _convert(option, raw, place)
            origins.append((option.key, place))
    return Settings(**values, origins=tuple(origins))


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


def _convert(option: Option, raw: Any, place: str) -> Any:
    if option.kind in ("list", "paths"):
        return _split(option, raw, place)
    if isinstance(raw, bool) and option.kind == "flag":
        return raw
    # Numbers in JSON are accepted where a number is meant. A version would not do: 3.10 would arrive as 3.1.
    if isinstance(raw, (int, float)) and not isinstance(raw, bool) and option.kind in ("flag", "number", "seconds"):
        raw = str(raw)
    if not isinstance(raw, str):
        raise UsageError(f"{place} must be one string, found {type(raw).__name__}")
    return _parse(option, raw.strip(), place)


def _split(option: Option, raw: Any, place: str) -> Tuple[str, ...]:
    parts = raw if isinstance(raw, (list, tuple)) else [raw]
    if not all(isinstance(part, str) for part in parts):
        raise UsageError(f"{place} must be a string or a list of strings")
    # A path may contain a comma, and a URL a colon.
    separator = os.pathsep if option.kind == "paths" else ","
    return tuple(item.strip() for part in parts for item in part.split(separator) if item.strip())


def _parse(option: Option, text: str, place: str) -> Any:
    if option.kind == "flag":
        if text.lower() not in _TRUE | _FALSE:
            raise UsageError(f"{place} must be true or false, found {text!r}")
        return text.lower() in _TRUE
    if option.kind in ("seconds", "number"):
        return _parse_number(option, text, place)
    if option.kind == "choice" and text not in option.choices:
        raise UsageError(f"{place} must be one of {', '.join(option.choices)}, found {text!r}")
    return text


def _parse_number(option: Option, text: str, place: str) -> float:
    convert = float if option.kind == "seconds" else int
    try:
        value = convert(text)
    except ValueError:
        value = -1
    # The chained comparison is false for "nan", too; the limit keeps time.sleep() and select() from an OverflowError.
    if not 0 <= value < 1e9:
        wanted = "a number of seconds" if option.kind == "seconds" else "a whole number"
        raise UsageError(f"{place} must be {wanted}, 0 or more, found {text!r}")
    return value
