"""Reading is total: any bytes in any field give a value or a DecodeError, soon, and never run anything."""

from __future__ import annotations

import pickle
import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rapyer_codecs import DecodeError, LimitExceeded, Limits, Mapper, Packed, Registry, default_registry
from rapyer_codecs.json_text import _is_deeper
from rapyer_codecs.types import register_all

from .classes import Node
from .test_types import holder, stored
from .type_table import TABLE, Row
from .type_table import packed as packed_hint

FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
EXAMPLES = [(row, stored(fields)) for row in TABLE for _, fields in row.examples]
HOSTILE = [
    b"",
    b"~",
    b"~:",
    b"~x:",
    b"~~:1",
    b"+1",
    b"-0",
    b"01",
    b" 12 ",
    b"1_000",
    "٣٤".encode(),
    b"1e999",
    b"NaN",
    b"0x10",
    b"9" * 5000,
    b"1" * 200_000,
    b"1e400",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b"[NaN]",
    b"[1, 2]",
    b"null",
    b"true",
    b"100000000",
    b"99999999999999999999",
    b"2/1",
    b"-1",
    b"{}",
    b"{a.b}",
    b"\xff\xfe",
    b"\0",
    b"34/((((",
    b"128/a",
    b"0:1:0",
    b"../../etc/passwd",
    b"2024-05-01T12:00:00+00:00[../../etc/passwd]",
    b"2024-05-01T12:00:00[Europe/Berlin]",
    b"24:00:00",
    b"2024-W01-1",
    b"20240501",
    pickle.dumps({"a": print}),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.title)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_hostile_text_in_every_field(row: Row, packed: bool) -> None:
    hint = packed_hint[row.hint] if packed else row.hint
    mapper: Mapper[Any] = default_registry.mapper(holder(hint))
    base = stored(row.examples[-1][1])
    started = time.monotonic()
    for name in base:
        for text in HOSTILE:
            assert_total(mapper, {**base, name: text})
    assert time.monotonic() - started < 10


@FUZZ
@given(st.sampled_from(EXAMPLES), st.data(), st.binary(max_size=40) | st.sampled_from(HOSTILE))
def test_any_text_in_any_field(example: tuple[Row, dict[bytes, bytes]], data: st.DataObject, text: bytes) -> None:
    row, fields = example
    name = data.draw(st.sampled_from(sorted(fields)) | st.binary(max_size=8).map(lambda tail: b"x." + tail))
    assert_total(default_registry.mapper(holder(row.hint)), {**fields, name: text})


def assert_total(mapper: Any, fields: dict[bytes, bytes]) -> None:
    """A value that is stored as it was read, or a DecodeError."""
    try:
        loaded = mapper.load(fields)
    except DecodeError:
        return
    again = mapper.dump(loaded)
    known = {name: text for name, text in fields.items() if name not in mapper.extras(fields)}
    if b"[Europe/Berlin]" not in fields.get(b"x", b""):  # the offset beside a zone is for readers
        assert known.items() <= again.items() or mapper.load(again) is not None


def test_deep_nesting_is_a_limit_and_no_recursion_error() -> None:
    cls = holder(Any)
    mapper: Mapper[Any] = default_registry.mapper(cls)
    fields = {b"x": b"~list:1", **{b"x" + b".0" * n: b"~list:1" for n in range(1, 200)}}
    with pytest.raises(DecodeError) as caught:
        mapper.load(fields)
    assert isinstance(caught.value, LimitExceeded)
    value: Any = []
    for _ in range(2000):
        value = [value]
    with pytest.raises(LimitExceeded):
        mapper.dump(cls(value))


def test_sixteen_levels_below_the_object_and_no_more() -> None:
    mapper = default_registry.mapper(Node)
    value = Node(0)
    for number in range(16):
        value = Node(number, value)
    fields = mapper.dump(value)
    assert mapper.load(fields) == value
    deepest = b".".join([b"next"] * 16)
    deeper = fields | {deepest + b".next": b"{}", deepest + b".next.value": b"1", deepest + b".next.next": b"~"}
    with pytest.raises(DecodeError):
        mapper.load(deeper)
    with pytest.raises(LimitExceeded):
        mapper.dump(Node(0, value))


def test_a_length_allocates_nothing() -> None:
    mapper: Mapper[Any] = default_registry.mapper(holder(list[int]))
    with pytest.raises(LimitExceeded):
        mapper.load({b"x": b"999999999"})
    with pytest.raises(DecodeError):
        mapper.load({b"x": b"9999"})


def test_limits_are_the_registrys() -> None:
    registry = Registry(limits=Limits(depth=2, fields=5, name=10, value=30, digits=20))
    register_all(registry)
    for hint, value in [
        (int, 10**20),
        (int, -(10**20)),
        (str, "a" * 31),
        (bytes, b"a" * 31),
        (dict[str, int], {"a" * 11: 1}),
        (list[int], list(range(51))),
        (set[int], set(range(51))),
        (Packed[list[int]], [1] * 20),
        (Packed[list[list[list[int]]]], [[[1]]]),
    ]:
        cls = holder(hint)
        with pytest.raises(LimitExceeded):
            registry.mapper(cls).dump(cls(value))
        fields = default_registry.mapper(cls).dump(cls(value))
        if hint != dict[str, int]:
            with pytest.raises(DecodeError) as caught:
                registry.mapper(cls).load(fields)
            assert isinstance(caught.value, LimitExceeded), hint


@dataclass
class Grown:
    notes: dict[str, str]
    before: list[int]
    late: int = 0


def grown(entries: int, elements: int) -> dict[bytes, bytes]:
    fields = {b"notes": b"{}", b"before": b"%d" % elements}
    fields.update({b"notes.k%d" % number: b"v" for number in range(entries)})
    fields.update({b"before.%d" % number: b"1" for number in range(elements)})
    return fields


@pytest.mark.parametrize("late", [{}, {b"late": b"5"}])
def test_what_grew_past_the_limit_of_writing_by_single_entries_is_still_read(late: dict[bytes, bytes]) -> None:
    """A put of one entry does not see how many there are."""
    mapper = Registry(parent=default_registry, limits=Limits(fields=10)).mapper(Grown)
    value = mapper.load({**grown(60, 0), **late})
    assert len(value.notes) == 60
    assert mapper.load({**grown(0, 60), **late}).before == [1] * 60
    with pytest.raises(LimitExceeded):
        mapper.dump(value)


@pytest.mark.parametrize("fields", [grown(200, 0), grown(0, 200), {**grown(0, 0), b"before": b"999999999"}])
def test_reading_has_a_limit_of_its_own(fields: dict[bytes, bytes]) -> None:
    mapper = Registry(parent=default_registry, limits=Limits(fields=10)).mapper(Grown)
    with pytest.raises(LimitExceeded) as caught:
        mapper.load(fields)
    assert isinstance(caught.value, DecodeError)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 8_000_000,
        b"[]" * 4_000_000,
        b"]" * 8_000_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_a_packed_text_at_the_limit_of_size_takes_a_bounded_time(text: bytes) -> None:
    mapper: Mapper[Any] = default_registry.mapper(holder(Packed[list[int]]))
    started = time.process_time()
    with pytest.raises(DecodeError):
        mapper.load({b"x": text})
    assert time.process_time() - started < 8


def nested(levels: int, inside: str = "") -> bytes:
    return ("[" * levels + inside + "]" * levels).encode()


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        (nested(10), False),
        (nested(11), True),
        (b"[" + b",".join([nested(9)] * 50) + b"]", False),
        (b"[" + b",".join([nested(10)] * 50) + b"]", True),
        (nested(5, '{"a":{"b":{"c":{"d":{}}}}}'), False),
        (nested(6, '{"a":{"b":{"c":{"d":{}}}}}'), True),
        (b'["' + b"[" * 50 + b'"]', False),
        (b'["\\"' + b"{" * 50 + b'"]', False),
        (b"[" * 50, True),
        (b"[]" * 50, False),
    ],
)
def test_depth_is_found_before_parsing(text: bytes, deeper: bool) -> None:
    assert _is_deeper(text, 10) is deeper


RANGES = "[\x01-\uffff]" * 65


@pytest.mark.parametrize("source", [RANGES, "(?i)" + RANGES, "a(?mi:" + RANGES + ")"])
def test_an_expression_that_would_take_long_to_compile_is_no_pattern(source: str) -> None:
    mapper: Mapper[Any] = default_registry.mapper(holder(re.Pattern))
    flags = 34 if source == RANGES else 32
    with pytest.raises(LimitExceeded):
        mapper.load({b"x": f"{flags}/{source}".encode()})
    plain = f"32/{RANGES}".encode()
    assert mapper.dump(mapper.load({b"x": plain})) == {b"x": plain}


def test_what_would_not_be_read_is_not_written() -> None:
    cls = holder(re.Pattern)
    with pytest.raises(LimitExceeded):
        default_registry.mapper(cls).dump(cls(re.compile("[a-b]" * 65, re.IGNORECASE)))
