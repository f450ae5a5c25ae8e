"""Optional, Union and Any: the own field always exists and says which alternative is stored.

The first member that is not None is written bare, every other one with its tag. Any is the same with a
fixed list of members that grows with the registry's own leaf types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from ..codec import plain_type
from ..errors import EncodeError, PathError, UnsupportedType
from ..hints import classes_in, former_names_of, is_literal, is_union, name_of, peel
from ..paths import Step
from ..rules import Rule
from ..shape import EXACT, FOREIGN, Child, Chosen, Default, Fields, Held, Kind, Shape
from ..stored import Stored
from .literals import literal_leaves

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["AnyShape", "UnionShape", "register"]

R = TypeVar("R")

_WORD = re.compile(r"([\[\],|])")
"""What stands between the names in a tag."""

NONE = b"~"
BARE = b"~:"


class UnionShape(Shape):
    """One of several shapes, or None if `optional`."""

    kind: Kind = "union"

    def __init__(self, hint: Any, members: tuple[Shape, ...], optional: bool, registry: Registry) -> None:
        self.type = hint
        self.members = members
        self.optional = optional
        self.limits = registry.limits
        self._by_tag = {member.tag.encode(): member for member in members}
        if len(self._by_tag) != len(members) or any(b":" in tag for tag in self._by_tag):
            raise UnsupportedType("two members of the union have the same tag", target=self.tag)

    @property
    def tag(self) -> str:
        return "|".join([member.tag for member in self.members] + ["None"] * self.optional)

    @property
    def inner(self) -> Shape | None:
        """The X of Optional[X]; None for a union of several."""
        return self.members[0] if len(self.members) == 1 else None

    def choose(self, value: Any, name: bytes = b"") -> Shape:
        """The member that a value other than None belongs to. EncodeError if there is none."""
        kin = [(member.kin(value), member) for member in self.members]
        best = max(rank for rank, _ in kin)
        found = [member for rank, member in kin if rank == best]
        if best is FOREIGN:
            self.refuse(value, name)
        # max takes the first of equals: the order of the members decides.
        return found[0] if len(found) == 1 else max(found, key=lambda member: member.rank(value))

    def kin(self, value: Any) -> int:
        if value is None:
            return EXACT if self.optional else FOREIGN
        return max(member.kin(value) for member in self.members)

    def rank(self, value: Any) -> int:
        if value is None:
            return EXACT if self.optional else FOREIGN
        return max(member.rank(value) for member in self.members)

    def tagged(self, member: Shape, own: bytes) -> bytes:
        """The own text of a value of a member, marked as the member's."""
        if member is not self.members[0]:
            return b"~%s:%s" % (member.tag.encode(), own)
        return BARE + own if own[:1] == b"~" else own

    def split(self, head: bytes) -> tuple[Shape | None, bytes]:
        """The member (None for None) and its own text. ValueError if the text is no value's."""
        if head[:1] != b"~":
            return self.members[0], head
        if head == NONE and self.optional:
            return None, b""
        tag, colon, own = head[1:].partition(b":")
        if colon and not tag and own[:1] == b"~":
            return self.members[0], own
        member = self.member(tag) if colon and tag else None
        if member is None or member is self.members[0]:
            raise ValueError("an unknown tag")
        return member, own

    def member(self, tag: bytes) -> Shape | None:
        """The member of a tag, in which classes may have former names."""
        found = self._by_tag.get(tag)
        if found is None and self._former_names:
            words = (self._former_names.get(word, word) for word in _WORD.split(tag.decode("utf-8", "replace")))
            found = self._by_tag.get("".join(words).encode())
        return found

    @cached_property
    def _former_names(self) -> dict[str, str]:
        """Former name -> name, of the classes in the union; none that several had, or that one has now."""
        now = {cls: name_of(cls) for member in self.members for cls in classes_in(member.type)}
        names: dict[str, set[str]] = {}
        for cls, name in now.items():
            for former in former_names_of(cls):
                names.setdefault(former, set()).add(name)
        return {former: name for former, (name, *others) in names.items() if not others and former not in now.values()}

    def head(self, value: Any, name: bytes) -> bytes:
        if value is None and self.optional:
            return NONE
        member = self.choose(value, name)
        return self.tagged(member, member.head(value, name))

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        if value is not None or not self.optional:
            self.choose(value, name).body(value, name, out)

    def write(self, value: Any, name: bytes, out: Fields) -> None:
        if value is None and self.optional:
            out[name] = NONE
            return
        member = self.choose(value, name)
        out[name] = self.tagged(member, member.head(value, name))
        member.body(value, name, out)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        try:
            member, own = self.split(head)
        except ValueError:
            return stored.bad(name, self.tag, head, "the stored tag is none of the union's")
        return None if member is None else member.build(own, name, stored, default)

    def pack(self, value: Any, depth: int = 0) -> Any:
        if value is None and self.optional:
            return None
        member = self.choose(value)
        tree = member.pack(value, depth)
        if member is not self.members[0]:
            return {f"~{member.tag}": tree}
        return {"~": tree} if _looks_tagged(tree) else tree

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if tree is None and self.optional:
            return None
        if not _looks_tagged(tree):
            return self.members[0].unpack(tree, depth)
        ((tag, inner),) = (tree or {"": None}).items()
        if tag == "~" and _looks_tagged(inner):
            return self.members[0].unpack(inner, depth)
        member = self.member(tag[1:].encode())
        if member is None or member is self.members[0]:
            raise ValueError("an unknown tag")
        return member.unpack(inner, depth)

    def key_text(self, value: Any) -> bytes:
        if value is None and self.optional:
            return NONE
        member = self.choose(value)
        return self.tagged(member, member.key_text(value))

    def from_key_text(self, text: bytes) -> Any:
        member, own = self.split(text)
        return None if member is None else member.from_key_text(own)

    def child(self, step: Step) -> Child:
        return self._first(lambda member: member.child(step))

    def step(self, segment: bytes) -> Step:
        return self._first(lambda member: member.step(segment))

    def _first(self, ask: Callable[[Shape], R]) -> R:
        """The answer of the first member that has one."""
        refusal = PathError(f"{self.tag} has no parts")
        for member in self.members:
            try:
                return ask(member)
            except PathError as error:
                refusal = error
        raise refusal

    def chosen(self, head: bytes | None) -> Chosen:
        if head is None:
            return Chosen("", None, None)
        try:
            member, own = self.split(head)
        except ValueError:
            return Chosen("?", None, None)
        if member is None:
            return Chosen("None", None, None)
        inner = member.chosen(own)
        return Chosen(f"{member.tag}:{inner.tag}", inner.shape, inner.own)

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        chosen = self.chosen(head)
        return None if chosen.shape is None else chosen.shape.below(segment, chosen.own)

    def own_rules(self) -> bool:
        return bool(self.rules) or any(member.own_rules() for member in self.members)

    def rules_for(self, value: Any) -> Iterable[Rule]:
        # Of several alternatives, a rule is meant for those that it fits.
        own = [rule for rule in self.rules if rule.fits(plain_type(value))]
        return [*own, *self.choose(value).rules_for(value)]

    def held(self, value: Any, name: bytes) -> Iterable[Held]:
        return self.choose(value, name).held(value, name)

    def inside(self) -> Iterable[Shape]:
        return self.members


class AnyShape(UnionShape):
    """Any value that needs no class of the user's: str bare, everything else with its tag."""

    def __init__(self, registry: Registry) -> None:
        self.type = Any
        self.optional = True
        self.limits = registry.limits
        self._registry = registry
        self._members: dict[bytes, Shape] = {}

    @property
    def tag(self) -> str:
        return "Any"

    @property
    def inner(self) -> Shape | None:
        return None

    @property
    def members(self) -> tuple[Shape, ...]:  # type: ignore[override]  # made late: its members contain it
        if not self._members:
            shapes = [self._registry.shape(hint) for hint in self._registry.any_types()]
            self._members = {shape.tag.encode(): shape for shape in shapes}
        return tuple(self._members.values())

    def member(self, tag: bytes) -> Shape | None:
        return self._members.get(tag) if self.members else None

    def choose(self, value: Any, name: bytes = b"") -> Shape:
        cls = plain_type(value)
        for member in self.members:
            if getattr(member, "cls", member.type) is cls:
                return member
        raise EncodeError(
            f"cannot store a {cls.__name__} as Any: annotate the field with its type",
            field=name,
            target="Any",
        )

    def kin(self, value: Any) -> int:
        return 1 if value is None or self._takes(value) else FOREIGN

    def rank(self, value: Any) -> int:
        return self.kin(value)

    def _takes(self, value: Any) -> bool:
        cls = plain_type(value)
        return any(getattr(member, "cls", member.type) is cls for member in self.members)

    def pack(self, value: Any, depth: int = 0) -> Any:
        if value is None:
            return None
        member = self.choose(value)
        tree = member.pack(value, depth)
        if not _says_its_type(member.tag, tree):
            return {f"~{member.tag}": tree}
        return {"~": tree} if _looks_tagged(tree) else tree

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        if tree is None:
            return None
        tag = type(tree).__name__
        if _looks_tagged(tree):
            ((mark, tree),) = tree.items()
            tag = mark[1:] or "dict"
            if _says_its_type(tag, tree) != (mark == "~" and _looks_tagged(tree)):
                raise ValueError("not canonical")
        return self._member(tag).unpack(tree, depth)

    def _member(self, tag: str) -> Shape:
        member = self.member(tag.encode())
        if member is None:
            raise ValueError("an unknown tag")
        return member

    def own_rules(self) -> bool:
        return bool(self.rules)

    def rules_for(self, value: Any) -> Iterable[Rule]:
        return [rule for rule in self.rules if rule.fits(plain_type(value))]

    def held(self, value: Any, name: bytes) -> Iterable[Held]:
        return ()

    def inside(self) -> Iterable[Shape]:
        return ()  # its members are the engine's own, and contain it

    def child(self, step: Step) -> Child:
        raise PathError("Any has no parts that are known beforehand")

    def step(self, segment: bytes) -> Step:
        raise PathError("Any has no parts that are known beforehand")


def _looks_tagged(tree: Any) -> bool:
    return tree is None or (isinstance(tree, dict) and len(tree) == 1 and next(iter(tree))[:1] == "~")


def _says_its_type(tag: str, tree: Any) -> bool:
    """Whether the JSON of a value in Any needs no tag."""
    return tag in ("str", "int", "float", "bool", "list", "dict") and type(tree).__name__ == tag


def _union(hint: Any, registry: Registry) -> Shape:
    """The shape of a Union or of a Literal."""
    arguments = _flat(hint)
    peeled = [peel(argument)[0] for argument in arguments]
    if Any in peeled or object in peeled:
        return registry.shape(Any)
    values = [value for literal in peeled if is_literal(literal) for value in get_args(literal)]
    literals = literal_leaves(values, registry)
    members: dict[str, Shape] = {}
    for argument, inner in zip(arguments, peeled, strict=True):
        found = literals if is_literal(inner) else [registry.shape(argument)]
        for member in found if inner is not NoneType else ():
            members.setdefault(member.tag, member)
    optional = NoneType in peeled or None in values
    if len(members) == 1 and not optional:
        return next(iter(members.values()))
    return UnionShape(hint, tuple(members.values()), optional, registry) if members else registry.shape(NoneType)


def _flat(hint: Any) -> list[Any]:
    """The members of a union, those of unions inside it (through aliases) included."""
    if not is_union(hint):
        return [hint]
    flat: list[Any] = []
    for argument in get_args(hint):
        inner, metadata = peel(argument)
        flat.extend(_flat(inner) if not metadata else [argument])
    return flat


def register(registry: Registry) -> None:
    """Unions in both spellings; Any and what means the same."""
    registry.factory(lambda hint: is_union(hint) or is_literal(hint), _union)
    registry.factory(
        lambda hint: hint is Any or hint is object or isinstance(hint, TypeVar), lambda _, r: r.any_shape()
    )
