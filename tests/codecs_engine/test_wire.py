"""Framed fields and flat pairs: what goes to and comes from a server as it is says the same as dump and load."""

from __future__ import annotations

import enum
import random
import tracemalloc
from dataclasses import dataclass, field, make_dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_codecs import EncodeError, LimitExceeded, Limits, Mapper, Registry, default_registry
from rapyer_codecs.framing import framed_object, unframed
from rapyer_codecs.generate import _Uncommon, compile_class

from .strategies import classes_with_values
from .test_laws import LAW, mapper_of

Fields = dict[bytes, bytes]


@dataclass
class Inner:
    n: int = 0
    note: str | None = None


@dataclass
class Wide:
    """A container of each kind between the plain fields."""

    name: str
    marks: list[int] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)
    last: float = 0.0


@dataclass
class Mixed:
    """With what has no place of its own in a flat reply."""

    name: str
    marks: list[int] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    inners: list[Inner] = field(default_factory=list)
    maybe: Inner | None = None
    one: dict[str, int] = field(default_factory=dict)
    two: dict[int, str] = field(default_factory=dict)


@dataclass
class Later(Inner):
    pass


@dataclass
class Crowd:
    name: str
    several: list[Inner] = field(default_factory=list)


@dataclass
class Named:
    name: str
    by_name: dict[str, Inner] = field(default_factory=dict)


WIDE: Mapper[Wide] = default_registry.mapper(Wide)
MIXED: Mapper[Mixed] = default_registry.mapper(Mixed)
WIDE_CODE, MIXED_CODE = compile_class(WIDE.shape), compile_class(MIXED.shape)


FRONT = "\r\n$3\r\nPUT\r\n$1\r\nk\r\n$1\r\n~\r\n$1\r\n1"
"""Four texts of the layer above."""


def pairs_of(fields: Fields) -> list[bytes]:
    """A flat reply with a field of the layer above in front."""
    return [b"~", b"1", *(part for pair in fields.items() for part in pair)]


def wire_order(mapper: Mapper[Any], value: Any) -> Fields:
    return unframed(mapper.frame(value, FRONT))


def test_a_framed_object() -> None:
    whole = default_registry.mapper(Inner).frame(Inner(42, "x" * 300), FRONT)
    front = b"*8\r\n$3\r\nPUT\r\n$1\r\nk\r\n$1\r\n~\r\n$1\r\n1"
    assert whole == front + b"\r\n$1\r\nn\r\n$2\r\n42\r\n$4\r\nnote\r\n$300\r\n" + b"x" * 300 + b"\r\n"
    assert unframed(whole) == {b"n": b"42", b"note": b"x" * 300}


@given(st.dictionaries(st.binary(min_size=1), st.binary()))
def test_unframed_is_the_inverse_of_framed(fields: Fields) -> None:
    assert unframed(framed_object(FRONT, fields)) == fields


class Sign(enum.Enum):
    TILDE = "~"
    WORD = "word"


@dataclass
class Optionals:
    uid: UUID | None = None
    money: Decimal | None = None
    raw: bytes | None = None
    sign: Sign | None = None
    text: str | None = None
    real: float | None = None


@pytest.mark.parametrize(
    "value",
    [
        Optionals(),
        Optionals(uid=UUID(int=5)),
        Optionals(money=Decimal("1.50")),
        Optionals(raw=b"a\r\n\xff"),
        Optionals(raw=b"~"),
        Optionals(sign=Sign.TILDE),
        Optionals(sign=Sign.WORD, text="~\u20ac", real=-0.0),
    ],
)
def test_generated_code_frames_any_optional_leaf(value: Optionals) -> None:
    mapper = default_registry.mapper(Optionals)
    assert unframed(mapper.frame_common(value, FRONT)) == mapper.dump(value)


@LAW
@given(classes_with_values())
def test_frames_say_what_dump_says(made: tuple[type[Any], list[Any]]) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    assert unframed(mapper.frame(value, FRONT)) == mapper.dump(value)


@LAW
@given(classes_with_values(), st.integers(0, 1000), st.booleans())
def test_pairs_in_any_order_load_as_their_dict_or_not_at_all(
    made: tuple[type[Any], list[Any]], seed: int, strange: bool
) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    fields = wire_order(mapper, value)
    items = list(fields.items())
    chance = random.Random(seed)
    if strange:
        items += [(b"no_field", b"1"), (b"no_field.0", b"")]
    if seed % 3:
        start = chance.randrange(len(items) + 1)
        items[start:] = chance.sample(items[start:], len(items) - start)
    try:
        loaded = mapper.load_pairs(pairs_of(dict(items)))
    except Exception:
        return
    assert loaded == mapper.load(fields) == value
    assert type(loaded) is cls


FIXED = [
    Wide("a", [1, 2], {"k": "v", "a.b": ""}, ["w"], Inner(3), 0.5),
    Mixed("a", [1], {"x"}, [Inner(1), Later(2)], Inner(3), {"k": 1}, {7: "v"}),
    Crowd("a", [Inner(1), Later(2)]),
    Named("a", {"k": Inner(1), "l": Later(2)}),
]
STRANGE = [b"", b"0", b"01", b"-0.0", b"~", b"~:", b"~Lion:{}", b"{}", b"2", b"nan", b"\xff", b"99999999999"]
TAILS = [b".0", b".1", b".x", b".%", b".%41", b".x.y", b".", b".\xff", b"x"]


@LAW
@given(
    classes_with_values() | st.sampled_from(FIXED).map(lambda value: (type(value), [value])),
    st.randoms(use_true_random=False),
)
def test_strange_pairs_load_as_by_the_shapes_or_not_at_all(
    made: tuple[type[Any], list[Any]], chance: random.Random
) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    items = list(wire_order(mapper, value).items())
    for _ in range(10):
        fields = dict(items)
        for name, _ in chance.sample(items, min(len(items), chance.randrange(3))):
            if chance.random() < 0.5:
                fields[name] = chance.choice(STRANGE)
            elif chance.random() < 0.5:
                del fields[name]
            else:
                fields[name + chance.choice(TAILS)] = chance.choice(STRANGE)
        try:
            loaded = mapper.load_pairs(pairs_of(fields))
        except Exception:
            continue
        expected = mapper._load(fields)
        assert type(loaded) is cls
        assert mapper._dump(loaded) == mapper._dump(expected)


VALUES = [
    Wide("a"),
    Wide("a", [1, 2], {"k": "v", "a.b": "", "": "x"}, ["w"], Inner(3, "~"), 0.5),
    Wide(
        "é", list(range(300)), {f"key{number}": "v" for number in range(700)}, ["x"] * 65, Inner(-(2**70)), float("inf")
    ),
    Wide("x" * 255, [0], {"k" * 65: "v" * 256}, ["x" * 257]),
]


@pytest.mark.parametrize("value", VALUES)
def test_what_was_framed_is_read_where_it_was_put(value: Wide) -> None:
    for _ in range(3):
        fields = unframed(WIDE_CODE.frame(value, FRONT))
        assert fields == WIDE._dump(value)
        assert WIDE_CODE.load_pairs(pairs_of(fields)) == value


def test_elements_and_entries_that_came_and_went_are_found() -> None:
    value = Wide("a", [1, 2], {"k": "v", "gone": "x"}, ["w"], Inner(3))
    fields = wire_order(WIDE, value)
    fields |= {b"marks": b"3", b"words": b"0", b"marks.2": b"7", b"notes.later": b"y"}
    del fields[b"words.0"], fields[b"notes.gone"]
    assert WIDE_CODE.load_pairs(pairs_of(fields)) == Wide("a", [1, 2, 7], {"k": "v", "later": "y"}, [], Inner(3))


@pytest.mark.parametrize(
    "value",
    [
        Mixed("a"),
        Mixed("a", [1], {"x", ""}, [Inner(1), Inner(2, "n")], Inner(3), {"k": 1}, {7: "v"}),
        Mixed("a", [], {"x"}, [Inner()] * 70, None, {"k.l": 1, "m": 2}, {}),
    ],
)
def test_what_has_no_place_of_its_own_is_found_by_name(value: Mixed) -> None:
    fields = wire_order(MIXED, value)
    assert fields == MIXED._dump(value)
    assert MIXED_CODE.load_pairs(pairs_of(fields)) == value


@pytest.mark.parametrize(
    "change",
    [
        {b"old": b"1"},  # a field that the class does not know: nothing of it is lost on the object, but it is not here
        {b"inner": b"~Other:{}"},
        {b"notes": b"~"},
        {b"marks": b"4"},
        {b"marks": b"-1"},
        {b"marks": b"01"},
        {b"marks.0": b"01"},
        {b"last": b"1"},
        {b"notes.%zz": b"x"},
        {b"notes.k.deeper": b"x"},
    ],
)
def test_what_is_unusual_is_left_to_load(change: Fields) -> None:
    fields = wire_order(WIDE, Wide("a", [1], {"k": "v"})) | change
    try:
        expected: Any = WIDE.load(fields)
    except Exception as error:
        expected = type(error)
    try:
        found: Any = WIDE.load_pairs(pairs_of(fields))
    except Exception:
        return
    assert found == expected


def test_a_length_beyond_what_is_there_costs_nothing() -> None:
    pairs = pairs_of(wire_order(WIDE, Wide("a", [1])) | {b"marks": b"2000000"})
    tracemalloc.start()
    try:
        with pytest.raises(_Uncommon):
            WIDE_CODE.load_pairs(pairs)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_absent_field_is_left_to_load() -> None:
    fields = wire_order(WIDE, Wide("a", [1], {"k": "v"}))
    for name in fields:
        some = {other: text for other, text in fields.items() if other != name}
        try:
            found = WIDE.load_pairs(pairs_of(some))
        except Exception:
            continue
        assert found == WIDE.load(some)


@pytest.mark.parametrize(
    "value",
    [
        Wide("a", notes={1: "x"}),  # type: ignore[dict-item]  # wrong on purpose, as all of them
        Wide("a", marks=[True]),
        Wide("a", marks=(1,)),  # type: ignore[arg-type]
        Wide(b"a"),  # type: ignore[arg-type]
        Wide("\ud800"),
        Wide("a", notes={"k": None}),  # type: ignore[dict-item]
    ],
)
def test_what_cannot_be_stored_is_refused_as_by_dump(value: Wide) -> None:
    with pytest.raises(EncodeError) as dumped:
        WIDE.dump(value)
    with pytest.raises(EncodeError) as framed_:
        WIDE.frame(value, FRONT)
    assert str(framed_.value) == str(dumped.value)


def test_a_subclass_in_a_field_is_framed_with_its_tag() -> None:
    value = Wide("a", inner=Later(1))
    fields = unframed(WIDE.frame(value, FRONT))
    assert fields == WIDE.dump(value)
    assert fields[b"inner"] == b"~Later:{}"


@pytest.mark.parametrize(
    "value", [Crowd("a", [Inner(1), Later(2)]), Crowd("a", [Later(1)]), Named("a", {"k": Inner(1), "l": Later(2)})]
)
def test_a_subclass_in_a_container_is_read_as_what_it_is(value: Any) -> None:
    mapper = mapper_of(type(value))
    pairs = pairs_of(wire_order(mapper, value))
    try:
        found = mapper.load_pairs(pairs)
    except _Uncommon:
        return
    assert found == value


def test_limits_count_for_frames_and_pairs() -> None:
    limits = Limits(value=300, fields=20)
    mapper = Registry(limits=limits, parent=default_registry).mapper(Wide)
    assert mapper.load(unframed(mapper.frame(Wide("x" * 300), FRONT))) == Wide("x" * 300)
    long = "x" * 301
    for value in (Wide(long), Wide("a", list(range(20))), Wide("a", words=[long]), Wide("a", notes={"k": long})):
        with pytest.raises(LimitExceeded):
            mapper.frame(value, FRONT)
    for value in (Wide(long), Wide("a", words=["x"] * (limits.readable + 1))):
        pairs = pairs_of(unframed(WIDE.frame(value, FRONT)))
        assert WIDE.load_pairs(pairs) == value
        with pytest.raises(_Uncommon):
            mapper.load_pairs(pairs)


@pytest.mark.parametrize("way", ["pairs", "fields"])
def test_entries_are_read_with_other_keys_than_the_last_ones(way: str) -> None:
    notes: list[dict[str, str]] = [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
        {"b": "5", "a": "6"},
        {},
        {},
        {"a": "7"},
        {"a": "8", "b": "9", "c.d": "10"},
        {"a": "11", "b": "12", "c.d": "13"},
        {f"k{number}": str(number) for number in range(70)},
        {f"k{number}": str(-number) for number in range(70)},
        {"k" * 250: "14"},
        {"a": "15", "b": "16"},
    ]
    cls = make_dataclass("Noted", [("name", str), ("notes", dict[str, str])])
    mapper: Mapper[Any] = default_registry.mapper(cls)
    load: Any = mapper.load if way == "fields" else lambda fields: mapper.load_pairs(pairs_of(fields))
    found = [load(wire_order(mapper, cls("n", each))) for each in notes]
    assert [list(value.notes.items()) for value in found] == [list(each.items()) for each in notes]
    found[0].notes["a"] = "changed"
    found[1].notes["new"] = "x"
    again = load(wire_order(mapper, cls("n", {"a": "1", "b": "2"})))
    assert again.notes == {"a": "1", "b": "2"}


@pytest.mark.parametrize("way", ["pairs", "fields"])
def test_names_that_were_met_last_are_read_as_strictly(way: str) -> None:
    cls = make_dataclass("Counted", [("name", str), ("counts", dict[str, int])])
    mapper: Mapper[Any] = default_registry.mapper(cls)
    fields = wire_order(mapper, cls("n", {"a": 1, "b": 2}))
    load: Any = compile_class(mapper.shape).load
    if way == "pairs":
        load_pairs = compile_class(mapper.shape).load_pairs
        load = lambda fields: load_pairs(pairs_of(fields))  # noqa: E731
    for _ in range(2):
        assert load(fields).counts == {"a": 1, "b": 2}
        with pytest.raises(ValueError):
            load({**fields, b"counts.b": b"02"})
