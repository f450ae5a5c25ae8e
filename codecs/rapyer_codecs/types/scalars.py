"""Exact numbers and identifiers of the standard library: Decimal, UUID, and None."""

from __future__ import annotations

from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..codec import plain_type

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]


def encode_decimal(value: Any) -> bytes:
    """Python's `str`: trailing zeros, NaN and the exponent are kept."""
    if plain_type(value) is not Decimal:
        raise TypeError
    return str(value).encode()


def decode_decimal(raw: bytes) -> Decimal:
    """Strict: exactly the `str` of the number."""
    value = Decimal(raw.decode("ascii"))
    if str(value).encode() != raw:
        raise ValueError
    return value


def encode_uuid(value: Any) -> bytes:
    """Lower case, with hyphens."""
    if plain_type(value) is not UUID:
        raise TypeError
    return str(value).encode()


def decode_uuid(raw: bytes) -> UUID:
    """Only that spelling."""
    value = UUID(raw.decode("ascii"))
    if str(value).encode() != raw:
        raise ValueError
    return value


def encode_none(value: Any) -> bytes:
    """The mark of None in a union, in a place that is always None too."""
    if value is not None:
        raise TypeError
    return b"~"


def decode_none(raw: bytes) -> None:
    """Only the mark."""
    if raw != b"~":
        raise ValueError


def register(registry: Registry) -> None:
    """The exact scalars."""
    registry.leaf(Decimal, encode_decimal, decode_decimal)
    registry.leaf(UUID, encode_uuid, decode_uuid)
    registry.leaf(NoneType, encode_none, decode_none, in_any=False, natural="none")
