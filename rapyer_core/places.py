"""What kind of place a Slot is, in the words of the operations. Pure questions to the engine."""

from __future__ import annotations

from rapyer_codecs import Shape, Slot


def value_shape(slot: Slot) -> Shape:
    """The shape of the values at a place; of an Optional, of its value."""
    shape = slot.shape
    inner = getattr(shape, "inner", None) if shape.kind == "union" else None
    return shape if inner is None else inner


def kind_of(slot: Slot) -> str:
    """The kind of a place; of an Optional, the kind of its value."""
    return value_shape(slot).kind


def is_leaf(slot: Slot) -> bool:
    """Whether the place is one stored field, whatever its value."""
    shape = slot.shape
    if shape.kind == "union":
        return all(member.kind == "leaf" for member in getattr(shape, "members", ()))
    return shape.kind == "leaf"
