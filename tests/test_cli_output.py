"""Where the answers of the command line go: a pipe, a file, a real terminal, a full disk, a closed descriptor."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, TextIO, Tuple

import pytest
from support.command_line import Done, bare_machine, ours, ours_on_terminal, variables
from support.servers import ArchiveServer, Reply

from provision_backend.cli.answers import PAINTERS, as_columns, paint_line
from provision_backend.host.detection import detect_platform
from provision_backend.output import paint, wants_color

__all__ = ["bare_machine"]  # A fixture that every test here uses.

ESCAPE = "\x1b["
PLAIN = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize(
    "arguments",
    [["settings"], ["detect"], ["list", "--target", "x86_64-unknown-linux-gnu"], ["list", "--help"], ["--help"]],
    ids=" ".join,
)
def test_a_terminal_has_colors_and_a_pipe_has_none(arguments: List[str]) -> None:
    """The text is the same; a terminal gets colours, and what reads a pipe never has to take them out."""
    piped = ours(*arguments)
    shown = ours_on_terminal(*arguments)

    assert (piped.code, shown.code) == (0, 0)
    assert ESCAPE not in piped.out + piped.err
    assert ESCAPE in shown.out
    assert PLAIN.sub("", shown.out) == piped.out


@pytest.mark.parametrize(
    ("env", "arguments", "colored"),
    [
        pytest.param({"NO_COLOR": "1"}, [], False, id="NO_COLOR"),
        pytest.param({"NO_COLOR": ""}, [], True, id="an empty NO_COLOR"),
        pytest.param({"TERM": "dumb"}, [], False, id="TERM=dumb"),
        pytest.param({"NO_COLOR": "1", "FORCE_COLOR": "1"}, [], False, id="NO_COLOR before FORCE_COLOR"),
        pytest.param({"TERM": "dumb", "FORCE_COLOR": "1"}, [], True, id="FORCE_COLOR before TERM"),
        pytest.param({"NO_COLOR": "1"}, ["--color", "always"], True, id="--color before NO_COLOR"),
        pytest.param({}, ["--color", "never"], False, id="--color never"),
        pytest.param({}, ["--json"], False, id="JSON"),
    ],
)
def test_who_decides_about_colors_on_a_terminal(env: Dict[str, str], arguments: List[str], colored: bool) -> None:
    """The option, then NO_COLOR, then FORCE_COLOR, then the terminal; JSON is never coloured."""
    assert (ESCAPE in ours_on_terminal("settings", *arguments, env=env).out) == colored


@pytest.mark.parametrize(
    ("env", "arguments", "colored"),
    [
        pytest.param({"FORCE_COLOR": "1"}, [], True, id="FORCE_COLOR"),
        pytest.param({"CLICOLOR_FORCE": "1"}, [], True, id="CLICOLOR_FORCE"),
        pytest.param({"CLICOLOR_FORCE": "0", "FORCE_COLOR": "0"}, [], False, id="0"),
        pytest.param({}, ["--color=always"], True, id="--color always"),
    ],
)
def test_colors_in_a_pipe_are_asked_for(env: Dict[str, str], arguments: List[str], colored: bool) -> None:
    """Continuous integration shows colours in its logs to those who ask for them."""
    assert (ESCAPE in ours("settings", *arguments, env=env).out) == colored


def test_a_stream_that_is_no_stream_has_no_colors() -> None:
    """A closed standard error, and one that was replaced by something simple, are no terminals."""
    with open(os.devnull, encoding="ascii") as closed:
        pass
    streams: List[Optional[TextIO]] = [None, closed, object()]  # type: ignore[list-item]

    assert [wants_color(stream, environ={}) for stream in streams] == [False, False, False]
    assert wants_color(None, "always", {"NO_COLOR": "1"})


def test_no_painter_changes_a_text() -> None:
    """Every line of every kind comes out whole, in pieces whose styles exist."""
    lines = [
        "",
        "ok",
        "ok: a: b",
        "usage: x",
        "  indented: text",
        "+added",
        "--- a",
        "3.13.9  x (damaged)",
        "k = 1  (a; b)",
    ]
    lines += ["/a: damaged", "problem  host: none", "3.13.9   20251031  can be provisioned", "@@ -1 +1 @@"]
    for painter in PAINTERS:
        for line in lines:
            pieces = paint_line(painter, line)

            assert line == "".join(text for text, _ in pieces)
            assert line == PLAIN.sub("", "".join(paint(text, style) for text, style in pieces))


def test_columns_are_below_each_other() -> None:
    """Each column is as wide as its longest cell, and no line ends with spaces."""
    assert as_columns([("a", "1", "x"), ("bbb", "22", "")], right=[1]) == ["a     1  x", "bbb  22"]
    assert as_columns([]) == []


def test_a_table_that_is_too_wide_has_its_names_on_lines_of_their_own() -> None:
    """A terminal would break its lines anywhere; what fits stays as it is."""
    rows = [("wheel", "size", "tested"), ("a-long-name.whl", "1.2 kB", "3.9")]

    assert as_columns(rows, right=[1], width=30) == [
        "wheel", "      size  tested", "a-long-name.whl", "    1.2 kB  3.9",
    ]  # fmt: skip
    assert as_columns(rows, right=[1], width=31) == as_columns(rows, right=[1])


def test_an_error_is_colored_on_a_terminal_only() -> None:
    """The program's name is what stands out; the option counts even where the arguments are what is wrong."""
    assert ours_on_terminal("list", "--target", "none").out.startswith(
        "\x1b[1;31mprovision-backend:\x1b[0m unknown target"
    )
    assert ours_on_terminal("list", "--target", "none", "--color", "never").out.startswith("provision-backend: unknown")
    assert ours("lst", "--color=always").err.startswith("\x1b[1;31mprovision-backend:\x1b[0m there is no command 'lst'")


def test_a_name_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """A control character in a path is refused, and shown in its escaped form."""
    shown = ours_on_terminal("cache", "dir", "--cache-dir", f"{tmp_path}/a\x1b]0;title\x07b")

    assert shown.code == 1
    assert f"the cache '{tmp_path}/a\\x1b]0;title\\x07b' cannot be used" in shown.out
    assert "\x1b]" not in shown.out


@pytest.mark.parametrize("arguments", [["settings", "--json"], ["cache", "dir"], ["list", "--help"], ["--version"]])
def test_a_reader_that_goes_away_is_no_error(arguments: List[str]) -> None:
    """``provision-backend list | head -1`` ends without a complaint."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "provision_backend", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=variables(),
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["settings", "--json"], ["cache", "dir"], ["--help"], ["--version"]])
def test_a_full_disk_is_told(arguments: List[str]) -> None:
    """What could not be written is no success, and is no traceback either."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "provision_backend", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=variables(),
        )

    message = b"provision-backend: standard output cannot be written: No space left on device\n"
    assert (1, message) == (done.returncode, done.stderr)


def test_a_closed_standard_output_is_told() -> None:
    """``>&-`` leaves no place for an answer; a closed standard error changes nothing."""
    command = f"'{sys.executable}' -m provision_backend cache dir"

    def shell(text: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["/bin/sh", "-c", text], capture_output=True, env=variables())

    closed = shell(f"{command} >&-")
    assert (closed.returncode, closed.stderr) == (
        1,
        b"provision-backend: standard output cannot be written: it is closed\n",
    )
    assert (shell(f"{command} 2>&-").returncode, shell(f"{command} --nonsense 2>&-").returncode) == (0, 2)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="as it is"),
        pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii streams"),
        pytest.param({"LC_ALL": "C.UTF-8"}, id="UTF-8"),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="C"),
        pytest.param(
            {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"},
            id="latin-1",
        ),
    ],
)
def test_a_path_that_the_locale_cannot_say_is_printed(environ: Dict[str, str]) -> None:
    """The bytes of a path go out as they are, so that ``$(provision-backend cache dir)`` is that folder."""
    name = b"/tmp/caf\xe9-\xc3\xbc"
    command: List[object] = [sys.executable, "-m", "provision_backend", "cache", "dir", "--cache-dir", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=variables(environ))  # type: ignore[arg-type]
    as_json = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, env=variables(environ))  # type: ignore[list-item]

    assert (0, name + b"\n") == (done.returncode, done.stdout)
    assert as_json.stdout.isascii()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Tuple[ArchiveServer, List[str]]]:
    """Serve an archive for this host that can be downloaded, though it holds none; return arguments that want it."""
    body = b"\0" * 3_000_000
    name = f"cpython-3.12.12+20251031-{detect_platform().triple}-install_only_stripped.tar.gz"
    catalog = tmp_path / "SHA256SUMS"
    catalog.write_text(f"{hashlib.sha256(body).hexdigest()}  {name}\n")
    with ArchiveServer({f"/20251031/{name}": body}) as server:
        yield server, ["install", "3.12", "--catalog", str(catalog), "--mirror", server.url, "--retries", "0"]


def test_a_bar_is_drawn_on_a_terminal_only(served: Tuple[ArchiveServer, List[str]]) -> None:
    """A terminal gets a bar that is drawn anew in its line; a log gets lines, without codes or carriage returns."""
    _, arguments = served
    piped = ours(*arguments)
    shown = ours_on_terminal(*arguments, env={"NO_COLOR": "1"})

    assert (piped.code, shown.code) == (1, 1)
    assert "\r" not in piped.err
    assert ESCAPE not in piped.err
    assert "\rprovision-backend: [" in shown.out
    assert ESCAPE not in shown.out


def test_an_interrupt_is_one_line(served: Tuple[ArchiveServer, List[str]]) -> None:
    """Whoever presses Ctrl-C while something is fetched is not shown a traceback; 130 is the shell's code for it."""
    server, arguments = served
    server.script.append(Reply(stall=1))
    process = subprocess.Popen(
        [sys.executable, "-m", "provision_backend", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(),
    )
    end = time.monotonic() + 60
    while not server.requests and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, b""), err
    assert err.splitlines()[-1] == b"provision-backend: interrupted"
    assert b"Traceback" not in err


def test_json_is_one_document_on_standard_output() -> None:
    """What is said besides goes to standard error, so that a program can read all of standard output."""
    done = ours("settings", "--json", "-vv")

    assert {row["key"]: row["value"] for row in json.loads(done.out)}["verbose"] == 2


def test_a_failure_leaves_standard_output_empty() -> None:
    """As with uv, pip and gh, a program that reads JSON looks at the exit code first."""
    assert ours("list", "--catalog", "/nowhere", "--json") == Done(
        1, "", "provision-backend: catalog '/nowhere' cannot be read: No such file or directory\n"
    )
    assert ours("list", "--nonsense", "--json").out == ""
