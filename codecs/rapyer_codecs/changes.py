"""What to write so that stored fields become those of a new value, and what must not have changed meanwhile.

Works on stored forms alone: the shapes say what each name is, given the fields beside it. A name that they
cannot place is *unknown* (the class had such a field once, or will): it is kept as long as what holds it
is the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .errors import RapyerError
from .lean import dataclass
from .names import is_own, join
from .shape import Default, Leaf, Shape
from .slot import Slot
from .stored import Stored
from .types.records import Part, RecordShape, part_default
from .types.unions import UnionShape

__all__ = ["Diff", "diff", "edit", "unknown"]

Stores = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Diff:
    """The way from one stored state to another.

    `put`: fields to set. `drop`: fields to delete. `units`: what has to be compared with the server
    before: the exact field `name`, or with True the field and everything below it.
    """

    put: dict[bytes, bytes]
    drop: list[bytes]
    units: list[tuple[bytes, bool]]


class _Place(NamedTuple):
    """A prefix of a name. `comes_and_goes`: an element, entry or alternative, not a field of a class."""

    name: bytes
    comes_and_goes: bool


class _Unit(NamedTuple):
    name: bytes
    tree: bool
    numbered: bool = False


def diff(root: RecordShape, before: Stores, after: Stores) -> Diff:
    """From the fields an object was loaded with to those it has now."""
    put = {name: text for name, text in after.items() if before.get(name) != text}
    gone = [name for name in before if name not in after and not is_own(name)]
    if not put and not gone:
        return Diff({}, [], [])
    if any(name not in before for name in put):
        _leave_defaults(root, before, after, put)
    for name in [name for name in put if name in before]:
        if _reads_the_same(root, name, before, after):
            del put[name]
    known = [name for name in gone if _trail(root, name, before)[1]]
    find = _Units(root, before, after)
    units = {name: find.unit(name) for name in [*put, *known]}
    stale = _stale([name for name in gone if name not in units], units)
    return Diff(put, [*known, *stale], _distinct(units.values()))


def edit(root: RecordShape, slot: Slot, current: Stores, after: Stores) -> tuple[dict[bytes, bytes], list[bytes]]:
    """From all fields stored now to those in which `slot` has the fields `after`."""
    put = {name: text for name, text in after.items() if current.get(name) != text}
    strays: list[tuple[bytes, list[_Place]]] = []
    drop: list[bytes] = []
    for name in _names_of(slot, current):
        if name in after or is_own(name):
            continue
        places, known = _trail(root, name, current)
        if known:
            drop.append(name)
        else:
            strays.append((name, places))
    touched = {prefix for name in [*put, *drop] for prefix in _prefixes(name)} if strays else set()
    for name, places in strays:
        if any(p.comes_and_goes and p.name in touched and slot.under(p.name) for p in places):
            drop.append(name)
    return put, drop


def unknown(root: RecordShape, fields: Stores) -> list[bytes]:
    """The names among stored fields that the class does not know."""
    return [name for name in fields if not is_own(name) and not _trail(root, name, fields)[1]]


def _names_of(slot: Slot, fields: Stores) -> Iterable[bytes]:
    """The stored names that are part of a slot, under a former name perhaps."""
    names = (slot.name, *slot.former)
    if isinstance(slot.shape, Leaf):
        return [name for name in names if name in fields]
    return [other for name in names for other in _below(name, fields)]


def _below(name: bytes, fields: Stores) -> list[bytes]:
    start = name + b"." if name else b""
    return [other for other in fields if other == name or other.startswith(start)]


def _leave_defaults(root: RecordShape, before: Stores, after: Stores, put: dict[bytes, bytes]) -> None:
    """Do not write fields that were added to their classes later and still have their defaults."""
    old, new = Stored(before), Stored(after)
    seen: set[bytes] = set()
    for name in [name for name in put if name not in before]:
        for later in _later_fields(root, name, old, new):
            if later.name in seen:
                continue
            seen.add(later.name)
            fields = {other: after[other] for other in _below(later.name, after)}
            if fields == _fields_of(later):
                for other in fields:
                    put.pop(other, None)
                break


def _reads_the_same(root: RecordShape, name: bytes, before: Stores, after: Stores) -> bool:
    """Whether a text that is not what would be written today is read as the same value: of a packed class that has
    grown, of a codec that takes several texts for one value.
    """
    shape: Shape = root
    own: bytes | None = None
    at = b""
    place: Shape = root
    for segment in name.split(b"."):
        below = shape.below(segment, own)
        at = join(at, segment)
        chosen = None if below is None else below.chosen(after.get(at))
        if below is None or chosen is None or chosen.shape is None:
            return False
        place, shape, own = below, chosen.shape, chosen.own
    if not isinstance(shape, Leaf) or shape.is_strict or own is None:
        return False
    old, new = place.chosen(before[name]), place.chosen(after[name])
    try:
        return old.tag == new.tag and old.own is not None and shape.encode(shape.decode(old.own)) == own
    except RapyerError:
        return False


class _Later(NamedTuple):
    """A field of a class that is not stored yet, and what it is read as."""

    name: bytes
    shape: Shape
    default: Callable[[], Any]


def _later_fields(root: RecordShape, name: bytes, before: Stored, after: Stored) -> Iterator[_Later]:
    """The fields on the way to a name that are not stored, though what holds them is, and is the same thing now; outer
    before inner.
    """
    shape: Shape = root
    at = b""
    own: bytes | None = None
    default: Default = None
    for segment in name.split(b"."):
        if at:
            chosen = shape.chosen(after.get(at))
            if chosen.shape is None or chosen.tag != shape.chosen(before.get(at)).tag:
                return
            if before.get(at) is not None and after.get(at) is None:
                return  # the text that said it is there goes: something else has to
            shape, own = chosen.shape, chosen.own
        below, holder = shape.below(segment, own), at
        if below is None:
            return
        at = join(at, segment)
        part: Part | None = None
        if isinstance(shape, RecordShape) and (part := shape.part_at(segment)) is not None:
            default = part_default(default, part, shape)
        else:
            default = None
        if not below.present(at, before):
            if part is None or any(below.present(join(holder, former), before) for former in part.former):
                return
            if default is not None:
                yield _Later(at, below, default)
        shape = below


def _fields_of(later: _Later) -> dict[bytes, bytes] | None:
    """The stored form of a default; None if it has none."""
    fields: dict[bytes, bytes] = {}
    try:
        later.shape.write(later.default(), later.name, fields)
    except RapyerError:
        return None
    return fields


def _trail(root: Shape, name: bytes, fields: Stores) -> tuple[list[_Place], bool]:
    """The places on the way to a name in these fields, and whether the shapes know it."""
    shape, at = root, b""
    places: list[_Place] = []
    for segment in name.split(b"."):
        head, holder = fields.get(at) if at else None, at
        below = shape.below(segment, head)
        at = join(at, segment)
        if below is None:
            if shape.has_entries:
                # Where there is no dict, what lies there is nothing of the one that will be.
                places.append(_Place(holder if head is None else at, True))
            return places, False
        places.append(_Place(at, shape.has_entries or isinstance(below, UnionShape)))
        shape = below
    return places, True


def _prefixes(name: bytes) -> Iterable[bytes]:
    end = len(name)
    while end > 0:
        yield name[:end]
        end = name.rfind(b".", 0, end)


class _Units:
    """Finds what a changed field is compared as."""

    def __init__(self, root: Shape, before: Stores, after: Stores) -> None:
        self.root = root
        self.before = Stored(before)
        self.after = Stored(after)

    def unit(self, name: bytes) -> _Unit:
        """The outermost list, the outermost entry or alternative that came or went, else the field itself."""
        shape: Shape = self.root
        at = b""
        own: tuple[bytes | None, bytes | None] = (None, None)
        segments = name.split(b".")
        for depth in range(len(segments) + 1):
            if at:
                old, new = shape.chosen(self.before.get(at)), shape.chosen(self.after.get(at))
                if old.tag != new.tag:
                    return _Unit(at, True)
                found = new.shape or old.shape
                if found is None:
                    return _Unit(name, False)
                shape, own = found, (old.own, new.own)
            if shape.has_entries and own[0] is None:
                return _Unit(at, True)
            if shape.lists_elements:
                return _Unit(at, True, numbered=True)
            if depth == len(segments):
                break
            below = shape.below(segments[depth], own[1]) or shape.below(segments[depth], own[0])
            if below is None:
                break
            at = join(at, segments[depth])
            if shape.has_entries and below.present(at, self.before) != below.present(at, self.after):
                return _Unit(at, True)
            shape = below
        return _Unit(name, False)


def _stale(strays: list[bytes], units: Mapping[bytes, _Unit]) -> list[bytes]:
    """The unknown fields that belong to a thing that is gone or was replaced: kept, they would join another
    thing.
    """
    if not strays:
        return []
    dead = {unit.name for unit in units.values() if unit.tree and not unit.numbered}
    for name, unit in units.items():
        if unit.numbered:
            dead.update(prefix for prefix in _prefixes(name) if len(prefix) > len(unit.name))
    return [name for name in strays if any(prefix in dead for prefix in _prefixes(name))]


def _distinct(units: Iterable[_Unit]) -> list[tuple[bytes, bool]]:
    """Each unit once, without those that lie in another one."""
    found = {(unit.name, unit.tree) for unit in units}
    trees = {name for name, tree in found if tree}
    kept = [
        (name, tree)
        for name, tree in found
        if not any(prefix in trees for prefix in _prefixes(name) if prefix != name or not tree)
    ]
    return sorted(kept)
