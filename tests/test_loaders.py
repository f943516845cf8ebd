"""Whose loader it is and what version its libc has, from heads of real ones."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Optional

import pytest
from support.roots import GLIBC_AMD64, Content, Link, elf_bytes, make_root

from provision_backend.host.elf import read_elf
from provision_backend.host.loaders import (
    ask_confstr,
    ask_musl_loader,
    glibc_version,
    inspect_loader,
    libc_of_loader,
    musl_version,
)
from provision_backend.host.rootfs import RootDirectory

LOADER = "/lib64/ld-linux-x86-64.so.2"


@pytest.mark.parametrize(
    ("path", "libc"),
    [
        ("/lib64/ld-linux-x86-64.so.2", "gnu"),
        ("/lib/ld-linux-aarch64_be.so.1", "gnu"),
        ("/lib/ld-linux-riscv64-lp64d.so.1", "gnu"),
        ("/lib/ld-linux-mipsn8.so.1", "gnu"),
        ("/lib64/ld64.so.2", "gnu"),
        ("/lib/ld.so.1", "gnu"),
        ("/lib/ld-2.17.so", "gnu"),
        ("/home/linuxbrew/.linuxbrew/lib/ld.so", "gnu"),
        ("/nix/store/0000-glibc-2.40-66/lib/ld-linux-x86-64.so.2", "gnu"),
        ("/lib/ld-musl-x86_64.so.1", "musl"),
        ("/nix/store/0000-musl-1.2.5/lib/ld-musl-aarch64.so.1", "musl"),
        ("/lib/libc.so", "musl"),
        ("/system/bin/linker64", "android"),
        ("/apex/com.android.runtime/bin/linker", "android"),
        ("/lib/ld-uClibc.so.0", "uclibc"),
        ("/lib/ld64-uClibc.so.1", "uclibc"),
        ("/libexec/ld-elf.so.1", None),
        ("/usr/libexec/ld.so", None),
        ("/usr/libexec/ld.elf_so", None),
        ("/tools/loader", None),
        ("", None),
    ],
)
def test_the_name_of_a_loader_tells_its_libc(path: str, libc: Optional[str]) -> None:
    """Linux's loaders by name, wherever they are; those of the BSDs are of no libc that is known here (uv#3824)."""
    assert libc_of_loader(path) == libc


@pytest.mark.parametrize(
    ("content", "kind", "finding", "version"),
    [
        ("debian/ld-2.36.amd64", "glibc", "is glibc's loader", None),
        ("debian/musl-1.2.2.amd64", "musl", "is musl 1.2.2", (1, 2, 2)),
        ("debian/musl-1.2.3.amd64", "musl", "is musl 1.2.3", (1, 2, 3)),
        ("debian/musl-1.2.3.arm64", "musl", "is musl 1.2.3", (1, 2, 3)),
        ("debian/musl-1.2.3.armhf", "musl", "is musl 1.2.3", (1, 2, 3)),
        ("debian/musl-1.2.3.i386", "musl", "is musl 1.2.3", (1, 2, 3)),
        ("debian/musl-1.2.5.amd64", "musl", "is musl 1.2.5", (1, 2, 5)),
        ("debian/musl-1.2.5.riscv64", "musl", "is musl 1.2.5", (1, 2, 5)),
        ("made/musl-1.1.24", "musl", "is musl 1.1.24", (1, 1, 24)),
        ("made/gcompat-loader", "gcompat", "is gcompat's loader, which runs programs for glibc on musl", None),
        ("made/stub-ld", "stub-ld", "is NixOS's stub-ld, which starts no program", None),
        (
            "made/static-musl-python",
            "other",
            "is neither glibc's nor musl's loader (a 64-bit ELF file)",
            None,
        ),
        (
            b"#!/bin/sh\n",
            "broken",
            f"is no loader: cannot read '{LOADER}' as an ELF file: it starts with b'#!/b'",
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "/" in value and " " not in value else "",
)
def test_the_file_behind_a_loader_is_told(
    content: Content, kind: str, finding: str, version: tuple[int, ...] | None, tmp_path: Path
) -> None:
    """The path proves nothing: the file is looked at."""
    loader = inspect_loader(RootDirectory(make_root(tmp_path, {LOADER: content})), LOADER)

    assert (loader.kind, loader.evidence.finding, loader.version) == (kind, finding, version)


def test_a_missing_loader_is_evidence_without_identity(tmp_path: Path) -> None:
    """That it was not there is remembered, too."""
    loader = inspect_loader(RootDirectory(tmp_path), LOADER)

    assert (loader.kind, loader.resolved, loader.evidence.identity) == ("missing", None, None)
    assert loader.evidence.finding == "does not exist"


def test_a_loader_that_is_no_file_is_said(tmp_path: Path) -> None:
    """It is there, so that it does not exist would be wrong."""
    (tmp_path / "lib64").mkdir()
    os.mkfifo(tmp_path / LOADER[1:])

    loader = inspect_loader(RootDirectory(tmp_path), LOADER)

    assert (loader.kind, loader.evidence.finding) == ("unreachable", "is a FIFO, not a regular file")


def test_a_loader_that_may_not_be_reached_is_said(tmp_path: Path) -> None:
    """A folder that this user may not enter hides the loader from programs, too."""
    if os.geteuid() == 0:
        pytest.skip("root enters every folder")
    make_root(tmp_path, GLIBC_AMD64)
    (tmp_path / "lib64").chmod(0)

    loader = inspect_loader(RootDirectory(tmp_path), LOADER)

    (tmp_path / "lib64").chmod(0o755)
    assert (loader.kind, loader.evidence.finding) == ("unreachable", "cannot be reached: permission denied")


def test_a_loader_for_another_machine_is_none(tmp_path: Path) -> None:
    """Its name is right, and the kernel would refuse it."""
    root = RootDirectory(make_root(tmp_path, {LOADER: "debian/ld-2.36.arm64"}))

    loader = inspect_loader(root, LOADER, read_elf(io.BytesIO(elf_bytes("debian/hostname.amd64"))))

    assert (loader.kind, loader.evidence.finding) == ("foreign", "is for another machine (aarch64)")


def test_a_loader_that_was_copied_has_the_libc_of_its_distribution(tmp_path: Path) -> None:
    """Debian's does not look into /lib64, where a stray libc may be that is never loaded."""
    files = {LOADER: "debian/ld-2.36.amd64", "/lib64/libc.so.6": "made/libc-2.12"}
    root = RootDirectory(make_root(tmp_path, files, {"/usr/lib/x86_64-linux-gnu/libc.so.6": "debian/libc-2.36.amd64"}))
    like = read_elf(io.BytesIO(elf_bytes("debian/hostname.amd64")))

    found, evidence = glibc_version(root, inspect_loader(root, LOADER), like)

    assert (found, evidence[0].path) == ((2, 36), "/usr/lib/x86_64-linux-gnu/libc.so.6")


def test_an_old_glibc_tells_its_version_by_the_name_of_its_loader(tmp_path: Path) -> None:
    """Up to 2.33 the file was called ld-2.31.so, which helps when libc.so.6 is not found."""
    root = make_root(tmp_path, {LOADER: Link("ld-2.31.so"), "/lib64/ld-2.31.so": "debian/ld-2.36.amd64"})

    loader = inspect_loader(RootDirectory(root), LOADER)

    assert loader.version == (2, 31)


@pytest.mark.parametrize(
    ("fixture", "version", "finding"),
    [
        ("made/libc-2.12", (2, 12), "defines symbol versions up to GLIBC_2.12"),
        ("made/libc-2.15-eglibc", (2, 15), "defines symbol versions up to GLIBC_2.15"),
        ("made/libc-2.17", (2, 17), "defines symbol versions up to GLIBC_2.17"),
        ("made/libc-2.19", (2, 19), "defines symbol versions up to GLIBC_2.18 and calls itself 2.19"),
        ("debian/libc-2.31.amd64", (2, 31), "defines symbol versions up to GLIBC_2.30 and calls itself 2.31"),
        ("debian/libc-2.36.amd64", (2, 36), "defines symbol versions up to GLIBC_2.36"),
        ("debian/libc-2.41.amd64", (2, 41), "defines symbol versions up to GLIBC_2.41"),
    ],
)
def test_the_version_of_glibc_is_read_from_its_library(
    fixture: str, version: tuple[int, int], finding: str, tmp_path: Path
) -> None:
    """The symbols say what a program may need; the banner says which of the releases without new symbols it is."""
    root = RootDirectory(make_root(tmp_path, GLIBC_AMD64, {"/lib/x86_64-linux-gnu/libc.so.6": fixture}))
    like = read_elf(io.BytesIO(elf_bytes("debian/hostname.amd64")))

    found, evidence = glibc_version(root, inspect_loader(root, LOADER), like)

    assert found == version
    assert [(item.path, item.finding) for item in evidence] == [("/lib/x86_64-linux-gnu/libc.so.6", finding)]


def test_a_library_of_another_architecture_is_passed_over(tmp_path: Path) -> None:
    """Beside the loader may be the libc of a foreign architecture."""
    root = RootDirectory(
        make_root(
            tmp_path,
            {
                "/lib/ld-linux.so.2": "debian/ld-2.36.i386",
                "/lib/libc.so.6": "debian/libc-2.41.amd64",
                "/usr/lib/libc.so.6": "debian/libc-2.36.i386",
            },
        )
    )
    like = read_elf(io.BytesIO(elf_bytes("debian/hostname.i386")))

    found, evidence = glibc_version(root, inspect_loader(root, "/lib/ld-linux.so.2"), like)

    assert (found, evidence[0].path) == ((2, 36), "/usr/lib/libc.so.6")


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b"\x80=1.2.3\0\0\0D", (1, 2, 3)),
        (b"\0LINUX_2.6.39\0LINUX_1.2.3\0", None),
        (b"\0" + b"1.2.4\0" + b"1.2.5\0", None),
        (b"\0" + b"127.0.0.1\0" + b"1.2.5\0", (1, 2, 5)),
        (b"\0" + b"1.2.5_git20240512\0", None),
        (b"x" * ((1 << 18) - 3) + b"1.2.5\0", (1, 2, 5)),
        (b"x" * ((1 << 18) - 256 - 1) + b"11.2.5\0" + b"x" * 1000, None),
        (b"", None),
    ],
    ids=["after data", "vDSO", "ambiguous", "an address", "no release", "across pieces", "at the seam", "empty"],
)
def test_the_version_of_musl_is_found_among_other_bytes(data: bytes, version: tuple[int, ...] | None) -> None:
    """The string has no fixed place and no mark of its own; what looks like it and is not is passed over."""
    assert musl_version(io.BytesIO(data)) == version


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "version", "finding"),
    [
        (
            "printf 'musl libc (x86_64)\\nVersion 1.2.5\\nDynamic Program Loader\\n' >&2; exit 1",
            (1, 2, 5),
            "prints 'Version 1.2.5'",
        ),
        ("printf 'musl libc\\nVersion 1.1.24\\n'", (1, 1, 24), "prints 'Version 1.1.24'"),
        ("printf 'musl libc\\nVersion 1.2.5-git-24-g3ddd82f\\n' >&2", (1, 2, 5), "prints 'Version 1.2.5'"),
        ("echo no word; cat", None, "does not print its version"),
    ],
    ids=["as musl does", "on stdout", "between releases", "something else"],
)
def test_a_loader_that_is_started_prints_its_version(
    text: str, version: tuple[int, ...] | None, finding: str, tmp_path: Path
) -> None:
    """The text that musl's loader prints, in whatever stream and with whatever exit status; it reads no input."""
    loader = program(tmp_path / "ld-musl", text)

    found, evidence = ask_musl_loader(loader)

    assert (found, evidence.finding) == (version, finding)
    assert (evidence.path, evidence.identity) == (f"{loader} (started)", None)


def test_a_loader_that_does_not_start_is_evidence(tmp_path: Path) -> None:
    """A file that cannot be executed is no error."""
    (tmp_path / "ld-musl").write_bytes(b"\0")

    found, evidence = ask_musl_loader(str(tmp_path / "ld-musl"))

    assert (found, evidence.finding) == (None, "does not start")


def test_the_c_library_of_this_process_answers_or_not() -> None:
    """Glibc does, and others have no such question."""
    found, evidence = ask_confstr()
    names = getattr(os, "confstr_names", {})

    assert evidence.path == "confstr"
    assert (found is not None) == ("CS_GNU_LIBC_VERSION" in names and evidence.finding.startswith("says 'glibc "))
