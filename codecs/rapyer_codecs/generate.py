"""Straight-line Python for the common case of dumping and loading a class.

Each record class becomes two functions for any place (`write_Player(value, name, out)`, `read_Player(name,
fields)`) and, for whole objects, some with all names written out: to and from a dict of fields, and to and
from what goes over the wire (see framing.py and paired.py). What is not common (a subclass, an absent field,
a union of several, a wrong type) either goes to the shapes or raises; whoever calls generated code does the
same by the shapes after any exception, so that an error is worded there and generated code needs no words.
All must agree: tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from .codec import plain_type
from .dumping import DumpCode
from .framed import FramedCode
from .interrupts import is_interrupt
from .loading import LoadCode
from .names import SMALL, index
from .paired import OWN, PairsCode
from .places import COUNTS, numbered
from .shape import Shape
from .source import Name, Source
from .stored import BAD, Stored
from .types.records import Part, RecordShape

__all__ = ["Compiled", "Slowly", "compile_class"]

Dump = Callable[[Any], dict[bytes, bytes]]
Load = Callable[[Mapping[bytes, bytes]], Any]
Frame = Callable[[Any, str], bytes]
LoadPairs = Callable[[Sequence[bytes]], Any]


class Compiled(NamedTuple):
    """The generated functions of a class. Any exception means: ask the next one, and at last the shapes.

    `load`: of fields among which none of the class is absent. `load_some`: some may be. `frame`: a dump to a framed
    object; `load_pairs`: of a flat reply in the order of that; `fixed`: the names of the first fields in it.
    """

    dump: Dump
    load: Load
    load_some: Load
    frame: Frame
    load_pairs: LoadPairs
    fixed: list[bytes]


class _Uncommon(Exception):
    """Left to the shapes."""


class Slowly(NamedTuple):
    """What takes over from `dump` and `load` after any exception."""

    dump: Dump
    load: Load


def compile_class(shape: RecordShape, slowly: Slowly | None = None) -> Compiled:
    """Generate the functions of a class. `slowly`: asked by the functions themselves; without it they raise."""
    source = Source(dict(COMMON))
    fixed = _whole_object(source, shape, slowly)
    while source.pending:
        _record(source, source.pending.pop())
    namespace = source.run(f"{shape.cls.__module__}.{shape.cls.__qualname__}")
    made = {name: namespace[name] for name in Compiled._fields if name in namespace}
    return Compiled(**made, fixed=fixed)


def _whole_object(source: Source, shape: RecordShape, slowly: Slowly | None) -> list[bytes]:
    """The functions with all names written out; the names in fixed places."""
    limits, root = shape.limits, Name("", b"")
    with source.block("def dump(value):"), _else(source, slowly and slowly.dump, "value"):
        DumpCode(source, limits, makes_out=True).record(shape, "value", root)
        source.give_up_if(f"len(out) > {limits.fields}")
        source.line("return out")
    with source.block("def load(fields):"), _else(source, slowly and slowly.load, "fields"):
        source.give_up_if(f"len(fields) > {limits.readable}")
        source.line(f"return {LoadCode(source, complete=True).whole(shape)}")
    with source.block("def load_some(fields):"):
        source.give_up_if(f"len(fields) > {limits.readable}")
        source.line("get = fields.get")
        source.line(f"return {LoadCode(source).whole(shape)}")
    layout = FramedCode(source, limits)
    with source.block("def frame(value, front):"):
        layout.record(shape, "value", root)
    with source.block("def load_pairs(pairs):"):
        source.give_up_if(f"len(pairs) > {OWN + 2 * limits.readable}")
        source.line(f"return {PairsCode(source, layout).whole(shape)}")
    return layout.fixed


@contextmanager
def _else(source: Source, function: Callable[[Any], Any] | None, argument: str) -> Iterator[None]:
    """A body; after any exception, the function does it. A call around the body would cost as much as some fields."""
    if function is None:
        yield
        return
    with source.block("try:"):
        yield
    with source.block("except Exception as error:"), source.block("if is_interrupt(error):"):
        source.line("raise")
    # Outside of the handler, so that no context quotes a value.
    source.line(f"return {source.constant(function, 'slowly')}({argument})")


def _record(source: Source, shape: RecordShape) -> None:
    """The functions of a record class for any place."""
    function, place = source.function(shape), Name("name", b"")
    too_deep = f"name.count(b'.') >= {shape.limits.depth}"
    with source.block(f"def write_{function}(value, name, out):"):
        source.give_up_if(too_deep)
        DumpCode(source, shape.limits).record(shape, "value", place)
    with source.block(f"def read_{function}(name, fields):"):
        source.give_up_if(too_deep)
        source.line(f"return {LoadCode(source).parts(shape, place, top=False)}")


# -- what generated code calls ---------------------------------------------------------------------------------


def _check(cls: type, *values: Any) -> None:
    """Values not all of which are exactly of the declared type: views of it, or uncommon."""
    for value in values:
        if plain_type(value) is not cls:
            raise _Uncommon


def _read(shape: Shape, name: bytes, fields: Mapping[bytes, bytes], default: Any) -> Any:
    """Read one place by its shape."""
    stored = Stored(fields)
    if not shape.present(name, stored):
        raise _Uncommon  # the default may come from what holds it
    return _good(shape.read(name, stored, default))


def _read_part(part: Part, fields: Mapping[bytes, bytes]) -> Any:
    """Read a field of the whole object by its shape: also one under a former name, or not stored at all."""
    stored = Stored(fields)
    return _good(part.shape.read(part.place(b"", stored), stored, part.default))


def _uncommon() -> Any:
    raise _Uncommon


def _good(value: Any) -> Any:
    if value is BAD:
        raise _Uncommon
    return value


def _entries(fields: Mapping[bytes, bytes], prefix: bytes) -> dict[bytes, None]:
    """The names one segment below a prefix that ends in a dot, in stored order."""
    start = len(prefix)
    names = [name for name in fields if name.startswith(prefix)]
    return dict.fromkeys(name[: name.find(b".", start)] if b"." in name[start:] else name for name in names)


COMMON: Mapping[str, Any] = {
    "Uncommon": _Uncommon,
    "check": _check,
    "counts": COUNTS,
    "entries": _entries,
    "index": index,
    "is_interrupt": is_interrupt,
    "islice": islice,
    "new": object.__new__,
    "numbered": numbered,
    "small_index": SMALL.get,
    "read": _read,
    "uncommon": _uncommon,
    "read_part": _read_part,
}
