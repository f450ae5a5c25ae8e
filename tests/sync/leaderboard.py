"""The classes of the leaderboard, and threads that start together. No tests here."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from rapyer_core.sync import Index, Key, redis_model

R = TypeVar("R")


class Achievement(enum.Enum):
    FIRST_WIN = "first_win"
    STREAK_10 = "streak_10"


@dataclass
class Stats:
    games: int = 0
    wins: int = 0
    average: float = 0.0


@redis_model(name="blocking_player")
@dataclass
class Player:
    username: Key[str]
    score: Index[int] = 0
    wins: int = 0
    coins: int = 0
    ratio: float = 0.0
    achievements: list[Achievement] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    metadata: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


def in_threads(count: int, function: Callable[[int], R]) -> list[R]:
    """`function(0)` to `function(count - 1)`, each in a thread of its own, all at once; their results, in order.

    The first exception is raised here, when all have ended.
    """
    ready = threading.Barrier(count)

    def run(number: int) -> R:
        ready.wait()
        return function(number)

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(run, number) for number in range(count)]
    return [future.result() for future in futures]
