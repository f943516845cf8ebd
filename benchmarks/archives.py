"""The archive that everybody provisions, and the server that has it.

In: a folder and an address. Out: `Archives`, which knows what the archive is called where, and counts how often it was
sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Archives"]


@dataclass(frozen=True)
class Archives:
    """A folder with one archive, laid out by release as upstream's, and the server that serves it."""

    archive: Path
    url: str
    log: Path

    @property
    def version(self) -> str:
        """X.Y.Z of the archive."""
        match = re.match(r"cpython-(\d+\.\d+\.\d+)\+", self.archive.name)
        assert match, self.archive.name
        return match[1]

    @property
    def archive_url(self) -> str:
        """Where the archive is."""
        return f"{self.url}/{self.archive.parent.name}/{self.archive.name.replace('+', '%2B')}"

    @property
    def sha256(self) -> str:
        """Its digest, as in SHA256SUMS."""
        return self.catalog.read_text(encoding="ascii").split()[0]

    @property
    def catalog(self) -> Path:
        """A catalog with only this archive."""
        return self.archive.parent / "SHA256SUMS"

    def downloads(self) -> int:
        """Return how often the archive was sent so far."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return sum(
            line.startswith("GET ") and ".tar.gz " in line and line.split()[-1] in ("200", "206") for line in lines
        )
