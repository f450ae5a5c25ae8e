"""Mapper: one class to flat fields and back, and everything asked about its stored form as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from . import changes
from .changes import Diff
from .errors import DecodeError, DecodeLimitExceeded, LimitExceeded, RapyerError
from .framing import framed_object
from .generate import Compiled, Slowly, compile_class
from .interrupts import is_interrupt
from .lean import dataclass
from .paired import OWN
from .paths import Steps
from .shape import Fields, Shape
from .slot import Slot
from .stored import BAD, Stored
from .types.records import PLAIN, RecordShape

__all__ = ["FieldInfo", "Mapper"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """A field of a class. `stored`: its stored name; `former`: names under which older data may have it.

    `metadata`: what its Annotated carries, outermost first.
    """

    name: str
    stored: bytes
    hint: Any
    metadata: tuple[Any, ...]
    has_default: bool
    former: tuple[bytes, ...] = ()


class Mapper(Generic[T]):
    """The stored form of one class, under one registry. Made by `Registry.mapper`."""

    def __init__(self, shape: RecordShape) -> None:
        self.shape = shape
        self.cls: type[T] = shape.cls
        self.limits = shape.limits
        self._slots: dict[Steps, Slot] = {}
        self._ruled = (-1, False)

    def __repr__(self) -> str:
        return f"<Mapper of {self.cls.__name__}>"

    @cached_property
    def root(self) -> Slot:
        """The slot of the whole object."""
        return Slot.root(self.shape)

    @cached_property
    def fields(self) -> tuple[FieldInfo, ...]:
        """The fields of the class, in its order."""
        plans = zip(self.shape.parts, self.shape.plan.fields, strict=True)
        return tuple(
            FieldInfo(p.name, p.segment, plan.hint, p.metadata, p.default is not None, p.former) for p, plan in plans
        )

    def check(self) -> bool:
        """Raise UnsupportedType if a field, at any depth, has a type without a codec. Whether all names are there."""
        seen: set[Shape] = set()
        self.shape.check(seen)
        return all(shape.resolved for shape in seen)

    @cached_property
    def _compiled(self) -> Compiled:
        return compile_class(self.shape, Slowly(self._dump, self._load_slowly))

    def _compile(self) -> None:
        """Put the generated functions in the place of the methods that are called like them."""
        made = self._compiled
        vars(self).update(dump=made.dump, load=made.load, frame_common=made.frame, load_pairs=made.load_pairs)

    # -- whole objects ---------------------------------------------------------------------------------------

    def dump(self, obj: T) -> Fields:
        """All fields of an object; what lies in lists, dicts and sets comes last, as a rule.

        EncodeError names the path of what cannot be stored.
        """
        self._compile()
        return self.dump(obj)

    def _dump(self, obj: T) -> Fields:
        out: Fields = {}
        try:
            self.shape.write(obj, b"", out)
        except RapyerError as error:
            raise self.root.located(error) from None
        if len(out) > self.limits.fields:
            raise LimitExceeded(f"more than {self.limits.fields} fields", model=self.cls.__name__)
        longest = self.limits.name
        if any(len(name) > longest for name in out):
            raise LimitExceeded(f"a field name longer than {longest} bytes", model=self.cls.__name__)
        return out

    def load(self, fields: Mapping[bytes, bytes]) -> T:
        """The object of these fields; those that the class does not know are ignored.

        DecodeError has `path`, `target` and `raw` of the first bad field and all of them in `errors`.
        """
        self._compile()
        return self.load(fields)

    def _load_slowly(self, fields: Mapping[bytes, bytes]) -> T:
        try:
            loaded: T = self._compiled.load_some(fields)
        except Exception as error:
            # Uncommon, or wrong: the shapes know, and word the error.
            if is_interrupt(error):
                raise
        else:
            return loaded
        return self._load(fields)

    def _load(self, fields: Mapping[bytes, bytes]) -> T:
        self._check_count(fields)
        stored = Stored(fields)
        value = self.shape.build(PLAIN, b"", stored)
        if value is BAD:
            raise self._all_bad(stored.errors)
        loaded: T = value
        return loaded

    def _check_count(self, fields: Mapping[bytes, bytes]) -> None:
        if len(fields) > self.limits.readable + 1:
            raise DecodeLimitExceeded(f"more than {self.limits.readable} fields", model=self.cls.__name__)

    def load_partly(
        self, fields: Mapping[bytes, bytes], stand_ins: Mapping[str, Any]
    ) -> tuple[T, tuple[str, ...], tuple[DecodeError, ...]]:
        """An object of the fields that can be read, the names of those that cannot, and all errors.

        In place of a field that cannot be read there is its stand-in, else its default; without either the object
        has no such attribute, and its `__init__` did not run. `stand_ins`: field name -> value.

        Raises DecodeError for what is about the object as a whole.
        """
        self._check_count(fields)
        values: dict[str, Any] = {}
        bad: list[str] = []
        errors: list[DecodeError] = []
        complete = True
        for part in self.shape.parts:
            stored = Stored(fields)
            place = part.place(b"", stored)
            if part.may_be_left_out(part.default) and not part.shape.present(place, stored):
                continue
            value = part.shape.read(place, stored, part.default)
            if value is not BAD:
                values[part.name] = value
                continue
            bad.append(part.name)
            errors += stored.errors
            if part.name in stand_ins:
                values[part.name] = stand_ins[part.name]
            elif part.default is not None:
                values[part.name] = part.default()
            else:
                complete = False
        located = tuple(self.root.located(error) for error in errors)
        try:
            obj: Any = self.shape.plan.make(values) if complete else self.shape.plan.make_bare(values)
        except Exception as error:
            if is_interrupt(error):
                raise
            obj = BAD  # refused below, so that no context quotes a value
        if obj is BAD:
            raise self._all_bad([*errors, DecodeError("the class refused the stored values", field=b"")])
        return obj, tuple(bad), located

    def _all_bad(self, errors: list[DecodeError]) -> DecodeError:
        found = tuple(self.root.located(error) for error in errors)
        first = found[0]
        return type(first)(**{**vars(first), "errors": found})

    def extras(self, fields: Mapping[bytes, bytes]) -> Fields:
        """The stored fields that the class does not know."""
        return {name: fields[name] for name in changes.unknown(self.shape, fields)}

    def default_fields(self) -> Fields:
        """The stored form of the defaults of all fields that have one."""
        out: Fields = {}
        for part in self.root.parts():
            out.update(part.default_fields() or {})
        return out

    # -- on the wire -----------------------------------------------------------------------------------------

    def frame_common(self, obj: T, front: str) -> bytes:
        """As `frame`. Any exception: ask `frame`."""
        self._compile()
        return self.frame_common(obj, front)

    def load_pairs(self, pairs: Sequence[bytes]) -> T:
        """The object of flat pairs of names and texts, the first of them of the layer above. Any exception: have it
        loaded from a dict of them.
        """
        self._compile()
        return self.load_pairs(pairs)

    def frame(self, obj: T, front: str) -> bytes:
        """All fields of an object as `dump` gives them, framed (see framing.py). `front`: what is in front of them.

        EncodeError as of `dump`.
        """
        try:
            return self.frame_common(obj, front)
        except Exception as error:
            # Uncommon, or wrong: the shapes know, and word the error.
            if is_interrupt(error):
                raise
        return framed_object(front, self._dump(obj))

    def place_in_pairs(self, name: bytes) -> int | None:
        """Where the text of a field of the class is in pairs that `load_pairs` takes; None: anywhere."""
        fixed = self._compiled.fixed
        return OWN + 1 + 2 * fixed.index(name) if name in fixed else None

    # -- places ----------------------------------------------------------------------------------------------

    def slot(self, steps: Steps) -> Slot:
        """The place at a path. PathError if the class has none, saying what there is."""
        found = self._slots.get(steps)
        if found is None:
            found = self.root
            for step in steps:
                found = found.child(step)
            if all(isinstance(step, str) for step in steps):
                self._slots[steps] = found  # only these: there is no end of keys
        return found

    def parse(self, text: str) -> Steps:
        """The path of a stored name: `stats.wins`, `squad.2.hp`, `metadata.a%2Eb`. PathError if there is no
        such place.
        """
        slot = self.root
        for segment in text.encode("utf-8", "surrogatepass").split(b"."):
            try:
                slot = slot.child(slot.shape.step(segment))
            except RapyerError as error:
                error.model, error.path = self.cls.__name__, text
                raise error from None
        return slot.steps

    def static_slots(self) -> tuple[Slot, ...]:
        """Every place reached by attributes alone, outer before inner, nested records and what is in them
        included.
        """
        return self._static

    @cached_property
    def _static(self) -> tuple[Slot, ...]:
        found: list[Slot] = []

        def add(slot: Slot) -> None:
            found.append(slot)
            if isinstance(slot.shape, RecordShape) and not slot.shape.plan.subscript:
                for part in slot.parts():
                    add(part)

        for part in self.root.parts():
            add(part)
        return tuple(found)

    # -- rules -----------------------------------------------------------------------------------------------

    @property
    def ruled(self) -> bool:
        """Whether an object can break a rule. Found out again when there are new classes: a subclass may bring one."""
        if self._ruled[0] != RecordShape.read_classes:
            ruled = self.shape.ruled()
            self._ruled = RecordShape.read_classes, ruled
        return self._ruled[1]

    # -- changes ---------------------------------------------------------------------------------------------

    def diff(self, before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> Diff:
        """What to write so that an object loaded with the fields `before` has those of `after`, its dump of
        now.
        """
        return changes.diff(self.shape, before, after)

    def edit(
        self, slot: Slot, current: Mapping[bytes, bytes], after: Mapping[bytes, bytes]
    ) -> tuple[Fields, list[bytes]]:
        """What to put and drop so that `slot` has the fields `after` (none: it is removed) in an object that
        has `current`.
        """
        return changes.edit(self.shape, slot, current, after)
