"""Tracked numbers: what a draft gives for an int or float field, so that ``d.score += 5`` is seen as an increment.

Whatever a draft hands out counts as read. The exception is a value that comes straight back: read, added to, assigned
to the same place, and held or looked at by nobody meanwhile. Any use by a method (comparing, formatting, hashing, other
arithmetic) marks the value as used; who else holds it is told by its reference count. What the
count is for a value that nobody else holds depends on the interpreter, so it is measured once, at import, on the very
patterns; where a bound variable cannot be told from a passing value, everything counts as read. No I/O.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from sys import getrefcount
from typing import Any, Protocol

Step = Callable[[Any], Any]


class Origin(Protocol):
    """Where a tracked number was read."""

    def came_back(self) -> None:
        """The read was no read: its value was only added to."""
        ...


class Counts:
    """Reference counts of values that nobody else holds. -1: cannot be told on this interpreter.

    add: of self in ``__add__``. store: of the value in ``__setattr__`` and ``__setitem__``. call: of self in a method.
    """

    add = -1
    store = -1
    call = -1


class TrackedInt(int):
    """An int read through a draft."""

    __rapyer_plain__ = int
    origin: Origin | None = None
    steps: tuple[Step, ...] = ()

    def __add__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) in (int, TrackedInt):
            return _derived(self, int(other))
        return int.__add__(self, other)

    def __radd__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) is int:
            return _derived(self, other)
        return int.__radd__(self, other)

    def __sub__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) in (int, TrackedInt):
            return _derived(self, -int(other))
        return int.__sub__(self, other)

    def __reduce__(self) -> Any:
        return int, (int.__int__(self),)

    def aset(self, value: Any) -> Any:
        """Record that the field gets this value."""
        return _asked(self, getrefcount(self) == Counts.call, "assign", value)

    def aincrease(self, by: int = 1) -> Any:
        """Record that the field is increased."""
        return _asked(self, getrefcount(self) == Counts.call, "increase", by)


class TrackedFloat(float):
    """A float read through a draft."""

    __rapyer_plain__ = float
    origin: Origin | None = None
    steps: tuple[Step, ...] = ()

    def __add__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) in _REAL:
            return _derived(self, other, lambda value: value + other)
        return float.__add__(self, other)

    def __radd__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) in _REAL:
            return _derived(self, other, lambda value: other + value)
        return float.__radd__(self, other)

    def __sub__(self, other: Any) -> Any:
        if getrefcount(self) == Counts.add and type(other) in _REAL:
            return _derived(self, other, lambda value: value - other)
        return float.__sub__(self, other)

    def __reduce__(self) -> Any:
        return float, (float.__float__(self),)

    def aset(self, value: Any) -> Any:
        """Record that the field gets this value."""
        return _asked(self, getrefcount(self) == Counts.call, "assign", value)

    def aincrease(self, by: float = 1.0) -> Any:
        """Record that the field is increased."""
        return _asked(self, getrefcount(self) == Counts.call, "increase", by)


def _mark_uses(cls: type, base: type) -> None:
    """Every other method of the number makes the value a used one, whatever comes of it afterwards."""
    own = {"__add__", "__radd__", "__sub__", "__reduce__", "__reduce_ex__", "__new__", "__getnewargs__", "__class__"}
    for name in vars(base):
        method = getattr(base, name)
        if name.startswith("__") and name not in own | set(vars(object)) - _USING and callable(method):
            setattr(cls, name, _marking(method))


_USING = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__str__", "__repr__", "__format__"}


def _marking(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def used(self: Any, *arguments: Any) -> Any:
        self.origin = None
        return method(self, *arguments)

    return used


_mark_uses(TrackedInt, int)
_mark_uses(TrackedFloat, float)

_REAL = (int, float, TrackedInt, TrackedFloat)


def tracked(value: Any, origin: Origin) -> Any:
    """The number as a tracked one."""
    made = TrackedInt(value) if type(value) is int else TrackedFloat(value)
    made.origin = origin
    return made


def _derived(source: TrackedInt | TrackedFloat, other: Any, step: Step | None = None) -> Any:
    """What source + other is, remembering how it came about."""
    if step is None:
        step = _adding(other)
    value = step(int.__int__(source) if isinstance(source, TrackedInt) else float.__float__(source))
    if source.origin is None:
        return value
    made: TrackedInt | TrackedFloat = TrackedInt(value) if isinstance(source, TrackedInt) else TrackedFloat(value)
    made.origin = source.origin
    made.steps = (*source.steps, step)
    return made


def _adding(number: int) -> Step:
    return lambda value: value + number


async def _asked(source: TrackedInt | TrackedFloat, alone: bool, what: str, value: Any) -> Any:
    origin: Any = source.origin
    if alone:
        origin.came_back()
    return getattr(origin, what)(value)


# -- measuring, once --


class _Probe:
    """Does with attributes and items what a draft does, and notes the counts."""

    add: list[int]
    store: list[int]
    call: list[int]

    def __init__(self) -> None:
        for name in ("add", "store", "call"):
            object.__setattr__(self, name, [])

    def __getattribute__(self, name: str) -> Any:
        if name in ("add", "store", "call", "__class__"):
            return object.__getattribute__(self, name)
        return _ProbeInt.of(self)

    def __setattr__(self, name: str, value: Any) -> None:
        self.store.append(getrefcount(value))

    def __getitem__(self, name: str) -> Any:
        return _ProbeInt.of(self)

    def __setitem__(self, name: str, value: Any) -> None:
        self.store.append(getrefcount(value))


class _ProbeInt(int):
    probe: _Probe

    @classmethod
    def of(cls, probe: _Probe) -> _ProbeInt:
        made = cls(1)
        made.probe = probe
        return made

    def __add__(self, other: Any) -> Any:
        self.probe.add.append(getrefcount(self))
        return _ProbeInt.of(self.probe)

    def called(self) -> None:
        self.probe.call.append(getrefcount(self))


def _passing(p: Any) -> None:
    p.x += 1
    p.x = p.x + 1
    p["x"] += 1
    p["x"] = p["x"] + 1
    p.x.called()


def _bound_before(p: Any) -> None:
    value = p.x
    p.x = value + 1


def _bound_after(p: Any) -> None:
    value = p.x + 1
    p.x = value


def _bound_call(p: Any) -> None:
    value = p.x
    value.called()


def _measured(pattern: Callable[[Any], None]) -> _Probe:
    probe = _Probe()
    pattern(probe)
    return probe


def _measure() -> None:
    passing = _measured(_passing)
    adds, stores, calls = set(passing.add), set(passing.store), set(passing.call)
    if len(adds) == len(stores) == len(calls) == 1:
        add, store, call = adds.pop(), stores.pop(), calls.pop()
        before, after, bound = _measured(_bound_before), _measured(_bound_after), _measured(_bound_call)
        if min(before.add) > add and min(after.store) > store and min(bound.call) > call:
            Counts.add, Counts.store, Counts.call = add, store, call


_measure()
