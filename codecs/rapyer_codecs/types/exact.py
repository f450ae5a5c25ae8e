"""Exact numbers: Decimal, Fraction, and complex."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..codec import Codec, plain_type
from ..shape import Leaf, Shape
from .numbers import bounded_int, decode_float

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]

_COMPLEX = re.compile(rb"(-?[0-9.a-z]+(?:e[+-][0-9]+)?)([+-][0-9.a-z]+(?:e[+-][0-9]+)?)j")


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


def _fraction(hint: Any, registry: Registry) -> Shape:
    encode_int, decode_int = bounded_int(registry.limits)

    def encode(value: Any) -> bytes:
        if plain_type(value) is not Fraction:
            raise TypeError
        return b"%s/%s" % (encode_int(value.numerator), encode_int(value.denominator))

    def decode(raw: bytes) -> Fraction:
        numerator, _, denominator = raw.partition(b"/")
        value = Fraction(decode_int(numerator), decode_int(denominator))
        if encode(value) != raw:
            raise ValueError
        return value

    return Leaf(hint, Codec(encode, decode), registry.limits)


def encode_complex(value: Any) -> bytes:
    """`1.0-2.0j`: both parts as floats, always with a sign between."""
    if plain_type(value) is not complex:
        raise TypeError
    imaginary = repr(value.imag)
    return f"{value.real!r}{'' if imaginary[0] == '-' else '+'}{imaginary}j".encode()


def decode_complex(raw: bytes) -> complex:
    """Both parts strictly as floats."""
    match = _COMPLEX.fullmatch(raw)
    if match is None:
        raise ValueError
    value = complex(decode_float(match[1]), decode_float(match[2].removeprefix(b"+")))
    if encode_complex(value) != raw:
        raise ValueError
    return value


def register(registry: Registry) -> None:
    """Numbers that a float would round, and complex."""
    registry.leaf(Decimal, encode_decimal, decode_decimal)
    registry.factory(lambda hint: hint is Fraction, _fraction)
    registry.leaf(complex, encode_complex, decode_complex)
    registry.in_any(Fraction)
