"""The bytes of an archive, verified, from the first source that has them; and small texts such as a catalog.

In: an archive of the catalog and the download settings. Out: a file whose sha256 is that of the catalog, or an error
that names each source and why it did not do. Sources are asked in order; within one, first laid out by release, then
flat. A download that was cut off goes on where it stopped, in this process or in the next.

The stream itself is `open_source`, so that another consumer can take the same bytes in one pass.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Iterator, List, Mapping, Optional, Tuple, Union

from ..errors import DownloadError, IntegrityError, OfflineError
from ..report import Progress, Reporter, format_size
from .attempts import SourceError, retrying
from .partial import Partial, Resume, find_validator
from .sources import DEFAULT_SOURCES, DownloadOptions, Source, list_sources, local_path, redact_url
from .streams import content_length, exactly, name_origin, open_source
from .transport import Stream, Transport

if TYPE_CHECKING:
    from hashlib import _Hash

    import httpx

    from ..catalog.archive import Archive

__all__ = ["DEFAULT_SOURCES", "DownloadOptions", "download_archive", "fetch_text", "open_source", "redact_url"]

MAX_ARCHIVE = 1 << 30  # bytes; the largest archive of the catalog has a tenth of that
MAX_TEXT = 16 << 20  # bytes
MAX_REASONS = 8  # sources that an error names
MAX_REASON = 300  # characters
Sleep = Callable[[float], None]
Failure = Union[SourceError, IntegrityError]


class _StaleError(Exception):
    """What is there does not continue: the file at the source is another one now, or the part is damaged."""


def download_archive(
    archive: Archive,
    to: Path,
    *,
    options: DownloadOptions,
    reporter: Reporter,
    client: Optional[httpx.Client] = None,
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
        client: makes the requests; None makes one from the environment.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: no source gave it, or the disk does not take it.
        OfflineError: the network is not allowed, and no local mirror gave it.
        IntegrityError: the last source gave something else.
        MissingDependencyError: httpx is needed and not installed.
        UsageError: a mirror is not of its form.
    """
    sources = list_sources(options)
    with Transport(options, client) as transport:
        download = _Download(archive, Partial(to), transport=transport, reporter=reporter, sleep=sleep)
        download.run([source for source in sources if source.is_local or not options.offline], options)


def fetch_text(
    url: str,
    *,
    options: DownloadOptions,
    client: Optional[httpx.Client] = None,
    limit: int = MAX_TEXT,
    sleep: Sleep = time.sleep,
) -> str:
    """Return a small UTF-8 text, such as a catalog, which no hash protects.

    Args:
        url: ``https://``, ``file://`` or a path; ``http://`` only from this machine.
        options: time-outs and retries; mirrors are not looked at.
        client: makes the requests; None makes one from the environment.
        limit: bytes that it may have.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: it cannot be had, is too long, or is not a text.
        MissingDependencyError: httpx is needed and not installed.
        UsageError: *url* is not of its form.
    """
    name = redact_url(url)
    if options.offline and local_path(url) is None:
        raise OfflineError(f"offline: cannot fetch {name}", hint="name a file of this machine, or allow the network")

    def attempt() -> bytes:
        with open_source(url, transport=transport, secure=True) as stream:
            return b"".join(exactly(stream.chunks, content_length(stream.headers), limit=limit))

    with Transport(options, client) as transport:
        try:
            data = retrying(attempt, retries=options.retries, sleep=sleep, notify=lambda _: None)
        except SourceError as failure:
            raise DownloadError(f"could not fetch {name}: {failure.reason}", hint=failure.hint) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DownloadError(f"could not fetch {name}: it is not a UTF-8 text") from None


class _Download:
    """One archive on its way from several sources to one file."""

    def __init__(
        self, archive: Archive, part: Partial, *, transport: Transport, reporter: Reporter, sleep: Sleep
    ) -> None:
        self._archive = archive
        self._part = part
        self._transport = transport
        self._reporter = reporter
        self._sleep = sleep

    def run(self, sources: List[Source], options: DownloadOptions) -> None:
        """Try the sources in order."""
        if self._publish_whole():
            return
        failures: List[Tuple[Source, Failure]] = []
        for source in sources:
            failure = self._take(source, options.retries)
            if failure is None:
                return
            failures.append((source, failure))
            self._reporter.detail(f"{source.name}: {_shorten(failure)}")
        raise self._error(failures, options)

    def _publish_whole(self) -> bool:
        """Use what a crash just before the rename left."""
        size = self._part.size()
        if not self._part.is_whole() or self._part.digest(size).hexdigest() != self._archive.sha256:
            return False
        with self._part.append(size) as file:
            self._part.publish(file)
        return True

    def _take(self, source: Source, retries: int) -> Optional[Failure]:
        """Return why *source* did not give it, or None when the file is there."""
        absent: List[SourceError] = []
        for location in source.locations(self._archive.tag, self._archive.filename):
            failure = self._take_from(location, retries)
            if not isinstance(failure, SourceError) or not failure.absent:
                return failure
            absent.append(failure)
        reasons = " and ".join(dict.fromkeys(failure.reason for failure in absent))
        layouts = ", laid out by release and flat" if len(absent) > 1 else ""
        return SourceError(reasons + layouts, hint=absent[-1].hint)

    def _take_from(self, location: str, retries: int) -> Optional[Failure]:
        origin = name_origin(location)

        def attempt() -> None:
            resume = self._part.find_resume(location)
            try:
                self._request(location, resume)
            except _StaleError:
                self._part.discard()
                self._request(location, None)

        def notify(text: str) -> None:
            self._reporter.info(f"{origin}: {text}")

        try:
            return retrying(attempt, retries=retries, sleep=self._sleep, notify=notify)
        except (SourceError, IntegrityError) as failure:
            return failure

    def _request(self, location: str, resume: Optional[Resume]) -> None:
        with open_source(location, transport=self._transport, resume=resume) as stream:
            if resume:
                total = resume.find_total(stream.headers)
                if stream.status == 206 and total is not None:
                    return self._receive(stream, total, location, offset=resume.offset)
            if stream.status != 200:
                raise _StaleError
            total = content_length(stream.headers)
            if total is not None and total > MAX_ARCHIVE:
                raise SourceError(f"announces {format_size(total)}, more than an archive may have")
            self._part.begin(location, validator=find_validator(stream.headers), total=total)
            return self._receive(stream, total, location)

    def _receive(self, stream: Stream, total: Optional[int], location: str, *, offset: int = 0) -> None:
        digest = self._part.digest(offset)
        self._part.reserve((total or 0) - offset)
        origin = name_origin(location)
        progress = self._reporter.progress(f"downloading {self._archive.filename}", total, done=offset, origin=origin)
        length = None if total is None else total - offset
        chunks = exactly(stream.chunks, length, limit=MAX_ARCHIVE - offset)
        with self._part.append(offset) as file:
            try:
                _pour(chunks, file, digest, progress)
            except SourceError as failure:
                file.flush()
                failure.progress = file.tell() > offset and self._part.find_resume(location) is not None
                raise
            if digest.hexdigest() == self._archive.sha256:
                return self._part.publish(file)
        if offset:
            raise _StaleError
        hint = _explain_mismatch(self._part.head(), stream.headers)
        self._part.discard()
        raise IntegrityError(self._archive.filename, self._archive.sha256, digest.hexdigest(), hint=hint)

    def _error(
        self, failures: List[Tuple[Source, Failure]], options: DownloadOptions
    ) -> Union[DownloadError, IntegrityError]:
        lines = [f"{source.name}: {_shorten(failure)}" for source, failure in failures[:MAX_REASONS]]
        if len(failures) > MAX_REASONS:
            lines.append(f"and {len(failures) - MAX_REASONS} more")
        lines += dict.fromkeys(failure.hint for _, failure in failures if failure.hint)
        last = failures[-1][1] if failures else None
        name = self._archive.filename
        if isinstance(last, IntegrityError):
            return IntegrityError(name, last.expected, last.actual, hint="\n".join(lines))
        if options.offline:
            lines.append("put the file into a folder and set PROVISION_BACKEND_MIRROR to it, or build once online")
            message = f"offline: {name} is neither in the cache nor in a local mirror"
            return OfflineError(message, hint="\n".join(lines))
        return DownloadError(f"could not download {name}", hint="\n".join(lines))


def _pour(chunks: Iterator[bytes], file: IO[bytes], digest: _Hash, progress: Progress) -> None:
    with progress:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            progress.advance(len(chunk))


def _explain_mismatch(head: bytes, headers: Mapping[str, str]) -> str:
    if head.lstrip().startswith(b"<"):
        return "an HTML page came in its place: the login page of a network, or a page of a proxy that blocks it"
    encoding = headers.get("content-encoding", "")
    if encoding and encoding.isprintable():
        return f"a proxy or the server encoded it on the way ({encoding[:20]}), although asked not to"
    return ""


def _shorten(failure: Failure) -> str:
    if isinstance(failure, IntegrityError):
        return f"its sha256 is {failure.actual}"
    return failure.reason if len(failure.reason) <= MAX_REASON else failure.reason[:MAX_REASON] + "…"
