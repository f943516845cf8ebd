"""One request over one connection: a URL and header fields in, the head of the answer and its bytes as they come out.

This is ``http.client`` of the standard library with what it leaves to its user: which proxy the environment names for
a URL, which certificates are trusted, and two time-outs. A library that does more (httpx, urllib3) takes longer to
import than the answer of a mirror next door takes to arrive, and one request a file needs nothing more.

- Proxies: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` in either case, or what the system says, as
  ``urllib`` reads them; reached over plain HTTP, with user name and password where their URL has them.
- Certificates: ``SSL_CERT_FILE``, else ``SSL_CERT_DIR``, and nothing else where one is set; otherwise the store that
  Python was built to use and, where installed, certifi, since a bare container has none.
- Addresses of a host, IPv6 or IPv4, are tried in the order of the resolver.

Source: RFC 9112, 3.2 (request targets), 6.3 (length of a body); RFC 9110, 9.3.6 (CONNECT).
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Dict, Iterator, Mapping, Optional
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from ..errors import DownloadError
from .sources import redact_text

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from ssl import SSLContext

__all__ = ["Answer", "ConnectTimeoutError", "Connector", "ProxyRefusedError"]

_BLOCK = 1 << 18  # bytes that are read at once, at most
_PATH = "/%:=&?~#+!$,;'@()*[]"  # what stays as it is in a path and a query
_HINT = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"


class ProxyRefusedError(OSError):
    """A proxy did not open a tunnel.

    Args:
        status: its HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


class ConnectTimeoutError(OSError):
    """No connection stood in time."""


class Answer:
    """The head of an answer, and its body to come.

    Args:
        response: as ``http.client`` gives it.
        connection: what it comes over.
    """

    def __init__(self, response: HTTPResponse, connection: HTTPConnection) -> None:
        self._response = response
        self._connection = connection
        self.status = response.status
        self.headers: Dict[str, str] = {}
        """The header fields, names in lower case; values of one name are joined."""
        for name, value in response.getheaders():
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value if known is None else f"{known}, {value}"

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes, not decoded; it may end early.

        Raises:
            OSError: the connection broke, or nothing came in time.
            http.client.HTTPException: it is not of its form.
        """
        # Before Python 3.13 read1 does not count, and would wait behind the last byte for more.
        left = self._response.length
        while left is None or left > 0:
            chunk = self._response.read1(_BLOCK if left is None else min(_BLOCK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._response.close()
        self._connection.close()


class Connector:
    """Makes connections as the environment says.

    Args:
        connect_timeout: seconds until a connection must stand.
        read_timeout: seconds for which a server may be silent.
        context: how certificates are checked; None: as the environment says.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, context: Optional[SSLContext] = None) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._context = context

    def get(self, url: str, fields: Mapping[str, str]) -> Answer:
        """Ask for *url*; the head of the answer is there when this returns.

        Raises:
            DownloadError: the proxy or CA settings of the environment are broken.
            ProxyRefusedError: a proxy did not let us through.
            ConnectTimeoutError: no connection in time.
            OSError: no connection, or it broke.
            http.client.HTTPException: the answer is none.
            ValueError: the URL or a field cannot be sent.
        """
        parts = urlsplit(url)
        target = quote(parts.path or "/", safe=_PATH) + (f"?{quote(parts.query, safe=_PATH)}" if parts.query else "")
        proxy = _find_proxy(parts)
        fields = dict(fields)
        if proxy is not None and parts.scheme == "http":
            target = urlunsplit((parts.scheme, parts.netloc, target, "", ""))
            fields.update(_proxy_fields(proxy))
        connection = self._connect(parts, proxy)
        try:
            connection.request("GET", target, headers={**fields, "Connection": "close"})
            return Answer(connection.getresponse(), connection)
        except BaseException:
            connection.close()
            raise

    def _connect(self, parts: SplitResult, proxy: Optional[SplitResult]) -> HTTPConnection:
        import socket
        from http.client import HTTPConnection, HTTPSConnection

        near = proxy or parts
        host, port = near.hostname or "", near.port
        connection: HTTPConnection
        if parts.scheme == "https":
            connection = HTTPSConnection(host, port or (80 if proxy else 443), context=self._trusted())
            if proxy is not None:
                host, port = parts.hostname or "", parts.port or 443
                # Before Python 3.12 the request for a tunnel has no field Host, without which some proxies refuse it.
                shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                connection.set_tunnel(host, port, headers={"Host": shown, **_proxy_fields(proxy)})
        else:
            connection = HTTPConnection(host, port or 80)
        connection.timeout = self._connect_timeout
        try:
            connection.connect()
        except socket.timeout:
            connection.close()
            raise ConnectTimeoutError from None
        except OSError as error:
            connection.close()
            _explain_tunnel(error)
            raise
        connection.sock.settimeout(self._read_timeout)
        return connection

    def _trusted(self) -> SSLContext:
        if self._context is None:
            try:
                self._context = _make_context()
            except (OSError, ValueError) as error:
                # ssl.SSLError is an OSError. A CA file that does not exist is reported without its name.
                raise DownloadError(f"could not set up HTTPS: {redact_text(str(error))}", hint=_HINT) from None
        return self._context


def _make_context() -> SSLContext:
    import ssl

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        return ssl.create_default_context(cafile=file)
    if folder:
        return ssl.create_default_context(capath=folder)
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _find_proxy(parts: SplitResult) -> Optional[SplitResult]:
    """Return the URL of the proxy for a request, or None.

    Raises:
        DownloadError: it is none that can be used.
    """
    # urllib.request takes its time to import, and on most machines has nothing to say.
    if sys.platform not in ("darwin", "win32") and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    address = proxies.get(parts.scheme) or proxies.get("all")
    if not address or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    try:
        proxy = urlsplit(address if "://" in address else f"http://{address}")
        usable = bool(proxy.hostname) and (proxy.port is None or proxy.port > 0) and "@" not in proxy.path
    except ValueError:
        usable = False
    if not usable:
        raise DownloadError("the environment names a proxy that is not a URL", hint=_HINT)
    if proxy.scheme != "http":
        scheme = proxy.scheme if proxy.scheme in ("https", "socks4", "socks4a", "socks5", "socks5h") else "another kind"
        message = f"the environment names a proxy that is reached over {scheme}, which is not supported"
        raise DownloadError(message, hint="name an http:// proxy, or set a mirror that is reached without one")
    return proxy


def _proxy_fields(proxy: SplitResult) -> Dict[str, str]:
    if "@" not in proxy.netloc:
        return {}
    import base64

    login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode("ascii")}


def _explain_tunnel(error: OSError) -> None:
    """Raise what a refused tunnel means; ``http.client`` says it in words only."""
    import re

    match = re.match(r"Tunnel connection failed: (\d{3})\b", str(error))
    if match:
        raise ProxyRefusedError(int(match[1])) from None
