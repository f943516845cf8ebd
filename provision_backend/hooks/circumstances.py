"""All that decides what an installer puts into a build environment → a key, or None where that cannot be told.

Two installations with one key, made at about the same time, would hold the same. So the key has the interpreter, the
requirements, the installer, each variable that reaches it and steers it, and what the files hold that these name. What
can change unseen (a local project, a URL, a configuration file that leads elsewhere) has no key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List, Mapping, Optional, Sequence

from .configuration import pip_files, uv_files

if TYPE_CHECKING:
    from ..interpreter import Interpreter

__all__ = ["installation_key"]

_FORMAT = 1
"""Goes up when what is in an environment of one key changes with a release of ours."""

# What steers pip and uv, and what steers the compilers of requirements that have no wheel.
_STEERING = re.compile(
    r"PIP_.*|UV_.*|HOME|USERPROFILE|XDG_CONFIG_.*|NETRC|.*_PROXY|SSL_CERT_.*|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|CC|CXX|CPP|LD|AR|LDSHARED|.*FLAGS|LIBRARY_PATH|CPATH|.*_INCLUDE_PATH|PKG_CONFIG_.*|CMAKE_.*|CARGO_.*|RUST.*"
    r"|SETUPTOOLS_.*|DISTUTILS_.*|DIST_EXTRA_CONFIG|MACOSX_DEPLOYMENT_TARGET|_PYTHON_HOST_PLATFORM|SKBUILD_.*",
    re.IGNORECASE,
)
# Temporary folders and output, which differ in each build and steer nothing.
_PASSING = re.compile(
    r"PIP_BUILD_TRACKER|PIP_LOG.*|PIP_PROGRESS_BAR|PIP_QUIET|PIP_VERBOSE|UV_INTERNAL__.*", re.IGNORECASE
)

_FOLDERS = ("PIP_FIND_LINKS", "UV_FIND_LINKS")
_FILES = ("PIP_BUILD_CONSTRAINT", "UV_BUILD_CONSTRAINT")
_INDEXES = re.compile(r"(PIP|UV)_(DEFAULT_|EXTRA_)?INDEX(_URL)?")

# Whatever a configuration file leads to may change while the file stays as it is.
_LEADS_ELSEWHERE = re.compile(
    r"find.?links|constraint|file:|override|sources|workspace|\bpath\b|requirement", re.IGNORECASE
)


class _Unknown(Exception):  # noqa: N818 - it never leaves this module.
    """Something that an installation depends on can change without being seen."""


def installation_key(
    interpreter: Interpreter, installer: str, requirements: Sequence[str], environ: Mapping[str, str], folder: str
) -> Optional[str]:
    """Return the name under which an installation can be found again.

    Args:
        interpreter: what the environment is made of.
        installer: path of uv, or empty for the interpreter's pip.
        requirements: PEP 508 strings, in the order that they are installed in.
        environ: the variables of the installer.
        folder: where it is run; relative paths start there.

    Returns:
        Lower-case hex digits; None where what is installed may change and the key would not.
    """
    try:
        facts = [
            *[_FORMAT, interpreter.executable, interpreter.version, interpreter.sha256, interpreter.pip],
            *[_identity(interpreter.executable), installer, _identity(installer) if installer else None],
            [_checked(text) for text in requirements],
            sorted((name, value) for name, value in environ.items() if _steers(name)),
            list(_local_sources(environ, folder)),
            list(_configuration(interpreter, installer, environ, folder)),
        ]
    except (_Unknown, OSError, ValueError):
        return None
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _checked(text: str) -> str:
    # A URL, a path, an option of the installer: the same words may stand for something else in a minute.
    name = text.split(";")[0]
    if "@" in name or "/" in name or os.sep in name or name.lstrip().startswith(("-", ".")):
        raise _Unknown
    return text


def _steers(name: str) -> bool:
    return bool(_STEERING.fullmatch(name)) and not _PASSING.fullmatch(name)


def _identity(path: str) -> List[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _local_sources(environ: Mapping[str, str], folder: str) -> Iterator[Any]:
    for name, value in sorted(environ.items()):
        if _INDEXES.fullmatch(name) and _is_local(value):
            raise _Unknown  # A tree of folders; nobody wants to look at all of it in each build.
        if name in _FILES:
            for word in value.split():
                path = os.path.join(folder, word)
                yield [path, _text(path)]
        if name in _FOLDERS:
            for word in re.split(r"[\s,]+", value.strip()) if value.strip() else ():
                yield from _links(word, folder)


def _is_local(value: str) -> bool:
    words = [word.partition("=")[2] or word for word in value.split()]
    return any(word.startswith("file:") or "://" not in word for word in words)


def _links(word: str, folder: str) -> Iterator[Any]:
    if "://" in word and not word.startswith("file:"):
        return  # An index like any other: fresh as long as indexes are.
    path = os.path.join(folder, word)
    if word.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        path = unquote(urlsplit(word).path)
    if not os.path.isdir(path):
        yield [path, _identity(path)]
        return
    with os.scandir(path) as entries:
        yield [path, sorted([entry.name, *_identity(entry.path)] for entry in entries)]


def _text(path: str) -> str:
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    # A file may name others, and projects.
    if re.search(r"^\s*-|@|/", text, re.MULTILINE):
        raise _Unknown
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _configuration(interpreter: Interpreter, installer: str, environ: Mapping[str, str], folder: str) -> Iterator[Any]:
    prefix = os.path.dirname(os.path.dirname(interpreter.executable))
    for path in uv_files(environ, folder) if installer else pip_files(environ, prefix):
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        if os.path.basename(path) == "pyproject.toml":
            text = "".join(re.findall(r"^\[+tool\.uv\b.*?(?=^\[+(?!tool\.uv\b)|\Z)", text, re.MULTILINE | re.DOTALL))
        if _LEADS_ELSEWHERE.search(text):
            raise _Unknown
        yield [path, hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()] if text else None
