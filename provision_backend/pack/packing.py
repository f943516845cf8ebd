"""Pack an installed CPython into a standalone archive, and add it to a folder that is both a mirror and a catalog.

The archive has the name and the layout of python-build-standalone's ``install_only`` archives. It is published only
after it was unpacked in another folder, whose name has a space, and works there: it must import each extension module
that the installed interpreter imports, and load nothing from the installation. The same interpreter packed by the same
Python under the same tag gives the same bytes.

Source: python-build-standalone, Distribution Archives; reproducible-builds.org, ``SOURCE_DATE_EPOCH`` and archives.
"""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..catalog.archive import format_archive_name
from ..catalog.sums import SHA256SUMS, load_sums
from ..errors import HostError, InterpreterError, PackError, UnpackError, UsageError
from ..files import hash_file, remove_path
from ..host.detection import detect_platform
from ..install.archives import write_archive
from ..install.smoke import smoke_run
from ..install.unpack import unpack_archive
from ..mirror.folder import list_files, private_folder, work_folder
from ..output import Reporter
from ..processes import run_interpreter_json, run_quiet
from ..versions import label_of
from .installed import Installation, inspect_installation
from .relocate import Needs, relocate_libraries
from .scrub import scrub_tree
from .staging import copy_installation, install_bundled, is_test_module

__all__ = ["PackedArchive", "pack_interpreter"]

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
print(json.dumps({"imported": imported, "files": sorted(mapped | sources)}))
"""

# Modules that need a library, built in or not; those of lib-dynload are tried as well.
_MODULES = ("bz2", "ctypes", "curses", "ensurepip", "hashlib", "lzma", "readline", "sqlite3", "ssl", "venv", "zlib")


class PackedArchive(NamedTuple):
    """An archive that was written."""

    path: Path
    filename: str
    version: str
    """Full version of CPython, ``3.13.5`` or ``3.15.0a1``."""
    triple: str
    sha256: str
    size: int
    """Bytes."""
    notes: Tuple[str, ...] = ()
    """What it needs of the machines that use it, and what it lacks."""


def pack_interpreter(
    python: Path, to: Path, *, tag: Optional[str] = None, reporter: Optional[Reporter] = None, lock_timeout: float = 600
) -> PackedArchive:
    """Repack an installed CPython as a relocatable standalone archive, and list it in the folder's ``SHA256SUMS``.

    The executable of a virtual environment stands for its base interpreter. The folder *to* is created if necessary,
    and an archive of the same name in it replaced. The *tag* is a date of eight digits for the archive's name; None for
    today (UTC). Members of the archive have this date, or that of ``SOURCE_DATE_EPOCH``.

    Raises:
        PackError: the interpreter cannot be made relocatable, or the folder cannot be written; nothing is left there.
        CatalogError: the folder's ``SHA256SUMS`` is malformed; nothing is packed.
        UsageError: *tag* or ``SOURCE_DATE_EPOCH`` is malformed.
    """
    tag = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d") if tag is None else tag
    time = _member_time(tag)
    # An archive that cannot be listed is useless, so this is checked before minutes of work.
    load_sums(to / SHA256SUMS, missing_ok=True)
    try:
        installation = inspect_installation(python)
        triple = detect_platform(executable=str(installation.executable)).triple
        name = format_archive_name(installation.version, tag, triple, freethreaded=installation.freethreaded)
        to.mkdir(parents=True, exist_ok=True)
        # It is on the file system of the mirror, so that publishing is a rename.
        with private_folder(to) as staging:
            archive = staging / name
            notes = _make_archive(installation, staging, archive, time=time, triple=triple)
            sha256, size = hash_file(archive), archive.stat().st_size
            with work_folder(to, lock_timeout, reporter or Reporter()) as work:
                list_files(to, {name: sha256}, work, finished=archive)
        return PackedArchive(to / name, name, installation.version, triple, sha256, size, tuple(notes))
    except (HostError, InterpreterError, UnpackError) as error:
        raise PackError(f"'{python}' cannot be packed: {error.message}", hint=error.hint) from error
    except OSError as error:
        where = f": '{error.filename}'" if error.filename else ""
        raise PackError(f"could not pack '{python}' into '{to}': {error.strerror or error}{where}") from error


def _member_time(tag: str) -> int:
    """Return the seconds since the epoch that every member of the archive gets."""
    try:
        day = datetime.datetime.strptime(tag, "%Y%m%d").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        day = None
    # strptime accepts seven digits, and digits of other scripts, too.
    if day is None or not re.fullmatch(r"[0-9]{8}", tag):
        raise UsageError(f"a tag must be a date of eight digits, found {tag!r}", hint="for example 20250131")
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed and not re.fullmatch(r"[0-9]{1,11}", fixed):
        raise UsageError(f"SOURCE_DATE_EPOCH must be a number of seconds, found {fixed!r}")
    return int(fixed or day.timestamp())


def _make_archive(installation: Installation, staging: Path, archive: Path, *, time: int, triple: str) -> List[str]:
    """Stage, relocate, archive and verify; return the notes."""
    library = installation.prefix / installation.paths["platstdlib"] / "lib-dynload"
    names = {path.name.split(".")[0] for path in library.glob("*.so") if not is_test_module(path.name)}
    answer = run_interpreter_json(installation.executable, _IMPORTS, arguments=sorted(names.union(_MODULES)))
    working = set(answer["imported"])
    tree = staging / "staged" / "python"
    copy_installation(installation, tree)
    install_bundled(installation, tree)
    needs = relocate_libraries(installation, tree, working)
    scrub_tree(installation, tree)
    write_archive(tree, archive, mtime=time)
    notes = _describe(needs, installation, tree)
    # Two trees at once would need twice the space.
    remove_path(tree.parent)
    return notes + _check_moved(installation, archive, staging, working=working, triple=triple)


def _describe(needs: Needs, installation: Installation, tree: Path) -> List[str]:
    notes = []
    if needs.glibc:
        notes.append(f"needs glibc {needs.glibc} or later")
    if needs.system:
        notes.append(f"needs these libraries of the system: {', '.join(sorted(needs.system))}")
    for name, source in sorted(needs.carried.items()):
        notes.append(f"includes the library {name}, from '{source}'")
    for name, library in sorted(needs.missing.items()):
        notes.append(f"the module {name.split('.')[0]} does not work, as in the installation: {library} is not found")
    if needs.shared_libpython:
        # The copy looks for libpython beside itself (python-build-standalone#381), and then in the cache.
        notes.append(
            "has libpython as a shared library, so 'venv --copies' works only where provision-backend has installed it"
        )
    if not os.path.isfile(tree / installation.paths["include"] / "Python.h"):
        notes.append("has no Python.h, so no extension modules can be built with it")
    return notes


def _check_moved(
    installation: Installation, archive: Path, staging: Path, *, working: Set[str], triple: str
) -> List[str]:
    """Unpack an archive in another folder, use its interpreter there, and return the warnings."""
    place = staging / "moved elsewhere"
    place.mkdir()
    tree = unpack_archive(archive, place)
    python = tree / "bin" / installation.program
    # No variable helps the interpreter to find its files.
    environ = {"PATH": os.defpath, "HOME": str(staging), "LANG": "C.UTF-8"}
    label = label_of(installation.version, freethreaded=installation.freethreaded)
    facts = smoke_run(python, label, triple, thorough=True)
    answer = run_interpreter_json(python, _IMPORTS, arguments=sorted(working), env=environ)
    lost = working - set(answer["imported"])
    if lost:
        names = ", ".join(sorted(lost))
        raise PackError(f"'{installation.executable}' cannot be made relocatable: moved, it cannot import {names}")
    _refuse_loaded_from_installation(installation, tree, answer["files"])
    _run([str(python), "-I", "-B", "-m", "pip", "--version"], environ, "its pip")
    _check_venv(python, staging / "environment", environ)
    return list(facts.warnings)


def _refuse_loaded_from_installation(installation: Installation, tree: Path, files: Sequence[str]) -> None:
    """Refuse a tree that works only because the installation still exists."""
    prefixes = tuple(f"{name}/" for name in {str(installation.prefix), os.path.realpath(str(installation.prefix))})
    own = f"{os.path.realpath(str(tree))}/"
    for name in files:
        # The folder that is packed into may lie below the prefix.
        if name.startswith(prefixes) and not os.path.realpath(name).startswith(own):
            raise PackError(f"'{installation.executable}' cannot be made relocatable: moved, it still loads '{name}'")


def _check_venv(python: Path, place: Path, environ: Mapping[str, str]) -> None:
    _run([str(python), "-I", "-B", "-m", "venv", "--without-pip", str(place)], environ, "its venv")
    # Through the link of an environment an interpreter must still find its own standard library.
    script = "import json, sys; print(json.dumps({'prefixes': [sys.prefix, sys.base_prefix]}))"
    found = run_interpreter_json(place / "bin" / "python", script, env=environ)["prefixes"]
    wanted = [os.path.realpath(str(place)), os.path.realpath(str(python.parent.parent))]
    if [os.path.realpath(path) for path in found] != wanted:
        raise PackError(f"'{python.name}' cannot be made relocatable: a virtual environment of it has another base")


def _run(command: Sequence[str], environ: Mapping[str, str], what: str) -> None:
    done = run_quiet(command, env=environ)
    if done.returncode:
        raise PackError(f"packed and moved, {what} ended with exit status {done.returncode}", hint=done.stderr.strip())
