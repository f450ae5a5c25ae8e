"""How long, and how often, a commit that met other writers is tried again; and the clock of all deadlines."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import check_count, check_flag, check_seconds, kind_of_value


def clock() -> float:
    """Seconds, never set back or forth. Goes on while the computer sleeps, as leases and tokens on the server do."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


LONGEST = 1e9
"""Seconds: more than 30 years. The limits of clocks, and of the server's times to live, are not far away."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When to stop trying, and how long to wait between tries.

    deadline: seconds in all. attempts: tries in all, None for no limit. base, cap: seconds; try n is followed by a
    random pause of 0 to min(cap, base * 2**n) ("full jitter", AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015).
    """

    deadline: float = 30.0
    attempts: int | None = None
    base: float = 0.001
    cap: float = 0.1

    def __post_init__(self) -> None:
        for name in ("deadline", "base", "cap"):
            check_seconds(f"{name} of Retry", getattr(self, name), LONGEST, or_zero=True)
        if self.attempts is not None:
            check_count("attempts of Retry", self.attempts, "tries", 1)

    def pauses(self) -> Iterator[float]:
        """The pauses between tries, in seconds; ends when no further try is due."""
        end = time.monotonic() + self.deadline
        tried = 0
        while True:
            tried += 1
            pause = random.uniform(0, min(self.cap, self.base * 2 ** min(tried, 30)))
            if (self.attempts is not None and tried >= self.attempts) or time.monotonic() + pause >= end:
                return
            yield pause


DEFAULT_RETRY = Retry()


def check_retry(retry: Any) -> None:
    """TypeError for what is no Retry."""
    if not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry, such as Retry(deadline=10), not {kind_of_value(retry)}")


def check_options(retry: Any, exactly_once: Any) -> None:
    """The same for how a write is done, each as the session says where it is None."""
    if retry is not None:
        check_retry(retry)
    if exactly_once is not None:
        check_flag("exactly_once", exactly_once)
