"""What a wheel says of itself, and whether that is so: its name, its tags, and the files that its RECORD lists.

A wheel that contradicts itself can mostly be installed. But where the tags differ, uv installs it again and again and
``pip check`` complains, and where files are missing in RECORD, package indexes refuse it. Renaming a wheel, and adding
a file to it, leave what it says inside as it was.

Source: "Binary distribution format"; "Recording installed projects".
"""

from __future__ import annotations

import base64
import csv
import email
import io
import re
import zipfile
from email.message import Message
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

from packaging.tags import Tag, parse_tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ..errors import WheelError
from ..files import new_hash
from ..hooks.tags import tags_of
from ..hooks.wheel_file import open_member, open_wheel, read_member

__all__ = ["Contents", "check_name", "check_record", "check_tags", "read_contents", "same_project"]

_CHUNK = 1 << 20  # bytes that are hashed at a time
_SHOWN = 8  # files or tags that a message names
_LONGEST_RECORD = 64_000_000  # bytes; a wheel of twenty thousand files has a RECORD of 2 MB


class Contents(NamedTuple):
    """A wheel, and what is in it apart from the content of its files."""

    wheel: Path
    paths: Tuple[str, ...]
    """Those of all that is in it, in the order of the archive."""
    info: str
    """Name of its folder ``NAME-VERSION.dist-info``."""
    metadata: Message
    """Its core metadata."""


def read_contents(wheel: Path) -> Contents:
    """Read what a wheel has in it; raise `WheelError` if it cannot be read."""
    with open_wheel(wheel) as archive:
        paths = archive.namelist()
        path = next((path for path in paths if re.fullmatch(r"[^/]+\.dist-info/METADATA", path)), "")
        if not path:
            raise WheelError(f"{wheel} has no metadata: there is no .dist-info/METADATA in it")
        text = read_member(archive, path).decode("utf-8", "replace")
    return Contents(wheel, tuple(paths), path.partition("/")[0], email.message_from_string(text))


def check_name(contents: Contents) -> None:
    """Raise `WheelError` for a wheel whose file name is not that of its metadata, and which installers refuse.

    Source: "Binary distribution format"; pip and uv compare the same.
    """
    file = contents.wheel.name
    tags_of(file)
    name, version = parse_wheel_filename(file)[:2]
    inside = (str(contents.metadata.get("Name")), str(contents.metadata.get("Version")))
    if not same_project(*inside, str(name), str(version)):
        raise WheelError(f"the name of {file} does not match its metadata, which is that of {' '.join(inside)}")
    named, _, rest = contents.info[: -len(".dist-info")].partition("-")
    if not same_project(named, rest, *inside):
        raise WheelError(f"the name of {file} does not match that of its folder {contents.info}")


def same_project(name: str, version: str, other_name: str, other_version: str) -> bool:
    """Return whether two names and versions are the same; the other version may have a local part more."""
    try:
        equal = Version(version) in (Version(other_version), Version(Version(other_version).public))
    except InvalidVersion:
        equal = version == other_version  # Versions of long ago have any form, and no wheel's name has one of them.
    return equal and canonicalize_name(name) == canonicalize_name(other_name)


def check_tags(contents: Contents) -> None:
    """Raise `WheelError` for a wheel whose file name has other tags than its file WHEEL."""
    file = contents.wheel.name
    inside = _inner_tags(contents)
    if inside == tags_of(file):
        return
    found = sorted(map(str, inside))
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    raise WheelError(
        f"the name of {file} does not match its WHEEL, whose tags are {', '.join(found[:_SHOWN] + more) or 'none'}",
        hint="renaming a wheel does not change what it says inside: 'python -m wheel tags' changes both",
    )


def _inner_tags(contents: Contents) -> FrozenSet[Tag]:
    path = _required(contents, "WHEEL")
    with open_wheel(contents.wheel) as archive:
        lines = email.message_from_string(read_member(archive, path).decode("utf-8", "replace")).get_all("Tag", [])
    try:
        return frozenset(tag for line in lines for tag in parse_tag(line.strip()))
    except ValueError:
        raise WheelError(f"{contents.wheel}: {path} has a tag that is none: {', '.join(map(repr, lines))}") from None


def check_record(contents: Contents) -> None:
    """Raise `WheelError` for a wheel whose files are not those that its RECORD lists, with their hashes."""
    path = _required(contents, "RECORD")
    with open_wheel(contents.wheel) as archive:
        text = read_member(archive, path, most=_LONGEST_RECORD).decode("utf-8", "replace")
        try:
            rows = [[*row, ""] for row in csv.reader(io.StringIO(text, newline="")) if row]
        except csv.Error as exc:
            raise WheelError(f"could not read {contents.wheel}: {path}: {exc}") from None
        differences = list(_differences(archive, path, {row[0]: row[1] for row in rows}))
    if differences:
        more = [f"and {len(differences) - _SHOWN} more"] if len(differences) > _SHOWN else []
        raise WheelError(
            f"{contents.wheel.name} does not hold what its RECORD lists: {', '.join(differences[:_SHOWN] + more)}",
            hint="it was changed or damaged after it was built, or its build backend has a fault;\n"
            "where the change is wanted, unpack it, and 'python -m wheel pack' writes a new RECORD",
        )


def _differences(archive: zipfile.ZipFile, record: str, listed: Dict[str, str]) -> Iterator[str]:
    # A signature is that of RECORD, which therefore can list neither, and a folder is not a file.
    others = {record, f"{record}.jws", f"{record}.p7s"}
    files = [entry for entry in archive.infolist() if not entry.is_dir() and entry.filename not in others]
    for entry in files:
        wanted = listed.get(entry.filename)
        if wanted is None:
            yield f"{entry.filename} is not listed"
        # No backend uses another algorithm; some write no hash, and some write it in hex.
        elif wanted.startswith("sha256=") and wanted[len("sha256=") :].rstrip("=") not in _hashes_of(archive, entry):
            yield f"{entry.filename} has another hash"
    missing: List[str] = sorted(listed.keys() - {entry.filename for entry in files} - others)
    yield from (f"{path} is not there" for path in missing)


def _hashes_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tuple[str, str]:
    """Return the hash of a file as the specification writes it, and in hex."""
    digest = new_hash()
    with open_member(archive, entry) as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).decode("ascii").rstrip("="), digest.hexdigest()


def _required(contents: Contents, name: str) -> str:
    path = f"{contents.info}/{name}"
    if path not in contents.paths:
        raise WheelError(f"{contents.wheel} has no {name}: there is no {path} in it")
    return path
