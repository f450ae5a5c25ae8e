"""Operations on one field: assign, increment, modify, and those of lists, dicts and sets. Generators; no I/O.

Each has up to three ways, the cheapest that is right: *blind* (the effect needs no stored value: one round trip),
*narrow* (it needs one or two stored fields: WATCH them by key, compute, write), *whole* (an :class:`EditObject`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rapyer_codecs import Item, Slot

from rapyer_core.collection import Context, Fields, Target
from rapyer_core.errors import ConstraintError, DecodeError, EncodeError, MissingEntry, NotFound, PathError
from rapyer_core.operations.commit import Change, Seen, Unit, blind, commit
from rapyer_core.operations.edits import Assign, Call, Compute, Edit, EditObject
from rapyer_core.places import is_leaf, kind_of, value_shape
from rapyer_core.requests import Command, Operation, ServerError
from rapyer_core.retries import Retry
from rapyer_core.states import State, attach, state_of

_ADDABLE = (int, float, complex, Decimal, Fraction, timedelta)
_INT64 = 2**63
UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Options:
    """How one write is done. None: as the session says."""

    retry: Retry | None = None
    exactly_once: bool | None = None


@dataclass(slots=True)
class Place:
    """One field of one stored object, and how it may be written."""

    ctx: Context
    target: Target
    slot: Slot
    options: Options

    @classmethod
    def of(cls, ctx: Context, obj: Any, path: Any, options: Options, *kinds: str) -> Place:
        """Look the path up; PathError unless it leads to one of these kinds (all, if none is given)."""
        target = ctx.target(obj)
        slot = target.collection.slot(path)
        if kinds and kind_of(slot) not in kinds:
            raise PathError(
                **target.data, path=slot.text, reason=f"it is a {kind_of(slot)}; this operation is for: {', '.join(kinds)}"
            )
        key_slot = target.collection.model.key_slot
        if key_slot is not None and key_slot.name == slot.name:
            raise ConstraintError(**target.data, path=slot.text, reason="the key field of a stored object cannot change")
        return cls(ctx, target, slot, options)

    @property
    def once(self) -> bool:
        """Whether the write must be proven to have happened exactly once."""
        chosen = self.options.exactly_once
        return self.ctx.exactly_once if chosen is None else chosen

    @property
    def may_be_blind(self) -> bool:
        """Whether a write of it needs to see nothing."""
        slot = self.slot
        return (
            slot.sure and not self.once and not slot.former and not is_indexed(self.target, slot) and not constrained(slot)
        )

    def commit(self, unit: Unit) -> Operation[Any]:
        """Run one unit."""
        return commit(self.ctx, [unit], retry=self.options.retry, exactly_once=self.options.exactly_once)

    def edit(self, edit: Edit) -> Operation[Any]:
        """The whole way: apply the edit to the object; returns the edit's result."""
        unit = EditObject(self.target, [edit])
        yield from self.commit(unit)
        adopt(self.target, self.slot, {name: value for name, value in unit.after.items() if self.slot.under(name)})
        return unit.results[0]

    def child(self, key: Any) -> Slot:
        """The place of one entry or element."""
        with self.target.collection.named(self.target.pk):
            return self.slot.child(Item(key))

    def dumped(self, slot: Slot, value: Any) -> Fields:
        """The stored form of a value at a place; errors name the object."""
        with self.target.collection.named(self.target.pk):
            return slot.dump(value)


def is_indexed(target: Target, slot: Slot) -> bool:
    """Whether an index depends on the place."""
    return any(slot.under(index.slot.name) for index in target.collection.indexes)


def constrained(slot: Slot) -> bool:
    """Whether values of the place are checked against constraints."""
    return bool(getattr(slot, "constrained", False))


def adopt(target: Target, slot: Slot, fields: Fields) -> None:
    """Let the caller's instance show what the server holds at the place now. Frozen ones are left alone.

    Containers are changed in place, so that whoever holds the list sees it.
    """
    obj = target.obj
    if obj is None or target.collection.model.frozen:
        return
    try:
        value = slot.load(fields)
        held = _held(slot, obj)
        if isinstance(held, list) and isinstance(value, list):
            held[:] = value
        elif isinstance(held, dict | set) and isinstance(value, dict | set):
            held.clear()
            held.update(value)
        else:
            slot.put(obj, value)
    except (LookupError, AttributeError, TypeError):
        # The local object has no such place (a shorter list, a None on the way): nothing to show.
        return
    remember(target, slot, fields)


def _held(slot: Slot, obj: Any) -> Any:
    """What the instance has at the place; None for an entry that it has not yet."""
    try:
        return slot.get(obj)
    except LookupError:
        return None


def remember(target: Target, slot: Slot, fields: Fields) -> None:
    """Note what is stored at the place now, for the next save."""
    state = state_of(target.obj)
    if state.stored is not None:
        kept = {name: value for name, value in state.stored.items() if not slot.under(name)}
        attach(target.obj, State(target.pk, {**kept, **fields}))


# -- any leaf --


@dataclass(slots=True)
class EditLeaf(Unit):
    """A leaf gets a value computed from its stored one. Sees one field."""

    target: Target
    slot: Slot
    function: Callable[[Any], Any]
    needs: Sequence[bytes] | None = None
    value: Any = None
    raw: bytes = b""

    def __post_init__(self) -> None:
        self.needs = [self.slot.name, *self.slot.former]

    def decide(self, seen: Seen) -> Change:
        """Compute from what is stored, or from the default of a field added later."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        name = self.slot.name
        with self.target.collection.named(self.target.pk):
            self.value = self.function(self.slot.load(seen.fields))
            self.raw = self.slot.encode(self.value)
        put = {} if seen.fields.get(name) == self.raw else {name: self.raw}
        return Change(put=put, drop=[old for old in self.slot.former if old in seen.fields])


def _edit_leaf(place: Place, function: Callable[[Any], Any]) -> Operation[Any]:
    slot = place.slot
    if not (slot.sure and is_leaf(slot)):
        return (yield from place.edit(Compute(slot, function)))
    unit = EditLeaf(place.target, slot, function)
    yield from place.commit(unit)
    adopt(place.target, slot, {slot.name: unit.raw})
    return unit.value


def assign(ctx: Context, obj: Any, path: Any, value: Any, options: Options) -> Operation[None]:
    """Give a field a value. Blind for one stored field, else worked out."""
    place = Place.of(ctx, obj, path, options)
    slot = place.slot
    fields = place.dumped(slot, value)
    if is_leaf(slot) and place.may_be_blind:
        yield from blind(ctx, place.target, [(b"HSET", place.target.key, slot.name, fields[slot.name])])
        adopt(place.target, slot, fields)
    elif is_leaf(slot) and slot.sure:
        yield from commit(
            ctx, [PutFields(place.target, fields, slot)], retry=options.retry, exactly_once=options.exactly_once
        )
        adopt(place.target, slot, fields)
    else:
        yield from place.edit(Assign(slot, fields))


@dataclass(slots=True)
class PutFields(Unit):
    """Fields are written whatever they held; sees them, for the indexes."""

    target: Target
    fields: Fields
    slot: Slot
    needs: Sequence[bytes] | None = None

    def __post_init__(self) -> None:
        self.needs = list(self.fields)

    def decide(self, seen: Seen) -> Change:
        """Write them if the object exists."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        return Change(put=self.fields)


def increment(ctx: Context, obj: Any, path: Any, by: Any, options: Options) -> Operation[Any]:
    """Add to a number; the new value."""
    place = Place.of(ctx, obj, path, options, "leaf")
    slot, target = place.slot, place.target
    shape = value_shape(slot)
    if shape.type not in _ADDABLE or isinstance(by, bool) or not isinstance(by, _ADDABLE):
        raise EncodeError(
            **target.data, path=slot.text, target=_type_name(shape.type), reason=f"cannot be incremented by a {type(by).__name__}"
        )
    if shape.type is int and not isinstance(by, int):
        raise EncodeError(**target.data, path=slot.text, target="int", reason=f"cannot be incremented by a {type(by).__name__}")
    if shape.type is int and slot.shape.kind == "leaf" and place.may_be_blind and -_INT64 < by < _INT64:
        value = yield from _hincrby(place, int(by))
        if value is not None:
            return value
    return (yield from _edit_leaf(place, _adder(place, by)))


def _hincrby(place: Place, by: int) -> Operation[int | None]:
    """HINCRBY; None when the server refuses it (past 64 bit, or no canonical number), with no effect."""
    slot, target = place.slot, place.target
    commands: list[Command] = []
    default = (slot.default_fields() or {}).get(slot.name, b"0")
    if default != b"0":
        commands.append((b"HSETNX", target.key, slot.name, default))
    commands.append((b"HINCRBY", target.key, slot.name, by))
    refusals: list[ServerError] = []
    replies = yield from blind(place.ctx, target, commands, on_refused=refusals.append)
    if refusals:
        return None
    value = int(replies[-1])
    adopt(target, slot, {slot.name: b"%d" % value})
    return value


def _adder(place: Place, by: Any) -> Callable[[Any], Any]:
    def add(value: Any) -> Any:
        if value is None:
            raise ConstraintError(
                **place.target.data, path=place.slot.text, reason="it is None and cannot be incremented; assign a value first"
            )
        return value + by

    return add


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def modify(
    ctx: Context, obj: Any, path: Any, function: Callable[[Any], Any], options: Options
) -> Operation[Any]:
    """Compute a field's new value from its stored one; tried again with the newer value when another writer came first."""
    return (yield from _edit_leaf(Place.of(ctx, obj, path, options), function))


# -- lists --


@dataclass(slots=True)
class AppendItems(Unit):
    """Elements are added at the end of a list. Sees only its length. known: the length the instance was loaded with."""

    target: Target
    slot: Slot
    values: Sequence[Any]
    known: int | None
    needs: Sequence[bytes] | None = None
    put: Fields = field(default_factory=dict)
    in_step: bool = True

    def __post_init__(self) -> None:
        self.needs = [self.slot.name]

    def decide(self, seen: Seen) -> Change:
        """Write the elements and the new length."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        with self.target.collection.named(self.target.pk):
            raw = seen.fields.get(self.slot.name)
            self.put = {}
            if raw is None:
                self.put = dict(self.slot.default_fields() or {self.slot.name: b"0"})
                raw = self.put[self.slot.name]
            length = _length(self.slot, raw)
            self.in_step = self.known == length and not self.put
            for offset, value in enumerate(self.values):
                self.put.update(self.slot.child(Item(length + offset)).dump(value))
            self.put[self.slot.name] = b"%d" % (length + len(self.values))
        tail = None if self.in_step or self.target.obj is None else (b"HGETALL", self.target.key)
        return Change(put=self.put, tail=tail)


def _length(slot: Slot, raw: bytes) -> int:
    if not raw.isdigit() or (raw[:1] == b"0" and raw != b"0"):
        raise DecodeError(path=slot.text, target="list length", raw=raw, reason="the stored length is no number")
    return int(raw)


def extend(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Add elements at the end of a list."""
    place = Place.of(ctx, obj, path, options, "list")
    slot, target = place.slot, place.target
    items = list(values)
    for offset, value in enumerate(items):
        place.dumped(place.child(offset), value)
    if not (slot.sure and slot.shape.kind == "list"):
        yield from place.edit(Call(slot, "extend", lambda: (_copies(place, items),)))
        return
    stored = state_of(target.obj).stored if target.obj is not None else None
    known = int(stored[slot.name]) if stored is not None and slot.name in stored else None
    unit = AppendItems(target, slot, items, known)
    outcome = yield from place.commit(unit)
    _adopt_appended(place, unit, outcome.tails[0])


def _adopt_appended(place: Place, unit: AppendItems, tail: Any) -> None:
    target, slot = place.target, place.slot
    if target.obj is None or target.collection.model.frozen:
        return
    if tail is not None:
        fields = dict(zip(tail[::2], tail[1::2], strict=True))
        adopt(target, slot, {name: value for name, value in fields.items() if slot.under(name)})
    elif unit.in_step:
        try:
            slot.get(target.obj).extend(_copies(place, unit.values))
        except (AttributeError, LookupError):
            return
        state = state_of(target.obj)
        attach(target.obj, State(target.pk, {**(state.stored or {}), **unit.put}))


def _copies(place: Place, values: Iterable[Any]) -> list[Any]:
    """Values of one's own, equal to those given: neither retries nor the caller's instance share them."""
    slot = place.child(0)
    return [_copy(slot, value) for value in values]


def _copy(slot: Slot, value: Any) -> Any:
    return slot.load(slot.dump(value))


def insert_at(ctx: Context, obj: Any, path: Any, index: int, value: Any, options: Options) -> Operation[None]:
    """Insert an element before an index, with Python's rules for indexes past either end."""
    place = Place.of(ctx, obj, path, options, "list")
    slot = place.child(0)
    place.dumped(slot, value)
    yield from place.edit(Call(place.slot, "insert", lambda: (index, _copy(slot, value))))


# -- dicts and sets --


def _plain_and_empty(place: Place, kind: str) -> bool:
    """Whether the container is there whenever the object is, and starts empty: then its marker is a constant."""
    slot = place.slot
    default = slot.default_fields()
    return bool(slot.shape.kind == kind and (default is None or len(default) == 1))


def merge(ctx: Context, obj: Any, path: Any, values: Mapping[Any, Any], options: Options) -> Operation[None]:
    """Set several entries of a dict in one commit."""
    place = Place.of(ctx, obj, path, options, "dict")
    slot, target = place.slot, place.target
    pairs = [(key, place.child(key), value) for key, value in values.items()]
    dumped = [(key, child, place.dumped(child, value)) for key, child, value in pairs]
    if not (place.may_be_blind and _plain_and_empty(place, "dict") and all(is_leaf(child) for _, child, _ in pairs)):
        yield from place.edit(
            Call(slot, "update", lambda: ({key: child.load(fields) for key, child, fields in dumped},))
        )
        return
    put = slot.dump({})
    for _, _, fields in dumped:
        put.update(fields)
    yield from _blind_put(place, put)
    for _, child, fields in dumped:
        adopt(target, child, fields)


def _blind_put(place: Place, put: Fields) -> Operation[None]:
    key = place.target.key
    yield from blind(place.ctx, place.target, [(b"HSET", key, *(part for pair in put.items() for part in pair))])


def add(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Add members to a set."""
    place = Place.of(ctx, obj, path, options, "set")
    members = set(values)
    put = place.dumped(place.slot, members)
    if not (place.may_be_blind and _plain_and_empty(place, "set")):
        yield from place.edit(Call(place.slot, "update", lambda: (members,)))
        return
    yield from _blind_put(place, put)
    _adopt_members(place, members, put, {})


def discard(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Remove members from a set, if they are there."""
    place = Place.of(ctx, obj, path, options, "set")
    members = set(values)
    gone = place.dumped(place.slot, members)
    del gone[place.slot.name]
    if not (place.may_be_blind and _plain_and_empty(place, "set")) or not gone:
        yield from place.edit(Call(place.slot, "difference_update", lambda: (members,)))
        return
    yield from blind(ctx, place.target, [(b"HDEL", place.target.key, *gone)])
    _adopt_members(place, members, {}, gone)


def _adopt_members(place: Place, members: set[Any], put: Fields, gone: Fields) -> None:
    target = place.target
    if target.obj is None or target.collection.model.frozen:
        return
    try:
        held = place.slot.get(target.obj)
        if gone:
            held.difference_update(members)
        else:
            held.update(members)
    except (AttributeError, LookupError):
        return
    state = state_of(target.obj)
    if state.stored is not None:
        kept = {name: value for name, value in state.stored.items() if name not in gone}
        attach(target.obj, State(target.pk, {**kept, **put}))


def pop(ctx: Context, obj: Any, path: Any, key: Any, default: Any, options: Options) -> Operation[Any]:
    """Take out and return a list's element (the last one unless key says which) or a dict's entry."""
    place = Place.of(ctx, obj, path, options, "list", "dict")
    entry: Slot | None = None
    if kind_of(place.slot) == "list":
        if key is not UNSET and (not isinstance(key, int) or isinstance(key, bool)):
            raise EncodeError(**place.target.data, path=place.slot.text, target="int", reason="a list index is an int")
        arguments = () if key is UNSET else (key,)
    elif key is UNSET:
        raise TypeError("pop of a dict field needs the key")
    else:
        entry = place.child(key)
        arguments = (key,)
    try:
        return (yield from place.edit(Call(place.slot, "pop", lambda: arguments, entry)))
    except LookupError as error:
        if default is UNSET or isinstance(error, NotFound):
            raise
        return default


def remove(ctx: Context, obj: Any, path: Any, item: Any, options: Options) -> Operation[None]:
    """Remove a list's first equal element, a dict's entry by key, or a set's member; an error if it is not there."""
    place = Place.of(ctx, obj, path, options, "list", "dict", "set")
    kind = kind_of(place.slot)
    if kind == "list":
        place.dumped(place.child(0), item)
    elif kind == "dict":
        place.child(item)
    method = "__delitem__" if kind == "dict" else "remove"
    child = place.child(item) if kind == "dict" else None
    if child is not None and place.may_be_blind and _plain_and_empty(place, "dict") and is_leaf(child):
        replies = yield from blind(ctx, place.target, [(b"HDEL", place.target.key, child.name)])
        if not replies[0]:
            raise MissingEntry("there is no such key; nothing was written", **place.target.data, path=child.text)
        _forget_entry(place, item, child)
        return
    yield from place.edit(Call(place.slot, method, lambda: (item,), child))


def _forget_entry(place: Place, key: Any, child: Slot) -> None:
    target = place.target
    if target.obj is None or target.collection.model.frozen:
        return
    try:
        place.slot.get(target.obj).pop(key, None)
    except (AttributeError, LookupError):
        return
    remember(target, child, {})


def clear(ctx: Context, obj: Any, path: Any, options: Options) -> Operation[None]:
    """Empty a list, dict or set."""
    place = Place.of(ctx, obj, path, options, "list", "dict", "set")
    yield from place.edit(Call(place.slot, "clear", tuple))
