"""Generated code and the shapes agree where generated code takes a short way: remembered texts, the order of
fields, lists and keys of unusual length, instances made without a call of __init__.
"""

from __future__ import annotations

import enum
import math
import random
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rapyer_codecs import DecodeError, EncodeError, Mapper, default_registry
from rapyer_codecs.generate import compile_class

from .strategies import classes_with_values
from .test_laws import LAW, mapper_of


@dataclass
class Inner:
    n: int = 0
    tags: list[str] = field(default_factory=list)


@dataclass
class Outer:
    name: str
    before: list[int] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    after: list[float] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)
    last: int = 0


OUTER: Mapper[Outer] = default_registry.mapper(Outer)


def generated(cls: type[Any]) -> Any:
    return compile_class(default_registry.mapper(cls).shape)


def shuffled(fields: dict[bytes, bytes], seed: int) -> dict[bytes, bytes]:
    names = list(fields)
    random.Random(seed).shuffle(names)
    return {name: fields[name] for name in names}


@LAW
@given(classes_with_values(), st.integers(0, 1000))
def test_the_order_of_fields_and_unknown_ones_do_not_matter(made: tuple[type[Any], list[Any]], seed: int) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    fields = mapper.dump(value)
    assert mapper.load(shuffled(fields, seed)) == value
    unknown = {b"not_a_field": b"1", b"not_a_field.0": b"", b"~": b"1"}
    assert mapper.load(shuffled({**fields, **unknown}, seed)) == value


@pytest.mark.parametrize("seed", range(20))
def test_entries_are_found_wherever_they_are(seed: int) -> None:
    value = Outer("a", [1, 2], {"k": "v", "a.b": "", "": "x"}, [0.5], Inner(3, ["t"]), 4)
    fields = shuffled(OUTER.dump(value), seed)
    assert generated(Outer).load(fields) == value
    extra = shuffled({**fields, b"old": b"1", b"notes.deep.name": b"1", b"before.7": b"1"}, seed)
    assert generated(Outer).load(extra) == generated(Outer).load_some(extra) == OUTER._load(extra) == value


def test_what_is_absent_has_its_default() -> None:
    fields = OUTER.dump(Outer("a", [1], {"k": "v"}))
    for gone in ("last", "inner.n", "notes", "before"):
        some = {name: text for name, text in fields.items() if name.decode() != gone}
        with pytest.raises(KeyError):
            generated(Outer).load(some)
        assert generated(Outer).load_some(some) == OUTER._load(some) == OUTER.load(some)


@pytest.mark.parametrize("length", [0, 1, 2, 63, 64, 65, 100, 101, 300])
def test_lists_of_any_length(length: int) -> None:
    value = Outer("a", list(range(length)), {}, [number / 2 for number in range(length)], Inner(0, ["x"] * length))
    fields = generated(Outer).dump(value)
    assert fields == OUTER._dump(value)
    assert generated(Outer).load(fields) == value


@pytest.mark.parametrize("key", ["", "k", "a.b", "~", "%", "\0", "é" * 40, "k" * 64, "k" * 65, "k" * 500])
def test_keys_of_any_kind_are_the_same_the_second_time(key: str) -> None:
    value = Outer("a", notes={key: "v", "other": ""})
    for _ in range(3):
        fields = OUTER.dump(value)
        assert fields == OUTER._dump(value)
        assert OUTER.load(fields) == value


@pytest.mark.parametrize("count", [1, 511, 512, 513, 2000])
def test_dicts_of_any_size(count: int) -> None:
    notes = {f"key{number}": "v" for number in range(count - 1)} | {"a.b": "w"}
    value = Outer("a", [1], notes, [2.5], Inner(3))
    fields = generated(Outer).dump(value)
    assert fields == OUTER._dump(value)
    stray = {**fields, b"notes.a.deep": b"1", b"other": b"2"}
    assert generated(Outer).load(fields) == generated(Outer).load(stray) == OUTER._load(stray) == value


def test_more_keys_than_are_remembered() -> None:
    for start in range(0, 4000, 500):
        value = Outer("a", notes={f"key{start + number}": str(number) for number in range(500)})
        fields = OUTER.dump(value)
        assert fields == OUTER._dump(value)
        assert OUTER.load(fields) == value


class Word(str):
    __slots__ = ()


class Name(enum.StrEnum):
    K = "k"


@pytest.mark.parametrize("key", [Word("k"), Name.K])
def test_a_key_that_only_equals_a_remembered_one_is_refused(key: str) -> None:
    OUTER.dump(Outer("a", notes={"k": "v"}))
    with pytest.raises(EncodeError):
        OUTER.dump(Outer("a", notes={key: "v"}))


@dataclass
class Number:
    real: float
    whole: int


NUMBER: Mapper[Number] = default_registry.mapper(Number)


@pytest.mark.parametrize(
    "texts",
    [
        [b"0.0", b"-0.0", b"0.0"],
        [b"-0.0", b"0.0", b"-0.0"],
        [b"nan", b"nan", b"1.5", b"1.5", b"inf", b"-inf", b"5e-324", b"1e+16"],
    ],
)
def test_remembered_floats_are_exact(texts: list[bytes]) -> None:
    for text in texts * 2:
        value: Any = NUMBER.load({b"real": text, b"whole": b"0"})
        assert repr(value.real).encode() == text
        assert NUMBER.dump(value)[b"real"] == text


@pytest.mark.parametrize("raw", [b"1.50", b"1", b"01.5", b" 1.5", b"1_0.0", b"1e16", b"+1.5", b"1.5\n", "٣.٥".encode()])
def test_floats_stay_strict_whatever_was_read_before(raw: bytes) -> None:
    NUMBER.load({b"real": b"1.5", b"whole": b"1"})
    with pytest.raises(DecodeError):
        NUMBER.load({b"real": raw, b"whole": b"1"})


@pytest.mark.parametrize("offset", ["+01:60", "-00:60", "+01:99", "-00:00", "+24:00", "+1:00", "Z"])
def test_offsets_of_datetimes_are_strict(offset: str) -> None:
    mapper: Mapper[Any] = default_registry.mapper(make_dataclass("Moment", [("at", datetime)]))
    with pytest.raises(DecodeError):
        mapper.load({b"at": f"2024-05-01T12:00:00{offset}".encode()})


@pytest.mark.parametrize("real", [1, True, 1.0])
def test_what_equals_a_remembered_float_is_no_float(real: Any) -> None:
    NUMBER.dump(Number(1.0, 0))
    if real is True:
        with pytest.raises(EncodeError):
            NUMBER.dump(Number(real, 0))
    else:
        assert NUMBER.dump(Number(real, 0))[b"real"] == b"1.0"


@pytest.mark.parametrize("whole", [0, 1, -1, 1023, 1024, 10**18 - 1, 10**18, -(10**18), 2**63, -(2**63) - 1, 10**1000])
def test_ints_of_any_size(whole: int) -> None:
    fields = NUMBER.dump(Number(math.pi, whole))
    assert fields == NUMBER._dump(Number(math.pi, whole))
    assert NUMBER.load(fields) == Number(math.pi, whole)


@pytest.mark.parametrize("whole", [True, 1.0, Word("1"), None])
def test_what_equals_a_small_int_is_no_int(whole: Any) -> None:
    with pytest.raises(EncodeError):
        NUMBER.dump(Number(1.0, whole))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 40])
def test_classes_with_few_and_many_fields(count: int) -> None:
    cls = make_dataclass(f"Of{count}", [(f"f{number}", int) for number in range(count)])
    value = cls(*range(count))
    fields = generated(cls).dump(value)
    assert fields == {f"f{number}".encode(): str(number).encode() for number in range(count)}
    assert generated(cls).load(fields) == value


@dataclass
class Slotted:
    __slots__ = ("a",)
    a: int


@dataclass(frozen=True)
class Frozen:
    a: int


@dataclass(kw_only=True)
class Keyword:
    a: int
    b: int = 2


@dataclass
class Watched:
    a: int
    seen = 0

    def __setattr__(self, name: str, value: Any) -> None:
        type(self).seen += 1
        object.__setattr__(self, name, value)


@dataclass
class Counted:
    a: int
    made = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Counted:
        cls.made += 1
        return object.__new__(cls)


@pytest.mark.parametrize("cls", [Slotted, Frozen, Watched, Counted])
def test_instances_are_made_as_their_class_says(cls: Any) -> None:
    value = default_registry.mapper(cls).load({b"a": b"7"})
    assert value == cls(7)
    assert type(value) is cls
    assert vars(value) == vars(cls(7)) if hasattr(value, "__dict__") else True


def test_setters_and_constructors_of_a_class_are_called() -> None:
    before = (Watched.seen, Counted.made)
    default_registry.mapper(Watched).load({b"a": b"7"})
    default_registry.mapper(Counted).load({b"a": b"7"})
    assert (Watched.seen, Counted.made) == (before[0] + 1, before[1] + 1)


def test_keyword_only_fields() -> None:
    assert default_registry.mapper(Keyword).load({b"a": b"1", b"b": b"3"}) == Keyword(a=1, b=3)


@dataclass
class Options:
    extra: Any = None
    plain: int = 0


@dataclass
class Holder:
    options: Options = field(default_factory=lambda: Options({"a": 1}, 5))


def test_a_default_of_what_holds_a_place_is_not_the_default_of_its_type() -> None:
    """An absent place that generated code reads by its shape."""
    mapper = default_registry.mapper(Holder)
    assert mapper.load({}) == Holder()
    assert mapper.load({b"options.plain": b"5"}) == mapper._load({b"options.plain": b"5"}) == Holder()
