"""What kind of place a Slot is, in the words of the operations, and how an instance comes to show a value there.

Questions to the engine and plain Python objects only; no commands, no keys.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from rapyer_codecs import Item, RapyerError, Shape, Slot
from rapyer_codecs.shape import Child

_put_attribute: Callable[[Any, Any, Any], None] = object.__setattr__

NO_SUCH_PLACE = (LookupError, AttributeError, TypeError, RapyerError)
"""What showing a value raises if the instance has no such place."""


def value_shape(slot: Slot) -> Shape:
    """The shape of the values at a place; of an Optional, of its value."""
    shape = slot.shape
    inner = getattr(shape, "inner", None) if shape.kind == "union" else None
    return shape if inner is None else inner


def kind_of(slot: Slot) -> str:
    """The kind of a place; of an Optional, the kind of its value."""
    return value_shape(slot).kind


def stored_names(slot: Slot) -> list[bytes]:
    """Where data of any age may hold the place: its own name first, then former ones."""
    found = [b""]
    for place in way_to(slot):
        segments = [name.rpartition(b".")[2] for name in (place.name, *place.former)]
        found = [holder + b"." + segment if holder else segment for holder in found for segment in segments]
    return found


def is_below(name: bytes, places: Iterable[bytes]) -> bool:
    """Whether a stored name is one of these or lies below one."""
    return any(name == place or name.startswith(place + b".") for place in places)


def with_holders(name: bytes) -> Iterator[bytes]:
    """A stored name, and the names that it lies below, the nearest first."""
    yield name
    end = name.rfind(b".")
    while end > 0:
        yield name[:end]
        end = name.rfind(b".", 0, end)


def is_stored_formerly(slot: Slot, fields: Iterable[bytes]) -> bool:
    """Whether some of the place is stored under a former name of its own."""
    return bool(slot.former) and any(is_below(name, slot.former) for name in fields)


def is_plain_and_empty(slot: Slot, kind: str) -> bool:
    """Whether it is a container that is there whenever the object is, and starts empty: its marker is a constant."""
    return slot.shape.kind == kind and slot.empty is not None


def is_entry(slot: Slot) -> bool:
    """Whether the place is the one stored field of a key of a dict that starts empty and has no key by itself."""
    parent = slot.parent
    return (
        parent is not None
        and slot.is_field
        and is_plain_and_empty(parent, "dict")
        and not hasattr(getattr(parent.shape, "cls", dict), "__missing__")
    )


def comes_and_goes(slot: Slot) -> bool:
    """Whether the place is an entry of a dict, or holds one of several alternatives (an Optional, a Union)."""
    parent = slot.parent
    return slot.shape.kind == "union" or (parent is not None and parent.shape.has_entries)


def way_to(slot: Slot) -> list[Slot]:
    """The places from the field of the class down to this one."""
    found: list[Slot] = []
    place: Slot | None = slot
    while place is not None and place.parent is not None:
        found.append(place)
        place = place.parent
    return found[::-1]


def unit_of(slot: Slot) -> Slot:
    """The outermost list, entry, alternative or renamed field around the place: it makes sense only as a whole."""
    return next((place for place in way_to(slot) if _is_whole(place)), slot)


def _is_whole(place: Slot) -> bool:
    shape = place.shape
    return bool(place.former) or shape.lists_elements or shape.kind == "ordered" or comes_and_goes(place)


def places_of(root: Slot, name: bytes) -> Iterator[Slot]:
    """The places on the way to a stored name, as far as the class knows them."""
    place = root
    for segment in name.split(b"."):
        try:
            place = place.child(place.shape.step(segment))
        except RapyerError:
            return
        yield place


# -- values --


def value_of(slot: Slot, fields: dict[bytes, bytes]) -> Any:
    """The value of a place whose own fields are given, all of them, without those of what it lies in."""
    if slot.sure:
        return slot.load(fields)
    alone = Slot(slot.model, slot.shape, slot.steps, slot.name, None, Child(slot.name, slot.shape))
    return alone.load(fields)


def show(slot: Slot, obj: Any, value: Any) -> None:
    """Put a value at a place of an instance, and disturb nobody else.

    What lies on the way is copied, not changed: shallow copies of the instance share it, and it may be frozen. Live
    values (those of ``AtomicRedisModel``) belong to one instance and are changed where they are.

    Raises LookupError, AttributeError or TypeError if the instance has no such place.
    """
    if slot.is_field and slot.attribute is not None:
        object.__setattr__(obj, slot.attribute, value)
        return
    parent, last = slot.parent, slot.steps[-1]
    if slot.is_field and parent is not None and parent.attribute is not None and isinstance(last, Item):
        holder = getattr(obj, parent.attribute)
        if type(holder) is dict:
            object.__setattr__(obj, parent.attribute, {**holder, last.key: value})
            return
    holders = [obj]
    for step in slot.steps[:-1]:
        holders.append(stepped(holders[-1], step))
    held = _held(holders[-1], slot.steps[-1])
    if _is_live(held) and isinstance(held, list | dict | set):
        _refill(held, value)
        return
    for holder, step in zip(holders[:0:-1], slot.steps[:0:-1], strict=True):
        if _is_live(holder):
            _set(holder, step, value)
            return
        value = _changed(holder, step, value)
    _set(obj, slot.steps[0], value)


def show_fields(obj: Any, values: Iterable[tuple[Slot, Any, bytes, Any]]) -> dict[bytes, bytes]:
    """Put values of places that are one field each, given with their texts (and more), in the manner of :func:`show`.

    The fields of those that the instance has.
    """
    shown: dict[bytes, bytes] = {}
    own: dict[Slot | None, dict[Any, Any] | None] = {}
    """Dicts that were copied for this: further entries can be put there as they are. None: not to be had."""
    for slot, value, raw, _ in values:
        attribute = slot.attribute
        try:
            if attribute is not None:
                _put_attribute(obj, attribute, value)
            else:
                parent = slot.parent
                if parent not in own:
                    own[parent] = _own_dict(obj, parent)
                holder = own[parent]
                if holder is not None:
                    holder[slot.steps[-1].key] = value  # type: ignore[union-attr]  # an entry of a dict
                else:
                    show(slot, obj, value)
        except NO_SUCH_PLACE:
            continue
        shown[slot.name] = raw
    return shown


def _own_dict(obj: Any, slot: Slot | None) -> dict[Any, Any] | None:
    """A copy of a dict that is a field of an instance, which then has the copy. None where that is not to be had."""
    attribute = slot.attribute if slot is not None else None
    held = None if attribute is None else getattr(obj, attribute)
    if type(held) is not dict:
        return None
    copied: dict[Any, Any] = held.copy()
    _put_attribute(obj, attribute, copied)
    return copied


def present(slot: Slot, obj: Any) -> Any:
    """What an object has at a place. LookupError for a key that is not there, also where asking would make it up."""
    step = slot.steps[-1]
    if slot.parent is not None and isinstance(step, Item):
        holder = slot.parent.get(obj)
        if isinstance(holder, Mapping) and step.key not in holder:
            raise KeyError(step.key)
    return slot.get(obj)


def put_in_own(slot: Slot, obj: Any, value: Any) -> None:
    """Put a value at a place of an object that was just loaded, so that nobody shares its lists and dicts.

    A record or tuple in it may be shared all the same: it may be the default of the class.
    """
    holder = obj
    for step in slot.steps[:-1]:
        holder = stepped(holder, step)
        if not isinstance(holder, list | dict):
            show(slot, obj, value)
            return
    _set(holder, slot.steps[-1], value)


def hide(slot: Slot, obj: Any) -> None:
    """Take the entry of a dict out of an instance, in the manner of :func:`show`."""
    assert slot.parent is not None
    step = slot.steps[-1]
    assert isinstance(step, Item)
    left = copy.copy(slot.parent.get(obj))
    left.pop(step.key, None)
    show(slot.parent, obj, left)


def _is_live(value: Any) -> bool:
    return hasattr(type(value), "__rapyer_plain__")


def _refill(held: Any, value: Any) -> None:
    if isinstance(held, list):
        held[:] = value
    else:
        held.clear()
        held.update(value)


def _changed(holder: Any, step: Any, value: Any) -> Any:
    """A copy of the holder with one part changed."""
    if isinstance(holder, tuple):
        if not isinstance(step, Item):
            return cast(Any, holder)._replace(**{step: value})
        parts: list[Any] = list(holder)
        parts[cast(int, step.key)] = value
        return tuple(parts)
    changed = copy.copy(holder)
    _set(changed, step, value)
    return changed


def _held(holder: Any, step: Any) -> Any:
    try:
        return stepped(holder, step)
    except LookupError:
        return None


def stepped(value: Any, step: Any) -> Any:
    """What a value has at one step; Python's own errors if it is not there."""
    return value[step.key] if isinstance(step, Item) else getattr(value, step)


def _set(holder: Any, step: Any, value: Any) -> None:
    if isinstance(step, Item):
        holder[step.key] = value
    else:
        object.__setattr__(holder, step, value)
