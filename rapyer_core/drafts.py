"""Drafts: recording views of one object. Reads are noted, writes are recorded as edits; nothing is sent from here.

A :class:`Recorder` holds what was read at the entry of the block, a working copy with the block's own writes, the
edits in order, and the read set. As a :class:`~rapyer_core.operations.commit.Unit` it decides at commit: a read that
changed is a Conflict; otherwise the edits are applied to what is stored by then.

Drafts of containers of declared type list, dict and set record each operation. Values of other containers (deque,
packed, ...) are handed out as copies; a copy that was changed is written back whole, and counts as read.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, MutableMapping, MutableSequence, MutableSet
from dataclasses import dataclass, field
from sys import getrefcount
from typing import Any, NoReturn, cast

from rapyer_codecs import Item, RapyerError, Slot

from rapyer_core.collection import Fields, Target
from rapyer_core.errors import AlreadyExists, Conflict, ConstraintError, MissingEntry, NotFound
from rapyer_core.operations.commit import Change, Seen, Unit
from rapyer_core.operations.edits import Assign, Call, Compute, Edit, after_change, applied, changed_fields
from rapyer_core.operations.fields import adopt
from rapyer_core.places import is_leaf, value_shape
from rapyer_core.states import State, attach
from rapyer_core.tracking import Counts, TrackedFloat, TrackedInt, tracked

_ATOMS = (bool, str, bytes, type(None))


@dataclass(slots=True)
class Recorder(Unit):
    """One object in one block. entry: the stored fields at the entry, None: there was no object.

    work: the object with the block's writes; None: it is not there. local: the caller's instance.
    created: by this block, of these fields (inserted); replaces: after it deleted the one that was there.
    """

    target: Target
    entry: Fields | None
    work: Any
    local: Any = None
    created: bool = False
    replaces: bool = False
    inserted: Fields = field(default_factory=dict)
    deleted: bool = False
    open: bool = True
    edits: list[Edit] = field(default_factory=list)
    exact: dict[bytes, int] = field(default_factory=dict)
    trees: set[bytes] = field(default_factory=set)
    copies: dict[bytes, tuple[Slot, Any, Fields]] = field(default_factory=dict)
    needs: None = None
    after: Fields = field(default_factory=dict)
    attempts: int = 0

    # -- recording --

    def note(self, slot: Slot, tree: bool | None = None) -> None:
        """The place was read; with all that lies below it, unless it is one field."""
        if tree is None:
            tree = not is_leaf(slot)
        if tree:
            self.trees.add(slot.name)
        else:
            self.exact[slot.name] = self.exact.get(slot.name, 0) + 1

    def unread(self, slot: Slot) -> None:
        """One reading of a leaf was none after all."""
        left = self.exact.get(slot.name, 0) - 1
        if left > 0:
            self.exact[slot.name] = left
        else:
            self.exact.pop(slot.name, None)

    def record(self, edit: Edit) -> Any:
        """Do it to the working copy, and again at commit. What Python would raise is raised, and not recorded."""
        self.check_open()
        result = edit.apply(self.work)
        self.edits.append(edit)
        return result

    def check_open(self) -> None:
        """Refuse writes after the block."""
        if not self.open:
            raise ConstraintError(
                **self.target.data, reason="the block of this draft is over: nothing can be recorded any more"
            )
        if self.deleted:
            raise NotFound("the object was deleted in this block", **self.target.data)

    def dumped(self, slot: Slot, value: Any) -> Fields:
        """The stored form of a value; an error names the object."""
        with self.target.collection.named(self.target.pk):
            return slot.dump(plain(value))

    def restructured(self, slot: Slot) -> bool:
        """Whether the block moved elements of this list."""
        return any(edit.touched.under(slot.name) for edit in self.edits)

    # -- committing --

    def finish(self) -> None:
        """Before a commit: copies that were handed out and changed are written back."""
        for slot, copy, fields in self.copies.values():
            now = self.dumped(slot, copy)
            if now != fields:
                self.record(Assign(slot, now))
        self.copies.clear()

    def decide(self, seen: Seen) -> Change:
        """Compare what was read; apply the edits to what is stored now."""
        self.attempts += 1
        if self.created:
            if self.replaces and seen.exists and self._changed(self.entry or {}, seen.fields):
                raise self._conflict(self._names(seen.fields))
            if seen.exists and not self.replaces:
                raise AlreadyExists(**self.target.data)
            self.after = self.target.collection.dump(self.work, self.target.pk)
            return Change(put=self.after, replace=True)
        if self.entry is None:
            if seen.exists:
                raise self._conflict(["~"])
            return Change()
        if not seen.exists:
            raise NotFound(**self.target.data)
        if self._changed(self.entry, seen.fields):
            raise self._conflict(self._names(seen.fields))
        if self.deleted:
            return Change(erase=True)
        if not self.edits:
            self.after = seen.fields
            return Change()
        result = self.work if seen.fields == self.entry else self._replayed(seen.fields)
        with self.target.collection.named(self.target.pk):
            put, drop = changed_fields(self.target, [edit.touched for edit in self.edits], seen.fields, result)
        self.work = result
        self.after = after_change(seen.fields, put, drop)
        return Change(put=put, drop=drop)

    def _names(self, now: Fields) -> list[str]:
        return [name.decode(errors="replace") for name in self._changed(self.entry or {}, now)]

    def _changed(self, before: Fields, now: Fields) -> list[bytes]:
        names = [name for name in self.exact if before.get(name) != now.get(name)]
        names += [name for name in self.trees if _tree(before, name) != _tree(now, name)]
        return sorted(names)

    def _replayed(self, fields: Fields) -> Any:
        obj = self.target.collection.load(fields, self.target.pk)
        for edit in self.edits:
            try:
                applied(self.target, edit, obj)
            except (MissingEntry, LookupError):
                raise self._conflict([edit.slot.name.decode(errors="replace")]) from None
        return obj

    def _conflict(self, fields: Iterable[str]) -> Conflict:
        return Conflict(**self.target.data, fields=tuple(fields), attempts=self.attempts)

    def show(self) -> None:
        """After the commit: the caller's instance carries the new values."""
        self.open = False
        if self.local is None:
            return
        if self.created:
            attach(self.local, State(self.target.pk, self.after))
        elif self.deleted:
            attach(self.local, State(self.target.pk))
        else:
            target = Target(self.target.collection, self.target.pk, self.target.key, self.local)
            for slot in {edit.touched.name: edit.touched for edit in self.edits}.values():
                adopt(target, slot, {name: value for name, value in self.after.items() if slot.under(name)})

    # -- leaving a part of the block by an exception --

    def mark(self) -> int:
        """A point to go back to."""
        return len(self.edits)

    def back(self, mark: int) -> None:
        """Forget the edits since the point. What was read stays read."""
        del self.edits[mark:]
        self.copies.clear()
        base = self.inserted if self.created else self.entry
        if base is not None:
            self.work = self.target.collection.load(base, self.target.pk)
            for edit in self.edits:
                edit.apply(self.work)


def _tree(fields: Fields, name: bytes) -> Fields:
    below = name + b"."
    return {found: value for found, value in fields.items() if found == name or found.startswith(below) or not name}


# -- values handed out --


class _Read:
    """One reading of a number: where it came from."""

    __slots__ = ("recorder", "slot", "undone")

    def __init__(self, recorder: Recorder, slot: Slot) -> None:
        self.recorder = recorder
        self.slot = slot
        self.undone = False

    def came_back(self) -> None:
        """Not a read: the value was only added to."""
        if not self.undone:
            self.undone = True
            self.recorder.unread(self.slot)

    def assign(self, value: Any) -> None:
        """Record an assignment to the place."""
        _assign(self.recorder, self.slot, value)

    def increase(self, by: Any) -> Any:
        """Record an increment of the place; the value after it, in this block."""
        return _adjust(self.recorder, self.slot, (lambda value: value + by,))


def _handed_out(recorder: Recorder, slot: Slot) -> Any:
    """What reading the place gives: a draft, a tracked number, or a plain value that counts as read."""
    value = slot.get(recorder.work)
    shape = slot.shape
    if shape.kind == "union":
        if value is None or shape.inner is None or shape.inner.kind == "record":
            recorder.note(slot, tree=shape.inner is None or value is None)
            if value is None:
                return None
        if shape.inner is None:
            return _copied(recorder, slot, value)
        shape = shape.inner
    if shape.kind == "record":
        return Draft(recorder, slot)
    kind = getattr(type(value), "__rapyer_plain__", type(value))
    view = _VIEWS.get(kind) if shape.kind in ("list", "dict", "set") else None
    if view is not None:
        return view(recorder, slot)
    if kind in (int, float):
        recorder.note(slot)
        return tracked(kind(value), _Read(recorder, slot))
    return _copied(recorder, slot, value)


def _copied(recorder: Recorder, slot: Slot, value: Any) -> Any:
    recorder.note(slot)
    if type(value) in _ATOMS:
        return value
    known = recorder.copies.get(slot.name)
    if known is not None:
        return known[1]
    fields = slot.dump(value)
    copy = slot.load(fields)
    if recorder.open and _may_change(copy):
        recorder.copies[slot.name] = (slot, copy, fields)
    return copy


def _may_change(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return True
    return hasattr(value, "__dict__")


def _assign(recorder: Recorder, slot: Slot, value: Any) -> None:
    _refuse_key(recorder, slot)
    recorder.copies.pop(slot.name, None)
    recorder.record(Assign(slot, recorder.dumped(slot, value)))


def _adjust(recorder: Recorder, slot: Slot, steps: tuple[Callable[[Any], Any], ...]) -> Any:
    _refuse_key(recorder, slot)

    def adjusted(value: Any) -> Any:
        if value is None:
            raise LookupError
        for step in steps:
            value = step(value)
        return value

    before = slot.get(recorder.work)
    recorder.dumped(slot, adjusted(before))
    return recorder.record(Compute(slot, adjusted))


def _refuse_key(recorder: Recorder, slot: Slot) -> None:
    key = recorder.target.collection.model.key_slot
    if key is not None and key.name == slot.name:
        raise ConstraintError(**recorder.target.data, path=slot.text, reason="the key field of a stored object cannot change")


def _store(recorder: Recorder, slot: Slot, value: Any, alone: bool) -> None:
    """An assignment in the block: an increment if the value came straight back, else an assignment."""
    if isinstance(value, TrackedInt | TrackedFloat):
        origin = value.origin
        if alone and value.steps and isinstance(origin, _Read) and origin.recorder is recorder and origin.slot.name == slot.name:
            origin.came_back()
            _adjust(recorder, slot, value.steps)
            return
    elif isinstance(value, _View | Draft):
        # The rest of ``d.items += [x]``, which was recorded already.
        inside = _inside(value)
        if inside.recorder is recorder and inside.slot.name == slot.name:
            return
    _assign(recorder, slot, value)


class _Inside:
    """What a draft or view works with. Kept in one slot whose name no field can have."""

    __slots__ = ("recorder", "slot")

    def __init__(self, recorder: Recorder, slot: Slot) -> None:
        self.recorder = recorder
        self.slot = slot


def _inside(value: Any) -> _Inside:
    kind = Draft if type(value) is Draft else _View
    return cast(_Inside, kind.__dict__["__inside__"].__get__(value))


def plain(value: Any) -> Any:
    """A value that may be a draft or view as an ordinary one; the place then counts as read."""
    if isinstance(value, _View) or type(value) is Draft:
        inside = _inside(value)
        inside.recorder.note(inside.slot, tree=True)
        found = inside.slot.get(inside.recorder.work)
        return inside.slot.load(inside.slot.dump(found)) if inside.slot.steps else found
    if isinstance(value, TrackedInt):
        return int(value)
    if isinstance(value, TrackedFloat):
        return float(value)
    return value


class Draft:
    """A recording view of an object, or of a nested one. Attributes are the fields; there are no others."""

    __slots__ = ("__inside__",)
    __rapyer_draft__ = True

    def __init__(self, recorder: Recorder, slot: Slot) -> None:
        object.__setattr__(self, "__inside__", _Inside(recorder, slot))

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)
        inside = _inside(self)
        recorder, slot = inside.recorder, inside.slot
        if recorder.deleted:
            recorder.check_open()
        try:
            child = slot.child(name)
        except RapyerError:
            return _class_member(self, _class_of(slot), name)
        return _handed_out(recorder, child)

    def __setattr__(self, name: str, value: Any) -> None:
        alone = getrefcount(value) == Counts.store
        inside = _inside(self)
        _store(inside.recorder, inside.slot.child(name), value, alone)

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a field cannot be deleted; assign None or another value")

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == plain(other))

    __hash__ = None  # type: ignore[assignment]  # like any mutable object that compares by value

    def __repr__(self) -> str:
        return _described(self)


def _described(view: Any) -> str:
    inside = _inside(view)
    data = inside.recorder.target.data
    where = f".{inside.slot.text}" if inside.slot.steps else ""
    return f"<draft of {data['model']}({data['pk']}){where}>"


def _class_of(slot: Slot) -> type:
    hint = value_shape(slot).type
    return cast(type, getattr(hint, "__origin__", hint))


def _class_member(draft: Draft, cls: type, name: str) -> Any:
    """A method or property of the class, working on the draft; methods that go to the server are refused."""
    for base in cls.__mro__:
        if name in base.__dict__:
            special = base.__dict__.get("__rapyer_in_drafts__")
            if special is not None:
                return special(draft, name)
            found = base.__dict__[name]
            if isinstance(found, types.FunctionType | property | classmethod | staticmethod):
                return found.__get__(draft, cls)
            return found
    raise AttributeError(f"{cls.__name__} has no field or member {name!r}")


class _View:
    """What the views of containers share."""

    __slots__ = ("__inside__",)
    __rapyer_draft__ = True

    def __init__(self, recorder: Recorder, slot: Slot) -> None:
        self.__inside__ = _Inside(recorder, slot)

    @property
    def _all(self) -> Any:
        """The container itself, all of it read."""
        inside = _inside(self)
        inside.recorder.note(inside.slot, tree=True)
        return inside.slot.get(inside.recorder.work)

    @property
    def _unread(self) -> Any:
        """The container itself, not counted as read."""
        inside = _inside(self)
        return inside.slot.get(inside.recorder.work)

    def _child(self, key: Any) -> Slot:
        inside = _inside(self)
        with inside.recorder.target.collection.named(inside.recorder.target.pk):
            return inside.slot.child(Item(plain(key)))

    def _call(self, method: str, *arguments: Any) -> Any:
        inside = _inside(self)
        return inside.recorder.record(Call(inside.slot, method, lambda: arguments))

    def _fresh(self, values: Iterable[Any]) -> Callable[[], list[Any]]:
        """Makes the elements anew at each call; refuses now what cannot be stored."""
        recorder, place = _inside(self).recorder, self._child(0)
        dumped = [recorder.dumped(place, value) for value in values]
        return lambda: [place.load(fields) for fields in dumped]

    def __eq__(self, other: object) -> bool:
        return bool(self._all == plain(other))

    __hash__ = None  # type: ignore[assignment]  # like the container that it stands for

    def __repr__(self) -> str:
        return repr(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)


class DraftList(_View, MutableSequence[Any]):
    """A list of a draft."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return plain(self)[index]
        inside = _inside(self)
        position = self._position(index)
        child = self._child(position)
        inside.recorder.note(child, tree=True)
        return _handed_out(inside.recorder, child)

    def __setitem__(self, index: Any, value: Any) -> None:
        alone = getrefcount(value) == Counts.store
        inside = _inside(self)
        if isinstance(index, slice):
            make = self._fresh(list(plain(value)))
            _ = self._all
            inside.recorder.record(Call(inside.slot, "__setitem__", lambda: (index, make())))
            return
        child = self._child(self._position(index))
        inside.recorder.note(child, tree=True)
        _store(inside.recorder, child, value, alone)

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            _ = self._all
            self._call("__delitem__", index)
            return
        position = self._position(index)
        _inside(self).recorder.note(self._child(position), tree=True)
        self._call("__delitem__", position)

    def _position(self, index: Any) -> int:
        """The index counted from 0, the length of the list read; of the whole list, if the block moved elements."""
        inside = _inside(self)
        held = self._unread
        position = range(len(held))[int(index)]
        inside.recorder.note(inside.slot, tree=inside.recorder.restructured(inside.slot))
        return position

    def insert(self, index: int, value: Any) -> None:
        """Insert before the index. Only the length counts as read."""
        inside = _inside(self)
        inside.recorder.note(inside.slot, tree=inside.recorder.restructured(inside.slot))
        make = self._fresh([value])
        inside.recorder.record(Call(inside.slot, "insert", lambda: (index, make()[0])))

    def append(self, value: Any) -> None:
        """Add at the end. Reads nothing."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Add at the end. Reads nothing."""
        inside = _inside(self)
        make = self._fresh(plain(values) if isinstance(values, _View) else values)
        inside.recorder.record(Call(inside.slot, "extend", lambda: (make(),)))

    def __iadd__(self, values: Iterable[Any]) -> DraftList:
        self.extend(values)
        return self

    def __imul__(self, count: int) -> DraftList:
        _ = self._all
        self._call("__imul__", count)
        return self

    def __add__(self, other: Any) -> list[Any]:
        return cast(list[Any], plain(self) + list(plain(other)))

    def pop(self, index: int = -1) -> Any:
        """Take out an element. The length and the element count as read."""
        position = self._position(index)
        _inside(self).recorder.note(self._child(position), tree=True)
        return self._call("pop", position)

    def remove(self, value: Any) -> None:
        """Remove the first equal element. The whole list counts as read."""
        _ = self._all
        self._call("remove", plain(value))

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """Sort in place. The whole list counts as read."""
        ordered = sorted(plain(self), key=key, reverse=reverse)
        inside = _inside(self)
        inside.recorder.record(Assign(inside.slot, inside.recorder.dumped(inside.slot, ordered)))

    def reverse(self) -> None:
        """Turn round in place. The whole list counts as read."""
        _ = self._all
        self._call("reverse")

    async def aappend(self, value: Any) -> None:
        """Record an append."""
        self.append(value)

    async def aextend(self, values: Iterable[Any]) -> None:
        """Record an extension."""
        self.extend(values)

    async def ainsert(self, index: int, value: Any) -> None:
        """Record an insertion."""
        self.insert(index, value)

    async def apop(self, index: int = -1) -> Any:
        """Record that an element is taken out; the element."""
        return self.pop(index)

    async def aset(self, values: Iterable[Any]) -> None:
        """Record that the list gets these elements."""
        inside = _inside(self)
        _assign(inside.recorder, inside.slot, list(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftDict(_View, MutableMapping[Any, Any]):
    """A dict of a draft."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        inside = _inside(self)
        child = self._child(key)
        if plain(key) not in self._unread:
            inside.recorder.note(child)
            raise KeyError(key)
        return _handed_out(inside.recorder, child)

    def __setitem__(self, key: Any, value: Any) -> None:
        alone = getrefcount(value) == Counts.store
        _store(_inside(self).recorder, self._child(key), value, alone)

    def __delitem__(self, key: Any) -> None:
        inside = _inside(self)
        child = self._child(key)
        inside.recorder.note(child)
        key = plain(key)
        inside.recorder.record(Call(inside.slot, "__delitem__", lambda: (key,), child))

    def __contains__(self, key: object) -> bool:
        try:
            child = self._child(key)
        except RapyerError:
            return False
        _inside(self).recorder.note(child)
        return plain(key) in self._unread

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __ior__(self, other: Any) -> DraftDict:
        self.update(other)
        return self

    def __or__(self, other: Any) -> dict[Any, Any]:
        return cast(dict[Any, Any], plain(self) | dict(plain(other)))

    def pop(self, key: Any, *default: Any) -> Any:
        """Take out an entry. The key counts as read."""
        inside = _inside(self)
        child = self._child(key)
        inside.recorder.note(child)
        key = plain(key)
        if key not in self._unread:
            if default:
                return default[0]
            raise KeyError(key)
        return inside.recorder.record(Call(inside.slot, "pop", lambda: (key,), child))

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    async def aset_item(self, key: Any, value: Any) -> None:
        """Record an entry."""
        self[key] = value

    async def adel_item(self, key: Any) -> None:
        """Record that an entry is removed."""
        del self[key]

    async def aupdate(self, *others: Any, **values: Any) -> None:
        """Record several entries."""
        self.update(*others, **values)

    async def apop(self, key: Any, *default: Any) -> Any:
        """Record that an entry is taken out; its value."""
        return self.pop(key, *default)

    async def aset(self, values: Any) -> None:
        """Record that the dict gets these entries."""
        inside = _inside(self)
        _assign(inside.recorder, inside.slot, dict(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftSet(_View, MutableSet[Any]):
    """A set of a draft."""

    __slots__ = ()

    def __contains__(self, member: object) -> bool:
        self._note(member)
        return plain(member) in self._unread

    def _note(self, member: Any) -> bytes:
        inside = _inside(self)
        name = inside.slot.entry_name(plain(member))
        inside.recorder.exact[name] = inside.recorder.exact.get(name, 0) + 1
        return name

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def add(self, value: Any) -> None:
        """Add a member. Reads nothing."""
        member = plain(value)
        inside = _inside(self)
        inside.recorder.dumped(inside.slot, {member})
        self._call("add", member)

    def discard(self, value: Any) -> None:
        """Remove a member if it is there. Reads nothing."""
        member = plain(value)
        inside = _inside(self)
        inside.recorder.dumped(inside.slot, {member})
        self._call("discard", member)

    def remove(self, value: Any) -> None:
        """Remove a member. That it is there counts as read."""
        if value not in self:
            raise KeyError(value)
        self.discard(value)

    def update(self, *others: Iterable[Any]) -> None:
        """Add members. Reads nothing."""
        for other in others:
            for member in list(other):
                self.add(member)

    def clear(self) -> None:
        """Empty it. Reads nothing."""
        self._call("clear")

    async def aadd(self, value: Any) -> None:
        """Record that a member is added."""
        self.add(value)

    async def aremove(self, value: Any) -> None:
        """Record that a member is removed."""
        self.remove(value)

    async def adiscard(self, value: Any) -> None:
        """Record that a member is removed if it is there."""
        self.discard(value)

    async def aset(self, values: Iterable[Any]) -> None:
        """Record that the set gets these members."""
        inside = _inside(self)
        _assign(inside.recorder, inside.slot, set(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


_VIEWS: dict[type, Callable[[Recorder, Slot], Any]] = {list: DraftList, dict: DraftDict, set: DraftSet}


def draft_of(recorder: Recorder) -> Any:
    """The draft of a whole object."""
    return Draft(recorder, recorder.target.collection.mapper.root)


def recorder_of(draft: Any) -> Recorder | None:
    """The recorder behind a draft of a whole object; None for anything else."""
    if type(draft) is not Draft:
        return None
    inside = _inside(draft)
    return None if inside.slot.steps else inside.recorder


__all__ = ["Draft", "DraftDict", "DraftList", "DraftSet", "Recorder", "draft_of", "plain", "recorder_of"]
