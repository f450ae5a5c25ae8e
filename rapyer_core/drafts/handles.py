"""Handles: what drafts and views of containers have in common, and the plain values that they stand for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from rapyer_codecs import Slot
from rapyer_core.errors import ConstraintError
from rapyer_core.places import value_of
from rapyer_core.recorders import Recorder
from rapyer_core.tracking import Tracked, untracked

H = TypeVar("H", bound="Handle")


class Handle:
    """A draft, or a view of a container. What it knows is in slots whose names no field can have.

    since: how far the block had come when the place was looked up.
    """

    __slots__ = ("__recorder__", "__since__", "__slot__")

    __recorder__: Recorder
    """The object's recorder. Good enough as it is for the object itself, and while nothing was moved."""
    __slot__: Slot
    __since__: int


_put_recorder: Callable[[Any, Recorder], None] = Handle.__dict__["__recorder__"].__set__
_put_slot: Callable[[Any, Slot], None] = Handle.__dict__["__slot__"].__set__
_put_since: Callable[[Any, int], None] = Handle.__dict__["__since__"].__set__
_new: Callable[[type[Any]], Any] = object.__new__


def handle(cls: type[H], recorder: Recorder, slot: Slot) -> H:
    """Make one."""
    made: H = _new(cls)
    # Drafts take what is assigned to their attributes for fields.
    _put_recorder(made, recorder)
    _put_slot(made, slot)
    _put_since(made, len(recorder.moved))
    return made


def opened(handle: Handle) -> tuple[Recorder, Slot]:
    """What a handle works with. ConstraintError if another value is at the place than when it was looked up."""
    recorder, slot = handle.__recorder__, handle.__slot__
    moved = recorder.moved
    if moved and slot.steps and len(moved) > handle.__since__:
        if any(_went_with(slot, *each) for each in moved[handle.__since__ :]):
            raise ConstraintError(
                **recorder.target.data,
                path=slot.text,
                reason="the block replaced this, or rearranged what holds it, since it was taken from the draft: "
                "take it again, or copy it (copy.copy) before",
            )
        _put_since(handle, len(moved))
    return recorder, slot


def _went_with(slot: Slot, place: Slot, replaced: bool) -> bool:
    own = slot.name
    if place.under(own) and (replaced or place.name != own):
        return True
    return any(place.under(name) for name in slot.lists)


class Copied(Handle):
    """Copies and pickles of drafts and views are plain: what is in them counts as read, and belongs to no block."""

    __slots__ = ()

    def __copy__(self) -> Any:
        return plain(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return plain(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _itself, (plain(self),)


def plain(value: Any) -> Any:
    """A value that may be a draft, a view or a tracked value, or hold some, as an ordinary one; they count as read."""
    if isinstance(value, Tracked):
        return untracked(value)
    if not issubclass(type(value), Copied):
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


def described(view: Any) -> str:
    """The repr of a draft: which object, and where in it."""
    recorder, slot = opened(view)
    data = recorder.target.data
    where = f".{slot.text}" if slot.steps else ""
    return f"<draft of {data['model']}({data['pk']}){where}>"
