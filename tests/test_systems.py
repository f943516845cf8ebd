"""The table of operating systems: the running one, and what the others would answer here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Dict, List

import pytest

from provision_backend.catalog.archive import format_archive_name, parse_archive
from provision_backend.host.platforms import platform_from_triple
from provision_backend.host.targets import OTHER_TARGETS
from provision_backend.systems import RUNNING, SYSTEMS, System

LINUX, MACOS, WINDOWS = SYSTEMS["linux"], SYSTEMS["macos"], SYSTEMS["windows"]


def test_the_running_system_is_in_the_table() -> None:
    """A Python for another Unix takes the row of Linux, whose layout it has."""
    assert RUNNING is {"win32": WINDOWS, "darwin": MACOS}.get(sys.platform, LINUX)


def test_a_row_is_enough_for_its_triples() -> None:
    """They are known as targets, and in the names of archives."""
    assert {"aarch64-apple-darwin", "x86_64-apple-darwin", "i686-pc-windows-msvc"} <= set(OTHER_TARGETS)
    for triple, (architecture, system) in OTHER_TARGETS.items():
        platform = platform_from_triple(triple)
        archive = parse_archive(format_archive_name("3.13.5", "20250723", triple, freethreaded=False), "0" * 64)
        assert (platform.triple, platform.architecture, platform.system) == (triple, architecture, system.name)
        assert platform.bits == (32 if architecture == "i686" else 64)
        assert archive is not None
        assert archive.triple == triple


@pytest.mark.parametrize(
    ("system", "environ", "cache", "config", "machine"),
    [
        pytest.param(LINUX, {}, ".cache/provision-backend", [".config"], ["/etc/xdg", "/etc"], id="Linux"),
        pytest.param(
            LINUX,
            {"XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/u", "XDG_CONFIG_DIRS": "/x:/y"},
            "/c/provision-backend",
            ["/u"],
            ["/x", "/y", "/etc"],
            id="Linux, named",
        ),
        pytest.param(
            LINUX,
            {"XDG_CACHE_HOME": "c", "XDG_CONFIG_HOME": "u", "XDG_CONFIG_DIRS": "x:/y:"},
            ".cache/provision-backend",
            [".config"],
            ["/y", "/etc"],
            id="Linux, named by relative paths",
        ),
        pytest.param(
            MACOS,
            {"XDG_CACHE_HOME": "/c", "XDG_CONFIG_HOME": "/u"},
            "Library/Caches/provision-backend",
            ["Library/Application Support"],
            ["/Library/Application Support"],
            id="macOS",
        ),
        pytest.param(
            WINDOWS,
            {"LOCALAPPDATA": "/local", "APPDATA": "/roaming", "PROGRAMDATA": "/all"},
            "/local/provision-backend/Cache",
            ["/roaming"],
            ["/all"],
            id="Windows",
        ),
        pytest.param(
            WINDOWS,
            {},
            "AppData/Local/provision-backend/Cache",
            ["AppData/Roaming"],
            [],
            id="Windows, without variables",
        ),
    ],
)
def test_the_folders_of_users_are_those_of_the_system(
    system: System,
    environ: Dict[str, str],
    cache: str,
    config: List[str],
    machine: List[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the documentation of each system has them; a relative path in a variable is ignored."""
    monkeypatch.setenv("HOME", "/home/me")
    home = Path("/home/me")

    assert system.cache_folder(environ) == str(home / cache)
    assert system.config_folders(environ) == (*(str(home / name) for name in config), *machine)


@pytest.mark.parametrize(
    ("system", "environment", "tree"),
    [
        (LINUX, "bin/python", "bin/python3.13"),
        (MACOS, "bin/python", "bin/python3.13"),
        (WINDOWS, "Scripts/python.exe", "python.exe"),
    ],
    ids=["Linux", "macOS", "Windows"],
)
def test_the_layout_of_trees_and_environments(system: System, environment: str, tree: str) -> None:
    """Where the interpreter is, and the tree of one."""
    assert system.environment_python(Path("/e")) == Path("/e", environment)
    assert system.tree_of(Path("/t", tree)) == Path("/t")
    assert Path("/t", tree).relative_to("/t").match(system.interpreter)
