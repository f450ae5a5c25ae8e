"""The registry: whose codec counts, when, and for what."""

from __future__ import annotations

import collections
import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import attrs
import pytest

from rapyer_codecs import (
    Alias,
    Codec,
    DecodeError,
    EncodeError,
    LimitExceeded,
    Mapper,
    Packed,
    Registry,
    UnsupportedType,
    default_registry,
    register_codec,
)
from rapyer_codecs.generate import compile_class
from rapyer_codecs.testing import check_codec

from .classes import Coin

T = TypeVar("T")


def encode_coin(coin: Coin) -> str:
    """As `5c`."""
    return f"{coin.cents}c"


def decode_coin(raw: bytes) -> Coin:
    """Strict."""
    if raw[-1:] != b"c":
        raise ValueError("not a coin")
    return Coin(int(raw[:-1]))


@pytest.fixture
def registry() -> Registry:
    """A registry of the test's own."""
    return default_registry.child()


@dataclass
class Purse:
    coin: Coin
    coins: list[Coin] = field(default_factory=list)


def test_a_type_without_a_codec_is_refused_by_name(registry: Registry) -> None:
    with pytest.raises(UnsupportedType) as caught:
        registry.check(Purse)
    error = caught.value
    assert (error.model, error.path, error.target) == ("Purse", "coin", "Coin")
    assert "register_codec" in str(error)


def test_a_registered_codec_counts_everywhere(registry: Registry) -> None:
    registry.register(Coin, encode=encode_coin, decode=decode_coin)
    purse = Purse(Coin(5), [Coin(1)])
    assert registry.mapper(Purse).dump(purse) == {b"coin": b"5c", b"coins": b"1", b"coins.0": b"1c"}
    check_codec(Coin, {b"5c": Coin(5), b"-1c": Coin(-1)}, bad=[b"5", b"c"], registry=registry)


def test_a_late_registration_is_honoured_by_what_was_compiled_before(registry: Registry) -> None:
    child = registry.child()
    cls = make_dataclass("Late", [("day", date), ("days", list[date])])
    value = cls(date(2024, 5, 1), [date(2024, 5, 1)])
    mapper: Mapper[Any] = child.mapper(cls)
    assert mapper.dump(value)[b"day"] == b"2024-05-01"
    registry.register(date, encode=lambda day: str(day.toordinal()), decode=lambda raw: date.fromordinal(int(raw)))
    assert child.mapper(cls) is not mapper
    assert child.mapper(cls).dump(value) == {b"day": b"739007", b"days": b"1", b"days.0": b"739007"}
    assert default_registry.mapper(cls).dump(value)[b"day"] == b"2024-05-01", "the parent knows nothing of it"


def test_a_child_wins_over_its_parent(registry: Registry) -> None:
    registry.register(Coin, encode=encode_coin, decode=decode_coin)
    child = registry.child()
    child.register(Coin, encode=lambda coin: b"%d" % coin.cents, decode=lambda raw: Coin(int(raw)))
    registry.register(Coin, encode=encode_coin, decode=decode_coin)
    assert child.codec(Coin).encode(Coin(5)) == b"5"
    assert registry.codec(Coin).encode(Coin(5)) == b"5c"


def test_register_as_a_decorator(registry: Registry) -> None:
    @registry.register(encode=lambda size: size.name, decode=lambda raw: Size(raw.decode()))
    class Size:
        def __init__(self, name: str) -> None:
            self.name = name

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Size) and other.name == self.name

    check_codec(Size, {b"XL": Size("XL"), b"~": Size("~")}, registry=registry)
    assert register_codec == default_registry.register


def test_a_codec_for_one_field(registry: Registry) -> None:
    hexadecimal = Codec(lambda number: f"{number:x}", lambda raw: int(raw, 16))
    cls = make_dataclass(
        "Numbers", [("plain", int), ("hexed", Annotated[int, hexadecimal]), ("all", list[Annotated[int, hexadecimal]])]
    )
    mapper: Mapper[Any] = registry.mapper(cls)
    value = cls(255, 255, [255])
    fields = {b"plain": b"255", b"hexed": b"ff", b"all": b"1", b"all.0": b"ff"}
    assert mapper.dump(value) == fields
    assert mapper.load(fields) == value
    with pytest.raises(EncodeError):
        mapper.dump(cls(255, "255", []))


def test_a_codec_is_only_asked_about_its_type(registry: Registry) -> None:
    registry.register(Coin, encode=encode_coin, decode=decode_coin)
    with pytest.raises(EncodeError, match="cannot store a str as Coin"):
        registry.codec(Coin).encode("5c")


@pytest.mark.parametrize("given", [3, [1, 2], None, 1.5])
def test_a_codec_gives_text_and_nothing_that_bytes_would_take(registry: Registry, given: Any) -> None:
    registry.register(Coin, encode=lambda _: given, decode=decode_coin)
    with pytest.raises(EncodeError, match=f"gave {type(given).__name__}, and must give str or bytes"):
        registry.codec(Coin).encode(Coin(5))


def test_dispatch_is_by_exact_type(registry: Registry) -> None:
    """A codec of date never sees a datetime, one of int neither a bool nor an IntEnum."""
    seen: list[Any] = []

    def spy(value: Any) -> str:
        seen.append(type(value))
        return "0"

    class Level(enum.IntEnum):
        LOW = 0

    registry.register(date, encode=spy, decode=lambda raw: date.min)
    registry.register(int, encode=spy, decode=lambda raw: 0)
    cls = make_dataclass("Exact", [("a", datetime), ("b", bool), ("c", Level), ("d", date), ("e", int)])
    registry.mapper(cls).dump(cls(datetime(2024, 5, 1), True, Level.LOW, date(2024, 5, 1), 1))
    # The value of Level.LOW is a plain int, and asked once, for the text of the member.
    assert set(seen) == {date, int}


@pytest.mark.parametrize("hint", [type[int], collections.ChainMap[str, int], Callable[[], int], object()])
def test_what_cannot_be_data_is_refused(registry: Registry, hint: Any) -> None:
    cls = make_dataclass("Holder", [("x", list[hint] if isinstance(hint, type) else hint)])
    with pytest.raises(UnsupportedType) as caught:
        registry.check(cls)
    assert caught.value.path == "x"


def test_int_where_float_is_declared_comes_back_as_float(registry: Registry) -> None:
    codec = registry.codec(float)
    assert codec.encode(3) == b"3.0"
    assert repr(codec.decode(b"3.0")) == "3.0"
    for wrong in (2**53 + 1, 10**400, True, "1", None):
        with pytest.raises(EncodeError):
            codec.encode(wrong)


def test_subclasses_of_plain_types_are_refused(registry: Registry) -> None:
    """They would come back as the plain type."""

    class Name(str):
        __slots__ = ()

    class Names(list[int]):
        pass

    for hint, value in [
        (str, Name("a")),
        (list[int], Names()),
        (int, True),
        (dict[str, int], collections.Counter("a")),
    ]:
        cls = make_dataclass("Holder", [("x", hint)])
        with pytest.raises(EncodeError):
            registry.mapper(cls).dump(cls(value))


def test_views_count_as_what_they_are_views_of(registry: Registry) -> None:
    """A live value of the layer above is stored as the plain one."""

    class LiveInt(int):
        __rapyer_plain__ = int

    class LiveStr(str):
        __rapyer_plain__ = str
        __slots__ = ()

    class LiveList(list[Any]):
        __rapyer_plain__ = list

    class LiveDict(dict[str, Any]):
        __rapyer_plain__ = dict

    class LiveSet(set[int]):
        __rapyer_plain__ = set

    class LiveInner(Inner):
        __rapyer_plain__ = Inner

    plain = Outer(1, "a", [1], {"a": 1}, {1}, Inner(2), Inner(3), 4, 1.5, Inner(5))
    view = Outer(
        LiveInt(1),
        LiveStr("a"),
        LiveList([LiveInt(1)]),
        LiveDict(a=LiveInt(1)),
        LiveSet({1}),
        LiveInner(LiveInt(2)),
        LiveInner(3),
        LiveInt(4),
        1.5,
        LiveInner(5),
    )
    mapper: Mapper[Any] = registry.mapper(Outer)
    assert mapper.dump(view) == mapper.dump(plain)
    assert mapper._dump(view) == mapper.dump(plain)
    assert mapper.load(mapper.dump(view)) == plain


@dataclass
class Inner:
    n: int


@dataclass
class Outer:
    number: int
    text: str
    numbers: list[int]
    named: dict[str, int]
    members: set[int]
    inner: Inner
    either: Inner | str
    optional: int | None
    any: Any
    base: Inner


def test_a_name_that_is_not_there_yet_is_looked_up_at_first_use(registry: Registry) -> None:
    cls = make_dataclass("Early", [("later", "list[LaterClass]"), ("number", int)])
    registry.check(cls)
    with pytest.raises(UnsupportedType, match=r"Early\.later: the name LaterClass in the annotation cannot be"):
        registry.mapper(cls).dump(cls([], 1))
    registry.names(cls, {"LaterClass": Inner})
    assert registry.mapper(cls).dump(cls([Inner(1)], 1)) == {b"later": b"1", b"later.0.n": b"1", b"number": b"1"}


def test_a_bad_field_is_found_although_another_cannot_be_resolved(registry: Registry) -> None:
    cls = make_dataclass("Early", [("later", "LaterClass"), ("coin", Coin)])
    with pytest.raises(UnsupportedType) as caught:
        registry.check(cls)
    assert caught.value.path == "coin"


def test_the_converter_is_an_ordinary_one(registry: Registry) -> None:
    converter = registry.converter
    value = Inner(5)
    assert converter.unstructure(value) == {b"n": b"5"}
    assert converter.structure({b"n": b"5"}, Inner) == value


def test_unions_are_told_apart_by_order(registry: Registry) -> None:
    """`int | str == str | int`, and the order of the members is part of the form."""
    one = make_dataclass("One", [("x", int | str)])
    other = make_dataclass("Other", [("x", str | int)])
    assert registry.mapper(one).dump(one("1")) == {b"x": b"~str:1"}
    assert registry.mapper(other).dump(other("1")) == {b"x": b"1"}
    assert registry.mapper(one).dump(one(1)) == {b"x": b"1"}


def test_a_former_name_is_read_and_the_own_one_written(registry: Registry) -> None:
    cls = make_dataclass("Renamed", [("score", Annotated[int, Alias("points")], 0), ("name", str, "")])
    mapper: Mapper[Any] = registry.mapper(cls)
    assert mapper.load({b"points": b"5"}) == cls(5)
    assert mapper.load({b"points": b"5", b"score": b"6"}) == cls(6)
    assert mapper.dump(cls(5)) == {b"score": b"5", b"name": b""}
    slot = mapper.slot(("score",))
    assert slot.former == (b"points",)
    assert slot.load({b"points": b"5"}) == 5
    assert slot.present({b"points": b"5"})
    assert mapper.extras({b"points": b"5"}) == {}
    diff = mapper.diff({b"points": b"5", b"name": b""}, mapper.dump(cls(6)))
    assert (diff.put, diff.drop) == ({b"score": b"6"}, [b"points"])
    diff = mapper.diff({b"points": b"5", b"name": b""}, mapper.dump(cls(0)))
    assert b"points" in diff.drop
    assert mapper.edit(slot, {b"points": b"5"}, {b"score": b"7"}) == ({b"score": b"7"}, [b"points"])
    for bad in ("", "~x"):
        with pytest.raises(ValueError):
            Alias(bad)


def test_a_class_made_again_counts_from_then_on(registry: Registry) -> None:
    class Base:
        pass

    def make() -> Any:
        @dataclass
        class Child(Inner):
            extra: int = 0

        return Child

    first, second = make(), make()
    cls = make_dataclass("Holder", [("x", Inner)])
    mapper: Mapper[Any] = registry.mapper(cls)
    fields = mapper.dump(cls(second(1)))
    assert fields[b"x"] == b"~Child:{}"
    assert type(mapper.load(fields).x) is second
    with pytest.raises(EncodeError):
        mapper.dump(cls(first(1)))


def test_two_subclasses_of_one_name_are_refused(registry: Registry) -> None:
    def one() -> Any:
        return dataclass(type("Twin", (Inner,), {"__qualname__": "one.Twin"}))

    def other() -> Any:
        return dataclass(type("Twin", (Inner,), {"__qualname__": "other.Twin"}))

    a, b = one(), other()
    cls = make_dataclass("Holder", [("x", Inner)])
    for twin in (a, b):
        with pytest.raises(EncodeError, match="__rapyer_tag__"):
            registry.mapper(cls).dump(cls(twin(1)))


def test_a_renamed_class_keeps_its_tag(registry: Registry) -> None:
    @dataclass
    class Newer(Inner):
        __rapyer_tag__ = "Older"

    cls = make_dataclass("Holder", [("x", Inner)])
    mapper: Mapper[Any] = registry.mapper(cls)
    assert mapper.dump(cls(Newer(1)))[b"x"] == b"~Older:{}"
    assert type(mapper.load({b"x": b"~Older:{}", b"x.n": b"1"}).x) is Newer


def test_an_unknown_tag_is_an_error(registry: Registry) -> None:
    cls = make_dataclass("Holder", [("x", Inner), ("y", int | str)])
    for fields in ({b"x": b"~Gone:{}", b"x.n": b"1", b"y": b"1"}, {b"x.n": b"1", b"y": b"~Gone:1"}):
        with pytest.raises(DecodeError):
            registry.mapper(cls).load(fields)


@dataclass
class Pair(Generic[T]):
    first: T
    rest: list[T] = field(default_factory=list)


def test_type_variables_are_replaced_at_any_depth(registry: Registry) -> None:
    cls = make_dataclass("Holder", [("x", Pair[Pair[int]]), ("y", Pair)])
    value = cls(Pair(Pair(1, [2])), Pair[Any]("a", [1]))
    fields = registry.mapper(cls).dump(value)
    assert fields[b"x.first.rest.0"] == b"2"
    assert fields[b"y.rest.0"] == b"~int:1", "an unbound variable is Any"
    assert registry.mapper(cls).load(fields) == value


def test_a_renamed_enum_member_loads(registry: Registry) -> None:
    class Status(enum.Enum):
        OPEN = "open"

    class NewStatus(enum.Enum):
        UNLOCKED = "open"

    raw = registry.codec(Status).encode(Status.OPEN)
    assert registry.codec(NewStatus).decode(raw) is NewStatus.UNLOCKED


class SameToAll(enum.Enum):
    OPEN = "open"
    SHUT = "shut"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameToAll)

    def __hash__(self) -> int:
        return 1


class Unhashable(enum.Enum):
    OPEN = 1
    SHUT = 2

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize("cls", [SameToAll, Unhashable])
def test_enum_members_are_told_apart_whatever_they_equal(registry: Registry, cls: Any) -> None:
    holder = make_dataclass("Holder", [("status", cls)])
    mapper: Mapper[Any] = registry.mapper(holder)
    for member in cls:
        fields = {b"status": str(member.value).encode()}
        assert mapper.dump(holder(member)) == mapper._dump(holder(member)) == fields
        assert mapper.load(fields).status is mapper._load(fields).status is member


@pytest.mark.parametrize("name", ["class_", "__dunder__", "ünïcode", "k1_int", "v1_x", "out", "fields", "get", "type"])
def test_hostile_field_names_do_not_reach_generated_code(registry: Registry, name: str) -> None:
    cls = make_dataclass(name, [(name, int), ("other", dict[str, int]), (f"{name}_2", "int")])
    value = cls(1, {name: 2, "type": 3, "x); import os": 4}, 5)
    mapper: Mapper[Any] = registry.mapper(cls)
    compiled = compile_class(mapper.shape)
    assert compiled.load(compiled.dump(value)) == value == mapper._load(mapper._dump(value))


def test_generated_code_can_be_seen_in_a_traceback(registry: Registry) -> None:
    import linecache

    mapper: Mapper[Any] = registry.mapper(Inner)
    mapper.dump(Inner(1))
    filename = f"<rapyer_codecs {Inner.__module__}.{Inner.__qualname__}>"
    assert "b'n':" in "".join(linecache.getlines(filename))


def test_packed_values_are_deterministic(registry: Registry) -> None:
    codec = registry.codec(Packed[dict[str, set[int]]])
    one = codec.encode({"b": {2, 10, 1}, "a": set()})
    assert one == codec.encode({"a": set(), "b": {1, 10, 2}}) == b'{"a":[],"b":[1,10,2]}'


@pytest.mark.parametrize(
    "text",
    [
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b'{"a":01}',
        b'{"a":1.0}',
        b'{"a":"1"}',
        b"{",
        b'{"\\u0061":1}',
    ],
)
def test_packed_text_is_read_strictly(registry: Registry, text: bytes) -> None:
    with pytest.raises(DecodeError):
        registry.codec(Packed[dict[str, int]]).decode(text)


def test_a_packed_class_may_grow(registry: Registry) -> None:
    """A field added later has its default; one that was removed is gone with the next write: it is one value."""
    codec = registry.codec(Packed[Grown])
    assert codec.decode(b'{"old":1,"n":2}') == Grown(2)
    assert codec.encode(codec.decode(b'{"n":2,"old":1}')) == b'{"n":2,"added":"x"}'
    assert codec.decode(b'{"points":5}') == Grown(5), "a former name"


@dataclass
class Grown:
    n: Annotated[int, Alias("points")]
    added: str = "x"


@dataclass
class Event:
    kind: str
    calls: ClassVar[list[str]] = []
    seen: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.calls.append(self.kind)
        self.seen += 1


def test_post_init_runs_and_the_stored_values_stand(registry: Registry) -> None:
    event = Event("a")
    event.seen = 7
    mapper = registry.mapper(Event)
    Event.calls.clear()
    assert mapper.load(mapper.dump(event)).seen == 7
    assert Event.calls == ["a"]


def test_a_class_that_refuses_is_a_decode_error(registry: Registry) -> None:
    @dataclass
    class Picky:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ValueError(f"negative: {self.n}")

    with pytest.raises(DecodeError, match="the class refused the stored values") as caught:
        registry.mapper(Picky).load({b"n": b"-5"})
    assert "-5" not in str(caught.value)


def test_ints_are_exact_whatever_the_interpreter_allows(registry: Registry) -> None:
    codec = registry.codec(int)
    before = sys.get_int_max_str_digits()
    big = 10**50_000 + 7
    try:
        for limit in (640, 4300, 0):
            sys.set_int_max_str_digits(limit)
            assert codec.decode(codec.encode(big)) == big
            assert codec.decode(codec.encode(-big)) == -big
            with pytest.raises(LimitExceeded):
                codec.encode(10**200_000)
            cls = make_dataclass("Holder", [("x", int)])
            mapper: Mapper[Any] = registry.mapper(cls)
            assert mapper.load(mapper.dump(cls(big))).x == big
            with pytest.raises(LimitExceeded):
                mapper.dump(cls(10**200_000))
    finally:
        sys.set_int_max_str_digits(before)


def test_generated_code_is_written_for_the_common_case() -> None:
    """Of every kind of field that has code of its own, without a fallback to the shapes."""
    value = Everything(
        "a", 1, 1.5, True, b"b", Inner(2), [1], [Inner(3)], {"k": 4}, {"k": Inner(5)}, {6}, None, Inner(7)
    )
    compiled = compile_class(default_registry.mapper(Everything).shape)
    fields = compiled.dump(value)
    assert fields == default_registry.mapper(Everything)._dump(value)
    assert compiled.load(fields) == value


@dataclass
class Everything:
    text: str
    number: int
    real: float
    flag: bool
    raw: bytes
    inner: Inner
    numbers: list[int]
    inners: list[Inner]
    named: dict[str, int]
    named_inners: dict[str, Inner]
    members: set[int]
    maybe: str | None
    maybe_inner: Inner | None


def test_a_bound_and_a_constrained_type_variable(registry: Registry) -> None:
    cls = make_dataclass("Holder", [("x", Bounded), ("y", Bounded[int])])
    fields = registry.mapper(cls).dump(cls(Bounded(1.5), Bounded(1)))
    assert fields == {b"x.item": b"1.5", b"y.item": b"1"}


B = TypeVar("B", bound=float)


@dataclass
class Bounded(Generic[B]):
    item: B


S = TypeVar("S")


@dataclass
class First(Generic[T]):
    first: T


@dataclass
class Second(First[int], Generic[T]):
    """Uses the variable of its base for something else."""

    second: T


@dataclass
class Third(Second[list[S]]):
    third: S


def test_one_type_variable_may_mean_two_things(registry: Registry) -> None:
    cls = make_dataclass("Holder", [("x", Second[str]), ("y", Third[bool])])
    mapper: Mapper[Any] = registry.mapper(cls)
    value = cls(Second(1, "a"), Third(2, [True], False))
    fields = mapper.dump(value)
    assert fields == {
        b"x.first": b"1",
        b"x.second": b"a",
        b"y.first": b"2",
        b"y.second": b"1",
        b"y.second.0": b"true",
        b"y.third": b"false",
    }
    assert mapper.load(fields) == value


def test_classes_of_one_function_find_each_other(registry: Registry) -> None:
    @dataclass
    class Deep:
        n: int

    @dataclass
    class Middle:
        deep: list[Deep]

    @dataclass
    class Top:
        middle: Middle

    registry.names(Top, {"Deep": Deep, "Middle": Middle})
    assert registry.mapper(Top).dump(Top(Middle([Deep(1)])))[b"middle.deep.0.n"] == b"1"


@dataclass
class Priced:
    price: int
    doubled: int = field(init=False)

    def __post_init__(self) -> None:
        self.doubled = self.price * 2


@attrs.define
class Measured:
    size: int
    area: int = attrs.Factory(lambda self: self.size**2, takes_self=True)


def test_a_field_that_the_class_works_out_may_be_added_later(registry: Registry) -> None:
    cls = make_dataclass("Holder", [("a", Priced), ("b", Measured), ("c", list[Priced]), ("d", Packed[Priced])])
    mapper: Mapper[Any] = registry.mapper(cls)
    old = {b"a.price": b"5", b"b.size": b"3", b"c": b"1", b"c.0.price": b"4", b"d": b'{"price":6}'}
    loaded = mapper.load(old)
    assert loaded == cls(Priced(5), Measured(3), [Priced(4)], Priced(6))
    assert mapper.diff(old, mapper.dump(loaded)).put[b"a.doubled"] == b"10"
    assert registry.mapper(Priced).load({b"price": b"5"}) == Priced(5)
