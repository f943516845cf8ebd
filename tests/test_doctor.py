"""``provision-backend doctor``: what it prints, that a check harms no other, and that a healthy machine is healthy."""

from __future__ import annotations

import argparse
import io
import json
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest
from support.doctors import archive_name, environment, make_mirror, make_project, run_doctor
from support.roots import GLIBC_AMD64, Content, make_root

from provision_backend import doctor
from provision_backend.cli.doctor import run
from provision_backend.doctor import CHECKS, Check, run_check
from provision_backend.doctor.building import check_plan, check_project
from provision_backend.doctor.caches import check_cache
from provision_backend.doctor.context import Context, Finding, ok, problem, warning
from provision_backend.doctor.machine import check_clock, check_host
from provision_backend.doctor.network import check_network, check_proxy
from provision_backend.errors import CacheError, MissingDependencyError, UsageError
from provision_backend.output import Reporter
from provision_backend.settings import Settings, load_settings


def context(tmp_path: Path, **settings: str) -> Context:
    return Context(load_settings(flags=settings), tmp_path)


def snapshot(folder: Path) -> List[str]:
    return sorted(f"{path} {path.lstat().st_size} {path.lstat().st_mode:o}" for path in [folder, *folder.rglob("*")])


def test_a_healthy_machine_has_no_problem(tmp_path: Path) -> None:
    """Every check has its line, none a problem, and the exit code is 0."""
    mirror, project = make_mirror(tmp_path / "mirror"), make_project(tmp_path / "project")
    found = run_doctor(project, environment(tmp_path, mirror))

    assert found.problems == []
    assert found.code == 0
    assert [item["check"] for item in found.data if item["check"] != "settings"][:2] == ["host", "python"]
    assert {item["check"] for item in found.data} == {check.name for check in CHECKS}
    assert found.of("network") == [f"ok: {mirror} has {archive_name()}"]
    assert found.of("interpreter") == [
        f"ok: CPython 3.13.5 ({archive_name()}), not in the cache: the next build fetches it"
    ]
    assert found.lines[-1].startswith("no problems, ")


def test_it_changes_nothing(tmp_path: Path) -> None:
    """Nothing that it tries stays, in the cache or elsewhere."""
    mirror, project = make_mirror(tmp_path / "mirror"), make_project(tmp_path / "project")
    cache = tmp_path / "cache"
    for name in ("interpreters", "locks", "platforms", "staging", "downloads", "used"):
        (cache / name).mkdir(parents=True)
    (cache / "locks" / "key.lock").touch()
    (tmp_path / "tmp").mkdir()
    before = snapshot(tmp_path)
    run_doctor(project, environment(tmp_path, mirror, TMPDIR=str(tmp_path / "tmp")), "--full")

    assert snapshot(tmp_path) == before


def test_a_folder_is_not_made(tmp_path: Path) -> None:
    """A cache that does not exist is not made by being looked at."""
    mirror, project = make_mirror(tmp_path / "mirror"), make_project(tmp_path / "project")
    found = run_doctor(project, environment(tmp_path, mirror))

    assert not (tmp_path / "cache").exists()
    assert found.of("cache")[0].startswith(f"ok: {tmp_path / 'cache'} does not exist yet; {tmp_path} (")


def test_json_and_lines_say_the_same(tmp_path: Path) -> None:
    """Programs get check, status, found and advice; people a line each, with the advice below."""
    arguments = argparse.Namespace(directory=str(tmp_path), full=False)
    data, lines, code = run(arguments, Settings(offline=True, target="nonsense"), Reporter(io.StringIO()))

    assert json.loads(json.dumps(data)) == data
    assert [sorted(item) for item in data] == [["advice", "check", "found", "status"]] * len(data)
    expected = [
        line
        for item in data
        for line in [
            f"{item['status']:<7}  {item['check']}: {item['found']}",
            *(f"         {text}" for text in item["advice"].splitlines()),
        ]
    ]
    assert lines[:-1] == expected
    assert code == 1
    assert "problem  host: unknown target 'nonsense'" in lines


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    """The only thing that ends it: there is nothing to look at."""
    arguments = argparse.Namespace(directory=str(tmp_path / "none"), full=False)
    with pytest.raises(UsageError) as caught:
        run(arguments, Settings(), Reporter(io.StringIO()))

    assert str(caught.value) == f"DIR must name a folder, found '{tmp_path / 'none'}'"


def _broken(error: Exception) -> Callable[[Context], Iterator[Finding]]:
    def look(_context: Context) -> Iterator[Finding]:
        yield ok("before")
        raise error

    return look


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            CacheError("a sentence", hint="what to do"), problem("a sentence", "what to do"), id="an error of ours"
        ),
        pytest.param(
            MissingDependencyError("httpx", "look"),
            warning(
                "not checked: the package 'httpx' is needed to look and is not installed",
                "pip install 'provision-backend[provision]' where the build runs, or build with isolation",
            ),
            id="a missing package",
        ),
        pytest.param(
            RecursionError("deep"),
            warning("the check failed: RecursionError: deep", "please report this"),
            id="a fault",
        ),
    ],
)
def test_a_check_that_fails_is_a_finding(tmp_path: Path, error: Exception, expected: Finding) -> None:
    """What it found before is kept, and no exception leaves."""
    found = run_check(Check("some", _broken(error)), context(tmp_path))

    assert [(item.check, item.status, item.found, item.advice) for item in found] == [
        ("some", "ok", "before", ""),
        ("some", expected.status, expected.found, expected.advice),
    ]


def test_a_check_that_hangs_is_left_behind(tmp_path: Path) -> None:
    """A dead network file system keeps a thread for ever, and the others go on."""

    def look(_context: Context) -> Iterator[Finding]:
        yield ok("before")
        time.sleep(60)

    began = time.monotonic()
    found = run_check(Check("some", look, 0.2), context(tmp_path))

    assert time.monotonic() - began < 50
    assert [item.found for item in found] == [
        "before",
        "no answer within 0.2 s: a file system, a name server or a program hangs",
    ]


def test_a_machine_without_threads_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old container runtimes refuse to make one; then a check is only not bounded in time."""

    def start(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    found = run_check(Check("some", lambda _context: iter([ok("before")])), context(tmp_path))

    assert [item.found for item in found] == ["before"]


def test_sources_are_asked_one_after_the_other_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they answer is reported all the same."""

    def start(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    mirror = make_mirror(tmp_path / "mirror")
    monkeypatch.setattr("threading.Thread.start", start)
    looked = context(tmp_path, mirror=str(mirror), catalog=str(mirror), **{"cache-dir": str(tmp_path / "c")})

    assert [finding.found for finding in check_network(looked)] == [f"{mirror} has {archive_name()}"]


def test_no_address_shows_a_password(tmp_path: Path) -> None:
    """Wherever one may stand: settings, proxies, indexes, and whatever a check finds."""
    mirror, project = make_mirror(tmp_path / "mirror"), make_project(tmp_path / "project")
    secret = "s3cret"
    found = run_doctor(
        project,
        environment(
            tmp_path,
            mirror,
            PROVISION_BACKEND_MIRROR=f"http://me:{secret}@127.0.0.1:1/x?token={secret}",
            HTTP_PROXY=f"me:{secret}@127.0.0.1:1",
            HTTPS_PROXY=f"http://me:{secret}@127.0.0.1:1",
            PIP_INDEX_URL=f"https://me:{secret}@127.0.0.1:1/simple",
            PIP_EXTRA_INDEX_URL=f"https://me:{secret}@127.0.0.1:1/a https://{secret}@127.0.0.1:1/b",
            UV_INDEX=f"mine=https://me:{secret}@127.0.0.1:1/simple",
        ),
    )

    assert secret not in "\n".join(found.lines)
    assert "ok: HTTP_PROXY = ***@127.0.0.1:1" in found.of("proxy")
    assert "ok: PIP_EXTRA_INDEX_URL = https://127.0.0.1:1/a https://127.0.0.1:1/b" in found.of("index")
    assert "ok: mirror = http://127.0.0.1:1/x (PROVISION_BACKEND_MIRROR)" in found.of("settings")


def test_a_proxy_that_is_switched_off_is_none(tmp_path: Path) -> None:
    """The spelling in lower case counts, also where it is empty."""
    environ = {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": ""}

    assert list(check_proxy(Context(Settings(), tmp_path, environ))) == [ok("no proxy and no certificates are set")]


def test_what_is_found_does_not_steer_the_terminal() -> None:
    """A path or a server may hold anything."""
    assert ok("a\x1b[2Jb", "c\x07").lines() == ["ok       : a?[2Jb", "         c?"]


def test_every_check_has_a_name_of_its_own() -> None:
    """So that a program can look for it."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)


HOSTS: Dict[str, Tuple[Dict[str, Content], str]] = {
    "gcompat, and nothing of musl": (
        {"/bin/sh": "debian/hostname.amd64", "/lib64/ld-linux-x86-64.so.2": "made/gcompat-loader"},
        "is gcompat's loader, which runs programs for glibc on musl",
    ),
    "NixOS's stub": (
        {"/bin/sh": "debian/hostname.amd64", "/lib64/ld-linux-x86-64.so.2": "made/stub-ld"},
        "enable nix-ld (programs.nix-ld.enable = true)",
    ),
    "no loader": ({"/bin/sh": "debian/hostname.amd64"}, "'/lib64/ld-linux-x86-64.so.2'"),
    "an old glibc": (
        {**GLIBC_AMD64, "/bin/sh": "debian/hostname.amd64", "/lib/x86_64-linux-gnu/libc.so.6": "made/libc-2.12"},
        "needs glibc 2.17 or newer, found glibc 2.12",
    ),
    "nothing": ({"/bin/sh": b"#!/bin/false\n"}, "could not identify the libc"),
}


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_without_a_usable_libc_is_a_problem(tmp_path: Path, name: str) -> None:
    """What stands in for a libc, is too old or is not there is named, with something to do."""
    files, expected = HOSTS[name]
    root = make_root(tmp_path / "root", files)
    found = run_check(Check("host", check_host), Context(Settings(), tmp_path, root=root))
    wrong = [item for item in found if item.status == "problem"]

    assert len(wrong) == 1
    assert expected in f"{wrong[0].found}\n{wrong[0].advice}"
    assert wrong[0].advice


def test_it_is_a_warning_where_nothing_is_provisioned(tmp_path: Path) -> None:
    """A project that the running Python builds needs no standalone CPython."""
    root = make_root(tmp_path / "root", {"/bin/sh": "debian/hostname.amd64"})
    project = make_project(tmp_path / "project", requires_python=">=3.8")
    found = run_check(Check("host", check_host), Context(Settings(), project, root=root))

    assert "problem" not in {item.status for item in found}
    assert "warning" in {item.status for item in found}


def test_a_clock_before_the_newest_release_is_a_problem(tmp_path: Path) -> None:
    """A board without a battery starts in 1970, and no certificate is valid then."""
    found = list(check_clock(context(tmp_path), now=lambda: 86400.0))

    assert [item.status for item in found] == ["problem"]
    assert found[0].found.startswith("it says 1970-01-02, and the built-in catalog has a release of 20")
    assert found[0].advice == "set the clock; until then servers' certificates count as not yet valid"


def test_all_is_asked_within_the_time_that_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However patient the settings are with a download, the doctor is not."""
    options = context(tmp_path, **{"connect-timeout": "300", "read-timeout": "600", "retries": "9"}).probe_settings()

    assert (options.connect_timeout, options.read_timeout, options.retries) == (10.0, 10.0, 0)
    assert doctor.DEADLINE == 30.0
    assert {check.deadline for check in CHECKS} == {30.0}


@pytest.mark.parametrize("full", [False, True])
def test_reading_every_file_may_take_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    """With --full the check of the entries is given an hour, and otherwise as long as any other."""
    seconds: List[float] = []

    def run_within(limit: float, _tasks: object) -> bool:
        seconds.append(limit)
        return True

    monkeypatch.setattr(doctor, "run_within", run_within)
    for check in CHECKS:
        run_check(check, Context(Settings(), tmp_path, full=full))

    assert [check.name for check, limit in zip(CHECKS, seconds) if limit > 30.0] == (["entries"] if full else [])


def test_nobody_waits_a_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the project says is asked by many checks; one that hangs on it is enough."""
    # A fake: no file system here hangs for ever, and a FIFO is refused without being opened.
    end = threading.Event()
    monkeypatch.setattr("provision_backend.doctor.context.parse_pyproject", lambda _text: end.wait(60))
    (tmp_path / "pyproject.toml").write_text("")
    looked_at = context(tmp_path)
    first = run_check(Check("project", check_project, 0.3), looked_at)
    began = time.monotonic()
    findings = run_check(Check("plan", check_plan), looked_at)
    seconds = time.monotonic() - began
    end.set()

    assert [item.found for item in first] == ["no answer within 0.3 s: a file system, a name server or a program hangs"]
    assert seconds < 20  # Asked again, the check would be left after 30.
    assert [(item.check, item.status) for item in findings] == [("plan", "warning")]


def test_a_cache_in_the_source_tree(tmp_path: Path) -> None:
    """An sdist may hold it, unless .gitignore names it; without a project there is no sdist."""
    there = [f"{tmp_path / 'c'} lies in the source tree" in finding.found for finding in _cache_findings(tmp_path)]
    assert not any(there)
    (tmp_path / "pyproject.toml").touch()
    found = [finding for finding in _cache_findings(tmp_path) if "source tree" in finding.found]
    assert [(finding.status, finding.found, finding.advice) for finding in found] == [
        (
            "warning",
            f"{tmp_path / 'c'} lies in the source tree, "
            "and some backends pack all that .gitignore does not name into an sdist",
            "add /c/ to .gitignore, or set PROVISION_BACKEND_CACHE_DIR to another folder",
        )
    ]
    (tmp_path / ".gitignore").write_text("*.pyc\nc/\n")
    assert not any("source tree" in finding.found for finding in _cache_findings(tmp_path))


def _cache_findings(tmp_path: Path) -> List[Finding]:
    return list(check_cache(context(tmp_path, **{"cache-dir": str(tmp_path / "c")})))
