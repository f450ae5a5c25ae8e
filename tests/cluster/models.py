"""Models of these tests: some whose objects are on all nodes, and some with an index, for which they must not be."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from rapyer_core import AtomicRedisModel, Index, Key, redis_model


@dataclass
class Stats:
    wins: int = 0
    average: float = 0.0


@redis_model
@dataclass
class Player:
    """Nothing of it is kept outside the slot of its own key."""

    name: Key[str]
    coins: int = 0
    level: int = 1
    money: Decimal = Decimal(0)
    ratio: float = 0.0
    motto: str = ""
    stats: Stats = field(default_factory=Stats)
    awards: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


@redis_model(ttl=600)
@dataclass
class Visit:
    name: Key[str]
    seen: int = 0


@redis_model
@dataclass
class Ranked:
    """Its index is one sorted set for all objects."""

    name: Key[str]
    score: Index[int] = 0
    coins: int = 0


@redis_model(ttl=600)
@dataclass
class Season:
    """Its index knows when each object expires."""

    name: Key[str]
    score: Index[int] = 0


class Hero(AtomicRedisModel):
    name: Key[str]
    coins: int = 0
    friends: list[str] = []  # noqa: RUF012  # copied for each instance
    notes: dict[str, str] = {}  # noqa: RUF012  # copied for each instance
    stats: Stats = Stats()


NAMES = [f"p{number}" for number in range(60)]
"""Enough of them that every node has some."""
