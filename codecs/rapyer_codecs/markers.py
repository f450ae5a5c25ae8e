"""Markers: what may be written in Annotated to change how a field is stored. They carry data and do nothing."""

from __future__ import annotations

from typing import Annotated, TypeVar

from .lean import dataclass

__all__ = ["Alias", "Packed", "PackedMarker"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PackedMarker:
    """Keep the whole value in one field."""


Packed = Annotated[_T, PackedMarker()]
"""`Packed[T]`: a T, stored whole in one field, when no part of it needs an operation of its own."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A former name of the field: read when the field's own name is not stored, never written."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"an alias is a former field name, not {type(self.name).__name__}")
        if not self.name or self.name.startswith("~"):
            raise ValueError("an alias is a former field name: not empty, and not starting with '~'")
