"""Drafts: recording views of one object. Reads are noted, writes are recorded as edits; nothing is sent from here.

What is noted and recorded, and what it comes to at commit, is in ``recorders``; which values come straight back to
their place, and therefore were not read, is told by ``tracking``.

Drafts of containers of declared type list, dict and set record each operation. Values of other containers (deque,
packed, a TypedDict, ...) are handed out as copies; a copy that was changed is written back whole, and counts as read.
"""

from __future__ import annotations

import functools
import operator
import sys
import weakref
from collections import deque
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from types import FrameType
from typing import Any, NamedTuple, NoReturn, cast

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.shape import Direct
from rapyer_codecs.types.mappings import DictShape
from rapyer_codecs.types.records import RecordShape
from rapyer_core.errors import ConstraintError
from rapyer_core.operations.edits import Assign, Call, after_steps
from rapyer_core.places import value_of, value_shape
from rapyer_core.recorders import LATER, Copy, Handle, Record, Recorder, handle, opened
from rapyer_core.tracking import TRACKED, Step, Tracked, comes_back, in_place, places_in, tracked, untracked

_new_reading: Callable[[type[_Reading], tuple[Any, ...]], _Reading] = tuple.__new__
"""A NamedTuple without a call of Python code."""

_IMMUTABLE = frozenset({int, float, str, bytes, bool})
"""Types of values that nobody can change, so that they need no copy."""
_ATOMS = (bool, str, bytes, type(None))


# -- values handed out --


class _Reading(NamedTuple):
    """One reading of a value: where it came from. counts: it is among what was read.

    recorder: does not keep the block alive.
    """

    recorder: Callable[[], Recorder | None]
    slot: Slot
    counts: bool

    def came_back(self) -> None:
        """Not a read: the value went nowhere but back to its place."""
        recorder = self.recorder()
        if self.counts and recorder is not None:
            recorder.unread(self.slot)

    def assign(self, value: Any) -> None:
        """Record an assignment to the place."""
        _assign(self._alive(), self.slot, value)

    def increase(self, by: Any) -> Any:
        """Record an increment of the place; the value after it, in this block."""
        return _adjust(self._alive(), self.slot, ((operator.add, by),))

    def _alive(self) -> Recorder:
        recorder = self.recorder()
        if recorder is None:
            raise ConstraintError(path=self.slot.text, reason="the block of this value is over")
        return recorder


def _handed_out(recorder: Recorder, slot: Slot, frame: FrameType) -> Any:
    """What reading the place gives: a draft, a tracked value, or a plain one that counts as read.

    frame: of the code that reads.
    """
    shape = slot.shape
    value = recorder.held(slot)
    if shape.kind == "union":
        inner = value_shape(slot)
        if value is None or inner is shape or inner.kind == "record":
            recorder.note(slot, tree=value is None or inner is shape)
        if value is None:
            return None
        if inner is shape:
            return _copied(recorder, slot, value)
        shape = inner
    if shape.kind == "record" and isinstance(value, tuple):
        return handle(DraftTuple, recorder, slot)
    if shape.kind == "record" and not isinstance(value, dict):
        made = draft_class(slot) if slot.sure and slot.shape.kind == "record" else Draft
        return handle(made, recorder, slot)
    kind: type = getattr(type(value), "__rapyer_plain__", type(value))
    view = _VIEWS.get(kind) if shape.kind in ("list", "dict", "set") else None
    if view is not None:
        return handle(view, recorder, slot)
    if kind in TRACKED and slot.is_field:
        counts = recorder.note(slot)
        return tracked(
            value_of(slot, slot.dump(value)) if kind is not type(value) else value,
            _Reading(weakref.ref(recorder), slot, counts),
            frame,
        )
    return _copied(recorder, slot, value)


def _copied(recorder: Recorder, slot: Slot, value: Any) -> Any:
    recorder.note(slot)
    if type(value) in _ATOMS:
        return value
    copies = recorder.copies or {}
    known = copies.get(slot.name)
    if known is not None:
        return known.value
    fields = slot.dump(value)
    copy = value_of(slot, fields)
    if recorder.open and _may_change(copy):
        copies[slot.name] = Copy(slot, copy, fields)
        recorder.copies = copies
    return copy


def _may_change(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return True
    return hasattr(value, "__dict__")


def _assign(recorder: Recorder, slot: Slot, value: Any) -> None:
    if slot.name == recorder.key:
        _refuse_key(recorder, slot)
    if slot.is_field:
        recorder.record_field(_storable(recorder, slot, value))
    else:
        recorder.record(_whole(recorder, slot, value))


def _storable(recorder: Recorder, slot: Slot, value: Any) -> Record:
    """The assignment of a value to a place that is one field, as it will be read, and its text.

    An error if it cannot be stored there, or breaks a rule whatever is stored.
    """
    direct = slot.shape.direct
    if direct is not None and type(value) is direct.type and type(value) in _IMMUTABLE and not slot.may_break:
        try:
            return slot, value, direct.encode(value), None
        except Exception:
            pass  # said below, outside of the handler, what is wrong
    value = plain(value)
    raw = recorder.encoded(slot, value)
    recorder.check(slot, value)
    if type(value) is not slot.shape.type or type(value) not in _IMMUTABLE:
        value = slot.decode(raw)
    return slot, value, raw, None


def _whole(recorder: Recorder, slot: Slot, value: Any) -> Assign:
    """The assignment of a value of several fields. The same errors."""
    value = plain(value)
    fields = recorder.dumped(slot, value)
    recorder.check(slot, value)
    return Assign(slot, fields)


def _adjust(recorder: Recorder, slot: Slot, steps: Sequence[Step]) -> Any:
    """Record that the steps are done to what is stored; what they come to in this block."""
    if slot.name == recorder.key:
        _refuse_key(recorder, slot)
    value = after_steps(steps, recorder.held(slot))
    recorder.record_field((slot, value, recorder.encoded(slot, value), steps))
    return value


def _refuse_key(recorder: Recorder, slot: Slot) -> NoReturn:
    reason = "the key field of a stored object cannot change"
    raise ConstraintError(**recorder.target.data, path=slot.text, reason=reason)


def _store(recorder: Recorder, slot: Slot, value: Any, frame: FrameType) -> None:
    """An assignment in the block: an adjustment if the value came straight back, else an assignment.

    frame: of the code that assigns.
    """
    if isinstance(value, Tracked):
        mark = value.mark
        if mark is not None and comes_back(mark, frame):
            reading, _, _, steps, now = mark
            if reading.recorder() is recorder and reading.slot.name == slot.name:
                if not (reading.counts and recorder.take_back(slot, now, steps)):
                    _adjust(recorder, slot, steps)
                    if reading.counts:
                        recorder.unread(slot)
                return
    elif isinstance(value, Handle) and opened(value)[0] is recorder and value.__slot__.name == slot.name:
        # The rest of ``d.items += [x]``, which was recorded already.
        return
    _assign(recorder, slot, value)


def plain(value: Any) -> Any:
    """A value that may be a draft, a view or a tracked value, or hold some, as an ordinary one; they count as read."""
    if isinstance(value, Tracked):
        return untracked(value)
    if not issubclass(type(value), _Copied):
        rebuild = _HOLDERS.get(type(value))
        return value if rebuild is None else rebuild(value)
    recorder, slot = opened(value)
    recorder.note(slot, tree=True)
    found = slot.get(recorder.work)
    if slot.steps:
        return value_of(slot, slot.dump(found))
    collection, pk = recorder.target.collection, recorder.target.pk
    return collection.load(collection.dump(found, pk), pk)


_HOLDERS: dict[type, Callable[[Any], Any]] = {
    list: lambda held: [plain(value) for value in held],
    tuple: lambda held: tuple(plain(value) for value in held),
    deque: lambda held: deque((plain(value) for value in held), held.maxlen),
    dict: lambda held: {key: plain(value) for key, value in held.items()},
}
"""What drafts are collected in before they are assigned: ``d.squad = [unit for unit in d.squad if unit.hp > 0]``."""


def _itself(value: Any) -> Any:
    return value


class _Copied(Handle):
    """Copies and pickles of drafts and views are plain: what is in them counts as read, and belongs to no block."""

    __slots__ = ()

    def __copy__(self) -> Any:
        return plain(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return plain(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _itself, (plain(self),)


class Draft(_Copied):
    """A recording view of an object, or of a nested one. Attributes are the fields; there are no others.

    Where it is known beforehand which fields there are, they are those of a :func:`draft_class`.
    """

    __slots__ = ()
    __rapyer_draft__ = True

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class that it stands for: for isinstance, and for super() in methods of the class."""
        return _class_of(self.__slot__)

    def __getattr__(self, name: str) -> Any:
        if _is_special(name):
            raise AttributeError(f"a draft has no {name}")
        slot = self.__slot__
        try:
            child = slot.child(name)
        except RapyerError:
            self.__recorder__.check_there()
            return _class_member(self, _class_of(slot), name)
        return _read(self, child, sys._getframe(1))

    def __setattr__(self, name: str, value: Any) -> None:
        slot = self.__slot__
        try:
            child = slot.child(name)
        except RapyerError:
            if not _set_property(self, _class_of(slot), name, value):
                raise
            return
        _store(opened(self)[0], child, value, sys._getframe(1))

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a field cannot be deleted; assign None or another value")

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == plain(other))

    __hash__ = None  # type: ignore[assignment]  # like any mutable object that compares by value

    def __repr__(self) -> str:
        return _described(self)


class DraftTuple(Draft):
    """A NamedTuple of a draft: a draft by the names of its fields, an ordinary tuple in all else."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(plain(self))

    def __len__(self) -> int:
        return len(plain(self))

    def __getitem__(self, index: Any) -> Any:
        return plain(self)[index]

    def __contains__(self, value: object) -> bool:
        return value in plain(self)

    def __add__(self, other: Any) -> Any:
        return plain(self) + plain(other)

    def __hash__(self) -> int:  # type: ignore[override]  # as every tuple
        return hash(plain(self))


# -- fields that are known beforehand --


def draft_class(slot: Slot) -> type[Draft]:
    """The drafts of a record that is there whenever the object is: a property for each field. Made once for a place."""
    if slot.view is None:
        body: dict[str, Any] = {"__slots__": (), "__module__": __name__}
        places: dict[str, Slot] = {}
        for part in slot.parts():
            name = str(part.steps[-1])
            places[name] = part
            if not _is_special(name):
                body[name] = property(_getter(part))
        body["__setattr__"] = _setter(places)
        slot.view = type("Draft", (Draft,), body)
    made: type[Draft] = slot.view
    return made


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _getter(slot: Slot) -> Callable[[Any], Any]:
    """What reads a field. The common case of each kind is told without looking at its value."""
    shape = slot.shape
    if slot.sure and slot.stands_alone and shape.direct is not None and shape.direct.type in _IMMUTABLE & set(TRACKED):
        return _tracked_field(slot, shape.direct)
    if slot.sure and isinstance(shape, RecordShape) and not (shape.plan.subscript or issubclass(shape.cls, tuple)):
        return _record_field(slot)
    if slot.sure and isinstance(shape, DictShape) and shape.kind == "dict" and shape.cls is dict:
        return _dict_field(slot)
    return lambda draft: _read(draft, slot, sys._getframe(1))


def _tracked_field(slot: Slot, direct: Direct) -> Callable[[Any], Any]:
    """Of a field that can be read without the others: as long as nothing was written to it, and nothing else loaded."""
    name, base, decode, tracked_class = slot.name, direct.type, direct.decode, TRACKED[direct.type]

    def read(draft: Any) -> Any:
        recorder: Recorder = draft.__recorder__
        frame = sys._getframe(1)
        if recorder.first is not LATER or name in recorder.single or recorder.deleted:
            return _read(draft, slot, frame)
        try:
            value = decode(recorder.entry[name])  # type: ignore[index]  # it is there: or there is no LATER
        except Exception:
            value = None  # said below, outside of the handler, what is wrong
        if value is None:
            return _read(draft, slot, frame)
        # Nothing that the block wrote lies above it, so the reading counts.
        exact = recorder.exact
        exact[name] = exact.get(name, 0) + 1
        code, at = frame.f_code, frame.f_lasti
        place = places_in.get((id(code), at))
        if place is None:
            place = in_place(code, at)
        if place and place.kind is base:
            recorder.coming = place, slot
            return value
        made = tracked_class(value)
        made.mark = (_new_reading(_Reading, (weakref.ref(recorder), slot, True)), code, at, (), value)
        return made

    return read


def _record_field(slot: Slot) -> Callable[[Any], Any]:
    name = slot.name

    def read(draft: Any) -> Any:
        recorder: Recorder = draft.__recorder__
        # An instance of a subclass has an own field.
        if recorder.first is LATER and not recorder.deleted and name not in (recorder.entry or ()):
            return handle(draft_class(slot), recorder, slot)
        return _read(draft, slot, sys._getframe(1))

    return read


def _dict_field(slot: Slot) -> Callable[[Any], Any]:
    def read(draft: Any) -> Any:
        recorder: Recorder = draft.__recorder__
        if recorder.first is LATER and not recorder.deleted:
            return handle(DraftDict, recorder, slot)
        return _read(draft, slot, sys._getframe(1))

    return read


def _read(draft: Any, slot: Slot, frame: FrameType) -> Any:
    recorder, _ = opened(draft)
    recorder.check_there()
    return _handed_out(recorder, slot, frame)


def _setter(places: Mapping[str, Slot]) -> Callable[[Any, str, Any], None]:
    """What writes the fields. Of a value that was changed in place it is known what became of it."""

    def __setattr__(draft: Any, name: str, value: Any) -> None:
        slot = places.get(name)
        if slot is None:
            Draft.__setattr__(draft, name, value)
            return
        recorder: Recorder = draft.__recorder__
        frame = sys._getframe(1)
        coming, recorder.coming = recorder.coming, None
        if coming is not None and coming[1] is slot:
            code, first, end, kind, steps = coming[0]
            if (
                frame.f_code is code
                and first <= frame.f_lasti < end
                and type(value) is kind
                and recorder.take_back(slot, value, steps)
            ):
                return
        _store(opened(draft)[0], slot, value, frame)

    return __setattr__


def _described(view: Any) -> str:
    recorder, slot = opened(view)
    data = recorder.target.data
    where = f".{slot.text}" if slot.steps else ""
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
            if isinstance(found, functools.cached_property):
                return found.func(draft)
            bind = getattr(type(found), "__get__", None)
            return found if bind is None else bind(found, draft, cls)
    raise AttributeError(f"{cls.__name__} has no field or member {name!r}")


def _set_property(draft: Draft, cls: type, name: str, value: Any) -> bool:
    found = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    if not isinstance(found, property):
        return False
    found.__set__(draft, value)
    return True


class _View(_Copied):
    """What the views of containers share."""

    __slots__ = ()
    __rapyer_draft__ = True

    @property
    def _all(self) -> Any:
        """The container itself, all of it read."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=True)
        return slot.get(recorder.work)

    @property
    def _unread(self) -> Any:
        """The container itself, not counted as read."""
        recorder, slot = opened(self)
        return slot.get(recorder.work)

    def _child(self, key: Any) -> Slot:
        try:
            return self.__slot__.entry(key if type(key) is str else plain(key))
        except RapyerError:
            target = opened(self)[0].target
            with target.collection.named(target.pk):
                raise

    def _call(self, method: str, *arguments: Any) -> Any:
        recorder, slot = opened(self)
        return recorder.record(Call(slot, method, lambda: arguments))

    def _fresh(self, values: Iterable[Any]) -> Callable[[], list[Any]]:
        """Makes the elements anew at each call; refuses now what cannot be stored."""
        recorder, place = opened(self)[0], self._child(0)
        dumped = []
        for value in map(plain, values):
            dumped.append(recorder.dumped(place, value))
            recorder.check(place, value)
        return lambda: [value_of(place, fields) for fields in dumped]

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
            return [self[position] for position in range(len(self._all))[index]]
        recorder, _ = opened(self)
        position = self._position(index)
        child = self._child(position)
        recorder.note(child, tree=True)
        return _handed_out(recorder, child, sys._getframe(1))

    def __setitem__(self, index: Any, value: Any) -> None:
        recorder, slot = opened(self)
        if isinstance(index, slice):
            make = self._fresh(list(plain(value)))
            _ = self._all
            recorder.record(Call(slot, "__setitem__", lambda: (index, make())))
            return
        child = self._child(self._position(index))
        recorder.note(child, tree=True)
        _store(recorder, child, value, sys._getframe(1))

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            _ = self._all
            self._call("__delitem__", index)
            return
        position = self._position(index)
        opened(self)[0].note(self._child(position), tree=True)
        self._call("__delitem__", position)

    def _position(self, index: Any) -> int:
        """The index counted from 0, the length of the list read; of the whole list, if the block moved elements."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=recorder.rearranged(slot))
        held = self._unread
        try:
            return int(range(len(held))[index])
        except IndexError:
            raise IndexError("list index out of range") from None

    def insert(self, index: int, value: Any) -> None:
        """Insert before the index. Only the length counts as read."""
        recorder, slot = opened(self)
        recorder.note(slot, tree=recorder.rearranged(slot))
        make = self._fresh([value])
        recorder.record(Call(slot, "insert", lambda: (index, make()[0])))

    def append(self, value: Any) -> None:
        """Add at the end. Reads nothing."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Add at the end. Reads nothing."""
        recorder, slot = opened(self)
        make = self._fresh(plain(values))
        recorder.record(Call(slot, "extend", lambda: (make(),)))

    def __iadd__(self, values: Iterable[Any]) -> DraftList:  # type: ignore[misc]  # `+` gives an ordinary list
        self.extend(values)
        return self

    def __imul__(self, count: int) -> DraftList:  # type: ignore[misc]  # `*` gives an ordinary list
        _ = self._all
        self._call("__imul__", count)
        return self

    def __add__(self, other: Any) -> list[Any]:
        return cast(list[Any], plain(self) + plain(other))

    def __radd__(self, other: Any) -> list[Any]:
        return cast(list[Any], plain(other) + plain(self))

    def __mul__(self, count: Any) -> list[Any]:
        return cast(list[Any], plain(self) * plain(count))

    def __rmul__(self, count: Any) -> list[Any]:
        return cast(list[Any], plain(self) * plain(count))

    def __lt__(self, other: Any) -> bool:
        return bool(plain(self) < plain(other))

    def __le__(self, other: Any) -> bool:
        return bool(plain(self) <= plain(other))

    def __gt__(self, other: Any) -> bool:
        return bool(plain(self) > plain(other))

    def __ge__(self, other: Any) -> bool:
        return bool(plain(self) >= plain(other))

    def copy(self) -> list[Any]:
        """An ordinary list of the elements. The whole list counts as read."""
        return cast(list[Any], plain(self))

    def pop(self, index: int = -1) -> Any:
        """Take out an element. The length and the element count as read."""
        position = self._position(index)
        opened(self)[0].note(self._child(position), tree=True)
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
        (recorder, slot), make = opened(self), self._fresh(sorted(plain(self), key=key, reverse=reverse))
        recorder.record(Call(slot, "__setitem__", lambda: (slice(None), make())))

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
        recorder, slot = opened(self)
        _assign(recorder, slot, list(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftDict(_View, MutableMapping[Any, Any]):
    """A dict of a draft."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        recorder, _ = opened(self)
        child = self._child(key)
        if plain(key) not in self._unread:
            recorder.note(child)
            raise KeyError(key)
        return _handed_out(recorder, child, sys._getframe(1))

    def __setitem__(self, key: Any, value: Any) -> None:
        _store(opened(self)[0], self._child(key), value, sys._getframe(1))

    def __delitem__(self, key: Any) -> None:
        recorder, slot = opened(self)
        child = self._child(key)
        recorder.note(child)
        key = plain(key)
        recorder.record(Call(slot, "__delitem__", lambda: (key,), child))

    def __contains__(self, key: object) -> bool:
        try:
            child = self._child(key)
        except RapyerError:
            return False
        opened(self)[0].note(child)
        return plain(key) in self._unread

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __ior__(self, other: Any) -> DraftDict:
        self.update(other)
        return self

    def __or__(self, other: Any) -> dict[Any, Any]:
        return cast(dict[Any, Any], plain(self) | plain(other))

    def __ror__(self, other: Any) -> dict[Any, Any]:
        return cast(dict[Any, Any], plain(other) | plain(self))

    def copy(self) -> dict[Any, Any]:
        """An ordinary dict of the entries. The whole dict counts as read."""
        return cast(dict[Any, Any], plain(self))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The entry, made of the default if there is none. The key counts as read."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[Any, Any]:
        """Take out the last entry. The whole dict counts as read."""
        keys = list(self._all)
        if not keys:
            raise KeyError("popitem(): dictionary is empty")
        return keys[-1], self.pop(keys[-1])

    def pop(self, key: Any, *default: Any) -> Any:
        """Take out an entry. The key counts as read."""
        recorder, slot = opened(self)
        child = self._child(key)
        recorder.note(child)
        key = plain(key)
        if key not in self._unread:
            if default:
                return default[0]
            raise KeyError(key)
        return recorder.record(Call(slot, "pop", lambda: (key,), child))

    def update(self, *others: Any, **values: Any) -> None:
        """Set entries, all or none of them. Reads nothing."""
        entries = dict(*map(plain, others), **values) if others else values
        recorder = self.__recorder__
        if recorder.moved:
            opened(self)
        known = self.__slot__.entries
        alone: list[Record] = []
        wide: list[Assign] = []
        for key, value in entries.items():
            place = known.get(key) if type(key) is str else None
            if place is None:
                place = self._child(key)
            if place.is_field:
                alone.append(_storable(recorder, place, value))
            else:
                wide.append(_whole(recorder, place, value))
        recorder.record_fields(alone)
        for edit in wide:
            recorder.record(edit)

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
        recorder, slot = opened(self)
        _assign(recorder, slot, dict(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftSet(_View, MutableSet[Any]):
    """A set of a draft."""

    __slots__ = ()

    def __contains__(self, member: object) -> bool:
        recorder, slot = opened(self)
        member = plain(member)
        try:
            recorder.note_field(slot.entry_name(member))
        except RapyerError:
            return False
        return member in self._unread

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> Any:
        return set(it)

    def add(self, value: Any) -> None:
        """Add a member. Reads nothing."""
        self._call("add", self._checked(value))

    def discard(self, value: Any) -> None:
        """Remove a member if it is there. Reads nothing."""
        self._call("discard", self._storable(value))

    def _checked(self, value: Any) -> Any:
        member, (recorder, slot) = self._storable(value), opened(self)
        recorder.check_parts(slot, {member})
        return member

    def _storable(self, value: Any) -> Any:
        member, (recorder, slot) = plain(value), opened(self)
        recorder.dumped(slot, {member})
        return member

    def remove(self, value: Any) -> None:
        """Remove a member. That it is there counts as read."""
        if value not in self:
            raise KeyError(value)
        self.discard(value)

    # Operators take sets only, the methods of the same meaning anything that can be iterated: as those of set.

    def __ior__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __isub__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.difference_update(list(other))
        return self

    def __ixor__(self, other: Any) -> DraftSet:
        if not isinstance(other, Set):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    def __or__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) | plain(other))

    def __and__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) & plain(other))

    def __sub__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) - plain(other))

    def __xor__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(self) ^ plain(other))

    def __ror__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) | plain(self))

    def __rand__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) & plain(self))

    def __rsub__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) - plain(self))

    def __rxor__(self, other: Any) -> set[Any]:
        return cast(set[Any], plain(other) ^ plain(self))

    def update(self, *others: Iterable[Any]) -> None:
        """Add members. Reads nothing."""
        members = [self._checked(member) for other in others for member in other]
        for member in members:
            self._call("add", member)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove members. Reads nothing."""
        for other in others:
            for member in list(other):
                self.discard(member)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep only what all the others have too. The whole set counts as read."""
        self.difference_update(plain(self) - plain(self).intersection(*others))

    def symmetric_difference_update(self, other: Iterable[Any]) -> None:
        """Keep what only one of the two has. These members count as read."""
        for member in set(plain(other)):
            if member in self:
                self.discard(member)
            else:
                self.add(member)

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set. The whole set counts as read; so for the following."""
        return cast(set[Any], plain(self).union(*others))

    def intersection(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).intersection(*others))

    def difference(self, *others: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).difference(*others))

    def symmetric_difference(self, other: Iterable[Any]) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self).symmetric_difference(other))

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether the other has all members."""
        return bool(plain(self).issubset(other))

    def issuperset(self, other: Iterable[Any]) -> bool:
        """Whether it has all members of the other."""
        return bool(plain(self).issuperset(other))

    def copy(self) -> set[Any]:
        """An ordinary set."""
        return cast(set[Any], plain(self))

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
        recorder, slot = opened(self)
        _assign(recorder, slot, set(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


_VIEWS: dict[type, type[_View]] = {list: DraftList, dict: DraftDict, set: DraftSet}


def draft_of(recorder: Recorder) -> Any:
    """The draft of a whole object."""
    root = recorder.target.collection.mapper.root
    return handle(root.view or draft_class(root), recorder, root)


def recorder_of(draft: Any) -> Recorder | None:
    """The recorder behind a draft of a whole object; None for anything else."""
    if not issubclass(type(draft), Draft):
        return None
    return None if draft.__slot__.steps else opened(draft)[0]


__all__ = [
    "Draft",
    "DraftDict",
    "DraftList",
    "DraftSet",
    "Recorder",
    "draft_class",
    "draft_of",
    "plain",
    "recorder_of",
]
