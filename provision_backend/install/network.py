"""The network below a request: proxies, certificates, and connections that bound what a server may send.

- Proxies are those of the environment or the system, as ``urllib`` reads them, except for a host in a network that
  ``NO_PROXY`` names (``10.0.0.0/8``). This machine is never asked through a proxy.
- Certificates: ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` where one is set, and nothing else then; otherwise those of the
  system, and those of certifi where it is installed, since a bare container has none.
- No server holds us: see `Pace` for what bounds an answer. httpx bounds single reads only, and takes no network
  backend, so the connections are those of httpcore, its network layer, behind a backend of ours.

No other module knows which releases of httpx and httpcore are used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import sys
import time
from typing import Any, Dict, Optional
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..output import format_size
from ..systems import RUNNING
from .sources import Route, SourceError, is_loopback

# httpx has had no release since 2024; its authors go on as httpx2, which needs Python 3.11.
if sys.version_info >= (3, 11):
    import httpcore2 as httpcore
    import httpx2 as httpx
else:
    import httpcore
    import httpx

__all__ = ["Connections", "Pace", "find_route", "httpcore", "httpx", "make_context"]

MIN_RATE = 1000  # bytes a second; the line of a modem has five times as much, and dnf's "minrate" is the same
MAX_OVERHEAD = 256 << 10  # bytes that may come beside bodies; httpcore allows 100 kB to a header, a proxy sends one too
_TICK = 0.01  # seconds by which a time-out of the system may be early


class Pace(httpcore.SyncBackend):  # type: ignore[misc]  # Without its package a class has no type.
    """The network below one answer, which bounds redirects, interim answers, headers, body and trailers together.

    A silent server is the business of the time-outs. This is about one that goes on sending, where no single read takes
    long: it is given up when less than `MIN_RATE` of a body has come in *patience* seconds of waiting, when it sends
    much beside the body, and at the *deadline* of ``time.monotonic()``. Only the seconds spent in reading count for the
    rate, so that neither a slow disk nor a slow CPU of ours is taken for a slow server.
    """

    def __init__(self, patience: float, deadline: float) -> None:
        self.body = 0
        """Bytes of the body that were taken."""
        self._patience = patience
        self._deadline = deadline
        self._received = 0
        self._streams = contextlib.ExitStack()
        self.close = self._streams.close
        self.begin_window()

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        """Connect to a server or a proxy."""
        stream = super().connect_tcp(*args, **options)
        self._streams.callback(stream.close)  # httpcore leaves it open where a SOCKS proxy refuses.
        return _Connection(stream, self)

    def begin_window(self) -> None:
        """Begin to measure anew, as where the header has come."""
        self._waited, self._before = 0.0, self.body

    def read(self, stream: httpcore.NetworkStream, size: int, timeout: Optional[float]) -> bytes:
        """Read from a connection as `httpcore.NetworkStream.read` does, or raise `SourceError`."""
        self._check()
        began = time.monotonic()
        left = min(self._patience - self._waited, self._deadline - began)
        try:
            data: bytes = stream.read(size, timeout=left if timeout is None else min(timeout, left))
            self._received += len(data)
        finally:
            # A time-out was ours if the time is over now, and our error then takes the place of that one.
            self._waited += time.monotonic() - began
            self._check()
        return data

    def _check(self) -> None:
        if time.monotonic() > self._deadline - _TICK:
            raise SourceError("the time for one source is over")
        if self._received > 2 * self.body + MAX_OVERHEAD:
            raise SourceError(f"sends more than {format_size(MAX_OVERHEAD)} that are not the file")
        if self._waited > self._patience - _TICK:
            if self.body - self._before < MIN_RATE * self._patience:
                raise SourceError(f"sends less than {format_size(MIN_RATE)} a second for {self._patience:g} s")
            self.begin_window()


class _Connection(httpcore.NetworkStream):  # type: ignore[misc]
    """A connection of httpcore, in the clear or in TLS."""

    def __init__(self, stream: httpcore.NetworkStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self.write, self.close, self.get_extra_info = stream.write, stream.close, stream.get_extra_info

    def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        """Read what has come, or wait for it."""
        return self._pace.read(self._stream, max_bytes, timeout)

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        """Begin TLS; the time-out of ``ssl`` is one for the whole handshake."""
        return _Connection(self._stream.start_tls(*args, **options), self._pace)


class Connections(httpx.BaseTransport):  # type: ignore[misc]
    """What `httpx.HTTPTransport` does, which takes no network backend; errors stay those of httpcore."""

    def __init__(self, proxy: str, trusted: Optional[ssl.SSLContext], pace: Pace) -> None:
        self._pace = pace
        options: Dict[str, Any] = {"ssl_context": trusted, "network_backend": pace}
        kind = httpcore.ConnectionPool
        if proxy:
            named = httpx.Proxy(proxy)
            options.update(proxy_url=_plain_url(named.url), proxy_auth=named.raw_auth)
            kind = httpcore.SOCKSProxy if named.url.scheme.startswith("socks") else httpcore.HTTPProxy
            if named.url.scheme == "https":
                options["proxy_ssl_context"] = trusted
        self._pool = kind(**options)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer, whose body is still to come."""
        fields, extensions = request.headers.raw, request.extensions
        asked = httpcore.Request(request.method, _plain_url(request.url), headers=fields, extensions=extensions)
        answer = self._pool.handle_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.stream)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        self._pace.close()


def _plain_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def make_context() -> ssl.SSLContext:
    """Return the certificates that are trusted; raises `OSError` or `ValueError` where what is set names none."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        # httpx reads one of them only.
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    context: ssl.SSLContext = httpx.create_ssl_context()
    if RUNNING.name not in ("windows", "macos"):
        # httpx trusts certifi's list alone, httpx2 the system's; a company's own authority is in the latter only.
        context.load_default_certs()
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def find_route(url: str) -> Route:
    """Return the proxy for a request, and the variable that decides which one is asked."""
    if is_loopback(url):
        return Route()
    parts, proxies = urlsplit(url), getproxies()
    kind = "all" if proxies.get("all") and not proxies.get(parts.scheme) else parts.scheme
    address, excepted = proxies.get(kind) or "", proxies.get("no", "")
    if not address:
        return Route("", _variable(kind, ""))
    if proxy_bypass(parts.netloc) or _is_in_network(parts.hostname or "", excepted):
        return Route("", _variable("no", excepted))
    return Route(address if "://" in address else f"http://{address}", _variable(kind, address))


def _variable(kind: str, value: str) -> str:
    """Return the variable of a kind of proxy as the environment spells it; in capitals where it is not set."""
    # urllib takes any spelling, and prefers that in lower case; Windows and macOS have settings of the system, too.
    name = f"{kind}_proxy"
    spelled = [each for each in (name, *os.environ) if each.lower() == name and os.environ.get(each) == value]
    return spelled[0] if value and spelled else name.upper()


def _is_in_network(host: str, excepted: str) -> bool:
    """Return whether ``NO_PROXY`` names a network of this address, which ``urllib`` does not understand."""
    for entry in excepted.split(","):
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip(), strict=False):
                return True
    return False
