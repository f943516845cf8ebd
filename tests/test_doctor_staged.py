"""Real trouble, staged, and what ``provision-backend doctor`` calls it: mounts, users, locks, servers, projects."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import pytest
from support.doctors import Diagnosis, archive_name, environment, make_mirror, make_project, run_doctor
from support.locked_projects import lock_to, package_of
from support.servers import ArchiveServer, Reply
from support.toys import toy_wheel

from provision_backend.host.detection import detect_platform
from provision_backend.project.pylock import PYLOCK

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = "set PROVISION_BACKEND_CACHE_DIR to another folder"


class Stage(NamedTuple):
    """A project, and the folder of the user who builds it."""

    home: Path
    mirror: Path
    project: Path

    def look(self, *options: str, uid: int = 0, under: Tuple[str, ...] = (), **env: str) -> Diagnosis:
        """Run the doctor with more variables."""
        return run_doctor(self.project, environment(self.home, self.mirror, **env), *options, uid=uid, under=under)

    @property
    def cache(self) -> Path:
        """The user's own cache."""
        return self.home / "cache"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Return a healthy machine."""
    return Stage(tmp_path, make_mirror(tmp_path / "mirror"), make_project(tmp_path / "project"))


@pytest.fixture
def mounts() -> None:
    """Skip where nothing can be mounted."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    if os.geteuid() != 0 or shutil.which("unshare") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting needs root")


def mounted(options: str, folder: Path) -> Tuple[str, ...]:
    """Return the words before a command that runs with a file system of its own on a folder."""
    return ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} none "{folder}" && exec "$@"', "sh")


def test_a_file_system_without_programs(stage: Stage, mounts: None) -> None:
    """On a noexec mount no interpreter starts; the smoke run of a build would fail after the download."""
    stage.cache.mkdir()
    found = stage.look(under=mounted("noexec,mode=755,size=2g", stage.cache))

    assert found.problems == ["cache"]
    assert found.of("cache", "problem") == [
        f"problem: {stage.cache} is mounted noexec: no interpreter in it can be started\n"
        f"{ELSEWHERE}, on a file system where programs may run"
    ]


@pytest.mark.slow
def test_where_no_program_starts_it_is_the_cache_that_is_named(stage: Stage, mounts: None, mirror: Path) -> None:
    """What cannot be started from a noexec mount is not the fault of its archive."""
    stage.cache.mkdir()
    command = [*mounted("noexec,mode=755,size=1g", stage.cache), sys.executable, "-m", "provision_backend", "install"]
    done = subprocess.run([*command, "3"], env=environment(stage.home, mirror), capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        f"provision-backend: the cache {stage.cache} is mounted noexec, so no interpreter in it can be started",
        "  set PROVISION_BACKEND_CACHE_DIR to a folder on another file system, or mount this one without noexec",
    ]


def test_a_full_disk(stage: Stage, mounts: None) -> None:
    """Room is counted before anything is fetched."""
    stage.cache.mkdir()
    script = mounted("mode=755,size=1m", stage.cache)
    fill = script[4].replace(" && exec", f' && {{ head -c 2M /dev/zero > "{stage.cache}/x" 2>&-; true; }} && exec')
    found = stage.look(under=(*script[:4], fill, "sh"))

    assert found.problems == ["cache"]
    assert found.of("cache", "problem") == [
        f"problem: {stage.cache} has room for 0 B, and an interpreter takes up to 500.0 MB\n"
        f"make room ('provision-backend cache prune --unused-for 30'), or {ELSEWHERE}"
    ]


def test_a_file_system_without_inodes(stage: Stage, mounts: None) -> None:
    """An interpreter is some thousand files."""
    stage.cache.mkdir()
    found = stage.look(under=mounted("mode=755,size=2g,nr_inodes=100", stage.cache))

    assert found.of("cache", "problem") == [
        f"problem: {stage.cache} has room for 99 more files, and an interpreter takes up to 20000\n"
        f"make room ('provision-backend cache prune --unused-for 30'), or {ELSEWHERE}"
    ]


def test_a_read_only_file_system(stage: Stage, mounts: None) -> None:
    """Even root cannot write there."""
    stage.cache.mkdir()
    found = stage.look(under=mounted("ro,mode=755,size=2g", stage.cache))

    assert found.problems == ["cache"]
    assert found.of("cache", "problem") == [
        f"problem: {stage.cache} cannot be written: Read-only file system\n"
        f"{ELSEWHERE} that can be, or put the interpreter into a shared cache"
    ]


def test_a_temporary_folder_without_programs(stage: Stage, mounts: None) -> None:
    """Compiled tools that a frontend installs into its environment do not start there; pure builds do."""
    temporary = stage.home / "tmp"
    temporary.mkdir()
    found = stage.look(under=mounted("noexec,mode=1777,size=2g", temporary), TMPDIR=str(temporary))

    assert found.problems == []
    assert found.of("temporary", "warning") == [
        f"warning: {temporary} is mounted noexec: compiled backends and tools that a build installs there do not start"
        "\nset TMPDIR to a folder where programs may run"
    ]


def test_a_temporary_folder_that_is_not_there(stage: Stage) -> None:
    """Python takes another one without a word."""
    found = stage.look(TMPDIR=str(stage.home / "none"))

    assert len(found.of("temporary", "warning")) == 1
    line, advice = found.of("temporary", "warning")[0].splitlines()
    assert line.startswith(f"warning: TMPDIR names {stage.home / 'none'}, which cannot be used; /")
    assert (line.endswith(" is used"), advice) == (True, "correct or unset TMPDIR")


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(str(folder))


def test_a_cache_of_another_user(public: Path) -> None:
    """Its owner is named, and what could be done instead."""
    stage = Stage(public, make_mirror(public / "mirror"), make_project(public / "project"))
    stage.cache.mkdir()
    found = stage.look(uid=64001)

    assert found.problems == ["cache"]
    assert found.code == 1
    written = (
        f"problem: {stage.cache} cannot be written: Permission denied (it belongs to root)\n"
        f"{ELSEWHERE} that can be, or put the interpreter into a shared cache"
    )
    assert found.of("cache", "problem") == [written]
    assert found.of("lock")[0] == f"ok: not tried, since {stage.cache} cannot be written: Permission denied"


def test_a_cache_that_everybody_can_write(stage: Stage) -> None:
    """The error of a build, before the build."""
    (stage.cache / "interpreters").mkdir(parents=True)
    stage.cache.chmod(0o777)
    found = stage.look(PROVISION_BACKEND_SHARED_CACHES=str(stage.cache))
    expected = (
        f"problem: {stage.cache} is not trusted: everybody can write there (mode 777)\n"
        f"look at what is in it, then chmod go-w {stage.cache}"
    )

    assert found.problems == ["cache", "shared caches"]
    assert found.of("cache", "problem") == found.of("shared caches", "problem") == [expected]


def test_a_cache_that_is_a_file(stage: Stage) -> None:
    """Somebody has written a file there."""
    stage.cache.write_text("")

    assert stage.look().of("cache", "problem") == [
        f"problem: {stage.cache} cannot be a folder: {stage.cache} is a file, or a link that leads nowhere\n{ELSEWHERE}"
    ]


def test_a_shared_cache_that_is_not_mounted(stage: Stage) -> None:
    """The volume of a container that did not come."""
    found = stage.look(PROVISION_BACKEND_SHARED_CACHES=str(stage.home / "volume"))

    assert found.of("shared caches") == [f"problem: {stage.home / 'volume'} does not exist\nis the volume mounted?"]


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("interpreters/cpython-3.13.5-20250601-x86_64-unknown-linux-gnu-01234567", "1 interpreter in the caches"),
        (f"environments/{'a' * 32}", "no interpreters and 1 locked environment in"),
    ],
    ids=["interpreter", "environment"],
)
def test_a_damaged_entry(stage: Stage, name: str, counted: str) -> None:
    """What a build would pass over is a warning, with the command that removes it."""
    entry = stage.cache / name
    entry.mkdir(parents=True)
    found = stage.look()

    assert found.problems == []
    assert found.of("entries", "ok")[0].startswith(f"ok: {counted}")
    assert found.of("entries", "warning") == [
        f"warning: {entry} is damaged and passed over; a build makes a new one beside it\n"
        "'provision-backend cache prune' removes it"
    ]


HOLDER = """
import sys
from pathlib import Path
from provision_backend.cache.locks import key_lock
from provision_backend.output import Reporter
with key_lock(Path(sys.argv[1]), sys.argv[2], timeout=0, reporter=Reporter()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(stage: Stage) -> Iterator[int]:
    """Start a process that holds the lock of an interpreter, and return its number."""
    locks = stage.cache / "locks"
    locks.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(locks), "key"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process.pid
    process.communicate()


def test_a_lock_that_is_held(stage: Stage, holder: int) -> None:
    """The process is named; a hung one is seen by the time that it has the lock."""
    lock = stage.cache / "locks" / "key.lock"
    held = stage.look().of("lock", "warning")
    os.utime(lock.with_suffix(".owner"), (time.time() - 700,) * 2)
    found = stage.look()

    assert len(held) == 1
    line, advice = held[0].splitlines()
    assert line.startswith(f"warning: {lock} is held by process {holder} on {socket.gethostname()}, since ")
    assert advice == "a build that needs the same interpreter waits for it, up to 600 s (lock-timeout)"
    assert found.problems == ["lock"]
    assert found.of("lock", "problem")[0].splitlines()[1] == f"end that process if it hangs: kill {holder}"


@pytest.fixture
def server(stage: Stage) -> Iterator[ArchiveServer]:
    """Serve the mirror, until told otherwise."""
    with ArchiveServer(root=stage.mirror) as running:
        yield running


def test_a_server_that_has_the_archive(stage: Stage, server: ArchiveServer) -> None:
    """A few bytes are asked for, not the archive."""
    found = stage.look(PROVISION_BACKEND_MIRROR=server.url)

    assert found.problems == []
    assert found.of("network") == [f"ok: {server.url} has {archive_name()}"]
    assert [seen.headers["range"] for seen in server.requests] == ["bytes=0-3"] * 2
    assert [seen.status for seen in server.requests] == [404, 200]


def test_a_server_without_the_archive(stage: Stage, server: ArchiveServer) -> None:
    """A wrong address, or a mirror that nobody has filled."""
    found = stage.look(PROVISION_BACKEND_MIRROR=f"{server.url}/wrong")

    assert found.problems == ["network"]
    assert found.of("network") == [
        f"problem: {server.url}/wrong does not give {archive_name()}: 404 Not Found, laid out by release and flat\n"
        "put the file there ('provision-backend mirror' fetches it), or correct the address"
    ]


@pytest.mark.parametrize(
    ("replies", "reason", "advice"),
    [
        pytest.param([Reply(status=403)] * 2, "403 Forbidden, laid out by release and flat", "put the file", id="403"),
        pytest.param([Reply(status=401)], "401 Unauthorized", "127.0.0.1 wants other credentials", id="401"),
        pytest.param([Reply(status=503)], "503 Service Unavailable", "the server has a fault of its own", id="503"),
    ],
)
def test_a_server_that_refuses(
    stage: Stage, server: ArchiveServer, replies: List[Reply], reason: str, advice: str
) -> None:
    """The status is named, and who can change it."""
    server.script += replies
    found = stage.look(PROVISION_BACKEND_MIRROR=server.url)

    assert found.problems == ["network"]
    line, hint = found.of("network")[0].splitlines()
    assert line == f"problem: {server.url} does not give {archive_name()}: {reason}"
    assert hint.startswith(advice)


def test_a_page_in_place_of_the_archive(stage: Stage, server: ArchiveServer) -> None:
    """The login page of a network has status 200."""
    page = Reply(body=b"<html>Please log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    server.script += [page, page]
    found = stage.look(PROVISION_BACKEND_MIRROR=server.url)

    assert found.problems == ["network"]
    assert found.of("network") == [
        f"problem: {server.url} answers with an HTML page in place of {archive_name()}\n"
        "it is the login page of a network, a page of a proxy that blocks it, or not the address of the files"
    ]


def test_a_server_that_says_nothing(stage: Stage) -> None:
    """It takes the connection, and that is all; the time-out of the settings holds where it is shorter than ours."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        found = stage.look(PROVISION_BACKEND_MIRROR=url, PROVISION_BACKEND_READ_TIMEOUT="0.5")
        seconds = time.monotonic() - began

    assert seconds < 20
    assert found.problems == ["network"]
    assert found.of("network")[0].splitlines()[0] == (
        f"problem: {url} does not give {archive_name()}: nothing came for 0.5 s"
    )


def test_a_server_that_is_not_there(stage: Stage) -> None:
    """Nobody listens at this port."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    found = stage.look(PROVISION_BACKEND_MIRROR=url)

    assert found.of("network") == [
        f"problem: {url} does not give {archive_name()}: [Errno 111] Connection refused\n"
        "is the address right, and does a firewall let this machine reach it?\n"
        "without internet set PROVISION_BACKEND_MIRROR to a mirror that can be reached"
    ]


def test_a_source_that_fails_beside_one_that_does_not(stage: Stage, server: ArchiveServer) -> None:
    """A build goes on with the next one, so it is a warning."""
    found = stage.look(PROVISION_BACKEND_MIRROR=f"{stage.home / 'none'},{server.url}")

    assert found.problems == []
    assert [line.splitlines()[0] for line in found.of("network")] == [
        f"warning: {stage.home / 'none'} does not give {archive_name()}: there is no such folder",
        f"ok: {server.url} has {archive_name()}",
    ]


def test_a_certificate_of_nobody(stage: Stage) -> None:
    """What a proxy that re-signs TLS looks like, and how it is trusted."""
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ArchiveServer(root=stage.mirror, tls=context) as running:
        found = stage.look(PROVISION_BACKEND_MIRROR=running.url)

    assert found.problems == ["network"]
    line, advice = found.of("network")[0].splitlines()
    assert f"{running.url} does not give {archive_name()}: its certificate is not trusted: " in line
    assert advice == "where a proxy of the network re-signs TLS, set SSL_CERT_FILE to a file with its CA certificate"


@pytest.mark.parametrize(
    ("scheme", "variable"), [("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY"), ("http", "http_proxy")]
)
def test_a_proxy_that_is_not_there(stage: Stage, scheme: str, variable: str) -> None:
    """The advice is about the proxy that was asked, not to set one, nor about another one."""
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", variable: "http://127.0.0.1:1"}
    proxies["PROVISION_BACKEND_MIRROR"] = f"{scheme}://mirror.invalid"
    found = run_doctor(stage.project, environment(stage.home, stage.mirror, **proxies))

    assert found.problems == ["network"]
    line, *advice = found.of("network")[0].splitlines()
    assert "the proxy http://127.0.0.1:1 could not be reached" in line
    assert advice == [
        f"does the proxy http://127.0.0.1:1 run, and does it allow this address? {variable} says which proxy is asked; "
        "see proxy;",
        "without internet set PROVISION_BACKEND_MIRROR to a mirror that can be reached",
    ]


@pytest.mark.parametrize(
    ("status", "asked", "advice"),
    [
        (
            403,
            "403 Forbidden (asked through the proxy {proxy}), laid out by release and flat",
            "does the proxy {proxy} ",
        ),
        (404, "404 Not Found (asked through the proxy {proxy}), laid out by release and flat", "put the file there "),
        (407, "the proxy {proxy} refuses: 407 Proxy Authentication Required", "put the user name and password of "),
        (502, "502 Bad Gateway (asked through the proxy {proxy})", "does the proxy {proxy} "),
    ],
)
def test_a_proxy_that_refuses_over_plain_http(
    stage: Stage, server: ArchiveServer, status: int, asked: str, advice: str
) -> None:
    """It is named, and only where the server must have answered is the file said to be absent."""
    server.script += [Reply(status=status)] * 2
    found = stage.look(PROVISION_BACKEND_MIRROR="http://mirror.invalid/x", HTTP_PROXY=server.url)

    line, hint = found.of("network")[0].split("\n", 1)
    asked = asked.format(proxy=server.url)
    assert line == f"problem: http://mirror.invalid/x does not give {archive_name()}: {asked}"
    assert hint.startswith(advice.format(proxy=server.url))


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({}, "behind a proxy set HTTP_PROXY;"),
        ({"HTTPS_PROXY": "http://127.0.0.1:1"}, "behind a proxy set HTTP_PROXY;"),
        (
            {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "mirror.invalid"},
            "NO_PROXY has it asked without a proxy;",
        ),
    ],
    ids=["none", "that for https", "excepted"],
)
def test_a_server_that_no_proxy_leads_to(stage: Stage, variables: Dict[str, str], advice: str) -> None:
    """What is named is the variable that counts for the address."""
    variables = {"PROVISION_BACKEND_MIRROR": "http://mirror.invalid", **variables}
    found = run_doctor(stage.project, environment(stage.home, stage.mirror, **variables))

    assert found.of("network")[0].splitlines()[1] == (
        f"is the address right, and does a firewall let this machine reach it? {advice}"
    )


def test_certificates_that_are_not_there(stage: Stage) -> None:
    """A variable of another image."""
    found = stage.look(SSL_CERT_FILE="/none/ca.pem")

    assert found.of("proxy") == [
        "problem: SSL_CERT_FILE names /none/ca.pem, which does not exist\n"
        "correct it, or unset it to use the system's certificates"
    ]


def test_a_clock_that_is_behind(stage: Stage) -> None:
    """The server's clock is the other one."""
    date = formatdate(time.time() + 7230, usegmt=True)
    head = f"HTTP/1.1 206 Partial Content\r\nDate: {date}\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    answer = head.encode() + b"\x1f\x8b\x08\x00"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer_once, args=(listening, answer))
        thread.start()
        found = stage.look(PROVISION_BACKEND_MIRROR=f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join()

    assert found.of("network", "warning") == [
        "warning: the clock is 120 minutes behind that of a source\n"
        "set the clock: certificates count as not yet valid, or as expired, where it is far off"
    ]


def _answer_once(listening: socket.socket, answer: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


def test_a_mirror_with_another_file(stage: Stage) -> None:
    """The catalog decides which bytes are right."""
    file = stage.mirror / archive_name()
    file.write_bytes(file.read_bytes() + b"x")
    found = stage.look()

    assert found.problems == ["network"]
    assert f"{stage.mirror} has a file {archive_name()} whose sha256 is " in found.of("network")[0]


def test_a_catalog_that_is_not_there(stage: Stage) -> None:
    """Nothing can be selected; the network is not asked, and says why."""
    found = stage.look(PROVISION_BACKEND_CATALOG=str(stage.home / "none"))

    assert found.of("catalog") == [
        f"problem: catalog '{stage.home / 'none'}' cannot be read: No such file or directory\n"
        "correct PROVISION_BACKEND_CATALOG, which names it"
    ]
    assert found.of("network") == [
        "warning: not checked, since no archive was selected\nsee interpreter, catalog and host"
    ]


def test_a_catalog_that_nobody_serves(stage: Stage) -> None:
    """What to do stands below it, as it does for a mirror."""
    found = stage.look(PROVISION_BACKEND_CATALOG="https://127.0.0.1:9/x")

    line, *advice = found.of("catalog")[0].splitlines()
    assert line.startswith("problem: could not fetch https://127.0.0.1:9/x: ")
    assert advice == [
        "is the address right, and does a firewall let this machine reach it?",
        "without internet name a file, or no catalog: the built-in one needs no network",
    ]


def test_offline_without_the_interpreter(stage: Stage) -> None:
    """The two settings that cannot be had together."""
    found = stage.look(PROVISION_BACKEND_OFFLINE="1", PROVISION_BACKEND_MIRROR="http://127.0.0.1:1")

    assert found.problems == ["interpreter"]
    assert found.of("interpreter") == [
        f"problem: {archive_name()} is not in the cache, and offline is set\nthe cache is {stage.cache}\n"
        "provision it once with network, or name a shared cache or a local mirror"
    ]


def test_no_interpreter_of_the_machine_serves(stage: Stage) -> None:
    """Each one that was found is named, with the reason why it is not used."""
    make_project(stage.project, requires_python=">=3.99")
    found = stage.look(PROVISION_BACKEND_PREFERENCE="only-system")

    assert found.problems == ["interpreter"]
    line, *advice = found.of("interpreter")[0].splitlines()
    assert line == "problem: no interpreter of this machine satisfies requires-python '>=3.99'"
    assert advice[0] == "install one, or allow others with preference = system or managed"
    assert advice[1].startswith("passed over: ")
    assert found.of("catalog") == ["ok: not needed: an interpreter of the machine was asked for"]


def test_a_variable_that_sets_nothing(stage: Stage) -> None:
    """A name that is almost right is the likeliest cause of a setting that does not work."""
    found = stage.look(PROVISION_BACKEND_MIRRORS="https://mirror")

    assert found.problems == ["settings"]
    assert found.of("settings", "problem") == [
        "problem: the variable PROVISION_BACKEND_MIRRORS is set, and there is no such setting\n"
        "did you mean PROVISION_BACKEND_MIRROR?"
    ]


def test_a_request_that_is_none(stage: Stage) -> None:
    """The plan cannot be made, and the setting is named."""
    found = stage.look(PROVISION_BACKEND_PYTHON="313")

    assert found.problems == ["plan"]
    assert found.of("plan")[0].splitlines()[0] == (
        "problem: PROVISION_BACKEND_PYTHON must be a version or a version specifier, found '313'"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("x = [", "pyproject.toml is not valid TOML: ", id="not TOML"),
        pytest.param("x = '\xe9'", "pyproject.toml is not UTF-8: byte 5", id="not UTF-8"),
        pytest.param(
            '[build-system]\nbuild-backend = "provision_backend"\n',
            "pyproject.toml: the build-backend is provision_backend already, but [tool.provision-backend] is missing",
            id="no table",
        ),
        pytest.param(
            '[build-system]\nbuild-backend = "flit_core.buildapi"\n[tool.provision-backend]\n',
            "pyproject.toml: [tool.provision-backend] exists, but the build-backend is 'flit_core.buildapi'",
            id="another backend",
        ),
        pytest.param(
            '[build-system]\nbuild-backend = "provision_backend"\n[tool.provision-backend]\ny = 1\n',
            "pyproject.toml: unknown key 'y' in [tool.provision-backend]",
            id="unknown key",
        ),
    ],
)
def test_a_broken_project(stage: Stage, text: str, expected: str) -> None:
    """Its error is one problem, and everything about the machine is looked at all the same."""
    (stage.project / "pyproject.toml").write_bytes(text.encode("latin-1"))
    found = stage.look()

    assert found.problems == ["project"]
    assert found.of("project")[0].startswith(f"problem: {expected}")
    assert found.of("plan") == ["warning: unknown, since the project cannot be used\nsee project"]
    assert found.of("catalog")[0].startswith("ok: ")


def test_a_locked_project(stage: Stage) -> None:
    """The archive of the lock is what is looked for; a lock for other targets says so."""
    sha256 = (stage.mirror / "SHA256SUMS").read_text().split()[0]
    table = '[tool.provision-backend.lock]\narchives = ["{}  {}"]\n'
    make_project(stage.project, table=table.format(sha256, archive_name()))
    # The catalog may be gone: it is not looked into.
    found = stage.look(PROVISION_BACKEND_CATALOG=str(stage.home / "none"))
    make_project(stage.project, table=table.format(sha256, archive_name(triple="s390x-unknown-linux-gnu")))
    other = stage.look()

    assert found.problems == []
    assert found.of("catalog") == ["ok: not needed: the project is locked to the archives in pyproject.toml"]
    assert found.of("network") == [f"ok: {stage.mirror} has {archive_name()}"]
    assert other.problems == ["interpreter"]
    assert "problem: the project is locked to the archives in pyproject.toml" in other.of("interpreter")[0]


def test_a_folder_in_place_of_the_project_file(stage: Stage) -> None:
    """Whatever stands there, it is a finding."""
    (stage.project / "pyproject.toml").unlink()
    (stage.project / "pyproject.toml").mkdir()

    assert stage.look().of("project") == [
        "problem: pyproject.toml cannot be read: it is a directory, not a regular file"
    ]


def test_a_project_that_frontends_cannot_load(stage: Stage) -> None:
    """What only shows in an isolated build: the requirement is missing, and backend-path hides what is installed."""
    make_project(stage.project, build_system='backend-path = ["."]')
    path = stage.project / "pyproject.toml"
    path.write_text(path.read_text().replace('["provision-backend"]', '["hatchling"]'))
    found = stage.look()

    assert found.of("project", "problem", "warning") == [
        "problem: pyproject.toml: build-system.requires does not name provision-backend, "
        'so an isolated build does not find it\nadd "provision-backend" to the list',
        "problem: pyproject.toml: build-system.backend-path makes frontends look for provision_backend inside the "
        "project\nmove backend-path to [tool.provision-backend], where it is about the real backend (PEP 517)",
        "warning: pyproject.toml: build-system.requires holds 'hatchling' without a marker, which a frontend resolves "
        "for the Python that it runs under, however old\n"
        "add a marker such as ; python_version >= '3.X', or move it to requires in [tool.provision-backend]",
    ]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param(
            {"PIP_NO_INDEX": "1"},
            "problem: PIP_NO_INDEX is set without find-links: pip finds no package, so no build environment can be "
            "filled\nset PIP_FIND_LINKS to a folder with the wheels of the real backend, or unset it",
            id="no index",
        ),
        pytest.param(
            {"PIP_BUILD_CONSTRAINT": "/none/constraints.txt"},
            "problem: PIP_BUILD_CONSTRAINT names /none/constraints.txt, which does not exist\n"
            "correct it; an absolute path is safest",
            id="no constraints",
        ),
        pytest.param(
            {"PIP_TARGET": "/none"},
            "ok: PIP_TARGET is set, and it is not passed on, since it would misdirect a build environment",
            id="target",
        ),
        pytest.param(
            {"PIP_REQUIRE_VIRTUALENV": "1"},
            "ok: PIP_REQUIRE_VIRTUALENV is set and kept: a build environment is one",
            id="virtualenv",
        ),
    ],
)
def test_variables_of_an_installer(stage: Stage, variables: dict[str, str], expected: str) -> None:
    """What misdirects, what is dropped and what is kept."""
    found = run_doctor(stage.project, environment(stage.home, stage.mirror, **variables))

    assert expected in found.of("index")
    assert found.problems == (["index"] if expected.startswith("problem") else [])


def test_a_configuration_file_that_misdirects(stage: Stage) -> None:
    """No option on the command line takes a prefix back."""
    file = stage.home / "pip.conf"
    file.write_text("[global]\nno_index = true\n[install]\nprefix = /opt/x\n")
    found = stage.look(PIP_CONFIG_FILE=str(file))

    assert found.of("index", "problem") == [
        f"problem: {file} sets prefix = /opt/x, so pip installs there and not into the build environment\n"
        "take prefix out of that file, or name another one with PIP_CONFIG_FILE",
        f"problem: no-index in {file} is set without find-links: pip finds no package, so no build environment can be "
        "filled\nset PIP_FIND_LINKS to a folder with the wheels of the real backend, or unset it",
    ]


def test_a_compiler_that_is_not_there(stage: Stage) -> None:
    """A warning only: most projects have nothing to compile."""
    found = stage.look(CC="/none/gcc -m64")

    assert found.problems == []
    assert found.of("compiler") == ["warning: CC names '/none/gcc', which does not exist\ncorrect or unset CC"]


def test_a_configuration_file_that_misdirects_uv(stage: Stage) -> None:
    """It is looked into where uv is what installs."""
    file = stage.home / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[pip]\ntarget = "/opt/x"\n')
    expected = (
        f"problem: {file} sets pip.target, so uv installs there and not into the build environment\n"
        "take target out of it, or have pip install: PROVISION_BACKEND_INSTALLER=pip"
    )

    assert stage.look(PROVISION_BACKEND_INSTALLER="uv").of("index", "problem") == [expected]
    assert stage.look().of("index", "problem") == []


def test_a_compiler_for_another_libc(stage: Stage) -> None:
    """A cross compiler in CC, and one that has no headers: each is said, and each with what to do."""
    libc = "gnu" if "musl" in archive_name() else "musl"
    compiler = stage.home / "other-cc"
    compiler.write_text(f'#!/bin/sh\ncase "$1" in -E) exit 1;; -d*) echo m-linux-{libc};; *) echo other 1.0;; esac\n')
    compiler.chmod(0o755)
    found = stage.look(CC=str(compiler))

    assert found.problems == []
    assert [line.splitlines()[0] for line in found.of("compiler")] == [
        f"ok: {compiler}: other 1.0 (CC)",
        f"warning: {compiler} makes programs for m-linux-{libc}, and interpreters here are for "
        + archive_name().split("-", 2)[2].rpartition("-install")[0],
        f"warning: {compiler} does not find the headers of the C library",
    ]


def test_what_pip_will_refuse(stage: Stage) -> None:
    """A wheel that the running Python could not use can be built here, and not installed."""
    make_project(stage.project, requires_python=">=3.99")
    found = stage.look()

    assert found.problems == ["interpreter"]
    assert "'pip install' and 'uv pip install' refuse it" in found.of("frontends")[-1]
    assert found.of("interpreter")[0].startswith("problem: no CPython archive satisfies requires-python '>=3.99' on ")


def test_no_compiler(stage: Stage) -> None:
    """The package that has one is named, for three distributions."""
    found = stage.look(PATH=str(stage.home))

    assert found.problems == []
    assert found.of("compiler")[0].splitlines()[0] == "warning: no C compiler is on PATH"
    assert "apk add build-base (Alpine)" in found.of("compiler")[0]
    assert "; or set PROVISION_BACKEND_TOOLCHAIN=zig" in found.of("compiler")[0]
    zig = "ok: zig, from the package ziglang (PROVISION_BACKEND_TOOLCHAIN)"
    assert stage.look(PATH=str(stage.home), PROVISION_BACKEND_TOOLCHAIN="zig").of("compiler") == [zig]


@pytest.mark.slow
def test_the_extra_is_missing(stage: Stage, own_wheel: Path) -> None:
    """As in an isolated build that has just begun: what only provisioning needs is not there, and nothing breaks."""
    folder = stage.home / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    install = [python, "-I", "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*install, str(own_wheel), "packaging", "pyproject-hooks", "tomli"], check=True)
    env = environment(stage.home, stage.mirror, PYTHONPATH="")
    found = run_doctor(stage.project, env, python=python)

    assert found.problems == []
    name = "the package 'pyelftools' is needed to"
    assert found.of("packages")[0].splitlines()[0].startswith("warning: missing for provisioning: ")
    assert all(package in found.of("packages")[0] for package in ("pyelftools", "certifi"))
    assert f"{python} -m pip install 'provision-backend[provision]'" in found.of("packages")[0]
    assert found.of("host")[0].startswith(f"warning: not checked: {name}")
    assert found.of("cache")[0].startswith("ok: ")

    # An environment of uv has no pip.
    subprocess.run([python, "-I", "-m", "pip", "uninstall", "-q", "-y", "pip"], check=True)
    advice = run_doctor(stage.project, env, python=python).of("packages")[0].splitlines()[-1]
    assert advice == f"uv pip install --python {python} 'provision-backend[provision]'"


@pytest.mark.slow
def test_a_machine_that_can_really_build(stage: Stage, mirror: Path) -> None:
    """With a real archive: nothing is wrong before it is provisioned, nor after, and what is changed is found."""
    real = Stage(stage.home, mirror, stage.project)
    before = real.look()
    install = [sys.executable, "-m", "provision_backend", "install", "3"]
    subprocess.run(install, env=environment(real.home, mirror), check=True, capture_output=True)
    after = real.look("--full", PROVISION_BACKEND_MIRROR="http://127.0.0.1:1")
    changed = next((real.cache / "interpreters").glob("*/lib/python3*/os.py"))
    changed.write_text("broken")
    broken = real.look("--full")

    assert before.problems == after.problems == []
    assert "not in the cache: the next build fetches it" in before.of("interpreter")[0]
    assert ", in the cache: " in after.of("interpreter")[0]
    assert after.of("network", "warning")
    assert broken.problems == ["entries"]
    assert f"{changed.relative_to(changed.parents[2])}" in broken.of("entries", "problem")[0]


class TestLockedBuild:
    """A project whose build requirements are locked."""

    @pytest.fixture
    def locked(self, stage: Stage) -> Stage:
        """A machine with such a project."""
        return self.lock(stage, toy_wheel(stage.home / "wheels", "flit_core", "3.12"))

    def lock(self, stage: Stage, wheel: Path) -> Stage:
        """Lock the project of a machine to a wheel; where there is git, in a repository which knows the file."""
        lock_to(stage.project, stage.mirror / archive_name(), [package_of(wheel)], dynamic=["flit_core>=3"])
        (stage.project / ".gitignore").write_text("")
        for command in (["init", "-q"], ["add", "."]) if shutil.which("git") else ():
            subprocess.run(["git", "-C", str(stage.project), *command], check=True)
        return stage

    def look(self, stage: Stage) -> List[str]:
        """Return what is said of the lock."""
        return stage.look().of("locked build")

    def test_all_is_well(self, locked: Stage) -> None:
        """Fresh, and complete for this host; only the line for flit's sdist is missing."""
        path = locked.project / "pyproject.toml"
        nothing, *rest = self.look(locked)[2:]
        path.write_text(path.read_text() + f'[tool.flit.sdist]\ninclude = ["{PYLOCK}"]\n')

        assert nothing == (
            f"warning: nothing names {PYLOCK} for the sdist, and flit_core.buildapi mostly leaves such a file out\n"
            f'add to [tool.flit.sdist] of pyproject.toml: include = ["{PYLOCK}"]'
        )
        assert self.look(locked) == [
            f"ok: {PYLOCK} is fresh: 1 package, on {detect_platform().triple}",
            "ok: the real backend asked for flit_core>=3; 'provision-backend lock --check' tells whether it still does",
            *rest,
        ]
        assert rest == ["ok: it has 1 wheel for this host, not in the cache: the next build installs them"]

    def test_a_backend_that_packs_what_is_committed(self, stage: Stage) -> None:
        """setuptools-scm has setuptools do so, and nothing more is needed."""
        path = stage.project / "pyproject.toml"
        text = path.read_text().replace("flit_core.buildapi", "setuptools.build_meta")

        for requirement, warnings in (("setuptools>=77", 1), ("setuptools_scm[toml]>=8", 0)):
            path.write_text(text.replace("flit_core>=3.11", requirement))
            lock_to(stage.project, stage.mirror / archive_name(), [])
            assert sum("nothing names" in line for line in self.look(stage)) == warnings

    def test_without_a_lock(self, stage: Stage) -> None:
        """That is what most projects are."""
        assert self.look(stage) == ["ok: no build requirements are locked"]

    def test_what_is_not_fresh(self, locked: Stage) -> None:
        """An edited file is a fault of the project, a changed requirement one of the plan."""
        path, lock = locked.project / "pyproject.toml", locked.project / PYLOCK
        path.write_text(path.read_text().replace("flit_core>=3.11", "flit_core>=3.9"))
        stale = locked.look()
        path.write_text(path.read_text().replace("flit_core>=3.9", "flit_core>=3.11"))
        lock.write_text(lock.read_text().replace('"3.12"', '"3.11"'))
        edited = locked.look()

        assert (stale.problems, edited.problems) == (["plan"], ["project"])
        assert (
            stale.of("locked build")
            == edited.of("locked build")
            == ["warning: unknown, since the project cannot be used\nsee project and plan"]
        )
        assert "'flit_core>=3.9' is not locked" in stale.of("plan")[0]
        assert edited.of("project")[0].startswith(f"problem: {PYLOCK} has been edited")

    def test_no_wheel_for_this_host(self, stage: Stage) -> None:
        """The wheels of the archive's platform are known without running it."""
        wheel = toy_wheel(stage.home / "wheels", "flit_core", "3.12")
        found = self.lock(stage, wheel.rename(wheel.with_name("flit_core-3.12-cp313-cp313-win_arm64.whl"))).look()

        assert found.of("locked build", "problem") == [
            f"problem: {PYLOCK} has no wheel of flit-core 3.12 for CPython 3.13 on this host\n"
            "locked: flit_core-3.12-cp313-cp313-win_arm64.whl\n"
            "run 'provision-backend lock' to lock the project again"
        ]

    @pytest.mark.skipif(not shutil.which("git"), reason="there is no git on this machine")
    def test_git_does_not_have_it(self, locked: Stage) -> None:
        """Who clones the repository could not build."""
        subprocess.run(["git", "-C", str(locked.project), "rm", "-q", "--cached", PYLOCK], check=True)
        untracked = self.look(locked)
        (locked.project / ".gitignore").write_text("*.toml\n")

        assert f"warning: {PYLOCK} is not under version control\ngit add {PYLOCK}" in untracked
        assert f"warning: git ignores {PYLOCK}\ntake it out of .gitignore, and git add {PYLOCK}" in self.look(locked)

    def test_it_is_not_used(self, locked: Stage) -> None:
        """By a build that passes through, and by one whose Python is asked for."""
        used = 'not used by a build here, which passes through; lock = "always" would have it used'
        assert locked.look(PROVISION_BACKEND_PREFERENCE="managed").of("locked build")[-1] == f"ok: {used}"
        assert locked.look(PROVISION_BACKEND_PYTHON="3.13").of("locked build") == [
            f"warning: {PYLOCK} is not used, and not checked, since a setting overrides it\nsee plan"
        ]
