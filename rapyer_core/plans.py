"""Plans: what the engine makes of a model's class: its mapper, its Key field, its Index fields. Pure values.

A plan is of one moment. A codec that is registered later makes the next one, and all parts of a plan change together:
whoever holds one works with the forms it had at the start, to the end.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Generic, TypeVar

from rapyer_codecs import DecodeError, Mapper, Registry, Slot, UnsupportedType
from rapyer_codecs.lean import dataclass
from rapyer_core.markers import IndexMarker, KeyMarker
from rapyer_core.places import value_shape

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IndexField:
    """One indexed field: where it is, and the name its sorted index has."""

    slot: Slot

    @property
    def name(self) -> str:
        """The field's stored name."""
        return self.slot.name.decode()

    def score(self, fields: dict[bytes, bytes]) -> float | None:
        """The score of an object with these stored fields. None: it is not in the index (None, nan, not there)."""
        if not self.slot.present(fields):
            fields = self.slot.default_fields() or {}
            if not fields:
                return None
        return self.score_of(self.slot.load(fields))

    def may_hold(self, fields: dict[bytes, bytes]) -> bool:
        """Whether an object with these stored fields may be in the index: also if its value cannot be read."""
        try:
            return self.score(fields) is not None
        except DecodeError:
            return True

    @staticmethod
    def score_of(value: Any) -> float | None:
        """The score of a value: the nearest double. None: it has none."""
        if value is None or value != value:
            return None
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")


class Plan(Generic[T]):
    """The stored form of a model's class, as a registry has it now."""

    def __init__(self, cls: type[T], name: str, registry: Registry) -> None:
        self.cls = cls
        self.name = name
        self.registry = registry
        self._as_of = Registry.latest
        self.version = registry.version
        self.mapper: Mapper[T] = registry.mapper(cls)

    @property
    def is_current(self) -> bool:
        """Whether nothing was registered since."""
        latest = Registry.latest
        if self._as_of is latest:
            return True
        if self.version != self.registry.version:
            return False
        # What was registered since is none of ours.
        self._as_of = latest
        return True

    def check(self) -> None:
        """Raise what is wrong with the fields' roles: more than one Key, a type that none or no Index can be of."""
        _ = self.key_slot, self.indexes

    @cached_property
    def key_slot(self) -> Slot | None:
        """The Key field, if the class has one."""
        slots = (self.mapper.slot((field.name,)) for field in self.mapper.fields)
        marked = [slot for slot in slots if _marked(slot, KeyMarker)]
        if len(marked) > 1:
            names = ", ".join(slot.text for slot in marked)
            raise TypeError(f"{self.cls.__qualname__} has more than one Key field ({names}); mark one of them")
        for slot in marked:
            if slot.shape.kind != "leaf":
                raise UnsupportedType(
                    model=self.name, path=slot.text, target=str(slot.shape.type), reason="a Key holds one plain value"
                )
        return marked[0] if marked else None

    @cached_property
    def indexes(self) -> tuple[IndexField, ...]:
        """The Index fields, nested ones included."""
        found = tuple(IndexField(slot) for slot in self.mapper.static_slots() if _marked(slot, IndexMarker))
        for index in found:
            shape = value_shape(index.slot)
            if shape.type not in (int, float):
                raise UnsupportedType(
                    model=self.name,
                    path=index.slot.text,
                    target=str(index.slot.shape.type),
                    reason="an Index holds an int or a float",
                )
        return found

    def index(self, steps: tuple[Any, ...]) -> IndexField | None:
        """The index of the field at the steps, if it has one."""
        return next((index for index in self.indexes if index.slot.steps == steps), None)


def _marked(slot: Slot, marker: type) -> bool:
    return any(isinstance(extra, marker) for extra in slot.metadata)
