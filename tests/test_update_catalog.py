"""``scripts/update-catalog``: from uv's source distribution to the files of the built-in catalog."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "update-catalog"
NEW_PATH = "crates/uv-python-managed/download-metadata.json"
OLD_PATH = "crates/uv-python/download-metadata.json"
GNU, MUSL = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"
STRIPPED = "install_only_stripped.tar.gz"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


def entry(filename: str, **changes: Any) -> Dict[str, Dict[str, Any]]:
    """Return one entry of uv's data for an archive, as uv writes it, by its key."""
    version, _, rest = filename[len("cpython-") :].partition("+")
    major, minor, patch = version.split(".")
    digits = re.split("a|b|rc", patch)[0]
    made = {
        "name": "cpython",
        "os": "windows" if "windows" in filename else "darwin" if "darwin" in filename else "linux",
        "major": int(major),
        "minor": int(minor),
        "patch": int(digits),
        "prerelease": patch[len(digits) :],
        "url": f"https://example.invalid/{rest[:8]}/{filename.replace('+', '%2B')}",
        "sha256": hashlib.sha256(filename.encode()).hexdigest(),
        "variant": "freethreaded" if "-freethreaded" in filename else None,
        "build": rest[:8],
        **changes,
    }
    return {filename: made}


def line(filename: str) -> str:
    """Return the catalog's line of an archive that `entry` made."""
    return f"{hashlib.sha256(filename.encode()).hexdigest()}  {filename}\n"


def sdist(entries: Dict[str, Any], path: str = NEW_PATH, *, top: str = "uv-9.9.9") -> bytes:
    """Return a source distribution that holds the data."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in (("README.md", b"uv"), (path, json.dumps(entries).encode())):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Update:
    """The script with a catalog of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.directory = folder / "catalog"

    def run(self, *arguments: str, data: bytes | None = None, **variables: str) -> Tuple[int, str, str]:
        """Run the script, on *data* if given; return its status and what it printed to both streams."""
        if data is not None:
            (self.folder / "uv.tar.gz").write_bytes(data)
            arguments = ("--from", str(self.folder / "uv.tar.gz"), *arguments)
        environ = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        environ.pop("PIP_INDEX_URL", None)
        answer = subprocess.run(
            [sys.executable, str(SCRIPT), "--directory", str(self.directory), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**environ, **variables},
        )
        return answer.returncode, answer.stdout, answer.stderr

    def files(self) -> Dict[str, str]:
        """Return the content of the catalog by file name."""
        if not self.directory.is_dir():
            return {}
        return {file.name: file.read_bytes().decode("ascii") for file in self.directory.iterdir()}


@pytest.fixture
def update(tmp_path: Path) -> Update:
    """Return the script with an empty catalog."""
    return Update(tmp_path)


OLDER = f"cpython-3.9.25+20251031-{GNU}-{STRIPPED}"
NEWER = f"cpython-3.13.18+20261110-{GNU}-{STRIPPED}"
THREADED = f"cpython-3.13.18+20261110-{GNU}-freethreaded-{STRIPPED}"
ALPHA = f"cpython-3.15.0a1+20251031-{MUSL}-install_only.tar.gz"


@pytest.mark.parametrize("path", [NEW_PATH, OLD_PATH])
def test_archives_are_written_by_platform_newest_first(update: Update, path: str) -> None:
    """Each platform has its file, wherever uv's data are in the source distribution."""
    entries = {**entry(OLDER), **entry(ALPHA), **entry(THREADED), **entry(NEWER)}
    status, output, errors = update.run(data=sdist(entries, path))

    assert (status, errors) == (0, "")
    assert update.files() == {
        f"{GNU}.txt": line(NEWER) + line(THREADED) + line(OLDER),
        f"{MUSL}.txt": line(ALPHA),
    }
    assert output.splitlines() == [
        f"    3 {GNU}  written",
        f"    1 {MUSL}  written",
        "    4 archives, 2 files written",
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(entry("cpython-3.14.2+20260127-x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst"), id="full"),
        pytest.param(entry(f"cpython-3.14.2+20260127-{GNU}-{STRIPPED}", variant="debug"), id="debug"),
        pytest.param(
            entry(f"cpython-3.14.2+20260127-{GNU}-{STRIPPED}", variant="freethreaded+debug"), id="free-threaded debug"
        ),
        pytest.param(entry(f"cpython-3.14.2+20260127-{GNU}-{STRIPPED}", name="pypy"), id="another implementation"),
        pytest.param(entry(f"cpython-3.14.2+20260127-{GNU}-{STRIPPED}", os="emscripten"), id="another system"),
    ],
)
def test_entries_that_are_not_ours_are_left_out(update: Update, other: Dict[str, Any]) -> None:
    """Full and debug builds, other implementations and other systems are not in the catalog."""
    assert update.run(data=sdist({**other, **entry(NEWER)}))[0] == 0
    assert update.files() == {f"{GNU}.txt": line(NEWER)}


def test_a_second_run_changes_nothing(update: Update) -> None:
    """The same data make the same bytes, and files that are right are not touched."""
    data = sdist({**entry(OLDER), **entry(ALPHA)})
    update.run(data=data)
    before = {file: file.stat().st_mtime_ns for file in update.directory.iterdir()}
    status, output, _ = update.run(data=data)

    assert status == 0
    assert output.splitlines()[-1] == "    2 archives, 0 files written"
    assert {file: file.stat().st_mtime_ns for file in update.directory.iterdir()} == before


def test_check_writes_nothing_and_tells_by_its_status(update: Update) -> None:
    """It is 1 as long as something would change, and 0 once it is written."""
    data = sdist(entry(NEWER))
    status, output, _ = update.run("--check", data=data)

    assert (status, update.files()) == (1, {})
    assert output.splitlines() == [f"    1 {GNU}  would change", "    1 archives, 1 files to change"]

    update.run(data=data)

    assert update.run("--check", data=data)[0] == 0


def test_an_archive_that_uv_no_longer_lists_is_kept(update: Update) -> None:
    """It can still be downloaded, hence also with a newer build of the same version."""
    rebuilt = NEWER.replace("20261110", "20261203")
    update.run(data=sdist({**entry(OLDER), **entry(ALPHA), **entry(NEWER)}))
    update.run(data=sdist(entry(rebuilt)))

    assert update.files() == {
        f"{GNU}.txt": line(rebuilt) + line(NEWER) + line(OLDER),
        f"{MUSL}.txt": line(ALPHA),
    }


def test_a_changed_hash_is_refused(update: Update) -> None:
    """The bytes of a release never change; nothing is written."""
    update.run(data=sdist(entry(NEWER)))
    before = update.files()
    status, _, errors = update.run(data=sdist({**entry(OLDER), **entry(NEWER, sha256="0" * 64)}))

    assert (status, update.files()) == (2, before)
    assert errors == (
        f"update-catalog: the hash of {NEWER} has changed: it was {line(NEWER)[:64]}, uv's data say {'0' * 64}\n"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"<html>", "the source distribution of uv is no tar.gz file: not a gzip file", id="no archive"),
        pytest.param(
            sdist({}, "elsewhere.json"),
            f"the source distribution of uv holds neither {NEW_PATH} nor {OLD_PATH}",
            id="no data",
        ),
        pytest.param(sdist({}), "uv's data hold no archive of CPython of a form that is known here", id="empty"),
        pytest.param(
            sdist(entry(NEWER, patch=17)),
            f"the entry {NEWER} of uv's data contradicts its file name {NEWER} or has no sha256",
            id="another version",
        ),
        pytest.param(
            sdist(entry(NEWER, sha256=None)),
            f"the entry {NEWER} of uv's data contradicts its file name {NEWER} or has no sha256",
            id="no hash",
        ),
        pytest.param(
            sdist({"key": {"name": "cpython"}}),
            "the entry key of uv's data has another form than before: KeyError('os')",
            id="another form",
        ),
    ],
)
def test_data_that_cannot_be_used_are_named(update: Update, data: bytes, message: str) -> None:
    """A sentence and the status 2 say so, and nothing is written."""
    status, _, errors = update.run(data=data)

    assert (status, update.files()) == (2, {})
    assert errors.startswith(f"update-catalog: {message}")
    assert "Traceback" not in errors


class Index:
    """A package index on the loopback interface: the files of uv, by name, and what was asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: Dict[str, bytes] = {}
        self.changes: Dict[str, Dict[str, Any]] = {}
        self.html = False
        self.requests: List[str] = []
        self.credentials: List[str] = []

    def answer(self, path: str, accept: str) -> Tuple[int, bytes]:
        """Return status and body, as the Simple API in JSON (PEP 691) does."""
        self.requests.append(path)
        if path.startswith("/files/"):
            content = self.files.get(path[len("/files/") :])
            return (404, b"") if content is None else (200, content)
        if path != "/simple/uv/" or accept != JSON_TYPE:
            return 406, b""
        return 200, b"<html>" if self.html else json.dumps(
            {"files": [self._file(name) for name in self.files]}
        ).encode()

    def _file(self, name: str) -> Dict[str, Any]:
        digest = hashlib.sha256(self.files[name]).hexdigest()
        made = {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}, "yanked": False}
        return {**made, **self.changes.get(name, {})}


@pytest.fixture
def index() -> Iterator[Index]:
    """Serve a package index that has two final versions of uv, a newer pre-release and a newer yanked one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.credentials.append(self.headers.get("Authorization", ""))
            status, body = served.answer(self.path, self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Index(f"http://127.0.0.1:{server.server_address[1]}/simple")
    for version, filename in (("0.9.30", OLDER), ("0.13.9", NEWER), ("0.14.0rc1", ALPHA), ("0.14.1", ALPHA)):
        served.files[f"uv-{version}.tar.gz"] = sdist(entry(filename), top=f"uv-{version}")
    served.files["uv-0.13.9-py3-none-manylinux_2_17_x86_64.whl"] = b"a wheel"
    served.files["uv_build-0.15.0.tar.gz"] = b"another project"
    served.changes["uv-0.14.1.tar.gz"] = {"yanked": "broken"}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_the_newest_final_version_is_fetched_from_the_index(update: Update, index: Index) -> None:
    """Pre-releases and yanked versions are passed over, and versions do not compare as text."""
    status, output, errors = update.run(PIP_INDEX_URL=index.url)

    assert (status, errors) == (0, "")
    assert index.requests == ["/simple/uv/", "/files/uv-0.13.9.tar.gz"]
    assert update.files() == {f"{GNU}.txt": line(NEWER)}
    digest = hashlib.sha256(index.files["uv-0.13.9.tar.gz"]).hexdigest()
    assert output.splitlines()[0] == f"uv-0.13.9.tar.gz sha256 {digest}"


def test_a_version_can_be_asked_for(update: Update, index: Index) -> None:
    """``--version`` takes any that the index has, also a yanked one."""
    assert update.run("--version", "0.14.1", PIP_INDEX_URL=f"{index.url}/")[0] == 0
    assert index.requests == ["/simple/uv/", "/files/uv-0.14.1.tar.gz"]


def test_the_index_is_the_one_that_pip_is_configured_for(update: Update, index: Index) -> None:
    """Without a variable, pip's configuration file says which it is."""
    pytest.importorskip("pip")
    configuration = update.folder / "pip.conf"
    configuration.write_text(f"[global]\nindex-url = {index.url}\n", encoding="utf-8")

    assert update.run(PIP_CONFIG_FILE=str(configuration))[0] == 0
    assert index.requests == ["/simple/uv/", "/files/uv-0.13.9.tar.gz"]


def test_a_file_that_is_not_what_the_index_says_is_refused(update: Update, index: Index) -> None:
    """The hash of the index decides; nothing is written."""
    index.changes["uv-0.13.9.tar.gz"] = {"hashes": {"sha256": "0" * 64}}
    status, _, errors = update.run(PIP_INDEX_URL=index.url)

    digest = hashlib.sha256(index.files["uv-0.13.9.tar.gz"]).hexdigest()
    assert (status, update.files()) == (2, {})
    assert errors == (
        f"update-catalog: sha256 of uv-0.13.9.tar.gz differs from the index: expected {'0' * 64}, got {digest}\n"
    )


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        pytest.param({"hashes": {}}, [], "the package index gives no sha256 of uv-0.13.9.tar.gz", id="no hash"),
        pytest.param({"url": "/files/gone"}, [], "uv-0.13.9.tar.gz answers with HTTP status 404", id="no file"),
        pytest.param(
            {}, ["--version", "1.2.3"], "the package index has no source distribution of uv 1.2.3", id="no version"
        ),
        pytest.param(
            {}, ["--version", "new"], "the package index has no source distribution of uv new", id="not a version"
        ),
    ],
)
def test_what_the_index_lacks_is_named(
    update: Update, index: Index, changes: Dict[str, Any], arguments: List[str], message: str
) -> None:
    """A sentence and the status 2 say so."""
    index.changes["uv-0.13.9.tar.gz"] = changes

    assert update.run(*arguments, PIP_INDEX_URL=index.url) == (2, "", f"update-catalog: {message}\n")


def test_an_index_without_the_json_api_is_named(update: Update, index: Index) -> None:
    """An index that answers in HTML whatever it is asked for cannot be used."""
    index.html = True

    assert update.run(PIP_INDEX_URL=index.url) == (
        2,
        "",
        "update-catalog: the package index does not answer in JSON (PEP 691); use --from with a file\n",
    )


def test_an_index_with_a_password_is_given_it(update: Update, index: Index) -> None:
    """User and password in the URL are sent as pip sends them, also for a file beside the page."""
    status, _, errors = update.run(PIP_INDEX_URL=index.url.replace("//", "//me:se%40cret@"))

    assert (status, errors) == (0, "")
    assert index.credentials == ["Basic " + base64.b64encode(b"me:se@cret").decode()] * 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("http://me:secret@127.0.0.1:port/simple", "nonnumeric port: 'port'", id="port"),
        pytest.param("me:secret@127.0.0.1/simple", "unknown url type: me", id="scheme"),
        pytest.param("secret/simple", "its URL is malformed", id="path"),
    ],
)
def test_a_malformed_index_url_is_refused_without_showing_it(update: Update, url: str, message: str) -> None:
    """The message says what is wrong with it and nothing that stands before the host."""
    expected = f"update-catalog: the package index cannot be read: {message}\n"

    assert update.run(PIP_INDEX_URL=url) == (2, "", expected)


def test_the_password_of_an_index_is_in_no_message(update: Update, index: Index) -> None:
    """The index is called the package index, never by its URL."""
    url = index.url.replace("/simple", "/elsewhere?password=secret")
    status, output, errors = update.run(PIP_INDEX_URL=url)

    assert (status, output) == (2, "")
    assert errors == "update-catalog: the package index answers with HTTP status 406\n"
