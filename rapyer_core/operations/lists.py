"""Operations on lists: extend (and append), insert_at, clear (of dicts and sets too). Generators; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.lean import dataclass, field
from rapyer_codecs.shape import Leaf
from rapyer_core.arguments import kind_of_value
from rapyer_core.collection import Context, Fields, Target
from rapyer_core.errors import ConnectionFailed, DecodeError, EncodeError, NotFound
from rapyer_core.operations.adoption import adopt_change, adopt_unit, adopts, remembered, shown
from rapyer_core.operations.edits import Call, Compute
from rapyer_core.operations.place import Options, Place, copies
from rapyer_core.operations.reading import read
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.requests import Operation


@dataclass(slots=True)
class AppendItems(Unit):
    """Elements are added at the end of a list. Sees only its length.

    items: each one's stored form, by what its names add to the element's own. before: the length it had. put: what was
    written. in_step: the instance knows the list as long as it was, so that it needs only the new elements; else the
    list is read in the same EXEC.
    """

    target: Target
    slot: Slot
    items: Sequence[Fields]
    needs: Sequence[bytes] | None
    before: bytes | None = None
    put: Fields = field(default_factory=dict)
    in_step: bool = True

    def decide(self, seen: Seen) -> Change:
        """Write the elements and the new length; of a list added to the class later, its default too."""
        target, slot = self.target, self.slot
        if not seen.exists:
            raise NotFound(**target.data)
        name, before = slot.name, seen.fields.get(slot.name)
        try:
            put = {} if before is not None else dict(slot.default_fields() or {})
            length = _length(slot, before or put.get(name, b"0"))
            after = length + len(self.items)
            slot.shape.check_count(after, name)
        except RapyerError:
            with target.collection.named(target.pk):
                raise
        for position, item in enumerate(self.items, length):
            element = b"%b.%d" % (name, position)
            for rest, value in item.items():
                put[element + rest] = value
        put[name] = b"%d" % after
        self.before, self.put = before, put
        if not adopts(target):
            return Change(put)
        self.in_step = self.is_in_step()
        return Change(put, tail=None if self.in_step else (b"HGETALL", target.key))

    def is_in_step(self) -> bool:
        """Whether the instance knows the list with the length it had before."""
        return self.before is not None and remembered(self.target).get(self.slot.name) == self.before


def _length(slot: Slot, raw: bytes) -> int:
    if not raw.isdigit() or (raw[:1] == b"0" and raw != b"0"):
        raise DecodeError(path=slot.text, target="list length", raw=raw, reason="the stored length is not one")
    return int(raw)


def extend(ctx: Context, obj: Any, path: Any, values: Iterable[Any], options: Options) -> Operation[None]:
    """Add elements at the end of a list or deque."""
    place = Place.of(ctx, obj, path, options, "list", "deque")
    slot, target = place.slot, place.target
    if type(values) is not list:
        if not isinstance(values, Iterable):
            raise place.error(EncodeError, f"elements are expected, not {kind_of_value(values)}", target="list")
        values = list(values)
    items = _stored(place, values)
    if not place.site.grows:
        element = place.child(0)
        yield from place.edit(Call(slot, "extend", lambda: (copies(element, values),)))
        return
    unit = AppendItems(target, slot, items, [slot.name])
    outcome = yield from place.commit(unit)
    if not adopts(target):
        return
    if not unit.in_step:
        try:
            # No tail: with exactly_once, the reply to the EXEC may have been lost.
            tail = outcome.tails[0] if outcome.tails else None
            reply = tail or (yield from read(ctx, [(b"HGETALL", target.key)], **target.data))[0]
        except ConnectionFailed:
            # It was written, all the same. The instance is as it was, and remembers that.
            return
        adopt_unit(target, slot, dict(zip(reply[::2], reply[1::2], strict=True)))
    elif unit.is_in_step():
        held = shown(target, slot)
        if isinstance(held, list):
            adopt_change(target, slot, [*held, *copies(place.child(0), values)], unit.put, {})


def _stored(place: Place, values: Sequence[Any]) -> list[Fields]:
    """The stored form of new elements; of each field what its name adds to the element's. ConstraintError."""
    collection = place.target.collection
    ruled = collection.mapper.ruled
    items: list[Fields] = []
    leaf = place.slot.entry(0).shape
    if isinstance(leaf, Leaf) and not ruled:
        try:
            for value in values:
                items.append({b"": leaf.encode(value)})
            return items
        except RapyerError:
            items.clear()  # said below, of which element
    try:
        for position, value in enumerate(values):
            element = place.slot.entry(position)
            fields = element.dump(value)
            if ruled:
                element.check(value)
            start = len(element.name)
            items.append({name[start:]: text for name, text in fields.items()})
    except RapyerError:
        with collection.named(place.target.pk):
            raise
    return items


def insert_at(ctx: Context, obj: Any, path: Any, index: int, value: Any, options: Options) -> Operation[None]:
    """Insert an element before an index, with Python's rules for indexes past either end."""
    place = Place.of(ctx, obj, path, options, "list", "deque")
    slot = place.child(0)
    place.storable(slot, value)
    check_index(place, index)
    yield from place.edit(Call(place.slot, "insert", lambda: (index, *copies(slot, [value]))))


def check_index(place: Place, index: Any) -> None:
    """EncodeError unless it is an int."""
    if not isinstance(index, int) or isinstance(index, bool):
        raise place.error(EncodeError, f"a list index is an int, not {type(index).__name__}", target="int")


def clear(ctx: Context, obj: Any, path: Any, options: Options) -> Operation[None]:
    """Empty a list, dict or set."""
    place = Place.of(ctx, obj, path, options, "list", "deque", "dict", "ordered", "set")
    if getattr(place.slot.shape, "cls", None) is frozenset:
        yield from place.edit(Compute(place.slot, lambda _: frozenset()))
    else:
        yield from place.edit(Call(place.slot, "clear", tuple))
