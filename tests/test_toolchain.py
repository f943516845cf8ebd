"""Zig as the compiler of a build: which target, what its scripts make of gcc's options, and real compiles."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, List, Mapping

import pytest
from elftools.elf.elffile import ELFFile
from support.command_line import ours
from support.hosts import FrontendCache
from support.projects import c_extension
from support.zig import installed_zig, zig_cache, zig_wheel

from provision_backend import toolchain
from provision_backend.cache.folders import make_folders
from provision_backend.errors import BuildEnvironmentError, UsageError
from provision_backend.host import compilers
from provision_backend.settings import Settings, load_settings
from provision_backend.systems import SYSTEMS
from provision_backend.toolchain import Toolchain, running_triple, toolchain_for, use_here

ENVIRON = {"PATH": os.defpath}


def asked(**values: str) -> Settings:
    """Return settings that variables have set."""
    return load_settings(environ={f"PROVISION_BACKEND_{key.upper()}": value for key, value in values.items()})


@pytest.mark.parametrize(
    ("triple", "glibc", "target"),
    [
        ("x86_64-unknown-linux-gnu", "", "x86_64-linux-gnu.2.17"),
        ("x86_64_v3-unknown-linux-gnu", "2.28", "x86_64-linux-gnu.2.28"),
        ("x86_64-unknown-linux-musl", "2.28", "x86_64-linux-musl"),
        ("aarch64-unknown-linux-gnu", "2.17", "aarch64-linux-gnu.2.17"),
        ("armv7-unknown-linux-gnueabihf", "", "arm-linux-gnueabihf.2.17"),
        ("armv7-unknown-linux-musleabihf", "", "arm-linux-musleabihf"),
        ("i686-unknown-linux-gnu", "2.5", "x86-linux-gnu.2.17"),
        ("ppc64le-unknown-linux-gnu", "", "powerpc64le-linux-gnu.2.17"),
        ("riscv64-unknown-linux-gnu", "2.17", "riscv64-linux-gnu.2.27"),
        ("s390x-unknown-linux-gnu", "2.9", "s390x-linux-gnu.2.17"),
    ],
)
def test_the_target_is_in_zigs_words(triple: str, glibc: str, target: str) -> None:
    """Each triple has a target of zig, with a glibc that is old enough and that zig and the architecture have."""
    assert Toolchain(triple, glibc).target == target


def test_an_interpreters_triple_counts_where_no_other_is_compiled_for() -> None:
    """A cross build keeps its own, and a Python of the machine, which has none, is taken for what runs us."""
    musl = "x86_64-unknown-linux-musl"

    assert Toolchain().for_triple(musl).triple == musl
    assert Toolchain("aarch64-unknown-linux-gnu").for_triple(musl).triple == "aarch64-unknown-linux-gnu"
    assert Toolchain().for_triple("").target.startswith(running_triple().partition("-")[0])


@pytest.mark.parametrize(
    ("tags", "triple"),
    [
        (["manylinux_2_36_x86_64", "manylinux2014_x86_64", "linux_x86_64"], "x86_64-unknown-linux-gnu"),
        (["musllinux_1_2_aarch64", "linux_aarch64"], "aarch64-unknown-linux-musl"),
        (["linux_x86_64"], "x86_64-unknown-linux-gnu"),
        (["manylinux_2_31_armv7l", "linux_armv7l"], "armv7-unknown-linux-gnueabihf"),
        (["manylinux_2_31_armv8l", "manylinux_2_31_armv7l", "linux_armv8l"], "armv7-unknown-linux-gnueabihf"),
        (["musllinux_1_2_armv8l", "musllinux_1_2_armv7l", "linux_armv8l"], "armv7-unknown-linux-musleabihf"),
    ],
)
def test_the_running_interpreter_has_a_triple(tags: List[str], triple: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What packaging says of the platform is enough, so that a build that passes through reads no ELF file."""
    monkeypatch.setattr(toolchain, "platform_tags", lambda: iter(tags))

    assert running_triple() == triple


@pytest.mark.parametrize(
    ("built_for", "triple"),
    [
        ("armv8l-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("arm-unknown-linux-gnueabi", "armv7-unknown-linux-gnueabi"),
    ],
)
def test_an_interpreter_for_soft_float_is_told_by_what_it_was_built_for(
    built_for: str, triple: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tags are those of hard float, which Debian's armhf and armel show under qemu; the names are theirs."""
    monkeypatch.setattr(toolchain, "platform_tags", lambda: iter(["linux_armv7l"]))
    monkeypatch.setitem(sysconfig.get_config_vars(), "HOST_GNU_TYPE", built_for)

    assert running_triple() == triple


def test_who_asks_for_zig() -> None:
    """The setting, or a glibc without it; the host's compilers where they are named, and by default."""
    assert toolchain_for(asked()) is None
    assert toolchain_for(asked(toolchain="host", glibc="2.28")) is None
    found = [toolchain_for(asked(**values)) for values in ({"toolchain": "zig"}, {"glibc": "2.28"})]
    assert [each and each.glibc for each in found] == ["", "2.28"]

    with pytest.raises(UsageError) as caught:
        toolchain_for(asked(glibc="manylinux_2_28"))
    assert str(caught.value) == (
        "PROVISION_BACKEND_GLIBC must be a version of glibc such as 2.17, found 'manylinux_2_28'"
    )


def test_zig_is_for_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS a project that asks for it builds with the machine's compilers, and somebody who does gets an error."""
    monkeypatch.setattr(toolchain, "RUNNING", SYSTEMS["macos"])
    project = load_settings(environ={}, project={"toolchain": "zig", "glibc": ""})

    assert toolchain_for(project) is None
    assert toolchain_for(project, "aarch64-unknown-linux-gnu") is not None
    with pytest.raises(UsageError) as caught:
        toolchain_for(asked(toolchain="zig"))
    assert str(caught.value) == (
        "PROVISION_BACKEND_TOOLCHAIN asks for zig, which compiles for Linux only, and this is a build for macOS\n"
        "  build with the compilers of this machine: toolchain = host, and no glibc"
    )


def imitation(packages: Path) -> Path:
    """Write a zig that prints its arguments, one a line."""
    zig = packages / "ziglang" / "zig"
    zig.parent.mkdir(parents=True)
    zig.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="ascii")
    zig.chmod(0o755)
    (packages / "ziglang-0.99.0.dist-info").mkdir()
    return packages


def run(command: List[str], environ: Mapping[str, str], cwd: Path) -> str:
    done = subprocess.run(command, env=dict(environ), cwd=str(cwd), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("-O2 -I. a.c -o 'a b.so'", "-O2 -I. a.c -o 'a b.so'"),
        ("-Wl,--exclude-libs,ALL", ""),
        ("-Wl,-O1,-Bsymbolic-functions,-z,relro -Wl,-z,now", "-Wl,-z,relro -Wl,-z,now"),
        ("-Wl,-rpath-link -Wl,/folder -Wl,-rpath,/other", "-Wl,-rpath,/other"),
        ("-Wl,-z -Wl,pack-relative-relocs -Wl,-z -Wl,now", "-Wl,-z,now"),
        ("-Wl,--push-state,--whole-archive -lz -Wl,--pop-state", "-Wl,--whole-archive -lz -Wl,--no-whole-archive"),
        ("-Wl,-rpath,$ORIGIN/* -Wl,--version-script=a.map", "'-Wl,-rpath,$ORIGIN/*' -Wl,--version-script=a.map"),
        ("-march=x86-64-v2 -mtune=generic -march=haswell", "-march=haswell"),
        ("-flto=auto -flto-partition=none -ffat-lto-objects -fuse-linker-plugin", "-flto"),
        ("-Wp,-D_FORTIFY_SOURCE=3 -specs=/usr/lib/rpm/redhat/redhat-hardened-cc1", "-D_FORTIFY_SOURCE=3"),
        ("-static-libgcc -fuse-ld=gold --rtlib=compiler-rt", ""),
        ("-I/usr/include -I/usr/include/x86_64-linux-gnu -I/usr/include/openssl-1", (
            "-idirafter/usr/include -idirafter/usr/include/x86_64-linux-gnu -I/usr/include/openssl-1"
        )),
    ],
)  # fmt: skip
def test_options_of_gcc_are_translated(options: str, kept: str, tmp_path: Path) -> None:
    """What zig refuses or understands in another way does not reach it; everything else does, as it was written."""
    packages = imitation(tmp_path / "it's here")
    chosen = Toolchain("x86_64-unknown-linux-gnu", maps=(("/build", "/src"),))
    environ = {**ENVIRON, **chosen.variables(tmp_path / "a folder", [str(packages)], ENVIRON)}

    for name, verb in (("cc", "cc"), ("gcc", "cc"), ("c++", "c++"), ("g++", "c++")):
        received = run(["/bin/sh", "-c", f"{name} {options.replace('$', chr(92) + '$')}"], environ, tmp_path)
        start = [verb, "-target", "x86_64-linux-gnu.2.17", "-fno-sanitize=undefined"]
        start += ["-ffile-prefix-map=/build=/src", "-ffile-compilation-dir=."]
        assert received.splitlines() == [*start, *shlex.split(kept)]


def test_questions_are_answered(tmp_path: Path) -> None:
    """Programs that ask the compiler what it compiles for get an answer, which zig would not give with a glibc."""
    chosen = Toolchain("aarch64-unknown-linux-gnu", "2.28")
    packages = [str(imitation(tmp_path / "packages"))]
    environ = {**ENVIRON, **chosen.variables(tmp_path, packages, ENVIRON)}

    assert run(["cc", "-dumpmachine"], environ, tmp_path) == "aarch64-linux-gnu\n"
    assert run(["cc", "-print-multiarch"], environ, tmp_path) == "aarch64-linux-gnu\n"
    assert run(["cc", "-dumpversion"], environ, tmp_path) == "cc\n-dumpversion\n"
    assert run(["ar", "rcs", "a.a", "a.o"], environ, tmp_path) == "ar\nrcs\na.a\na.o\n"


def test_the_variables_name_no_folder_of_the_build(tmp_path: Path) -> None:
    """What real backends record of their compilers is the same wherever a build takes place."""
    chosen = Toolchain("x86_64-unknown-linux-musl")
    found = chosen.variables(tmp_path, [str(imitation(tmp_path / "packages"))], {"PATH": "/usr/bin"})

    assert found.pop("PATH") == f"{tmp_path}/toolchain/bin:/usr/bin"
    kept = {found.pop("ZIG_LOCAL_CACHE_DIR"), found.pop("ZIG_GLOBAL_CACHE_DIR")}
    assert kept == {f"{tmp_path}/toolchain/cache"}
    assert found == {
        "CC": "cc",
        "CXX": "c++",
        "AR": "ar",
        "RANLIB": "ranlib",
        "LDSHARED": "cc -shared",
        "LDCXXSHARED": "c++ -shared",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER": "cc",
    }


def test_what_zig_compiles_once_is_kept_in_the_cache(tmp_path: Path) -> None:
    """It is shown by `cache list`, not verified, and removed by `cache prune` when it was not used for long."""
    root, packages = tmp_path / "cache", [str(imitation(tmp_path / "packages"))]
    kept = root / "compilers" / "zig-0.99.0"
    chosen = Toolchain(cache=str(root))

    assert chosen.variables(tmp_path, packages, ENVIRON)["ZIG_GLOBAL_CACHE_DIR"] == str(kept)
    (kept / "libc.a").write_bytes(b"1234")
    environ = {"PROVISION_BACKEND_CACHE_DIR": str(root)}
    assert f"zig-0.99.0  4 B  used just now  {kept}" in ours("cache", "list", env=environ).out
    assert ours("cache", "verify", env=environ).out == ""
    assert "minutes ago" in ours("cache", "prune", "--unused-for", "0", env=environ).err
    os.utime(str(root / "used" / kept.name), (1, 1))
    assert f"removed {kept} (4 B)" in ours("cache", "prune", "--unused-for", "1", env=environ).out

    assert not kept.exists()


def test_all_builds_compile_the_library_of_one_path(tmp_path: Path) -> None:
    """What zig keeps is found again by the paths of its own sources, so every environment names the same ones."""
    chosen = Toolchain(cache=str(tmp_path / "cache"))
    libraries = []
    for name in ("one", "another"):
        packages = imitation(tmp_path / name)
        (packages / "ziglang" / "lib").mkdir()
        (packages / "ziglang" / "lib" / "source.c").write_text(name, encoding="ascii")
        libraries.append(chosen.variables(tmp_path, [str(packages)], ENVIRON)["ZIG_LIB_DIR"])

    assert libraries == [str(tmp_path / "cache" / "compilers" / "zig-0.99.0" / "lib")] * 2
    assert Path(libraries[0], "source.c").read_text(encoding="ascii") == "one"
    assert list((tmp_path / "cache" / "staging").iterdir()) == []


def test_a_cache_that_cannot_be_used_costs_time_only(tmp_path: Path) -> None:
    """Without one that can be written, what zig compiles is kept for the build; a folder of the user's own counts."""
    root, packages = tmp_path / "cache", [str(imitation(tmp_path / "packages"))]
    make_folders(root)
    (root / "compilers").rmdir()
    (root / "compilers").symlink_to(tmp_path)
    own = str(tmp_path / "toolchain" / "cache")
    mine = {**ENVIRON, "ZIG_GLOBAL_CACHE_DIR": "/mine"}

    assert Toolchain(cache=str(root)).variables(tmp_path, packages, ENVIRON)["ZIG_GLOBAL_CACHE_DIR"] == own
    assert Toolchain(cache=str(root)).variables(tmp_path, packages, mine)["ZIG_GLOBAL_CACHE_DIR"] == "/mine"


def test_variables_are_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real backend in this process finds zig, also after a failure the process is what it was."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(imitation(tmp_path / "packages"))])
    monkeypatch.setenv("CC", "my-cc")
    monkeypatch.delenv("CXX", raising=False)
    before = dict(os.environ)

    def _fail() -> None:
        with use_here(Toolchain(), None):
            assert (os.environ["CC"], os.environ["CXX"]) == ("cc", "c++")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        _fail()
    assert dict(os.environ) == before


def test_zig_is_missing(tmp_path: Path) -> None:
    """Without isolation nothing is installed, and the message says what to install."""
    with pytest.raises(BuildEnvironmentError) as caught:
        Toolchain().variables(tmp_path, [str(tmp_path)], ENVIRON)

    assert str(caught.value) == (
        "toolchain is zig, and the package 'ziglang' is not installed in the build environment\n"
        "  without isolation it has to be installed beforehand, as all build requirements"
    )


def symbol_versions(library: Path) -> List[str]:
    """Return the versions of glibc's symbols that a library needs, sorted as text."""
    with library.open("rb") as file:
        section: Any = ELFFile(file).get_section_by_name(".gnu.version_r")
        names = [each.name for _, versions in section.iter_versions() for each in versions]
    return sorted(name for name in names if name.startswith("GLIBC_"))


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, str]:
    """Variables of a process that compiles with the real zig, for glibc 2.17."""
    packages = installed_zig()
    architecture = running_triple().partition("-")[0]
    chosen = Toolchain(f"{architecture}-unknown-linux-gnu", "2.17")
    given = {**ENVIRON, "HOME": "/nowhere", "ZIG_GLOBAL_CACHE_DIR": str(zig_cache())}
    return {**given, **chosen.variables(tmp_path_factory.mktemp("zig"), [str(packages)], given)}


_NEW_GLIBC = (
    "#include <math.h>\n#include <pthread.h>\ndouble f(double x) { return pow(x, 0.5) + (pthread_self() != 0); }\n"
)


@pytest.mark.slow
def test_code_runs_on_an_old_glibc(environ: Dict[str, str], tmp_path: Path) -> None:
    """What a new glibc would give its newest version of has that of 2.17, with options that Pythons record."""
    (tmp_path / "f.c").write_text(_NEW_GLIBC, encoding="ascii")
    options = "-pthread -O2 -fwrapv -fPIC -Wl,--exclude-libs,ALL -Wl,-O1,-Bsymbolic-functions -flto-partition=none"
    run(["cc", "-c", *options.split()[:4], "f.c"], environ, tmp_path)
    run(["cc", "-shared", *options.split(), "f.o", "-lm", "-o", "f.so"], environ, tmp_path)

    found = symbol_versions(tmp_path / "f.so")

    assert found
    assert max(tuple(map(int, re.findall(r"\d+", name))) for name in found) <= (2, 17)


_THROWS = """\
#include <stdexcept>
#include <string>
extern "C" int caught(int x) {
    try { if (x) throw std::runtime_error("thrown " + std::to_string(x)); } catch (const std::exception &) { return 1; }
    return 0;
}
"""


@pytest.mark.matrix
@pytest.mark.slow
def test_exceptions_of_cxx_are_caught(environ: Dict[str, str], tmp_path: Path) -> None:
    """A library in C++ brings its run time along, and works in a Python of this machine."""
    (tmp_path / "t.cc").write_text(_THROWS, encoding="ascii")
    run(["c++", "-shared", "-O2", "-fPIC", "t.cc", "-o", "t.so"], environ, tmp_path)

    code = "import ctypes; library = ctypes.CDLL('./t.so'); print(library.caught(3), library.caught(0))"

    assert run([sys.executable, "-c", code], ENVIRON, tmp_path) == "1 0\n"


def without_compilers(folder: Path) -> str:
    """Make a folder with the programs of a machine that has no compiler, and return it."""
    folder.mkdir()
    for name in ("sh", "uname", "env"):
        found = next(Path(place, name) for place in ("/bin", "/usr/bin") if Path(place, name).exists())
        (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.slow
def test_a_machine_without_a_compiler_builds_an_extension(frontends: FrontendCache, tmp_path: Path) -> None:
    """The build fails and names the setting; with it the frontend installs zig, and the same build passes through."""
    wheel = zig_wheel()
    frontend = frontends.from_("3.12")
    project = c_extension(tmp_path / "cext")
    environ = {"PATH": without_compilers(tmp_path / "bin")}
    environ["PIP_FIND_LINKS"] = f"{frontend.environ['PIP_FIND_LINKS']} {wheel.parent}"

    failed = frontend.build(project, "--wheel", env=environ)
    environ = {**environ, "PROVISION_BACKEND_TOOLCHAIN": "zig", "ZIG_GLOBAL_CACHE_DIR": str(zig_cache())}
    built = frontend.build(project, "--wheel", env=environ)

    assert failed.returncode == 1
    assert "provision-backend: no C compiler was found: neither cc, gcc nor clang is on PATH\n" in failed.output
    assert compilers.TOOLCHAIN_ADVICE in failed.output
    assert (built.returncode, "no C compiler" in built.output) == (0, False), built.output
    code = "import sys; sys.path.insert(0, sys.argv[1]); import cext; print(cext.compiler())"
    (made,) = (project / "dist").glob("*.whl")
    frontend.pip("install", "-q", "--no-deps", "--target", str(tmp_path / "to"), str(made))
    assert "Clang" in frontend.run(["-c", code, str(tmp_path / "to")]).output
