"""Markers of a field's role: the key, the indexed fields. Those of how a value is stored are the engine's."""

from __future__ import annotations

from typing import Annotated, TypeVar

from rapyer_codecs.lean import dataclass

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class KeyMarker:
    """The annotated field is the object's primary key."""


@dataclass(frozen=True, slots=True)
class IndexMarker:
    """The annotated field is kept in a sorted index."""


Key = Annotated[_T, KeyMarker()]
"""``username: Key[str]``: the field whose value names the object. At most one a model."""

Index = Annotated[_T, IndexMarker()]
"""``score: Index[int]``: kept in a sorted index, written in the same EXEC as the value."""
