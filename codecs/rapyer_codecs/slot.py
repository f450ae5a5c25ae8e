"""Slot: one place in a class, found by a path. Reads and writes that place alone; the whole object is the
Mapper's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .errors import ConstraintError, DecodeError, EncodeError, LimitExceeded, MissingEntry, PathError, RapyerError
from .names import join
from .paths import Item, Step, Steps, render
from .rules import Rule
from .shape import Child, Default, Fields, Leaf, Shape
from .stored import BAD, Stored
from .types.mappings import DictShape
from .types.records import RecordShape, part_default
from .types.sets import SetShape
from .types.unions import UnionShape

__all__ = ["Slot"]

E = TypeVar("E", bound=RapyerError)

_KEPT = 512
"""Places below one place that are kept for the next time."""


class Slot:
    """One place in a class.

    `steps`: the path. `name`: where it is stored. `shape`: what is stored there. `metadata`: the extras of
    its Annotated. `parent`: the place that holds it, None for the object itself. `former`: full names
    under which older data may be. `sure`: it exists whenever the object does: no Optional, index or key on
    the way to it. `renamed`: it, or what it lies in, has a former name. `is_field`: it is one stored field,
    whatever its value. `is_counter`: its text is an int in decimal, so that a server can count it.
    `stands_alone`: it is one field, and means something without what is beside it: a field of the object,
    or an entry of a dict. `in_ruled`: something that it lies in has a rule of its own, so that a change of it
    is right or wrong by what is beside it. `may_break`: its values may break a rule; not for sure, but if
    not, never. `attribute`: the only step to it, if it is a field of the object. `lists`: the names of the
    lists that it lies in, the innermost first. `entries`: the places of entries that are known already, some
    of them. `view`: what the layer above keeps for this place, as long as there is the place; None to begin
    with.
    """

    __slots__ = (
        "_children",
        "_empty",
        "attribute",
        "child_of",
        "entries",
        "former",
        "in_ruled",
        "is_counter",
        "is_field",
        "lists",
        "may_break",
        "metadata",
        "model",
        "name",
        "parent",
        "renamed",
        "shape",
        "stands_alone",
        "steps",
        "sure",
        "view",
    )

    def __init__(self, model: str, shape: Shape, steps: Steps, name: bytes, parent: Slot | None, child: Child) -> None:
        self.model = model
        self.shape = shape
        self.steps = steps
        self.name = name
        self.parent = parent
        self.child_of = child
        self.metadata = child.metadata
        holder = parent.name if parent is not None else b""
        self.former = tuple(join(holder, segment) for segment in child.former)
        self.sure: bool = parent is None or (parent.sure and isinstance(parent.shape, RecordShape) and child.required)
        self.renamed: bool = bool(self.former) or (parent is not None and parent.renamed)
        self.is_field: bool = shape.kind == "leaf" or (
            isinstance(shape, UnionShape) and all(member.kind == "leaf" for member in shape.members)
        )
        self.is_counter: bool = shape.type is int and getattr(shape, "natural", None) == "int"
        self.stands_alone: bool = (
            self.is_field
            and not self.renamed
            and (self.sure or (parent is not None and parent.sure and parent.shape.kind == "dict"))
        )
        self.in_ruled: bool = parent is not None and (parent.in_ruled or parent.shape.own_rules())
        self.may_break: bool = not self.is_field or self.in_ruled or shape.own_rules() or self._key_is_ruled()
        self.attribute: str | None = steps[0] if len(steps) == 1 and isinstance(steps[0], str) else None
        self.lists: tuple[bytes, ...] = parent._lists_to_here() if parent is not None else ()
        self.view: Any = None
        self._children: dict[str, Slot] = {}
        self._empty: Fields | bool | None = None
        self.entries: dict[str | int, Slot] = {}

    @classmethod
    def root(cls, shape: RecordShape) -> Slot:
        """The place of a whole object."""
        return cls(shape.cls.__name__, shape, (), b"", None, Child(b"", shape))

    def __repr__(self) -> str:
        return f"<Slot {self.model}.{self.text}: {self.shape.tag}>"

    @property
    def text(self) -> str:
        """The path for messages: `stats.wins`, `metadata["k"]`, `squad[2].hp`."""
        return render(self.steps)

    def child(self, step: Step) -> Slot:
        """The place one step below. PathError if the type has none."""
        if type(step) is str:
            known = self._children.get(step)
            return self._new_child(step) if known is None else known
        return self.entry(step.key) if isinstance(step, Item) else self._new_child(step)

    def entry(self, key: Any) -> Slot:
        """The place of an entry: the same as `child(Item(key))`."""
        # Exactly these are kept: 1, True and 1.0 are equal, and are not the same key.
        known = self.entries.get(key) if type(key) in (str, int) else None
        return self._new_child(Item(key)) if known is None else known

    def _new_child(self, step: Step) -> Slot:
        try:
            child = self.shape.child(step)
        except RapyerError as error:
            raise self.located(error, (*self.steps, step)) from None
        made = Slot(self.model, child.shape, (*self.steps, step), join(self.name, child.segment), self, child)
        if not isinstance(step, Item):
            self._children[step] = made
        elif isinstance(step.key, str | int) and type(step.key) in (str, int):
            if len(self.entries) >= _KEPT:
                self.entries.clear()  # there is no end of keys
            self.entries[step.key] = made
        return made

    def entry_name(self, entry: Any) -> bytes:
        """The name at which a key, member or index of this dict, set or list is stored."""
        shape = self.shape.inner if isinstance(self.shape, UnionShape) and self.shape.inner else self.shape
        try:
            if isinstance(shape, (DictShape, SetShape)):
                return join(self.name, shape.key.segment(entry))
            return join(self.name, shape.child(Item(entry)).segment)
        except RapyerError as error:
            raise self.located(error) from None

    def _lists_to_here(self) -> tuple[bytes, ...]:
        shape = self.shape.inner if isinstance(self.shape, UnionShape) and self.shape.inner else self.shape
        return (self.name, *self.lists) if shape.kind == "list" else self.lists

    def under(self, name: bytes) -> bool:
        """Whether a name is this place's or lies below it."""
        return name == self.name or name.startswith(self.name + b".") or not self.name

    # -- stored fields ---------------------------------------------------------------------------------------

    def dump(self, value: Any) -> Fields:
        """All fields of a value at this place. EncodeError if the value is not one of its type."""
        out: Fields = {}
        try:
            self.shape.write(value, self.name, out)
        except RapyerError as error:
            raise self.located(error) from None
        return out

    def load(self, fields: Mapping[bytes, bytes]) -> Any:
        """The value stored at this place, or its default if none ever was.

        `fields`: of the whole object, or those on the way to this place and below it. DecodeError if they
        are not a value; MissingEntry if this object does not have the place.
        """
        stored = Stored(fields)
        name = self._stored_at(stored)
        default = self._default(stored)
        if default is None and not self.sure and not self.shape.present(name, stored):
            raise self.located(MissingEntry("is not there"))
        value = self.shape.read(name, stored, default)
        if value is BAD:
            raise self.located(stored.errors[0])
        return value

    def present(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether a value is stored at this place."""
        stored = Stored(fields)
        try:
            return self.shape.present(self._stored_at(stored), stored)
        except MissingEntry:
            return False

    @property
    def empty(self) -> Fields | None:
        """Of a dict or set that is there whenever the object is, and starts empty: its own field, which is a constant.
        None for any other place.
        """
        found = self._empty
        if found is None:
            found = self._empty = self._when_empty() or False
        return found or None  # type: ignore[return-value]  # False: it was found that there is none

    def _when_empty(self) -> Fields | None:
        if self.shape.kind not in ("dict", "set") or not self.sure or self.renamed:
            return None
        default = self.default_fields()
        return self.dump(getattr(self.shape, "cls", dict)()) if default is None or len(default) == 1 else None

    def default_fields(self) -> Fields | None:
        """The stored form of this place's default, that of the places which hold it considered; None if it
        has none.
        """
        default = self._default(Stored({}))
        if default is not None:
            return self.dump(default())
        return self._default_of_parts() if self.sure and isinstance(self.shape, RecordShape) else None

    def _default_of_parts(self) -> Fields | None:
        out: Fields = {}
        for part in self.parts():
            fields = part.default_fields()
            if fields is None and part.child_of.required:
                return None
            out.update(fields or {})
        return out

    def parts(self) -> Iterator[Slot]:
        assert isinstance(self.shape, RecordShape)
        for part in self.shape.parts:
            yield self.child(Item(part.name) if self.shape.plan.subscript else part.name)

    def _default(self, stored: Stored) -> Default:
        """Makes the default of this place, for an object with these fields: from what holds it, else its own."""
        if self.parent is None:
            return None
        held = self.parent._default(stored)
        holder = self.parent.shape
        if isinstance(holder, UnionShape):
            holder = holder.chosen(stored.get(self.parent.name)).shape or holder
        if isinstance(holder, RecordShape):
            part = next((part for part in holder.parts if part.segment == self.child_of.segment), None)
            return None if part is None else part_default(held, part, holder)
        if held is None or stored.get(self.parent.name) is not None:
            return None
        try:
            value = _go(held(), self.steps[-1])
        except (LookupError, AttributeError, TypeError):
            return None
        return lambda: value

    def _stored_at(self, stored: Stored) -> bytes:
        """The name that the value is stored at; MissingEntry if what is stored has no such place."""
        if self.parent is None:
            return self.name
        holder = self.parent._stored_at(stored)
        head = stored.get(holder)
        # Without the own field of what holds it (the caller gave only the fields below), its presence
        # decides.
        if head is not None and self.parent.shape.below(self.child_of.segment, head) is None:
            raise self.located(MissingEntry("is not there"))
        if self.parent.is_entry and not self.parent.shape.present(holder, stored):
            raise self.located(MissingEntry("is not there"))
        return self.child_of.place(holder, stored)

    @property
    def is_entry(self) -> bool:
        """Whether it is the value of a key: it is there if a field of it is."""
        return self.parent is not None and isinstance(self.parent.shape, DictShape)

    # -- plain Python objects --------------------------------------------------------------------------------

    def get(self, root: Any) -> Any:
        """The value at this place of an object; Python's own errors if it is not there."""
        value = root
        for step in self.steps:
            value = _go(value, step)
        return value

    def put(self, root: Any, value: Any) -> None:
        """Set the value at this place of an object, of a frozen one too."""
        if self.parent is None:
            raise PathError("the object itself cannot be replaced", model=self.model)
        holder = self.parent.get(root)
        step = self.steps[-1]
        if isinstance(holder, tuple):
            self.parent.put(root, _replaced(holder, step, value))
        elif isinstance(step, Item):
            holder[step.key] = value
        else:
            object.__setattr__(holder, step, value)

    # -- one field -------------------------------------------------------------------------------------------

    def encode(self, value: Any) -> bytes:
        """The text of the own field, for a leaf or a union of leaves."""
        shape = self.shape
        try:
            return shape.encode(value, self.name) if isinstance(shape, Leaf) else shape.head(value, self.name)
        except RapyerError as error:
            raise self.located(error) from None

    def decode(self, raw: bytes) -> Any:
        """The value of a text of the own field, for a leaf or a union of leaves."""
        if isinstance(self.shape, Leaf):
            try:
                return self.shape.decode(raw, self.name)
            except DecodeError as error:
                raise self.located(error) from None
        stored = Stored({self.name: raw})
        value = self.shape.build(raw, self.name, stored)
        if value is BAD:
            raise self.located(stored.errors[0])
        return value

    # -- rules -----------------------------------------------------------------------------------------------

    def check(self, value: Any) -> None:
        """Raise ConstraintError if a value that can be stored here, or something in it, or its key, breaks a rule."""
        if not self.may_break:
            return
        for name, rule in self.shape.broken(value, self.name):
            raise self.breach(name, rule)
        key = self._key_shape()
        if key is not None:
            for _, rule in key.broken(self._last_key(), self.name):
                raise self.breach(self.name, rule)

    def check_itself(self, value: Any) -> None:
        """The same for the value as a whole, without what is in it."""
        for rule in self.shape.rules_for(value) if value is not None else ():
            if not rule.holds(value):
                raise self.breach(self.name, rule)

    def check_parts(self, value: Any) -> None:
        """The same for what is in the value, without the value as a whole."""
        for shape, inner, at in self.shape.held(value, self.name):
            for name, rule in shape.broken(inner, at):
                raise self.breach(name, rule)

    def _key_shape(self) -> Shape | None:
        holder = self.parent.shape if self.parent is not None else None
        if isinstance(holder, UnionShape):
            holder = holder.inner
        return holder.key.shape if isinstance(holder, DictShape) else None

    def _key_is_ruled(self) -> bool:
        key = self._key_shape()
        return key is not None and key.ruled()

    def _last_key(self) -> Any:
        step = self.steps[-1]
        return step.key if isinstance(step, Item) else step

    def breach(self, name: bytes, rule: Rule) -> ConstraintError:
        """The error for a broken rule at a stored name here or below."""
        return self.located(ConstraintError(f"must be {rule.text} ({rule.name})", field=name))

    # -- errors ----------------------------------------------------------------------------------------------

    def located(self, error: E, steps: Steps | None = None) -> E:
        """The error with the model and the path of the place it is about."""
        if error.path is not None:
            return error  # known where it was raised: a type without a codec
        error.model = self.model
        if steps is not None:
            error.path = render(steps)
        elif error.field is not None and error.field != self.name and self.under(error.field):
            error.path = render(self.steps_below(error.field))
        else:
            error.path = self.text or None
        return error

    def steps_below(self, name: bytes) -> Steps:
        """The path of a stored name below this place, as far as the class knows it."""
        slot = self
        rest = name[len(self.name) :].lstrip(b".")
        for segment in rest.split(b".") if rest else ():
            try:
                slot = slot.child(slot.shape.step(segment))
            except (PathError, EncodeError, LimitExceeded):
                if isinstance(slot.shape, SetShape):
                    return slot.steps  # a member is a value, and no place
                return (*slot.steps, Item(segment.decode("utf-8", "replace")))
        return slot.steps


def _replaced(holder: Any, step: Step, value: Any) -> Any:
    """A tuple with one element changed."""
    if isinstance(step, str):
        return holder._replace(**{step: value})
    position: Any = step.key
    return (*holder[:position], value, *holder[position + 1 :])


def _go(value: Any, step: Step) -> Any:
    return value[step.key] if isinstance(step, Item) else getattr(value, step)
