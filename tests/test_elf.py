"""What ELF files say about themselves, read from heads of real ones and from broken ones."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Iterator, List

import pytest
from fuzz import TARGETS, mutate
from support.roots import elf_bytes, elf_names

from provision_backend.errors import HostError
from provision_backend.host.elf import ElfFile, read_elf


def read(data: bytes) -> ElfFile:
    return read_elf(io.BytesIO(data))


def spoil(data: bytes, offset: int, replacement: bytes) -> bytes:
    return data[:offset] + replacement + data[offset + len(replacement) :]


def refused(data: bytes) -> str:
    with pytest.raises(HostError) as caught:
        read(data)
    return caught.value.message


def test_everything_that_an_executable_says_is_told() -> None:
    """All fields of Debian's hostname for amd64, as readelf shows them."""
    assert read(elf_bytes("debian/hostname.amd64")) == ElfFile(
        bits=64,
        byte_order="little",
        machine=62,
        flags=0,
        loader="/lib64/ld-linux-x86-64.so.2",
        needed=("libc.so.6",),
        runpath=(),
        version_needs=(
            ("libc.so.6", ("GLIBC_2.33", "GLIBC_2.3.4", "GLIBC_2.3", "GLIBC_2.4", "GLIBC_2.34", "GLIBC_2.2.5")),
        ),
        version_definitions=(),
    )


@pytest.mark.parametrize(
    ("name", "bits", "byte_order", "machine", "flags"),
    [
        ("debian/hostname.arm64", 64, "little", 183, 0),
        ("debian/hostname.armhf", 32, "little", 40, 0x5000400),
        ("debian/hostname.armel", 32, "little", 40, 0x5000200),
        ("debian/hostname.i386", 32, "little", 3, 0),
        ("debian/hostname.ppc64el", 64, "little", 21, 2),
        ("debian/hostname.s390x", 64, "big", 22, 0),
        ("debian/hostname.riscv64", 64, "little", 243, 5),
        ("debian/hostname.mips64el", 64, "little", 8, 0x80000007),
        ("debian/hostname.mipsel", 32, "little", 8, 0x70001007),
        ("zig/x86_64-linux-gnux32", 32, "little", 62, 0),
        ("zig/aarch64_be-linux-musl", 64, "big", 183, 0),
        ("zig/loongarch64-linux-gnu", 64, "little", 258, 0x43),
    ],
)
def test_the_header_is_told_for_every_kind_of_machine(
    name: str, bits: int, byte_order: str, machine: int, flags: int
) -> None:
    """Both word sizes and both byte orders; machines by number, as pyelftools' names are its own."""
    elf = read(elf_bytes(name))

    assert (elf.bits, elf.byte_order, elf.machine, elf.flags) == (bits, byte_order, machine, flags)


def test_the_versions_that_a_library_defines_are_told_without_its_own_name() -> None:
    """The base definition of libc.so.6 is its soname and no version."""
    elf = read(elf_bytes("debian/libc-2.36.amd64"))

    assert elf.version_definitions[:2] == ("GLIBC_2.2.5", "GLIBC_2.2.6")
    assert elf.version_definitions[-3:] == ("GLIBC_2.36", "GLIBC_ABI_DT_RELR", "GLIBC_PRIVATE")


def test_a_static_executable_has_no_loader() -> None:
    """This is how a static musl build is recognised (PBS#260)."""
    elf = read(elf_bytes("debian/busybox-static.amd64"))

    assert (elf.loader, elf.needed) == (None, ())


@pytest.mark.parametrize("name", elf_names())
def test_readelf_agrees(name: str, tmp_path: Path) -> None:
    """Another reader says the same about loader, needed libraries and symbol versions of every fixture."""
    if not shutil.which("readelf"):
        pytest.skip("no readelf")
    data = elf_bytes(name)
    (tmp_path / "elf").write_bytes(data)
    # The fixtures have no section headers, so readelf has to go by the dynamic section as we do.
    text = subprocess.run(
        ["readelf", "-ldVW", "--use-dynamic", str(tmp_path / "elf")],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    elf = read(data)

    assert ([elf.loader] if elf.loader else []) == _between(text, "interpreter: ", "]")
    assert list(elf.needed) == _between(text, "Shared library: [", "]")
    if "Name: " in text:
        needs = [version for _, versions in elf.version_needs for version in versions]
        assert set(needs) | set(elf.version_definitions) <= set(_between(text, "Name: ", " ", "\n"))


def _between(text: str, start: str, *ends: str) -> List[str]:
    pieces = text.split(start)[1:]
    return [min((piece.split(end)[0] for end in ends), key=len) for piece in pieces]


def test_the_running_interpreter_is_read_from_its_path() -> None:
    """A path is opened, read and closed."""
    assert read_elf(Path(sys.executable)).bits in (32, 64)


def test_a_stream_is_left_open() -> None:
    """Whoever opened a stream closes it."""
    stream = io.BytesIO(elf_bytes("debian/hostname.amd64"))
    read_elf(stream)

    assert not stream.closed


def test_the_directories_of_a_runpath_are_told(tmp_path: Path) -> None:
    """DT_RUNPATH is split at its colons."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = tmp_path / "a.c"
    source.write_text("int main(void) { return 0; }\n")
    for tag, expected in (("--enable-new-dtags", "$ORIGIN/../lib"), ("--disable-new-dtags", "$ORIGIN/../lib")):
        options = [f"-Wl,{tag},-rpath,{expected}:/opt/lib", "-o", str(tmp_path / "a"), str(source)]
        subprocess.run([compiler, *options], check=True)

        assert read_elf(tmp_path / "a").runpath == (expected, "/opt/lib")


AMD64 = elf_bytes("zig/x86_64-linux-gnu.2.17")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it starts with b''"),
        (b"#!/bin/sh\nexit\n", "it starts with b'#!/b'"),
        (b"MZ\x90\0" + bytes(200), "it starts with b'MZ\\x90\\x00'"),
        (AMD64[:9], "the identification ends after 9 of 16 bytes"),
        (AMD64[:40], "the file header reaches to byte 64 of 40"),
        (spoil(AMD64, 4, b"\3"), "class 3 with data encoding 1 is not defined"),
        (spoil(AMD64, 5, b"\0"), "class 2 with data encoding 0 is not defined"),
        (spoil(AMD64, 0x38, b"\xff\xff"), "65535 program headers, more than 256"),
        (spoil(AMD64, 0x36, b"\x20\0"), "program headers of 32 bytes, expected 56"),
        (spoil(AMD64, 0x20, b"\xff" * 8), f"a program header reaches to byte {2**64 + 55} of {len(AMD64)}"),
    ],
    ids=["empty", "script", "PE", "cut identification", "cut header", "class", "encoding", "count", "size", "offset"],
)
def test_what_is_no_elf_file_is_refused_with_the_place(data: bytes, message: str) -> None:
    """The message says which part is wrong, and what was found there."""
    assert refused(data) == f"cannot read 'the file' as an ELF file: {message}"


def _dynamic_entries(data: bytes) -> Iterator[int]:
    """Yield the offsets of the dynamic entries of a 64-bit little-endian file, found without the code under test."""
    offset = int.from_bytes(data[0x20:0x28], "little")
    count = int.from_bytes(data[0x38:0x3A], "little")
    for header in range(offset, offset + 56 * count, 56):
        if int.from_bytes(data[header : header + 4], "little") == 2:
            start, size = (int.from_bytes(data[header + at : header + at + 8], "little") for at in (8, 32))
            yield from range(start, start + size, 16)


def _set_tag(data: bytes, tag: int, value: int) -> bytes:
    for offset in _dynamic_entries(data):
        if int.from_bytes(data[offset : offset + 8], "little") == tag:
            return spoil(data, offset + 8, value.to_bytes(8, "little"))
    raise AssertionError(f"no entry with the tag {tag:#x}")


DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_VERDEF, DT_VERNEED, DT_VERNEEDNUM = 1, 5, 10, 0x6FFFFFFC, 0x6FFFFFFE, 0x6FFFFFFF


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (DT_STRTAB, 2**63, "DT_STRTAB points to 0x8000000000000000, where no segment is loaded"),
        (DT_STRSZ, 0, "a name at 19 of a string table of 0 bytes"),
        (DT_STRSZ, 25, "a name at 19 of the string table that does not end"),
        (DT_NEEDED, 2**40, f"a name at {2**40} of a string table of"),
        (DT_VERNEED, 1, "DT_VERNEED points to 0x1, where no segment is loaded"),
    ],
    ids=["string table nowhere", "empty string table", "cut string table", "name outside", "needs nowhere"],
)
def test_a_dynamic_section_that_lies_is_refused(tag: int, value: int, message: str) -> None:
    """Each pointer is checked before it is followed."""
    assert message in refused(_set_tag(AMD64, tag, value))


def test_a_chain_of_needs_ends_where_its_links_end() -> None:
    """A count of four billion does not mean so many reads: the last link of the chain is zero."""
    assert read(_set_tag(AMD64, DT_VERNEEDNUM, 2**32 - 1)) == read(AMD64)


def test_a_link_beyond_the_end_is_refused() -> None:
    """Links are unsigned and checked like every other offset."""
    elf = elf_bytes("made/libc-2.12")
    entry = next(at for at in _dynamic_entries(elf) if elf[at : at + 8] == DT_VERDEF.to_bytes(8, "little"))
    address = int.from_bytes(elf[entry + 8 : entry + 16], "little")  # Equal to the offset in this file.

    assert "an entry of DT_VERDEF reaches to byte 42949681" in refused(spoil(elf, address + 16, b"\xff" * 4))


def test_a_dynamic_section_without_end_is_refused() -> None:
    """The number of records is bounded, however long the file is."""
    header = next(at for at in range(64, 600, 56) if AMD64[at : at + 4] == b"\2\0\0\0")
    endless = spoil(AMD64, header + 8, len(AMD64).to_bytes(8, "little"))
    endless = spoil(endless, header + 32, (1 << 20).to_bytes(8, "little")) + b"\1" * (1 << 20)

    assert refused(endless) == "cannot read 'the file' as an ELF file: more than 8192 records"


def test_names_of_more_than_the_budget_are_refused() -> None:
    """Four hundred names of four thousand bytes each are not read to their end."""
    load = next(at for at in range(64, 600, 56) if AMD64[at : at + 4] == b"\1\0\0\0")
    dynamic = next(at for at in range(64, 600, 56) if AMD64[at : at + 4] == b"\2\0\0\0")
    strings = b"A" * 4000 + b"\0"
    entries = [(DT_STRTAB, len(AMD64)), *[(DT_NEEDED, 0)] * 400, (0, 0)]
    table = b"".join(tag.to_bytes(8, "little") + value.to_bytes(8, "little") for tag, value in entries)
    data = AMD64 + strings + table
    for header, start, size in ((load, 0, len(data)), (dynamic, len(AMD64) + len(strings), len(table))):
        data = spoil(data, header + 8, start.to_bytes(8, "little") * 2)
        data = spoil(data, header + 32, size.to_bytes(8, "little"))

    assert refused(data) == "cannot read 'the file' as an ELF file: more than 1048576 bytes of headers"


def test_names_that_are_no_text_stay_printable() -> None:
    """A loader's path of odd bytes is that file's name, and its repr, as messages have it, can always be shown."""
    start = AMD64.index(b"/lib64/ld-linux-x86-64.so.2\0")

    loader = read(spoil(AMD64, start, b"/\xff\xfe")).loader

    assert loader is not None
    assert os.fsencode(loader) == b"/\xff\xfeb64/ld-linux-x86-64.so.2"
    assert repr(loader).isascii()


def test_a_sparse_giant_costs_nothing(tmp_path: Path) -> None:
    """The head of a file of a terabyte is read, and no more."""
    path = tmp_path / "giant"
    with path.open("wb") as file:
        file.write(elf_bytes("debian/hostname.amd64"))
        file.truncate(1 << 40)
    tracemalloc.start()
    try:
        elf = read_elf(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert elf.loader == "/lib64/ld-linux-x86-64.so.2"
    assert peak < 4 << 20


def test_a_file_of_proc_is_refused() -> None:
    """Files of /proc have no end to seek to."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc")
    with pytest.raises(HostError) as caught:
        read_elf(path)

    assert caught.value.message == "cannot read '/proc/self/status': invalid argument"


def test_a_closed_stream_is_our_error() -> None:
    """Errors of the stream are translated."""
    stream = io.BytesIO(AMD64)
    stream.close()

    with pytest.raises(HostError) as caught:
        read_elf(stream)

    assert caught.value.message == "cannot read 'the file': I/O operation on closed file."


def test_without_pyelftools_the_error_names_it(tmp_path: Path) -> None:
    """A host without the extra learns which package it lacks, and only once a file is to be read."""
    program = (
        "import sys; sys.modules['elftools'] = None\n"
        "from provision_backend.host.elf import read_elf\n"
        "from provision_backend.errors import MissingDependencyError\n"
        "import io\n"
        f"data = {AMD64[:64]!r}\n"
        "try: read_elf(io.BytesIO(data))\n"
        "except MissingDependencyError as exc: print(exc.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parent.parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert done.stdout == (
        "the package 'pyelftools' is needed to read the executables of this host and is not installed\n"
    )


@pytest.mark.parametrize(
    "name", ["debian/hostname.armhf", "zig/s390x-linux-gnu", "made/libc-2.12", "made/needs-glibc-2.38"]
)
def test_a_file_may_end_anywhere(name: str) -> None:
    """Every prefix is read or refused, and nothing else happens."""
    data = elf_bytes(name)

    assert {TARGETS["elf"].check(data[:length]) for length in [*range(0, min(len(data), 4000), 7), len(data)]} == {
        True,
        False,
    }


def test_mutated_files_are_read_or_refused() -> None:
    """A small and always equal slice of what `fuzz.py` does at length."""
    rng, elf = random.Random(3), TARGETS["elf"]
    originals = elf.seeds()

    assert {elf.check(mutate(rng.choice(originals), rng, rng.choice(originals))) for _ in range(2500)} == {True, False}
