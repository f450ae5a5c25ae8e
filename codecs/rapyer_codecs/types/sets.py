"""Sets: the own field is `{}`, each member is a name below it with an empty value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Set
from typing import TYPE_CHECKING, Any, get_args

from ..errors import EncodeError, PathError
from ..json_text import dump_json
from ..names import join
from ..paths import Step
from ..shape import EXACT, Child, Default, Fields, Held, Key, Kind, Shape, kin_of
from ..stored import BAD, Stored
from .sequences import parametrised

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["SetShape", "register"]

MARKER = b"{}"


class SetShape(Shape):
    """`set[T]` and `frozenset[T]`: a field with an empty value for each member."""

    kind: Kind = "set"
    has_entries = True

    def __init__(self, hint: Any, item: Shape, cls: type) -> None:
        self.type = hint
        self.cls = cls
        self.item = item
        self.key = Key(item)
        self.limits = item.limits

    @property
    def tag(self) -> str:
        return parametrised(self.cls.__name__, self.item)

    def kin(self, value: Any) -> int:
        return kin_of(value, self.cls)

    def rank(self, value: Any) -> int:
        own = self.kin(value)
        return min([own, *(self.item.rank(item) for item in value)]) if own else own

    def head(self, value: Any, name: bytes) -> bytes:
        if self.kin(value) != EXACT:
            self.refuse(value, name)
        self.check_count(len(value), name)
        return MARKER

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        segments = {self.key.segment(member, name) for member in value}
        if len(segments) != len(value):
            raise EncodeError("two members have the same text", field=name, target=self.tag)
        for segment in sorted(segments):
            out[join(name, segment)] = b""

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        if head != MARKER:
            return stored.bad(name, self.tag, head, "the stored marker is not one")
        members = []
        for segment in stored.below(name):
            place = join(name, segment)
            text = stored.get(place)
            if text is not None:
                members.append(self._member(segment, place, text, stored))
        if any(member is BAD for member in members):
            return BAD
        found = self.cls(members)
        if len(found) != len(members):
            return stored.bad(name, self.tag, None, "two stored members are the same member")
        return found

    def _member(self, segment: bytes, place: bytes, text: bytes, stored: Stored) -> Any:
        if text:
            return stored.bad(place, self.tag, text, "the stored mark of a member is empty")
        try:
            member = self.key.of(segment)
            hash(member)
        except (ValueError, TypeError):
            return stored.bad(place, self.item.tag, segment, "the stored member is not one")
        return member

    def pack(self, value: Any, depth: int = 0) -> Any:
        self.head(value, b"")
        depth = self.deeper(depth)
        return sorted((self.item.pack(member, depth) for member in value), key=dump_json)

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if not isinstance(tree, list) or sorted(tree, key=dump_json) != tree:
            raise ValueError("not a sorted array")
        depth = self.deeper(depth)
        members = self.cls(self.item.unpack(item, depth) for item in tree)
        if len(members) != len(tree):
            raise ValueError("the same member twice")
        return members

    def child(self, step: Step) -> Child:
        raise PathError(f"the members of a {self.tag} are no places")

    def step(self, segment: bytes) -> Step:
        raise PathError(f"the members of a {self.tag} are no places")

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        return MEMBER if head is not None else None

    def held(self, value: Any, name: bytes) -> Iterator[Held]:
        for member in value:
            yield self.item, member, join(name, self.key.segment(member, name))

    def inside(self) -> Iterable[Shape]:
        return (self.item,)


class _Member(Shape):
    """The empty field that says a member is there."""

    kind: Kind = "leaf"
    type = None


MEMBER = _Member()


def _item(hint: Any) -> Any:
    return next(iter(get_args(hint)), Any)


def _either(item: Any) -> Any:
    return set[item] | frozenset[item]


def register(registry: Registry) -> None:
    """Sets; an abstract one is a set or a frozenset, as given."""
    registry.container((set, MutableSet), lambda hint, r: SetShape(hint, r.shape(_item(hint)), set))
    registry.container((frozenset,), lambda hint, r: SetShape(hint, r.shape(_item(hint)), frozenset))
    registry.container((Set,), lambda hint, r: r.shape(_either(_item(hint))))
