"""Archives: what a file name says, and the names and the order made from it."""

from __future__ import annotations

from typing import Tuple

import pytest

from provision_backend.catalog.archive import Archive, parse_archive


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        pytest.param(
            "cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz",
            ("3.13.5", "20250723", "x86_64-unknown-linux-gnu", "install_only", False),
            id="linux",
        ),
        pytest.param(
            "cpython-3.16.0a2%2B20261110-x86_64_v3-unknown-linux-musl-freethreaded-install_only_stripped.tar.gz",
            ("3.16.0a2", "20261110", "x86_64_v3-unknown-linux-musl", "install_only_stripped", True),
            id="free-threaded alpha, quoted as in a URL",
        ),
        pytest.param(
            "cpython-3.10.22+20261009-armv7-unknown-linux-gnueabihf-install_only_stripped.tar.gz",
            ("3.10.22", "20261009", "armv7-unknown-linux-gnueabihf", "install_only_stripped", False),
            id="hard float",
        ),
        pytest.param(
            "cpython-3.12.3+20240415-aarch64-apple-darwin-install_only.tar.gz",
            ("3.12.3", "20240415", "aarch64-apple-darwin", "install_only", False),
            id="macOS",
        ),
        pytest.param(
            "cpython-3.8.17+20230826-i686-pc-windows-msvc-shared-install_only.tar.gz",
            ("3.8.17", "20230826", "i686-pc-windows-msvc", "install_only", False),
            id="Windows, shared",
        ),
        pytest.param(
            "cpython-3.14.0rc2+20250902-s390x-unknown-linux-gnu-install_only.tar.zst",
            ("3.14.0rc2", "20250902", "s390x-unknown-linux-gnu", "install_only", False),
            id="zstandard",
        ),
    ],
)
def test_a_file_name_says_what_the_archive_is(filename: str, expected: Tuple[str, str, str, str, bool]) -> None:
    """Version, tag, triple, flavor and free-threading are read from the name."""
    assert parse_archive(filename, "0" * 64) == (filename.replace("%2B", "+"), "0" * 64, *expected)


@pytest.mark.parametrize(
    "filename",
    [
        pytest.param("cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-pgo+lto-full.tar.zst", id="full"),
        pytest.param("cpython-3.13.1+20250115-x86_64-unknown-linux-gnu-freethreaded+pgo+lto-full.tar.zst", id="old t"),
        pytest.param("cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-debug-install_only.tar.gz", id="debug"),
        pytest.param("cpython-3.13.5+20250723-aarch64-apple-darwin-debug-install_only.tar.gz", id="debug on macOS"),
        pytest.param("cpython-3.13.5+20250723-x86_64-unknown-linux-musl-static-install_only.tar.gz", id="static"),
        pytest.param("cpython-3.9.6-x86_64-unknown-linux-gnu-install_only-20210724T1424.tar.gz", id="date suffix"),
        pytest.param("cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz.sha256", id="hash file"),
        pytest.param("cpython-3.13+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz", id="no patch version"),
        pytest.param("pypy-3.10.1+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz", id="pypy"),
        pytest.param("../cpython-3.13.5+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz", id="a path"),
        pytest.param("cpython-٣.13.5+20250723-x86_64-unknown-linux-gnu-install_only.tar.gz", id="other digits"),
        pytest.param("SHA256SUMS", id="something else"),
        pytest.param("", id="nothing"),
    ],
)
def test_the_name_of_another_file_says_nothing(filename: str) -> None:
    """Builds that cannot be provisioned and other files are no archives."""
    assert parse_archive(filename, "") is None


def make(version: str, tag: str, flavor: str = "install_only_stripped", *, freethreaded: bool = False) -> Archive:
    """Return an archive that differs from others in what is given."""
    return Archive("name", "1a2b3c4d" + "0" * 56, version, tag, "x86_64-unknown-linux-gnu", flavor, freethreaded)


def test_the_key_tells_builds_apart() -> None:
    """Version, tag, triple and the first digits of the hash are in the key, and ``t`` where it is free-threaded."""
    assert make("3.13.5", "20251110").key == "cpython-3.13.5-20251110-x86_64-unknown-linux-gnu-1a2b3c4d"
    assert (
        make("3.13.5", "20251110", freethreaded=True).key
        == "cpython-3.13.5t-20251110-x86_64-unknown-linux-gnu-1a2b3c4d"
    )


def test_archives_sort_by_version_then_tag_then_stripped() -> None:
    """Versions compare as versions, not as text; the best comes last."""
    ascending = [
        make("3.9.25", "20261110"),
        make("3.13.0rc2", "20241016"),
        make("3.13.0", "20241008"),
        make("3.13.0", "20241016", "install_only"),
        make("3.13.0", "20241016"),
        make("3.13.10", "20241010"),
    ]

    shuffled = ascending[::-1]

    assert sorted(shuffled, key=lambda archive: archive.sort_key) == ascending


@pytest.mark.parametrize(("version", "expected"), [("3.15.0a1", True), ("3.14.0rc2", True), ("3.14.0", False)])
def test_a_prerelease_is_known_by_its_version(version: str, expected: bool) -> None:
    """Alphas, betas and release candidates are pre-releases."""
    assert make(version, "20251110").prerelease is expected
