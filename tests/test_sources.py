"""Which places are asked, and how they are named: `provision_backend.install.sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import pytest

from provision_backend.errors import UsageError
from provision_backend.install.sources import (
    DEFAULT_SOURCES,
    SourceError,
    is_github,
    is_local,
    is_loopback,
    list_sources,
)
from provision_backend.settings import Settings, load_settings

FILE = "cpython-3.13.5+20251110-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
QUOTED = FILE.replace("+", "%2B")


def test_default_sources_are_asked_by_release_only() -> None:
    """Without a mirror upstream's two places are asked, each once, in their order."""
    locations = [source.locations("20251110", FILE) for source in list_sources(Settings())]

    assert locations == [(f"{base}/20251110/{QUOTED}",) for base in DEFAULT_SOURCES]


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ("https://m.example/pbs", (f"https://m.example/pbs/20251110/{QUOTED}", f"https://m.example/pbs/{QUOTED}")),
        ("https://m.example/", (f"https://m.example/20251110/{QUOTED}", f"https://m.example/{QUOTED}")),
        (
            "https://m.example/pbs/?sig=s3cret",
            (f"https://m.example/pbs/20251110/{QUOTED}?sig=s3cret", f"https://m.example/pbs/{QUOTED}?sig=s3cret"),
        ),
        ("/srv/pbs", (f"/srv/pbs/20251110/{FILE}", f"/srv/pbs/{FILE}")),
        ("file:///srv/my%20pbs", (f"/srv/my pbs/20251110/{FILE}", f"/srv/my pbs/{FILE}")),
    ],
    ids=["url", "slash-at-the-end", "query", "path", "file-url"],
)
def test_a_mirror_is_asked_by_release_and_flat(mirror: str, expected: Tuple[str, ...]) -> None:
    """A mirror replaces the default sources, and the plus sign of a file name is quoted in URLs only."""
    (source,) = list_sources(Settings(mirror=(mirror,)))

    assert source.locations("20251110", FILE) == expected


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (
            "ftp://user:s3cret@m.example/pbs",
            "cannot download from 'ftp://m.example/pbs': wanted https://, http://, file:// or a path, found ftp://",
        ),
        (
            "file://server/share",
            "cannot read 'file://server/share': it names another machine\n"
            "  a file URL has three slashes: file:///path/of/the/mirror",
        ),
        (
            "https://user:s3/cret@m.example",
            "cannot download from 'https://***@m.example': its host or port is malformed\n"
            "  in a user name or password, escape '/' as %2F, '@' as %40, '#' as %23 and '?' as %3F",
        ),
    ],
    ids=["scheme", "other-machine", "slash-in-password"],
)
def test_what_is_not_a_mirror_is_refused(mirror: str, expected: str) -> None:
    """A mirror of another form is named, without its password, before anything is asked."""
    with pytest.raises(UsageError) as caught:
        list_sources(Settings(mirror=(mirror,)))

    assert str(caught.value) == expected


@pytest.mark.parametrize("place", ["file", "variable", "flag"])
def test_a_folder_that_is_missing_is_corrected_where_it_is_named(place: str, tmp_path: Path) -> None:
    """The variable that people know best may not even be set."""
    missing, config = str(tmp_path / "missing"), tmp_path / "config.toml"
    config.write_text(f"mirror = ['{missing}']\n" if place == "file" else "")
    environ = {"PROVISION_BACKEND_CONFIG_FILE": str(config)}
    environ.update({"PROVISION_BACKEND_MIRROR": missing} if place == "variable" else {})
    settings = load_settings(environ=environ, flags={"mirror": [missing]} if place == "flag" else {})
    (source,) = list_sources(settings)
    with pytest.raises(SourceError) as caught:
        source.ask("20251110", FILE, str)

    wanted = {"file": f"mirror in {config}", "variable": "PROVISION_BACKEND_MIRROR", "flag": "--mirror"}
    assert (caught.value.reason, caught.value.hint) == (
        "there is no such folder",
        f"correct {wanted[place]}, which names it",
    )


def test_settings_do_not_show_their_mirrors() -> None:
    """The repr of the settings, which may end up in a log, has no URL in it."""
    settings = Settings(mirror=("https://user:s3cret@m.example",))

    assert "s3cret" not in repr(settings) + repr(list_sources(settings))


@pytest.mark.parametrize(
    ("url", "loopback", "github"),
    [
        ("http://127.0.0.1:8000/", True, False),
        ("http://localhost/", True, False),
        ("http://[::1]:80/", True, False),
        ("http://127.255.0.9/", True, False),
        ("http://127.0.0.1.example/", False, False),
        ("http://127.999.1.1/", False, False),
        ("http://127.0.0.\u0661/", False, False),
        ("http://127.1/", False, False),
        ("http://localhost.example/", False, False),
        ("http://[::2]/", False, False),
        ("https://GitHub.com/", False, True),
        ("https://objects.githubusercontent.com/", False, True),
        ("https://github.com.example/", False, False),
        ("https://notgithub.com/", False, False),
        ("https://[bad/", False, False),
    ],
)
def test_hosts_are_told_apart_by_their_whole_name(url: str, loopback: bool, github: bool) -> None:
    """A host that only begins or ends like a known one is another host."""
    assert (is_loopback(url), is_github(url)) == (loopback, github)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), False),
        (Settings(offline=True), True),
        (Settings(mirror=("/srv/mirror",)), True),
        (Settings(mirror=("/srv/mirror", "file:///srv/other"), catalog="/srv/mirror"), True),
        (Settings(mirror=("/srv/mirror", "https://m.example")), False),
        (Settings(mirror=("/srv/mirror",), catalog="https://m.example/SHA256SUMS"), False),
        (Settings(catalog="/srv/mirror"), False),
    ],
    ids=["default", "offline", "folder", "folders", "one-remote", "remote-catalog", "only-the-catalog"],
)
def test_what_comes_from_this_machine_alone_needs_no_http(settings: Settings, *, expected: bool) -> None:
    """Only then a build asks for fewer packages."""
    assert is_local(settings) is expected
