"""Measuring: laps of several sides in turn, and what their times come to. Knows nothing of Redis.

The machine's speed changes while a benchmark runs. So the sides take turns, each round gives one ratio of laps that
were neighbours in time, and the median of those ratios is the result.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Time:
    """Of one lap, in seconds. cpu: of the processes that ran it, user and system; the server is not among them."""

    wall: float
    cpu: float


Lap = Callable[[], tuple[Time, R]]
"""One lap, ready to run."""

Prepare = Callable[[], Lap[R]]
"""Makes everything ready for a lap; not timed."""

Round = Mapping[str, Time]
"""One lap of each side, by its name."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Time of another side / time of ours: more than 1 means that ours is faster.

    low, high: quartiles. cpu: the same of CPU times; 0 if they were too short to be seen.
    """

    median: float
    low: float
    high: float
    cpu: float


def timed(run: Callable[[], R]) -> tuple[Time, R]:
    """Run it in this process and take its time."""
    gc.collect()  # each lap pays for its own garbage only
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Time(time.perf_counter() - wall, time.process_time() - cpu), result


def in_turn(
    sides: Mapping[str, Prepare[R]], rounds: int, check: Callable[[Mapping[str, R]], None] = lambda results: None
) -> list[Round]:
    """The times of so many rounds. check: gets each round's results; raises if they must not be.

    Each round starts with another side, and every second one goes backwards, so that no side always runs first or
    always after the same other one.
    """
    done: list[Round] = []
    names = list(sides)
    for number in range(rounds):
        first = number // 2 % len(names)
        order = names[first:] + names[:first]
        times: dict[str, Time] = {}
        results: dict[str, R] = {}
        for name in reversed(order) if number % 2 else order:
            times[name], results[name] = sides[name]()()
        check(results)
        done.append(times)
    return done


def ratio(rounds: Sequence[Round], ours: str, other: str) -> Ratio:
    """How much faster `ours` was than `other`."""
    ratios = [times[other].wall / times[ours].wall for times in rounds]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    cpu = [times[other].cpu / times[ours].cpu if times[ours].cpu else 0.0 for times in rounds]
    return Ratio(statistics.median(ratios), low, high, statistics.median(cpu))


def rate(rounds: Sequence[Round], side: str, operations: int) -> float:
    """Operations per second, the median. operations: in one lap."""
    return statistics.median(operations / times[side].wall for times in rounds)


def cpu_each(rounds: Sequence[Round], side: str, operations: int) -> float:
    """Seconds of CPU time for one operation, the median."""
    return statistics.median(times[side].cpu / operations for times in rounds)
