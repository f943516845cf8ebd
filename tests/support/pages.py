"""Read the pages of the documentation as programs: which blocks they hold, and what running them shows.

A ``console`` block is run: a line that begins with ``$ `` is a command, as are the lines after it that begin with
``> ``; what follows until the next command is what it prints. There ``...`` stands for anything: alone in a line for
any number of lines, within a line for any text. A command of which nothing is shown may print what it likes. It must
end with 0, or with what a comment behind it says: ``# ends with 1``. The commands of a page run one after another in
one shell, in a folder of their own, so that ``cd`` and ``export`` last until its end.

What cannot be run here stands in a block of another language, below a comment that says why:
``<!-- not run: it needs a container engine -->``.
"""

from __future__ import annotations

__all__ = ["Block", "Command", "Page", "matches", "read_page", "run_commands"]

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w{}-]*)\s*$")
_NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>.+) -->\s*$")
_STATUS = re.compile(r"#.*\bends with (?P<status>\d+)")
_SHOWN = "\x02"


@dataclass(frozen=True)
class Command:
    """A command of a page."""

    text: str
    """What a shell is given, one line or more."""
    expected: Tuple[str, ...]
    """Lines that it prints; empty for whatever it prints."""
    line: int
    """Of the page, from 1."""

    @property
    def status(self) -> int:
        """The exit status that it must have."""
        found = _STATUS.search(self.text)
        return int(found["status"]) if found else 0


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    """Of its first line in the page, from 1."""
    not_run: str
    """Why it is not run, where a comment says that; else empty."""


@dataclass(frozen=True)
class Page:
    """A page and its blocks."""

    path: Path
    blocks: Tuple[Block, ...]

    @property
    def commands(self) -> List[Command]:
        """What is run, in order."""
        return [command for block in self.blocks if block.language == "console" for command in _commands(block)]


def read_page(path: Path) -> Page:
    """Read a page of Markdown."""
    blocks: List[Block] = []
    reason, opened = "", None
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opened is not None:
            if fence and not fence["language"]:
                start, language, indent = opened
                text = "".join(item[indent:] + "\n" for item in lines[start : number - 1])
                blocks.append(Block(language, text, start + 1, reason))
                reason, opened = "", None
        elif fence:
            opened = (number, fence["language"], len(fence["indent"]))
        elif line.strip():
            found = _NOT_RUN.match(line)
            reason = found["reason"] if found else ""
    assert opened is None, f"{path}: a block is not closed"
    return Page(path, tuple(blocks))


def _commands(block: Block) -> List[Command]:
    found: List[Tuple[int, List[str], List[str]]] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif found and not found[-1][2] and (line.startswith("> ") or found[-1][1][-1].endswith("\\")):
            found[-1][1].append(line[2:] if line.startswith("> ") else line)
        else:
            assert found, f"line {number}: output stands before the first command"
            found[-1][2].append(line.rstrip())
    return [Command("\n".join(text), tuple(_trimmed(shown)), number) for number, text, shown in found]


def _trimmed(lines: List[str]) -> List[str]:
    return "\n".join(lines).strip("\n").splitlines()


def matches(expected: Sequence[str], output: str) -> bool:
    """Whether an output is what a page shows of it, however wide its gaps are; for nothing shown, any is."""
    if not expected:
        return True
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += "(?:.*\n)*?"
        else:
            # Numbers are set flush right, and one that is longer has fewer spaces before it.
            parts = [re.sub(r"(\\ )+", " +", re.escape(part)) for part in line.split("...")]
            pattern += ".*?".join(parts) + "[ \t]*\n"
    text = output.strip("\n") + "\n"
    return re.fullmatch(pattern + "\n*", text) is not None


def run_commands(
    commands: Sequence[Command], folder: Path, environ: Mapping[str, str], *, before: str = "", timeout: float = 900
) -> List[Tuple[Command, int, str]]:
    """Run commands in one shell, and return for each that was begun how it ended and what it wrote.

    Args:
        commands: in order.
        folder: where the shell begins.
        environ: its variables.
        before: what the shell runs first, to prepare what the page takes for granted.
        timeout: seconds for all of them.
    """
    script = [f"set -e\n{before}\nset +e\n"]
    for number, command in enumerate(commands):
        script.append(f"printf '\\n{_SHOWN}begin {number}\\n'\n{command.text}\nprintf '\\n{_SHOWN}end %d\\n' \"$?\"\n")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", "".join(script)],
        cwd=str(folder),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    output = done.stdout.decode("utf-8", "backslashreplace")
    parts = re.split(rf"\n?{_SHOWN}begin \d+\n", output)
    assert len(parts) > 1 or not commands, f"what comes before the first command failed:\n{output}"
    return [_outcome(command, part) for command, part in zip(commands, parts[1:])]


def _outcome(command: Command, part: str) -> Tuple[Command, int, str]:
    output, _, end = part.partition(f"\n{_SHOWN}end ")
    return command, int(end.split()[0]) if end else -1, output
