"""What to write so that stored fields become those of a new value, and what must not have changed meanwhile.

Works on stored forms alone: the shapes say what each name is, given the fields beside it. A name that they
cannot place is *unknown* (the class had such a field once, or will): it is kept as long as what holds it
is the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .lean import dataclass
from .names import is_own, join
from .shape import Leaf, Shape
from .slot import Slot
from .stored import Stored
from .types.records import RecordShape
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


def diff(root: RecordShape, slots: Iterable[Slot], before: Stores, after: Stores) -> Diff:
    """From the fields an object was loaded with to those it has now; `slots`: the static ones of its class."""
    put = {name: text for name, text in after.items() if before.get(name) != text}
    gone = [name for name in before if name not in after and not is_own(name)]
    if not put and not gone:
        return Diff({}, [], [])
    for slot in slots:
        if slot.name in put and slot.name not in before and not _is_stored_formerly(slot, before):
            _leave_default(slot, after, put)
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


def _is_stored_formerly(slot: Slot, fields: Stores) -> bool:
    place: Slot | None = slot
    while place is not None:
        if any(_below(old, fields) for old in place.former):
            return True
        place = place.parent
    return False


def _below(name: bytes, fields: Stores) -> list[bytes]:
    start = name + b"." if name else b""
    return [other for other in fields if other == name or other.startswith(start)]


def _leave_default(slot: Slot, after: Stores, put: dict[bytes, bytes]) -> None:
    """Do not write a field that was added to the class later and still has its default."""
    fields = {name: after[name] for name in _below(slot.name, after)}
    if fields == slot.default_fields():
        for name in fields:
            put.pop(name, None)


def _trail(root: Shape, name: bytes, fields: Stores) -> tuple[list[_Place], bool]:
    """The places on the way to a name in these fields, and whether the shapes know it."""
    shape, at = root, b""
    places: list[_Place] = []
    for segment in name.split(b"."):
        below = shape.below(segment, fields.get(at) if at else None)
        at = join(at, segment)
        if below is None:
            if shape.has_entries:
                places.append(_Place(at, True))
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
