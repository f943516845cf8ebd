"""Options of the frontend's command line about packages → options for the installer of a build environment.

pip and uv hand such options to their own installer, in their own process, and to no hook; where the inner installer
did not have them, it would take a package from a public index that the user has excluded. In: the words of the
frontend's command line, where the system shows them. Out: words and variables for an inner installer of the same
name, and a sentence where there are some that it cannot have. A value may hold a password, and is never shown.

Source: pip documentation, pip wheel; uv documentation, CLI reference; pip's ``BuildEnvironmentInstaller`` for what pip
hands on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..frontend_watch import frontend_command
from .frontend import frontend_folder, frontend_name
from .installer_files import is_same_project, pip_variable, workspace

__all__ = ["PIP_OPTIONS", "frontend_options", "original_tree", "pip_command", "unseen_options", "uv_command"]

_Table = Mapping[str, str]


def _same(*names: str) -> Dict[str, str]:
    return {name: name for name in names}


_FLAGS: Mapping[str, _Table] = {
    "pip": _same("--no-index", "--pre", "--prefer-binary", "--no-cache-dir"),
    "uv": {
        **_same("--no-index", "--no-sources", "--no-cache", "--no-config", "--offline", "--system-certs"),
        **_same("--require-hashes", "--no-verify-hashes", "--require-build-hashes", "--no-require-build-hashes"),
        "-n": "--no-cache", "--native-tls": "--system-certs", "--no-build": "--only-binary=:all:",
        "--no-binary": "--no-binary=:all:",
    },
    "": {},
}  # fmt: skip
"""By `frontend_name`: options without a value, and what the inner installer calls them, which may give them one."""

_VALUES: Mapping[str, _Table] = {
    "pip": {
        **_same("--index-url", "--extra-index-url", "--find-links", "--trusted-host", "--proxy", "--cert"),
        **_same("--client-cert", "--retries", "--timeout", "--cache-dir", "--no-binary", "--only-binary"),
        **_same("--keyring-provider", "--uploaded-prior-to", "--all-releases", "--only-final"),
        "-i": "--index-url", "--pypi-url": "--index-url", "-f": "--find-links", "--default-timeout": "--timeout",
        "--build-constraint": "--constraint",
    },
    "uv": {
        **_same("--index", "--default-index", "--index-url", "--extra-index-url", "--find-links", "--index-strategy"),
        **_same("--allow-insecure-host", "--keyring-provider", "--exclude-newer", "--exclude-newer-package"),
        **_same("--no-sources-package", "--only-binary", "--link-mode", "--cache-dir", "--project", "--config-file"),
        "-i": "--index-url", "-f": "--find-links", "--trusted-host": "--allow-insecure-host",
        "--no-binary-package": "--no-binary", "--no-build-package": "--only-binary",
        "-b": "--constraint", "--build-constraint": "--constraint", "--build-constraints": "--constraint",
    },
    "": {"--dependency-constraints-txt": "--constraint"},  # build
}  # fmt: skip
"""By `frontend_name`: options with a value, and what the inner installer calls them."""

_NEWER = ("--keyring-provider", "--uploaded-prior-to", "--all-releases", "--only-final")
"""Options that an inner pip may be too old for; a variable that it does not know is no error."""

_SOURCES = (
    "--index-url", "--extra-index-url", "--find-links", "--no-index", "--index", "--default-index", "--config-file",
)  # fmt: skip
"""Options that decide whose package is taken."""

_UV_COMMANDS = ("add", "build", "export", "lock", "pip", "remove", "run", "sync", "tool", "tree")
"""Those of uv that build a project."""

_PIP_COMMANDS = ("download", "install", "lock", "wheel")
"""Those of pip that build a project; each has a section of its own in the configuration files."""

PIP_OPTIONS = frozenset(name[2:] for name in (*_FLAGS["pip"], *_VALUES["pip"]) if name.startswith("--"))
"""Options of pip that count in a build environment, without their dashes."""

_LOCKED_OUT = ("--constraint", "--no-binary", "--only-binary", "--pre", "--no-verify-hashes")
"""What a lock decides."""


def frontend_options(installer: str, *, locked: bool = False) -> Tuple[List[str], Dict[str, str]]:
    """Return words and variables for the command of an inner installer, ``pip`` or ``uv``.

    They are in the order of the frontend's command line, and none where the frontend installs with another program.
    What is *locked* has no use for those about versions.
    """
    if _is_foreign(installer):
        return [], {}
    words, variables = [], {}
    for _, option, value in _read(frontend_command()):
        if locked and option in _LOCKED_OUT:
            continue
        if installer == "pip" and option in _NEWER:
            variables[pip_variable(option[2:])] = value or ""
        else:
            words.append(option if value is None else f"{option}={value}")
    return words, variables


def unseen_options(installer: str, variables: str) -> str:
    """Return a sentence where the frontend's command line has options of weight that an inner installer cannot have.

    The *variables* are those that it takes indexes from.
    """
    wanted = dict.fromkeys(_SOURCES, variables)
    wanted["--constraint"] = f"{installer.upper()}_BUILD_CONSTRAINT"
    wanted["--require-build-hashes"] = "UV_REQUIRE_BUILD_HASHES"
    found = [(name, option) for name, option, _ in _read(frontend_command()) if option in wanted]
    if not found or not _is_foreign(installer):
        return ""
    name, option = found[0]
    return f"{name} of the frontend's command line is not seen here: set {wanted[option]}"


def original_tree(source: Path) -> Path:
    """Return the tree that ``uv build`` was told to build, where *source* is what it has unpacked of that.

    uv makes a wheel from the sdist, in its cache, where the relative paths of a project lead nowhere; its own build
    environments have them start in the original tree.
    """
    words = frontend_command()
    unpacked = any(part.startswith(("sdists-v", "builds-v")) for part in source.parts)
    if frontend_name() != "uv" or not unpacked or "build" not in words:
        return source
    start = Path(frontend_folder(source))
    # The name of the project tells the argument from values of options, and a member from its workspace.
    named = [start / word.partition("=")[2] if word.startswith("--") else start / word for word in words[1:]]
    places = [*named, start, *(folder for place in (*named, start) for folder in workspace(place))]
    return next((place for place in places if place != source and is_same_project(place, source)), source)


def pip_command() -> str:
    """Return the command of pip that the frontend runs; ``install`` where that is another program, or not shown."""
    words = frontend_command()[1:] if frontend_name() == "pip" else []
    return next((word for word in words if word in _PIP_COMMANDS), "install")


def uv_command() -> str:
    """Return the command of uv that builds; ``run`` where the program is uvx, or not shown."""
    return next((word for word in frontend_command()[1:] if word in _UV_COMMANDS), "run")


def _is_foreign(installer: str) -> bool:
    # What follows `uv run` and `uvx` is the command line of another program, with options of its own.
    return frontend_name() not in ("", installer) or (frontend_name() == "uv" and uv_command() in ("run", "tool"))


def _read(words: Sequence[str]) -> Iterator[Tuple[str, str, Optional[str]]]:
    """Yield the options of the tables among words: as written, as the inner installer calls them, and their values."""
    flags, values = _tables()
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            return
        short = re.fullmatch(r"-[hnqvIUV]*([bfi])=?(.*)", word, re.DOTALL)
        name, equals, value = word.partition("=") if short is None else (f"-{short[1]}", short[2], short[2])
        name = _unabbreviated(name, [*flags, *values])
        if name in flags:
            option, has_value, value = flags[name].partition("=")
            yield name, option, value if has_value else None
        elif name in values:
            yield name, values[name], value if equals else next(remaining, "")


def _tables() -> Tuple[_Table, _Table]:
    flags, values = _FLAGS[frontend_name()], _VALUES[frontend_name()]
    if frontend_name() == "uv" and uv_command() == "pip":
        # There it takes the name of a package.
        flags = {name: option for name, option in flags.items() if name != "--no-binary"}
        values = {**values, **_same("--no-binary")}
    return flags, values


def _unabbreviated(name: str, known: Sequence[str]) -> str:
    # pip takes any unambiguous beginning of an option, and has refused an ambiguous one.
    found = [each for each in known if each.startswith(name)] if frontend_name() == "pip" and name[:2] == "--" else []
    return name if name in known or len(found) != 1 else found[0]
