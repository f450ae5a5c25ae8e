"""Numbers: int, float, bool. Strict both ways: a text is read only if it is exactly what would be written."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..codec import Codec, plain_type
from ..errors import LimitExceeded
from ..framing import HEADS, framed
from ..limits import Limits
from ..recall import Recall
from ..shape import EXACT, FOREIGN, KIN, Inline, Leaf, Shape

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]

_INT = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_DIRECT = 600
"""Digits that Python converts whatever `sys.set_int_max_str_digits` says (it cannot be set lower than 640)."""


def encode_int(value: Any) -> bytes:
    """`-7`"""
    if type(value) is not int and plain_type(value) is not int:
        raise TypeError
    try:
        return b"%d" % value
    except ValueError:
        return str(Decimal(int(value))).encode()


def decode_int(raw: bytes) -> int:
    """Strict: no sign before 0, no leading zeros, nothing around it."""
    if not _INT.fullmatch(raw) or raw == b"-0":
        raise ValueError
    return int(raw) if len(raw) <= _DIRECT else int(Decimal(raw.decode()))


def bounded_int(limits: Limits) -> tuple[Callable[[Any], bytes], Callable[[bytes], int]]:
    """Encode and decode ints up to a number of digits: the time to convert one grows with the square of it."""
    digits = limits.digits
    too_long = f"an int of more than {digits} digits"
    # log2(10) is 3.3219…: not more digits than this has no more bits.
    most_bits = digits * 3322 // 1000 + 1

    def encode(value: Any) -> bytes:
        if isinstance(value, int) and value.bit_length() > most_bits:
            raise LimitExceeded(too_long, target="int")
        text = encode_int(value)
        if len(text) > digits + (value < 0):
            raise LimitExceeded(too_long, target="int")
        return text

    def decode(raw: bytes) -> int:
        if len(raw) > digits + (raw[:1] == b"-"):
            raise LimitExceeded(too_long, target="int")
        return decode_int(raw)

    return encode, decode


def encode_float(value: Any) -> bytes:
    """`repr`; an int is taken if a float is exactly it."""
    cls = plain_type(value)
    if cls is float:
        return float.__repr__(value).encode()
    if cls is int and int(float(value)) == value:
        return float.__repr__(float(value)).encode()
    raise TypeError


def decode_float(raw: bytes) -> float:
    """Strict: exactly the `repr` of the number."""
    value = float(raw)
    if repr(value).encode() != raw:
        raise ValueError
    return value


def _kin_of_float(value: Any) -> int:
    cls = plain_type(value)
    if cls is float:
        return EXACT
    return KIN if cls is int else FOREIGN


def encode_bool(value: Any) -> bytes:
    """`true` or `false`"""
    if type(value) is not bool:
        raise TypeError
    return b"true" if value else b"false"


def decode_bool(raw: bytes) -> bool:
    """Nothing but the two words."""
    if raw == b"true":
        return True
    if raw == b"false":
        return False
    raise ValueError


_SMALL = 1024
_SMALL_TEXTS = tuple(b"%d" % number for number in range(_SMALL))
_SMALL_INTS = {text: number for number, text in enumerate(_SMALL_TEXTS)}
_SMALL_FRAMED = tuple(map(framed, _SMALL_TEXTS))
# Few enough digits for any setting of the interpreter. Python compares numbers of 30 bits much faster.
_FEW_DIGITS = f"{-(2**30)} < {{v}} < {2**30} or {-(10**18)} < {{v}} < {10**18}"
_IS_SMALL = f"{{v}} < {_SMALL} and {{v}} >= 0"
_ENCODE_INT = f"{{small}}[{{v}}] if {_IS_SMALL} else b'%d' % {{v}} if {_FEW_DIGITS} else {{encode}}({{v}})"
_FRAME_INT = (
    f"{{small_framed}}[{{v}}] if {_IS_SMALL} else "
    f"{{heads}}[len(text := str({{v}}))] + text if {_FEW_DIGITS} else {{framed}}({{encode}}({{v}}))"
)
_DECODE_INT = (
    "small if (small := {int_of}({raw})) is not None else "
    # No sign, no leading zero, and few enough digits.
    "int({raw}) if {raw}.isdigit() and len({raw}) < 20 and {raw}[0] != 48 else {decode}({raw})"
)

_FLOAT_TEXTS: Recall[float, bytes] = Recall()
_FLOATS_FRAMED: Recall[float, str] = Recall()
_FLOATS: Recall[bytes, float] = Recall()


def _text_of_float(value: float) -> bytes:
    text = float.__repr__(value).encode()
    return _FLOAT_TEXTS.keep(value, text) if _can_be_known(value) else text


def _frame_float(value: float) -> str:
    text = framed(float.__repr__(value).encode())
    return _FLOATS_FRAMED.keep(value, text) if _can_be_known(value) else text


def _can_be_known(value: float) -> bool:
    # 0.0 equals -0.0, and nan nothing.
    return bool(value) and value == value and type(value) is float


def _float_of_text(raw: bytes) -> float:
    return _FLOATS.keep(raw, decode_float(raw))


_FLOAT = Inline(
    float,
    "{known}({v}) or {text}({v})",
    "number if (number := {known_text}({raw})) is not None else {decode}({raw})",
    {
        "known": _FLOAT_TEXTS.known,
        "text": _text_of_float,
        "known_framed": _FLOATS_FRAMED.known,
        "frame": _frame_float,
        "known_text": _FLOATS.known,
        "decode": _float_of_text,
    },
    short=True,
    framed="{known_framed}({v}) or {frame}({v})",
)
_BOOL = Inline(
    bool,
    "b'true' if {v} else b'false'",
    "{words}[{raw}]",
    {"words": {b"true": True, b"false": False}},
    short=True,
    framed=f"{framed(b'true')!r} if {{v}} else {framed(b'false')!r}",
)


def _int(hint: Any, registry: Registry) -> Shape:
    encode, decode = bounded_int(registry.limits)
    names = {
        "small": _SMALL_TEXTS,
        "encode": encode,
        "small_framed": _SMALL_FRAMED,
        "heads": HEADS,
        "framed": framed,
        "int_of": _SMALL_INTS.get,
        "decode": decode,
    }
    inline = Inline(int, _ENCODE_INT, _DECODE_INT, names, short=True, framed=_FRAME_INT)
    return Leaf(int, Codec(encode, decode), registry.limits, natural="int", inline=inline)


def register(registry: Registry) -> None:
    """The numbers that JSON knows."""
    registry.factory(lambda hint: hint is int, _int)
    registry.leaf(float, encode_float, decode_float, natural="float", kin=_kin_of_float, inline=_FLOAT)
    registry.leaf(bool, encode_bool, decode_bool, natural="bool", inline=_BOOL)
    registry.in_any(int)
