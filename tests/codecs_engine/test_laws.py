"""Laws over random classes: round trips, one form for one value, and what a difference or an edit leaves
behind.
"""

from __future__ import annotations

import os
from dataclasses import make_dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rapyer_codecs import DecodeError, EncodeError, Item, LimitExceeded, Mapper, default_registry
from rapyer_codecs.generate import compile_class
from rapyer_codecs.paths import Steps

from .strategies import TYPED, classes_with_values

LAW = settings(
    deadline=None, max_examples=int(os.environ.get("LAW_EXAMPLES", "60")), suppress_health_check=[HealthCheck.too_slow]
)
Fields = dict[bytes, bytes]


def mapper_of(cls: type[Any]) -> Mapper[Any]:
    """A mapper of a class that was just made."""
    return default_registry.child().mapper(cls)


@LAW
@given(classes_with_values())
def test_load_of_dump_is_the_value(made: tuple[type[Any], list[Any]]) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    fields = mapper.dump(value)
    loaded = mapper.load(fields)
    assert loaded == value
    assert type(loaded) is cls
    assert repr(loaded) == repr(value) or "{" in repr(value)  # the order of sets and dicts may differ
    assert mapper.dump(loaded) == fields


@LAW
@given(classes_with_values())
def test_generated_code_agrees_with_the_shapes(made: tuple[type[Any], list[Any]]) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    fields = mapper._dump(value)
    assert mapper.dump(value) == fields
    assert mapper.load(fields) == mapper._load(fields) == value


@LAW
@given(classes_with_values())
def test_the_common_case_needs_no_shapes(made: tuple[type[Any], list[Any]]) -> None:
    """Subclasses and unions aside, generated code does it alone; it never gives another result."""
    cls, (value,) = made
    mapper = mapper_of(cls)
    expected = mapper._dump(value)
    generated = compile_class(mapper.shape)
    try:
        fields = generated.dump(value)
        loaded = generated.load(expected)
    except Exception:
        return
    assert fields == expected
    assert loaded == value


@LAW
@given(classes_with_values(count=2))
def test_different_values_have_different_forms(made: tuple[type[Any], list[Any]]) -> None:
    cls, (one, other) = made
    mapper = mapper_of(cls)
    assert (mapper.dump(one) == mapper.dump(other)) == (one == other)


@LAW
@given(classes_with_values(count=2))
def test_a_difference_leads_to_the_new_value_with_no_stray_field(made: tuple[type[Any], list[Any]]) -> None:
    cls, (one, other) = made
    mapper = mapper_of(cls)
    before, after = mapper.dump(one), mapper.dump(other)
    diff = mapper.diff(before, after)
    assert applied(before, diff.put, diff.drop) == after
    assert not diff.put.keys() & set(diff.drop)
    assert (diff.units == []) == (before == after)
    for name in [*diff.put, *diff.drop]:
        assert any(covers(unit, tree, name) for unit, tree in diff.units), "every change is compared"


@LAW
@given(classes_with_values(count=2), st.data())
def test_a_difference_keeps_what_the_class_does_not_know(
    made: tuple[type[Any], list[Any]], data: st.DataObject
) -> None:
    cls, (one, other) = made
    mapper = mapper_of(cls)
    before, after = mapper.dump(one), mapper.dump(other)
    unknown = {b"unknown": b"1", b"unknown.deep": b"2"}
    stored = before | unknown
    assert mapper.extras(stored) == unknown
    diff = mapper.diff(stored, after)
    assert applied(stored, diff.put, diff.drop) == after | unknown


@LAW
@given(classes_with_values(count=2), st.data())
def test_an_edit_of_one_place_leads_to_the_object_with_that_place_changed(
    made: tuple[type[Any], list[Any]], data: st.DataObject
) -> None:
    cls, (one, other) = made
    mapper = mapper_of(cls)
    slot = data.draw(st.sampled_from(mapper.static_slots()))
    stored = mapper.dump(one)
    put, drop = mapper.edit(slot, stored, slot.dump(slot.get(other)))
    expected = mapper.load(stored)
    slot.put(expected, slot.get(other))
    assert applied(stored, put, drop) == mapper.dump(expected)


@LAW
@given(classes_with_values(count=2))
def test_every_place_reads_and_writes_as_the_whole(made: tuple[type[Any], list[Any]]) -> None:
    cls, (one, _) = made
    mapper = mapper_of(cls)
    fields = mapper.dump(one)
    for slot in mapper.static_slots():
        value = slot.get(one)
        assert slot.sure
        assert slot.present(fields)
        assert slot.load(fields) == value
        assert slot.dump(value).items() <= fields.items()
        assert mapper.slot(mapper.parse(slot.name.decode())).name == slot.name


@LAW
@given(st.data(), TYPED)
def test_entries_are_places(data: st.DataObject, typed: Any) -> None:
    """List elements and dict entries, set one by one, give what the whole container gives."""
    cls = make_dataclass("Held", [("items", list[typed.hint]), ("named", dict[str, typed.hint])])
    mapper = mapper_of(cls)
    value = cls(data.draw(st.lists(typed.values, max_size=3)), {"a.~": data.draw(typed.values)})
    fields = mapper.dump(value)
    places: list[tuple[Steps, Any]] = [(("items", Item(i)), item) for i, item in enumerate(value.items)]
    places += [(("named", Item(key)), item) for key, item in value.named.items()]
    for steps, item in places:
        slot = mapper.slot(steps)
        assert not slot.sure
        assert slot.load(fields) == item == slot.get(value)
        assert slot.dump(item).items() <= fields.items()
        assert mapper.parse(slot.name.decode()) == steps
        put, drop = mapper.edit(slot, fields, slot.dump(item))
        assert (put, drop) == ({}, [])


@LAW
@given(st.dictionaries(st.binary(max_size=20), st.binary(max_size=20), max_size=8), classes_with_values())
def test_any_other_fields_are_a_value_or_a_decode_error(noise: Fields, made: tuple[type[Any], list[Any]]) -> None:
    cls, (value,) = made
    mapper = mapper_of(cls)
    try:
        loaded = mapper.load(mapper.dump(value) | noise)
    except DecodeError:
        return
    try:
        fields = mapper.dump(loaded)
    except (EncodeError, LimitExceeded):
        raise AssertionError("what was read cannot be written") from None
    assert mapper.load(fields) == loaded


def applied(fields: Fields, put: Fields, drop: list[bytes]) -> Fields:
    """Stored fields after a write: the drops first, an index may become a key."""
    return {name: text for name, text in fields.items() if name not in drop} | put


def covers(unit: bytes, tree: bool, name: bytes) -> bool:
    """Whether a unit of comparison includes a field."""
    return name == unit or (tree and name.startswith(unit + b"."))
