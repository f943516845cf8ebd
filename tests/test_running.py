"""The exceptions to reading files only: what the running system is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from provision_backend.host.running import ask_confstr, ask_musl_loader, has_elf_files


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
            "says 'Version 1.2.5'",
        ),
        ("printf 'musl libc\\nVersion 1.1.24\\n'", (1, 1, 24), "says 'Version 1.1.24'"),
        ("printf 'musl libc\\nVersion 1.2.5-git-24-g3ddd82f\\n' >&2", (1, 2, 5), "says 'Version 1.2.5'"),
        ("echo no word; cat", None, "does not say its version"),
    ],
    ids=["as musl does", "on stdout", "between releases", "something else"],
)
def test_a_loader_that_is_started_says_its_version(
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


@pytest.mark.skipif(sys.platform != "linux", reason="Linux")
def test_linux_has_elf_files() -> None:
    """MacOS and Windows are the ones that have none."""
    assert has_elf_files()
