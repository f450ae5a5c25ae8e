"""How long, and how often, a commit that met other writers is tried again; and the clock of all deadlines."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from rapyer_codecs.lean import dataclass


def clock() -> float:
    """Seconds, never set back or forth. Goes on while the computer sleeps, as leases and tokens on the server do."""
    return time.clock_gettime(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


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
        if self.deadline < 0 or self.base < 0 or self.cap < 0:
            raise ValueError("deadline, base and cap are seconds, 0 or more")
        if self.attempts is not None and self.attempts < 1:
            raise ValueError("attempts counts tries: 1 or more, or None")

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
