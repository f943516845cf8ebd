"""A real nginx on loopback, as an administrator would set one up: a folder, perhaps a password, perhaps a limit.

In: a folder to serve. Out: `Nginx`, whose configuration, logs and temporary files lie in a folder of their own. It runs
in the foreground, as whoever runs the tests, and is ended with the ``with`` statement.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import List, Optional, Tuple, Type

from .host_interpreters import Unavailable

__all__ = ["Nginx", "Request", "find_nginx"]

_OWN = "/?are-you-done"
_CONFIGURATION = """\
daemon off;
master_process off;
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 256; }}
http {{
    # By default these are folders of the system, which only root can write.
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    log_format told '$status|$body_bytes_sent|$http_range|$request_uri';
    access_log {work}/access.log told;
    default_type application/octet-stream;
{http}
    server {{
        listen 127.0.0.1:{port};
{server}
    }}
}}
"""


@dataclass(frozen=True)
class Request:
    """One line of the access log."""

    status: int
    sent: int
    """Bytes of the body."""
    range: str
    """The header field ``Range``, or a hyphen."""
    target: str
    """The request target, still quoted."""


class Nginx:
    """A server in a process; a context manager that starts and ends it.

    Args:
        work: an empty folder for what it writes.
        server: what stands in ``server { }``; ``{work}`` is replaced by the folder.
        http: what stands in ``http { }``.
        login: user name and password, for the file ``{work}/passwords``.

    Raises:
        Unavailable: there is no nginx on this machine.
    """

    def __init__(self, work: Path, server: str, *, http: str = "", login: Optional[Tuple[str, str]] = None) -> None:
        self.program = find_nginx()
        self.work = work
        self._server = server.replace("{work}", str(work))
        self._http = http
        self.port = 0
        self._process: Optional[subprocess.Popen[bytes]] = None
        work.mkdir(parents=True, exist_ok=True)
        if login:
            (work / "passwords").write_text(f"{login[0]}:{_salted(login[1])}\n", encoding="ascii")

    def __enter__(self) -> Nginx:
        for _ in range(5):
            if self._start():
                return self
        raise AssertionError(f"nginx does not start: {self._said()}")

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> List[Request]:
        """All requests that were answered so far, in the order in which they ended."""
        if self._process is not None and self._process.poll() is None:
            self._ask()
        try:
            lines = (self.work / "access.log").read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        fields = (line.split("|", 3) for line in lines)
        seen = [Request(int(status), int(sent), asked, target) for status, sent, asked, target in fields]
        return [request for request in seen if request.target != _OWN]

    def forget(self) -> None:
        """Empty the access log."""
        (self.work / "access.log").write_bytes(b"")

    def _ask(self) -> None:
        """Make a request of our own: one process answers all, so when it is answered those before are in the log."""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(f"GET {_OWN} HTTP/1.0\r\n\r\n".encode("ascii"))
            while connection.recv(65_536):
                pass

    def _start(self) -> bool:
        """Start it on a port that was free a moment ago; False where somebody else was quicker."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        text = _CONFIGURATION.format(work=self.work, http=self._http, server=self._server, port=self.port)
        (self.work / "nginx.conf").write_text(text, encoding="utf-8")
        with (self.work / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [self.program, "-p", str(self.work), "-c", "nginx.conf"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        return False

    def _said(self) -> str:
        files = [self.work / "output", self.work / "error.log"]
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files if path.exists())


def find_nginx() -> str:
    """Return the path of nginx.

    Raises:
        Unavailable: it is not installed.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Unavailable("nginx is not installed")
    return found


def _salted(password: str) -> str:
    # nginx understands this form, whatever the C library's crypt() knows.
    salt = b"saltsalt"
    digest = hashlib.sha1(password.encode() + salt).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()
