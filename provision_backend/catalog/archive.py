"""One downloadable build of CPython: its file name in, what it is out. Pure.

The names are those of python-build-standalone (PBS), as its documentation gives them under "Distribution Archives":
``cpython-<version>+<tag>-<target triple>[-freethreaded]-install_only[_stripped].tar.gz``.
"""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Tuple

from ..systems import SYSTEMS
from ..versions import IMPLEMENTATION, PythonVersion, label_of, minor_of, parse_version

__all__ = ["Archive", "format_archive_name", "parse_archive"]

# install/unpack.py decompresses these; a new format is added here and there. A test compares project/schema.json.
_FORMATS = ("gz", "zst")

# The systems are spelled out so that a build option between triple and flavor ("-debug", "-static") is not part of the
# triple, and the name not one of ours. "-shared" is a former option of the Windows builds, today their only form.
_NAME = re.compile(
    rf"""
    {IMPLEMENTATION}-(?P<version>[0-9]{{1,9}}\.[0-9]{{1,9}}\.[0-9]{{1,9}}(?:(?:a|b|rc)[0-9]{{1,9}})?)
    (?:\+|%2[Bb])(?P<tag>[0-9]{{8}})
    -(?P<triple>[a-z0-9_]+-(?:{"|".join(system.triple for system in SYSTEMS.values())}))
    (?:-shared)?
    (?P<freethreaded>-freethreaded)?
    -(?P<flavor>install_only(?:_stripped)?)
    \.tar\.(?:{"|".join(_FORMATS)})
    """,
    re.VERBOSE | re.ASCII,
)


class Archive(NamedTuple):
    """A build of CPython that can be downloaded: one line of a catalog."""

    filename: str
    """Name of the file on a mirror, with ``+`` where a URL has ``%2B``; never a path."""
    sha256: str
    """Hash of the file's bytes, lower-case hex."""
    version: str
    """Full version of CPython, ``3.13.5`` or ``3.15.0a1``."""
    tag: str
    """Release of PBS that it belongs to: a date of eight digits."""
    triple: str
    """Target triple that it runs on, ``x86_64-unknown-linux-musl``."""
    flavor: str
    """``install_only``, or ``install_only_stripped`` where debug symbols are left out."""
    freethreaded: bool
    """Whether it is a free-threaded build (PEP 703)."""

    @property
    def label(self) -> str:
        """Version as people write it: ``3.13.5``, or ``3.13.5t`` for a free-threaded build."""
        return label_of(self.version, freethreaded=self.freethreaded)

    @property
    def minor(self) -> str:
        """Minor version, ``3.13`` or ``3.13t``."""
        return label_of(minor_of(self.version), freethreaded=self.freethreaded)

    @property
    def key(self) -> str:
        """Name of the interpreter in the cache; it differs for any two builds that differ in a single byte."""
        return f"{IMPLEMENTATION}-{self.label}-{self.tag}-{self.triple}-{self.sha256[:8]}"

    def as_dict(self) -> Dict[str, str]:
        """Return how every command describes it in JSON."""
        return {
            "version": self.label,
            "tag": self.tag,
            "triple": self.triple,
            "key": self.key,
            "sha256": self.sha256,
            "filename": self.filename,
        }

    @property
    def prerelease(self) -> bool:
        """Whether it is an alpha, beta or release candidate."""
        return parse_version(self.version).is_prerelease

    @property
    def sort_key(self) -> Tuple[PythonVersion, str, bool]:
        """Order of preference, best last: newest version, its newest tag, stripped rather than not."""
        return parse_version(self.version), self.tag, self.flavor == "install_only_stripped"


def format_archive_name(version: str, tag: str, triple: str, *, freethreaded: bool) -> str:
    """Return the file name of an ``install_only`` archive; `parse_archive` takes it apart again."""
    variant = "-freethreaded" if freethreaded else ""
    return f"{IMPLEMENTATION}-{version}+{tag}-{triple}{variant}-install_only.tar.{_FORMATS[0]}"


def parse_archive(filename: str, sha256: str) -> Archive | None:
    """Return the archive of a file name, or None if it is not that of an archive that we use."""
    # Full and debug builds, static musl builds and other files of a release are not used.
    match = _NAME.fullmatch(filename)
    if match is None:
        return None
    version, tag, triple, freethreaded, flavor = match.group("version", "tag", "triple", "freethreaded", "flavor")
    # Lists that were made from web pages have "%2B" for "+", as URLs do.
    name = filename.replace("%2B", "+").replace("%2b", "+")
    return Archive(name, sha256, version, tag, triple, flavor, freethreaded is not None)
