"""HTTP as we want it: one GET that follows redirects by our rules, and says in our words why it failed.

In: a URL, which may hold user name and password, and request headers. Out: a `Stream` of the bytes as they came
over the wire, or a `SourceError` that says whether another try makes sense. Every exception of httpx is
translated here and nowhere else.

HTTPS is never left for HTTP by a redirect. Proxies (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and CA bundles
(``SSL_CERT_FILE``, ``SSL_CERT_DIR``) are those that httpx takes from the environment.

Source: RFC 9110, 15 (status codes).
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional, Type
from urllib.parse import urljoin, urlsplit

from ..errors import DownloadError, MissingDependencyError
from .attempts import SourceError, read_retry_after
from .credentials import Credentials, Netrc, strip_userinfo
from .sources import DownloadOptions, is_github, is_loopback, redact_text

if TYPE_CHECKING:
    import httpx

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
    """Makes requests with one client; a context manager that closes the client it made.

    Args:
        options: time-outs.
        client: the client to use; None makes one from the environment when the first request is made.
    """

    def __init__(self, options: DownloadOptions, client: Optional[httpx.Client] = None) -> None:
        self._options = options
        self._client = client
        self._owned: Optional[httpx.Client] = None
        self._netrc = Netrc()

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._owned is not None:
            self._owned.close()

    @contextlib.contextmanager
    def open(self, url: str, headers: Optional[Mapping[str, str]] = None, *, secure: bool = False) -> Iterator[Stream]:
        """Ask for *url* and give the answer; the connection is closed at the end of the ``with`` statement.

        Args:
            url: an ``http(s)`` URL, with user name and password where it needs them.
            headers: further request headers.
            secure: refuse plain HTTP, except from this machine.

        Raises:
            SourceError: no answer, or one that has no use.
            MissingDependencyError: httpx is not installed.
            DownloadError: the proxy or CA settings of the environment are broken.
        """
        response = self._follow(url, headers or {}, secure)
        try:
            yield Stream(response.status_code, response.headers, self._chunks(response))
        finally:
            _close(response)

    def _follow(self, url: str, headers: Mapping[str, str], secure: bool) -> httpx.Response:
        credentials = Credentials(url, self._netrc)
        first = target = strip_userinfo(url)
        for _ in range(MAX_REDIRECTS + 1):
            if secure and not (target.startswith("https:") or is_loopback(target)):
                raise SourceError("plain http:// is refused, since nothing says whether the text is the right one")
            response = self._ask(target, headers, credentials, first)
            location = response.headers.get("location", "") if response.status_code in REDIRECTS else ""
            if not location:
                self._check(response, target, first)
                return response
            _close(response)
            target = _redirected(target, location)
        raise SourceError(f"more than {MAX_REDIRECTS} redirects")

    def _ask(self, url: str, headers: Mapping[str, str], credentials: Credentials, first: str) -> httpx.Response:
        authorization = credentials.header(url)
        response = self._send(url, headers, authorization, first)
        if authorization and is_github(url) and response.status_code in (401, 403, 404):
            # The token in the environment may be that of another GitHub; what we want is public.
            _close(response)
            return self._send(url, headers, None, first)
        return response

    def _send(self, url: str, headers: Mapping[str, str], authorization: Optional[str], first: str) -> httpx.Response:
        client = self._get_client()
        import httpx

        # A proxy that compresses on the fly would break the hash, so the encoding that is none is asked for.
        fields = {"User-Agent": _user_agent(), "Accept-Encoding": "identity", **headers}
        if authorization:
            fields["Authorization"] = authorization
        options = self._options
        timeout = httpx.Timeout(options.read_timeout, connect=options.connect_timeout)
        try:
            request = client.build_request("GET", url, headers=fields, timeout=timeout)
            return client.send(request, auth=None, follow_redirects=False, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            failure = _translate(error, options)
        if _host(url) != _host(first):
            failure.reason = f"redirected to {_host(url)}: {failure.reason}"
            failure.hint = failure.hint or f"a firewall must let through {_host(url)} too, not only {_host(first)}"
        raise failure

    def _get_client(self) -> httpx.Client:
        client = self._client or self._owned
        if client is None:
            client = self._owned = _make_client()
        return client

    def _check(self, response: httpx.Response, url: str, first: str) -> None:
        status = response.status_code
        if status in (200, 206, 416):
            return
        _close(response)
        reason = _describe(status)
        if _host(url) != _host(first):
            reason = f"redirected to {_host(url)}: {reason}"
        raise SourceError(
            reason,
            hint=self._advise(status, url),
            retry=status in RETRIED,
            wait=read_retry_after(response.headers.get("retry-after", "")),
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

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        import httpx

        try:
            yield from response.iter_raw()
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = _translate(error, self._options)
            raise failure from None


def _make_client() -> httpx.Client:
    try:
        import httpx
    except ImportError:
        raise MissingDependencyError("httpx", "download an interpreter") from None
    hint = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
    try:
        return httpx.Client(trust_env=True, follow_redirects=False)
    except ImportError:
        message = "the environment names a SOCKS proxy, and the package 'socksio' is not installed"
        raise DownloadError(message, hint="install httpx[socks], or name an HTTP proxy") from None
    except httpx.InvalidURL:
        raise DownloadError("the environment names a proxy that is not a URL", hint=hint) from None
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError. A CA file that does not exist is reported without its name.
        raise DownloadError(f"could not set up HTTPS: {redact_text(str(error))}", hint=hint) from None


def _user_agent() -> str:
    import importlib
    import platform

    version = "0"
    with contextlib.suppress(Exception):
        version = importlib.import_module("importlib.metadata").version("provision-backend")
    return f"provision-backend/{version} (Python {platform.python_version()})"


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
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return SourceError(f"no connection within {options.connect_timeout:g} s", retry=True)
    if isinstance(error, httpx.TimeoutException):
        return SourceError(f"nothing came for {options.read_timeout:g} s", retry=True)
    certificate = _certificate_error(error)
    if certificate:
        hint = "where a proxy of the network re-signs TLS, set SSL_CERT_FILE to a file with its CA certificate"
        return SourceError(f"its certificate is not trusted: {certificate}", hint=hint)
    if isinstance(error, httpx.LocalProtocolError) or not isinstance(error, httpx.TransportError):
        # These messages quote the URL or the headers of our own request.
        return SourceError(f"not a request that can be made ({type(error).__name__})")
    text = redact_text(str(error)) or type(error).__name__
    if isinstance(error, httpx.ProxyError):
        # A refusal of the proxy (407, 403) stays one; a 502 may be gone the next time.
        return SourceError(f"the proxy refuses: {text}", retry=not text.startswith("4"))
    return SourceError(text, retry=True)


def _certificate_error(error: BaseException) -> str:
    cause: Optional[BaseException] = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or cause.reason
        cause = cause.__cause__ or cause.__context__
    return ""


def _describe(status: int) -> str:
    # Not the server's own phrase: anything may stand in that.
    with contextlib.suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return f"HTTP status {status}"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _close(response: Any) -> None:
    with contextlib.suppress(Exception):
        response.close()
