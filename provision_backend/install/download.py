"""Download an archive, verified, from the first source that has it; and small texts such as a catalog.

In: an archive of the catalog and the download settings. Out: its bytes, whose sha256 is that of the catalog, or an
error that names each source and why it failed. Sources are asked in order; within one, first laid out by release, then
flat. A download that was cut off goes on where it stopped, in this process or in the next.

The bytes are given to their user while they arrive, so an archive is unpacked in the same pass. They are verified once
all of them were taken; where they turn out to be wrong, another source is tried from its first byte on.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import IO, TYPE_CHECKING, Callable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

from ..errors import DownloadError, IntegrityError, MissingDependencyError, OfflineError, ProvisionError
from ..files import new_hash
from ..output import Progress, Reporter, format_size, redact_url, shorten
from ..settings import Settings
from .partial import Partial, Stream
from .sources import Source, SourceError, host_of, list_sources, local_path

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
MAX_TIMES = 120  # times the read-timeout: how long one source may take in all, two hours by default
TRIES_PER_RETRY = 4  # requests that received something are free, up to this many for each retry that is allowed
_BLOCK = 1 << 18  # bytes of a local file that are read at a time

Failure = Union[SourceError, IntegrityError, DownloadError]
Result = TypeVar("Result")


class _StaleError(Exception):
    """The bytes so far have no continuation: the file at the source has changed, or the part is damaged."""


class _ExcessError(SourceError):
    """A source sends more than it may, so that nothing would go on with what it has sent."""


def download_archive(archive: Archive, to: Path, *, settings: Settings, reporter: Reporter) -> None:
    """Download *archive* into a file, which appears whole and verified, or not at all.

    A local mirror is copied too, since a file that another program may still change is not verified for long. The
    caller holds a lock on *to*: beside it stand ``<to>.part`` and ``<to>.part.json``, which a failure of the network
    leaves there so that the next call goes on, and which a wrong hash or a full disk removes.

    Raises:
        DownloadError: no source gave it, or the disk does not take it.
        OfflineError: the network is not allowed, and no local mirror gave it.
        IntegrityError: the last source gave something else.
        UsageError: a mirror is not of its form.
    """
    # The folder is that of a mirror, which a command names, and has nothing to do with the cache.
    part = Partial(to, choose="name")
    _Delivery(archive, part, settings, reporter, copies=True).run(lambda _: None)
    part.publish()


def stream_archive(
    archive: Archive, part_of: Path, use: Callable[[Iterator[bytes]], Result], *, settings: Settings, reporter: Reporter
) -> Result:
    """Download *archive* as `download_archive` does, give its bytes to a function while they arrive; return its result.

    What comes over the network is kept in ``<part_of>.part``, so that a download that is cut off can go on; it is left
    there, whole, for the caller to remove, and used by the next process. What a local mirror has is not copied. The
    function is called once for each source whose bytes turn out to be wrong and once for the right ones. Nothing is
    verified before it has taken the last one; what it raises is passed on if the bytes were right.
    """
    return _Delivery(archive, Partial(part_of), settings, reporter).run(use)


def fetch_text(
    url: str, *, settings: Settings, advise: Callable[[SourceError], str] = lambda failure: failure.hint
) -> str:
    """Return a small text in UTF-8 without a hash: ``https://``, ``file://``, a path, or ``http://`` of this machine.

    Raises:
        DownloadError: it is not available, is too long, or is not a text; its hint is what *advise* returns.
        UsageError: *url* is not of its form.
    """
    name = redact_url(url)
    if settings.offline and local_path(url) is None:
        raise OfflineError(f"offline: cannot fetch {name}", hint="name a file of this machine, or allow the network")
    tries = _Tries(settings)
    while True:
        try:
            with _open_source(url, settings, {}, tries.deadline, secure=True) as stream:
                data = b"".join(_bounded(stream.chunks, MAX_TEXT))
            # PowerShell's redirection begins a file with a byte order mark.
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            failure = SourceError("it is not a UTF-8 text", hint=_explain_mismatch(b"", stream.headers))
        except SourceError as exc:
            failure = exc
        wait = tries.next_wait(failure)
        if wait is None:
            raise DownloadError(f"could not fetch {name}: {failure.reason}", hint=advise(failure))
        sleep(wait)


class _Tries:
    """Decides how often the locations of a source are asked again, after how long, and until when."""

    def __init__(self, settings: Settings) -> None:
        self.deadline = monotonic() + MAX_TIMES * settings.read_timeout
        self._retries = settings.retries
        self._left = TRIES_PER_RETRY * settings.retries
        self._in_a_row = 0

    def next_wait(self, failure: SourceError, *, progress: bool = False) -> Optional[float]:
        """Return the seconds to wait before the next try, longer each time without progress; None to give up."""
        self._in_a_row = 0 if progress else self._in_a_row + 1
        if not failure.retry or self._in_a_row > self._retries or not self._left:
            return None
        self._left -= 1
        # Random, so that the many builds of one CI run do not all come back at the same moment.
        backoff = FIRST_WAIT * 2.0 ** max(self._in_a_row - 1, 0) * random.uniform(1.0, 1.5)  # noqa: S311
        wait = min(backoff if failure.wait is None else failure.wait, MAX_WAIT)
        return wait if monotonic() + wait < self.deadline else None


@dataclass
class _Delivery:
    """One archive on its way from several sources to one user of its bytes."""

    archive: Archive
    part: Partial
    settings: Settings
    reporter: Reporter
    copies: bool = False
    """Whether what a local mirror has is kept in the part, too."""

    def run(self, use: Callable[[Iterator[bytes]], Result]) -> Result:
        """Try what an earlier process has left, then the sources in order."""
        if self.part.is_whole():
            with contextlib.suppress(_StaleError):
                return self._pass(self._read_whole(), use)
        failures: List[Tuple[Source, Failure]] = []
        # A full disk is no reason to give up: a source may send more than there is, and the next one the file.
        for source in list_sources(self.settings):
            if self.settings.offline and not source.is_local:
                continue
            take = functools.partial(self._take, tries=_Tries(self.settings), use=use)
            try:
                return source.ask(self.archive.tag, self.archive.filename, take)
            except (SourceError, IntegrityError, DownloadError) as failure:
                if isinstance(failure, DownloadError) and not failure.disk:
                    raise
                failures.append((source, failure))
                self.reporter.detail(f"{source.name}: {_describe(failure)}")
        raise self._error(failures)

    def _read_whole(self) -> Iterator[bytes]:
        yield from map(self._note, self.part.blocks(self.part.size()))
        if self._digest.hexdigest() != self.archive.sha256:
            raise _StaleError

    def _take(self, location: str, tries: _Tries, use: Callable[[Iterator[bytes]], Result]) -> Result:
        while True:
            # Each further pass has cost a try, or begins without a part, so this comes to an end.
            with contextlib.suppress(_StaleError):
                return self._pass(self._fetch(location, tries), use)
            self.part.discard()

    def _pass(self, chunks: Iterator[bytes], use: Callable[[Iterator[bytes]], Result]) -> Result:
        """Give the bytes to their user, from the first one on, and return its result once they were verified."""
        self._digest = new_hash()
        self._given = 0  # bytes that the user of this pass has
        self._head = b""
        with contextlib.closing(chunks):  # type: ignore[type-var]  # so that the part is flushed
            try:
                result = use(chunks)
            except ProvisionError:
                # Damage on the way is a wrong hash, not what the unpacking makes of it: its cure is another source.
                deque(chunks, maxlen=0)
                raise
            deque(chunks, maxlen=0)
            return result

    def _fetch(self, location: str, tries: _Tries) -> Iterator[bytes]:
        """Yield the archive from one location, going on where a connection was cut."""
        while True:
            before = self._given
            try:
                yield from self._request(location, tries)
            except SourceError as failure:
                progress = self._given > before and bool(self.part.resume_headers(location))
                if isinstance(failure, _ExcessError):
                    self.part.discard()
                wait = tries.next_wait(failure, progress=progress)
                if wait is None:
                    raise
                again = "trying again" + (f" in {wait:.0f} s" if wait >= 1 else "")
                self.reporter.info(f"{_name_origin(location)}: {failure.reason}; {again}")
            else:
                return
            sleep(wait)
            # Without a validator nothing says that the rest would be that of the same file.
            if self._given and not progress:
                raise _StaleError

    def _request(self, location: str, tries: _Tries) -> Iterator[bytes]:
        keeps = self.copies or local_path(location) is None
        rest = self.part.resume_headers(location) if keeps else {}
        with _open_source(location, self.settings, rest, tries.deadline) as stream:
            total = self.part.find_total(stream.headers) if rest and stream.status == 206 else None
            resumed, kept = total is not None, self.part.size()
            if resumed and not self._given:
                # An earlier process has received them.
                yield from map(self._note, self.part.blocks(kept))
            # Where the part is shorter than its size was a moment ago, another process writes to it.
            if self._given != (kept if resumed else 0) or not (resumed or stream.status == 200):
                raise _StaleError
            if not resumed:
                total = stream.length
            if total is not None and total > MAX_ARCHIVE:
                raise SourceError(f"announces {format_size(total)}, more than an archive may have")
            if keeps and not resumed:
                self.part.begin(location, validator=stream.validator, total=total)
            yield from self._receive(stream, total, location, keeps=keeps)
            actual = self._digest.hexdigest()
            if actual != self.archive.sha256:
                if resumed:
                    raise _StaleError
                self.part.discard()
                hint = _explain_mismatch(self._head, stream.headers)
                raise IntegrityError(self.archive.filename, self.archive.sha256, actual, hint=hint)

    def _receive(self, stream: Stream, total: Optional[int], location: str, *, keeps: bool) -> Iterator[bytes]:
        """Yield what comes, keep it, and report how far it is."""
        label, start, origin = f"downloading {self.archive.filename}", self._given, _name_origin(location)
        with contextlib.ExitStack() as stack:
            file = None
            if keeps:
                self.part.reserve((total or 0) - start)
                file = stack.enter_context(self.part.append(start))
            progress = stack.enter_context(Progress(self.reporter, label, total, done=start, origin=origin))
            for chunk in _bounded(stream.chunks, MAX_ARCHIVE - start):
                if file is not None:
                    file.write(chunk)
                yield self._note(chunk)
                progress.advance(len(chunk))

    def _note(self, chunk: bytes) -> bytes:
        self._digest.update(chunk)
        self._given += len(chunk)
        self._head = self._head or chunk[:512]
        return chunk

    def _error(self, failures: List[Tuple[Source, Failure]]) -> Union[DownloadError, IntegrityError]:
        lines = [f"{source.name}: {_describe(failure)}" for source, failure in failures[:MAX_REASONS]]
        if len(failures) > MAX_REASONS:
            lines.append(f"and {len(failures) - MAX_REASONS} more")
        hints = list(dict.fromkeys(failure.hint for _, failure in failures if failure.hint))
        last = failures[-1][1] if failures else None
        name = self.archive.filename
        if isinstance(last, DownloadError):
            return last
        if isinstance(last, IntegrityError):
            hints.append("what was found must not be trusted: compare it with the hash that its publisher names")
            return IntegrityError(name, last.expected, last.actual, hint="\n".join(lines + hints))
        if self.settings.offline:
            hints.append("put the file into a folder and set PROVISION_BACKEND_MIRROR to it, or build once online")
            message = f"offline: {name} is neither in the cache nor in a local mirror"
            return OfflineError(message, hint="\n".join(lines + hints))
        hints = hints or [_where_to_look([failure for _, failure in failures])]
        return DownloadError(f"could not download {name}", hint="\n".join(lines + hints))


class _Missing(type):
    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NoSSL


class _NoSSL(Exception, metaclass=_Missing):  # noqa: N818 - it stands for any name of ``ssl``, and some are caught.
    """Takes the place of the module ``ssl``, and of each of its names, where this Python lacks it."""


def make_transport(settings: Settings, deadline: float = math.inf) -> Transport:
    """Return what sends one request to a server, or raise `MissingDependencyError` where httpx is missing."""
    # httpx imports ssl even for plain HTTP, which needs none. A Python that was compiled where OpenSSL is too old has
    # none, and a mirror inside a company may do without.
    replaced: Tuple[str, ...] = ()
    try:
        import ssl  # noqa: F401
    except ImportError:
        replaced = ("ssl", "_ssl")
        sys.modules.update(dict.fromkeys(replaced, _NoSSL))  # type: ignore[arg-type]
    try:
        from .transport import Transport
    except ImportError as exc:
        package = "httpx2" if sys.version_info >= (3, 11) else "httpx"
        if (exc.name or "").partition(".")[0] not in (package, package.replace("httpx", "httpcore")):
            raise  # It needs modules that this Python may have been built without; to install it would not help.
        raise MissingDependencyError(package, "download an interpreter") from None
    finally:
        for name in replaced:
            del sys.modules[name]
    return Transport(settings, deadline)


@contextlib.contextmanager
def _open_source(
    location: str, settings: Settings, headers: Mapping[str, str], deadline: float, *, secure: bool = False
) -> Iterator[Stream]:
    """Open a URL or a local file as a stream of bytes, about which nothing is verified; they raise `SourceError`."""
    path = local_path(location)
    if path is None:
        with make_transport(settings, deadline).open(location, headers, secure=secure) as stream:
            if stream.status != 200 and not headers:
                raise SourceError(f"answered {stream.status} to a request for the whole file")
            yield stream
        return
    try:
        if not path.is_file():
            raise SourceError("no such file" if not path.exists() else "not a file", absent=True)
        file = path.open("rb", buffering=0)
    except OSError as error:
        # As with the answer 403 of a server, the other layout of the mirror may have it.
        raise SourceError(error.strerror or str(error), absent=isinstance(error, PermissionError)) from None
    with file:
        yield Stream(200, {}, path.stat().st_size, "", _read_blocks(file))


def _read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    try:
        yield from iter(lambda: file.read(_BLOCK), b"")
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from None


def _bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """Pass *chunks* on, and fail where they are more than the limit; httpx sees to it that they are as announced."""
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise _ExcessError(f"sends more than the {format_size(limit)} that are allowed")
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


def _where_to_look(failures: List[Failure]) -> str:
    """Return the hint where no source has one: the variables that decide which are asked, and how."""
    variables = [failure.route.variable for failure in failures if isinstance(failure, SourceError)]
    names = " and ".join(dict.fromkeys(["PROVISION_BACKEND_MIRROR", *filter(None, variables)]))
    return f"look at {names}; 'provision-backend doctor' says more"


def _describe(failure: Failure) -> str:
    if isinstance(failure, IntegrityError):
        return f"found {failure.actual}"
    return failure.message if isinstance(failure, DownloadError) else shorten(failure.reason, MAX_REASON)
