"""Every row of the table of types: the literal stored form, and the exact value back from every kind of
place.
"""

from __future__ import annotations

import collections
import math
import typing
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from typing import Any, Union

import pytest

from rapyer_codecs import Item, Mapper, Registry, default_registry

from .classes import Box
from .type_table import TABLE, Row, optional, packed

CASES = [
    pytest.param(row, value, fields, id=f"{row.title}-{number}")
    for row in TABLE
    for number, (value, fields) in enumerate(row.examples)
]


def stored(fields: dict[str, str | bytes]) -> dict[bytes, bytes]:
    """Expected fields as bytes."""
    return {name.encode(): text if isinstance(text, bytes) else text.encode() for name, text in fields.items()}


def same(got: Any, expected: Any) -> bool:
    """Equal in type and value, contents included; nan is nan, and -0.0 is not 0.0."""
    if type(got) is not type(expected):
        return False
    if isinstance(expected, float):
        return math.isnan(got) if math.isnan(expected) else repr(got) == repr(expected)
    if isinstance(expected, (list, tuple, collections.deque)):
        bounds = getattr(got, "maxlen", None), getattr(expected, "maxlen", None)
        return (
            bounds[0] == bounds[1]
            and len(got) == len(expected)
            and all(same(a, b) for a, b in zip(got, expected, strict=True))
        )
    if isinstance(expected, dict):
        if isinstance(expected, collections.OrderedDict) and list(got) != list(expected):
            return False
        return got.keys() == expected.keys() and all(same(got[key], expected[key]) for key in expected)
    if hasattr(expected, "tzinfo"):
        return bool(got == expected) and (got.tzinfo, got.fold) == (expected.tzinfo, expected.fold)
    return bool(got == expected) or repr(got) == repr(expected)


def holder(hint: Any) -> type[Any]:
    """A dataclass with one field `x` of this type."""
    return make_dataclass("Holder", [("x", hint)], eq=False)


def assert_round_trip(hint: Any, value: Any, registry: Registry = default_registry) -> dict[bytes, bytes]:
    """Dump, load, compare; gives the stored fields."""
    cls = holder(hint)
    mapper = registry.mapper(cls)
    fields = mapper.dump(cls(value))
    loaded = mapper.load(fields)
    assert same(loaded.x, value)
    assert mapper.dump(loaded) == fields
    return fields


@pytest.mark.parametrize(("row", "value", "fields"), CASES)
def test_stored_form_is_literally_this(row: Row, value: Any, fields: dict[str, str | bytes]) -> None:
    assert assert_round_trip(row.hint, value) == stored(fields)


@dataclass
class Other:
    """Something else that may be in a union."""

    number: int = 0


def containers(hint: Any, value: Any) -> Iterator[tuple[str, Any, Any]]:
    """The value in every kind of place."""
    yield "Optional", optional[hint], value
    yield "Optional, None", optional[hint], None
    yield "list", list[hint], [value, value]
    yield "tuple", tuple[hint, int], (value, 1)
    yield "tuple...", tuple[hint, ...], (value,)
    yield "deque", collections.deque[hint], collections.deque([value], maxlen=2)
    yield "dict", dict[str, hint], {"a.b": value, "": value}
    yield "OrderedDict", collections.OrderedDict[str, hint], collections.OrderedDict(b=value, a=value)
    yield "defaultdict", collections.defaultdict[str, hint], collections.defaultdict(None, {"k": value})
    yield "list of Optional", list[optional[hint]], [None, value]
    yield "dict of lists", dict[str, list[hint]], {"a": [value], "b": []}
    yield "Optional list", optional[list[hint]], [value]
    yield "list of dicts", list[dict[str, hint]], [{"k": value}, {}]
    yield "union, first", Union[hint, Other], value  # noqa: UP007  # None has no |
    yield "union, second", Union[Other, hint], value  # noqa: UP007
    yield "generic class", Box[hint], Box(value)
    yield "Packed", packed[hint], value
    yield "Optional Packed", optional[packed[hint]], value
    yield "Packed list", packed[list[optional[hint]]], [value, None]
    if is_hashable(value):
        yield "dict key", dict[hint, int], {value: 1}
        yield "set member", set[hint], {value}
        yield "frozenset member", frozenset[hint], frozenset({value})
        yield "Packed dict key", packed[dict[hint, int]], {value: 1}


def is_hashable(value: Any) -> bool:
    """Whether a value can be a key, and found again there: nan cannot."""
    try:
        hash(value)
    except TypeError:
        return False
    return bool(value == value)


@pytest.mark.parametrize(("row", "value", "fields"), CASES)
def test_comes_back_exactly_from_every_container(row: Row, value: Any, fields: object) -> None:
    for title, hint, wrapped in containers(row.hint, value):
        cls = holder(hint)
        mapper = default_registry.mapper(cls)
        dumped = mapper.dump(cls(wrapped))
        loaded = mapper.load(dumped).x
        if title in ("set member", "frozenset member"):
            assert [type(member) for member in loaded] == [type(value)], title
            assert loaded == wrapped, title
        elif title == "defaultdict":
            assert same(dict(loaded), dict(wrapped)), title
        else:
            assert same(loaded, wrapped), title
        assert mapper.dump(mapper.load(dumped)) == dumped, title


@pytest.mark.parametrize(("row", "value", "fields"), CASES)
def test_annotations_may_be_strings(row: Row, value: Any, fields: dict[str, str | bytes]) -> None:
    """As `from __future__ import annotations` makes them, for a name that is not in any module."""
    cls = make_dataclass("Holder", [("x", "Optional[Hint]")], eq=False)
    registry = default_registry.child()
    registry.names(cls, {"Hint": row.hint, "Optional": typing.Optional})
    mapper: Mapper[Any] = registry.mapper(cls)
    assert same(mapper.load(mapper.dump(cls(value))).x, value)


@pytest.mark.parametrize(("row", "value", "fields"), CASES)
def test_one_place_alone_is_stored_as_in_the_whole(row: Row, value: Any, fields: Any) -> None:
    cls = holder(row.hint)
    mapper = default_registry.mapper(cls)
    slot = mapper.slot(("x",))
    assert slot.dump(value) == stored(fields)
    assert slot.present(stored(fields))
    assert same(slot.load(stored(fields)), value)
    hint: Any = row.hint
    keyed = default_registry.mapper(holder(dict[str, hint])).slot(("x", Item("k.")))
    assert same(keyed.load({b"x": b"{}", **keyed.dump(value)}), value)
