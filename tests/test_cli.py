"""The command line as a process: what it prints, its JSON, its messages and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

import pytest
from support.as_user import ROOT, run_as
from support.command_line import Done, bare_machine, ours
from support.projects import pure
from support.roots import elf_bytes, make_root
from support.toys import toy_wheel

from provision_backend.errors import MissingDependencyError, ProvisionError, UsageError
from provision_backend.host.detection import detect_platform
from provision_backend.output import explained
from provision_backend.settings import OPTIONS

__all__ = ["bare_machine"]  # A fixture that every test here uses.

TRIPLE = "x86_64-unknown-linux-musl"


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
    return ours("list", "--catalog", str(catalog), "--target", TRIPLE, *arguments)


def test_detect_says_what_the_host_is() -> None:
    """The keys of the JSON are those that stay, and people read the triple first."""
    platform = detect_platform()
    done = ours("detect", "--json")

    assert (done.code, done.err) == (0, "")
    assert {"triple", "architecture", "libc", "libc_version", "evidence"} <= set(done.json)
    assert (platform.triple, platform.architecture, platform.libc) == tuple(
        done.json[key] for key in ("triple", "architecture", "libc")
    )
    lines = ours("detect").out.splitlines()
    assert [platform.triple, f"libc: {platform.libc_name}", f"architecture: {platform.architecture}"] == lines[:3]
    assert len([line for line in lines if line.startswith("evidence: ")]) == len(platform.evidence)


def test_detect_looks_into_a_folder(tmp_path: Path) -> None:
    """An image without any loader is not identified: that is a "no", and a root that is no folder is wrong use."""
    (tmp_path / "image").mkdir()
    done = ours("detect", "--root", str(tmp_path / "image"))

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("provision-backend: could not identify the libc of ")
    assert ours("detect", "--root", str(tmp_path / "none")) == Done(
        2, "", f"provision-backend: --root must name a folder, found '{tmp_path}/none'\n"
    )
    # What a script has failed to fill in is no wish for the host.
    assert ours("detect", "--root", "").err == "provision-backend: --root must name a folder, found ''\n"


def test_detect_says_that_builds_use_another_target() -> None:
    """The setting stands in for what is detected, and is checked as everywhere."""
    note = "note: the setting target names x86_64-unknown-linux-musl, and builds use that instead"

    assert note in ours("detect", "--target", "x86_64-linux-musl").out.splitlines()
    assert ours("detect", "--target", "foo").err.startswith("provision-backend: unknown target 'foo'\n")


def test_an_image_adds_no_line_to_its_description(tmp_path: Path) -> None:
    """The path of a loader is any bytes but NUL, also where no terminal reads them."""
    loader, forged = b"/lib64/ld-linux-x86-64.so.2\0", b"/\nproblem: \xff/ld-linux.so.2\0"
    shell = elf_bytes("debian/hostname.amd64").replace(loader, forged.ljust(len(loader), b"\0"))

    done = ours("detect", "--root", str(make_root(tmp_path / "image", {"/bin/sh": shell})))

    assert "evidence: /?problem: ?/ld-linux.so.2 does not exist" in done.out.splitlines()


def test_list_names_the_newest_of_each_minor(catalog: Path) -> None:
    """Each row says whether the interpreter is there already."""
    assert _list(catalog) == Done(
        0, "3.13.9   20251031  can be provisioned\n3.12.12  20251031  can be provisioned\n", ""
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
    rows = ours("list", "--target", "aarch64-unknown-linux-gnu", "--json").json

    assert {"3.12", "3.13"} <= {row["version"].rpartition(".")[0] for row in rows}
    assert not [row for row in rows if row["version"].endswith("t")]


def test_find_on_an_empty_cache_is_a_no(catalog: Path) -> None:
    """Nothing is provisioned by asking, and the message says what provisions."""
    arguments = ("--catalog", str(catalog), "--target", TRIPLE, "--preference", "only-managed")
    message = "provision-backend: no installed interpreter matches '3.13'; 'provision-backend install' fetches one\n"

    assert ours("find", "3.13", *arguments) == Done(1, "", message)
    assert ours("find", "3.13", *arguments, "--json") == Done(1, "null\n", message)


def test_find_says_when_there_is_no_such_archive(catalog: Path) -> None:
    """A request that nothing satisfies is a "no" with the versions there are, and null for programs."""
    message = (
        f"provision-backend: no CPython archive satisfies python '3.11' on {TRIPLE}\n"
        "provision-backend:   archives for this platform: 3.12.12, 3.13.9\n"
        "provision-backend:   no interpreter of this machine satisfies it either; install one, or name a catalog and "
        "mirror\n"
    )
    arguments = ("find", "3.11", "--catalog", str(catalog), "--target", TRIPLE)

    assert ours(*arguments) == Done(1, "", message)
    assert ours(*arguments, "--json") == Done(1, "null\n", message)


def test_find_says_when_the_machine_has_no_such_interpreter() -> None:
    """With preference = only-system that is a "no", too, so programs get null."""
    done = ours("find", "3.99", "--preference", "only-system", "--json")

    assert (done.code, done.out) == (1, "null\n")
    assert done.err.startswith("provision-backend: no interpreter of this machine satisfies python '3.99'\n")


def test_find_prints_an_interpreter_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With preference only-system the running interpreter is found by way of PATH, and is not managed."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / f"python{minor}").symlink_to(os.path.realpath(sys.executable))
    done = ours("find", minor, "--preference", "only-system", "--json")

    assert (done.code, done.err) == (0, "")
    kept = ("executable", "version", "triple", "key", "sha256")
    assert [os.path.realpath(sys.executable), done.json["version"], None, None, None] == [
        done.json[key] for key in kept
    ]
    assert ours("find", minor, "--preference", "only-system").out == os.path.realpath(sys.executable) + "\n"


def test_install_without_network_is_a_no(catalog: Path, tmp_path: Path) -> None:
    """The message says what is missing and what to do, and the cache is not made."""
    done = ours("install", "3.12", "--catalog", str(catalog), "--target", TRIPLE, "--offline")

    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"provision-backend: cpython-3.12.12+20251031-{TRIPLE}-install_only_stripped.tar.gz is not in the cache, "
        f"and offline is set\n  the cache is {tmp_path}/cache\n"
        "  provision it once with network, or name a shared cache or a local mirror\n"
    )
    assert not (tmp_path / "cache" / "interpreters").exists()


def test_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    """Every setting is listed, with its value, the place it comes from, its variable and its help."""
    done = ours(
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
        ours("settings").out.splitlines()
    )


def test_settings_do_not_show_credentials() -> None:
    """A login in a URL is not printed, neither for people nor for programs."""
    environ = {
        "PROVISION_BACKEND_MIRROR": "https://someone:secret@mirror.invalid/a,/b",
        "PROVISION_BACKEND_CATALOG": "https://someone:secret@mirror.invalid/SHA256SUMS",
    }
    for arguments in (["settings"], ["settings", "--json"]):
        done = ours(*arguments, env=environ)

        assert (done.code, done.err) == (0, "")
        assert "secret" not in done.out
        assert "mirror.invalid" in done.out


def test_cache_dir_is_printed(tmp_path: Path) -> None:
    """The folder need not exist; programs get the shared ones too."""
    shared = os.pathsep.join([str(tmp_path / "s1"), str(tmp_path / "s2")])

    assert ours("cache", "dir") == Done(0, f"{tmp_path}/cache\n", "")
    assert ours("cache", "dir", "--json", "--cache-dir", str(tmp_path), "--shared-caches", shared).json == {
        "cache-dir": str(tmp_path),
        "shared-caches": [str(tmp_path / "s1"), str(tmp_path / "s2")],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["instal", "3.13"], "there is no command 'instal'\n  did you mean 'provision-backend install'?", id="near"
        ),
        pytest.param(
            ["cache", "clear"],
            "there is no command 'cache clear'\n  did you mean 'provision-backend cache clean'?",
            id="near in a group",
        ),
        pytest.param(
            ["xyz"], "there is no command 'xyz'\n  one of detect, list, find, install, uninstall, ", id="unknown"
        ),
        pytest.param(
            ["cache"],
            "a command is missing after 'cache'\n  one of dir, list, verify, prune, clean, key",
            id="no command of a group",
        ),
        pytest.param(
            ["--json", "list"],
            "there is no option '--json' before a command\n"
            "  options stand after the command: provision-backend COMMAND [OPTIONS]",
            id="option too early",
        ),
        pytest.param(
            ["find", "3.13", "3.12"],
            "unrecognized arguments: 3.12\n  usage: provision-backend find [OPTIONS] [REQUEST]\n"
            "  see 'provision-backend find --help'",
            id="too much",
        ),
        pytest.param(
            ["detect", "--jsn"],
            "unrecognized arguments: --jsn\n  did you mean '--json'?\n  usage: provision-backend detect [OPTIONS]\n",
            id="near option",
        ),
        pytest.param(
            ["list", "--offl"], "unrecognized arguments: --offl\n  did you mean '--offline'?", id="abbreviated"
        ),
        pytest.param(
            ["pack", "python3"],
            "the following arguments are required: --to\n  usage: provision-backend pack [OPTIONS] PYTHON --to DIR\n",
            id="required option",
        ),
        pytest.param(["list", "--", "3.13", "x"], "unrecognized arguments: x\n", id="after dashes"),
        pytest.param(
            ["settings", "--color", "red"], "argument --color: invalid choice: 'red' (choose from ", id="color"
        ),
        pytest.param(["help", "instal"], "there is no command 'instal'\n", id="help for no command"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: List[str], message: str) -> None:
    """What is wrong, what may be meant and the usage stand on standard error, and nothing on standard output."""
    done = ours(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"provision-backend: {message}")


def test_no_command_shows_what_there_is() -> None:
    """Who types the name alone is shown the commands, as wrong use."""
    done = ours()

    assert (done.code, done.out) == (2, "")
    assert done.err == ours("--help").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["find", "newest"],
            "REQUEST must be a version or a version specifier, found 'newest'\n"
            "  accepted forms are '3.13', '3.13.2', '3.14.0rc2', '3.13t' (free-threaded) and '>=3.12,<3.14'",
            id="request",
        ),
        *(
            pytest.param([command, ""], "REQUEST must be a version or a version specifier, found ''\n", id=command)
            for command in ("list", "find", "install", "uninstall", "run")
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
            "unknown target 'x86_64-linux-glibc'\n  did you mean x86_64-unknown-linux-gnu?",
            id="target",
        ),
    ],
)
def test_wrong_values_end_with_2(arguments: List[str], message: str) -> None:
    """Our own checks have the same exit code as argparse's, and their message has no traceback."""
    done = ours(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"provision-backend: {message}")
    assert "Traceback" not in done.err


def test_a_wrong_variable_ends_with_2() -> None:
    """The message names the variable."""
    assert ours("cache", "dir", env={"PROVISION_BACKEND_OFFLINE": "maybe"}) == Done(
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
    from provision_backend.cli import cache

    error: ProvisionError
    for error, code in ((ProvisionError("a", hint="b"), 1), (UsageError("a", hint="b"), 2)):

        def fail(_settings: object, error: ProvisionError = error) -> None:
            raise error

        monkeypatch.setattr(cache, "open_cache", fail)

        assert cli.main(["cache", "dir"]) == code
        assert capsys.readouterr() == ("", "provision-backend: a\n  b\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("detect --root {}/x", "--root must name a folder, found '{}/x': Permission denied"),
        ("init {}/x", "DIR must name a folder, found '{}/x': Permission denied"),
        ("lock {}/x", "DIR must name a folder, found '{}/x': Permission denied"),
        ("doctor {}/x", "DIR must name a folder, found '{}/x': Permission denied"),
        ("mirror {}/x --verify", "DIR must name a folder, found '{}/x': Permission denied"),
        ("mirror {}/x --python 3.13 --dry-run", "catalog '{}/x/SHA256SUMS' cannot be read: Permission denied"),
        ("list 3.13 --catalog {}/x", "catalog '{}/x' cannot be read: Permission denied"),
        ("list 3.13 --catalog {}/x/SHA256SUMS", "catalog '{}/x/SHA256SUMS' cannot be read: Permission denied"),
        ("find 3.13 --python {}/python3", "no installed interpreter matches '3.13'"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_one_line(tmp_path: Path, command: str, found: str) -> None:
    """Before Python 3.14 pathlib's exists() raises an error below such a folder."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    done = run_as(64001, *command.format(closed).split(), env={"HOME": "/", "PATH": "/nowhere"})

    assert done.returncode
    assert found.format(closed) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["list 3.13 --cache-dir c", "find", "mirror x --python 3.13"])
def test_a_current_folder_that_was_removed_is_one_line(tmp_path: Path, command: str) -> None:
    """A job may have cleaned up the folder in which it stands."""
    (tmp_path / "gone").mkdir()
    # A script, since with -c CPython 3.13.0 itself fails there.
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys; os.rmdir(os.getcwd()); from provision_backend.cli import main; "
        f"sys.exit(main({command.split()}))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=str(tmp_path / "gone"), env=environ, capture_output=True, text=True
    )

    assert done.returncode
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("provision-backend: ")


def test_no_folder_for_temporary_files_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the current folder that is wrong."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(ProvisionError) as caught, explained():
        tempfile.mkdtemp()

    assert str(caught.value) == (
        "there is no folder for temporary files: No usable temporary directory found in "
        f"['{tmp_path}/absent']\n  set TMPDIR to one that can be written"
    )


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux says how much memory a process has")
def test_a_limit_of_memory_is_one_sentence(tmp_path: Path) -> None:
    """A catalog that this process cannot hold ends as every error does."""
    code = (
        "import resource, sys;"
        "from provision_backend import catalog, cli;"
        "cli.main(['list', '3.13']);"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (2 << 20),) * 2);"
        "sys.exit(cli.main(['list', '3.13', '--catalog', sys.argv[1]]))"
    )
    (tmp_path / "SHA256SUMS").write_bytes(b"#" * (60 << 20))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (
        1,
        "provision-backend: this process may not take as much memory as it needs\n"
        "  let it have more: 'ulimit -a' shows its limits, and its container may have one\n",
    )


def test_a_module_that_this_python_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its builder may have left one out of the standard library."""
    from provision_backend import cli
    from provision_backend.cli import cache

    def fail(_settings: object) -> None:
        raise ModuleNotFoundError("No module named '_lzma'", name="_lzma")

    monkeypatch.setattr(cache, "open_cache", fail)

    assert cli.main(["cache", "dir"]) == 1
    assert capsys.readouterr().err == (
        "provision-backend: this Python has no module 'lzma'\n"
        "  it was built without it, or its package is not installed; use another Python\n"
    )


def _advice(words: List[str], package: str, folder: Path) -> str:
    """Run a command in a folder, in a process that lacks a package, and return what it says to do."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; from provision_backend.cli import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PROVISION_BACKEND_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=str(folder),
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    return done.stderr.splitlines()[1].strip()


@pytest.mark.skipif(sys.platform != "linux", reason="nothing of an extra is needed at once on other systems")
@pytest.mark.parametrize(
    ("words", "extras"),
    [
        pytest.param(
            ["pack", sys.executable, "--to", "to"],
            "pack",
            marks=pytest.mark.skipif(sys.base_prefix == "/usr", reason="Debian's Python is refused before"),
        ),
        (["wheels"], "wheels"),
        (["check", "a-1-py3-none-any.whl"], "wheels"),
        (["lock"], "init,provision"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_first_missing_package_names_all_that_a_command_needs(
    words: List[str], extras: str, tmp_path: Path
) -> None:
    """Whoever installs what it says is not asked for another extra next; the first package is one that many share."""
    pure(tmp_path)
    toy_wheel(tmp_path, "a", "1")

    assert _advice(words, "elftools", tmp_path) == f"pip install 'provision-backend[{extras}]'"


def test_a_package_of_one_extra_brings_the_others_of_the_command(tmp_path: Path) -> None:
    """It is tomlkit that lock lacks first, and interpreters are next; init needs nothing else."""
    pure(tmp_path)

    assert _advice(["lock"], "tomlkit", tmp_path) == "pip install 'provision-backend[init,provision]'"
    assert _advice(["init"], "tomlkit", tmp_path) == "pip install 'provision-backend[init]'"


def test_what_no_command_needs_by_itself_is_named_alone() -> None:
    """A proxy that speaks SOCKS is a matter of the machine."""
    error = MissingDependencyError("socksio", "use the proxy", extra="socks")
    error.widen("wheels")

    assert error.hint == "pip install 'provision-backend[socks]'"


@pytest.mark.parametrize(
    "words",
    [
        ["find"], ["install"], ["run"], ["list", "."], ["mirror", "mirror"], ["cache", "key"], ["lock"], ["init"],
        ["init", "--undo"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_folder_without_a_project_is_wrong_use(words: List[str], tmp_path: Path) -> None:
    """Every command that needs a project has one message for that, and the exit code of wrong use."""
    done = ours(*words, cwd=tmp_path)

    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == f"provision-backend: there is no pyproject.toml in {str(tmp_path)!r}"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever presses Ctrl-C is not shown a traceback; 130 is the shell's code for it."""
    from provision_backend import cli
    from provision_backend.cli import cache

    def interrupt(_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "open_cache", interrupt)

    assert cli.main(["cache", "dir"]) == 130
    assert capsys.readouterr() == ("", "provision-backend: interrupted\n")


@pytest.mark.slow
def test_install_provisions_what_find_then_finds(mirror: Path, tmp_path: Path) -> None:
    """A real archive becomes an interpreter once; find names the same, and both have the keys that stay."""
    arguments = ("--mirror", str(mirror), "--catalog", str(mirror), "--json")
    installed = ours("install", ">=3.12", *arguments)

    assert installed.code == 0, installed.err
    assert {"executable", "version", "triple", "key", "sha256"} <= set(installed.json)
    assert installed.json["executable"].startswith(str(tmp_path / "cache" / "interpreters" / installed.json["key"]))
    assert installed.json["sha256"] in (mirror / "SHA256SUMS").read_text()
    assert installed.json["triple"] == detect_platform().triple
    version = subprocess.run([installed.json["executable"], "--version"], stdout=subprocess.PIPE, check=True).stdout
    assert f"Python {installed.json['version']}\n" == version.decode()

    found = ours("find", ">=3.12", *arguments)
    again = ours("install", ">=3.12", *arguments)
    listed = ours("list", *arguments)
    assert (installed.json, installed.json, "") == (found.json, again.json, again.err)
    assert installed.json["executable"] in [row["executable"] for row in listed.json]
