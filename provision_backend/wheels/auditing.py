"""Give a wheel for Linux its platform tag, by auditwheel: this module alone imports it, and is imported late.

auditwheel reads which libraries and versions of symbols the compiled files need, compares that with the policies of
PEP 600 and PEP 656, and grafts libraries that a policy does not promise. What it logs and prints goes where this
process's output goes. Its own messages name no symbol, so ours are made from what it has read.
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Optional, Set, Tuple

from auditwheel.architecture import Architecture
from auditwheel.elfutils import elf_file_filter, elf_read_dt_needed
from auditwheel.error import NonPlatformWheelError
from auditwheel.lddtree import LIBPYTHON_RE, load_ld_paths
from auditwheel.libc import Libc
from auditwheel.patcher import ElfPatcher
from auditwheel.policy import ExternalReference, Policy, WheelPolicies
from auditwheel.repair import repair_wheel
from auditwheel.wheel_abi import WheelAbIInfo, analyze_wheel_abi
from auditwheel.wheeltools import InWheelCtx

from ..errors import WheelError
from ..hooks.tags import architecture_tag, tags_of
from ..host.targets import ELF_TARGETS, split_level

__all__ = ["Platform", "graft"]

# It warns on every host without musl that it cannot tell the version of musl; all policies but the last are obsolete.
logging.getLogger("auditwheel.policy").setLevel(logging.ERROR)

_SHOWN = 8  # symbols of one file that a message names


class Platform(NamedTuple):
    """What a wheel is to be tagged for."""

    triple: str
    """Target triple, of Linux with glibc or musl."""
    glibc: str
    """Oldest glibc that it is to run on, as ``2.17``; empty for the oldest that its code allows."""
    is_host: bool
    """Whether libraries of the running system may be grafted."""


def graft(wheel: Path, folder: Path, platform: Platform) -> Tuple[Path, Tuple[str, ...]]:
    """Write a wheel with its platform tag, and the libraries that it needs, into an empty folder.

    Returns:
        The wheel, and the names of the libraries that were grafted.

    Raises:
        WheelError: it cannot have the tag; the message says what forbids it.
    """
    libc = Libc.MUSL if ELF_TARGETS[split_level(platform.triple)[0]].libc == "musl" else Libc.GLIBC
    policies = WheelPolicies(libc=libc, arch=Architecture(architecture_tag(platform.triple)))
    wanted = _wanted_policy(policies, platform.glibc) if libc is Libc.GLIBC else policies.highest
    # A backend may have tagged it already, as maturin does: then that is what it has to be good for.
    claimed = {tag.platform for tag in tags_of(wheel.name)}
    known = [policy for policy in policies if policy != policies.linux]
    promises = [policy for policy in known if claimed.intersection((policy.name, *policy.aliases))]
    wanted = max(filter(None, [wanted, *promises]), key=lambda policy: policy.priority, default=None)
    if libc is Libc.MUSL:
        wheel = _name_libc(wheel, folder / "libc", wanted)
    info = _analyze(wheel, policies, wanted, platform)
    if wanted is None:
        wanted = info.overall_policy if info.overall_policy != policies.linux else policies.lowest
    _check(wheel, info, wanted, platform)
    names = [wanted.name, *wanted.aliases]
    if wanted < info.overall_policy:  # It runs on older systems, too.
        names = [info.overall_policy.name, *info.overall_policy.aliases, *names]
    made = repair_wheel(
        info,
        wheel,
        abis=names,
        lib_sdir=".libs",
        out_dir=folder,
        update_tags=True,
        patcher=ElfPatcher.get_patcher("patchelf", wanted.name),
        strip=False,
        zip_compression_level=-1,
    )
    grafted = {name for refs in info.full_external_refs.values() for name in refs[names[0]].libs}
    return Path(made or wheel), tuple(sorted(name for name in grafted if not LIBPYTHON_RE.match(name)))


def _wanted_policy(policies: WheelPolicies, glibc: str) -> Optional[Policy]:
    """Return the policy of the newest glibc that is not newer than what is asked for, or else the oldest one."""
    if not glibc:
        return None
    limit = tuple(map(int, glibc.split(".")))
    known = [policy for policy in policies if policy != policies.linux]  # That of the newest glibc comes first.
    return next((policy for policy in known if _glibc_of(policy) <= limit), known[-1])


def _glibc_of(policy: Policy) -> Tuple[int, ...]:
    return tuple(int(part) for part in policy.name.split("_")[1:3])


def _analyze(wheel: Path, policies: WheelPolicies, wanted: Optional[Policy], platform: Platform) -> WheelAbIInfo:
    architecture = f"_{policies.architecture.value}"
    # It reads LD_LIBRARY_PATH and ld.so.conf once a process.
    load_ld_paths.cache_clear()
    try:
        # Where the platform is not named, a wheel whose modules need no libc themselves ends in InvalidLibcError.
        return analyze_wheel_abi(
            policies.libc,
            policies.architecture,
            wheel,
            frozenset(),
            disable_isa_ext_check=False,
            allow_graft=True,
            requested_policy_base_name=wanted.name[: -len(architecture)] if wanted else "auto",
            # Libraries of this host are for no other one.
            args_ldpaths=None if platform.is_host else "",
        )
    except NonPlatformWheelError:
        with InWheelCtx(wheel) as context:
            files = sorted(str(file) for file, _ in elf_file_filter(context.iter_files()))
        advice = "a wheel without compiled files is pure: have its build backend tag it py3-none-any"
        if files:
            advice = f"compiled for another libc or architecture: {', '.join(files[:_SHOWN])}"
        raise WheelError(f"{wheel.name} has no compiled file for {platform.triple}", hint=advice) from None


def _name_libc(wheel: Path, folder: Path, policy: Policy) -> Path:
    """Return a wheel whose files name musl as a musl system does; linkers that are no part of one say ``libc.so``."""
    name = next(name for name in policy.whitelist if name.startswith("libc.musl-"))
    patcher = ElfPatcher.get_patcher("patchelf", policy.name)
    folder.mkdir()
    with InWheelCtx(wheel) as context:
        for file in [file for file, _ in elf_file_filter(context.iter_files())]:
            if "libc.so" in elf_read_dt_needed(file):
                patcher.replace_needed(file, ("libc.so", name))
                context.out_wheel = folder / wheel.name
        patcher.apply_updates()
    return folder / wheel.name if context.out_wheel else wheel


def _check(wheel: Path, info: WheelAbIInfo, wanted: Policy, platform: Platform) -> None:
    """Raise `WheelError` for the first reason why the wheel cannot have the tag."""
    failed = f"{wheel.name} cannot have the tag {wanted.name}"
    references = info.external_refs[wanted.name]
    for name, path in sorted(references.libs.items()):
        if path is None and not LIBPYTHON_RE.match(name):
            raise WheelError(
                f"{failed}: it needs {name}, which {_absence(platform)}", hint=_advice(info, name, platform)
            )
    if wanted > info.sym_policy:
        newest = "" if info.sym_policy == info.policies.linux else ".".join(map(str, _glibc_of(info.sym_policy)))
        advice = f"build it with the toolchain zig, --glibc {'.'.join(map(str, _glibc_of(wanted)))}"
        advice += f", or for --glibc {newest}" if newest else ""
        lines = list(_forbidden_symbols(wheel, references, wanted))
        raise WheelError(f"{failed}: it uses symbols that are too new", hint="\n".join([*lines, advice]))
    if wanted > info.blacklist_policy:
        lines = [f"{name}: {', '.join(symbols)}" for name, symbols in sorted(references.blacklist.items())]
        advice = "these are internal to the library: link it statically"
        raise WheelError(
            f"{failed}: it uses symbols that not every build of the library has", hint="\n".join([*lines, advice])
        )
    if wanted > info.machine_policy:
        raise WheelError(
            f"{failed}: it is compiled for a newer CPU than {info.policies.architecture.value}",
            hint="compile it without -march=native and the like, and choose the code for newer CPUs at run time",
        )


def _absence(platform: Platform) -> str:
    return "was found in no library folder" if platform.is_host else f"this host does not have for {platform.triple}"


def _advice(info: WheelAbIInfo, library: str, platform: Platform) -> str:
    users = sorted(
        {file.name for file, refs in info.full_external_refs.items() for ref in refs.values() if library in ref.libs}
    )
    advice = "install it, name its folder in LD_LIBRARY_PATH, or link it statically"
    if not platform.is_host:
        advice = "link it statically, or build in a root of that system"
    return f"needed by: {', '.join(users)}\n{advice}"


def _forbidden_symbols(wheel: Path, references: ExternalReference, policy: Policy) -> Iterator[str]:
    """Yield a line for each file with symbols whose versions a policy does not have: its name, and these."""
    with InWheelCtx(wheel) as context:
        inside = [(file, str(file)) for file in context.iter_files()]
        outside = [(path, str(path)) for path in references.libs.values() if path is not None]
        for file, name in sorted(itertools.chain(inside, outside), key=lambda each: each[1]):
            for _, elf in elf_file_filter([file]):
                found = sorted(_versioned(elf, policy))
                more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
                if found:
                    yield f"{name}: {', '.join(found[:_SHOWN] + more)}"


def _versioned(elf: Any, policy: Policy) -> Set[str]:
    """Return the symbols of a file whose versions a policy does not have, as ``pow@GLIBC_2.29``.

    Source: Linux Standard Base, "Symbol Versioning".
    """
    numbers, needs, symbols = (elf.get_section_by_name(name) for name in (".gnu.version", ".gnu.version_r", ".dynsym"))
    if not (numbers and needs and symbols):
        return set()
    forbidden: Dict[int, str] = {}
    for _, versions in needs.iter_versions():
        for version in versions:
            library, _, number = version.name.partition("_")
            if number not in policy.symbol_versions.get(library, {number}):
                forbidden[version["vna_other"]] = version.name
    found = {
        f"{symbol.name}@{forbidden[index]}"
        for number, symbol in enumerate(symbols.iter_symbols())
        for index in [numbers.get_symbol(number)["ndx"]]
        if index in forbidden
    }
    # A linker may ask for a version without a symbol: GLIBC_ABI_DT_RELR.
    return found | {name for name in forbidden.values() if not any(each.endswith(f"@{name}") for each in found)}
