"""Every command as a process, for people and for programs: what ``--json`` prints has the documented shape."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, Sequence

import pytest
from support.cache_entries import ARCHIVE, provide
from support.command_line import ROOT, Done, bare_machine, ours
from support.wheel_files import make_wheel

from provision_backend.cache.store import Cache
from provision_backend.cli.registry import COMMANDS

__all__ = ["bare_machine"]  # A fixture that every test here uses.

TRIPLE = "x86_64-unknown-linux-musl"
FREE = ("cache verify", ".kept", ".changed", ".value")
"""Where the keys of an object are data (file names and the like), or a value may be of any kind."""


EXAMPLES: Dict[str, Any] = json.loads((ROOT / "scripts" / "docs_command_line.json").read_text(encoding="utf-8"))


def _documented(command: str, number: int = 0) -> Any:
    """Return one of the answers that the page shows for a command."""
    return [example for example in EXAMPLES[command] if not isinstance(example, str)][number]


def _assert_shape(documented: Any, real: Any, where: str) -> None:
    """Compare the keys and the kinds of values; ``null`` may stand for any."""
    if documented is None or real is None:
        return
    if where.endswith(FREE):
        return
    numbers = type(documented) in (int, float) and type(real) in (int, float)
    assert numbers or type(real) is type(documented), where
    if isinstance(documented, dict):
        assert list(documented) == list(real), where
        for key, value in documented.items():
            _assert_shape(value, real[key], f"{where}.{key}")
    elif isinstance(documented, list) and documented and real:
        _assert_shape(documented[0], real[0], f"{where}[0]")


def _check(command: str, done: Done, number: int = 0, *, code: int = 0) -> Any:
    """Compare an answer with the page, and return it."""
    assert done.code == code, done.err
    _assert_shape(_documented(command, number), done.json, command)
    assert "Traceback" not in done.err
    return done.json


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog of one archive."""
    file = tmp_path / "SHA256SUMS"
    file.write_text(f"{'1' * 64}  cpython-3.13.9+20251031-{TRIPLE}-install_only_stripped.tar.gz\n")
    return file


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return a cache with the smallest interpreter that counts."""
    cache = Cache(tmp_path / "cache")
    provide(cache)
    return cache.root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a project that is not wrapped."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        '[project]\nname = "toy"\nversion = "1"\nrequires-python = ">=3.12"\n'
    )
    return folder


def test_every_command_with_json_is_documented() -> None:
    """The page shows the JSON of each command that has some, and of no other."""
    assert sorted(EXAMPLES) == sorted(command.name for command in COMMANDS if command.has_json)


def test_detect() -> None:
    """The host, with its evidence."""
    _check("detect", ours("detect", "--json"))
    assert ours("detect").out.splitlines()[0] == ours("detect", "--json").json["triple"]


def test_list(catalog: Path) -> None:
    """The archives, and none as an empty array."""
    arguments = ("--catalog", str(catalog), "--target", TRIPLE)

    assert _check("list", ours("list", "--json", *arguments))[0]["version"] == "3.13.9"
    assert ours("list", "3.99", "--json", *arguments)[:2] == (1, "[]\n")


def test_find(tmp_path: Path) -> None:
    """An interpreter of the machine has the keys of a provisioned one."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / f"python{minor}").symlink_to(os.path.realpath(sys.executable))

    assert _check("find", ours("find", minor, "--preference", "only-system", "--json"))["source"] == "system"


def test_settings() -> None:
    """Every setting has the same keys."""
    for row in _check("settings", ours("settings", "--offline", "--json")):
        assert list(row) == list(_documented("settings")[0])


def test_cache_commands(filled: Path) -> None:
    """What looks at a cache and what removes from it."""
    _check("cache dir", ours("cache", "dir", "--json"))
    assert [row["key"] for row in _check("cache list", ours("cache", "list", "--json"))] == [ARCHIVE.key]
    assert ours("cache", "list").out.endswith(f"{filled}/interpreters/{ARCHIVE.key}\n")
    verified = _check("cache verify", ours("cache", "verify", "--json"))
    assert list(verified.values()) == [[]]
    assert ours("cache", "verify").out == f"{next(iter(verified))}: as it was published\n"
    (filled / "interpreters" / ARCHIVE.key / "bin" / "more").touch()
    assert len(*_check("cache verify", ours("cache", "verify", "--json"), code=1).values()) == 1
    assert _check("cache prune", ours("cache", "prune", "--json"))["kept"] == {}
    assert ours("cache", "clean", "--json").code == 0
    assert _check("cache list", ours("cache", "list", "--json")) == []
    _check("cache prune", ours("cache", "clean", "--json"))
    assert ours("cache", "prune").out == "0 B freed\n"


def test_uninstall(filled: Path) -> None:
    """What was removed, by a version, a specifier, a key or a path; no match, and what is shared, is a "no"."""
    key, none = ARCHIVE.key, "provision-backend: no interpreter in the cache {} matches {!r}\n"
    nothing = {"removed": [], "kept": {}, "leftovers": [], "freed": 0}
    for request in ("3.12", "<3.13", "3.13t"):
        done = ours("uninstall", request, "--json")
        assert (done.code, done.json, done.err) == (1, nothing, none.format(filled, request))
        assert ours("uninstall", request).out == ""
    assert ours("uninstall", "cpython").err.startswith("provision-backend: REQUEST must be a version or")
    done = ours("uninstall", "3.13", "--cache-dir", str(filled.parent / "own"), "--shared-caches", str(filled))
    assert (done.code, done.err.splitlines()[1].split(": ")[1]) == (
        1, f"{filled}/interpreters/{key} does, and a shared cache is never changed"
    )  # fmt: skip
    for request in ("3.13", "3.13.5", ">=3.12", key, f"{filled}/interpreters/{key}"):
        done = ours("uninstall", request, "--json")
        assert [row["key"] for row in _check("cache prune", done)["removed"]] == [key]
        assert ours("cache", "list", "--json").json == []
        provide(Cache(filled))


def test_uninstall_of_several_asks_which(filled: Path) -> None:
    """A request that several interpreters match removes none, unless all are meant; a key is always one."""
    other = ARCHIVE._replace(sha256="d" * 64)
    provide(Cache(filled), archive=other)
    keys = sorted((ARCHIVE.key, other.key))

    message = "provision-backend: '3.13' matches 2 interpreters; name one, or add --all\n"
    assert ours("uninstall", "3.13") == Done(2, "", message + "".join(f"  {key}\n" for key in keys))
    assert [row["key"] for row in ours("cache", "list", "--json").json] == keys
    assert ours("uninstall", keys[0]).code == 0
    assert [row["key"] for row in ours("cache", "list", "--json").json] == keys[1:]
    provide(Cache(filled), archive=other)
    provide(Cache(filled))
    assert len(ours("uninstall", "3.13", "--all", "--json").json["removed"]) == 2


def test_cache_key(catalog: Path) -> None:
    """A key, and the archives that it stands for."""
    arguments = ("cache", "key", "--python", "3.13", "--target", TRIPLE, "--catalog", str(catalog))
    data = _check("cache key", ours(*arguments, "--json"))

    assert ours(*arguments).out == data["key"] + "\n"


def test_init_and_lock(project: Path, catalog: Path) -> None:
    """What edits a project says what it has written, and shows the change to people."""
    pytest.importorskip("tomlkit", reason="init and lock need the extra init")
    assert ours("init", "--check", cwd=project).code == 1
    assert _check("init", ours("init", "--check", "--json", cwd=project), code=1)["written"] is False
    assert _check("init", ours("init", "--json", cwd=project))["written"] is True
    locking = ("lock", "--only-interpreter", "--target", TRIPLE, "--catalog", str(catalog))
    proposed = ours(*locking, "--check", cwd=project)
    assert (proposed.code, proposed.out.splitlines()[:2]) == (1, ["--- a/pyproject.toml", "+++ b/pyproject.toml"])
    assert _check("lock", ours(*locking, "--json", cwd=project))["archives"][0]["version"] == "3.13.9"
    assert ours(*locking, "--check", cwd=project)[:2] == (0, "")
    assert ours("list", ".", "--target", TRIPLE, cwd=project).out.startswith("3.13.9")


def test_doctor(project: Path) -> None:
    """Findings; a problem is a "no"."""
    done = ours("doctor", "--offline", "--json", cwd=project)

    _assert_shape(_documented("doctor"), done.json, "doctor")
    assert done.code == int(any(row["status"] == "problem" for row in done.json))
    assert ours("doctor", "--offline", cwd=project).out.startswith("ok       host: ")


def test_check_of_wheels(tmp_path: Path) -> None:
    """A wheel that was tested, here in vain, since no interpreter of the catalog is there."""
    wheel = make_wheel(tmp_path, "py3-none-any", {"spam.py": ""})
    file = tmp_path / "SHA256SUMS"
    file.write_text(f"{'1' * 64}  cpython-3.13.9+20251031-{TRIPLE}-install_only_stripped.tar.gz\n")
    arguments = ("--catalog", str(file), "--target", TRIPLE, "--offline")

    data = _check("check", ours("check", str(wheel), "--json", *arguments), code=1)

    assert [(each["python"], "offline is set" in each["error"]) for each in data[0]["tests"]] == [("3.13", True)]


def test_mirror_that_is_only_planned(catalog: Path, tmp_path: Path) -> None:
    """What would be fetched, and an empty folder looked at."""
    arguments = ("mirror", str(tmp_path / "mirror"), "--target", TRIPLE, "--catalog", str(catalog), "--json")
    data = _check("mirror", ours(*arguments, "--python", "3.13", "--dry-run"), 1)
    (tmp_path / "mirror").mkdir(exist_ok=True)

    _assert_shape(_documented("mirror")["fetched"], data["missing"], "mirror.missing")
    looked = ours(*arguments, "--verify")
    assert looked.code in (0, 1)
    if looked.out:
        _assert_shape(_documented("mirror", 2), looked.json, "mirror --verify")


@pytest.mark.slow
def test_install_mirror_and_pack(mirror: Path, tmp_path: Path) -> None:
    """What needs a real archive: installed once, mirrored, and packed again from where it is."""
    arguments: Sequence[str] = ("--mirror", str(mirror), "--catalog", str(mirror), "--json")
    installed = ours("install", ">=3.12", *arguments)
    assert installed.code == 0, installed.err
    _assert_shape(_documented("find"), installed.json, "install")
    several = ours("install", ">=3.12", ">=3.11", *arguments).json
    assert several == [installed.json, installed.json]

    fetched = _check("mirror", ours("mirror", str(tmp_path / "copy"), "--python", ">=3.12", "--newest", *arguments))
    assert [row["sha256"] for row in fetched["fetched"]] == [installed.json["sha256"]]
    checked = ours("mirror", str(tmp_path / "copy"), "--verify", "--json")
    assert _check("mirror", checked, 2)["intact"] == [row["filename"] for row in fetched["fetched"]]
