"""macOS as far as another system shows it: from an archive of that form to the first start, which fails here.

And the other way round: this system under the name and the row of macOS, or of one that is added to the table.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Dict

import pytest
from support.archives import gzipped, member, pax, tar
from support.command_line import ROOT, bare_machine, ours
from support.roots import program_bytes
from support.small_archives import catalog_of, shared_small_archives
from support.systems_table import recorded

from provision_backend.install.install import finalize_tree
from provision_backend.install.unpack import unpack_stream
from provision_backend.systems import SYSTEMS, System

__all__ = ["bare_machine"]  # A fixture that every test here uses.

ARM64, AMD64 = "aarch64-apple-darwin", "x86_64-apple-darwin"
PROGRAM = {ARM64: "aarch64-macos.11.0", AMD64: "x86_64-macos.10.15"}
RECORD = Path(__file__).parent / "data" / "sysconfig" / "macos-3.13"
PROGRAMS = (
    "bin/python3.13",
    "lib/libpython3.13.dylib",
    "lib/python3.13/lib-dynload/_dbm.cpython-313-darwin.so",
)

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="there the interpreter would start")


def make_tree(folder: Path, program: str) -> Path:
    """Make a tree as python-build-standalone lays it out for macOS; its programs end at once where they can start."""
    tree = folder / "python"
    shutil.copytree(str(RECORD), str(tree))
    for name in PROGRAMS:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(program_bytes(program))
        path.chmod(0o755)
    (tree / "bin/python3").symlink_to("python3.13")
    return tree


def archive_of(triple: str) -> str:
    return f"cpython-3.13.1+20241219-{triple}-install_only.tar.gz"


def make_mirror(folder: Path, tree: Path, triple: str) -> Dict[str, str]:
    """Pack a tree into a folder, and return the variables by which we take it for what this host needs."""
    folder.mkdir()
    path = folder / archive_of(triple)
    with tarfile.open(str(path), "w:gz") as archive:
        archive.add(str(tree), "python")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {path.name}\n")
    return {
        "PROVISION_BACKEND_TARGET": triple,
        "PROVISION_BACKEND_MIRROR": str(folder),
        "PROVISION_BACKEND_CATALOG": str(folder / "SHA256SUMS"),
        "PROVISION_BACKEND_CACHE_DIR": str(folder.parent / "cache"),
    }


@pytest.mark.parametrize("triple", [ARM64, AMD64])
def test_all_but_the_start_works_elsewhere(triple: str, tmp_path: Path) -> None:
    """It is listed, mirrored, locked, fetched, unpacked, read and finalized; then the message says why it ends."""
    archive = archive_of(triple)
    env = make_mirror(tmp_path / "mirror", make_tree(tmp_path, PROGRAM[triple]), triple)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["provision-backend"]\nbuild-backend = "provision_backend"\n'
        '[project]\nname = "toy"\nversion = "1"\nrequires-python = ">=3.13"\n'
        '[tool.provision-backend]\nbuild-backend = "toy"\nrequires = []\n'
    )

    with recorded(triple, "install", how="parsed"):
        assert ours("list", ">=3.13", env=env).out.split()[:2] == ["3.13.1", "20241219"]
        assert ours("mirror", str(tmp_path / "copy"), "--python", "3.13", env=env).code == 0
        assert (tmp_path / "copy" / archive).read_bytes() == (tmp_path / "mirror" / archive).read_bytes()
        assert archive in ours("lock", str(tmp_path), "--only-interpreter", "--target", triple, env=env).out
        done = ours("install", "3.13", env=env)
        assert done.code == 1
        assert done.err.splitlines()[-2:] == [
            f"provision-backend: could not start '{archive}/python/bin/python3.13': Exec format error",
            "  it is a program for macOS, which the setting target names, and this host is Linux",
        ]
        assert list((tmp_path / "cache/interpreters").iterdir()) == []


def test_an_interpreter_for_another_mac_is_not_even_started(tmp_path: Path) -> None:
    """Its file is read before that."""
    env = make_mirror(tmp_path / "mirror", make_tree(tmp_path, PROGRAM[AMD64]), ARM64)

    assert ours("install", "3.13", env=env).err.splitlines()[-1] == (
        f"provision-backend: '{archive_of(ARM64)}/python/bin/python3.13' is not for this host: "
        f"wanted {ARM64}, found x86_64"
    )


def test_programs_keep_every_byte(tmp_path: Path) -> None:
    """A changed one would break the signature, without which nothing starts on arm64."""
    tree = make_tree(tmp_path, PROGRAM[ARM64])
    finalize_tree(tree, final_path=Path("/cache/interpreters/cpython"))

    assert {name: (tree / name).read_bytes() for name in PROGRAMS} == dict.fromkeys(
        PROGRAMS, program_bytes(PROGRAM[ARM64])
    )
    assert os.readlink(str(tree / "bin/python")) == "python3.13"


@pytest.mark.skipif(not hasattr(os, "listxattr"), reason="only Linux lists extended attributes")
def test_a_mark_of_quarantine_is_not_unpacked(tmp_path: Path) -> None:
    """An archive that a browser has fetched may carry it, and macOS would refuse to start what has it."""
    marks = [prefix + b"com.apple.quarantine=0081" for prefix in (b"SCHILY.xattr.user.", b"LIBARCHIVE.xattr.user.")]
    members = [member("python/", kind="5"), pax(*marks), member("python/file", b"content")]
    unpack_stream([gzipped(tar(*members))], archive_of(ARM64), tmp_path / "unpacked")

    assert (tmp_path / "unpacked/python/file").read_bytes() == b"content"
    assert os.listxattr(str(tmp_path / "unpacked/python/file")) == []


# What Python has on Linux and lacks on macOS, as far as one might use it.
LINUX_ONLY = (
    "O_DIRECT", "O_NOATIME", "O_PATH", "O_TMPFILE", "copy_file_range", "eventfd", "getxattr", "listxattr",
    "memfd_create", "pidfd_open", "posix_fadvise", "posix_fallocate", "sched_getaffinity", "sendfile", "splice",
)  # fmt: skip

FREEBSD = System("freebsd", "FreeBSD", "freebsd", "unknown-freebsd", ("aarch64", "x86_64"), "ELF")
ASK = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its interpreter is an archive for Linux")
@pytest.mark.parametrize(
    ("row", "caches"),
    [
        # Its programs run here because they are those of Linux.
        pytest.param(SYSTEMS["macos"]._replace(executable_format="ELF"), "Library/Caches", id="macOS"),
        pytest.param(
            System("freebsd", "FreeBSD", "freebsd", "unknown-freebsd", ("aarch64", "x86_64"), "ELF"),
            ".cache",
            id="FreeBSD",
            marks=pytest.mark.architectures,
        ),
    ],
)
def test_a_row_of_the_table_is_all_that_is_needed(row: System, caches: str, tmp_path: Path) -> None:
    """From detection to a program that runs, with an archive that is named for the system; its folders are used."""
    small = shared_small_archives()[0]
    lines = [
        "import os, sys",
        f"sys.platform = {row.sys_platform!r}",
        f"[delattr(os, name) for name in {LINUX_ONLY} if hasattr(os, name)]",
        "from provision_backend import systems",
        f"systems.RUNNING = systems.SYSTEMS[{row.name!r}] = systems.{row!r}",
    ]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    architecture = os.uname().machine
    (tmp_path / "mirror").mkdir()
    archive = tmp_path / "mirror" / re.sub(r"-[^-]+-unknown-linux-\w+", f"-{architecture}-{row.triple}", small.name)
    shutil.copy(str(small), str(archive))
    env = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": "",
        "PROVISION_BACKEND_CACHE_DIR": "",
        "PROVISION_BACKEND_MIRROR": str(archive.parent),
        "PROVISION_BACKEND_CATALOG": str(catalog_of(archive, tmp_path / "mirror")),
        "PROVISION_BACKEND_PREFERENCE": "only-managed",
    }
    (tmp_path / "home").mkdir()

    assert ours("detect", env=env).out.splitlines()[0] == f"{architecture}-{row.triple}"
    done = ours(
        "run", "3", "--", "python", "-c", "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))", env=env
    )
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path}/home/{caches}/provision-backend/interpreters/cpython-3")
    assert ours("cache", "verify", env=env).code == 0
