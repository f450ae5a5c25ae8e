"""One field of one stored object: how an operation finds it, what it may do to it, and the widest way to change it.

Each operation on a field has up to three ways, the cheapest that is right: *blind* (the effect needs no stored
value: one round trip), *narrow* (it needs one or two stored fields: WATCH them by key, compute, write) and *whole*
(an :class:`EditObject`, worked out on all that is stored).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Any, NamedTuple

from rapyer_codecs import Item, RapyerError, Slot
from rapyer_codecs.paths import Step
from rapyer_core.collection import Collection, Context, Fields, Target
from rapyer_core.errors import ConstraintError, PathError
from rapyer_core.expressions import Path, owner_of, steps_of
from rapyer_core.operations.adoption import adopt_unit
from rapyer_core.operations.blind import blind
from rapyer_core.operations.commit import Commit
from rapyer_core.operations.edits import Edit, EditObject
from rapyer_core.operations.units import Unit
from rapyer_core.places import is_entry, kind_of, value_of, value_shape
from rapyer_core.requests import Command, Operation, Reply
from rapyer_core.retries import Retry, check_options

Options = tuple[Retry | None, bool | None]
"""How one write is done: ``retry`` and ``exactly_once``. None: as the session says."""

SITES = 512
"""Places of one class that are remembered, at most: there is no end of keys."""


class Site:
    """What is known of a place for all objects of a class.

    kind: of the place, of an Optional that of its value. blind: a write of it needs to see nothing, unless it must be
    proven to have happened once. number: the type of its values. counter: HINCRBY does what Python's addition would.
    from_zero: of a counter, for sure: one that is not stored yet starts from 0. entry: it is the one stored field of a
    key of a dict. small: a change of it needs to see nothing, or a few fields: its own, and former ones. grows: it is a
    list to which elements are added by its length alone.
    """

    __slots__ = (
        "_fixed",
        "_holder",
        "_start",
        "blind",
        "counter",
        "entry",
        "from_zero",
        "grows",
        "is_key",
        "kind",
        "number",
        "slot",
        "small",
    )

    def __init__(self, collection: Collection[Any], slot: Slot) -> None:
        key_slot = collection.key_slot
        self.slot = slot
        self.kind = kind_of(slot)
        self.is_key = key_slot is not None and key_slot.name == slot.name
        self.blind = slot.sure and collection.settled and not slot.renamed and not is_indexed(collection, slot)
        self.number: Any = value_shape(slot).type
        self.counter = self.blind and slot.is_counter and not constrained(slot)
        self._fixed = self.counter and _has_fixed_default(collection.model.cls, slot)
        self._start = self._default() if self._fixed else None
        self.from_zero = self._fixed and self._start is None
        self.entry = is_entry(slot)
        self.small = not slot.in_ruled and (self.entry or _is_narrow(slot))
        self.grows = slot.shape.kind == "list" and slot.sure and not slot.renamed and not constrained(slot)
        self._holder: Site | None = None

    def holder(self, collection: Collection[Any]) -> Site:
        """The site of what the place lies in."""
        if self._holder is None:
            assert self.slot.parent is not None
            self._holder = Site(collection, self.slot.parent)
        return self._holder

    @property
    def start(self) -> bytes | None:
        """What a counter of an object starts from that was stored before the class had the field; None: 0."""
        return self._start if self._fixed else self._default()

    def _default(self) -> bytes | None:
        text = (self.slot.default_fields() or {}).get(self.slot.name, b"0")
        return None if text == b"0" else text


def _has_fixed_default(cls: Any, slot: Slot) -> bool:
    """Whether the default of a place is the same each time, as far as is easily told."""
    field = getattr(cls, "__dataclass_fields__", {}).get(slot.steps[0]) if len(slot.steps) == 1 else None
    return field is not None and field.default_factory is MISSING


def _is_narrow(slot: Slot) -> bool:
    """Whether all that is stored of a place, in data of any age, is one field and its former names."""
    return slot.is_field and slot.sure and (slot.parent is None or not slot.parent.renamed)


def _is_sure(step: Step) -> bool:
    """Whether no other step is equal to it. A key that is no str may be equal to one of another type: 1, True, 1.0."""
    return type(step) is str or (type(step) is Item and type(step.key) is str)


def site_of(collection: Collection[Any], path: Any) -> Site:
    """The site that a path leads to. PathError."""
    known: Any = path
    if type(path) is Path:
        known = steps_of(path)
        if owner_of(path).cls is not collection.model.cls:
            return Site(collection, collection.slot(path))
        if len(known) > 1 and not all(map(_is_sure, known)):
            return Site(collection, collection.slot(path))
    elif type(path) is not str:
        return Site(collection, collection.slot(path))
    site: Site | None = collection.sites.get(known)
    if site is None:
        if len(collection.sites) >= SITES:
            collection.sites.clear()
        site = collection.sites[known] = Site(collection, collection.slot(path))
    return site


class Place(NamedTuple):
    """One field of one stored object, and how it may be written.

    once: whether the write must be proven to have happened exactly once.
    """

    ctx: Context
    target: Target
    site: Site
    slot: Slot
    retry: Retry | None
    once: bool

    @classmethod
    def of(cls, ctx: Context, obj: Any, path: Any, options: Options, *kinds: str) -> Place:
        """Look the path up. PathError unless it leads to one of these kinds (all, if none is given)."""
        target = ctx.target(obj)
        try:
            site = site_of(target.collection, path)
        except RapyerError:
            with target.collection.named(target.pk):
                raise
        if kinds and site.kind not in kinds:
            wanted = " or ".join("number" if kind == "leaf" else kind for kind in kinds)
            raise PathError(
                **target.data, path=site.slot.text, reason=f"this operation is for a {wanted}, not for a {site.kind}"
            )
        if site.is_key:
            raise ConstraintError(
                **target.data, path=site.slot.text, reason="the key field of a stored object cannot change"
            )
        retry, once = options
        if retry is not None or once is not None:
            check_options(retry, once)
        return _new_place(cls, (ctx, target, site, site.slot, retry, ctx.exactly_once if once is None else once))

    @property
    def holder(self) -> Place:
        """What the place lies in."""
        site = self.site.holder(self.target.collection)
        return _new_place(Place, (self.ctx, self.target, site, site.slot, self.retry, self.once))

    @property
    def may_be_blind(self) -> bool:
        """Whether a write of it needs to see nothing."""
        return self.site.blind and not self.once

    def blindly(self, *commands: Command) -> Operation[list[Reply]]:
        """Write without having seen anything; the replies."""
        return blind(self.ctx, self.target, commands, self.retry)

    def commit(self, unit: Unit) -> Operation[Commit]:
        """Run one unit."""
        return Commit(self.ctx, (unit,), self.retry, self.once).operation()

    def edit(self, edit: Edit) -> Operation[Any]:
        """The whole way: apply the edit to the object; returns the edit's result."""
        unit = EditObject(self.target, [edit])
        yield from self.commit(unit)
        adopt_unit(self.target, edit.touched, unit.after)
        return unit.results[0]

    def child(self, key: Any) -> Slot:
        """The place of one entry or element. PathError if the key is not of the type."""
        try:
            return self.slot.child(Item(key))
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise

    def dumped(self, slot: Slot, value: Any) -> Fields:
        """The stored form of a value at a place; errors name the object."""
        try:
            return slot.dump(value)
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise

    def storable(self, slot: Slot, value: Any) -> Fields:
        """The same, for a value that is to be written. ConstraintError if it breaks a rule."""
        try:
            fields = slot.dump(value)
            if self.target.collection.mapper.ruled:
                slot.check(value)
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise
        return fields

    def error(self, kind: type[RapyerError], reason: str, **data: Any) -> RapyerError:
        """An error about this place."""
        return kind(**{**self.target.data, "path": self.slot.text, "reason": reason, **data})


_new_place: Callable[[type[Place], tuple[Any, ...]], Place] = tuple.__new__
"""A named tuple's own way to be made costs twice as much."""


def is_indexed(collection: Collection[Any], slot: Slot) -> bool:
    """Whether an index depends on the place."""
    return any(slot.under(index.slot.name) for index in collection.indexes)


def constrained(slot: Slot) -> bool:
    """Whether it takes the stored value to tell if a change of a part, or by some amount, breaks a rule."""
    return slot.in_ruled or slot.shape.own_rules()


def copies(slot: Slot, values: Sequence[Any]) -> list[Any]:
    """Values of one's own, equal to those given: neither retries nor the caller's instance share them."""
    return [value_of(slot, slot.dump(value)) for value in values]
