"""Drafts of objects and of nested records: what reading a field gives, and what writing it does.

Where it is known beforehand which fields there are, a draft is of a class made for its place, in which the common case
of each kind of field is told without looking at its value.
"""

from __future__ import annotations

import functools
import operator
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple, NoReturn, cast

from rapyer_codecs import RapyerError, Slot
from rapyer_codecs.shape import Direct
from rapyer_codecs.types.mappings import DictShape
from rapyer_codecs.types.records import RecordShape
from rapyer_core.drafts.handles import Copied, described, handle, opened, plain
from rapyer_core.drafts.views import VIEWS
from rapyer_core.drafts.writing import IMMUTABLE, adjust, assign, store
from rapyer_core.errors import ConstraintError
from rapyer_core.models import pk_of
from rapyer_core.places import value_of, value_shape
from rapyer_core.recorders import LATER, Copy, Recorder
from rapyer_core.tracking import TRACKED, InPlace, in_place, tracked


class Draft(Copied):
    """A recording view of an object, or of a nested one. Attributes are the fields; there are no others.

    Where it is known beforehand which fields there are, they are those of a :func:`draft_class`.
    """

    __slots__ = ()
    __rapyer_draft__ = True

    @staticmethod
    def __rapyer_pk_of__(draft: Any) -> Any:
        return pk_of(draft.__slot__.get(draft.__recorder__.work))

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class that it stands for: for isinstance, and for super() in methods of the class."""
        return _class_of_value(self)

    def __getattr__(self, name: str) -> Any:
        if _is_special(name):
            raise AttributeError(f"a draft has no {name}")
        slot = self.__slot__
        try:
            child = slot.child(name)
        except RapyerError:
            self.__recorder__.check_there()
            return _class_member(self, _class_of_value(self), name)
        return _read(self, child, sys._getframe(1))

    def __setattr__(self, name: str, value: Any) -> None:
        slot = self.__slot__
        try:
            child = slot.child(name)
        except RapyerError:
            if not _set_property(self, _class_of_value(self), name, value):
                raise
            return
        store(opened(self)[0], child, value, sys._getframe(1))

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a field cannot be deleted; assign None or another value")

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == plain(other))

    __hash__ = None  # type: ignore[assignment]  # like any mutable object that compares by value

    def __repr__(self) -> str:
        return described(self)


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


def _class_of(slot: Slot) -> type:
    hint = value_shape(slot).type
    return cast(type, getattr(hint, "__origin__", hint))


def _class_of_value(draft: Draft) -> type:
    """The class of the value at the place, which may be a subclass of the declared one. Which it is counts as read."""
    declared = _class_of(draft.__slot__)
    if not draft.__slot__.steps or not declared.__subclasses__():
        return declared
    recorder, slot = opened(draft)
    recorder.note(slot, tree=False)
    value = recorder.held(slot)
    return type(value) if isinstance(value, declared) else declared


def _is_own_field(cls: type, slot: Slot, name: str) -> bool:
    """Whether a name that the declared class has no field of is a field of the subclass."""
    if cls is _class_of(slot):
        return False
    attributes = getattr(cls, "__attrs_attrs__", ())
    return name in getattr(cls, "__dataclass_fields__", ()) or any(each.name == name for each in attributes)


def _class_member(draft: Draft, cls: type, name: str) -> Any:
    """A method or property of the class, working on the draft; methods that go to the server are refused."""
    if _is_own_field(cls, draft.__slot__, name):
        declared = _class_of(draft.__slot__).__name__
        raise AttributeError(
            f"{cls.__name__}.{name} is a field of a subclass, and the place {draft.__slot__.text} is declared as "
            f"{declared}: a draft has the fields of {declared} only; take a copy (copy.copy) and assign it when changed"
        )
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
    if name == "aset" and draft.__slot__.steps:
        return functools.partial(_aset, draft)
    raise AttributeError(f"{cls.__name__} has no field or member {name!r}")


async def _aset(draft: Draft, value: Any) -> None:
    """Record that the place gets this value."""
    recorder, slot = opened(draft)
    assign(recorder, slot, value)


def _set_property(draft: Draft, cls: type, name: str, value: Any) -> bool:
    found = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    if not isinstance(found, property):
        return False
    found.__set__(draft, value)
    return True


# -- what reading gives --


_PLAIN = IMMUTABLE & set(TRACKED)
_ATOMS = (bool, str, bytes, type(None))


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
        assign(self._alive(), self.slot, value)

    def increase(self, by: Any) -> Any:
        """Record an increment of the place; the value after it, in this block."""
        return adjust(self._alive(), self.slot, ((operator.add, by),))

    def _alive(self) -> Recorder:
        recorder = self.recorder()
        if recorder is None:
            raise ConstraintError(path=self.slot.text, reason="the block of this value is over")
        return recorder


_new_reading: Callable[[type[_Reading], tuple[Any, ...]], _Reading] = tuple.__new__
"""A NamedTuple without a call of Python code."""


def handed_out(recorder: Recorder, slot: Slot, frame: FrameType) -> Any:
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
    view = VIEWS.get(kind) if shape.kind in ("list", "dict", "set") else None
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
    if slot.sure and slot.stands_alone and shape.direct is not None and shape.direct.type in _PLAIN:
        return _tracked_field(slot, shape.direct)
    if slot.sure and isinstance(shape, RecordShape) and not (shape.plan.subscript or issubclass(shape.cls, tuple)):
        return _record_field(slot)
    if slot.sure and isinstance(shape, DictShape) and shape.kind == "dict" and shape.cls is dict:
        return _dict_field(slot)
    return lambda draft: _read(draft, slot, sys._getframe(1))


def _tracked_field(slot: Slot, direct: Direct) -> Callable[[Any], Any]:
    """Of a field that can be read without the others: as long as nothing was written to it, and nothing else loaded."""
    name, base, decode, tracked_class = slot.name, direct.type, direct.decode, TRACKED[direct.type]
    known: dict[int, InPlace] = {}
    """By the offset of the instruction that reads: it is asked for again where another code has one there."""

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
        place = known.get(at)
        if place is None or place.code is not code:
            place = known[at] = in_place(code, at)
        if place.kind is base:
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
    view = VIEWS[dict]

    def read(draft: Any) -> Any:
        recorder: Recorder = draft.__recorder__
        if recorder.first is LATER and not recorder.deleted:
            return handle(view, recorder, slot)
        return _read(draft, slot, sys._getframe(1))

    return read


def _read(draft: Any, slot: Slot, frame: FrameType) -> Any:
    recorder, _ = opened(draft)
    recorder.check_there()
    return handed_out(recorder, slot, frame)


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
        store(opened(draft)[0], slot, value, frame)

    return __setattr__
