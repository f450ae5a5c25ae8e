"""Enums, by value: renaming a member does not touch what is stored. Flags are their int."""

from __future__ import annotations

from enum import Enum, Flag
from typing import TYPE_CHECKING, Any

from ..codec import Codec, plain_type
from ..errors import UnsupportedType
from ..framing import framed
from ..shape import Inline, Leaf, Shape

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["register"]


def _enum(cls: type[Enum], registry: Registry) -> Shape:
    members = list(cls)
    if not members:
        raise UnsupportedType(f"{cls.__name__} has no members", target=cls.__name__)
    texts = _value_texts(members, registry)
    by_text = {} if texts else {name.encode(): member for name, member in cls.__members__.items()}  # with aliases
    texts = texts or {member._name_: member.name.encode() for member in members}
    by_text |= {texts[member._name_]: member for member in members}

    def encode(value: Any) -> bytes:
        if type(value) is not cls:
            raise TypeError
        return texts[value._name_]

    names = {
        "texts": texts,
        "texts_framed": {name: framed(text) for name, text in texts.items()},
        "members": by_text,
    }
    short = not any(text[:1] == b"~" for text in by_text)
    inline = Inline(
        cls, "{texts}[{v}._name_]", "{members}[{raw}]", names, short=short, framed="{texts_framed}[{v}._name_]"
    )
    return Leaf(cls, Codec(encode, by_text.__getitem__), registry.limits, inline=inline)


def _value_texts(members: list[Enum], registry: Registry) -> dict[str, bytes] | None:
    """Name of a member -> text of its value; None unless all values are of one type that is stored in one field.

    By name: members may equal each other, or have no hash; and a hash is a call of Python code.
    """
    types = {type(member.value) for member in members}
    if len(types) != 1:
        return None
    try:
        leaf = registry.codec(types.pop())
    except UnsupportedType:
        return None
    texts = {member._name_: leaf.encode(member.value) for member in members}
    return texts if len(set(texts.values())) == len(texts) else None


def _flag(cls: type[Flag], registry: Registry) -> Shape:
    leaf = registry.codec(int)

    def encode(value: Any) -> bytes:
        if plain_type(value) is not cls:
            raise TypeError
        return leaf.encode(value.value)

    def decode(raw: bytes) -> Flag:
        number = leaf.decode(raw)
        value = cls(number)
        if type(value) is not cls or value.value != number:
            raise ValueError
        return value

    return Leaf(cls, Codec(encode, decode), registry.limits)


def _is(base: type) -> Any:
    return lambda hint: isinstance(hint, type) and issubclass(hint, base)


def register(registry: Registry) -> None:
    """Every Enum class; the rule for Flag is later, so it wins."""
    registry.factory(_is(Enum), _enum)
    registry.factory(_is(Flag), _flag)
