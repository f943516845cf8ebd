"""The scripts that stand for compilers: they call zig, without the options of gcc that it refuses.

Source: ``zig cc`` takes the options of clang; those that it refuses were found by trying them.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Dict, Sequence, Tuple

__all__ = ["compiler_scripts"]

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


def compiler_scripts(zig: Path, target: str, maps: Sequence[Tuple[str, str]]) -> Dict[str, str]:
    """Return the texts of the scripts by name.

    Args:
        zig: the program.
        target: what is compiled for, as zig writes it.
        maps: pairs of a folder and of what stands for it in debug information and ``__FILE__``.
    """
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
