"""Records: dataclasses, attrs classes, NamedTuples and TypedDicts. A field is at `name.field`; a subclass has
a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from ..classes import ClassPlan, FieldPlan, Unresolved, is_record_class, read_class
from ..codec import plain_type
from ..errors import EncodeError, PathError, UnsupportedType
from ..hints import former_names_of, metadata_of, name_of, origin_of
from ..interrupts import is_interrupt
from ..lean import dataclass
from ..markers import Alias
from ..names import escape, join, unescape
from ..paths import Item, Step
from ..shape import EXACT, FOREIGN, KIN, Child, Chosen, Default, Fields, Held, Kind, Shape
from ..stored import BAD, Stored

if TYPE_CHECKING:
    from ..registry import Registry

__all__ = ["Part", "RecordShape", "part_default", "register"]

PLAIN = b"{}"


@dataclass(frozen=True)
class Part(Child):
    """A field of a record: a Child with the name it has in Python."""

    name: str = ""
    derived: bool = False
    """Absent and without a default, it is left to the class."""

    def may_be_left_out(self, default: Default) -> bool:
        """Whether an instance can be made without a value of it."""
        return not self.required or (self.derived and default is None)

    @property
    def packed_names(self) -> tuple[str, ...]:
        """The keys it may have in a packed value, its own first."""
        return (self.name, *(unescape(segment).decode() for segment in self.former))


class RecordShape(Shape):
    """A class with fields. Its parts are looked up at first use, so that classes can refer to each other."""

    kind: Kind = "record"
    read_classes: ClassVar[int] = 0
    """Classes whose fields were looked up: while it stands still, so does what was found out about their rules."""

    def __init__(self, hint: Any, registry: Registry) -> None:
        self.type = hint
        self.cls: type = origin_of(hint)
        self.limits = registry.limits
        self._registry = registry
        self._plan: ClassPlan | None = None

    @property
    def tag(self) -> str:
        arguments = get_args(self.type)
        if not arguments:
            return name_of(self.cls)
        return f"{name_of(self.cls)}[{','.join(self._registry.shape(argument).tag for argument in arguments)}]"

    # -- the class -------------------------------------------------------------------------------------------

    @property
    def plan(self) -> ClassPlan:
        """Fields and construction of the class; read again as long as a name in it cannot be resolved."""
        if self._plan is None or not _is_resolved(self._plan):
            self._plan = read_class(self.cls, get_args(self.type), self._registry.names_for(self.cls))
        return self._plan

    @property
    def resolved(self) -> bool:
        return _is_resolved(self.plan)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The fields, in the order of the class. UnsupportedType if one has a type without a codec."""
        parts = tuple(self._part(field) for field in self.plan.fields)
        RecordShape.read_classes += 1
        return parts

    def _part(self, field: FieldPlan) -> Part:
        if isinstance(field.hint, Unresolved):
            name = f"the name {field.hint.name}" if field.hint.name else "a name"
            reason = f"{name} in the annotation cannot be resolved; define or import it in the module of the class"
            raise self._unsupported(field, reason, field.hint.name)
        try:
            shape = self._registry.shape(field.hint)
        except UnsupportedType as error:
            if error.path is None:
                raise self._unsupported(field, error.reason, error.target) from None
            raise
        metadata = metadata_of(field.hint)
        former = tuple(escape(extra.name.encode()) for extra in metadata if isinstance(extra, Alias))
        return Part(
            escape(field.name.encode()),
            shape,
            metadata,
            field.default,
            former,
            field.required,
            field.name,
            field.derived,
        )

    def _unsupported(self, field: FieldPlan, reason: str, target: str | None = None) -> UnsupportedType:
        return UnsupportedType(reason, model=self.cls.__name__, path=field.name, target=target)

    @cached_property
    def _by_segment(self) -> dict[bytes, Part]:
        """Parts by stored name, former names included."""
        found = {segment: part for part in self.parts for segment in part.former}
        return found | {part.segment: part for part in self.parts}

    def part_at(self, segment: bytes) -> Part | None:
        """The field with a stored name, a former one perhaps."""
        return self._by_segment.get(segment)

    @cached_property
    def hollow(self) -> bool:
        """Whether no field is sure to be stored: then the own field always is."""
        return not any(part.required for part in self.parts)

    # -- subclasses ------------------------------------------------------------------------------------------

    def subclasses(self) -> dict[str, type | None]:
        """Tag -> subclass, of those that exist now; None for a tag that several have."""
        found: dict[str, type | None] = {}
        for cls in _descendants(self.cls):
            tag = name_of(cls)
            other = found.get(tag, cls)
            # The same place in the source: the class was made again (a reload, or slots=True), and the later
            # counts.
            same = other is not None and (other.__module__, other.__qualname__) == (
                cls.__module__,
                cls.__qualname__,
            )
            found[tag] = cls if same else None
        return found

    def _of(self, value: Any, name: bytes) -> tuple[RecordShape, bytes]:
        """The shape of the runtime class, and the tag text before `{}` if it is a subclass."""
        cls = plain_type(value)
        if cls is self.cls or (cls is dict and self.plan.subscript):
            return self, b""
        if self.plan.subscript or not issubclass(cls, self.cls) or not is_record_class(cls):
            self.refuse(value, name)
        tag = name_of(cls)
        if self.subclasses().get(tag) is not cls:
            raise EncodeError(
                f"several subclasses of {self.tag} have the tag {tag}: give them a __rapyer_tag__",
                field=name,
                target=self.tag,
            )
        return self._subclass(cls), b"~%s:" % tag.encode()

    def _subclass(self, cls: type) -> RecordShape:
        shape = self._registry.shape(cls)
        if not isinstance(shape, RecordShape):
            raise EncodeError(f"{name_of(cls)} has a codec of its own and cannot stand for {self.tag}", target=self.tag)
        return shape

    def _tagged(self, head: bytes) -> RecordShape:
        """The shape that an own text says. ValueError if it is none."""
        if head == PLAIN:
            return self
        tag, colon, rest = head.partition(b":")
        if tag[:1] != b"~" or not colon or rest != PLAIN:
            raise ValueError("not a tag")
        name = tag[1:].decode()
        cls = self.subclasses().get(name) or self._formerly(name)
        if cls is None:
            raise ValueError("an unknown tag")
        return self if cls is self.cls else self._subclass(cls)

    def _formerly(self, name: str) -> type | None:
        """The class that once had the name in tags, itself included; None if none had, or several."""
        if name in self.subclasses():
            return None  # several have it now
        found = {
            (cls.__module__, cls.__qualname__): cls
            for cls in (self.cls, *_descendants(self.cls))
            if name in former_names_of(cls)
        }
        return next(iter(found.values())) if len(found) == 1 else None

    def kin(self, value: Any) -> int:
        cls = plain_type(value)
        if cls is self.cls:
            return EXACT
        if self.plan.subscript:
            return self._kin_of_dict(value) if cls is dict else FOREIGN
        return KIN if issubclass(cls, self.cls) else FOREIGN

    def _kin_of_dict(self, value: Any) -> int:
        required = {part.name for part in self.parts if part.required}
        return KIN if required <= value.keys() <= {part.name for part in self.parts} else FOREIGN

    def rank(self, value: Any) -> int:
        own = self.kin(value)
        if not own or not (get_args(self.type) or self.plan.subscript):
            return own
        values = self._values(value)
        return min([own, *(part.shape.rank(values[part.name]) for part in self.parts if part.name in values)])

    # -- stored fields ---------------------------------------------------------------------------------------

    def head(self, value: Any, name: bytes) -> bytes:
        return self._of(value, name)[1] + PLAIN

    def body(self, value: Any, name: bytes, out: Fields) -> None:
        self.check_depth(name)
        shape, _ = self._of(value, name)
        values = shape._values(value, name)
        for part in shape.parts:
            if part.name in values:
                part.shape.write(values[part.name], join(name, part.segment), out)

    def write(self, value: Any, name: bytes, out: Fields) -> None:
        _, tag = self._of(value, name)
        if name and (tag or self.hollow):
            out[name] = tag + PLAIN
        elif tag:
            self.refuse(value, name)
        self.body(value, name, out)

    def _values(self, value: Any, name: bytes = b"") -> dict[str, Any]:
        """The field values of an instance, those that a TypedDict leaves out not included."""
        get, values = self.plan.get, {}
        if self.plan.subscript and not value.keys() <= {part.name for part in self.parts}:
            raise EncodeError(f"a key that {self.tag} does not have", field=name, target=self.tag)
        for part in self.parts:
            try:
                values[part.name] = get(value, part.name)
            except (AttributeError, KeyError):
                if part.required:
                    raise EncodeError("has no value", field=join(name, part.segment), target=part.shape.tag) from None
        return values

    def present(self, name: bytes, stored: Stored) -> bool:
        if name and name in stored.fields:
            return True
        known = self._by_segment
        if any(join(name, segment) in stored.fields for segment in known):
            return True
        return any(segment in known for segment in stored.below(name))

    def read(self, name: bytes, stored: Stored, default: Default = None) -> Any:
        if default is not None and not self.present(name, stored):
            return default()
        return self.build(stored.get(name, PLAIN) if name else PLAIN, name, stored, default)

    def build(self, head: bytes, name: bytes, stored: Stored, default: Default = None) -> Any:
        if self.too_deep(name, stored):
            return BAD
        try:
            shape = self._tagged(head)
        except (ValueError, UnicodeDecodeError):
            return stored.bad(name, self.tag, head, "the stored class is unknown")
        return shape._build(name, stored, default)

    def _build(self, name: bytes, stored: Stored, default: Default) -> Any:
        values: dict[str, Any] = {}
        for part in self.parts:
            place = part.place(name, stored)
            inherited = part_default(default, part, self)
            if part.may_be_left_out(inherited) and not part.shape.present(place, stored):
                continue
            values[part.name] = part.shape.read(place, stored, inherited)
        if any(value is BAD for value in values.values()):
            return BAD
        try:
            return self.plan.make(values)
        except Exception as error:
            if is_interrupt(error):
                raise
            return stored.bad(name, self.tag, None, "the class refused the stored values")

    # -- rules -----------------------------------------------------------------------------------------------

    def ruled(self, seen: set[Shape] | None = None) -> bool:
        if self.rules:
            return True
        seen = set() if seen is None else seen
        if self in seen:
            return False
        seen.add(self)
        if any(part.shape.ruled(seen) for part in self.parts):
            return True
        return any(_may_be_ruled(self._registry, cls, seen) for cls in self.subclasses().values() if cls is not None)

    def held(self, value: Any, name: bytes) -> Iterator[Held]:
        shape, _ = self._of(value, name)
        values = shape._values(value, name)
        for part in shape.parts:
            if part.name in values:
                yield part.shape, values[part.name], join(name, part.segment)

    # -- packed ----------------------------------------------------------------------------------------------

    def pack(self, value: Any, depth: int = 0) -> Any:
        depth = self.deeper(depth)
        shape, tag = self._of(value, b"")
        values = shape._values(value)
        tree = {p.name: p.shape.pack(values[p.name], depth) for p in shape.parts if p.name in values}
        return {tag[:-1].decode(): tree} if tag else tree

    def unpack(self, tree: Any, depth: int = 0) -> Any:
        depth = self.deeper(depth)
        if not isinstance(tree, dict):
            raise ValueError("not an object")
        first = next(iter(tree), "")
        if first[:1] == "~" and len(tree) == 1:
            return self._tagged(f"{first}:{{}}".encode())._unpack(tree[first], depth)
        return self._unpack(tree, depth)

    def _unpack(self, tree: Any, depth: int) -> Any:
        if not isinstance(tree, dict):
            raise ValueError("not an object")
        values: dict[str, Any] = {}
        for part in self.parts:
            found = next((key for key in part.packed_names if key in tree), None)
            if found is not None:
                values[part.name] = part.shape.unpack(tree[found], depth)
            elif part.default is not None:
                values[part.name] = part.default()
            elif not part.may_be_left_out(None):
                raise ValueError("a field is missing")
        return self.plan.make(values)

    # -- places ----------------------------------------------------------------------------------------------

    def child(self, step: Step) -> Child:
        name = step.key if isinstance(step, Item) else step
        if isinstance(step, Item) == self.plan.subscript:
            for part in self.parts:
                if part.name == name:
                    return part
        fields = ", ".join(part.name for part in self.parts)
        raise PathError(f"{self.tag} has no such field; it has {fields or 'none'}")

    def step(self, segment: bytes) -> Step:
        part = self._by_segment.get(segment)
        if part is None:
            fields = ", ".join(part.name for part in self.parts)
            raise PathError(f"{self.tag} has no such field; it has {fields or 'none'}")
        return Item(part.name) if self.plan.subscript else part.name

    def chosen(self, head: bytes | None) -> Chosen:
        try:
            shape = self._tagged(PLAIN if head is None else head)
        except (ValueError, UnicodeDecodeError):
            return Chosen("?", None, None)
        return Chosen("" if shape is self else name_of(shape.cls), shape, None)

    def below(self, segment: bytes, head: bytes | None) -> Shape | None:
        shape = self.chosen(head).shape
        part = shape._by_segment.get(segment) if isinstance(shape, RecordShape) else None
        return None if part is None else part.shape

    def check(self, seen: set[Shape]) -> None:
        if self in seen:
            return
        seen.add(self)
        former_names_of(self.cls)
        for field in self.plan.fields:
            if not isinstance(field.hint, Unresolved):
                self._part(field).shape.check(seen)


def _is_resolved(plan: ClassPlan) -> bool:
    return not any(isinstance(field.hint, Unresolved) for field in plan.fields)


def part_default(default: Default, part: Part, shape: RecordShape) -> Default:
    """The default of a part: of the default of the field that holds the record, else the field's own."""
    if default is None:
        return part.default

    def inherited() -> Any:
        return shape.plan.get(default(), part.name)

    # The default of an Optional or of a base class may be something without this part.
    return inherited if shape.kin(_made(default)) else part.default


def _made(default: Callable[[], Any]) -> Any:
    """A default; None where it cannot be made: that matters only if there is no other value."""
    try:
        return default()
    except Exception as error:
        if is_interrupt(error):
            raise
        return None


def _may_be_ruled(registry: Registry, subclass: type, seen: set[Shape]) -> bool:
    """Whether values of a subclass can break rules. Of one that cannot be stored (yet) there are none."""
    try:
        return is_record_class(subclass) and registry.shape(subclass).ruled(seen)
    except Exception:  # whatever its annotations raise is no matter of the class that it descends from
        return False


def _descendants(cls: type) -> Iterator[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        if "__rapyer_plain__" not in child.__dict__:
            yield child
            yield from _descendants(child)


def register(registry: Registry) -> None:
    """All classes with fields."""
    registry.factory(lambda hint: is_record_class(origin_of(hint)), lambda hint, r: RecordShape(hint, r))
