"""Field paths and what is built from them: conditions and sort orders. Pure values; nothing here reads or sends.

``Player.stats.wins`` on a model class is a :class:`Path`. To a type checker it is the field itself (an ``int``),
so the functions below are typed by what the field holds. Paths have no public attributes: any name is a field.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Container
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from rapyer_codecs import Item, PathError, Slot, Steps
from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import kind_of_value
from rapyer_core.places import value_shape

if TYPE_CHECKING:
    from rapyer_core.models import Model

T = TypeVar("T")
V = TypeVar("V")

MODEL = "__rapyer_model__"
"""Where a model class keeps its Model."""


class Path:
    """A place in a model: attribute access and subscripts lead deeper, comparisons make conditions."""

    __slots__ = ("__model", "__steps")
    __iter__ = None
    __len__ = None

    def __init__(self, model: Model[Any], steps: Steps) -> None:
        object.__setattr__(self, "_Path__model", model)
        object.__setattr__(self, "_Path__steps", steps)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            return object.__getattribute__(self, name)
        return _child(self, name)

    def __getitem__(self, key: Any) -> Any:
        return _child(self, Item(key))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError(f"{self!r}.{name} is a field path and cannot be assigned: use assign(obj, path, value)")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError(f"{self!r}.{name} is a field path and cannot be deleted")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"'in' cannot make a condition: use contains({self!r}, ...)")

    def __repr__(self) -> str:
        model, steps = parts_of(self)
        return f"{model.cls.__name__}{_text(steps)}"

    def __reduce__(self) -> Any:
        model, steps = parts_of(self)
        return _restore, (model.cls, steps)

    def __hash__(self) -> int:
        model, steps = parts_of(self)
        return hash((model.cls, steps))

    def __bool__(self) -> NoReturn:
        raise TypeError(f"the truth of {self!r} is only known on an object; combine conditions with & | ~")

    def __eq__(self, other: object) -> Any:
        return Comparison(self, "==", other)

    def __ne__(self, other: object) -> Any:
        return Comparison(self, "!=", other)

    def __lt__(self, other: Any) -> Any:
        return Comparison(self, "<", other)

    def __le__(self, other: Any) -> Any:
        return Comparison(self, "<=", other)

    def __gt__(self, other: Any) -> Any:
        return Comparison(self, ">", other)

    def __ge__(self, other: Any) -> Any:
        return Comparison(self, ">=", other)

    def __and__(self, other: Any) -> Any:
        return as_condition(self) & other

    def __or__(self, other: Any) -> Any:
        return as_condition(self) | other

    def __invert__(self) -> Any:
        return ~as_condition(self)


owner_of: Callable[[Path], Model[Any]] = cast(Any, Path.__dict__["_Path__model"]).__get__
"""The model a path belongs to."""

steps_of: Callable[[Path], Steps] = cast(Any, Path.__dict__["_Path__steps"]).__get__
"""The steps of a path."""


def parts_of(path: Path) -> tuple[Model[Any], Steps]:
    """The model a path belongs to and its steps."""
    return owner_of(path), steps_of(path)


def _child(path: Path, step: str | Item) -> Path:
    model, steps = parts_of(path)
    deeper = (*steps, step)
    model.mapper.slot(deeper)
    return Path(model, deeper)


def _restore(cls: type[Any], steps: Steps) -> Path:
    return Path(type.__getattribute__(cls, "__dict__")[MODEL], steps)


def _text(steps: Steps) -> str:
    return "".join(f"[{step.key!r}]" if isinstance(step, Item) else f".{step}" for step in steps)


def slot_of(path: Path) -> Slot:
    """The engine's description of the place a path names."""
    model, steps = parts_of(path)
    return model.mapper.slot(steps)


class Missing:
    """The value of a path that does not exist in an object (a dict key that is not there, a None on the way)."""


MISSING = Missing()


def value_at(obj: object, steps: Steps) -> Any:
    """What the object holds at the steps, or :data:`MISSING`."""
    value: Any = obj
    for step in steps:
        try:
            value = value[step.key] if isinstance(step, Item) else getattr(value, step)
        except (AttributeError, LookupError, TypeError):
            return MISSING
    return value


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Condition:
    """Something that an object fulfils or not. Combine with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def matches(self, obj: object) -> bool:
        """Whether the object fulfils it."""
        raise NotImplementedError

    def paths(self) -> tuple[Path, ...]:
        """The paths it looks at."""
        raise NotImplementedError

    def __and__(self, other: Any) -> All:
        return All((self, as_condition(other)))

    def __or__(self, other: Any) -> AnyOf:
        return AnyOf((self, as_condition(other)))

    def __invert__(self) -> Not:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"the truth of the condition {self!r} is only known on an object: combine conditions with & | ~ "
            "(not with 'and', 'or', 'not'), and write a < x < b as (a < x) & (x < b)"
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Condition):
    """A path compared with a value, with Python's own result; an absent value fulfils only ``!=``."""

    path: Path
    op: str
    value: Any

    def __post_init__(self) -> None:
        if isinstance(self.value, Path | Condition):
            raise TypeError(f"{self.path!r} can be compared with a value, not with {self.value!r}")

    def matches(self, obj: object) -> bool:
        """Compare; an order between values that have none (None < 3) is False."""
        found = value_at(obj, steps_of(self.path))
        if found is MISSING:
            return self.op == "!="
        try:
            return bool(_OPERATORS[self.op](found, self.value))
        except TypeError:
            return False

    def paths(self) -> tuple[Path, ...]:
        """The one path."""
        return (self.path,)

    def __repr__(self) -> str:
        return f"{self.path!r} {self.op} …"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Test(Condition):
    """A path tested by a function of its value (:data:`MISSING` included)."""

    path: Path
    name: str
    test: Callable[[Any], bool]

    def matches(self, obj: object) -> bool:
        """Apply the test."""
        return self.test(value_at(obj, steps_of(self.path)))

    def paths(self) -> tuple[Path, ...]:
        """The one path."""
        return (self.path,)

    def __repr__(self) -> str:
        return f"{self.name}({self.path!r})"


class _Group(Condition):
    __slots__ = ("parts",)
    word = ""

    def __init__(self, parts: tuple[Condition, ...]) -> None:
        self.parts = parts

    def paths(self) -> tuple[Path, ...]:
        """The paths of all parts."""
        return tuple(path for part in self.parts for path in part.paths())

    def __repr__(self) -> str:
        return "(" + f" {self.word} ".join(map(repr, self.parts)) + ")"


class All(_Group):
    """Every part is fulfilled."""

    __slots__ = ()
    word = "&"

    # One group however long the chain: nested ones would end at the depth of recursion.
    def __and__(self, other: Any) -> All:
        return All((*self.parts, as_condition(other)))

    def matches(self, obj: object) -> bool:
        """Whether all parts hold."""
        return all(part.matches(obj) for part in self.parts)


class AnyOf(_Group):
    """At least one part is fulfilled."""

    __slots__ = ()
    word = "|"

    def __or__(self, other: Any) -> AnyOf:
        return AnyOf((*self.parts, as_condition(other)))

    def matches(self, obj: object) -> bool:
        """Whether one part holds."""
        return any(part.matches(obj) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Not(Condition):
    """The part is not fulfilled."""

    part: Condition

    def matches(self, obj: object) -> bool:
        """Whether the part does not hold."""
        return not self.part.matches(obj)

    def paths(self) -> tuple[Path, ...]:
        """The paths of the part."""
        return self.part.paths()

    def __repr__(self) -> str:
        return f"~{self.part!r}"


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by a path. None and absent values come last, in either direction."""

    path: Path
    descending: bool = False


def as_condition(value: Any) -> Condition:
    """A condition, or a bool field's path as one; anything else is a TypeError."""
    if isinstance(value, Condition):
        return value
    if isinstance(value, Path):
        if slot_of(value).shape.type is not bool:
            raise TypeError(f"{value!r} is not a condition: compare it, as in {value!r} == value")
        return Test(value, "", lambda found: found is True)
    raise TypeError(
        f"a condition is expected, not {type(value).__name__}: compare a field path of the class, "
        "as in Player.score > 100 (an instance's attribute compared gives a plain bool)"
    )


def as_path(value: Any, what: str = "a field path") -> Path:
    """The value, if it is a path; else a TypeError."""
    if isinstance(value, Path):
        return value
    raise PathError(
        reason=f"{what} is expected, such as Player.score or paths(Player).score, not {type(value).__name__}"
    )


def as_order(value: Any) -> Order:
    """An order, or a path as ascending order."""
    return value if isinstance(value, Order) else Order(as_path(value, "a field path, asc() or desc()"))


def not_(condition: bool) -> bool:
    """The opposite of a condition, typed as one; the same as ``~condition``."""
    return cast(bool, ~as_condition(condition))


def in_(path: V, values: Container[V]) -> bool:
    """Whether the field's value is one of these, such as a list or set of them."""
    found = as_path(path)
    # A text has texts in it, too; an iterator would be used up by the first object.
    if isinstance(values, str | bytes | Path) or not isinstance(values, Container):
        raise TypeError(f"in_ takes several values, such as a list or set, not {kind_of_value(values)}")

    return cast(bool, Test(found, "in_", lambda value: value is not MISSING and _is_in(value, values)))


def _is_in(item: Any, held: Container[Any]) -> bool:
    try:
        return item in held
    except TypeError:
        return False  # nothing of its type can be in there


def contains(path: Collection[V], value: V) -> bool:
    """Whether a list, set or dict field holds this item (a dict: this key), or a str field this text."""
    found = as_path(path)
    shape = value_shape(slot_of(found))
    if isinstance(shape.type, type) and not any(hasattr(shape.type, name) for name in _HOLDS):
        raise PathError(
            reason=f"contains is for lists, sets, dicts and texts: {found!r} holds one {shape.type.__name__}"
        )

    def test(held: Any) -> bool:
        return held is not MISSING and held is not None and _is_in(value, held)

    return cast(bool, Test(found, "contains", test))


_HOLDS = ("__contains__", "__iter__", "__getitem__")
"""What ``in`` asks."""


def is_none(path: Any) -> bool:
    """Whether an Optional field is None."""
    return cast(bool, Test(as_path(path), "is_none", lambda value: value is None))


def some(path: V | None) -> V:
    """The path of an Optional field, typed as its value, so that it can be compared and led deeper."""
    return cast(V, as_path(path))


def asc(path: Any) -> Any:
    """Sort by this path, lowest first."""
    return Order(as_path(path))


def desc(path: Any) -> Any:
    """Sort by this path, highest first."""
    return Order(as_path(path), descending=True)
