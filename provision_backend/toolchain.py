"""A C and C++ compiler from the package index: zig, for the real backend, where the host has none or too new a glibc.

In: the settings ``toolchain`` and ``glibc``, and what is compiled for. Out: `Toolchain`, the requirement that brings
zig into a build environment like any other, and the variables by which setuptools, CMake, meson, cffi and cargo find
it: shell scripts that translate for zig what it does not know of the options of gcc.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import sysconfig
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple

from packaging.tags import platform_tags

from .cache.entries import note_use
from .cache.folders import make_folders, open_staging
from .cache.store import open_cache
from .errors import BuildEnvironmentError, CacheError, UsageError
from .files import list_names, publish, read_file, write_atomically
from .host.targets import architecture_name, read_machine
from .settings import Settings
from .systems import RUNNING
from .trust import trust_cache
from .variables import set_variables

__all__ = ["Compilers", "Toolchain", "running_triple", "toolchain_for", "use_here"]

_FOLDER = "toolchain"  # in a build environment: the scripts, and what zig keeps for this build alone

_OLDEST_GLIBC = {"riscv64": "2.27", "loongarch64": "2.36"}
"""The first glibc of an architecture, where that is newer than what standalone interpreters need elsewhere."""

_DEFAULT_GLIBC = "2.17"  # what python-build-standalone's interpreters need on x86-64 and ARM

_CPUS = {"arm": "-mcpu=generic+v7a"}
"""Options for the CPU that the wheels' tags stand for, where zig would choose another one."""

# One pass over the arguments, by the shell alone: a compiler is started hundreds of times. Each option of gcc that is
# dropped was refused by zig, or means something else to it; most are recorded in the sysconfig of some Python.
_COMPILER = r"""#!/bin/sh
# Written by provision-backend: {verb} of zig, for {target}.
set -f
linker() {{
  kept=
  IFS=,
  for word in ${{1#-Wl,}}; do
    case $skip in
      drop) skip=; continue ;;
      z) skip=
        case $word in pack-relative-relocs | nodlopen | nodump | initfirst | start-stop-gc) continue ;; esac
        kept="$kept,-z,$word"; continue ;;
    esac
    case $word in
      -z) skip=z ;;
      --exclude-libs | -Map | --Map | -rpath-link | --rpath-link | -m | -plugin | --dynamic-list) skip=drop ;;
      --exclude-libs=* | -Map=* | --Map=* | -rpath-link=* | --rpath-link=* | --dynamic-list=* | -plugin-opt* | \
      --plugin-opt* | -plugin=* | --package-metadata* | --icf=* | -O[0-9s] | -g | -q | -t | --emit-relocs | --cref | \
      --stats | --relax | --no-relax | --warn-* | --no-warn-* | --threads* | --no-threads | --no-keep-memory | \
      --add-needed | --no-add-needed | --copy-dt-needed-entries | --no-copy-dt-needed-entries | --push-state | \
      --pack-dyn-relocs=* | --unresolved-symbols=* | --no-rosegment | --orphan-handling=* | -Bsymbolic-functions | \
      --fix-cortex-* | --long-plt | --print-map) ;;
      --pop-state) kept="$kept,--no-whole-archive" ;;
      --symbolic) kept="$kept,-Bsymbolic" ;;
      *) kept="$kept,$word" ;;
    esac
  done
  unset IFS
}}
case $#$1 in
  1-dumpmachine | 1-print-multiarch | 1--print-multiarch) echo {multiarch}; exit ;;
  1-dumpversion | 1-v | 1-print-* | 1--print-*) exec {zig} {verb} "$@" ;;
esac
skip=
for each do
  shift
  case $each in
    -Wl,*)
      # The value of an option may be the next argument: -Wl,-rpath-link -Wl,/folder. So what to skip is remembered.
      linker "$each"
      [ "$kept" ] || continue
      each="-Wl$kept" ;;
    -march=x86-64* | -march=armv8-a | -march=armv7-a | -march=rv64gc | -mtune=*) continue ;;
    -flto=*) each=-flto ;;
    -flto-* | -ffat-lto-objects | -fno-fat-lto-objects | -fuse-linker-plugin | -fno-use-linker-plugin) continue ;;
    -static-libgcc | -static-libstdc++ | -fuse-ld=* | -stdlib=* | --rtlib=* | -rtlib=* | --unwindlib=*) continue ;;
    -specs=*) continue ;;
    -Wp,-D* | -Wp,-U*) each=${{each#-Wp,}} ;;
    -I/usr/include | -I/usr/include/ | -I/usr/include/*-linux-*) each="-idirafter${{each#-I}}" ;;
  esac
  set -- "$@" "$each"
done
exec {zig} {verb} -target {target} {options} "$@"
"""

_TOOL = '#!/bin/sh\n# Written by provision-backend: {verb} of zig.\nexec {zig} {verb} "$@"\n'


class Compilers(Protocol):
    """What builds ask of a toolchain; its ``repr`` distinguishes it from every other one."""

    @property
    def requirements(self) -> Tuple[str, ...]:
        """What is installed into the build environment, PEP 508."""

    def for_triple(self, triple: str) -> Compilers:
        """Return the toolchain for an interpreter's triple, unless it is made for a certain one."""

    def variables(self, folder: Path, packages: Sequence[str], environ: Mapping[str, str]) -> Dict[str, str]:
        """Return the variables of a process that uses it; see `Toolchain`."""


class Toolchain(NamedTuple):
    """Zig as the compiler of one build."""

    triple: str = ""
    """The target triple that is compiled for; empty for that of the running interpreter."""
    glibc: str = ""
    """The oldest glibc that the result is to run on; empty for what interpreters for the triple need."""
    maps: Tuple[Tuple[str, str], ...] = ()
    """Pairs of a folder and of what stands for it in debug information and ``__FILE__``."""
    cache: str = ""
    """The root of our cache, in which zig keeps what it has compiled of each libc; empty: nothing is kept."""

    @property
    def requirements(self) -> Tuple[str, ...]:
        """What is installed into the build environment, PEP 508."""
        return ("ziglang",)

    def for_triple(self, triple: str) -> Toolchain:
        """Return the toolchain for an interpreter's triple, which may be empty, unless it is made for a certain one."""
        return self._replace(triple=self.triple or triple)

    @property
    def target(self) -> str:
        """The target as zig writes it: ``x86_64-linux-gnu.2.17``."""
        architecture, _, _, environment = (self.triple or running_triple()).split("-")
        name = re.sub("_v[2-4]$", "", architecture)
        version = ""
        if environment.startswith("gnu"):
            oldest = _OLDEST_GLIBC.get(name, _DEFAULT_GLIBC)
            version = "." + max(self.glibc or oldest, oldest, key=_numbers)
        return f"{architecture_name(name, 'zig')}-linux-{environment}{version}"

    def variables(self, folder: Path, packages: Sequence[str], environ: Mapping[str, str]) -> Dict[str, str]:
        """Write the scripts that stand for compilers, and return the variables of a process that uses them.

        Programs that call ``cc`` or ``gcc`` by name get zig, too. The names in the variables have no folder in them, so
        that no wheel records where its build took place.

        The scripts go into a folder of *folder*. If zig is in none of the folders of *packages*, or they cannot be
        written, `BuildEnvironmentError` is raised.
        """
        zig = next((each for each in (Path(place, "ziglang", "zig") for place in packages) if each.is_file()), None)
        if zig is None:
            raise BuildEnvironmentError(
                "toolchain is zig, and the package 'ziglang' is not installed in the build environment",
                hint="without isolation it has to be installed beforehand, as all build requirements",
            )
        programs = folder / _FOLDER / "bin"
        try:
            programs.mkdir(parents=True, exist_ok=True)
            for name, text in _compiler_scripts(zig, self.target, self.maps).items():
                _write_script(programs / name, text)
        except OSError as exc:
            raise BuildEnvironmentError(f"could not write {programs}: {exc.strerror}") from None
        own = str(folder / _FOLDER / "cache")
        kept = environ.get("ZIG_GLOBAL_CACHE_DIR") or self._kept(zig)
        library = _shared_library(zig, Path(kept), Path(self.cache)) if kept and self.cache else ""
        linker = (self.triple or running_triple()).upper().replace("-", "_")
        return {
            "PATH": os.pathsep.join([str(programs), environ.get("PATH") or os.defpath]),
            "CC": "cc",
            "CXX": "c++",
            "AR": "ar",
            "RANLIB": "ranlib",
            # distutils would take these from the sysconfig of the interpreter, with the options of its compiler.
            "LDSHARED": "cc -shared",
            "LDCXXSHARED": "c++ -shared",
            f"CARGO_TARGET_{linker}_LINKER": "cc",
            "ZIG_LOCAL_CACHE_DIR": own,
            "ZIG_GLOBAL_CACHE_DIR": kept or own,
            **({"ZIG_LIB_DIR": library} if library else {}),
        }

    def _kept(self, zig: Path) -> str:
        """Return the folder of our cache for what this zig compiles, which is made; empty where it cannot be used."""
        if not self.cache:
            return ""
        root = Path(self.cache)
        names = [name for name in list_names(zig.parent.parent) if re.fullmatch(r"ziglang-.*\.dist-info", name)]
        folder = root / "compilers" / f"zig-{names[0][8:-10] if names else 'unknown'}"
        try:
            make_folders(root)
            # What zig writes there, other users cannot change: in the cache of a group each has a folder.
            if os.stat(root).st_uid != os.geteuid():
                folder = folder.with_name(f"{folder.name}-{os.geteuid()}")
            folder.mkdir(exist_ok=True)
            if not trust_cache(root).accepts(folder) or not os.access(str(folder), os.W_OK):
                return ""
        except (CacheError, OSError):
            return ""
        note_use(folder)
        return str(folder)


def toolchain_for(settings: Settings, triple: str = "") -> Optional[Toolchain]:
    """Return the toolchain that the settings ask for; None for the compilers of the host.

    The setting ``glibc`` asks for zig unless ``toolchain`` names the host's compilers. What a project asks for counts
    on Linux only; what others ask for is a `UsageError` elsewhere. An empty triple is that of the interpreter.
    """
    if settings.toolchain != "zig" and not (settings.glibc and not settings.toolchain):
        return None
    if "-linux-" in triple or (not triple and RUNNING.name == "linux"):
        with suppress(CacheError):  # There is no home.
            return Toolchain(triple, settings.glibc, cache=str(open_cache(settings).root))
        return Toolchain(triple, settings.glibc)
    place = settings.origin("toolchain" if settings.toolchain else "glibc")
    if place.startswith("tool."):
        return None
    raise UsageError(
        f"{place} asks for zig, which compiles for Linux only, and this is a build for {triple or RUNNING.title}",
        hint="build with the compilers of this machine: toolchain = host, and no glibc",
    )


@contextmanager
def use_here(toolchain: Compilers, folder: Optional[Path]) -> Iterator[None]:
    """Have this process, and what it starts, use a toolchain that is installed for it, while the body runs.

    The scripts go into a *folder* that is deleted at the end of the build; None makes one. If zig is not installed,
    `BuildEnvironmentError` is raised.
    """
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory(prefix="provision-backend-")))
        stack.enter_context(set_variables(toolchain.variables(place, sys.path, os.environ)))
        yield


def running_triple() -> str:
    """Return the target triple of the running interpreter, on Linux, as packaging finds it."""
    tags = list(platform_tags())
    environment = "musl" if any(tag.startswith("musllinux") for tag in tags) else "gnu"
    # On a 64-bit kernel, the tags of a 32-bit ARM begin with those of armv8l, which is no other userland.
    architecture = read_machine(re.sub(r"^(many|musl)?linux(_\d+_\d+)?_", "", tags[0]))
    if architecture == "armv7":
        # No tag tells soft float from hard float.
        soft = str(sysconfig.get_config_var("HOST_GNU_TYPE")).endswith("eabi")
        environment += "eabi" if soft else "eabihf"
    return f"{architecture}-unknown-linux-{environment}"


def _shared_library(zig: Path, kept: Path, root: Path) -> str:
    """Copy zig's own headers and sources to where every build finds them under one path; return that path.

    What zig compiles of them is found again by their paths, and each build environment has others: a C++ library that
    takes a minute would be compiled in every build. Empty where it cannot be copied.
    """
    library = kept / "lib"
    if library.is_dir() or kept.parent.parent != root:
        return str(library) if library.is_dir() else ""
    with suppress(CacheError, OSError, shutil.Error), open_staging(root, kept.name) as staging:
        made = shutil.copytree(str(zig.parent / "lib"), str(staging / "lib"))
        # Another build may have been faster, and then there is a folder with the same in it.
        with suppress(OSError):
            publish(Path(made), library)
    return str(library) if library.is_dir() else ""


def _numbers(version: str) -> List[int]:
    return [int(part) for part in version.split(".")]


def _compiler_scripts(zig: Path, target: str, maps: Sequence[Tuple[str, str]]) -> Dict[str, str]:
    """Return the texts of the scripts by name, for a target as zig writes it, with the maps of a `Toolchain`."""
    # Without an -O, zig checks for undefined behaviour, with a library that no other compiler's users have.
    options = ["-fno-sanitize=undefined", *filter(None, [_CPUS.get(target.partition("-")[0], "")])]
    options += [f"-ffile-prefix-map={old}={new}" for old, new in maps]
    if maps:
        # Zig writes debug information unless told not to, and meson-python compiles in a folder of a random name.
        options.append("-ffile-compilation-dir=.")
    facts = {"zig": shlex.quote(str(zig)), "target": target, "options": " ".join(map(shlex.quote, options))}
    facts["multiarch"] = target.partition(".")[0]
    c, cxx = (_COMPILER.format(verb=verb, **facts) for verb in ("cc", "c++"))
    tools = {name: _TOOL.format(verb=name, **facts) for name in ("ar", "ranlib")}
    return {"cc": c, "gcc": c, "c++": cxx, "g++": cxx, **tools}


def _write_script(path: Path, text: str) -> None:
    # All hooks of a build write the same, perhaps at the same time.
    content = text.encode("utf-8", "surrogateescape")
    if not path.is_file() or read_file(path) != content:
        write_atomically(path, content, mode=0o755, durable=False)
