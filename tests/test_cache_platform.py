"""The remembered platform: it holds as long as its evidence does, and nothing written there can do harm."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Tuple

import pytest

from provision_backend.cache.folders import make_folders
from provision_backend.cache.platform import current_platform, remember_platform
from provision_backend.cache.store import Cache
from provision_backend.errors import UsageError
from provision_backend.host.detection import detect_platform
from provision_backend.host.platforms import Evidence, FileIdentity, Platform, platform_from_triple
from provision_backend.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def _identity(path: Path) -> FileIdentity:
    status = path.stat()
    return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ino)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Return a cache in which platforms can be remembered."""
    make_folders(tmp_path / "own")
    return Cache(tmp_path / "own", (tmp_path / "shared",))


@pytest.fixture
def marked(tmp_path: Path) -> Tuple[Platform, Path]:
    """Return a platform that this host is not, and the file that is its evidence."""
    file = tmp_path / "evidence"
    file.write_text("loader")
    evidence = (Evidence(str(file), "says so", _identity(file)), Evidence(str(tmp_path / "absent"), "does not exist"))
    return platform_from_triple("s390x-unknown-linux-gnu")._replace(evidence=evidence), file


def _record(cache: Cache) -> Path:
    return next((cache.root / "platforms").iterdir())


def test_a_target_overrides_everything(cache: Cache, marked: Tuple[Platform, Path]) -> None:
    """Neither the host nor what is remembered of it is looked at, and nothing is written."""
    remember_platform(marked[0], cache)
    platform = current_platform(Settings(target="aarch64-unknown-linux-musl"), cache)

    assert platform == platform_from_triple("aarch64-unknown-linux-musl")
    with pytest.raises(UsageError, match=r"^unknown target 'nonsense'"):
        current_platform(Settings(target="nonsense"), cache)


def test_what_was_detected_is_remembered(cache: Cache) -> None:
    """The first question writes the answer down, and it is the same when it is read back."""
    platform = detect_platform()

    assert platform == current_platform(Settings(), cache)
    assert json.loads(_record(cache).read_text()) == platform.as_dict()
    assert len(list((cache.root / "platforms").iterdir())) == 1


def test_what_is_remembered_is_not_detected_again(cache: Cache, marked: Tuple[Platform, Path]) -> None:
    """As long as the evidence holds, the answer is that of the record."""
    remember_platform(marked[0], cache)

    assert marked[0] == current_platform(Settings(), cache)


def test_the_evidence_of_this_host_holds(cache: Cache) -> None:
    """What detection finds here is such that the next process needs no ELF reader."""
    current_platform(Settings(), cache)
    code = (
        "import sys; from pathlib import Path; from provision_backend.cache.store import Cache;"
        "from provision_backend.cache.platform import current_platform;"
        "from provision_backend.settings import Settings;"
        "print(current_platform(Settings(), Cache(Path(sys.argv[1]))).triple, 'elftools' in sys.modules)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(cache.root)], env=environ, stdout=subprocess.PIPE, check=True, text=True
    )

    assert done.stdout == f"{detect_platform().triple} False\n"


@pytest.mark.parametrize("change", ["content", "time", "inode", "gone", "appeared"])
def test_changed_evidence_is_looked_at_again(cache: Cache, marked: Tuple[Platform, Path], change: str) -> None:
    """Another size, time or inode of a file, one that is gone, or one that has come: the host is asked again."""
    platform, file = marked
    remember_platform(platform, cache)
    if change == "content":
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        file.write_text("a longer one")
        os.utime(file, ns=times)
    elif change == "time":
        os.utime(file, ns=(0, 0))
    elif change == "inode":
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        (file.parent / "other").write_text("Loader")
        os.utime(file.parent / "other", ns=times)
        os.replace(file.parent / "other", file)
    elif change == "gone":
        file.unlink()
    else:
        (file.parent / "absent").touch()

    assert detect_platform() == current_platform(Settings(), cache)


def test_a_record_without_evidence_is_not_believed(cache: Cache, marked: Tuple[Platform, Path]) -> None:
    """It could never be found wrong."""
    remember_platform(marked[0]._replace(evidence=()), cache)

    assert detect_platform() == current_platform(Settings(), cache)


def test_a_shared_cache_may_know(cache: Cache, marked: Tuple[Platform, Path]) -> None:
    """An image that has a cache baked in has what was found in it too."""
    make_folders(cache.shared[0])
    remember_platform(marked[0], Cache(cache.shared[0]))

    assert marked[0] == current_platform(Settings(), cache)


def test_another_interpreter_has_another_record(
    cache: Cache, marked: Tuple[Platform, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executable that runs us is the first evidence, so each has an answer of its own."""
    remember_platform(marked[0], cache)
    monkeypatch.setattr(sys, "executable", "/opt/another/bin/python\udcff")

    assert current_platform(Settings(), cache).triple != marked[0].triple
    assert len(list((cache.root / "platforms").iterdir())) == 2


def test_without_a_cache_nothing_is_made(tmp_path: Path) -> None:
    """Asking what the host is leaves no folders behind."""
    current_platform(Settings(), Cache(tmp_path / "none"))

    assert not (tmp_path / "none").exists()


def _mutations(record: Any) -> Any:
    values: Tuple[Any, ...] = (None, 0, 3.5, "", "x\0y", [], [1], {}, {"path": 1}, True)
    yield from ([], 1, None, "x", {}, [record])
    for key in record:
        yield from ({**record, key: value} for value in values)
        yield {other: record[other] for other in record if other != key}
    for key in record["evidence"][0]:
        for value in values:
            yield {**record, "evidence": [{**record["evidence"][0], key: value}]}


def test_a_damaged_record_is_as_good_as_none(cache: Cache, marked: Tuple[Platform, Path]) -> None:
    """Whatever stands in the file, nothing but a platform comes out."""
    remember_platform(marked[0], cache)
    record = _record(cache)
    good = record.read_bytes()
    triples = set()
    for mutation in _mutations(json.loads(good)):
        record.write_text(json.dumps(mutation))
        triples.add(type(current_platform(Settings(), cache)))
    chance = random.Random(1)
    for _ in range(50):
        damaged = bytearray(good)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        record.write_bytes(
            bytes(damaged[: chance.randrange(len(damaged))]) if chance.random() < 0.3 else bytes(damaged)
        )
        triples.add(type(current_platform(Settings(), cache)))

    assert triples == {Platform}
