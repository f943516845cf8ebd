"""Make the tree of an interpreter from an archive: downloaded, verified, unpacked, checked, finalized, started once.

To finalize it is to correct what it recorded of its build, and to set its markers and links. This happens in staging,
and every absolute path that is written is one of the place where the tree will be published, so no published tree is
ever incomplete (uv#19329). Only regular files below real folders are replaced, never written to: a link in an archive
cannot lead a write out of the tree, nor to another of its files.

Only the process that really makes a tree imports this module, and with it all that downloading and unpacking need.

Source: python-build-standalone, Running distributions; PEP 668.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

from ..catalog.archive import Archive
from ..errors import DownloadError, InstallError, InterpreterError, ProvisionError, UnpackError
from ..files import is_noexec, remove_path, write_atomically
from ..host.compatibility import check_tree, require_reader
from ..host.platforms import Platform, platform_from_triple
from ..host.targets import read_machine, split_level
from ..output import Reporter, printable
from ..settings import Settings
from ..systems import RUNNING, SYSTEMS, kernel_machine
from . import sysconfig_data
from .download import stream_archive
from .partial import Partial
from .smoke import smoke_run
from .unpack import Unpacked, check_length, unpack_stream

__all__ = ["finalize_tree", "find_executable", "target_maker", "tree_maker"]

_Build = Callable[[Path, Path, Path], Dict[str, Any]]
"""The function that a cache calls: (staging folder, path to download to, final path) → facts for the marker."""

_Finish = Callable[[Unpacked, Path], Dict[str, Any]]
"""What is done with an unpacked tree: (tree, final path) → facts for the marker."""

_READ_BY_COMPILERS = re.compile(r"include/|lib/(pkgconfig/|libpython[^/]*$|python3[^/]*/(_sysconfig|config-3))")
"""What of a tree a build for another machine reads: headers, how CPython was built, and the library to link."""

_SMALL = 1 << 20  # bytes of a program whose libpython is a library of its own

_EXTERNALLY_MANAGED = """\
[externally-managed]
Error=This Python is managed by provision-backend and shared by all builds on this
 machine; what is installed into it would change every one of them.

 Make a virtual environment of it and install there:

     {python} -m venv path/to/environment
     path/to/environment/bin/python -m pip install ...
"""


def tree_maker(
    archive: Archive, platform: Platform, settings: Settings, reporter: Reporter, *, with_pip: bool = False
) -> _Build:
    """Return the function that makes a tree of an archive, for `provision_backend.cache.store.Cache.provide`.

    With *with_pip*, pip is compiled too, which takes a second.

    Returns:
        A function of a staging folder, the path to download to, and the path at which the tree will be published. It
        returns the ``tree``, what was ``written``, its ``executable`` below the tree, and the version of its ``pip``;
        or raises `InstallError`, `InterpreterError`, `HostError` or `MissingDependencyError`.
    """

    def _finish_tree(unpacked: Unpacked, final: Path) -> Dict[str, Any]:
        # An emulator compiles for minutes what a test of a wheel, for which it is run, mostly does not import.
        compiled = not (settings.target and _is_foreign(archive))
        return _finish(archive, platform, unpacked, final, compiled=compiled, with_pip=with_pip and compiled)

    return _maker(archive, platform, _finish_tree, settings, reporter)


def target_maker(archive: Archive, settings: Settings, reporter: Reporter) -> _Build:
    """Return the function that makes a target of an archive, for `provision_backend.cache.store.Cache.provide_target`.

    It is what `tree_maker` returns, but nothing of the tree is started, and only what compilers read of it stays.
    """
    platform = platform_from_triple(archive.triple)

    def _finish_target(unpacked: Unpacked, final: Path) -> Dict[str, Any]:
        tree = unpacked.tree
        # The archive of another machine under this name would give the wrong headers.
        check_tree(find_executable(tree), platform)
        finalize_tree(tree, final_path=final)
        for path in sorted(tree.rglob("*"), reverse=True):
            name = path.relative_to(tree).as_posix()
            if os.path.islink(path) or not os.path.isdir(path):
                if not _READ_BY_COMPILERS.match(name):
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
        return {"tree": tree, "written": unpacked.written}

    return _maker(archive, platform, _finish_target, settings, reporter)


def _maker(archive: Archive, platform: Platform, finish: _Finish, settings: Settings, reporter: Reporter) -> _Build:
    """Return the function that downloads, verifies and unpacks an archive, and has the tree finished."""

    def _build(staging: Path, download: Path, final: Path) -> Dict[str, Any]:
        destination = staging / "unpacked"

        def _unpack(chunks: Iterator[bytes]) -> Unpacked:
            try:
                return unpack_stream(chunks, archive.filename, destination)
            except BaseException:
                # It may fill the disk, on which the rest of the download, or the next source's, needs room.
                remove_path(destination)
                raise

        try:
            require_reader(platform)  # A missing package is reported before the download, not after it.
            unpacked = stream_archive(archive, download, _unpack, settings=settings, reporter=reporter)
            return finish(unpacked, final)
        except ProvisionError as exc:
            # An archive of which no interpreter could be made goes; one that is incomplete stays, to be resumed.
            if not isinstance(exc, DownloadError):
                with contextlib.suppress(OSError):
                    Partial(download).discard()
                    download.parent.rmdir()  # It may not exist, since nothing of a local mirror is kept.
            # The folder of this attempt no longer exists when the error is read.
            folder, name = f"{destination}/", f"{archive.filename}/"
            exc.message, exc.hint = exc.message.replace(folder, name), exc.hint.replace(folder, name)
            raise

    return _build


def _is_foreign(archive: Archive) -> bool:
    """Whether an archive is for another architecture than that of this machine, as far as that is known."""
    return read_machine(kernel_machine()) not in ("", split_level(archive.triple)[0].partition("-")[0])


def _finish(
    archive: Archive, platform: Platform, unpacked: Unpacked, final: Path, *, compiled: bool, with_pip: bool
) -> Dict[str, Any]:
    tree = unpacked.tree
    check_length(str(final / max(unpacked.written, key=len, default="")))
    python = find_executable(tree)
    # It is read before it is started: what is not for this host must not run at all.
    check_tree(python, platform)
    finalize_tree(tree, final_path=final)
    try:
        # The times of all sources are final now, so bytecode that is made of them stays valid.
        facts = smoke_run(python, archive.label, archive.triple, compiled=compiled, with_pip=with_pip)
    except InterpreterError as exc:
        if platform.system != RUNNING.name:
            titles = SYSTEMS[platform.system].title, RUNNING.title
            exc.hint = "it is a program for {}, which the setting target names, and this host is {}".format(*titles)
            raise
        if not is_noexec(tree):
            raise
        # It is the cache that has to be changed, and not the archive.
        raise InterpreterError(
            f"the cache {final.parent.parent} is mounted noexec, so no interpreter in it can be started",
            hint="set PROVISION_BACKEND_CACHE_DIR to a folder on another file system, or mount this one without noexec",
        ) from None
    executable = str(python.relative_to(tree))
    return {"tree": tree, "written": unpacked.written, "executable": executable, "pip": facts.pip}


def finalize_tree(tree: Path, *, final_path: Path) -> None:
    """Make an unpacked tree usable at the absolute path where it will be published; the second time no byte changes.

    Raises:
        UnpackError: the tree has no interpreter, no standard library, or a build record that is not of CPython's form.
        InstallError: a file could not be read or written.
    """
    try:
        executable = find_executable(tree)
        stdlib = _standard_library(tree, executable)
        # Links of the final path are not resolved: tools compare it with what they are given.
        _patch_build_record(tree, stdlib, os.path.abspath(str(final_path)))
        for path in _own_files(tree, "lib/pkgconfig/*.pc"):
            _rewrite(path, sysconfig_data.patch_pkgconfig)
        _patch_program(executable, os.path.abspath(str(final_path)))
        marker = _EXTERNALLY_MANAGED.format(python=_as_typed(final_path / executable.relative_to(tree)))
        write_atomically(stdlib / "EXTERNALLY-MANAGED", marker.encode(), durable=False)
        # Archives up to tag 20240107 have no bin/python.
        for link in (executable.with_name("python"), executable.with_name("python3")):
            if executable.suffix != ".exe" and not os.path.lexists(link):
                link.symlink_to(executable.name)
    except OSError as exc:
        name = exc.filename2 or exc.filename  # Of a rename the second one is that of the file.
        raise InstallError(f"could not finalize {tree}: {exc.strerror or exc}: {name!r}") from exc


def _as_typed(path: Path) -> str:
    """Return the absolute path of a program as somebody types it in a shell, in one line."""
    # It is in no folder of PATH, so that its name alone would start nothing, or another Python.
    text = printable(os.path.abspath(str(path)))
    return f'"{text}"' if path.suffix == ".exe" else shlex.quote(text)


def find_executable(tree: Path) -> Path:
    """Return the file ``bin/python3.X[t]``, never a link (python-build-standalone#380), or raise `UnpackError`."""
    names = [path for path in _own_files(tree, "bin/python3.*") if re.fullmatch(r"python3\.\d+t?d?", path.name)]
    # A free-threaded build installs its program under both names; the longer one is what it calls itself.
    names.sort(key=lambda path: (-len(path.name), path.name))
    # The layout of Windows.
    names.extend(_own_files(tree, "python.exe"))
    if not names:
        raise UnpackError(f"{tree} holds no interpreter: wanted the file bin/python3.X")
    return names[0]


def _standard_library(tree: Path, executable: Path) -> Path:
    stdlib = tree / "Lib" if executable.parent == tree else tree / "lib" / executable.name.rstrip("d")
    if not os.path.isdir(stdlib) or _leads_elsewhere(tree, stdlib):
        raise UnpackError(f"{tree} holds no standard library: wanted the folder {stdlib.relative_to(tree).as_posix()}")
    return stdlib


def _patch_build_record(tree: Path, stdlib: Path, prefix: str) -> None:
    modules = list(_own_files(stdlib, "_sysconfigdata*.py"))
    # Windows has none, and computes what the others record.
    if not modules and stdlib.parent != tree:
        raise UnpackError(f"{tree} does not say how it was built: wanted the file lib/{stdlib.name}/_sysconfigdata*.py")
    for path in modules:
        tail = "/" + path.relative_to(tree).as_posix()
        _rewrite(path, sysconfig_data.patch_module, prefix=prefix, tail=tail)
        # CPython trusts a compiled module by size and time of its source, and both may stay the same.
        for stale in _own_files(stdlib, f"__pycache__/{path.stem}.*.pyc"):
            stale.unlink()
    for path in _own_files(stdlib, "_sysconfig_vars_*.json"):
        _rewrite(path, sysconfig_data.patch_json, prefix=prefix, name=path.name)
    for path in _own_files(stdlib, "config-*/Makefile"):
        _rewrite(path, sysconfig_data.patch_makefile, prefix=prefix)
    for path in _own_files(tree, "bin/python*-config"):
        _rewrite(path, sysconfig_data.patch_config_script, prefix=prefix)


def _patch_program(executable: Path, prefix: str) -> None:
    # One that holds libpython itself is a hundred times as large, and reading it would take its time.
    if executable.stat().st_size < _SMALL:
        content = executable.read_bytes()
        patched = sysconfig_data.patch_program(content, prefix)
        if patched != content:
            write_atomically(executable, patched, mode=0o755, durable=False)


def _own_files(root: Path, pattern: str) -> Iterator[Path]:
    """Find the regular files of a tree that no link leads to."""
    for path in sorted(root.glob(pattern)):
        if os.path.isfile(path) and not _leads_elsewhere(root, path):
            yield path


def _leads_elsewhere(root: Path, path: Path) -> bool:
    return any(os.path.islink(part) for part in [path, *path.parents] if root in part.parents)


def _rewrite(path: Path, patch: Callable[..., str], **facts: str) -> None:
    old = path.read_bytes()
    new = patch(old.decode("utf-8", "surrogateescape"), **facts).encode("utf-8", "surrogateescape")
    if new != old:
        # What another name links to stays as it is, since the file is made anew.
        write_atomically(path, new, mode=stat.S_IMODE(path.stat().st_mode), durable=False)
