"""Adoption: after a write, the caller's instance shows what the server holds, and remembers it for the next save.

A frozen instance is left alone, its memory too: its next save compares with what it was loaded with. What cannot
be shown (a None on the way to it, a shorter list) is not remembered either: remembered fields that the instance does
not show would be written back by its next save.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rapyer_codecs import Slot
from rapyer_core.collection import Fields, Target
from rapyer_core.operations.edits import after_change
from rapyer_core.places import (
    NO_SUCH_PLACE,
    comes_and_goes,
    hide,
    show,
    show_fields,
    stored_names,
    unit_of,
    value_of,
    way_to,
    with_holders,
)
from rapyer_core.states import see_change, see_fields, state_of


def adopt(target: Target, slot: Slot, fields: Fields) -> None:
    """Show a place whose stored fields are all known. fields: of an entry that is gone, none."""
    if not adopts(target):
        return
    if slot.stands_alone and slot.name in fields:
        adopt_value(target, slot, slot.decode(fields[slot.name]), fields[slot.name])
        return
    if _shows(target, slot, fields):
        remember(target, [(slot, fields)])


def _shows(target: Target, slot: Slot, fields: Fields) -> bool:
    """Let the instance show a place, all of whose stored fields are given; whether it has such a place."""
    try:
        if fields or not comes_and_goes(slot):
            show(slot, target.obj, value_of(slot, fields))
        else:
            hide(slot, target.obj)
    except NO_SUCH_PLACE:
        return False
    return True


def _parts(places: Collection[bytes], fields: Fields) -> dict[bytes, Fields]:
    """Each place with its stored fields. One pass over the fields, however many places there are."""
    found: dict[bytes, Fields] = {name: {} for name in places}
    for name, value in fields.items():
        for holder in with_holders(name):
            if holder in found:
                found[holder][name] = value
    return found


def adopt_value(target: Target, slot: Slot, value: Any, raw: bytes) -> None:
    """Show the value of a place that is one stored field, and stands alone. raw: what is stored."""
    obj = target.obj
    if obj is None or target.collection.model.frozen:
        return
    attribute = slot.attribute
    try:
        if attribute is not None:
            object.__setattr__(obj, attribute, value)
            see_fields(obj, target.pk, {slot.name: raw})
            return
        show(slot, obj, value)
    except NO_SUCH_PLACE:
        return
    _see_fields(target, {slot.name: raw}, [slot])


def _see_fields(target: Target, written: Mapping[bytes, bytes], entries: Iterable[Slot]) -> None:
    """Note that fields were written that the instance shows. entries: those of them that are entries of dicts."""
    otherwise: Fields = {}
    last: Slot | None = None
    for slot in entries:
        parent = slot.parent
        if parent is last and parent is not None:
            continue
        own = parent.empty if parent is not None else None
        if own is None:
            break
        otherwise.update(own)
        last = parent
    else:
        see_fields(target.obj, target.pk, written, otherwise)
        return
    see_change(target.obj, target.pk, written, lambda known: {**_with_dicts_of(entries, known), **written})


def adopt_fields(target: Target, values: Collection[tuple[Slot, Any, bytes, Any]]) -> None:
    """Show values of places that are one stored field each, and stand alone: with what is stored (and more)."""
    obj = target.obj
    if obj is None or target.collection.model.frozen:
        return
    shown = show_fields(obj, values)
    entries: list[Slot] = []
    for slot, _, _, _ in values:
        if slot.attribute is None and slot.name in shown:
            entries.append(slot)
    _see_fields(target, shown, entries)


def adopt_all(target: Target, slots: Iterable[Slot], after: Fields) -> None:
    """Show several places. after: all that is stored of the object."""
    if not adopts(target):
        return
    alone: list[tuple[Slot, Any, bytes, None]] = []
    units: dict[bytes, Slot] = {}
    for slot in slots:
        if slot.stands_alone and slot.name in after:
            alone.append((slot, slot.decode(after[slot.name]), after[slot.name], None))
        else:
            unit = unit_of(slot)
            units[unit.name] = unit
    shown: list[tuple[Slot, Fields]] = []
    for name, fields in _parts(units, after).items():
        if _shows(target, units[name], fields):
            shown.append((units[name], fields))
    remember(target, shown)
    if alone:
        adopt_fields(target, alone)


def adopt_unit(target: Target, slot: Slot, after: Fields) -> None:
    """Show a place, and with it the whole list or entry that it lies in. after: all that is stored of the object.

    A place inside a list means nothing by itself: the local list may have other elements at other indexes.
    """
    unit = unit_of(slot)
    adopt(target, unit, {name: value for name, value in after.items() if unit.under(name)})


def adopt_change(target: Target, slot: Slot, value: Any, put: Fields, gone: Fields) -> None:
    """Show a value of which only some stored fields are known: put and gone are what the write did to them."""
    if not adopts(target):
        return
    try:
        show(slot, target.obj, value)
    except NO_SUCH_PLACE:
        return
    names = [name for name in (*put, *gone) if name != slot.name]
    see_change(target.obj, target.pk, names, lambda known: after_change(dict(known), put, list(gone)))


def adopts(target: Target) -> bool:
    """Whether there is an instance that can show anything."""
    return target.obj is not None and not target.collection.model.frozen


def shown(target: Target, slot: Slot) -> Any:
    """What the instance shows at the place; None if it has none there."""
    if not adopts(target):
        return None
    try:
        return slot.get(target.obj)
    except NO_SUCH_PLACE:
        return None


def remembered(target: Target) -> Mapping[bytes, bytes]:
    """The stored fields that the instance remembers; none if it was never loaded."""
    return (state_of(target.obj).stored or {}) if target.obj is not None else {}


def remember(target: Target, places: Sequence[tuple[Slot, Fields]]) -> None:
    """Note what is stored at the places now, for the next save."""
    if not places:
        return
    names = {name for slot, _ in places for name in stored_names(slot)}

    def change(known: Mapping[bytes, bytes]) -> Fields:
        known = _with_dicts_of((place for slot, _ in places for place in way_to(slot)), known)
        now = {name: value for name, value in known.items() if names.isdisjoint(with_holders(name))}
        for _, fields in places:
            now.update(fields)
        return now

    see_change(target.obj, target.pk, sorted(names), change)


def _with_dicts_of(slots: Iterable[Slot], stored: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    for slot in slots:
        stored = _with_dict_of(slot, stored)
    return stored


def _with_dict_of(slot: Slot, stored: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Remembered fields, with the dict that the place is an entry of: one that was added to the class later, and never
    stored, is stored with its default once an entry is written.
    """
    holder = slot.parent
    if holder is None or holder.shape.kind != "dict" or holder.name in stored:
        return stored
    default = holder.default_fields() if holder.sure and not holder.renamed else None
    return stored if default is None else {**default, **stored}
