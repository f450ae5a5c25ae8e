"""The models of the tests of this folder."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rapyer_core import Index, Key, Packed, redis_model


class Award(enum.Enum):
    FIRST = "first"
    STREAK = "streak"


@dataclass
class Stats:
    games: int = 0
    wins: int = 0
    average: float = 0.0

    def won(self) -> None:
        self.games += 1
        self.wins += 1


@dataclass
class Unit:
    name: str
    hp: int = 10
    tags: list[str] = field(default_factory=list)


@dataclass
class Options:
    colour: str = "red"
    sizes: list[int] = field(default_factory=list)


@redis_model
@dataclass
class Player:
    name: Key[str]
    score: Index[int] = 0
    coins: int = 0
    wins: int = 0
    ratio: float = 0.0
    wealth: Decimal = Decimal(0)
    motto: str = ""
    blob: bytes = b""
    since: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    played: timedelta = timedelta()
    active: bool = False
    rank: Award | None = None
    best: int | None = None
    limit: float | None = None
    stats: Stats = field(default_factory=Stats)
    pet: Unit | None = None
    awards: list[Award] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    squad: list[Unit] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    bench: dict[str, Unit] = field(default_factory=dict)
    lists: dict[str, list[int]] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    options: Packed[Options] = field(default_factory=Options)
    recent: deque[int] = field(default_factory=deque)

    def win(self, points: int) -> int:
        self.score += points
        self.stats.won()
        return points

    @property
    def level(self) -> int:
        return self.score // 100

    @level.setter
    def level(self, value: int) -> None:
        self.score = value * 100


@redis_model
@dataclass
class Account:
    owner: Key[str]
    coins: int = 0


@redis_model
@dataclass(frozen=True)
class Fixed:
    name: Key[str]
    value: int = 0


def full(name: str = "p", **values: Any) -> Player:
    """A player with something in each container."""
    made: dict[str, Any] = {
        "coins": 100,
        "numbers": [1, 2, 3],
        "squad": [Unit("a"), Unit("b"), Unit("c")],
        "meta": {"k": "v"},
        "counters": {"k": 1},
        "bench": {"x": Unit("x")},
        "lists": {"l": [1]},
        "tags": {"t"},
        "best": 5,
        "pet": Unit("cat"),
        "motto": "go",
        "recent": deque([1, 2]),
    }
    return Player(name, **{**made, **values})
