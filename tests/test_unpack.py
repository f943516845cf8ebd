"""Unpacking good archives exactly, and hostile ones not at all.

Every hostile case is named with its CVE or with the clause of PEP 706 that it breaks. Numbers of other programs stand
for the same mistake made there.
"""

from __future__ import annotations

import errno
import gc
import gzip
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from support.archives import MTIME, gzipped, long_name, member, pax, small_tree, tar, with_checksum, zstandard

from provision_backend.errors import DownloadError, MissingDependencyError, UnpackError
from provision_backend.install import archives as archives_module
from provision_backend.install import unpack as unpack_module
from provision_backend.install.unpack import unpack_archive, unpack_sdist, unpack_stream

Tree = Dict[str, Tuple[Any, ...]]

DIRECTORY = member("python/", kind="5")
FILE = member("python/file", b"content")


def describe(root: Path) -> Tree:
    """Return kind, mode, mtime, content and link target of everything below *root*, by relative path."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", os.readlink(path))
        elif path.is_dir():
            found[str(path.relative_to(root))] = ("directory", mode)
        else:
            found[str(path.relative_to(root))] = ("file", mode, int(status.st_mtime), path.read_bytes())
    return found


class Sandbox:
    """A staging directory with a canary directory around it."""

    def __init__(self, root: Path) -> None:
        self.canary = root / "canary"
        self.staging = self.canary / "staging"
        self.staging.mkdir(parents=True)
        (self.canary / "secret").write_text("untouched")
        os.utime(self.canary / "secret", (MTIME, MTIME))
        (self.canary / "bin").mkdir(mode=0o700)

    def surroundings(self) -> Tree:
        """Return what is in the canary directory, without the staging directory."""
        return {path: what for path, what in describe(self.canary).items() if not path.startswith("staging")}

    def refuse(self, data: bytes, **bounds: int) -> UnpackError:
        """Unpack *data*, which must fail, and check that nothing outside was touched or can be reached."""
        before = self.surroundings()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in bounds.items():
                patch.setattr(archives_module, name, value)
                patch.setattr(unpack_module, name, value, raising=False)
            with pytest.raises(UnpackError) as caught:
                unpack_stream(io.BytesIO(data), "a.tar.gz", self.staging)
        self.check(before)
        return caught.value

    def check(self, before: Tree) -> None:
        """Assert that nothing outside changed, and that nothing inside leads there or is open to others."""
        assert self.surroundings() == before
        staging = os.path.realpath(self.staging)
        for path in self.staging.rglob("*"):
            assert os.path.realpath(path).startswith(staging + os.sep)
            assert path.is_symlink() or not path.stat().st_mode & 0o7022

    def clear(self) -> None:
        """Make the staging directory empty again."""
        shutil.rmtree(self.staging)
        self.staging.mkdir()


def test_names_that_look_like_devices_of_windows_are_files() -> None:
    """The rule for names refuses no file that Windows can have."""
    names = ["console.py", "auxiliary", "com10", "lpt0", "nullcontext", "prn_", "xaux.py", ".con", "a.b", "con-1"]
    assert [name for name in names if unpack_module._ELSEWHERE.fullmatch(name)] == []


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A sandbox whose staging directory is empty."""
    return Sandbox(tmp_path)


@pytest.fixture(params=["zlib", "isal"])
def gzip_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways to inflate gzip."""
    decoder = str(request.param)
    if decoder == "isal":
        pytest.importorskip("isal.isal_zlib")
    else:
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    return decoder


@pytest.fixture(params=["compression.zstd", "backports.zstd", "zstandard"])
def zstd_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three ways to decompress Zstandard."""
    decoder = str(request.param)
    pytest.importorskip(decoder)
    for other in {"compression.zstd", "backports.zstd", "zstandard"} - {decoder}:
        monkeypatch.setitem(sys.modules, other, None)
    return decoder


def portions(data: bytes, most: int) -> Iterator[bytes]:
    """Yield a few bytes at a time, as a network connection does."""
    for start in range(0, len(data), most):
        yield data[start : start + most]


SMALL_TREE: Tree = {
    "bin": ("directory", 0o755),
    "bin/python": ("link", "python3.12"),
    "bin/python3": ("link", "python3.12"),
    "bin/python3.12": ("file", 0o755, MTIME, b"\x7fELF" + bytes(range(256)) * 40),
    "lib": ("directory", 0o755),
    "lib/libpython3.so": ("file", 0o755, MTIME, b"so" * 700),
    "lib/python3.12": ("directory", 0o755),
    "lib/python3.12/empty.py": ("file", 0o644, MTIME, b""),
    "lib/python3.12/os.py": ("file", 0o644, MTIME + 1, b"import sys\n" * 300),
    "lib/python3.12/same.py": ("file", 0o644, MTIME + 1, b"import sys\n" * 300),
    **{"lib/python3.12" + "/site-packages" * depth: ("directory", 0o755) for depth in range(1, 7)},
    "lib/python3.12" + "/site-packages" * 6 + "/long.py": ("file", 0o644, MTIME, b"y = 2\n"),
    "lib/python3.12" + "/site-packages" * 6 + "/module.py": ("file", 0o644, MTIME, b"x = 1\n"),
    "share": ("directory", 0o755),
    "share/terminfo": ("directory", 0o755),
    "share/terminfo/E": ("link", "./n"),
    "share/terminfo/N": ("directory", 0o755),
    "share/terminfo/N/News": ("file", 0o644, MTIME, b"N"),
    "share/terminfo/e": ("directory", 0o755),
    "share/terminfo/e/eterm": ("link", "../n/news"),
    "share/terminfo/n": ("directory", 0o755),
    "share/terminfo/n/news": ("file", 0o644, MTIME, b"n"),
    "share/été.txt": ("file", 0o644, MTIME + 2, b"z"),
}


def test_gzip_archive_is_unpacked_exactly(tmp_path: Path, gzip_decoder: str) -> None:
    """Every kind of member a real archive has comes out with its content, its mode and its time."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzipped(tar(*small_tree())))
    staging = tmp_path / "staging"
    staging.mkdir()

    tree = unpack_archive(archive, staging)

    assert tree == staging / "python"
    assert describe(tree) == SMALL_TREE
    assert (tree / "lib/python3.12/same.py").samefile(tree / "lib/python3.12/os.py")


def test_zstd_archive_is_unpacked_exactly(tmp_path: Path, zstd_decoder: str) -> None:
    """Each way to decompress Zstandard gives the same tree as gzip does."""
    tree = unpack_stream(io.BytesIO(zstandard(tar(*small_tree()))), "a.tar.zst", tmp_path).tree

    assert describe(tree) == SMALL_TREE


@pytest.mark.parametrize("most", [1, 511, 4096])
def test_stream_that_cannot_seek_is_enough(tmp_path: Path, most: int) -> None:
    """An archive can be unpacked while it arrives, in whatever portions."""
    tree = unpack_stream(portions(gzipped(tar(*small_tree())), most), "a.tar.gz", tmp_path).tree

    assert describe(tree) == SMALL_TREE


def test_large_file_crosses_every_buffer(tmp_path: Path, gzip_decoder: str) -> None:
    """Content far larger than any buffer, of runs and of noise, arrives unchanged."""
    content = bytes(3 << 20) + random.Random(7).getrandbits(8 << 20).to_bytes(1 << 20, "big") + b"end"

    tree = unpack_stream(io.BytesIO(gzipped(tar(member("python/big", content)))), "a.tar.gz", tmp_path).tree

    assert (tree / "big").read_bytes() == content


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"]
)
def test_archives_of_tarfile_are_understood(tmp_path: Path, tar_format: int) -> None:
    """What Python's own tarfile writes, in each of its formats, is read back the same."""
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    source = unpack_stream(io.BytesIO(gzipped(tar(*small_tree()))), "a.tar.gz", first).tree
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz", format=tar_format) as archive:
        archive.add(source, "python")

    assert describe(unpack_archive(tmp_path / "b.tar.gz", again)) == SMALL_TREE


@pytest.mark.skipif(not shutil.which("tar"), reason="needs a tar program")
def test_archives_of_the_tar_program_are_understood(tmp_path: Path) -> None:
    """What the machine's tar writes, padded to its record size, is read back the same."""
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    unpack_stream(io.BytesIO(gzipped(tar(*small_tree()))), "a.tar.gz", first)
    subprocess.run(["tar", "-C", str(first), "-czf", str(tmp_path / "b.tar.gz"), "python"], check=True)

    assert describe(unpack_archive(tmp_path / "b.tar.gz", again)) == SMALL_TREE


def test_full_archive_gives_its_install_folder(tmp_path: Path) -> None:
    """A "full" archive has the tree one level down, beside the objects that it was built from."""
    members = [
        member("python/PYTHON.json", b"{}"),
        member("python/build/core.o", b"o"),
        member("python/install/bin/python3", b"p", mode=0o755),
    ]

    tree = unpack_stream(io.BytesIO(gzipped(tar(*members))), "full.tar.gz", tmp_path).tree

    assert tree == tmp_path / "python" / "install"
    assert (tree / "bin" / "python3").is_file()


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277], ids=["000", "077", "277"])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """Other users of a shared cache can read and run the tree, and cannot write to it, whatever the umask."""
    before = os.umask(umask)
    try:
        tree = unpack_stream(io.BytesIO(gzipped(tar(*small_tree()))), "a.tar.gz", tmp_path).tree
    finally:
        os.umask(before)

    assert describe(tree) == SMALL_TREE
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0o6755, 0o755), (0o1644, 0o644), (0o100666, 0o644), (0o777, 0o755), (0o011, 0o644), (0o000, 0o644)],
    ids=["PEP 706 setuid setgid", "PEP 706 sticky", "PEP 706 world-writable", "777", "no owner execute", "no bits"],
)
def test_mode_is_reduced_to_the_owner_execute_bit(tmp_path: Path, mode: int, expected: int) -> None:
    """setuid, setgid, sticky and write bits of others are dropped, and everybody can read."""
    tree = unpack_stream(io.BytesIO(gzipped(tar(member("python/f", b"x", mode=mode)))), "a.tar.gz", tmp_path).tree

    assert stat.S_IMODE((tree / "f").stat().st_mode) == expected


def test_owner_of_the_archive_is_ignored(tmp_path: Path) -> None:
    """PEP 706: user and group are those of the process, whatever number the header holds."""
    members = [member("python/f", b"x", uid=b"\x80\0\0\0\0\0\xff\xff"), member("python/g", b"x", uid=1234)]

    tree = unpack_stream(io.BytesIO(gzipped(tar(*members))), "a.tar.gz", tmp_path).tree

    assert {(tree / name).stat().st_uid for name in "fg"} == {os.getuid()}


def test_directory_may_be_listed_twice(tmp_path: Path) -> None:
    """A directory entry for one that is already there changes nothing."""
    data = gzipped(tar(DIRECTORY, FILE, DIRECTORY))

    assert set(describe(unpack_stream(io.BytesIO(data), "a.tar.gz", tmp_path).tree)) == {"file"}


def test_comment_of_git_archive_is_accepted(tmp_path: Path) -> None:
    """A global header with a comment, and keys of vendors, say nothing about where content goes."""
    extended = pax(b"SCHILY.xattr.user.a=1", b"uname=root", b"gname=")
    data = gzipped(tar(pax(b"comment=0123", kind="g"), extended, FILE))

    assert set(describe(unpack_stream(io.BytesIO(data), "a.tar.gz", tmp_path).tree)) == {"file"}


def _escape_by_links() -> List[bytes]:
    # Lexically python/deep/x; really two levels above python, since "up" leads to python.
    return [
        member("python/deep/er/up", kind="2", link="../.."),
        member("python/deep/er/out", kind="2", link="up/../../canary"),
    ]


def _escape_by_path_max() -> List[bytes]:
    # Through these links a short path resolves to one beyond PATH_MAX, where realpath() once stopped looking.
    members, path, component = [], "python", "d" * 247
    for letter in "abcdefghijklmnop":
        members.append(long_name(f"{path}/{component}") + member("python/d", kind="5"))
        members.append(long_name(component, "K") + member(f"{path}/{letter}", kind="2"))
        path = f"{path}/{letter}"
    members.append(member(f"{path}/out", kind="2", link="../" * 16 + "canary"))
    return members


HOSTILE: Dict[str, Tuple[List[bytes], str]] = {
    # Paths.
    "CVE-2001-1267 dot-dot path": (
        [member("../secret", b"x")],
        "member '../secret' is outside; wanted every member in the one folder 'python'",
    ),
    "CVE-2007-4559 dot-dot below the top": (
        [member("python/../../secret", b"x")],
        "member 'python/../../secret' has the path component '..'",
    ),
    "CVE-2016-6321 dot-dot behind a harmless start": (
        [member("python/lib/../../../bin/x", b"x")],
        "member 'python/lib/../../../bin/x' has the path component '..'",
    ),
    "PEP 706 absolute path": (
        [member("/etc/passwd", b"x")],
        "member '/etc/passwd' has an absolute path; wanted every member in the one folder 'python'",
    ),
    "CVE-2021-32804 several leading slashes": (
        [member("////python/x", b"x")],
        "member '////python/x' has an absolute path; wanted every member in the one folder 'python'",
    ),
    "CVE-2021-37713 drive-relative path": (
        [member("C:python/x", b"x")],
        "member 'C:python/x' is outside; wanted every member in the one folder 'python'",
    ),
    "CVE-2021-37701 backslash path": (
        [member("python\\..\\..\\secret", b"x")],
        "member 'python\\\\..\\\\..\\\\secret' has a backslash or a control character in a path: "
        "'python\\\\..\\\\..\\\\secret'",
    ),
    "device of Windows": (
        [member("python/Lib/AUX.tar.py", b"x")],
        "member 'python/Lib/AUX.tar.py' has the path component 'AUX.tar.py', which on Windows is something else than "
        "that file",
    ),
    "device of Windows as a folder, with a space": (
        [member("python/con /x", b"x")],
        "member 'python/con /x' has the path component 'con ', which on Windows is something else than that file",
    ),
    "port of Windows with a superscript": (
        [member("python/Com\xb9", b"x")],
        "member 'python/Com\xb9' has the path component 'Com\xb9', which on Windows is something else than that file",
    ),
    "stream of another file on Windows": (
        [member("python/os.py:hidden", b"x")],
        "member 'python/os.py:hidden' has the path component 'os.py:hidden', which on Windows is something else than "
        "that file",
    ),
    "dot at the end, which Windows drops": (
        [member("python/os.py.", b"x")],
        "member 'python/os.py.' has the path component 'os.py.', which on Windows is something else than that file",
    ),
    "PEP 706 outside of the top folder": (
        [DIRECTORY, member("other/x", b"x")],
        "member 'other/x' is outside; wanted every member in the one folder 'python'",
    ),
    "leading dot": (
        [member("./python/x", b"x")],
        "member './python/x' is outside; wanted every member in the one folder 'python'",
    ),
    "empty path": (
        [member("", b"x")],
        "member '' has an absolute path; wanted every member in the one folder 'python'",
    ),
    "empty component": ([member("python//x", b"x")], "member 'python//x' has the path component ''"),
    "file with a trailing slash": ([member("python/x/", b"x")], "member 'python/x/' has the path component ''"),
    "NUL in a path": (
        [member(b"python/x\0/../../secret", b"x")],
        "member 'python/x\\x00/../../secret' has a backslash or a control character in a path: "
        "'python/x\\x00/../../secret'",
    ),
    "terminal escape in a path": (
        [member("python/\x1b[2J", b"x")],
        "member 'python/\\x1b[2J' has a backslash or a control character in a path: 'python/\\x1b[2J'",
    ),
    "path not UTF-8": (
        [member(b"python/\xff", b"x")],
        "member 'python/\\\\xff' has a path that is not UTF-8: 'python/\\\\xff'",
    ),
    "long component": (
        [long_name("python/" + "n" * 256) + member("python/n", b"x")],
        "member '" + ("python/" + "n" * 256)[:120] + "…' has a path component of more than 255 bytes",
    ),
    "long path": (
        [long_name("python" + "/" + "n/" * 600 + "n") + member("python/n", b"x")],
        "member '" + ("python/" + "n/" * 60)[:120] + "…' has a path of 1208 bytes; at most 1024 are allowed",
    ),
    "deep path": (
        [long_name("python" + "/n" * 32) + member("python/n", b"x")],
        "member 'python" + "/n" * 32 + "' has 33 path components; at most 32 are allowed",
    ),
    "CVE-2025-62518 kin: path smuggled by a pax header": (
        [pax(b"path=python/../../secret") + member("python/harmless", b"x")],
        "member 'python/../../secret' has the path component '..'",
    ),
    "path smuggled by a GNU long name": (
        [long_name("/etc/passwd") + member("python/harmless", b"x")],
        "member '/etc/passwd' has an absolute path; wanted every member in the one folder 'python'",
    ),
    "path smuggled by the ustar prefix": (
        [member("secret", b"x", prefix="python/../..")],
        "member 'python/../../secret' has the path component '..'",
    ),
    # Links.
    "PEP 706 absolute symbolic link": (
        [member("python/x", kind="2", link="/etc")],
        "member 'python/x' is a symbolic link to '/etc'; wanted a relative target",
    ),
    "PEP 706 symbolic link outside": (
        [member("python/x", kind="2", link="../../secret")],
        "member 'python/x' is a symbolic link to '../../secret', which is outside of 'python'",
    ),
    "symbolic link to the staging directory itself": (
        [member("python/x", kind="2", link="..")],
        "member 'python/x' is a symbolic link to '..', which is outside of 'python'",
    ),
    "symbolic link with a drive": (
        [member("python/x", kind="2", link="C:x")],
        "member 'python/x' is a symbolic link to 'C:x'; wanted a relative target",
    ),
    "symbolic link to nothing": (
        [member("python/x", kind="2")],
        "member 'python/x' is a symbolic link to ''; wanted a relative target",
    ),
    "link target smuggled by a pax header": (
        [pax(b"linkpath=../../secret") + member("python/x", kind="2", link="y")],
        "member 'python/x' is a symbolic link to '../../secret', which is outside of 'python'",
    ),
    "link target smuggled by a GNU long link": (
        [long_name("/etc", "K") + member("python/x", kind="2", link="y")],
        "member 'python/x' is a symbolic link to '/etc'; wanted a relative target",
    ),
    "CVE-2025-4138 CVE-2025-4330 lexically inside, really outside": (
        _escape_by_links(),
        "member 'python/deep/er/out' is a symbolic link to 'up/../../canary', with '..' behind a name",
    ),
    "CVE-2025-4517 symbolic links beyond PATH_MAX": (
        _escape_by_path_max(),
        "a member is below 'python/a', which is a symbolic link: nothing is written through it",
    ),
    "CVE-2007-4559 CVE-2018-20834 written through a symbolic link": (
        [
            member("python/here/x", b"x"),
            member("python/link", kind="2", link="here"),
            member("python/link/y", b"x"),
        ],
        "a member is below 'python/link', which is a symbolic link: nothing is written through it",
    ),
    "CVE-2021-32803 directory replaced by a link": (
        [DIRECTORY, member("python/d/", kind="5"), member("python/d", kind="2", link=".")],
        "member 'python/d' is there twice, first as a directory",
    ),
    "CVE-2024-12718 mode set through a link of the same name": (
        [member("python/d", kind="2", link="e"), member("python/d/", kind="5", mode=0o777)],
        "member 'python/d' is there twice, first as a symbolic link",
    ),
    "file written through a link of the same name": (
        [member("python/f", kind="2", link="g"), member("python/f", b"x")],
        "member 'python/f' is there twice, first as a symbolic link",
    ),
    "top folder is a link": (
        [member("python", kind="2", link="x")],
        "member 'python' is a symbolic link; wanted a directory",
    ),
    "top folder is a file": ([member("python", b"x")], "member 'python' is a file; wanted a directory"),
    "file used as a directory": (
        [FILE, member("python/file/x", b"x")],
        "a member is below 'python/file', which is a file: nothing is written through it",
    ),
    "PEP 706 hard link outside": (
        [member("python/x", kind="1", link="../canary/secret")],
        "member '../canary/secret' is outside; wanted every member in the one folder 'python'",
    ),
    "PEP 706 absolute hard link": (
        [member("python/x", kind="1", link="/etc/passwd")],
        "member '/etc/passwd' has an absolute path; wanted every member in the one folder 'python'",
    ),
    "CVE-2025-4330 hard link to a symbolic link": (
        [member("python/d/l", kind="2", link="../file"), member("python/x", kind="1", link="python/d/l")],
        "member 'python/x' is a hard link to 'python/d/l', which is no regular file before it",
    ),
    "hard link through a symbolic link": (
        [FILE, member("python/d", kind="2", link="."), member("python/x", kind="1", link="python/d/file")],
        "member 'python/x' is a hard link to 'python/d/file', which is no regular file before it",
    ),
    "hard link to a later file": (
        [member("python/x", kind="1", link="python/file"), FILE],
        "member 'python/x' is a hard link to 'python/file', which is no regular file before it",
    ),
    "hard link with content": (
        [FILE, member("python/x", b"other", kind="1", link="python/file")],
        "member 'python/x' is a hard link with 5 bytes of content",
    ),
    "duplicate file": ([FILE, FILE], "member 'python/file' is there twice, first as a file"),
    "duplicate hard link": (
        [FILE, member("python/file", kind="1", link="python/file")],
        "member 'python/file' is there twice, first as a file",
    ),
    # Kinds.
    **{
        f"PEP 706 special file {kind}": (
            [member("python/x", kind=kind)],
            f"member 'python/x' is of the type {kind.encode()!r}; wanted a regular file, a directory or a link",
        )
        for kind in "3467MDVQ"
    },
    "CVE-2018-20482 GNU sparse file": (
        [member("python/x", b"x", kind="S", magic=b"ustar  \0")],
        "member 'python/x' is of the type b'S'; wanted a regular file, a directory or a link",
    ),
    "CVE-2019-9923 pax sparse file": (
        [pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0") + FILE],
        "an extended header has the key b'GNU.sparse.major', which is not supported there",
    ),
    # Numbers.
    "CVE-2025-8194 negative size": (
        [member("python/x", size=b"\xff" * 12)],
        "member 'python/x' is a file with -1 bytes of content",
    ),
    "size with a sign": (
        [member("python/x", size=b"-0000000512\0")],
        "member 'python/x' is a file with -330 bytes of content",
    ),
    "size beyond the bound": (
        [member("python/x", size=b"\x80" + (1 << 40).to_bytes(11, "big"))],
        "member 'python/x' has 1099511627776 bytes, with which the archive exceeds 4294967296 bytes",
    ),
    "directory with content": (
        [member("python/d", b"x", kind="5")],
        "member 'python/d' is a directory with 1 bytes of content",
    ),
    "CVE-2025-62518 size only in the pax header": (
        [pax(b"size=1024") + member("python/x", size=0), member("../hidden", b"x")],
        "an extended header has the key b'size', which is not supported there",
    ),
    "CVE-2026-33055 sizes that differ": (
        [pax(b"size=0") + member("python/x", bytes(512))],
        "an extended header has the key b'size', which is not supported there",
    ),
    "GHSA-3cv2-h65g-fgmm pax size before a GNU long name": (
        [pax(b"size=2048") + long_name("python/long") + FILE],
        "an extended header has the key b'size', which is not supported there",
    ),
    "negative size in a pax header": (
        [pax(b"size=-1") + FILE],
        "an extended header has the key b'size', which is not supported there",
    ),
    "CVE-2022-48303 blank number": (
        [member("python/x", mtime=b" " * 11 + b"8")],
        "a tar header is malformed: invalid header",
    ),
    "time before 1970": (
        [pax(b"mtime=-1") + FILE],
        "member 'python/file' has a modification time before 1970 or after 2106",
    ),
    "time after 2106": (
        [member("python/x", mtime=1 << 32)],
        "member 'python/x' has a modification time before 1970 or after 2106",
    ),
    # Extended headers.
    "CVE-2019-20907 pax record of length 0": ([pax(b"0 path=x\n") + FILE], "an extended header is malformed at byte 0"),
    "pax record longer than the header": ([pax(b"999 path=x\n") + FILE], "an extended header is malformed at byte 0"),
    "pax record shorter than itself": ([pax(b"3 path=x\n") + FILE], "an extended header is malformed at byte 0"),
    "pax record without a newline": (
        [member("x", b"8 a.b=cd", kind="x") + FILE],
        "an extended header is malformed at byte 0",
    ),
    "pax key twice": (
        [pax(b"path=python/a", b"path=python/b") + FILE],
        "an extended header is malformed at byte 17",
    ),
    "pax path and GNU long name": (
        [pax(b"path=python/a") + long_name("python/b") + FILE],
        "a second extended header, of type b'L', belongs to one member",
    ),
    "pax header twice": (
        [pax(b"path=python/a") + pax(b"mtime=1") + FILE],
        "a second extended header, of type b'x', belongs to one member",
    ),
    "pax charset": (
        [pax(b"hdrcharset=BINARY") + FILE],
        "an extended header has the key b'hdrcharset', which is not supported there",
    ),
    "path for every member in a global header": (
        [pax(b"path=python/a", kind="g") + FILE],
        "an extended header has the key b'path', which is not supported there",
    ),
    "global header between a header and its member": (
        [pax(b"path=python/a") + pax(b"comment=x", kind="g") + FILE],
        "a second extended header, of type b'g', belongs to one member",
    ),
    "extended header without a member": ([DIRECTORY, pax(b"mtime=1")], "an extended header is followed by no member"),
    "extended header with a size that is not octal": (
        [member("x", size=b"00000000999\0", kind="x")],
        "a tar header is malformed: b'00000000999\\x00' is not a number that is zero or more",
    ),
    "extended header without bound": (
        [member("x", size=1 << 30, kind="x")],
        "an extended header has 1073741824 bytes; at most 65536 are allowed",
    ),
    # Headers.
    "wrong checksum": (
        [FILE.replace(b"python/file", b"python/fils")],
        "a tar header is malformed: bad checksum",
    ),
    "malformed header behind a good member": (
        [FILE, b"\x01" * 512],
        "a tar header is neither POSIX nor GNU: its magic is b'\\x01\\x01\\x01\\x01\\x01\\x01\\x01\\x01'",
    ),
    "not POSIX nor GNU": (
        [member("python/x", b"x", magic=bytes(8))],
        "a tar header is neither POSIX nor GNU: its magic is b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'",
    ),
    "one block of zeros": ([DIRECTORY, bytes(512), FILE], "a single block of zeros stands between two members"),
    "data behind the end": (
        [DIRECTORY, bytes(1024), FILE],
        "there is other data behind the end of the tar archive",
    ),
    "no member at all": ([], "it holds no folder 'python'"),
}


@pytest.mark.parametrize(("members", "message"), list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_member_is_refused(sandbox: Sandbox, members: List[bytes], message: str) -> None:
    """Each trick is named in the message, and nothing around the staging directory changes."""
    error = sandbox.refuse(gzipped(tar(*members)))

    expected = [f"could not unpack 'a.tar.gz': {message}"]
    if message.endswith(" bytes of content"):
        # The security releases of CPython that correct CVE-2025-8194 refuse it before we see a member.
        expected.append("could not unpack 'a.tar.gz': a tar header is malformed: invalid offset")
    assert error.message in expected


def test_canary_would_notice_an_escape(sandbox: Sandbox) -> None:
    """The hostile suite can fail: a tree unpacked without checks is seen to reach outside."""
    before = sandbox.surroundings()
    with tarfile.open(fileobj=io.BytesIO(tar(member("../secret", b"x")))) as archive:
        for info in archive:
            (sandbox.staging / info.name).write_bytes(b"x")

    assert sandbox.surroundings() != before


def test_pathological_header_takes_no_time(sandbox: Sandbox) -> None:
    """CVE-2024-6232: the time to parse a pax header grows no faster than its size; else it takes 25 s here."""
    payload = (b"9" * 60_000) + b" "
    started = time.process_time()

    error = sandbox.refuse(gzipped(tar(member("x", payload, kind="x"), FILE)))

    assert error.message == "could not unpack 'a.tar.gz': an extended header is malformed at byte 0"
    assert time.process_time() - started < 10


def test_member_list_of_a_truncated_tar_is_refused(sandbox: Sandbox, gzip_decoder: str) -> None:
    """An archive cut between, inside or behind members is never taken for a shorter one."""
    whole = tar(DIRECTORY, FILE, member("python/last", bytes(700)))
    for cut in (0, 100, 512, 1024, 1030, 1536, 2048, 3072, 3584):
        sandbox.clear()
        error = sandbox.refuse(gzipped(whole[:cut]))

        assert error.message == (
            "could not unpack 'a.tar.gz': the tar archive is truncated: it ends before its end-of-archive marker"
        )


GOOD = gzipped(tar(*small_tree()))
NOT_AN_ARCHIVE: Dict[str, Tuple[bytes, str]] = {
    "empty": (b"", "it is neither gzip nor Zstandard: it is empty"),
    "an error page": (b"<!DOCTYPE html>", "it is neither gzip nor Zstandard: it starts with b'<!DOCTYP'"),
    "a plain tar": (tar(FILE), "it is neither gzip nor Zstandard: it starts with b'python/f'"),
    "truncated in its last byte": (
        GOOD[:-1],
        f"the compressed stream is truncated: it ends after {len(GOOD) - 1} bytes",
    ),
    "truncated in its header": (GOOD[:5], "the compressed stream is truncated: it ends after 5 bytes"),
    "one byte appended": (
        GOOD + b"\0",
        f"there is other data behind the end of the compressed stream of {len(tar(*small_tree()))} bytes",
    ),
    "a second gzip member appended": (
        GOOD + gzipped(tar(member("python/extra", b"x"))),
        f"there is other data behind the end of the compressed stream of {len(tar(*small_tree()))} bytes",
    ),
    "garbage appended at the size of the read buffer": (
        GOOD + bytes(1 << 17),
        f"there is other data behind the end of the compressed stream of {len(tar(*small_tree()))} bytes",
    ),
}


@pytest.mark.parametrize(("data", "message"), list(NOT_AN_ARCHIVE.values()), ids=list(NOT_AN_ARCHIVE))
def test_what_is_not_one_complete_archive_is_refused(
    sandbox: Sandbox, gzip_decoder: str, data: bytes, message: str
) -> None:
    """A stream that is not exactly one compressed archive is refused, by either decoder alike."""
    assert sandbox.refuse(data).message == f"could not unpack 'a.tar.gz': {message}"


@pytest.mark.parametrize("appended", [b"\0", b"second"], ids=["byte", "frame"])
def test_data_behind_a_zstd_frame_is_refused(sandbox: Sandbox, zstd_decoder: str, appended: bytes) -> None:
    """Nothing may follow the frame, be it another frame."""
    plain = tar(*small_tree())
    error = sandbox.refuse(zstandard(plain) + (zstandard(plain) if appended == b"second" else appended))

    assert error.message == (
        "could not unpack 'a.tar.gz': there is other data behind the end "
        f"of the compressed stream of {len(plain)} bytes"
    )


def test_truncated_zstd_frame_is_refused(sandbox: Sandbox, zstd_decoder: str) -> None:
    """A frame without its last byte is truncated although all content was there."""
    data = zstandard(tar(*small_tree()))
    error = sandbox.refuse(data[:-1])

    assert error.message == (
        f"could not unpack 'a.tar.gz': the compressed stream is truncated: it ends after {len(data) - 1} bytes"
    )


def test_corrupt_zstd_frame_is_refused(sandbox: Sandbox, zstd_decoder: str) -> None:
    """What a decompressor raises of its own is translated."""
    data = bytearray(zstandard(tar(*small_tree())))
    data[-1] ^= 1

    message = sandbox.refuse(bytes(data)).message

    assert message.startswith("could not unpack 'a.tar.gz': the compressed stream is corrupt: ")


def test_zstd_without_a_decompressor_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing decompresses Zstandard, the error says what to install."""
    for name in ("compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError) as caught:
        unpack_stream(io.BytesIO(b"\x28\xb5\x2f\xfd"), "a.tar.zst", tmp_path)

    assert caught.value.package in caught.value.message


def _zeros(count: int) -> Iterator[bytes]:
    yield member("python/zeros", size=count)
    for _ in range(count >> 20):
        yield bytes(1 << 20)
    yield bytes(1024)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """128 MiB of zeros in 128 KiB of gzip."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6) as stream:
        for piece in _zeros(128 << 20):
            stream.write(piece)
    return out.getvalue()


def test_decompression_bomb_is_stopped_by_its_ratio(sandbox: Sandbox, bomb: bytes, gzip_decoder: str) -> None:
    """CVE-2026-59873 class: what grows beyond 200 times its size is not written to the end."""
    message = sandbox.refuse(bomb).message

    assert message.endswith("more than 200 times as many: taken for a decompression bomb")
    assert (sandbox.staging / "python/zeros").stat().st_size <= (64 << 20)


def test_decompression_bomb_is_stopped_by_its_size(sandbox: Sandbox, bomb: bytes) -> None:
    """A member that announces more than the bound is refused before a byte of it is written."""
    error = sandbox.refuse(bomb, MAX_BYTES=1 << 20)

    assert error.message == (
        "could not unpack 'a.tar.gz': member 'python/zeros' has 134217728 bytes, "
        "with which the archive exceeds 1048576 bytes"
    )
    assert not (sandbox.staging / "python").exists()


def test_padding_without_end_is_stopped(sandbox: Sandbox) -> None:
    """The zeros behind the end of the archive count against the bound like everything else."""
    error = sandbox.refuse(gzipped(tar(FILE, end=bytes(4 << 20))), MAX_BYTES=2 << 20, MAX_RATIO=10**6)

    assert error.message.startswith("could not unpack 'a.tar.gz': more than 2097152 bytes come out of ")


def test_zstd_bomb_is_stopped(sandbox: Sandbox, zstd_decoder: str) -> None:
    """Zstandard, which can turn four bytes into 128 KiB, is bounded as gzip is."""
    message = sandbox.refuse(zstandard(b"".join(_zeros(128 << 20)))).message

    assert message.endswith("more than 200 times as many: taken for a decompression bomb")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member(f"python/{n}") for n in range(4)], "it has more than 4 members, implied directories included"),
        ([member("python/a/b/c/d/e")], "it has more than 4 members, implied directories included"),
        ([DIRECTORY] * 5, "it has more than 4 members"),
    ],
    ids=["files", "implied directories", "the same directory"],
)
def test_number_of_members_is_bounded(sandbox: Sandbox, members: List[bytes], message: str) -> None:
    """Inodes cannot be exhausted, nor time by members that create nothing."""
    error = sandbox.refuse(gzipped(tar(*members)), MAX_MEMBERS=4)

    assert error.message == f"could not unpack 'a.tar.gz': {message}"


def test_number_of_directories_is_bounded(sandbox: Sandbox) -> None:
    """A few kilobytes can imply a hundred thousand of them, each of which takes a while."""
    many = [member("python/" + "/".join(f"{row}-{column}" for column in range(20))) for row in range(4)]
    error = sandbox.refuse(gzipped(tar(*many)), MAX_FOLDERS=50)

    assert error.message == "could not unpack 'a.tar.gz': it has more than 50 directories"


def test_directory_that_is_not_empty_is_refused(sandbox: Sandbox) -> None:
    """CVE-2025-45582: a link left by an earlier archive is never there to write through."""
    (sandbox.staging / "python").symlink_to(sandbox.canary)
    before = sandbox.surroundings()
    with pytest.raises(UnpackError) as caught:
        unpack_stream(io.BytesIO(GOOD), "a.tar.gz", sandbox.staging)

    assert caught.value.message == (f"could not unpack 'a.tar.gz': the directory {str(sandbox.staging)!r} is not empty")
    assert sandbox.surroundings() == before


def test_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """A staging directory that cannot be made is an error of ours, not an OSError."""
    folder = tmp_path / "none" / "staging"
    with pytest.raises(UnpackError) as caught:
        unpack_stream(io.BytesIO(GOOD), "a.tar.gz", folder)

    assert caught.value.message == (
        f"could not unpack 'a.tar.gz': the directory {str(folder)!r} cannot be used: No such file or directory"
    )


def test_archive_that_is_missing_is_named(tmp_path: Path) -> None:
    """An archive that cannot be opened is named."""
    with pytest.raises(UnpackError) as caught:
        unpack_archive(tmp_path / "a.tar.gz", tmp_path)

    assert caught.value.message == "could not unpack 'a.tar.gz': it cannot be read: No such file or directory"


def _fold(call: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
    """Have a function take names that differ in case for the same, as far as the archive gives them."""

    def folded(*args: Any, **options: Any) -> Any:
        changed = list(args)
        if isinstance(args[at], bytes):
            folder, top, rest = args[at].partition(b"/python")
            changed[at] = folder + top + rest.lower()
        return call(*changed, **options)

    return folded


CASE_PAIRS: Dict[str, List[bytes]] = {
    "directories": [member("python/N/x", b"x"), member("python/n/y", b"y")],
    "files": [member("python/x", b"x"), member("python/X", b"y")],
    "CVE-2021-39134 link then directory": [member("python/LINK", kind="2", link="."), member("python/link/x", b"x")],
}


@pytest.mark.parametrize("members", list(CASE_PAIRS.values()), ids=list(CASE_PAIRS))
def test_case_collision_is_refused_where_case_is_not_told_apart(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, members: List[bytes]
) -> None:
    """On a file system that folds case the second name is refused; elsewhere both are written."""
    twin = sandbox.canary.parent / "twin"
    twin.mkdir()
    if "LINK" not in str(members[0]):
        unpack_stream(io.BytesIO(gzipped(tar(*members))), "a.tar.gz", twin)
    for name in ("open", "mkdir", "chmod"):
        monkeypatch.setattr(os, name, _fold(getattr(os, name)))
    monkeypatch.setattr(os, "symlink", _fold(os.symlink, 1))

    error = sandbox.refuse(gzipped(tar(*members)))

    assert "which does not tell upper from lower case, or Unicode forms apart" in error.message
    assert error.hint == "let the setting cache-dir name a directory on a file system that does"


@pytest.mark.parametrize("name", ["symlink", "chmod"])
def test_a_file_system_without_links_or_modes_is_named(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """ExFAT and FAT refuse both with EPERM, which reads as if rights were missing."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, name, refuse)
    error = sandbox.refuse(gzipped(tar(member("python/x", b"x"), member("python/link", kind="2", link="x"))))

    assert error.hint == (
        "exFAT and the like have no links and no modes; let the setting cache-dir name a directory elsewhere"
    )


_IN_NAMESPACE = """
import sys
from pathlib import Path
from provision_backend.errors import UnpackError
from provision_backend.install.unpack import unpack_archive
try:
    unpack_archive(Path(sys.argv[1]), Path(sys.argv[2]))
except UnpackError as exc:
    print(exc.message)
"""


def _run_on(mount: str, archive: Path, point: Path) -> str:
    """Unpack on a file system of its own, visible to nobody else; skip where that is not allowed."""
    root = Path(unpack_module.__file__).parent.parent
    script = f'{mount} && exec "$0" -c "$1" "$2" "$3"'
    command = ["unshare", "-rm", "sh", "-c", script, sys.executable, _IN_NAMESPACE, str(archive), str(point)]
    probe = ["unshare", "-rm", "sh", "-c", f"cd / && {mount.replace('$3', '$0')}", str(point)]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces")
    environment = {**os.environ, "PYTHONPATH": str(root), "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_full_disk_is_named(tmp_path: Path) -> None:
    """On a full file system the message has the path and the folder."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzipped(tar(member("python/small", b"x"), member("python/big", os.urandom(3 << 20)))))
    point = tmp_path / "small"
    point.mkdir()

    message = _run_on('mount -t tmpfs -o size=1m none "$3"', archive, point)

    assert message == (
        f"could not unpack 'a.tar.gz': member 'python/big' cannot be written to {str(point)!r}: No space left on device"
    )


def test_a_limit_on_the_size_of_files_is_told_apart_from_a_full_disk(tmp_path: Path) -> None:
    """Room on the disk would not help."""
    resource = pytest.importorskip("resource")
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzipped(tar(member("python/big", bytes(5000)))))
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(UnpackError) as caught:
            unpack_archive(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)

    assert str(caught.value).endswith(
        ": File too large\n  raise the limit on the size of a file that this process has: ulimit -f unlimited"
    )


def test_read_only_file_system_is_named(tmp_path: Path) -> None:
    """On a read-only file system the message says so."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(GOOD)
    point = tmp_path / "small"
    point.mkdir()

    message = _run_on('mount -t tmpfs -o ro none "$3"', archive, point)

    assert message == (
        f"could not unpack 'a.tar.gz': member 'python/bin/python3.12' cannot be written to {str(point)!r}: "
        "Read-only file system"
    )


def failing(data: bytes, error: Exception) -> Iterator[bytes]:
    """Yield *data* and then raise."""
    yield data
    raise error


def test_zstd_frame_that_wants_too_much_memory_is_refused(sandbox: Sandbox, zstd_decoder: str) -> None:
    """A frame whose window is two tebibytes is refused by its header."""
    message = sandbox.refuse(b"\x28\xb5\x2f\xfd\x00\xf8" + bytes(64)).message

    assert message.startswith("could not unpack 'a.tar.gz': the compressed stream is corrupt: ")


def test_memory_that_cannot_be_had_is_translated(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decompressor that runs out of memory ends in an error of ours."""

    def fail(self: object, data: bytes, limit: int) -> bytes:
        raise MemoryError

    decoder = type("ZstdDecompressor", (), {"decompress": fail, "eof": False})
    module = type("module", (), {"ZstdDecompressor": decoder, "ZstdError": type("ZstdError", (Exception,), {})})
    monkeypatch.setitem(sys.modules, "compression.zstd", module)

    error = sandbox.refuse(b"\x28\xb5\x2f\xfd")

    assert error.message == "could not unpack 'a.tar.gz': the compressed stream cannot be decompressed: MemoryError"


def test_error_of_a_download_passes_unchanged(tmp_path: Path) -> None:
    """A stream that downloads reports its own errors."""
    error = DownloadError("connection reset")
    with pytest.raises(DownloadError) as caught:
        unpack_stream(failing(GOOD[:200], error), "a.tar.gz", tmp_path)

    assert caught.value is error


def test_no_descriptor_stays_open(sandbox: Sandbox) -> None:
    """Neither success nor a refusal in a deep directory leaks a descriptor."""
    gc.collect()  # What an earlier test has left would be closed meanwhile.
    count = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else pytest.skip("needs /proc")
    sandbox.refuse(gzipped(tar(member("python/a/b/c/d", b"x"), member("python/a/b/c/d", b"x"))))
    sandbox.clear()
    unpack_stream(io.BytesIO(GOOD), "a.tar.gz", sandbox.staging)

    assert len(os.listdir("/proc/self/fd")) == count


def _damage(data: bytes, chance: random.Random) -> bytes:
    """Flip a bit, cut the end, append bytes, or drop or repeat some in the middle."""
    kind = chance.randrange(5)
    at = chance.randrange(len(data))
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data + bytes(chance.randrange(256) for _ in range(chance.randrange(1, 600)))
    width = chance.randrange(1, 64)
    if kind == 3:
        return data[:at] + data[at + width :]
    return data[:at] + data[at : at + width] + data[at:]


def test_damaged_gzip_never_gives_another_tree(sandbox: Sandbox, gzip_decoder: str) -> None:
    """Of 300 damaged archives each is refused, unless what it decompresses to is the same to the last byte.

    That happens: bytes of the gzip header mean nothing here, and in a run of zeros one match is as good as another.
    """
    chance = random.Random(20240)
    before = sandbox.surroundings()
    refused = 0
    for _ in range(300):
        sandbox.clear()
        try:
            tree = unpack_stream(io.BytesIO(_damage(GOOD, chance)), "a.tar.gz", sandbox.staging).tree
        except UnpackError:
            refused += 1
        else:
            assert describe(tree) == SMALL_TREE

    assert refused >= 285
    assert sandbox.surroundings() == before


def test_damaged_tar_never_reaches_outside(sandbox: Sandbox) -> None:
    """Of 200 tar archives damaged under an intact gzip none escapes, and nothing but an UnpackError is raised."""
    chance = random.Random(4)
    plain = tar(*small_tree())
    before = sandbox.surroundings()
    refused = 0
    for _ in range(200):
        sandbox.clear()
        try:
            unpack_stream(io.BytesIO(gzipped(_damage(plain, chance))), "a.tar.gz", sandbox.staging)
        except UnpackError:
            refused += 1
        sandbox.check(before)

    assert refused >= 100


def test_header_with_every_byte_changed_is_refused(sandbox: Sandbox) -> None:
    """The checksum of a header covers each of its bytes but the two behind it, which hold nothing."""
    header = FILE[:512]
    for at in (*range(154), *range(156, 512)):
        changed = header[:at] + bytes([header[at] ^ 0x55]) + header[at + 1 :]
        sandbox.refuse(gzipped(tar(changed + FILE[512:])))

    assert with_checksum(header) == header


def test_the_last_of_two_files_counts_in_an_sdist(tmp_path: Path) -> None:
    """An sdist made of an unpacked one may hold its PKG-INFO twice, as hatchling's does; a link is never replaced."""
    last, link = member("spam-1/PKG-INFO", b"last"), member("spam-1/PKG-INFO", kind="2", link="other")
    sdist = tmp_path / "spam-1.tar.gz"
    sdist.write_bytes(gzipped(tar(member("spam-1/PKG-INFO", b"first"), last)))
    assert (unpack_sdist(sdist, tmp_path / "good") / "PKG-INFO").read_bytes() == b"last"

    sdist.write_bytes(gzipped(tar(link, last)))
    with pytest.raises(UnpackError, match="is there twice, first as a symbolic link"):
        unpack_sdist(sdist, tmp_path / "bad")
