"""Constraints in Annotated as rules: which are known, what they refuse, and on which types."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Optional

import msgspec
import pydantic
import pytest
from annotated_types import (
    Ge,
    Gt,
    Interval,
    IsFinite,
    Le,
    Len,
    LowerCase,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
    Predicate,
    Timezone,
    Unit,
)

from rapyer_codecs import Codec, ConstraintError, Packed, Registry, UnsupportedType, default_registry


def is_even(value: int) -> bool:
    return value % 2 == 0


def never(value: Any) -> bool:
    raise RuntimeError("a predicate that cannot be asked")


@dataclass
class Point:
    x: Annotated[int, Ge(0)] = 0


def broken(hint: Any, value: Any, registry: Registry = default_registry) -> str | None:
    """What the engine says of a value in a field `f` of this type; None: it keeps all rules."""
    cls: Any = make_dataclass("Model", [("f", hint)])
    mapper = registry.mapper(cls)
    obj = cls(value)
    mapper.dump(obj)
    try:
        mapper.root.check(obj)
    except ConstraintError as error:
        return str(error)
    return None


MIXED = Annotated[int | str, Ge(0)]


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (Annotated[int, Ge(0)], -1, "Model.f: must be >= 0 (Ge)"),
        (Annotated[int, Ge(0)], 0, None),
        (Annotated[int, Gt(0)], 0, "Model.f: must be > 0 (Gt)"),
        (Annotated[int, Lt(5)], 5, "Model.f: must be < 5 (Lt)"),
        (Annotated[int, Le(5)], 6, "Model.f: must be <= 5 (Le)"),
        (Annotated[int, Le(5)], 10**30, "Model.f: must be <= 5 (Le)"),
        (Annotated[int, Interval(gt=0, le=3)], 4, "Model.f: must be <= 3 (Le)"),
        (Annotated[int, Interval(gt=0, le=3)], 3, None),
        (Annotated[Annotated[int, Ge(0)], Le(3)], 4, "Model.f: must be <= 3 (Le)"),
        (Annotated[int, MultipleOf(5)], 7, "Model.f: must be a multiple of 5 (MultipleOf)"),
        (Annotated[float, MultipleOf(0.1)], 0.7, None),
        (Annotated[float, MultipleOf(0.1)], 0.75, "Model.f: must be a multiple of 0.1 (MultipleOf)"),
        (Annotated[float, MultipleOf(0.1)], float("inf"), "Model.f: must be a multiple of 0.1 (MultipleOf)"),
        (Annotated[Decimal, MultipleOf(Decimal("0.01"))], Decimal("1.10"), None),
        (Annotated[float, Ge(0)], float("nan"), "Model.f: must be >= 0 (Ge)"),
        (Annotated[Decimal, Ge(0)], Decimal("NaN"), "Model.f: must be >= 0 (Ge)"),
        (Annotated[Fraction, Lt(1)], Fraction(3, 2), "Model.f: must be < 1 (Lt)"),
        (Annotated[str, Len(1, 3)], "abcd", "Model.f: must be at most 3 long (MaxLen)"),
        (Annotated[str, Len(1, 3)], "", "Model.f: must be at least 1 long (MinLen)"),
        (Annotated[str, Ge("m")], "a", "Model.f: must be >= 'm' (Ge)"),
        (Annotated[bytes, MaxLen(1)], b"ab", "Model.f: must be at most 1 long (MaxLen)"),
        (Annotated[int, Predicate(is_even)], 3, "Model.f: must be one that is_even() is true for (Predicate)"),
        (Annotated[int, Predicate(is_even)], 4, None),
        (Annotated[int, Predicate(never)], 4, "Model.f: must be one that never() is true for (Predicate)"),
        (LowerCase[str], "A", "Model.f: must be one that islower() is true for (Predicate)"),
        (IsFinite[float], float("inf"), "Model.f: must be one that isfinite() is true for (Predicate)"),
        (Annotated[date, Ge(date(2024, 1, 1))], date(2023, 1, 1), "Model.f: must be >= datetime.date(2024, 1, 1) (Ge)"),
        (Annotated[datetime, Timezone(...)], datetime(2024, 1, 1), "Model.f: must be with a time zone (Timezone)"),
        (Annotated[datetime, Timezone(None)], datetime(2024, 1, 1), None),
        (Annotated[datetime, Timezone("UTC")], datetime(2024, 1, 1, tzinfo=UTC), None),
        (
            Annotated[datetime, Timezone(UTC)],
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            "Model.f: must be in the time zone UTC (Timezone)",
        ),
        (Annotated[time, Lt(time(12))], time(13), "Model.f: must be < datetime.time(12, 0) (Lt)"),
        # None is no value: it keeps every rule, wherever the rule is written.
        (Annotated[int | None, Ge(0)], None, None),
        (Annotated[int | None, Ge(0)], -1, "Model.f: must be >= 0 (Ge)"),
        (Optional[Annotated[int, Ge(0)]], -1, "Model.f: must be >= 0 (Ge)"),  # noqa: UP045  # both spellings
        (Optional[Annotated[int, Ge(0)]], None, None),  # noqa: UP045
        (MIXED, -1, "Model.f: must be >= 0 (Ge)"),
        (MIXED, "text", None),
        (int | Annotated[str, MinLen(1)], "", "Model.f: must be at least 1 long (MinLen)"),
        # containers: themselves, and what is in them
        (Annotated[list[int], MaxLen(1)], [1, 2], "Model.f: must be at most 1 long (MaxLen)"),
        (list[Annotated[int, Ge(0)]], [1, -2], "Model.f[1]: must be >= 0 (Ge)"),
        (deque[Annotated[int, Ge(0)]], deque([-2]), "Model.f[0]: must be >= 0 (Ge)"),
        (tuple[Annotated[int, Ge(0)], int], (-2, 0), "Model.f[0]: must be >= 0 (Ge)"),
        (dict[str, Annotated[int, Ge(0)]], {"a": -1}, 'Model.f["a"]: must be >= 0 (Ge)'),
        (dict[Annotated[str, MinLen(2)], int], {"a": 1}, 'Model.f["a"]: must be at least 2 long (MinLen)'),
        (OrderedDict[str, Annotated[int, Ge(0)]], OrderedDict(a=-1), 'Model.f["a"]: must be >= 0 (Ge)'),
        # A member is a value: the text does not say which.
        (set[Annotated[str, MinLen(2)]], {"a"}, "Model.f: must be at least 2 long (MinLen)"),
        (Annotated[dict[str, int], MinLen(1)], {}, "Model.f: must be at least 1 long (MinLen)"),
        (Point, Point(-1), "Model.f.x: must be >= 0 (Ge)"),
        (list[Point], [Point(), Point(-1)], "Model.f[1].x: must be >= 0 (Ge)"),
        (Point | None, Point(-1), "Model.f.x: must be >= 0 (Ge)"),
        (Packed[Point], Point(-1), "Model.f: must be >= 0 (Ge)"),
        (Packed[list[Annotated[int, Ge(0)]]], [-1], "Model.f: must be >= 0 (Ge)"),
        (
            Annotated[Point, Predicate(lambda point: point.x < 5)],
            Point(5),
            "Model.f: must be one that <lambda>() is true for (Predicate)",
        ),
        # the same words in the metadata of others
        (Annotated[int, msgspec.Meta(ge=0, description="points")], -1, "Model.f: must be >= 0 (Ge)"),
        (Annotated[str, msgspec.Meta(pattern="^a")], "b", "Model.f: must be a match of '^a' (pattern)"),
        (Annotated[time, msgspec.Meta(tz=True)], time(1), "Model.f: must be with a time zone (Timezone)"),
        (Annotated[int, pydantic.Field(ge=0, title="points")], -1, "Model.f: must be >= 0 (Ge)"),
        (Annotated[str, pydantic.StringConstraints(min_length=2)], "b", "Model.f: must be at least 2 long (MinLen)"),
        # metadata for others is ignored
        (Annotated[int, Unit("m"), "text", 3, slice(0, 2), Ge], -1, None),
        (Annotated[int, Codec(lambda v: str(-v), lambda raw: -int(raw)), Ge(0)], -1, "Model.f: must be >= 0 (Ge)"),
    ],
)
def test_what_a_rule_says_of_a_value(hint: Any, value: Any, said: str | None) -> None:
    assert broken(hint, value) == said


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Annotated[str, Ge(0)], "Model.f: Ge cannot be checked of str: must be >= 0"),
        (Annotated[list[int], Ge(0)], "Model.f: Ge cannot be checked of list[int]: must be >= 0"),
        (Annotated[int, MaxLen(3)], "Model.f: MaxLen cannot be checked of int: must be at most 3 long"),
        (Annotated[int | None, MaxLen(3)], "Model.f: MaxLen cannot be checked of int | None: must be at most 3 long"),
        (Annotated[datetime, Ge(date(2024, 1, 1))], "Model.f: Ge cannot be checked of datetime"),
        (Annotated[int, Timezone(None)], "Model.f: Timezone cannot be checked of int: must be without a time zone"),
        (list[Annotated[str, Lt(1)]], "Model.f: Lt cannot be checked of str: must be < 1"),
    ],
)
def test_a_rule_that_no_value_of_the_type_can_be_asked_is_refused_with_the_class(hint: Any, said: str) -> None:
    cls = make_dataclass("Model", [("f", hint)])
    with pytest.raises(UnsupportedType) as caught:
        default_registry.check(cls)
    assert str(caught.value).startswith(said)


def test_a_subclass_brings_its_rules_into_a_field_of_its_base() -> None:
    @dataclass
    class Base:
        x: int = 0

    @dataclass
    class Model:
        f: Base = field(default_factory=Base)

    @dataclass
    class Unstorable(Base):
        z: object = None
        w: type = int

    default_registry.names(Model, {"Base": Base})
    mapper = default_registry.mapper(Model)
    assert not mapper.ruled

    @dataclass
    class Child(Base):
        y: Annotated[int, Ge(0)] = 0

    obj = Model(Child(y=-1))
    mapper.dump(obj)
    assert mapper.ruled
    with pytest.raises(ConstraintError, match=r"must be >= 0"):
        mapper.root.check(obj)


def test_what_breaks_a_rule_can_still_be_loaded() -> None:
    cls = make_dataclass("Model", [("f", Annotated[int, Ge(0)])])
    assert default_registry.mapper(cls).load({b"f": b"-1"}) == cls(-1)


def test_a_class_without_rules_has_nothing_to_check() -> None:
    @dataclass
    class Node:
        value: int = 0
        next: Node | None = None
        more: list[Node] = field(default_factory=list)

    model: Any = make_dataclass("Model", [("f", int), ("g", dict[str, list[str]])])
    assert not default_registry.mapper(model).ruled
    default_registry.names(Node, {"Node": Node})
    assert not default_registry.mapper(Node).ruled


@pytest.mark.parametrize("annotation", ["List[", "1/0", "foo.bar", "dict[int]", "Literal[[]]"])
def test_a_subclass_that_nobody_can_store_does_no_harm(annotation: str) -> None:
    @dataclass
    class Base:
        x: int = 0

    model: Any = make_dataclass("Model", [("f", Base)])
    other: Any = dataclass(type("Other", (Base,), {"__annotations__": {"y": annotation}, "y": None}))
    mapper = default_registry.child().mapper(model)
    assert mapper.dump(model(Base())) == {b"f.x": b"0"}
    assert not mapper.ruled
    assert Base.__subclasses__() == [other]
