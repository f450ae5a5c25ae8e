"""Text and bytes: str as UTF-8, bytes as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..codec import plain_type
from ..errors import EncodeError
from ..shape import Inline

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]


def encode_str(value: Any) -> bytes:
    """UTF-8. A lone surrogate has no UTF-8 and is refused."""
    if type(value) is not str and plain_type(value) is not str:
        raise TypeError
    try:
        return str.encode(value)
    except UnicodeEncodeError:
        pass  # raised outside of the handler: its own error quotes the text
    raise EncodeError("a str with a lone surrogate has no UTF-8", target="str")


def decode_str(raw: bytes) -> str:
    """UTF-8 only."""
    return raw.decode()


def encode_bytes(value: Any) -> bytes:
    """As they are."""
    if type(value) is not bytes and plain_type(value) is not bytes:
        raise TypeError
    return bytes(value)


def decode_bytes(raw: bytes) -> bytes:
    """As they are."""
    return raw


def encode_bytearray(value: Any) -> bytes:
    """As they are."""
    if plain_type(value) is not bytearray:
        raise TypeError
    return bytes(value)


def encode_memoryview(value: Any) -> bytes:
    """Of plain bytes only: the shape and format of another view would be lost."""
    if type(value) is not memoryview or value.format != "B" or value.ndim != 1:
        raise TypeError
    return value.tobytes()


_STR = Inline(str, "{encode}({v})", "{raw}.decode()", {"encode": str.encode})
_BYTES = Inline(bytes, "bytes({v})", "{raw}")


def register(registry: Registry) -> None:
    """Text, first in Any: a str is stored bare there."""
    registry.leaf(str, encode_str, decode_str, inline=_STR)
    registry.leaf(bytes, encode_bytes, decode_bytes, inline=_BYTES)
    registry.leaf(bytearray, encode_bytearray, bytearray)
    registry.leaf(memoryview, encode_memoryview, memoryview)
