"""Tags and markers of a target, and what pip says of wheels."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from packaging.markers import default_environment
from packaging.tags import parse_tag

from provision_backend.catalog.archive import Archive, parse_archive
from provision_backend.catalog.selection import builtin_triples
from provision_backend.hooks.locked_wheels import report_package, target_environment, wheel_file
from provision_backend.hooks.tags import target_tags


def archive(triple: str, *, freethreaded: bool = False) -> Archive:
    variant = "-freethreaded" if freethreaded else ""
    found = parse_archive(f"cpython-3.13.5+20260101-{triple}{variant}-install_only.tar.gz", "a" * 64)
    assert found is not None
    return found


GNU, MUSL = "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"


@pytest.mark.parametrize(
    ("triple", "fitting", "others"),
    [
        (GNU, "cp313-cp313-manylinux_2_39_x86_64 cp38-abi3-manylinux2014_x86_64", "cp314-cp314-manylinux_2_39_x86_64"),
        (GNU, "py3-none-any cp313-cp313-linux_x86_64", "cp313-cp313t-manylinux_2_17_x86_64 py3-none-win_amd64"),
        (MUSL, "cp313-cp313-musllinux_1_2_x86_64 py2.py3-none-any", "cp313-cp313-manylinux_2_17_x86_64"),
        ("x86_64_v3-unknown-linux-gnu", "cp313-none-manylinux1_x86_64", "py3-none-musllinux_1_1_x86_64"),
        ("armv7-unknown-linux-gnueabihf", "py3-none-manylinux_2_17_armv7l", "py3-none-manylinux_2_17_aarch64"),
        ("armv7-unknown-linux-gnueabi", "py3-none-linux_armv7l", "py3-none-manylinux_2_17_armv7l"),
        ("aarch64-apple-darwin", "py3-none-macosx_11_0_arm64 py3-none-macosx_11_0_universal2", "py3-none-win_arm64"),
        ("x86_64-apple-darwin", "cp313-cp313-macosx_10_13_x86_64", "cp313-cp313-macosx_11_0_arm64"),
        ("i686-pc-windows-msvc", "cp313-cp313-win32", "cp313-cp313-win_amd64"),
    ],
)
def test_tags_of_a_target_are_those_of_any_version_of_its_system(triple: str, fitting: str, others: str) -> None:
    """How old the glibc of a builder is is seen there; another Python, another system or libc never fits."""
    found = target_tags("3.13.5", triple)

    assert [text for text in fitting.split() if found.isdisjoint(parse_tag(text))] == []
    assert [text for text in others.split() if not found.isdisjoint(parse_tag(text))] == []


def test_a_freethreaded_build_has_tags_of_its_own() -> None:
    """It takes no wheel of the stable ABI that other builds have."""
    found = target_tags("3.13.5t", GNU)

    assert not found.isdisjoint(parse_tag("cp313-cp313t-manylinux_2_17_x86_64"))
    assert found.isdisjoint(parse_tag("cp39-abi3-manylinux_2_17_x86_64"))


def test_every_target_of_the_catalog_has_tags_and_an_environment() -> None:
    """And that of this host is what packaging finds, but for the release of its kernel."""
    for triple in builtin_triples():
        assert len(target_tags("3.13.5", triple)) > 40
        assert set(target_environment(archive(triple))) == {*default_environment(), "extra"}
    here = {"x86_64": GNU, "aarch64": "aarch64-unknown-linux-gnu"}.get(platform.machine())
    if here is None or not sys.platform.startswith("linux"):
        pytest.skip("not a host that this test knows the triple of")
    same = ("os_name", "platform_machine", "platform_system", "sys_platform", "platform_python_implementation")
    found, own = target_environment(archive(here)), dict(default_environment())
    assert [found[key] for key in same] == [own[key] for key in same]
    assert (found["python_version"], found["python_full_version"]) == ("3.13", "3.13.5")


def test_the_report_of_an_old_pip_lacks_the_hash_of_a_local_file(tmp_path: Path) -> None:
    """It is computed then; what is no archive has none."""
    (tmp_path / "a-1.0-py3-none-any.whl").write_bytes(b"x")
    source: Dict[str, Any] = {"url": (tmp_path / "a-1.0-py3-none-any.whl").as_uri(), "archive_info": {}}
    item = {"download_info": source, "metadata": {"name": "a", "version": "1.0", "summary": "A."}}
    found = report_package(item)

    assert found["wheels"][0]["hashes"] == {"sha256": hashlib.sha256(b"x").hexdigest()}
    assert wheel_file(found["wheels"][0]) == "a-1.0-py3-none-any.whl"
    item["download_info"] = {"url": "git+https://host.example/a", "vcs_info": {}}
    assert report_package(item)["wheels"] == [{"url": "git+https://host.example/a", "hashes": {}}]
