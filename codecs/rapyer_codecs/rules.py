"""Rules: constraints in an Annotated (`Annotated[int, Ge(0)]`) as checks of values. Nothing is imported for them.

The constraints of annotated-types, and what msgspec's Meta and pydantic's Field say in the same words, are known by
the packages that they come from and by their attributes. All other metadata is for others, and ignored.
"""

from __future__ import annotations

import operator
import re
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType
from typing import Any

from .errors import UnsupportedType
from .hints import is_union, name_of, origin_of, peel
from .interrupts import is_interrupt
from .lean import dataclass

__all__ = ["Rule", "check_fit", "rules_of"]


@dataclass(frozen=True)
class Rule:
    """One constraint. `text`: what a value must be. `test`: whether it is; anything that it raises means no.

    `fits`: whether values of a class can be asked at all. `name`: of the constraint.
    """

    name: str
    text: str
    test: Callable[[Any], bool]
    fits: Callable[[type], bool]

    def holds(self, value: Any) -> bool:
        """Whether a value (other than None) keeps the rule."""
        try:
            return bool(self.test(value))
        except Exception as error:  # such as the comparison of a Decimal NaN
            if is_interrupt(error):
                raise
            return False


_PACKAGES = frozenset({"annotated_types", "msgspec", "pydantic"})
_FAMILIES: tuple[tuple[type, ...], ...] = (
    (int, float, Decimal, Fraction),
    (str,),
    (bytes, bytearray),
    (datetime,),
    (date,),
    (time,),
    (timedelta,),
    (set, frozenset),
    (list,),
    (tuple,),
    (deque,),
    (dict,),
    (complex,),
)
"""Types that are compared with their like only."""


def _comparable(bound: Any, cls: type) -> bool:
    """Whether values of the class can be compared with the bound. Types of the user's own are asked."""
    for family in _FAMILIES:
        if issubclass(cls, family):
            return isinstance(bound, family)
    return getattr(cls, "__lt__", None) is not getattr(object, "__lt__", None)


# -- from metadata to rules ------------------------------------------------------------------------------------


def rules_of(metadata: Iterable[Any]) -> tuple[Rule, ...]:
    """The rules in the metadata of an Annotated, in its order."""
    return tuple(rule for extra in metadata for rule in _rules(extra))


def _rules(extra: Any) -> Iterator[Rule]:
    if isinstance(extra, type):
        return
    if getattr(type(extra), "__is_annotated_types_grouped_metadata__", False):
        for part in extra:
            yield from _rules(part)
        return
    known = {base.__name__ for base in type(extra).__mro__ if base.__module__.partition(".")[0] in _PACKAGES}
    if "FieldInfo" in known:
        yield from rules_of(extra.metadata)
    elif "Predicate" in known:
        name = getattr(extra.func, "__name__", None) or type(extra.func).__name__
        yield Rule("Predicate", f"one that {name}() is true for", extra.func, lambda cls: True)
    elif "Timezone" in known or ("Meta" in known and extra.tz is not None):
        yield _zone(extra.tz)
    if known:
        for word, make in _MAKERS.items():
            bound = getattr(extra, word, None)
            if bound is not None:
                yield make(bound)


def _compared(name: str, sign: str, test: Callable[[Any, Any], bool]) -> Callable[[Any], Rule]:
    def make(bound: Any) -> Rule:
        return Rule(name, f"{sign} {bound!r}", lambda value: test(value, bound), lambda cls: _comparable(bound, cls))

    return make


def _length(name: str, words: str, test: Callable[[int, int], bool]) -> Callable[[Any], Rule]:
    def make(bound: Any) -> Rule:
        return Rule(name, f"{words} {bound} long", lambda value: test(len(value), bound), _is_sized)

    return make


def _is_sized(cls: type) -> bool:
    return hasattr(cls, "__len__")


def _multiple(of: Any) -> Rule:
    def is_one(value: Any) -> bool:
        if isinstance(value, float) or isinstance(of, float):
            # 0.3 is a multiple of 0.1 to everybody but the processor.
            rest, almost = abs(float(value) % float(of)), abs(float(value)) / 1e9
            return rest <= almost or abs(rest - abs(float(of))) <= almost
        return bool(value % of == 0)

    return Rule("MultipleOf", f"a multiple of {of!r}", is_one, lambda cls: _comparable(of, cls))


def _pattern(pattern: Any) -> Rule:
    compiled = re.compile(pattern)
    text = f"a match of {compiled.pattern!r}"
    return Rule("pattern", text, lambda value: compiled.search(value) is not None, lambda cls: issubclass(cls, str))


_MAKERS: Mapping[str, Callable[[Any], Rule]] = {
    "gt": _compared("Gt", ">", operator.gt),
    "ge": _compared("Ge", ">=", operator.ge),
    "lt": _compared("Lt", "<", operator.lt),
    "le": _compared("Le", "<=", operator.le),
    "multiple_of": _multiple,
    "min_length": _length("MinLen", "at least", operator.ge),
    "max_length": _length("MaxLen", "at most", operator.le),
    "pattern": _pattern,
}
"""Attribute of a constraint -> the rule that it means."""


def _zone(tz: Any) -> Rule:
    match tz:
        case None | False:
            text, test = "without a time zone", lambda value: value.tzinfo is None
        case bool() | EllipsisType():
            text, test = "with a time zone", lambda value: value.tzinfo is not None
        case str():
            text, test = f"in the time zone {tz}", lambda value: str(value.tzinfo) == tz
        case _:
            text, test = f"in the time zone {tz}", lambda value: value.tzinfo == tz
    return Rule("Timezone", text, test, lambda cls: issubclass(cls, (datetime, time)))


# -- which types can have which --------------------------------------------------------------------------------


def check_fit(hint: Any, rules: Iterable[Rule]) -> None:
    """Raise UnsupportedType for a rule that no value of the type could be asked."""
    classes = _classes(hint)
    for rule in rules:
        if not any(not isinstance(cls, type) or rule.fits(cls) for cls in classes):
            name = name_of(hint) if typing.get_args(hint) == () else str(hint)
            raise UnsupportedType(f"{rule.name} cannot be checked of {name}: must be {rule.text}", target=name)


def _classes(hint: Any) -> list[Any]:
    """The classes of a hint's values, None left out."""
    peeled, _ = peel(hint)
    if not is_union(peeled):
        return [origin_of(peeled)]
    members = [member for member in typing.get_args(peeled) if member is not type(None)]
    return [cls for member in members for cls in _classes(member)]
