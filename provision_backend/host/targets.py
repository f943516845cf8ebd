"""Name targets: an ELF header in, the parts of a target triple out. Pure; nothing here touches a file.

One table holds every combination of architecture and libc that has a name here, with the path at which executables
for it look for their loader. Names are those of python-build-standalone for what it builds (``ppc64le``, ``i686``,
``armv7``) and those of LLVM for the rest.

A target triple is added in two places and nowhere else: its line in the table below (and its machine number in
`_ARCHITECTURES` if the architecture is new), and the file ``catalog/data/<triple>.txt`` once there are archives.

Source: LLVM ``Triple.h``; glibc wiki "ABIList"; musl ``configure`` and ``arch/*/reloc.h``; the processor
supplements to the gABI for the meaning of ``e_flags``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    from .elf import ElfFile

__all__ = [
    "ELF_TARGETS",
    "LEVELED_TRIPLES",
    "OTHER_TARGETS",
    "Target",
    "architecture_of",
    "environment_of",
    "float_abi_of",
    "split_level",
    "triple_of",
    "with_level",
]


class Target(NamedTuple):
    """One row of the table: a triple, and where its executables look for their loader."""

    architecture: str
    """As in the triple, without a microarchitecture level."""
    environment: str
    """The last part of the triple: the libc and the variant of the ABI."""
    loader: str
    """Absolute path of the dynamic loader."""

    @property
    def triple(self) -> str:
        """The target triple."""
        return f"{self.architecture}-unknown-linux-{self.environment}"

    @property
    def libc(self) -> str:
        """``gnu``, ``musl`` or ``android``."""
        return next(libc for libc in ("gnu", "musl", "android") if self.environment.startswith(libc))

    @property
    def bits(self) -> int:
        """Word size of the ABI; that of x32 and n32 is 32 on 64-bit CPUs."""
        return 32 if self.environment.endswith(("x32", "n32")) or self.architecture in _NARROW else 64

    @property
    def byte_order(self) -> str:
        """``little`` or ``big``."""
        return "big" if self.architecture in _BIG_ENDIAN else "little"

    @property
    def float_abi(self) -> Optional[str]:
        """``hard`` or ``soft`` on ARM; ``double``, ``single`` or ``soft`` on RISC-V and LoongArch; else None."""
        if self.architecture.startswith("arm"):
            return "hard" if self.environment.endswith("hf") else "soft"
        if self.architecture.startswith(("riscv", "loongarch")):
            return {"sf": "soft", "32": "single"}.get(self.environment[-2:], "double")
        return None


# (e_machine, bits, byte order) -> architecture. uname and platform.machine() name the kernel, which may have another
# word size than the userland (uv#13288, Raspberry Pi OS). ARM is called by the version that python-build-standalone
# builds for; whether the CPU really is an ARMv7 is another question (cpu.py).
_ARCHITECTURES: Dict[Tuple[int, int, str], str] = {
    (62, 64, "little"): "x86_64",
    (62, 32, "little"): "x86_64",  # x32
    (3, 32, "little"): "i686",
    (183, 64, "little"): "aarch64",
    (183, 64, "big"): "aarch64_be",
    (40, 32, "little"): "armv7",
    (40, 32, "big"): "armeb",
    (21, 64, "little"): "ppc64le",
    (21, 64, "big"): "powerpc64",
    (20, 32, "big"): "powerpc",
    (22, 64, "big"): "s390x",
    (22, 32, "big"): "s390",
    (243, 64, "little"): "riscv64",
    (243, 32, "little"): "riscv32",
    (258, 64, "little"): "loongarch64",
    (8, 32, "big"): "mips",
    (8, 32, "little"): "mipsel",
    (8, 64, "big"): "mips64",
    (8, 64, "little"): "mips64el",
    (43, 64, "big"): "sparc64",
    (2, 32, "big"): "sparc",
    (18, 32, "big"): "sparc",
    (4, 32, "big"): "m68k",
    (15, 32, "big"): "hppa",
    (0x9026, 64, "little"): "alpha",
}

# The r6 MIPS names have no machine number of their own: they are told apart by e_flags, see _mips_architecture.
_NARROW = frozenset(name for (_, bits, _), name in _ARCHITECTURES.items() if bits == 32 and name != "x86_64") | {
    "mipsisa32r6",
    "mipsisa32r6el",
}
_BIG_ENDIAN = frozenset(name for (_, _, order), name in _ARCHITECTURES.items() if order == "big") | {
    "mipsisa32r6",
    "mipsisa64r6",
}

_EM_MIPS, _EM_ARM, _EM_X86_64, _EM_RISCV, _EM_LOONGARCH = 8, 40, 62, 243, 258
_EF_ARM_ABI_FLOAT_SOFT, _EF_ARM_ABI_FLOAT_HARD = 0x200, 0x400
_EF_MIPS_ABI2 = 0x20  # The n32 ABI: 64-bit registers, 32-bit pointers.
_EF_MIPS_ARCH, _EF_MIPS_ARCH_32R6, _EF_MIPS_ARCH_64R6 = 0xF0000000, 0x90000000, 0xA0000000
_RISCV_FLOAT = {0x0: "soft", 0x2: "single", 0x4: "double", 0x6: "quad"}
_LOONGARCH_FLOAT = {1: "soft", 2: "single", 3: "double"}

# A line for each architecture: its environments, and the loader that a generic executable, such as that of
# python-build-standalone, names in PT_INTERP. musl's loaders are all called /lib/ld-musl-<name>.so.1, and only the name
# stands here. A distribution's own executables may name another loader (NixOS and Guix have them in their stores).
# Android is in the table so that the message can say what the host is (uv#7373); there are no archives for it.
_TARGETS = """
x86_64 gnu=/lib64/ld-linux-x86-64.so.2 gnux32=/libx32/ld-linux-x32.so.2 musl=x86_64 muslx32=x32
x86_64 android=/system/bin/linker64
i686 gnu=/lib/ld-linux.so.2 musl=i386 android=/system/bin/linker
aarch64 gnu=/lib/ld-linux-aarch64.so.1 musl=aarch64 android=/system/bin/linker64
aarch64_be gnu=/lib/ld-linux-aarch64_be.so.1 musl=aarch64_be
armv7 gnueabihf=/lib/ld-linux-armhf.so.3 gnueabi=/lib/ld-linux.so.3 musleabihf=armhf musleabi=arm
armv7 androideabi=/system/bin/linker
armeb gnueabihf=/lib/ld-linux-armhf.so.3 gnueabi=/lib/ld-linux.so.3 musleabihf=armebhf musleabi=armeb
ppc64le gnu=/lib64/ld64.so.2 musl=powerpc64le
powerpc64 gnu=/lib64/ld64.so.1 musl=powerpc64
powerpc gnu=/lib/ld.so.1 musl=powerpc
s390x gnu=/lib/ld64.so.1 musl=s390x
s390 gnu=/lib/ld.so.1
riscv64 gnu=/lib/ld-linux-riscv64-lp64d.so.1 musl=riscv64 android=/system/bin/linker64
riscv32 gnu=/lib/ld-linux-riscv32-ilp32d.so.1 musl=riscv32
loongarch64 gnu=/lib64/ld-linux-loongarch-lp64d.so.1 gnuf32=/lib64/ld-linux-loongarch-lp64f.so.1
loongarch64 gnusf=/lib64/ld-linux-loongarch-lp64s.so.1 musl=loongarch64 muslf32=loongarch64-sp
loongarch64 muslsf=loongarch64-sf
mips gnu=/lib/ld.so.1 musl=mips
mipsel gnu=/lib/ld.so.1 musl=mipsel
mips64 gnuabi64=/lib64/ld.so.1 gnuabin32=/lib32/ld.so.1 muslabi64=mips64 muslabin32=mipsn32
mips64el gnuabi64=/lib64/ld.so.1 gnuabin32=/lib32/ld.so.1 muslabi64=mips64el muslabin32=mipsn32el
mipsisa32r6 gnu=/lib/ld-linux-mipsn8.so.1
mipsisa32r6el gnu=/lib/ld-linux-mipsn8.so.1
mipsisa64r6 gnuabi64=/lib64/ld-linux-mipsn8.so.1
mipsisa64r6el gnuabi64=/lib64/ld-linux-mipsn8.so.1
sparc64 gnu=/lib64/ld-linux.so.2
sparc gnu=/lib/ld-linux.so.2
m68k gnu=/lib/ld.so.1 musl=m68k
hppa gnu=/lib/ld.so.1
alpha gnu=/lib/ld-linux.so.2
"""


def _parse_targets(table: str) -> Iterator[Target]:
    for line in filter(None, table.splitlines()):
        architecture, *cells = line.split()
        for cell in cells:
            environment, _, loader = cell.partition("=")
            yield Target(architecture, environment, loader if "/" in loader else f"/lib/ld-musl-{loader}.so.1")


ELF_TARGETS: Dict[str, Target] = {target.triple: target for target in _parse_targets(_TARGETS)}
"""Every Linux target that has a name here, by its triple."""

OTHER_TARGETS: Dict[str, Tuple[str, int]] = {
    "aarch64-apple-darwin": ("aarch64", 64),
    "x86_64-apple-darwin": ("x86_64", 64),
    "aarch64-pc-windows-msvc": ("aarch64", 64),
    "i686-pc-windows-msvc": ("i686", 32),
    "x86_64-pc-windows-msvc": ("x86_64", 64),
}
"""Hosts without ELF files: triple -> (architecture, bits)."""

LEVELED_TRIPLES = ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl")
"""The only triples for which python-build-standalone builds microarchitecture levels."""

_LEVELS = ("_v2", "_v3", "_v4")


def with_level(triple: str, level: int) -> str:
    """Put a microarchitecture level of x86_64 into a triple; level 1 is the baseline, whose triple has none."""
    return triple.replace("x86_64", f"x86_64_v{level}", 1) if level > 1 else triple


def split_level(triple: str) -> Tuple[str, int]:
    """Take the microarchitecture level off a triple: ``x86_64_v3-unknown-linux-gnu``.

    Returns:
        The triple of the baseline and the level: 1 for the baseline, else 2, 3 or 4.
    """
    architecture, separator, rest = triple.partition("-")
    if architecture.startswith("x86_64") and architecture[-3:] in _LEVELS:
        return architecture[:-3] + separator + rest, int(architecture[-1])
    return triple, 1


def architecture_of(elf: ElfFile) -> Optional[str]:
    """Name the architecture of an ELF file; None for a machine that has no name here."""
    name = _ARCHITECTURES.get((elf.machine, elf.bits, elf.byte_order))
    if name and elf.machine == _EM_MIPS:
        return _mips_architecture(elf, name)
    return name


def _mips_architecture(elf: ElfFile, name: str) -> str:
    # The n32 ABI is a 32-bit class for a 64-bit CPU; LLVM puts the 64 in the architecture, as for x32.
    wide = elf.bits == 64 or bool(elf.flags & _EF_MIPS_ABI2)
    ending = "el" if elf.byte_order == "little" else ""
    if elf.flags & _EF_MIPS_ARCH in (_EF_MIPS_ARCH_32R6, _EF_MIPS_ARCH_64R6):
        return ("mipsisa64r6" if wide else "mipsisa32r6") + ending
    return "mips64" + ending if wide else name


def float_abi_of(elf: ElfFile, loader: str) -> Optional[str]:
    """Tell how an ELF file with a loader passes floating-point arguments, as ``Platform.float_abi``.

    What the CPU could do is no evidence: a soft-float userland runs on any (uv#18509).
    """
    if elf.machine == _EM_ARM:
        # Executables of old linkers have neither flag; there the loader's name tells.
        if elf.flags & _EF_ARM_ABI_FLOAT_HARD:
            return "hard"
        if elf.flags & _EF_ARM_ABI_FLOAT_SOFT:
            return "soft"
        return "hard" if "hf" in loader.rpartition("/")[2] else "soft"
    if elf.machine == _EM_RISCV:
        return _RISCV_FLOAT[elf.flags & 0x6]
    if elf.machine == _EM_LOONGARCH:
        return _LOONGARCH_FLOAT.get(elf.flags & 0x7, "double")
    return None


def environment_of(elf: ElfFile, libc: str, float_abi: Optional[str]) -> str:
    """Name the last part of a target triple; ``libc`` and ``float_abi`` are those of `Platform`."""
    if elf.machine == _EM_ARM:
        # Android has one ABI for ARMv7, whose triple says nothing about floats.
        hard = "hf" if float_abi == "hard" and libc != "android" else ""
        return f"{libc}eabi{hard}"
    if elf.machine == _EM_X86_64 and elf.bits == 32:
        return f"{libc}x32"
    if elf.machine == _EM_LOONGARCH and libc != "android":
        return libc + {"soft": "sf", "single": "f32"}.get(float_abi or "", "")
    if elf.machine == _EM_MIPS and libc in ("gnu", "musl"):
        return libc + ("abi64" if elf.bits == 64 else "abin32" if elf.flags & _EF_MIPS_ABI2 else "")
    return libc


def triple_of(elf: ElfFile, libc: str, loader: str) -> str:
    """Name the target that an executable with this libc and loader is for."""
    environment = environment_of(elf, libc, float_abi_of(elf, loader))
    return f"{architecture_of(elf) or 'unknown'}-unknown-linux-{environment}"
