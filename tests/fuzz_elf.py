"""Feed mutated ELF files to the reader: only HostError may leave it, soon and with little memory.

    python tests/fuzz_elf.py [--runs N] [--seed S]     mutate the fixtures at random
    python tests/fuzz_elf.py --coverage [--runs N]     guided by coverage, with the package atheris

Not collected by pytest; `test_elf.py` runs a small slice of the first form.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Callable, List, Optional

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from support.roots import elf_bytes, elf_names

__all__ = ["check", "mutate", "seeds"]

SECONDS = 2.0
"""How long one file may take; the slowest legitimate one takes 0.02."""
MEBIBYTES = 256
"""How much memory may be added to that of the start."""

# What a size, a count, an offset or a link must survive.
_VALUES = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_LONGEST = 160 << 10


def seeds() -> List[bytes]:
    """Return the fixtures; the long ones end with zeros, of which some are enough."""
    return [data[: max(_LONGEST, _end_of_content(data))] for data in map(elf_bytes, elf_names()) if len(data) < 1 << 20]


def _end_of_content(data: bytes) -> int:
    return min(len(data.rstrip(b"\0")) + 64, _LONGEST)


def check(data: bytes) -> bool:
    """Read a file as the host detection would.

    Returns:
        Whether it was taken for an ELF file; any exception but ours leaves this function.
    """
    from provision_backend.errors import HostError
    from provision_backend.host.elf import read_elf
    from provision_backend.host.loaders import libc_of_loader
    from provision_backend.host.targets import architecture_of, triple_of

    try:
        elf = read_elf(io.BytesIO(data))
    except HostError:
        return False
    architecture_of(elf)
    if elf.loader is not None:
        triple_of(elf, libc_of_loader(elf.loader) or "unknown", elf.loader)
    return True


def mutate(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Spoil a file in one to six places, most of them where it has content."""
    copy = bytearray(data)
    for _ in range(rng.randint(1, 6)):
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
            start, length = rng.randrange(len(other)), rng.choice((4, 8, 16, 56, 64))
            copy[position : position + length] = other[start : start + length]
        elif len(copy) > 80 and rng.random() < 0.3:
            del copy[rng.randrange(64, len(copy)) :]
    return bytes(copy)


def _place(data: bytearray, rng: random.Random) -> int:
    if rng.random() < 0.4:
        return rng.randrange(min(len(data), 700))  # The headers are at the start.
    for _ in range(8):
        position = rng.randrange(len(data))
        if any(data[position : position + 16]):
            return position
    return rng.randrange(len(data))


def run(runs: int, seed: int) -> str:
    """Check so many mutations and return what happened, as a sentence."""
    rng, originals = random.Random(seed), seeds()
    taken, slowest, started = 0, 0.0, time.monotonic()
    for index in range(runs):
        data = mutate(rng.choice(originals), rng, rng.choice(originals))
        before = time.monotonic()
        try:
            taken += _bounded(check, data)
        except BaseException:
            failed = Path(tempfile.gettempdir()) / f"fuzz_elf-{seed}-{index}.elf"
            failed.write_bytes(data)
            print(f"run {index} of seed {seed}: {failed}", file=sys.stderr)
            raise
        slowest = max(slowest, time.monotonic() - before)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"{runs} mutations of {len(originals)} files, seed {seed}: {taken} read, {runs - taken} refused, "
        f"no other exception; {seconds:.0f} s, slowest {slowest * 1000:.0f} ms, peak {peak} MiB"
    )


def _bounded(function: Callable[[bytes], bool], data: bytes) -> bool:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return function(data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hang(number: int, frame: Optional[FrameType]) -> None:
    raise AssertionError(f"a file took longer than {SECONDS} s")


def _limit() -> None:
    signal.signal(signal.SIGALRM, _hang)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (MEBIBYTES << 20),) * 2)


def run_with_coverage(runs: int) -> None:
    """Let libFuzzer mutate, guided by the coverage of our code and of pyelftools'."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["provision_backend", "elftools"]):
        import provision_backend.host.elf
        import provision_backend.host.loaders
        import provision_backend.host.targets  # noqa: F401

    corpus = Path(tempfile.mkdtemp())
    for number, data in enumerate(seeds()):
        (corpus / str(number)).write_bytes(data[: 8 << 10])
    options = [
        f"-runs={runs}",
        f"-timeout={int(SECONDS)}",
        "-rss_limit_mb=1024",
        "-max_len=8192",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: check(data) and None)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true")
    arguments = parser.parse_args()
    if arguments.coverage:
        run_with_coverage(arguments.runs)
        return
    seeds(), check(seeds()[0])  # Everything is imported before the limit is set.
    _limit()
    print(run(arguments.runs, arguments.seed))


if __name__ == "__main__":
    main()
