"""Redirects, certificates and credentials: `provision_backend.install.transport`.

The rules about GitHub's hosts are seen at work through a proxy on loopback that answers for them.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from support.servers import ArchiveServer, RawServer, Reply, SocksProxy

from provision_backend.errors import DownloadError
from provision_backend.install.download import fetch_text
from provision_backend.install.network import find_route
from provision_backend.install.sources import Route, SourceError
from provision_backend.install.transport import Transport
from provision_backend.settings import Settings

httpx: Any = importlib.import_module("httpx2" if sys.version_info >= (3, 11) else "httpx")

GITHUB = "https://github.com/astral-sh/x/SHA256SUMS"
OBJECTS = "https://objects.githubusercontent.com/x?sig=s3cret"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "GITHUB_TOKEN", "GH_TOKEN")
GITHUB_HINT = (
    "  GitHub answers 403, 404 or 429 to addresses that ask too often, such as those that CI runners share: "
    "set GITHUB_TOKEN, or a mirror (PROVISION_BACKEND_MIRROR)"
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, token or netrc file of whoever runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Tuple[ssl.SSLContext, Path]:
    """Make a certificate for loopback and GitHub's hosts, and the file of the CA that signed it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography announces the end of old Pythons with warnings
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "github.com", "objects.githubusercontent.com", "m.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


@pytest.fixture
def secure(certificates: Tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    """Give an HTTPS server that the environment trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[1]))
    with ArchiveServer({"/S": b"text"}, tls=certificates[0]) as running:
        yield running


@pytest.fixture
def world(certificates: Tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    """Give a proxy that answers for every HTTPS host, as GitHub would: with a redirect to its object store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[1]))
    with ArchiveServer({"https://objects.githubusercontent.com/x": b"text"}, intercept=certificates[0]) as running:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{running.port}")
        running.redirects = {GITHUB: OBJECTS}
        yield running


@pytest.fixture
def plain() -> Iterator[ArchiveServer]:
    """Give an HTTP server."""
    with ArchiveServer({"/S": b"text"}) as running:
        yield running


def fetch(url: str, **options: Any) -> str:
    """Fetch without retries."""
    return fetch_text(url, settings=Settings(retries=0, **options))


def refusal(url: str, **options: Any) -> str:
    """Return the error of a fetch, after the address."""
    with pytest.raises(DownloadError) as caught:
        fetch(url, **options)
    return str(caught.value).partition(": ")[2]


def sent_to(server: ArchiveServer) -> List[Tuple[str, str]]:
    """Return host and credentials of each request but those that open a tunnel."""
    return [
        (seen.headers["host"], seen.headers.get("authorization", ""))
        for seen in server.requests
        if seen.method != "CONNECT"
    ]


def basic(login: str) -> str:
    """Return the header for a user name and password."""
    return "Basic " + base64.b64encode(login.encode()).decode()


def test_a_redirect_is_followed(plain: ArchiveServer) -> None:
    """A relative location is resolved, and its target read."""
    plain.redirects = {"/a/old": "../S?x=1"}

    assert fetch(f"{plain.url}/a/old") == "text"
    assert plain.paths == ["/a/old", "/S?x=1"]


def test_redirects_in_a_circle_end(plain: ArchiveServer) -> None:
    """A server that sends us round in circles is given up."""
    plain.redirects = {"/S": "/S"}

    assert refusal(f"{plain.url}/S") == "more than 10 redirects"
    assert len(plain.requests) == 11


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("ftp://m.example/S", "redirected to ftp://, which is not HTTP"),
        ("file:///etc/passwd", "redirected to file://, which is not HTTP"),
        ("http://[bad/S", "redirected to something that is not a URL"),
    ],
)
def test_a_redirect_to_something_else_is_refused(plain: ArchiveServer, location: str, expected: str) -> None:
    """Only HTTP leads on; a server cannot make us read local files."""
    plain.redirects = {"/S": location}

    assert refusal(f"{plain.url}/S") == expected


def test_https_is_never_left_for_http(secure: ArchiveServer, plain: ArchiveServer) -> None:
    """A redirect down to plain HTTP is refused, even to this machine."""
    secure.redirects = {"/S": f"{plain.url}/S"}

    assert refusal(f"{secure.url}/S") == "redirected from https:// to http://127.0.0.1, which is refused"
    assert plain.requests == []


def test_http_may_become_https(secure: ArchiveServer, plain: ArchiveServer) -> None:
    """A redirect up is followed."""
    plain.redirects = {"/S": f"{secure.url}/S"}

    assert fetch(f"{plain.url}/S") == "text"


def test_an_unknown_certificate_is_not_tried_again(secure: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not trusted will not be trusted the next time; the error says how to trust it."""
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    waits: List[float] = []
    monkeypatch.setattr("provision_backend.install.download.sleep", waits.append)
    with pytest.raises(DownloadError) as caught:
        fetch_text(f"{secure.url}/S", settings=Settings())

    assert waits == []
    assert caught.value.message.startswith(f"could not fetch {secure.url}/S: its certificate is not trusted: ")
    assert caught.value.hint == (
        "where a proxy of the network re-signs TLS, set SSL_CERT_FILE to a file with its CA certificate"
    )


def test_a_ca_file_that_is_none_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken environment is named before any request."""
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(DownloadError) as caught:
        fetch("https://127.0.0.1:9/S")

    assert caught.value.message.startswith("could not set up HTTPS: ")
    assert caught.value.hint == "check SSL_CERT_FILE and SSL_CERT_DIR"


@pytest.mark.parametrize(
    "proxy", ["nonsense://user:s3cret@127.0.0.1:1", "http://user:s3/cret@127.0.0.1:1", "socks5://user:s3cret@127.0.0.1"]
)
def test_a_proxy_that_is_none_is_explained(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A broken proxy setting ends in our error, without the proxy's password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(DownloadError) as caught:
        fetch("https://127.0.0.1:9/S")

    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["socks4", "ftp"])
def test_a_proxy_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The error lists the kinds of proxies that work, and names the kind that was found."""
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://10.0.0.1:1")
    with pytest.raises(DownloadError) as caught:
        fetch("https://m.example/S")

    assert str(caught.value) == (
        "the environment names a proxy that cannot be used: wanted http://, https://, socks5:// or socks5h://, "
        f"found {scheme}://\n"
        "  correct HTTPS_PROXY"
    )


def test_a_socks_proxy_without_its_package_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package, and the extra that brings it."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:s3cret@10.0.0.1:1")
    # httpcore looks for the package when it is imported.
    code = """
import sys
sys.modules["socksio"] = None
from provision_backend.errors import MissingDependencyError
from provision_backend.install.download import fetch_text
from provision_backend.settings import Settings
try:
    fetch_text("https://m.example/S", settings=Settings(retries=0))
except MissingDependencyError as exc:
    print(exc)
"""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    output = subprocess.check_output([sys.executable, "-c", code], env=environ, universal_newlines=True)

    assert output == (
        "the package 'socksio' is needed to use the proxy socks5://10.0.0.1:1 and is not installed\n"
        "  pip install 'provision-backend[socks]'\n"
    )


def test_a_socks_proxy_is_used(plain: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It connects us to the host whose name it is given."""
    pytest.importorskip("socksio")
    with SocksProxy(plain.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
        with Transport(Settings()).open("http://m.example/S") as stream:
            assert b"".join(stream.chunks) == b"text"

    assert proxy.asked == [b"m.example"]


def test_a_proxy_may_speak_tls(secure: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is reached over HTTPS is checked with the same certificates as a server."""
    monkeypatch.setenv("HTTP_PROXY", secure.url)
    with Transport(Settings()).open("http://m.example/S") as stream:
        assert b"".join(stream.chunks) == b"text"


@pytest.mark.parametrize("excepted", ["10.1.0.0/16", "m.example, 10.1.2.3", "10.1.2.0/24,other.example"])
def test_networks_may_be_excepted_from_the_proxy(monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    """NO_PROXY may name a network, as curl, pip and uv take it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://10.9.9.9:1")
    monkeypatch.setenv("NO_PROXY", excepted)

    assert find_route("https://10.1.2.3/S") == Route("", "NO_PROXY")
    assert find_route("https://10.2.2.3/S") == Route("http://10.9.9.9:1", "HTTPS_PROXY")
    assert find_route("https://n.example/S") == Route("http://10.9.9.9:1", "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("variables", "scheme", "proxy", "variable"),
    [
        pytest.param({}, "http", "", "HTTP_PROXY", id="none"),
        pytest.param({}, "https", "", "HTTPS_PROXY", id="none for https"),
        pytest.param({"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://b:1"}, "http", "http://b:1", "HTTP_PROXY"),
        pytest.param({"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://b:1"}, "https", "http://a:1", "HTTPS_PROXY"),
        pytest.param({"HTTPS_PROXY": "http://a:1"}, "http", "", "HTTP_PROXY", id="the other one"),
        pytest.param({"ALL_PROXY": "c:1"}, "http", "http://c:1", "ALL_PROXY", id="for all"),
        pytest.param({"ALL_PROXY": "http://c:1", "HTTP_PROXY": "http://b:1"}, "http", "http://b:1", "HTTP_PROXY"),
        pytest.param({"http_proxy": "http://d:1", "HTTP_PROXY": "http://b:1"}, "http", "http://d:1", "http_proxy"),
        pytest.param({"http_proxy": "", "HTTP_PROXY": "http://b:1"}, "http", "", "HTTP_PROXY", id="emptied"),
        pytest.param({"HTTP_PROXY": "http://b:1", "no_proxy": "m.example"}, "http", "", "no_proxy", id="excepted"),
    ],
)
def test_the_variable_that_counts_for_an_address(
    monkeypatch: pytest.MonkeyPatch, variables: Dict[str, str], scheme: str, proxy: str, variable: str
) -> None:
    """It is spelled as it is set, or as it would have to be."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert find_route(f"{scheme}://m.example/S") == Route(proxy, variable)


def test_a_route_is_shown_without_a_password() -> None:
    """Wherever one is printed."""
    assert repr(Route("http://user:s3cret@10.9.9.9:1", "ALL_PROXY")) == "Route(http://10.9.9.9:1, ALL_PROXY)"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A catalog over plain HTTP is believed from this machine only, so no proxy may answer for it."""
    monkeypatch.setenv("ALL_PROXY", "http://10.9.9.9:1")

    assert find_route(f"http://{host}:8000/S") == Route("", "")


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is that of the proxy, not of the server behind it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:s3cret@127.0.0.1:9")

    assert refusal("https://m.example/S") == (
        "the proxy http://127.0.0.1:9 could not be reached: [Errno 111] Connection refused"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_gets_its_own_password(
    world: ArchiveServer, plain: ArchiveServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The login in the URL of the proxy goes to the proxy, and to nobody behind it."""
    server, target = (world, GITHUB) if scheme == "https" else (plain, "http://m.example/S")
    monkeypatch.setenv(f"{scheme}_proxy".upper(), f"http://us%40er:s3cret@127.0.0.1:{server.port}")

    with Transport(Settings()).open(target) as stream:
        assert b"".join(stream.chunks) == b"text"
    assert server.requests[0].headers["proxy-authorization"] == basic("us@er:s3cret")
    behind = [seen for seen in server.requests if seen.method != "CONNECT"] if scheme == "https" else []
    assert [seen.headers.get("proxy-authorization", "") for seen in behind] == [""] * len(behind)


def test_a_proxy_may_be_named_without_a_scheme(world: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As most programs take it."""
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{world.port}")

    assert fetch(GITHUB) == "text"


def test_a_path_with_unusual_characters_is_asked_for(plain: ArchiveServer) -> None:
    """What a URL must not hold is escaped, and what is escaped stays as it is."""
    plain.files["/a folder/ü+%41"] = b"text"

    assert fetch(f"{plain.url}/a folder/ü%2B%2541") == "text"


def test_a_proxy_that_refuses_is_explained(world: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of a proxy is told apart from that of the server, and is not tried again."""
    world.script = [Reply(status=407)]
    waits: List[float] = []
    monkeypatch.setattr("provision_backend.install.download.sleep", waits.append)
    with pytest.raises(DownloadError) as caught:
        fetch_text(GITHUB, settings=Settings())

    assert caught.value.message == (
        f"could not fetch {GITHUB}: the proxy http://127.0.0.1:{world.port} refuses: 407 Proxy Authentication Required"
    )
    assert caught.value.hint == "put the user name and password of the proxy into HTTPS_PROXY"
    assert waits == []


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("status", "reason", "absent", "by_proxy"),
    [
        (407, "the proxy {proxy} refuses: 407 Proxy Authentication Required", False, True),
        (403, "403 Forbidden (asked through the proxy {proxy})", True, True),
        (404, "404 Not Found (asked through the proxy {proxy})", True, False),
        (503, "503 Service Unavailable (asked through the proxy {proxy})", False, True),
    ],
)
def test_a_proxy_that_refuses_over_plain_http_is_named(
    plain: ArchiveServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    status: int,
    reason: str,
    absent: bool,
    by_proxy: bool,
) -> None:
    """There is no tunnel, so its answer stands where that of the server would."""
    monkeypatch.setenv(variable, f"http://user:s3cret@127.0.0.1:{plain.port}")
    plain.script = [Reply(status=status)]
    with pytest.raises(SourceError) as caught, Transport(Settings()).open("http://mirror.invalid/x"):
        pass

    failure = caught.value
    assert failure.reason == reason.format(proxy=plain.url)
    login = f"put the user name and password of the proxy into {variable}"
    assert (failure.hint, failure.route.variable) == (login if status == 407 else "", variable)
    assert (failure.absent, failure.by_proxy) == (absent, by_proxy)


def test_a_server_behind_a_socks_proxy_answers_itself(plain: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a proxy relays bytes, and knows no status of HTTP."""
    pytest.importorskip("socksio")
    plain.script = [Reply(status=403)]
    with SocksProxy(plain.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"socks5h://127.0.0.1:{proxy.port}")
        with pytest.raises(SourceError) as caught, Transport(Settings()).open("http://m.example/S"):
            pass

    assert (caught.value.reason, caught.value.by_proxy) == ("403 Forbidden", False)


def test_the_body_of_an_answer_may_fail_on_its_way(plain: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come by the same proxy as its beginning, which the advice is about."""
    monkeypatch.setenv("HTTP_PROXY", plain.url)
    plain.script = [Reply(cut=2)]
    with pytest.raises(SourceError) as caught, Transport(Settings()).open("http://m.example/S") as stream:
        list(stream.chunks)

    assert caught.value.reason == "the body ended after 2 of 4 bytes"
    assert caught.value.route == Route(plain.url, "HTTP_PROXY")


def test_a_password_in_the_url_goes_to_its_host_only(plain: ArchiveServer) -> None:
    """User name and password are unquoted and sent, and a redirect to another port does not get them."""
    plain.login = ("us@er", "pass/word")
    base = plain.url.replace("http://", "http://us%40er:pass%2Fword@")
    with ArchiveServer({"/S": b"elsewhere"}) as other:
        plain.redirects = {"/S": "/T", "/T": f"{other.url}/S"}

        assert fetch(f"{base}/S") == "elsewhere"
        assert [credentials for _, credentials in sent_to(plain)] == [basic("us@er:pass/word")] * 2
        assert [credentials for _, credentials in sent_to(other)] == [""]


def test_a_password_in_a_location_is_not_used(plain: ArchiveServer) -> None:
    """A server cannot make us say something to another server."""
    with ArchiveServer({"/S": b"elsewhere"}) as other:
        plain.redirects = {"/S": f"http://user:s3cret@127.0.0.1:{other.port}/S"}

        assert fetch(f"{plain.url}/S") == "elsewhere"
        assert [credentials for _, credentials in sent_to(other)] == [""]


def test_missing_credentials_are_explained(plain: ArchiveServer) -> None:
    """401 says where credentials are written."""
    plain.login = ("user", "right")

    assert refusal(f"{plain.url.replace('http://', 'http://user:wr0ng@')}/S") == (
        "401 Unauthorized\n  127.0.0.1 wants other credentials: in the URL, or in the netrc file"
    )


def test_netrc_goes_to_the_machine_it_names(world: ArchiveServer, tmp_path: Path) -> None:
    """An entry is for its machine; the machine that it redirects to, and an entry for none, get nothing."""
    (tmp_path / "netrc").write_text("machine m.example login me password s3cret\ndefault login any password s3cret\n")
    world.redirects = {"https://m.example/S": "https://objects.githubusercontent.com/x"}

    assert fetch("https://m.example/S") == "text"
    assert sent_to(world) == [("m.example", basic("me:s3cret")), ("objects.githubusercontent.com", "")]


def test_netrc_does_not_follow_a_redirect_over_plain_http(plain: ArchiveServer, tmp_path: Path) -> None:
    """Anybody may redirect a plain request to any host and port; the configured host gets its password all the same."""
    (tmp_path / "netrc").write_text("machine localhost login me password s3cret\n")
    plain.redirects = {"/S": f"http://localhost:{plain.port}/T"}
    plain.files["/T"] = b"text"

    assert fetch(f"{plain.url}/S") == "text"
    assert fetch(f"http://localhost:{plain.port}/T") == "text"
    assert [credentials for _, credentials in sent_to(plain)] == ["", "", basic("me:s3cret")]


def test_netrc_does_not_follow_a_redirect_to_another_port(plain: ArchiveServer, tmp_path: Path) -> None:
    """Behind another port of the same host may be the server of another user."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    with ArchiveServer({"/T": b"text"}) as other:
        plain.redirects = {"/S": f"{other.url}/T"}

        assert fetch(f"{plain.url}/S") == "text"
        assert [credentials for _, credentials in sent_to(plain)] == [basic("me:s3cret")]
        assert [credentials for _, credentials in sent_to(other)] == [""]


def test_a_password_in_the_url_wins_over_netrc(world: ArchiveServer, tmp_path: Path) -> None:
    """What is said for this address is meant."""
    (tmp_path / "netrc").write_text("machine m.example login me password s3cret\n")
    world.files["https://m.example/S"] = b"text"
    fetch("https://you:other@m.example/S")

    assert sent_to(world) == [("m.example", basic("you:other"))]


def test_a_broken_netrc_is_mentioned_and_not_quoted(plain: ArchiveServer, tmp_path: Path) -> None:
    """A netrc file that cannot be parsed is no error until credentials are missing."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 s3cret s3cret s3cret\n")
    assert fetch(f"{plain.url}/S") == "text"
    plain.login = ("user", "right")
    result = refusal(f"{plain.url}/S")

    assert result.endswith("in the netrc file; the netrc file exists but could not be read")
    assert "s3cret" not in result


@pytest.mark.parametrize("variable", ["GITHUB_TOKEN", "GH_TOKEN"])
def test_a_token_goes_to_github_only(world: ArchiveServer, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The token is sent to github.com, and not to where it redirects, whose URLs are signed."""
    monkeypatch.setenv(variable, "t0ken")

    assert fetch(GITHUB) == "text"
    assert sent_to(world) == [("github.com", "Bearer t0ken"), ("objects.githubusercontent.com", "")]
    assert "authorization" not in world.requests[0].headers


@pytest.mark.parametrize("host", ["m.example", "github.com:444", "github.com.example", "127.0.0.1"])
def test_a_token_does_not_go_elsewhere(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A mirror never sees GitHub's token (pbs-installer sends it to any host)."""
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    seen = []

    def answer(request: Any) -> Any:
        seen.append((request.url.netloc.decode(), request.headers.get("authorization", "")))
        return httpx.Response(200, content=iter([b"text"]))

    monkeypatch.setattr(Transport, "_connect", lambda *_: httpx.MockTransport(answer))
    with Transport(Settings()).open(f"https://{host}/S") as stream:
        assert b"".join(stream.chunks) == b"text"

    assert seen == [(host, "")]


def test_a_token_does_not_go_over_plain_http(plain: ArchiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to a host of the right name: anybody on the way could read it."""
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    monkeypatch.setenv("HTTP_PROXY", plain.url)
    with Transport(Settings()).open("http://github.com/S") as stream:
        assert b"".join(stream.chunks) == b"text"

    assert sent_to(plain) == [("github.com", "")]


@pytest.mark.parametrize("token", ["with\nbreak", "wïth", "   "])
def test_a_token_that_is_none_is_not_sent(world: ArchiveServer, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A token that cannot stand in a header would be quoted by the error of the HTTP library."""
    monkeypatch.setenv("GITHUB_TOKEN", token)

    assert fetch(GITHUB) == "text"
    assert sent_to(world)[0] == ("github.com", "")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_token_is_left_out(world: ArchiveServer, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The token of a company's own GitHub is refused by github.com, which would have answered without it."""
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
    world.script = [Reply(), Reply(status=status)]

    assert fetch(GITHUB) == "text"
    assert [credentials for _, credentials in sent_to(world)] == ["Bearer t0ken", "", ""]


@pytest.mark.parametrize(("status", "phrase"), [(403, "Forbidden"), (404, "Not Found"), (429, "Too Many Requests")])
def test_a_rate_limit_of_github_is_explained(world: ArchiveServer, status: int, phrase: str) -> None:
    """GitHub answers like this to shared CI runners (uv issue 12881); the error says what helps."""
    world.script = [Reply(), Reply(status=status)]

    assert (
        refusal(GITHUB) == f"//github.com/astral-sh/x/SHA256SUMS: {status} {phrase}\n{GITHUB_HINT}".partition(": ")[2]
    )


def test_a_blocked_redirect_host_is_named(world: ArchiveServer) -> None:
    """A firewall that lets through github.com and not its object store is recognised (uv issue 12149)."""
    world.script = [Reply(), Reply(), Reply(status=403)]

    assert refusal(GITHUB) == (
        f"redirected to objects.githubusercontent.com: the proxy http://127.0.0.1:{world.port} refuses: 403 Forbidden\n"
        "  a firewall must let through objects.githubusercontent.com too, not only github.com"
    )


def test_no_secret_of_a_signed_location_is_shown(world: ArchiveServer) -> None:
    """The signature in the URL that GitHub redirects to does not appear in the error."""
    world.files = {}

    assert refusal(GITHUB) == f"redirected to objects.githubusercontent.com: 404 Not Found\n{GITHUB_HINT}"


def test_certificates_and_proxies_come_from_the_environment(world: ArchiveServer) -> None:
    """The request goes through HTTPS_PROXY, and the certificate is checked with SSL_CERT_FILE."""
    fetch(GITHUB)

    assert [seen.method for seen in world.requests] == ["CONNECT", "GET", "CONNECT", "GET"]
    assert world.requests[0].path == "github.com:443"


def test_the_environment_may_except_hosts_from_the_proxy(
    secure: ArchiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY is respected."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert fetch(f"{secure.url}/S") == "text"


def test_answers_of_no_use_are_named(plain: ArchiveServer) -> None:
    """A status that is no error and has no body of ours is refused by its number."""
    plain.script = [Reply(status=299), Reply(status=206), Reply(status=304), Reply(status=302)]

    assert [refusal(f"{plain.url}/S") for _ in range(4)] == [
        "HTTP status 299",
        "answered 206 to a request for the whole file",
        "304 Not Modified",
        "302 Found",
    ]


_PATIENCE = 0.4  # seconds: twice the read-timeout of these tests


def _drip(*pieces: bytes) -> Iterator[bytes]:
    for piece in itertools.cycle(pieces):
        time.sleep(0.03)
        yield piece


def _refused_in_time(url: str) -> str:
    began = time.monotonic()
    reason = refusal(url, read_timeout=_PATIENCE / 2, connect_timeout=_PATIENCE)
    assert time.monotonic() - began < 40
    return reason


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "sends less than 1.0 kB a second for 0.4 s"),
        ([b"H"], "sends less than 1.0 kB a second for 0.4 s"),
        ([b"HTTP/1.1 403 \x1b[2JNo\r\n\r\n"], "refuses: 403 Forbidden"),
    ],
    ids=["interim answers", "bytes", "steering"],
)
def test_a_proxy_that_drips_is_left(monkeypatch: pytest.MonkeyPatch, pieces: List[bytes], expected: str) -> None:
    """What opens a tunnel is bounded like an answer."""
    with RawServer(lambda *_: _drip(*pieces)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        reason = _refused_in_time("https://m.example/S")

    assert expected in reason
    assert reason.splitlines()[0].isprintable()


@pytest.mark.parametrize("record", [b"\x16\x03\x03\x3f\xff\x02", b"\x15", b"x"], ids=["handshake", "alert", "other"])
def test_a_slow_handshake_is_left(record: bytes) -> None:
    """The time to connect is that of the whole handshake."""
    with RawServer(lambda *_: itertools.chain([record], _drip(b"x"))) as server:
        reason = _refused_in_time(f"https://127.0.0.1:{server.port}/S")

    assert len(reason.splitlines()[0]) < 300


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\xff", b"\x05", b""])
def test_a_proxy_that_does_not_speak_socks_is_explained(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """An answer of another protocol ends in a sentence."""
    pytest.importorskip("socksio")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(100)
            client.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{listener.getsockname()[1]}")
    reason = _refused_in_time("https://m.example/S")
    thread.join()
    listener.close()

    assert "proxy" in reason
    assert len(reason.splitlines()) <= 2
