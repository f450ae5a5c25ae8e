"""Operations on one field of any type: assign, increment, modify. Those of containers: ``lists``, ``entries``.

Generators; no I/O. This module is also where the layers above find all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import kind_of_value
from rapyer_core.collection import Context, Fields, Target
from rapyer_core.errors import EncodeError, MissingEntry, MissingValue, NotFound
from rapyer_core.operations.adoption import adopt, adopt_unit, adopt_value
from rapyer_core.operations.blind import blind
from rapyer_core.operations.edits import Assign, Compute
from rapyer_core.operations.entries import UNSET, add, discard, merge, pop, put, put_entry, put_fields, remove
from rapyer_core.operations.lists import clear, extend, insert_at
from rapyer_core.operations.place import Options, Place
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.packing import count
from rapyer_core.places import value_shape
from rapyer_core.requests import UNUSUAL, WRITE, Operation, Reply, ServerError, Straight, straight

__all__ = [
    "UNSET",
    "Options",
    "Place",
    "add",
    "adopt",
    "adopt_unit",
    "assign",
    "clear",
    "discard",
    "extend",
    "increment",
    "insert_at",
    "merge",
    "modify",
    "pop",
    "put",
    "remove",
]

_ADDABLE = (int, float, complex, Decimal, Fraction, timedelta)
_INT64 = 2**63


# -- one stored field, computed from its value --


@dataclass(slots=True)
class EditLeaf(Unit):
    """A leaf gets a value computed from its stored one. Sees one field.

    value, raw: the new value and its stored form.
    """

    target: Target
    slot: Slot
    function: Callable[[Any], Any]
    needs: Sequence[bytes] | None
    value: Any = None
    raw: bytes = b""

    def decide(self, seen: Seen) -> Change:
        """Compute from what is stored, or from the default of a field added later."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        slot, fields = self.slot, seen.fields
        before = fields.get(slot.name)
        if not slot.sure and before is None:
            raise MissingEntry("there is no such key; nothing was written", **self.target.data, path=slot.text)
        try:
            held = slot.decode(before) if before is not None and slot.stands_alone else slot.load(fields)
            self.value = value = self.function(held)
            self.raw = raw = slot.encode(value)
            if slot.may_break:
                slot.check(value)
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise
        put = {} if before == raw else {slot.name: raw}
        return Change(put, _former(slot, fields) if slot.former else ())


def _former(slot: Slot, fields: Fields) -> list[bytes]:
    """The former names under which something is stored."""
    return [name for name in slot.former if name in fields]


def _edit_leaf(place: Place, function: Callable[[Any], Any]) -> Operation[Any]:
    slot = place.slot
    if not place.site.small:
        return (yield from place.edit(Compute(slot, function)))
    unit = EditLeaf(place.target, slot, function, [slot.name, *slot.former])
    yield from place.commit(unit)
    adopt(place.target, slot, {slot.name: unit.raw})
    return unit.value


def modify(ctx: Context, obj: Any, path: Any, function: Callable[[Any], Any], options: Options) -> Operation[Any]:
    """Compute a field's new value from its stored one, again whenever another writer came first; the new value."""
    place = Place.of(ctx, obj, path, options)
    if not callable(function):
        raise place.error(EncodeError, f"modify takes a function of the value, not {kind_of_value(function)}")
    return (yield from _edit_leaf(place, function))


# -- assign --


@dataclass(slots=True)
class PutLeaf(Unit):
    """A leaf gets this value. Sees what it held, for the indexes."""

    target: Target
    slot: Slot
    fields: Fields
    needs: Sequence[bytes] | None

    def decide(self, seen: Seen) -> Change:
        """Write it if the object exists."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        return Change(self.fields, _former(self.slot, seen.fields) if self.slot.former else ())


def assign(ctx: Context, obj: Any, path: Any, value: Any, options: Options) -> Operation[None] | Straight[None]:
    """Give a field a value, whatever it held. Blind for one stored field."""
    place = Place.of(ctx, obj, path, options)
    slot = place.slot
    fields = place.storable(slot, value)
    if not place.site.small:
        return place.edit(Assign(slot, fields))
    if place.site.entry:
        return put_entry(place, fields)
    if not place.may_be_blind:
        return _put_leaf(place, fields)
    return put_fields(place, fields, [(slot, fields)])


def _put_leaf(place: Place, fields: Fields) -> Operation[None]:
    yield from place.commit(PutLeaf(place.target, place.slot, fields, [place.slot.name, *place.slot.former]))
    adopt(place.target, place.slot, fields)


# -- increment --


def increment(ctx: Context, obj: Any, path: Any, by: Any, options: Options) -> Operation[Any] | Straight[Any]:
    """Add to a number; the new value. An int that is stored by itself: HINCRBY, blind."""
    place = Place.of(ctx, obj, path, options, "leaf")
    site = place.site
    if type(by) is not int or site.number is not int:
        by = _addend(place, by)
    if not site.counter or not -_INT64 < by < _INT64 or place.once:
        return _edit_leaf(place, _adder(place, by))
    if not site.from_zero:
        return _count((place, by))
    packed = count(place.target.key, site.slot.name, by)
    return straight(Straight, (WRITE, packed, 2, (place, by), _counted, _count))


def _counted(counting: tuple[Place, int], replies: list[Reply]) -> Any:
    place = counting[0]
    existed, counted = replies
    if existed != 1 or type(counted) is not int:
        return UNUSUAL
    _adopt_count(place, counted)
    return counted


def _count(counting: tuple[Place, int]) -> Operation[Any]:
    """Count a place up. The counting: the place, and by how much."""
    place, by = counting
    key, name, start = place.target.key, place.slot.name, place.site.start
    first = () if start is None else ((b"HSETNX", key, name, start),)
    replies = yield from blind(
        place.ctx, place.target, (*first, (b"HINCRBY", key, name, by)), place.retry, refusable=True
    )
    counted = replies[-1]
    if not isinstance(counted, ServerError):
        _adopt_count(place, counted)
        return counted
    # Past 64 bit, or no canonical number.
    return (yield from _edit_leaf(place, _adder(place, by)))


def _addend(place: Place, by: Any) -> Any:
    """What is added, if it is a number that can be added to one of the place's type; an int as a plain one."""
    number = place.site.number
    if isinstance(by, bool) or not isinstance(by, _ADDABLE) or number not in _ADDABLE:
        raise _not_addable(place, by)
    if number is int:
        if not isinstance(by, int):
            raise _not_addable(place, by)
        return int(by)
    return by


def _adopt_count(place: Place, counted: int) -> None:
    slot, text = place.slot, b"%d" % counted
    if slot.stands_alone:
        adopt_value(place.target, slot, counted, text)
    else:
        adopt(place.target, slot, {slot.name: text})


def _adder(place: Place, by: Any) -> Callable[[Any], Any]:
    def add_to(value: Any) -> Any:
        if value is None:
            raise place.error(MissingValue, "it is None and cannot be incremented: assign a value first")
        try:
            return value + by
        except TypeError:
            raise _not_addable(place, by) from None
        except ArithmeticError as error:
            raise place.error(EncodeError, f"Python cannot add these: {type(error).__name__}") from None

    return add_to


def _not_addable(place: Place, by: Any) -> Exception:
    hint = value_shape(place.slot).type
    name = getattr(hint, "__name__", str(hint))
    return place.error(EncodeError, f"{name} cannot be incremented by {type(by).__name__}", target=name)
