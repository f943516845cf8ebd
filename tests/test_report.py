"""What people see on standard error: `provision_backend.output`."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import struct
import subprocess
import sys
import termios
import time
import tty
from typing import Iterator, List, TextIO, Tuple

import pytest

from provision_backend.output import Progress, Reporter, format_size, redact_text, redact_url


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self.now


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[Tuple[TextIO, int]]:
    """Give a real terminal of so many columns: the stream to write to, and the descriptor to read from."""
    reading, writing = os.openpty()
    tty.setraw(writing)
    os.set_blocking(reading, False)
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(writing, "w") as stream:
        yield stream, reading
    os.close(reading)


def read_all(descriptor: int) -> str:
    """Return what the terminal shows by now."""
    seen = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            seen += os.read(descriptor, 65_536)
    return seen.decode()


def drawings_in(seen: str) -> List[str]:
    """Return the drawings of the bar: what is neither a whole line nor blank."""
    return [part for line in seen.split("\n")[1:] for part in line.split("\r")[1:-1] if part.strip()]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the caller decides about bars and colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (0, "provision-backend: one\n"),
        (1, "provision-backend: one\nprovision-backend: two\n"),
        (2, "provision-backend: one\nprovision-backend: two\nprovision-backend: three\n"),
    ],
    ids=["quiet", "details", "debugging"],
)
def test_verbosity_decides_how_much_is_said(verbosity: int, expected: str) -> None:
    """Each level adds its lines to those of the level below."""
    stream = io.StringIO()
    reporter = Reporter(stream, verbosity)
    reporter.info("one")
    reporter.detail("two")
    reporter.debug("three")

    assert stream.getvalue() == expected


def test_every_line_of_a_text_is_prefixed() -> None:
    """A text of two lines is two lines of ours, so that a log can be filtered."""
    stream = io.StringIO()
    Reporter(stream).info("failed\n  do this")

    assert stream.getvalue() == "provision-backend: failed\nprovision-backend:   do this\n"


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A name that holds an escape sequence is shown, not obeyed."""
    stream = io.StringIO()
    Reporter(stream).info("a\x1b[2Jb")

    assert stream.getvalue() == "provision-backend: a?[2Jb\n"


def test_the_last_message_does_not_steer_the_terminal_either() -> None:
    """What ends the work keeps its lines, and every other control character is replaced."""
    stream = io.StringIO()
    Reporter(stream).error("could not \x1b[2J\x07: \u202e\n  try \x9b31m again")

    assert stream.getvalue() == "provision-backend: could not ?[2J?: ?\n  try ?31m again\n"


def test_the_stream_is_looked_up_when_something_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream of its own a reporter follows sys.stderr, which test runners and frontends replace."""
    reporter = Reporter()
    with contextlib.redirect_stderr(io.StringIO()) as other:
        reporter.info("here")
    reporter.info("there")

    assert other.getvalue() == "provision-backend: here\n"
    assert capsys.readouterr().err == "provision-backend: there\n"


def test_a_closed_stream_is_no_error() -> None:
    """Neither a line nor a bar raises when the stream is closed."""
    stream = io.StringIO()
    stream.close()
    reporter = Reporter(stream)
    reporter.info("lost")
    with Progress(reporter, "downloading", 10) as progress:
        progress.advance(10)

    assert not reporter.is_terminal()


def test_no_standard_error_at_all_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs without a console have None for sys.stderr."""
    monkeypatch.setattr(sys, "stderr", None)
    reporter = Reporter()
    reporter.info("lost")

    assert not reporter.is_terminal()
    assert reporter.width() == 80


def test_a_broken_pipe_is_no_error() -> None:
    """A reader that went away does not end the build."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    Reporter(stream).info("lost")

    # What could not be written is still in the buffer, and closing tries once more.
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_what_the_encoding_lacks_is_escaped() -> None:
    """An ASCII terminal gets the text with escapes, rather than nothing."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Reporter(stream).info("/home/zoë")

    assert raw.getvalue() == b"provision-backend: /home/zo\\xeb\n"


def test_a_quick_download_is_two_lines() -> None:
    """Without a terminal there is a line at the start and one at the end."""
    stream, clock = io.StringIO(), Clock()
    with Progress(Reporter(stream, clock=clock), "downloading a", 25_300_000, origin="example.org") as progress:
        progress.advance(20_000_000)
        clock.now += 1.5
        progress.advance(5_300_000)

    assert stream.getvalue().splitlines() == [
        "provision-backend: downloading a (25.3 MB) from example.org",
        "provision-backend: downloading a: done, 25.3 MB in 1.5 s",
    ]


def test_a_slow_download_is_a_line_every_few_seconds() -> None:
    """A log hears of a slow download at the interval, with the speed and the seconds that are left."""
    stream, clock = io.StringIO(), Clock()
    with Progress(Reporter(stream, clock=clock), "downloading a", 24_000_000) as progress:
        for _ in range(12):
            clock.now += 1
            progress.advance(2_000_000)

    assert stream.getvalue().splitlines()[1:-1] == [
        "provision-backend: downloading a: 10.0 MB of 24.0 MB (41 %), 2.0 MB/s, 7 s left",
        "provision-backend: downloading a: 20.0 MB of 24.0 MB (83 %), 2.0 MB/s, 2 s left",
    ]


def test_an_unknown_total_is_not_invented() -> None:
    """Where nobody says how much will come, there is no percentage."""
    stream, clock = io.StringIO(), Clock()
    with Progress(Reporter(stream, clock=clock), "downloading a", None) as progress:
        clock.now += 10
        progress.advance(1_000_000)

    assert stream.getvalue().splitlines()[:2] == [
        "provision-backend: downloading a",
        "provision-backend: downloading a: 1.0 MB, 100.0 kB/s",
    ]


def test_a_resumed_download_counts_what_was_there() -> None:
    """Bytes of an earlier run count for the percentage and not for the speed."""
    stream, clock = io.StringIO(), Clock()
    with Progress(Reporter(stream, clock=clock), "downloading a", 10_000_000, done=8_000_000) as progress:
        clock.now += 10
        progress.advance(1_000_000)

    assert stream.getvalue().splitlines()[1] == (
        "provision-backend: downloading a: 9.0 MB of 10.0 MB (90 %), 100.0 kB/s, 10 s left"
    )


def test_a_failure_has_no_line_of_success() -> None:
    """When the body raises, the error is all that is left to say."""
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(Reporter(stream), "downloading a", 10):
        raise KeyboardInterrupt

    assert stream.getvalue() == "provision-backend: downloading a (10 B)\n"


def test_a_terminal_gets_a_bar_that_fits() -> None:
    """The bar is redrawn in place, narrower than the window, and gone at the end."""
    clock = Clock()
    with terminal(80) as (stream, reading):
        with Progress(Reporter(stream, clock=clock), "downloading a", 1000) as progress:
            clock.now += 1
            progress.advance(500)
        seen = read_all(reading)

    assert drawings_in(seen) == [
        "provision-backend: [.............] 0 B of 1.0 kB",
        "provision-backend: [\x1b[32m######\x1b[0m.......] 500 B of 1.0 kB, 500 B/s, 1 s left",
    ]
    assert seen.endswith("\rprovision-backend: downloading a: done, 500 B in 1.0 s\n")


@pytest.mark.parametrize("columns", [20, 30, 72, 200])
def test_no_drawing_is_wider_than_the_window(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the width of the window, a drawing leaves its last column free."""
    monkeypatch.setenv("NO_COLOR", "1")
    clock = Clock()
    with terminal(columns) as (stream, reading):
        with Progress(Reporter(stream, clock=clock), "downloading a", 1000) as progress:
            for _ in range(10):
                clock.now += 1
                progress.advance(100)
        seen = read_all(reading)

    widths = [len(part) for part in drawings_in(seen)]
    assert len(widths) == 11
    assert max(widths) <= columns - 1


def test_a_bar_is_drawn_at_most_ten_times_a_second() -> None:
    """A thousand small reads in one second are about ten drawings."""
    clock = Clock()
    with terminal(80) as (stream, reading):
        with Progress(Reporter(stream, clock=clock), "downloading a", 1000) as progress:
            for _ in range(1000):
                clock.now += 0.001
                progress.advance(1)
        seen = read_all(reading)

    assert 9 <= len(drawings_in(seen)) <= 12


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR set no escape sequence is written."""
    monkeypatch.setenv("NO_COLOR", "1")
    clock = Clock()
    with terminal(80) as (stream, reading):
        with Progress(Reporter(stream, clock=clock), "downloading a", 1000) as progress:
            clock.now += 1
            progress.advance(500)
        seen = read_all(reading)

    assert "#" in seen
    assert "\x1b" not in seen


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot go back in its line is treated as a log."""
    monkeypatch.setenv("TERM", "dumb")
    with terminal(80) as (stream, _):
        assert not Reporter(stream).is_terminal()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (25_312_000, "25.3 MB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes_are_written_in_powers_of_a_thousand(count: int, expected: str) -> None:
    """Sizes read as a file manager shows them."""
    assert format_size(count) == expected


def test_importing_the_module_is_light() -> None:
    """The module is imported by every hook, so it brings nothing heavy with it."""
    code = "import sys; import provision_backend.output; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], check=True, stdout=subprocess.PIPE, text=True)

    assert not {"shutil", "http.client", "logging", "pathlib"} & set(loaded.stdout.split())


def test_the_time_of_steps_is_told_from_verbosity_2() -> None:
    """A step is told when it ends, indented within another one, and marked where it failed."""
    stream, times = io.StringIO(), iter([1.0, 2.0, 2.25, 3.0, 3.5, 14.0])
    reporter = Reporter(stream, 2, clock=lambda: next(times))
    with reporter.step("all of it"):
        with reporter.step("one part"):
            pass
        with pytest.raises(ValueError, match="why"), reporter.step("another part"):
            raise ValueError("why")

    assert stream.getvalue().splitlines() == [
        "provision-backend:    0.250 s    one part",
        "provision-backend:    0.500 s    another part (failed)",
        "provision-backend:   13.000 s  all of it",
    ]


@pytest.mark.parametrize("verbosity", [0, 1])
def test_steps_are_free_below_that(verbosity: int) -> None:
    """Nothing is written, and nobody looks at the clock."""
    stream = io.StringIO()
    reporter = Reporter(stream, verbosity, clock=lambda: 1 // 0)
    with reporter.step("all of it"):
        pass

    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://m.example/pbs", "https://m.example/pbs"),
        ("https://user:s3cret@m.example:8443/pbs", "https://m.example:8443/pbs"),
        ("https://s3cret@m.example/pbs", "https://m.example/pbs"),
        ("https://m.example/pbs?sig=s3cret#s3cret", "https://m.example/pbs"),
        ("https://us@er:s3cret@m.example/pbs", "https://m.example/pbs"),
        ("https://user:s3/cret@m.example/pbs", "https://***@m.example/pbs"),
        ("https://user:s3#cret@m.example/pbs", "https://***"),
        ("https://user:12?s3cret@m.example/pbs", "https://***"),
        ("https://m.example/pbs?mail=a@b&sig=s3cret", "https://***"),
        ("/srv/a@b?c", "/srv/a@b?c"),
        ("./a@b/c", "./a@b/c"),
        ("~a@b/c", "~a@b/c"),
        ("file:///srv/python@3.13/m", "file:///srv/python@3.13/m"),
        ("C:\\a@b", "C:\\a@b"),
        ("https:/user:s3cret@m.example/pbs", "https:/***@m.example/pbs"),
        ("https//user:s3cret@m.example/pbs", "https//***@m.example/pbs"),
        ("https:user:s3cret@m.example/pbs", "***@m.example/pbs"),
        ("user:s3cret@m.example/pbs?sig=s3cret", "***@m.example/pbs"),
        ("s3cret@m.example/pbs", "***@m.example/pbs"),
        ("//user:s3cret@m.example/pbs", "//***@m.example/pbs"),
        ("user:s3cret@https://m.example/pbs", "***@https://m.example/pbs"),
        ("https://user%3As3cret%40m.example/pbs", "https://m.example/pbs"),
        ("https://user:s3cret", "https://***"),
        ("https://[::1]:8443/pbs", "https://[::1]:8443/pbs"),
        ("https:/m.example/pbs?sig=s3cret", "https:/m.example/pbs?***"),
        ("https;//user:s3cret@m.example/pbs", "https;//***@m.example/pbs"),
        ("//m.example/pbs?sig=s3cret", "//m.example/pbs?***"),
        ("m.example/pbs?sig=s3cret", "m.example/pbs?***"),
        ("/srv/a?b=c", "/srv/a?b=c"),
        ("./a?b=c", "./a?b=c"),
        ("file:///srv/a?b=c", "file:///srv/a?b=c"),
        ("file:///https://user:s3cret@m.example", "file://***@m.example"),
    ],
)
def test_a_redacted_url_holds_no_secret(url: str, expected: str) -> None:
    """Whatever stands in a URL, what is shown of it holds no user name, password, query or fragment."""
    assert redact_url(url) == expected


def test_urls_in_a_text_are_redacted() -> None:
    """The message of another library keeps its words and loses its secrets."""
    text = "cannot reach https://user:s3cret@m.example/x?sig=s3cret (or http://s3cret@h/): refused"

    assert redact_text(text) == "cannot reach https://m.example/x (or http://h/): refused"
    assert redact_text("PIP_INDEX_URL=user:s3cret@h/simple is no URL") == "PIP_INDEX_URL=***@h/simple is no URL"
    assert redact_text("at 12:30 mail a@b, see C:\\a@b") == "at 12:30 mail a@b, see C:\\a@b"


def test_punctuation_is_no_part_of_an_address() -> None:
    """The host and port of a source that failed stay readable, and what is quoted keeps its quotes."""
    assert redact_text("http://127.0.0.1:9: refused") == "http://127.0.0.1:9: refused"
    assert redact_text("found 'https://user:s3cret@h/x', wanted a path") == "found 'https://h/x', wanted a path"
    assert redact_text("https://user:s3cret: x") == "https://***: x"
    assert redact_text("pip: 'user:s3cret@https://h/x' failed") == "pip: '***@https://h/x' failed"


@pytest.mark.parametrize(
    "text", ["A", "a:", "aa:", "//a@", "http:/", "a=b:@", "http://"], ids=lambda text: text.replace("/", "|")
)
def test_a_long_text_is_redacted_soon(text: str) -> None:
    """A server may have written it: the time that it takes grows with its length only."""
    began = time.monotonic()
    redact_text(text * 50_000)
    redact_text("http://" + text * 50_000 + "@")

    assert time.monotonic() - began < 5


def test_messages_are_redacted() -> None:
    """Whatever is in a line, it is written without passwords."""
    stream = io.StringIO()

    Reporter(stream).info("looking at https://user:s3cret@m.example/x\nand user:s3cret@h")

    assert stream.getvalue() == "provision-backend: looking at https://m.example/x\nprovision-backend: and ***@h\n"
