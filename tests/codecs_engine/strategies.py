"""Random classes with random values: a type is a hint together with a strategy of its values."""

from __future__ import annotations

import collections
import dataclasses
import enum
import string
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from . import classes as c
from .type_table import optional, packed


class Typed(NamedTuple):
    """A hint and its values. `hashable`: they may be keys and members, and equal values are the same key."""

    hint: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True


TEXT = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["", "~", "~:", "~str:1", "null", "0", "true", "{}", "a.b", "*", "%", "%41", "[0]", "\0", "é", "{}.x", "~=1"]
)
INTS = st.integers() | st.sampled_from([0, 1, -1, 2**63, -(2**63) - 1, 10**30])


class Suit(enum.Enum):
    A = "~a"
    B = ""


LEAVES = [
    Typed(int, INTS),
    Typed(str, TEXT),
    Typed(bool, st.booleans()),
    Typed(bytes, st.binary(max_size=6)),
    Typed(float, st.floats(allow_nan=False)),
    Typed(Decimal, st.decimals(allow_nan=False)),
    Typed(Fraction, st.fractions()),
    Typed(date, st.dates()),
    Typed(datetime, st.datetimes()),
    Typed(time, st.times()),
    Typed(timedelta, st.timedeltas()),
    Typed(UUID, st.uuids()),
    Typed(c.Colour, st.sampled_from(c.Colour)),
    Typed(Suit, st.sampled_from(Suit)),
    Typed(c.Right, st.integers(0, 7).map(c.Right)),
    Typed(Literal["~", "b"], st.sampled_from(["~", "b"])),
    Typed(c.Point, st.builds(c.Point, INTS, INTS)),
    Typed(complex, st.complex_numbers(allow_nan=False)),
    Typed(c.Level, st.sampled_from(c.Level)),
    Typed(c.Mode, st.sampled_from(c.Mode)),
    Typed(c.Bits, st.integers(0, 3).map(c.Bits)),
    Typed(IPv4Address, st.ip_addresses(v=4)),
    Typed(IPv6Address, st.ip_addresses(v=6)),
    Typed(PurePosixPath, st.text("ab.", min_size=1, max_size=4).map(PurePosixPath)),
    Typed(bytearray, st.binary(max_size=6).map(bytearray), hashable=False),
]
JSON = st.recursive(
    st.none() | st.booleans() | INTS | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT | INTS, inner, max_size=2),
    max_leaves=4,
)
OTHERS = [
    Typed(Any, JSON, hashable=False),
    Typed(c.Stats, st.builds(c.Stats, INTS, INTS), hashable=False),
    Typed(
        c.Animal,
        st.builds(c.Animal, TEXT) | st.builds(c.Lion, TEXT, st.booleans()),
        hashable=False,
    ),
    Typed(c.Cat | c.Dog, st.builds(c.Cat, TEXT) | st.builds(c.Dog, TEXT), hashable=False),
    Typed(c.Empty, st.builds(c.Empty), hashable=False),
    Typed(c.Node, st.builds(c.Node, INTS, st.none() | st.builds(c.Node, INTS)), hashable=False),
    Typed(c.Pair, st.builds(c.Pair, INTS, TEXT)),
    Typed(c.Engine, st.builds(c.Engine, INTS, TEXT), hashable=False),
    Typed(c.Slotted, st.builds(c.Slotted, INTS, TEXT), hashable=False),
    Typed(c.Keyword, st.builds(c.Keyword, a=INTS, b=TEXT), hashable=False),
    Typed(c.Wheel, st.builds(c.Wheel, INTS)),
    Typed(c.Box[int], st.builds(c.Box, INTS), hashable=False),
    Typed(c.Tree, st.builds(c.Tree, TEXT, st.lists(st.builds(c.Tree, TEXT), max_size=2)), hashable=False),
    Typed(c.Movie, st.fixed_dictionaries({"title": TEXT, "year": INTS}), hashable=False),
    Typed(c.Draft, st.fixed_dictionaries({}, optional={"title": TEXT, "pages": INTS}), hashable=False),
]


def _several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=3)


def _containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return inner.flatmap(lambda typed: st.sampled_from(list(_around(typed))))


def _around(typed: Typed) -> list[Typed]:
    hint: Any = typed.hint
    values, hashable = typed.values, typed.hashable
    items = _several(values)
    found = [
        Typed(list[hint], items, hashable=False),
        Typed(optional[hint], st.none() | values, hashable),
        Typed(tuple[hint, ...], items.map(tuple), hashable),
        Typed(tuple[hint, int], st.tuples(values, INTS), hashable),
        Typed(collections.deque[hint], items.map(lambda i: collections.deque(i, 4)), hashable=False),
        Typed(dict[str, hint], st.dictionaries(TEXT, values, max_size=3), hashable=False),
        Typed(dict[int, hint], st.dictionaries(INTS, values, max_size=3), hashable=False),
        Typed(
            collections.OrderedDict[str, hint],
            st.dictionaries(TEXT, values, max_size=3).map(collections.OrderedDict),
            hashable=False,
        ),
        Typed(
            collections.defaultdict[str, hint],
            st.dictionaries(TEXT, values, max_size=3).map(lambda items: collections.defaultdict(None, items)),
            hashable=False,
        ),
        Typed(packed[hint], values, hashable),
    ]
    if hint not in (str, Any) and typed not in OTHERS:
        found.append(Typed(hint | str, values.filter(lambda value: type(value) is not str) | TEXT, hashable))
    if hashable:
        found += [
            Typed(set[hint], items.map(set), hashable=False),
            Typed(frozenset[hint], items.map(frozenset)),
            Typed(dict[hint, int], st.dictionaries(values, INTS, max_size=3), hashable=False),
            # Of equal Counters one may have a key with 0.
            Typed(
                collections.Counter[hint],
                st.dictionaries(values, st.integers(1), max_size=3).map(collections.Counter),
                hashable=False,
            ),
        ]
    return found


TYPED = st.recursive(st.sampled_from(LEAVES + OTHERS), _containers, max_leaves=3)


@st.composite
def classes_with_values(draw: st.DrawFn, count: int = 1) -> tuple[type[Any], list[Any]]:
    """A dataclass of up to four fields, the last in a nested dataclass perhaps, and instances of it."""
    fields = draw(st.lists(TYPED, min_size=1, max_size=4))
    option = draw(st.sampled_from(["eq", "frozen", "slots", "kw_only"]))
    named = [(f"f_{letter}", typed.hint) for letter, typed in zip(string.ascii_lowercase, fields, strict=False)]
    cls: type[Any] = dataclasses.dataclass(**{option: True})(
        type("Generated", (), {"__annotations__": dict(named), "__module__": __name__})
    )
    made = [
        cls(**{name: draw(typed.values) for (name, _), typed in zip(named, fields, strict=True)}) for _ in range(count)
    ]
    if draw(st.booleans()):
        outer: type[Any] = make_dataclass("Outer", [("number", int), ("inner", cls)])
        return outer, [outer(draw(INTS), value) for value in made]
    return cls, made
