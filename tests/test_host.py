"""Detection as a whole: this machine, its costs, its evidence, and hosts that tell nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.roots import GLIBC_AMD64, MUSL_AMD64, Link, elf_bytes, make_root
from test_targets import HEADS

from provision_backend.errors import HostError
from provision_backend.host.detection import detect_platform
from provision_backend.host.platforms import Platform

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("name", "triple"), HEADS.items(), ids=HEADS.keys())
def test_a_root_with_a_single_executable_is_told(name: str, triple: str, tmp_path: Path) -> None:
    """The head of one real executable is enough for the platform, on any machine."""
    platform = detect_platform(root=make_root(tmp_path / "root", {"/bin/sh": name}))

    assert platform.triple == triple
    assert platform.evidence[0].path == "/bin/sh"


def test_this_machine_is_told() -> None:
    """Where Python was started by glibc, the C library's own answer is the one that was read from its file."""
    if sys.platform != "linux":
        pytest.skip("no ELF host")
    platform = detect_platform()
    said = os.confstr("CS_GNU_LIBC_VERSION") if platform.libc == "gnu" else None

    assert platform.problem is None
    if said:
        assert said == platform.libc_name
    assert sys.byteorder == platform.byte_order
    assert platform.bits == (64 if sys.maxsize > 2**32 else 32)


def test_the_evidence_of_a_glibc_host_is_three_files(tmp_path: Path) -> None:
    """The executable that decided, its loader and its libc, each with what it says and the state it was in."""
    root = make_root(tmp_path / "root", GLIBC_AMD64, {"/bin/sh": "debian/hostname.amd64"})
    platform = detect_platform(root=root)

    assert [(item.path, item.finding) for item in platform.evidence] == [
        ("/bin/sh", "is for x86_64 and names the loader '/lib64/ld-linux-x86-64.so.2'"),
        (
            "/lib64/ld-linux-x86-64.so.2",
            "leads to '/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2', which is glibc's loader",
        ),
        ("/lib/x86_64-linux-gnu/libc.so.6", "defines symbol versions up to GLIBC_2.36"),
    ]
    status = (root / "bin/sh").stat()
    identity = platform.evidence[0].identity
    assert identity is not None
    assert (identity.size, identity.mtime_ns, identity.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)
    assert platform.notes == ("decided by '/bin/sh'",)


def test_json_holds_what_a_packager_wants_to_see(tmp_path: Path) -> None:
    """The form of ``detect --json``, which is also what is remembered."""
    root = make_root(tmp_path / "root", MUSL_AMD64, {"/bin/sh": "zig/x86_64-linux-musl"})
    platform = detect_platform(root=root)
    facts = json.loads(json.dumps(platform.as_dict()))

    assert Platform.from_dict(facts) == platform
    evidence = facts.pop("evidence")
    assert facts == {
        "triple": "x86_64-unknown-linux-musl",
        "architecture": "x86_64",
        "libc": "musl",
        "libc_version": "1.2.5",
        "loader": "/lib/ld-musl-x86_64.so.1",
        "float_abi": None,
        "bits": 64,
        "byte_order": "little",
        "system": "linux",
        "system_version": None,
        "problem": None,
        "hint": None,
        "notes": ["decided by '/bin/sh'"],
    }
    assert [set(item) for item in evidence] == [{"path", "finding", "size", "mtime_ns", "inode"}] * 2


def test_only_the_files_of_the_evidence_are_opened(tmp_path: Path) -> None:
    """Detection on a normal host is cheap: nothing is searched, and nothing is started."""
    program = (
        "import sys, os\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import provision_backend.host.detection as host\n"
        "import elftools.elf.structs\n"
        "seen = []\n"
        "def note(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], str) and arguments[1] is None and not arguments[2] & \n"
        "        getattr(os, 'O_PATH', 0): seen.append(arguments[0])\n"
        "    if event in ('subprocess.Popen', 'os.exec', 'os.posix_spawn'): seen.append(event)\n"
    ).replace("& \n        ", "& ")
    program += "sys.addaudithook(note)\nhost.detect_platform(root=Path(sys.argv[2]))\nprint(seen)\n"
    root = make_root(tmp_path / "root", GLIBC_AMD64, {"/bin/sh": "debian/hostname.amd64"})
    done = subprocess.run(
        [sys.executable, "-c", program, str(CHECKOUT), str(root)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )

    assert done.stdout == "['sh', 'ld-linux-x86-64.so.2', 'libc.so.6']\n"


def test_importing_costs_no_elftools() -> None:
    """A warm cache needs none of the packages of the extra."""
    program = "import sys; import provision_backend.host.detection; print('elftools' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)

    assert done.stdout == "False\n"


def test_an_empty_root_tells_nothing(tmp_path: Path) -> None:
    """The error says what was looked for and what to do."""
    with pytest.raises(HostError) as caught:
        detect_platform(root=tmp_path)

    assert str(caught.value) == (
        f"could not identify the libc of '{tmp_path}': "
        "no dynamic executable among the usual ones, and no loader of glibc or musl\n"
        "  none of these files exists\n"
        "  set target, for example to x86_64-unknown-linux-musl"
    )


def test_a_static_userland_without_loaders_tells_nothing(tmp_path: Path) -> None:
    """A scratch image with a static busybox: what was found is listed."""
    root = make_root(
        tmp_path / "root",
        {
            "/bin/busybox": "debian/busybox-static.amd64",
            "/bin/sh": Link("busybox"),
            "/bin/ls": b"#!/bin/sh\n",
            "/etc/os-release": b'ID=buildroot\nID_LIKE="some \x1b[31mthing"\n',
        },
    )
    with pytest.raises(HostError) as caught:
        detect_platform(root=root)

    assert caught.value.hint.splitlines() == [
        "'/bin/sh' is a static executable for x86_64, which does not show the libc",
        "'/bin/ls' is a script, which does not show the libc",
        "'/bin/busybox' is a static executable for x86_64, which does not show the libc",
        "'/etc/os-release' says that this is buildroot or some or 31mthing",
        "set target, for example to x86_64-unknown-linux-musl",
    ]


def test_a_root_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A typing error in --root is not an empty host."""
    with pytest.raises(HostError) as caught:
        detect_platform(root=tmp_path / "none")

    assert caught.value.message == f"cannot inspect the root '{tmp_path}/none': it is not a directory"


def test_a_broken_executable_is_passed_over(tmp_path: Path) -> None:
    """Another one answers, and the evidence says why the first did not."""
    root = make_root(
        tmp_path / "root", GLIBC_AMD64, {"/bin/sh": b"\x7fELF\x02\x01", "/bin/ls": "debian/hostname.amd64"}
    )
    platform = detect_platform(root=root)

    assert platform.triple == "x86_64-unknown-linux-gnu"
    assert platform.evidence[0].finding == (
        "cannot be used: cannot read '/bin/sh' as an ELF file: the identification ends after 6 of 16 bytes"
    )


def test_an_unreadable_os_release_is_passed_over(tmp_path: Path) -> None:
    """It is a hint and never a reason to fail."""
    root = make_root(tmp_path / "root", MUSL_AMD64, {"/usr/lib/os-release": b"ID=alpine\n"})
    (root / "etc").mkdir()
    os.mkfifo(root / "etc/os-release")

    assert detect_platform(root=root).triple == "x86_64-unknown-linux-musl"


def test_no_file_outside_of_the_root_is_believed(tmp_path: Path) -> None:
    """An image whose sh is a link to the absolute path of this machine's shell has no shell."""
    outside = make_root(tmp_path / "outside", {"/sh": "debian/hostname.amd64"})
    root = make_root(tmp_path / "root", {"/bin/sh": Link(str(outside / "sh")), "/bin/ls": Link("../../outside/sh")})

    with pytest.raises(HostError):
        detect_platform(root=root)


@pytest.mark.skipif(sys.platform != "linux", reason="no ELF host")
def test_the_root_of_the_running_system_is_asked_by_its_interpreter() -> None:
    """The loader of the running interpreter certainly works here, so it is asked first."""
    platform = detect_platform(root=Path("/"))

    assert platform.evidence[0].path == os.path.realpath(sys.executable)
    assert detect_platform(executable="").evidence[0].path != platform.evidence[0].path


@pytest.mark.parametrize(
    ("offset", "replacement", "finding"),
    [
        (18, (0x1234).to_bytes(2, "little"), "is for the unknown machine 4660"),
        (None, b"/libexec/ld-elf.so.1\0", "is for x86_64 and names the unknown loader '/libexec/ld-elf.so.1'"),
    ],
    ids=["a machine of the future", "FreeBSD (uv#3824)"],
)
def test_what_is_not_known_is_said(offset: int | None, replacement: bytes, finding: str, tmp_path: Path) -> None:
    """An executable that nothing is known about is no answer, and the error shows what it said."""
    data = elf_bytes("debian/hostname.amd64")
    start = data.index(b"/lib64/ld-linux-x86-64.so.2\0") if offset is None else offset
    changed = data[:start] + replacement + data[start + len(replacement) :]
    with pytest.raises(HostError) as caught:
        detect_platform(root=make_root(tmp_path / "root", {"/bin/sh": changed}))

    assert caught.value.hint.splitlines()[0] == f"'/bin/sh' {finding}"


def _program_that_says(text: bytes) -> bytes:
    """Make a static program for x86-64 that writes a text to its standard error."""
    code = b"\xb8\1\0\0\0\xbf\2\0\0\0\x48\x8d\x35\x10\0\0\0\xba" + struct.pack("<I", len(text))  # write(2, text)
    code += b"\x0f\x05\xb8\x3c\0\0\0\x31\xff\x0f\x05" + text  # exit(0)
    start, size = 0x400000, 64 + 56 + len(code)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, start + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 4096) + code


@pytest.mark.skipif(
    (sys.platform, os.uname().machine) != ("linux", "x86_64"), reason="the program is for another system"
)
def test_a_loader_of_musl_that_does_not_tell_its_version_is_started_on_the_running_system(tmp_path: Path) -> None:
    """Only then, and only there: in an image it is another machine's program."""
    if os.path.exists("/lib/ld-musl-x86_64.so.1"):
        pytest.skip("a real musl answers on this machine")
    folder = tempfile.mkdtemp(prefix="p", dir="/tmp")
    loader = Path(folder) / "ld-musl-x"
    loader.write_bytes(_program_that_says(b"musl libc (x86_64)\nVersion 1.2.9\n"))
    loader.chmod(0o755)
    name = b"/lib/ld-musl-x86_64.so.1"
    data = elf_bytes("zig/x86_64-linux-musl").replace(name, bytes(loader).ljust(len(name), b"\0"))
    (tmp_path / "python").write_bytes(data)
    try:
        running = detect_platform(executable=str(tmp_path / "python"))
        root = make_root(tmp_path / "root", {"/bin/sh": data, str(loader): loader.read_bytes()})
        image = detect_platform(root=root)
    finally:
        shutil.rmtree(folder)

    assert [item.finding for item in running.evidence if "started" in item.path] == ["prints 'Version 1.2.9'"]
    assert [item.finding for item in image.evidence if "started" in item.path] == []
    assert image.libc_version is None
