"""What was hashed while it was unpacked, and what of it the manifest believes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Callable, Dict

import pytest
from support.archives import gzipped, member, tar

from provision_backend.cache.manifest import MANIFEST, write_manifest
from provision_backend.install.unpack import Unpacked, unpack_stream

OLD, NEW = b"as it came", b"as it is  "


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    """Return a tree with two files as it comes out of an archive."""
    return unpack_stream([gzipped(tar(member("python/file", OLD), member("python/other", OLD)))], "archive", tmp_path)


def hashes(tree: Path) -> Dict[str, str]:
    """Return what the manifest of a tree says."""
    listed = json.loads((tree / MANIFEST).read_text())
    return {path: facts[3] for path, facts in listed.items() if len(facts) == 4}


def test_the_hashes_of_the_unpacking_are_used(unpacked: Unpacked) -> None:
    """An untouched file is not read again: a hash that is given for it is believed."""
    told = {path: ("0" * 64, identity) for path, (_, identity) in unpacked.written.items()}
    write_manifest(unpacked.tree, told)

    assert hashes(unpacked.tree) == {"file": "0" * 64, "other": "0" * 64}


def write_in_place(path: Path) -> None:
    status = path.stat()
    path.write_bytes(NEW)
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(NEW)
    new.replace(path)


@pytest.mark.parametrize("change", [write_in_place, replace])
def test_a_file_that_was_changed_since_is_read_again(unpacked: Unpacked, change: Callable[[Path], None]) -> None:
    """Even where its size and time are those of before."""
    change(unpacked.tree / "file")
    write_manifest(unpacked.tree, unpacked.written)

    assert hashes(unpacked.tree) == {"file": hashlib.sha256(NEW).hexdigest(), "other": hashlib.sha256(OLD).hexdigest()}
