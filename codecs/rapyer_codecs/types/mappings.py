"""Dicts and their kin: the own field is `{}` (an OrderedDict keeps its keys in it), the value of a key is at
`name.<key>`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, get_args

from ..errors import DecodeError, EncodeError, PathError
from ..names import join
from ..paths import Item, Step
from ..shape import EXACT, Child, Default, Fields, Held, Key, Kind, Shape, kin_of
from ..stored import BAD, Stored
from .sequences import parametrised

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["CounterShape", "DefaultDictShape", "DictShape", "OrderedDictShape", "register"]

MARKER = b"{}"


class DictShape(Shape):
    """`dict[K, V]`."""

    kind: Kind = "dict"
    has_entries = True
    cls: type = dict

    def __init__(self, hint: Any, key: Shape, value: Shape) -> None:
        self.type = hint
        self.key = Key(key)
        self.value = value
        self.limits = value.limits

    @property
    def tag(self) -> str:
        return parametrised(self.cls.__name__, self.key.shape, self.value)

    def kin(self, value: Any) -> int:
        return kin_of(value, self.cls)

    def rank(self, value: Any) -> int:
        own = self.kin(value)
        if not own:
            return own
        parts = (min(self.key.shape.rank(key), self.value.rank(item)) for key, item in value.items())
        return min([own, *parts])

    def head(self, value: Any, name: bytes) -> bytes:
        self._check(value, name)
        return MARKER

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        self.check_depth(name)
        segments = {self.key.segment(key, name): item for key, item in value.items()}
        if len(segments) != len(value):
            raise EncodeError("two keys have the same text", field=name, target=self.tag)
        for segment, item in segments.items():
            self.value.write(item, join(name, segment), out)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        if head != MARKER:
            return stored.bad(name, self.tag, head, "the stored marker is not one")
        if self.too_deep(name, stored):
            return BAD
        entries = self._entries(stored.below(name), name, stored)
        return BAD if entries is None else self.make(entries)

    def make(self, entries: dict[Any, Any]) -> Any:
        """The mapping of the entries."""
        return entries

    def _check(self, value: Any, name: bytes) -> None:
        if self.kin(value) != EXACT:
            self.refuse(value, name)
        self.check_count(len(value), name)

    def _entries(self, segments: Iterable[bytes], name: bytes, stored: Stored) -> dict[Any, Any] | None:
        """The entries at these segments; None if any of them is bad."""
        entries: dict[Any, Any] = {}
        found = 0
        for segment in segments:
            place = join(name, segment)
            if not self.value.present(place, stored):
                continue
            key = self._key_of(segment, place, stored)
            value = self.value.read(place, stored)
            if key is not BAD and value is not BAD:
                entries[key] = value
            found += 1
        if len(entries) == found:
            return entries
        if not stored.errors:
            stored.bad(name, self.tag, None, "two stored keys are the same key")
        return None

    def _key_of(self, segment: bytes, place: bytes, stored: Stored) -> Any:
        try:
            key = self.key.of(segment)
            hash(key)
        except (ValueError, TypeError):
            return stored.bad(place, self.key.shape.tag, segment, "the stored key is not one")
        return key

    def pack(self, value: Any, depth: int = 0) -> Any:
        self._check(value, b"")
        depth = self.deeper(depth)
        tree = {_text(self.key.encode(key)): self.value.pack(item, depth) for key, item in value.items()}
        if len(tree) != len(value):
            raise EncodeError("two keys have the same text", target=self.tag)
        return dict(sorted(tree.items()))

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if not isinstance(tree, dict) or list(tree) != sorted(tree):
            raise ValueError("not an object with sorted keys")
        return self._unpack_items(tree.items(), depth)

    def _unpack_items(self, items: Iterable[tuple[str, Any]], depth: int) -> Any:
        depth = self.deeper(depth)
        pairs = [(self.key.decode(_raw(text)), self.value.unpack(item, depth)) for text, item in items]
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError("the same key twice")
        return self.make(entries)

    def child(self, step: Step) -> Child:
        if not isinstance(step, Item):
            raise PathError(f"a {self.tag} has only places with a key: [key]")
        try:
            segment = self.key.segment(step.key)
        except EncodeError:
            segment = None
        if segment is None:
            raise PathError(f"the keys of a {self.tag} are of type {self.key.shape.tag}")
        return Child(segment, self.value)

    def step(self, segment: bytes) -> Step:
        try:
            return Item(self.key.of(segment))
        except ValueError:
            raise PathError(f"the keys of a {self.tag} are of type {self.key.shape.tag}") from None

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        return self.value if head is not None else None

    def held(self, value: Any, name: bytes) -> Iterator[Held]:
        for key, item in value.items():
            place = join(name, self.key.segment(key, name))
            yield self.key.shape, key, place
            yield self.value, item, place

    def inside(self) -> Iterable[Shape]:
        return self.key.shape, self.value


class DefaultDictShape(DictShape):
    """`defaultdict[K, V]`: the factory is the empty V, if V is a class that makes one; functions are not
    stored.
    """

    cls: type = defaultdict

    def make(self, entries: dict[Any, Any]) -> Any:
        return defaultdict(_factory(self.value), entries)


class CounterShape(DictShape):
    """`Counter[K]`."""

    cls: type = Counter

    @property
    def tag(self) -> str:
        return parametrised("Counter", self.key.shape)

    def make(self, entries: dict[Any, Any]) -> Any:
        return Counter(entries)


class OrderedDictShape(DictShape):
    """`OrderedDict[K, V]`: the own field lists the keys in order."""

    kind: Kind = "ordered"
    cls: type = OrderedDict

    def head(self, value: Any, name: bytes) -> bytes:
        self._check(value, name)
        return b"{%s}" % b".".join(self.key.segment(key, name) for key in value)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        if head[:1] != b"{" or head[-1:] != b"}" or len(head) < len(MARKER):
            return stored.bad(name, self.tag, head, "the stored order is not one")
        if self.too_deep(name, stored):
            return BAD
        segments = head[1:-1].split(b".") if head != MARKER else []
        for segment in segments:
            place = join(name, segment)
            if not self.value.present(place, stored):
                return stored.bad(place, self.value.tag, None, "is missing")
        if len(set(segments)) != len(segments):
            return stored.bad(name, self.tag, head, "the stored order is not one")
        entries = self._entries(segments, name, stored)
        return BAD if entries is None else OrderedDict(entries)

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        return self.value if head is not None and segment in head[1:-1].split(b".") else None

    def pack(self, value: Any, depth: int = 0) -> Any:
        self._check(value, b"")
        depth = self.deeper(depth)
        return [[_text(self.key.encode(key)), self.value.pack(item, depth)] for key, item in value.items()]

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if not isinstance(tree, list):
            raise ValueError("not an array of pairs")
        return self._unpack_items([(text, item) for text, item in tree], depth)

    def make(self, entries: dict[Any, Any]) -> Any:
        return OrderedDict(entries)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if _text(raw) != text:
        raise DecodeError("not a canonical key")
    return raw


def _factory(shape: Shape) -> Any:
    made = getattr(shape, "cls", shape.type)
    return made if made in (int, float, str, bytes, bool, list, dict, set, tuple, frozenset) else None


def _arguments(hint: Any) -> tuple[Any, Any]:
    key, value = get_args(hint) or (Any, Any)
    return key, value


def register(registry: Registry) -> None:
    """Mappings; an abstract Mapping is kept as a dict."""

    def mapping(shape: type[DictShape]) -> Any:
        return lambda hint, r: shape(hint, *map(r.shape, _arguments(hint)))

    registry.container((dict, Mapping, MutableMapping), mapping(DictShape))
    registry.container((defaultdict,), mapping(DefaultDictShape))
    registry.container((OrderedDict,), mapping(OrderedDictShape))
    registry.container(
        (Counter,), lambda hint, r: CounterShape(hint, r.shape(next(iter(get_args(hint)), Any)), r.shape(int))
    )
