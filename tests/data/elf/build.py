#!/usr/bin/env python3
"""Make the fixtures of this folder again: heads of real executables, and a few made ones for what cannot be had.

    python build.py [WORK]

needs a Debian system (apt-get, dpkg-deb; the system's own package lists stay untouched), Python 3.8 or later with the
packages pyelftools and ziglang, and network. WORK keeps the downloads for the next time.

Cut means: everything is zeroed except the headers, the loader's path, the dynamic section, the symbol versions and
the names that these refer to; the section headers are dropped, as sstrip does. Offsets stay as they were, so each
file unpacks to its original length. What was cut and how the rest was made is written to ORIGINS.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from elftools.elf.elffile import ELFFile

HERE = Path(__file__).resolve().parent

# (suite, package, architectures, path in the package, stem of the fixture)
DEBIAN = [
    ("bookworm", "hostname", "amd64 arm64 armhf armel i386 ppc64el s390x mips64el mipsel", "bin/hostname", "hostname"),
    ("trixie", "hostname", "riscv64", "usr/bin/hostname", "hostname"),
    ("bookworm", "busybox-static", "amd64 arm64", "bin/busybox", "busybox-static"),
    ("bullseye", "libc6", "amd64", "lib/*/libc.so.6", "libc-2.31"),
    ("bookworm", "libc6", "amd64 arm64 armhf i386", "lib/*/libc.so.6", "libc-2.36"),
    ("trixie", "libc6", "amd64 riscv64", "usr/lib/*/libc.so.6", "libc-2.41"),
    ("bookworm", "libc6", "amd64", "lib/*/ld-linux-x86-64.so.2", "ld-2.36"),
    ("bookworm", "libc6", "i386", "lib/*/ld-linux.so.2", "ld-2.36"),
    ("bookworm", "libc6", "armhf", "lib/*/ld-linux-armhf.so.3", "ld-2.36"),
    ("bookworm", "libc6", "arm64", "lib/*/ld-linux-aarch64.so.1", "ld-2.36"),
    ("bullseye", "musl", "amd64", "lib/*/libc.so", "musl-1.2.2"),
    ("bookworm", "musl", "amd64 arm64 armhf i386", "lib/*/libc.so", "musl-1.2.3"),
    ("trixie", "musl", "amd64 riscv64", "usr/lib/*/libc.so", "musl-1.2.5"),
]

# Both libcs of every target triple that python-build-standalone releases, and what else zig can link.
ZIG = """
x86_64-linux-gnu.2.17 x86_64-linux-musl x86_64-linux-gnux32 x86_64-linux-muslx32 x86-linux-gnu x86-linux-musl
aarch64-linux-gnu aarch64-linux-musl aarch64_be-linux-gnu aarch64_be-linux-musl
arm-linux-gnueabihf arm-linux-gnueabi arm-linux-musleabihf arm-linux-musleabi armeb-linux-gnueabihf
powerpc64le-linux-gnu powerpc64le-linux-musl powerpc64-linux-musl
s390x-linux-gnu s390x-linux-musl riscv64-linux-gnu riscv64-linux-musl riscv32-linux-gnu
loongarch64-linux-gnu loongarch64-linux-gnusf loongarch64-linux-musl
mips64el-linux-gnuabi64 mips64el-linux-gnuabin32 mips64el-linux-muslabi64 mipsel-linux-gnueabihf
mipsel-linux-musleabihf mips-linux-gnueabihf
""".split()

MAIN = "int main(void) { return 0; }\n"

# name -> (zig target, further options, C source)
MADE: Dict[str, Tuple[str, List[str], str]] = {
    "powerpc64-gnu": ("powerpc64-linux-musl", ["-dynamic", "-Wl,--dynamic-linker=/lib64/ld64.so.1"], MAIN),
    "android-aarch64": ("aarch64-linux-musl", ["-dynamic", "-Wl,--dynamic-linker=/system/bin/linker64"], MAIN),
    "uclibc-arm": ("arm-linux-musleabi", ["-dynamic", "-Wl,--dynamic-linker=/lib/ld-uClibc.so.0"], MAIN),
    "nix-bash": (
        "x86_64-linux-gnu.2.36",
        ["-dynamic", "-Wl,--dynamic-linker=/nix/store/0000-glibc-2.36/lib/ld-linux-x86-64.so.2"],
        MAIN,
    ),
    "guix-bash": (
        "x86_64-linux-gnu.2.35",
        ["-dynamic", "-Wl,--dynamic-linker=/gnu/store/0000-glibc-2.35/lib/ld-linux-x86-64.so.2"],
        MAIN,
    ),
    "needs-glibc-2.38": (
        "x86_64-linux-gnu.2.38",
        ["-dynamic"],
        "#include <string.h>\nint main(int c, char **v) { char b[9]; return (int)strlcpy(b, v[0], sizeof b); }\n",
    ),
    "static-musl-python": ("x86_64-linux-musl", ["-static"], MAIN),
    "gcompat-loader": (
        "x86_64-linux-musl",
        ["-static"],
        '#include <stdio.h>\nint main(void) { puts("/lib/ld-musl-x86_64.so.1 --preload /lib/libgcompat.so.0"); }\n',
    ),
    "stub-ld": (
        "x86_64-linux-musl",
        ["-static"],
        "#include <stdio.h>\nint main(void) {\n"
        'puts("Could not start dynamically linked executable: \\n"\n'
        '"NixOS cannot run dynamically linked executables intended for generic\\n"); return 127; }\n',
    ),
}

# Files that are like a libc.so.6 in what is read of it: name -> (highest version, banner).
GLIBCS = {
    "libc-2.12": ("2.12", "GNU C Library stable release version 2.12."),
    "libc-2.15-eglibc": (
        "2.15",
        "GNU C Library (Ubuntu EGLIBC 2.15-0ubuntu10) stable release version 2.15, by its authors",
    ),
    "libc-2.17": ("2.17", "GNU C Library (GNU libc) stable release version 2.17."),
    "libc-2.19": ("2.18", "GNU C Library (Debian GLIBC 2.19-18) stable release version 2.19."),
}


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def cut(data: bytes) -> bytes:
    """Zero what nobody reads who only wants to know the host."""
    kept = bytearray(len(data))
    for start, end in [*header_ranges(data), *text_ranges(data)]:
        kept[start:end] = data[start:end]
    narrow = data[4] == 1
    # e_shoff, then e_shnum and e_shstrndx at the end of the header.
    for start, end in [(0x20, 0x24), (0x30, 0x34)] if narrow else [(0x28, 0x30), (0x3C, 0x40)]:
        kept[start:end] = bytes(end - start)
    return bytes(kept)


def header_ranges(data: bytes) -> Iterator[Tuple[int, int]]:
    elf = ELFFile(io.BytesIO(data))
    yield 0, elf["e_ehsize"]
    yield elf["e_phoff"], elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"]
    for name in (".interp", ".dynamic", ".gnu.version_r", ".gnu.version_d"):
        section = elf.get_section_by_name(name)
        if section is not None:
            yield section["sh_offset"], section["sh_offset"] + section["sh_size"]
    strings = elf.get_section_by_name(".dynstr")
    for offset in name_offsets(elf) if strings else ():
        start = strings["sh_offset"] + offset
        yield start, data.index(b"\0", start) + 1


def name_offsets(elf: ELFFile) -> Iterator[int]:
    for tag in elf.get_section_by_name(".dynamic").iter_tags():
        if tag.entry.d_tag in ("DT_NEEDED", "DT_SONAME", "DT_RUNPATH", "DT_RPATH"):
            yield tag.entry.d_val
    for name, field in ((".gnu.version_r", "vna_name"), (".gnu.version_d", "vda_name")):
        section = elf.get_section_by_name(name)
        for version, auxiliaries in section.iter_versions() if section else ():
            if "vn_file" in version.entry:
                yield version.entry.vn_file
            for auxiliary in auxiliaries:
                yield auxiliary.entry[field]


def text_ranges(data: bytes) -> Iterator[Tuple[int, int]]:
    """Keep the texts that name a libc, and everything that looks like the version of musl."""
    marks = rb"musl libc \([^\0]*|GNU C Library [^\n]*\n|[^\0]*libgcompat[^\0]*|NixOS cannot run[^\0]*"
    for match in re.finditer(marks + rb"|[^\0]*\d+\.\d+\.\d+[\w-]*\0", data):
        yield match.start(), match.end()


def write(group: str, name: str, data: bytes, origin: str) -> str:
    path = HERE / group / f"{name}.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    return f"| {group}/{name} | {origin} | {path.stat().st_size} |"


def apt_configuration(work: Path) -> Dict[str, str]:
    """Write a private configuration of apt with the mirror and the keys of the system."""
    system = Path("/etc/apt/sources.list.d/debian.sources").read_text()
    mirror, key = (re.findall(rf"^{field}:\s*(\S+)", system, re.MULTILINE)[0] for field in ("URIs", "Signed-By"))
    for name in ("lists/partial", "cache/archives/partial", "sources"):
        (work / "apt" / name).mkdir(parents=True, exist_ok=True)
    suites = sorted({row[0] for row in DEBIAN})
    source = f"Types: deb\nURIs: {mirror}\nSuites: {' '.join(suites)}\nComponents: main\nSigned-By: {key}\n"
    (work / "apt/sources/debian.sources").write_text(source)
    (work / "apt/status").write_text("")
    architectures = sorted({name for row in DEBIAN for name in row[2].split()})
    apt = work / "apt"
    lines = [
        f'Dir::State "{apt}"; Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/status";',
        f'Dir::Cache "{apt}/cache"; Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "{apt}/sources";',
        'Dir::Etc::preferencesparts "/dev/null"; Dir::Etc::preferences "/dev/null"; Acquire::Languages "none";',
        'APT::Sandbox::User "root"; APT::Architecture "amd64";',
        f"APT::Architectures {{ {' '.join(f'{chr(34)}{name}{chr(34)};' for name in architectures)} }};",
    ]
    (apt / "apt.conf").write_text("\n".join(lines) + "\n")
    return {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}


def from_debian(work: Path) -> Iterator[str]:
    environment = apt_configuration(work)
    packages = work / "packages"
    packages.mkdir(exist_ok=True)
    wanted = sorted({f"{package}:{arch}/{suite}" for suite, package, archs, _, _ in DEBIAN for arch in archs.split()})
    run("apt-get", "-qq", "update", env=environment)
    run("apt-get", "-qq", "download", *wanted, env=environment, cwd=packages)
    for suite, package, architectures, pattern, stem in DEBIAN:
        for architecture in architectures.split():
            yield one_of_debian(packages, suite, f"{package}:{architecture}", pattern, stem)


def one_of_debian(packages: Path, suite: str, package: str, pattern: str, stem: str) -> str:
    name, _, architecture = package.partition(":")
    files = sorted(packages.glob(f"{name}_*_{architecture}.deb"))
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "-x", str(file), folder)
            found = [path for path in Path(folder).glob(pattern) if path.is_file()]
            version = run("dpkg-deb", "-f", str(file), "Version").strip()
            if not found or (len(files) > 1 and not is_of(version, stem)):
                continue
            data = found[0].read_bytes()
            path = found[0].relative_to(folder)
            digest = hashlib.sha256(data).hexdigest()[:16]
            origin = f"Debian {suite}, {name} {version} {architecture}, /{path}, sha256 {digest}…"
            return write("debian", f"{stem}.{architecture}", cut(data), origin)
    raise SystemExit(f"{package} of {suite}: no {pattern}")


def is_of(version: str, stem: str) -> bool:
    """Whether a package of several suites is the one that the fixture is called after."""
    upstream = re.search(r"-(\d[\d.]*)$", stem)
    return bool(upstream and version.startswith(upstream[1]))


def zig(target: str, options: List[str], source: str, work: Path) -> bytes:
    (work / "source.c").write_text(source)
    output = work / "output"
    run(
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        target,
        "-Os",
        "-s",
        *options,
        "-o",
        str(output),
        "source.c",
        cwd=work,
    )
    return output.read_bytes()


def from_zig(work: Path) -> Iterator[str]:
    version = run(sys.executable, "-m", "ziglang", "version").strip()
    for target in ZIG:
        data = zig(target, ["-dynamic"], MAIN, work)
        yield write("zig", target, cut(data), f"zig {version} cc -target {target} -dynamic -Os -s, an empty main")
    for name, (target, options, source) in MADE.items():
        shown = " ".join(options)
        yield write(
            "made", name, cut(zig(target, options, source, work)), f"made: zig {version} cc -target {target} {shown}"
        )
    for name, (highest, banner) in GLIBCS.items():
        yield write(
            "made", name, cut(make_glibc(highest, banner, work)), f"made: symbol versions up to {highest}, {banner!r}"
        )
    for version_of_musl in ("1.1.22", "1.1.24", "1.2.5-git-24-g3ddd82f"):
        yield write(
            "made", f"musl-{version_of_musl}", cut(make_musl(version_of_musl, work)), "made: the texts of a musl loader"
        )


def make_glibc(highest: str, banner: str, work: Path) -> bytes:
    last = int(highest.split(".")[1])
    versions = ["2.2.5", *(f"2.{minor}" for minor in range(3, last + 1))]
    source = f"const char banner[] = {chr(34)}{banner}\\n{chr(34)};\n"
    source += "".join(f"void f{index}(void) {{}}\n" for index in range(len(versions) + 1))
    script = "".join(f"GLIBC_{version} {{ f{index}; }};\n" for index, version in enumerate(versions))
    script = script.replace("f0; }", "f0; banner; local: *; }") + f"GLIBC_PRIVATE {{ f{len(versions)}; }};\n"
    (work / "versions").write_text(script)
    options = ["-shared", "-nostdlib", "-fPIC", "-Wl,-soname,libc.so.6", "-Wl,--version-script=versions"]
    return zig("x86_64-linux-gnu", options, source, work)


def make_musl(version: str, work: Path) -> bytes:
    source = (
        f'const char before[] = "LINUX_2.6.39"; const char libc_version[] = "{version}";\n'
        'const char usage[] = "musl libc (x86_64)\\nVersion %s\\nDynamic Program Loader\\n";\n'
    )
    return zig("x86_64-linux-musl", ["-shared", "-nostdlib", "-fPIC", "-Wl,-soname,libc.so"], source, work)


def main() -> None:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()).resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = [*from_debian(work), *from_zig(work)]
    text = (
        "Written by build.py. What is cut from a package of Debian keeps headers and names, and none of its code.\n"
        "Sizes are those of the compressed files, in bytes.\n\n| fixture | origin | size |\n| --- | --- | --- |\n"
    )
    (HERE / "ORIGINS.md").write_text(text + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
