"""Arguments: what callers give is checked here where it would fail in the depths, or not at all. Pure; no I/O.

Each check raises TypeError for what is of a wrong kind and ValueError for what is out of range. The texts name the
argument and tell numbers; of anything else they tell what it is, since it may be anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def kind_of_value(value: object) -> str:
    """What a value is, for messages, without what it holds."""
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return "None" if value is None else type(value).__name__


def check_seconds(name: str, value: Any, longest: float, *, or_zero: bool = False) -> None:
    """A number of seconds, more than 0 (or 0 as well), and less than longest."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {kind_of_value(value)}")
    if not (value > 0 or (or_zero and value == 0)) or not value < longest:
        least = "0 or more" if or_zero else "more than 0"
        raise ValueError(f"{name} is {least} seconds, and less than {longest:.0f}; it was {value}")


def check_count(name: str, value: Any, of: str, least: int = 0) -> None:
    """How many of something: an int, no less than that. ValueError in either case."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} counts {of}: an int of {least} or more, not {kind_of_value(value)}")
    if value < least:
        raise ValueError(f"{name} counts {of}: {least} or more; it was {value}")


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {kind_of_value(value)}")


def check_function(name: str, value: Any) -> None:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name} is a function, not {kind_of_value(value)}")


def is_utf8(text: str) -> bool:
    """Whether a text can be sent: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def several(values: Iterable[T], what: str, one: str) -> Iterable[T]:
    """The values, if they are several in one. what: they should be. one: the function for a single one."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"several {what} are expected, not one {kind_of_value(values)}: give a list, or use {one}()")
    return values
