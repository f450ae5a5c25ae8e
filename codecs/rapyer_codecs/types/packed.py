"""`Packed[T]`: a value of any shape in one field. The fields of T are no places of their own there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..codec import Codec
from ..json_text import dump_json, load_json
from ..rules import Rule
from ..shape import Held, Leaf, Shape

__all__ = ["PackedLeaf"]


class PackedLeaf(Leaf):
    """A value of any shape in one field."""

    def __init__(self, inner: Shape) -> None:
        super().__init__(inner.type, Codec(self._dump, self._load), inner.limits)
        self.inner = inner

    @property
    def tag(self) -> str:
        return self.inner.tag

    def kin(self, value: Any) -> int:
        return self.inner.kin(value)

    def rank(self, value: Any) -> int:
        return self.inner.rank(value)

    def pack(self, value: Any, depth: int = 0) -> Any:
        return self.inner.pack(value, depth)

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        return self.inner.unpack(tree, depth)

    def _dump(self, value: Any) -> bytes:
        return dump_json(self.inner.pack(value))

    def _load(self, raw: bytes) -> Any:
        return self.inner.unpack(load_json(raw, self.limits))

    def own_rules(self) -> bool:
        return True  # for all that is known before the class in it is: what is in it breaks rules as a whole

    def held(self, value: Any, name: bytes) -> Iterator[Held]:
        yield self.inner, value, name

    def broken(self, value: Any, name: bytes) -> Iterator[tuple[bytes, Rule]]:
        # What is in it has no names of its own.
        return ((name, rule) for _, rule in super().broken(value, name))

    def inside(self) -> Iterable[Shape]:
        return (self.inner,)
