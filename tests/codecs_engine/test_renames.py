"""Classes and enum members that were renamed: what is stored under the former name is read."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pytest

from rapyer_codecs import DecodeError, Mapper, Packed, default_registry

T = TypeVar("T")


@dataclass
class Animal:
    name: str = ""


@dataclass
class Dog(Animal):
    __rapyer_former_tags__ = ("Hound", "Canine")
    tricks: int = 0


@dataclass
class Puppy(Dog):
    """Does not inherit the former names."""


@dataclass
class Rock:
    name: str = ""


@dataclass
class Pebble:
    __rapyer_former_tags__ = ("Stone",)
    name: str = ""


@dataclass
class Box(Generic[T]):
    __rapyer_former_tags__ = ("Crate",)
    content: T


class Color(enum.Enum):
    __rapyer_former_tags__ = ("Colour",)
    RED = "r"


@dataclass
class Zoo:
    star: Animal = field(default_factory=Animal)
    either: Rock | Pebble | Color | list[Pebble] | dict[str, Box[Pebble]] | Box[int] | None = None
    packed: Packed[Rock | Pebble | list[Pebble] | Animal | None] = None


ZOO: Mapper[Zoo] = default_registry.mapper(Zoo)


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ({"star": "~Hound:{}", "star.name": "a", "star.tricks": "2"}, Zoo(star=Dog("a", 2))),
        ({"star": "~Canine:{}", "star.name": "a", "star.tricks": "2"}, Zoo(star=Dog("a", 2))),
        ({"either": "~Stone:{}", "either.name": "a"}, Zoo(either=Pebble("a"))),
        ({"either": "~Colour:r"}, Zoo(either=Color.RED)),
        ({"either": "~list[Stone]:1", "either.0.name": "a"}, Zoo(either=[Pebble("a")])),
        (
            {"either": "~dict[str,Crate[Stone]]:{}", "either.k.content.name": "a"},
            Zoo(either={"k": Box(Pebble("a"))}),
        ),
        (
            {"either": "~dict[str,Box[Stone]]:{}", "either.k.content.name": "a"},
            Zoo(either={"k": Box(Pebble("a"))}),
        ),
        ({"either": "~Crate[int]:{}", "either.content": "3"}, Zoo(either=Box(3))),
        ({"packed": '{"~Stone":{"name":"a"}}'}, Zoo(packed=Pebble("a"))),
        ({"packed": '{"~list[Stone]":[{"name":"a"}]}'}, Zoo(packed=[Pebble("a")])),
        ({"packed": '{"~Animal":{"~Hound":{"name":"a","tricks":1}}}'}, Zoo(packed=Dog("a", 1))),
    ],
)
def test_a_former_tag_is_read_and_todays_is_written(former: dict[str, str], now: Zoo) -> None:
    stored = ZOO.dump(Zoo()) | {name.encode(): text.encode() for name, text in former.items()}
    assert ZOO.load(stored) == now
    (name, _), *_ = former.items()
    fresh = ZOO.dump(now)
    assert fresh.keys() >= {place.encode() for place in former if place != name}
    assert fresh[name.encode()] != stored[name.encode()]
    assert ZOO.load(fresh) == now
    diff = ZOO.diff(stored, fresh)
    assert {**stored, **diff.put}.keys() - set(diff.drop) == fresh.keys()


@pytest.mark.parametrize("tag", ["Wolf", "Puppy2", "Stone"])
def test_other_tags_are_still_unknown(tag: str) -> None:
    with pytest.raises(DecodeError):
        ZOO.load({b"star": f"~{tag}:{{}}".encode(), b"star.name": b"a"})


def test_a_name_that_a_class_has_now_is_nobodys_former_name() -> None:
    @dataclass
    class Base:
        pass

    @dataclass
    class Taken(Base):
        pass

    @dataclass
    class Thief(Base):
        __rapyer_former_tags__ = ("Taken", "Shared")
        number: int = 0

    @dataclass
    class Holder:
        it: Base = field(default_factory=Base)

    default_registry.names(Holder, locals())
    mapper = default_registry.mapper(Holder)
    assert type(mapper.load({b"it": b"~Taken:{}"}).it) is Taken
    assert type(mapper.load({b"it": b"~Shared:{}"}).it) is Thief

    @dataclass
    class Other(Base):
        __rapyer_former_tags__ = ("Shared",)

    with pytest.raises(DecodeError):
        mapper.load({b"it": b"~Shared:{}"})


def test_a_subclass_that_was_merged_into_its_base() -> None:
    @dataclass
    class Merged:
        __rapyer_former_tags__ = ("Special",)
        name: str = ""

    @dataclass
    class Holder:
        it: Merged

    default_registry.names(Holder, locals())
    mapper = default_registry.mapper(Holder)
    assert mapper.load({b"it": b"~Special:{}", b"it.name": b"a"}) == Holder(Merged("a"))


def test_former_names_are_a_tuple() -> None:
    @dataclass
    class Wrong:
        __rapyer_former_tags__ = "Old"

    @dataclass
    class Holder:
        it: Wrong = field(default_factory=Wrong)

    default_registry.names(Holder, locals())
    with pytest.raises(TypeError, match="tuple"):
        default_registry.check(Holder)


class ByValue(enum.Enum):
    NOW = "was"


class ByName(enum.Enum):
    """Values of several types, so that names are stored; an alias keeps a former name."""

    NOW = 1
    OTHER = "o"
    WAS = 1  # noqa: PIE796


@dataclass
class Enums:
    by_value: ByValue
    by_name: ByName
    keys: dict[ByName, int] = field(default_factory=dict)


def test_renamed_members_of_enums() -> None:
    mapper = default_registry.mapper(Enums)
    stored: Any = {b"by_value": b"was", b"by_name": b"WAS", b"keys": b"{}", b"keys.WAS": b"1"}
    assert mapper.load(stored) == Enums(ByValue.NOW, ByName.NOW, {ByName.NOW: 1})
    assert mapper.dump(mapper.load(stored)) == {
        b"by_value": b"was",
        b"by_name": b"NOW",
        b"keys": b"{}",
        b"keys.NOW": b"1",
    }
