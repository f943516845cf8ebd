"""HTTP as we want it: one GET that follows redirects by our rules, and says in our words why it failed.

In: a URL, which may hold user name and password, and request headers. Out: a `Stream` of the bytes as they came
over the wire, or a `SourceError` that says whether another try makes sense. Every exception of the connection is
translated here and nowhere else.

HTTPS is never left for HTTP by a redirect. Proxies and certificates: `provision_backend.install.connection`.

Source: RFC 9110, 15 (status codes).
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Tuple, Type
from urllib.parse import urljoin, urlsplit

from ..versions import own_version
from .attempts import SourceError, read_retry_after
from .connection import Answer, Connector, ConnectTimeoutError, ProxyRefusedError
from .credentials import Credentials, Netrc, strip_userinfo
from .sources import DownloadOptions, is_github, is_loopback, redact_text

__all__ = ["Stream", "Transport"]

MAX_REDIRECTS = 10
REDIRECTS = frozenset([301, 302, 303, 307, 308])
ABSENT = frozenset([403, 404, 410])  # Object stores answer 403 for what does not exist.
RETRIED = frozenset([408, 425, 429, 500, 502, 503, 504])
GITHUB_HINT = (
    "GitHub answers 403, 404 or 429 to addresses that ask too often, such as those that CI runners share: "
    "set GITHUB_TOKEN, or a mirror (PROVISION_BACKEND_MIRROR)"
)


@dataclass
class Stream:
    """The answer to a request: 200, 206, or 416."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The header fields; names in any case."""
    chunks: Iterator[bytes]
    """The body as it came over the wire, not decoded; raises `SourceError`."""


class Transport:
    """Makes requests, each over a connection of its own.

    Args:
        options: time-outs.
        connector: makes the connections; None makes one from the options.
    """

    def __init__(self, options: DownloadOptions, connector: Optional[Connector] = None) -> None:
        self._options = options
        self._connector = connector or Connector(
            connect_timeout=options.connect_timeout, read_timeout=options.read_timeout
        )
        self._netrc = Netrc()

    @contextlib.contextmanager
    def open(self, url: str, headers: Optional[Mapping[str, str]] = None, *, secure: bool = False) -> Iterator[Stream]:
        """Ask for *url* and give the answer; the connection is closed at the end of the ``with`` statement.

        Args:
            url: an ``http(s)`` URL, with user name and password where it needs them.
            headers: further request headers.
            secure: refuse plain HTTP, except from this machine.

        Raises:
            SourceError: no answer, or one that has no use.
            DownloadError: the proxy or CA settings of the environment are broken.
        """
        answer = self._follow(url, headers or {}, secure)
        try:
            yield Stream(answer.status, answer.headers, self._chunks(answer))
        finally:
            answer.close()

    def _follow(self, url: str, headers: Mapping[str, str], secure: bool) -> Answer:
        credentials = Credentials(url, self._netrc)
        first = target = strip_userinfo(url)
        for _ in range(MAX_REDIRECTS + 1):
            if secure and not (target.startswith("https:") or is_loopback(target)):
                raise SourceError("plain http:// is refused, since nothing says whether the text is the right one")
            answer = self._ask(target, headers, credentials, first)
            location = answer.headers.get("location", "") if answer.status in REDIRECTS else ""
            if not location:
                self._check(answer, target, first)
                return answer
            answer.close()
            target = _redirected(target, location)
        raise SourceError(f"more than {MAX_REDIRECTS} redirects")

    def _ask(self, url: str, headers: Mapping[str, str], credentials: Credentials, first: str) -> Answer:
        authorization = credentials.header(url)
        answer = self._send(url, headers, authorization, first)
        if authorization and is_github(url) and answer.status in (401, 403, 404):
            # The token in the environment may be that of another GitHub; what we want is public.
            answer.close()
            return self._send(url, headers, None, first)
        return answer

    def _send(self, url: str, headers: Mapping[str, str], authorization: Optional[str], first: str) -> Answer:
        # A proxy that compresses on the fly would break the hash, so the encoding that is none is asked for.
        fields = {"User-Agent": _user_agent(), "Accept-Encoding": "identity", **headers}
        if authorization:
            fields["Authorization"] = authorization
        try:
            return self._connector.get(url, fields)
        except _failures() as error:
            failure = _translate(error, self._options)
        if _host(url) != _host(first):
            failure.reason = f"redirected to {_host(url)}: {failure.reason}"
            failure.hint = failure.hint or f"a firewall must let through {_host(url)} too, not only {_host(first)}"
        raise failure

    def _check(self, answer: Answer, url: str, first: str) -> None:
        status = answer.status
        if status in (200, 206, 416):
            return
        answer.close()
        reason = _describe(status)
        if _host(url) != _host(first):
            reason = f"redirected to {_host(url)}: {reason}"
        raise SourceError(
            reason,
            hint=self._advise(status, url),
            retry=status in RETRIED,
            wait=read_retry_after(answer.headers.get("retry-after", "")),
            absent=status in ABSENT,
        )

    def _advise(self, status: int, url: str) -> str:
        if status in (403, 404, 429) and is_github(url):
            return GITHUB_HINT
        if status == 407:
            return "put the user name and password of the proxy into HTTPS_PROXY"
        if status == 401:
            broken = "; the netrc file is there but could not be read" if self._netrc.unreadable else ""
            return f"{_host(url)} wants other credentials: in the URL, or in the netrc file{broken}"
        return ""

    def _chunks(self, answer: Answer) -> Iterator[bytes]:
        try:
            yield from answer.chunks()
        except _failures() as error:
            raise _translate(error, self._options) from None


def _failures() -> Tuple[Type[Exception], ...]:
    from http.client import HTTPException

    # A host name that cannot be encoded is a UnicodeError, which is a ValueError.
    return (OSError, HTTPException, ValueError)


def _user_agent() -> str:
    return f"provision-backend/{own_version() or 0} (Python {sys.version.split()[0]})"


def _redirected(url: str, location: str) -> str:
    try:
        target = strip_userinfo(urljoin(url, location))
        scheme, host = urlsplit(target).scheme, urlsplit(target).hostname
    except ValueError:
        raise SourceError("redirected to something that is not a URL") from None
    if scheme not in ("http", "https") or not host:
        raise SourceError(f"redirected to {scheme or 'nothing'}://, which is not HTTP")
    if scheme == "http" and url.startswith("https:"):
        raise SourceError(f"redirected from https:// to http://{host}, which is refused")
    return target


def _translate(error: Exception, options: DownloadOptions) -> SourceError:
    import socket
    from http.client import HTTPException, IncompleteRead, InvalidURL

    if isinstance(error, ProxyRefusedError):
        # A refusal of the proxy (407, 403) stays one; a 502 may be gone the next time.
        return SourceError(f"the proxy refuses: {_describe(error.status)}", retry=error.status >= 500)
    if isinstance(error, ConnectTimeoutError):
        return SourceError(f"no connection within {options.connect_timeout:g} s", retry=True)
    if isinstance(error, socket.timeout):
        return SourceError(f"nothing came for {options.read_timeout:g} s", retry=True)
    certificate = _certificate_error(error)
    if certificate:
        hint = "where a proxy of the network re-signs TLS, set SSL_CERT_FILE to a file with its CA certificate"
        return SourceError(f"its certificate is not trusted: {certificate}", hint=hint)
    if isinstance(error, IncompleteRead):
        return SourceError("the body ended before its last chunk", retry=True)
    if isinstance(error, InvalidURL) or not isinstance(error, (OSError, HTTPException)):
        # These messages quote the URL or the headers of our own request.
        return SourceError(f"not a request that can be made ({type(error).__name__})")
    return SourceError(redact_text(str(error)) or type(error).__name__, retry=True)


def _certificate_error(error: BaseException) -> str:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or error.reason
    return ""


def _describe(status: int) -> str:
    from http import HTTPStatus

    # Not the server's own phrase: anything may stand in that.
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return f"HTTP status {status}"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
