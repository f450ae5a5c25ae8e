"""What an instance remembers of the server: its generated primary key and the stored fields it was loaded with.

It travels with the instance (also through copy and pickle) and is seen by none of ``fields``, ``asdict``, ``==``
and ``repr``: in the instance's ``__dict__`` where there is one, else in one hidden slot. A State is a value: it is
replaced, never changed, because copies of an instance share it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rapyer_codecs.lean import dataclass

ATTRIBUTE = "__rapyer_state__"


@dataclass(frozen=True, slots=True)
class Unread:
    """A field that could not be read. raw: what is stored of it. shown: the stored form of what stands in for it."""

    raw: Mapping[bytes, bytes]
    shown: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class State:
    """pk: the primary key's text, once known. stored: field -> value as last seen on the server; None: never loaded.

    unread: the fields that could not be read when it was loaded, by name.
    """

    pk: str | None = None
    stored: Mapping[bytes, bytes] | None = None
    unread: Mapping[str, Unread] | None = None


BLANK = State()


def state_of(obj: object) -> State:
    """The instance's state; a blank one if it has none yet."""
    try:
        state: State = object.__getattribute__(obj, ATTRIBUTE)
    except AttributeError:
        return BLANK
    return state


def attach(obj: object, state: State) -> None:
    """Give the instance this state. Works on frozen and slots classes."""
    try:
        object.__getattribute__(obj, "__dict__")[ATTRIBUTE] = state
    except AttributeError:
        object.__setattr__(obj, ATTRIBUTE, state)


def see_stored(obj: object, pk: str, stored: Mapping[bytes, bytes]) -> None:
    """Note what is stored of the instance by now. Fields that could not be read stay noted."""
    attach(obj, State(pk, stored, state_of(obj).unread))
