"""Operations on lists: extend (and append), insert_at, clear (of dicts and sets too). Generators; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rapyer_codecs import Item, Slot
from rapyer_codecs.lean import dataclass, field
from rapyer_core.collection import Context, Fields, Target
from rapyer_core.errors import ConnectionFailed, DecodeError, EncodeError, NotFound
from rapyer_core.operations.adoption import adopt_change, adopt_unit, adopts, remembered, shown
from rapyer_core.operations.commit import Change, Seen, Unit
from rapyer_core.operations.edits import Call, Compute
from rapyer_core.operations.place import Options, Place, constrained, copies
from rapyer_core.operations.reading import read
from rapyer_core.requests import Operation


@dataclass(slots=True)
class AppendItems(Unit):
    """Elements are added at the end of a list. Sees only its length.

    before: the length it had. put: what was written. in_step: the instance knows the list as long as it was, so that
    it needs only the new elements; else the list is read in the same EXEC.
    """

    target: Target
    slot: Slot
    values: Sequence[Any]
    needs: Sequence[bytes] | None = field(init=False)
    before: bytes | None = None
    put: Fields = field(default_factory=dict)
    in_step: bool = True

    def __post_init__(self) -> None:
        self.needs = [self.slot.name]

    def decide(self, seen: Seen) -> Change:
        """Write the elements and the new length; of a list added to the class later, its default too."""
        if not seen.exists:
            raise NotFound(**self.target.data)
        with self.target.collection.named(self.target.pk):
            self.before = seen.fields.get(self.slot.name)
            self.put = {} if self.before is not None else dict(self.slot.default_fields() or {})
            length = _length(self.slot, self.before or self.put.get(self.slot.name, b"0"))
            self.slot.shape.check_count(length + len(self.values), self.slot.name)
            for offset, value in enumerate(self.values):
                self.put.update(self.slot.child(Item(length + offset)).dump(value))
            self.put[self.slot.name] = b"%d" % (length + len(self.values))
        self.in_step = self.is_in_step()
        tail = None if self.in_step or not adopts(self.target) else (b"HGETALL", self.target.key)
        return Change(put=self.put, tail=tail)

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
    items = list(values)
    for offset, value in enumerate(items):
        place.storable(place.child(offset), value)
    if slot.shape.kind != "list" or not slot.sure or slot.renamed or constrained(slot):
        element = place.child(0)
        yield from place.edit(Call(slot, "extend", lambda: (copies(element, items),)))
        return
    unit = AppendItems(target, slot, items)
    outcome = yield from place.commit(unit)
    if not adopts(target):
        return
    if not unit.in_step:
        try:
            # No tail: with exactly_once, the reply to the EXEC may have been lost.
            reply = outcome.tails[0] or (yield from read(ctx, [(b"HGETALL", target.key)], **target.data))[0]
        except ConnectionFailed:
            # It was written, all the same. The instance is as it was, and remembers that.
            return
        adopt_unit(target, slot, dict(zip(reply[::2], reply[1::2], strict=True)))
    elif unit.is_in_step():
        held = shown(target, slot)
        if isinstance(held, list):
            adopt_change(target, slot, [*held, *copies(place.child(0), items)], unit.put, {})


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
