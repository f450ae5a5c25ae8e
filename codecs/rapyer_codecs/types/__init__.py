"""The families of types, one module each; `register_all` is the list of everything the engine knows by
itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from . import (
    dates,
    enums,
    exact,
    identifiers,
    literals,
    mappings,
    numbers,
    packs,
    records,
    sequences,
    sets,
    spans,
    text,
    unions,
)

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register_all"]

FAMILIES = (
    records,  # dataclass, attrs class, NamedTuple, TypedDict; pydantic model, msgspec Struct
    text,  # str, bytes, bytearray, memoryview
    numbers,  # int, float, bool
    exact,  # Decimal, Fraction, complex
    literals,  # None (Literal: unions)
    enums,  # Enum, IntEnum, StrEnum, Flag, IntFlag
    dates,  # datetime, date, time, timedelta, ZoneInfo
    identifiers,  # UUID, IP addresses, paths
    spans,  # range, slice, re.Pattern
    packs,  # numpy arrays and scalars, once numpy is there
    sequences,  # list, tuple, deque, Sequence
    mappings,  # dict, defaultdict, OrderedDict, Counter, Mapping
    sets,  # set, frozenset, Set
    unions,  # Optional, Union, Literal, Any
)
"""In this order; of two rules that fit a type the later wins."""


def register_all(registry: Registry) -> None:
    """Register every family."""
    for family in FAMILIES:
        family.register(registry)
    registry.in_any(list[Any], dict[Any, Any], set[Any], frozenset[Any], tuple[Any, ...], deque[Any])
