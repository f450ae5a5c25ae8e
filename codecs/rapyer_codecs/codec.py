"""Codec: how one type becomes one field. Also what `Annotated[T, Codec(...)]` carries. No dispatch here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

from .lean import dataclass

__all__ = ["Codec", "Decode", "Encode", "plain_type"]

T = TypeVar("T")

Encode: TypeAlias = Callable[[Any], str | bytes]
"""A value to the text that is stored, as it is. Any exception means: not a value of the type."""

Decode: TypeAlias = Callable[[bytes], Any]
"""The stored text to the value. Any exception means: not a text of the type."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Two functions that store a type in one field; `decode(encode(x)) == x` must hold.

    `encode`: T -> str or bytes, stored as it is. `decode`: bytes -> T.
    In `Annotated[T, Codec(...)]` it counts for that one field.
    """

    encode: Callable[[T], str | bytes]
    decode: Callable[[bytes], T]

    def __post_init__(self) -> None:
        for name, function in (("encode", self.encode), ("decode", self.decode)):
            if not callable(function):
                raise TypeError(f"{name} of a codec is a function, not {type(function).__name__}")


def plain_type(value: object) -> type:
    """The type a value counts as: its own, or what its type declares itself a view of."""
    cls = type(value)
    plain: type = getattr(cls, "__rapyer_plain__", cls)
    return plain
