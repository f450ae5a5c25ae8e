"""Ranges, slices and regular expressions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..codec import Codec, plain_type
from ..errors import LimitExceeded
from ..hints import origin_of
from ..json_text import dump_json, load_json
from ..shape import Leaf, Shape
from .numbers import bounded_int, decode_int

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]

# DEBUG prints while it compiles, TEMPLATE is deprecated: neither is part of what a pattern matches.
_FLAGS = re.ASCII | re.IGNORECASE | re.LOCALE | re.UNICODE | re.MULTILINE | re.DOTALL | re.VERBOSE


_FLAG_DIGITS = len(str(int(_FLAGS)))
_LONGEST = 4096
"""Characters of an expression: compiling takes far longer than reading."""


_MOST_RANGES = 64
"""Of an expression that ignores case: each range is gone through character by character."""


_IGNORES_CASE = re.compile(r"\(\?[A-Za-z]*i")


def _check_cost(source: str | bytes, flags: int) -> None:
    """LimitExceeded for an expression that could take seconds to compile."""
    text = source if isinstance(source, str) else source.decode("latin-1")
    if len(text) > _LONGEST:
        raise LimitExceeded(f"an expression longer than {_LONGEST} characters", target="Pattern")
    if text.count("-") > _MOST_RANGES and (flags & re.IGNORECASE or _IGNORES_CASE.search(text)):
        raise LimitExceeded(f"more than {_MOST_RANGES} hyphens in an expression that ignores case", target="Pattern")


def encode_pattern(value: Any) -> bytes:
    """`34/^a.*`, and `b/0/^a` for one on bytes."""
    if plain_type(value) is not re.Pattern:
        raise TypeError
    _check_cost(value.pattern, value.flags)
    flags = b"%d/" % (value.flags & _FLAGS)
    return b"b/" + flags + value.pattern if isinstance(value.pattern, bytes) else flags + value.pattern.encode()


def decode_pattern(raw: bytes) -> re.Pattern[Any]:
    """Compiled again; one that does not compile is no pattern."""
    on_bytes = raw[:2] == b"b/"
    flags, slash, source = raw[2 * on_bytes :].partition(b"/")
    # The time to read an int grows with the square of its length.
    number = decode_int(flags) if len(flags) <= _FLAG_DIGITS else ~_FLAGS
    if not slash or number & ~_FLAGS:
        raise ValueError
    expression: Any = source if on_bytes else source.decode()
    _check_cost(expression, number)
    value: re.Pattern[Any] = re.compile(expression, number)
    if encode_pattern(value) != raw:
        raise ValueError
    return value


def _range(hint: Any, registry: Registry) -> Shape:
    encode_int, decode_int = bounded_int(registry.limits)

    def encode(value: Any) -> bytes:
        if plain_type(value) is not range:
            raise TypeError
        return b":".join((encode_int(value.start), encode_int(value.stop), encode_int(value.step)))

    def decode(raw: bytes) -> range:
        start, stop, step = (decode_int(part) for part in raw.split(b":"))
        return range(start, stop, step)

    return Leaf(hint, Codec(encode, decode), registry.limits)


def _slice(hint: Any, registry: Registry) -> Shape:
    parts = registry.any_shape()

    def encode(value: Any) -> bytes:
        if plain_type(value) is not slice:
            raise TypeError
        return dump_json([parts.pack(part) for part in (value.start, value.stop, value.step)])

    def decode(raw: bytes) -> slice:
        start, stop, step = (parts.unpack(tree) for tree in load_json(raw, registry.limits))
        return slice(start, stop, step)

    return Leaf(hint, Codec(encode, decode), registry.limits)


def register(registry: Registry) -> None:
    """`re.Pattern` bare or with its parameter."""
    codec: Codec[Any] = Codec(encode_pattern, decode_pattern)
    registry.factory(lambda hint: origin_of(hint) is re.Pattern, lambda hint, r: Leaf(re.Pattern, codec, r.limits))
    registry.factory(lambda hint: hint is range, _range)
    registry.factory(lambda hint: hint is slice, _slice)
    registry.in_any(re.Pattern, range)
