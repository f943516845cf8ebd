"""The completions at work: each shell itself is asked what it would complete."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, Set

import pytest
from support.command_line import ours

from provision_backend.cli import completions
from provision_backend.cli.registry import COMMANDS

SCRIPTS = Path(completions.__file__).with_name("shells")
FIRST = {command.name.split()[0] for command in COMMANDS}
CACHE = {command.name.split()[1] for command in COMMANDS if command.name.startswith("cache ")}

Shell = Callable[[Path, str], Set[str]]
"""What a shell proposes for a line, in a folder."""


def _needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def _bash(folder: Path, line: str) -> Set[str]:
    """Ask bash's programmable completion, with the words and the position that readline would give it."""
    # COMP_WORDS is made by bash itself from the line: an interactive shell is given the line and two tabs below.
    script = SCRIPTS / "provision-backend.bash"
    words = re.findall(r"=|[^\s=]+", line)
    words += [""] if line.endswith((" ", "=")) else []
    quoted = " ".join(f"'{word}'" for word in words)
    code = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _provision_backend;"
    # compopt says that nothing is being completed, which is true here and harmless.
    done = subprocess.run(
        [_needs("bash"), "--norc", "-c", f"{code} printf '%s\\n' \"${{COMPREPLY[@]}}\""],
        cwd=str(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return set(done.stdout.decode().split())


def _fish(folder: Path, line: str) -> Set[str]:
    script = SCRIPTS / "provision-backend.fish"
    done = subprocess.run(
        [_needs("fish"), "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        cwd=str(folder),
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return {each.split("\t")[0].partition("=")[2] or each.split("\t")[0] for each in done.stdout.decode().splitlines()}


def _zsh(folder: Path, line: str) -> Set[str]:
    """Type a line and tabs at a zsh, and read what it lists and what it has put into the line."""
    script = SCRIPTS / "provision-backend.zsh"
    setup = (
        "PS1='> '; unsetopt beep zle_bracketed_paste list_ambiguous; LISTMAX=1000;"
        "autoload -U compinit; compinit -u -D;"
        "zstyle ':completion:*' list-separator '#'; show() { print -r -- \"line<$BUFFER>\" }; zle -N show;"
        f"bindkey '^Xp' show; source {script}"
    )
    return _proposed([_needs("zsh"), "-f", "-i"], folder, setup, line)


def _interactive_bash(folder: Path, line: str) -> Set[str]:
    script = SCRIPTS / "provision-backend.bash"
    wanted = ("bell-style none", "enable-bracketed-paste off", "page-completions off", "show-all-if-ambiguous on")
    binds = "".join(f"bind 'set {each}';" for each in (*wanted, "completion-query-items -1"))
    show = 'bind -x \'"\\C-xp": echo "line<$READLINE_LINE>"\''
    setup = f"PS1='> '; {binds} {show}; source {script}"
    return _proposed([_needs("bash"), "--norc", "--noprofile", "-i"], folder, setup, line)


def _proposed(command: List[str], folder: Path, setup: str, line: str) -> Set[str]:
    environ: Dict[str, str] = {**os.environ, "TERM": "dumb", "HOME": str(folder), "COLUMNS": "200"}
    process, terminal = pty.fork()
    if not process:
        with contextlib.suppress(BaseException):
            os.chdir(str(folder))
            os.execve(command[0], command, environ)
        os._exit(99)
    try:
        # The markers are not what is typed, so that the echo is not taken for them.
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        _read_until(terminal, b"ready\r\n")
        os.write(terminal, line.encode() + b"\t")
        # zsh lists nothing while more is typed already.
        shown = _read_until(terminal, b"never", silence=0.7)
        # The key that shows the line, and the end of it.
        os.write(terminal, b"\x18p\x15echo e''nd\n")
        return _listed(shown + _read_until(terminal, b"end\r\n"), line)
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)


def _read_until(terminal: int, marker: bytes, *, silence: float = 60) -> str:
    shown = b""
    while marker not in shown and select.select([terminal], [], [], silence)[0]:
        shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")


def _listed(shown: str, line: str) -> Set[str]:
    start = line.rpartition(" ")[0]
    found: Set[str] = set()
    for text in shown.replace("\r", "\n").splitlines():
        completed = re.search(r"line<(.*)>", text)
        if completed:
            found.add(completed[1][len(start) :].strip().rstrip("="))
        elif start not in text:
            found |= {text.partition("#")[0].strip()} if "#" in text else set(text.split())
    return found


@pytest.mark.parametrize("shell", [_bash, _fish, _zsh, _interactive_bash], ids=["bash", "fish", "zsh", "bash at work"])
@pytest.mark.parametrize(
    ("line", "expected", "not_expected"),
    [
        pytest.param("provision-backend ", FIRST, {"prune", "--json"}, id="commands"),
        pytest.param("provision-backend c", {"cache", "completions"}, {"detect"}, id="begun"),
        pytest.param("provision-backend cache ", CACHE, {"detect"}, id="commands of a group"),
        pytest.param("provision-backend init --form ", {"one-list", "table"}, {"detect"}, id="choices"),
        pytest.param(
            "provision-backend list --preference only", {"only-managed", "only-system"}, {"system"}, id="begun choice"
        ),
        pytest.param(
            "provision-backend completions ", {"bash", "zsh", "fish"}, {"cache"}, id="a choice without an option"
        ),
        pytest.param("provision-backend cache prune --un", {"--unused-for"}, {"--force"}, id="options of a group's"),
        pytest.param(
            "provision-backend pack --t", {"--to", "--tag"}, {"--target"}, id="no setting where there is none"
        ),
        pytest.param("provision-backend pack --to d", {"dir_a/", "dir_b/"}, {"dot.txt"}, id="folders"),
        pytest.param(
            "provision-backend run 3.13 -- cat d", {"dot.txt", "dir_a/"}, {"detect", "doctor"}, id="files of COMMAND"
        ),
        pytest.param("provision-backend run 3.13 -- prin", {"printf", "printenv"}, {"printed.txt"}, id="COMMAND"),
    ],
)
def test_a_shell_completes(shell: Shell, tmp_path: Path, line: str, expected: Set[str], not_expected: Set[str]) -> None:
    """Commands, options, choices, folders and files are proposed where they belong, and nothing else."""
    for name in ("dir_a", "dir_b"):
        (tmp_path / name).mkdir()
    for name in ("dot.txt", "printed.txt"):
        (tmp_path / name).touch()
    proposed = shell(tmp_path, line)

    assert {name.rstrip("/") for name in expected} <= {name.rstrip("/") for name in proposed}
    assert proposed & not_expected == set()


def test_bash_completes_behind_an_equals_sign(tmp_path: Path) -> None:
    """Readline makes three words of ``--option=value``."""
    assert _bash(tmp_path, "provision-backend list --preference=only") == {"only-managed", "only-system"}
    assert _bash(tmp_path, "provision-backend list --preference=") >= {"managed", "system"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_valid_and_is_what_is_printed(shell: str) -> None:
    """The shell reads it without a complaint, twice; and the command prints it."""
    done = ours("completions", shell)

    assert (done.code, done.err) == (0, "")
    script = SCRIPTS / f"provision-backend.{shell}"
    assert done.out == script.read_text(encoding="utf-8")
    checked = subprocess.run([_needs(shell), "-n", str(script)], stderr=subprocess.PIPE)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_an_unknown_shell_is_wrong_use() -> None:
    """The message names those that there are."""
    done = ours("completions", "tcsh")

    assert done.code == 2
    assert "bash" in done.err
    assert "fish" in done.err
