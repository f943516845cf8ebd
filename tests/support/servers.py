"""A real HTTP server on loopback that counts what it sends, and misbehaves when told to.

``ArchiveServer`` serves a dictionary of paths, a folder, or both; it knows ranges, entity tags, Basic authentication
and redirects. What it should do wrong is appended to ``script``: one `Reply` for each coming request. With ``tls``
it speaks HTTPS; with ``intercept`` it is a proxy that answers for every host, so that the rules about certain hosts
are seen at work without those hosts.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type
from urllib.parse import unquote, urlsplit

__all__ = ["ArchiveServer", "RawServer", "Reply", "Seen", "SocksProxy"]

BLOCK = 16_384


@dataclass
class Reply:
    """How one answer differs from what the server would say."""

    status: int = 0
    """The status; 0 for the right one."""
    headers: Dict[str, str] = field(default_factory=dict)
    """Header fields that are added or replaced."""
    body: Optional[bytes] = None
    """The whole content of the file, or of the message of an error."""
    cut: Optional[int] = None
    """Bytes of the body after which the connection is dropped."""
    stall: Optional[int] = None
    """Bytes of the body after which nothing more comes."""
    length: Optional[int] = None
    """The ``Content-Length`` that is told."""
    chunked: bool = False
    """Send the body in chunks, without a length."""
    ignore_range: bool = False
    """Send the whole file whatever was asked for."""
    ignore_validator: bool = False
    """Send the range even if the file is another one now."""


@dataclass
class Seen:
    """One request that came."""

    method: str
    path: str
    """The request target, as it came, still quoted."""
    headers: Dict[str, str]
    """The header fields, names in lower case."""
    status: int = 0
    sent: int = 0
    """Bytes of the body that were sent."""


class ArchiveServer:
    """A server in a thread; a context manager that starts and stops it.

    Args:
        files: contents by path, such as ``/20251110/name.tar.gz``; behind a proxy also by whole URL.
        root: a folder that is served too.
        tls: speak HTTPS with this certificate.
        intercept: as a proxy, answer for every HTTPS host with this certificate.
    """

    def __init__(
        self,
        files: Optional[Dict[str, bytes]] = None,
        *,
        root: Optional[Path] = None,
        tls: Optional[ssl.SSLContext] = None,
        intercept: Optional[ssl.SSLContext] = None,
    ) -> None:
        self.files = dict(files or {})
        self.root = root
        self.tls = tls
        self.intercept = intercept
        self.redirects: Dict[str, str] = {}
        """Locations by path."""
        self.login: Optional[Tuple[str, str]] = None
        """User name and password that every request must bring."""
        self.validators: Dict[str, str] = {"ETag": ""}
        """Header fields that stand for the content; an empty ETag is replaced by one made from the content."""
        self.script: List[Reply] = []
        self.requests: List[Seen] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> ArchiveServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies so far."""
        return sum(seen.sent for seen in self.requests)

    @property
    def paths(self) -> List[str]:
        """The targets of all requests so far, in order."""
        return [seen.path for seen in self.requests]

    @property
    def statuses(self) -> List[int]:
        """The statuses of all answers so far, in order."""
        return [seen.status for seen in self.requests]

    def note(self, seen: Seen) -> Reply:
        """Keep a request, and take the reply that is scripted for it."""
        with self._lock:
            self.requests.append(seen)
            return self.script.pop(0) if self.script else Reply()

    def find(self, path: str, host: str) -> Optional[bytes]:
        """Return the content at *path*, or None."""
        for key in (f"https://{host}{path}", path):
            if key in self.files:
                return self.files[key]
        if self.root is not None and ".." not in path:
            with contextlib.suppress(OSError):
                return (self.root / path.lstrip("/")).read_bytes()
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close then waits for the handlers, and no socket is left open
    owner: ArchiveServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def setup(self) -> None:
        """Begin with TLS where the server speaks HTTPS."""
        if self.server.owner.tls:
            self.request = self.server.owner.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        """Close what TLS has put round the connection."""
        with contextlib.suppress(OSError):
            super().finish()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """Become the host that the client wants to reach."""
        owner = self.server.owner
        seen = Seen("CONNECT", self.path, {key.lower(): value for key, value in self.headers.items()}, 200)
        reply = owner.note(seen)
        if reply.status or owner.intercept is None:
            seen.status = reply.status or 405
            self._send_head(seen.status, {"Content-Length": "0", **reply.headers})
            self.close_connection = True
            return
        self._send_head(200, {})
        self.close_connection = False  # Before 3.12 http.client asks in HTTP/1.0, and a tunnel stays all the same.
        self.finish_plain()
        self.request = self.connection = owner.intercept.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)

    def finish_plain(self) -> None:
        """Flush what was said before TLS begins."""
        self.wfile.flush()
        self.rfile.close()

    def do_HEAD(self) -> None:
        """Refuse it, as some indexes do; uv then fetches the whole wheel for its metadata."""
        self._send_head(405, {"Content-Length": "0"})

    def do_GET(self) -> None:
        """Serve a file, or do what the script says."""
        owner = self.server.owner
        headers = {key.lower(): value for key, value in self.headers.items()}
        seen = Seen("GET", self.path, headers)
        reply = owner.note(seen)
        status, fields, body = self._answer(seen, reply)
        seen.status = status
        if reply.chunked:
            fields["Transfer-Encoding"] = "chunked"
        else:
            fields["Content-Length"] = str(len(body) if reply.length is None else reply.length)
        fields.update(reply.headers)
        self._send_head(status, fields)
        self._send_body(seen, body, reply)

    def _answer(self, seen: Seen, reply: Reply) -> Tuple[int, Dict[str, str], bytes]:
        owner = self.server.owner
        path = unquote(urlsplit(self.path).path)
        if owner.login and seen.headers.get("authorization") != _basic(owner.login):
            return 401, {"WWW-Authenticate": 'Basic realm="archives"'}, b""
        if reply.status and reply.status != 200:
            return reply.status, {}, reply.body or b""
        host = seen.headers.get("host", "")
        location = owner.redirects.get(f"https://{host}{path}") or owner.redirects.get(path)
        if location:
            return 302, {"Location": location}, b"moved"
        body = reply.body if reply.body is not None else owner.find(path, host)
        if body is None:
            return 404, {}, b"nothing here"
        return self._serve(seen, body, reply)

    def _serve(self, seen: Seen, body: bytes, reply: Reply) -> Tuple[int, Dict[str, str], bytes]:
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        fields = {key: value or tag for key, value in self.server.owner.validators.items()}
        fields["Accept-Ranges"] = "bytes"
        asked = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
        same = reply.ignore_validator or seen.headers.get("if-range", "") in ("", *fields.values())
        if not asked or not same or reply.ignore_range:
            return 200, fields, body
        first = int(asked.group(1))
        if first >= len(body):
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        fields["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        return 206, fields, body[first:]

    def _send_head(self, status: int, fields: Dict[str, str]) -> None:
        self.send_response(status)
        for key, value in fields.items():
            self.send_header(key, value)
        self.end_headers()

    def _send_body(self, seen: Seen, body: bytes, reply: Reply) -> None:
        limit = min(bound for bound in (reply.cut, reply.stall, len(body)) if bound is not None)
        for start in range(0, limit, BLOCK):
            block = body[start : min(start + BLOCK, limit)]
            # Counted before it is written: the test may look at the count as soon as it has the last byte.
            seen.sent += len(block)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if reply.chunked else block)
        if reply.stall is not None:
            self.server.owner.stopped.wait(self.timeout)
        elif reply.chunked and limit == len(body):
            self.wfile.write(b"0\r\n\r\n")
        if limit < len(body) or reply.length is not None:
            self.close_connection = True


def _basic(login: Tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


class SocksProxy:
    """A SOCKS5 proxy that connects everybody to one port of this machine; a context manager.

    Args:
        target: the port.

    Source: RFC 1928.
    """

    def __init__(self, target: int) -> None:
        self.asked: List[bytes] = []
        """Host names that it was given."""
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._socket.getsockname()[1])

    def __enter__(self) -> SocksProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        client, _ = self._socket.accept()
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            client.recv(64)  # The ways to authenticate that are offered.
            client.sendall(b"\x05\x00")
            self.asked.append(client.recv(300)[5:-2])
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            server.sendall(client.recv(1 << 16))
            for data in iter(lambda: server.recv(1 << 16), b""):
                client.sendall(data)


class RawServer:
    """A server that sends what it is told to, byte for byte; a context manager.

    Args:
        answer: called with the number of each request and with its bytes; gives what is sent, piece by piece, for as
            long as the client takes it. After that the connection is closed.
    """

    def __init__(self, answer: Callable[[int, bytes], Iterable[bytes]]) -> None:
        self.requests: List[bytes] = []
        """What came, in order."""
        self._answer = answer
        handler = type("_RawHandler", (socketserver.BaseRequestHandler,), {"handle": self._handle_of})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # This waits for the handlers.

    @property
    def _handle_of(self) -> Callable[[Any], None]:
        def _handle(handler: Any) -> None:
            client: socket.socket = handler.request
            client.settimeout(20)
            request = b""
            # TLS begins with a byte of its own, and a record that has no empty line.
            while not request.startswith(b"\x16") and b"\r\n\r\n" not in request:
                data = client.recv(1 << 16)
                if not data:
                    return
                request += data
            self.requests.append(request)
            for piece in self._answer(len(self.requests) - 1, request):
                client.sendall(piece)

        return _handle
