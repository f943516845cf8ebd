"""Decide where archives are downloaded from, in which order, and how an address is shown.

In: the settings, and the archive that is requested. Out: `Source` values in the order in which they are tried, each
with the locations that the archive may have there. A mirror is laid out by release (``<base>/<tag>/<file>``, as
upstream) or flat (``<base>/<file>``, as ``pack`` and ``mirror`` write).

Addresses may hold passwords and signatures. No address is shown that did not go through `redact_url`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, NamedTuple, Optional, Tuple, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ..errors import UsageError
from ..output import redact_url
from ..systems import RUNNING

if TYPE_CHECKING:
    from ..settings import Settings

__all__ = [
    "DEFAULT_SOURCES", "WHEELS", "Route", "Source", "SourceError", "host_of", "is_github", "is_local", "is_loopback",
    "list_sources", "local_path", "wheel_folders",
]  # fmt: skip

DEFAULT_SOURCES = (
    "https://releases.astral.sh/github/python-build-standalone/releases/download",
    "https://github.com/astral-sh/python-build-standalone/releases/download",
)
"""The sources where no mirror is set: Astral's mirror, then the GitHub release."""

WHEELS = "wheels"
"""The folder of a mirror for the wheels of locked projects, which pip and uv take as ``--find-links``."""

Result = TypeVar("Result")

# Without a bound on the scheme, a text of 100 kB takes minutes.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://\S*")


class Route(NamedTuple):
    """How a server is asked, which `provision_backend.install.network.find_route` finds out."""

    proxy: str = ""
    """URL of the proxy, which may hold a password; empty where none is asked."""
    variable: str = ""
    """Variable that decides it, as the environment spells it: one that is set, or the one that would name a proxy.
    Empty for this machine and its folders."""

    def __repr__(self) -> str:
        return f"Route({self.name}, {self.variable})"

    @property
    def name(self) -> str:
        """The address of the proxy without its secrets, as it is shown."""
        return redact_url(self.proxy)

    @property
    def advice(self) -> str:
        """What to look at where a server could not be asked in this way; ends with a question mark or a semicolon."""
        if self.proxy:
            question = f"does the proxy {self.name} run, and does it allow this address?"
            return f"{question} {self.variable} says which proxy is asked;"
        question = "is the address right, and does a firewall let this machine reach it?"
        if self.variable.lower() == "no_proxy":
            return f"{question} {self.variable} has it asked without a proxy;"
        return f"{question} behind a proxy set {self.variable};" if self.variable else question


class SourceError(Exception):
    """One source did not give what was requested; never leaves the package.

    Args:
        reason: what happened, without any credential.
        hint: what to do about it.
        retry: whether the same request may succeed later, after *wait* seconds if the server names them.
        wait: seconds.
        absent: whether the source just does not have it at this location.
        by_proxy: whether it may be the proxy that has failed or refused, and not the server.
    """

    route = Route()
    """How the source was asked; that to this machine where it was not, or is a folder."""

    def __init__(
        self,
        reason: str,
        *,
        hint: str = "",
        retry: bool = False,
        wait: Optional[float] = None,
        absent: bool = False,
        by_proxy: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.retry = retry
        self.wait = wait
        self.absent = absent
        self.by_proxy = by_proxy


class Source(NamedTuple):
    """One place that archives come from."""

    base: str
    """URL or path of the folder, without a slash at its end; may hold a password."""
    flat: bool = True
    """Whether the archives may also lie in the folder itself."""
    advice: str = ""
    """What to do where it is no folder and should be one; empty for a default source."""

    def __repr__(self) -> str:
        return f"Source({self.name})"

    @property
    def name(self) -> str:
        """The address without its secrets, as it is shown."""
        return redact_url(self.base)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return local_path(self.base) is not None

    def locations(self, tag: str, filename: str) -> Tuple[str, ...]:
        """Return where the archive may lie, by release first, then flat; URLs or paths."""
        by_release = [(tag, filename)] if tag else []
        flat = [(filename,)] if self.flat or not tag else []
        return tuple(_join(self.base, names) for names in [*by_release, *flat])

    def ask(self, tag: str, filename: str, attempt: Callable[[str], Result]) -> Result:
        """Return what a function returns for the first location that has an archive, or raise its `SourceError`."""
        self._check_folder()
        absent: List[SourceError] = []
        for location in self.locations(tag, filename):
            try:
                return attempt(location)
            except SourceError as failure:
                if not failure.absent:
                    raise
                absent.append(failure)
        reasons = " and ".join(dict.fromkeys(failure.reason for failure in absent))
        layouts = ", laid out by release and flat" if len(absent) > 1 else ""
        last = absent[-1]
        merged = SourceError(reasons + layouts, hint=last.hint, absent=True, by_proxy=last.by_proxy)
        merged.route = last.route
        raise merged

    def _check_folder(self) -> None:
        """Raise `SourceError` if it is a folder of this machine that does not exist or may not be entered."""
        path = local_path(self.base)
        try:
            if path is not None and not stat.S_ISDIR(path.stat().st_mode):
                raise SourceError("it is not a folder", hint=self.advice)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError("there is no such folder", hint=self.advice) from None
        except OSError as error:
            raise SourceError(error.strerror or str(error)) from None


def is_local(settings: Settings) -> bool:
    """Whether all that is needed of an archive is on this machine, or has to be."""
    remote = [text for text in (settings.catalog, *settings.mirror) if text and local_path(text) is None]
    return settings.offline or (bool(settings.mirror) and not remote)


def list_sources(settings: Settings) -> Tuple[Source, ...]:
    """Return the sources in the order of trying; raise `UsageError` for a mirror that is neither a URL nor a path."""
    for mirror in settings.mirror:
        local_path(mirror)
    # Upstream has one layout, and a second request that must fail would count against GitHub's rate limit.
    default = [Source(base, flat=False) for base in DEFAULT_SOURCES]
    advice = settings.correct("mirror")
    return tuple([Source(mirror, advice=advice) for mirror in settings.mirror] or default)


def wheel_folders(settings: Settings) -> Tuple[str, ...]:
    """Return the folders of wheels of those mirrors that are folders of this machine and have one."""
    folders = [path / WHEELS for path in map(local_path, settings.mirror) if path is not None]
    return tuple(str(folder) for folder in folders if folder.is_dir())


def local_path(location: str) -> Optional[Path]:
    """Return the path of a location, None for an ``http(s)`` URL; raise `UsageError` for another URL or machine."""
    if not _URL.match(location):
        return Path(location)
    scheme = location.partition("://")[0].lower()
    if scheme not in ("http", "https", "file"):
        wanted = "wanted https://, http://, file:// or a path"
        raise UsageError(f"cannot download from {redact_url(location)!r}: {wanted}, found {scheme}://")
    if scheme == "file":
        return _path_of_url(location)
    with contextlib.suppress(ValueError):
        parts = urlsplit(location)
        if parts.hostname and parts.port != 0:
            return None
    raise UsageError(
        f"cannot download from {redact_url(location)!r}: its host or port is malformed",
        hint="in a user name or password, escape '/' as %2F, '@' as %40, '#' as %23 and '?' as %3F",
    )


def is_loopback(url: str) -> bool:
    """Return whether the host of *url* is this machine, so that nobody in between can change what it sends."""
    # A name that a resolver takes for this machine today may be another one tomorrow, so only these count.
    host = host_of(url)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def is_github(url: str) -> bool:
    """Return whether the host of *url* is one of GitHub's, whose refusals often are rate limits."""
    host = host_of(url)
    return host in ("github.com", "api.github.com") or host.endswith(".githubusercontent.com")


def host_of(url: str) -> str:
    """Return the host of a URL in lower case; empty where there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _join(base: str, names: Tuple[str, ...]) -> str:
    path = local_path(base)
    if path is not None:
        return str(path.joinpath(*names))
    parts = urlsplit(base)
    # "+" is escaped, since some servers read it as a space.
    tail = "/".join(quote(name, safe="") for name in names)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{tail}"))


def _path_of_url(url: str) -> Path:
    authority, _, path = url.partition("://")[2].partition("/")
    if RUNNING.name == "windows":
        from urllib.request import url2pathname  # It imports an HTTP client, and is needed on Windows only.

        # The share of another machine is a folder like any other there.
        return Path(url2pathname("/" + path if authority in ("", "localhost") else f"//{authority}/{path}"))
    if authority not in ("", "localhost"):
        raise UsageError(
            f"cannot read {redact_url(url)!r}: it names another machine",
            hint="a file URL has three slashes: file:///path/of/the/mirror",
        )
    return Path(unquote("/" + path))
