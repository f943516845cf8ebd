"""Choose the ``Authorization`` header of each request, so that a credential goes to the host it belongs to only.

In: the URL that a person configured, the environment, and the netrc file. Out: for each URL that is really asked,
redirects included, a header or none. A credential goes to the host it belongs to and to no other:

- user name and password of a URL: to the scheme, host and port of that URL;
- ``GITHUB_TOKEN`` or ``GH_TOKEN``: to github.com and api.github.com over HTTPS. The hosts that GitHub redirects
  to take a signature in the URL, and refuse a request that brings a second credential;
- an entry ``machine`` of the netrc file (``NETRC``, else ``~/.netrc``): to the host it names, and over plain HTTP only
  where the configured URL names that host too, since anybody may redirect a plain request to any host and port. An
  entry ``default`` names no host and is not used.

Source: RFC 7617 (Basic), RFC 6750 (Bearer), RFC 9110, 15.4 (a client does not carry credentials to another origin).
"""

from __future__ import annotations

import base64
import netrc
import os
from pathlib import Path
from typing import Dict, Optional, Tuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

__all__ = ["Credentials", "Netrc", "strip_userinfo"]

# A company's own GitHub has other hosts; the token of this one is not for them.
_TOKEN_HOSTS = ("github.com", "api.github.com")
_TOKEN_VARIABLES = ("GITHUB_TOKEN", "GH_TOKEN")
_PORTS = {"http": 80, "https": 443}


class Netrc:
    """The netrc file of the user, read when a login is first looked up."""

    def __init__(self) -> None:
        self._logins: Optional[Dict[str, Tuple[str, str]]] = None
        self.unreadable = False
        """Whether the file exists and could not be parsed."""

    def login(self, host: str) -> Optional[Tuple[str, str]]:
        """Return user name and password for *host*, or None."""
        if self._logins is None:
            self._logins = self._read()
        return self._logins.get(host)

    def _read(self) -> Dict[str, Tuple[str, str]]:
        name = os.environ.get("NETRC") or "~/.netrc"
        try:
            entries = netrc.netrc(str(Path(name).expanduser())).hosts
        except FileNotFoundError:
            return {}
        except (netrc.NetrcParseError, OSError, ValueError, RuntimeError):
            # The parser's own message would quote the file, and with it a password.
            self.unreadable = True
            return {}
        return {
            host.lower(): (login or account or "", password or "")
            for host, (login, account, password) in entries.items()
            if host != "default"
        }


class Credentials:
    """The credentials that one configured URL and its redirects may use.

    Args:
        url: the URL as configured, perhaps with user name and password.
        netrc: where passwords of other hosts are looked up.
    """

    def __init__(self, url: str, netrc: Netrc) -> None:
        parts = urlsplit(url)
        self._owner = parts
        self._own = None
        if "@" in parts.netloc:
            self._own = _basic(unquote(parts.username or ""), unquote(parts.password or ""))
        self._netrc = netrc

    def header(self, url: str) -> Optional[str]:
        """Return the value of ``Authorization`` for a request to *url*, or None."""
        parts = urlsplit(url)
        if self._own and _belongs(self._owner, parts):
            return self._own
        host = (parts.hostname or "").lower()
        if host in _TOKEN_HOSTS and parts.scheme == "https" and _port(parts) == 443:
            token = _github_token()
            if token:
                return f"Bearer {token}"
        if parts.scheme != "https" and host != self._owner.hostname:
            return None
        login = self._netrc.login(host)
        return _basic(*login) if login else None


def strip_userinfo(url: str) -> str:
    """Return *url* without user name and password, and without its fragment."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")


def _belongs(owner: SplitResult, other: SplitResult) -> bool:
    if owner.hostname != other.hostname:
        return False
    upgraded = (owner.scheme, _port(owner), other.scheme, _port(other)) == ("http", 80, "https", 443)
    return upgraded or (owner.scheme == other.scheme and _port(owner) == _port(other))


def _port(parts: SplitResult) -> Optional[int]:
    return parts.port or _PORTS.get(parts.scheme)


def _github_token() -> str:
    for variable in _TOKEN_VARIABLES:
        token = os.environ.get(variable, "").strip()
        # A token with a line break or the like would be quoted in the HTTP library's error message.
        if token and all("!" <= character <= "~" for character in token):
            return token
    return ""
