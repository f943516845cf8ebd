"""What runs here and what does not: by the name before the download, by the files afterwards."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from support.roots import elf_bytes, make_root, program_bytes

from provision_backend.errors import HostError, InterpreterError, MissingDependencyError, UsageError
from provision_backend.host.compatibility import check_archive_runs, check_tree, require_reader
from provision_backend.host.detection import detect_platform
from provision_backend.host.platforms import Platform, platform_from_triple

GNU = Platform("x86_64-unknown-linux-gnu", "x86_64", "gnu", (2, 36))
MUSL = Platform("x86_64-unknown-linux-musl", "x86_64", "musl", (1, 2, 5))
ARMHF = Platform("armv7-unknown-linux-gnueabihf", "armv7", "gnu", (2, 36), float_abi="hard", bits=32)
BASELINE = "use the baseline, which every CPU of the architecture runs"


def with_version(triple: str, *version: int) -> Platform:
    platform = platform_from_triple(triple)
    return Platform(triple, platform.architecture, platform.libc, version)


def refused(platform: Platform, triple: str, cpuinfo: Path = Path("/nonexistent")) -> str:
    with pytest.raises(HostError) as caught:
        check_archive_runs(platform, triple, cpuinfo=cpuinfo)
    return caught.value.message


@pytest.mark.parametrize(
    "platform",
    [
        GNU,
        MUSL,
        with_version("x86_64-unknown-linux-gnu", 2, 17),
        with_version("riscv64-unknown-linux-gnu", 2, 28),
        with_version("x86_64-unknown-linux-musl", 1, 1, 24),
        platform_from_triple("aarch64-unknown-linux-gnu"),
        platform_from_triple("aarch64-apple-darwin"),
    ],
    ids=lambda platform: f"{platform.triple} {platform.libc_name}",
)
def test_an_archive_for_the_host_is_let_through(platform: Platform) -> None:
    """At the floor, above it, and where the version is not known: the smoke run will tell."""
    check_archive_runs(platform, platform.triple)


@pytest.mark.parametrize(
    ("platform", "found"),
    [
        (with_version("x86_64-unknown-linux-gnu", 2, 16), "glibc 2.17 or newer, found glibc 2.16"),
        (with_version("riscv64-unknown-linux-gnu", 2, 27), "glibc 2.28 or newer, found glibc 2.27"),
        (with_version("x86_64-unknown-linux-gnu", 2, 5), "glibc 2.17 or newer, found glibc 2.5"),
        (with_version("aarch64-unknown-linux-musl", 1, 1, 23), "musl 1.1.24 or newer, found musl 1.1.23"),
    ],
    ids=["2.16", "riscv64", "2.5 is older than 2.17", "musl"],
)
def test_a_libc_that_is_too_old_is_refused(platform: Platform, found: str) -> None:
    """What is wanted and what is found, compared as numbers."""
    assert refused(platform, platform.triple) == (
        f"the libc of this host is too old: python-build-standalone for {platform.triple} needs {found}"
    )


@pytest.mark.parametrize(
    ("platform", "triple", "found"),
    [
        (GNU, "x86_64-unknown-linux-musl", "x86_64-unknown-linux-gnu (glibc 2.36)"),
        (MUSL, "x86_64_v2-unknown-linux-gnu", "x86_64-unknown-linux-musl (musl 1.2.5)"),
        (GNU, "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu (glibc 2.36)"),
        (ARMHF, "armv7-unknown-linux-gnueabi", "armv7-unknown-linux-gnueabihf (glibc 2.36)"),
        (
            platform_from_triple("aarch64-unknown-linux-android"),
            "aarch64-unknown-linux-gnu",
            "aarch64-unknown-linux-android (bionic (Android))",
        ),
    ],
    ids=["libc", "libc and level", "architecture", "float ABI", "Termux (uv#7373)"],
)
def test_an_archive_for_another_platform_is_refused(platform: Platform, triple: str, found: str) -> None:
    """uv#4242, uv#9866, uv#18509: each of them was downloaded and did not start."""
    wanted = triple.replace("_v2", "")

    assert refused(platform, triple) == (
        f"an archive for {triple} does not run on this host: it needs {wanted}, and the host is {found}"
    )


def test_a_triple_that_nobody_knows_is_a_usage_error() -> None:
    """An archive of an unknown target cannot be judged."""
    with pytest.raises(UsageError):
        check_archive_runs(GNU, "z80-unknown-cpm")


def test_a_platform_with_a_problem_is_refused_with_what_to_do() -> None:
    """The problem that detection found is passed on with its hint."""
    platform = Platform(GNU.triple, "x86_64", "gnu", problem="its loader is gone", hint="get it back")
    with pytest.raises(HostError) as caught:
        check_archive_runs(platform, GNU.triple)

    assert str(caught.value) == f"no archive for {GNU.triple} runs here: its loader is gone\n  get it back"


def test_a_level_is_refused_when_the_cpu_lacks_a_flag(tmp_path: Path) -> None:
    """The missing flags are named; the baseline needs no look at the CPU."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx\n")

    check_archive_runs(GNU, "x86_64-unknown-linux-gnu", cpuinfo=tmp_path / "none")
    check_archive_runs(GNU, "x86_64_v2-unknown-linux-gnu", cpuinfo=cpuinfo)
    assert refused(GNU, "x86_64_v3-unknown-linux-gnu", cpuinfo) == (
        "this CPU does not run x86_64_v3-unknown-linux-gnu: it lacks abm, avx2, bmi1, bmi2, f16c, fma, movbe, xsave"
    )


def test_a_level_is_refused_when_the_cpu_cannot_be_read(tmp_path: Path) -> None:
    """Hatch takes v3 then, and the build ends in SIGILL."""
    assert refused(GNU, "x86_64_v2-unknown-linux-gnu", tmp_path / "none") == (
        f"cannot tell whether this CPU runs x86_64_v2-unknown-linux-gnu: '{tmp_path}/none' is not readable"
    )


def test_an_archive_for_armv7_is_refused_on_an_armv6(tmp_path: Path) -> None:
    """A Raspberry Pi Zero has an armhf userland and no ARMv7."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name: ARMv6-compatible processor rev 7 (v6l)\nFeatures: vfp\nCPU architecture: 7\n")

    assert refused(ARMHF, ARMHF.triple, cpuinfo) == (
        "this CPU does not run armv7-unknown-linux-gnueabihf: it lacks ARMv7 (it is ARMv6), VFPv3"
    )


def test_an_armv7_under_qemu_is_not_judged_by_the_cpu_of_another_machine(tmp_path: Path) -> None:
    """qemu-user shows the description of the machine below, which says nothing about ARM."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name : AMD EPYC\nflags : sse2\n")

    check_archive_runs(ARMHF, ARMHF.triple, cpuinfo=cpuinfo)


def tree(tmp_path: Path, python: str, library: str = "") -> Path:
    """Unpack an interpreter that consists of a link, an executable and perhaps a library."""
    root = make_root(tmp_path / "python", {"/bin/python3.13": python})
    (root / "bin/python3").symlink_to("python3.13")
    if library:
        make_root(root, {"/lib/libpython3.13.so.1.0": library})
    return root / "bin/python3"


@pytest.mark.parametrize(
    ("platform", "python"),
    [
        (GNU, "debian/hostname.amd64"),
        (GNU, "zig/x86_64-linux-gnu.2.17"),
        (MUSL, "zig/x86_64-linux-musl"),
        (ARMHF, "zig/arm-linux-gnueabihf"),
        (platform_from_triple("x86_64_v3-unknown-linux-gnu"), "made/needs-glibc-2.38"),
    ],
    ids=["glibc", "old glibc", "musl", "armhf", "a level, and an unknown version"],
)
def test_a_tree_for_the_host_is_let_through(platform: Platform, python: str, tmp_path: Path) -> None:
    """Also where the version of the host's libc is not known."""
    check_tree(tree(tmp_path, python), platform)


@pytest.mark.parametrize(
    ("platform", "python", "found"),
    [
        (GNU, "zig/x86_64-linux-musl", "x86_64 with the loader '/lib/ld-musl-x86_64.so.1'"),
        (MUSL, "zig/x86_64-linux-gnu.2.17", "x86_64 with the loader '/lib64/ld-linux-x86-64.so.2'"),
        (GNU, "zig/aarch64-linux-gnu", "aarch64 with the loader '/lib/ld-linux-aarch64.so.1'"),
        (GNU, "zig/x86_64-linux-gnux32", "x86_64 with the loader '/libx32/ld-linux-x32.so.2'"),
        (ARMHF, "zig/arm-linux-gnueabi", "armv7 with the loader '/lib/ld-linux.so.3'"),
    ],
    ids=["musl on glibc (lift#199)", "glibc on musl (uv#4242)", "architecture (uv#12780)", "word size", "float ABI"],
)
def test_a_tree_of_another_platform_is_refused(platform: Platform, python: str, found: str, tmp_path: Path) -> None:
    """Offered by a mirror under the right name, it is found out before it is started."""
    path = tree(tmp_path, python)
    with pytest.raises(InterpreterError) as caught:
        check_tree(path, platform)

    assert caught.value.message == f"'{path}' is not for this host: wanted {platform.triple}, found {found}"


def test_a_statically_linked_tree_is_refused_with_the_reason(tmp_path: Path) -> None:
    """It starts, and then loads no extension module (PBS#260, PBS#261, hatch#1944)."""
    path = tree(tmp_path, "made/static-musl-python")
    with pytest.raises(InterpreterError) as caught:
        check_tree(path, MUSL)

    assert str(caught.value) == (
        f"'{path}' is statically linked: it could not import a single extension module from a wheel, "
        "wanted an interpreter that the loader of x86_64-unknown-linux-musl starts\n"
        "  dynamically linked musl builds exist from tag 20250311 on"
    )


def test_an_interpreter_that_needs_a_newer_libc_is_refused(tmp_path: Path) -> None:
    """Its own symbol versions say so, whatever the catalog promised."""
    path = tree(tmp_path, "made/needs-glibc-2.38")
    with pytest.raises(InterpreterError) as caught:
        check_tree(path, GNU)

    assert caught.value.message == (
        f"'{path}' needs a newer libc than this host has: wanted GLIBC_2.38 or newer, found glibc 2.36"
    )


def test_a_libpython_that_needs_a_newer_libc_is_refused(tmp_path: Path) -> None:
    """A small executable before a big library: the needs are the library's."""
    path = tree(tmp_path, "zig/x86_64-linux-gnu.2.17", library="made/needs-glibc-2.38")
    with pytest.raises(InterpreterError) as caught:
        check_tree(path, GNU)

    library = path.parent.parent.resolve() / "lib/libpython3.13.so.1.0"
    assert caught.value.message == (
        f"'{library}' needs a newer libc than this host has: wanted GLIBC_2.38 or newer, found glibc 2.36"
    )


def test_a_tree_without_an_elf_executable_is_refused(tmp_path: Path) -> None:
    """A script is no interpreter."""
    path = tmp_path / "python3"
    path.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(InterpreterError) as caught:
        check_tree(path, GNU)

    assert caught.value.message == (
        f"the archive holds no interpreter for this host: cannot read '{path}' as an ELF file: it starts with b'#!/b'"
    )


def make_program(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program_bytes(name))
    return path


MACOS_ARM64 = platform_from_triple("aarch64-apple-darwin")._replace(system_version=(14, 5))
WINDOWS_AMD64 = platform_from_triple("x86_64-pc-windows-msvc")._replace(system_version=(10, 0, 19045))


@pytest.mark.parametrize(
    ("platform", "path", "program"),
    [
        pytest.param(MACOS_ARM64, "bin/python3.13", "aarch64-macos.11.0", id="macOS"),
        pytest.param(MACOS_ARM64, "bin/python3.13", "universal-macos", id="a universal program"),
        pytest.param(
            MACOS_ARM64._replace(system_version=(11,)),
            "bin/python3.13",
            "aarch64-macos.11.0",
            id="a version without a dot",
        ),
        pytest.param(
            platform_from_triple("aarch64-apple-darwin"), "bin/python3.13", "aarch64-macos.15.1.2", id="unknown version"
        ),
        pytest.param(WINDOWS_AMD64, "python.exe", "x86_64-windows-gnu", id="Windows"),
        pytest.param(platform_from_triple("i686-pc-windows-msvc"), "python.exe", "x86-windows-gnu", id="32-bit"),
    ],
)
def test_a_program_of_another_system_is_read(platform: Platform, path: str, program: str, tmp_path: Path) -> None:
    """Each system has its form of executables, and none is taken on trust."""
    check_tree(make_program(tmp_path / path, program), platform)


@pytest.mark.parametrize(
    ("platform", "path", "program", "found"),
    [
        pytest.param(
            MACOS_ARM64,
            "bin/python3.13",
            "x86_64-macos.10.15",
            "is not for this host: wanted aarch64-apple-darwin, found x86_64",
            id="an Intel Mac",
        ),
        pytest.param(
            MACOS_ARM64,
            "bin/python3.13",
            "aarch64-macos.15.1.2",
            "needs a newer macOS than this host has: wanted 15.1.2 or newer, found 14.5",
            id="a newer macOS",
        ),
        pytest.param(
            WINDOWS_AMD64,
            "python.exe",
            "aarch64-windows-gnu",
            "is not for this host: wanted x86_64-pc-windows-msvc, found aarch64",
            id="another Windows",
        ),
        pytest.param(
            WINDOWS_AMD64._replace(system_version=(5, 2)),
            "python.exe",
            "x86_64-windows-gnu",
            "needs a newer Windows than this host has: wanted 6.0 or newer, found 5.2",
            id="an older Windows",
        ),
    ],
)
def test_a_program_for_another_host_is_refused(
    platform: Platform, path: str, program: str, found: str, tmp_path: Path
) -> None:
    """By its architecture and by the version of the system, before it is started."""
    python = make_program(tmp_path / path, program)
    with pytest.raises(InterpreterError) as caught:
        check_tree(python, platform)

    assert caught.value.message == f"'{python}' {found}"


@pytest.mark.parametrize(
    ("platform", "path", "library", "name"),
    [
        (MACOS_ARM64, "bin/python3.13", "lib/libpython3.13.dylib", "x86_64-macos.10.15"),
        (WINDOWS_AMD64, "python.exe", "python313.dll", "x86-windows-gnu"),
    ],
    ids=["macOS", "Windows"],
)
def test_the_library_of_the_interpreter_is_read_too(
    platform: Platform, path: str, library: str, name: str, tmp_path: Path
) -> None:
    """The program alone would start, and fail to load it."""
    python = make_program(tmp_path / path, "universal-macos" if platform is MACOS_ARM64 else "x86_64-windows-gnu")
    make_program(tmp_path / library, name)
    with pytest.raises(InterpreterError, match=f"{library}' is not for this host"):
        check_tree(python, platform)


def test_an_elf_file_is_no_program_for_macos(tmp_path: Path) -> None:
    """An archive for Linux under the name of one for macOS."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3.13"
    python.write_bytes(elf_bytes("debian/hostname.arm64"))
    with pytest.raises(InterpreterError) as caught:
        check_tree(python, MACOS_ARM64)

    assert caught.value.message == (
        f"the archive holds no interpreter for this host: cannot read '{python}' as a Mach-O file: "
        "it starts with b'\\x7fELF'"
    )


def test_what_reads_a_tree_is_asked_for_where_there_are_elf_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose trees are not read does without pyelftools."""
    require_reader(GNU)
    monkeypatch.setitem(sys.modules, "elftools", None)

    require_reader(platform_from_triple("aarch64-apple-darwin"))
    with pytest.raises(MissingDependencyError, match="'pyelftools' is needed to read the executables of this host"):
        require_reader(GNU)


def test_the_running_interpreter_is_a_tree_for_this_host() -> None:
    """The real thing: what runs here passes the check for here."""
    if not shutil.which("sh") or sys.platform != "linux":
        pytest.skip("no ELF host")

    check_tree(Path(sys.executable), detect_platform())
