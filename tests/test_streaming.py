"""Archives that are unpacked while they arrive: `stream_archive` into `unpack_stream`, from misbehaving sources."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest
from support.archives import gzipped, member, tar
from support.servers import ArchiveServer, Reply

from provision_backend.catalog.archive import Archive
from provision_backend.errors import DownloadError, IntegrityError, UnpackError
from provision_backend.files import remove_path
from provision_backend.install.download import stream_archive
from provision_backend.install.unpack import Unpacked, unpack_stream
from provision_backend.output import Reporter
from provision_backend.settings import Settings

TAG = "20251110"
FILE = f"cpython-3.13.5+{TAG}-x86_64-unknown-linux-gnu-install_only.tar.gz"
PATH = f"/{TAG}/{FILE}"
ROOT = Path(__file__).resolve().parent.parent


def noise(seed: int, size: int) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).getrandbits(8 * size).to_bytes(size, "big")


def catalogued(data: bytes) -> Archive:
    """Return the line of the catalog that these bytes are right for."""
    sha256 = hashlib.sha256(data).hexdigest()
    return Archive(FILE, sha256, "3.13.5", TAG, "x86_64-unknown-linux-gnu", "install_only", False)


FILES = {f"lib/{number}.bin": noise(number, 40_000) for number in range(50)}
MEMBERS = [member(f"python/{path}", content) for path, content in FILES.items()]
GOOD = gzipped(tar(*MEMBERS))
OTHER = gzipped(tar(*MEMBERS[::-1]))
ARCHIVE = catalogued(GOOD)
CRAFTED = gzipped(tar(*MEMBERS[:25], member("python/../outside", b"x"), *MEMBERS[25:]))


class Place:
    """A folder to unpack in and one for the part."""

    def __init__(self, folder: Path) -> None:
        self.staging = folder / "staging"
        self.staging.mkdir()
        self.part_of = folder / "downloads" / "archive"
        self.said = io.StringIO()
        self.passes = 0
        """How often an archive was begun."""

    def unpack(
        self, *mirrors: str, archive: Archive = ARCHIVE, reporter: Optional[Reporter] = None, **more: Any
    ) -> Path:
        """Fetch and unpack, and return the tree."""
        options = Settings(mirror=mirrors, **{"retries": 2, **more})

        def use(chunks: Iterator[bytes]) -> Unpacked:
            remove_path(self.staging)
            self.staging.mkdir()
            self.passes += 1
            return unpack_stream(chunks, archive.filename, self.staging)

        reporter = reporter or Reporter(self.said)
        return stream_archive(archive, self.part_of, use, settings=options, reporter=reporter).tree

    @property
    def kept(self) -> int:
        """Bytes of the part."""
        return self.part_of.with_name("archive.part").stat().st_size

    @property
    def left(self) -> List[str]:
        """What is kept of downloads."""
        return sorted(path.name for path in self.part_of.parent.glob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give folders to work in."""
    return Place(tmp_path)


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    """Give a server that has the archive."""
    with ArchiveServer({PATH: GOOD}) as running:
        yield running


def contents(tree: Path) -> Dict[str, bytes]:
    """Return the files of a tree."""
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_an_archive_is_unpacked_as_it_comes(server: ArchiveServer, place: Place) -> None:
    """One request; the tree is complete, and the part stays until somebody says that it has served."""
    assert contents(place.unpack(server.url)) == FILES
    assert (server.statuses, server.bytes_sent) == ([200], len(GOOD))
    assert place.left == ["archive.part", "archive.part.json"]


def test_what_is_written_is_hashed(place: Place) -> None:
    """Every file comes with the sha256 of what was written."""
    written = unpack_stream([GOOD], FILE, place.staging).written

    assert {path: sha256 for path, (sha256, _) in written.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()
    }


def test_a_part_that_somebody_removes_costs_nothing(server: ArchiveServer, place: Place) -> None:
    """What has come is already with its user; the part would only have served to go on after a failure."""

    def use(chunks: Iterator[bytes]) -> bytes:
        first = next(chunks)
        remove_path(place.part_of.parent)
        return first + b"".join(chunks)

    settings, reporter = Settings(mirror=(server.url,)), Reporter(place.said)

    assert stream_archive(ARCHIVE, place.part_of, use, settings=settings, reporter=reporter) == GOOD
    assert server.statuses == [200]


@pytest.mark.parametrize("cut", [1, 1000, 500_000, len(GOOD) - 1])
def test_a_cut_in_the_middle_goes_on_where_it_was(server: ArchiveServer, place: Place, cut: int) -> None:
    """What was unpacked stays; the rest is fetched alone and goes into the same tree."""
    server.script = [Reply(cut=cut)]

    assert contents(place.unpack(server.url)) == FILES
    assert server.bytes_sent == len(GOOD)
    assert place.passes == 1


def test_a_silent_server_costs_the_rest_only(server: ArchiveServer, place: Place) -> None:
    """A time-out in the middle is a cut like any other."""
    server.script = [Reply(stall=300_000)]

    # No less: on a busy machine a server that is not silent would seem to be.
    assert contents(place.unpack(server.url, read_timeout=2)) == FILES
    assert server.bytes_sent == len(GOOD)


def test_what_another_process_fetched_is_unpacked_first(server: ArchiveServer, place: Place) -> None:
    """The beginning comes from the part, the end from the server."""
    server.script = [Reply(cut=700_000)]
    with pytest.raises(DownloadError):
        place.unpack(server.url, retries=0)
    kept = place.kept

    assert contents(place.unpack(server.url)) == FILES
    assert 0 < kept <= 700_000
    assert server.requests[-1].headers["range"] == f"bytes={kept}-"


def test_a_server_that_begins_anew_has_the_tree_begun_anew(server: ArchiveServer, place: Place) -> None:
    """Where the rest cannot be had alone, nothing of the first try stays in the tree."""
    server.script = [Reply(cut=700_000), Reply(ignore_range=True)]

    assert contents(place.unpack(server.url)) == FILES
    assert place.passes == 2


def test_another_file_is_not_glued_to_the_beginning_of_the_first(server: ArchiveServer, place: Place) -> None:
    """The wrong end is found by the hash; the whole file is then unpacked from its first byte."""
    server.script = [Reply(cut=700_000), Reply(body=OTHER, ignore_validator=True)]

    assert contents(place.unpack(server.url)) == FILES
    assert place.passes == 2


def test_a_wrong_hash_is_found_at_the_end(server: ArchiveServer, place: Place) -> None:
    """A good archive that is not the one of the catalog is refused, and nothing of its download stays."""
    server.files[PATH] = OTHER
    with pytest.raises(IntegrityError) as caught:
        place.unpack(server.url)

    assert caught.value.actual == hashlib.sha256(OTHER).hexdigest()
    assert place.left == []


@pytest.mark.parametrize("bad", [OTHER, GOOD[:-5000], CRAFTED, noise(1, 50_000)], ids=["other", "cut", "crafted", "no"])
def test_the_second_source_takes_over(server: ArchiveServer, place: Place, bad: bytes) -> None:
    """Whatever the first one has sent, the tree is that of the second."""
    with ArchiveServer({PATH: bad}) as first:
        tree = place.unpack(first.url, server.url)

    assert contents(tree) == FILES
    assert os.listdir(place.staging) == ["python"]


@pytest.mark.parametrize("mirror", ["server", "folder"])
def test_a_crafted_member_in_the_middle_is_refused(
    server: ArchiveServer, place: Place, tmp_path: Path, mirror: str
) -> None:
    """Its hash may be right: nothing is written outside, and the error names the member."""
    server.files[PATH] = CRAFTED
    (tmp_path / FILE).write_bytes(CRAFTED)
    with pytest.raises(UnpackError) as caught:
        place.unpack(server.url if mirror == "server" else str(tmp_path), archive=catalogued(CRAFTED))

    assert str(caught.value) == (f"could not unpack {FILE!r}: member 'python/../outside' has the path component '..'")
    assert list(tmp_path.rglob("outside")) == []


def test_damage_on_the_way_is_a_wrong_hash(server: ArchiveServer, place: Place) -> None:
    """Not what the unpacking makes of it, since the cure is another source and not another archive."""
    server.files[PATH] = GOOD[:1_000_000] + b"damage" + GOOD[1_000_006:]
    with pytest.raises(IntegrityError):
        place.unpack(server.url)


def test_a_folder_is_not_copied(place: Place, tmp_path: Path) -> None:
    """The bytes that are hashed are those that are unpacked, so no copy is needed."""
    (tmp_path / FILE).write_bytes(GOOD)

    assert contents(place.unpack(str(tmp_path))) == FILES
    assert place.left == []


def test_a_damaged_folder_is_passed_over(server: ArchiveServer, place: Place, tmp_path: Path) -> None:
    """A local mirror may be damaged too."""
    (tmp_path / FILE).write_bytes(OTHER)

    assert contents(place.unpack(str(tmp_path), server.url)) == FILES


def test_a_whole_part_needs_no_request(server: ArchiveServer, place: Place) -> None:
    """A process that died when all was there has left it for the next one."""
    place.unpack(server.url)
    server.requests.clear()

    assert contents(place.unpack(server.url)) == FILES
    assert server.requests == []


def test_a_whole_part_that_is_damaged_is_fetched_again(server: ArchiveServer, place: Place) -> None:
    """After a power failure the file may have its length and not its bytes."""
    place.unpack(server.url)
    place.part_of.with_name("archive.part").write_bytes(bytes(len(GOOD)))

    assert contents(place.unpack(server.url)) == FILES
    assert server.statuses == [200, 200]


def test_an_interrupt_keeps_what_has_come(server: ArchiveServer, place: Place) -> None:
    """After Ctrl-C in the middle of a download the next one goes on."""

    def interrupt() -> float:
        clock.append(0)
        if len(clock) > 2:
            raise KeyboardInterrupt
        return 0.0

    clock: List[int] = []
    with pytest.raises(KeyboardInterrupt):
        place.unpack(server.url, reporter=Reporter(place.said, clock=interrupt))
    kept = place.kept

    assert 0 < kept < len(GOOD)
    assert contents(place.unpack(server.url)) == FILES
    assert server.requests[-1].headers["range"] == f"bytes={kept}-"


def test_what_cannot_be_unpacked_is_fetched_to_its_end(server: ArchiveServer, place: Place) -> None:
    """Only the hash of all bytes tells whether another source may help, so that an error of the disk is one of it."""

    def full(chunks: Iterator[bytes]) -> Unpacked:
        next(chunks)
        raise UnpackError("no space left")

    options = Settings(mirror=(server.url,))
    with pytest.raises(UnpackError, match="no space left"):
        stream_archive(ARCHIVE, place.part_of, full, settings=options, reporter=Reporter(place.said))

    assert place.kept == len(GOOD)


MEMORY = """
import re, sys
from pathlib import Path
from provision_backend.install.unpack import unpack_archive
unpack_archive(Path(sys.argv[1]), Path(sys.argv[2]))
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """Pieces are bounded: 120 MB go through less than 40 MB."""
    big = noise(1, 4_000_000)
    (tmp_path / "archive").write_bytes(gzipped(tar(*(member(f"python/{number}", big) for number in range(30)))))
    (tmp_path / "staging").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "archive"), str(tmp_path / "staging")]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)

    assert int(done.stdout) < 40_000  # kB
