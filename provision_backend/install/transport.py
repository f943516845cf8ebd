"""Make HTTP requests with httpx: one GET that follows redirects by our rules, and explains failures in our words.

In: a URL, which may hold user name and password, and request headers. Out: a `Stream` of the bytes as they came over
the wire, or a `SourceError` that says whether another try makes sense. Every exception of httpx is translated here.

- A redirect never leads from HTTPS to plain HTTP.
- A credential goes to the host it belongs to. User name and password of a URL: to its scheme, host and port.
  ``GITHUB_TOKEN`` or ``GH_TOKEN``: to github.com and api.github.com over HTTPS. An entry ``machine`` of the netrc file:
  to that host, and over plain HTTP only where the configured URL names it too, since anybody may redirect a plain
  request. An entry ``default`` names no host and is not used.
- What proxies, certificates and connections have to do with it is in `network`.

Importing this module imports httpx, so only `provision_backend.install.download` does so, and only for a URL.

Source: RFC 9110, 15 (status codes); 15.4 (a client does not carry credentials to another origin).
"""

from __future__ import annotations

import contextlib
import functools
import math
import netrc
import os
import re
import ssl
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from ..errors import DownloadError, MissingDependencyError
from ..output import printable, redact_text
from ..settings import Settings
from ..versions import own_version
from .network import Connections, Pace, find_route, httpcore, httpx, make_context
from .partial import Stream, is_encoded, is_plain
from .sources import Route, SourceError, host_of, is_github, is_loopback

__all__ = ["Transport"]

MAX_REDIRECTS = 10  # Astral's mirror and GitHub take one.
REDIRECTS = frozenset([301, 302, 303, 307, 308])
ABSENT = frozenset([403, 404, 410])  # Object stores answer 403 for what does not exist.
_BY_SERVER = frozenset([401, 404, 410])  # A proxy that refuses or fails answers otherwise.
RETRIED = frozenset([408, 425, 429, 500, 502, 503, 504])
GITHUB_HINT = (
    "GitHub answers 403, 404 or 429 to addresses that ask too often, such as those that CI runners share: "
    "set GITHUB_TOKEN, or a mirror (PROVISION_BACKEND_MIRROR)"
)
PATIENCE = 2.0  # times the read-timeout: how long a source may send hardly anything
_SAME_SECOND = 60.0  # seconds for which a file may still change without a new modification time
_USER_AGENT = f"provision-backend/{own_version() or 0} (Python {sys.version.split()[0]})"
_PORTS = {"http": 80, "https": 443}


class Transport:
    """Makes a request and its redirects, each over its own connection, until ``time.monotonic()`` is *deadline*."""

    def __init__(self, settings: Settings, deadline: float = math.inf) -> None:
        self._settings = settings
        self._pace = Pace(PATIENCE * settings.read_timeout, deadline)
        self._open = contextlib.ExitStack()
        self._logins = _read_netrc()

    @contextlib.contextmanager
    def open(self, url: str, headers: Optional[Mapping[str, str]] = None, *, secure: bool = False) -> Iterator[Stream]:
        """Request *url*, which may hold a login, and give the answer; the connection ends with the ``with`` statement.

        With *secure* plain HTTP is refused, except from this machine.

        Raises:
            SourceError: no answer, or one that has no use.
            DownloadError: the proxy or CA settings of the environment are broken.
        """
        with self._open:
            response, route = self._follow(url, headers or {}, secure=secure)
            fields = response.headers
            with _noting(route):
                yield Stream(
                    response.status_code,
                    fields,
                    _content_length(fields),
                    _find_validator(fields),
                    self._chunks(response),
                )

    def _follow(self, url: str, headers: Mapping[str, str], *, secure: bool) -> Tuple[httpx.Response, Route]:
        target = first = _strip_userinfo(url)
        for _ in range(MAX_REDIRECTS + 1):
            if secure and not (target.startswith("https:") or is_loopback(target)):
                raise SourceError("plain http:// is refused, since nothing says whether the text is the right one")
            firewall = f"a firewall must let through {host_of(target)} too, not only {host_of(first)}"
            # The next host may need another proxy.
            route = find_route(target)
            with _noting(route), _blame(target, first, firewall):
                response = self._ask(target, headers, self._choose_auth(target, url), route)
            location = response.headers.get("location", "") if response.status_code in REDIRECTS else ""
            if not location:
                with _noting(route), _blame(target, first):
                    self._check(response, target, route)
                return response, route
            self._open.close()  # The body of a redirect is of no use, and may have no end.
            target = _redirected(target, location)
        raise SourceError(f"more than {MAX_REDIRECTS} redirects")

    def _choose_auth(self, target: str, url: str) -> Any:
        """Return what authenticates a request to *target*, reached from the configured *url*, in httpx's terms."""
        own, asked = urlsplit(url), urlsplit(target)
        here, there = [(parts.hostname, parts.scheme, parts.port or _PORTS[parts.scheme]) for parts in (own, asked)]
        upgraded = here[1:] == ("http", 80) and there == (here[0], "https", 443)
        if "@" in own.netloc and (here == there or upgraded):
            return unquote(own.username or ""), unquote(own.password or "")
        # A company's own GitHub has other hosts, and a mirror must not see the token. The hosts that GitHub redirects
        # to take a signature in the URL, and refuse a request that brings a second credential.
        token = _github_token() if there[1:] == ("https", 443) and there[0] in ("github.com", "api.github.com") else ""
        if token:
            return functools.partial(_bear, token)
        # The netrc file names no port, and behind another one may be another user's server.
        if here != there and there[1:] != ("https", 443):
            return None
        return (self._logins or {}).get(there[0] or "")

    def _ask(self, url: str, headers: Mapping[str, str], auth: Any, route: Route) -> httpx.Response:
        # A proxy that compresses on the fly would break the hash, so the encoding that is none is asked for.
        fields = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", "Connection": "close", **headers}
        timeout = httpx.Timeout(self._settings.read_timeout, connect=self._settings.connect_timeout)
        # One client a request: it is for one proxy, and nothing is asked twice.
        connections = self._connect(url, route)
        client = self._open.enter_context(httpx.Client(trust_env=False, transport=connections, timeout=timeout))
        try:
            response = client.send(client.build_request("GET", url, headers=fields), stream=True, auth=auth)
        except Exception as error:
            raise _translate(error, self._settings, route) from None
        self._open.callback(response.close)
        if auth and is_github(url) and response.status_code in (401, 403, 404):
            # The token in the environment may be that of another GitHub; what is downloaded is public.
            self._open.close()
            return self._ask(url, headers, None, route)
        return response

    def _connect(self, url: str, route: Route) -> Connections:
        """Return what sends one request, with the proxy and the certificates that it needs."""
        proxy = route.proxy
        # A request without TLS needs no certificates, which take longer to load than a near server to answer.
        trusted = self._trusted if url.startswith("https:") or proxy.startswith("https:") else None
        try:
            return Connections(proxy, trusted, self._pace)
        except RuntimeError:
            raise MissingDependencyError("socksio", f"use the proxy {route.name}", extra="socks") from None
        except (ValueError, httpx.InvalidURL):
            # These messages quote the address, and with it a password.
            scheme = proxy.partition("://")[0].lower()
            known = ("http", "https", "socks5", "socks5h")
            found = "its address is malformed" if scheme in known else f"found {scheme}://"
            wanted = "wanted http://, https://, socks5:// or socks5h://"
            message = f"the environment names a proxy that cannot be used: {wanted}, {found}"
            raise DownloadError(message, hint=f"correct {route.variable}") from None

    @functools.cached_property
    def _trusted(self) -> ssl.SSLContext:
        if isinstance(ssl, type):  # See `provision_backend.install.download.make_transport`.
            hint = "https:// needs it: name a folder or an http:// mirror in the setting mirror, or use another Python"
            raise SourceError("this Python has no module 'ssl'", hint=hint)
        try:
            return make_context()
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError. A CA file that does not exist is reported without its name.
            message = f"could not set up HTTPS: {redact_text(str(error))}"
            raise DownloadError(message, hint="check SSL_CERT_FILE and SSL_CERT_DIR") from None

    def _check(self, response: httpx.Response, url: str, route: Route) -> None:
        status, hint = response.status_code, ""
        if status in (200, 206, 416):
            return
        # Over plain HTTP the proxy answers, with what the server has said or what it says itself; SOCKS relays bytes.
        relayed = url.startswith("http:") and route.proxy.lower().startswith("http")
        if relayed and status == 407:
            raise _refused(route, status)
        if status in (403, 404, 429) and is_github(url):
            hint = GITHUB_HINT
        elif status == 401:
            broken = "; the netrc file exists but could not be read" if self._logins is None else ""
            hint = f"{host_of(url)} wants other credentials: in the URL, or in the netrc file{broken}"
        reason = _describe(status) + (f" (asked through the proxy {route.name})" if relayed else "")
        wait = _read_retry_after(response.headers.get("retry-after", ""))
        by_proxy = relayed and status not in _BY_SERVER
        raise SourceError(
            reason, hint=hint, retry=status in RETRIED, wait=wait, absent=status in ABSENT, by_proxy=by_proxy
        )

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        self._pace.begin_window()
        try:
            for chunk in response.iter_raw():
                self._pace.body += len(chunk)
                yield chunk
        except httpcore.RemoteProtocolError:
            length, received = _content_length(response.headers), response.num_bytes_downloaded
            known = f"after {received} of {length} bytes" if length is not None else "before its last chunk"
            raise SourceError(f"the body ended {known}", retry=True) from None
        except Exception as error:
            raise _translate(error, self._settings, Route()) from None


@contextlib.contextmanager
def _noting(route: Route) -> Iterator[None]:
    """Have a failure say how the server was asked."""
    try:
        yield
    except SourceError as failure:
        failure.route = route
        raise


@contextlib.contextmanager
def _blame(target: str, first: str, hint: str = "") -> Iterator[None]:
    """Have a failure name the host that a redirect has led to, which is not the one that people know."""
    try:
        yield
    except SourceError as failure:
        if host_of(target) != host_of(first):
            failure.reason = f"redirected to {host_of(target)}: {failure.reason}"
            failure.hint = failure.hint or hint
        raise


def _bear(token: str, request: httpx.Request) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _read_netrc() -> Optional[Dict[str, Tuple[str, str]]]:
    """Return the logins of ``NETRC``, else ``~/.netrc``, by host; None where the file exists but cannot be parsed."""
    try:
        entries = netrc.netrc(os.path.expanduser(os.environ.get("NETRC") or "~/.netrc")).hosts
    except FileNotFoundError:
        return {}
    except (netrc.NetrcParseError, OSError, ValueError, RuntimeError):
        # The parser's own message would quote the file, and with it a password.
        return None
    return {
        host.lower(): (login or account or "", password or "")
        for host, (login, account, password) in entries.items()
        if host != "default"
    }


def _github_token() -> str:
    tokens = (os.environ.get(variable, "").strip() for variable in ("GITHUB_TOKEN", "GH_TOKEN"))
    # A token with a line break or the like would be quoted in the HTTP library's error message.
    return next((token for token in tokens if re.fullmatch("[!-~]+", token)), "")


def _strip_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _content_length(headers: Mapping[str, str]) -> Optional[int]:
    """Return the length of the body in bytes, or None where the header does not say."""
    value = headers.get("content-length", "").strip()
    # With a transfer encoding the length is not that of the body (RFC 9112, 6.3).
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) and "transfer-encoding" not in headers else None


def _find_validator(headers: Mapping[str, str]) -> str:
    """Return what ``If-Range`` may hold to continue the file of this answer, or nothing."""
    # A weak tag, a date too close to the answer's, or a body that was encoded do not stand for certain bytes.
    if is_encoded(headers) or headers.get("accept-ranges", "").strip().lower() == "none":
        return ""
    tag, date = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if re.fullmatch(r'"[^"]*"', tag) and is_plain(tag):
        return tag
    age = (_read_date(headers.get("date", "")) or 0) - (_read_date(date) or float("inf"))
    return date if is_plain(date) and age >= _SAME_SECOND else ""


def _read_date(text: str) -> Optional[float]:
    """Return an HTTP date in seconds since the epoch, or None where it is not one."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError):
        return parsedate_to_datetime(text).timestamp()
    return None


def _read_retry_after(value: str) -> Optional[float]:
    """Return the seconds that a header ``Retry-After`` asks for: a number, or an HTTP date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    date = _read_date(value)
    return None if date is None else max(date - time.time(), 0.0)


def _translate(error: Exception, settings: Settings, route: Route) -> SourceError:
    """Return what an exception of a request means; the one place that knows those of httpx."""
    certificate = _certificate_error(error)
    if certificate:
        hint = "where a proxy of the network re-signs TLS, set SSL_CERT_FILE to a file with its CA certificate"
        return SourceError(f"its certificate is not trusted: {certificate}", hint=hint)
    if isinstance(error, SourceError):
        return error
    if isinstance(error, httpcore.ProxyError):
        match = re.match(r"([1-5]\d\d)\b", str(error))
        return _refused(route, int(match[1])) if match else _refused(route, 0, _printable(str(error)))
    reason, retry = _explain(error, settings, route.name)
    return SourceError(reason, retry=retry, by_proxy=bool(route.proxy))


def _explain(error: Exception, settings: Settings, proxy: str) -> Tuple[str, bool]:
    """Return what an exception means, and whether another try makes sense."""
    by = f" by the proxy {proxy}" if proxy else ""
    if isinstance(error, httpcore.ConnectTimeout):
        return f"no connection within {settings.connect_timeout:g} s{by}", True
    if isinstance(error, httpcore.TimeoutException):
        return f"nothing came for {settings.read_timeout:g} s{by}", True
    if isinstance(error, httpcore.RemoteProtocolError):
        return f"it closed the connection, or did not answer in HTTP{by}", True
    if isinstance(error, (httpcore.NetworkError, OSError)):
        text = _printable(str(error)) or type(error).__name__
        return (f"the proxy {proxy} could not be reached: {text}" if proxy else text), True
    if isinstance(error, (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol, httpx.InvalidURL, UnicodeError)):
        # These messages quote the URL or the headers of our own request.
        return f"not a request that can be made ({type(error).__name__})", False
    # h11 and socksio stumble over some answers: a number of 5,000 digits, or another protocol than SOCKS.
    return f"its answer could not be understood{by} ({type(error).__name__})", False


def _refused(route: Route, status: int, reason: str = "") -> SourceError:
    """Return the refusal of a proxy, with the status of its answer; 0 where it does not speak HTTP."""
    hint = f"put the user name and password of the proxy into {route.variable}" if status == 407 else ""
    # A refusal (407, 403) stays one; a 502 may be gone the next time.
    retry = not status or status >= 500
    found = reason or _describe(status)
    return SourceError(f"the proxy {route.name} refuses: {found}", hint=hint, retry=retry, by_proxy=True)


def _certificate_error(error: Optional[BaseException]) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or error.reason
        error = error.__cause__ or error.__context__
    return ""


def _printable(text: str) -> str:
    # A server may have put anything into it. A part of a long text might end within a password.
    return printable(redact_text(text)) if len(text) < 300 else f"{len(text)} characters"


def _redirected(url: str, location: str) -> str:
    try:
        target = _strip_userinfo(urljoin(url, location))
        parts = urlsplit(target)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise SourceError("redirected to something that is not a URL") from None
    if scheme not in ("http", "https") or not host:
        raise SourceError(f"redirected to {_printable(scheme) or 'nothing'}://, which is not HTTP")
    if scheme == "http" and url.startswith("https:"):
        raise SourceError(f"redirected from https:// to http://{_printable(host)}, which is refused")
    return target


def _describe(status: int) -> str:
    # Not the server's own phrase: anything may stand in that.
    phrase = httpx.codes.get_reason_phrase(status)
    return f"{status} {phrase}" if phrase else f"HTTP status {status}"
