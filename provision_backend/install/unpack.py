"""Unpack an archive into a staging folder, touching nothing outside of it.

An archive of python-build-standalone is a ``.tar.gz`` or ``.tar.zst`` with one folder ``python`` at the top. It is
decompressed, checked and written in one pass, so that a download can be unpacked while it arrives. Its members are
judged here, the same way on every Python: the filters of ``tarfile`` (PEP 706) are missing in old versions and were
bypassed repeatedly (python/cpython#135034). These rules are narrower than those of its filter ``data``:

* Regular files, folders, symbolic links and hard links only; each path is below ``python``, and each link stays in it.
* Nothing is written through a link, nothing is overwritten; a hard link names a file that was written before.
* Files get mode 0755 or 0644 by the owner's execute bit, whatever the umask. Owners are ignored. Times are kept in
  whole seconds, since a ``.pyc`` is valid only for the time of its source.
* Bytes, members, paths and the ratio of decompression are bounded; nothing follows the one compressed stream.

After an error the folder holds part of the tree; the caller deletes it. Nothing is flushed to disk here.

Source: PEP 706, "Filters"; python-build-standalone, "Distribution Archives".
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Dict, Iterable, Iterator, NamedTuple, Tuple, Union

from ..errors import UnpackError
from ..files import RAISE_FILE_LIMIT, Written, identify, new_hash, open_regular
from ..systems import RUNNING
from . import archives
from .archives import Member, Plain, decompress, quote, read_members, refuse

if RUNNING.name == "windows":
    from ..windows import allows_long_paths

__all__ = ["Unpacked", "check_length", "unpack_archive", "unpack_sdist", "unpack_stream"]

TOP = "python"  # name of the one folder at the top of every archive

_READ = 256 * 1024  # bytes of a local archive that are read at a time
MAX_PATH = 1024  # bytes of a path, and of the target of a link, in UTF-8
MAX_DEPTH = 32  # components of a path; these two bounds are far above what the largest archives known hold
_WINDOWS_PATH = 259  # characters, MAX_PATH without the NUL at its end
_COMPONENT = 255  # bytes, NAME_MAX of every file system that matters
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Windows opens a device, another stream of a file, or a file without the dots and spaces at the end of its name:
# "Naming Files, Paths, and Namespaces", and ntpath.isreserved of Python 3.13, which judges the same names.
_ELSEWHERE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9\xb9\xb2\xb3]) *(\..*)?|.*:.*|.*[. ]", re.IGNORECASE
)
_NO_PRIVILEGE = 1314  # ERROR_PRIVILEGE_NOT_HELD: in Windows, only administrators and developers can make links

# A link in place of a file is never followed. Windows has no such flag, and reads text where nothing is said.
_BY_DESCRIPTOR = {os.chmod, os.utime} <= os.supports_fd
_NO_FOLLOW: Dict[str, bool] = {"follow_symlinks": False} if os.link in os.supports_follow_symlinks else {}
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# What a file system without links, modes or times answers.
_UNSUPPORTED = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Unpacked(NamedTuple):
    """The tree of an archive."""

    tree: Path
    """The folder that holds ``bin`` and ``lib``."""
    written: Dict[str, Written]
    """The regular files by their path below *tree*."""


def unpack_archive(archive: Path, destination: Path) -> Path:
    """Unpack a file as `unpack_stream` does, and return the path of the tree."""
    return unpack_stream(_blocks(archive), archive.name, destination).tree


def unpack_sdist(sdist: Path, destination: Path) -> Path:
    """Unpack the sdist of a project as `unpack_stream` does, and return the path of its one folder.

    Source: PEP 625; PEP 721, "Source distribution archive features".
    """
    return unpack_stream(_blocks(sdist), sdist.name, destination, top="").tree


def _blocks(archive: Path) -> Iterator[bytes]:
    try:
        with open_regular(archive) as file:
            yield from iter(lambda: file.read(_READ), b"")
    except OSError as exc:
        raise UnpackError(f"it cannot be read: {exc.strerror}") from exc


def unpack_stream(chunks: Iterable[bytes], filename: str, destination: Path, *, top: str = TOP) -> Unpacked:
    """Unpack an archive while it arrives.

    Args:
        chunks: its bytes, cut anywhere. They are taken to their end, unless the archive is refused before; what they
            raise is passed on unchanged, so they may download and verify on the way.
        filename: what to call the archive in messages; its ending decides nothing.
        destination: a folder that is empty or missing, on the file system where the tree is to stay. The tree is its
            ``python``, or ``python/install`` of a "full" archive.
        top: the name of the one folder that holds everything; empty for that of the first member.

    Raises:
        UnpackError: the archive is damaged or holds what is refused, or the tree cannot be written.
        MissingDependencyError: no package that decompresses Zstandard is installed.
    """
    try:
        tree = _Tree(destination, top)
        plain = Plain(decompress(iter(chunks)))
        for member in read_members(plain):
            tree.top = top = top or member.name.split("/")[0]
            _check_member(member, top)
            try:
                tree.write(member, plain)
            except OSError as exc:
                raise tree.explain(member, exc) from exc
        return tree.finish()
    except UnpackError as exc:
        raise UnpackError(f"could not unpack {filename!r}: {exc.message}", hint=exc.hint) from exc


def check_length(path: str) -> None:
    """Raise `UnpackError` for a path that is too long for Windows, on Windows."""
    if RUNNING.name == "windows" and len(path) > _WINDOWS_PATH and not allows_long_paths():
        raise UnpackError(
            f"the path {path!r} has {len(path)} characters, and Windows takes {_WINDOWS_PATH}",
            hint="set PROVISION_BACKEND_CACHE_DIR to a folder with a shorter path, or allow long paths in Windows:\n"
            r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem, LongPathsEnabled = 1",
        )


def _check_member(member: Member, top: str) -> None:
    """Check everything of a member that needs no knowledge of the others."""
    name, kind = member.name, archives.KINDS[member.type]
    if member.size < 0 or (kind != archives.FILE and member.size):
        refuse(name, f"is a {kind} with {member.size} bytes of content")
    if not 0 <= member.mtime < 1 << 32:  # A .pyc holds the low 32 bits of its source's time. NaN fails too.
        refuse(name, "has a modification time before 1970 or after 2106")
    _check_path(name, top)
    if name == top and kind != archives.FOLDER:
        refuse(name, f"is a {kind}; wanted a directory")
    if kind == archives.LINK:
        _check_path(member.linkname, top)
    elif kind == archives.SYMLINK:
        _check_target(name, member.linkname)


def _check_path(path: str, top: str) -> None:
    _check_text(path, path)
    parts = path.split("/")
    if parts[0] != top:
        wanted = f"wanted every member in the one folder {top!r}"
        refuse(path, "has an absolute path; " + wanted if not parts[0] else "is outside; " + wanted)
    if len(parts) > MAX_DEPTH:
        refuse(path, f"has {len(parts)} path components; at most {MAX_DEPTH} are allowed")
    for part in parts:
        if part in ("", ".", ".."):
            refuse(path, f"has the path component {part!r}")
        if len(part.encode()) > _COMPONENT:
            refuse(path, f"has a path component of more than {_COMPONENT} bytes")
        # An sdist is unpacked where it is built, and files of tests may have any name that is possible there.
        if (top == TOP or RUNNING.name == "windows") and _ELSEWHERE.fullmatch(part):
            refuse(path, f"has the path component {quote(part)}, which on Windows is something else than that file")


def _check_target(path: str, target: str) -> None:
    _check_text(target, path)
    link = f"is a symbolic link to {quote(target)}"
    if not target or target.startswith("/") or ":" in target:
        refuse(path, f"{link}; wanted a relative target")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = parts.count("..")
    # Behind a name, ".." would start from wherever that name leads if it is itself a link, which is how a lexically
    # harmless target leaves the folder (CVE-2025-4330, CVE-2025-4138). In front of any name it starts from the link's
    # own folder, which is never reached through a link.
    if ".." in parts[up:]:
        refuse(path, f"{link}, with '..' behind a name")
    if path.count("/") - up < 1:
        refuse(path, f"{link}, which is outside of {path.split('/')[0]!r}")


def _check_text(text: str, owner: str) -> None:
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:  # tarfile decodes what is not UTF-8 to surrogates.
        refuse(owner, f"has a path that is not UTF-8: {quote(text)}")
    if length > MAX_PATH:
        refuse(owner, f"has a path of {length} bytes; at most {MAX_PATH} are allowed")
    if "\\" in text or _CONTROL.search(text):
        refuse(owner, f"has a backslash or a control character in a path: {quote(text)}")


class _Tree:
    """Writes members below one folder, and remembers what it wrote: nothing else is in it."""

    def __init__(self, destination: Path, top: str) -> None:
        self.top = top
        """The name of the one folder that holds everything."""
        self._replaces = top != TOP
        """Whether a file takes the place of an earlier one of that name: an sdist may hold its PKG-INFO twice."""
        self._written: Dict[str, Written] = {}
        self._kinds: Dict[str, str] = {}
        self._folders = 0
        self._destination = destination
        # Paths are passed as bytes, since the host's locale need not be able to encode them.
        self._root = os.fsencode(destination) + b"/"
        try:
            destination.mkdir(exist_ok=True)
            with os.scandir(destination) as entries:
                if next(entries, None):
                    raise UnpackError(f"the directory {str(destination)!r} is not empty")
        except OSError as exc:
            raise UnpackError(f"the directory {str(destination)!r} cannot be used: {exc.strerror}") from exc

    def finish(self) -> Unpacked:
        """Return the folder that holds ``bin`` and ``lib``, and its files."""
        top = self.top
        if top not in self._kinds:
            raise UnpackError(f"it holds no folder {top!r}" if top else "it holds no file")
        full = f"{TOP}/install"
        if top == TOP and self._kinds.get(full) == archives.FOLDER and f"{TOP}/bin" not in self._kinds:
            top = full
        below = len(top) + 1
        written = {path[below:]: file for path, file in self._written.items() if path.startswith(f"{top}/")}
        return Unpacked(self._destination / top, written)

    def write(self, member: Member, plain: Plain) -> None:
        """Write one member; the content of a file is read from *plain*, and an `OSError` is for `explain`."""
        name, kind = member.name, archives.KINDS[member.type]
        self._make_parents(name)
        if kind == archives.FOLDER:
            if self._kinds.get(name) != archives.FOLDER:
                self._make_folder(name)
            return
        if kind == archives.LINK and self._kinds.get(member.linkname) != archives.FILE:
            refuse(name, f"is a hard link to {member.linkname!r}, which is no regular file before it")
        path, target = self._root + name.encode(), member.linkname.encode()
        if self._replaces and kind == archives.FILE and self._kinds.get(name) == archives.FILE:
            # pip and uv take the last one, as tar does; hatchling adds its own to one that is in the source tree.
            os.unlink(path)
            del self._kinds[name]
        self._record(name, archives.SYMLINK if kind == archives.SYMLINK else archives.FILE)
        if kind == archives.FILE:
            self._written[name] = _write_file(path, member, plain)
        elif kind == archives.SYMLINK:
            os.symlink(target, path)
        else:
            os.link(self._root + target, path, **_NO_FOLLOW)

    def _make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if not parent or self._kinds.get(parent) == archives.FOLDER:
            return
        self._make_parents(parent)
        if parent in self._kinds:
            kind = self._kinds[parent]
            raise UnpackError(f"a member is below {parent!r}, which is a {kind}: nothing is written through it")
        self._make_folder(parent)

    def _make_folder(self, path: str) -> None:
        self._record(path, archives.FOLDER)
        self._folders += 1
        if self._folders > archives.MAX_FOLDERS:
            raise UnpackError(f"it has more than {archives.MAX_FOLDERS} directories")
        # A folder that exists although this archive has not made it is another one's, by another spelling.
        os.mkdir(self._root + path.encode(), 0o700)
        os.chmod(self._root + path.encode(), 0o755)  # noqa: S103 - other users share the cache.

    def _record(self, path: str, kind: str) -> None:
        if path in self._kinds:
            raise UnpackError(f"member {path!r} is there twice, first as a {self._kinds[path]}")
        if len(self._kinds) >= archives.MAX_MEMBERS:
            raise UnpackError(f"it has more than {archives.MAX_MEMBERS} members, implied directories included")
        self._kinds[path] = kind

    def explain(self, member: Member, exc: OSError) -> UnpackError:
        """Return the error of a member that could not be written."""
        check_length(f"{self._destination}/{member.name}")
        name, where = repr(member.name), repr(str(self._destination))
        place = "the setting cache-dir" if self.top == TOP else "the variable TMPDIR"
        if exc.errno == errno.EEXIST:
            # What this archive wrote is recorded and the folder was empty: the file system folds names.
            return UnpackError(
                f"member {name} has the name of another member on the file system of {where}, "
                "which does not tell upper from lower case, or Unicode forms apart",
                hint=f"let {place} name a directory on a file system that does",
            )
        hint = ""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free some space, or let {place} name a directory that has it"
        elif exc.errno == errno.EFBIG:
            hint = RAISE_FILE_LIMIT
        elif exc.errno in _UNSUPPORTED:
            hint = f"exFAT and the like have no links and no modes; let {place} name a directory elsewhere"
        elif getattr(exc, "winerror", 0) == _NO_PRIVILEGE:
            hint = "archives for Windows have no links, so this one may be for another system"
        return UnpackError(f"member {name} cannot be written to {where}: {exc.strerror}", hint=hint)


def _write_file(path: bytes, member: Member, plain: Plain) -> Written:
    digest = new_hash()
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        for view in plain.views(member.size):
            digest.update(view)
            while view:
                view = view[os.write(descriptor, view) :]
        if _BY_DESCRIPTOR:
            return digest.hexdigest(), _settle(descriptor, member)
    finally:
        os.close(descriptor)
    # Windows sets the time of a file that was written to when it is closed.
    return digest.hexdigest(), _settle(path, member)


def _settle(file: Union[int, bytes], member: Member) -> Tuple[int, ...]:
    """Give a file that was written its mode and time, and return its identity."""
    os.chmod(file, 0o755 if member.mode & 0o100 else 0o644)
    os.utime(file, (int(member.mtime), int(member.mtime)))
    return identify(os.stat(file))
