"""Download an archive, verified, from the first source that has it; and small texts such as a catalog.

In: an archive of the catalog and the download settings. Out: its bytes, whose sha256 is that of the catalog, or an
error that names each source and why it failed. Sources are asked in order; within one, first laid out by release, then
flat. A download that was cut off goes on where it stopped, in this process or in the next.

The bytes are given to their user while they arrive, so an archive is unpacked in the same pass. They are verified once
all of them were taken; where they turn out to be wrong, another source is tried from its first byte on.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Callable, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

from ..errors import DownloadError, IntegrityError, MissingDependencyError, OfflineError, ProvisionError
from ..files import new_hash
from ..output import Reporter, format_size
from .partial import Partial, Resume, Stream
from .sources import DownloadOptions, Source, SourceError, host_of, list_sources, local_path, redact_url

if TYPE_CHECKING:
    from ..catalog.archive import Archive
    from .transport import Transport

__all__ = ["download_archive", "fetch_text", "make_transport", "stream_archive"]

MAX_TEXT = 16 << 20  # bytes
MAX_ARCHIVE = 1 << 30  # bytes; the largest archive of the catalog has a tenth of that
MAX_REASONS = 8  # sources that an error names
MAX_REASON = 300  # characters
MAX_WAIT = 60.0  # seconds; a server that asks for more is asked again sooner, and then the next source is tried
FIRST_WAIT = 0.5  # seconds; doubled for each failure in a row
TRIES_PER_RETRY = 4  # requests that received something are free, up to this many for each retry that is allowed
_BLOCK = 1 << 18  # bytes of a local file that are read at a time

Failure = Union[SourceError, IntegrityError]
Result = TypeVar("Result")
Sleep = Callable[[float], None]


class _StaleError(Exception):
    """The bytes so far have no continuation: the file at the source has changed, or the part is damaged."""


def download_archive(
    archive: Archive,
    to: Path,
    *,
    options: DownloadOptions,
    reporter: Reporter,
    sleep: Sleep = time.sleep,
) -> None:
    """Download *archive* into a file.

    A local mirror is copied too, since a file that another program may still change is not verified for long. The
    caller holds a lock on *to*: beside it stand ``<to>.part`` and ``<to>.part.json``, which a failure of the network
    leaves there so that the next call goes on, and which a wrong hash or a full disk removes.

    Args:
        archive: its ``filename``, ``tag`` and ``sha256`` are used.
        to: path of the file; it appears whole and verified, or not at all.
        options: mirrors, time-outs, retries.
        reporter: receives the progress.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: no source gave it, or the disk does not take it.
        OfflineError: the network is not allowed, and no local mirror gave it.
        IntegrityError: the last source gave something else.
        UsageError: a mirror is not of its form.
    """
    _Delivery(archive, Partial(to), options, reporter, sleep, publishes=True).run(_exhaust)


def stream_archive(
    archive: Archive,
    part_of: Path,
    use: Callable[[Iterator[bytes]], Result],
    *,
    options: DownloadOptions,
    reporter: Reporter,
) -> Result:
    """Download *archive* as `download_archive` does, and give its bytes to a function while they arrive.

    What comes over the network is kept in ``<part_of>.part``, so that a download that is cut off can go on; it is left
    there, whole, for the caller to remove. What a local mirror has is not copied.

    Args:
        archive: what is requested.
        part_of: path beside which the bytes are kept. A file of this name, or the whole part of a process that was
            ended, is used if it is the archive, and no source is asked.
        use: called with the bytes, once for each source whose bytes turn out to be wrong and once for the right ones.
            Nothing is verified before it has taken the last one.
        options: mirrors, time-outs, retries.
        reporter: receives the progress.

    Returns:
        The result of *use* for bytes that were right.

    Raises:
        ProvisionError: as `download_archive`; and what *use* raises, if the bytes were right.
    """
    return _Delivery(archive, Partial(part_of), options, reporter, time.sleep).run(use)


def fetch_text(
    url: str,
    *,
    options: DownloadOptions,
    limit: int = MAX_TEXT,
    transport: Optional[Transport] = None,
    sleep: Sleep = time.sleep,
) -> str:
    """Return a small UTF-8 text, such as a catalog, which no hash protects.

    Args:
        url: ``https://``, ``file://`` or a path; ``http://`` only from this machine.
        options: time-outs and retries; mirrors do not matter.
        limit: bytes that it may have.
        transport: makes the requests; None makes one from the options.
        sleep: waits for so many seconds.

    Raises:
        DownloadError: it is not available, is too long, or is not a text.
        UsageError: *url* is not of its form.
    """
    name = redact_url(url)
    if options.offline and local_path(url) is None:
        raise OfflineError(f"offline: cannot fetch {name}", hint="name a file of this machine, or allow the network")
    if transport is None and local_path(url) is None:
        transport = make_transport(options)
    tries = _Tries(options.retries, sleep, lambda _: None)
    while True:
        try:
            with _open_source(url, transport, secure=True) as stream:
                data = b"".join(_bounded(stream.chunks, limit))
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise DownloadError(f"could not fetch {name}: it is not a UTF-8 text") from None
        except SourceError as failure:
            if not tries.wait_after(failure):
                raise DownloadError(f"could not fetch {name}: {failure.reason}", hint=failure.hint) from None


class _Tries:
    """Decides how often a location is asked again, and waits in between."""

    def __init__(self, retries: int, sleep: Sleep, notify: Callable[[str], None]) -> None:
        self._retries = retries
        self._left = TRIES_PER_RETRY * retries
        self._in_a_row = 0
        self._sleep = sleep
        self._notify = notify

    def wait_after(self, failure: SourceError, *, progress: bool = False) -> bool:
        """Wait before the next try, longer each time; return False where there is to be none.

        Args:
            failure: why the last one failed.
            progress: whether it received something, so that the next one starts further on.
        """
        self._in_a_row = 0 if progress else self._in_a_row + 1
        if not failure.retry or self._in_a_row > self._retries or not self._left:
            return False
        self._left -= 1
        # Random, so that the many builds of one CI run do not all come back at the same moment.
        backoff = FIRST_WAIT * 2.0 ** max(self._in_a_row - 1, 0) * random.uniform(1.0, 1.5)  # noqa: S311
        wait = min(backoff if failure.wait is None else failure.wait, MAX_WAIT)
        self._notify(f"{failure.reason}; trying again" + (f" in {wait:.0f} s" if wait >= 1 else ""))
        self._sleep(wait)
        return True


class _Delivery:
    """One archive on its way from several sources to one user of its bytes.

    Args:
        archive: what is requested.
        part: where its bytes are kept.
        options: mirrors, time-outs, retries.
        reporter: receives the progress.
        sleep: waits for so many seconds.
        publishes: whether the file appears under its final name, in the end; then a local mirror is copied too.
    """

    def __init__(
        self,
        archive: Archive,
        part: Partial,
        options: DownloadOptions,
        reporter: Reporter,
        sleep: Sleep,
        *,
        publishes: bool = False,
    ) -> None:
        self._archive = archive
        self._part = part
        self._options = options
        self._reporter = reporter
        self._sleep = sleep
        self._publishes = publishes
        self._transport: Optional[Transport] = None
        self._begin_pass()

    def _begin_pass(self) -> None:
        self._digest = new_hash()
        self._given = 0  # bytes that the user of this pass has
        self._head = b""

    def run(self, use: Callable[[Iterator[bytes]], Result]) -> Result:
        """Try what an earlier process has left, then the sources in order."""
        failures: List[Tuple[Source, Failure]] = []
        for path in self._whole_files():
            with contextlib.suppress(_StaleError, SourceError):
                return self._pass(self._read_whole(path), use)
        for source in list_sources(self._options):
            if not (source.is_local or not self._options.offline):
                continue
            try:
                return self._take(source, use)
            except (SourceError, IntegrityError) as failure:
                failures.append((source, failure))
                self._reporter.detail(f"{source.name}: {_shorten(failure)}")
        raise self._error(failures)

    def _whole_files(self) -> Iterator[Path]:
        # Before downloads were unpacked while they arrive, a crash could leave the verified archive itself.
        if not self._publishes and self._part.final.is_file():
            yield self._part.final
        if self._part.is_whole():
            yield self._part.path

    def _read_whole(self, path: Path) -> Iterator[bytes]:
        """Yield the bytes of a file that may be the archive, left by a process that was ended."""
        with _open_source(str(path), None) as stream:
            for chunk in stream.chunks:
                yield self._note(chunk)
        if self._digest.hexdigest() != self._archive.sha256:
            raise _StaleError
        if self._publishes:
            with self._part.append(self._given) as file:
                self._part.publish(file)

    def _take(self, source: Source, use: Callable[[Iterator[bytes]], Result]) -> Result:
        """Try the locations of one source."""
        absent: List[SourceError] = []
        for location in source.locations(self._archive.tag, self._archive.filename):
            try:
                return self._take_from(location, use)
            except SourceError as failure:
                if not failure.absent:
                    raise
                absent.append(failure)
        reasons = " and ".join(dict.fromkeys(failure.reason for failure in absent))
        layouts = ", laid out by release and flat" if len(absent) > 1 else ""
        raise SourceError(reasons + layouts, hint=absent[-1].hint)

    def _take_from(self, location: str, use: Callable[[Iterator[bytes]], Result]) -> Result:
        origin = _name_origin(location)
        tries = _Tries(self._options.retries, self._sleep, lambda text: self._reporter.info(f"{origin}: {text}"))
        while True:
            try:
                return self._pass(self._fetch(location, tries), use)
            except _StaleError:
                # Each further pass has cost a try, or begins without a part, so this comes to an end.
                self._part.discard()

    def _pass(self, chunks: Iterator[bytes], use: Callable[[Iterator[bytes]], Result]) -> Result:
        """Give the bytes to their user, from the first one on, and return its result once they were verified."""
        self._begin_pass()
        with contextlib.closing(chunks):  # type: ignore[type-var]  # so that the part is flushed
            try:
                result = use(chunks)
            except ProvisionError:
                # Damage on the way is a wrong hash, not what the unpacking makes of it: its cure is another source.
                _exhaust(chunks)
                raise
            _exhaust(chunks)
            return result

    def _fetch(self, location: str, tries: _Tries) -> Iterator[bytes]:
        """Yield the archive from one location, going on where a connection was cut."""
        while True:
            before = self._given
            try:
                yield from self._request(location)
            except SourceError as failure:
                progress = self._given > before and self._part.find_resume(location) is not None
                if self._given > before and not failure.retry:
                    self._part.discard()  # More than an archive may have: nothing would go on with it.
                if not tries.wait_after(failure, progress=progress):
                    raise
            else:
                return
            # Without a validator nothing says that the rest would be that of the same file.
            if self._given and not progress:
                raise _StaleError

    def _request(self, location: str) -> Iterator[bytes]:
        keeps = self._publishes or local_path(location) is None
        resume = self._part.find_resume(location) if keeps else None
        if self._transport is None and local_path(location) is None:
            self._transport = make_transport(self._options)
        with _open_source(location, self._transport, resume=resume) as stream:
            total = resume.find_total(stream.headers) if resume and stream.status == 206 else None
            if resume and total is not None:
                yield from self._catch_up(resume)
            elif stream.status != 200 or self._given:
                raise _StaleError
            else:
                resume, total = None, stream.length
            if total is not None and total > MAX_ARCHIVE:
                raise SourceError(f"announces {format_size(total)}, more than an archive may have")
            if keeps and resume is None:
                self._part.begin(location, validator=stream.validator, total=total)
            yield from self._receive(stream, total, location, keeps=keeps)
            self._verify(stream.headers, resumed=resume is not None)

    def _catch_up(self, resume: Resume) -> Iterator[bytes]:
        """Yield the bytes that an earlier process has received, unless this pass has them."""
        if not self._given:
            for block in self._part.blocks(resume.offset):
                yield self._note(block)
        if self._given != resume.offset:
            # The file is shorter than its size was a moment ago, so another process writes to it.
            raise _StaleError

    def _receive(self, stream: Stream, total: Optional[int], location: str, *, keeps: bool) -> Iterator[bytes]:
        """Yield what comes, keep it, and report how far it is."""
        label, start = f"downloading {self._archive.filename}", self._given
        with contextlib.ExitStack() as stack:
            file = None
            if keeps:
                self._part.reserve((total or 0) - start)
                file = stack.enter_context(self._part.append(start))
            origin = _name_origin(location)
            progress = stack.enter_context(self._reporter.progress(label, total, done=start, origin=origin))
            for chunk in _bounded(stream.chunks, MAX_ARCHIVE - start):
                if file is not None:
                    file.write(chunk)
                yield self._note(chunk)
                progress.advance(len(chunk))
            if self._publishes and file is not None and self._digest.hexdigest() == self._archive.sha256:
                self._part.publish(file)

    def _verify(self, headers: Mapping[str, str], *, resumed: bool) -> None:
        actual = self._digest.hexdigest()
        if actual == self._archive.sha256:
            return
        if resumed:
            raise _StaleError
        self._part.discard()
        hint = _explain_mismatch(self._head, headers)
        raise IntegrityError(self._archive.filename, self._archive.sha256, actual, hint=hint)

    def _note(self, chunk: bytes) -> bytes:
        self._digest.update(chunk)
        self._given += len(chunk)
        self._head = self._head or chunk[:512]
        return chunk

    def _error(self, failures: List[Tuple[Source, Failure]]) -> Union[DownloadError, IntegrityError]:
        lines = [f"{source.name}: {_shorten(failure)}" for source, failure in failures[:MAX_REASONS]]
        if len(failures) > MAX_REASONS:
            lines.append(f"and {len(failures) - MAX_REASONS} more")
        hints = list(dict.fromkeys(failure.hint for _, failure in failures if failure.hint))
        last = failures[-1][1] if failures else None
        name = self._archive.filename
        if isinstance(last, IntegrityError):
            return IntegrityError(name, last.expected, last.actual, hint="\n".join(lines + hints))
        if self._options.offline:
            hints.append("put the file into a folder and set PROVISION_BACKEND_MIRROR to it, or build once online")
            message = f"offline: {name} is neither in the cache nor in a local mirror"
            return OfflineError(message, hint="\n".join(lines + hints))
        hints = hints or ["run 'provision-backend doctor' for more, or set PROVISION_BACKEND_MIRROR to another source"]
        return DownloadError(f"could not download {name}", hint="\n".join(lines + hints))


def _exhaust(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def make_transport(options: DownloadOptions) -> Transport:
    """Return what sends requests to servers.

    Raises:
        MissingDependencyError: httpx is not installed.
        DownloadError: this Python has no module ``ssl``.
    """
    try:
        from .transport import Transport
    except ImportError as exc:
        if "ssl" in (exc.name or ""):
            raise DownloadError(
                "cannot download: this Python has no module 'ssl'",
                hint="set PROVISION_BACKEND_MIRROR to a folder that has the archive, or build with another Python",
            ) from None
        package = "httpx2" if sys.version_info >= (3, 11) else "httpx"
        raise MissingDependencyError(package, "download an interpreter") from None
    return Transport(options)


@contextlib.contextmanager
def _open_source(
    location: str, transport: Optional[Transport], *, resume: Optional[Resume] = None, secure: bool = False
) -> Iterator[Stream]:
    """Open a URL or a local file as a stream of bytes; nothing about them is verified yet.

    Raises:
        SourceError: the source does not give it; its ``chunks`` raise the same.
    """
    path = local_path(location)
    if path is None:
        assert transport is not None, "a URL needs a transport"  # noqa: S101
        with transport.open(location, resume.headers if resume else None, secure=secure) as stream:
            if stream.status != 200 and resume is None:
                raise SourceError(f"answered {stream.status} to a request for the whole file")
            yield stream
        return
    try:
        if not path.is_file():
            raise SourceError("no such file" if not path.exists() else "not a file", absent=True)
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from None
    with file:
        yield Stream(200, {}, path.stat().st_size, "", _read_blocks(file))


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = file.read(_BLOCK)
        except OSError as error:
            raise SourceError(error.strerror or str(error)) from None
        if not block:
            return
        yield block


def _bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Pass *chunks* on, and fail where they are more than the limit; httpx sees to it that they are as announced."""
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise SourceError(f"sends more than the {format_size(limit)} that are allowed")
        yield chunk


def _name_origin(location: str) -> str:
    """Return the host of a location, or its folder, as it is shown."""
    path = local_path(location)
    return host_of(location) if path is None else str(path.parent)


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
