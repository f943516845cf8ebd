"""Trying again: which failures are worth it, how often, and how long to wait in between.

In: something that raises `SourceError`. Out: its result, or the last failure. Tries are bounded twice: failures in
a row that brought nothing, and tries altogether.

Source: RFC 9110, 10.2.3 (Retry-After).
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import Callable, Optional, TypeVar

__all__ = ["SourceError", "read_retry_after", "retrying"]

MAX_WAIT = 60.0  # seconds; a server that asks for more is asked again sooner, and then the next source is tried
FIRST_WAIT = 0.5  # seconds; doubled for each failure in a row
TRIES_PER_RETRY = 4  # requests that did bring something are free, up to this many for each retry that is allowed

Result = TypeVar("Result")


class SourceError(Exception):
    """One source did not give what was wanted; never leaves the package.

    Args:
        reason: what happened, without any credential.
        hint: what to do about it.
        retry: whether the same request may succeed later.
        wait: seconds that the server wants us to wait; None where it says nothing; 0 to go on at once.
        absent: whether the source just does not have it at this location.
    """

    def __init__(
        self, reason: str, *, hint: str = "", retry: bool = False, wait: Optional[float] = None, absent: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.retry = retry
        self.wait = wait
        self.absent = absent
        self.progress = False  # set by whoever counted the bytes: the next try starts further on


def retrying(
    attempt: Callable[[], Result],
    *,
    retries: int,
    sleep: Callable[[float], None],
    notify: Callable[[str], None],
) -> Result:
    """Call *attempt* until it succeeds, waiting longer each time.

    Args:
        attempt: raises `SourceError`; one that brought something does not count as a failure in a row.
        retries: failures in a row after the first that are forgiven; the tries are bounded in any case.
        sleep: waits for so many seconds.
        notify: told before each wait, in a sentence.

    Raises:
        SourceError: the last one.
    """
    barren = 0
    for left in range(TRIES_PER_RETRY * retries, -1, -1):
        try:
            return attempt()
        except SourceError as failure:
            barren = 0 if failure.progress else barren + 1
            if not failure.retry or barren > retries or not left:
                raise
            reason, asked = failure.reason, failure.wait
        wait = _backoff(barren) if asked is None else min(asked, MAX_WAIT)
        notify(f"{reason}; trying again" + (f" in {wait:.0f} s" if wait >= 1 else ""))
        sleep(wait)
    raise AssertionError("the last try either returns or raises")


def _backoff(failures: int) -> float:
    # Random, so that the many builds of one CI run do not all come back at the same moment.
    return min(FIRST_WAIT * 2.0 ** max(failures - 1, 0) * random.uniform(1.0, 1.5), MAX_WAIT)  # noqa: S311


def read_retry_after(value: str) -> Optional[float]:
    """Return the seconds that a header ``Retry-After`` asks for; None where it is absent or not understood.

    Args:
        value: a number of seconds, or an HTTP date.
    """
    if value.strip().isdecimal():
        return float(value)
    if value:
        from email.utils import parsedate_to_datetime

        with contextlib.suppress(TypeError, ValueError, OverflowError):
            moment = parsedate_to_datetime(value).timestamp()
            return max(moment - time.time(), 0.0)
    return None
