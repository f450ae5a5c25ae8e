"""None and Literal: types of a few given values."""

from __future__ import annotations

import typing
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from ..codec import Codec
from ..shape import EXACT, FOREIGN, Leaf, Shape

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["literal_leaves", "register"]


def encode_none(value: Any) -> bytes:
    """The mark of None in a union, in a place that is always None too."""
    if value is not None:
        raise TypeError
    return b"~"


def decode_none(raw: bytes) -> None:
    """Only the mark."""
    if raw != b"~":
        raise ValueError


def literal_leaves(values: typing.Iterable[Any], registry: Registry) -> list[Shape]:
    """One leaf for each type among the values of a Literal, None left out."""
    by_type: dict[type, list[Any]] = {}
    for value in values:
        if value is not None:
            by_type.setdefault(type(value), []).append(value)
    return [_leaf(cls, values, registry) for cls, values in by_type.items()]


def _leaf(cls: type, values: list[Any], registry: Registry) -> Leaf:
    leaf = registry.codec(cls)
    texts = {value: leaf.encode(value) for value in values}
    by_text = {text: value for value, text in texts.items()}

    def kin(value: Any) -> int:
        # By type first: 1 and True are equal, and so are their hashes.
        return EXACT if leaf.kin(value) == EXACT and value in texts else FOREIGN

    def encode(value: Any) -> bytes:
        if kin(value) is FOREIGN:
            raise TypeError
        return texts[value]

    return Leaf(Literal, Codec(encode, by_text.__getitem__), registry.limits, kin=kin, tag=f"Literal[{leaf.tag}]")


def register(registry: Registry) -> None:
    """A Literal of several types is a union, and registered there."""
    registry.leaf(NoneType, encode_none, decode_none, in_any=False, natural="none")
