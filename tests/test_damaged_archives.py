"""Damaged archives and faulty servers through the whole of provisioning: nothing wrong is ever published.

Random bit flips, cuts and appended bytes; series of what servers and proxies do wrong.

How many is said by ``PROVISION_BACKEND_TEST_DAMAGED`` (default 20); a fifth of them with a catalog that has the hash of
the damaged file, so that only unpacking and the look at the interpreter stand between it and the cache.
"""

from __future__ import annotations

import collections
import hashlib
import io
import os
import random
import shutil
from pathlib import Path
from typing import Counter, List

import pytest
from support.servers import ArchiveServer, Reply
from support.small_archives import shared_small_archives

from provision_backend.cache.manifest import verify_entry
from provision_backend.catalog.wanted import Wanted
from provision_backend.errors import DownloadError, IntegrityError, ProvisionError, UnpackError
from provision_backend.output import Reporter
from provision_backend.provision import provision
from provision_backend.settings import Settings

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("PROVISION_BACKEND_TEST_DAMAGED", "20"))
HEADER = 200  # bytes of gzip's header, whose name and time stand for nothing


class Offer:
    """A mirror with one archive, and the settings that use it."""

    def __init__(self, original: Path, folder: Path) -> None:
        self.good = original.read_bytes()
        self.path = folder / "mirror" / original.name
        self.path.parent.mkdir()
        self.settings = Settings(
            cache_dir=str(folder / "cache"),
            mirror=(str(self.path.parent),),
            catalog=str(self.path.parent / "SHA256SUMS"),
            preference="only-managed",
        )

    def publish(self, data: bytes, *, listed: bytes) -> None:
        """Offer *data* under a catalog that has the hash of *listed*."""
        self.path.write_bytes(data)
        digest = hashlib.sha256(listed).hexdigest()
        Path(self.settings.catalog).write_text(f"{digest}  {self.path.name}\n")

    def provision(self) -> Path:
        """Return the folder of the interpreter that is provisioned."""
        found = provision(Wanted("", None), self.settings, Reporter(io.StringIO()))
        return Path(found.executable).parent.parent

    def left(self) -> List[str]:
        """Return what is in the cache but should not be."""
        root = Path(self.settings.cache_dir)
        return [
            str(path.relative_to(root))
            for folder in ("interpreters", "staging", "downloads")
            for path in root.glob(f"{folder}/*")
        ]


def damage(data: bytes, choice: random.Random) -> bytes:
    """Flip bits, cut, append or overwrite, somewhere."""
    kind = choice.choice(["flip", "flip", "flips", "cut", "append", "zeros"])
    place = choice.randrange(HEADER, len(data))
    if kind == "cut":
        return data[:place]
    if kind == "append":
        return data + choice.choice([b"\0", bytes(512), data[:1000], os.urandom(40)])
    changed = bytearray(data)
    if kind == "zeros":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
        return bytes(changed)
    for _ in range(1 if kind == "flip" else 20):
        changed[choice.randrange(HEADER, len(data))] ^= 1 << choice.randrange(8)
    return bytes(changed)


def test_no_damaged_archive_is_published(tmp_path: Path) -> None:
    """Each is refused with a sentence, nothing of it stays, and the good one works without cleaning."""
    offer = Offer(shared_small_archives()[0], tmp_path)
    seed = random.randrange(1 << 32)
    choice = random.Random(seed)
    print(f"seed {seed}")
    seen: Counter[str] = collections.Counter()
    for number in range(COUNT):
        data = damage(offer.good, choice)
        assert data != offer.good
        believed = number % 5 == 0
        offer.publish(data, listed=data if believed else offer.good)
        with pytest.raises(ProvisionError) as caught:
            offer.provision()
        assert isinstance(caught.value, UnpackError if believed else IntegrityError), caught.value
        assert offer.path.name in caught.value.message
        assert offer.left() == []
        seen[type(caught.value).__name__] += 1

    offer.publish(offer.good, listed=offer.good)
    assert verify_entry(offer.provision()) == []
    assert len(offer.left()) == 1
    print(f"{COUNT} damaged archives: {dict(seen)}")


def test_a_damaged_mirror_is_passed_over(tmp_path: Path) -> None:
    """The next source has the bytes that the catalog names."""
    offer = Offer(shared_small_archives()[0], tmp_path)
    offer.publish(damage(offer.good, random.Random(1)), listed=offer.good)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / offer.path.name).write_bytes(offer.good)
    offer.settings = offer.settings._replace(mirror=(*offer.settings.mirror, str(tmp_path / "second")))

    assert verify_entry(offer.provision()) == []


def fault(good: bytes, choice: random.Random) -> Reply:
    """Return one thing that servers and the ways to them do wrong."""
    place = choice.randrange(len(good))
    return choice.choice(
        [
            Reply(cut=place),
            Reply(stall=place),
            Reply(length=place),
            Reply(length=len(good) + 1000),
            Reply(status=choice.choice([404, 403, 429, 500, 502, 503])),
            Reply(status=429, headers={"Retry-After": "0"}),
            Reply(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"}),
            Reply(body=damage(good, choice)),
            Reply(body=damage(good, choice), cut=place),
            Reply(body=b"<html>please log in</html>"),
            Reply(cut=place, ignore_validator=True),
            Reply(ignore_range=True),
            Reply(chunked=True, cut=place),
            Reply(headers={"Content-Encoding": "gzip"}),
        ]
    )


def check_refusal(error: ProvisionError, offer: Offer) -> None:
    """The error is of the download and names the archive; only what can be resumed is left of it."""
    assert isinstance(error, (DownloadError, IntegrityError)), error
    assert offer.path.name in error.message
    assert [name for name in offer.left() if not name.startswith("downloads/")] == []


def test_a_faulty_server_gives_the_right_one_or_a_sentence(tmp_path: Path) -> None:
    """Whatever comes, and in whatever order, the interpreter is the right one or there is none and a reason."""
    offer = Offer(shared_small_archives()[0], tmp_path)
    offer.publish(offer.good, listed=offer.good)
    seed = random.randrange(1 << 32)
    choice = random.Random(seed)
    print(f"seed {seed}")
    outcomes: Counter[str] = collections.Counter()
    with ArchiveServer(root=offer.path.parent) as server:
        offer.settings = offer.settings._replace(mirror=(server.url,), read_timeout=0.3, connect_timeout=1.0, retries=2)
        for _ in range(COUNT // 2):
            server.script = [fault(offer.good, choice) for _ in range(choice.randrange(1, 8))]
            try:
                entry = offer.provision()
            except ProvisionError as error:
                check_refusal(error, offer)
                outcomes[type(error).__name__] += 1
            else:
                assert verify_entry(entry) == []
                outcomes["provisioned"] += 1
            # What was left of a download is kept for the next round, as it would be.
            shutil.rmtree(str(tmp_path / "cache" / "interpreters"), ignore_errors=True)
        server.script = []
        assert verify_entry(offer.provision()) == []
        assert len(offer.left()) == 1
    print(f"{COUNT // 2} series of faults: {dict(outcomes)}")
