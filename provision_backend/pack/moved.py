"""An archive that was just packed → the certainty that its interpreter works at another place, or the reason why not.

The archive is unpacked where it was not staged, in a folder with a space in its name, and its interpreter runs there
in an environment that helps it with nothing. What counts is what the installed interpreter can do: each extension
module that it imports must import, and nothing may come from the place where it is installed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Mapping, Sequence, Set

from ..errors import PackError
from ..install.smoke import smoke_run
from ..install.unpack import unpack_archive
from ..processes import run_quiet
from .installed import Installation, ask
from .staging import is_test_module

__all__ = ["check_moved", "importable_modules"]

_IMPORTS = """
import importlib, json, sys
imported = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException:
        continue
    imported.append(name)
with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
    mapped = {line.split(None, 5)[5].rstrip("\\n") for line in maps if "/" in line}
sources = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
print(json.dumps({"imported": imported, "files": sorted(mapped | sources), "prefix": sys.prefix}))
"""

# Modules that need a library, whether they are built in or not; those of lib-dynload are tried in addition.
_MODULES = ("bz2", "ctypes", "curses", "ensurepip", "hashlib", "lzma", "readline", "sqlite3", "ssl", "venv", "zlib")


def importable_modules(installation: Installation) -> Set[str]:
    """Return the names of the extension modules, and of some others, that an installed interpreter can import.

    Raises:
        PackError: it ends while it imports them.
    """
    library = installation.prefix / installation.paths["platstdlib"] / "lib-dynload"
    names = {path.name.split(".")[0] for path in library.glob("*.so") if not is_test_module(path.name)}
    return set(ask(installation.executable, _IMPORTS, sorted(names.union(_MODULES)))["imported"])


def check_moved(installation: Installation, archive: Path, work: Path, *, working: Set[str], triple: str) -> List[str]:
    """Unpack an archive and use its interpreter.

    Args:
        installation: what the archive was made from.
        archive: the archive.
        work: an existing folder, in which files may be left.
        working: what `importable_modules` returned.
        triple: target triple of the archive.

    Returns:
        Sentences about what is missing and may be.

    Raises:
        PackError: something that works in the installation does not work in the unpacked tree.
        InterpreterError: the unpacked interpreter does not start, or is not what the archive's name says.
        UnpackError: the archive cannot be unpacked.
    """
    place = work / "moved elsewhere"
    place.mkdir()
    tree = unpack_archive(archive, place)
    python = tree / "bin" / installation.program
    environ = {"PATH": os.defpath, "HOME": str(work), "LANG": "C.UTF-8"}
    freethreaded = installation.freethreaded
    facts = smoke_run(python, version=installation.version, freethreaded=freethreaded, triple=triple, thorough=True)
    answer = ask(python, _IMPORTS, sorted(working), environ)
    _refuse_lost(installation, working - set(answer["imported"]))
    _refuse_strangers(installation, tree, answer["files"])
    _run([str(python), "-I", "-B", "-m", "pip", "--version"], environ, "its pip")
    _check_venv(python, work / "environment", environ)
    return list(facts.warnings)


def _refuse_lost(installation: Installation, lost: Set[str]) -> None:
    if lost:
        names = ", ".join(sorted(lost))
        raise PackError(f"'{installation.executable}' cannot be made relocatable: moved, it cannot import {names}")


def _refuse_strangers(installation: Installation, tree: Path, files: Sequence[str]) -> None:
    """Refuse a tree that only works because the installation is still there."""
    prefixes = tuple(f"{name}/" for name in {str(installation.prefix), os.path.realpath(str(installation.prefix))})
    own = f"{os.path.realpath(str(tree))}/"
    # The folder that is packed into may lie below the prefix.
    strangers = [name for name in files if name.startswith(prefixes) and not os.path.realpath(name).startswith(own)]
    if strangers:
        raise PackError(
            f"'{installation.executable}' cannot be made relocatable: moved, it still loads '{strangers[0]}'"
        )


def _check_venv(python: Path, place: Path, environ: Mapping[str, str]) -> None:
    _run([str(python), "-I", "-B", "-m", "venv", "--without-pip", str(place)], environ, "its venv")
    script = "import sys; print(sys.prefix); print(sys.base_prefix)"
    found = _run([str(place / "bin" / "python"), "-I", "-B", "-c", script], environ, "a virtual environment of it")
    wanted = [os.path.realpath(str(place)), os.path.realpath(str(python.parent.parent))]
    if [os.path.realpath(line) for line in found.splitlines()] != wanted:
        raise PackError(f"'{python.name}' cannot be made relocatable: a virtual environment of it has another base")


def _run(command: Sequence[str], environ: Mapping[str, str], what: str) -> str:
    done = run_quiet(command, env=environ)
    if done.returncode:
        raise PackError(f"packed and moved, {what} ended with exit status {done.returncode}", hint=done.stderr.strip())
    return done.stdout
