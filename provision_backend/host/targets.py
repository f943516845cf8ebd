"""Find the target triple of an ELF header, and list those of systems without a choice of libc. Reads no file.

One table holds every known combination of architecture and libc, with the path at which executables for it look for
their loader. Names are those of python-build-standalone for what it builds (``ppc64le``, ``i686``, ``armv7``) and those
of LLVM for the rest. A target triple is added in two places: a line of this table, with the names by which others call
its architecture below it, and the file ``catalog/data/<triple>.txt`` once there are archives.

Source: LLVM ``Triple.h``; glibc wiki "ABIList"; musl ``configure`` and ``arch/*/reloc.h``; the processor
supplements to the gABI for the meaning of ``e_flags``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, NamedTuple, Optional, Tuple

from ..systems import SYSTEMS, System

if TYPE_CHECKING:
    from .elf import ElfFile

__all__ = [
    "ELF_TARGETS", "LEVELED_TRIPLES", "OTHER_TARGETS", "Target", "architecture_name", "architecture_of", "float_abi_of",
    "multiarch_of", "read_machine", "split_level", "triple_of", "with_level",
]  # fmt: skip


class Target(NamedTuple):
    """The facts about one triple."""

    architecture: str
    """As in the triple, without a microarchitecture level."""
    environment: str
    """The last part of the triple: the libc and the variant of the ABI."""
    loader: str
    """Absolute path of the dynamic loader."""
    bits: int
    """Word size of the ABI; that of x32 and n32 is 32 on 64-bit CPUs."""
    byte_order: str
    """``little`` or ``big``."""

    @property
    def triple(self) -> str:
        """The target triple."""
        return f"{self.architecture}-unknown-linux-{self.environment}"

    @property
    def libc(self) -> str:
        """``gnu``, ``musl`` or ``android``."""
        return next(libc for libc in ("gnu", "musl", "android") if self.environment.startswith(libc))

    @property
    def float_abi(self) -> Optional[str]:
        """``hard`` or ``soft`` on ARM; ``double``, ``single`` or ``soft`` on RISC-V and LoongArch; else None."""
        if self.architecture.startswith("arm"):
            return "hard" if self.environment.endswith("hf") else "soft"
        if self.architecture.startswith(("riscv", "loongarch")):
            return {"sf": "soft", "32": "single"}.get(self.environment[-2:], "double")
        return None


_EM_MIPS, _EM_ARM, _EM_X86_64, _EM_RISCV, _EM_LOONGARCH = 8, 40, 62, 243, 258
_EF_ARM_ABI_FLOAT_SOFT, _EF_ARM_ABI_FLOAT_HARD = 0x200, 0x400
_EF_MIPS_ABI2 = 0x20  # The n32 ABI: 64-bit registers, 32-bit pointers.
_EF_MIPS_ARCH, _EF_MIPS_ARCH_32R6, _EF_MIPS_ARCH_64R6 = 0xF0000000, 0x90000000, 0xA0000000
_RISCV_FLOAT = {0x0: "soft", 0x2: "single", 0x4: "double", 0x6: "quad"}
_LOONGARCH_FLOAT = {1: "soft", 2: "single", 3: "double"}

# Each line: e_machine, word size, byte order and architecture of a kind of ELF file, then its environments, each with
# the loader that a generic executable, such as that of python-build-standalone, names in PT_INTERP. All loaders of musl
# are called /lib/ld-musl-<name>.so.1, and the table has only the name. A distribution's own executables may name
# another loader (NixOS and Guix have them in their stores). uname and platform.machine() are no evidence: they name the
# kernel, which may have another word size than the userland (uv#13288, Raspberry Pi OS).
# ARM is called by the version that python-build-standalone builds for; cpu.py asks whether the CPU really is an ARMv7.
# There are no archives for Android; the table names it so that a message can say what the host is (uv#7373).
_TABLE = """
62 64 little x86_64 gnu=/lib64/ld-linux-x86-64.so.2 musl=x86_64 android=/system/bin/linker64
62 32 little x86_64 gnux32=/libx32/ld-linux-x32.so.2 muslx32=x32
3 32 little i686 gnu=/lib/ld-linux.so.2 musl=i386 android=/system/bin/linker
183 64 little aarch64 gnu=/lib/ld-linux-aarch64.so.1 musl=aarch64 android=/system/bin/linker64
183 64 big aarch64_be gnu=/lib/ld-linux-aarch64_be.so.1 musl=aarch64_be
40 32 little armv7 gnueabihf=/lib/ld-linux-armhf.so.3 gnueabi=/lib/ld-linux.so.3 musleabihf=armhf musleabi=arm
40 32 little armv7 androideabi=/system/bin/linker
40 32 big armeb gnueabihf=/lib/ld-linux-armhf.so.3 gnueabi=/lib/ld-linux.so.3 musleabihf=armebhf musleabi=armeb
21 64 little ppc64le gnu=/lib64/ld64.so.2 musl=powerpc64le
21 64 big powerpc64 gnu=/lib64/ld64.so.1 musl=powerpc64
20 32 big powerpc gnu=/lib/ld.so.1 musl=powerpc
22 64 big s390x gnu=/lib/ld64.so.1 musl=s390x
22 32 big s390 gnu=/lib/ld.so.1
243 64 little riscv64 gnu=/lib/ld-linux-riscv64-lp64d.so.1 musl=riscv64 android=/system/bin/linker64
243 32 little riscv32 gnu=/lib/ld-linux-riscv32-ilp32d.so.1 musl=riscv32
258 64 little loongarch64 gnu=/lib64/ld-linux-loongarch-lp64d.so.1 gnuf32=/lib64/ld-linux-loongarch-lp64f.so.1
258 64 little loongarch64 gnusf=/lib64/ld-linux-loongarch-lp64s.so.1 musl=loongarch64
258 64 little loongarch64 muslf32=loongarch64-sp muslsf=loongarch64-sf
8 32 big mips gnu=/lib/ld.so.1 musl=mips
8 32 little mipsel gnu=/lib/ld.so.1 musl=mipsel
8 64 big mips64 gnuabi64=/lib64/ld.so.1 muslabi64=mips64
8 32 big mips64 gnuabin32=/lib32/ld.so.1 muslabin32=mipsn32
8 64 little mips64el gnuabi64=/lib64/ld.so.1 muslabi64=mips64el
8 32 little mips64el gnuabin32=/lib32/ld.so.1 muslabin32=mipsn32el
8 32 big mipsisa32r6 gnu=/lib/ld-linux-mipsn8.so.1
8 32 little mipsisa32r6el gnu=/lib/ld-linux-mipsn8.so.1
8 64 big mipsisa64r6 gnuabi64=/lib64/ld-linux-mipsn8.so.1
8 64 little mipsisa64r6el gnuabi64=/lib64/ld-linux-mipsn8.so.1
43 64 big sparc64 gnu=/lib64/ld-linux.so.2
2 32 big sparc gnu=/lib/ld-linux.so.2
18 32 big sparc
4 32 big m68k gnu=/lib/ld.so.1 musl=m68k
15 32 big hppa gnu=/lib/ld.so.1
36902 64 little alpha gnu=/lib/ld-linux.so.2
"""

_OTHER_NAMES: Dict[str, Dict[str, str]] = {
    "armv7": {"uname": "armv7l", "qemu": "arm", "zig": "arm", "meson": "arm", "debian": "arm"},
    "i686": {"qemu": "i386", "zig": "x86", "meson": "x86", "debian": "i386"},
    "powerpc": {"uname": "ppc", "qemu": "ppc", "meson": "ppc"},
    "powerpc64": {"uname": "ppc64", "qemu": "ppc64", "meson": "ppc64"},
    "ppc64le": {"zig": "powerpc64le", "meson": "ppc64", "debian": "powerpc64le"},
}
"""What others call an architecture of the table, where that is another name; see `architecture_name`."""

_MACHINES = {
    "amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7", "i386": "i686", "i586": "i686",
    **{names["uname"]: architecture for architecture, names in _OTHER_NAMES.items() if "uname" in names},
}  # fmt: skip

ELF_TARGETS: Dict[str, Target] = {}
"""Every known Linux target, by its triple."""

_ARCHITECTURES: Dict[Tuple[int, int, str], str] = {}


def _read_table() -> None:
    for line in _TABLE.strip().splitlines():
        machine, bits, byte_order, architecture, *cells = line.split()
        # n32 and release 6 of MIPS have the numbers of plain MIPS, which comes first: _mips_architecture reads e_flags.
        _ARCHITECTURES.setdefault((int(machine), int(bits), byte_order), architecture)
        for cell in cells:
            environment, _, loader = cell.partition("=")
            path = loader if "/" in loader else f"/lib/ld-musl-{loader}.so.1"
            target = Target(architecture, environment, path, int(bits), byte_order)
            ELF_TARGETS[target.triple] = target


_read_table()

OTHER_TARGETS: Dict[str, Tuple[str, System]] = {
    f"{architecture}-{system.triple}": (architecture, system)
    for system in SYSTEMS.values()
    for architecture in system.architectures
}
"""The triples of systems that have one C library, their own; each with its architecture."""

LEVELED_TRIPLES = ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl")
"""The only triples for which python-build-standalone builds microarchitecture levels."""


def architecture_name(architecture: str, user: str) -> str:
    """Return what another program calls an architecture of Linux.

    Args:
        architecture: as in target triples, without a level.
        user: ``uname`` (the kernel, and the tags of wheels), ``qemu`` (qemu-user), ``zig``, ``meson``, or ``debian``.
    """
    return _OTHER_NAMES.get(architecture, {}).get(user, architecture)


def read_machine(machine: str) -> str:
    """Return what target triples call a machine, as kernels, package managers and people do; an unknown one stays."""
    return _MACHINES.get(machine.lower(), machine)


def with_level(triple: str, level: int) -> str:
    """Put a microarchitecture level into a triple of x86_64; that of level 1, the baseline, stays as it is."""
    return triple.replace("x86_64", f"x86_64_v{level}", 1) if level > 1 else triple


def split_level(triple: str) -> Tuple[str, int]:
    """Return the baseline of a triple such as ``x86_64_v3-unknown-linux-gnu``, and its level; 1 is the baseline."""
    if triple.startswith(("x86_64_v2-", "x86_64_v3-", "x86_64_v4-")):
        return triple[:6] + triple[9:], int(triple[8])
    return triple, 1


def architecture_of(elf: ElfFile) -> Optional[str]:
    """Return the name of an ELF file's architecture; None for an unknown machine."""
    name = _ARCHITECTURES.get((elf.machine, elf.bits, elf.byte_order))
    return _mips_architecture(elf, name) if name and elf.machine == _EM_MIPS else name


def _mips_architecture(elf: ElfFile, name: str) -> str:
    # The n32 ABI has 32-bit files for a 64-bit CPU; LLVM puts the 64 into the name of the architecture, as for x32.
    wide = elf.bits == 64 or bool(elf.flags & _EF_MIPS_ABI2)
    ending = "el" if elf.byte_order == "little" else ""
    if elf.flags & _EF_MIPS_ARCH in (_EF_MIPS_ARCH_32R6, _EF_MIPS_ARCH_64R6):
        return ("mipsisa64r6" if wide else "mipsisa32r6") + ending
    return "mips64" + ending if wide else name


def float_abi_of(elf: ElfFile, loader: str) -> Optional[str]:
    """Return how an ELF file with a loader passes floating-point arguments, as ``Platform.float_abi``."""
    # What the CPU supports is no evidence: a soft-float userland runs on any CPU (uv#18509).
    if elf.machine == _EM_ARM:
        # Linkers before 2013 set neither flag; then the name of the loader decides.
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


def _environment_of(elf: ElfFile, libc: str, float_abi: Optional[str]) -> str:
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
    """Return the triple of an executable with this libc and loader."""
    environment = _environment_of(elf, libc, float_abi_of(elf, loader))
    return f"{architecture_of(elf) or 'unknown'}-unknown-linux-{environment}"


def multiarch_of(elf: ElfFile, loader: str) -> str:
    """Return the name of Debian's folders for the libraries of an executable for glibc: ``x86_64-linux-gnu``."""
    architecture, _, _, environment = triple_of(elf, "gnu", loader).split("-")
    return f"{architecture_name(architecture, 'debian')}-linux-{environment}"
