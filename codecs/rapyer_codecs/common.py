"""Which shapes are common: those that have code of their own, in dumping.py and loading.py."""

from __future__ import annotations

from typing import TypeGuard

from .shape import Leaf, Shape
from .types.mappings import DictShape
from .types.records import RecordShape
from .types.sequences import ListShape
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["is_common", "is_plain", "is_simple", "is_text"]


def is_plain(shape: Shape | None) -> TypeGuard[RecordShape]:
    """A record whose fields can be written out."""
    return isinstance(shape, RecordShape) and not shape.plan.subscript and not shape.hollow


def is_simple(shape: Shape | None) -> bool:
    """What may be in a container that has code of its own, to dump."""
    return isinstance(shape, Leaf) or is_plain(shape)


def is_text(shape: Shape) -> bool:
    """A str: as a key its segment is mostly its text."""
    return isinstance(shape, Leaf) and shape.inline is not None and shape.inline.type is str


def is_common(shape: Shape) -> bool:
    """A shape whose own text is read by code."""
    if isinstance(shape, UnionShape):
        return shape.optional and _is_flat(shape.inner)
    if type(shape) is ListShape:
        return _is_flat(shape.item)
    if type(shape) is DictShape:
        return is_text(shape.key.shape) and _is_flat(shape.value)
    return isinstance(shape, Leaf) or (isinstance(shape, SetShape) and isinstance(shape.item, Leaf))


def _is_flat(shape: Shape | None) -> bool:
    """What may be in a container that has code of its own, to load: there may be thousands, and none may need to look
    through all names for its entries.
    """
    return isinstance(shape, Leaf) or (is_plain(shape) and not _needs_scan(shape, set()))


def _needs_scan(shape: Shape, seen: set[Shape]) -> bool:
    if shape in seen or isinstance(shape, Leaf):
        return False
    seen.add(shape)
    if is_plain(shape):
        return any(_needs_scan(part.shape, seen) for part in shape.parts)
    if type(shape) is ListShape:
        return _needs_scan(shape.item, seen)
    if isinstance(shape, UnionShape) and shape.optional and shape.inner is not None:
        return _needs_scan(shape.inner, seen)
    return True
