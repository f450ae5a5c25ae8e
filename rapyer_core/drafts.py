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
from rapyer_core.operations.edits import Assign, Call
from rapyer_core.places import value_of, value_shape
from rapyer_core.recorders import LATER, Adjust, Copy, Field, Handle, Recorder, inside_of, new_tuple, stepped
from rapyer_core.tracking import TRACKED, Mark, Step, Tracked, comes_back, tracked, untracked

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
        return DraftTuple(recorder, slot)
    if shape.kind == "record" and not isinstance(value, dict):
        made = draft_class(slot) if slot.sure and slot.shape.kind == "record" else Draft
        return made(recorder, slot)
    kind: type = getattr(type(value), "__rapyer_plain__", type(value))
    view = _VIEWS.get(kind) if shape.kind in ("list", "dict", "set") else None
    if view is not None:
        return view(recorder, slot)
    if kind in TRACKED and slot.is_field:
        counts = recorder.note(slot)
        return tracked(
            value_of(slot, slot.dump(value)) if kind is not type(value) else value,
            _Reading(recorder.weak, slot, counts),
            frame,
        )
    return _copied(recorder, slot, value)


def _copied(recorder: Recorder, slot: Slot, value: Any) -> Any:
    recorder.note(slot)
    if type(value) in _ATOMS:
        return value
    known = recorder.copies.get(slot.name)
    if known is not None:
        return known.value
    fields = slot.dump(value)
    copy = value_of(slot, fields)
    if recorder.open and _may_change(copy):
        recorder.copies[slot.name] = Copy(slot, copy, fields)
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


def _storable(recorder: Recorder, slot: Slot, value: Any) -> Field:
    """The value of a place that is one field, as it will be read, and its text.

    An error if it cannot be stored there, or breaks a rule whatever is stored.
    """
    direct = slot.shape.direct
    if direct is not None and type(value) is direct.type and type(value) in _IMMUTABLE and not slot.may_break:
        try:
            return slot, value, direct.encode(value)
        except Exception:
            pass  # said below, outside of the handler, what is wrong
    value = plain(value)
    raw = recorder.encoded(slot, value)
    recorder.check(slot, value)
    if type(value) is not slot.shape.type or type(value) not in _IMMUTABLE:
        value = slot.decode(raw)
    return slot, value, raw


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
    value = stepped(steps, recorder.held(slot))
    if slot.is_field:
        recorder.record_field((slot, value, recorder.encoded(slot, value)), steps)
    else:
        recorder.dumped(slot, value)
        recorder.record(Adjust(slot, steps))
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
            reading, _, _, steps, _ = mark
            if reading.recorder is recorder.weak and reading.slot.name == slot.name:
                _adjust(recorder, slot, steps)
                if reading.counts:
                    recorder.unread(slot)
                return
    elif isinstance(value, Handle):
        # The rest of ``d.items += [x]``, which was recorded already.
        inside = inside_of(value)
        if inside.recorder is recorder and inside.slot.name == slot.name:
            return
    _assign(recorder, slot, value)


def plain(value: Any) -> Any:
    """A value that may be a draft, a view or a tracked value, or hold some, as an ordinary one; they count as read."""
    if isinstance(value, Tracked):
        return untracked(value)
    if not issubclass(type(value), _Copied):
        rebuild = _HOLDERS.get(type(value))
        return value if rebuild is None else rebuild(value)
    inside = inside_of(value)
    inside.recorder.note(inside.slot, tree=True)
    found = inside.slot.get(inside.recorder.work)
    if inside.slot.steps:
        return value_of(inside.slot, inside.slot.dump(found))
    collection, pk = inside.recorder.target.collection, inside.recorder.target.pk
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
        return _class_of(inside_of(self).slot)

    def __getattr__(self, name: str) -> Any:
        if _is_special(name):
            raise AttributeError(f"a draft has no {name}")
        slot = inside_of(self).slot
        try:
            child = slot.child(name)
        except RapyerError:
            inside_of(self).unchecked.check_there()
            return _class_member(self, _class_of(slot), name)
        return _read(self, child, sys._getframe(1))

    def __setattr__(self, name: str, value: Any) -> None:
        inside = inside_of(self)
        try:
            child = inside.slot.child(name)
        except RapyerError:
            if not _set_property(self, _class_of(inside.slot), name, value):
                raise
            return
        _store(inside.recorder, child, value, sys._getframe(1))

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
        writers: dict[str, _Setter] = {}
        for part in slot.parts():
            name = str(part.steps[-1])
            read, writers[name] = _access(part)
            if not _is_special(name):
                body[name] = property(read)
        body["__setattr__"] = _setter(writers)
        slot.view = type("Draft", (Draft,), body)
    made: type[Draft] = slot.view
    return made


_Getter = Callable[[Any], Any]
_Setter = Callable[[Any, Any, FrameType], None]
"""Takes the draft, the value, and the frame of the code that assigns."""


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _access(slot: Slot) -> tuple[_Getter, _Setter]:
    """What reads a field and what writes it. The common case of each kind is told without looking at its value."""
    shape = slot.shape
    if slot.sure and slot.stands_alone and shape.direct is not None and shape.direct.type in _IMMUTABLE & set(TRACKED):
        return _tracked_field(slot, shape.direct)
    if slot.sure and isinstance(shape, RecordShape) and not (shape.plan.subscript or issubclass(shape.cls, tuple)):
        return _record_field(slot), _writer(slot)
    if slot.sure and isinstance(shape, DictShape) and shape.kind == "dict" and shape.cls is dict:
        return _dict_field(slot), _writer(slot)
    return lambda draft: _read(draft, slot, sys._getframe(1)), _writer(slot)


def _tracked_field(slot: Slot, direct: Direct) -> tuple[_Getter, _Setter]:
    """Of a field that can be read without the others: as long as nothing was written to it, and nothing else loaded."""
    name, decode, encode, kind = slot.name, direct.decode, direct.encode, TRACKED[direct.type]
    general = _writer(slot)

    def read(draft: Any) -> Any:
        recorder = inside_of(draft).unchecked
        frame = sys._getframe(1)
        if recorder.first is LATER and name not in recorder.single and not recorder.deleted:
            try:
                value = decode(recorder.entry[name])  # type: ignore[index]  # it is there: or there is no LATER
            except Exception:
                value = None  # said below, outside of the handler, what is wrong
            if value is not None:
                # Nothing that the block wrote lies above it, so the reading counts.
                exact = recorder.exact
                exact[name] = exact.get(name, 0) + 1
                made = kind(value)
                made.mark = (new_tuple(_Reading, (recorder.weak, slot, True)), frame.f_code, frame.f_lasti, (), value)
                return made
        return _read(draft, slot, frame)

    def write(draft: Any, value: Any, frame: FrameType) -> None:
        recorder = inside_of(draft).unchecked
        mark: Mark | None = value.mark if type(value) is kind else None
        if (
            mark is not None
            and recorder.first is LATER
            and recorder.open
            and name not in recorder.single
            and name != recorder.key
            and comes_back(mark, frame)
        ):
            reading, _, _, steps, now = mark
            if reading.slot is slot and reading.recorder is recorder.weak:
                # It is the very value that is stored there, with the steps done to it.
                try:
                    raw = encode(now)
                except Exception:
                    raw = None  # said below, outside of the handler, what is wrong
                if raw is not None:
                    recorder.record_back((slot, now, raw), steps)
                    return
        general(draft, value, frame)

    return read, write


def _record_field(slot: Slot) -> _Getter:
    name = slot.name

    def read(draft: Any) -> Any:
        recorder = inside_of(draft).unchecked
        # An instance of a subclass has an own field.
        if recorder.first is LATER and not recorder.deleted and name not in (recorder.entry or ()):
            return draft_class(slot)(recorder, slot)
        return _read(draft, slot, sys._getframe(1))

    return read


def _dict_field(slot: Slot) -> _Getter:
    def read(draft: Any) -> Any:
        recorder = inside_of(draft).unchecked
        if recorder.first is LATER and not recorder.deleted:
            return DraftDict(recorder, slot)
        return _read(draft, slot, sys._getframe(1))

    return read


def _read(draft: Any, slot: Slot, frame: FrameType) -> Any:
    recorder = inside_of(draft).recorder
    recorder.check_there()
    return _handed_out(recorder, slot, frame)


def _writer(slot: Slot) -> _Setter:
    def write(draft: Any, value: Any, frame: FrameType) -> None:
        _store(inside_of(draft).recorder, slot, value, frame)

    return write


def _setter(writers: Mapping[str, _Setter]) -> Callable[[Any, str, Any], None]:
    def __setattr__(draft: Any, name: str, value: Any) -> None:
        write = writers.get(name)
        if write is None:
            Draft.__setattr__(draft, name, value)
        else:
            write(draft, value, sys._getframe(1))

    return __setattr__


def _described(view: Any) -> str:
    inside = inside_of(view)
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
        inside = inside_of(self)
        inside.recorder.note(inside.slot, tree=True)
        return inside.slot.get(inside.recorder.work)

    @property
    def _unread(self) -> Any:
        """The container itself, not counted as read."""
        inside = inside_of(self)
        return inside.slot.get(inside.recorder.work)

    def _child(self, key: Any) -> Slot:
        inside = inside_of(self)
        try:
            return inside.slot.entry(key if type(key) is str else plain(key))
        except RapyerError:
            target = inside.recorder.target
            with target.collection.named(target.pk):
                raise

    def _call(self, method: str, *arguments: Any) -> Any:
        inside = inside_of(self)
        return inside.recorder.record(Call(inside.slot, method, lambda: arguments))

    def _fresh(self, values: Iterable[Any]) -> Callable[[], list[Any]]:
        """Makes the elements anew at each call; refuses now what cannot be stored."""
        recorder, place = inside_of(self).recorder, self._child(0)
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
        inside = inside_of(self)
        position = self._position(index)
        child = self._child(position)
        inside.recorder.note(child, tree=True)
        return _handed_out(inside.recorder, child, sys._getframe(1))

    def __setitem__(self, index: Any, value: Any) -> None:
        inside = inside_of(self)
        if isinstance(index, slice):
            make = self._fresh(list(plain(value)))
            _ = self._all
            inside.recorder.record(Call(inside.slot, "__setitem__", lambda: (index, make())))
            return
        child = self._child(self._position(index))
        inside.recorder.note(child, tree=True)
        _store(inside.recorder, child, value, sys._getframe(1))

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            _ = self._all
            self._call("__delitem__", index)
            return
        position = self._position(index)
        inside_of(self).recorder.note(self._child(position), tree=True)
        self._call("__delitem__", position)

    def _position(self, index: Any) -> int:
        """The index counted from 0, the length of the list read; of the whole list, if the block moved elements."""
        inside = inside_of(self)
        inside.recorder.note(inside.slot, tree=inside.recorder.rearranged(inside.slot))
        held = self._unread
        try:
            return int(range(len(held))[index])
        except IndexError:
            raise IndexError("list index out of range") from None

    def insert(self, index: int, value: Any) -> None:
        """Insert before the index. Only the length counts as read."""
        inside = inside_of(self)
        inside.recorder.note(inside.slot, tree=inside.recorder.rearranged(inside.slot))
        make = self._fresh([value])
        inside.recorder.record(Call(inside.slot, "insert", lambda: (index, make()[0])))

    def append(self, value: Any) -> None:
        """Add at the end. Reads nothing."""
        self.extend([value])

    def extend(self, values: Iterable[Any]) -> None:
        """Add at the end. Reads nothing."""
        inside = inside_of(self)
        make = self._fresh(plain(values))
        inside.recorder.record(Call(inside.slot, "extend", lambda: (make(),)))

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
        inside_of(self).recorder.note(self._child(position), tree=True)
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
        inside, make = inside_of(self), self._fresh(sorted(plain(self), key=key, reverse=reverse))
        inside.recorder.record(Call(inside.slot, "__setitem__", lambda: (slice(None), make())))

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
        inside = inside_of(self)
        _assign(inside.recorder, inside.slot, list(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftDict(_View, MutableMapping[Any, Any]):
    """A dict of a draft."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        inside = inside_of(self)
        child = self._child(key)
        if plain(key) not in self._unread:
            inside.recorder.note(child)
            raise KeyError(key)
        return _handed_out(inside.recorder, child, sys._getframe(1))

    def __setitem__(self, key: Any, value: Any) -> None:
        _store(inside_of(self).recorder, self._child(key), value, sys._getframe(1))

    def __delitem__(self, key: Any) -> None:
        inside = inside_of(self)
        child = self._child(key)
        inside.recorder.note(child)
        key = plain(key)
        inside.recorder.record(Call(inside.slot, "__delitem__", lambda: (key,), child))

    def __contains__(self, key: object) -> bool:
        try:
            child = self._child(key)
        except RapyerError:
            return False
        inside_of(self).recorder.note(child)
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
        inside = inside_of(self)
        child = self._child(key)
        inside.recorder.note(child)
        key = plain(key)
        if key not in self._unread:
            if default:
                return default[0]
            raise KeyError(key)
        return inside.recorder.record(Call(inside.slot, "pop", lambda: (key,), child))

    def update(self, *others: Any, **values: Any) -> None:
        """Set entries, all or none of them. Reads nothing."""
        entries = dict(*map(plain, others), **values) if others else values
        inside = inside_of(self)
        recorder = inside.recorder if inside.unchecked.moved else inside.unchecked
        known = inside.slot.entries
        fields: list[Field] = []
        edits: list[Assign] = []
        for key, value in entries.items():
            slot = known.get(key) if type(key) is str else None
            if slot is None:
                slot = self._child(key)
            if slot.is_field:
                fields.append(_storable(recorder, slot, value))
            else:
                edits.append(_whole(recorder, slot, value))
        for field in fields:
            recorder.record_field(field)
        for edit in edits:
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
        inside = inside_of(self)
        _assign(inside.recorder, inside.slot, dict(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


class DraftSet(_View, MutableSet[Any]):
    """A set of a draft."""

    __slots__ = ()

    def __contains__(self, member: object) -> bool:
        inside = inside_of(self)
        member = plain(member)
        try:
            inside.recorder.note_field(inside.slot.entry_name(member))
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
        member, inside = self._storable(value), inside_of(self)
        inside.recorder.check_parts(inside.slot, {member})
        return member

    def _storable(self, value: Any) -> Any:
        member, inside = plain(value), inside_of(self)
        inside.recorder.dumped(inside.slot, {member})
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
        inside = inside_of(self)
        _assign(inside.recorder, inside.slot, set(values))

    async def aclear(self) -> None:
        """Record that it is emptied."""
        self.clear()


_VIEWS: dict[type, Callable[[Recorder, Slot], Any]] = {list: DraftList, dict: DraftDict, set: DraftSet}


def draft_of(recorder: Recorder) -> Any:
    """The draft of a whole object."""
    root = recorder.target.collection.mapper.root
    made: type[Draft] = root.view or draft_class(root)
    return made(recorder, root)


def recorder_of(draft: Any) -> Recorder | None:
    """The recorder behind a draft of a whole object; None for anything else."""
    if not issubclass(type(draft), Draft):
        return None
    inside = inside_of(draft)
    return None if inside.slot.steps else inside.recorder


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
