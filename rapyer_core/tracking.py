"""Tracked values: what a draft gives for numbers, texts and dates, so that ``d.score += 5`` is seen as an increment.

Whatever a draft hands out counts as read. The exception is a value that comes straight back: read, changed by one
in-place operator (or ``d.x = d.x + k``, ``- k``), and assigned to the place it was read from. Whether it did so is
told by the code that does it: a tracked value remembers the instruction that made it, and each next instruction must be
the one that takes exactly this value from the stack. Anything else, and whatever is in doubt, is a read. The values
behave as the plain ones do. No I/O.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from types import CodeType, FrameType
from typing import Any, Literal, NamedTuple

from rapyer_codecs.lean import dataclass

Step = tuple[Callable[[Any, Any], Any], Any]
"""A method of the plain type, and its operand."""

Mark = tuple[Any, CodeType, int, tuple[Step, ...], Any]
"""Where a value was read (for whoever handed it out); the instruction that made it; what was done to it since; and
what it is as a plain one."""


class Tracked:
    """What tracked values share. mark: None for one that nobody follows, such as what a method of its class made."""

    __slots__ = ()
    __rapyer_plain__: type
    mark: Mark | None = None

    def __repr__(self) -> str:
        return repr(untracked(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _itself, (untracked(self),)

    def __copy__(self) -> Any:
        return untracked(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return untracked(self)

    def aset(self, value: Any) -> Any:
        """Record that the place gets this value. Awaitable."""
        return _asked(self, sys._getframe(1), "aset", "assign", value)

    def aincrease(self, by: Any = 1) -> Any:
        """Record that the place is increased. Awaitable."""
        return _asked(self, sys._getframe(1), "aincrease", "increase", by)


def _itself(value: Any) -> Any:
    return value


def _asked(value: Tracked, frame: FrameType, name: str, what: str, argument: Any) -> Any:
    assert value.mark is not None
    origin, code, at, _, _ = value.mark
    return _carried_out(origin, frame.f_code is code and judged(code, at, frame.f_lasti, name), what, argument)


async def _carried_out(origin: Any, alone: bool, what: str, argument: Any) -> Any:
    if alone:
        origin.came_back()
    return getattr(origin, what)(argument)


def tracked(value: Any, origin: Any, frame: FrameType) -> Any:
    """The value as a tracked one; the value itself if its type is not followed. frame: of the code that reads it."""
    return _made(value, (origin, frame.f_code, frame.f_lasti, (), value)) if type(value) in TRACKED else value


def untracked(value: Any) -> Any:
    """A plain value, whatever it was."""
    return _COPIED[value.__rapyer_plain__](value) if isinstance(value, Tracked) else value


def done(steps: Iterable[Step], value: Any) -> Any:
    """What the steps make of a plain value."""
    for method, operand in steps:
        value = method(value, operand)
    return value


def _made(value: Any, mark: Mark) -> Any:
    base = type(value)
    kind = TRACKED[base]
    made = _SPREAD[base](kind, value) if base in _SPREAD else kind(value)
    made.mark = mark
    return made


# -- the classes --


def _day(kind: type[Any], value: date) -> Any:
    return kind(value.year, value.month, value.day)


def _moment(kind: type[Any], value: datetime) -> Any:
    clock = (value.hour, value.minute, value.second, value.microsecond)
    return kind(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold)


def _span(kind: type[Any], value: timedelta) -> Any:
    return kind(value.days, value.seconds, value.microseconds)


_SPREAD: dict[type, Callable[[type[Any], Any], Any]] = {date: _day, datetime: _moment, timedelta: _span}
"""Types that are not made of one of their own."""
_FOLLOWED_TYPES: tuple[type[Any], ...] = (int, float, complex, Decimal, Fraction, str, bytes, *_SPREAD)

_COPIED: dict[type, Callable[[Any], Any]] = {
    **{base: base for base in _FOLLOWED_TYPES},
    **{base: functools.partial(spread, base) for base, spread in _SPREAD.items()},
    # int() and the others ask the class first.
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
}

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")


def _operator(base: type, name: str, side: str) -> Callable[..., Any]:
    """The method of a tracked class: the base's result, followed if this very value comes straight from its place."""
    plain_method: Callable[..., Any] = getattr(base, name)
    if base in _SPREAD:
        plain_method = _plainly(plain_method)

    def method(self: Any, other: Any, *more: Any) -> Any:
        if more:
            return plain_method(self, other, *more)
        value = plain_method(self, other)
        mark: Mark | None = self.mark
        if mark is None:
            return value
        origin, code, at, steps, _ = mark
        frame = sys._getframe(1)
        if frame.f_code is not code or type(value) not in TRACKED:
            return value
        now = frame.f_lasti
        known = _verdicts.get((id(code), at, now, side))
        if known or (known is None and judged(code, at, now, side)):
            step = (plain_method, untracked(other) if isinstance(other, Tracked) else other)
            mark = (origin, code, now, (*steps, step), value)
            if type(value) is not base or base in _SPREAD:
                return _made(value, mark)
            made = type(self)(value)
            made.mark = mark
            return made
        return value

    method.__name__ = name
    return method


def _plainly(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The method of a class whose arithmetic gives the class of self, so that it gives the plain one."""

    def plainly(self: Any, other: Any) -> Any:
        return untracked(method(self, other))

    return plainly


def _class_for(base: type) -> type[Any]:
    body: dict[str, Any] = {"__rapyer_plain__": base, "__module__": __name__}
    for operator in _OPERATORS:
        for name, side in ((f"__{operator}__", "left"), (f"__r{operator}__", "right")):
            if hasattr(base, name):
                body[name] = _operator(base, name, side)
    return type(f"Tracked{base.__name__.title()}", (Tracked, base), body)


TRACKED: dict[type, type[Any]] = {base: _class_for(base) for base in _FOLLOWED_TYPES}
"""Plain type -> its tracked class. bool, None and Enum cannot be followed: they are read."""


# -- what the running code does with a value --


def comes_back(mark: Mark, frame: FrameType) -> bool:
    """Whether the instruction that runs assigns exactly what the operator that made the value left on the stack."""
    _, code, at, steps, _ = mark
    if frame.f_code is not code or not steps:
        return False
    now = frame.f_lasti
    known = _verdicts.get((id(code), at, now, "store"))
    return bool(known) or (known is None and judged(code, at, now, "store"))


_SIGNS = ("+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^")
_METHODS = {f"{sign}=": f"__{name}__" for sign, name in zip(_SIGNS, _OPERATORS, strict=True)}
_FOLLOWED = frozenset({"+", "-", *_METHODS})
_IDLE = frozenset({"CACHE", "EXTENDED_ARG", "NOP"})
_ENDINGS = ([("SWAP", 2), "STORE_ATTR"], [("SWAP", 3), ("SWAP", 2), "STORE_SUBSCR"])
"""What follows an in-place operator on an attribute, and on an entry."""

_KEPT = 2000
"""Code objects that are remembered, at most."""


@dataclass(slots=True)
class _Code:
    """One code object's instructions."""

    code: CodeType
    steps: list[dis.Instruction]
    index: dict[int, int]

    def answer(self, made: int, now: int, question: str) -> bool:
        """The answer to a question about two of them."""
        if made not in self.index or now not in self.index:
            return False
        made, now = self.index[made], self.index[now]
        if question == "store":
            return self._store(made, now)
        if question in ("left", "right"):
            return self._operator(made, now, question == "left")
        return self._call(made, now, question)

    def _operator(self, made: int, now: int, left: bool) -> bool:
        """Whether now is an operator that may be followed, with the value as its left or right operand."""
        maker, taker = self.steps[made], self.steps[now]
        if taker.opname != "BINARY_OP" or taker.argrepr not in _FOLLOWED:
            return False
        in_place = taker.argrepr.endswith("=")
        if not left and (in_place or taker.argrepr != "+"):
            return False
        if not (_reads(maker) or (_adds(maker) and not in_place)):
            return False
        inner, outer = _place(maker), _place(taker)
        if inner is not None and outer is not None and inner != outer:
            # The operand of an operator is what begins (or ends) where the whole expression does.
            return inner[0] == outer[0] if left else inner[1] == outer[1]
        depth = self._depth(made, now)
        return depth == 2 if left else depth == 1 and now == made + 1

    def _store(self, made: int, now: int) -> bool:
        """Whether now assigns exactly what the operator made left on the stack."""
        maker, store = self.steps[made], self.steps[now]
        if maker.opname != "BINARY_OP":
            return False
        if maker.argrepr.endswith("="):
            between = [(step.opname, step.arg) for step in self.steps[made + 1 : now]]
            return [*between, store.opname] in _ENDINGS
        return (store.opname, self._depth(made, now)) in (("STORE_ATTR", 2), ("STORE_SUBSCR", 3))

    def _call(self, made: int, now: int, name: str) -> bool:
        """Whether now is the call of ``d.x.name(...)``, with nothing between the reading of x and the name."""
        maker, call = self.steps[made], self.steps[now]
        after = self.steps[made + 1]
        inner, outer = _place(maker), _place(call)
        return (
            _reads(maker)
            and after.opname in ("LOAD_ATTR", "LOAD_METHOD")
            and after.argval == name
            and call.opname.startswith("CALL")
            and inner is not None
            and outer is not None
            and inner != outer
            and inner[0] == outer[0]
        )

    def in_place(self, at: int) -> InPlace | None:
        """What begins with the reading of an attribute there, if the code can do nothing else with the value."""
        read = self.index.get(at, 0)
        around = self.steps[read - 1 : read + 5] if read else []
        if [step.opname for step in around[:2]] != ["COPY", "LOAD_ATTR"] or len(around) < 6:
            return None
        copy, load, operand, taker, swap, store = around
        if operand.opname not in ("LOAD_CONST", "LOAD_SMALL_INT") or taker.opname != "BINARY_OP":
            return None
        if [(swap.opname, swap.arg), store.opname] != _ENDINGS[0] or (copy.arg, load.argval) != (1, store.argval):
            return None
        kind = type(operand.argval)
        method = getattr(kind, _METHODS.get(taker.argrepr, ""), None)
        if method is None or kind not in TRACKED:
            return None
        end = self.steps[read + 5].offset if len(self.steps) > read + 5 else store.offset + 2
        return InPlace(self.code, store.offset, end, kind, ((method, operand.argval),))

    def _depth(self, made: int, now: int) -> int | None:
        """Values on the stack from the made one upwards, just before now; None if it may have been touched."""
        depth = 1
        for step in self.steps[made + 1 : now]:
            if step.opname.startswith("LOAD_FAST"):
                depth += step.opname.count("LOAD_FAST")
            elif step.opname in ("LOAD_CONST", "LOAD_SMALL_INT", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
                depth += 1
            elif step.opname == "LOAD_ATTR" and depth >= 2:
                continue
            elif _subscribes(step) and depth >= 3:
                depth -= 1
            else:
                return None
        return depth


def _subscribes(step: dis.Instruction) -> bool:
    return step.opname == "BINARY_SUBSCR" or (step.opname == "BINARY_OP" and step.argrepr == "[]")


def _reads(step: dis.Instruction) -> bool:
    return step.opname == "LOAD_ATTR" or _subscribes(step)


def _adds(step: dis.Instruction) -> bool:
    return step.opname == "BINARY_OP" and step.argrepr in ("+", "-")


def _place(step: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where in the source the expression of an instruction begins and ends; None if the code does not say."""
    found = step.positions
    if found is None:
        return None
    line, end_line, column, end_column = found.lineno, found.end_lineno, found.col_offset, found.end_col_offset
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return (line, column), (end_line, end_column)


def _index(steps: list[dis.Instruction], size: int) -> dict[int, int]:
    """Offset -> number of the instruction. A frame that called Python code may point at the end of its instruction."""
    ends = [step.offset for step in steps[1:]] + [size]
    return {
        offset: number
        for number, (step, end) in enumerate(zip(steps, ends, strict=True))
        for offset in range(step.offset, end, 2)
    }


_codes: dict[int, _Code] = {}
# By identity: code objects compare by value, which is slow. A yes is the code itself, so that its id stays its own.
_verdicts: dict[tuple[int, int, int, str], CodeType | Literal[False]] = {}


def judged(code: CodeType, made: int, now: int, question: str) -> bool:
    """What becomes of a value that an instruction made in another one, which runs now. The answer is remembered.

    left, right: it is this operand of an operator that may be followed. store: it is assigned. Else: the method of
    this name is called on it.
    """
    key = (id(code), made, now, question)
    found = _verdicts.get(key)
    if found is None:
        found = _verdicts[key] = code if _code(code).answer(made, now, question) else False
    return bool(found)


class InPlace(NamedTuple):
    """``d.x += 5``, from the reading of x on: the code runs straight on to the assignment, which takes what the steps
    make of the value. code: which holds it. first, end: where its instruction is that assigns. kind: of the values;
    object: the code does something else.
    """

    code: CodeType
    first: int
    end: int
    kind: type
    steps: tuple[Step, ...]


Coming = tuple[InPlace, Any]
"""A value that was read to be changed in place, and where it was read (for whoever handed it out)."""

_places: dict[tuple[int, int], InPlace] = {}


def in_place(code: CodeType, at: int) -> InPlace:
    """What begins with the reading of an attribute that runs now. The answer is remembered."""
    found = _places.get((id(code), at))
    if found is None:
        known = _code(code)  # may forget the others, first
        found = _places[id(code), at] = known.in_place(at) or InPlace(code, 0, 0, object, ())
    return found


def _code(code: CodeType) -> _Code:
    known = _codes.get(id(code))
    if known is None:
        if len(_codes) >= _KEPT:
            _codes.clear()
            _verdicts.clear()
            _places.clear()
        steps = [step for step in dis.get_instructions(code) if step.opname not in _IDLE]
        known = _codes[id(code)] = _Code(code, steps, _index(steps, len(code.co_code)))
    return known
