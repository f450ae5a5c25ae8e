"""Types of other packages, known by the text of their names: nothing of them is imported until a class of
theirs is met.

numpy arrays and scalars are leaves. (pydantic models and msgspec Structs are records: classes.py reads them.)
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from ..codec import Codec
from ..errors import EncodeError
from ..hints import descends_from
from ..shape import Leaf, Shape

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]

_HEADER = re.compile(rb"([<>|][?biufcSUmM][0-9]+(?:\[[0-9A-Za-z]+\])?) ((?:[0-9]+(?:,[0-9]+)*)?)\n")
_KINDS = "?biufcSUmM"
"""Kinds of numpy types whose bytes are the value; objects and structures are refused."""


def _array(hint: Any, registry: Registry) -> Shape:
    """`<f8 2,3`, a line feed, and the bytes in C order."""
    numpy = sys.modules["numpy"]

    def encode(value: Any) -> bytes:
        if type(value) is not numpy.ndarray:
            raise TypeError
        if value.dtype.kind not in _KINDS or value.dtype.fields is not None:
            raise EncodeError("an array of objects or structures", target="ndarray")
        shape = ",".join(map(str, value.shape))
        header = f"{value.dtype.str} {shape}\n".encode()
        return header + bytes(value.tobytes())

    def decode(raw: bytes) -> Any:
        match = _HEADER.match(raw)
        if match is None:
            raise ValueError
        dtype = numpy.dtype(match[1].decode())
        shape = tuple(int(length) for length in match[2].split(b",") if length)
        value = numpy.frombuffer(raw, dtype, offset=match.end()).reshape(shape).copy()
        if encode(value) != raw:
            raise ValueError
        return value

    return Leaf(numpy.ndarray, Codec(encode, decode), registry.limits)


def _scalar(hint: Any, registry: Registry) -> Shape:
    """Ints, floats and bools as Python writes them; others as an array without dimensions. Every width is
    exact.
    """
    numpy = sys.modules["numpy"]
    array = _array(numpy.ndarray, registry)
    assert isinstance(array, Leaf)
    codec = array.codec

    def encode(value: Any) -> str | bytes:
        if type(value) is not hint:
            raise TypeError
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            return repr(value.item())
        return codec.encode(numpy.asarray(value))

    def decode(raw: bytes) -> Any:
        value = codec.decode(raw)[()] if raw[:1] in b"<>|" else hint(_number(raw))
        if as_bytes(value) != raw:
            raise ValueError
        return value

    def as_bytes(value: Any) -> bytes:
        text = encode(value)
        return text.encode() if isinstance(text, str) else text

    return Leaf(hint, Codec(as_bytes, decode), registry.limits)


def _number(raw: bytes) -> Any:
    if raw in (b"True", b"False"):
        return raw == b"True"
    return int(raw) if raw.lstrip(b"-").isdigit() else float(raw)


def register(registry: Registry) -> None:
    """By name; the package is there if one of its classes is."""
    registry.factory(lambda hint: descends_from(hint, "numpy", "generic"), _scalar)
    registry.factory(lambda hint: descends_from(hint, "numpy", "ndarray"), _array)
