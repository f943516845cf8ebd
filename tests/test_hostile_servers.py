"""A hundred servers that do what no server should: each is left in time, with one sentence, for one that is good.

They speak over raw sockets. Each is asked for an archive, with a good mirror behind it, and for a catalog.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, Union

import pytest
from support.archives import gzipped, member, tar
from support.servers import ArchiveServer, RawServer

from provision_backend.catalog.archive import Archive
from provision_backend.catalog.selection import parse_catalog
from provision_backend.errors import CatalogError, DownloadError
from provision_backend.files import remove_path
from provision_backend.install import archives, download
from provision_backend.install.download import fetch_text, stream_archive
from provision_backend.install.unpack import Unpacked, unpack_stream
from provision_backend.output import Reporter
from provision_backend.settings import Settings

pytestmark = pytest.mark.slow  # Together they take a minute.

TAG = "20251110"
FILE = f"cpython-3.13.5+{TAG}-x86_64-unknown-linux-gnu-install_only.tar.gz"
GOOD = gzipped(tar(member("python/lib/a.py", b"1"), member("python/lib/b.py", b"2")))
ARCHIVE = Archive(
    FILE, hashlib.sha256(GOOD).hexdigest(), "3.13.5", TAG, "x86_64-unknown-linux-gnu", "install_only", False
)
READ_TIMEOUT = 0.2
DEADLINE = 20.0  # seconds; the read-timeout many times, and less than one source may take in all, which are 24
OK = b"HTTP/1.1 200 OK\r\n"
PART = b"HTTP/1.1 206 Partial Content\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
NINES = b"9" * 5000
BIG = b"x" * 10_000

Answer = Union[bytes, Callable[[], Iterable[bytes]]]


def slowly(*pieces: bytes, first: bytes = b"", pause: float = 0.03) -> Callable[[], Iterator[bytes]]:
    """Send pieces again and again without an end, each after a pause that is much shorter than the time-out."""

    def _send() -> Iterator[bytes]:
        yield first
        for piece in itertools.cycle(pieces):
            time.sleep(pause)
            yield piece

    return _send


def endlessly(*pieces: bytes, first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Send pieces again and again without an end, as fast as they are taken."""
    return slowly(*pieces, first=first, pause=0)


def silence(first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Send something, and then nothing for longer than anybody waits."""

    def _send() -> Iterator[bytes]:
        yield first
        time.sleep(3 * READ_TIMEOUT)

    return _send


def whole(body: bytes, *fields: bytes) -> bytes:
    """Return an answer with this body."""
    return OK + LENGTH % len(body) + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def moved(location: bytes, status: bytes = b"302 Found") -> bytes:
    """Return a redirect."""
    return b"HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)


def refused(status: bytes, *fields: bytes) -> bytes:
    """Return an answer without a body."""
    return b"\r\n".join((b"HTTP/1.1 " + status, *fields, b"Content-Length: 0", b"", b""))


FOLDERS = gzipped(
    tar(*[member("python/" + "/".join(f"{number:05}{depth}" for depth in range(12)), b"") for number in range(3000)])
)

HEADS: Dict[str, Answer] = {
    "nothing": silence(),
    "closed": b"",
    "a newline": b"\r\n",
    "newlines": endlessly(b"\r\n" * 500),
    "blanks": endlessly(b" " * 1000),
    "zeros": endlessly(bytes(1000)),
    "slow newlines": slowly(b"\r\n"),
    "half a status line": silence(b"HTTP/1.1 2"),
    "a status line and silence": silence(OK),
    "a status line and the end": OK,
    "a status line by bytes": slowly(b"H", b"T"),
    "an endless reason": endlessly(BIG, first=b"HTTP/1.1 200 "),
    "a slow reason": slowly(b"OK ", first=b"HTTP/1.1 200 "),
    "a steering reason": b"HTTP/1.1 503 \x1b]0;owned\x07\x1b[2J\x1b[31mEVIL\r\n\r\n",
    "a steering protocol": b"\x1b]0;owned\x07\x1b[2J\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of 5,000 digits": b"HTTP/1.1 " + NINES + b" OK\r\n\r\n",
    "a negative status": b"HTTP/1.1 -20 OK\r\n\r\n",
    "a status in other digits": "HTTP/1.1 \u0662\u0660\u0660 OK\r\n\r\n".encode(),
    "a status with a point": b"HTTP/1.1 2.0 OK\r\n\r\n",
    "status 000": refused(b"000 Zero"),
    "status 600": refused(b"600 Six"),
    "status 999": refused(b"999 Nine"),
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a version of 5,000 digits": b"HTTP/" + NINES + b".1 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>it works</html>",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "SMTP": slowly(b"220 mail ESMTP\r\n", first=b"220-"),
    "TLS": b"\x15\x03\x03\x00\x02\x02\x46",
    "an archive without a header": GOOD,
    "interim answers": endlessly(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "slow interim answers": slowly(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers of many kinds": slowly(
        b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n", b"HTTP/1.1 199 x\r\n\r\n"
    ),
    "another protocol": silence(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    "an endless field": endlessly(BIG, first=OK + b"A: "),
    "a slow field": slowly(b"a", first=OK + b"A: "),
    "endless fields": endlessly(b"A: b\r\n" * 1000, first=OK),
    "slow fields": slowly(b"A: b\r\n", first=OK),
    "an endless name": endlessly(BIG, first=OK),
    "endless folding": endlessly(b" x\r\n" * 1000, first=OK + b"A: b\r\n"),
    "many fields": whole(b"x", *[b"Set-Cookie: a%d=b" % number for number in range(4000)]),
    "a field without a colon": OK + b"nonsense\r\n\r\n",
    "a field with a zero": OK + b"A: b\0c\r\n\r\n",
    "a field with a steering value": whole(b"x", b"Content-Encoding: \x1b[31m"),
    "a field that is not ASCII": whole(b"x", "Überschrift: ü".encode()),
}

NUMBERS: Dict[str, Answer] = {
    f"a length of {name}": OK + b"Content-Length: " + value + b"\r\n\r\nx"
    for name, value in {
        "5,000 digits": NINES,
        "5,000 zeros": b"0" * 5000 + b"1",
        "-1": b"-1",
        "+1": b"+1",
        "1.0": b"1.0",
        "1e3": b"1e3",
        "0x10": b"0x10",
        "1_000": b"1_000",
        "other digits": "\u0661".encode(),
        "nothing": b"",
        "two": b"5, 6",
        "an exabyte": b"1" + b"0" * 18,
        "thirty digits": b"1" + b"0" * 30,
        "a gigabyte and a byte": b"%d" % ((1 << 30) + 1),
        "an hour": b"3600, 3600",
    }.items()
}
NUMBERS.update(
    {
        "two lengths": OK + LENGTH % 1 + LENGTH % 2 + b"\r\nxx",
        "a length and chunks": OK + LENGTH % 1 + CHUNKED + b"5\r\nxxxxx\r\n0\r\n\r\n",
        "waiting for 5,000 digits": refused(b"503 x", b"Retry-After: " + NINES),
        "waiting for -1": refused(b"503 x", b"Retry-After: -1"),
        "waiting for a year": refused(b"429 x", b"Retry-After: 31536000"),
        "waiting until 9999": refused(b"503 x", b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
        "waiting until a long year": refused(b"503 x", b"Retry-After: Fri, 31 Dec " + NINES + b" 23:59:59 GMT"),
        "a date of 5,000 digits": whole(
            b"x", b"Last-Modified: Fri, 31 Dec " + NINES + b" 00:00:00 GMT", b"Date: " + NINES
        ),
        "a port of 5,000 digits": moved(b"http://127.0.0.1:" + NINES + b"/"),
        "a port of 99999": moved(b"http://127.0.0.1:99999/"),
        "port 0": moved(b"http://127.0.0.1:0/"),
        "a negative port": moved(b"http://127.0.0.1:-1/"),
        "a port in other digits": moved("http://127.0.0.1:\u0668\u0660/".encode()),
        "a range of 5,000 digits": PART + b"Content-Range: bytes 0-" + NINES + b"/*\r\n\r\nx",
    }
)

BODIES: Dict[str, Answer] = {
    "silence": silence(OK + LENGTH % len(GOOD) + b"\r\n"),
    "silence in the middle": silence(OK + LENGTH % len(GOOD) + b"\r\n" + GOOD[:50]),
    "bytes": slowly(b"x", first=OK + LENGTH % 100_000 + b"\r\n"),
    "right bytes, each alone": slowly(*[bytes([byte]) for byte in GOOD], first=OK + LENGTH % 100_000 + b"\r\n"),
    "bytes without a length": slowly(b"x", first=OK + b"\r\n"),
    "no end": endlessly(BIG, first=OK + b"\r\n"),
    "no end, as an archive": endlessly(BIG, first=OK + b"\r\n" + GOOD),
    "too few bytes": OK + LENGTH % len(GOOD) + b"\r\n" + GOOD[:-1],
    "other bytes": whole(GOOD[:-1] + b"x"),
    "no bytes": whole(b""),
    "a page": whole(b"<!DOCTYPE html><p>Log in", b"Content-Type: text/html"),
    "compressed once more": whole(gzip.compress(GOOD), b"Content-Encoding: gzip"),
    "an unknown encoding": whole(GOOD[::-1], b"Content-Encoding: br"),
    "a bomb": whole(gzip.compress(bytes(100 << 20))),
    "folders": whole(FOLDERS),
    "a status without a body": refused(b"204 No Content"),
    "a reset": refused(b"205 Reset Content"),
    "a part that was not asked for": PART + b"Content-Range: bytes 1-2/3\r\n" + LENGTH % 1 + b"\r\nx",
    "many parts": PART + b"Content-Type: multipart/byteranges; boundary=x\r\n\r\n--x--",
    "not modified": refused(b"304 Not Modified"),
    "no range": refused(b"416 Range Not Satisfiable", b"Content-Range: bytes */" + NINES),
    "an endless refusal": endlessly(BIG, first=b"HTTP/1.1 404 Not Found\r\n\r\n"),
    "a slow refusal": slowly(b"x", first=b"HTTP/1.1 500 Oh\r\n\r\n"),
    "a wish for credentials": refused(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="\x1b[2J' + BIG + b'"'),
    "a proxy's wish for credentials": refused(b"407 Proxy Authentication Required", b"Proxy-Authenticate: Basic"),
}

_CHUNKS: Dict[str, Answer] = {
    "silence": silence(OK + CHUNKED),
    "a size of 5,000 digits": NINES + b"\r\nx",
    "a size of 16 digits": b"f" * 16 + b"\r\nx",
    "a negative size": b"-1\r\nx",
    "a size that is none": b"g\r\nx",
    "a slow size": slowly(b"0", first=OK + CHUNKED),
    "an endless size": endlessly(b"0" * 100, first=OK + CHUNKED),
    "an endless extension": endlessly(BIG, first=OK + CHUNKED + b"1;a="),
    "a slow extension": slowly(b"a", first=OK + CHUNKED + b"1;a="),
    "long extensions": endlessly(b"1;a=" + BIG + b"\r\nx\r\n", first=OK + CHUNKED),
    "bytes": slowly(b"1\r\nx\r\n", first=OK + CHUNKED),
    "endless bytes": endlessly(b"1\r\nx\r\n" * 2000, first=OK + CHUNKED),
    "no line break behind": b"1\r\nxx",
    "no end": b"1\r\nx\r\n",
    "no last line": b"1\r\nx\r\n0\r\n",
    "endless trailers": endlessly(b"A: b\r\n" * 1000, first=OK + CHUNKED + b"1\r\nx\r\n0\r\n"),
    "an endless trailer": endlessly(BIG, first=OK + CHUNKED + b"1\r\nx\r\n0\r\nA: "),
    "slow trailers": slowly(b"A: b\r\n", first=OK + CHUNKED + b"1\r\nx\r\n0\r\n"),
    "in an unknown encoding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
}
CHUNKS = {
    f"chunks: {name}": value if callable(value) or value.startswith(b"HTTP") else OK + CHUNKED + value
    for name, value in _CHUNKS.items()
}

REDIRECTS: Dict[str, Answer] = {
    "to itself": moved(b"/"),
    "slowly to itself": slowly(moved(b"/"), pause=0.1),
    "without a place": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "to an endless place": endlessly(BIG, first=b"HTTP/1.1 302 Found\r\nLocation: /"),
    "to a long place": moved(b"/" + b"a" * 90_000),
    "to a file": moved(b"file:///etc/passwd"),
    "to FTP": moved(b"ftp://127.0.0.1/x"),
    "to a script": moved(b"javascript:alert(1)"),
    "to a long scheme": moved(b"a" * 90_000 + b"://x/"),
    "to a steering scheme": moved(b"\x1b[2J://x/"),
    "to a steering host": moved(b"http://\x1b[2J/"),
    "to a host that is none": moved(b"http://[::1/"),
    "to no host": moved(b"http:///x"),
    "to an empty host": moved(b"//"),
    "to a host in another script": moved("http://\uff4c\u202ehost:9/".encode()),
    "to a long host": moved(b"http://" + b"a" * 70 + b".example/"),
    "to nobody": moved(b"http://127.0.0.1:9/"),
    "with a password": moved(b"http://user:s3cret@127.0.0.1:9/"),
    "for ever": moved(b"/", b"308 Permanent Redirect"),
    "through a proxy": moved(b"/", b"305 Use Proxy"),
    "with an endless body": endlessly(BIG, first=b"HTTP/1.1 301 x\r\nLocation: /\r\n\r\n"),
}

SERVERS = {**HEADS, **NUMBERS, **BODIES, **CHUNKS, **{f"redirect {name}": value for name, value in REDIRECTS.items()}}


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless body is long enough with a megabyte, and no proxy of whoever runs the tests is asked."""
    monkeypatch.setattr(download, "MAX_ARCHIVE", 1 << 20)
    monkeypatch.setattr(download, "MAX_TEXT", 1 << 20)
    monkeypatch.setattr(archives, "MAX_FOLDERS", 100)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def good() -> Iterator[ArchiveServer]:
    """Give a server that has the archive."""
    with ArchiveServer({f"/{TAG}/{FILE}": GOOD}) as running:
        yield running


def speak(answer: Answer) -> RawServer:
    """Return a server that gives one answer to everything."""
    return RawServer(lambda _number, _request: [answer] if isinstance(answer, bytes) else answer())


def options(*mirrors: str) -> Settings:
    """Return settings with short time-outs."""
    return Settings(mirror=mirrors, connect_timeout=READ_TIMEOUT, read_timeout=READ_TIMEOUT, retries=0)


def check_text(text: str) -> None:
    """Check that a text is a sentence, or a few, for a terminal."""
    assert len(text) < 1000
    assert all(line.isprintable() for line in text.splitlines()), text
    assert "s3cret" not in text
    assert "Error)" not in text or "could not be understood" in text or "not a request" in text


def test_there_are_a_hundred() -> None:
    assert len(SERVERS) >= 100


@pytest.mark.parametrize("name", SERVERS)
def test_the_next_source_serves(name: str, good: ArchiveServer, tmp_path: Path) -> None:
    """A hostile mirror costs a moment: the archive is that of the next one, and nothing of the first one stays."""
    staging, said = tmp_path / "staging", io.StringIO()

    def use(chunks: Iterator[bytes]) -> Unpacked:
        remove_path(staging)
        staging.mkdir()
        return unpack_stream(chunks, FILE, staging)

    with speak(SERVERS[name]) as hostile:
        began = time.monotonic()
        mirrors = options(f"http://127.0.0.1:{hostile.port}", good.url)
        unpacked = stream_archive(ARCHIVE, tmp_path / "part", use, settings=mirrors, reporter=Reporter(said, 1))
        took = time.monotonic() - began

    assert sorted(unpacked.written) == ["lib/a.py", "lib/b.py"]
    assert took < DEADLINE
    failed = [line for line in said.getvalue().splitlines() if f"127.0.0.1:{hostile.port}: " in line]
    assert len(failed) == 1
    check_text(said.getvalue())


@pytest.mark.parametrize("name", SERVERS)
def test_a_catalog_is_refused(name: str) -> None:
    """Without another source there is one sentence, in time."""
    with speak(SERVERS[name]) as hostile:
        began = time.monotonic()
        with pytest.raises((DownloadError, CatalogError)) as caught:
            parse_catalog(fetch_text(f"http://127.0.0.1:{hostile.port}/S", settings=options()), source="the catalog")
        took = time.monotonic() - began

    assert took < DEADLINE
    assert len(caught.value.message.splitlines()) == 1
    check_text(str(caught.value))
