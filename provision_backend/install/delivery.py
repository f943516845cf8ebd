"""One archive on its way from several sources to one file, or to somebody who takes its bytes while they arrive.

In: where it may be had, and the hash it must have. Out: its bytes, verified at their end, or an error that names each
source and why it did not do. A `Sink` sees bytes before they are verified, and all of them again from the first one
where they turn out to be wrong and another source is tried.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

from ..errors import DownloadError, IntegrityError, OfflineError
from ..output import Reporter, format_size
from .attempts import SourceError, retrying
from .partial import Partial, Resume, find_validator
from .sources import DownloadOptions, Source, local_path
from .streams import content_length, exactly, name_origin, open_source
from .transport import Stream, Transport

if TYPE_CHECKING:
    from hashlib import _Hash

    from ..catalog.archive import Archive

__all__ = ["Delivery", "Sink"]

MAX_ARCHIVE = 1 << 30  # bytes; the largest archive of the catalog has a tenth of that
MAX_REASONS = 8  # sources that an error names
MAX_REASON = 300  # characters
Failure = Union[SourceError, IntegrityError]


class Sink(Protocol):
    """Takes the bytes of an archive while they arrive."""

    def restart(self) -> None:
        """Forget the bytes so far: the next one is the first of the archive."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, which nobody has verified yet."""


class _StaleError(Exception):
    """What is there does not continue: the file at the source is another one now, or the part is damaged."""


class Delivery:
    """One archive that is fetched.

    Args:
        archive: what is wanted.
        part: where its bytes are kept.
        transport: makes the requests.
        reporter: told of the progress.
        sleep: waits for so many seconds.
        sink: gets the bytes; None has the file published instead.
    """

    def __init__(
        self,
        archive: Archive,
        part: Partial,
        *,
        transport: Transport,
        reporter: Reporter,
        sleep: Callable[[float], None] = time.sleep,
        sink: Optional[Sink] = None,
    ) -> None:
        self._archive = archive
        self._part = part
        self._transport = transport
        self._reporter = reporter
        self._sleep = sleep
        self._sink = sink
        self._fed = 0
        """Bytes that the sink has had; they are those at the beginning of the part."""

    def run(self, sources: Sequence[Source], options: DownloadOptions) -> None:
        """Try the sources in order.

        Raises:
            ProvisionError: as `provision_backend.install.download.download_archive`.
        """
        if self._use_whole():
            return
        failures: List[Tuple[Source, Failure]] = []
        for source in sources:
            if not (source.is_local or not options.offline):
                continue
            failure = self._take(source, options.retries)
            if failure is None:
                return
            failures.append((source, failure))
            self._reporter.detail(f"{source.name}: {_shorten(failure)}")
        raise self._error(failures, options)

    def _use_whole(self) -> bool:
        """Use what a crash has left that happened when all bytes were there."""
        if self._sink is not None and self._use_file(self._part.final):
            return True
        if not self._part.is_whole():
            return False
        if self._sink is not None:
            return self._use_file(self._part.path)
        size = self._part.size()
        if self._part.digest(size).hexdigest() != self._archive.sha256:
            return False
        with self._part.append(size) as file:
            self._part.publish(file)
        return True

    def _use_file(self, path: Path) -> bool:
        """Feed a file that may be the whole archive; say whether it was."""
        with contextlib.suppress(SourceError), open_source(str(path), transport=self._transport) as stream:
            return self._pour(stream.chunks, self._restart()).hexdigest() == self._archive.sha256
        return False

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
            if self._sink is not None and local_path(location) is not None:
                return self._pass_on(stream, total, location)
            self._part.begin(location, validator=find_validator(stream.headers), total=total)
            return self._receive(stream, total, location)

    def _pass_on(self, stream: Stream, total: Optional[int], location: str) -> None:
        """Give a local file to the sink; it is read once, so that what is hashed is what is used."""
        head: List[bytes] = []

        def noting(chunks: Iterator[bytes]) -> Iterator[bytes]:
            for chunk in chunks:
                head[:] = head or [chunk[:512]]
                yield chunk

        digest = self._restart()
        chunks = noting(exactly(stream.chunks, total, limit=MAX_ARCHIVE))
        self._show(chunks, digest, total, location)
        if digest.hexdigest() != self._archive.sha256:
            raise self._mismatch(digest, b"".join(head), stream.headers)

    def _receive(self, stream: Stream, total: Optional[int], location: str, *, offset: int = 0) -> None:
        digest = self._catch_up(offset)
        self._part.reserve((total or 0) - offset)
        length = None if total is None else total - offset
        chunks = exactly(stream.chunks, length, limit=MAX_ARCHIVE - offset)
        with self._part.append(offset) as file:
            try:
                self._show(chunks, digest, total, location, offset=offset, file=file)
            except SourceError as failure:
                file.flush()
                failure.progress = file.tell() > offset and self._part.find_resume(location) is not None
                raise
            if digest.hexdigest() == self._archive.sha256:
                return None if self._sink is not None else self._part.publish(file)
        if offset:
            raise _StaleError
        head = self._part.head()
        self._part.discard()
        raise self._mismatch(digest, head, stream.headers)

    def _restart(self) -> _Hash:
        import hashlib

        if self._sink is not None and self._fed:
            self._sink.restart()
        self._fed = 0
        return hashlib.sha256()

    def _catch_up(self, offset: int) -> _Hash:
        """Return the running hash of what is there; the sink has had as much then."""
        if self._sink is None or (offset and self._fed == offset):
            return self._part.digest(offset)
        return self._pour(self._part.blocks(offset), self._restart())

    def _pour(self, chunks: Iterator[bytes], digest: _Hash) -> _Hash:
        for chunk in chunks:
            digest.update(chunk)
            self._feed(chunk)
        return digest

    def _feed(self, chunk: bytes) -> None:
        if self._sink is not None:
            self._sink.feed(chunk)
            self._fed += len(chunk)

    def _show(
        self,
        chunks: Iterator[bytes],
        digest: _Hash,
        total: Optional[int],
        location: str,
        *,
        offset: int = 0,
        file: Optional[IO[bytes]] = None,
    ) -> None:
        """Hash and pass on what comes, and tell people how far it is."""
        label = f"downloading {self._archive.filename}"
        with self._reporter.progress(label, total, done=offset, origin=name_origin(location)) as progress:
            for chunk in chunks:
                if file is not None:
                    file.write(chunk)
                digest.update(chunk)
                self._feed(chunk)
                progress.advance(len(chunk))

    def _mismatch(self, digest: _Hash, head: bytes, headers: Mapping[str, str]) -> IntegrityError:
        hint = _explain_mismatch(head, headers)
        return IntegrityError(self._archive.filename, self._archive.sha256, digest.hexdigest(), hint=hint)

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
