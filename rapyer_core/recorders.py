"""Recorders: what one block knows of one object, and what that comes to at commit. No draft classes, no I/O.

A :class:`Recorder` holds what was read at the entry of the block, a working copy with the block's own writes, the
edits in order, and the read set. As a :class:`~rapyer_core.operations.units.Unit` it decides at commit: a read that
changed is a Conflict; otherwise the edits are applied to what is stored by then. What drafts hand out is in ``drafts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.lean import dataclass
from rapyer_core.collection import Fields, Target
from rapyer_core.errors import AlreadyExists, Conflict, ConstraintError, MissingEntry, MissingValue, NotFound
from rapyer_core.operations.adoption import adopt_all, adopt_fields
from rapyer_core.operations.edits import (
    Assign,
    Call,
    Edit,
    Written,
    after_change,
    after_steps,
    applied,
    changed_fields,
    check_rules,
)
from rapyer_core.operations.units import Change, Seen, Unit
from rapyer_core.places import put_in_own, stored_names
from rapyer_core.states import State, attach, see_stored
from rapyer_core.tracking import Coming, Step

_STAYING = frozenset({"extend", "add", "discard", "update", "difference_update"})
"""Methods of containers after which the other elements are where they were."""


LATER: Any = object()
"""Stands for a working copy that is not loaded yet."""


Record = tuple[Slot, Any, bytes, "Sequence[Step] | None"]
"""A :class:`Written` as a plain tuple, as most of them are ever needed."""


@dataclass(slots=True)
class Copy:
    """A value that was handed out as a copy, because it can change. fields: as it was then, or was last recorded."""

    slot: Slot
    value: Any
    fields: Fields


class Recorder(Unit):
    """One object in one block. entry: the stored fields at the entry, None: there was no object.

    first: the working copy to begin with; None: the object is not there; LATER: loaded from entry when it is needed.
    Until then nothing was recorded but writes of single fields.
    local: the caller's instance.
    presence: that the object is there counts as read: a Conflict if it is gone, instead of NotFound.
    """

    __slots__ = (
        "__weakref__",
        "_detached",
        "_edits",
        "_own",
        "_recorded",
        "after",
        "coming",
        "copies",
        "created",
        "deleted",
        "entry",
        "exact",
        "first",
        "former",
        "inserted",
        "key",
        "local",
        "moved",
        "open",
        "presence",
        "result",
        "single",
        "target",
        "trees",
    )

    needs: Sequence[bytes] | None = None

    inserted: Fields
    """Of an object that the block created, the fields it was created with."""
    former: Recorder | None
    """What the block knew of the key before it created the object."""
    after: Fields
    """What is stored after the commit; of a working copy that was never loaded, without what was written."""

    def __init__(self, target: Target, entry: Fields | None, first: Any, local: Any, presence: bool) -> None:
        self.target = target
        slot = target.collection.key_slot
        self.key = slot.name if slot is not None else None
        """The name of the field that cannot change."""
        self.entry = entry
        self.first = first
        self.local = local
        self.presence = presence
        self.created = False
        self.deleted = False
        self.open = True
        self._recorded: list[Record] = []
        """What was written to single fields since the last of the other edits."""
        self.exact: dict[bytes, int] = {}
        """Fields that were read, and how often."""
        self.coming: Coming | None = None
        """The last value that was read, if it comes back next."""
        self.single: dict[bytes, Record] = {}
        """What was written last to single fields of a working copy that is not loaded yet."""
        # Made when they are needed: most blocks need none of them.
        self._edits: list[Edit] | None = None
        self.trees: set[bytes] | None = None
        """Names that were read with all that lies below them."""
        self._own: list[Slot] | None = None
        """Places that were assigned."""
        self.moved: tuple[tuple[Slot, bool], ...] = ()
        """Places whose elements were moved, and whether the place itself was replaced; in order; only ever grows."""
        self.copies: dict[bytes, Copy] | None = None
        self._detached: tuple[Copy, ...] = ()
        self.result: Any = None
        """The object that the edits came to, if something else was stored by then than what was read."""

    # -- the working copy --

    @property
    def is_there(self) -> bool:
        """Whether there is such an object, for this block."""
        return self.first is not None and not self.deleted

    @property
    def work(self) -> Any:
        """The object with the block's writes; None: it is not there."""
        if self.first is LATER:
            assert self.entry is not None
            obj = self.target.collection.load(self.entry, self.target.pk)
            for slot, value, _, _ in self.single.values():
                put_in_own(slot, obj, value)
            self.work = obj
        return self.first

    @work.setter
    def work(self, obj: Any) -> None:
        self.first = obj
        self.single.clear()

    def held(self, slot: Slot) -> Any:
        """What the working copy has at a place. A single field is read without loading the others."""
        if self.first is LATER and self.entry is not None and slot.stands_alone:
            written = self.single.get(slot.name)
            if written is not None:
                return written[1]
            raw = self.entry.get(slot.name)
            if raw is not None and self._is_below_stored(slot, self.entry):
                try:
                    return slot.decode(raw)
                except RapyerError:
                    with self.target.collection.named(self.target.pk):
                        raise
        return slot.get(self.work)

    # -- reading --

    def note(self, slot: Slot, tree: bool | None = None) -> bool:
        """The place was read; with all that lies below it, unless it is one field. Whether that counts.

        It does not where the block itself assigned the value: then nothing stored was read.
        """
        if self._own and any(own.under(slot.name) for own in self._own):
            return False
        if tree or (tree is None and not slot.is_field):
            self.trees = self.trees or set()
            self.trees.update(_names(slot))
        elif not slot.renamed:
            self.note_field(slot.name)
        else:
            for name in _names(slot):
                self.note_field(name)
        return True

    def note_field(self, name: bytes) -> None:
        """One stored field was read."""
        self.exact[name] = self.exact.get(name, 0) + 1

    def unread(self, slot: Slot) -> None:
        """One reading of a place that is one field was none after all."""
        for name in _names(slot):
            left = self.exact.pop(name, 1) - 1
            if left:
                self.exact[name] = left

    def rearranged(self, slot: Slot) -> bool:
        """Whether the block moved elements of this list."""
        return any(place.under(slot.name) for place, _ in self.moved)

    # -- recording --

    @property
    def edits(self) -> list[Edit]:
        """What was recorded, in order."""
        edits = self._edits
        if edits is None:
            edits = self._edits = []
        if self._recorded:
            edits.extend(map(Written._make, self._recorded))
            self._recorded.clear()
        return edits

    def record(self, edit: Edit) -> Any:
        """Do it to the working copy, and again at commit. What Python would raise is raised, and not recorded."""
        self.check_open()
        moving = _moves(edit)
        if isinstance(edit, Assign) or (isinstance(edit, Call) and edit.method not in _STAYING):
            self._settle(edit)
        result = edit.apply(self.work)
        self.edits.append(edit)
        if moving:
            self.moved += ((edit.touched, isinstance(edit, Assign)),)
        if isinstance(edit, Assign):
            self._assigned().append(edit.slot)
        return result

    def _assigned(self) -> list[Slot]:
        if self._own is None:
            self._own = []
        return self._own

    def record_field(self, edit: Record) -> None:
        """The same for a place that is one field, whose new value is known already."""
        if not self.open:
            self.check_open()
        slot, value, _, steps = edit
        if steps is None:
            if self.copies:
                self._settle(Written._make(edit))
            self._assigned().append(slot)
        if self.first is LATER and slot.stands_alone:
            self.single[slot.name] = edit
        else:
            put_in_own(slot, self.work, value)
        self._recorded.append(edit)

    def record_fields(self, edits: Sequence[Record]) -> None:
        """The same for several, which were assigned."""
        if not self.open or self.first is not LATER or self.copies:
            for edit in edits:
                self.record_field(edit)
            return
        own = self._own
        if own is None:
            own = self._own = []
        single, recorded = self.single, self._recorded
        for edit in edits:
            slot = edit[0]
            if slot.stands_alone:
                single[slot.name] = edit
                own.append(slot)
                recorded.append(edit)
            else:
                self.record_field(edit)

    def take_back(self, slot: Slot, value: Any, steps: Sequence[Step]) -> bool:
        """Record that a value which was read came straight back, with these steps done to it, so that it was not read;
        if nothing was written to the place before, and nothing else loaded. Else nothing is done.
        """
        name, direct, single = slot.name, slot.shape.direct, self.single
        if self.first is not LATER or not self.open or name in single or name == self.key:
            return False
        if direct is None or not slot.stands_alone:
            return False
        try:
            raw = direct.encode(value)
        except Exception:
            return False  # the general way says what is wrong
        edit = single[name] = slot, value, raw, steps
        self._recorded.append(edit)
        exact = self.exact
        left = exact.pop(name, 1) - 1
        if left:
            exact[name] = left
        return True

    def encoded(self, slot: Slot, value: Any) -> bytes:
        """The stored form of a plain value at a place that is one field; an error names the object."""
        direct = slot.shape.direct
        if direct is not None and type(value) is direct.type:
            try:
                return direct.encode(value)
            except Exception:
                pass  # said below, outside of the handler, what is wrong
        try:
            return slot.encode(value)
        except RapyerError:
            with self.target.collection.named(self.target.pk):
                raise

    def delete(self) -> None:
        """The object is deleted at commit, and its draft of no more use."""
        self.check_open()
        self.deleted, self.open = True, False

    def check_there(self) -> None:
        """Refuse whatever is done to a deleted object."""
        if self.deleted:
            raise NotFound("the object was deleted in this block", **self.target.data)

    def check_open(self) -> None:
        """The same, and refuse writes after the block."""
        self.check_there()
        if not self.open:
            raise ConstraintError(
                **self.target.data, reason="the block of this draft is over: nothing can be recorded any more"
            )

    def dumped(self, slot: Slot, value: Any) -> Fields:
        """The stored form of a plain value; an error names the object."""
        with self.target.collection.named(self.target.pk):
            return slot.dump(value)

    def check(self, slot: Slot, value: Any) -> None:
        """ConstraintError if a plain value breaks a rule of the place, whatever is stored."""
        if slot.may_break and self.target.collection.mapper.ruled:
            with self.target.collection.named(self.target.pk):
                slot.check(value)

    def check_parts(self, slot: Slot, value: Any) -> None:
        """The same for what is in the value, without the value as a whole."""
        if self.target.collection.mapper.ruled:
            with self.target.collection.named(self.target.pk):
                slot.check_parts(value)

    def finish(self) -> None:
        """Before a commit: copies that were changed are written back. Nothing can be recorded from here on."""
        if self.copies and self.is_there:
            self._flush()
        for copy in self._detached:
            if self.dumped(copy.slot, copy.value) != copy.fields:
                raise ConstraintError(
                    **self.target.data,
                    path=copy.slot.text,
                    reason="it was changed after the block had rearranged the list that holds it; take it from the "
                    "draft again, and change it then",
                )
        self.open = False

    def _flush(self) -> None:
        copies = self.copies or {}
        for copy in list(copies.values()):
            now = self.dumped(copy.slot, copy.value)
            if now != copy.fields:
                copies.pop(copy.slot.name)
                self.record(Assign(copy.slot, now))
                copy.fields = now
                copies[copy.slot.name] = copy

    def _settle(self, edit: Edit) -> None:
        """Copies from a place that is rearranged are written back first, and lead nowhere afterwards."""
        copies = self.copies or {}
        for copy in [copy for copy in copies.values() if edit.touched.under(copy.slot.name)]:
            del copies[copy.slot.name]
            if isinstance(edit, Assign | Written):
                continue
            now = self.dumped(copy.slot, copy.value)
            if now != copy.fields:
                self.record(Assign(copy.slot, now))
            if isinstance(edit, Call) and edit.method != "clear" and edit.entry is None:
                self._detached += (Copy(copy.slot, copy.value, now),)

    # -- committing --

    def decide(self, seen: Seen) -> Change:
        """Compare what was read; apply the edits to what is stored now."""
        if self.created:
            self._verify_creation(seen)
            self.result = self.work
            with self.target.collection.named(self.target.pk):
                self.after = self.target.collection.dump(self.work, self.target.pk)
                self.target.collection.check_rules(self.work, self.target.pk)
            return Change(put=self.after, replace=True)
        fields = seen.fields
        if fields is not self.entry:
            self.verify(seen)
        if self.deleted:
            return Change(erase=True)
        self.result, self.after = None, fields
        if not (self._recorded or self._edits):
            return Change()
        as_read = fields is self.entry or fields == self.entry
        if as_read and self.first is LATER:
            put = self._put(self.single.values(), fields)
            if put is not None:
                return Change(put)
        edits = self.edits
        if not as_read:
            self.result = self._replayed(fields)
        if self.target.collection.mapper.ruled:
            self._check_rules()
        if as_read and all(type(edit) is Written for edit in edits):
            put = self._put(edits, fields, ruled=False)
            if put is not None:
                self.after = {**fields, **put}
                return Change(put)
        with self.target.collection.named(self.target.pk):
            touched = [edit.touched for edit in edits]
            put, drop = changed_fields(self.target, touched, fields, self.work if self.result is None else self.result)
        self.after = after_change(fields, put, drop)
        return Change(put, drop)

    @staticmethod
    def _put(edits: Iterable[Any], fields: Fields, ruled: bool = True) -> Fields | None:
        """What to put for writes of single fields; None if some of it needs a look at what is around it, or at rules.

        edits: each a Written, or the tuple of one. ruled: whether rules have to be looked at.
        """
        put: Fields = {}
        for slot, _, raw, _ in edits:
            if ruled and slot.may_break:
                return None
            if not (slot.stands_alone and (slot.sure or slot.parent.name in fields)):
                return None
            name = slot.name
            if fields.get(name) != raw:
                put[name] = raw
            elif name in put:
                del put[name]
        return put

    def _check_rules(self) -> None:
        """ConstraintError if a written place breaks a rule with what is stored now."""
        alone = self.first is LATER and self.result is None
        with self.target.collection.named(self.target.pk):
            if alone and not any(slot.in_ruled for slot, _, _, _ in self.single.values()):
                for slot, value, _, _ in self.single.values():
                    slot.check(value)
            else:
                obj = self.work if self.result is None else self.result
                check_rules(self.target, [edit.touched for edit in self.edits], obj)

    @staticmethod
    def _is_below_stored(slot: Slot, fields: Fields) -> bool:
        parent = slot.parent
        return parent is None or parent.shape.kind == "record" or parent.name in fields

    def verify(self, seen: Seen) -> None:
        """Conflict if what was read is not what is stored now; NotFound if the object is gone."""
        if self.entry is None or not seen.exists:
            if self.entry is None and not seen.exists:
                return
            if self.entry is None or self.presence:
                raise self._conflict([b"~"])
            raise NotFound(**self.target.data)
        before, now = self.entry, seen.fields
        if before is now:
            return
        names = [name for name in self.exact if before.get(name) != now.get(name)]
        names += [name for name in self.trees or () if _tree(before, name) != _tree(now, name)]
        if names:
            raise self._conflict(sorted(names))

    def _verify_creation(self, seen: Seen) -> None:
        if self.former is not None:
            self.former.verify(seen)
        elif seen.exists:
            raise AlreadyExists(**self.target.data)

    def _replayed(self, fields: Fields) -> Any:
        obj = self.target.collection.load(fields, self.target.pk)
        for edit in self.edits:
            try:
                applied(self.target, edit, obj)
            except Exception as error:
                if isinstance(error, RapyerError) and not isinstance(error, MissingEntry | MissingValue):
                    raise
                # It could be done to what was read, and cannot to what is stored now.
                raise self._conflict([edit.slot.name]) from None
        return obj

    def _conflict(self, names: Iterable[bytes]) -> Conflict:
        fields = tuple(name.decode(errors="replace") for name in names)
        return Conflict(**self.target.data, fields=fields)

    def show(self) -> None:
        """After the commit: the draft and the caller's instance carry the new values."""
        if self.result is not None:
            self.work = self.result
        if self.local is None:
            return
        if self.deleted:
            attach(self.local, State(self.target.pk))
            return
        target = self.target
        if target.obj is not self.local:
            target = Target(target.collection, target.pk, target.key, self.local)
        if self.created:
            see_stored(self.local, target.pk, self.inserted)
        if self.result is None and self.first is LATER:
            adopt_fields(target, self.single.values())
        else:
            adopt_all(target, {edit.touched.name: edit.touched for edit in self.edits}.values(), self.after)

    # -- leaving a part of the block by an exception --

    def mark(self) -> int:
        """A point to go back to."""
        self._flush()
        return len(self.edits)

    def back(self, mark: int) -> None:
        """Forget the edits since the point. What was read stays read."""
        undone = self.edits[mark:]
        del self.edits[mark:]
        self._own = [edit.slot for edit in self.edits if _assigns(edit)]
        self.moved += tuple([(edit.touched, True) for edit in undone if _moves(edit)])
        self._detached = ()
        base = self.inserted if self.created else self.entry
        if self.first is LATER:
            self._record_again()
        elif base is not None:
            self.work = self.target.collection.load(base, self.target.pk)
            for edit in self.edits:
                edit.apply(self.work)
        if self.copies:
            self.copies = {
                name: copy
                for name, copy in self.copies.items()
                if self.dumped(copy.slot, copy.value) == _tree(self._worked(copy.slot), name)
            }

    def _record_again(self) -> None:
        """Of a working copy that is not loaded yet, what the edits wrote to single fields."""
        self.single.clear()
        for edit in self.edits:
            if isinstance(edit, Written):
                slot, _, _, steps = edit
                if steps is not None:
                    value = after_steps(steps, self.held(slot))
                    self.single[slot.name] = slot, value, self.encoded(slot, value), steps
                else:
                    self.single[slot.name] = edit

    def _worked(self, slot: Slot) -> Fields:
        try:
            return self.dumped(slot, slot.get(self.work))
        except (LookupError, AttributeError):
            return {}


def _assigns(edit: Edit) -> bool:
    return isinstance(edit, Assign) or (isinstance(edit, Written) and edit.steps is None)


def _moves(edit: Edit) -> bool:
    if isinstance(edit, Call):
        return edit.entry is None and edit.method not in _STAYING
    return isinstance(edit, Assign) and not edit.slot.is_field


def _names(slot: Slot) -> list[bytes]:
    return stored_names(slot) if slot.renamed else [slot.name]


def _tree(fields: Fields, name: bytes) -> Fields:
    below = name + b"."
    return {found: value for found, value in fields.items() if found == name or found.startswith(below) or not name}
