"""Write messages, progress, colour and suggestions to standard error.

Every line begins with ``provision-backend: ``. A terminal gets a bar that is redrawn in place; anything else (the log
of a frontend, a CI job) gets a line every few seconds. Nothing here raises: a standard error that is closed or cannot
encode a character must not end a build that is otherwise going well.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sys
import time
from typing import Callable, Iterable, Iterator, Mapping, Optional, TextIO, Type

from .errors import ProvisionError
from .systems import RUNNING

__all__ = [
    "COLOR_CHOICES", "PREFIX", "REDRAW", "Progress", "Reporter", "explained", "format_size", "is_terminal", "nearest",
    "paint", "printable", "redact_text", "redact_url", "shorten", "suggestion", "wants_color",
]  # fmt: skip

COLOR_CHOICES = ("auto", "always", "never")  # the values of ``--color``

# ECMA-48, select graphic rendition.
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "error": "1;31"}


def wants_color(stream: Optional[TextIO], choice: str = "auto", environ: Optional[Mapping[str, str]] = None) -> bool:
    """Tell whether to colour what is written to a stream; *choice* is one of `COLOR_CHOICES`.

    The first answer counts: the choice, then ``NO_COLOR`` (https://no-color.org), then ``FORCE_COLOR`` and
    ``CLICOLOR_FORCE``, then the stream, which must be a terminal and not ``TERM=dumb``.
    """
    if choice != "auto":
        return choice == "always"
    environ = os.environ if environ is None else environ
    # All three count when they are set and not empty; some programs write 0 for "no".
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    if RUNNING.name == "windows" and not (environ.get("WT_SESSION") or environ.get("TERM")):
        return False  # The old console shows the codes themselves.
    return environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: Optional[TextIO]) -> bool:
    """Tell whether a stream is a terminal; a closed stream, or one without ``isatty``, is not."""
    try:
        return stream is not None and stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False


def paint(text: str, style: str) -> str:
    """Return text in a style (``bold``, ``dim``, ``error`` or a colour); without either, the text as it is."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text


Clock = Callable[[], float]
PREFIX = "provision-backend: "
REDRAW = 0.1  # seconds between two drawings of a bar
INTERVAL = 5.0  # seconds between two lines where there is no terminal
FALLBACK_WIDTH = 80
STATE_WIDTH = 44  # columns kept for the numbers behind a bar, so that its end stays where it is


class Reporter:
    """Writes messages and progress, as much as the user asked for.

    Args:
        stream: where to write; None means whatever ``sys.stderr`` is at the moment of writing.
        verbosity: 0 for what a user must know, 1 for details, 2 for debugging.
        clock: returns monotonic seconds; replaced in tests.
        color: one of `COLOR_CHOICES`, for the bar.
    """

    def __init__(
        self, stream: Optional[TextIO] = None, verbosity: int = 0, *, clock: Clock = time.monotonic, color: str = "auto"
    ) -> None:
        self._stream = stream
        self._color = color
        self.verbosity = verbosity
        self.clock = clock
        self._depth = 0  # of nested steps

    def info(self, text: str) -> None:
        """Report something at every verbosity; each line of *text* gets the prefix, and addresses are redacted."""
        for line in text.splitlines():
            self.write(PREFIX + printable(redact_text(line)) + "\n")

    def error(self, text: str) -> None:
        """Report what has ended the work: a message, and its hint on indented lines."""
        prefix = paint(PREFIX.rstrip(), "error") if self.wants_color() else PREFIX.rstrip()
        self.write(f"{prefix} " + "".join(f"{printable(redact_text(line))}\n" for line in text.splitlines()))

    def detail(self, text: str) -> None:
        """Report something that helps to follow along; from verbosity 1."""
        if self.verbosity >= 1:
            self.info(text)

    def debug(self, text: str) -> None:
        """Report something that helps to find a fault; from verbosity 2."""
        if self.verbosity >= 2:
            self.info(text)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report how long the body took, from verbosity 2; *name* is what it does, such as ``make an environment``.

        A step is reported when it ends, so the steps within it stand above it, indented.
        """
        if self.verbosity < 2:
            yield
            return
        began, failed = self.clock(), " (failed)"
        self._depth += 1
        try:
            yield
            failed = ""
        finally:
            self._depth -= 1
            self.took(name + failed, self.clock() - began)

    def took(self, name: str, seconds: float) -> None:
        """Report how long a step took; from verbosity 2."""
        self.debug(f"{seconds:8.3f} s  {'  ' * self._depth}{name}")

    def is_terminal(self) -> bool:
        """Tell whether a bar can be redrawn on the stream."""
        return is_terminal(self._target()) and os.environ.get("TERM") != "dumb"

    def wants_color(self) -> bool:
        """Tell whether to colour what is written."""
        return wants_color(self._target(), self._color)

    def width(self) -> int:
        """Return the columns of the terminal, looked up each time since windows are resized."""
        with contextlib.suppress(Exception):
            # shutil.get_terminal_size would ask standard output, which a frontend may have redirected.
            return os.get_terminal_size(self._target().fileno()).columns or FALLBACK_WIDTH
        return FALLBACK_WIDTH

    def write(self, text: str) -> None:
        """Write *text* as it is; ignore a closed or broken stream, and escape what it cannot encode."""
        with contextlib.suppress(Exception):
            stream = self._target()
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(stream, "encoding", None) or "ascii"
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()

    def _target(self) -> TextIO:
        return sys.stderr if self._stream is None else self._stream


class Progress:
    """Shows how many bytes of a *total* have been transferred, while the body of a ``with`` statement runs.

    What an earlier run has *done* does not count for the speed; where the bytes come from is named once.
    """

    def __init__(
        self, reporter: Reporter, label: str, total: Optional[int], *, done: int = 0, origin: str = ""
    ) -> None:
        self._reporter = reporter
        self._label = printable(label)
        self._total = total
        self._done = self._start = done
        self._origin = origin
        self._began = self._shown = reporter.clock()
        self._live = False
        self._drawn = 0  # columns that the bar covers now

    def __enter__(self) -> Progress:
        self._live = self._reporter.is_terminal()
        size = f" ({format_size(self._total)})" if self._total else ""
        origin = f" from {self._origin}" if self._origin else ""
        self._reporter.info(f"{self._label}{size}{origin}")
        if self._live:
            self._draw()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, traceback: object) -> None:
        if self._drawn:
            self._reporter.write("\r" + " " * self._drawn + "\r")
        if kind is None:
            seconds = self._reporter.clock() - self._began
            self._reporter.info(f"{self._label}: done, {format_size(self._done)} in {seconds:.1f} s")

    def advance(self, count: int) -> None:
        """Count *count* more bytes, and show the state when it is time to."""
        self._done += count
        now = self._reporter.clock()
        if now - self._shown < (REDRAW if self._live else INTERVAL):
            return
        self._shown = now
        if self._live:
            self._draw()
        else:
            self._reporter.info(f"{self._label}: {self._state()}")

    def _draw(self) -> None:
        # The last column stays free: a terminal that wraps there would start a new line at every drawing.
        room = max(self._reporter.width() - 1, 0)
        cells = min(room - len(PREFIX) - STATE_WIDTH - 3, 40)
        bar = full = ""
        if self._total and cells >= 5:
            full = "#" * (min(self._done, self._total) * cells // self._total)
            bar = f"[{full.ljust(cells, '.')}] "
        text = f"{PREFIX}{bar}{self._state()}"[:room]
        # Blanks cover the end of a longer drawing.
        padding = " " * (self._drawn - len(text))
        self._drawn = len(text)
        if full and self._reporter.wants_color():
            text = text.replace(full, paint(full, "green"), 1)
        self._reporter.write(f"\r{text}{padding}")

    def _state(self) -> str:
        seconds = self._reporter.clock() - self._began
        rate = int((self._done - self._start) / seconds) if seconds > 0 else 0
        speed = f", {format_size(rate)}/s" if rate else ""
        if not self._total:
            return f"{format_size(self._done)}{speed}"
        percent = "" if self._live else f" ({min(self._done, self._total) * 100 // self._total} %)"
        left = f", {max(self._total - self._done, 0) / rate:.0f} s left" if rate else ""
        return f"{format_size(self._done)} of {format_size(self._total)}{percent}{speed}{left}"


def format_size(count: int) -> str:
    """Write a number of bytes in powers of 1000: ``25.3 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what only some hosts do to our own code into a `ProvisionError`: a refused path, a module that is missing.

    Nothing of a real backend may run inside, since its exceptions are its own.
    """
    try:
        yield
    except ImportError as exc:
        name = (exc.name or str(exc)).lstrip("_")
        hint = "it was built without it, or its package is not installed; use another Python"
        raise ProvisionError(f"this Python has no module {name!r}", hint=hint) from None
    except MemoryError:
        hint = "let it have more: 'ulimit -a' shows its limits, and its container may have one"
        raise ProvisionError("this process may not take as much memory as it needs", hint=hint) from None
    except OSError as exc:
        if exc.filename is None and "temporary directory" in str(exc.strerror):  # What `tempfile` says.
            raise ProvisionError(
                f"there is no folder for temporary files: {exc.strerror}", hint="set TMPDIR to one that can be written"
            ) from None
        # A folder that may not be entered, or a current folder that was removed.
        raise ProvisionError(f"{exc.filename or 'the current folder'} cannot be used: {exc.strerror or exc}") from None


def printable(text: str) -> str:
    """Replace control characters: the name of a path, a server or an archive must not steer the terminal."""
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in text)


def shorten(text: str, longest: int = 80) -> str:
    """Return the beginning of a text of any length, to be quoted in a message."""
    return text if len(text) <= longest else f"{text[:longest]}..."


_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,30}"
# A scheme with one slash, with a semicolon or without its colon, two slashes without a scheme, or neither: with an "@"
# behind it, or a query, this is an address, and no path. A path of that form can be written with ./ before it.
_BEGINNING = rf"({_SCHEME}[:;]//?|https?//|//|(?![.~\\]|[A-Za-z]:[/\\]))"
_UNFINISHED = re.compile(rf"{_BEGINNING}[^/]*@")
_UNFINISHED_QUERY = re.compile(rf"(?!/[^/]){_BEGINNING}[^?]*\?.*=")
_ADDRESS = re.compile(rf"{_SCHEME}:/")
# The punctuation behind an address is not part of it: "https://m.example:8000: no connection".
_PUNCTUATION = ":;,.)'\""


def redact_url(url: str) -> str:
    """Return an address as it may be shown: without user name, password, query and fragment; a path stays as it is."""
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(_SCHEME, scheme):
        unfinished = _UNFINISHED.match(url)
        if unfinished:
            return f"{unfinished[1]}***@{url.rpartition('@')[2].partition('?')[0]}"
        return f"{url.partition('?')[0]}?***" if _UNFINISHED_QUERY.match(url) else url
    shown = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = shown.partition("/")
    # Whatever a file on this machine is called, it is no secret; an address behind it may have one.
    if scheme == "file" and authority in ("", "localhost") and "://" not in rest:
        return url
    # An "@" behind the authority may be the end of a password with an unescaped "/", "?" or "#" in it.
    if "@" in rest[len(shown) :]:
        return f"{scheme}://***"
    if "@" in path:
        return f"{scheme}://***@{path.rpartition('@')[2]}"
    host = re.split("@|%40", authority)[-1]
    # Without a port behind the colon, a user name and part of a password stand there.
    host = host if re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", host) else "***"
    return f"{scheme}://{host}{slash}{path}"


def redact_text(text: str) -> str:
    """Return *text*, such as the message of another program, with every address in it redacted."""
    # A server may have written it, so nothing here takes longer than the text is long.
    return re.sub(r"\S+", lambda found: _redact_word(found[0]), text)


def _redact_word(word: str) -> str:
    address = _ADDRESS.search(word)
    start, end = (address.start(), len(word.rstrip(_PUNCTUATION))) if address else (len(word), len(word))
    # A login may also stand in front of the scheme, by mistake.
    before = "".join(map(_redact_login, re.split("(['\"])", word[:start]))) if "@" in word[:start] else word[:start]
    return before + (redact_url(word[start:end]) if address else "") + word[end:]


def _redact_login(part: str) -> str:
    """Hide a user name and a password that stand before an "@"; a drive of Windows is no user name."""
    login, _, rest = part.rpartition("@")
    for run in re.finditer("[^=(,]+", login):
        if ":" in run[0][2:]:
            return f"{part[: run.start()]}***@{rest}"
    return part


def suggestion(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return the hint of a message about an unknown word: the nearest known one, with its prefix, or all of them."""
    known = list(known)
    near = nearest(word, known)
    return f"did you mean {prefix + near!r}?" if near else "known keys: " + ", ".join(known)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that the user may have meant; empty if none is similar."""
    return "".join(difflib.get_close_matches(word, list(known), 1))
