"""The bytes of an archive, verified, from the first source that has them; and small texts such as a catalog.

In: an archive of the catalog and the download settings. Out: a file whose sha256 is that of the catalog, or an error
that names each source and why it did not do. Sources are asked in order; within one, first laid out by release, then
flat. A download that was cut off goes on where it stopped, in this process or in the next.

A `Sink` gets the same bytes in the same pass, so that an archive is unpacked while it arrives.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from ..errors import DownloadError, OfflineError
from ..output import Reporter
from .attempts import SourceError, retrying
from .delivery import Delivery, Sink
from .partial import Partial
from .sources import DEFAULT_SOURCES, DownloadOptions, list_sources, local_path, redact_url
from .streams import content_length, exactly, open_source
from .transport import Transport

if TYPE_CHECKING:
    from ..catalog.archive import Archive
    from .connection import Connector

__all__ = [
    "DEFAULT_SOURCES",
    "DownloadOptions",
    "Sink",
    "download_archive",
    "fetch_text",
    "open_source",
    "redact_url",
    "stream_archive",
]

MAX_TEXT = 16 << 20  # bytes
Sleep = Callable[[float], None]


def download_archive(
    archive: Archive,
    to: Path,
    *,
    options: DownloadOptions,
    reporter: Reporter,
    connector: Optional[Connector] = None,
    sleep: Sleep = time.sleep,
) -> None:
    """Get *archive* from the first source that has it, and verify it.

    A local mirror is copied too, since a file that another program may still change is not verified for long. The
    caller holds a lock on *to*: beside it stand ``<to>.part`` and ``<to>.part.json``, which a failure of the network
    leaves there so that the next call goes on, and which a wrong hash or a full disk removes.

    Args:
        archive: what is wanted; its ``filename``, ``tag`` and ``sha256`` are used.
        to: path of the file; it appears whole and verified, or not at all.
        options: mirrors, time-outs, retries.
        reporter: told of the progress.
        connector: makes the connections; None makes one from the environment.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: no source gave it, or the disk does not take it.
        OfflineError: the network is not allowed, and no local mirror gave it.
        IntegrityError: the last source gave something else.
        UsageError: a mirror is not of its form.
    """
    transport = Transport(options, connector)
    delivery = Delivery(archive, Partial(to), transport=transport, reporter=reporter, sleep=sleep)
    delivery.run(list_sources(options), options)


def stream_archive(
    archive: Archive, part_of: Path, sink: Sink, *, options: DownloadOptions, reporter: Reporter
) -> None:
    """Get *archive* as `download_archive` does, but into something that takes its bytes while they arrive.

    What comes over the network is kept beside, as ``<part_of>.part``, so that a download that is cut off can go on; it
    is left there, whole, for the caller to remove once nobody will need it. What a local mirror has is not copied.

    Args:
        archive: what is wanted.
        part_of: path beside which the bytes are kept. A file of this name, or the whole part that a process has left
            that died, is used if it is the archive, and no source is asked.
        sink: gets the bytes, of which nothing is verified before this function returns.
        options: mirrors, time-outs, retries.
        reporter: told of the progress.

    Raises:
        ProvisionError: as `download_archive`, and whatever the sink raises.
    """
    delivery = Delivery(archive, Partial(part_of), transport=Transport(options), reporter=reporter, sink=sink)
    delivery.run(list_sources(options), options)


def fetch_text(
    url: str,
    *,
    options: DownloadOptions,
    connector: Optional[Connector] = None,
    limit: int = MAX_TEXT,
    sleep: Sleep = time.sleep,
) -> str:
    """Return a small UTF-8 text, such as a catalog, which no hash protects.

    Args:
        url: ``https://``, ``file://`` or a path; ``http://`` only from this machine.
        options: time-outs and retries; mirrors are not looked at.
        connector: makes the connections; None makes one from the environment.
        limit: bytes that it may have.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: it cannot be had, is too long, or is not a text.
        UsageError: *url* is not of its form.
    """
    name = redact_url(url)
    if options.offline and local_path(url) is None:
        raise OfflineError(f"offline: cannot fetch {name}", hint="name a file of this machine, or allow the network")

    def attempt() -> bytes:
        with open_source(url, transport=transport, secure=True) as stream:
            return b"".join(exactly(stream.chunks, content_length(stream.headers), limit=limit))

    transport = Transport(options, connector)
    try:
        data = retrying(attempt, retries=options.retries, sleep=sleep, notify=lambda _: None)
    except SourceError as failure:
        raise DownloadError(f"could not fetch {name}: {failure.reason}", hint=failure.hint) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DownloadError(f"could not fetch {name}: it is not a UTF-8 text") from None
