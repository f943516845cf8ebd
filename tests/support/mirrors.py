"""Call ``provision-backend mirror`` and ``cache key`` in this process, and make small files that pass for archives.

The mirror command never looks into an archive: its name and its hash are all that counts. So where nothing is
provisioned, a few bytes under a right name do.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from provision_backend.cli.parser import make_parser
from provision_backend.cli.registry import find_command, load
from provision_backend.output import Reporter
from provision_backend.settings import load_settings

__all__ = ["GNU", "MUSL", "Answer", "archive_name", "content_of", "offer_small", "run_key", "run_mirror", "sha256"]

GNU = "x86_64-unknown-linux-gnu"
MUSL = "aarch64-unknown-linux-musl"


class Answer(NamedTuple):
    """What a command answered."""

    data: Dict[str, Any]
    lines: List[str]
    code: int
    told: List[str]
    """Lines on standard error."""


def run_mirror(*argv: str, **settings: Any) -> Answer:
    """Run ``mirror`` with arguments and with settings (``mirror="..."``) as flags."""
    return _run(["mirror"], argv, settings)


def run_key(*argv: str, **settings: Any) -> Answer:
    """Run ``cache key`` with arguments and with settings as flags."""
    return _run(["cache", "key"], argv, settings)


def _run(words: Sequence[str], argv: Sequence[str], settings: Mapping[str, Any]) -> Answer:
    command = find_command(words)[0]
    parser, (run, _) = make_parser(command), load(command)
    flags = {key.replace("_", "-"): value for key, value in settings.items()}
    stream = io.StringIO()
    loaded = load_settings(flags=flags)
    answer = run(parser.parse_args(argv), loaded, Reporter(stream, loaded.verbose))
    return Answer(answer.data, list(answer.lines), answer.code, stream.getvalue().splitlines())


def archive_name(version: str, triple: str = GNU, *, tag: str = "20251120", freethreaded: bool = False) -> str:
    """Return the file name of an archive."""
    variant = "-freethreaded" if freethreaded else ""
    return f"cpython-{version}+{tag}-{triple}{variant}-install_only_stripped.tar.gz"


def content_of(name: str) -> bytes:
    """Return the bytes that pass for an archive, 100 kB that no other has."""
    return hashlib.sha256(name.encode()).digest() * 3200


def offer_small(folder: Path, *names: str) -> Path:
    """Make a folder with these archives and their ``SHA256SUMS``, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content_of(name))
    lines = [f"{sha256(content_of(name))}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    return folder


def sha256(content: bytes) -> str:
    """Return the lower-case hex sha256."""
    return hashlib.sha256(content).hexdigest()
