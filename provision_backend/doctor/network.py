"""The way to the archives: proxies and certificates of the environment, and what each source answers.

Each source is asked as a download would ask it, for the first bytes of the archive that would be selected, all sources
at the same time. The answer is judged by these bytes: a page of a firewall has status 200 too.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Mapping, NamedTuple, Union

from ..errors import MissingDependencyError, ProvisionError
from ..install.attempts import SourceError
from ..install.sources import Source, list_sources, redact_url
from .context import MAX_WAIT, Context
from .findings import Finding, ok, warning

if TYPE_CHECKING:
    from ..catalog.archive import Archive
    from ..install.transport import Transport

__all__ = ["check_proxy", "check_sources"]

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT")
_MAGIC = (b"\x1f\x8b", b"\x28\xb5")  # gzip and Zstandard
_ASKED = 4  # bytes
_SKEW = 300.0  # seconds
_PATIENCE = 2.5 * MAX_WAIT  # seconds for all sources together


def check_proxy(context: Context) -> Iterator[Finding]:
    """Show the proxies, and look whether files of certificates are there."""
    found = False
    for name in _PROXIES:
        # The lower-case spelling counts first, as for curl and httpx.
        value = context.environ.get(name.lower()) or context.environ.get(name)
        if value:
            found = True
            yield ok(f"{name} = {_redacted(value)}")
    for name in _CERTIFICATES:
        value = context.environ.get(name, "")
        if value and not os.path.exists(value):
            found = True
            yield context.report(
                f"{name} names {value}, which does not exist",
                "correct it, or unset it to use the system's certificates",
                matters=context.fetching() and name.startswith("SSL_"),
            )
        elif value:
            found = True
            yield ok(f"{name} = {value}")
    if not found:
        yield ok("no proxy and no certificates are set")


def _redacted(value: str) -> str:
    # A proxy may be written without a scheme, and then with a password all the same.
    return redact_url(value) if "://" in value else value.rpartition("@")[2]


class _Answer(NamedTuple):
    """What one source said."""

    good: bool
    text: str
    advice: str = ""
    skew: float = 0.0
    """Seconds that its clock is ahead of ours."""


def check_sources(context: Context) -> Iterator[Finding]:
    """Ask every source for the archive that would be selected."""
    sources = list_sources(context.download_options())
    try:
        archive = context.archive()
    except ProvisionError:
        yield warning("not looked at, since no archive is selected", "see interpreter, catalog and host")
        return
    if archive is None:
        yield ok("not needed: an interpreter of the machine was asked for")
        return
    asked = [source for source in sources if source.is_local or not context.settings.offline]
    answers = _ask_all(asked, archive, context)
    served = any(answer.good for answer in answers)
    matters = context.fetching() and not served
    for source, answer in zip(asked, answers):
        text = f"{source.name} {answer.text}"
        yield ok(text) if answer.good else context.report(text, answer.advice, matters=matters)
    if len(asked) < len(sources):
        yield ok("offline is set: sources on the network are not asked")
    skew = max((answer.skew for answer in answers), key=abs, default=0.0)
    if abs(skew) > _SKEW:
        yield warning(
            f"the clock is {abs(skew) / 60:.0f} minutes {'behind' if skew > 0 else 'ahead of'} that of a source",
            "set the clock: certificates count as not yet valid, or as expired, where it is far off",
        )


def _ask_all(sources: List[Source], archive: Archive, context: Context) -> List[_Answer]:
    answers: List[_Answer] = [
        _Answer(False, f"gave no answer within {_PATIENCE:g} s", "does the name server answer? see /etc/resolv.conf")
        for _ in sources
    ]

    def ask(number: int, source: Source) -> None:
        answers[number] = _ask(source, archive, context)

    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in enumerate(sources)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    return list(answers)


def _ask(source: Source, archive: Archive, context: Context) -> _Answer:
    from ..install.transport import Transport

    transport = Transport(context.download_options())
    reasons: List[str] = []
    for location in source.locations(archive.tag, archive.filename):
        answer = _try(location, source, archive, transport)
        if isinstance(answer, _Answer):
            return answer
        reasons.append(answer.reason)
        advice = answer.hint or _advise(source, answer)
        if not answer.absent:
            break
    layouts = ", laid out by release and flat" if len(reasons) > 1 else ""
    return _Answer(False, f"does not give {archive.filename}: {' and '.join(dict.fromkeys(reasons))}{layouts}", advice)


def _try(location: str, source: Source, archive: Archive, transport: Transport) -> Union[_Answer, SourceError]:
    try:
        return _look(location, source, archive, transport)
    except SourceError as failure:
        return failure
    except MissingDependencyError as exc:
        return _Answer(False, f"was not asked: {exc.message}", exc.hint)
    except ProvisionError as exc:
        return _Answer(False, f"cannot be asked: {exc.message}", exc.hint)
    except Exception as exc:
        # It must not end the thread without a word.
        return _Answer(False, f"could not be asked: {type(exc).__name__}: {exc}", "please report this")


def _look(location: str, source: Source, archive: Archive, transport: Transport) -> _Answer:
    if source.is_local:
        return _look_at_file(location, archive)
    with transport.open(location, {"Range": f"bytes=0-{_ASKED - 1}"}) as stream:
        head = next(iter(stream.chunks), b"") if stream.status in (200, 206) else b""
        skew = _skew(stream.headers)
    if head.startswith(_MAGIC):
        return _Answer(True, f"has {archive.filename}", skew=skew)
    kind = stream.headers.get("content-type", "").split(";")[0]
    if head.lstrip().startswith(b"<") or kind == "text/html":
        return _Answer(
            False,
            f"answers with an HTML page in place of {archive.filename}",
            "it is the login page of a network, a page of a proxy that blocks it, or not the address of the files",
            skew,
        )
    return _Answer(
        False, f"answers with something that is no archive ({kind or 'of no type'})", "is it the right address?"
    )


def _look_at_file(location: str, archive: Archive) -> _Answer:
    import hashlib

    path = Path(location[len("file://") :] if location.startswith("file://") else location)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError("no such file", absent=True) from None
    except OSError as exc:
        raise SourceError(exc.strerror or str(exc)) from None
    if digest.hexdigest() != archive.sha256:
        return _Answer(
            False,
            f"has a file {archive.filename} whose sha256 is {digest.hexdigest()}, and the catalog has {archive.sha256}",
            "copy the file again; where the mirror is right, name its SHA256SUMS with PROVISION_BACKEND_CATALOG",
        )
    return _Answer(True, f"has {archive.filename}")


def _advise(source: Source, failure: SourceError) -> str:
    if failure.absent:
        return "put the file there ('provision-backend mirror' fetches it), or correct the address"
    if source.is_local:
        return "let this user read it"
    if failure.reason.startswith("5"):
        return "the server has a fault of its own: try again later, or name another mirror"
    return (
        "is the address right, and does a firewall let this machine reach it? behind a proxy set HTTPS_PROXY;\n"
        "without internet set PROVISION_BACKEND_MIRROR to a mirror that can be reached"
    )


def _skew(headers: Mapping[str, str]) -> float:
    from email.utils import parsedate_to_datetime

    with suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - time.time()
    return 0.0
