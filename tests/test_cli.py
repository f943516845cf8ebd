"""The command line as a process: what it prints, its JSON, its messages and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List, NamedTuple, Optional

import pytest

from provision_backend.errors import ProvisionError, UsageError
from provision_backend.host.detection import detect_platform
from provision_backend.settings import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
TRIPLE = "x86_64-unknown-linux-musl"


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for programs."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no interpreter of the machine be found, so that the answers are the same everywhere."""
    for name, value in (("PATH", tmp_path / "bin"), ("HOME", tmp_path), ("PYENV_ROOT", tmp_path / "pyenv")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)


def _run(*arguments: str, env: Optional[Any] = None) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "provision_backend", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", **(env or {})},
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def _line(version: str, tag: str, flavor: str = "install_only_stripped", digit: str = "0") -> str:
    return f"{digit * 64}  cpython-{version}+{tag}-{TRIPLE}-{flavor}.tar.gz"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a small catalog of one platform."""
    lines = [
        _line("3.12.12", "20251031"),
        _line("3.13.9", "20251031", digit="1"),
        _line("3.13.8", "20251031", digit="2"),
        _line("3.13.9", "20251031", "freethreaded-install_only_stripped", digit="3"),
    ]
    file = tmp_path / "SHA256SUMS"
    file.write_text("\n".join(lines) + "\n")
    return file


def _list(catalog: Path, *arguments: str) -> Done:
    return _run("list", "--catalog", str(catalog), "--target", TRIPLE, *arguments)


def test_detect_says_what_the_host_is() -> None:
    """The keys of the JSON are those that stay, and people read the triple first."""
    platform = detect_platform()
    done = _run("detect", "--json")

    assert (done.code, done.err) == (0, "")
    assert {"triple", "architecture", "libc", "libc_version", "evidence"} <= set(done.json)
    assert (platform.triple, platform.architecture, platform.libc) == tuple(
        done.json[key] for key in ("triple", "architecture", "libc")
    )
    lines = _run("detect").out.splitlines()
    assert [platform.triple, f"libc: {platform.libc_name}", f"architecture: {platform.architecture}"] == lines[:3]
    assert len([line for line in lines if line.startswith("evidence: ")]) == len(platform.evidence)


def test_detect_looks_into_a_folder(tmp_path: Path) -> None:
    """An image without any loader is not identified: that is a "no", and a root that is no folder is wrong use."""
    (tmp_path / "image").mkdir()
    done = _run("detect", "--root", str(tmp_path / "image"))

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("provision-backend: could not identify the libc of ")
    assert _run("detect", "--root", str(tmp_path / "none")) == Done(
        2, "", f"provision-backend: --root must name a folder, found '{tmp_path}/none'\n"
    )


def test_list_names_the_newest_of_each_minor(catalog: Path) -> None:
    """Each row says whether the interpreter is there already."""
    assert _list(catalog) == Done(
        0, "3.13.9     20251031  can be provisioned\n3.12.12    20251031  can be provisioned\n", ""
    )


def test_list_all_names_each_version(catalog: Path) -> None:
    """With --all the older ones come too, newest first."""
    rows = _list(catalog, "--all", "--json").json

    assert [row["version"] for row in rows] == ["3.13.9", "3.13.8", "3.12.12"]
    assert rows[0] == {
        "version": "3.13.9",
        "tag": "20251031",
        "triple": TRIPLE,
        "key": rows[0]["key"],
        "sha256": "1" * 64,
        "filename": f"cpython-3.13.9+20251031-{TRIPLE}-install_only_stripped.tar.gz",
        "executable": None,
    }


@pytest.mark.parametrize(
    ("request_text", "versions"), [("3.12", ["3.12.12"]), ("3.13t", ["3.13.9t"]), (">=3.13", ["3.13.9"])]
)
def test_list_takes_a_request(catalog: Path, request_text: str, versions: List[str]) -> None:
    """Only what satisfies the request is listed; free-threaded ones when they are asked for."""
    assert [row["version"] for row in _list(catalog, request_text, "--json").json] == versions


def test_list_without_a_row_is_a_no(catalog: Path) -> None:
    """The exit code is 1, and the reason stands on standard error."""
    message = f"provision-backend: there is no archive for '3.99' on {TRIPLE}\n"

    assert _list(catalog, "3.99") == Done(1, "", message)
    assert _list(catalog, "3.99", "--json") == Done(1, "[]\n", message)


def test_list_reads_the_built_in_catalog() -> None:
    """Without a setting there are the archives that we ship, none of them free-threaded."""
    rows = _run("list", "--target", "aarch64-unknown-linux-gnu", "--json").json

    assert {"3.12", "3.13"} <= {row["version"].rpartition(".")[0] for row in rows}
    assert not [row for row in rows if row["version"].endswith("t")]


def test_find_on_an_empty_cache_is_a_no(catalog: Path) -> None:
    """Nothing is provisioned by asking, and the message says what provisions."""
    arguments = ("--catalog", str(catalog), "--target", TRIPLE, "--preference", "only-managed")
    message = "provision-backend: no interpreter for '3.13' is here; 'provision-backend install' fetches one\n"

    assert _run("find", "3.13", *arguments) == Done(1, "", message)
    assert _run("find", "3.13", *arguments, "--json") == Done(1, "null\n", message)


def test_find_says_when_there_is_no_such_archive(catalog: Path) -> None:
    """A request that nothing satisfies is a "no" with the versions there are."""
    assert _run("find", "3.11", "--catalog", str(catalog), "--target", TRIPLE) == Done(
        1,
        "",
        f"provision-backend: no CPython archive satisfies python '3.11' on {TRIPLE}\n"
        "  archives for this platform: 3.12.12, 3.13.9\n"
        "  no interpreter of this machine satisfies it either; install one, or name a catalog and mirror\n",
    )


def test_find_prints_an_interpreter_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With preference only-system the running interpreter is found by way of PATH, and is not managed."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / f"python{minor}").symlink_to(os.path.realpath(sys.executable))
    done = _run("find", minor, "--preference", "only-system", "--json")

    assert (done.code, done.err) == (0, "")
    kept = ("executable", "version", "triple", "key", "sha256")
    assert [os.path.realpath(sys.executable), done.json["version"], None, None, None] == [
        done.json[key] for key in kept
    ]
    assert _run("find", minor, "--preference", "only-system").out == os.path.realpath(sys.executable) + "\n"


def test_install_without_network_is_a_no(catalog: Path, tmp_path: Path) -> None:
    """The message says what is missing and what to do, and the cache is not made."""
    done = _run("install", "3.12", "--catalog", str(catalog), "--target", TRIPLE, "--offline")

    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"provision-backend: cpython-3.12.12+20251031-{TRIPLE}-install_only_stripped.tar.gz is not in the cache, "
        f"and offline is set\n  the cache is {tmp_path}/cache\n"
        "  provision it once with network, or name a shared cache or a local mirror\n"
    )
    assert not (tmp_path / "cache" / "interpreters").exists()


def test_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    """Every setting is listed, with its value, the place it comes from, its variable and its help."""
    done = _run(
        "settings", "--json", "--offline", "--mirror", "/a", "--mirror", "/b", env={"PROVISION_BACKEND_RETRIES": "5"}
    )
    rows = {row["key"]: row for row in done.json}

    assert [option.key for option in OPTIONS] == list(rows)
    assert {key: row["origin"] for key, row in rows.items() if row["origin"] != "default"} == {
        "cache-dir": "PROVISION_BACKEND_CACHE_DIR",
        "offline": "--offline",
        "mirror": "--mirror",
        "retries": "PROVISION_BACKEND_RETRIES",
    }
    assert (rows["mirror"]["value"], rows["retries"]["value"]) == (["/a", "/b"], 5)
    assert f'cache-dir = "{tmp_path}/cache"  (PROVISION_BACKEND_CACHE_DIR; PROVISION_BACKEND_CACHE_DIR)' in (
        _run("settings").out.splitlines()
    )


def test_settings_do_not_show_credentials() -> None:
    """A login in a URL is not printed, neither for people nor for programs."""
    environ = {
        "PROVISION_BACKEND_MIRROR": "https://someone:secret@mirror.invalid/a,/b",
        "PROVISION_BACKEND_CATALOG": "https://someone:secret@mirror.invalid/SHA256SUMS",
    }
    for arguments in (["settings"], ["settings", "--json"]):
        done = _run(*arguments, env=environ)

        assert (done.code, done.err) == (0, "")
        assert "secret" not in done.out
        assert "mirror.invalid" in done.out


def test_cache_dir_is_printed(tmp_path: Path) -> None:
    """The folder need not exist; programs get the shared ones too."""
    shared = os.pathsep.join([str(tmp_path / "s1"), str(tmp_path / "s2")])

    assert _run("cache", "dir") == Done(0, f"{tmp_path}/cache\n", "")
    assert _run("cache", "dir", "--json", "--cache-dir", str(tmp_path), "--shared-caches", shared).json == {
        "cache-dir": str(tmp_path),
        "shared-caches": [str(tmp_path / "s1"), str(tmp_path / "s2")],
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param([], "the following arguments are required: COMMAND", id="no command"),
        pytest.param(["fetch"], "argument COMMAND: invalid choice: 'fetch' (choose from ", id="unknown command"),
        pytest.param(["cache"], "the following arguments are required: COMMAND", id="no command of the cache"),
        pytest.param(["find"], "the following arguments are required: REQUEST", id="no request"),
        pytest.param(["install"], "the following arguments are required: REQUEST", id="nothing to install"),
        pytest.param(["detect", "--nonsense"], "unrecognized arguments: --nonsense", id="unknown option"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: List[str], complaint: str) -> None:
    """The usage and what is wrong stand on standard error, and nothing on standard output."""
    done = _run(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: provision-backend")
    assert complaint in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["find", "newest"],
            "REQUEST must be a version or a version specifier, found 'newest'\n"
            "  accepted forms are '3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'",
            id="request",
        ),
        pytest.param(
            ["cache", "dir", "--lock-timeout", "soon"],
            "--lock-timeout must be a number of seconds, 0 or more, found 'soon'",
            id="setting",
        ),
        pytest.param(
            ["settings", "--preference", "any"],
            "--preference must be one of managed, only-managed, system, only-system, found 'any'",
            id="choice",
        ),
        pytest.param(
            ["list", "--target", "x86_64-linux-glibc"],
            "unknown target 'x86_64-linux-glibc'\n  targets with a similar name: ",
            id="target",
        ),
    ],
)
def test_wrong_values_end_with_2(arguments: List[str], message: str) -> None:
    """Our own checks have the same exit code as argparse's, and their message has no traceback."""
    done = _run(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"provision-backend: {message}")
    assert "Traceback" not in done.err


def test_a_wrong_variable_ends_with_2() -> None:
    """The message names the variable."""
    assert _run("cache", "dir", env={"PROVISION_BACKEND_OFFLINE": "maybe"}) == Done(
        2, "", "provision-backend: PROVISION_BACKEND_OFFLINE must be true or false, found 'maybe'\n"
    )


def test_an_unreadable_catalog_is_a_no(tmp_path: Path) -> None:
    """A failure that is not wrong use ends with 1."""
    assert _list(tmp_path / "none") == Done(
        1, "", f"provision-backend: catalog '{tmp_path}/none' cannot be read: No such file or directory\n"
    )


def test_only_usage_errors_are_wrong_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each class of the tree ends with 1, and `UsageError` with 2."""
    from provision_backend import cli
    from provision_backend.cache import store as cache

    error: ProvisionError
    for error, code in ((ProvisionError("a", hint="b"), 1), (UsageError("a", hint="b"), 2)):

        def fail(_settings: object, error: ProvisionError = error) -> None:
            raise error

        monkeypatch.setattr(cache, "open_cache", fail)

        assert cli.main(["cache", "dir"]) == code
        assert capsys.readouterr() == ("", "provision-backend: a\n  b\n")


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever presses Ctrl-C is not shown a traceback; 130 is the shell's code for it."""
    from provision_backend import cli
    from provision_backend.cache import store as cache

    def interrupt(_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "open_cache", interrupt)

    assert cli.main(["cache", "dir"]) == 130
    assert capsys.readouterr() == ("", "provision-backend: interrupted\n")


@pytest.mark.parametrize("arguments", [["settings", "--json"], ["cache", "dir"]])
def test_a_reader_that_goes_away_is_no_error(arguments: List[str]) -> None:
    """``provision-backend list | head -1`` ends without a complaint."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "provision_backend", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_path_that_the_locale_cannot_say_is_printed() -> None:
    """The bytes of a path go out as they are, so that ``$(provision-backend cache dir)`` is that folder."""
    name = b"/tmp/caf\xe9-\xc3\xbc"
    for environ in ({}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C.UTF-8"}):
        done = subprocess.run(
            [sys.executable, "-m", "provision_backend", "cache", "dir", "--cache-dir", name],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        )
        assert (0, name + b"\n") == (done.returncode, done.stdout)


def test_help_names_every_command_and_setting() -> None:
    """The help of the program lists the commands, and that of a command the settings."""
    assert [_run("--help").code, _run("list", "--help").code] == [0, 0]
    for command in ("detect", "list", "find", "install", "pack", "settings", "cache"):
        assert f"    {command} " in _run("--help").out
    text = _run("list", "--help").out
    assert [option.key for option in OPTIONS if f"--{option.key} " not in text] == []


@pytest.mark.slow
def test_install_provisions_what_find_then_finds(mirror: Path, tmp_path: Path) -> None:
    """A real archive becomes an interpreter once; find names the same, and both have the keys that stay."""
    arguments = ("--mirror", str(mirror), "--catalog", str(mirror), "--json")
    installed = _run("install", ">=3.12", *arguments)

    assert installed.code == 0, installed.err
    assert {"executable", "version", "triple", "key", "sha256"} <= set(installed.json)
    assert installed.json["executable"].startswith(str(tmp_path / "cache" / "interpreters" / installed.json["key"]))
    assert installed.json["sha256"] in (mirror / "SHA256SUMS").read_text()
    assert installed.json["triple"] == detect_platform().triple
    version = subprocess.run([installed.json["executable"], "--version"], stdout=subprocess.PIPE, check=True).stdout
    assert f"Python {installed.json['version']}\n" == version.decode()

    found = _run("find", ">=3.12", *arguments)
    again = _run("install", ">=3.12", *arguments)
    listed = _run("list", *arguments)
    assert (installed.json, installed.json, "") == (found.json, again.json, again.err)
    assert installed.json["executable"] in [row["executable"] for row in listed.json]
