"""The built-in catalog, a file in its place, and one by URL: when the server is asked, and when the copy serves."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Dict, Iterator

import pytest
from support.servers import ArchiveServer, Reply

from provision_backend.cache.store import Cache
from provision_backend.errors import CatalogError, DownloadError, OfflineError
from provision_backend.install.catalogs import FRESH, fetch_catalog, load_archives, needs_fetching
from provision_backend.output import Reporter, redact_url
from provision_backend.settings import Settings, load_settings

TEXT = "0" * 64 + "  cpython-3.13.0+20241016-x86_64-unknown-linux-gnu-install_only.tar.gz\n"


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    """Serve one catalog on loopback."""
    with ArchiveServer({"/SHA256SUMS": TEXT.encode()}) as server:
        yield server


class Fetching:
    """Fetches one catalog again and again, and keeps what was said meanwhile."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.cache = Cache(root)
        self.said = io.StringIO()

    def __call__(self, *, offline: bool = False) -> str:
        """Fetch the catalog."""
        settings = Settings(catalog=self.url, offline=offline, retries=0)
        return fetch_catalog(settings, self.cache, Reporter(self.said))

    def copy(self) -> Path:
        """Return the copy in the cache."""
        return next((self.cache.root / "catalogs").iterdir())

    def age(self, seconds: float) -> None:
        """Make the copy older, or with a negative number younger than now."""
        then = time.time() - seconds
        os.utime(str(self.copy()), (then, then))


@pytest.fixture
def fetching(server: ArchiveServer, tmp_path: Path) -> Fetching:
    """Return what fetches the catalog of the server."""
    return Fetching(server.url + "/SHA256SUMS", tmp_path / "cache")


def test_the_builtin_catalog_is_that_of_the_triple(tmp_path: Path) -> None:
    """Without a setting, only the archives for the triple are loaded."""
    archives = load_archives(Settings(), "x86_64-unknown-linux-musl", Cache(tmp_path), Reporter(verbosity=-1))

    assert {archive.triple for archive in archives} == {"x86_64-unknown-linux-musl"}


def test_a_file_replaces_the_builtin_catalog(tmp_path: Path) -> None:
    """All of its archives are loaded, including those for other triples."""
    (tmp_path / "SHA256SUMS").write_text(TEXT)
    settings = Settings(catalog=str(tmp_path / "SHA256SUMS"))
    archives = load_archives(settings, "x86_64-unknown-linux-musl", Cache(tmp_path), Reporter(verbosity=-1))

    assert [archive.filename for archive in archives] == [TEXT.split()[1]]


def test_a_catalog_is_fetched_and_kept(server: ArchiveServer, fetching: Fetching) -> None:
    """The text comes from the server, and the next question makes no request."""
    assert (fetching(), fetching()) == (TEXT, TEXT)
    assert len(server.requests) == 1
    assert fetching.copy().read_text() == TEXT
    assert len(list(fetching.copy().parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("age", "requests"),
    [
        pytest.param(FRESH - 30, 1, id="fresh"),
        pytest.param(FRESH + 1, 2, id="stale"),
        pytest.param(-30, 1, id="from a clock that is a little ahead"),
        pytest.param(-FRESH - 30, 2, id="from a clock that was set back"),
    ],
)
def test_a_copy_serves_for_ten_minutes(server: ArchiveServer, fetching: Fetching, age: float, requests: int) -> None:
    """After that the server is asked again, and what it says is kept."""
    fetching()
    newer = "# newer\n" + TEXT
    server.files["/SHA256SUMS"] = newer.encode()
    fetching.age(age)

    assert fetching() == (TEXT if requests == 1 else newer)
    assert len(server.requests) == requests


def test_a_stale_copy_serves_when_the_server_does_not(server: ArchiveServer, fetching: Fetching) -> None:
    """A build goes on with what was known, and says so."""
    fetching()
    fetching.age(FRESH * 100)
    server.script.append(Reply(status=404))

    assert fetching() == TEXT
    assert fetching.said.getvalue().startswith(f"provision-backend: could not fetch {fetching.url}: ")
    assert fetching.said.getvalue().endswith("; using the copy of it in the cache\n")
    assert fetching.said.getvalue().count("\n") == 1


def test_a_page_does_not_take_the_place_of_the_copy(server: ArchiveServer, fetching: Fetching) -> None:
    """A server that gives something else is like one that gives nothing."""
    fetching()
    fetching.age(FRESH * 2)
    server.files["/SHA256SUMS"] = b"<html>\x1b[2JLog in</html>"

    assert fetching() == TEXT
    assert fetching.copy().read_text() == TEXT
    assert "; using the copy of it in the cache\n" in fetching.said.getvalue()


def test_without_a_copy_the_failure_is_the_answer(server: ArchiveServer, fetching: Fetching) -> None:
    """Nothing is kept of an answer that is none."""
    server.script.append(Reply(status=404))

    with pytest.raises(DownloadError, match=f"^could not fetch {fetching.url}: "):
        fetching()
    assert not (fetching.cache.root / "catalogs").exists()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"<!DOCTYPE HTML>\n<title>Index</title>", "line 1: expected '<sha256>  <file name>', found '<!DOCTYPE HTML>'"),
        (b'# files\n[{"name": "SHA256SUMS"}]', "line 2: expected '<sha256>  <file name>', found "
         "'[{\"name\": \"SHA256SUMS\"}]'"),
    ],
    ids=["HTML", "JSON"],
)  # fmt: skip
def test_a_page_in_place_of_the_list_is_named_with_its_address(
    server: ArchiveServer, fetching: Fetching, body: bytes, found: str
) -> None:
    """Mostly the URL is that of the folder, which is what mirror wants, and a login in it is not shown."""
    server.files["/SHA256SUMS"] = body
    fetching.url = fetching.url.replace("//", "//someone:secret@")
    with pytest.raises(CatalogError) as caught:
        fetching()

    assert str(caught.value) == (
        f"the catalog {redact_url(fetching.url)}, {found}\n"
        "  the URL must name the file itself, such as https://mirror.example/SHA256SUMS;\n"
        "  or the page of a firewall came in its place"
    )
    assert "secret" not in str(caught.value)


def test_a_list_with_a_fault_is_the_right_file(server: ArchiveServer, fetching: Fetching) -> None:
    """No advice about the address is given where a line further down is wrong."""
    server.files["/SHA256SUMS"] = f"{TEXT}<br>\n".encode()
    with pytest.raises(CatalogError) as caught:
        fetching()

    assert str(caught.value).endswith(", line 2: expected '<sha256>  <file name>', found '<br>'")


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (
            "https://127.0.0.1:9/x",
            "is the address right, and does a firewall let this machine reach it?\n"
            "without internet name a file, or no catalog: the built-in one needs no network",
        ),
        ("http://mirror.invalid/x", "name it by https://, or take it from a file or from this machine"),
        ("file:///nowhere/SHA256SUMS", "correct PROVISION_BACKEND_CATALOG, which names it"),
    ],
)
def test_what_cannot_be_fetched_has_advice(tmp_path: Path, url: str, advice: str) -> None:
    """Whoever reads the message has nobody else to ask."""
    settings = load_settings(environ={"PROVISION_BACKEND_CATALOG": url, "PROVISION_BACKEND_RETRIES": "0"})
    with pytest.raises(DownloadError) as caught:
        fetch_catalog(settings, Cache(tmp_path), Reporter(verbosity=-1))

    assert caught.value.hint == advice


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        (
            {"HTTPS_PROXY": "http://someone:secret@127.0.0.1:9"},
            "does the proxy http://127.0.0.1:9 run, and does it allow this address? "
            "HTTPS_PROXY says which proxy is asked;",
        ),
        (
            {"all_proxy": "http://127.0.0.1:9"},
            "does the proxy http://127.0.0.1:9 run, and does it allow this address? "
            "all_proxy says which proxy is asked;",
        ),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": "catalog.invalid"},
            "is the address right, and does a firewall let this machine reach it? "
            "no_proxy has it asked without a proxy;",
        ),
        (
            {"HTTP_PROXY": "http://127.0.0.1:9"},
            "is the address right, and does a firewall let this machine reach it? behind a proxy set HTTPS_PROXY;",
        ),
    ],
    ids=["proxy", "for all", "excepted", "for http"],
)
def test_advice_names_the_variable_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: Dict[str, str], advice: str
) -> None:
    """Nobody is told to set a variable that is set, or that does not count for the address."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fetching = Fetching("https://catalog.invalid/SHA256SUMS", tmp_path)
    with pytest.raises(DownloadError) as caught:
        fetching()

    assert (caught.value.hint or "").splitlines()[0] == advice


def test_offline_takes_any_copy_and_asks_nobody(server: ArchiveServer, fetching: Fetching) -> None:
    """With offline set a copy serves however old it is."""
    fetching()
    fetching.age(FRESH * 1000)

    assert fetching(offline=True) == TEXT
    assert len(server.requests) == 1


def test_offline_without_a_copy_is_an_error(server: ArchiveServer, fetching: Fetching) -> None:
    """The message names the URL, and no request is made."""
    with pytest.raises(OfflineError) as caught:
        fetching(offline=True)

    assert str(caught.value) == (
        f"the catalog {fetching.url} is not in the cache, and offline is set\n"
        "  run 'provision-backend list' once with network, which keeps a copy, or name the catalog by a path"
    )
    assert server.requests == []


def test_credentials_are_not_shown(tmp_path: Path) -> None:
    """A login in the URL stays out of the message, and out of the name of the copy."""
    fetching = Fetching("http://someone:secret@127.0.0.1:9/SHA256SUMS", tmp_path)

    for offline in (True, False):
        with pytest.raises(DownloadError) as caught:
            fetching(offline=offline)
        assert "secret" not in str(caught.value)
    assert not list(tmp_path.rglob("*secret*"))


def test_plain_http_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """Anybody on the way could say which bytes are right; no request is made."""
    with pytest.raises(DownloadError) as caught:
        Fetching("http://mirror.invalid/SHA256SUMS", tmp_path)()

    assert caught.value.message.startswith("could not fetch http://mirror.invalid/SHA256SUMS: ")


@pytest.mark.parametrize("offline", [False, True])
def test_a_file_url_is_read_each_time(tmp_path: Path, offline: bool) -> None:
    """Nobody has to wait ten minutes for a change in a file of one's own, and no copy is made of it."""
    file = tmp_path / "SHA256SUMS"
    fetching = Fetching(file.as_uri(), tmp_path / "cache")
    for text in ("# one\n", "# two\n"):
        file.write_text(text)
        assert text == fetching(offline=offline)

    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"", b"<html>\n", TEXT[:99].encode()], ids=repr)
def test_a_damaged_copy_is_fetched_anew(server: ArchiveServer, fetching: Fetching, damage: bytes) -> None:
    """A copy that is no text, or no catalog, counts as none: the URL is right, and only a catalog was kept."""
    fetching()
    fetching.copy().write_bytes(damage)
    settings = Settings(catalog=fetching.url)

    assert needs_fetching(settings, fetching.cache)
    with pytest.raises(OfflineError, match="is not in the cache, and offline is set"):
        fetching(offline=True)
    assert fetching() == TEXT
    assert len(server.requests) == 2
    assert not needs_fetching(settings, fetching.cache)


def test_a_cache_that_cannot_be_written_is_done_without(server: ArchiveServer, tmp_path: Path) -> None:
    """The catalog is then fetched each time."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    fetching = Fetching(server.url + "/SHA256SUMS", tmp_path / "cache")

    assert (fetching(), fetching()) == (TEXT, TEXT)
    assert len(server.requests) == 2
