"""One place in a class: its names, defaults, presence, and values on plain objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import pytest

from rapyer_codecs import EncodeError, Item, MissingEntry, default_registry

from .classes import Movie


class Where(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Inner:
    a: int = 1
    b: str = "b"


@dataclass(frozen=True)
class Model:
    name: Annotated[str, "first", "second"]
    size: Annotated[Annotated[int, "inner"] | None, "outer"] = None
    inner: Inner = field(default_factory=lambda: Inner(a=7))
    bare: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    numbers: list[int] = field(default_factory=lambda: [1, 2])
    named: dict[str, Inner] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    where: Where = field(default=Where(1, 2))
    pair: tuple[int, str] = (1, "a")
    movie: Movie = field(default_factory=lambda: Movie(title="M", year=1931))


MAPPER = default_registry.mapper(Model)


def test_the_fields_of_a_class() -> None:
    first, second, *_ = MAPPER.fields
    assert (first.name, first.stored, first.metadata, first.has_default) == (
        "name",
        b"name",
        ("first", "second"),
        False,
    )
    assert (second.name, second.metadata, second.has_default) == ("size", ("outer", "inner"), True)


@pytest.mark.parametrize(
    ("steps", "text", "name", "kind", "sure"),
    [
        ((), "", b"", "record", True),
        (("name",), "name", b"name", "leaf", True),
        (("size",), "size", b"size", "union", True),
        (("inner", "a"), "inner.a", b"inner.a", "leaf", True),
        (("maybe",), "maybe", b"maybe", "union", True),
        (("maybe", "a"), "maybe.a", b"maybe.a", "leaf", False),
        (("numbers",), "numbers", b"numbers", "list", True),
        (("numbers", Item(0)), "numbers[0]", b"numbers.0", "leaf", False),
        (("named", Item("a.b"), "a"), 'named["a.b"].a', b"named.a%2Eb.a", "leaf", False),
        (("members",), "members", b"members", "set", True),
        (("where", "x"), "where.x", b"where.x", "leaf", True),
        (("pair", Item(1)), "pair[1]", b"pair.1", "leaf", False),
        (("movie", Item("title")), 'movie["title"]', b"movie.title", "leaf", True),
    ],
)
def test_a_place(steps: Any, text: str, name: bytes, kind: str, sure: bool) -> None:
    slot = MAPPER.slot(steps)
    assert (slot.text, slot.name, slot.shape.kind, slot.sure) == (text, name, kind, sure)
    assert slot.steps == steps
    if name:
        assert MAPPER.parse(name.decode()) == steps


def test_static_slots_are_what_attributes_reach() -> None:
    assert [slot.text for slot in MAPPER.static_slots()] == [
        "name",
        "size",
        "inner",
        "inner.a",
        "inner.b",
        "bare",
        "bare.a",
        "bare.b",
        "maybe",
        "numbers",
        "named",
        "members",
        "where",
        "where.x",
        "where.y",
        "pair",
        "movie",
    ]


@pytest.mark.parametrize(
    ("steps", "fields"),
    [
        (("name",), None),
        (("size",), {b"size": b"~"}),
        (("inner",), {b"inner.a": b"7", b"inner.b": b"b"}),
        (("inner", "a"), {b"inner.a": b"7"}),
        (("bare", "a"), {b"bare.a": b"1"}),
        (("numbers",), {b"numbers": b"2", b"numbers.0": b"1", b"numbers.1": b"2"}),
        (("numbers", Item(1)), {b"numbers.1": b"2"}),
        (("numbers", Item(5)), None),
        (("named", Item("k")), None),
        (("maybe", "a"), None),
        (("where", "y"), {b"where.y": b"2"}),
    ],
)
def test_the_default_of_a_place_comes_from_what_holds_it(steps: Any, fields: Any) -> None:
    assert MAPPER.slot(steps).default_fields() == fields


def test_a_place_that_was_never_stored_has_its_default() -> None:
    stored = {b"name": b"a"}
    assert MAPPER.slot(("inner", "a")).load(stored) == 7
    assert MAPPER.slot(("inner",)).load({b"inner.b": b"z"}) == Inner(7, "z")
    assert MAPPER.slot(("numbers", Item(1))).load(stored) == 2
    assert not MAPPER.slot(("inner",)).present(stored)
    assert MAPPER.load(stored) == Model("a")
    assert MAPPER.default_fields() == {name: text for name, text in MAPPER.dump(Model("a")).items() if name != b"name"}


@pytest.mark.parametrize(
    ("steps", "stored"),
    [
        (("named", Item("k")), {b"named": b"{}"}),
        (("named", Item("k"), "a"), {b"named": b"{}"}),
        (("numbers", Item(2)), {b"numbers": b"2", b"numbers.0": b"1", b"numbers.1": b"1"}),
        (("maybe", "a"), {b"maybe": b"~"}),
    ],
)
def test_a_place_that_this_object_does_not_have(steps: Any, stored: dict[bytes, bytes]) -> None:
    slot = MAPPER.slot(steps)
    assert not slot.present(stored)
    with pytest.raises(MissingEntry) as caught:
        slot.load(stored)
    assert caught.value.path == slot.text
    assert isinstance(caught.value, KeyError)


def test_a_place_is_read_from_the_fields_below_it_alone() -> None:
    assert MAPPER.slot(("named", Item("k"))).load({b"named.k.a": b"5", b"named.k.b": b"x"}) == Inner(5, "x")
    assert MAPPER.slot(("numbers", Item(0))).load({b"numbers.0": b"5"}) == 5


def test_one_field_is_encoded_and_decoded() -> None:
    size = MAPPER.slot(("size",))
    assert (size.encode(None), size.encode(5)) == (b"~", b"5")
    assert (size.decode(b"~"), size.decode(b"5")) == (None, 5)
    with pytest.raises(EncodeError, match=r"Model\.size: cannot store a str as int"):
        size.encode("5")


def test_entry_names() -> None:
    assert MAPPER.slot(("named",)).entry_name("a.b") == b"named.a%2Eb"
    assert MAPPER.slot(("members",)).entry_name(5) == b"members.5"
    assert MAPPER.slot(("numbers",)).entry_name(5) == b"numbers.5"


def test_values_on_plain_objects_frozen_ones_too() -> None:
    value = Model("a", named={"k": Inner()})
    for steps, new in [
        (("name",), "b"),
        (("inner", "a"), 9),
        (("named", Item("k"), "b"), "z"),
        (("named", Item("new")), Inner(3)),
        (("numbers", Item(1)), 8),
        (("where", "y"), 9),
        (("pair", Item(0)), 9),
        (("movie", Item("year")), 2000),
    ]:
        slot = MAPPER.slot(steps)
        slot.put(value, new)
        assert slot.get(value) == new
    assert value.where == Where(1, 9)
    assert value.pair == (9, "a")


def test_under() -> None:
    slot = MAPPER.slot(("inner",))
    assert slot.under(b"inner")
    assert slot.under(b"inner.a")
    assert not slot.under(b"innermost")
