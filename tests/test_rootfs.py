"""A root directory is a security boundary: what is in it may want to lead us out, or to make us wait."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
import threading
from pathlib import Path

import pytest
from support.roots import Link, make_root

from provision_backend.errors import HostError
from provision_backend.host.rootfs import RootDirectory, open_regular_file

SECRET = b"outside"
INSIDE = b"inside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root beside a file that nobody in it may reach."""
    (tmp_path / "secret").write_bytes(SECRET)
    return make_root(tmp_path / "root", {"/secret": INSIDE, "/etc/os-release": INSIDE, "/a/b/c/file": INSIDE})


def read(root: Path, path: str) -> bytes:
    with RootDirectory(root).open(path) as file:
        return file.read(100)


@pytest.mark.parametrize(
    "target",
    [
        "/secret",
        "../secret",
        "../../../../../../secret",
        "/../../secret",
        "/etc/../../secret",
        "//secret",
        "./.././/./secret",
        "/a/b/../../../../secret",
    ],
)
def test_links_never_leave_the_root(target: str, root: Path) -> None:
    """Absolute targets start at the root, and ".." at the root stays there."""
    (root / "etc/link").symlink_to(target)

    assert read(root, "/etc/link") == INSIDE


@pytest.mark.parametrize(
    "path", ["../secret", "/../secret", "/a/../../secret", "secret", "/a/b/c/../../../../../secret"]
)
def test_the_asked_path_never_leaves_the_root(path: str, root: Path) -> None:
    """The same holds for the path itself."""
    assert read(root, path) == INSIDE


def test_a_directory_that_is_a_link_out_of_the_root_leads_inside(root: Path, tmp_path: Path) -> None:
    """A link in the middle of a path is resolved inside as well, also the real path of the outside."""
    (root / "out").symlink_to(tmp_path)

    with pytest.raises(HostError) as caught:
        read(root, "/out/secret")

    assert caught.value.message == "cannot read '/out/secret': no such file or directory"


def test_the_way_through_links_is_told(root: Path) -> None:
    """What is located comes with its real path inside the root."""
    make_root(root, {"/lib64": Link("usr/lib"), "/usr/lib/ld.so": Link("/a/b/c/file")})

    located = RootDirectory(root).locate("/lib64/ld.so")

    assert located is not None
    assert located.identity is not None
    assert (located.path, located.problem, located.identity.size) == ("/a/b/c/file", "", len(INSIDE))


@pytest.mark.parametrize(
    ("links", "path"),
    [
        ({"/x": "x"}, "/x"),
        ({"/x": "y", "/y": "x"}, "/x"),
        ({"/x": "x/x"}, "/x/x"),
        ({"/x": "/x/../x/file"}, "/x"),
        ({f"/{n}": f"{n + 1}" for n in range(50)}, "/0"),
    ],
    ids=["itself", "two", "growing", "through itself", "a long chain"],
)
def test_loops_of_links_end(links: dict[str, str], path: str, root: Path) -> None:
    """Nothing is behind a loop, and that is said."""
    make_root(root, {name: Link(target) for name, target in links.items()})

    with pytest.raises(HostError) as caught:
        read(root, path)

    assert caught.value.message == f"cannot read {path!r}: too many symbolic links"
    assert RootDirectory(root).locate(path) == (path, None, "cannot be reached: too many symbolic links")


def test_a_chain_of_forty_links_is_followed_as_the_kernel_does(root: Path) -> None:
    """The bound is the kernel's, so whatever works in the root works here."""
    make_root(root, {f"/{n}": Link(f"{n + 1}") for n in range(39)}, {"/39": Link("secret")})

    assert read(root, "/0") == INSIDE


def test_a_fifo_is_not_opened(root: Path) -> None:
    """Opening would wait for a writer."""
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("fifo")

    with pytest.raises(HostError) as caught:
        read(root, "/link")

    assert caught.value.message == "cannot read '/link': it is a FIFO, not a regular file"


def test_a_device_is_not_opened(root: Path) -> None:
    """Opening a device may act, and /dev/zero never ends."""
    try:
        os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs root rights")

    with pytest.raises(HostError) as caught:
        read(root, "/zero")

    assert caught.value.message == "cannot read '/zero': it is a device, not a regular file"


def test_a_socket_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket is named for what it is."""
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")

        with pytest.raises(HostError) as caught:
            read(root, "/socket")

    assert caught.value.message == "cannot read '/socket': it is a socket, not a regular file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "no such file or directory"),
        ("/secret/file", "not a directory"),
        ("/a/b", "it is a directory, not a regular file"),
        ("/", "it is a directory"),
        ("/a/..", "it is a directory"),
        ("", "it is a directory"),
        ("/x\0y", "it is not a path"),
        ("/" + "x" * 5000, "it is not a path"),
        ("/" + "x" * 300, "file name too long"),
    ],
    ids=["missing", "file as directory", "directory", "root", "parent", "empty", "NUL", "long path", "long name"],
)
def test_what_is_no_file_is_said(path: str, reason: str, root: Path) -> None:
    """Whatever is wrong with a path ends in a HostError."""
    with pytest.raises(HostError) as caught:
        read(root, path)

    assert caught.value.message == f"cannot read {path!r}: {reason}"


def test_a_very_deep_path_is_refused_before_descriptors_run_out(root: Path) -> None:
    """Each directory on the way holds a descriptor, so their number is bounded."""
    deep = "/d" * 150
    make_root(root, {f"{deep}/file": INSIDE})

    with pytest.raises(HostError) as caught:
        read(root, f"{deep}/file")

    assert caught.value.message == f"cannot read '{deep}/file': more than 100 directories deep"


def test_links_up_and_down_hold_no_descriptors(root: Path) -> None:
    """A walk holds those of the folders it is in, however often links lead up and down again, as the kernel does."""
    up_and_down = "/a/.." * 600
    make_root(root, {f"/link{number}": Link(f"{up_and_down}/link{number + 1}") for number in range(3)})
    (root / "link3").symlink_to("/secret")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 200, limits[1]))
    try:
        assert read(root, "/link0") == INSIDE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("path", ["/secret/", "/secret/.", "/to-file", "/secret/.."])
def test_what_the_kernel_takes_for_a_directory_is_no_file(path: str, root: Path) -> None:
    """A link may end in a slash or a dot, too."""
    make_root(root, {"/to-file": Link("secret/.")})

    with pytest.raises(HostError, match="not a directory"):
        read(root, path)


def test_a_file_that_stops_being_readable_is_an_error_of_the_host(root: Path) -> None:
    """A bad disk, or a network file system without its server; the body need not know."""
    with pytest.raises(HostError) as caught, RootDirectory(root).open("/secret"):
        raise OSError(errno.EIO, "Input/output error")

    assert caught.value.message == "cannot read '/secret': input/output error"


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Neither success nor failure leaks a descriptor."""
    gc.collect()  # What an earlier test has left would be closed meanwhile.
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/a/b/c/file", "/a/b/none", "/a/b", "/a/b/c/../../../secret"):
        RootDirectory(root).locate(path)
        with pytest.raises(HostError) if path.endswith(("none", "b")) else open(os.devnull):
            read(root, path)

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_turns_into_a_link_never_leads_out(root: Path, tmp_path: Path) -> None:
    """Somebody who swaps a directory for a link while it is walked wins nothing."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(SECRET)
    make_root(root, {"/swap/file": INSIDE})
    (root / "link").symlink_to(tmp_path / "outside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "swap", root / "kept")
            os.rename(root / "link", root / "swap")
            os.rename(root / "swap", root / "link")
            os.rename(root / "kept", root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    directory = RootDirectory(root)
    seen = set()
    try:
        for _ in range(2000):
            seen.add(_content(directory, "/swap/file"))
    finally:
        stop.set()
        thread.join()

    assert seen <= {INSIDE, b"nothing"}
    assert INSIDE in seen


def _content(directory: RootDirectory, path: str) -> bytes:
    try:
        with directory.open(path) as file:
            return file.read(100)
    except HostError:
        return b"nothing"


def test_a_search_only_directory_is_passed_through(root: Path) -> None:
    """On Android "/" and "/data" can be searched and not listed; their files are reached nevertheless."""
    if os.geteuid() == 0:
        pytest.skip("root reads every directory")
    (root / "a").chmod(0o111)

    assert read(root, "/a/b/c/file") == INSIDE


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(HostError) as caught:
        RootDirectory(tmp_path / "file")

    assert caught.value.message == f"cannot inspect the root '{tmp_path}/file': it is not a directory"


def test_the_running_system_is_recognised(tmp_path: Path) -> None:
    """Only the root of this process is one whose loaders may be started."""
    (tmp_path / "slash").symlink_to("/")

    assert RootDirectory(Path("/")).is_running_system
    assert RootDirectory(tmp_path / "slash").is_running_system
    assert not RootDirectory(tmp_path).is_running_system


def test_a_file_of_this_machine_follows_links_and_knows_its_name(tmp_path: Path) -> None:
    """Outside of a root, links lead where they lead."""
    (tmp_path / "file").write_bytes(INSIDE)
    (tmp_path / "link").symlink_to("file")

    with open_regular_file(tmp_path / "link") as file:
        assert (file.read(), file.name) == (INSIDE, str(tmp_path / "link"))


def test_a_fifo_of_this_machine_is_not_opened(tmp_path: Path) -> None:
    """The same rule without a root."""
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(HostError) as caught:
        open_regular_file(tmp_path / "fifo")

    assert caught.value.message == f"cannot read '{tmp_path}/fifo': it is a FIFO, not a regular file"


def test_a_missing_file_of_this_machine_is_said(tmp_path: Path) -> None:
    """A missing file is a HostError too."""
    with pytest.raises(HostError) as caught:
        open_regular_file(tmp_path / "none")

    assert caught.value.message == f"cannot read '{tmp_path}/none': no such file or directory"
