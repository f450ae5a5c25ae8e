"""The families of types, one module each; `register_all` is the list of everything the engine knows by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import dates, enums, mappings, numbers, records, scalars, sequences, sets, text, unions

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register_all"]

FAMILIES = (records, text, numbers, enums, dates, scalars, sequences, mappings, sets, unions)
"""In this order; of two rules that fit a type the later wins."""


def register_all(registry: Registry) -> None:
    """Register every family."""
    for family in FAMILIES:
        family.register(registry)
    registry.in_any(list[Any], dict[Any, Any], set[Any], frozenset[Any], tuple[Any, ...])
