"""Archives from sources that work, and from sources that do not: `provision_backend.install.download`."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from support.servers import ArchiveServer, RawServer, Reply

from provision_backend.catalog.archive import Archive
from provision_backend.errors import DownloadError, IntegrityError, OfflineError, ProvisionError
from provision_backend.install.download import download_archive, fetch_text, stream_archive
from provision_backend.install.partial import Partial
from provision_backend.output import Reporter
from provision_backend.settings import Settings

TAG = "20251110"
FILE = f"cpython-3.13.5+{TAG}-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
CONTENT = bytes(range(256)) * 2000
OTHER = CONTENT[::-1]
HASH = hashlib.sha256(CONTENT).hexdigest()
BY_RELEASE, FLAT = f"/{TAG}/{FILE}", f"/{FILE}"
ARCHIVE = Archive(FILE, HASH, "3.13.5", TAG, "x86_64-unknown-linux-gnu", "install_only_stripped", False)
ADVICE = "look at PROVISION_BACKEND_MIRROR; 'provision-backend doctor' says more"
CLOSED = "http://127.0.0.1:9"  # the port of the discard service; nothing listens there


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, token or netrc file of whoever runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    """Give a server that has the archive by release."""
    with ArchiveServer({BY_RELEASE: CONTENT}) as running:
        yield running


class Download:
    """Calls of ``download_archive`` into one folder, with the waits and the words they caused."""

    def __init__(self, folder: Path) -> None:
        self.to = folder / "archive"
        self.waits: List[float] = []
        self.stream = io.StringIO()

    def __call__(self, *mirrors: str, **options: Any) -> None:
        """Download from the mirrors."""
        download_archive(
            ARCHIVE,
            self.to,
            settings=Settings(mirror=mirrors, **options),
            reporter=Reporter(self.stream, 2),
        )

    @property
    def lines(self) -> List[str]:
        """What was said."""
        return self.stream.getvalue().splitlines()

    @property
    def left(self) -> List[str]:
        """Names of what is in the folder now."""
        return sorted(path.name for path in self.to.parent.iterdir())


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """Give a way to download into an empty folder."""
    folder = tmp_path / "cache"
    folder.mkdir()
    prepared = Download(folder)
    monkeypatch.setattr("provision_backend.install.download.sleep", prepared.waits.append)
    return prepared


def child_environment() -> Dict[str, str]:
    """Return an environment in which a child finds this module."""
    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}


def hint_of(error: ProvisionError) -> List[str]:
    """Return the lines that say what to do."""
    return error.hint.splitlines()


def test_an_archive_by_release_takes_one_request(server: ArchiveServer, download: Download) -> None:
    """The file appears whole, alone in its folder, after one request with the plus sign quoted."""
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]
    assert server.paths == [BY_RELEASE.replace("+", "%2B")]
    assert server.bytes_sent == len(CONTENT)


def test_people_are_told_what_comes_from_where(server: ArchiveServer, download: Download) -> None:
    """The first line names the file, its size and the host."""
    download(server.url)

    assert download.lines[0] == f"provision-backend: downloading {FILE} (512.0 kB) from 127.0.0.1"
    assert download.lines[1].startswith(f"provision-backend: downloading {FILE}: done, 512.0 kB in ")


def test_requests_say_who_asks_and_refuse_encodings(server: ArchiveServer, download: Download) -> None:
    """Servers see our name, and are not invited to compress."""
    download(server.url)

    assert server.requests[0].headers["user-agent"].startswith("provision-backend/")
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_flat_mirror_is_found(server: ArchiveServer, download: Download, status: int) -> None:
    """What is absent by release, as servers and object stores say it, is asked for in the folder itself."""
    server.files = {FLAT: CONTENT}
    server.script = [Reply(status=status)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.statuses == [status, 200]


def test_the_first_mirror_that_has_it_is_the_last_that_is_asked(server: ArchiveServer, download: Download) -> None:
    """Mirrors are asked in order, and the one behind a success is not asked at all."""
    with ArchiveServer() as empty, ArchiveServer({BY_RELEASE: CONTENT}) as spare:
        download(empty.url, server.url, spare.url)

        assert empty.statuses == [404, 404]
        assert server.statuses == [200]
        assert spare.statuses == []


@pytest.mark.parametrize("layout", [f"{TAG}/{FILE}", FILE], ids=["by-release", "flat"])
@pytest.mark.parametrize("form", ["{}", "file://{}"], ids=["path", "file-url"])
def test_a_folder_is_a_mirror(tmp_path: Path, download: Download, form: str, layout: str) -> None:
    """An archive in a folder of this machine is copied, and the network is not needed for it."""
    path = tmp_path / "mirror" / layout
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    download(form.format(tmp_path / "mirror"), offline=True)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]
    assert download.lines[0] == f"provision-backend: downloading {FILE} (512.0 kB) from {path.parent}"


def test_a_folder_needs_no_http_library(tmp_path: Path) -> None:
    """Copying from a folder imports nothing that only a network needs."""
    (tmp_path / FILE).write_bytes(CONTENT)
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent.parent)]!r}; from pathlib import Path;"
        "from provision_backend.catalog.archive import Archive; from provision_backend.output import Reporter;"
        "from provision_backend.install.download import download_archive;"
        "from provision_backend.settings import Settings;"
        "options = Settings(mirror=(sys.argv[1],));"
        f"archive = {ARCHIVE!r};"
        "download_archive(archive, Path(sys.argv[1], 'to'), settings=options, reporter=Reporter());"
        "unwanted = {'httpx2', 'httpx', 'http.client', 'ssl', 'socket', 'email', 'urllib.request', 'netrc'};"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path)], check=True)

    assert (tmp_path / "to").read_bytes() == CONTENT


def test_a_python_without_ssl_uses_plain_http(server: ArchiveServer) -> None:
    """Plain HTTP works without the module, which httpx imports for every URL; https:// is one sentence."""
    code = (
        "import sys; sys.modules['_ssl'] = None;"
        "from provision_backend.errors import DownloadError;"
        "from provision_backend.install.download import fetch_text;"
        "from provision_backend.settings import Settings;"
        "assert len(fetch_text(sys.argv[1], settings=Settings())) > 0;"
        "secure = sys.argv[1].replace('http:', 'https:')\n"
        "try: fetch_text(secure, settings=Settings())\n"
        "except DownloadError as exc: print(exc.message); print(exc.hint)"
    )
    server.files["/text"] = b"a text"
    done = subprocess.run(
        [sys.executable, "-c", code, server.url + "/text"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "this Python has no module 'ssl'" in done.stdout
    assert "https:// needs it" in done.stdout


@pytest.mark.parametrize("module", ["unicodedata", "_socket"])
def test_a_python_without_what_httpx_needs_is_told_apart(module: str) -> None:
    """To install httpx would not help, since it is there: the module that is missing is named."""
    code = (
        f"import sys; sys.modules[{module!r}] = None;"
        "from provision_backend.install.download import make_transport;"
        "from provision_backend.output import explained;"
        "from provision_backend.settings import Settings\n"
        "try:\n with explained(): make_transport(Settings())\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stderr, done.stdout) == (
        "",
        f"ProvisionError this Python has no module {module.lstrip('_')!r}\n"
        "  it was built without it, or its package is not installed; use another Python\n",
    )


def test_a_body_without_a_length_is_taken(server: ArchiveServer, download: Download) -> None:
    """A chunked answer has no length, and its hash decides."""
    server.script = [Reply(chunked=True)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert download.lines[0] == f"provision-backend: downloading {FILE} from 127.0.0.1"


@pytest.mark.parametrize("cut", [1, 16_384, 300_000, len(CONTENT) - 1])
def test_a_cut_download_goes_on_where_it_stopped(server: ArchiveServer, download: Download, cut: int) -> None:
    """After a dropped connection only the rest is transferred."""
    server.script = [Reply(cut=cut)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.statuses == [200, 206]
    assert server.requests[1].headers["range"] == f"bytes={cut}-"
    assert server.bytes_sent == len(CONTENT)


def test_the_next_process_goes_on_too(server: ArchiveServer, download: Download) -> None:
    """What a failed call left is not transferred again by the next call."""
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(server.url, retries=0)
    assert download.left == ["archive.part", "archive.part.json"]
    download(server.url)

    assert download.left == ["archive"]
    assert download.to.read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_many_cuts_are_survived_as_long_as_something_comes(server: ArchiveServer, download: Download) -> None:
    """A connection that always drops, and always brings something, is not given up after the retries in a row."""
    server.script = [Reply(cut=50_000) for _ in range(10)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_tries_are_bounded_even_if_something_comes(server: ArchiveServer, download: Download) -> None:
    """A server that gives one byte at a time is given up after a fixed number of requests."""
    server.script = [Reply(cut=1) for _ in range(100)]
    with pytest.raises(DownloadError):
        download(server.url)

    assert len(server.requests) == 13


def test_a_changed_file_is_not_glued(server: ArchiveServer, download: Download) -> None:
    """When the file at the server changed, If-Range makes it send the whole new file."""
    server.files[BY_RELEASE] = OTHER
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(server.url, retries=0)
    server.files[BY_RELEASE] = CONTENT
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.requests[1].headers["range"] == "bytes=200000-"
    assert server.statuses == [200, 200]


@pytest.mark.parametrize(
    "lie",
    [
        Reply(ignore_validator=True),
        Reply(ignore_validator=True, headers={"ETag": f'"{hashlib.sha256(OTHER).hexdigest()[:16]}"'}),
        Reply(status=416),
        Reply(status=206, headers={"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"}),
        Reply(status=206, headers={"Content-Range": f"bytes 200000-200009/{len(CONTENT)}"}),
        Reply(status=206, headers={"Content-Range": "bytes 200000-999999/1000000"}),
        Reply(status=206, headers={"Content-Range": "bytes 200000-511999/*"}),
        Reply(status=206, headers={"Content-Range": f"bytes 200000-511999/{'9' * 5000}"}),
        Reply(status=206),
    ],
    ids=[
        "other-etag",
        "same-etag-other-content",
        "range-refused",
        "other-offset",
        "not-to-the-end",
        "other-total",
        "no-total",
        "endless-total",
        "no-range",
    ],
)
def test_a_wrong_continuation_begins_anew_at_once(server: ArchiveServer, download: Download, lie: Reply) -> None:
    """A server that continues with something else is asked for the whole file, without a wait or a retry."""
    server.files[BY_RELEASE] = OTHER
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(server.url, retries=0)
    server.files[BY_RELEASE] = CONTENT
    server.script = [lie]
    download(server.url, retries=0)

    assert download.to.read_bytes() == CONTENT
    assert len(server.requests) == 3
    assert "range" not in server.requests[2].headers
    assert download.waits == []


def test_a_damaged_part_heals(server: ArchiveServer, download: Download) -> None:
    """Bytes that a crash of the machine lost are noticed by the hash, and the file is fetched anew."""
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(server.url, retries=0)
    Path(f"{download.to}.part").write_bytes(bytes(200_000))
    download(server.url, retries=0)

    assert download.to.read_bytes() == CONTENT
    assert server.statuses == [200, 206, 200]


@pytest.mark.parametrize(
    "notes",
    ["", "{", "[]", "null", '{"validator": 1}', '{"url": null, "validator": "\\"a\\"", "total": "many"}'],
)
def test_notes_that_make_no_sense_are_not_used(server: ArchiveServer, download: Download, notes: str) -> None:
    """A part whose notes are torn is not continued."""
    Path(f"{download.to}.part").write_bytes(OTHER[:1000])
    Path(f"{download.to}.part.json").write_text(notes)
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert "range" not in server.requests[0].headers


NOW = "the time of the answer"


@pytest.mark.parametrize(
    ("validators", "resumed"),
    [
        ({"ETag": '"strong"'}, True),
        ({"ETag": 'W/"weak"'}, False),
        ({}, False),
        ({"Last-Modified": "Mon, 10 Nov 2025 08:00:00 GMT"}, True),
        ({"ETag": 'W/"weak"', "Last-Modified": "Mon, 10 Nov 2025 08:00:00 GMT"}, True),
        ({"Last-Modified": NOW}, False),
        ({"Last-Modified": "yesterday"}, False),
        ({"ETag": '"strong"', "Content-Encoding": "gzip"}, False),
    ],
    ids=["strong", "weak", "none", "date", "weak-and-date", "date-of-now", "no-date", "encoded"],
)
def test_only_a_strong_validator_is_trusted(
    server: ArchiveServer, download: Download, validators: Any, resumed: bool
) -> None:
    """Without a validator that stands for exactly these bytes the download begins anew."""
    if validators.get("Last-Modified") == NOW:
        # Filled in here: tests are collected minutes before the last of them runs.
        validators = {"Last-Modified": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())}
    server.validators = validators
    server.script = [Reply(cut=200_000)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.statuses == [200, 206 if resumed else 200]


def test_a_part_of_another_mirror_is_not_continued(server: ArchiveServer, download: Download) -> None:
    """A validator means nothing at another URL, even if it is the same text."""
    server.validators = {"ETag": '"same"'}
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(server.url, retries=0)
    with ArchiveServer({BY_RELEASE: CONTENT}) as other:
        other.validators = {"ETag": '"same"'}
        download(other.url)

        assert "range" not in other.requests[0].headers


def test_an_unreachable_mirror_does_not_cost_the_part_of_the_next(server: ArchiveServer, download: Download) -> None:
    """What came from the second mirror is continued when the first is still down."""
    server.script = [Reply(cut=200_000)]
    with pytest.raises(DownloadError):
        download(CLOSED, server.url, retries=0)
    download(CLOSED, server.url, retries=0)

    assert download.to.read_bytes() == CONTENT
    assert server.statuses == [200, 206]


def test_a_whole_part_needs_no_request(download: Download) -> None:
    """After a crash just before the rename the next call only verifies and renames, also offline."""
    Path(f"{download.to}.part").write_bytes(CONTENT)
    Path(f"{download.to}.part.json").write_text(json.dumps({"url": "x", "validator": "", "total": len(CONTENT)}))
    download(offline=True)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]


def test_an_interrupted_download_goes_on(server: ArchiveServer, download: Download) -> None:
    """Ctrl-C leaves a part that fits its notes."""

    class Clock:
        reads = 0

        def __call__(self) -> float:
            # The clock is read once for each chunk that came.
            self.reads += 1
            if self.reads == 2:
                raise KeyboardInterrupt
            return 0.0

    options = Settings(mirror=(server.url,))
    with pytest.raises(KeyboardInterrupt):
        download_archive(ARCHIVE, download.to, settings=options, reporter=Reporter(io.StringIO(), clock=Clock()))
    kept = Path(f"{download.to}.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert server.requests[1].headers["range"] == f"bytes={kept}-"


def test_a_killed_process_leaves_what_the_next_continues(server: ArchiveServer, download: Download) -> None:
    """SIGKILL in the middle of the body costs nothing of what had come."""
    server.script = [Reply(stall=300_000)]
    code = (
        "import sys; from pathlib import Path; from test_download import ARCHIVE;"
        "from provision_backend.output import Reporter;"
        "from provision_backend.install.download import download_archive;"
        "from provision_backend.settings import Settings;"
        "options = Settings(mirror=(sys.argv[1],));"
        "download_archive(ARCHIVE, Path(sys.argv[2]), settings=options, reporter=Reporter())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(download.to)], env=child_environment(), stderr=subprocess.DEVNULL
    )
    part = Path(f"{download.to}.part")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 200_000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = part.stat().st_size
    download(server.url)

    assert kept > 200_000
    assert server.requests[1].headers["range"] == f"bytes={kept}-"
    assert download.to.read_bytes() == CONTENT


@pytest.mark.parametrize("seed", range(20))
def test_random_faults_end_in_the_right_file_or_a_clear_error(
    server: ArchiveServer, download: Download, seed: int
) -> None:
    """Whatever a server does, the file is the right one or is not there, and the next good day makes it right."""
    chance = random.Random(seed)

    def fault() -> Reply:
        size = chance.randrange(len(CONTENT))
        return chance.choice(
            [
                Reply(cut=size),
                Reply(cut=size, chunked=True),
                Reply(length=size),
                Reply(status=chance.choice([206, 404, 416, 429, 500, 503])),
                Reply(body=OTHER, cut=size),
                Reply(body=OTHER, cut=size, ignore_validator=True),
                Reply(ignore_range=True, cut=size),
                Reply(ignore_validator=True, cut=size),
            ]
        )

    for _ in range(3):
        server.script = [fault() for _ in range(6)]
        with contextlib.suppress(DownloadError, IntegrityError):
            download(server.url)
        assert not download.to.exists() or download.to.read_bytes() == CONTENT
    server.script = []
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_waited_for(server: ArchiveServer, download: Download, status: int) -> None:
    """Statuses that mean 'later' are tried again, with waits that grow and differ."""
    server.script = [Reply(status=status), Reply(status=status), Reply(status=status)]
    download(server.url)

    assert download.to.read_bytes() == CONTENT
    assert len(server.requests) == 4
    assert 0.5 <= download.waits[0] <= 0.75
    assert 1 <= download.waits[1] <= 1.5
    assert 2 <= download.waits[2] <= 3


@pytest.mark.parametrize("status", [400, 401, 402, 451, 501])
def test_a_lasting_trouble_is_not_waited_for(server: ArchiveServer, download: Download, status: int) -> None:
    """Statuses that will be the same tomorrow end the source at once."""
    server.script = [Reply(status=status)]
    with pytest.raises(DownloadError):
        download(server.url)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("7", 7, 7), ("0", 0, 0), ("86400", 60, 60), ("soon", 0.5, 0.75), ("Mon, 10 Nov 2025 08:00:00 GMT", 0, 0)],
    ids=["seconds", "at-once", "capped", "nonsense", "past"],
)
def test_retry_after_is_respected_within_bounds(
    server: ArchiveServer, download: Download, value: str, low: float, high: float
) -> None:
    """A server may say when to come back, but not stop a build for a day."""
    server.script = [Reply(status=503, headers={"Retry-After": value})]
    download(server.url)

    assert len(download.waits) == 1
    assert low <= download.waits[0] <= high


def test_retry_after_may_be_a_date(server: ArchiveServer, download: Download) -> None:
    """A moment half a minute away is waited for."""
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    server.script = [Reply(status=429, headers={"Retry-After": moment})]
    download(server.url)

    assert 25 < download.waits[0] <= 30


def test_retries_are_bounded_and_told(server: ArchiveServer, download: Download) -> None:
    """A server that is down for good is asked four times, and the person sees why nothing happens."""
    server.script = [Reply(status=503) for _ in range(9)]
    with pytest.raises(DownloadError) as caught:
        download(server.url)

    assert len(server.requests) == 4
    assert len(download.waits) == 3
    assert download.lines[0] == "provision-backend: 127.0.0.1: 503 Service Unavailable; trying again"
    assert str(caught.value) == f"could not download {FILE}\n  {server.url}: 503 Service Unavailable\n  {ADVICE}"


def test_a_silent_server_is_given_up(server: ArchiveServer, download: Download) -> None:
    """A server that stops in the middle costs the read time-out, and the next try only the rest."""
    server.script = [Reply(stall=100_000)]
    download(server.url, read_timeout=0.2)

    assert download.to.read_bytes() == CONTENT
    assert "provision-backend: 127.0.0.1: nothing came for 0.2 s; trying again" in download.lines
    assert server.bytes_sent == len(CONTENT)


def test_one_source_may_not_take_for_ever(
    server: ArchiveServer, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is just fast enough is left at a deadline, which its tries share, and the next one is asked."""
    # Once: on a machine that is busy elsewhere a pause is then never longer than a read may wait before the deadline.
    monkeypatch.setattr("provision_backend.install.download.MAX_TIMES", 1)

    def crawl(_number: int, _request: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
        while True:
            time.sleep(0.01)
            yield bytes(1000)

    with RawServer(crawl) as slow:
        began = time.monotonic()
        download(f"http://127.0.0.1:{slow.port}", server.url, read_timeout=1.0, retries=3)

    assert time.monotonic() - began < 60  # All of it would take 90 s.
    assert download.to.read_bytes() == CONTENT
    assert any("the time for one source is over" in line for line in download.lines)


def test_a_slow_disk_is_no_slow_source(server: ArchiveServer, download: Download, tmp_path: Path) -> None:
    """Only the time that is spent waiting for the source counts."""

    def use(chunks: Iterator[bytes]) -> int:
        total = 0
        for chunk in chunks:
            time.sleep(0.25)
            total += len(chunk)
        return total

    options = Settings(mirror=(server.url,), read_timeout=0.5, retries=0)
    taken = stream_archive(ARCHIVE, tmp_path / "part", use, settings=options, reporter=Reporter(io.StringIO()))

    assert taken == len(CONTENT)


def test_a_wrong_hash_is_an_error_and_leaves_nothing(server: ArchiveServer, download: Download) -> None:
    """Other bytes than the catalog's are refused, named, and removed."""
    server.files[BY_RELEASE] = OTHER
    wrong = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(IntegrityError) as caught:
        download(server.url)

    assert str(caught.value) == (
        f"sha256 of {FILE} differs from the catalog: expected {HASH}\n"
        f"  {server.url}: found {wrong}\n"
        "  what was found must not be trusted: compare it with the hash that its publisher names"
    )
    assert download.left == []
    assert len(server.requests) == 1


def test_after_a_wrong_hash_the_next_mirror_is_tried(server: ArchiveServer, download: Download) -> None:
    """One bad mirror does not spoil the build."""
    with ArchiveServer({BY_RELEASE: OTHER}) as bad:
        download(bad.url, server.url)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]


def test_a_login_page_is_recognised(server: ArchiveServer, download: Download) -> None:
    """The page of a captive portal is called what it is."""
    server.files[BY_RELEASE] = b"\n<!DOCTYPE html><title>Welcome to our guest network</title>"
    with pytest.raises(IntegrityError) as caught:
        download(server.url)

    assert hint_of(caught.value)[1] == (
        "an HTML page came in its place: the login page of a network, or a page of a proxy that blocks it"
    )


def test_a_proxy_that_compresses_is_recognised(server: ArchiveServer, download: Download) -> None:
    """A body that was encoded on the way is not the archive, and the error says so."""
    server.script = [Reply(body=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"})]
    with pytest.raises(IntegrityError) as caught:
        download(server.url)

    assert hint_of(caught.value)[1] == "a proxy or the server encoded it on the way (gzip), although asked not to"


def test_a_header_that_says_gzip_of_the_archive_itself_does_no_harm(server: ArchiveServer, download: Download) -> None:
    """Servers that label a .tar.gz as encoded send the right bytes, which are taken as they came."""
    server.script = [Reply(headers={"Content-Encoding": "gzip"})]
    download(server.url)

    assert download.to.read_bytes() == CONTENT


def test_a_body_shorter_than_announced_is_noticed(server: ArchiveServer, download: Download) -> None:
    """A truncated body is a failure of the network, whatever its hash."""
    server.script = [Reply(length=len(CONTENT) + 10)]
    with pytest.raises(DownloadError) as caught:
        download(server.url, retries=0)

    expected = f"{server.url}: the body ended after {len(CONTENT)} of {len(CONTENT) + 10} bytes"
    assert hint_of(caught.value) == [expected, ADVICE]


def test_a_body_longer_than_announced_is_cut_off(server: ArchiveServer, download: Download) -> None:
    """Bytes beyond the announced length are not taken, and what is left has another hash."""
    server.script = [Reply(length=1000)]
    with pytest.raises(IntegrityError):
        download(server.url)

    assert download.left == []


def test_a_monster_is_not_begun(server: ArchiveServer, download: Download) -> None:
    """An announced length beyond all reason ends the source before a byte is stored."""
    server.script = [Reply(length=1 << 40, cut=1)]
    with pytest.raises(DownloadError) as caught:
        download(server.url)

    assert hint_of(caught.value) == [f"{server.url}: announces 1099.5 GB, more than an archive may have", ADVICE]
    assert download.left == []


def test_an_endless_body_is_cut_off(server: ArchiveServer, download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body without a length ends at the bound."""
    monkeypatch.setattr("provision_backend.install.download.MAX_ARCHIVE", 100_000)
    server.script = [Reply(chunked=True)]
    with pytest.raises(DownloadError) as caught:
        download(server.url)

    assert hint_of(caught.value) == [f"{server.url}: sends more than the 100.0 kB that are allowed", ADVICE]


def test_every_source_has_its_reason(server: ArchiveServer, download: Download, tmp_path: Path) -> None:
    """The error lists the sources in order, each with what happened there."""
    server.files = {}
    with pytest.raises(DownloadError) as caught:
        download(str(tmp_path / "nowhere"), CLOSED, server.url, retries=0)

    assert str(caught.value) == (
        f"could not download {FILE}\n"
        f"  {tmp_path / 'nowhere'}: there is no such folder\n"
        f"  {CLOSED}: [Errno 111] Connection refused\n"
        f"  {server.url}: 404 Not Found, laid out by release and flat\n"
        "  correct the setting mirror, which names it"
    )
    assert download.left == []


def test_a_long_list_of_sources_is_bounded(download: Download, tmp_path: Path) -> None:
    """Of many mirrors the first few are listed."""
    with pytest.raises(DownloadError) as caught:
        download(*[str(tmp_path / f"m{number}") for number in range(20)])

    assert len(hint_of(caught.value)) == 10
    assert hint_of(caught.value)[-2:] == ["and 12 more", "correct the setting mirror, which names it"]


def test_offline_makes_no_request(server: ArchiveServer, download: Download) -> None:
    """With offline set no server is asked, and the error says what to do."""
    with pytest.raises(OfflineError) as caught:
        download(server.url, offline=True)

    assert server.requests == []
    assert str(caught.value) == (
        f"offline: {FILE} is neither in the cache nor in a local mirror\n"
        "  put the file into a folder and set PROVISION_BACKEND_MIRROR to it, or build once online"
    )


def test_what_is_not_a_file_is_not_opened(download: Download, tmp_path: Path) -> None:
    """A pipe in a local mirror would block for ever."""
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(DownloadError) as caught:
        download(str(tmp_path))

    assert hint_of(caught.value) == [
        f"{tmp_path}: no such file and not a file, laid out by release and flat",
        ADVICE,
    ]


@pytest.mark.parametrize(
    ("variables", "places"),
    [
        ({}, "PROVISION_BACKEND_MIRROR and HTTP_PROXY"),
        ({"HTTPS_PROXY": CLOSED}, "PROVISION_BACKEND_MIRROR and HTTP_PROXY"),
        ({"ALL_PROXY": CLOSED}, "PROVISION_BACKEND_MIRROR and ALL_PROXY"),
        ({"http_proxy": CLOSED, "no_proxy": "mirror.invalid"}, "PROVISION_BACKEND_MIRROR and no_proxy"),
    ],
    ids=["none", "another", "all", "excepted"],
)
def test_the_variable_that_counts_is_the_one_to_look_at(
    download: Download, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: Dict[str, str], places: str
) -> None:
    """A folder has none, nor has a server of this machine."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DownloadError) as caught:
        download(str(tmp_path), CLOSED, "http://mirror.invalid", retries=0)

    assert hint_of(caught.value)[-1] == f"look at {places}; 'provision-backend doctor' says more"


@pytest.mark.parametrize("status", [403, 407])
def test_a_proxy_that_refuses_is_no_refusal_of_the_mirror(
    download: Download, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Over plain HTTP its answer is all there is, and the file is not said to be absent without a word about it."""
    with ArchiveServer() as proxy:
        proxy.script = [Reply(status=status)] * 2
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(DownloadError) as caught:
            download("http://mirror.invalid/x", retries=0)

    asked = f"403 Forbidden (asked through the proxy {proxy.url}), laid out by release and flat"
    refused = f"the proxy {proxy.url} refuses: 407 Proxy Authentication Required"
    look = "look at PROVISION_BACKEND_MIRROR and HTTP_PROXY; 'provision-backend doctor' says more"
    login = "put the user name and password of the proxy into HTTP_PROXY"
    assert hint_of(caught.value) == [
        f"http://mirror.invalid/x: {asked if status == 403 else refused}",
        look if status == 403 else login,
    ]


def test_passwords_are_shown_nowhere(server: ArchiveServer, download: Download) -> None:
    """Neither an error, its cause, nor the most talkative output holds a password or a signature."""
    server.files = {}
    server.script = [Reply(status=503)]
    base = server.url.replace("http://", "http://user:s3cret@")
    with pytest.raises(DownloadError) as caught:
        download(f"{base}/x?sig=s3cret", f"{CLOSED.replace('http://', 'http://s3cret@')}/?s3cret#s3cret", retries=1)

    shown = [str(caught.value), repr(caught.value), repr(caught.value.__cause__), download.stream.getvalue()]
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "127.0.0.1" in shown[0]
    assert "s3cret" not in "".join(shown)


def test_a_full_disk_is_noticed_before_it_is_full(
    server: ArchiveServer, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the announced length has no room, nothing is written."""
    monkeypatch.setattr("provision_backend.install.partial.free_bytes", lambda _: 1000)
    with pytest.raises(DownloadError) as caught:
        download(server.url)

    assert str(caught.value) == (
        f"not enough space for archive in {str(download.to.parent)!r}: wanted 512.0 kB, found 1.0 kB free\n"
        "  make room, or name a folder on another file system"
    )
    assert download.left == []

    with pytest.raises(DownloadError) as caught:
        stream_archive(ARCHIVE, download.to, list, settings=Settings(mirror=(server.url,)), reporter=Reporter())

    assert caught.value.hint == "make room, or set PROVISION_BACKEND_CACHE_DIR to a folder on another file system"


def test_a_mirror_that_announces_too_much_is_passed_over(
    server: ArchiveServer, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lie about the length is no reason to give up: the next source has the file, for which there is room."""
    monkeypatch.setattr("provision_backend.install.partial.free_bytes", lambda _: 600_000)
    with ArchiveServer({BY_RELEASE: bytes(900_000)}) as liar:
        download(liar.url, server.url)

    assert download.to.read_bytes() == CONTENT
    assert any("not enough space for archive" in line for line in download.lines)


def test_a_mirror_that_fills_the_disk_is_passed_over(server: ArchiveServer, download: Download) -> None:
    """Wrong bytes that do not fit are removed before the next source is asked; the limit stands for a full disk."""
    import resource
    import signal

    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, old[1]))
    try:
        with ArchiveServer({BY_RELEASE: bytes(900_000)}) as liar:
            download(liar.url, server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)

    assert download.to.read_bytes() == CONTENT
    assert download.left == ["archive"]


def test_a_limit_on_the_size_of_files_is_told_apart_from_a_full_disk(server: ArchiveServer, download: Download) -> None:
    """The part is removed as on a full disk, and the advice is another one."""
    import resource
    import signal

    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(DownloadError) as caught:
            download(server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)

    assert str(caught.value) == (
        f"could not write '{download.to}.part': {os.strerror(errno.EFBIG)}\n"
        "  raise the limit on the size of a file that this process has: ulimit -f unlimited"
    )
    assert download.left == []
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_written_is_named(server: ArchiveServer, download: Download) -> None:
    """A cache that is a file ends in a sentence that names it."""
    download.to.write_bytes(b"")
    download.to = download.to / "archive"
    with pytest.raises(DownloadError) as caught:
        download(server.url)

    assert str(caught.value) == (
        f"could not write '{download.to}.part': {os.strerror(errno.ENOTDIR)}\n  name a folder that can be written"
    )

    with pytest.raises(DownloadError) as caught:
        stream_archive(ARCHIVE, download.to, list, settings=Settings(mirror=(server.url,)), reporter=Reporter())

    assert caught.value.hint == "set PROVISION_BACKEND_CACHE_DIR to a folder that can be written"


def test_a_link_in_place_of_the_part_is_not_followed(server: ArchiveServer, download: Download, tmp_path: Path) -> None:
    """What another user may have planted as a part is removed, and what it points to stays as it is."""
    (tmp_path / "precious").write_bytes(b"precious")
    Path(f"{download.to}.part").symlink_to(tmp_path / "precious")
    download(server.url)

    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert download.to.read_bytes() == CONTENT


def test_two_writers_without_a_lock_do_not_publish_for_each_other(tmp_path: Path) -> None:
    """Where locks do not work, whoever was overtaken gives up, and never names the other's unfinished file."""
    first, second = Partial(tmp_path / "archive"), Partial(tmp_path / "archive")
    first.begin("https://m.example", validator="", total=4)
    with first.append(0) as file:
        file.write(b"good")
        second.begin("https://m.example", validator="", total=4)
    with pytest.raises(DownloadError) as caught:
        first.publish()

    assert str(caught.value) == "another process downloads archive at the same time"
    assert not (tmp_path / "archive").exists()


def test_a_text_is_fetched(server: ArchiveServer) -> None:
    """A catalog on this machine may come over plain HTTP."""
    server.files = {"/SHA256SUMS": "é\n".encode()}

    assert fetch_text(f"{server.url}/SHA256SUMS", settings=Settings()) == "é\n"


def test_a_text_is_read_from_a_file(tmp_path: Path) -> None:
    """A file URL and a path do not need the network."""
    (tmp_path / "SHA256SUMS").write_text("a\n")
    options = Settings(offline=True)

    assert fetch_text(f"file://{tmp_path}/SHA256SUMS", settings=options) == "a\n"
    assert fetch_text(f"{tmp_path}/SHA256SUMS", settings=options) == "a\n"


def test_a_byte_order_mark_is_no_part_of_a_text(server: ArchiveServer, tmp_path: Path) -> None:
    """A catalog that was made by PowerShell reads the same from a folder, a file URL and a server."""
    content = "a\r\n".encode("utf-8-sig")
    server.files = {"/S": content}
    (tmp_path / "S").write_bytes(content)

    assert {fetch_text(url, settings=Settings()) for url in (f"{server.url}/S", f"file://{tmp_path}/S")} == {"a\r\n"}


def test_a_text_is_tried_again(server: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog is as persistent as an archive."""
    monkeypatch.setattr("provision_backend.install.download.sleep", lambda _: None)
    server.files = {"/SHA256SUMS": b"a\n"}
    server.script = [Reply(status=503), Reply(cut=1)]

    assert fetch_text(f"{server.url}/SHA256SUMS", settings=Settings()) == "a\n"


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        (
            "http://user:s3cret@m.example/S?sig=s3cret",
            Settings(),
            "could not fetch http://m.example/S: plain http:// is refused, "
            "since nothing says whether the text is the right one",
        ),
        (
            "https://user:s3cret@m.example/S",
            Settings(offline=True),
            "offline: cannot fetch https://m.example/S\n  name a file of this machine, or allow the network",
        ),
        ("/nowhere/S", Settings(), "could not fetch /nowhere/S: no such file"),
    ],
    ids=["plain-http", "offline", "absent"],
)
def test_a_text_that_cannot_be_had_is_explained(url: str, options: Settings, expected: str) -> None:
    """The error names the address without its secrets, and the reason."""
    with pytest.raises(DownloadError) as caught:
        fetch_text(url, settings=options)

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"x" * 101, "sends more than the 100 B that are allowed"), (b"\xff\xfe", "it is not a UTF-8 text")],
    ids=["too-long", "not-a-text"],
)
def test_a_text_that_is_none_is_refused(
    server: ArchiveServer, content: bytes, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog is small, and is text."""
    monkeypatch.setattr("provision_backend.install.download.MAX_TEXT", 100)
    server.files = {"/S": content}
    with pytest.raises(DownloadError) as caught:
        fetch_text(f"{server.url}/S", settings=Settings())

    assert str(caught.value) == f"could not fetch {server.url}/S: {expected}"


def test_a_text_that_was_encoded_on_the_way_is_recognised(server: ArchiveServer) -> None:
    """The address and the network are right, so that advice about them would not help."""
    server.script = [Reply(body=gzip.compress(b"text"), headers={"Content-Encoding": "gzip"})]
    with pytest.raises(DownloadError) as caught:
        fetch_text(f"{server.url}/S", settings=Settings())

    assert caught.value.hint == "a proxy or the server encoded it on the way (gzip), although asked not to"


def test_a_text_may_not_be_redirected_to_plain_http_elsewhere(server: ArchiveServer) -> None:
    """The rule of plain HTTP holds for every hop."""
    server.redirects = {"/S": "http://m.example/S"}
    with pytest.raises(DownloadError) as caught:
        fetch_text(f"{server.url}/S", settings=Settings())

    assert "plain http:// is refused" in str(caught.value)
