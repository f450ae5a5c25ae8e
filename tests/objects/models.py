"""Models that several of these tests use."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rapyer_core import Index, Key, Packed, redis_model


def text(path: str) -> Any:
    """A path given as text, where the type of the function wants the field's own."""
    return path


class Achievement(enum.Enum):
    FIRST_WIN = "first_win"
    STREAK = "streak_10"


@dataclass
class Stats:
    wins: int = 0
    average: float = 0.0


@dataclass
class Hero:
    name: str
    hp: int = 10


@redis_model
@dataclass
class Player:
    username: Key[str]
    score: Index[int] = 0
    wins: int = 0
    coins: int = 0
    achievements: list[Achievement] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    metadata: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)


@redis_model
@dataclass
class Box:
    """A bit of everything."""

    name: Key[str]
    number: int = 0
    real: float = 0.0
    money: Decimal = Decimal(0)
    part: Fraction = Fraction(0)
    text: str = ""
    flag: bool = False
    maybe: int | None = None
    either: int | str = 0
    items: list[str] = field(default_factory=list)
    heroes: list[Hero] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    team: dict[str, Hero] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    hero: Hero | None = None
    list_or_none: list[int] | None = None
    dict_or_none: dict[str, int] | None = None
    packed: Packed[list[int]] = field(default_factory=list)
    nested: dict[str, list[int]] = field(default_factory=dict)
