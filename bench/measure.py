"""Measuring: laps of two sides in turn, and what their times come to. Knows nothing of Redis.

The machine's speed changes while a benchmark runs. So the sides take turns, each round gives one ratio of two laps
that were neighbours in time, and the median of those ratios is the result.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

Prepared = Callable[[], R]
"""One lap, ready to run."""


@dataclass(frozen=True, slots=True)
class Time:
    """Of one lap, in seconds. cpu: of this process, all its threads, user and system."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair(Generic[R]):
    """One lap of each side, and what it gave."""

    ours: Time
    hand: Time
    results: tuple[R, R]


@dataclass(frozen=True, slots=True)
class Summary:
    """Of all rounds. Ratios: hand-written time / our time, so that more than 1 means that ours is faster.

    low, high: quartiles of the ratio. ours, hand: operations per second, medians. rounds: how many.
    """

    ratio: float
    low: float
    high: float
    cpu_ratio: float
    ours: float
    hand: float
    rounds: int


def measured(lap: Prepared[R]) -> tuple[Time, R]:
    """Run one lap and take its time."""
    gc.collect()  # each lap pays for its own garbage only
    wall, cpu = time.perf_counter(), time.process_time()
    result = lap()
    return Time(time.perf_counter() - wall, time.process_time() - cpu), result


def in_turn(ours: Callable[[], Prepared[R]], hand: Callable[[], Prepared[R]], rounds: int) -> list[Pair[R]]:
    """Rounds of both sides, the first one of a round being the second of the next. What prepares is not timed."""
    pairs: list[Pair[R]] = []
    for number in range(rounds):
        if number % 2:
            hand_time, hand_result = measured(hand())
            our_time, our_result = measured(ours())
        else:
            our_time, our_result = measured(ours())
            hand_time, hand_result = measured(hand())
        pairs.append(Pair(our_time, hand_time, (our_result, hand_result)))
    return pairs


def summary(pairs: list[Pair[R]], operations: int) -> Summary:
    """The medians. operations: in one lap."""
    ratios = [pair.hand.wall / pair.ours.wall for pair in pairs]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratios[0]] * 3
    return Summary(
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        cpu_ratio=statistics.median(pair.hand.cpu / pair.ours.cpu for pair in pairs),
        ours=statistics.median(operations / pair.ours.wall for pair in pairs),
        hand=statistics.median(operations / pair.hand.wall for pair in pairs),
        rounds=len(pairs),
    )
