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
class State:
    """pk: the primary key's text, once known. stored: field -> value as last seen on the server; None: never loaded."""

    pk: str | None = None
    stored: Mapping[bytes, bytes] | None = None


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
