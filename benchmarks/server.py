"""Serve a folder on loopback like a link and an index of packages: ``python server.py FOLDER RATE ROUND_TRIP``.

In: the folder, megabits a second (0 for all that loopback gives) and seconds of a round trip. Out: the port, on
standard output, and a line a request on standard error. The rate is that of bodies, shared by all connections. A new
connection costs two round trips before its first request, as TCP and TLS 1.3 do, and each request one more. Caches of
pip and uv keep files for ever, as those of the public index, and pages for a second, not for its ten minutes: so a
build finds them as one does an hour after the last, and each package costs a request that is answered "not modified".
"""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Link", "main"]


class Link:
    """What lets so many bytes a second pass, of all connections together.

    Args:
        megabits: a second; 0 for no limit.
        round_trip: seconds.
    """

    def __init__(self, megabits: float, round_trip: float) -> None:
        self.round_trip = round_trip
        self._rate = megabits * 125_000
        self._bodies = 0
        self._free = 0.0
        self._lock = threading.Lock()

    def send(self, source: Any, target: Any) -> None:
        """Copy a file, no faster than the link."""
        with self._lock:
            # No sleep ends on time, which a body makes up for; what nobody asked for is not made up.
            self._free = self._free if self._bodies else time.monotonic()
            self._bodies += 1
        try:
            while block := source.read(65_536):
                with self._lock:
                    self._free += len(block) / self._rate if self._rate else 0
                    left = self._free - time.monotonic()
                time.sleep(max(0.0, left))
                target.write(block)
        finally:
            with self._lock:
                self._bodies -= 1


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *arguments: Any, link: Link, **more: Any) -> None:
        self._link = link
        super().__init__(*arguments, **more)

    def setup(self) -> None:
        time.sleep(2 * self._link.round_trip)
        super().setup()

    def send_head(self) -> Any:
        time.sleep(self._link.round_trip)
        path = Path(self.translate_path(self.path))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted or not path.is_file():
            return super().send_head()
        modified, size = self.date_time_string(path.stat().st_mtime), path.stat().st_size
        first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        if self.headers.get("If-Range", modified) != modified:
            return super().send_head()
        if first > last:
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        return io.BytesIO(path.read_bytes()[first : last + 1])

    def end_headers(self) -> None:
        page = self.path.endswith("/")
        self.send_header("Cache-Control", "max-age=1, public" if page else "max-age=365000000, immutable, public")
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def guess_type(self, path: Any) -> str:
        page = str(path).endswith(".html")
        return "application/vnd.pypi.simple.v1+json" if page else "application/octet-stream"

    def copyfile(self, source: Any, outputfile: BinaryIO) -> None:  # type: ignore[override]
        self._link.send(source, outputfile)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # As many builds start at once.


def main(folder: str, megabits: str, round_trip: str) -> None:
    """Serve until the process is ended."""
    link = Link(float(megabits), float(round_trip))
    server = _Server(("127.0.0.1", 0), partial(_Handler, link=link, directory=folder))
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
