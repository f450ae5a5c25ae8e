"""Edits: what is done to one object, as plain values that can be applied to any current state of it.

A commit that meets another writer applies them again to what is stored by then. ``apply`` works on an ordinary
Python object, loaded for this try alone; :class:`EditObject` turns the result into the fields to write. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from rapyer_codecs import Slot
from rapyer_codecs.lean import dataclass, field
from rapyer_core.collection import Fields, Target
from rapyer_core.errors import MissingEntry, MissingValue, NotFound
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.places import is_stored_formerly, kind_of, present, put_in_own, stepped, value_of, way_to, with_holders
from rapyer_core.tracking import Step, done


class Edit(Protocol):
    """One change of one place."""

    @property
    def slot(self) -> Slot:
        """The place it works on."""
        ...

    @property
    def touched(self) -> Slot:
        """The place whose stored fields it may change."""
        ...

    def apply(self, root: Any) -> Any:
        """Change the object as Python would; returns what the operation returns."""
        ...


class Assign(NamedTuple):
    """The place gets this value, given in stored form so that each try builds a value of its own."""

    slot: Slot
    fields: Fields

    @property
    def touched(self) -> Slot:
        """The place itself."""
        return self.slot

    def apply(self, root: Any) -> Any:
        """Put the value there."""
        slot = self.slot
        value = slot.decode(self.fields[slot.name]) if slot.is_field else value_of(slot, self.fields)
        put_in_own(slot, root, value)


class Written(NamedTuple):
    """The place, which is one field, gets this value. It is stored as raw, and nobody can change it.

    steps: what was done to the value that was there, so that the same is done to any other; None: it was assigned.
    """

    slot: Slot
    value: Any
    raw: bytes
    steps: Sequence[Step] | None = None

    @property
    def touched(self) -> Slot:
        """The place itself."""
        return self.slot

    def apply(self, root: Any) -> Any:
        """Put the value there, or do the steps to what is there. LookupError if that is None."""
        slot = self.slot
        value = slot.decode(self.raw) if self.steps is None else after_steps(self.steps, slot.get(root))
        put_in_own(slot, root, value)


def after_steps(steps: Iterable[Step], value: Any) -> Any:
    """What the steps make of the value of a place. LookupError if it has none."""
    if value is None:
        raise LookupError
    return done(steps, value)


class Compute(NamedTuple):
    """The place gets a value computed from its own."""

    slot: Slot
    function: Callable[[Any], Any]

    @property
    def touched(self) -> Slot:
        """The place itself."""
        return self.slot

    def apply(self, root: Any) -> Any:
        """Compute and put; returns the new value."""
        value = self.function(self.slot.get(root))
        put_in_own(self.slot, root, value)
        return value


class Call(NamedTuple):
    """A method of the container at the place is called. arguments: built anew for each try.

    entry: the only entry that it changes, if it changes one.
    """

    slot: Slot
    method: str
    arguments: Callable[[], tuple[Any, ...]]
    entry: Slot | None = None

    @property
    def touched(self) -> Slot:
        """The entry, or the whole container."""
        return self.entry or self.slot

    def apply(self, root: Any) -> Any:
        """Call it; returns what it returns."""
        return getattr(self.slot.get(root), self.method)(*self.arguments())


@dataclass(slots=True)
class EditObject(Unit):
    """Edits of one object, worked out on all that is stored of it.

    after: the stored fields as they will be. results: what the edits returned.
    """

    target: Target
    edits: Sequence[Edit]
    needs: Sequence[bytes] | None = None
    after: Fields = field(default_factory=dict)
    results: list[Any] = field(default_factory=list)

    def decide(self, seen: Seen) -> Change:
        """Apply the edits to what is stored now."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        collection = self.target.collection
        obj = collection.load(seen.fields, self.target.pk)
        with collection.named(self.target.pk):
            self.results = [applied(self.target, edit, obj) for edit in self.edits]
            touched = [edit.touched for edit in self.edits]
            put, drop = changed_fields(self.target, touched, seen.fields, obj)
            check_rules(self.target, touched, obj)
        self.after = after_change(seen.fields, put, drop)
        return Change(put=put, drop=drop)


def applied(target: Target, edit: Edit, root: Any) -> Any:
    """What the edit returns. MissingEntry, MissingValue; what the caller's own function raises is let through."""
    if isinstance(edit, Assign) or (isinstance(edit, Written) and edit.steps is None):
        _reach(target, edit.slot, root, edit.slot.steps[:-1])
    else:
        held = _reach(target, edit.slot, root, edit.slot.steps)
        if held is None and not isinstance(edit, Compute):
            raise MissingValue("it is None: assign a value first", **target.data, path=edit.slot.text)
    if isinstance(edit, Compute):
        return edit.apply(root)
    try:
        return edit.apply(root)
    except LookupError as error:
        what = "there is no such index" if isinstance(error, IndexError) else "there is no such key"
        raise MissingEntry(f"{what}; nothing was written", **target.data, path=edit.touched.text) from None
    except ValueError:
        if isinstance(edit, Call) and edit.method == "remove":
            raise MissingValue(**target.data, path=edit.slot.text) from None
        raise


def _reach(target: Target, slot: Slot, root: Any, steps: Sequence[Any]) -> Any:
    """What the object has at the steps to a place; an error of ours that says where the way ends."""
    value: Any = root
    for place, step in zip(way_to(slot), steps, strict=False):
        if value is None and place.parent is not None:
            raise MissingValue(
                "it is None: assign a value first; nothing was written", **target.data, path=place.parent.text
            )
        try:
            value = stepped(value, step)
        except (LookupError, AttributeError):
            raise MissingEntry(
                "is not there in the stored object; nothing was written", **target.data, path=place.text
            ) from None
    if value is None and len(steps) < len(slot.steps):
        raise MissingValue("a value on the way to it is None; nothing was written", **target.data, path=slot.text)
    return value


def changed_fields(target: Target, touched: Sequence[Slot], current: Fields, obj: Any) -> tuple[Fields, list[bytes]]:
    """The fields to put and to drop so that the touched places are stored as the object now has them."""
    put: Fields = {}
    drop: dict[bytes, None] = {}
    wide: list[Slot] = []
    for slot in touched:
        if slot.is_field and not slot.renamed and _holders_are_stored(slot, current):
            _change_field(slot, current, obj, put, drop)
        else:
            wide.append(slot)
    for slot in outermost([_stored_part(slot, current) for slot in wide]):
        try:
            after = slot.dump(present(slot, obj))
        except LookupError:
            after = {}
        more, less = target.collection.mapper.edit(slot, current, after)
        put.update(more)
        drop.update(dict.fromkeys(less))
    return put, [name for name in drop if name not in put]


def check_rules(target: Target, touched: Iterable[Slot], obj: Any) -> None:
    """ConstraintError if a touched place, as the object now has it, breaks a rule, or what it lies in breaks one."""
    if not target.collection.mapper.ruled:
        return
    for slot in touched:
        for holder in way_to(slot)[:-1] if slot.in_ruled else ():
            for value in _there(holder, obj):
                holder.check_itself(value)
        for value in _there(slot, obj):
            slot.check(value)


def _there(slot: Slot, obj: Any) -> Iterable[Any]:
    """What the object has at a place; nothing if it was taken out."""
    try:
        return (present(slot, obj),)
    except (LookupError, AttributeError, TypeError):
        return ()


def _holders_are_stored(slot: Slot, current: Fields) -> bool:
    """Whether whatever the place lies in is stored already, so that its own field is all there is to write."""
    place = slot.parent
    while place is not None and place.parent is not None:
        if place.shape.kind != "record" and (place.shape.kind not in ("dict", "list") or place.name not in current):
            return False
        place = place.parent
    return True


def _change_field(slot: Slot, current: Fields, obj: Any, put: Fields, drop: dict[bytes, None]) -> None:
    try:
        value = present(slot, obj)
    except LookupError:
        if slot.name in current:
            drop[slot.name] = None
        return
    raw = slot.encode(value)
    if current.get(slot.name) != raw:
        put[slot.name] = raw


def _stored_part(slot: Slot, current: Fields) -> Slot:
    """The place, or the outermost one around it that has to be written whole.

    That is a container that was never stored (a field added to the class later), one that keeps an order, and a field
    that is still stored under a former name.
    """
    for place in way_to(slot)[:-1]:
        never = place.shape.kind != "record" and not place.present(current)
        if never or kind_of(place) == "ordered" or is_stored_formerly(place, current):
            return place
    return slot


def outermost(slots: Sequence[Slot]) -> list[Slot]:
    """The places without those that lie inside another of them."""
    named = {slot.name: slot for slot in slots}
    return [
        slot for name, slot in named.items() if not any(outer in named for outer in with_holders(name) if outer != name)
    ]


def after_change(fields: Fields, put: Fields, drop: Sequence[bytes]) -> Fields:
    """Stored fields once the change was made."""
    if not drop:
        return {**fields, **put}
    gone = set(drop)
    return {**{name: value for name, value in fields.items() if name not in gone}, **put}
