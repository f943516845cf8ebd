"""Check the access to archives and packages: proxies, certificates, sources, and the configuration of pip and uv.

Each source is asked as a download would ask it, for the first bytes of the archive that would be selected, all sources
at the same time. The answer is judged by these bytes: the page of a firewall has status 200 too.

Source: pip documentation, Configuration; uv documentation, Environment variables; `provision_backend.hooks.installers`
for the variables that reach a build environment.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Iterator, List, Mapping, NamedTuple, Tuple

from ..catalog.archive import Archive
from ..errors import ProvisionError
from ..files import hash_file, read_file
from ..hooks.installer_files import read_pip_files
from ..hooks.installers import DROPPED
from ..install.download import make_transport
from ..install.sources import Source, SourceError, list_sources, local_path
from ..output import redact_url
from ..settings import load_toml
from ..systems import RUNNING
from .context import MAX_WAIT, Context, Finding, ok, problem, run_within, warning

__all__ = ["check_index", "check_network", "check_proxy"]

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT")
_MAGIC = (b"\x1f\x8b", b"\x28\xb5")  # gzip and Zstandard
_SKEW = 300.0  # seconds that two clocks may differ
# Seconds for all sources together: less than the deadline of a check, so that the answers so far are reported.
_PATIENCE = 2.5 * MAX_WAIT

_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS") + tuple(
    f"UV_{name}" for name in ("DEFAULT_INDEX", "INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS")
)
_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "constraint", "target", "prefix", "root", "user")
_OFF = ("", "0", "false", "no", "off", "n", "f")


def check_proxy(context: Context) -> Iterator[Finding]:
    """Report the proxies, and check whether files of certificates exist."""
    # The lower-case spelling counts first, also where it is empty, as for a download.
    proxies = {name: context.environ.get(name.lower(), context.environ.get(name)) for name in _PROXIES}
    certificates = {name: context.environ.get(name) for name in _CERTIFICATES}
    for name, value in proxies.items():
        if value:
            yield ok(f"{name} = {redact_url(value)}")
    for name, value in certificates.items():
        if value and os.path.exists(value):
            yield ok(f"{name} = {value}")
        elif value:
            # Only the first two are read by a download; the others are for pip.
            missing = context.if_fetching if name.startswith("SSL_") else warning
            advice = "correct it, or unset it to use the system's certificates"
            yield missing(f"{name} names {value}, which does not exist", advice)
    if not any([*proxies.values(), *certificates.values()]):
        yield ok("no proxy and no certificates are set")


class _Answer(NamedTuple):
    """The answer of one source."""

    good: bool
    text: str
    advice: str = ""
    skew: float = 0.0
    """Seconds that the clock of the source is ahead of ours."""


def check_network(context: Context) -> Iterator[Finding]:
    """Ask every source for the archive that would be installed."""
    explanation = context.explanation()
    if explanation.choice is None:
        if explanation.interpreter is not None and explanation.reason is None:
            yield ok("not needed: an interpreter of the machine was asked for")
        else:
            yield warning("not checked, since no archive was selected", "see interpreter, catalog and host")
        return
    sources = list_sources(context.probe_settings())
    asked = [source for source in sources if source.is_local or not context.settings.offline]
    answers = _ask_all(asked, explanation.choice.archive, context)
    # A source that fails is no problem if another one has the archive.
    refused = warning if any(answer.good for answer in answers) else context.if_fetching
    for source, answer in zip(asked, answers):
        yield (ok if answer.good else refused)(f"{source.name} {answer.text}", answer.advice)
    if len(asked) < len(sources):
        yield ok("offline is set: sources on the network are not asked")
    skew = max((answer.skew for answer in answers), key=abs, default=0.0)
    if abs(skew) > _SKEW:
        yield warning(
            f"the clock is {abs(skew) / 60:.0f} minutes {'behind' if skew > 0 else 'ahead of'} that of a source",
            "set the clock: certificates count as not yet valid, or as expired, where it is far off",
        )


def _ask_all(sources: List[Source], archive: Archive, context: Context) -> List[_Answer]:
    advice = "does the name server answer? see /etc/resolv.conf"
    answers = [_Answer(False, f"gave no answer within {_PATIENCE:g} s", advice)] * len(sources)

    def _put(number: int, source: Source) -> None:
        answers[number] = _ask(source, archive, context)

    # One after the other they might exceed the deadline of a check: looking up a name has no time-out of ours.
    run_within(_PATIENCE, [partial(_put, *pair) for pair in enumerate(sources)])
    return list(answers)


def _ask(source: Source, archive: Archive, context: Context) -> _Answer:
    def _try(location: str) -> _Answer:
        path = local_path(location)
        return _request(location, archive, context) if path is None else _compare(path, archive)

    try:
        return source.ask(archive.tag, archive.filename, _try)
    except SourceError as failure:
        advice = failure.hint or _advise(source, failure)
        return _Answer(False, f"does not give {archive.filename}: {failure.reason}", advice)
    except ProvisionError as exc:
        return _Answer(False, f"cannot be asked: {exc.message}", exc.hint)
    except Exception as exc:
        # Without this the thread would end with a traceback, and the source would count as silent.
        return _Answer(False, f"could not be asked: {type(exc).__name__}: {exc}", "please report this")


def _request(location: str, archive: Archive, context: Context) -> _Answer:
    # Four bytes are enough to distinguish an archive from a page.
    with make_transport(context.probe_settings()).open(location, {"Range": "bytes=0-3"}) as stream:
        head = next(iter(stream.chunks), b"") if stream.status in (200, 206) else b""
        skew = 0.0
        with suppress(TypeError, ValueError, OverflowError):
            skew = parsedate_to_datetime(stream.headers.get("date", "")).timestamp() - time.time()
    if head.startswith(_MAGIC):
        return _Answer(True, f"has {archive.filename}", skew=skew)
    kind = stream.headers.get("content-type", "").split(";")[0]
    if head.lstrip().startswith(b"<") or kind == "text/html":
        found = f"answers with an HTML page in place of {archive.filename}"
        advice = "it is the login page of a network, a page of a proxy that blocks it, or not the address of the files"
        return _Answer(False, found, advice, skew)
    found = f"answers with something that is not an archive ({kind or 'of no type'})"
    return _Answer(False, found, "is it the right address?", skew)


def _compare(path: Path, archive: Archive) -> _Answer:
    try:
        sha256 = hash_file(path)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError("no such file", absent=True) from None
    except OSError as exc:
        raise SourceError(exc.strerror or str(exc)) from None
    if sha256 != archive.sha256:
        found = f"has a file {archive.filename} whose sha256 is {sha256}, and the catalog has {archive.sha256}"
        advice = "copy the file again; if the mirror is right, name its SHA256SUMS with PROVISION_BACKEND_CATALOG"
        return _Answer(False, found, advice)
    return _Answer(True, f"has {archive.filename}")


def _advise(source: Source, failure: SourceError) -> str:
    if failure.absent and not failure.by_proxy:
        return "put the file there ('provision-backend mirror' fetches it), or correct the address"
    if source.is_local:
        return "let this user read it"
    if failure.reason.startswith("5") and not failure.by_proxy:
        return "the server has a fault of its own: try again later, or name another mirror"
    mirror = "without internet set PROVISION_BACKEND_MIRROR to a mirror that can be reached"
    see = " see proxy;" if failure.route.proxy else ""
    return f"{failure.route.advice}{see}\n{mirror}"


def check_index(context: Context) -> Iterator[Finding]:
    """Check how variables and configuration files direct pip and uv."""
    environ = context.environ
    configured = read_pip_files(environ)
    found = [ok(f"{name} = {_redact(environ[name])}") for name in _INDEXES if environ.get(name)]
    found += [ok(f"{key} = {_redact(value)} ({place})") for key, (value, place) in configured.items() if key in _KEYS]
    dropped = "is set, and it is not passed on, since it would misdirect a build environment"
    found += [ok(f"{name} {dropped}") for name in DROPPED if environ.get(name)]
    if environ.get("PIP_REQUIRE_VIRTUALENV"):
        found.append(ok("PIP_REQUIRE_VIRTUALENV is set and kept: a build environment is one"))
    for key in filter(configured.__contains__, ("prefix", "root")):
        value, place = configured[key]
        text = f"{place} sets {key} = {value}, so pip installs there and not into the build environment"
        found.append(problem(text, f"take {key} out of that file, or name another one with PIP_CONFIG_FILE"))
    found += _check_uv_target(context)
    found += _check_missing_index(environ, configured)
    found += _check_files(environ)
    yield from found or [ok("neither variables nor configuration files of pip and uv say where packages come from")]


def _redact(value: str) -> str:
    return " ".join(redact_url(word) for word in value.split())


def _check_uv_target(context: Context) -> Iterator[Finding]:
    """Check the files of uv for two keys that no option of its command line overrides."""
    environ = context.environ
    if context.settings.installer != "uv" and not environ.get("UV"):
        return
    for path in map(Path, _uv_files(environ, str(context.directory))):
        try:
            data = load_toml(read_file(path).decode("utf-8"))
        except (OSError, ValueError):
            continue  # It does not exist, or uv will report what is wrong with it.
        table: Any = data.get("tool", {}).get("uv", {}) if path.name == "pyproject.toml" else data
        for key in ("target", "prefix"):
            if isinstance(table, dict) and key in table.get("pip", {}):
                yield problem(
                    f"{path} sets pip.{key}, so uv installs there and not into the build environment",
                    f"take {key} out of it, or have pip install: PROVISION_BACKEND_INSTALLER=pip",
                )


def _check_missing_index(environ: Mapping[str, str], configured: Mapping[str, Tuple[str, str]]) -> Iterator[Finding]:
    value = environ.get("PIP_NO_INDEX") or configured.get("no-index", ("", ""))[0]
    links = environ.get("PIP_FIND_LINKS") or configured.get("find-links", ("", ""))[0]
    if value.lower() not in _OFF and not links:
        place = "PIP_NO_INDEX" if environ.get("PIP_NO_INDEX") else f"no-index in {configured['no-index'][1]}"
        yield problem(
            f"{place} is set without find-links: pip finds no package, so no build environment can be filled",
            "set PIP_FIND_LINKS to a folder with the wheels of the real backend, or unset it",
        )
    if environ.get("UV_OFFLINE", "").lower() not in _OFF and not environ.get("UV_FIND_LINKS"):
        found = "UV_OFFLINE is set without UV_FIND_LINKS: uv installs only what it has in its cache"
        yield warning(found, "set UV_FIND_LINKS to a folder with the wheels of the real backend, or unset it")


def _check_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("PIP_BUILD_CONSTRAINT", "UV_BUILD_CONSTRAINT", "PIP_CONFIG_FILE", "UV_CONFIG_FILE", "PIP_FIND_LINKS"):
        for word in environ.get(name, "").split():
            if "://" in word:
                continue
            absolute = os.path.isabs(word) or word.startswith("~")
            where = "" if absolute else f" in {os.getcwd()}, where it is looked for"
            if not os.path.exists(os.path.expanduser(word)):
                found = f"{name} names {word}, which does not exist{where}"
                yield problem(found, "correct it; an absolute path is safest")
            elif not absolute:
                found = f"{name} names {word}, which is looked for in the folder that a frontend is started in"
                yield warning(found, "write an absolute path")


def _uv_files(environ: Mapping[str, str], folder: str) -> Iterator[str]:
    """Yield the configuration files that uv reads or may read, existing or not, the nearest first.

    Source: uv documentation, Configuration files.
    """
    given = environ.get("UV_CONFIG_FILE")
    if given:
        yield given
        return
    if environ.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return
    for parent in (Path(folder), *Path(folder).parents):
        yield str(parent / "uv.toml")
        yield str(parent / "pyproject.toml")
    for base in (RUNNING.user_folder(environ), *RUNNING.machine_folders(environ)):
        yield os.path.join(base, "uv", "uv.toml")
