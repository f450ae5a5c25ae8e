"""Classes of every shape that the tests store. Their annotations are strings, as with any `from __future__`
module.
"""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass, field
from typing import ClassVar, Final, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
from typing_extensions import TypeAliasType

T = TypeVar("T")
UserId = NewType("UserId", int)
Names = TypeAliasType("Names", list[str])


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    READ = "r"
    WRITE = "w"


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Corner(enum.Enum):
    ORIGIN = (0, 0)
    FAR = (1, 1)


class Right(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


class Bits(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Stats:
    wins: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@dataclass
class Cat:
    name: str


@dataclass
class Dog:
    name: str


@dataclass
class Animal:
    name: str = ""


@dataclass
class Lion(Animal):
    mane: bool = True


@dataclass
class Node:
    value: int
    next: Node | None = None


@dataclass
class Tree:
    label: str
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    item: T


@dataclass
class IntBox(Box[int]):
    label: str = ""


@dataclass(slots=True)
class Slotted:
    x: int
    y: str = "a"


@dataclass(kw_only=True)
class Keyword:
    a: int
    b: str = "b"


@dataclass
class Empty:
    pass


@dataclass
class Computed:
    base: int
    doubled: int = field(init=False)
    calls: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self.doubled = self.base * 2


@dataclass
class Seeded:
    value: int = field(init=False, default=0)
    seed: InitVar[int] = 1

    def __post_init__(self, seed: int) -> None:
        self.value = seed


@dataclass
class Opened:
    """An InitVar without a default: nothing can call its __init__ again."""

    source: InitVar[str]
    length: int = field(init=False)

    def __post_init__(self, source: str) -> None:
        self.length = len(source)


@dataclass(init=False)
class HandMade:
    total: int

    def __init__(self, *numbers: int) -> None:
        self.total = sum(numbers)


@dataclass
class Constant:
    version: Final[int] = 1


@attrs.define
class Engine:
    power: int
    _serial: str = "x"


@attrs.frozen
class Wheel:
    size: int = attrs.field(converter=int)


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Movie(TypedDict):
    title: str
    year: int


class Draft(TypedDict, total=False):
    title: str
    pages: int


class Partly(TypedDict):
    title: str
    pages: NotRequired[int]


class Settings(pydantic.BaseModel):
    theme: str
    size: int = 12


class Vector(msgspec.Struct):
    x: int
    y: int


class Coin:
    """A class with nothing but a codec."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coin) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)

    def __repr__(self) -> str:
        return f"Coin({self.cents})"
