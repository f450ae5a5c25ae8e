"""Lists, tuples and deques: the own field holds the length, element i is at `name.i`."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, get_args

from ..errors import DecodeLimitExceeded, EncodeError, PathError
from ..names import index, join
from ..paths import Item, Step
from ..shape import EXACT, FOREIGN, Child, Default, Fields, Held, Kind, Shape, kin_of
from ..stored import BAD, Stored

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["DequeShape", "FixedTupleShape", "ListShape", "TupleShape", "register"]


class _Numbered(Shape):
    """What all sequences share. A subclass says which class it is, and which shape each element has."""

    lists_elements = True
    has_entries = True
    cls: type

    def kin(self, value: Any) -> int:
        return kin_of(value, self.cls)

    def rank(self, value: Any) -> int:
        own = self.kin(value)
        return min([own, *(self.element(i).rank(item) for i, item in enumerate(value))]) if own else own

    def element(self, position: int) -> Shape:
        """The shape of one element."""
        raise NotImplementedError

    def make(self, items: list[Any], head: bytes) -> Any:
        """The sequence of the items."""
        return self.cls(items)

    def length(self, head: bytes) -> int:
        """The length that an own text says. ValueError if it is not one."""
        return index(head)

    def head(self, value: Any, name: bytes) -> bytes:
        if self.kin(value) != EXACT:
            self.refuse(value, name)
        self.check_count(len(value), name)
        return b"%d" % len(value)

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        self.check_depth(name)
        for position, item in enumerate(value):
            self.element(position).write(item, join(name, b"%d" % position), out)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        try:
            length = self.length(head)
        except ValueError:
            return stored.bad(name, self.tag, head, "the stored length is not one")
        most = self.limits.readable
        if length > most:
            return stored.bad(name, self.tag, head, f"more than {most} elements", DecodeLimitExceeded)
        if self.too_deep(name, stored):
            return BAD
        items = [self.element(i).read(join(name, b"%d" % i), stored) for i in range(length)]
        return BAD if any(item is BAD for item in items) else self.make(items, head)

    def pack(self, value: Any, depth: int = 0) -> Any:
        self.head(value, b"")
        depth = self.deeper(depth)
        return [self.element(position).pack(item, depth) for position, item in enumerate(value)]

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if not isinstance(tree, list):
            raise ValueError("not an array")
        depth = self.deeper(depth)
        head = b"%d" % len(tree)
        self.length(head)
        return self.make([self.element(i).unpack(item, depth) for i, item in enumerate(tree)], head)

    def child(self, step: Step) -> Child:
        position = step.key if isinstance(step, Item) else None
        if type(position) is not int or position < 0:
            raise PathError(f"a {self.tag} has only places with an index: [0], [1], …")
        return Child(b"%d" % position, self.element(position))

    def held(self, value: Any, name: bytes) -> Iterator[Held]:
        for position, item in enumerate(value):
            yield self.element(position), item, join(name, b"%d" % position)

    def step(self, segment: bytes) -> Step:
        try:
            return Item(index(segment))
        except ValueError:
            raise PathError(f"a {self.tag} has only places with an index") from None

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        try:
            position = index(segment)
            return self.element(position) if head is not None and position < self.length(head) else None
        except (ValueError, PathError):
            return None


class ListShape(_Numbered):
    """`list[T]`."""

    kind: Kind = "list"
    cls: type = list

    def __init__(self, hint: Any, item: Shape) -> None:
        self.type = hint
        self.item = item
        self.limits = item.limits

    @property
    def tag(self) -> str:
        return parametrised(self.cls.__name__, self.item)

    def element(self, position: int) -> Shape:
        return self.item

    def inside(self) -> Iterable[Shape]:
        return (self.item,)


class TupleShape(ListShape):
    """`tuple[T, ...]`."""

    kind: Kind = "tuple"
    cls: type = tuple


class DequeShape(ListShape):
    """`deque[T]`; the own field of one with a bound is `length/maxlen`."""

    kind: Kind = "deque"
    cls: type = deque

    def head(self, value: Any, name: bytes) -> bytes:
        head = super().head(value, name)
        return head if value.maxlen is None else b"%s/%d" % (head, value.maxlen)

    def length(self, head: bytes) -> int:
        length, bounded, bound = head.partition(b"/")
        if bounded and index(length) > index(bound):
            raise ValueError("longer than its bound")
        return index(length)

    def make(self, items: list[Any], head: bytes) -> Any:
        _, bounded, bound = head.partition(b"/")
        return deque(items, index(bound) if bounded else None)

    def pack(self, value: Any, depth: int = 0) -> Any:
        items = super().pack(value, depth)
        return items if value.maxlen is None else {f"~{value.maxlen}": items}

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if not isinstance(tree, dict):
            return super().unpack(tree, depth)
        ((bound, items),) = tree.items()
        if bound[:1] != "~":
            raise ValueError("not a deque with a bound")
        plain = super().unpack(items, depth)
        self.length(f"{len(plain)}/{bound[1:]}".encode())
        return deque(plain, int(bound[1:]))


class FixedTupleShape(_Numbered):
    """`tuple[A, B, C]`: exactly these."""

    kind: Kind = "tuple"
    cls: type = tuple

    def __init__(self, hint: Any, items: Sequence[Shape], registry: Registry) -> None:
        self.type = hint
        self.items = tuple(items)
        self.limits = registry.limits

    @property
    def tag(self) -> str:
        return f"tuple[{','.join(item.tag for item in self.items) or '()'}]"

    def element(self, position: int) -> Shape:
        if position >= len(self.items):
            raise PathError(f"a {self.tag} has only {len(self.items)} places")
        return self.items[position]

    def inside(self) -> Iterable[Shape]:
        return self.items

    def rank(self, value: Any) -> int:
        return super().rank(value) if self.kin(value) and len(value) == len(self.items) else FOREIGN

    def length(self, head: bytes) -> int:
        if index(head) != len(self.items):
            raise ValueError("another length")
        return len(self.items)

    def head(self, value: Any, name: bytes) -> bytes:
        head = super().head(value, name)
        if len(value) != len(self.items):
            raise EncodeError(f"cannot store a tuple of {len(value)} as {self.tag}", field=name, target=self.tag)
        return head


def parametrised(name: str, *items: Shape) -> str:
    """The tag of a container: its name, with the parameters unless all of them are Any."""
    tags = [item.tag for item in items]
    return name if all(tag == "Any" for tag in tags) else f"{name}[{','.join(tags)}]"


def _item(hint: Any) -> Any:
    arguments: Iterable[Any] = get_args(hint)
    return next(iter(arguments), Any)


def _either(item: Any) -> Any:
    return list[item] | tuple[item, ...]


def _tuple(hint: Any, registry: Registry) -> Shape:
    arguments = get_args(hint)
    if hint is tuple or arguments[1:] == (Ellipsis,):
        return TupleShape(hint, registry.shape(_item(hint)))
    return FixedTupleShape(hint, [registry.shape(argument) for argument in arguments], registry)


def register(registry: Registry) -> None:
    """Sequences; an abstract one is a list or a tuple, as given."""
    registry.container((list, MutableSequence), lambda hint, r: ListShape(hint, r.shape(_item(hint))))
    registry.container((deque,), lambda hint, r: DequeShape(hint, r.shape(_item(hint))))
    registry.container((tuple,), _tuple)
    registry.container((Sequence, Collection, Iterable), lambda hint, r: r.shape(_either(_item(hint))))
