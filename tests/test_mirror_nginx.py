"""A mirror behind a real nginx: what an administrator may set up, seen from the side that downloads."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest
from support.mirrors import GNU, archive_name, content_of, offer_small, run_mirror, sha256
from support.nginx import Nginx, find_nginx

from provision_backend.cache.store import open_cache
from provision_backend.catalog.selection import load_catalog_file
from provision_backend.errors import DownloadError
from provision_backend.install.catalogs import load_archives
from provision_backend.install.download import download_archive
from provision_backend.install.partial import Partial
from provision_backend.output import Reporter
from provision_backend.settings import Settings, load_settings

NAME = archive_name("3.13.9")
QUOTED = NAME.replace("+", "%2B")
OTHERS = tuple(archive_name(f"3.12.{number}") for number in range(6))
LOGIN = ("builder", "s3cret-word")

FOLDER = "location / { root {root}; }"
PASSWORD = 'auth_basic "archives"; auth_basic_user_file {work}/passwords;'
SUBPATH = "location /artifacts/python/ { alias {root}/; } location / { return 404; }"
# What is not there is forbidden, as an object store answers who may read objects and not list them.
OBJECT_STORE = """
location / { root {root}; error_page 404 =403 /denied; }
location = /denied { internal; default_type application/xml; return 403 '<Error><Code>AccessDenied</Code></Error>'; }
"""
ZONE = "limit_conn_zone $binary_remote_addr zone=clients:1m;"
BUSY = """
limit_conn clients 2; limit_rate 400k; error_page 503 @busy;
location / { root {root}; }
location @busy { add_header Retry-After 1 always; return 503 busy; }
"""


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skip where there is no nginx."""
    find_nginx()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a mirror that the command has made."""
    source = offer_small(tmp_path / "source", NAME, *OTHERS)
    settings = {"mirror": str(source), "catalog": str(source), "target": GNU}
    argv = [word for number in range(6) for word in ("--python", f"3.12.{number}")]
    run_mirror(str(tmp_path / "mirror"), "--python", "3.13", *argv, **settings)
    return tmp_path / "mirror"


def serve(root: Path, server: str, *, http: str = "", login: Tuple[str, str] | None = None) -> Nginx:
    """Return an nginx that serves a mirror."""
    return Nginx(root.parent / "nginx", server.replace("{root}", str(root)), http=http, login=login)


class Client:
    """Downloads one archive of a mirror, and remembers how long it was told to wait.

    Args:
        root: the mirror, for its catalog.
        folder: where to.
        name: of the archive.
    """

    def __init__(self, root: Path, folder: Path, name: str = NAME) -> None:
        found = {archive.filename: archive for archive in load_catalog_file(root)}
        self.archive = found[name]
        self.to = folder / "archive"
        self.told = io.StringIO()

    def fetch(self, *mirrors: str, retries: int = 3) -> None:
        """Download it, for real."""
        download_archive(
            self.archive,
            self.to,
            settings=Settings(mirror=mirrors, retries=retries),
            reporter=Reporter(self.told, 2),
        )


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Note the waits between tries, and wait."""
    noted: List[float] = []

    def wait(seconds: float) -> None:
        noted.append(seconds)
        threading.Event().wait(seconds)

    monkeypatch.setattr("provision_backend.install.download.sleep", wait)
    return noted


@pytest.fixture
def client(root: Path, tmp_path: Path) -> Client:
    """Give somebody who downloads into an empty folder."""
    return Client(root, tmp_path)


def outcomes(nginx: Nginx) -> List[Tuple[int, str]]:
    """Return status and target of each request."""
    return [(request.status, request.target) for request in nginx.requests]


def test_a_folder_behind_nginx_is_a_mirror(root: Path, client: Client) -> None:
    """It is looked for by release and found flat; a plus sign in the name is escaped, and understood."""
    with serve(root, FOLDER) as nginx:
        client.fetch(nginx.url)

    assert client.to.read_bytes() == content_of(NAME)
    assert outcomes(nginx) == [(404, f"/20251120/{QUOTED}"), (200, f"/{QUOTED}")]


def test_a_download_that_was_cut_off_goes_on(root: Path, client: Client) -> None:
    """Nginx's validators are strong enough to ask for the rest of a file only."""
    whole = content_of(NAME)
    with serve(root, FOLDER) as nginx:
        client.fetch(nginx.url)
        # What a process leaves that is killed at this point: the bytes, and the notes made when the answer began.
        part = Partial(client.to)
        validator = nginx_etag(nginx)
        part.begin(f"{nginx.url}/{QUOTED}", validator=validator, total=len(whole))
        part.path.write_bytes(whole[:70_000])
        client.to.unlink()
        nginx.forget()

        client.fetch(nginx.url)

        last = nginx.requests[-1]
    assert client.to.read_bytes() == whole
    assert (last.status, last.range, last.sent) == (206, "bytes=70000-", len(whole) - 70_000)


def nginx_etag(nginx: Nginx) -> str:
    """Return the entity tag of the archive, as any client is told it."""
    import urllib.request

    with urllib.request.urlopen(f"{nginx.url}/{QUOTED}") as answer:
        return str(answer.headers["ETag"])


def test_a_file_that_was_replaced_meanwhile_begins_anew(root: Path, client: Client) -> None:
    """The rest of another file is not glued to the beginning of this one."""
    with serve(root, FOLDER) as nginx:
        part = Partial(client.to)
        part.begin(f"{nginx.url}/{QUOTED}", validator='"65a1b2c3-19000"', total=len(content_of(NAME)))
        part.path.write_bytes(b"?" * 70_000)

        client.fetch(nginx.url)

        last = nginx.requests[-1]
    assert client.to.read_bytes() == content_of(NAME)
    assert (last.status, last.sent) == (200, len(content_of(NAME)))


class TestPasswords:
    """Basic authentication, as `auth_basic` asks for it."""

    @pytest.fixture
    def nginx(self, root: Path) -> Iterator[Nginx]:
        """Give a server that wants a password."""
        with serve(root, PASSWORD + FOLDER, login=LOGIN) as running:
            yield running

    def test_they_may_stand_in_the_url(self, nginx: Nginx, client: Client) -> None:
        """User name and password of the mirror's URL are sent at once."""
        client.fetch(nginx.url.replace("://", f"://{LOGIN[0]}:{LOGIN[1]}@"))

        assert [status for status, _ in outcomes(nginx)] == [404, 200]
        assert LOGIN[1] not in client.told.getvalue()

    def test_they_may_stand_in_the_netrc_file(
        self, nginx: Nginx, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file that NETRC names keeps them out of variables and logs."""
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login {LOGIN[0]} password {LOGIN[1]}\n", encoding="ascii")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))

        client.fetch(nginx.url)

        assert [status for status, _ in outcomes(nginx)] == [404, 200]

    @pytest.mark.parametrize("userinfo", ["", "builder:wrong-word@"], ids=["none", "wrong"])
    def test_without_the_right_one_the_message_says_what_is_missing(
        self, nginx: Nginx, client: Client, userinfo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One request, no other layout, no second try, and no password in the message."""
        monkeypatch.setenv("NETRC", "/nowhere")

        with pytest.raises(DownloadError) as caught:
            client.fetch(nginx.url.replace("://", f"://{userinfo}"))

        assert str(caught.value) == (
            f"could not download {NAME}\n"
            f"  {nginx.url}: 401 Unauthorized\n"
            "  127.0.0.1 wants other credentials: in the URL, or in the netrc file"
        )
        assert [status for status, _ in outcomes(nginx)] == [401]

    def test_the_catalog_takes_them_too(self, nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
        """The list of a mirror of one's own is fetched from the same server with the same password."""
        monkeypatch.setenv("NETRC", "/nowhere")
        url = nginx.url.replace("://", f"://{LOGIN[0]}:{LOGIN[1]}@") + "/SHA256SUMS"
        settings = load_settings(flags={"catalog": url})

        archives = load_archives(settings, GNU, open_cache(settings), Reporter())

        assert NAME in [archive.filename for archive in archives]


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
def test_a_mirror_may_lie_below_a_path(root: Path, client: Client, slash: str) -> None:
    """A sub-path of a server is a base like any other, with or without a slash at its end."""
    with serve(root, SUBPATH) as nginx:
        client.fetch(f"{nginx.url}/artifacts/python{slash}")

    assert outcomes(nginx)[-1] == (200, f"/artifacts/python/{QUOTED}")


def test_a_mirror_can_be_made_from_a_mirror(root: Path, tmp_path: Path) -> None:
    """A site behind another one mirrors what that has, from its URL, catalog included."""
    with serve(root, SUBPATH) as nginx:
        base = f"{nginx.url}/artifacts/python"
        settings = {"mirror": base, "catalog": f"{base}/SHA256SUMS", "target": GNU}
        run_mirror(str(tmp_path / "second"), "--python", ">=3.12", **settings)

    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == sorted(["SHA256SUMS", NAME, OTHERS[-1]])


class TestObjectStores:
    """Those who may read objects and not list them get 403 for what is not there."""

    def test_what_is_forbidden_by_release_is_looked_for_flat(self, root: Path, client: Client) -> None:
        """A 403 in one layout is no answer about the other one."""
        with serve(root, OBJECT_STORE) as nginx:
            client.fetch(nginx.url)

        assert client.to.read_bytes() == content_of(NAME)
        assert [status for status, _ in outcomes(nginx)] == [403, 200]

    def test_a_signature_in_the_url_goes_with_each_request(self, root: Path, client: Client) -> None:
        """A query of the mirror's URL, such as a shared access signature, stays behind each path, and is not shown."""
        signed = OBJECT_STORE.replace("{ root {root};", '{ if ($arg_sig != "a%2Fb%3D") { return 403; } root {root};', 1)
        with serve(root, signed) as nginx:
            client.fetch(f"{nginx.url}/?sig=a%2Fb%3D")

        assert outcomes(nginx)[-1] == (200, f"/{QUOTED}?sig=a%2Fb%3D")
        assert "sig=" not in client.told.getvalue()

    def test_what_is_not_there_is_looked_for_at_the_next_mirror(
        self, root: Path, client: Client, waits: List[float]
    ) -> None:
        """Nor does it say anything about another source; and it is not tried again."""
        with serve(root, OBJECT_STORE) as nginx:
            client.fetch(f"{nginx.url}/empty-bucket", nginx.url)

        assert [status for status, _ in outcomes(nginx)] == [403, 403, 403, 200]
        assert waits == []

    def test_what_is_nowhere_is_reported_with_the_status(self, root: Path, client: Client) -> None:
        """The message says that both layouts were looked at."""
        with serve(root, OBJECT_STORE) as nginx, pytest.raises(DownloadError) as caught:
            client.fetch(f"{nginx.url}/empty-bucket")

        assert str(caught.value) == (
            f"could not download {NAME}\n  {nginx.url}/empty-bucket: 403 Forbidden, laid out by release and flat\n"
            "  look at PROVISION_BACKEND_MIRROR; 'provision-backend doctor' says more"
        )


class TestLoad:
    """A server that answers 503 to those who are too many."""

    def test_who_is_sent_away_comes_back_when_told_to(self, root: Path, tmp_path: Path, waits: List[float]) -> None:
        """Four clients at once where two are let in: all get their archive, waiting as `Retry-After` says."""
        clients: Dict[str, Client] = {}
        with serve(root, BUSY, http=ZONE) as nginx:
            for name in OTHERS[:4]:
                (tmp_path / name).mkdir()
                clients[name] = Client(root, tmp_path / name, name)
            threads = [threading.Thread(target=each.fetch, args=(nginx.url,)) for each in clients.values()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)

        assert [sha256(each.to.read_bytes()) for each in clients.values()] == [
            each.archive.sha256 for each in clients.values()
        ]
        assert set(waits) == {1.0}
        assert len(waits) == [status for status, _ in outcomes(nginx)].count(503) >= 2

    def test_a_server_that_stays_busy_is_given_up_for_the_next(
        self, root: Path, client: Client, waits: List[float]
    ) -> None:
        """The tries are bounded, and a second mirror serves those whom the first does not let in."""
        server = "location /busy/ { return 503; } " + FOLDER
        with serve(root, server) as nginx:
            client.fetch(f"{nginx.url}/busy", nginx.url, retries=1)

        assert [status for status, _ in outcomes(nginx)] == [503, 503, 404, 200]
        assert waits[0] < 1
        assert f"provision-backend: {nginx.url}/busy: 503 Service Unavailable" in client.told.getvalue().splitlines()


def test_the_configuration_of_the_guide_works(root: Path, client: Client) -> None:
    """What the page on mirrors shows for nginx is what serves here, but for its paths and its port."""
    page = (Path(__file__).parent.parent / "docs/guides/mirrors.md").read_text(encoding="utf-8")
    shown = re.search(r"```nginx\n(?P<http>.*?)\nserver \{\n(?P<server>.*?)\n\}\n```", page, re.DOTALL)
    assert shown is not None
    server = re.sub(r"^ *(listen|server_name) .*;\n", "", shown["server"], flags=re.MULTILINE)
    assert server.count("/srv/python/;") == server.count("/etc/nginx/python.passwords;") == 1
    server = server.replace("/srv/python/;", "{root}/;").replace("/etc/nginx/python.passwords;", "{work}/passwords;")

    with serve(root, server, http=shown["http"], login=LOGIN) as nginx:
        url = nginx.url.replace("://", f"://{LOGIN[0]}:{LOGIN[1]}@") + "/python"
        client.fetch(url)

    assert outcomes(nginx)[-1] == (200, f"/python/{QUOTED}")


@pytest.mark.parametrize("form", ["path", "file URL"])
def test_the_same_folder_serves_without_a_server(root: Path, client: Client, form: str) -> None:
    """By path or by a file URL, nothing else changes."""
    client.fetch(str(root) if form == "path" else root.as_uri())

    assert client.to.read_bytes() == content_of(NAME)
