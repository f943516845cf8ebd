"""Feed mutated input to what reads what comes from outside: only our own errors may leave, soon, in little memory.

    python tests/fuzz.py                        every target, some seconds each
    python tests/fuzz.py elf http --seconds 3600 --seed 7     some of them, for as long as one wants
    python tests/fuzz.py elf --coverage         guided by coverage, with the package atheris, until it is interrupted

What fails is written to a file whose name is printed: ``--input FILE`` tries it again. Each target starts with the
files of ``tests/data/fuzz/<target>`` or with those that its tests use. Not collected by pytest; `test_fuzz.py` runs all
targets for a few seconds, with a seed that is always the same.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, List, NamedTuple, Optional

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from support.archives import gzipped, long_name, member, pax, tar
from support.roots import elf_bytes, elf_names, program_bytes, program_names
from support.servers import RawServer

from provision_backend.catalog.selection import parse_catalog, select_archive
from provision_backend.catalog.wanted import Wanted
from provision_backend.errors import HostError, ProvisionError
from provision_backend.host.elf import read_elf
from provision_backend.host.loaders import libc_of_loader
from provision_backend.host.macho import read_macho
from provision_backend.host.pe import read_pe
from provision_backend.host.targets import architecture_of, triple_of
from provision_backend.install.download import make_transport
from provision_backend.install.sources import SourceError, host_of, is_loopback, list_sources
from provision_backend.install.unpack import unpack_stream
from provision_backend.output import redact_text
from provision_backend.project.pyproject import read_project
from provision_backend.settings import CONFIG_FILE, OPTIONS, Settings, load_settings
from provision_backend.versions import parse_request, satisfies

__all__ = ["TARGETS", "Target", "mutate"]

SECONDS = 2.0
"""How long one input may take; the slowest legitimate one takes a tenth of that on an idle machine."""
MEBIBYTES = 256
"""How much memory may be added to that of the start."""

DATA = Path(__file__).resolve().parent / "data" / "fuzz"

# What a size, a count, an offset or a link must survive.
_VALUES = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
# What a text must survive.
_WORDS = [
    b"9" * 5000, b"-1", b"+1", b"1e999", b"0x10", b"1_0", b"NaN", b"\xd9\xa1\xd9\xa2", b"\x00", b"\x1b[2J", b"\r\n",
    b"\n", b"\xff", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\"", b"'", b"\\", b"[" * 3000, b"{a=" * 3000, b"]", b"=", b"#",
    b"*", b"/" * 300, b"../", b"%00", b"@", b":", b"://", b"?", b",", b";", b" ", b"\t", b"A" * 3000, b"[lock]", b"{}",
    b"0x" + b"f" * 5000, b"a:" * 3000, b"//a@" * 1000,
]  # fmt: skip
_LONGEST = 160 << 10


class Target(NamedTuple):
    """Something that reads what comes from outside."""

    seeds: Callable[[], List[bytes]]
    """The inputs to start with."""
    check: Callable[[bytes], bool]
    """Reads one input and says whether it was taken; any exception but ours leaves it."""
    text: bool = False
    """Whether the input is made of lines and words."""


def _elf_seeds() -> List[bytes]:
    # The long ones end with zeros, of which some are enough.
    files = [data for data in map(elf_bytes, elf_names()) if len(data) < 1 << 20]
    return [data[: max(_LONGEST, min(len(data.rstrip(b"\0")) + 64, _LONGEST))] for data in files]


def _check_elf(data: bytes) -> bool:
    try:
        elf = read_elf(io.BytesIO(data))
    except HostError:
        return False
    architecture_of(elf)
    if elf.loader is not None:
        triple_of(elf, libc_of_loader(elf.loader) or "unknown", elf.loader)
    return True


def _programs(system: str) -> Callable[[], List[bytes]]:
    return lambda: [program_bytes(name) for name in program_names(system)]


def _reads(read: Callable[[io.BytesIO], object]) -> Callable[[bytes], bool]:
    def _check(data: bytes) -> bool:
        try:
            read(io.BytesIO(data))
        except HostError:
            return False
        return True

    return _check


def _archive_seeds() -> List[bytes]:
    members = [
        member("python/", kind="5"),
        member("python/bin/python3.13", b"\x7fELF" * 200, mode=0o755),
        member("python/bin/python3", kind="2", link="python3.13"),
        member("python/lib/hard", kind="1", link="python/bin/python3.13"),
        long_name(b"python/" + b"a/" * 20 + b"b") + member("x", b"content"),
        pax(b"path=python/pax", b"mtime=1700000000.5") + member("y", b"content"),
    ]
    return [tar(*members), gzipped(tar(*members)), gzipped(tar(*members[:3]))]


def _check_archive(data: bytes) -> bool:
    # A mutation of the compressed bytes rarely reaches the tar archive, so that is compressed after its mutation.
    packed = data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        (folder / "tree").mkdir()
        unpack_stream([packed[:100], packed[100:]], "archive", folder / "tree")
    except ProvisionError:
        return False
    else:
        return True
    finally:
        assert os.listdir(str(folder)) == ["tree"], "something was written outside of the folder"
        shutil.rmtree(str(folder))


def _check_sums(data: bytes) -> bool:
    try:
        archives = parse_catalog(data.decode("utf-8", "replace"), source="the catalog")
        for archive in archives[:3]:
            assert "/" not in archive.key
            select_archive(archives, Wanted(">=3.8"), archive.triple)
    except ProvisionError:
        return False
    return True


def _check_pyproject(data: bytes) -> bool:
    try:
        read_project(Path(tempfile.gettempdir()), data.decode("utf-8", "replace"))
    except ProvisionError:
        return False
    return True


def _check_request(data: bytes) -> bool:
    try:
        request = parse_request(data.decode("utf-8", "replace"))
        Wanted("", request).accepts("3.13.5", False)
        satisfies(request.specifiers, "3.15.0a1")
    except ProvisionError:
        return False
    return True


def _check_settings(data: bytes) -> bool:
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    environ = {option.variable: lines[number % len(lines)] for number, option in enumerate(OPTIONS)}
    taken = False
    for name, value in environ.items():
        with contextlib.suppress(ProvisionError):
            load_settings(environ={name: value})
            taken = True
    return taken


def _check_config(data: bytes) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        (folder / "config.toml").write_bytes(data)
        load_settings(environ={CONFIG_FILE: str(folder / "config.toml")})
    except ProvisionError as exc:
        str(exc)
        return False
    else:
        return True
    finally:
        shutil.rmtree(str(folder))


def _check_url(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    host_of(text), is_loopback(text), redact_text(text)
    try:
        return all(repr(source) for source in list_sources(Settings(mirror=(text,))))
    except ProvisionError:
        return False


class _Http:
    """A server that answers with the input, and our client."""

    def __init__(self) -> None:
        self._answer = b""
        self._server: Optional[RawServer] = None

    def check(self, data: bytes) -> bool:
        """Ask for an archive and take the answer."""
        if self._server is None:
            self._server = RawServer(lambda _number, _request: [self._answer])
            self._server.__enter__()
        self._answer = data.replace(b"%PORT%", str(self._server.port).encode())
        settings = Settings(connect_timeout=0.2, read_timeout=0.2, retries=0)
        try:
            with make_transport(settings).open(f"http://127.0.0.1:{self._server.port}/x") as stream:
                for _ in stream.chunks:
                    pass
        except (ProvisionError, SourceError) as error:
            refusal = str(error)
        else:
            return True
        assert all(line.isprintable() for line in refusal.splitlines()), refusal
        return False

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.__exit__()
            self._server = None


_HTTP = _Http()


def _files(name: str) -> Callable[[], List[bytes]]:
    return lambda: [path.read_bytes() for path in sorted((DATA / name).iterdir())]


TARGETS: Dict[str, Target] = {
    "elf": Target(_elf_seeds, _check_elf),
    "pe": Target(_programs("windows"), _reads(read_pe)),
    "macho": Target(_programs("macos"), _reads(read_macho)),
    "archive": Target(_archive_seeds, _check_archive),
    "sums": Target(_files("sums"), _check_sums, text=True),
    "pyproject": Target(_files("pyproject"), _check_pyproject, text=True),
    "request": Target(_files("request"), _check_request, text=True),
    "settings": Target(_files("settings"), _check_settings, text=True),
    "config": Target(_files("config"), _check_config, text=True),
    "url": Target(_files("url"), _check_url, text=True),
    "http": Target(_files("http"), _HTTP.check, text=True),
}
"""All of them, by name."""


def mutate(data: bytes, rng: random.Random, other: bytes, *, text: bool = False) -> bytes:
    """Spoil an input in one to six places, most of them where it has content."""
    copy = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if text and rng.random() < 0.7:
            _spoil_text(copy, rng, other)
        elif copy:
            _spoil_bytes(copy, rng, other)
    return bytes(copy)


def _spoil_text(copy: bytearray, rng: random.Random, other: bytes) -> None:
    start = rng.randrange(len(copy) + 1)
    end = min(len(copy), start + rng.choice((0, 0, 1, 4, 20)))
    action = rng.randrange(4)
    if action <= 1:
        copy[start:end] = rng.choice(_WORDS)
    elif action == 2:
        lines = other.splitlines(keepends=True) or [b"\n"]
        copy[start:end] = rng.choice(lines) * rng.choice((1, 1, 2, 50))
    else:
        begin = rng.randrange(len(other) + 1)
        copy[start:end] = other[begin : begin + rng.choice((1, 8, 64))]


def _spoil_bytes(copy: bytearray, rng: random.Random, other: bytes) -> None:
    position = _place(copy, rng)
    action = rng.randrange(6)
    if action == 0:
        copy[position] ^= 1 << rng.randrange(8)
    elif action == 1:
        copy[position] = rng.randrange(256)
    elif action <= 3:
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice(_VALUES) if action == 2 else rng.randrange(len(copy) * 2)
        order = "little" if rng.random() < 0.5 else "big"
        copy[position : position + width] = (value & (1 << 8 * width) - 1).to_bytes(width, order)  # type: ignore[arg-type]
    elif action == 4:
        start, length = rng.randrange(len(other) or 1), rng.choice((4, 8, 16, 56, 64))
        copy[position : position + length] = other[start : start + length]
    elif len(copy) > 80 and rng.random() < 0.3:
        del copy[rng.randrange(64, len(copy)) :]


def _place(data: bytearray, rng: random.Random) -> int:
    if rng.random() < 0.4:
        return rng.randrange(min(len(data), 700))  # The headers are at the start.
    for _ in range(8):
        position = rng.randrange(len(data))
        if any(data[position : position + 16]):
            return position
    return rng.randrange(len(data))


def run(name: str, seconds: float, seed: int) -> str:
    """Check mutations for so long and return what happened, as a sentence."""
    target, rng = TARGETS[name], random.Random(seed)
    originals = target.seeds()
    for data in originals:
        target.check(data)
    count, taken, slowest, started = 0, 0, 0.0, time.monotonic()
    while time.monotonic() < started + seconds:
        data = mutate(rng.choice(originals), rng, rng.choice(originals), text=target.text)
        before = time.monotonic()
        try:
            taken += _bounded(target.check, data)
        except BaseException:
            failed = Path(tempfile.gettempdir()) / f"fuzz-{name}-{seed}-{count}"
            failed.write_bytes(data)
            print(f"input {count} of seed {seed} is in {failed}: try it again with --input", file=sys.stderr)
            raise
        slowest = max(slowest, time.monotonic() - before)
        count += 1
    peak = f", peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB" if resource else ""
    return (
        f"{name}: {count} mutations of {len(originals)} inputs, seed {seed}: {taken} taken, {count - taken} refused, "
        f"no other exception; {time.monotonic() - started:.0f} s, slowest {slowest * 1000:.0f} ms{peak}"
    )


def _bounded(function: Callable[[bytes], bool], data: bytes) -> bool:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return function(data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hang(number: int, frame: Optional[FrameType]) -> None:
    raise AssertionError(f"one input took longer than {SECONDS} s")


def _limit() -> None:
    signal.signal(signal.SIGALRM, _hang)
    if resource and os.path.exists("/proc/self/statm"):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (MEBIBYTES << 20),) * 2)


def run_with_coverage(name: str, more: List[str]) -> None:
    """Let libFuzzer mutate, guided by the coverage of our code."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    atheris.instrument_all()
    target, corpus = TARGETS[name], Path(tempfile.mkdtemp())
    for number, data in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(data[: 8 << 10])
    options = [f"-timeout={int(SECONDS)}", "-rss_limit_mb=1024", "-max_len=8192", "-print_final_stats=1", *more]

    def _one(data: bytes) -> Any:
        target.check(data)

    atheris.Setup([sys.argv[0], *options, str(corpus)], _one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=6.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--input", type=Path, help="check this file only")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    if arguments.input:
        print(TARGETS[names[0]].check(arguments.input.read_bytes()))
    elif arguments.coverage:
        run_with_coverage(names[0], [f"-seed={arguments.seed}"])
    else:
        for name in names:
            TARGETS[name].check(TARGETS[name].seeds()[0])  # Everything is imported before the limit is set.
        _limit()
        for name in names:
            print(run(name, arguments.seconds, arguments.seed), flush=True)
    _HTTP.close()


if __name__ == "__main__":
    main()
