"""A plain HTTP server of a folder on loopback, in a process of its own: ``python -m benchmarks.server FOLDER LOG``.

In: a folder. Out: its files, sent by the kernel, so that the server takes as little as it can of the processors that
the measured programs run on; its port as the first line on standard output; a line in LOG for each request. It ends
with its standard input.
"""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Union

__all__ = ["main"]


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_request(self, code: Union[int, str] = "-", size: Union[int, str] = "-") -> None:  # noqa: ARG002
        """Write down each request."""
        with open(sys.argv[2], "a", encoding="utf-8") as log:
            log.write(f"{self.command} {self.path} {int(code)}\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def copyfile(self, source: IO[bytes], outputfile: Any) -> None:  # type: ignore[override]
        """Send a file without reading it."""
        connection: socket.socket = self.connection
        self.wfile.flush()
        try:
            connection.sendfile(source)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except ValueError:
            shutil.copyfileobj(source, outputfile)  # What is no regular file, such as the text of a listing.


def main() -> int:
    """Serve until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=sys.argv[1]))
    server.daemon_threads = True
    Path(sys.argv[2]).touch()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
