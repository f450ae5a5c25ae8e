"""Operations on the entries of dicts and the members of sets: merge (and put), pop, remove, add, discard.

pop and remove work on lists too. Generators; no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.lean import dataclass
from rapyer_core import packing
from rapyer_core.arguments import kind_of_value
from rapyer_core.collection import Context, Fields, Target
from rapyer_core.errors import EncodeError, MissingEntry, MissingValue, NotFound
from rapyer_core.operations.adoption import adopt, adopt_change, shown
from rapyer_core.operations.commands import hset
from rapyer_core.operations.edits import Call, Compute
from rapyer_core.operations.lists import check_index
from rapyer_core.operations.place import Options, Place, constrained
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.places import is_entry, is_plain_and_empty, kind_of, value_of, value_shape
from rapyer_core.requests import UNUSUAL, WRITE, Operation, Reply, Straight, straight

UNSET: Any = object()
"""No argument was given."""

_DICTS = ("dict", "ordered")
_LISTS = ("list", "deque")


# -- entries and members that are one stored field each --


@dataclass(slots=True)
class WriteFields(Unit):
    """Fields are put and dropped, whatever they held. Sees them. dropped: how many of those to drop were there."""

    target: Target
    put: Fields
    drop: Sequence[bytes]
    needs: Sequence[bytes] | None
    dropped: int = 0

    def decide(self, seen: Seen) -> Change:
        """Write if the object exists."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        drop = [name for name in self.drop if name in seen.fields]
        self.dropped = len(drop)
        return Change(put=self.put, drop=drop)


def _write(place: Place, put: Fields, drop: Iterable[bytes] = ()) -> Operation[int]:
    """Put or drop entries of a container that starts empty, blindly if that is allowed; how many were dropped."""
    key, names = place.target.key, list(drop)
    if not place.may_be_blind:
        unit = WriteFields(place.target, put, names, [*put, *names])
        yield from place.commit(unit)
        return unit.dropped
    replies = yield from place.blindly((b"HDEL", key, *names) if names else hset(key, put))
    return int(replies[0]) if names else 0


# -- dicts: set entries --


def merge(
    ctx: Context, obj: Any, path: Any, values: Mapping[Any, Any], options: Options
) -> Operation[None] | Straight[None]:
    """Set several entries of a dict in one commit. Blind where each is one stored field."""
    if not isinstance(values, Mapping):
        place = Place.of(ctx, obj, path, options, *_DICTS)
        raise place.error(EncodeError, f"a mapping is expected, not {kind_of_value(values)}", target="dict")
    return put(ctx, obj, path, values.items(), options)


def put(
    ctx: Context, obj: Any, path: Any, entries: Iterable[tuple[Any, Any]], options: Options
) -> Operation[None] | Straight[None]:
    """The same for keys and values: a key that no dict can have is refused as any that is not of the type."""
    place = Place.of(ctx, obj, path, options, *_DICTS)
    slot = place.slot
    pairs = [(key, place.child(key), value) for key, value in entries]
    dumped = [(key, child, place.storable(child, value)) for key, child, value in pairs]
    if constrained(slot) or not (is_plain_and_empty(slot, "dict") and all(child.is_field for _, child, _ in pairs)):
        return place.edit(Entries(slot, dumped))
    return _put_entries(place, [(child, fields) for _, child, fields in dumped])


@dataclass(slots=True, frozen=True)
class Entries:
    """An edit: entries of a dict are set. pairs: key, place and stored form of each."""

    slot: Slot
    pairs: Sequence[tuple[Any, Slot, Fields]]

    @property
    def touched(self) -> Slot:
        """The entry, if it is only one and nothing else of the dict (an order) changes with it."""
        return self.pairs[0][1] if len(self.pairs) == 1 and kind_of(self.slot) == "dict" else self.slot

    def apply(self, root: Any) -> None:
        """Set them one by one: ``update`` of a Counter would add."""
        held = self.slot.get(root)
        for key, child, fields in self.pairs:
            held[key] = value_of(child, fields)


def put_entry(place: Place, fields: Fields) -> Operation[None] | Straight[None]:
    """Set the entry that the place is. fields: its stored form."""
    return _put_entries(place.holder, [(place.slot, fields)])


Written = Sequence[tuple[Slot, Fields]]
"""Places with their stored form."""


def _put_entries(holder: Place, entries: Written) -> Operation[None] | Straight[None]:
    """Set entries of a dict that starts empty, with the dict's own field."""
    put = dict(holder.slot.empty or {})
    for _, fields in entries:
        put.update(fields)
    return put_fields(holder, put, entries)


def put_fields(place: Place, put: Fields, written: Written) -> Operation[None] | Straight[None]:
    """Put fields of a place, whatever they held, blindly if that is allowed. written: what the instance is to show."""
    subject = place, put, written
    if not place.may_be_blind:
        return _put_fields(subject)
    return straight(Straight, (WRITE, packing.put(place.target.key, put), 2, subject, _have_put, _put_fields))


def _have_put(putting: tuple[Place, Fields, Written], replies: list[Reply]) -> Any:
    place, _, written = putting
    existed, added = replies
    if existed != 1 or type(added) is not int:
        return UNUSUAL
    for slot, fields in written:
        adopt(place.target, slot, fields)
    return None


def _put_fields(putting: tuple[Place, Fields, Written]) -> Operation[None]:
    """The putting: as of ``put_fields``."""
    place, put, written = putting
    yield from _write(place, put)
    for slot, fields in written:
        adopt(place.target, slot, fields)


# -- dicts, lists and sets: take out --


@dataclass(slots=True)
class TakeEntry(Unit):
    """An entry of one stored field is taken out of a dict. Sees that field. value: what it was."""

    target: Target
    slot: Slot
    needs: Sequence[bytes] | None
    value: Any = None

    def decide(self, seen: Seen) -> Change:
        """Load and drop it."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        slot = self.slot
        before = seen.fields.get(slot.name)
        if before is None:
            raise _no_such_key(self.target, slot)
        try:
            self.value = slot.decode(before) if slot.stands_alone else slot.load(seen.fields)
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise
        return Change(drop=[slot.name])


def _no_such_key(target: Target, slot: Slot) -> MissingEntry:
    return MissingEntry("there is no such key; nothing was written", **target.data, path=slot.text)


def pop(ctx: Context, obj: Any, path: Any, key: Any, default: Any, options: Options) -> Operation[Any]:
    """Take out and return a list's element (the last one unless key says which) or a dict's entry."""
    place = Place.of(ctx, obj, path, options, *_LISTS, *_DICTS)
    try:
        if kind_of(place.slot) in _LISTS:
            return (yield from _pop_element(place, key))
        if key is UNSET:
            raise place.error(EncodeError, "pop of a dict needs the key", target="key")
        return (yield from _pop_entry(place, key))
    except MissingEntry:
        if default is UNSET:
            raise
        return default


def _pop_element(place: Place, key: Any) -> Operation[Any]:
    if key is UNSET:
        return (yield from place.edit(Call(place.slot, "pop", tuple)))
    check_index(place, key)
    if kind_of(place.slot) == "list":
        return (yield from place.edit(Call(place.slot, "pop", lambda: (key,))))
    return (yield from place.edit(PopOfDeque(place.slot, key)))


@dataclass(slots=True, frozen=True)
class PopOfDeque:
    """An edit: the element at an index is taken out of a deque, whose own pop knows no index."""

    slot: Slot
    index: int

    @property
    def touched(self) -> Slot:
        """The deque."""
        return self.slot

    def apply(self, root: Any) -> Any:
        """Take it out; returns it."""
        held = self.slot.get(root)
        value = held[self.index]
        del held[self.index]
        return value


def _pop_entry(place: Place, key: Any) -> Operation[Any]:
    entry = place.child(key)
    if not is_entry(entry):
        return (yield from place.edit(Call(place.slot, "pop", lambda: (key,), _entry_of(place, entry))))
    unit = TakeEntry(place.target, entry, [entry.name])
    yield from place.commit(unit)
    adopt(place.target, entry, {})
    return unit.value


def _entry_of(place: Place, entry: Slot) -> Slot | None:
    """The one place that changes with an entry: of an OrderedDict, that is the whole."""
    return entry if kind_of(place.slot) == "dict" else None


def remove(ctx: Context, obj: Any, path: Any, item: Any, options: Options) -> Operation[None]:
    """Remove a list's first equal element, a dict's entry by key, or a set's member; an error if it is not there."""
    place = Place.of(ctx, obj, path, options, *_LISTS, *_DICTS, "set")
    kind = kind_of(place.slot)
    if kind in _LISTS:
        place.dumped(place.child(0), item)
        yield from place.edit(Call(place.slot, "remove", lambda: (item,)))
    elif kind == "set":
        yield from _remove_member(place, item)
    else:
        yield from _remove_entry(place, item)


def _remove_entry(place: Place, key: Any) -> Operation[None]:
    entry, target = place.child(key), place.target
    if not is_entry(entry) or constrained(place.slot):
        yield from place.edit(Call(place.slot, "__delitem__", lambda: (key,), _entry_of(place, entry)))
        return
    dropped = yield from _write(place, {}, [entry.name])
    adopt(target, entry, {})
    if not dropped:
        raise _no_such_key(target, entry)


# -- sets --


def add(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Add members to a set."""
    place = Place.of(ctx, obj, path, options, "set")
    members = _members(place, values)
    put = place.dumped(place.slot, members)
    if place.target.collection.mapper.ruled:
        with place.target.collection.named(place.target.pk):
            place.slot.check_parts(members)
    if not is_plain_and_empty(place.slot, "set") or constrained(place.slot):
        yield from place.edit(Compute(place.slot, lambda held: _present(place, held) | members))
        return
    yield from _write(place, put)
    _adopt_members(place, lambda held: held | members, put, {})


def discard(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Remove members from a set, if they are there."""
    place = Place.of(ctx, obj, path, options, "set")
    members = _members(place, values)
    gone = _member_fields(place, members)
    if not gone or not is_plain_and_empty(place.slot, "set") or constrained(place.slot):
        yield from place.edit(Compute(place.slot, lambda held: _present(place, held) - members))
        return
    yield from _write(place, {}, gone)
    _adopt_members(place, lambda held: held - members, {}, gone)


def _remove_member(place: Place, member: Any) -> Operation[None]:
    members = _members(place, [member])
    gone = _member_fields(place, members)
    missing = MissingEntry("there is no such member; nothing was written", **place.target.data, path=place.slot.text)

    def without(held: Any) -> Any:
        if not members <= _present(place, held):
            raise missing
        return held - members

    if not is_plain_and_empty(place.slot, "set") or constrained(place.slot):
        yield from place.edit(Compute(place.slot, without))
        return
    dropped = yield from _write(place, {}, gone)
    _adopt_members(place, lambda held: held - members, {}, gone)
    if not dropped:
        raise missing


def _members(place: Place, values: Iterable[Any]) -> Any:
    """The values as a set of the field's class. EncodeError for one that no set can hold."""
    made = getattr(value_shape(place.slot), "cls", set)
    members = list(values)
    for member in members:
        if not isinstance(member, Hashable):
            raise place.error(EncodeError, f"{type(member).__name__} cannot be a member of a set", target="set")
    return made(members)


def _member_fields(place: Place, members: Any) -> Fields:
    fields = place.dumped(place.slot, members)
    fields.pop(place.slot.name)
    return fields


def _present(place: Place, held: Any) -> Any:
    if held is None:
        raise place.error(MissingValue, "it is None: assign a value first; nothing was written")
    return held


def _adopt_members(place: Place, change: Callable[[Any], Any], put: Fields, gone: Fields) -> None:
    held = shown(place.target, place.slot)
    if isinstance(held, set | frozenset):
        adopt_change(place.target, place.slot, change(held), put, gone)
