"""What an instance remembers of the server: its generated primary key and the stored fields it was loaded with.

It travels with the instance (also through copy and pickle) and is seen by none of ``fields``, ``asdict``, ``==``
and ``repr``: in the instance's ``__dict__`` where there is one, else in one hidden slot. A State is a value: it is
replaced, never changed, because copies of an instance share it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from rapyer_codecs.framing import unframed
from rapyer_codecs.lean import dataclass

ATTRIBUTE = "__rapyer_state__"


@dataclass(frozen=True, slots=True)
class Unread:
    """A field that could not be read. raw: what is stored of it. shown: the stored form of what stands in for it.

    written: places in it that operations on this instance have written since, and that it shows.
    """

    raw: Mapping[bytes, bytes]
    shown: Mapping[bytes, bytes]
    written: tuple[bytes, ...] = ()


Layers = tuple[Mapping[bytes, bytes], "Mapping[bytes, bytes] | bytes", Mapping[bytes, bytes]]
"""What is stored, in the middle, with what was written since, above, and what counts where there is nothing, below."""

ABOVE = 64
"""Fields that are kept above others, at most: they are copied with each further one."""


class State:
    """pk: the primary key's text, once known. unread: the fields that could not be read when it was loaded, by name.

    stored: field -> value as last seen on the server; None: never loaded. Often nobody ever asks for it, so it may also
    be given in one piece (a flat reply, or a framed object), or as Layers, and is made of that when somebody does.
    """

    __slots__ = ("_stored", "pk", "unread")

    def __init__(
        self,
        pk: str | None = None,
        stored: Mapping[bytes, bytes] | bytes | Layers | None = None,
        unread: Mapping[str, Unread] | None = None,
    ) -> None:
        self.pk = pk
        self._stored = stored
        self.unread = unread

    @property
    def stored(self) -> Mapping[bytes, bytes] | None:
        """Field -> value as last seen on the server; None: never loaded."""
        stored = self._stored
        if type(stored) is tuple:
            below, base, above = stored
            self._stored = stored = {**below, **(_apart(base) if isinstance(base, bytes) else base), **above}
        elif type(stored) is bytes:
            self._stored = stored = _apart(stored)
        return cast("Mapping[bytes, bytes] | None", stored)

    @property
    def loaded(self) -> bool:
        """Whether it is known what is stored."""
        return self._stored is not None

    def __repr__(self) -> str:
        return f"State({self.pk!r}, loaded={self.loaded})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._parts == other._parts

    __hash__ = None  # type: ignore[assignment]  # as of any other value with mappings in it

    def __deepcopy__(self, memo: object) -> State:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return State, self._parts

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.pk, self.stored, self.unread


BLANK = State()

Change = Callable[[Mapping[bytes, bytes]], Mapping[bytes, bytes]]
"""Gives what is stored of an instance once some places of it are, given what is stored of the rest."""


class Shown(State):
    """The State of an instance that was never loaded, and shows places as operations found them on the server.

    Nothing of it counts before the instance was written whole: then, whatever operations found while it was on its way.
    places: the changes by their places, each with its number; the latest ones, in their order. last: that number.
    chain: the same as long as they are counted on; a delete ends that.
    """

    __slots__ = ("chain", "last", "places")

    def __init__(self, pk: str, before: State, places: tuple[bytes, ...], change: Change) -> None:
        super().__init__(pk)
        self.chain: object = before.chain if type(before) is Shown else object()
        self.last: int = 1
        self.places: dict[tuple[bytes, ...], tuple[int, Change]] = {}
        if type(before) is Shown:
            self.last = before.last + 1
            self.places.update(before.places)
            self.places.pop(places, None)
            if len(self.places) == ABOVE:
                del self.places[next(iter(self.places))]
        self.places[places] = self.last, change

    def since(self, before: State) -> Iterator[Change]:
        """The changes since the instance had that State."""
        known = before.last if type(before) is Shown and before.chain is self.chain else 0
        return (change for number, change in self.places.values() if number > known)


class Notes:
    """The places that operations wrote to a loaded instance, or found, while saves of it are on their way.

    Held by these saves; ends with the last of them. owner: the id of the instance, whose copies share its State.
    """

    __slots__ = ("__weakref__", "_places", "last", "owner")

    def __init__(self, obj: object) -> None:
        self.owner = id(obj)
        self.last = 0
        """The number of the last note."""
        self._places: dict[bytes, int] = {}

    def add(self, places: Iterable[bytes]) -> None:
        """Note these."""
        self.last += 1
        self._places.update(dict.fromkeys(places, self.last))

    def since(self, number: int) -> set[bytes]:
        """Those that were noted after that number."""
        return {place for place, noted in self._places.items() if noted > number}


class Followed(State):
    """The State of a loaded instance while saves of it are on their way."""

    __slots__ = ("_notes",)

    def __init__(self, state: State, notes: Notes) -> None:
        super().__init__(state.pk, state._stored, state.unread)
        self._notes = weakref.ref(notes)

    def notes(self, obj: object) -> Notes | None:
        """The notes of the instance. None: no save is on its way any more, or it is another instance."""
        notes = self._notes()
        return notes if notes is not None and notes.owner == id(obj) else None


_get = object.__getattribute__
_set = object.__setattr__
_new = State.__new__


def state_of(obj: object) -> State:
    """The instance's state; a blank one if it has none yet."""
    try:
        state: State = _get(obj, ATTRIBUTE)
    except AttributeError:
        return BLANK
    return state


def attach(obj: object, state: State) -> None:
    """Give the instance this state. Works on frozen and slots classes."""
    _set(obj, ATTRIBUTE, state)


def notes_of(obj: object) -> Notes | None:
    """What is noted of an instance, while saves of it are on their way that called :func:`follow`."""
    state = state_of(obj)
    return state.notes(obj) if type(state) is Followed else None


def follow(obj: object) -> Notes:
    """Note what operations write to the instance from now on. It is loaded, and about to be saved."""
    notes = notes_of(obj)
    if notes is None:
        notes = Notes(obj)
        attach(obj, Followed(state_of(obj), notes))
    return notes


def remember(obj: object, pk: str, stored: Mapping[bytes, bytes] | bytes) -> None:
    """Note that this, and nothing else, is stored of the instance: an instance that was just loaded, or written whole.

    The same as to attach a State, for where that is done for thousands.
    """
    state = _new(State)
    state.pk = pk
    state._stored = stored
    state.unread = None
    _set(obj, ATTRIBUTE, state)


def remember_whole(obj: object, pk: str, stored: bytes) -> bool:
    """The same for an instance that was never loaded when it was written whole, unless something else came meanwhile;
    whether that is so, and it was noted.
    """
    try:
        now: State = _get(obj, ATTRIBUTE)
    except AttributeError:
        now = BLANK
    if now._stored is not None or type(now) is Shown:
        return False
    remember(obj, pk, stored)
    return True


def remember_reply(obj: object, pk: str, reply: list[bytes]) -> None:
    """The same for what a flat reply says whose first field is ``~``, and that came when the instance was loaded.

    It is kept in one piece: some fifty small objects for each instance take several times the memory, and time.
    """
    piece = b"\0".join(reply)
    state = _new(State)
    state.pk = pk
    if piece.count(b"\0") == len(reply) - 1:
        state._stored = piece
    else:
        state._stored = dict(zip(reply[2::2], reply[3::2], strict=True))
    state.unread = None
    _set(obj, ATTRIBUTE, state)


def _apart(piece: bytes) -> dict[bytes, bytes]:
    """The fields that are given in one piece: what a flat reply says, after ``~``; or a framed object."""
    if piece[:1] != b"~":
        return unframed(piece)
    texts = piece.split(b"\0")
    return dict(zip(texts[2::2], texts[3::2], strict=True))


def see_written(obj: object, state: State, pk: str, stored: Mapping[bytes, bytes], places: Collection[bytes]) -> None:
    """Note what is stored of the instance by now, after these places, which it shows, were written. state: before."""
    if type(state) is Followed:
        changed = [name for name, value in stored.items() if (state.stored or {}).get(name) != value]
        _follow_on(obj, State(pk, stored, _unread_after(state, places)), [*places, *changed])
    elif state.unread:
        attach(obj, State(pk, stored, _unread_after(state, places)))
    else:
        remember(obj, pk, stored)


def _follow_on(obj: object, state: State, places: Iterable[bytes]) -> None:
    """Give the instance this state, and note these places, as long as saves are on their way."""
    notes = notes_of(obj)
    if notes is not None:
        notes.add(places)
        state = Followed(state, notes)
    attach(obj, state)


def _unread_after(state: State, places: Iterable[bytes]) -> Mapping[str, Unread] | None:
    """The fields that could not be read, after these places, which the instance shows, were written."""
    if not state.unread:
        return None
    more = tuple(places)
    return {
        name: Unread(note.raw, note.shown, tuple(dict.fromkeys((*note.written, *more))))
        for name, note in state.unread.items()
    }


def see_change(obj: object, pk: str, places: Collection[bytes], change: Change) -> None:
    """Note that these places, which the instance shows, were written."""
    state = state_of(obj)
    stored = state.stored
    if stored is None:
        attach(obj, Shown(pk, state, tuple(places), change))
    else:
        see_written(obj, state, pk, change(stored), places)


_NOTHING: Mapping[bytes, bytes] = {}


def see_fields(
    obj: object, pk: str, written: Mapping[bytes, bytes], otherwise: Mapping[bytes, bytes] = _NOTHING
) -> None:
    """The same for single fields. otherwise: fields that are stored now too, unless they were before."""
    state = state_of(obj)
    stored = state._stored
    if stored is None or state.unread or type(state) is Followed:
        see_change(obj, pk, written, lambda known: {**otherwise, **known, **written})
        return
    now: Layers
    if type(stored) is tuple:
        below, piece, above = stored
        now = {**otherwise, **below} if otherwise else below, piece, {**above, **written}
    else:
        now = otherwise, cast("Mapping[bytes, bytes] | bytes", stored), written
    new = _new(State)
    new.pk = pk
    new._stored = now
    new.unread = None
    if len(now[2]) > ABOVE:
        _ = new.stored
    _set(obj, ATTRIBUTE, new)


def see_stored(obj: object, pk: str, stored: Mapping[bytes, bytes]) -> None:
    """Note what is stored of the instance by now, by a save. Fields that could not be read stay noted."""
    _follow_on(obj, State(pk, stored, state_of(obj).unread), ())
